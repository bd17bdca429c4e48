# SPDX-License-Identifier: Apache-2.0
"""Asking a gateway: its own REST, Jaeger's and Tempo's APIs, live spans; bad questions, slow and idle clients."""
import concurrent.futures
import http.client
import json
import os
import re
import resource
import socket
import time
import urllib.parse

from lib import PATIENCE, Fail, Gateway, check, check_balance, equal, metrics, wait_for

JSON = {"Content-Type": "application/json"}
NOW_S = int(time.time())


class Asked(Gateway):
    """A gateway that was sent a few traces."""

    def ask(self, path, method="GET", body=None, headers=None, port=None):
        """(status, content type, body)"""
        c = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE)
        try:
            c.request(method, path, body, dict(headers or {}))
            r = c.getresponse()
            return r.status, r.getheader("Content-Type", ""), r.read()
        finally:
            c.close()

    def json(self, path, method="GET", body=None, status=200):
        got, kind, text = self.ask(path, method, body and json.dumps(body), JSON if body else None)
        equal(got, status, f"status of {path} ({text[:300]!r})")
        check(kind.startswith("application/json"), f"{path} is {kind}")
        return json.loads(text)

    def send(self, spans):
        """spans: of one trace; (service, span)"""
        groups = [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                   "scopeSpans": [{"scope": {"name": "e2e"}, "spans": [span]}]} for service, span in spans]
        got = self.ask("/v1/traces", "POST", json.dumps({"resourceSpans": groups}), JSON, self.http)
        equal(got[0], 200, "status of the sender")


def attribute(key, value):
    return {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}


def shop_trace(number, fail=False):
    """frontend calls cart; (trace id, spans)"""
    trace_id, root, child = f"{number:032x}", f"{number * 16 + 1:016x}", f"{number * 16 + 2:016x}"
    begin = (NOW_S - 60) * 10**9 + number % 2000 * 10**7

    def span(span_id, name, kind, from_ms, ms, **more):
        return dict({"traceId": trace_id, "spanId": span_id, "name": name, "kind": kind,
                     "startTimeUnixNano": str(begin + from_ms * 10**6),
                     "endTimeUnixNano": str(begin + (from_ms + ms) * 10**6)}, **more)
    return trace_id, [
        ("frontend", span(root, "GET /cart", 2, 0, 40, attributes=[
            attribute("http.request.header.x-request-id", f"order-{number % 3}"),
            attribute("http.response.status_code", 500 if fail else 200)])),
        ("cart", span(child, "GET /items", 2, 5, 20, parentSpanId=root,
                      status={"code": 2, "message": "no such item"} if fail else {}))]


def gateway(env):
    if "asked" not in env.shared or not env.shared["asked"].alive():
        g = env.shared["asked"] = Asked(env)
        for number in range(1, 31):
            g.send(shop_trace(number, number % 10 == 0)[1])
        wait_for(lambda: len(g.json("/traces/search", "POST", {"limit": 100})["traces"]) == 30 or None,
                 "all traces are found")
    return env.shared["asked"]


def ids(traces, key):
    return [int(t[key], 16) for t in traces]


def case_own_rest(env):
    g = gateway(env)
    trace_id = shop_trace(7)[0]
    spans = [s for r in g.json(f"/traces/{trace_id}")["resourceSpans"] for sc in r["scopeSpans"] for s in sc["spans"]]
    equal(sorted(s["name"] for s in spans), ["GET /cart", "GET /items"], "spans of a trace")
    found = g.json("/traces/search", "POST", {"structure": {"parent": {"service": "frontend"},
                                                            "child": {"service": "cart", "status": "error"},
                                                            "relation": "child"}})
    equal(ids(found["traces"], "trace_id"), [30, 20, 10], "traces whose cart failed, newest first")
    pages, page = [], {"limit": 12}
    while page:
        answer = g.json("/traces/search", "POST", page)
        pages += ids(answer["traces"], "trace_id")
        page = {"limit": 12, "page": answer["next"]} if answer.get("next") else None
    equal(pages, list(range(30, 0, -1)), "traces over all pages")
    chain = g.json("/traces/chains/order-1")
    equal(ids(chain["requests"], "trace_id"), list(range(1, 31, 3)), "requests of one correlation id, in order")
    equal(g.json("/traces/services")["services"], ["cart", "frontend"], "services")
    equal(g.ask(f"/traces/{trace_id}/archive", "PUT")[0], 204, "archiving")
    equal(g.json("/traces/archive")["traces"], [trace_id], "the archive")
    equal(g.ask(f"/traces/{trace_id}/archive", "DELETE")[0], 204, "letting go")
    equal([p["name"] for p in g.json("/health/ready")["parts"] if p["name"] == "store"], ["store"], "store in health")


