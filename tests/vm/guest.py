# SPDX-License-Identifier: Apache-2.0
"""Inside a guest: each capture backend against nginx and redis-server; HTTPS, a change of what is traced,
and HTTPS of several processes while the kernel preempts with the first; one result line a cell.

    guest.py NAME BACKEND...

All requests come from this process, which is traced too, so that both ends of each connection are
there to be joined. A guest is 50 to 90 times slower than its host: nothing here starts programs in
a loop.
"""
import http.client
import json
import os
import re
import ssl
import subprocess
import sys

import lib
from lib import CLIENT, SERVER, STATUS_ERROR, Fail, check, equal

HTTP_REQUESTS = 20
REDIS_COMMANDS = 20
CERTIFICATE, KEY = "/test/cert.pem", "/test/key.pem"
BUSY_CLIENTS, BUSY_REQUESTS = 3, 100
PREEMPT = "/sys/kernel/debug/sched/preempt"
TRIES = 3  # where the kernel skips runs of our programs: from 7.0 tracepoints can be interrupted


def http_load(web):
    for answers in range(2):  # gone before the next answer: its send sees the connection reset
        with lib.http_conn(web.port) as c:
            if answers:
                equal(c.get("/broken?seen")[0], 500, "answer of nginx")
            c.send("GET /broken?unseen HTTP/1.1\r\nHost: a\r\n\r\n")
    with lib.http_conn(web.port) as c:
        for i in range(HTTP_REQUESTS):
            equal(c.get(f"/hello?n={i}")[0], 200, "answer of nginx")
        equal(c.get("/missing")[0], 404, "answer of nginx")
        equal(len(c.get("/big")[2]), 3_000_000, "body sent by sendfile")


def redis_load(server):
    with lib.Conn(("127.0.0.1", server.port)) as c:
        c.send(b"".join(lib.resp("SET", f"key:{i}", "secret") for i in range(REDIS_COMMANDS)))
        for _ in range(REDIS_COMMANDS):
            equal(c.redis_reply(), "+OK", "answer of redis")
        equal(c.redis("GET", "key:7"), "secret", "answer of redis")
        check(c.redis("LPUSH", "key:7", "x").startswith("-WRONGTYPE"), "an error of redis")


def joined(spans, servers, what):
    """Every server span has the client span of the same request as its parent."""
    for s in servers:
        parent = spans.parent(s)
        check(parent is not None and parent.kind == CLIENT, f"{what}: parent of {s}: {parent}\n{spans.show()}")
        equal(parent.attrs.get("url.full", "").partition("?")[2] or parent.attrs.get("db.query.text"),
              s.attrs.get("url.query") or s.attrs.get("db.query.text") or "", f"{what}: the other end's request")


def check_nginx(spans):
    front = spans.count(HTTP_REQUESTS, kind=SERVER, service="nginx", path="/hello", http__response__status_code=200)
    spans.count(1, kind=SERVER, service="nginx", path="/missing", http__response__status_code=404)
    big = spans.one(kind=SERVER, service="nginx", path="/big", http__response__status_code=200)
    equal(big.attrs.get("http.response.body.size"), 3_000_000, "size of what sendfile sent")
    broken = spans.count(3, kind=SERVER, service="nginx", path="/broken", http__response__status_code=500)
    equal([s.attrs.get("error.type") for s in broken], ["500"] * 3, "answers that a reset came within")
    spans.count(HTTP_REQUESTS + 5, kind=CLIENT, pid=os.getpid(), http__request__method="GET")
    joined(spans, front + broken, "nginx")


def check_redis(spans):
    served = spans.count(REDIS_COMMANDS, kind=SERVER, db__operation__name="SET")
    spans.count(REDIS_COMMANDS, kind=CLIENT, db__operation__name="SET")
    equal(len({s.attrs["db.query.text"] for s in served}), REDIS_COMMANDS, "different keys")
    spans.one(kind=SERVER, db__operation__name="GET")
    equal(spans.one(kind=SERVER, db__operation__name="LPUSH").status, STATUS_ERROR, "status of an error")
    check("secret" not in repr([s.attrs for s in spans]), "a value is shown")
    joined(spans, served, "redis")


