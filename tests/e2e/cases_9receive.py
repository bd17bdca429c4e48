# SPDX-License-Identifier: Apache-2.0
"""Receiving: OTLP and Zipkin into a gateway, found again through its API; bad input, kill -9."""
import gzip
import http.client
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.request

from lib import (APPS, CLIENT, PATIENCE, SERVER, STATUS_ERROR, TOP, Fail, Gateway, Skip, Spans, check, check_balance, equal,
                 metrics, need, parse_request, wait_for)

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}


class Receiver(Gateway):
    """A gateway that is sent to and asked."""

    def post(self, path, body, headers=JSON):
        """(status, headers in lower case, body)"""
        c = http.client.HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE)
        try:
            c.request("POST", path, body, headers)
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
        finally:
            c.close()

    def get(self, path):
        """(status, body)"""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE) as r:
                return r.status, r.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()

    def trace(self, trace_id):
        """Its spans, or None."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/traces/{trace_id}", timeout=PATIENCE) as r:
                spans = Spans()
                parse_request(json.load(r), spans)
                return spans
        except urllib.error.HTTPError as e:
            if e.code == 404:
                return None
            raise Fail(f"/traces/{trace_id}: {e.code} {e.read()[:200]!r}") from None

    def wait_trace(self, trace_id, cnt):
        return wait_for(lambda: (lambda s: s if s and len(s) >= cnt else None)(self.trace(trace_id)),
                        f"{cnt} spans of trace {trace_id}")


def gateway(env):
    """One that the cases share."""
    if "receiver" not in env.shared or not env.shared["receiver"].alive():
        env.shared["receiver"] = Receiver(env)
    return env.shared["receiver"]


def new_id(size=16):
    return os.urandom(size).hex()


def request(trace_id, cnt=1, **members):
    """An ExportTraceServiceRequest as an object; members go over those of each span."""
    now = time.time_ns()
    spans = [dict({"traceId": trace_id, "spanId": new_id(8), "name": f"work {i}", "kind": 2,
                   "startTimeUnixNano": str(now - 5000000), "endTimeUnixNano": str(now),
                   "attributes": [{"key": "n", "value": {"intValue": str(i)}}]}, **members) for i in range(cnt)]
    return {"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "sender"}}]},
        "scopeSpans": [{"scope": {"name": "e2e"}, "spans": spans}]}]}


def modules():
    node = need("node")
    p = subprocess.run([os.path.join(TOP, "tests", "npm.sh")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode:
        why = p.stderr.strip().splitlines()
        raise Skip("the npm packages cannot be had" + (f": {why[-1]}" if why else ""))
    return node, os.path.join(p.stdout.strip().splitlines()[-1], "node_modules")


def sdk(env, kind, g=None):
    """A trace sent by the SDK's exporter; (root, child)."""
    g = g or gateway(env)
    url = {"http": f"http://127.0.0.1:{g.http}/v1/traces", "proto": f"http://127.0.0.1:{g.http}/v1/traces",
           "grpc": f"http://127.0.0.1:{g.grpc}", "zipkin": f"http://127.0.0.1:{g.http}/api/v2/spans"}[kind]
    node, packages = modules()
    r = env.run([node, os.path.join(APPS, "otel_sdk.js"), packages, kind, url])
    equal(r.returncode, 0, f"exit status of the sender ({r.stderr.strip()[-300:]})")
    spans = g.wait_trace(r.stdout.strip(), 2)
    root, child = spans.one(name="GET /cart"), spans.one(name="SELECT")
    equal((root.kind, root.parent_id, root.service), (SERVER, None, f"sdk-{kind}"), "the root")
    equal((child.kind, child.parent_id, child.status), (CLIENT, root.span_id, STATUS_ERROR), "the child")
    equal(child.status_message, "no such table", "status message")
    return root, child


