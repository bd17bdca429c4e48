# SPDX-License-Identifier: Apache-2.0
"""The gateway's store: what was acknowledged is there, whatever happens to it."""
import glob
import http.client
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

from lib import (PATIENCE, TELLTALE, Agent, Gateway, Skip, can_connect, check, check_balance, equal, files_of, free_port, get,
                 http_conn, metrics, need, nginx, redis, static_nginx, wait_for)

START = 1_700_000_000_000_000_000


def request(n, spans=10, service="shop", start=None):
    """An OTLP/JSON request with one trace, and its id."""
    trace = f"{n + 1:032x}"
    start = start if start is not None else time.time_ns()
    body = {"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeSpans": [{"scope": {"name": "test"}, "spans": [
            {"traceId": trace, "spanId": f"{n * 1000 + i + 1:016x}",
             "parentSpanId": "" if i == 0 else f"{n * 1000 + 1:016x}", "name": f"op {i}", "kind": 2,
             "startTimeUnixNano": str(start + i), "endTimeUnixNano": str(start + i + 1_000_000),
             "attributes": [{"key": "n", "value": {"intValue": str(n)}}]} for i in range(spans)]}]}]}
    return trace, json.dumps(body).encode()


def post(port, body, headers=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        c.request("POST", "/v1/traces", body, {"Content-Type": "application/json", **(headers or {})})
        r = c.getresponse()
        return r.status, r.read()
    finally:
        c.close()


def ask(port, path, body=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        c.request("POST" if body else "GET", path, json.dumps(body) if body else None,
                  {"Content-Type": "application/json"} if body else {})
        r = c.getresponse()
        return r.status, json.loads(r.read() or b"null")
    finally:
        c.close()


def spans_of(reply):
    return [s for rs in reply.get("resourceSpans", []) for ss in rs["scopeSpans"] for s in ss["spans"]]


def there(port, trace, want):
    status, reply = ask(port, f"/traces/{trace}")
    equal(status, 200, f"GET /traces/{trace}")
    equal(len(spans_of(reply)), want, f"spans of {trace}")


def stats(env, store, *options):
    r = env.run([TELLTALE, "store", "stats", "--json", *options, store])
    equal(r.returncode, 0, f"store stats ({r.stderr})")
    return json.loads(r.stdout)


def case_received_is_served_and_survives_a_restart(env):
    g = Gateway(env)
    traces = []
    for n in range(50):
        trace, body = request(n)
        equal(post(g.http, body)[0], 200, "status")
        traces.append(trace)
    there(g.port, traces[7], 10)
    s = stats(env, g.store)  # beside the writer
    equal((s["spans"], s["traces"]), (500, 50), "figures")
    check(s["bytes_per_span"] > 0, "bytes per span")
    equal(g.finish(), 0, "exit status")
    g = Gateway(env, "--store", g.store)
    for t in traces:
        there(g.port, t, 10)
    status, found = ask(g.port, "/traces/services")
    check(status == 200 and "shop" in json.dumps(found), f"services: {found}")
    equal(g.finish(), 0, "exit status")


def case_killed_at_any_moment_nothing_acknowledged_is_lost(env):
    acknowledged, lock = [], threading.Lock()
    store, rounds = env.path("killed"), 4
    for turn in range(rounds):
        g = Gateway(env, "--store", store)
        stop = threading.Event()

        def send(k, g=g, turn=turn, stop=stop):
            n = (turn * 4 + k) * 100_000
            while not stop.is_set():
                trace, body = request(n, 20)
                try:
                    if post(g.http, body)[0] == 200:
                        with lock:
                            acknowledged.append(trace)
                except (OSError, http.client.HTTPException):
                    return
                n += 1
        threads = [threading.Thread(target=send, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        time.sleep(0.7 + 0.21 * turn)
        wait_for(lambda turn=turn: len(acknowledged) > 10 * (turn + 1), "answers")
        os.kill(g.pid, signal.SIGKILL)
        stop.set()
        for t in threads:
            t.join()
        g.popen.wait()
    g = Gateway(env, "--store", store)
    check(len(acknowledged) > 40, f"only {len(acknowledged)} were acknowledged")
    for trace in acknowledged:
        there(g.port, trace, 20)
    g.finish()
    return f"{len(acknowledged)} traces over {rounds} kills"


def case_a_second_writer_is_refused(env):
    g = Gateway(env)
    r = env.run([TELLTALE, "gateway", "--store", g.store, "--listen", "127.0.0.1:0", "--otlp-http", "off",
                 "--otlp-grpc", "off"])
    check(r.returncode == 1 and str(g.pid) in r.stderr and len(r.stderr.splitlines()) == 1,
          f"one line with the pid: {r.returncode} {r.stderr!r}")
    g.finish()


def fill_up(path):
    with open(path, "ab", buffering=0) as f:
        try:
            while f.write(b"x" * 4096):
                pass
        except OSError:
            pass


@contextlib.contextmanager
def small_disk(env):
    """A directory on a file system of 16 MB."""
    disk = env.path("disk-of-store")
    os.mkdir(disk)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "telltale-test", disk], capture_output=True).returncode:
        raise Skip("cannot mount a tmpfs here")
    try:
        yield disk
    finally:
        for p in env.processes:
            if p.name == "gateway":
                p.stop()
        subprocess.run(["umount", disk], check=True)
        os.rmdir(disk)


def case_a_full_disk_refuses_and_recovers(env):
    with small_disk(env) as disk:
        g = Gateway(env, "--store", os.path.join(disk, "store"))
        first, body = request(0)
        equal(post(g.http, body)[0], 200, "status")
        fill_up(os.path.join(disk, "ballast"))
        status = 200
        for n in range(1, 200):
            status, reply = post(g.http, request(n, 200)[1])
            if status != 200:
                break
        equal(status, 503, f"status on a full disk ({reply})")
        there(g.port, first, 10)
        os.unlink(os.path.join(disk, "ballast"))
        last, body = request(1000)
        wait_for(lambda: post(g.http, body)[0] == 200, "writing to go on")
        there(g.port, last, 10)
        equal(g.finish(), 0, "exit status")
        # started there: the same
        fill_up(os.path.join(disk, "ballast"))
        g = Gateway(env, "--store", os.path.join(disk, "store"))
        there(g.port, first, 10)
        there(g.port, last, 10)
        again, body = request(1001)
        equal(post(g.http, body)[0], 503, "status on a disk that was full at the start")
        equal(stats(env, g.store)["bad_blocks"], 0, "bad blocks, beside it")
        os.unlink(os.path.join(disk, "ballast"))
        wait_for(lambda: post(g.http, body)[0] == 200, "writing to go on")
        there(g.port, again, 10)
        wait_for(lambda: change(g.port, "PUT", f"/traces/{again}/archive")[0] == 204, "archiving to go on")
        fill_up(os.path.join(disk, "ballast"))
        status, reply = change(g.port, "PUT", f"/traces/{last}/archive")
        check(status == 503 and "no room on the disk" in str(reply), f"archiving on a full disk: {status} {reply}")
        equal(g.finish(), 0, "exit status")


def case_a_store_on_a_disk_that_was_always_full(env):
    """One line says so; once there is room it is made as ever."""
    with small_disk(env) as disk:
        fill_up(os.path.join(disk, "ballast"))
        store = os.path.join(disk, "store")
        r = env.run([TELLTALE, "gateway", "--store", store, "--listen", "127.0.0.1:0", "--otlp-http", "off",
                     "--otlp-grpc", "off"])
        check(r.returncode == 1 and store in r.stderr and "; make room, or" in r.stderr and
              len(r.stderr.splitlines()) == 1, f"{r.returncode} {r.stderr!r}")
        os.unlink(os.path.join(disk, "ballast"))
        g = Gateway(env, "--store", store)
        trace, body = request(0)
        equal(post(g.http, body)[0], 200, "status")
        there(g.port, trace, 10)
        equal(g.finish(), 0, "exit status")


def case_a_damaged_block_is_named_and_the_rest_served(env):
    g = Gateway(env)
    traces = []
    for n in range(6):
        trace, body = request(n, 50)
        equal(post(g.http, body)[0], 200, "status")
        traces.append(trace)
        time.sleep(0.15)  # each a block of its own
    equal(g.finish(), 0, "exit status")
    broken = 0
    for path in glob.glob(os.path.join(g.store, "part-*.db")):
        try:
            db = sqlite3.connect(path)
            for (row, body) in db.execute("select id, body from data limit 1").fetchall():
                db.execute("update data set body = ? where id = ?", (body[:40] + b"\xff" * 60 + body[100:], row))
                broken += 1
            db.commit()
            db.close()
        except sqlite3.Error:
            continue
        if broken:
            break
    check(broken == 1, "no block was found to damage")
    r = env.run([TELLTALE, "store", "check", g.store])
    check(r.returncode == 1 and "1 bad block" in r.stdout and len(r.stdout.splitlines()) >= 2,
          f"the block is named: {r.returncode} {r.stdout!r} {r.stderr!r}")
    r = env.run([TELLTALE, "store", "export", "-o", env.path("rest.jsonl"), g.store])
    check(r.returncode == 1 and "not all could be read: 1 bad block, 0 bad files" in r.stderr,
          f"a copy of what is left: {r.returncode} {r.stderr!r}")
    equal(stats(env, g.store)["bad_partitions"], 0, "files that are left out")
    g = Gateway(env, "--store", g.store)
    served = sum(ask(g.port, f"/traces/{t}")[0] == 200 for t in traces)
    check(served < 6 or broken, f"{served} of 6 served")
    check(served >= 3, f"only {served} of 6 traces are served")
    equal(post(g.http, request(99)[1])[0], 200, "status")
    g.finish()
    return f"{served} of 6 traces served"


def case_a_missing_file_is_told_of(env):
    """One that somebody took away, not one that went for its age."""
    g = Gateway(env, "--retention", "24s")
    parts = lambda: sorted(glob.glob(os.path.join(g.store, "part-0*.db")))
    for n in range(60):
        equal(post(g.http, request(n)[1])[0], 200, "status")
        if len(parts()) >= 4:
            break
        time.sleep(0.5)
    equal(g.finish(), 0, "exit status")
    said = env.run([TELLTALE, "store", "stats", g.store]).stderr
    equal(said, "", "of a whole store")
    gone = parts()[1]
    os.unlink(gone)
    r = env.run([TELLTALE, "store", "stats", g.store])
    check(r.returncode == 0 and f"{gone} is missing" in r.stderr and len(r.stderr.splitlines()) == 1, f"{r.returncode} {r.stderr!r}")


def case_spans_of_any_time_are_found(env):
    """Clocks that jump: what comes with old or future times is stored and found by its own time."""
    g = Gateway(env)
    now = time.time_ns()
    for n, start in enumerate((now, START, now - 3600 * 10**9, now + 600 * 10**9)):
        trace, body = request(n, 3, start=start)
        equal(post(g.http, body)[0], 200, "status")
        there(g.port, trace, 3)
    equal(g.finish(), 0, "exit status")


def no_file_holds(g, words):
    """The names of the files read."""
    names = set()
    for path, text in files_of(g.store):
        for w in words:
            check(w not in text, f"{w} can be read in {path}")
        names.add(os.path.basename(path))
    check(any(n.endswith(".db") for n in names), f"no database among {names}")
    return names


def case_an_encrypted_store_needs_its_key(env):
    key, other = env.write("key", "5a" * 32), env.write("other", "5b" * 32)
    g = Gateway(env, "--store-key-file", key)
    trace, body = request(1, service="secret-service")
    equal(post(g.http, body)[0], 200, "status")
    there(g.port, trace, 10)
    equal(g.finish(), 0, "exit status")
    no_file_holds(g, (b"secret-service",))
    for options, word in (([], "key"), (["--store-key-file", other], "key")):
        r = env.run([TELLTALE, "store", "stats", *options, g.store])
        check(r.returncode == 1 and word in r.stderr and len(r.stderr.splitlines()) == 1, f"refusal: {r.stderr!r}")
    equal(stats(env, g.store, "--store-key-file", key)["spans"], 10, "spans")


def case_nothing_of_a_span_can_be_read_without_the_key(env):
    """In no file, whether it runs, was killed or closed; the key comes from the environment."""
    words, key = (b"tell-nobody", b"op 3", b"secret-service"), {"TELLTALE_STORE_KEY": "5a" * 32}
    g = Gateway(env, "--retention", "4s", "--rollup", "1d", environment=key)
    for n in range(40):
        trace, body = request(n, service="secret-service")
        body = body.replace(b'"name": "op', b'"traceState": "a=tell-nobody", "name": "op')
        equal(post(g.http, body)[0], 200, "status")
    equal(change(g.port, "PUT", f"/traces/{trace}/archive")[0], 204, "archiving")
    names = no_file_holds(g, words)
    check(any(n.endswith("-wal") for n in names), f"no log among {names}")
    wait_for(lambda: ask(g.port, "/traces/rollups")[1]["total"] > 0, "summaries")
    there(g.port, trace, 10)
    no_file_holds(g, words)
    os.kill(g.pid, signal.SIGKILL)
    g.popen.wait()
    no_file_holds(g, words)
    g = Gateway(env, "--store", g.store, environment=key)
    there(g.port, trace, 10)
    equal(g.finish(), 0, "exit status")
    no_file_holds(g, words)
    r = env.run([TELLTALE, "store", "export", g.store], env=dict(os.environ, **key))
    check(r.returncode == 0 and "tell-nobody" in r.stdout, f"export with the key: {r.stderr}")
    r = env.run([TELLTALE, "store", "export", g.store], env=dict(os.environ, TELLTALE_STORE_KEY="5b" * 32))
    check(r.returncode == 1 and r.stdout == "" and "key" in r.stderr, f"with another: {r.returncode} {r.stderr!r}")


def case_the_store_command_says_what_is_missing(env):
    def says(args, status, *words):
        r = env.run([TELLTALE, "store", *args])
        check(r.returncode == status and all(w in r.stderr for w in words) and len(r.stderr.splitlines()) == 1,
              f"store {args}: {r.returncode} {r.stderr!r}")

    g = Gateway(env, environment={"TELLTALE_STORE_KEY": "07" * 32})
    equal(post(g.http, request(0)[1])[0], 200, "status")
    key = env.path("right-key")
    with open(key, "w") as f:
        f.write("07" * 32)
    says([], 2, "telltale: store: expected stats, check or export", "store --help")
    says(["stats", g.store], 1, "--store-key-file")
    says(["export", "--store-key-file", key, "-o", env.path("no/where"), g.store], 1, "telltale: write /", "no/where")
    says(["export", "--store-key-file", key, "-o", "/dev/full", g.store], 1, "write /dev/full: No space left")
    check("--store-key-file" in env.run([TELLTALE, "store", "--help"]).stdout, "the help has no key")
    r = env.run([TELLTALE, "store", "check", "--json", "--store-key-file", key, g.store])
    equal((r.returncode, json.loads(r.stdout)), (0, {"damage": [], "bad_blocks": 0}), "check --json")
    equal(g.finish(), 0, "exit status")


def case_export_writes_every_span(env):
    g = Gateway(env)
    for n in range(20):
        equal(post(g.http, request(n)[1])[0], 200, "status")
    out = env.path("all.jsonl")
    r = env.run([TELLTALE, "store", "export", "-o", out, g.store])
    equal(r.returncode, 0, f"exit status ({r.stderr})")
    ids = set()
    with open(out) as f:
        for line in f:
            ids |= {s["spanId"] for s in spans_of(json.loads(line))}
    equal(len(ids), 200, "spans")
    g.finish()


def case_the_agent_keeps_what_it_captures(env):
    web = static_nginx(env)
    a = Agent(env, *[x for p in web.pids for x in ("--pid", p)])
    for i in range(10):
        get(web.port, f"/hello?{i}")

    def found():
        status, reply = ask(a.port, "/traces/search", {"service": "nginx", "limit": 20})
        equal(status, 200, f"search ({reply})")
        return len(reply.get("traces", [])) == 10
    wait_for(found, "ten traces")
    equal(a.finish(), 0, "exit status")
    equal(stats(env, a.store)["spans"], 10, "spans")


def change(port, method, path, body=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        c.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"} if body else {})
        r = c.getresponse()
        text = r.read()
        return r.status, json.loads(text) if text else None
    finally:
        c.close()


def captured(port, service):
    status, reply = ask(port, "/traces/search", {"service": service, "limit": 100})
    equal(status, 200, f"search ({reply})")
    return len(reply.get("traces", []))


def case_what_is_traced_can_be_changed_while_it_runs(env):
    web = static_nginx(env)
    a = Agent(env, "--process", "nothing-is-called-so")
    get(web.port, "/hello?before")
    status, made = change(a.port, "POST", "/traces/sources", {"kind": "process", "pid": web.pids[-1]})
    check(status in (200, 201), f"adding: {status} {made}")
    for _ in range(5):
        get(web.port, "/hello?during")
    wait_for(lambda: captured(a.port, "nginx") == 5, "five traces")
    status, reply = change(a.port, "POST", "/traces/sources", {"kind": "process", "pid": 2**22 - 3})
    check(status == 400 and "no process" in json.dumps(reply), f"a pid that is not there: {status} {reply}")
    status, reply = change(a.port, "POST", "/traces/sources", {"kind": "process", "cgroup": "/no/such/cgroup"})
    check(status == 400 and "no cgroup" in json.dumps(reply), f"a cgroup that is not there: {status} {reply}")
    status, _ = change(a.port, "DELETE", f"/traces/sources/{made['id']}")
    check(status in (200, 204), f"removing: {status}")
    get(web.port, "/hello?after")
    time.sleep(1)
    equal(captured(a.port, "nginx"), 5, "traces")
    equal(a.finish(), 0, "exit status")
    with open(os.path.join(a.store, "audit.jsonl")) as f:
        equal(len(f.read().splitlines()), 2, "lines of the audit")


def counters(port):
    """Every counter of /metrics, but what a kernel may not tell."""
    return {(name, labels): v for name, rows in metrics(port).items() for labels, v in rows.items()
            if name.endswith("_total") and v == v and dict(labels).get("outcome") != "held"}


def case_changing_one_source_loses_nothing_of_another(env):
    name = f"nginx{os.getpid()}"  # no other has this name, nor is there such a service
    binary = env.path(name)
    shutil.copy(need("nginx"), binary)
    web, other, cache = nginx(env, binary=binary), nginx(env, binary=binary), redis(env)
    a = Agent(env, "--process", "nothing-is-called-so")
    with http_conn(web.port) as old:
        equal(old.get("/hello?before")[0], 200, "status")
        for server in web, other:  # whose connection is open is found by the walk
            equal(change(a.port, "POST", "/traces/sources", {"kind": "process", "pid": server.pids[0]})[0], 201, "adding")
        sent, ended = [1], threading.Event()

        def ask_on():
            with http_conn(web.port) as c:
                while not ended.is_set():
                    equal(c.get("/hello?during")[0], 200, "status")
                    sent[0] += 1
        equal(old.get("/hello?on-the-old-one")[0], 200, "status")
        thread = threading.Thread(target=ask_on)
        thread.start()
        before = counters(a.port)
        for source in [{"pid": cache.pid}, {"name": "redis*"}, {"name": f"{name}*"}, {"cgroup": "/"}] * 2:
            status, made = change(a.port, "POST", "/traces/sources", {"kind": "process", **source})
            equal(status, 201, f"adding {source} ({made})")
            equal(change(a.port, "DELETE", f"/traces/sources/{made['id']}")[0], 204, f"removing {source}")
            after = counters(a.port)
            less = {k: (v, after.get(k)) for k, v in before.items() if after.get(k, -1) < v}
            check(not less, f"counters that went back: {less}")
            before = after
        ended.set()
        thread.join()
    get(other.port, "/hello?other")

    def spans():
        rows = metrics(a.port).get("traces_spanmetrics_calls_total", {})
        return sum(v for labels, v in rows.items() if ("service", name) in labels)
    wait_for(lambda: spans() >= sent[0] + 1, f"{sent[0] + 1} spans of nginx", 10)
    time.sleep(0.5)
    equal(spans(), sent[0] + 1, "spans of nginx")
    status, reply = ask(a.port, "/traces/search", {"service": name, "status": "error"})
    equal((status, reply.get("traces", [])), (200, []), "errors")
    check_balance(a.port)
    equal(a.finish(), 0, "exit status")
    equal(a.err().count("capturing by"), 1, "times attached")


def case_a_process_is_traced_as_long_as_a_rule_selects_it(env):
    name = f"nginx{os.getpid()}"
    binary = env.path(name)
    shutil.copy(need("nginx"), binary)
    web = nginx(env, binary=binary)
    a = Agent(env, "--process", "nothing-is-called-so")
    seen = [0]

    def add(**source):
        status, made = change(a.port, "POST", "/traces/sources", {"kind": "process", **source})
        equal(status, 201, f"adding {source} ({made})")
        return made["id"]

    def remove(source):
        equal(change(a.port, "DELETE", f"/traces/sources/{source}")[0], 204, "removing")

    def traced(what):
        get(web.port, f"/hello?{seen[0]}")
        seen[0] += 1
        wait_for(lambda: captured(a.port, name) == seen[0], f"{what}: a trace")

    def not_traced(what):
        get(web.port, "/hello")
        time.sleep(1)
        equal(captured(a.port, name), seen[0], f"{what}: traces")

    by_pid = add(pid=web.pids[0])  # the master; the worker is of its family
    traced("a child")
    by_name, same = add(name=f"{name}*"), add(name=f"*{name[1:]}")
    remove(by_pid)
    traced("one whom another rule selects")
    remove(by_name)
    traced("one whom a third rule selects")
    names = [add(name=f"none-{n}") for n in range(14)]
    status, reply = change(a.port, "POST", "/traces/sources", {"kind": "process", "name": "one-more"})
    check(status == 400 and "too many" in json.dumps(reply), f"a name too many: {status} {reply}")
    traced("after a change that was refused")
    remove(names[0])
    by_port = add(port=free_port())
    not_traced("another port")
    remove(by_port)
    traced("all ports again")
    remove(same)
    not_traced("no rule")
    equal(a.finish(), 0, "exit status")


def case_a_receiver_can_be_added_while_it_runs(env):
    g = Gateway(env)
    port = free_port()
    trace, body = request(3)
    source = {"kind": "receiver", "protocol": "otlp-http", "listen": f"127.0.0.1:{port}"}
    status, made = change(g.port, "POST", "/traces/sources", source)
    check(status in (200, 201), f"adding: {status} {made}")
    equal(post(port, body)[0], 200, "status")
    there(g.port, trace, 10)
    status, reply = change(g.port, "POST", "/traces/sources", source)
    check(status >= 400, f"the same again: {status} {reply}")
    equal(g.finish(), 0, "exit status")
    g = Gateway(env, "--store", g.store)  # it is kept
    equal(post(port, request(4)[1])[0], 200, "status after a restart")
    status, _ = change(g.port, "DELETE", f"/traces/sources/{made['id']}")
    check(status in (200, 204), f"removing: {status}")
    check(not can_connect(("127.0.0.1", port)), "it still listens")
    equal(g.finish(), 0, "exit status")


def case_a_receiver_that_cannot_move_stays(env):
    """A change to an address that cannot be had says why, as the caller's mistake, and takes nothing away."""
    g, port = Gateway(env), free_port()
    source = {"kind": "receiver", "protocol": "otlp-http", "listen": f"127.0.0.1:{port}"}
    _, made = change(g.port, "POST", "/traces/sources", source)
    path = f"/traces/sources/{made['id']}"
    for listen, want, word in ((f"127.0.0.1:{g.http}", 409, "already in use"), ("192.0.2.1:4000", 400, "no such address")):
        for how in (("PUT", path), ("POST", "/traces/sources")):
            status, reply = change(g.port, *how, dict(source, listen=listen))
            check(status == want and word in json.dumps(reply), f"{how} {listen}: {status} {reply}")
        equal(post(port, request(3)[1])[0], 200, f"status of the one that stays, after {listen}")
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    kept.connect()
    equal(change(g.port, "PUT", path, dict(source, note="a note alone"))[0], 200, "a note")
    kept.request("POST", "/v1/traces", request(3)[1], {"Content-Type": "application/json"})
    equal(kept.getresponse().status, 200, "status on a connection from before the note")
    kept.close()
    moved = free_port()
    equal(change(g.port, "PUT", path, dict(source, listen=f"127.0.0.1:{moved}"))[0], 200, "a free port")
    equal((post(moved, request(3)[1])[0], can_connect(("127.0.0.1", port))), (200, False), "where it receives")
    equal(change(g.port, "PUT", path, dict(source, protocol="otlp-grpc", listen=f"127.0.0.1:{moved}"))[0], 200, "gRPC at the same port")
    equal(g.finish(), 0, "exit status")
