# SPDX-License-Identifier: Apache-2.0
"""`telltale trace` as a command: what it runs, prints, and how it ends."""
import json
import os
import pty
import select
import signal
import time

from lib import (CLIENT, PATIENCE, SERVER, STATUS_UNSET, TELLTALE, app, check, equal, get, http_conn, need, parse_otlp,
                 static_nginx, wait_for)


def case_command_output_and_status_are_its_own(env):
    web, curl = static_nginx(env), need("curl")
    out, begin = env.path("own.json"), time.time()
    r = env.run([TELLTALE, "trace", "-o", out, "--format", "otlp-json", "--", curl, "-s", f"http://127.0.0.1:{web.port}/hello"])
    equal((r.returncode, r.stdout, r.stderr), (0, "hello, world\n", ""), "status, output, error output")
    with open(out) as f:
        s = parse_otlp(f.read()).one(kind=CLIENT)
    equal(s.service, "curl", "service.name")
    equal(s.attrs.get("http.request.method"), "GET", "method")
    equal(s.attrs.get("http.response.status_code"), 200, "status code")
    equal(s.attrs.get("url.full"), f"http://127.0.0.1:{web.port}/hello", "url.full")
    equal(s.attrs.get("server.port"), web.port, "server.port")
    equal(s.attrs.get("server.address"), "127.0.0.1", "server.address")
    equal(s.status, STATUS_UNSET, "status")
    # the kernel's clock, made to agree with that of the day
    check(begin - 0.1 < s.start / 1e9 < s.end / 1e9 < time.time() + 0.1, f"it was not when curl ran: {s.start} to {s.end}")
    for key in ("process.pid", "process.executable.name", "host.name", "process.command_line"):
        check(s.resource.get(key), f"resource has no {key}: {s.resource}")


