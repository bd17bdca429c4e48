# SPDX-License-Identifier: Apache-2.0
"""A gateway whose store is ClickHouse: it answers as one with the embedded store does."""
import json
import os
import subprocess
import threading
import time
import urllib.parse

from cases_9query import JSON, NOW_S, Asked, shop_trace
from lib import Authority, TELLTALE, TOP, Skip, check, check_balance, equal, free_port, need, wait_for

USER, PASSWORD = "me", "p@ss word"


class Front:
    """tests/clickhouse/front.js on a port and directory of its own. .where, .pid"""

    def __init__(self, env, name, *tls):
        self.env, self.port, self.dir, self.tls = env, free_port(), env.path(f"clickhouse-{name}"), tls
        self.node = need("node")
        p = subprocess.run([os.path.join(TOP, "tests", "npm.sh")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True)
        if p.returncode:
            raise Skip("the npm packages cannot be had")
        self.packages = p.stdout.strip().splitlines()[-1]
        self.where = f"clickhouse+http{'s' if tls else ''}://{USER}:{urllib.parse.quote(PASSWORD)}@127.0.0.1:{self.port}/otel"
        self.start()

    def start(self):
        self.process = self.env.start([self.node, os.path.join(TOP, "tests", "clickhouse", "front.js"), self.packages,
                                       str(self.port), self.dir, USER, PASSWORD, *self.tls], "clickhouse")
        wait_for(lambda: "listening" in self.process.out() or not self.process.alive(), "the front to listen")
        check(self.process.alive(), f"the front ended: {self.process.err()[-500:]}")

    def stop(self):
        self.process.stop()


def send_shop(g, cnt=30):
    for number in range(1, cnt + 1):
        trace, spans = shop_trace(number, number % 10 == 0)
        spans[1][1]["attributes"] = [
            {"key": "retries", "value": {"intValue": str(number % 3)}},
            {"key": "user.id", "value": {"stringValue": str(number)}},
            {"key": "ratio", "value": {"doubleValue": number / 4}},
            {"key": "cached", "value": {"boolValue": number % 2 == 0}},
            {"key": "odd", "value": {"stringValue": "5' OR 1=1 --"}},
            {"key": "names", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "2"}]}}}]
        spans[1][1]["events"] = [{"timeUnixNano": spans[1][1]["startTimeUnixNano"], "name": "retry",
                                  "attributes": [{"key": "why", "value": {"stringValue": "timeout"}}]}]
        spans[1][1]["links"] = [{"traceId": "ab" * 16, "spanId": "cd" * 8}]
        g.send(spans)


def ask_all(g):
    """Answers to questions of every API, by question."""
    window = f"start={(NOW_S - 3600) * 10**6}&end={(NOW_S + 60) * 10**6}"
    seconds = f"start={NOW_S - 3600}&end={NOW_S + 60}"
    iso = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW_S + d)) for d in (-3600, 60)]
    found = {}
    for path in [f"/traces/{shop_trace(n)[0]}" for n in (1, 10)] + [
            "/traces/services", "/traces/operations", "/traces/operations?service=cart", "/traces/chains/order-1",
            "/api/services", "/api/services/cart/operations", "/api/dependencies?lookback=3600000",
            f"/api/traces?service=frontend&{window}&limit=20",
            f"/api/traces?service=frontend&{window}&limit=20&tags=" +
            urllib.parse.quote(json.dumps({"http.response.status_code": "500"})),
            f"/api/traces/{shop_trace(3)[0]}", "/api/v3/services",
            f"/api/v3/trace-summaries?query.serviceName=cart&query.startTimeMin={iso[0]}&query.startTimeMax={iso[1]}",
            f"/api/v2/search/tags?{seconds}", f"/api/v2/search/tag/span.retries/values?{seconds}",
            f"/api/v2/search/tag/resource.service.name/values?{seconds}",
            f"/api/v2/search/tag/span.user.id/values?{seconds}"]:
        found[path] = g.json(path)
    for q in ["{}", "{ span.retries > 1 }", '{ span.user.id = "7" }', '{ span.odd = "5\' OR 1=1 --" && status = error }',
              "{ span.ratio >= 5.25 }", "{ span.cached = true }", '{ name =~ "GET /i.*" }',
              '{ resource.service.name = "frontend" } > { status = error }', "{ duration > 30ms }",
              '{ event.why = "timeout" && span.retries = 0 }', '{ .http.response.status_code >= 500 }',
              '{ span.names = "a" && span.retries = 2 }', '{ resource.service.name = "cart" } | count() > 0',
              '{ rootServiceName = "frontend" && traceDuration > 30ms }', "{} | avg(duration) < 1h"]:
        path = f"/api/search?{seconds}&limit=100&q={urllib.parse.quote(q)}"
        found[q] = g.json(path).get("traces", [])
    for q in ["{ traceDuration > 30ms } | count_over_time()", '{ rootName = "GET /cart" } | rate() by (name)']:
        path = f"/api/metrics/query_range?{seconds}&step=600s&q={urllib.parse.quote(q)}"
        found[q] = g.json(path)["series"]
    for body in ({"service": "cart", "limit": 100}, {"status": "error"}, {"operation": "GET /cart", "min_duration": "39ms"}):
        found[json.dumps(body)] = g.json("/traces/search", "POST", body)
    return found


