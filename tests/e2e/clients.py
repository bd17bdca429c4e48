# SPDX-License-Identifier: Apache-2.0
"""Clients that say exactly the bytes a case wants."""
import socket
import struct
import threading

from base import PATIENCE, Fail, check


class Conn:
    """A plain socket that speaks HTTP/1.1 or anything else."""

    def __init__(self, address, family=socket.AF_INET, timeout=PATIENCE):
        self.s = socket.socket(family, socket.SOCK_STREAM)
        self.s.settimeout(timeout)
        self.s.connect(address)
        self.f = self.s.makefile("rb")

    def send(self, data):
        self.s.sendall(data if isinstance(data, bytes) else data.encode())

    def was_read(self):
        """Has the other end, on 127.0.0.1 too, read all that was sent? By the queues of both sockets."""
        def text(address):
            return "%08X:%04X" % (struct.unpack("=I", socket.inet_aton(address[0]))[0], address[1])
        mine, other = text(self.s.getsockname()), text(self.s.getpeername())
        with open("/proc/net/tcp") as f:
            queues = {tuple(line.split()[1:3]): line.split()[4].split(":") for line in f}
        return int(queues[mine, other][0], 16) == 0 and int(queues[other, mine][1], 16) == 0

    def response(self, head=False):
        """(status, headers, body) of one HTTP response."""
        line = self.f.readline()
        if not line:
            raise Fail("the server closed the connection")
        status = int(line.split()[1])
        headers = {}
        while True:
            h = self.f.readline().strip()
            if not h:
                break
            k, v = h.decode().split(":", 1)
            headers[k.lower()] = v.strip()
        if head or status in (204, 304) or 100 <= status < 200:
            return status, headers, b""
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int(self.f.readline().split(b";")[0], 16)
                chunk = self.f.read(size)
                self.f.readline()
                if not size:
                    return status, headers, body
                body += chunk
        if "content-length" in headers:
            return status, headers, self.f.read(int(headers["content-length"]))
        return status, headers, self.f.read()

    def get(self, path, method="GET", headers="", body=b""):
        size = f"Content-Length: {len(body)}\r\n" if body else ""
        self.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{size}{headers}\r\n".encode() + body)
        return self.response(method == "HEAD")

    def redis(self, *words):
        """One command in RESP; its reply's first line, and the bulk string if it is one."""
        self.send(resp(*words))
        return self.redis_reply()

    def redis_reply(self):
        line = self.f.readline().rstrip(b"\r\n")
        if line[:1] == b"$" and line != b"$-1":
            data = self.f.read(int(line[1:]) + 2)[:-2]
            return data.decode()
        if line[:1] in b"*%>~":
            count = int(line[1:]) * (2 if line[:1] == b"%" else 1)
            return [self.redis_reply() for _ in range(count)]
        return line.decode()

    def reset(self):
        """Closes with RST."""
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.f.close()
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def resp(*words):
    out = b"*%d\r\n" % len(words)
    for w in words:
        w = w if isinstance(w, bytes) else str(w).encode()
        out += b"$%d\r\n%s\r\n" % (len(w), w)
    return out


def http_conn(port):
    return Conn(("127.0.0.1", port))


def get(port, path, **kw):
    with http_conn(port) as c:
        return c.get(path, **kw)


def load(port, paths, concurrency):
    """Requests the paths with so many connections at once; every answer must be 200."""
    todo = list(reversed(paths))
    lock = threading.Lock()
    errors = []

    def worker():
        try:
            with http_conn(port) as c:
                while True:
                    with lock:
                        if not todo:
                            return
                        path = todo.pop()
                    status, _, body = c.get(path)
                    if status != 200:
                        errors.append(f"{path}: {status} {body[:100]!r}")
        except (OSError, Fail, ValueError) as e:
            errors.append(repr(e))

    threads = [threading.Thread(target=worker) for _ in range(concurrency)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not errors, f"load: {len(errors)} failed, first: {errors[:3]}")
