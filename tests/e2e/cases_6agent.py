# SPDX-License-Identifier: Apache-2.0
"""The agent: export, metrics, books, overload."""
import json
import signal
import threading
import time

from lib import (TELLTALE, Agent, Endpoint, Gateway, books, check, check_balance, equal, free_port, get, http_conn, load, metrics, nginx, redis,
                 resp, shared_redis, static_nginx, wait_for, Conn)


def spans_of(endpoint, service):
    return [n for s, n in endpoint.spans() if s == service]


def case_export_over_otlp_http(env):
    endpoint, web = Endpoint(), static_nginx(env)
    try:
        a = Agent(env, *[x for p in web.pids for x in ("--pid", p)],
                  environment={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{endpoint.port}",
                               "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b"})
        load(web.port, [f"/hello?{i}" for i in range(50)], 2)
        equal(a.finish(), 0, "exit status")
        equal(len(spans_of(endpoint, "nginx")), 50, "spans that arrived")
        path, headers, _, _ = endpoint.requests[0]
        headers = {k.lower(): v for k, v in headers.items()}
        equal((path, headers.get("content-type"), headers.get("content-encoding"), headers.get("x-key")),
              ("/v1/traces", "application/x-protobuf", "gzip", "a b"), "path and headers")
    finally:
        endpoint.close()


def case_export_is_retried(env):
    endpoint, web = Endpoint(answers=[(503, {"Retry-After": "1"}), (429, {})]), static_nginx(env)
    try:
        a = Agent(env, *[x for p in web.pids for x in ("--pid", p)], "--otlp-endpoint", f"http://127.0.0.1:{endpoint.port}")
        get(web.port, "/hello")
        wait_for(lambda: spans_of(endpoint, "nginx"), "the span after two refusals")
        equal([r[3] for r in endpoint.requests[:3]], [503, 429, 200], "answers given")
        equal(endpoint.requests[0][2], endpoint.requests[2][2], "the same body again")
        check_balance(a.port)
        equal(a.finish(), 0, "exit status")
    finally:
        endpoint.close()


def case_export_that_is_refused_is_counted(env):
    endpoint, web = Endpoint(answers=[(400, {})]), static_nginx(env)
    try:
        a = Agent(env, *[x for p in web.pids for x in ("--pid", p)], "--otlp-endpoint", f"http://127.0.0.1:{endpoint.port}")
        get(web.port, "/hello")
        wait_for(lambda: sum(b["dropped"] for s, b in books(a.port).items() if "export" in s or "otlp" in s), "the loss")
        check_balance(a.port)
        a.finish()
        equal(len(endpoint.requests), 1, "tries")
    finally:
        endpoint.close()


def case_an_endpoint_that_hangs_stops_nothing(env):
    endpoint, web = Endpoint(hang=True), static_nginx(env)
    try:
        a = Agent(env, *[x for p in web.pids for x in ("--pid", p)], "--otlp-endpoint", f"http://127.0.0.1:{endpoint.port}",
                  "--otlp-timeout", "2s")
        load(web.port, [f"/hello?{i}" for i in range(200)], 4)
        check_balance(a.port)
        a.popen.terminate()
        a.wait()  # and the endpoint never answers
    finally:
        endpoint.close()


def case_metrics_balance(env):
    web = static_nginx(env)
    a = Agent(env, *[x for p in web.pids for x in ("--pid", p)])
    load(web.port, [f"/hello?{i}" for i in range(500)], 4)
    wait_for(lambda: any(b["out"] >= 500 for s, b in books(a.port).items() if "span" in s or "redact" in s), "500 spans")
    found = check_balance(a.port)
    for stage in ("ring", "stream", "proto", "span"):
        check(any(stage in s for s in found), f"no books of {stage}: {sorted(found)}")
    m = metrics(a.port)
    bad = [n for n in m if not n.startswith(("telltale_", "traces_spanmetrics_", "traces_service_graph_", "traces_target_info"))]
    equal(bad, [], "metrics with another prefix")
    equal(a.finish(), 0, "exit status")


