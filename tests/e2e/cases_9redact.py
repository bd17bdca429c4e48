# SPDX-License-Identifier: Apache-2.0
"""Redaction: what is secret or personal is in no file, answer, export or log once it came in over OTLP."""
import hashlib
import http.client
import http.server
import json
import os
import struct
import threading
import time

from lib import PATIENCE, TELLTALE, Gateway, check, equal, files_of, wait_for

# what must never be seen again; each is found in its text below
SECRETS = {
    "card": "4111 1111 1111 1111", "card2": "5500005555555559", "iban": "DE89370400440532013000",
    "iban2": "GB82 WEST 1234 5698 7654 32", "email": "jane.roe@example.com", "bearer": "mF_9.B5f-4.1JqM-tok",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "cookie": "s3ss10nc00k1e", "basic": "YWxhZGRpbjpvcGVuc2VzYW1l", "sql": "Mustermann-Sql", "number": "987654321",
    "url": "hunter2url", "query": "t0kenInTheQuery", "dbpass": "dbPassW0rd", "redis": "redis-s3cr3t-value",
    "aws": "AKIAIOSFODNN7EXAMPLE", "header": "x-api-key-V4lue99", "nested": "nestedPassw0rd!",
    "event": "4012888888881881", "link": "linked.person@example.org", "name": "4222222222222", "status": "john@corp.example",
    "resource": "resourceS3cret", "scope": "scope.mail@example.net", "list": "378282246310005",
    "command": "hunter2OfMysql", "argument": "hunter2OfCurl", "statement": "Mustermann-Key", "integer": "4000056655665556",
    "state": "in.the.state@example.org",
}


def text(s):
    return {"stringValue": s}


def attributes(pairs):
    return [{"key": k, "value": v if isinstance(v, dict) else text(v)} for k, v in pairs]


def spans(trace, s=SECRETS):
    now = time.time_ns()

    def span(n, name, pairs, **more):
        return dict({"traceId": trace, "spanId": f"{n:016x}", "parentSpanId": "" if n == 1 else f"{1:016x}", "name": name,
                     "kind": 3, "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 1000000),
                     "attributes": attributes(pairs)}, **more)
    return [
        span(1, f"pay {s['name']}", [
            ("note", f"paid with {s['card']} by {s['email']}"), ("payment.card", s["card2"]), ("account", s["iban"]),
            ("account.printed", f"IBAN: {s['iban2']}."), ("enduser.id", s["email"]), ("visible", "plain text stays"),
            ("http.request.header.authorization", f"Bearer {s['bearer']}"), ("said", f"Authorization: Basic {s['basic']}"),
            ("http.request.header.cookie", {"arrayValue": {"values": [text(f"session={s['cookie']}")]}}),
            ("http.request.header.x-api-key", s["header"]), ("jwt", s["jwt"]),
            ("url.full", f"https://bob:{s['url']}@shop.example/pay?access_token={s['query']}&page=2"),
            ("url.query", f"token={s['query']}"),
            ("process.command_line", f"mysql -u root -p{s['command']} shop"),
            ("process.command_args", {"arrayValue": {"values": [text("curl"), text("-u"), text("bob:" + s["argument"])]}}),
            ("orm.sql", f"UPDATE t SET name = '{s['statement']}'"), ("paid.with", {"intValue": s["integer"]}), ("db.password", s["dbpass"]), ("aws", f"key {s['aws']} used"),
            ("deep", {"kvlistValue": {"values": attributes([("password", s["nested"]),
                                                            ("cards", {"arrayValue": {"values": [text(s["list"])]}})])}})],
             traceState=f"ot=th:0,who={s['state']},dd=s:1",
             status={"code": 2, "message": f"no such user {s['status']}"},
             events=[{"name": "exception", "timeUnixNano": str(now),
                      "attributes": attributes([("exception.message", f"card {s['event']} refused")])}],
             links=[{"traceId": trace, "spanId": f"{9:016x}", "attributes": attributes([("to", s["link"])])}]),
        span(2, "SELECT accounts", [("db.system.name", "postgresql"), ("db.query.text", f"SELECT * FROM accounts "
                                     f"WHERE name = '{s['sql']}' AND id = {s['number']}")]),
        span(3, "SELECT accounts", [("db.system", "mysql"), ("db.statement", f'SELECT 1 FROM a WHERE n = "{s["sql"]}"')]),
        span(4, "SET", [("db.system.name", "redis"), ("db.query.text", f"SET session:1 {s['redis']} EX 60")])]


