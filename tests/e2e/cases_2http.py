# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.x as servers and clients really speak it."""
import os
import socket
import threading
import time

from lib import (CLIENT, PYTHON, SERVER, STATUS_ERROR, STATUS_UNSET, TELLTALE, Conn, app, check, equal, free_port, get,
                 http_conn, need, parse_otlp, share, static_nginx, wait_for)


def shared_shop(env):
    return share(env, "shop", lambda: app(env, "shop.py"))


def curl_spans(env, *args):
    """(exit status of curl, spans of a traced curl)"""
    out = env.path("curl.json")
    r = env.run([TELLTALE, "trace", "-o", out, "--format", "otlp-json", "--", need("curl"), "-s", "-o", "/dev/null", *args])
    with open(out) as f:
        return r.returncode, parse_otlp(f.read())


def case_keep_alive(env):
    web = static_nginx(env)
    with env.trace(pids=web.pids) as t:
        with http_conn(web.port) as c:
            for i in range(50):
                c.get(f"/hello?n={i}")
    spans = t.spans.count(50, kind=SERVER, path="/hello")
    ordered = sorted(spans, key=lambda s: s.start)
    for a, b in zip(ordered, ordered[1:]):
        check(a.end <= b.start, f"one connection's requests overlap: {a} {b}")
    equal(len({s.trace_id for s in spans}), 50, "traces")


def case_pipelining(env):
    web = static_nginx(env)
    with env.trace(pids=web.pids) as t:
        with http_conn(web.port) as c:
            c.send("".join(f"GET /hello?{i} HTTP/1.1\r\nHost: a\r\n\r\n" for i in range(5)) +
                   "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n")
            codes = [c.response()[0] for _ in range(6)]
    equal(codes, [200] * 5 + [404], "answers")
    t.spans.count(5, kind=SERVER, path="/hello", http__response__status_code=200)
    t.spans.count(1, kind=SERVER, path="/missing", http__response__status_code=404)
    t.spans.count(6, kind=SERVER)


def case_chunked_answer(env):
    shop = shared_shop(env)
    with env.trace(pids=[shop.pid]) as t:
        with http_conn(shop.port) as c:
            equal(c.get("/chunked")[2], b"one two three\n", "body")
            c.get("/echo/after")
    chunked = t.spans.one(kind=SERVER, path="/chunked", http__response__body__size=14)
    check(chunked.end - chunked.start >= 20e6, f"ends before its last chunk: {chunked}")
    t.spans.one(kind=SERVER, path="/echo/after")


def case_head_has_no_body(env):
    web = static_nginx(env)
    with env.trace(pids=web.pids) as t:
        with http_conn(web.port) as c:
            c.get("/big", method="HEAD")
            c.get("/hello")
    t.spans.one(kind=SERVER, path="/big", http__request__method="HEAD")
    t.spans.one(kind=SERVER, path="/hello")


def case_100_continue_is_one_request(env):
    shop = shared_shop(env)
    with env.trace(pids=[shop.pid]) as t:
        with http_conn(shop.port) as c:
            c.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
            equal(c.response()[0], 100, "interim answer")
            time.sleep(0.05)
            c.send(b"0123456789")
            equal(c.response()[2], b"10 bytes\n", "answer")
    s = t.spans.one(kind=SERVER)
    equal((s.attrs.get("http.request.method"), s.attrs.get("http.response.status_code")), ("POST", 200), "method, code")
    check(s.end - s.start >= 45e6, f"the interim answer ended it: {s}")


def scripted(answers):
    """A server in this process for one connection: after each head it has read, the bytes told. (port, thread)"""
    listener = socket.create_server(("127.0.0.1", 0))

    def run():
        with listener, listener.accept()[0] as c:
            for answer in answers:
                seen = more = b""
                while not seen.endswith(b"\r\n\r\n"):
                    more = c.recv(1)
                    if not more:
                        return
                    seen += more
                for part in answer:
                    c.sendall(part)
                    time.sleep(0.03)
            c.recv(1)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return listener.getsockname()[1], thread