def case_every_figure_is_shown_with_every_exporter(env):
    nowhere = f"http://127.0.0.1:{free_port()}"
    plain = Agent(env, "--process", "nobody-is-named-so")
    names = set(metrics(plain.port))
    equal(plain.finish(), 0, "exit status")
    a = Agent(env, "--process", "nobody-is-named-so", "--otlp-endpoint", nowhere, "--zipkin-endpoint", nowhere, "--export-stdout",
              "--export-file", env.path("spans.jsonl"), "--export-spool", env.path("spool"), "--sampling", "tail")
    lost = sorted(names - set(metrics(a.port)))
    equal(lost, [], "figures that an agent without exporters has")
    equal(a.finish(), 0, "exit status")


def case_bytes_left_out_have_their_reason(env):
    """sendfile's bytes, those beyond the budget, and both in one turn; the next request tells of them."""
    headers = "".join(f"add_header X-Long-{i} {'h' * 1500};" for i in range(4))
    web = nginx(env, server=f"location = /long {{ try_files /big =404; {headers} }}")
    server = shared_redis(env)
    a = Agent(env, *[x for p in web.pids + [server.pid] for x in ("--pid", p)])

    def gaps():
        return {name: int(sum(metrics(a.port)[f"telltale_stream_gap_{name}_bytes_total"].values()))
                for name in ("counted", "budget", "fault", "lost")}
    with http_conn(web.port) as c:
        equal(len(c.get("/big")[2]), 3_000_000, "body")
        equal(c.get("/missing")[0], 404, "status")
        wait_for(lambda: gaps()["counted"] >= 3_000_000, "the bytes of sendfile")
        equal(gaps(), {"counted": 3_000_000, "budget": 0, "fault": 0, "lost": 0}, "bytes left out of /big")
        equal(len(c.get("/long")[2]), 3_000_000, "body")
        equal(c.get("/missing")[0], 404, "status")
        wait_for(lambda: gaps()["budget"] > 3_002_000, "the bytes beyond the budget")
        long = gaps()
        check(long["counted"] == 3_000_000 and 3_002_000 < long["budget"] < 3_003_000 and not long["lost"], f"/long: {long}")
    with Conn(("127.0.0.1", server.port)) as c:
        for n in (4000, 4050, 4100, 4200, 100_000):  # what is kept of a turn's end covers up to 128 bytes more
            equal(c.redis("SET", "key", "v" * n), "+OK", "answer of redis")
            equal(len(c.redis("GET", "key")), n, "length of the value")
        equal(c.redis("PING"), "+PONG", "answer of redis")
        wait_for(lambda: gaps()["budget"] - long["budget"] > 180_000, "the long value's bytes")
        end = gaps()
        equal((end["counted"], end["fault"], end["lost"]), (3_000_000, 0, 0), f"other bytes left out: {end}")
    a.finish()
    return f"{end}"


def case_status_json(env):
    web = static_nginx(env)
    a = Agent(env, *[x for p in web.pids for x in ("--pid", p)])
    get(web.port, "/hello")
    r = env.run([TELLTALE, "status", "--json", "--address", f"127.0.0.1:{a.port}"])
    equal(r.returncode, 0, f"exit status ({r.stderr})")
    check(isinstance(json.loads(r.stdout), dict), "JSON")
    r = env.run([TELLTALE, "status", "--address", f"127.0.0.1:{a.port}"])
    check(r.returncode == 0 and len(r.stdout.splitlines()) > 3, f"the table: {r.stdout!r}")
    a.finish()


def case_doctor_json(env):
    r = env.run([TELLTALE, "doctor", "--json"])
    report = json.loads(r.stdout)
    check("capture" in json.dumps(report) or "trampoline" in json.dumps(report), f"backends: {report}")
    for row in report.get("programs", []):
        check(row.get("loaded") or row.get("reason"), f"a program neither loaded nor explained: {row}")


