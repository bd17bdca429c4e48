# SPDX-License-Identifier: Apache-2.0
"""Accepts in one process, serves in another: each connection's descriptor is passed over a UNIX
socket (SCM_RIGHTS). --port N"""
import os
import socket
import sys

port = int(sys.argv[sys.argv.index("--port") + 1])
listener = socket.create_server(("127.0.0.1", port), backlog=64)
giver, taker = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
if os.fork() == 0:
    listener.close()
    giver.close()
    while True:
        _, fds, _, _ = socket.recv_fds(taker, 16, 1)
        with socket.socket(fileno=fds[0]) as s:
            while s.recv(4096):
                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npassed\n")
taker.close()
while True:
    conn, _ = listener.accept()
    socket.send_fds(giver, [b"x"], [conn.fileno()])
    conn.close()