def case_early_hints_are_not_the_answer(env):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    port, thread = scripted([[hints, hints, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"],
                             [b"HTTP/1.1 102 Processing\r\n\r\n" + hints + b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"]])
    with env.trace(pids=[os.getpid()]) as t:
        with http_conn(port) as c:
            c.send("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n")
            equal([c.response()[0] for _ in range(3)], [103, 103, 200], "answers")
            c.send("GET /work HTTP/1.1\r\nHost: a\r\n\r\n")
            equal([c.response()[0] for _ in range(3)], [102, 103, 404], "answers")
        thread.join()
    for kind in (SERVER, CLIENT):
        first = t.spans.one(kind=kind, path="/hints", http__response__status_code=200)
        check(first.end - first.start >= 55e6, f"an interim answer ended it: {first}")
        t.spans.one(kind=kind, path="/work", http__response__status_code=404)
    equal(len(t.spans), 4, "spans in all")


def case_a_websocket_is_one_request(env):
    upgrade = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
    fake = b"GET /fake HTTP/1.1\r\nHost: a\r\n\r\n"  # as text in a frame, where nobody speaks HTTP any more
    port, thread = scripted([[upgrade, b"\x81\x05hello"], [b"\x81\x26HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]])
    with env.trace(pids=[os.getpid()]) as t:
        with http_conn(port) as c:
            equal(c.get("/chat", headers="Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")[0], 101, "answer")
            equal(c.f.read(7), b"\x81\x05hello", "the first frame")
            c.send(b"\x81" + bytes([len(fake)]) + fake)
            equal(c.f.read(2), b"\x81\x26", "the next frame")
        thread.join()
    t.spans.one(kind=SERVER, path="/chat", http__response__status_code=101, status=STATUS_UNSET)
    t.spans.one(kind=CLIENT, path="/chat", http__response__status_code=101, status=STATUS_UNSET)
    equal(len(t.spans), 2, "spans in all")


def case_status_by_the_conventions(env):
    shop = shared_shop(env)
    with env.trace(pids=[shop.pid]) as t:
        for code in (200, 301, 404, 429, 500, 503):
            get(shop.port, f"/status/{code}")
    for code in (200, 301, 404, 429):
        s = t.spans.one(kind=SERVER, http__response__status_code=code)
        equal(s.status, STATUS_UNSET, f"status of a server's {code}")
        check("error.type" not in s.attrs, f"error.type of a server's {code}")
    for code in (500, 503):
        s = t.spans.one(kind=SERVER, http__response__status_code=code)
        equal((s.status, s.attrs.get("error.type")), (STATUS_ERROR, str(code)), f"status and error.type of {code}")
    for code, want in ((200, STATUS_UNSET), (404, STATUS_ERROR), (503, STATUS_ERROR)):
        s = curl_spans(env, f"http://127.0.0.1:{shop.port}/status/{code}")[1].one(kind=CLIENT)
        equal(s.status, want, f"status of a client's {code}")


def case_refused_connect(env):
    port = free_port()
    status, spans = curl_spans(env, f"http://127.0.0.1:{port}/x")
    equal(status, 7, "curl's exit status")
    s = spans.one(kind=CLIENT)
    equal(s.status, STATUS_ERROR, "status")
    check(s.attrs.get("error.type"), f"no error.type: {s.attrs}")
    equal(s.attrs.get("server.port"), port, "server.port")
    return f"error.type {s.attrs['error.type']}"


def case_connect_that_times_out(env):
    # a listener whose backlog is full lets the next SYN go unanswered
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = []
        for _ in range(3):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(address)
            fillers.append(s)
        time.sleep(0.1)
        status, spans = curl_spans(env, "--connect-timeout", "1", f"http://127.0.0.1:{address[1]}/x")
        for s in fillers:
            s.close()
    equal(status, 28, "curl's exit status")
    s = spans.one(kind=CLIENT)
    equal(s.status, STATUS_ERROR, "status")
    check(s.end - s.start >= 0.9e9, f"duration of a connect of 1 s: {s}")
    return f"error.type {s.attrs.get('error.type')}"


def case_reset_by_the_server(env):
    shop = shared_shop(env)
    status, spans = curl_spans(env, f"http://127.0.0.1:{shop.port}/reset")
    check(status != 0, "curl's exit status")
    s = spans.one(kind=CLIENT)
    equal((s.status, s.path), (STATUS_ERROR, "/reset"), "status and path")
    check(s.attrs.get("error.type") and "http.response.status_code" not in s.attrs, f"attributes: {s.attrs}")


def case_never_answered(env):
    shop = shared_shop(env)
    status, spans = curl_spans(env, f"http://127.0.0.1:{shop.port}/silent")
    check(status != 0, "curl's exit status")
    s = spans.one(kind=CLIENT)
    equal((s.status, s.path), (STATUS_ERROR, "/silent"), "status and path")
    check(s.attrs.get("error.type"), f"no error.type: {s.attrs}")


def case_still_open_at_the_end(env):
    shop = shared_shop(env)
    with env.trace(pids=[shop.pid]) as t:
        with http_conn(shop.port) as c:
            c.send("GET /slow/600000 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_for(c.was_read, "the server to read the request")
            time.sleep(0.1)
            t.finish()
    s = t.spans.one(kind=SERVER, path="/slow/600000")
    check("http.response.status_code" not in s.attrs, f"an answer was invented: {s.attrs}")


def case_ids_in_paths_become_placeholders(env):
    shop = shared_shop(env)
    with env.trace(pids=[shop.pid]) as t:
        for i in range(3):
            get(shop.port, f"/echo/{1000 + i}")
        get(shop.port, "/echo/3f2504e0-4f89-11d3-9a0c-0305e82c3301?token=s3cret&n=1")
    numbers = t.spans.find(kind=SERVER, path=lambda p: p and p.startswith("/echo/10"))
    equal(len(numbers), 3, "spans")
    equal(len({s.name for s in numbers}), 1, "names of three numbered paths")
    check("1000" not in numbers[0].name, f"name {numbers[0].name}")
    uuid = t.spans.one(kind=SERVER, path="/echo/3f2504e0-4f89-11d3-9a0c-0305e82c3301")
    check("3f2504e0" not in uuid.name, f"name {uuid.name}")
    check("s3cret" not in repr(uuid.attrs), f"a secret is shown: {uuid.attrs}")
    return f"name {numbers[0].name!r}"


def case_big_header_block(env):
    web = static_nginx(env)
    # several writes, so several reads
    lines = [f"X-Header-{i}: {'v' * 900}\r\n" for i in range(14)]
    with env.trace(pids=web.pids, args=["--capture-bytes", "16384"]) as t:
        with http_conn(web.port) as c:
            c.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            c.send("GET /hello HTTP/1.1\r\nHost: a\r\n")
            for line in lines:
                c.send(line)
                time.sleep(0.005)
            c.send("\r\n")
            equal(c.response()[0], 200, "answer")
            equal(c.get("/hello?next")[0], 200, "next answer")
    t.spans.count(2, kind=SERVER, path="/hello", http__response__status_code=200)


def case_beyond_the_budget_is_marked(env):
    web = static_nginx(env)
    with env.trace(pids=web.pids, args=["--capture-bytes", "1024"]) as t:
        with http_conn(web.port) as c:
            equal(c.get("/hello", headers="X-Pad: " + "p" * 6000 + "\r\n")[0], 200, "answer")
            equal(c.get("/hello?next")[0], 200, "next answer")
    spans = t.spans.count(2, kind=SERVER, path="/hello")
    first = min(spans, key=lambda s: s.start)
    check(any("truncated" in k for k in first.attrs), f"no mark: {first.attrs}")
    equal(first.attrs.get("http.response.status_code"), 200, "status code")


def case_large_upload_and_download(env):
    shop, web = shared_shop(env), static_nginx(env)
    with env.trace(pids=web.pids + [shop.pid]) as t:
        with http_conn(shop.port) as c:
            equal(c.get("/up", method="POST", body=b"z" * 2_000_000)[2], b"2000000 bytes\n", "answer")
            equal(c.get("/echo/next")[0], 200, "next")
        with http_conn(web.port) as c:
            equal(len(c.get("/big")[2]), 3_000_000, "body")
            equal(c.get("/hello")[0], 200, "next")
    up = t.spans.one(kind=SERVER, path="/up")
    t.spans.one(kind=SERVER, path="/echo/next")
    # sendfile: its bytes are counted although they cannot be read
    big = t.spans.one(kind=SERVER, path="/big")
    t.spans.one(kind=SERVER, path="/hello")
    sizes = (up.attrs.get("http.request.body.size"), big.attrs.get("http.response.body.size"))
    equal(sizes, (2_000_000, 3_000_000), "body sizes")


def case_split_in_single_bytes(env):
    web = static_nginx(env)
    with env.trace(pids=web.pids) as t:
        with http_conn(web.port) as c:
            c.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for b in b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n":
                c.send(bytes([b]))
                time.sleep(0.001)
            equal(c.response()[0], 200, "answer")
    t.spans.one(kind=SERVER, path="/hello", http__response__status_code=200)


def case_http_1_0_and_until_close(env):
    web = static_nginx(env)
    with env.trace(pids=web.pids) as t:
        with http_conn(web.port) as c:
            c.send("GET /hello HTTP/1.0\r\n\r\n")
            equal(c.response()[2], b"hello, world\n", "body")
    s = t.spans.one(kind=SERVER, path="/hello")
    equal(s.attrs.get("network.protocol.version"), "1.0", "version")


def case_ipv6(env):
    web = static_nginx(env)
    with env.trace(pids=web.pids) as t:
        with Conn(("::1", web.port), socket.AF_INET6) as c:
            c.get("/hello")
    s = t.spans.one(kind=SERVER, path="/hello")
    equal(s.attrs.get("network.peer.address"), "::1", "network.peer.address")
    s = curl_spans(env, "-g", f"http://[::1]:{web.port}/hello")[1].one(kind=CLIENT)
    equal(s.attrs.get("url.full"), f"http://[::1]:{web.port}/hello", "url.full")


def case_traceparent_is_respected(env):
    web = static_nginx(env)
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with env.trace(pids=web.pids) as t:
        get(web.port, "/hello", headers=f"traceparent: 00-{trace}-{parent}-01\r\n")
        get(web.port, "/hello?bad", headers="traceparent: 00-zz-1-01\r\n")
        get(web.port, "/hello?zero", headers=f"traceparent: 00-{'0' * 32}-{parent}-01\r\n")
    kept = [s for s in t.spans if s.trace_id == trace]
    equal([k.parent_id for k in kept], [parent], "parents in the header's trace")
    equal(len([s for s in t.spans if s.parent_id is None]), 2, "spans without a parent")


def case_a_body_that_looks_like_a_request(env):
    shop = shared_shop(env)
    body = b"GET /fake HTTP/1.1\r\nHost: a\r\n\r\n" * 20
    with env.trace(pids=[shop.pid]) as t:
        with http_conn(shop.port) as c:
            equal(c.get("/post", method="POST", body=body)[0], 200, "answer")
            equal(c.get("/echo/1")[0], 200, "answer")
    equal(sorted(s.path for s in t.spans), ["/echo/1", "/post"], "paths")


def case_client_and_server_are_joined(env):
    web = static_nginx(env)
    with env.trace(pids=web.pids, args=["--process", "curl"]) as t:
        env.run([need("curl"), "-s", f"http://127.0.0.1:{web.port}/hello?1", f"http://127.0.0.1:{web.port}/hello?2"])
    clients = t.spans.count(2, kind=CLIENT, service="curl", server__port=web.port)
    servers = t.spans.count(2, kind=SERVER, service="nginx")
    for s in servers:
        parent = t.spans.parent(s)
        check(parent in clients, f"parent of {s}: {parent}")
        equal(parent.attrs["url.full"].split("?")[1], s.attrs.get("url.query"), "the other end's query")
        check(s.attrs.get("telltale.parent.method"), f"no method: {s.attrs}")
        check(isinstance(s.attrs.get("telltale.parent.confidence"), (int, float)), f"no confidence: {s.attrs}")
        check(parent.start <= s.end and s.start <= parent.end, f"they do not overlap: {parent} {s}")


def case_many_connections_at_once(env):
    web = static_nginx(env)
    with env.trace(pids=web.pids) as t:
        def worker(n):
            for i in range(25):
                with http_conn(web.port) as c:
                    c.get(f"/hello?{n}.{i}")
        threads = [threading.Thread(target=worker, args=(n,)) for n in range(20)]
        for th in threads:
            th.start()
        for th in threads:
            th.join()
    spans = t.spans.count(500, kind=SERVER, path="/hello")
    equal(len({s.attrs.get("url.query") for s in spans}), 500, "different queries")


def case_a_pipe_is_no_request(env):
    """Bytes that are not of a protocol make no span."""
    out = env.path("noise.json")
    script = ("import socket\na,b=socket.socketpair()\n"
              "for i in range(100):\n a.sendall(bytes(range(256)));b.recv(256);b.sendall(b'GET out of here'*9);a.recv(999)\n")
    r = env.run([TELLTALE, "trace", "-o", out, "--format", "otlp-json", "--", PYTHON, "-c", script])
    equal(r.returncode, 0, "exit status")
    with open(out) as f:
        equal(list(parse_otlp(f.read())), [], "spans")