def case_chain_over_blocks(env):
    """What came in two blocks of the store whose times overlap, one batch twice: the newest, each once."""
    store, chain = env.path("store.chain"), "/traces/chains/all-of-it"
    for odd in (0, 1):
        g = Asked(env, "--store", store)
        for number in [*range(odd, 10, 2)] * 2:
            _, spans = shop_trace(number + 1)
            spans[0][1]["attributes"] = [attribute("http.request.header.x-request-id", "all-of-it")]
            g.send(spans[:1])
        if not odd:
            g.finish()
    for limit in (1, 3, 7, 10):
        found = g.json(f"{chain}?limit={limit}")
        equal((ids(found["requests"], "trace_id"), found["truncated"]), ([*range(11 - limit, 11)], limit < 10), f"the newest {limit}")


def case_calls_of_batches_sent_again(env):
    g = Asked(env)
    for number in [1, 2, 3, 1, 2, 3]:
        g.send(shop_trace(number)[1])
    equal(g.json("/api/dependencies?lookback=3600000")["data"],
          [{"parent": "frontend", "child": "cart", "callCount": 3}], "calls, each once")


def case_jaeger(env):
    g = gateway(env)
    window = f"start={(NOW_S - 3600) * 10**6}&end={(NOW_S + 60) * 10**6}"
    for prefix in ("", "/jaeger"):
        equal(g.json(prefix + "/api/services")["data"], ["cart", "frontend"], "services")
        tags = urllib.parse.quote(json.dumps({"http.response.status_code": "500"}))
        found = g.json(f"{prefix}/api/traces?service=frontend&{window}&limit=20&tags={tags}")
        equal(ids(found["data"], "traceID"), [30, 20, 10], "traces found")
        processes = {p["serviceName"] for p in found["data"][0]["processes"].values()}
        equal(processes, {"frontend", "cart"}, "processes")
        one = g.json(f"{prefix}/api/traces/{shop_trace(10)[0]}")["data"][0]
        equal([s["references"][0]["refType"] for s in one["spans"] if s["references"]], ["CHILD_OF"], "references")
        equal(g.json(f"{prefix}/api/traces/{'f' * 32}", status=404)["errors"][0]["code"], 404, "an unknown id")
    equal(g.json("/api/dependencies?lookback=3600000")["data"],
          [{"parent": "frontend", "child": "cart", "callCount": 30}], "dependencies")
    iso = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW_S + d)) for d in (-3600, 60)]
    rows = g.json(f"/api/v3/trace-summaries?query.serviceName=cart&query.startTimeMin={iso[0]}"
                  f"&query.startTimeMax={iso[1]}&query.searchDepth=2")["summaries"]
    equal([(r["rootServiceName"], r["spanCount"], r["errorSpanCount"]) for r in rows],
          [("frontend", 2, 1), ("frontend", 2, 0)], "summaries")