def case_answers_are_those_of_the_embedded_store(env):
    ours, theirs = Asked(env), Asked(env, "--store", Front(env, "same").where)
    for g in (ours, theirs):
        send_shop(g)
        wait_for(lambda g=g: len(g.json("/traces/search", "POST", {"limit": 100})["traces"]) == 30, "all traces")
    want, got = ask_all(ours), ask_all(theirs)
    for question, answer in want.items():
        equal(got[question], answer, f"answer to {question}")
        check(answer, f"nothing was answered to {question}")
    check_balance(theirs.port)
    equal(theirs.ask(f"/traces/{shop_trace(1)[0]}/archive", "PUT")[0] // 100, 5, "archiving")
    check(PASSWORD not in theirs.err() and "p%40ss" not in theirs.err(), "the password was logged")
    equal((ours.finish(), theirs.finish()), (0, 0), "exit status")
    return f"{len(want)} questions"


HOSTILE = ["x' OR 1=1 --", "'); DROP TABLE block; --", "\\' UNION SELECT name FROM sqlite_master --", '" || true } || { "',
           "%' ESCAPE '%", "{} | rate()", "a`b\\", "{x:String}", "$(id)", "../../dev/null", "\u00fc\u202e\n\t"]


def case_hostile_words_are_words(env):
    """As names, keys and values, in questions of every API and to both engines: each finds its own trace and no other."""
    quoted = urllib.parse.quote
    for g in (Asked(env), Asked(env, "--store", Front(env, "hostile").where)):
        traces = {}
        for n, word in enumerate(HOSTILE):
            traces[word], spans = shop_trace(n + 1)
            for i, (_, span) in enumerate(spans):
                span["name"] = word
                span["attributes"] = [{"key": word, "value": {"stringValue": word}}]
                spans[i] = (word, span)
            g.send(spans)
        wait_for(lambda g=g: len(g.json("/traces/search", "POST", {"limit": 100})["traces"]) == len(HOSTILE), "all traces")
        window = f"start={(NOW_S - 3600) * 10**6}&end={(NOW_S + 60) * 10**6}&limit=100"
        seconds = f"start={NOW_S - 3600}&end={NOW_S + 60}&limit=100"
        for word, trace in traces.items():
            for body in ({"service": word}, {"operation": word},
                         {"attributes": [{"key": word, "op": "=", "value": word}]}):
                found = g.json("/traces/search", "POST", body)["traces"]
                equal([t["trace_id"] for t in found], [trace], f"found by {body}")
            tags = quoted(json.dumps({word: word}))
            found = g.json(f"/api/traces?service={quoted(word)}&operation={quoted(word)}&tags={tags}&{window}")["data"]
            equal([t["traceID"] for t in found], [trace], f"found by Jaeger's tags {word!r}")
            text = json.dumps(word, ensure_ascii=False)
            for q in (f"{{ resource.service.name = {text} }}", f"{{ name = {text} }}", f"{{ span.{text} = {text} }}"):
                found = g.json(f"/api/search?{seconds}&q={quoted(q)}")["traces"]
                equal([t["traceID"].zfill(32) for t in found], [trace], f"found by {q}")
            equal(g.json(f"/traces/operations?service={quoted(word, '')}")["operations"][0]["name"], word, "operation")
        equal(len(g.json("/traces/services")["services"]), len(HOSTILE), "services")
        equal(g.finish(), 0, "exit status")


def case_two_gateways_share_it(env):
    front = Front(env, "shared")
    one, other = Asked(env, "--store", front.where), Asked(env, "--store", front.where)
    one.send(shop_trace(1)[1])
    other.send(shop_trace(2)[1])
    for g in (one, other):
        for n in (1, 2):
            equal(len(g.json(f"/traces/{shop_trace(n)[0]}")["resourceSpans"]), 2, f"services of trace {n}")
    r = env.run([TELLTALE, "store", "stats", "--json", front.where])
    equal(r.returncode, 0, f"store stats ({r.stderr})")
    s = json.loads(r.stdout)
    equal((s["spans"], s["traces"]), (4, 2), "figures")
    equal((one.finish(), other.finish()), (0, 0), "exit status")


def case_what_comes_while_it_is_away_is_kept(env):
    front = Front(env, "away")
    g = Asked(env, "--store", front.where)
    g.send(shop_trace(1)[1])
    front.stop()
    said, begin = [], time.monotonic()
    sender = threading.Thread(target=send_until_taken, args=(g, 2, said))
    sender.start()
    wait_for(lambda: "writing failed and is tried again" in g.err(), "a line about it")
    status, _, text = g.ask(f"/traces/{shop_trace(1)[0]}")
    equal((status, b"the store cannot be read now" in text), (503, True), f"what is said of reading: {text}")
    front.start()
    away = time.monotonic() - begin
    sender.join()
    # an answer is waited for 10 s, and up to 5 s lie between two tries to write
    check(away > 5 or said == [(2, 200)], f"answers {said} when it was away for {away:.1f} s")
    equal(len(g.json(f"/traces/{shop_trace(2)[0]}")["resourceSpans"]), 2, "services of the trace")
    equal(len(g.json(f"/traces/{shop_trace(1)[0]}")["resourceSpans"]), 2, "services of the trace before")
    check_balance(g.port)
    equal(g.finish(), 0, "exit status")


def send_until_taken(g, number, said):
    """As an exporter does: what is not acknowledged is sent again."""
    groups = [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
               "scopeSpans": [{"scope": {"name": "e2e"}, "spans": [span]}]} for service, span in shop_trace(number)[1]]
    body = json.dumps({"resourceSpans": groups})
    while True:
        status, _, reply = g.ask("/v1/traces", "POST", body, JSON, g.http)
        said.append((number, status))
        if status == 200:
            return
        check(status == 503, f"status while it is away: {status} {reply[:200]!r}")
        time.sleep(1)