def check_https(spans):
    for kind, pid in ((SERVER, None), (CLIENT, os.getpid())):
        found = [s.path for s in spans if s.kind == kind and (s.path or "").startswith("/secure/") and pid in (None, s.pid)]
        equal(found, ["/secure/0", "/secure/1", "/secure/2"], f"requests inside TLS, kind {kind}\n{spans.show()}")


def missed_runs(text):
    """What the tracer says of calls that the kernel did not let it see."""
    found = re.search(r"kernel skipped (\d+) of our program runs", text)
    return int(found[1]) if found else 0


def cell(name, function, spans, missed):
    """One result line. What fails where the kernel skipped calls, as the books say, cannot be judged."""
    try:
        function(spans)
        print(f"PASS {name}")
    except Fail as e:
        lines = str(e).splitlines()
        if missed:
            print(f"SKIP {name}: the kernel skipped {missed} runs in each of {TRIES} tries: {lines[0]}")
            return
        print(f"FAIL {name}: {lines[0]}")
        print("".join(f"  {line}\n" for line in lines[1:20]), end="")


def holds(function, spans):
    try:
        function(spans)
        return True
    except Fail:
        return False


def https(env, kernel, capture, web):
    """Uprobes on OpenSSL; the kernel offers one of two ways to attach them."""
    name = f"vm/{kernel}/https"
    for attempt in range(TRIES):
        try:
            t = env.trace(pids=web.pids + [os.getpid()], args=["--capture", capture])
            c = http.client.HTTPSConnection("localhost", web.tls_port, context=ssl.create_default_context(cafile=CERTIFICATE))
            for i in range(3):
                c.request("GET", f"/secure/{i}")
                equal(c.getresponse().read(), b"ok", "answer of nginx")
            c.close()
            equal(t.finish(), 0, f"exit status of the tracer ({t.err()[-400:]})")
        except (Fail, OSError) as e:
            print(f"FAIL {name}: " + "\n  ".join(str(e).splitlines()))
            return
        missed = missed_runs(t.err())
        if not missed or holds(check_https, t.spans):
            break
    cell(name, check_https, t.spans, missed)


def busy_client(port, number, go):
    """A process with one connection, which begins when `go` says so. Its process id."""
    child = os.fork()
    if child:
        return child
    try:
        os.read(go, 1)
        c = http.client.HTTPSConnection("localhost", port, context=ssl.create_default_context(cafile=CERTIFICATE))
        for i in range(BUSY_REQUESTS):
            c.request("GET", f"/busy/{number}/{i}")
            equal(c.getresponse().read(), b"ok", "answer of nginx")
        os._exit(0)
    finally:
        os._exit(1)


def check_busy(spans, missed):
    """Each request once, as what it is; of those that are missing the kernel has skipped a call."""
    made = {f"/busy/{n}/{i}" for n in range(BUSY_CLIENTS) for i in range(BUSY_REQUESTS)}
    for kind in (SERVER, CLIENT):
        found = [s for s in spans if s.kind == kind and (s.path or "").startswith("/busy/")]
        paths = {s.path for s in found}
        check(paths <= made, f"requests that were not made, kind {kind}: {sorted(paths - made)[:5]}")
        equal(len(found), len(paths), f"spans of kind {kind}, where each request has one")
        check(len(made) - len(found) <= missed, f"{len(found)} of {len(made)} spans of kind {kind}, and {missed} runs skipped")
        wrong = [s for s in found if spans.parent(s) and spans.parent(s).path != s.path]
        check(not wrong, f"parents of other requests: {wrong[:5]}")


