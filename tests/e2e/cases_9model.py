# SPDX-License-Identifier: Apache-2.0
"""Random questions about random traces, answered as a model of the documentation answers them: searches and metrics in
TraceQL, and POST /traces/search. Two gateways, one after the other, take the traces in, so that they lie in several places."""
import json
import math
import random
import time
import urllib.parse

import model
from lib import check, equal
from cases_9query import JSON, Asked

TRACES, SEARCHES, METRICS, OWN = 120, 160, 80, 80
COMPARISONS = [*model.ORDERED, "=~", "!~"]
SCOPES = {"any": ".", "span": "span.", "resource": "resource.", "event": "event."}


def gateway(env):
    """Filled once; .traces by id."""
    if "model" not in env.shared or not env.shared["model"].alive():
        r, begin = random.Random(7), int(time.time() - 1800) * 10**9
        traces = [model.Trace(r, begin + n * 10**10) for n in range(TRACES)]
        batches = [[] for _ in range(8)]
        for t in traces:
            home = r.randrange(16)  # half of the traces have one, spans of the others are anywhere
            for s in t.spans:
                batches[home if home < 8 else r.randrange(8)].append(model.otlp(t, s))
        store = env.path("store.model")
        for part in (batches[:4], batches[4:]):
            g = Asked(env, "--store", store)
            for batch in part:
                got = g.ask("/v1/traces", "POST", json.dumps({"resourceSpans": batch}), JSON, g.http)
                equal(got[0], 200, "status of the sender")
            if part[0] is batches[0]:
                g.finish()
        env.shared["model"], g.traces = g, {t.id: t for t in traces}
    return env.shared["model"]


def same(got, want, what):
    """Of two dictionaries; empty ones are as good as none."""
    for k in {*got, *want}:
        equal(got.get(k) or None, want.get(k) or None, f"{k} by {what}")


def case_searches(env):
    g, hits = gateway(env), 0
    for seed in range(SEARCHES):
        text, find = model.pipeline(random.Random(seed))
        found = g.json("/tempo/api/search?" + urllib.parse.urlencode({"q": text, "limit": 1000, "spss": 100}))["traces"]
        got = {t["traceID"]: sorted(sorted(s["spanID"] for s in group["spans"]) for group in t["spanSets"]) for t in found}
        want = {t.id: sorted(sorted(t.spans[i]["id"] for i in group) for group in find(t)) for t in g.traces.values()}
        hits += len(got)
        same(got, want, text)
    return f"{hits} traces found"


def labelled(value):
    v = next(iter(value.values()))
    if "intValue" in value:
        v = int(v)
    elif "doubleValue" in value:
        v = float(v)
    return None if value == {"stringValue": "nil"} else model.label(v)


def case_metrics(env):
    g, points = gateway(env), 0
    window = (int(time.time()) - 3600, int(time.time()) + 60)
    for seed in range(METRICS):
        r = random.Random(seed)
        (text, find), (of, get) = model.pipeline(r), r.choice([model.field(r), model.TIME_FIELDS[0]])
        name, by = r.choice([model.field(r), *model.STRING_FIELDS[:3]])
        how = r.choice(["rate", "count_over_time", "min_over_time", "max_over_time", "sum_over_time", "avg_over_time"])
        of, get = ("", None) if how in ("rate", "count_over_time") else (of, get)
        text += f" | {how}({of}) by({name})"
        query = {"q": text, "start": window[0], "end": window[1]}
        series = g.json("/tempo/api/metrics/query?" + urllib.parse.urlencode(query))["series"]
        got = {labelled(s["labels"][0]["value"]): float(s["value"]) for s in series}
        groups = {}
        for t in g.traces.values():
            for i in (i for group in find(t) for i in sorted(group)):
                v = model.number(model.first(get(t, i))) if get else 1.0
                if v is not None:
                    groups.setdefault(model.label(model.first(by(t, i))), []).append(v * (1e-9 if of == "duration" else 1))
        put_together = {"rate": lambda v: len(v) / (window[1] - window[0]), "count": len, **model.AGGREGATES}[how.split("_")[0]]
        want = {k: put_together(v) for k, v in groups.items()}
        want = {k: v for k, v in want.items() if v == v}
        points += len(got)
        equal(set(got), set(want), f"series of {text}")
        for k, v in got.items():
            check(math.isclose(v, want[k], rel_tol=1e-9), f"{text}: {k} is {v}, not {want[k]}")
    return f"{points} series"


def selector(r):
    """(members of a request, what they mean of a span)"""
    members, tests = {}, []
    if r.random() < 0.4:
        members["service"] = r.choice(model.SERVICES)
        tests.append(lambda t, i: t.spans[i]["resource"]["service.name"] == members["service"])
    if r.random() < 0.3:
        members["status"] = r.choice(model.STATUS)
        tests.append(lambda t, i: model.STATUS[t.spans[i]["status"]] == members["status"])
    if r.random() < 0.3:
        members["min_duration"] = r.choice(list(model.DURATIONS))
        tests.append(lambda t, i: t.spans[i]["ns"] >= model.DURATIONS[members["min_duration"]])
    if r.random() < 0.5:
        scope, key, op = r.choice(list(SCOPES)), r.choice(model.KEYS), r.choice(COMPARISONS)
        value = r.choice(["x", "G.*"] if "~" in op else model.STRINGS + [0, 1, 1.5, 2**53 + 1, True])
        members["attributes"] = [{"scope": scope, "key": key, "op": op, "value": value}]
        get = dict(model.fields(key))[SCOPES[scope]]
        tests.append(lambda t, i: any(model.holds(op, v, value) for v in get(t, i)))
    return members, lambda t, i: all(test(t, i) for test in tests)


def case_own_searches(env):
    g, hits = gateway(env), 0
    for seed in range(OWN):
        r = random.Random(seed)
        (parent, above), (child, below), relation = selector(r), selector(r), r.choice([None, "child", "descendant"])
        body = dict(parent if not relation else {"structure": {"parent": parent, "child": child, "relation": relation}}, limit=1000)
        want = {}
        for t in g.traces.values():
            left, right = ({i for i in range(len(t.spans)) if means(t, i)} for means in (above, below))
            spans = model.related("&>" if relation == "child" else "&>>", t, left, right) if relation else left
            want[t.id] = len(spans)
        got = {t["trace_id"]: t["matched"] for t in g.json("/traces/search", "POST", body)["traces"]}
        hits += len(got)
        same(got, want, json.dumps(body))
    return f"{hits} traces found"