def case_exit_status_is_passed_on(env):
    for script, want in (("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)):
        r = env.run([TELLTALE, "trace", "-o", env.path("x.json"), "--", "/bin/sh", "-c", script])
        # dying of the same signal is what a shell shows as 128 and its number
        got = 128 - r.returncode if r.returncode < 0 else r.returncode
        equal(got, want, f"exit status for '{script}'")


def case_a_command_that_is_not_there(env):
    r = env.run([TELLTALE, "trace", "--", "/nonexistent/program"])
    equal(r.returncode, 127, "exit status")
    check("/nonexistent/program" in r.stderr, f"says which: {r.stderr!r}")
    equal(len(r.stderr.strip().splitlines()), 1, f"lines said: {r.stderr!r}")


def case_tree_beside_clean_output(env):
    web, curl = static_nginx(env), need("curl")
    r = env.run([TELLTALE, "trace", "--", curl, "-s", f"http://127.0.0.1:{web.port}/hello"])
    equal((r.returncode, r.stdout), (0, "hello, world\n"), "status and output")
    check("curl" in r.stderr and "GET" in r.stderr, f"no tree: {r.stderr!r}")
    check("\x1b" not in r.stderr, "colour without a terminal")


def case_tree_to_a_file(env):
    web, curl = static_nginx(env), need("curl")
    r = env.run([TELLTALE, "trace", "-o", env.path("tree"), "--", curl, "-s", f"http://127.0.0.1:{web.port}/hello"])
    equal((r.returncode, r.stdout, r.stderr), (0, "hello, world\n", ""), "status, output, error output")
    with open(env.path("tree")) as f:
        text = f.read()
    check("curl" in text and "GET" in text and "ms" in text or "us" in text or "µs" in text, f"no tree: {text!r}")


def on_terminal(argv, environment=None, typed=b""):
    """(exit status, all that appears on a terminal of its own); types once the tracer is ready."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(argv[0], argv, dict(os.environ, **(environment or {})))
    seen = b""
    while True:
        if not select.select([fd], [], [], PATIENCE)[0]:
            os.kill(pid, signal.SIGKILL)
        try:
            more = os.read(fd, 4096)
        except OSError:  # the last who had it open has ended
            break
        seen += more
        if typed and b"Ctrl-C" in seen:
            os.write(fd, typed)
            typed = b""
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


def case_on_a_terminal(env):
    web, curl, out = static_nginx(env), need("curl"), env.path("terminal")
    ask = ["--", curl, "-s", f"http://127.0.0.1:{web.port}/hello"]
    status, seen = on_terminal([TELLTALE, "trace", *ask], {"TERM": "xterm", "NO_COLOR": ""})
    check(status == 0 and b"\x1b[" in seen and b"GET /hello" in seen, f"a tree in colour: {status} {seen!r}")
    status, seen = on_terminal([TELLTALE, "trace", *ask], {"TERM": "xterm", "NO_COLOR": "1"})
    check(status == 0 and b"\x1b" not in seen and b"GET /hello" in seen, f"a tree without: {status} {seen!r}")
    equal(on_terminal([TELLTALE, "trace", "-o", out, *ask], {"TERM": "xterm"}), (0, b"hello, world\r\n"), "with -o")
    with open(out, "rb") as f:
        text = f.read()
    check(b"GET /hello" in text and b"\x1b" not in text, f"the file: {text!r}")
    status, seen = on_terminal([TELLTALE, "trace", "-p", str(web.pids[-1])], typed=b"\x03")
    check(status == 0 and b"0 spans" in seen, f"after Ctrl-C: {status} {seen!r}")
    for args, what in ([], b"every process"), (["--process", "no-such-*"], b"what the options select"):
        status, seen = on_terminal([TELLTALE, "trace", *args], typed=b"\x03")
        check(status == 0 and b"tracing %s; Ctrl-C ends it" % what in seen, f"{args}: {status} {seen!r}")


def case_attach_to_a_pid(env):
    web = static_nginx(env)
    with env.trace(pids=web.pids) as t:
        equal(get(web.port, "/hello")[0], 200, "answer")
    s = t.spans.one(kind=SERVER)
    equal((s.service, s.path, s.attrs.get("http.response.status_code")), ("nginx", "/hello", 200), "service, path, code")
    return f"ready after {t.ready_s:.2f} s"


def case_a_connection_that_was_open_before(env):
    web = static_nginx(env)
    with http_conn(web.port) as c:
        c.get("/hello?before")
        with env.trace(pids=web.pids) as t:
            for i in range(3):
                equal(c.get(f"/hello?{i}")[0], 200, "answer")
    t.spans.count(3, kind=SERVER, path="/hello")


def case_children_are_followed(env):
    web, curl = static_nginx(env), need("curl")
    out = env.path("children.json")
    url = f"http://127.0.0.1:{web.port}/hello"
    r = env.run([TELLTALE, "trace", "-o", out, "--format", "otlp-json", "--", "/bin/bash", "-c",
                 f"{curl} -s {url}?1; ({curl} -s {url}?2 & wait); {curl} -s {url}?3 | cat"])
    equal(r.returncode, 0, "exit status")
    with open(out) as f:
        parse_otlp(f.read()).count(3, kind=CLIENT, service="curl")


def case_terminated_neatly(env):
    web = static_nginx(env)
    t = env.trace(pids=web.pids)
    get(web.port, "/hello")
    equal(t.finish(signal.SIGTERM), 0, "exit status after SIGTERM")
    t.spans.count(1, kind=SERVER)


def case_interrupt_reaches_the_command_once(env):
    t = env.trace(command=["/bin/sh", "-c", "trap 'echo got it; exit 5' INT; echo ready; while :; do sleep 0.05; done"], fmt="tree")
    wait_for(lambda: t.out() == "ready\n", "the command")
    t.popen.send_signal(signal.SIGINT)
    equal(t.wait(), 5, "exit status")
    equal(t.out(), "ready\ngot it\n", "what the command printed")


def case_spans_come_while_it_runs(env):
    web = static_nginx(env)
    with env.trace(pids=web.pids) as t:
        begin = time.monotonic()
        get(web.port, "/hello")
        wait_for(lambda: os.path.getsize(t.file) > 0, "the first span")
        took = time.monotonic() - begin
    t.spans.count(1, kind=SERVER)
    return f"first span after {took:.2f} s"


def case_duration_ends_it(env):
    web = static_nginx(env)
    for seconds in (1.5, 5, 20):
        begin = time.monotonic()
        t = env.trace(pids=web.pids, args=["--duration", f"{int(seconds * 1000)}ms"])
        get(web.port, "/hello")
        in_time = time.monotonic() - begin < seconds
        equal(t.wait(), 0, "exit status")
        check(time.monotonic() - begin >= seconds, "ended early")
        if in_time:  # else this machine stood still for so long
            break
    t.finish()
    t.spans.count(1, kind=SERVER)


def case_filters_on_what_is_shown(env):
    web, shop = static_nginx(env), app(env, "shop.py")
    with env.trace(pids=web.pids + shop.pids, args=["--errors"]) as t:
        get(web.port, "/hello")
        get(web.port, "/broken")
    equal([s.path for s in t.spans], ["/broken"], "paths with --errors")
    with env.trace(pids=web.pids + shop.pids, args=["--service", "ngin*"]) as t:
        get(web.port, "/hello")
        get(shop.port, "/echo/1")
    equal([s.service for s in t.spans], ["nginx"], "services with --service")
    quick = set()
    with env.trace(pids=shop.pids, args=["--min-duration", "80ms"]) as t:
        for i in range(10):
            begin = time.monotonic()
            get(shop.port, f"/echo/{i}")
            if time.monotonic() - begin < 0.08:
                quick.add(f"/echo/{i}")
        get(shop.port, "/slow/120")
    paths = {s.path for s in t.spans}
    check(quick and not quick & paths and "/slow/120" in paths, f"paths with --min-duration: {paths}; quick ones were {quick}")


def case_otlp_json_is_as_the_specification_says(env):
    web = static_nginx(env)
    with env.trace(pids=web.pids) as t:
        get(web.port, "/hello")
    with open(t.file) as f:
        request = json.loads(f.readline())
    span = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    check(isinstance(span["startTimeUnixNano"], str), "64-bit integers are strings")
    check(isinstance(span["kind"], int), "enums are numbers")
    codes = [a["value"] for a in span["attributes"] if a["key"] == "http.response.status_code"]
    equal(codes, [{"intValue": "200"}], "an integer attribute")