def case_after_a_long_outage_everything_is_there_once(env):
    """Longer than an acknowledgement waits: senders are told 503 and send again."""
    front = Front(env, "outage")
    g, said = Asked(env, "--store", front.where), []
    send_until_taken(g, 1, said)
    front.stop()
    senders = [threading.Thread(target=send_until_taken, args=(g, n, said)) for n in range(2, 8)]
    for s in senders:
        s.start()
    wait_for(lambda: {n for n, status in said if status == 503} == set(range(2, 8)), "a 503 for each")
    equal([n for n, status in said if status == 200], [1], "acknowledged while it was away")
    front.start()
    for s in senders:
        s.join()
    equal(sorted(n for n, status in said if status == 200), list(range(1, 8)), "acknowledged")
    for n in range(1, 8):
        spans = [s for r in g.json(f"/traces/{shop_trace(n)[0]}")["resourceSpans"] for sc in r["scopeSpans"]
                 for s in sc["spans"]]
        equal(sorted(s["name"] for s in spans), ["GET /cart", "GET /items"], f"spans of trace {n}")
    check_balance(g.port)
    equal(g.finish(), 0, "exit status")
    s = json.loads(env.run([TELLTALE, "store", "stats", "--json", front.where]).stdout)
    equal(s["traces"], 7, "traces")
    equal(s["spans"], 14, f"rows of {len(said)} requests")
    return f"{len(said)} requests"


def refused(env, where, *options):
    """The one line of a gateway that does not start."""
    r = env.run([TELLTALE, "gateway", "--store", where, "--listen", "127.0.0.1:0", "--otlp-http", "off", "--otlp-grpc",
                 "off", *options])
    check(r.returncode == 1 and len(r.stderr.splitlines()) == 1, f"one line: {r.returncode} {r.stderr!r}")
    check("secret" not in r.stderr and PASSWORD not in r.stderr, "the password was shown")
    return r.stderr


def case_over_https(env):
    ca, other = Authority(env, "ours"), Authority(env, "theirs")
    server, client = ca.issue("localhost"), ca.issue("agent")
    front = Front(env, "https", *server, ca.cert)
    mine = ("--store-client-certificate", client[0], "--store-client-key", client[1])
    g = Asked(env, "--store", front.where, "--store-certificate", ca.cert, *mine)
    g.send(shop_trace(1)[1])
    equal(len(g.json(f"/traces/{shop_trace(1)[0]}")["resourceSpans"]), 2, "services of the trace")
    r = env.run([TELLTALE, "store", "stats", "--json", "--store-certificate", ca.cert, *mine, front.where])
    equal((r.returncode, json.loads(r.stdout or "{}").get("spans")), (0, 2), f"store stats ({r.stderr})")
    for options in (mine, ("--store-certificate", other.cert, *mine)):  # the system's authorities; another
        check("certificate" in refused(env, front.where, *options), "an authority that is not trusted")
    for word, *options in (("client certificate?", "--store-certificate", ca.cert),  # none of ours
                           ("/nowhere.pem", "--store-certificate", "/nowhere.pem"),
                           ("needs its key", "--store-client-certificate", client[0])):
        line = refused(env, front.where, *options)
        check(word in line, f"{word}: {line!r}")
    check("ClickHouse" in refused(env, env.path("plain"), "--store-certificate", ca.cert), "of a directory")
    equal(g.finish(), 0, "exit status")


def case_what_cannot_be_opened_is_said_in_one_line(env):
    front = Front(env, "closed")
    for where, word in ((front.where.replace(USER + ":", "him:"), "wrong user or password"),
                        (f"clickhouse+http://me:secret@127.0.0.1:{free_port()}/otel", "cannot connect")):
        line = refused(env, where)
        check(word in line, f"{word}: {line!r}")