def request(trace, s=SECRETS):
    return {"resourceSpans": [{
        "resource": {"attributes": attributes([("service.name", "till"), ("startup.secret", s["resource"])])},
        "scopeSpans": [{"scope": {"name": "e2e", "attributes": attributes([("owner", s["scope"])])},
                        "spans": spans(trace, s)}]}]}


# ---- OTLP in protobuf, as much of it as this takes ----

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def any_value(v):
    if "stringValue" in v:
        return field(1, v["stringValue"].encode())
    if "intValue" in v:
        return varint(3 << 3) + varint(int(v["intValue"]))
    if "arrayValue" in v:
        return field(5, b"".join(field(1, any_value(x)) for x in v["arrayValue"]["values"]))
    return field(6, b"".join(field(1, key_value(x)) for x in v["kvlistValue"]["values"]))


def key_value(a):
    return field(1, a["key"].encode()) + field(2, any_value(a["value"]))


def fixed64(number, text_number):
    return varint(number << 3 | 1) + struct.pack("<Q", int(text_number))


def span_bytes(s):
    def attrs(number, owner):
        return b"".join(field(number, key_value(a)) for a in owner.get("attributes", []))
    out = field(1, bytes.fromhex(s["traceId"])) + field(2, bytes.fromhex(s["spanId"])) + \
        field(3, s.get("traceState", "").encode()) + field(4, bytes.fromhex(s["parentSpanId"])) + field(5, s["name"].encode()) + varint(6 << 3) + varint(s["kind"]) + \
        fixed64(7, s["startTimeUnixNano"]) + fixed64(8, s["endTimeUnixNano"]) + attrs(9, s)
    for e in s.get("events", []):
        out += field(11, fixed64(1, e["timeUnixNano"]) + field(2, e["name"].encode()) + attrs(3, e))
    for l in s.get("links", []):
        out += field(13, field(1, bytes.fromhex(l["traceId"])) + field(2, bytes.fromhex(l["spanId"])) + attrs(4, l))
    if "status" in s:
        out += field(15, field(2, s["status"]["message"].encode()) + varint(3 << 3) + varint(s["status"]["code"]))
    return out


def protobuf(body):
    rs = body["resourceSpans"][0]
    ss = rs["scopeSpans"][0]
    scope = field(1, ss["scope"]["name"].encode()) + b"".join(field(3, key_value(a)) for a in ss["scope"]["attributes"])
    return field(1, field(1, b"".join(field(1, key_value(a)) for a in rs["resource"]["attributes"])) +
                 field(2, field(1, scope) + b"".join(field(2, span_bytes(s)) for s in ss["spans"])))


# ---- a gateway and what leaves it ----

class Collector:
    """Keeps all that is posted to it."""

    def __init__(self):
        bodies = self.bodies = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def post(port, body, kind):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        c.request("POST", "/v1/traces", body, {"Content-Type": kind})
        r = c.getresponse()
        equal((r.status, r.read()), (200, b"{}" if "json" in kind else b""), "the answer")
    finally:
        c.close()


