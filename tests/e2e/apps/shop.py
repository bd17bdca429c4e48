# SPDX-License-Identifier: Apache-2.0
"""A service without any instrumentation, on the standard library alone.

    shop.py --port N | --unix PATH [--mode threaded|asyncio|prefork] [--redis PORT] [--upstream PORT]
            [--postgres PORT] [--tls CERT KEY]

/item/ID   GET key:ID from Redis, on a connection of the thread's (asyncio: of the request's) own
/both/ID   Redis, then the upstream, then Redis again
/up/ID     GET /echo/ID from the upstream
/sql/ID    SELECT from PostgreSQL
/order/ID  Redis, then /item/ID of the upstream, then PostgreSQL: what the demonstration does
/echo/ID   answers at once
/status/N  that status         /chunked  a chunked answer       /slow/MS  after that time
/reset     closes with RST     /silent   closes without answer after 0.5 s
POST anything: answers with the body's size
"""
import argparse
import asyncio
import http.client
import http.server
import os
import socket
import socketserver
import ssl
import struct
import threading
import time

local = threading.local()
opts = None


def resp(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def connect(port):
    s = socket.create_connection(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def redis_get(key):
    if not hasattr(local, "redis"):
        local.redis = connect(opts.redis)
    local.redis.sendall(resp(b"GET", key.encode()))
    return local.redis.recv(4096)


def upstream_get(path):
    if not hasattr(local, "upstream"):
        local.upstream = http.client.HTTPConnection("127.0.0.1", opts.upstream)
    local.upstream.request("GET", path)
    return local.upstream.getresponse().read()


def postgres_read(s):
    """Messages up to ReadyForQuery."""
    data = b""
    while not data.endswith(b"Z\0\0\0\x05I"):
        more = s.recv(4096)
        if not more:
            raise OSError("PostgreSQL closed the connection")
        data += more
    return data


def postgres_query(sql):
    """The simple protocol, with trust authentication."""
    if not hasattr(local, "postgres"):
        s = local.postgres = connect(opts.postgres)
        body = struct.pack("!I", 196608) + b"user\0postgres\0database\0postgres\0\0"
        s.sendall(struct.pack("!I", len(body) + 4) + body)
        postgres_read(s)
    body = sql.encode() + b"\0"
    local.postgres.sendall(b"Q" + struct.pack("!I", len(body) + 4) + body)
    return postgres_read(local.postgres)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        # one write: the standard library's two would be two turns of the stream
        self.wfile.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() +
                         (b"" if self.command == "HEAD" else body))

    def do_GET(self):
        what, _, arg = self.path.lstrip("/").partition("/")
        if what == "item":
            self.answer(200, redis_get(f"key:{arg}"))
        elif what == "both":
            one = redis_get(f"key:{arg}")
            upstream_get(f"/echo/{arg}")
            self.answer(200, one + redis_get(f"more:{arg}"))
        elif what == "up":
            self.answer(200, upstream_get(f"/echo/{arg}"))
        elif what == "sql":
            postgres_query(f"SELECT 'id-{arg}'")
            self.answer(200, b"row\n")
        elif what == "order":
            stock = redis_get(f"stock:{arg}")
            price = upstream_get(f"/item/{arg}")
            postgres_query(f"SELECT name FROM customers WHERE id = {int(arg) % 100}")
            self.answer(200, stock + price)
        elif what == "echo":
            self.answer(200, f"echo {arg}\n".encode())
        elif what == "status":
            self.answer(int(arg), b"as you wish\n")
        elif what == "slow":
            time.sleep(int(arg) / 1000)
            self.answer(200, b"at last\n")
        elif what == "chunked":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for part in (b"one ", b"two ", b"three\n"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()
                time.sleep(0.01)
            self.wfile.write(b"0\r\n\r\n")
        elif what == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif what == "silent":
            time.sleep(0.5)
            self.close_connection = True
        else:
            self.answer(404, b"no such thing\n")

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(200, f"{len(body)} bytes\n".encode())

    do_PUT = do_POST

    def address_string(self):
        return "client"

    def log_message(self, *args):
        pass


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    address_family = socket.AF_INET

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # no look-up of the host's name


class OneByOne(http.server.HTTPServer):
    request_queue_size = 128

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)


async def async_redis(key):
    """A connection of the request's own: the pool of an asyncio client at its widest."""
    reader, writer = await asyncio.open_connection("127.0.0.1", opts.redis)
    writer.write(resp(b"GET", key.encode()))
    await writer.drain()
    data = await reader.read(4096)
    writer.close()
    return data


async def async_upstream(path):
    reader, writer = await asyncio.open_connection("127.0.0.1", opts.upstream)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: upstream\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    data = await reader.read()
    writer.close()
    return data


async def serve_async(reader, writer):
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            break
        path = head.split(b" ")[1].decode()
        what, _, arg = path.lstrip("/").partition("/")
        body = b"echo\n"
        if what == "item":
            body = await async_redis(f"key:{arg}")
        elif what == "up":
            body = await async_upstream(f"/echo/{arg}")
        elif what == "slow":
            await asyncio.sleep(int(arg) / 1000)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
    writer.close()


async def main_async():
    server = await asyncio.start_server(serve_async, "127.0.0.1", opts.port, backlog=128)
    async with server:
        await server.serve_forever()


def main():
    global opts
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--unix")
    parser.add_argument("--mode", default="threaded", choices=["threaded", "asyncio", "prefork"])
    parser.add_argument("--redis", type=int)
    parser.add_argument("--upstream", type=int)
    parser.add_argument("--postgres", type=int)
    parser.add_argument("--tls", nargs=2)
    opts = parser.parse_args()
    if opts.mode == "asyncio":
        asyncio.run(main_async())
        return
    if opts.unix:
        server = UnixServer(opts.unix, Handler)
        os.chmod(opts.unix, 0o777)  # a web server in front runs as somebody else
    elif opts.mode == "prefork":
        server = OneByOne(("127.0.0.1", opts.port), Handler)
        # four processes take turns on one listening socket
        for _ in range(3):
            if os.fork() == 0:
                break
    else:
        server = Server(("127.0.0.1", opts.port), Handler)
    if opts.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*opts.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


main()
