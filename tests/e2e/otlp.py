# SPDX-License-Identifier: Apache-2.0
"""OTLP as objects: JSON lines of the tracer, protobuf of its exporter."""
import json
import re

from base import CLIENT, SERVER, Fail, check


def any_value(v):
    for key, value in v.items():
        if key == "intValue":
            return int(value)
        if key == "arrayValue":
            return [any_value(x) for x in value.get("values", [])]
        if key == "kvlistValue":
            return {x["key"]: any_value(x["value"]) for x in value.get("values", [])}
        return value
    return None


def attributes(items):
    return {a["key"]: any_value(a.get("value", {})) for a in items or []}


class Span:
    def __init__(self, resource, span):
        self.resource = resource
        self.service = resource.get("service.name")
        self.pid = resource.get("process.pid")
        self.trace_id = span["traceId"]
        self.span_id = span["spanId"]
        self.parent_id = span.get("parentSpanId") or None
        self.name = span["name"]
        self.kind = span.get("kind", 0)
        self.start = int(span["startTimeUnixNano"])
        self.end = int(span["endTimeUnixNano"])
        self.attrs = attributes(span.get("attributes"))
        self.status = span.get("status", {}).get("code", 0)
        self.status_message = span.get("status", {}).get("message", "")
        self.events = [(e["name"], attributes(e.get("attributes"))) for e in span.get("events", [])]
        self.links = [(l["traceId"], l["spanId"], attributes(l.get("attributes"))) for l in span.get("links", [])]

    @property
    def path(self):
        """The raw path, of either kind of HTTP span."""
        if "url.path" in self.attrs:
            return self.attrs["url.path"]
        m = re.match(r"\w+://[^/]*([^?]*)", self.attrs.get("url.full", ""))
        return m.group(1) if m else None

    def __repr__(self):
        kind = {SERVER: "SERVER", CLIENT: "CLIENT"}.get(self.kind, self.kind)
        what = self.path or self.attrs.get("db.query.text") or self.attrs.get("dns.question.name") or ""
        return (f"<{self.service}/{self.pid} {kind} {self.name!r} {what!r} status={self.status} "
                f"{(self.end - self.start) / 1e6:.2f}ms id={self.span_id} parent={self.parent_id}>")


class Spans(list):
    """Spans of one run."""

    def find(self, **want):
        """Those that match: kind, name, service, pid, path; others name an attribute (. as __)."""
        out = Spans()
        for s in self:
            for key, value in want.items():
                got = getattr(s, key) if key in ("kind", "name", "service", "pid", "path", "status") \
                    else s.attrs.get(key.replace("__", "."))
                if callable(value) and not value(got) or not callable(value) and got != value:
                    break
            else:
                out.append(s)
        return out

    def one(self, **want):
        found = self.find(**want)
        if len(found) != 1:
            raise Fail(f"want one span with {want}, there are {len(found)} of {len(self)}:\n{self.show()}")
        return found[0]

    def count(self, number, **want):
        found = self.find(**want)
        if len(found) != number:
            raise Fail(f"want {number} spans with {want}, there are {len(found)} of {len(self)}:\n{self.show()}")
        return found

    def parent(self, span):
        """Its parent among these, or None."""
        for s in self:
            if s.span_id == span.parent_id and s.trace_id == span.trace_id:
                return s
        return None

    def show(self, limit=12):
        lines = [f"  {s!r}" for s in self[:limit]]
        return "\n".join(lines + ([f"  and {len(self) - limit} more"] if len(self) > limit else []))


def parse_request(request, into):
    for rs in request.get("resourceSpans", []):
        resource = attributes(rs.get("resource", {}).get("attributes"))
        for ss in rs.get("scopeSpans", []):
            for s in ss.get("spans", []):
                into.append(Span(resource, s))


def parse_otlp(text):
    """Spans of OTLP/JSON lines; a line that is no JSON is a failure."""
    spans = Spans()
    for num, line in enumerate(text.splitlines(), 1):
        if line:
            try:
                parse_request(json.loads(line), spans)
            except (ValueError, KeyError) as e:
                raise Fail(f"line {num} of the output is no ExportTraceServiceRequest: {e!r}: {line[:200]}")
    check_ids(spans)
    return spans


def check_ids(spans):
    """What holds for every output."""
    seen = set()
    for s in spans:
        check(re.fullmatch("[0-9a-f]{32}", s.trace_id) and s.trace_id != "0" * 32, f"trace id of {s}")
        check(re.fullmatch("[0-9a-f]{16}", s.span_id) and s.span_id != "0" * 16, f"span id of {s}")
        check(s.span_id not in seen, f"span id twice: {s}")
        check(s.end >= s.start, f"ends before it begins: {s}")
        check(s.service, f"no service.name: {s}")
        check(not (s.resource.get("process.executable.name") == "telltale"), f"the tracer traced itself: {s}")
        confidence = s.attrs.get("telltale.parent.confidence")
        check(confidence is None or 0 <= confidence <= 1, f"confidence {confidence} of {s}")
        seen.add(s.span_id)


def protobuf_fields(data):
    """(field number, value) of one message: enough of the wire format to count spans."""
    pos = 0

    def varint():
        nonlocal pos
        value = shift = 0
        while True:
            b = data[pos]
            pos += 1
            value |= (b & 0x7f) << shift
            shift += 7
            if b < 0x80:
                return value

    while pos < len(data):
        tag = varint()
        wire = tag & 7
        if wire == 0:
            value = varint()
        elif wire == 1:
            value, pos = data[pos:pos + 8], pos + 8
        elif wire == 2:
            size = varint()
            check(pos + size <= len(data), "protobuf field beyond its message")
            value, pos = data[pos:pos + size], pos + size
        elif wire == 5:
            value, pos = data[pos:pos + 4], pos + 4
        else:
            raise Fail(f"protobuf wire type {wire}")
        yield tag >> 3, value


def protobuf_resources(body, key):
    """The value of an attribute, a string or an integer, of each resource that has it."""
    for n, rs in protobuf_fields(body):
        for n2, resource in protobuf_fields(rs) if n == 1 else ():
            for n3, attr in protobuf_fields(resource) if n2 == 1 else ():
                kv = dict(protobuf_fields(attr)) if n3 == 1 else {}
                if kv.get(1) == key.encode():
                    value = dict(protobuf_fields(kv[2]))
                    yield value[1].decode() if 1 in value else value.get(3)


def protobuf_spans(body):
    """(service.name, span name) by the public field numbers of ExportTraceServiceRequest."""
    for n, rs in protobuf_fields(body):
        if n != 1:
            continue
        service, scopes = None, []
        for n2, v2 in protobuf_fields(rs):
            if n2 == 1:
                for n3, attr in protobuf_fields(v2):
                    if n3 == 1:
                        kv = dict(protobuf_fields(attr))
                        if kv.get(1) == b"service.name":
                            service = dict(protobuf_fields(kv[2])).get(1, b"").decode()
            elif n2 == 2:
                scopes.append(v2)
        for ss in scopes:
            for n3, span in protobuf_fields(ss):
                if n3 == 2:
                    yield service, dict(protobuf_fields(span)).get(5, b"").decode()