def ask(port, path, body=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        c.request("POST" if body else "GET", path, body and json.dumps(body), {"Content-Type": "application/json"} if body else {})
        r = c.getresponse()
        reply = r.read()
        equal(r.status, 200, f"status of {path} ({reply[:200]})")
        return reply
    finally:
        c.close()


def clean(where, data):
    found = [k for k, v in SECRETS.items() if v.encode() in data]
    equal(found, [], f"secrets in {where}")


def attributes_of(port, trace):
    """{key: value} of all spans, of the resource and the events."""
    out = {}

    def take(owner):
        for a in owner.get("attributes", []):
            out[a["key"]] = next(iter(a["value"].values()))
    for rs in json.loads(ask(port, f"/traces/{trace}"))["resourceSpans"]:
        take(rs["resource"])
        for s in (s for ss in rs["scopeSpans"] for s in ss["spans"]):
            take(s)
            for e in s.get("events", []):
                take(e)
    return out


def case_secrets_are_nowhere(env):
    collector = Collector()
    exported = env.path("exported.jsonl")
    try:
        g = Gateway(env, "--otlp-endpoint", collector.url, "--zipkin-endpoint", collector.url + "/api/v2/spans",
                    "--export-file", exported, "--export-stdout", "--log-level", "debug")
        one, two = os.urandom(16).hex(), os.urandom(16).hex()
        body = request(one)
        missing = [k for k, v in SECRETS.items() if v not in json.dumps(body)]
        equal(missing, [], "secrets that were not sent")
        post(g.http, json.dumps(body), "application/json")
        post(g.http, protobuf(request(two)), "application/x-protobuf")
        paths = [p for t in (one, two) for p in (f"/traces/{t}", f"/api/traces/{t}", f"/api/v3/traces/{t}", f"/tempo/api/traces/{t}")]
        for path in paths + ["/traces/recent", "/traces/services", "/traces/operations", "/metrics", "/tempo/api/search/tags",
                             "/tempo/api/v2/search/tag/note/values", "/api/traces?service=till"]:
            reply = ask(g.port, path)
            clean(path, reply)
        shown = attributes_of(g.port, one)
        equal(shown["visible"], "plain text stays", "what is no secret")
        equal(shown["db.query.text"] in ("SELECT * FROM accounts WHERE name = ? AND id = ?", "SET session:1 ? ? ?"), True,
              f"queries: {shown['db.query.text']}")
        equal(shown["note"], "paid with REDACTED by REDACTED", "a sentence")
        equal(shown["process.command_line"], "mysql -u root -pREDACTED shop", "a command line")
        equal(shown["orm.sql"], "UPDATE t SET name = ?", "a statement under another key")
        equal(shown["paid.with"], "REDACTED", "an integer")
        check("shop.example/pay" in shown["url.full"] and "page" in shown["url.full"], f"the URL: {shown['url.full']}")
        equal(attributes_of(g.port, two), shown, "what came as protobuf")
        clean("the search", ask(g.port, "/traces/search", {"limit": 10}))
        wait_for(lambda: len(collector.bodies) >= 2, "both exports")
        equal(g.finish(), 0, "exit status")
        for body in collector.bodies:
            clean("an export", body)
        check(any(b"plain text stays" in b for b in collector.bodies), "nothing was exported")
        clean("standard output", g.out().encode())
        check("pay" in g.out(), "no trees on standard output")
        clean("the log", g.err().encode())
        with open(exported, "rb") as f:
            lines = f.read()
        clean("the exported file", lines)
        check(b"plain text stays" in lines, "nothing in the exported file")
        for path, data in files_of(g.store):
            clean(path, data)
        out = env.path("store.jsonl")  # its blocks are compressed: as text, too
        equal(env.run([TELLTALE, "store", "export", "-o", out, g.store]).returncode, 0, "store export")
        with open(out, "rb") as f:
            clean("the store as text", f.read())
        return f"{len(SECRETS)} secrets, JSON and protobuf"
    finally:
        collector.stop()


def case_zipkin_passes_the_same_gate(env):
    g, trace, now = Gateway(env), os.urandom(16).hex(), time.time_ns() // 1000
    s = SECRETS
    span = {"traceId": trace, "id": "1" * 16, "name": f"pay {s['card2']}", "timestamp": now, "duration": 1500,
            "localEndpoint": {"serviceName": "till"}, "annotations": [{"timestamp": now, "value": f"told {s['email']}"}],
            "tags": {"password": s["dbpass"], "orm.sql": f"SELECT '{s['sql']}'", "http.url": f"http://bob:{s['url']}@shop/",
                     "process.command_line": f"mysql -p{s['command']}", "note": f"IBAN {s['iban']}"}}
    c = http.client.HTTPConnection("127.0.0.1", g.http, timeout=PATIENCE)
    c.request("POST", "/api/v2/spans", json.dumps([span]), {"Content-Type": "application/json"})
    equal(c.getresponse().status, 202, "status")
    c.close()
    clean("the trace", ask(g.port, f"/traces/{trace}"))
    shown = attributes_of(g.port, trace)
    equal((shown["password"], shown["orm.sql"], shown["note"]), ("REDACTED", "SELECT ?", "IBAN REDACTED"), "what is shown")
    g.finish()


def case_the_log_tells_no_secret_of_a_bad_request(env):
    g = Gateway(env, "--log-level", "debug")
    broken = json.dumps(request("zz" * 16))
    c = http.client.HTTPConnection("127.0.0.1", g.http, timeout=PATIENCE)
    c.request("POST", "/v1/traces", broken[:-40], {"Content-Type": "application/json"})
    r = c.getresponse()
    clean("the answer to a bad request", r.read())
    equal(r.status, 400, "status")
    c.close()
    g.finish()
    clean("the log", g.err().encode())


def case_lists_and_rules_of_ones_own(env):
    key = env.write("hash.key", "0123456789abcdef0123456789abcdef")
    args = ["--redact-allow", "payment.*", "--redact-deny", "visible", "--redact-deny", "account=drop",
            "--redact-deny", "db.password=hash", "--redact-rule", "order=mask:order-([0-9]+)", "--redact-rule", "email=hash",
            "--redact-hash-key-file", key]
    trace, again = os.urandom(16).hex(), os.urandom(16).hex()
    g = Gateway(env, *args)
    body = request(trace)
    body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"] += attributes([("which", "order-4711 late")])
    post(g.http, json.dumps(body), "application/json")
    shown = attributes_of(g.port, trace)
    equal(shown["payment.card"], SECRETS["card2"], "an allowed attribute")
    equal(shown["visible"], "REDACTED", "a denied one")
    check("account" not in shown, "a dropped one is there")
    equal(shown["which"], "order-REDACTED late", "a rule of one's own")
    check(shown["enduser.id"].startswith("hash:") and len(shown["enduser.id"]) == 37, f"hashed: {shown['enduser.id']}")
    check(shown["db.password"].startswith("hash:"), f"hashed: {shown['db.password']}")
    equal(shown["note"], f"paid with REDACTED by {shown['enduser.id']}", "the same value hashed within a text")
    post(g.http, json.dumps(request(again)), "application/json")
    equal(attributes_of(g.port, again)["enduser.id"], shown["enduser.id"], "the same value hashed again")
    g.finish()
    check(hashlib.sha256(SECRETS["email"].encode()).hexdigest()[:32] not in shown["enduser.id"], "a hash without the key")


def case_a_bad_rule_is_refused_in_one_line(env):
    short = env.write("short.key", "abc")
    for options, status, words in (
            (["--redact-rule", "x=mask:(unclosed"], 1, ["x", "parenthesis"]),
            (["--redact-rule", "nosuch=mask"], 1, ["nosuch"]),
            (["--redact-rule", "x=shred:a"], 2, ["redact-rule", "NAME=mask:PATTERN"]),
            (["--redact-rule", "email=hash"], 1, ["email", "key"]),
            (["--redact-deny", "a=hash"], 1, ["key"]),
            (["--redact-hash-key-file", short], 1, ["short.key", "16"]),
            (["--redact-hash-key-file", "/nowhere/key"], 1, ["/nowhere/key", "No such file"])):
        r = env.run([TELLTALE, "gateway", "--store", env.path("refused"), *options])
        lines = r.stderr.splitlines()
        check(r.returncode == status and 1 <= len(lines) <= 2 and all(w in r.stderr for w in words) and r.stdout == "",
              f"{options}: {r.returncode} {r.stderr!r}")
        check(not os.path.exists(env.path("refused")), f"{options}: a store was made")
