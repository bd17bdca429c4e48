# SPDX-License-Identifier: Apache-2.0
"""Random traces and random TraceQL, each query with what it means by Grafana's documentation: a text, and a function of a
trace (and a span of it). Spans of one trace start at different times, so that their order is known."""
import math
import random
import re

KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"]
STATUS = ["unset", "ok", "error"]
KEYS = ["a", "b", "sp ace", "ключ"]
STRINGS = ["", "x", "y", "GET", "Zürich", "日本", "1", "true", 'quo"te', "back\\slash"]
NUMBERS = [0, 1, -1, 2, 200, 2**53 + 1, 2**63 - 1, 0.0, 1.5, -2.5, 200.0, 1e300, math.inf, math.nan]
NAMES = ["GET /", "SELECT x", "öp", "", "a"]
SERVICES = ["front", "cart", "päy"]
DURATIONS = {"0s": 0, "1us": 10**3, "1ms": 10**6, "10ms": 10**7, "500ms": 5 * 10**8, "1.5s": 15 * 10**8}


class Word(str):
    """A status or a kind: equal to no string."""


def any_value(r):
    pick = r.random()
    if pick < 0.2:
        return [r.choice(STRINGS if pick < 0.1 else NUMBERS[:6]) for _ in range(r.randint(0, 3))]
    return r.choice(STRINGS) if pick < 0.55 else r.random() < 0.5 if pick < 0.65 else r.choice(NUMBERS)


def some(r, cnt):
    return {k: any_value(r) for k in r.sample(KEYS, r.randint(0, cnt))}


class Trace:
    """.spans by start, .parent of each (index or None), .root"""

    def __init__(self, r, begin):
        ids = [f"{r.getrandbits(63) | 1:016x}" for _ in range(r.choice([1, 2, 3, 5, 8, 12]))]
        resources = [dict(some(r, 2), **{"service.name": name}) for name in SERVICES]
        self.id, self.spans = f"{r.getrandbits(127) | 1:032x}", []
        for n, own in enumerate(ids):
            up = r.choice(ids[:n]) if n and r.random() < 0.9 else f"{r.getrandbits(63) | 1:016x}" if r.random() < 0.1 else ""
            start = begin + n * 3 + r.choice([0, 10**6, -5 * 10**6]) * (n > 0)
            events = [(r.choice(["exception", "x"]), start + 10**6 * e, some(r, 2)) for e in range(r.choice([0, 0, 1, 2]))]
            self.spans.append({"id": own, "up": up, "name": r.choice(NAMES), "kind": r.randrange(6), "status": r.randrange(3),
                               "start": start, "ns": r.choice([0, 999, 10**6, 10**7, r.randrange(2 * 10**9)]),
                               "attrs": some(r, 3), "events": events, "resource": r.choice(resources)})
        self.spans.sort(key=lambda s: s["start"])
        where = {s["id"]: i for i, s in enumerate(self.spans)}
        self.parent = [where.get(s["up"]) for s in self.spans]
        tops = [i for i, p in enumerate(self.parent) if p is None]
        self.root = next((i for i in tops if not self.spans[i]["up"]), tops[0])
        self.ns = max(s["start"] + s["ns"] for s in self.spans) - self.spans[0]["start"]

    def above(self, i):
        while self.parent[i] is not None:
            i = self.parent[i]
            yield i


def otlp_value(v):
    if isinstance(v, list):
        return {"arrayValue": {"values": [otlp_value(x) for x in v]}}
    kind = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}[type(v)]
    odd = isinstance(v, float) and not math.isfinite(v)
    return {kind: str(v) if isinstance(v, int) and not isinstance(v, bool) else ("NaN" if v != v else "Infinity") if odd else v}


def otlp(trace, span):
    """ResourceSpans with this span alone."""
    def attributes(of):
        return [{"key": k, "value": otlp_value(v)} for k, v in of.items()]
    return {"resource": {"attributes": attributes(span["resource"])}, "scopeSpans": [{"spans": [{
        "traceId": trace.id, "spanId": span["id"], "parentSpanId": span["up"], "name": span["name"], "kind": span["kind"],
        "startTimeUnixNano": str(span["start"]), "endTimeUnixNano": str(span["start"] + span["ns"]),
        "attributes": attributes(span["attrs"]), "status": {"code": span["status"]},
        "events": [{"name": n, "timeUnixNano": str(t), "attributes": attributes(a)} for n, t, a in span["events"]]}]}]}


