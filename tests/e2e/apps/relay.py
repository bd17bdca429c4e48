# SPDX-License-Identifier: Apache-2.0
"""Ends of connections that processes come by in unusual ways.

    relay.py keep ADDRESS         one connection, opened now; GET /keep/N on it for each line of standard input
    relay.py answer ADDRESS       answers every request, one connection at a time
    relay.py dup ADDRESS          the same, reading and writing through copies of the descriptor
    relay.py inetd ADDRESS        a forked shell serves each connection as its standard input and output
    relay.py child ADDRESS        reads the request itself; a forked child answers

ADDRESS is a port on loopback, or the path of a UNIX socket.
"""
import os
import socket
import sys

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHELL = r"read -r line; printf 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'"


def keep(family, address):
    s = socket.socket(family)
    s.connect(address)
    print("ready", flush=True)
    for n, _ in enumerate(sys.stdin):
        s.sendall(b"GET /keep/%d HTTP/1.1\r\nHost: a\r\n\r\n" % n)
        s.recv(4096)
        print("answered", flush=True)


def answer(c):
    while c.recv(4096):
        c.sendall(OK)


def dup(c):
    inward, outward = os.dup(c.fileno()), os.dup2(c.fileno(), 77)
    while os.read(inward, 4096):
        os.write(outward, OK)
    os.close(inward)
    os.close(outward)


def inetd(c):
    if os.fork() == 0:
        os.dup2(c.fileno(), 0)
        os.dup2(c.fileno(), 1)
        os.execv("/bin/sh", ["sh", "-c", SHELL])
    c.close()
    os.wait()


def child(c):
    c.recv(4096)
    if os.fork() == 0:
        c.sendall(OK)
        os._exit(0)
    os.wait()


def main():
    how, where = sys.argv[1:]
    family, address = (socket.AF_INET, ("127.0.0.1", int(where))) if where.isdigit() else (socket.AF_UNIX, where)
    if how == "keep":
        return keep(family, address)
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while True:
        with listener.accept()[0] as c:
            {"answer": answer, "dup": dup, "inetd": inetd, "child": child}[how](c)


main()