def check_everything(root, child):
    equal(child.attrs["text"], "grüße 🧶", "text")
    equal((child.attrs["number"], child.attrs["part"], child.attrs["yes"], child.attrs["list"]),
          (42, 0.5, True, ["a", "b"]), "attributes")
    equal(child.events, [("retry", {"count": 3})], "events")
    equal(child.links, [(root.trace_id, root.span_id, {"why": "test"})], "links")
    equal(root.resource["host.cores"], 2, "resource")


def case_sdk_otlp_json(env):
    check_everything(*sdk(env, "http"))


def case_sdk_otlp_protobuf(env):
    check_everything(*sdk(env, "proto"))


def case_sdk_otlp_grpc(env):
    check_everything(*sdk(env, "grpc"))


def case_sdk_zipkin(env):
    _, child = sdk(env, "zipkin")
    equal((child.attrs["text"], child.attrs["number"]), ("grüße 🧶", "42"), "tags")
    equal([e[0] for e in child.events], ["retry"], "annotations")


def case_answers(env):
    """The same Content-Type back, partial success told, errors that say what is wrong."""
    g, trace_id = gateway(env), new_id()
    status, headers, body = g.post("/v1/traces", json.dumps(request(trace_id, 3)))
    equal((status, headers["content-type"], json.loads(body)), (200, "application/json", {}), "a success")
    equal(len(g.wait_trace(trace_id, 3)), 3, "spans")
    for members, reason in (({"spanId": "12"}, "bad_id"), ({"startTimeUnixNano": "12"}, "bad_time"),
                            ({"attributes": [{"key": "k", "value": {"stringValue": "x" * 10000000}}]}, "too_large")):
        status, _, body = g.post("/v1/traces", json.dumps(request(new_id(), 1, **members)))
        partial = json.loads(body)["partialSuccess"]
        equal((status, partial["rejectedSpans"]), (200, "1"), reason)
        check(reason in partial["errorMessage"], f"says {partial}")
    for path, body, headers, want in (
            ("/v1/traces", b"{", JSON, 400), ("/v1/traces", b"no protobuf", PROTOBUF, 400),
            ("/v1/traces", b"x", {"Content-Type": "text/plain"}, 415),
            ("/v1/traces", b"x", dict(PROTOBUF, **{"Content-Encoding": "br"}), 415),
            ("/v1/traces", gzip.compress(bytes(80 << 20)), dict(PROTOBUF, **{"Content-Encoding": "gzip"}), 413),
            ("/v1/traces", b"[" * 1000000, JSON, 400), ("/nowhere", b"", JSON, 404)):
        status, got, text = g.post(path, body, headers)
        equal(status, want, f"{path} {headers} {body[:20]!r}")
        check(len(text) > 10, f"says nothing: {text!r}")
        if headers == PROTOBUF:
            equal(got["content-type"], "application/x-protobuf", "encoding of the error")
    equal(g.post("/v1/traces", b"", PROTOBUF)[0], 200, "an empty request")
    check_balance(g.port)


