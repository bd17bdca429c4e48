# SPDX-License-Identifier: Apache-2.0
"""A trace as it is shown: clocks brought together, calls seen twice marked, orphans kept and counted,
in every answer that shows it."""
import http.client
import json
import os
import time
import urllib.parse

from lib import PATIENCE, Gateway, check, equal

MS = 10**6


class Shower(Gateway):
    def ask(self, method, path, body=None, port=None):
        c = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE)
        try:
            c.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"} if body else {})
            r = c.getresponse()
            text = r.read().decode()
            equal(r.status, 200, f"status of {path} ({text[:200]})")
            return text
        finally:
            c.close()


def attrs(**kv):
    return [{"key": k.replace("__", "."), "value": {"intValue": str(v)} if isinstance(v, int) else {"stringValue": v}}
            for k, v in kv.items()]


def group(service, host, pid, scope, *spans):
    return {"resource": {"attributes": attrs(service__name=service, host__name=host, process__pid=pid)},
            "scopeSpans": [{"scope": {"name": scope}, "spans": list(spans)}]}


def make(trace, t0, skew_ms=0, twice=False, orphan=False):
    """front (host a) calls cart (host b), whose clock is so far off; what capture saw of it, too."""
    def span(n, parent, kind, begin, end, **more):
        return dict({"traceId": trace, "spanId": f"{n:016x}", "parentSpanId": f"{parent:016x}" if parent else "",
                     "name": "GET /cart", "kind": kind, "startTimeUnixNano": str(t0 + begin * MS),
                     "endTimeUnixNano": str(t0 + end * MS)}, **more)
    groups = [group("front", "a", 7, "sdk", span(1, 0, 2, 0, 1000), span(2, 1, 3, 100, 900)),
              group("cart", "b", 8, "sdk", span(3, 2, 2, 200 - skew_ms, 800 - skew_ms))]
    if twice:
        groups.append(group("cart", "b", 8, "telltale", span(4, 2, 2, 199 - skew_ms, 801 - skew_ms)))
    if orphan:
        groups.append(group("front", "a", 7, "sdk", span(5, 99, 1, 300, 400)))
    return {"resourceSpans": groups}


def case_every_answer_shows_the_same_trace(env):
    g = Shower(env)
    trace, t0 = os.urandom(16).hex(), time.time_ns() - 60 * 1000 * MS
    g.ask("POST", "/v1/traces", make(trace, t0, 20000, twice=True, orphan=True), g.http)
    since, until = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + d)) for d in (-3600, 60))
    v3 = "?" + urllib.parse.urlencode({"query.serviceName": "front", "query.startTimeMin": since,
                                       "query.startTimeMax": until})
    for path in (f"/traces/{trace}", "/traces/recent", f"/api/traces/{trace}", f"/api/traces?traceID={trace}",
                 "/api/traces?service=front", f"/jaeger/api/traces/{trace}", f"/api/v3/traces/{trace}",
                 f"/api/v3/traces{v3}", f"/tempo/api/traces/{trace}", f"/tempo/api/v2/traces/{trace}"):
        text = g.ask("GET", path)
        json.loads(text)
        equal((text.count("telltale.clock_skew_ns"), text.count("telltale.duplicate_of")), (2, 1),
              f"moved and doubled spans in {path}")
        equal(text.count('"0000000000000003"') > 0, True, f"the SDK's span in {path}")
        check("0000000000000005" in text or "AAAAAAAAAAU=" in text, f"the orphan in {path}")
    for path in (f"/api/traces/{trace}?raw=true", f"/api/v3/traces/{trace}?rawTraces=true",
                 f"/api/v3/traces{v3}&query.rawTraces=true"):
        check("telltale." not in g.ask("GET", path), f"what was sent, as it is asked for in {path}")
    found = json.loads(g.ask("POST", "/traces/search", {"service": "front"}))["traces"][0]
    equal((found["spans"], found["orphans"]), (5, 1), "spans and orphans")
    equal((int(found["start_unix_nano"]), found["duration_ns"]), (t0, 1000 * MS), "when, by clocks that agree")
    rows = json.loads(g.ask("GET", f"/api/v3/trace-summaries{v3}"))["summaries"]
    equal((rows[0]["spanCount"], rows[0]["orphanSpanCount"], int(rows[0]["minStartTimeUnixNano"])), (5, 1, t0), "Jaeger's summary")
    found = json.loads(g.ask("GET", "/tempo/api/search?tags=service.name%3Dfront"))["traces"][0]
    equal((int(found["startTimeUnixNano"]), found["durationMs"]), (t0, 1000), "Tempo's summary")
    g.finish()


def case_nothing_is_changed_without_need(env):
    g = Shower(env)
    trace, t0 = os.urandom(16).hex(), time.time_ns() - 60 * 1000 * MS
    g.ask("POST", "/v1/traces", make(trace, t0), g.http)
    text = g.ask("GET", f"/traces/{trace}")
    check("telltale." not in text and str(t0 + 200 * MS) in text, f"a sound trace as it came: {text}")
    g.finish()