def kind_of(v):
    if isinstance(v, (bool, Word, list)) or v is None:
        return type(v)
    return str if isinstance(v, str) else float


def holds(op, a, b):
    """One value with another; of an array one element, for != and !~ all. Two arrays are never compared."""
    if isinstance(b, list) and isinstance(a, list):
        return False
    if isinstance(b, list):
        a, b, op = b, a, op.translate(str.maketrans("<>", "><"))
    if isinstance(a, list):
        each = [holds(op, x, b) for x in a]
        return bool(each) and all(each) if op[0] == "!" else any(each)
    if op in ("=~", "!~"):
        return kind_of(a) is str and (re.fullmatch(b, a) is not None) == (op == "=~")
    if a is None or kind_of(a) is not kind_of(b):
        return False
    if isinstance(a, float) or isinstance(b, float):
        a, b = float(a), float(b)
    if op in ("=", "!="):
        return (a == b) == (op == "=")
    if isinstance(a, str) and not isinstance(a, Word):
        a, b = a.encode(), b.encode()
    return kind_of(a) is not bool and {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]


def first(values):
    return next((v for v in values if v is not None), None)


def number(v):
    return float(v) if kind_of(v) is float and v == v else None


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def fields(key):
    """(scope, its values on span i of t): several of events."""
    return [("span.", lambda t, i: [t.spans[i]["attrs"].get(key)]),
            ("resource.", lambda t, i: [t.spans[i]["resource"].get(key)]),
            (".", lambda t, i: [first([t.spans[i]["attrs"].get(key), t.spans[i]["resource"].get(key)])]),
            ("event.", lambda t, i: [a.get(key) for _, _, a in t.spans[i]["events"]]),
            ("parent.", lambda t, i: [first([t.spans[p][of].get(key) for of in ("attrs", "resource")])
                                      for p in [t.parent[i]] if p is not None])]


def field(r):
    key = r.choice(KEYS)
    scope, get = r.choice(fields(key))
    return scope + (key if " " not in key else quoted(key)), get


STRING_FIELDS = [("name", lambda t, i: [t.spans[i]["name"]]), ("rootName", lambda t, i: [t.spans[t.root]["name"]]),
                 ("resource.service.name", lambda t, i: [t.spans[i]["resource"]["service.name"]]),
                 ("event:name", lambda t, i: [n for n, _, _ in t.spans[i]["events"]])]
TIME_FIELDS = [("duration", lambda t, i: [t.spans[i]["ns"]]), ("traceDuration", lambda t, i: [t.ns]),
               ("event:timeSinceStart", lambda t, i: [at - t.spans[i]["start"] for _, at, _ in t.spans[i]["events"]])]
WORD_FIELDS = [("kind", KINDS), ("status", STATUS)]
ORDERED = ["=", "!=", "<", "<=", ">", ">="]


def constant(r):
    v = r.choice(STRINGS + NUMBERS[:11] + [True, False])
    return (quoted(v) if isinstance(v, str) else str(v).lower()), v


def comparison(r):
    op, pick = r.choice(ORDERED), r.random()
    (name, get), (text, want) = field(r), constant(r)
    if pick < 0.12:
        op, name, get = r.choice(["=", "!="]), *r.choice([(name, get), STRING_FIELDS[3]])
        return f"{name} {op} nil", lambda t, i: any(v is not None for v in get(t, i)) == (op == "!=")
    if pick < 0.24:
        op, pattern = r.choice(["=~", "!~"]), r.choice([".*", "x", "G.*|[a-c]", "Z.rich"])
        name, get = r.choice([(name, get), *STRING_FIELDS])
        return f"{name} {op} {quoted(pattern)}", lambda t, i: any(holds(op, v, pattern) for v in get(t, i))
    if pick < 0.34:
        other, other_get = field(r)
        return f"{name} {op} {other}", lambda t, i: any(holds(op, v, first(other_get(t, i))) for v in get(t, i))
    if pick < 0.42:
        word, words = r.choice(WORD_FIELDS)
        op, want = r.choice(["=", "!="]), r.choice(words)
        return f"{word} {op} {want}", lambda t, i: (words[t.spans[i][word]] == want) == (op == "=")
    if pick < 0.47:
        return r.choice([("nestedSetParent < 0", lambda t, i: not t.spans[i]["up"]),
                         (name, lambda t, i: any(holds("=", v, True) for v in get(t, i)))])
    if pick < 0.57:
        (name, get), text = r.choice(TIME_FIELDS), r.choice(list(DURATIONS))
        want = DURATIONS[text]
    elif pick < 0.67:
        (name, get), want = r.choice(STRING_FIELDS), r.choice(NAMES + SERVICES + ["exception"])
        text = quoted(want)
    elif pick < 0.72:
        name, get, want = "childCount", lambda t, i: [t.parent.count(i)], r.randrange(4)
        text = str(want)
    elif isinstance(want, bool):
        op = r.choice(["=", "!="])
    return f"{name} {op} {text}", lambda t, i: any(holds(op, v, want) for v in get(t, i))


