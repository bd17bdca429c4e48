# SPDX-License-Identifier: Apache-2.0
"""Sampling: what is kept of what was received, and for how many it stands."""
import http.client
import json
import os
import random
import signal
import time
import urllib.parse

from lib import PATIENCE, TELLTALE, Gateway, books, check, check_balance, equal, metrics, wait_for

ALL = 2**56
MS = 10**6


def new_id(size=16):
    return os.urandom(size).hex()


def span(trace, name="GET /", parent=None, ms=1.0, **members):
    end = time.time_ns()
    return dict({"traceId": trace, "spanId": new_id(8), "parentSpanId": parent or "", "name": name, "kind": 2,
                 "startTimeUnixNano": str(end - int(ms * MS)), "endTimeUnixNano": str(end)}, **members)


def failed(trace, **more):
    return span(trace, status={"code": 2, "message": "no luck"}, **more)


class Sampler(Gateway):
    """A gateway that samples; one connection to it."""

    def __init__(self, env, *args):
        super().__init__(env, *args)
        self.env = env
        self.sent = 0
        self.sender = http.client.HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE)

    def send(self, spans, service="shop", scope="e2e"):
        body = {"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
            "scopeSpans": [{"scope": {"name": scope}, "spans": spans}]}]}
        self.sender.request("POST", "/v1/traces", json.dumps(body), {"Content-Type": "application/json"})
        r = self.sender.getresponse()
        equal((r.status, r.read()), (200, b"{}"), "the answer")
        self.sent += len(spans)

    def shown(self, trace):
        """How many spans of it can be read."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            c.request("GET", f"/traces/{trace}")
            r = c.getresponse()
            reply = json.loads(r.read())
        finally:
            c.close()
        if r.status == 404:
            return 0
        equal(r.status, 200, "status")
        return sum(len(s["spans"]) for rs in reply["resourceSpans"] for s in rs["scopeSpans"])

    def decided(self):
        """Waits until nothing waits for its decision and what was kept can be read; the books then."""
        def settled():
            found = books(self.port)
            return found if found["trace"]["held"] == 0 and found["store"]["held"] == 0 else None
        return wait_for(settled, "every decision")

    def measured(self):
        """Spans that the span metrics count."""
        return sum(metrics(self.port).get("traces_spanmetrics_calls_total", {}).values())

    def end(self, sig=signal.SIGTERM):
        """Ends it; {trace id: spans} of its store."""
        self.sender.close()
        equal(self.finish(sig), 0, f"exit status ({self.err()[-300:]})")
        out = self.env.path(f"kept.{len(self.env.processes)}.{self.port}")
        r = self.env.run([TELLTALE, "store", "export", "-o", out, self.store])
        equal(r.returncode, 0, f"store export ({r.stderr})")
        kept = {}
        with open(out) as f:
            for line in f:
                for rs in json.loads(line)["resourceSpans"]:
                    for s in (s for ss in rs["scopeSpans"] for s in ss["spans"]):
                        kept.setdefault(s["traceId"], []).append(s)
        return kept


def threshold(s):
    """Of 2^56, what was rejected of its like."""
    for member in s.get("traceState", "").split(","):
        for sub in member.removeprefix("ot=").split(";") if member.startswith("ot=") else []:
            if sub.startswith("th:"):
                return int(sub[3:].ljust(14, "0"), 16)
    return 0


def adjusted(spans):
    return sum(ALL / (ALL - threshold(s)) for s in spans)


def case_always_is_shown_at_once_and_never_is_only_counted(env):
    g, trace = Sampler(env), new_id()
    g.send([span(trace), span(trace)])
    equal(g.shown(trace), 2, "spans, right after the answer")
    check("traceState" not in g.end()[trace][0], "a tracestate where nothing was sampled")
    g = Sampler(env, "--sampling", "never")
    for _ in range(10):
        g.send([span(new_id())])
    equal(g.measured(), 10, "spans in the span metrics")
    found = check_balance(g.port)
    equal((found["sample"]["in"], found["sample"]["dropped"]), (10, 10), "books")
    equal(g.end(), {}, "what is kept")


def case_a_ratio_keeps_the_same_traces_everywhere(env):
    one, two = (Sampler(env, "--sampling", "ratio", "--sampling-ratio", "0.25") for _ in range(2))
    traces = [new_id() for _ in range(4000)]
    for at in range(0, len(traces), 200):
        roots = [span(t) for t in traces[at:at + 200]]
        one.send(roots)
        two.send([span(t, parent=r["spanId"]) for t, r in zip(traces[at:at + 200], roots)])
    equal((one.measured(), two.measured()), (4000, 4000), "spans in the span metrics, before sampling")
    kept, other = one.end(), two.end()
    equal(set(kept), set(other), "traces kept by either")
    check(850 < len(kept) < 1150, f"{len(kept)} of 4000 at a ratio of 0.25")
    equal({s["traceState"] for t in kept.values() for s in t}, {"ot=th:c"}, "tracestates")
    equal(adjusted(s for t in kept.values() for s in t), len(kept) * 4, "adjusted count")
    check(all(int(t[-14:], 16) >= 0xc0000000000000 for t in kept), "kept below the threshold")


def ask(g, path):
    c = http.client.HTTPConnection("127.0.0.1", g.port, timeout=PATIENCE)
    try:
        c.request("GET", path)
        r = c.getresponse()
        reply = r.read()
    finally:
        c.close()
    equal(r.status, 200, f"status of {path} ({reply[:200]})")
    return json.loads(reply)


def case_rates_are_those_before_sampling(env):
    """What is kept of a known ratio, each span counted for those it stands for; every tenth an error."""
    g = Sampler(env, "--sampling", "ratio", "--sampling-ratio", "0.25")
    g.send([span(new_id()) for _ in range(400)] + [failed(new_id()) for _ in range(40)])
    window = f"service=shop&endTs={int(time.time()) * 1000 + 2000}&lookback=600000&step=600000&ratePer=600000"
    calls, errors = (ask(g, f"/api/metrics/{name}?{window}")["metrics"][0]["metricPoints"][0]["gaugeValue"]["doubleValue"]
                     for name in ("calls", "errors"))
    now, tempo = int(time.time()), []
    for q in ("{} | count_over_time()", "{} | rate()", "{ rootName = \"GET /\" } | count_over_time()"):
        series = ask(g, f"/api/metrics/query_range?start={now - 3600}&end={now + 60}&step=60s&q={urllib.parse.quote(q)}")
        tempo.append(sum(sample.get("value", 0) for sample in series["series"][0]["samples"]))
    kept = [s for t in g.end().values() for s in t]
    check(60 < len(kept) < 160, f"{len(kept)} of 440 at a ratio of 0.25")
    equal(round(calls * 600, 6), 4.0 * len(kept), "calls, as Jaeger's page has them")
    equal(round(errors * len(kept), 6), float(sum("status" in s and s["status"].get("code") == 2 for s in kept)), "errors")
    equal([round(v, 6) for v in tempo], [4.0 * len(kept), round(4 * len(kept) / 60, 6), 4.0 * len(kept)], "Tempo's")


def case_what_was_sampled_before_counts_on(env):
    """A sampler before ours kept a quarter: at a half nothing more is lost; at an eighth, half of them."""
    coarse, fine = Sampler(env, "--sampling", "ratio", "--sampling-ratio", "0.5"), \
        Sampler(env, "--sampling", "ratio", "--sampling-ratio", "0.125")
    traces = [t for t in (new_id() for _ in range(4000)) if int(t[-14:], 16) >= 0xc0000000000000]
    for g in (coarse, fine):
        g.send([span(t, traceState="ot=th:c,other=1") for t in traces])
    equal(set(coarse.end()), set(traces), "traces kept")
    kept = fine.end()
    check(len(traces) * 0.4 < len(kept) < len(traces) * 0.6, f"{len(kept)} of {len(traces)}")
    equal({s["traceState"] for t in kept.values() for s in t}, {"ot=th:e,other=1"}, "tracestates")


def case_a_callers_no_is_followed_in_captured_spans(env):
    """An SDK that sends a span has heard its caller; many leave the sampled bit out of the flags."""
    no, yes, sdk, bare = (new_id() for _ in range(4))
    g = Sampler(env)
    g.send([span(no, flags=0x300), span(yes, flags=0x301)], scope="telltale")
    g.send([span(sdk, flags=0x300), span(bare)], scope="go.opentelemetry.io/http")
    equal(set(g.end()), {yes, sdk, bare}, "traces kept")
    g = Sampler(env, "--no-sampling-parent")
    g.send([span(no, flags=0x300)], scope="telltale")
    equal(set(g.end()), {no}, "traces kept when the caller is not asked")


def case_a_rate_is_a_limit(env):
    g = Sampler(env, "--sampling", "rate", "--max-traces-per-second", "20")
    begin, sent = time.monotonic(), 0
    while time.monotonic() - begin < 4:
        for t in [new_id() for _ in range(20)]:
            g.send([span(t)])
            g.send([span(t)])
            sent += 1
        time.sleep(0.02)
    took = time.monotonic() - begin
    kept = g.end()
    check(min(20, sent) <= len(kept) <= 20 * (took + 2), f"{len(kept)} traces of {sent} in {took:.1f} s at 20 a second")
    equal({len(t) for t in kept.values()}, {2}, "spans of each trace")


class Mix:
    """Ordinary traffic of two operations, and the traces that must not be lost among it."""

    def __init__(self, g):
        self.g, self.ordinary, self.failed, self.slow, self.first = g, {}, [], [], []

    def trace(self, name, ms, fails=False):
        t = new_id()
        root = span(t, name, ms=ms)
        below = (failed if fails else span)(t, name="SELECT", parent=root["spanId"], ms=ms / 2)
        return t, [below, root]

    def second(self, slow=0, fails=0, first=None):
        spans = []

        def add(to, *args):
            t, made = self.trace(*args)
            spans.extend(made)
            to.append(t)
        for i in range(300):
            t, made = self.trace("GET /cart" if i % 3 else "GET /item", 10 + i % 7)
            spans.extend(made)
            self.ordinary[t] = True
        for _ in range(slow):
            add(self.slow, "GET /cart", 900)
        for _ in range(fails):
            add(self.failed, "GET /item", 10, True)
        if first:
            add(self.first, first, 10)
        for at in range(0, len(spans), 200):
            self.g.send(spans[at:at + 200])


def case_the_tail_keeps_what_matters_and_a_true_share(env):
    g = Sampler(env, "--sampling", "tail", "--max-traces-per-second", "30")
    m = Mix(g)
    for second in range(10):
        begin = time.monotonic()
        m.second(slow=int(second in (5, 7, 9)), fails=second % 3, first=f"GET /rare/{second}" if second % 2 else None)
        time.sleep(max(0, 1 - (time.monotonic() - begin)))
    equal(g.measured(), g.sent, "spans in the span metrics, before sampling")
    found = g.decided()
    check(found["sample_tail"]["dropped"] > 0, f"nothing was rejected: {found['sample_tail']}")
    check_balance(g.port)
    counts = {k: sum(v.values()) for k, v in metrics(g.port).items() if "sample_tail" in k}
    kept = g.end()
    for what in ("failed", "slow", "first"):
        missing = [t for t in getattr(m, what) if len(kept.get(t, [])) != 2]
        equal(missing, [], f"{what} traces that are not whole")
    equal({len(t) for t in kept.values()}, {2}, "spans of each trace kept")
    share = [kept[t] for t in m.ordinary if t in kept]
    check(len(share) < len(m.ordinary) * 0.5, f"{len(share)} of {len(m.ordinary)} ordinary traces kept")
    true = adjusted(s for t in share for s in t) / 2
    check(0.8 < true / len(m.ordinary) < 1.25, f"adjusted count {true:.0f} of {len(m.ordinary)} ({counts})")
    return f"{len(share)} of {len(m.ordinary)} ordinary ones kept, for {true:.0f}; " \
           f"{len(m.failed)} failed, {len(m.slow)} slow, {len(m.first)} of a new kind"


def case_the_tail_is_seen_within_five_seconds(env):
    g = Sampler(env, "--sampling", "tail")
    trace = new_id()
    root = span(trace)
    g.send([span(trace, parent=root["spanId"])])
    time.sleep(1)
    g.send([root])
    begin = time.monotonic()
    wait_for(lambda: g.shown(trace) == 2, "the trace")
    took = time.monotonic() - begin
    rootless, begin = new_id(), time.monotonic()
    g.send([span(rootless, parent=new_id(8))])
    wait_for(lambda: g.shown(rootless) == 1, "a trace whose root does not come")
    alone = time.monotonic() - begin
    g.finish()
    return f"{took:.1f} s after its root; {alone:.1f} s after its first span without one"


def case_the_tails_wait_is_an_option(env):
    """An SDK that sends every 5 s: its spans come when a default wait is over."""
    g = Sampler(env, "--sampling", "tail", "--tail-wait", "60s")
    trace = new_id()
    root = span(trace)
    begin = time.monotonic()
    g.send([root])
    time.sleep(5.5)
    g.send([failed(trace, parent=root["spanId"])])
    shown, took = g.shown(trace), time.monotonic() - begin
    late = sum(metrics(g.port)["telltale_sample_tail_late_total"].values())
    kept = g.end()
    equal(len(kept[trace]), 2, "spans kept")
    check(took > 30 or (shown, late) == (0, 0), f"{shown} spans shown and {late} late after {took:.1f} s")
    g = Sampler(env, "--sampling", "tail", "--tail-wait", "100ms")
    g.send([span(trace)])
    wait_for(lambda: g.shown(trace) == 1, "the trace")
    g.finish()
    r = env.run([TELLTALE, "gateway", "--tail-wait", "1ms"])
    check(r.returncode == 2 and "100ms to 1h" in r.stderr, f"refusal: {r.stderr!r}")
    return f"the second span {took:.1f} s after its root"


def case_without_the_tail_nothing_is_assembled(env):
    for how in ("always", "ratio", "rate"):
        g = Sampler(env, "--sampling", how)
        g.send([span(new_id()) for _ in range(50)])
        check("trace" not in books(g.port), "a trace room in the books")
        check("telltale_trace_pending_bytes" not in metrics(g.port), "memory of traces that wait")
        g.finish()
    g = Sampler(env, "--export-stdout")
    g.send([span(new_id(), parent=new_id(8)) for _ in range(50)])
    waiting = metrics(g.port)["telltale_trace_pending_bytes"]
    wait_for(lambda: sum(metrics(g.port)["telltale_trace_pending_bytes"].values()) == 0, "every tree")
    g.finish()
    return f"for trees {sum(waiting.values()):.0f} bytes waited"


def case_late_spans_are_merged_and_orphans_kept(env):
    g = Sampler(env)
    trace = new_id()
    root = span(trace)
    g.send([root])
    equal(g.shown(trace), 1, "spans")
    time.sleep(6)  # longer than anything would wait
    g.send([span(trace, parent=root["spanId"])], service="cart")
    g.send([span(trace, parent=new_id(8))], service="late")
    equal(g.shown(trace), 3, "spans, with late ones and one whose parent never came")
    equal({t: len(s) for t, s in g.end().items()}, {trace: 3}, "spans kept, by trace")
    g = Sampler(env, "--sampling", "tail", "--tail-wait", "100ms")
    g.send([span(new_id(), parent=new_id(8)), failed(new_id())])
    g.decided()
    equal(sum(metrics(g.port)["telltale_trace_orphans_total"].values()), 1, "orphans counted")
    g.finish()


def case_late_spans_follow_the_decision(env):
    g = Sampler(env, "--sampling", "tail", "--tail-wait", "1s", "--max-traces-per-second", "1")
    roots = []

    def rejects():
        roots.extend(span(new_id()) for _ in range(30))
        g.send(roots[-30:])
        time.sleep(0.3)
        return sum(metrics(g.port)["telltale_sample_tail_rejected_total"].values())
    wait_for(rejects, "a trace that is not kept")
    g.decided()
    was = {r["traceId"]: g.shown(r["traceId"]) for r in roots}
    check(0 < sum(was.values()) < len(roots), f"{sum(was.values())} of {len(roots)} kept")  # the first is of a new kind
    g.send([span(r["traceId"], parent=r["spanId"]) for r in roots])
    for r in roots:  # at once
        equal(g.shown(r["traceId"]), was[r["traceId"]] * 2, "spans")
    rejected = next(t for t in was if not was[t])
    g.send([failed(rejected)])
    g.send([span(rejected)])
    equal(g.shown(rejected), 2, "the late failure of a rejected trace, and what came after it")
    check_balance(g.port)
    g.finish()


def case_a_small_buffer_decides_early(env):
    g = Sampler(env, "--sampling", "tail", "--tail-buffer", "1M", "--tail-wait", "1h")
    text = [{"key": "text", "value": {"stringValue": "x" * 2000}}]
    for _ in range(20):
        g.send([span(new_id(), parent=new_id(8), attributes=text) for _ in range(200)])
        found = metrics(g.port)
        check(sum(found["telltale_trace_pending_bytes"].values()) <= 1 << 20, "the buffer is over its size")
    early = sum(found["telltale_trace_incomplete_total"].values())
    check(early > 3000, f"{early} of 4000 decided early")
    books_then = check_balance(g.port)
    equal(books_then["trace"]["in"], 4000, "spans that waited")
    g.finish()
    return f"{early:.0f} of 4000 decided early"


def case_services_may_have_rules(env):
    g = Sampler(env, "--sampling", "tail", "--sampling-service", "bank*=always", "--sampling-service", "noise=never",
                "--sampling-service", "part=0.5")
    bank, noise, parts = new_id(), new_id(), [new_id() for _ in range(400)]
    g.send([span(bank)], service="bank-of-e2e")
    g.send([failed(noise)], service="noise")
    g.send([span(t) for t in parts], service="part")
    equal(g.shown(bank), 1, "a service that is always kept waits for no decision")
    kept = g.end()
    check(bank in kept and noise not in kept, "the services' rules")
    equal({t for t in parts if t in kept}, {t for t in parts if int(t[-14:], 16) >= ALL // 2}, "half of the parts")
    r = env.run([TELLTALE, "gateway", "--sampling-service", "shop=sometimes"])
    check(r.returncode == 2 and len(r.stderr.splitlines()) <= 2 and "GLOB=RATIO" in r.stderr, f"refusal: {r.stderr!r}")


def case_what_waits_is_decided_at_the_end(env):
    for sig in (signal.SIGTERM, signal.SIGINT):
        g = Sampler(env, "--sampling", "tail", "--tail-wait", "1h")
        traces = [new_id() for _ in range(100)]
        g.send([s for t in traces for s in (span(t), failed(t))])
        equal(sum(g.shown(t) for t in traces), 0, "spans shown while they wait")
        kept = g.end(sig)
        equal({t: len(kept.get(t, [])) for t in traces}, {t: 2 for t in traces}, "spans kept")


def case_traces_are_whole_however_they_come(env):
    """Ten spans of each over five senders in any order, a tenth of them up to 4.5 s after the root's end."""
    g = Sampler(env, "--sampling", "tail", "--max-traces-per-second", "50")
    slots, rng = [[] for _ in range(60)], random.Random(7)
    for n in range(2000):
        trace, at = new_id(), n // 200
        root = span(trace, f"GET /{n % 5}", ms=5 + n % 3)
        spans = [root] + [span(trace, "SELECT", parent=root["spanId"]) for _ in range(9)]
        for s in spans:
            slots[at + (1 + rng.randrange(45) if s is not root and rng.random() < 0.1 else 0)].append(s)
    senders = [http.client.HTTPConnection("127.0.0.1", g.http, timeout=PATIENCE) for _ in range(5)]
    for slot in slots:
        due = time.monotonic() + 0.1
        rng.shuffle(slot)
        for k, c in enumerate(senders):
            if slot[k::5]:
                g.sender = c
                g.send(slot[k::5])
        time.sleep(max(0, due - time.monotonic()))
    check_balance(g.port)
    for c in senders:
        c.close()
    kept = g.end()
    whole = sum(len(t) == 10 for t in kept.values())
    check(len(kept) >= 50, f"{len(kept)} traces kept")
    check(whole >= 0.99 * len(kept), f"{whole} of {len(kept)} traces are whole")
    check(len(kept) < 2000, "all were kept")
    return f"{whole} of {len(kept)} kept traces are whole"