def case_jaeger_metrics(env):
    """What Jaeger's monitoring page asks: one window that holds all calls."""
    g = gateway(env)
    window = f"endTs={(NOW_S + 60) * 1000}&lookback=3600000&step=3600000&ratePer=3600000"

    def series(figure, query):
        family = g.json(f"/jaeger/api/metrics/{figure}?{query}&{window}")
        equal(family["type"], "GAUGE", "type of the family")
        return family["name"], [({p["name"]: p["value"] for p in m["labels"]},
                                 [p["gaugeValue"]["doubleValue"] for p in m["metricPoints"]])
                                for m in family["metrics"]]

    equal(series("calls", "service=frontend"),
          ("service_call_rate", [({"service_name": "frontend"}, [30 / 3600])]), "calls a second")
    equal(series("errors", "service=cart"),
          ("service_error_rate", [({"service_name": "cart"}, [3 / 30])]), "share of errors")
    name, found = series("latencies", "service=frontend&service=cart&quantile=0.95&groupByOperation=true")
    equal(name, "service_operation_latencies", "name of the family")
    for labels, low, high in (({"operation": "GET /cart", "service_name": "frontend"}, 36, 44),
                              ({"operation": "GET /items", "service_name": "cart"}, 18, 22)):
        ms = next(points for own, points in found if own == labels)
        check(len(ms) == 1 and low < ms[0] < high, f"latency of {labels}: {ms}")
    equal(series("calls", "service=frontend&spanKind=client")[1], [], "calls as a client")
    equal(g.json("/api/metrics/calls?service=frontend&quantile=nan", status=400)["errors"][0]["code"], 400, "a bad quantile")
    equal(g.json(f"/api/metrics/calls?{window}", status=400)["errors"][0]["code"], 400, "no service")


def case_tempo(env):
    g = gateway(env)
    window = f"start={NOW_S - 3600}&end={NOW_S + 60}"
    query = urllib.parse.quote('{ resource.service.name = "frontend" } >> { status = error }')
    for prefix in ("", "/tempo"):
        equal(g.ask(prefix + "/api/echo")[2], b"echo", "echo")
        found = g.json(f"{prefix}/api/search?q={query}&{window}&limit=20")["traces"]
        equal(ids(found, "traceID"), [30, 20, 10], "traces found")
        values = g.json(f"{prefix}/api/v2/search/tag/resource.service.name/values?{window}")["tagValues"]
        equal([v["value"] for v in values], ["cart", "frontend"], "values of a tag")
    trace_id = shop_trace(10)[0]
    status, kind, body = g.ask(f"/api/traces/{trace_id}", headers={"Accept": "application/protobuf"})
    equal((status, kind), (200, "application/protobuf"), "a trace for Grafana")
    check(b"no such item" in body, "the trace holds its spans")
    equal(len(g.json(f"/tempo/api/traces/{trace_id}")["batches"]), 2, "batches")
    rate = urllib.parse.quote("{ } | count_over_time() by (resource.service.name)")
    series = g.json(f"/api/metrics/query_range?q={rate}&{window}&step=60s")["series"]
    equal(sorted(sum(float(s["value"]) for s in one["samples"]) for one in series), [30, 30], "spans counted")


def every_value(node):
    """Each AnyValue in an answer."""
    for item in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
        yield from every_value(item)
    if isinstance(node, dict) and isinstance(node.get("value"), dict):
        yield node["value"]
    if isinstance(node, dict) and "arrayValue" in node:
        yield from node["arrayValue"].get("values", [])


