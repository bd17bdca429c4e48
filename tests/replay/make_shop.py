#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes shop.rec: a recording made by hand of a client, nginx, a Python service and Redis.

    make_shop.py FILE

Three requests over loopback: one that goes through all of them, one that fails in the service, one
whose upstream refuses the connection. Every record is what the kernel side would have written (see
include/event.h); times, ids and ports are made up, so the file is the same on every run.
"""
import struct
import sys

MS = 1_000_000
T0 = 1_000 * 1_000_000_000
OFFSET = 1_700_000_000 * 1_000_000_000 - T0  # real time minus monotonic time
CONN, DATA, CLOSE, EXEC, FORK, EXIT = 1, 2, 3, 5, 6, 7
PROC, CLOCK, KEY, BOOKS, TICK, HOST = range(0x101, 0x107)
IN, OUT = 0, 1
DIALLED, ACCEPTED = 1, 2
ESTABLISHED = 2
NATIVE, PYTHON = 1, 2
ECONNREFUSED = 111


class Recording:
    def __init__(self):
        self.now = T0
        self.next_tick = T0 + 100 * MS
        self.count = 0
        self.out = bytearray(struct.pack("<8sII", b"telltale", 1, 0x01020304))

    def put(self, kind, tgid, body, ts=None):
        size = 16 + len(body)
        self.out += struct.pack("<QIHH", self.now if ts is None else ts, tgid, kind, size) + body
        self.out += bytes(-size % 8)

    def kernel(self, kind, tgid, body):
        self.count += 1
        self.put(kind, tgid, body)

    def wait(self, us):
        """Time passes; ticks fall due."""
        self.now += us * 1000
        while self.next_tick <= self.now:
            self.put(TICK, 0, b"", self.next_tick)
            self.next_tick += 100 * MS

    def books(self):
        counts = [self.count, self.count] + [0] * 14
        self.put(BOOKS, 0, struct.pack("<16Q16QQ", *[0] * 16, *counts, 0))

    def proc(self, tgid, runtime, **attrs):
        text = b"".join(k.replace("__", ".").encode() + b"\0" + v.encode() + b"\0" for k, v in attrs.items())
        self.put(PROC, tgid, struct.pack("<II", runtime, len(text)) + text)


class Thread:
    """The evidence the kernel keeps of one thread."""

    def __init__(self, rec, tgid, comm):
        self.rec, self.tgid, self.comm = rec, tgid, comm
        self.seq, self.turn = 0, 1
        self.read_turn = self.read_conn = self.read_pos = 0
        self.reads = self.switches = 0

    def evidence(self):
        self.seq += 1
        return struct.pack("<IIIIQQII", self.tgid, self.seq, self.turn, self.read_turn, self.read_conn,
                           self.read_pos, self.reads, self.switches)

    def did_read(self, conn, pos):
        if self.reads and self.read_conn != conn:
            self.switches += 1
        self.read_conn, self.read_pos, self.read_turn = conn, pos, self.turn
        self.reads += 1

    def wait(self, us=20):
        """Blocks in epoll_wait or the like."""
        self.rec.wait(us)
        self.turn += 1
        self.reads = self.switches = 0


def address(text):
    return bytes(10) + b"\xff\xff" + bytes(int(n) for n in text.split("."))


class End:
    """One end of a TCP connection, held by a thread."""
    last_id = 0

    def __init__(self, thread, role, lport, rport, seq_out, seq_in, dial_ns, opened=True):
        End.last_id += 1
        self.id, self.thread, self.rec = End.last_id, thread, thread.rec
        self.pos = {OUT: seq_out, IN: seq_in}
        self.last = {OUT: 0, IN: 0}
        self.rec.kernel(CONN, thread.tgid, struct.pack(
            "<QQQQQQQIHH16s16sHBBI40s16s108s4x", self.id, 0, 0xffff888000000000 + self.id * 0x1000, 0, dial_ns,
            self.rec.now if opened else 0, 1, 4026531840, lport, rport, address("127.0.0.1"), address("127.0.0.1"),
            2, 1, role, ESTABLISHED if opened else 1, thread.evidence(), thread.comm.encode(), b""))

    def data(self, way, payload):
        self.rec.wait(5)
        other = 1 - way
        pos = self.pos[way]
        evidence = self.thread.evidence()
        self.rec.kernel(DATA, self.thread.tgid, struct.pack(
            "<QQQQIIBB6x", self.id, pos, self.pos[other], self.last[other], len(payload), len(payload), way, 0) +
            evidence + payload)
        self.pos[way] += len(payload)
        self.last[way] = self.rec.now
        if way == IN:
            self.thread.did_read(self.id, pos)

    def send(self, payload):
        self.data(OUT, payload)

    def recv(self, payload):
        self.data(IN, payload)

    def close(self, err=0):
        self.rec.wait(5)
        self.rec.kernel(CLOSE, self.thread.tgid, struct.pack(
            "<QQQQQII", self.id, self.pos[IN], self.pos[OUT], self.last[IN], self.last[OUT], err, 0))


port = 40000


def connect(client, server, to):
    """(dialling end, accepting end)"""
    global port
    port += 1
    dial_ns = client.rec.now
    client.rec.wait(30)
    a = End(client, DIALLED, port, to, port * 1000, port * 1000 + 500, dial_ns)
    b = End(server, ACCEPTED, to, port, port * 1000 + 500, port * 1000, 0)
    return a, b


def exchange(a, b, request):
    a.send(request)
    b.thread.wait()
    b.recv(request)


def answer(b, a, response):
    b.send(response)
    a.thread.wait()
    a.recv(response)


def response(status, body):
    return f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def request(path, port):
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: test\r\n\r\n".encode()


def write_shop(rec):
    client, nginx = Thread(rec, 900, "client"), Thread(rec, 100, "nginx")
    shop, redis = Thread(rec, 200, "python3"), Thread(rec, 300, "redis-server")

    rec.put(KEY, 0, bytes(range(16)))
    rec.put(HOST, 0, b"testhost".ljust(256, b"\0"))
    rec.put(CLOCK, 0, struct.pack("<q", OFFSET))
    front, at_nginx = connect(client, nginx, 8080)
    rec.proc(900, NATIVE, service__name="client", process__pid="900", process__executable__name="client")
    rec.proc(100, NATIVE, service__name="nginx", process__pid="100", process__executable__name="nginx")

    # through all of them
    exchange(front, at_nginx, request("/item/42", 8080))
    up, at_shop = connect(nginx, shop, 8000)
    exchange(up, at_shop, request("/item/42", 8000))
    rec.proc(200, PYTHON, service__name="shop", process__pid="200", process__executable__name="python3")
    to_redis, at_redis = connect(shop, redis, 6379)
    exchange(to_redis, at_redis, b"*2\r\n$3\r\nGET\r\n$7\r\nitem:42\r\n")
    rec.proc(300, NATIVE, service__name="redis-server", process__pid="300", process__executable__name="redis-server")
    rec.wait(150)
    answer(at_redis, to_redis, b"$5\r\nspoon\r\n")
    rec.wait(400)
    answer(at_shop, up, response("200 OK", "spoon"))
    answer(at_nginx, front, response("200 OK", "spoon"))

    # fails in the service
    rec.wait(20_000)
    exchange(front, at_nginx, request("/item/nothing?token=secret", 8080))
    exchange(up, at_shop, request("/item/nothing?token=secret", 8000))
    rec.wait(900)
    answer(at_shop, up, response("500 Internal Server Error", "oops"))
    answer(at_nginx, front, response("500 Internal Server Error", "oops"))

    # the upstream refuses
    rec.wait(20_000)
    exchange(front, at_nginx, request("/gone", 8080))
    dial_ns = rec.now
    rec.wait(40)
    refused = End(nginx, DIALLED, 40099, 8001, 40099000, 0, dial_ns, opened=False)
    refused.close(ECONNREFUSED)
    answer(at_nginx, front, response("502 Bad Gateway", "bad gateway"))

    for end in (front, at_nginx, up, at_shop, to_redis, at_redis):
        end.close()
    rec.wait(1_000_000)
    rec.books()
    rec.put(CLOCK, 0, struct.pack("<q", OFFSET))


def main():
    rec = Recording()
    write_shop(rec)
    with open(sys.argv[1], "wb") as f:
        f.write(rec.out)


main()
