# SPDX-License-Identifier: Apache-2.0
"""Servers that read and write by the system calls that are named.

    calls.py (--port N | --unix PATH) READ+WRITE...   HTTP, one connection for each pair, in that order
    calls.py --udp PORT READ+WRITE                    answers every DNS query with its question
"""
import argparse
import ctypes
import os
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
MSG_WAITFORONE = 0x10000


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.POINTER(Iovec)),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("hdr", Msghdr), ("len", ctypes.c_uint32)]


class Vector:
    """Messages of recvmmsg and sendmmsg; the same memory for each call, as name servers do it."""

    def __init__(self, cnt=8, size=4096):
        self.cnt, self.size = cnt, size
        self.bytes = [ctypes.create_string_buffer(size) for _ in range(cnt)]
        self.names = [ctypes.create_string_buffer(128) for _ in range(cnt)]
        self.iov, self.msg = (Iovec * cnt)(), (Mmsghdr * cnt)()
        for i in range(cnt):
            self.iov[i].base = ctypes.addressof(self.bytes[i])
            self.msg[i].hdr.iov, self.msg[i].hdr.iovlen = ctypes.pointer(self.iov[i]), 1

    def name(self, i, length):
        self.msg[i].hdr.name = ctypes.addressof(self.names[i]) if length else None
        self.msg[i].hdr.namelen = length

    def recv(self, s, named=False):
        for i in range(self.cnt):
            self.iov[i].len = self.size
            self.name(i, 128 if named else 0)
        n = libc.recvmmsg(s.fileno(), self.msg, self.cnt, MSG_WAITFORONE, None)
        return [self.bytes[i].raw[:self.msg[i].len] for i in range(max(n, 0))]

    def send(self, s, parts, names=None):
        for i, part in enumerate(parts):
            ctypes.memmove(self.bytes[i], part, len(part))
            self.iov[i].len = len(part)
            self.name(i, 0)
            if names:
                ctypes.memmove(self.names[i], names[i], 16)
                self.name(i, 16)
        return libc.sendmmsg(s.fileno(), self.msg, len(parts), 0)


def parts(data):
    return [data[:20], data[20:]]


def body_by_pipe(s, pipe):
    """A request's head by recv, its body by splice."""
    head = s.recv(s.recv(4096, socket.MSG_PEEK).find(b"\r\n\r\n") + 4 or 1)
    left = int(head.lower().split(b"content-length:")[1].split()[0]) if head.endswith(b"\r\n\r\n") else 0
    while left:
        n = os.splice(s.fileno(), pipe[1], left)
        left -= len(os.read(pipe[0], n))
    return head


def by_pipe(s, data, pipe):
    """An answer's head by send, its body by splice."""
    head, body = data.split(b"\r\n\r\n", 1)
    s.send(head + b"\r\n\r\n", socket.MSG_MORE)
    os.write(pipe[1], body)
    return os.splice(pipe[0], s.fileno(), len(body))


def by_sendfile(s, data):
    head, body = data.split(b"\r\n\r\n", 1)
    s.send(head + b"\r\n\r\n", socket.MSG_MORE)
    with open(os.path.abspath(__file__), "rb") as f:
        return os.sendfile(s.fileno(), f.fileno(), 0, len(body))


def calls():
    """({name: function to read}, {name: function to write})"""
    inward, outward, pipe = Vector(), Vector(), os.pipe()
    buffers = [bytearray(16), bytearray(4096)]
    read = {"read": lambda s: os.read(s.fileno(), 4096),
            "recv": lambda s: s.recv(4096),
            "recvfrom": lambda s: s.recvfrom(4096)[0],
            "recvmsg": lambda s: s.recvmsg_into(buffers)[0] > 0,
            "readv": lambda s: os.readv(s.fileno(), buffers) > 0,
            "recvmmsg": lambda s: b"".join(inward.recv(s)),
            "peek": lambda s: s.recv(4096, socket.MSG_PEEK) and s.recv(4096),
            "splice": lambda s: body_by_pipe(s, pipe)}
    write = {"write": lambda s, data: os.write(s.fileno(), data),
             "send": lambda s, data: s.send(data),
             "sendto": lambda s, data: s.sendto(data, s.getpeername()) if s.family == socket.AF_INET else s.send(data),
             "sendmsg": lambda s, data: s.sendmsg(parts(data)),
             "writev": lambda s, data: os.writev(s.fileno(), parts(data)),
             "sendmmsg": lambda s, data: outward.send(s, parts(data)),
             "splice": lambda s, data: by_pipe(s, data, pipe),
             "sendfile": by_sendfile}
    return read, write


def serve(listener, pairs):
    read, write = calls()
    for pair in pairs:
        r, w = pair.split("+")
        c, _ = listener.accept()
        while read[r](c):
            write[w](c, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(pair), pair.encode()))
        c.close()


def serve_dns(port, pair):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", port))
    inward, outward = Vector(), Vector()
    read, write = pair.split("+")
    print("ready", flush=True)
    while True:
        if read == "recvmmsg":
            queries = inward.recv(s, True)
            peers = [inward.names[i].raw[:16] for i in range(len(queries))]
        else:
            query, (host, number) = s.recvfrom(4096)
            queries = [query]
            peers = [socket.AF_INET.to_bytes(2, sys.byteorder) + number.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8)]
        answers = [q[:2] + b"\x81\x80" + q[4:] for q in queries]
        if write == "sendmmsg":
            outward.send(s, answers, peers)
        else:
            for answer, peer in zip(answers, peers):
                s.sendto(answer, (socket.inet_ntoa(peer[4:8]), int.from_bytes(peer[2:4], "big")))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--port", type=int)
    ap.add_argument("--unix")
    ap.add_argument("--udp", type=int)
    ap.add_argument("pairs", nargs="+")
    a = ap.parse_args()
    if a.udp:
        return serve_dns(a.udp, a.pairs[0])
    if a.unix:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(a.unix)
        listener.listen()
    else:
        listener = socket.create_server(("127.0.0.1", a.port))
    print("ready", flush=True)
    return serve(listener, a.pairs)


if __name__ == "__main__":
    main()