def case_strict_readers(env):
    """Pages that check each answer against a schema drop all of it for one value: none is empty, no number in quotes."""
    g = Asked(env)
    begin = (NOW_S - 30) * 10**9
    kinds = {"nan": {"doubleValue": "NaN"}, "most": {"doubleValue": "Infinity"}, "half": {"doubleValue": 0.5}, "none": {},
             "list": {"arrayValue": {"values": [{"intValue": "1"}, {}]}}, "bytes": {"bytesValue": "AQI="}, "a/b c": {"boolValue": True}}
    span = {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "00f067aa0ba902b7", "name": "odd", "kind": 2,
            "startTimeUnixNano": str(begin), "endTimeUnixNano": str(begin + 5 * 10**6),
            "attributes": [{"key": k, "value": v} for k, v in kinds.items()],
            "events": [{"timeUnixNano": str(begin), "name": "e", "attributes": [{"key": "none", "value": {}}]}]}
    g.send([("odd", span), ("odd", dict(span, traceId="1" * 32)), ("other", dict(span, spanId="2" * 16, parentSpanId=span["spanId"]))])
    window = "Min=2020-01-01T00:00:00Z&query.startTimeMax=2030-01-01T00:00:00Z"
    wait_for(lambda: len(g.json("/traces/search", "POST", {"limit": 100})["traces"]) == 2 or None, "both traces are found")
    one = g.json(f"/jaeger/api/v3/traces/{span['traceId']}")
    values = list(every_value(one))
    check(len(values) > 15, f"{len(values)} values")
    for v in values:
        check(len(v) == 1 and not isinstance(v.get("doubleValue"), str), f"a value with a type: {v}")
    all_of = g.json(f"/api/v3/traces?query.serviceName=odd&query.startTime{window}")["result"]["resourceSpans"]
    for r in all_of:
        equal(len({s["traceId"] for sc in r["scopeSpans"] for s in sc["spans"]}), 1, "traces in one resource")
    equal(len(all_of), 3, "resources of both traces")
    found = g.json("/tempo/api/search?limit=5&q=" + urllib.parse.quote("{ span.nan != nil } | select(span.half, span.nan, span.list)"))
    values = list(every_value(found["traces"]))
    check(values and not any(isinstance(v.get("doubleValue"), str) for v in values), f"values of a search: {values}")
    for encoded in ("span.a%2Fb%20c", "span.a%252Fb%2520c", "span.a%25252Fb%252520c"):
        equal([v["value"] for v in g.json(f"/tempo/api/v2/search/tag/{encoded}/values?limit=5000")["tagValues"]], ["true"], encoded)
    equal(g.ask(f"/jaeger/api/archive/{span['traceId']}", "POST")[0], 200, "the button of the page")
    equal(g.json("/traces/archive")["traces"], [span["traceId"]], "the archive")
    calls = g.json("/api/v3/dependencies?startTime=2020-01-01T00:00:00Z&endTime=2030-01-01T00:00:00Z")["dependencies"]
    equal(calls, [{"parent": "odd", "child": "other", "callCount": "1"}], "dependencies")


def drawn_parents(spans):
    """{span: the one that Jaeger's page draws it below}: the first reference to a span of the trace, of either kind."""
    known = {s["spanID"] for s in spans}
    return {s["spanID"]: next((r["spanID"] for r in s["references"] if r["spanID"] in known), None) for s in spans}


def case_jaeger_links(env):
    """Links within a trace, up, down and both ways: the page draws every span, as none is below itself."""
    g = Asked(env)
    trace_id, begin = "5" * 32, (NOW_S - 30) * 10**9
    links = {1: [3], 2: [], 3: [], 4: [5], 5: [4], 6: [6], 7: [2]}
    parents = {2: 1, 3: 2}
    g.send([("svc", dict({"traceId": trace_id, "spanId": f"{n:016x}", "name": f"s{n}", "startTimeUnixNano": str(begin + n),
                          "endTimeUnixNano": str(begin + 100), "links": [{"traceId": trace_id, "spanId": f"{m:016x}"} for m in to]},
                         **({"parentSpanId": f"{parents[n]:016x}"} if n in parents else {}))) for n, to in links.items()])
    wait_for(lambda: g.ask(f"/api/traces/{trace_id}")[0] == 200 or None, "the trace is there")
    spans = g.json(f"/api/traces/{trace_id}")["data"][0]["spans"]
    above = {int(k, 16): v and int(v, 16) for k, v in drawn_parents(spans).items()}
    for n in above:
        seen, at = set(), n
        while at is not None:
            check(at not in seen, f"span {n} is below itself: {above}")
            seen.add(at)
            at = above[at]
    equal({n: above[n] for n in (1, 2, 3, 6, 7)}, {1: None, 2: 1, 3: 2, 6: None, 7: 2}, "what is drawn below what")
    equal(sorted([above[4], above[5]], key=str), [4, None] if above[5] else [5, None], "of two that link to each other one is above")
    warned = {int(s["spanID"], 16) for s in spans if s["warnings"]}
    equal(warned, {1, 6, 4 if above[5] else 5}, "links left out are told")


SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*?\})? (\S+)(?: # (\{.*\}) (\S+)(?: (\S+))?)?$')
LABELS = re.compile(r'\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"(?:,(?!\})|(?=\})))*\}')


def open_metrics(text):
    """{family: (type, [(name, labels, value, exemplar labels)])}, refusing what the specification refuses."""
    lines, families, own, ended = text.split("\n"), {}, None, set()
    equal(lines[-2:], ["# EOF", ""], "the last line")
    for line in lines[:-2]:
        if line.startswith("# "):
            _, what, name, rest = line.split(" ", 3)
            check(what in ("HELP", "TYPE", "UNIT"), f"a comment: {line}")
            if name != own:
                check(name not in families, f"{name} comes in two parts")
                own = name
            kind = families.get(own, (None,))[0]
            families[own] = (rest if what == "TYPE" else kind, families.get(own, (None, []))[1])
            check(what != "TYPE" or rest in ("counter", "gauge", "histogram", "info"), line)
            continue
        m = SAMPLE.match(line)
        check(m and (not m[2] or LABELS.fullmatch(m[2])), f"no sample: {line}")
        kind, samples = families[own]
        suffixes = {"counter": ["_total", "_created"], "gauge": [""], "info": ["_info"],
                    "histogram": ["_bucket", "_count", "_sum", "_created"]}[kind]
        check(m[1] in [own + s for s in suffixes], f"{m[1]} in the {kind} {own}")
        check((m[1], m[2]) not in ended, f"twice: {m[1]}{m[2]}")
        ended.add((m[1], m[2]))
        check(not m[4] or (m[1].endswith(("_bucket", "_total")) and LABELS.fullmatch(m[4]) and len(m[4]) <= 128), line)
        samples.append((m[1], m[2] or "", float(m[3]), m[4]))
    return families


def case_open_metrics(env):
    """/metrics by the rules of OpenMetrics; the names that dashboards of Tempo's generator rely on."""
    g = gateway(env)
    ask = {"Accept": "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"}
    _, kind, text = g.ask("/metrics", headers=ask)
    check(kind.startswith("application/openmetrics-text; version=1.0.0"), kind)
    families = open_metrics(text.decode())
    for name, of in (("traces_spanmetrics_calls", "counter"), ("traces_spanmetrics_size", "counter"),
                     ("traces_spanmetrics_latency", "histogram"), ("traces_service_graph_request", "counter"),
                     ("traces_service_graph_request_failed", "counter"),
                     ("traces_service_graph_request_server_seconds", "histogram"),
                     ("traces_service_graph_request_client_seconds", "histogram")):
        equal(families[name][0], of, f"type of {name}")
    targets = [(s[0], s[1]) for s in families["traces_target"][1]]
    equal(families["traces_target"][0], "info", "type of traces_target_info")
    check(("traces_target_info", '{service="cart",job="cart"}') in targets, f"targets: {targets}")
    latency = families["traces_spanmetrics_latency"][1]
    check(any(s[3] for s in latency), "no bucket has an exemplar")
    for s in latency:
        if s[3]:
            trace_id = re.search('trace_id="([0-9a-f]{32})"', s[3])[1]
            equal(g.ask(f"/traces/{trace_id}")[0], 200, "the trace of an exemplar")
    buckets = {}
    for name, labels, value, _ in latency:
        if name.endswith("_bucket"):
            buckets.setdefault(re.sub(',le="[^"]*"', "", labels), []).append(value)
    for labels, values in buckets.items():
        equal(values, sorted(values), f"buckets of {labels}")
        equal([s[2] for s in latency if s[0].endswith("_count") and s[1] == labels], values[-1:], "count and +Inf")
    _, kind, text = g.ask("/metrics")
    check(kind.startswith("text/plain; version=0.0.4") and b"# {" not in text and b"# EOF" not in text, "the classic form")


def case_documented(env):
    """The document is served, and every path without names in it answers as HTTP."""
    g = gateway(env)
    doc = g.json("/openapi.json")
    check(doc["openapi"].startswith("3.1"), "OpenAPI 3.1")
    for path, methods in doc["paths"].items():
        if "get" in methods and "{" not in path and path != "/traces/live":
            status = g.ask(path)[0]
            check(str(status) in methods["get"]["responses"], f"{path}: {status} is not documented")


def more(s):
    """What comes next."""
    data = s.recv(65536)
    if not data:
        raise Fail("the stream ended")
    return data


def case_live(env):
    g = gateway(env)
    with socket.create_connection(("127.0.0.1", g.port)) as s:
        s.settimeout(PATIENCE)
        s.sendall(b"GET /traces/live?service=cart&errors=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
        text = b""
        while b": following" not in text:
            text += more(s)
        g.send(shop_trace(1001)[1])
        g.send(shop_trace(1010, True)[1])
        while b"event: span" not in text or not text.rstrip(b"\r\n").endswith(b"]}"):
            text += more(s)
    check(b"no such item" in text and f"{1010:032x}".encode() in text, "the failed call comes live")
    check(b"frontend" not in text and f"{1001:032x}".encode() not in text, "nothing else comes")


def case_live_slow_client(env):
    """A follower that never reads is dropped and counted; sending goes on."""
    g = Asked(env)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", g.port))
        s.sendall(b"GET /traces/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: b"following" in s.recv(4096, socket.MSG_PEEK) or None, "the stream begins")
        text = "x" * 20000

        def dropped():
            trace_id, spans = shop_trace(int.from_bytes(os.urandom(7), "big"))
            for _, span in spans:
                span["attributes"] = [attribute("text", text)]
            g.send(spans)
            rows = metrics(g.port)["telltale_records_total"]
            return rows.get((("outcome", "dropped_slow_client"), ("stage", "live"), ("unit", "span")), 0) or None
        wait_for(dropped, "the slow follower is dropped")
    check_balance(g.port)


def case_many_at_once(env):
    """Searches on every worker: each is answered, or told to try again and answered then; health in between."""
    g, refused = gateway(env), []

    def search():
        """Its status, tried again while it is 503."""
        def ask():
            status = g.ask("/traces/search", "POST", "{}", JSON)[0]
            if status == 503:
                refused.append(status)
            return status if status != 503 else None
        return wait_for(ask, "an answer that is not 503")

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        asked = [pool.submit(search) for _ in range(200)]
        for _ in range(20):
            equal(g.ask("/health/live")[0], 200, "health meanwhile")
        answers = [a.result() for a in asked]
    equal(set(answers), {200}, "answers")
    return f"{len(refused)} times told to try again"


def case_idle_connections(env):
    """1,300 connections, more than there may be, that say nothing or little keep nobody out."""
    g = gateway(env)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    idle = []
    try:
        for n in range(1300):
            idle.append(socket.create_connection(("127.0.0.1", g.port)))
            if n % 2:
                idle[-1].send(b"GET /health/live HTTP/1.1\r\nHost: local")
        equal(g.ask("/health/live")[0], 200, "health meanwhile")
        idle[0].settimeout(PATIENCE)
        equal(idle[0].recv(1), b"", "the one that was idle for longest")
    finally:
        for s in idle:
            s.close()
    check(g.alive(), "it is still there")


def case_bad_questions(env):
    g = gateway(env)
    deep = '{"a":' + "[" * 5000 + "]" * 5000 + "}"
    bad = [("/traces/" + "a" * 33, "GET", None, 400), ("/traces/zz", "GET", None, 400),
           ("/api/traces/%00", "GET", None, 400), ("/api/traces?service=a&limit=99999999999999999999", "GET", None, 400),
           ("/api/traces?service=a&start=-1", "GET", None, 400), ("/api/search?q=%7B%7B%7B", "GET", None, 400),
           ("/api/search?q=" + "%28" * 3000, "GET", None, 400),
           ("/traces/services?limit=1%3BDROP%20TABLE%20block", "GET", None, 400),
           ("/traces/search", "POST", "{", 400), ("/traces/search", "POST", deep, 400),
           ("/traces/search", "POST", " " * 100000, 413), ("/traces/search", "DELETE", None, 405),
           ("/nowhere", "GET", None, 404), ("/../etc/passwd", "GET", None, 404),
           ("/" + "a" * 30000, "GET", None, 414)]
    for path, method, body, want in bad:
        status, _, text = g.ask(path, method, body, JSON if body else None)
        equal(status, want, f"status of {method} {path[:60]} ({text[:200]!r})")
    equal(g.ask("/traces/search", "POST", "{}", {"Content-Type": "text/plain"})[0], 415, "another type")
    equal(g.ask("/traces/services", headers={"Host": "attacker.example"})[0], 403, "another host")
    status, _, text = g.ask("/traces/search", "POST", '{"service":"\' OR 1=1 --"}', JSON)
    equal((status, json.loads(text)["traces"]), (200, []), "SQL is text")
    equal(len(g.json("/traces/search", "POST", {"limit": 100, "service": "frontend"})["traces"]) >= 30, True, "nothing is harmed")