def busy_https(env, kernel, capture, web):
    """Programs are preempted, and other tasks come to the same probe on the same processor."""
    name = f"vm/{kernel}/https of {BUSY_CLIENTS} processes"
    if os.path.exists(PREEMPT):
        with open(PREEMPT, "w") as f:
            f.write("full")
    for attempt in range(TRIES):
        try:
            go, start = os.pipe()
            clients = [busy_client(web.tls_port, n, go) for n in range(BUSY_CLIENTS)]
            t = env.trace(pids=web.pids + clients, args=["--capture", capture])
            os.write(start, b"x" * BUSY_CLIENTS)
            equal([os.waitpid(c, 0)[1] for c in clients], [0] * BUSY_CLIENTS, "exit status of the clients")
            equal(t.finish(), 0, f"exit status of the tracer ({t.err()[-400:]})")
            missed = missed_runs(t.err())
            if holds(lambda spans: check_busy(spans, missed), t.spans):
                break
        except (Fail, OSError) as e:
            print(f"FAIL {name}: " + "\n  ".join(str(e).splitlines()))
            return
    cell(name, lambda spans: check_busy(spans, missed), t.spans, 0)


def source(agent, method, path, body=None):
    c = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=lib.PATIENCE)
    c.request(method, "/traces/sources" + path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    r = c.getresponse()
    text = r.read()
    check(r.status in (201, 204), f"{method} {path} {body}: {r.status} {text}")
    return json.loads(text or "{}").get("id")


def changed(env, kernel, capture, web):
    """What is traced changes in place: by name, by cgroup, by name, not at all."""
    name = f"vm/{kernel}/changed"

    def seen():
        rows = lib.metrics(a.port).get("traces_spanmetrics_calls_total", {})
        return sum(v for labels, v in rows.items() if ("service", "nginx") in labels)
    try:
        a = lib.Agent(env, "--process", "nothing-is-called-so", "--capture", capture)
        with lib.http_conn(web.port) as c:
            c.get("/hello?before")
            for n, rule in enumerate([{"name": "nginx*"}, {"cgroup": "/"}, {"name": "ngin?"}]):
                made = source(a, "POST", "", {"kind": "process", **rule})
                c.get("/hello")
                lib.wait_for(lambda: seen() == n + 1, f"the span of a request with {rule}")
                source(a, "DELETE", "/" + made)
                c.get("/hello?between")
        equal(seen(), 3, "spans")
        equal(a.finish(), 0, f"exit status ({a.err()[-400:]})")
        print(f"PASS {name}")
    except (Fail, OSError) as e:
        print(f"FAIL {name}: " + "\n  ".join(str(e).splitlines()))


def backend(env, kernel, capture, web, server):
    """Traces one load and judges it; again where the kernel skipped program runs and it shows."""
    name = f"vm/{kernel}/{capture}"
    cells = (("nginx", check_nginx), ("redis", check_redis))
    for attempt in range(TRIES):
        try:
            t = env.trace(pids=web.pids + [server.pid, os.getpid()], args=["--capture", capture])
            http_load(web)
            redis_load(server)
            status = t.finish()
            equal(status, 0, f"exit status of the tracer ({t.err()[-400:]})")
        except (Fail, OSError) as e:
            print(f"FAIL {name}/run: " + "\n  ".join(str(e).splitlines()))
            return
        missed = missed_runs(t.err())
        print(f"attached after {t.ready_s:.1f} s, {len(t.spans)} spans, {missed} runs skipped")
        if not missed or all(holds(f, t.spans) for _, f in cells):
            break
    for what, function in cells:
        cell(f"{name}/{what}", function, t.spans, missed)
    sys.stdout.flush()


def main():
    kernel, captures = sys.argv[1], sys.argv[2:]
    env = lib.Env()
    report = subprocess.run([lib.TELLTALE, "doctor", "--json"], stdout=subprocess.PIPE, check=False)
    subprocess.run([lib.PYTHON, "/test/loaded.py", kernel] + captures, input=report.stdout, check=False)
    try:
        tls_port = lib.free_port()
        web, server = lib.nginx(env, http=f"server {{ listen 127.0.0.1:{tls_port} ssl; ssl_certificate {CERTIFICATE}; "
                                          f"ssl_certificate_key {KEY}; return 200 ok; }}"), lib.redis(env)
        web.tls_port = tls_port
        for capture in captures:
            backend(env, kernel, capture, web, server)
        https(env, kernel, captures[0], web)
        changed(env, kernel, captures[0], web)
        busy_https(env, kernel, captures[0], web)
    finally:
        env.close()


main()