def case_overload_is_counted(env):
    """A ring of the smallest size and a queue of 1 MiB before an endpoint that hangs: much is lost,
    and every loss is in the books."""
    server, endpoint = redis(env), Endpoint(hang=True)
    try:
        a = Agent(env, "--pid", server.pid, "--ring-size", "16384", "--queue-size", "1048576",
                  "--otlp-endpoint", f"http://127.0.0.1:{endpoint.port}")

        def flood():
            with Conn(("127.0.0.1", server.port)) as c:
                block = b"".join(resp("SET", f"key:{i}", "v" * 300) for i in range(50))
                for _ in range(80):
                    c.send(block)
                    for _ in range(50):
                        c.f.readline()
                for i in range(500):
                    c.redis("GET", f"key:{i % 50}")
        threads = [threading.Thread(target=flood) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        # without a loss this proves nothing
        wait_for(lambda: sum(b["dropped"] for b in books(a.port).values()), "a loss")
        found = check_balance(a.port)
        note = ", ".join(f"{s}: {int(b['dropped'])} of {int(b['in'])}" for s, b in found.items() if b["dropped"])
        a.popen.terminate()
        a.wait()
        return note
    finally:
        endpoint.close()


def case_traces_of_the_whole_machine(env):
    web = static_nginx(env)
    a = Agent(env)
    with http_conn(web.port) as c:
        for i in range(20):
            c.get(f"/hello?{i}")
    wait_for(lambda: sum(b["out"] for s, b in books(a.port).items() if "span" in s) >= 20, "the spans")
    check_balance(a.port)
    equal(a.finish(), 0, "exit status")


def case_a_second_agent_on_the_same_port(env):
    a = Agent(env)
    r = env.run([TELLTALE, "run", "--listen", f"127.0.0.1:{a.port}"])
    check(r.returncode != 0 and str(a.port) in r.stderr, f"one clear line: {r.returncode} {r.stderr!r}")
    a.finish()


def hang_up(served, file, text):
    """Another configuration, and what the log says of it."""
    with open(file, "w") as f:
        f.write(text)
    said = len(served.err())
    served.popen.send_signal(signal.SIGHUP)
    wait_for(lambda: "SIGHUP: " in served.err()[said:], "SIGHUP to be told of")
    return served.err()[said:]


def case_sighup_reads_the_configuration_anew(env):
    web, file, other = static_nginx(env), env.path("telltale.yaml"), free_port()
    with open(file, "w") as f:
        f.write("process: nothing-is-called-so\n")
    a = Agent(env, "--config", file)
    get(web.port, "/hello?before")

    def spans():
        rows = metrics(a.port).get("traces_spanmetrics_calls_total", {})
        return sum(v for labels, v in rows.items() if ("service", "nginx") in labels)
    log = hang_up(a, file, f"process: [nothing-is-called-so, nginx*]\nport: {web.port}\n")
    check("changed: process, port" in log, f"the log: {log}")
    get(web.port, "/hello?during")
    wait_for(lambda: spans() == 1, "the span of the second request")
    for text, reason in ("procss: x\n", f"{file}:1"), ("process: x\ncgroup: /no/such/cgroup\n", "not found"):
        log = hang_up(a, file, text)
        check(reason in log and "nothing changes" in log, f"the log of {text}: {log}")
        get(web.port, "/hello?after-a-bad-one")
    wait_for(lambda: spans() == 3, "spans while the file was bad")
    hang_up(a, file, f"process: nginx*\nport: {other}\nlog-level: error\n")
    get(web.port, "/hello?other-port")
    time.sleep(1)
    equal(spans(), 3, "spans with another port")
    equal(a.finish(), 0, "exit status")


def case_sighup_names_what_needs_a_restart(env):
    file = env.path("telltale.yaml")
    with open(file, "w") as f:
        f.write("retention: 1h\n")
    g = Gateway(env, "--config", file)
    log = hang_up(g, file, "retention: 2h\nsampling: never\nlog-level: info\n")
    wait_for(lambda: "restart: " in g.err(), "the warning")
    told = next(line for line in g.err().splitlines() if "restart: " in line)
    check("retention" in told and "sampling" in told and "log-level" not in told, f"the warning: {told}")
    get(g.port, "/health/ready")
    equal(g.finish(), 0, "exit status")