def case_bad_clients_do_not_stop_others(env):
    """Idle and slow connections, and nonsense on both ports."""
    g, idle = gateway(env), []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        raise Skip("no descriptors for 1,200 connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        for i in range(1200):
            idle.append(socket.create_connection(("127.0.0.1", g.http if i % 2 else g.grpc)))
        for i, s in enumerate(idle[:100]):
            s.send(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Le" if i % 2 else b"PRI * HTTP/2.0\r\n")
        for s in idle[100:200]:
            s.send(os.urandom(64))
        trace_id = new_id()
        equal(g.post("/v1/traces", json.dumps(request(trace_id)))[0], 200, "status beside 1,200 idle connections")
        g.wait_trace(trace_id, 1)
        check_everything(*sdk(env, "grpc"))
    finally:
        for s in idle:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def case_dripping_clients(env):
    """More connections than there may be, each never silent for long: others are served, and none of these stays."""
    g = Receiver(env, "--receive-idle", "1s", "--receive-connections", "64")
    settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + grpc_frame(4, 0, 0)
    drips = [(socket.create_connection(("127.0.0.1", port)), begin)
             for port, begin in ((g.http, b"POST /v1/traces HTTP/1.1\r\nHost: "), (g.grpc, settings + b"\0\x3f\xff\x20\0"))
             for _ in range(150)]
    for s, begin in drips:
        s.settimeout(PATIENCE)
        s.send(begin)
    equal(g.post("/v1/traces", json.dumps(request(new_id())))[0], 200, "status beside them")
    check_everything(*sdk(env, "grpc", g))

    def left():
        for pair in drips[:]:
            try:
                pair[0].send(b"x")
            except OSError:
                drips.remove(pair)
                pair[0].close()
        return drips
    wait_for(lambda: not left(), "all of them to be shut out", step=0.1)

    def one_more():
        """Alone, so that it makes no room for others; silent, and not counted, where this machine stands still."""
        drips.append((socket.create_connection(("127.0.0.1", g.http)), None))
        drips[0][0].send(b"POST /v1/traces HTTP/1.1\r\nHost: ")
        wait_for(lambda: not left(), "one that is alone to be shut out", step=0.1)
        return metrics(g.port)["telltale_receive_late_total"][()]
    late = wait_for(one_more, "one to be counted")
    equal(g.post("/v1/traces", json.dumps(request(new_id())))[0], 200, "status after them")
    equal(g.finish(signal.SIGTERM), 0, "exit status")
    return f"{late:.0f} were late"


def case_acknowledged_survives_kill_9(env):
    g, acknowledged = Receiver(env), []
    for _ in range(20):
        trace_id = new_id()
        if g.post("/v1/traces", json.dumps(request(trace_id, 5)))[0] == 200:
            acknowledged.append(trace_id)
    g.stop(signal.SIGKILL)
    equal(len(acknowledged), 20, "requests acknowledged")
    again = Receiver(env, "--store", g.store)
    for trace_id in acknowledged:
        equal(len(again.trace(trace_id) or []), 5, f"spans of {trace_id} after kill -9")
    equal(again.finish(signal.SIGTERM), 0, "exit status")


def case_memory_stays_bounded(env):
    """Twenty bombs of a gigabyte each, between real requests."""
    g = Receiver(env)
    bomb = gzip.compress(bytes(64 << 20)) * 16
    for _ in range(20):
        equal(g.post("/v1/traces", bomb, dict(PROTOBUF, **{"Content-Encoding": "gzip"}))[0], 413, "a bomb")
        equal(g.post("/v1/traces", json.dumps(request(new_id(), 50)))[0], 200, "a request")
    with open(f"/proc/{g.pid}/status") as f:
        peak_mb = next(int(l.split()[1]) for l in f if l.startswith("VmHWM")) / 1024
    check(peak_mb < 300, f"peak memory {peak_mb:.0f} MB")
    wait_for(lambda: metrics(g.port)["telltale_receive_held_bytes"][()] == 0, "the memory held for requests to be given back")
    equal(g.finish(signal.SIGTERM), 0, "exit status")
    return f"peak {peak_mb:.0f} MB"


def grpc_frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def case_grpc_floods(env):
    g = gateway(env)
    for frame in (grpc_frame(4, 0, 0), grpc_frame(6, 0, 0, b"12345678"), grpc_frame(9, 0, 1, b"x" * 100)):
        with socket.create_connection(("127.0.0.1", g.grpc)) as s:
            s.settimeout(PATIENCE)
            try:
                s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + grpc_frame(4, 0, 0) + frame * 20000)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass
    check_everything(*sdk(env, "grpc"))


def was_silent(connection, spoke):
    """A connection that failed was silent for the second that is allowed, since this machine stood still; another takes its place."""
    silent_s = time.monotonic() - spoke[connection]
    check(silent_s >= 1, f"a connection that was silent for {silent_s:.2f} s was closed")
    connection.close()
    spoke[connection] = time.monotonic()


def case_threads_and_idle_time(env):
    """Four threads of each receiver share the connections; a silent connection is closed, one that speaks is not."""
    g = Receiver(env, "--receive-threads", "4", "--receive-idle", "1s", "--receive-connections", "64")
    with open(f"/proc/{g.pid}/status") as f:
        threads = next(int(l.split()[1]) for l in f if l.startswith("Threads"))
    check(threads >= 8, f"{threads} threads")
    silent = [socket.create_connection(("127.0.0.1", port)) for port in (g.http, g.grpc)]
    busy, traces = [http.client.HTTPConnection("127.0.0.1", g.http, timeout=PATIENCE) for _ in range(12)], []
    spoke = {c: time.monotonic() for c in busy}
    for _ in range(10):
        asked = []
        for c in busy:
            trace_id = new_id()
            try:
                c.request("POST", "/v1/traces", json.dumps(request(trace_id, 2)), JSON)
                asked.append((c, trace_id))
            except (OSError, http.client.HTTPException):
                was_silent(c, spoke)
        for c, trace_id in asked:
            try:
                r = c.getresponse()
                equal((r.status, r.read()), (200, b"{}"), "answer")
                spoke[c] = time.monotonic()
                traces.append(trace_id)
            except (OSError, http.client.HTTPException):
                was_silent(c, spoke)
    check(len(traces) >= 12, f"{len(traces)} requests were answered")
    for t in traces:
        equal(len(g.wait_trace(t, 2)), 2, "spans")
    for s in silent:
        s.settimeout(PATIENCE)
        while s.recv(4096):  # the settings of HTTP/2, and its goodbye
            pass
        s.close()
    check_balance(g.port)
    equal(g.finish(signal.SIGTERM), 0, "exit status")


def case_ids_in_every_form(env):
    """W3C's and Jaeger's: found again however the question writes them; what is no id is refused, one by one."""
    g, now = gateway(env), time.time_ns()
    whole, half, short = new_id(), "a" + new_id(8)[1:], "abc" + new_id(2)[1:]
    equal(g.post("/v1/traces", json.dumps(request(whole.upper(), 1)))[0], 200, "upper case in OTLP")
    zipkin = [{"traceId": t, "id": i, "parentId": "0", "name": "z", "timestamp": now // 1000, "duration": 10,
               "localEndpoint": {"serviceName": "old"}} for t, i in ((half.upper(), "E457B5A2E4D86BD1"), (short, "7"))]
    status, _, body = g.post("/api/v2/spans", json.dumps(zipkin))
    equal((status, body), (202, b""), "64 bits, trimmed, no parent written as 0")
    for trace_id, forms in ((whole, [whole.upper()]), (half, [half.upper(), half.zfill(32)]), (short, [short.zfill(16)])):
        g.wait_trace(trace_id, 1)
        for form in [trace_id] + forms:
            for path in ("/traces/", "/jaeger/api/traces/", "/api/v3/traces/", "/tempo/api/traces/", "/tempo/api/v2/traces/"):
                equal(g.get(path + form)[0], 200, path + form)
    for bad in ("S/kvNXezTaajzpKdDg5HNg==", half, whole + "0", whole[1:], "0" * 32, "0x" + whole, "z" * 32, ""):
        status, _, body = g.post("/v1/traces", json.dumps(request(bad, 1)))
        check(status == 200 and "bad_id" in json.loads(body)["partialSuccess"]["errorMessage"], f"{bad!r} in OTLP: {status} {body}")
    status, _, body = g.post("/api/v2/spans", json.dumps([dict(zipkin[0], traceId=t) for t in (whole + "1", "0", "x", "0x1")]))
    check(status == 202 and "4 of 4 spans rejected: 4 bad_id" in body.decode(), f"in Zipkin: {status} {body}")


def case_who_sends_too_much_sees_the_answer(env):
    """Not a connection that breaks while it is written to: plain clients look at the answer only after the last byte."""
    g = Receiver(env, "--receive-max-body", "16M")
    for headers, body, want in ((JSON, b" " * (30 << 20), 413), ({"Content-Type": "text/plain"}, b" " * (30 << 20), 415)):
        status, _, text = g.post("/v1/traces", body, headers)
        check(status == want and len(text) > 20, f"{status} {text}")
    c = http.client.HTTPConnection("127.0.0.1", g.http, timeout=PATIENCE)
    c.request("POST", "/v1/traces", (b" " * (1 << 20) for _ in range(30)), JSON, encode_chunked=True)
    equal(c.getresponse().status, 413, "chunks without a length")
    c.close()
    equal(metrics(g.port)["telltale_receive_held_bytes"][()], 0, "bytes held")
    equal(g.finish(signal.SIGTERM), 0, "exit status")


def case_children_of_shared_spans(env):
    """Zipkin's default: one id for both halves of a call, which the server's children name. They come first, in a request of their own."""
    g, trace_id, now = gateway(env), new_id(), time.time_ns() // 1000
    span = {"traceId": trace_id, "timestamp": now, "duration": 1000}
    front, back = {"localEndpoint": {"serviceName": "front"}}, {"localEndpoint": {"serviceName": "back"}}
    root, call, query = new_id(8), new_id(8), new_id(8)
    for spans in ([dict(span, **back, id=query, parentId=call, name="query", kind="CLIENT")],
                  [dict(span, **back, id=call, parentId=root, name="serve", kind="SERVER", shared=True)],
                  [dict(span, **front, id=call, parentId=root, name="call", kind="CLIENT"), dict(span, **front, id=root, name="root")]):
        equal(g.post("/api/v2/spans", json.dumps(spans))[0], 202, "status")
    spans = g.wait_trace(trace_id, 4)
    for child, parent in (("query", "serve"), ("serve", "call"), ("call", "root")):
        equal(spans.one(name=child).parent_id, spans.one(name=parent).span_id, f"parent of {child}")
    equal(spans.one(name="query").attrs["telltale.parent.method"], "zipkin-shared", "how it is known")


def case_each_bad_span_alone(env):
    """Of one request the good spans stay; the answer counts the others by reason. Nesting and lists have limits."""
    g, deep = gateway(env), {"stringValue": "x"}
    for _ in range(70):
        deep = {"arrayValue": {"values": [deep]}}
    good, body = new_id(), request(new_id(), 1, attributes=[{"key": "k", "value": deep}])
    for other in (request(good, 2), request("12", 3), request(new_id(), 1, startTimeUnixNano="1790000000"),
                  request(new_id(), 1, name=os.urandom(5000000).hex())):
        body["resourceSpans"] += other["resourceSpans"]
    for encoding, data in (("identity", json.dumps(body).encode()), ("gzip", gzip.compress(json.dumps(body).encode()))):
        status, _, reply = g.post("/v1/traces", data, dict(JSON, **{"Content-Encoding": encoding}))
        partial = json.loads(reply)["partialSuccess"]
        equal((status, partial["rejectedSpans"]), (200, "6"), "rejected spans")
        for reason in ("3 bad_id", "1 bad_time", "1 too_large", "1 too_deep"):
            check(reason in partial["errorMessage"], f"says {partial}")
    g.wait_trace(good, 2)
    many = new_id()
    equal(g.post("/v1/traces", json.dumps(request(many, 1, attributes=[{"key": f"k{i}", "value": {"intValue": i}}
                                                                       for i in range(5000)])))[0], 200, "many attributes")
    equal(len(g.wait_trace(many, 1)[0].attrs), 1024, "attributes kept")
    for body, want in ((b'{"resourceSpans":' + b"[" * 100000, "malformed"), (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":1', "string")):
        status, _, reply = g.post("/v1/traces", body)
        check(status == 400 and want in json.loads(reply)["message"], f"{status} {reply}")
    check_balance(g.port)