def expression(r, depth=0):
    pick = r.random()
    if depth > 2 or pick < 0.5:
        return comparison(r)
    (a, of_a), (b, of_b) = expression(r, depth + 1), expression(r, depth + 1)
    if pick < 0.6:
        return f"!({a})", lambda t, i: not of_a(t, i)
    if pick < 0.85:
        return f"({a}) && ({b})", lambda t, i: of_a(t, i) and of_b(t, i)
    return f"({a}) || ({b})", lambda t, i: of_a(t, i) or of_b(t, i)


def related(op, t, left, right):
    """Spans of the right side that stand to one of the left as op says; with & those of the left, too."""
    tests = {">": lambda i, of: t.parent[i] in of, ">>": lambda i, of: any(a in of for a in t.above(i)),
             "<": lambda i, of: any(t.parent[j] == i for j in of), "<<": lambda i, of: any(i in t.above(j) for j in of),
             "~": lambda i, of: t.parent[i] is not None and any(j != i and t.parent[j] == t.parent[i] for j in of)}
    plain = op.lstrip("!&")
    out = {i for i in right if tests[plain](i, left) == (op[0] != "!")}
    back = plain.translate(str.maketrans("<>", "><"))
    return out | {i for i in left if tests[back](i, right)} if op[0] == "&" else out


def spanset(r, depth=0):
    """Of a trace and a set of its spans, those that it selects."""
    if depth > 1 or r.random() < 0.55:
        text, means = expression(r)
        return "{ " + text + " }", lambda t, of: {i for i in of if means(t, i)}
    (a, of_a), (b, of_b) = spanset(r, depth + 1), spanset(r, depth + 1)
    op = r.choice(["&&", "||", *(sign + plain for sign in ("", "!", "&") for plain in (">", ">>", "<", "<<", "~"))])

    def means(t, of):
        left, right = of_a(t, of), of_b(t, of)
        if op in ("&&", "||"):
            return left | right if op == "||" or left and right else set()
        return related(op, t, left, right)
    return f"({a}) {op} ({b})", means


AGGREGATES = {"min": min, "max": max, "sum": sum, "avg": lambda v: sum(v) / len(v)}


def aggregate(r):
    (name, get), how = r.choice([field(r), TIME_FIELDS[0]]), r.choice(["count", *AGGREGATES])
    want, op = r.choice([0, 1, 2, 5, 200]), r.choice(ORDERED)

    def means(t, group):
        found = [v for v in (number(first(get(t, i))) for i in sorted(group)) if v is not None]
        v = len(group) if how == "count" else AGGREGATES[how](found) if found else math.nan
        return v == v and holds(op, v, want)
    return f"{how}({name if how != 'count' else ''}) {op} {want}", means


def split(t, groups, get):
    out = {}
    for n, i in ((n, i) for n, g in enumerate(groups) for i in sorted(g)):
        out.setdefault((n, label(first(get(t, i)))), set()).add(i)
    return list(out.values())


def pipeline(r):
    """Of a trace the groups of spans that it finds."""
    text, select = spanset(r)
    stages = []
    for _ in range(r.choice([0, 0, 1, 1, 2])):
        name, get = r.choice([field(r), *STRING_FIELDS])
        more, means = aggregate(r) if r.random() < 0.6 else (f"by({name})", None)
        text += " | " + more
        stages.append((means, get))

    def find(t):
        groups = [g for g in [select(t, set(range(len(t.spans))))] if g]
        for means, get in stages:
            groups = [g for g in groups if means(t, g)] if means else split(t, groups, get)
        return groups
    return text, find


def label(v):
    """What makes two values one of by(): lists are none."""
    if v is None or isinstance(v, list):
        return None
    return (type(v).__name__, "NaN" if v != v else v + 0.0 if isinstance(v, float) else v)
