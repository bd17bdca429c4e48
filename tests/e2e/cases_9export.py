# SPDX-License-Identifier: Apache-2.0
"""Exporting: a gateway hands on what it received, to another gateway or to a listener of Python's."""
import base64
import concurrent.futures
import gzip
import json
import os
import signal
import socket
import time

from cases_9receive import JSON, Receiver, modules, new_id, request
from cases_9store import change
from lib import (APPS, TELLTALE, Agent, Authority, Endpoint, books, can_connect, check, check_balance, equal, free_port,
                 metrics, parse_otlp, protobuf_spans, wait_for)


def attr(key, **value):
    return {"key": key, "value": value}


def everything(cnt=3):
    """A request whose spans use all that OTLP has, and its trace id."""
    trace_id = new_id()
    body = request(trace_id, cnt)
    rs = body["resourceSpans"][0]
    spans = rs["scopeSpans"][0]["spans"]
    rs["resource"]["attributes"] += [attr("host.cores", intValue="2"), attr("list", arrayValue={"values": [
        {"stringValue": "a"}, {"boolValue": False}]})]
    rs["scopeSpans"][0]["scope"].update(version="1.2", attributes=[attr("in.scope", stringValue="yes")])
    for i, s in enumerate(spans):
        s["parentSpanId"] = spans[0]["spanId"] if i else ""
        s.update(kind=i % 6, traceState="vendor=1,other=2", flags=257, droppedAttributesCount=i, droppedEventsCount=i,
                 droppedLinksCount=i, status={"code": i % 3, "message": "what happened" if i % 3 == 2 else ""})
        s["attributes"] += [
            attr("text", stringValue="grüße 🧶 \"\\\t"), attr("empty", stringValue=""), attr("yes", boolValue=True),
            attr("low", intValue=str(-2**63)), attr("high", intValue=str(2**63 - 1)), attr("part", doubleValue=0.1),
            attr("bytes", bytesValue=base64.b64encode(bytes(range(40))).decode()),
            attr("tree", kvlistValue={"values": [attr("deep", arrayValue={"values": [{"intValue": "7"}]})]})]
        s["events"] = [{"timeUnixNano": s["startTimeUnixNano"], "name": "retry", "droppedAttributesCount": 1,
                        "attributes": [attr("count", intValue="3")]}]
        s["links"] = [{"traceId": new_id(), "spanId": new_id(8), "traceState": "a=b", "droppedAttributesCount": 2,
                       "attributes": [attr("why", stringValue="test")]}]
    return trace_id, body


def send(g, body):
    equal(g.post("/v1/traces", json.dumps(body))[0], 200, "status")


def send_many(g, cnt):
    """Traces of two spans each, one request after the other; their ids."""
    traces = []
    for _ in range(cnt):
        trace_id = new_id()
        send(g, request(trace_id, 2))
        traces.append(trace_id)
    return traces


def flat(g, trace_id):
    """Every span of a trace with its resource and scope, as JSON text in the order of their ids."""
    status, reply = g.get(f"/traces/{trace_id}")
    if status != 200:
        return []
    found = [(s["spanId"], json.dumps([rs.get("resource"), ss.get("scope"), s], sort_keys=True))
             for rs in json.loads(reply)["resourceSpans"] for ss in rs["scopeSpans"] for s in ss["spans"]]
    return [text for _, text in sorted(found)]


class Source(Receiver):
    """A gateway that exports soon."""

    def __init__(self, env, *args, environment=None):
        super().__init__(env, *args, "--export-delay", "50ms", environment=environment)

    def exported(self, kind):
        return books(self.port).get(f"export_{kind}", {})

    def gauge(self, name):
        return metrics(self.port)[f"telltale_{name}"][()]

    def settled(self, kind, cnt):
        """Until so many spans have left its exporter; its books then."""
        wait_for(lambda: self.exported(kind).get("in") == cnt and not self.exported(kind)["held"],
                 f"{cnt} spans to leave export_{kind}", step=0.1)
        return check_balance(self.port)[f"export_{kind}"]

    def end(self):
        check_balance(self.port)
        equal(self.finish(signal.SIGTERM), 0, f"exit status ({self.err()[-300:]})")


def start_fails(env, *args, environment=None):
    """The one line on standard error of a gateway that must not start."""
    r = env.run([TELLTALE, "gateway", "--store", "none", "--listen", f"127.0.0.1:{free_port()}", *args],
                env=dict(os.environ, **(environment or {})))
    lines = r.stderr.splitlines()
    check(r.returncode != 0 and len(lines) == 1, f"one line: {r.returncode} {r.stderr!r}")
    return lines[0]


def arrives_equal(env, kind, *args, environment=None):
    b = Receiver(env)
    a = Source(env, *[x.format(b=b) for x in args],
               environment={k: v.format(b=b) for k, v in (environment or {}).items()})
    trace_id, body = everything(7)
    send(a, body)
    b.wait_trace(trace_id, 7)
    traces = send_many(a, 20)
    equal(a.settled(kind, 47), {"in": 47, "out": 47, "held": 0, "dropped": 0}, f"books of export_{kind}")
    for t in [trace_id] + traces:
        want = flat(a, t)
        check(len(want) >= 2, f"{len(want)} spans of {t}")
        equal(flat(b, t), want, f"trace {t}")
    text = "".join(flat(b, trace_id))
    for part in ("vendor=1,other=2", "what happened", "in.scope", "host.cores", str(-2**63), "\\ud83e\\uddf6"):
        check(part in text, f"{part} is not in {text}")
    check_balance(b.port)
    a.end()
    b.finish()


def case_otlp_grpc(env):
    arrives_equal(env, "otlp_grpc", "--otlp-protocol", "grpc", "--otlp-endpoint", "http://127.0.0.1:{b.grpc}")


def case_otlp_grpc_gzip(env):
    arrives_equal(env, "otlp_grpc", "--otlp-protocol", "grpc", "--otlp-endpoint", "http://localhost:{b.grpc}",
                  "--otlp-compression", "gzip")


def case_otlp_http_protobuf(env):
    arrives_equal(env, "otlp_http", "--otlp-endpoint", "http://127.0.0.1:{b.http}")


def case_otlp_http_json(env):
    arrives_equal(env, "otlp_http_json", "--otlp-protocol", "http/json", "--otlp-endpoint", "http://127.0.0.1:{b.http}",
                  "--otlp-compression", "gzip")


def case_otel_variables_for_grpc(env):
    """As an SDK's user sets them: no scheme, so INSECURE decides."""
    arrives_equal(env, "otlp_grpc", environment={
        "OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:{b.grpc}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_INSECURE": "true", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b", "OTEL_EXPORTER_OTLP_TIMEOUT": "5000",
        "OTEL_TRACES_EXPORTER": "otlp"})


def case_otel_variables_for_http(env):
    endpoint = Endpoint()
    a = Source(env, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
                                 "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://user:pa%20ss@127.0.0.1:{endpoint.port}/own/path",
                                 "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b, x-other = c",
                                 "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
                                 "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
    send_many(a, 5)
    equal(a.settled("otlp_http", 10)["out"], 10, "spans exported")
    equal(len(endpoint.spans()), 10, "spans that arrived")
    path, headers, _, _ = endpoint.requests[0]
    headers = {k.lower(): v for k, v in headers.items()}
    equal(path, "/own/path", "path")
    want = {"content-type": "application/x-protobuf", "content-encoding": "gzip", "x-key": "a b", "x-other": "c",
            "authorization": "Basic " + base64.b64encode(b"user:pa ss").decode()}
    equal({k: headers.get(k) for k in want}, want, "headers")
    a.end()
    endpoint.close()
    check("pa%20ss" not in a.err() and "pa ss" not in a.err(), f"the password is in the log: {a.err()}")


def case_otel_timeout_and_batches(env):
    """A time-out in milliseconds, and the batch processor's four variables."""
    hang, endpoint = Endpoint(hang=True), Endpoint()
    a = Receiver(env, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{hang.port}",
                                   "OTEL_EXPORTER_OTLP_TIMEOUT": "200", "OTEL_BSP_EXPORT_TIMEOUT": "700",
                                   "OTEL_BSP_SCHEDULE_DELAY": "50"})
    send_many(a, 1)
    wait_for(lambda: books(a.port)["export_otlp_http"]["dropped"] == 2, "the batch to be given up", step=0.1)
    check(metrics(a.port)["telltale_export_otlp_http_tries_total"][()] >= 1, "tries")
    check("time" in a.err().lower() and "given up" in a.err(), f"what it says: {a.err()}")
    check_balance(a.port)
    a.finish(signal.SIGTERM)
    hang.close()
    a = Receiver(env, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{endpoint.port}",
                                   "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10", "OTEL_BSP_MAX_QUEUE_SIZE": "2000",
                                   "OTEL_BSP_SCHEDULE_DELAY": "60000"})
    send(a, request(new_id(), 95))
    wait_for(lambda: len(endpoint.requests) == 9, "nine batches of ten")
    time.sleep(0.5)
    equal(len(endpoint.spans()), 90, "spans; five wait for their minute")
    equal(check_balance(a.port)["export_otlp_http"]["held"], 5, "held")
    equal(a.finish(signal.SIGTERM), 0, "exit status")
    equal(len(endpoint.spans()), 95, "spans when it has ended")
    endpoint.close()
    endpoint = Endpoint()  # a batch larger than the queue would never be full
    a = Receiver(env, "--otlp-endpoint", f"http://127.0.0.1:{endpoint.port}", environment={
        "OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_SCHEDULE_DELAY": "60000"})
    send(a, request(new_id(), 95))
    wait_for(lambda: len(endpoint.spans()) == 50, "half a queue")
    a.finish(signal.SIGTERM)
    endpoint.close()


def case_a_full_queue_drops_and_counts(env):
    hang = Endpoint(hang=True)
    a = Receiver(env, "--otlp-endpoint", f"http://127.0.0.1:{hang.port}", environment={"OTEL_BSP_MAX_QUEUE_SIZE": "100"})
    for _ in range(10):
        send(a, request(new_id(), 50))
    found = wait_for(lambda: (lambda b: b if b["in"] == 500 else None)(check_balance(a.port)["export_otlp_http"]), "500 spans")
    equal((found["held"], found["dropped"]), (100, 400), "held and dropped")
    equal(a.err().count("export_otlp_http: its queue is full and spans are dropped"), 1, f"told in the log, once: {a.err()}")
    a.finish(signal.SIGTERM)
    check("100 spans could not be sent" in a.err(), f"what is lost at the end is told: {a.err()}")
    hang.close()


def case_otel_chooses_the_exporter(env):
    endpoint, url = Endpoint(), "OTEL_EXPORTER_OTLP_ENDPOINT"
    here = {url: f"http://127.0.0.1:{endpoint.port}"}
    for names, stages in (("none", []), ("otlp", ["export_otlp_http"]), ("console", []), ("otlp,console", ["export_otlp_http"]),
                          ("zipkin", ["export_zipkin"])):
        more = {"OTEL_EXPORTER_ZIPKIN_ENDPOINT": f"http://127.0.0.1:{endpoint.port}/api/v2/spans"}
        a = Source(env, environment=dict(here, OTEL_TRACES_EXPORTER=names, **more))
        send_many(a, 1)
        a.wait_trace(send_many(a, 1)[0], 2)
        equal(sorted(s for s in check_balance(a.port) if s.startswith("export_")), stages, f"exporters of {names}")
        a.end()
        equal("work 0" in a.out(), "console" in names, f"trees on standard output of {names}")
    equal(sorted({r[0] for r in endpoint.requests}), ["/api/v2/spans", "/v1/traces"], "paths")
    endpoint.close()


def case_otel_samplers(env):
    a = Source(env, "--store", "none", environment={"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25",
                                                      "OTEL_TRACES_EXPORTER": "console"})
    sent = send_many(a, 400)
    a.end()
    ratio = a.out().count("work 0") / len(sent)
    check(0.15 < ratio < 0.35, f"{ratio:.3f} of the traces were kept")
    a = Source(env, "--store", "none", environment={"OTEL_TRACES_SAMPLER": "always_off", "OTEL_TRACES_EXPORTER": "console"})
    send_many(a, 20)
    a.end()
    equal(a.out().count("work 0"), 0, "traces kept by always_off")
    return f"{ratio:.3f} for 0.25"


def case_traces_per_second_are_limited(env):
    a = Source(env, "--store", "none", "--sampling", "rate", "--export-stdout", environment={"MAX_TRACES_PER_SECOND": "5"})
    begin = time.monotonic()
    send_many(a, 200)
    a.end()
    seconds = time.monotonic() - begin
    kept = a.out().count("work 0")
    check(1 <= kept <= 5 * (seconds + 2), f"{kept} traces of 200 in {seconds:.1f} s were kept")
    return f"{kept} of 200 in {seconds:.1f} s"


def case_stdout(env):
    a = Source(env, "--export-stdout")
    trace_id, body = everything(4)
    send(a, body)
    wait_for(lambda: "work 3" in a.out(), "the tree on standard output")
    a.end()
    lines = [line for line in a.out().splitlines() if "work" in line]
    equal(len(lines), 4, f"spans in {a.out()}")
    check("sender" in a.out() and lines[0].index("work") < lines[1].index("work"), f"a tree: {a.out()}")


def used_again(a, endpoint):
    """Sends traces until one of them comes to the endpoint; how many."""
    traces = []

    def taken():
        traces.extend(send_many(a, 2))
        return any(endpoint.trace(t) for t in traces[-20:])
    wait_for(taken, "the one that came back to be used", step=0.5)
    return len(traces)


def case_an_endpoint_that_dies_is_replaced(env):
    """Two endpoints take turns; while one is down the other takes all; then both again."""
    one, two = Receiver(env), Receiver(env)
    a = Source(env, "--export-batch", "2", "--otlp-endpoint", f"http://127.0.0.1:{one.http},http://127.0.0.1:{two.http}")
    traces = send_many(a, 40)
    a.settled("otlp_http", 80)
    count = [sum(g.trace(t) is not None for t in traces) for g in (one, two)]
    check(sum(count) == 40 and min(count) >= 15, f"traces of each: {count}")
    one.stop()
    traces = send_many(a, 40)
    equal(a.settled("otlp_http", 160)["out"], 160, "spans exported")
    equal(sum(two.trace(t) is not None for t in traces), 40, "traces of the one that is left")
    equal(a.gauge("export_otlp_http_endpoints_down"), 1, "endpoints down")
    check(f"127.0.0.1:{one.http}" in a.err(), f"the log names it: {a.err()}")
    again = Receiver(env, "--store", one.store, "--otlp-http", f"127.0.0.1:{one.http}")
    total = 160 + 2 * used_again(a, again)
    equal(a.settled("otlp_http", total)["out"], total, "spans exported")
    equal(a.gauge("export_otlp_http_endpoints_down"), 0, "endpoints down")
    a.end()
    return f"{count[0]} and {count[1]} of 40"


def own_address():
    """One that this machine has besides loopback, or 127.0.0.1; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            return s.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def case_our_own_receiver_is_refused(env):
    for listen, endpoint in (("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("[::1]", "[::1]"),
                             ("0.0.0.0", "127.0.0.1"), ("[::]", "localhost"), ("LocalHost", "127.0.0.1"),
                             ("[::1]", "localhost"), ("127.0.0.1", "x.localhost")):
        http, grpc = free_port(), free_port()
        where = ("--otlp-http", f"{listen}:{http}", "--otlp-grpc", f"{listen}:{grpc}")
        for args in (("--otlp-endpoint", f"http://me:s3cret@{endpoint}:{http}"),
                     ("--zipkin-endpoint", f"http://{endpoint}:{http}/api/v2/spans"),
                     ("--otlp-endpoint", f"http://other.invalid:1,http://{endpoint}:{grpc}", "--otlp-protocol", "grpc"),
                     ("--otlp-endpoint", f"{endpoint}:{grpc}", "--otlp-protocol", "grpc", "--otlp-insecure")):
            line = start_fails(env, *where, *args, "--quiet")
            check("our own receiver" in line and f"{endpoint}:" in line and "s3cret" not in line, f"{where} {args}: {line}")
    port = free_port()
    only = ("--otlp-http", f"127.0.0.1:{port}", "--otlp-grpc", "off", "--quiet")
    for args in (("--zipkin-endpoint", f"http://127.0.0.1:1/,http://LOCALHOST:{port}/api/v2/spans"),
                 ("--otlp-endpoint", f"http://127.0.0.1:1,http://2130706433:{port}"),
                 ("--otlp-endpoint", f"http://[::ffff:127.0.0.1]:{port}"), ("--otlp-endpoint", f"http://0.0.0.0:{port}"),
                 ("--kafka-brokers", f"127.0.0.1:1,localhost:{port}")):
        line = start_fails(env, *only, *args)
        check("our own receiver" in line, f"{args}: {line}")
    line = start_fails(env, *only, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://localhost:{port}"})
    check("OTEL_EXPORTER_OTLP_ENDPOINT: " in line and "our own receiver" in line, f"where it comes from: {line}")
    for url in (f"http://{own_address()}:{port}", f"http://127.0.0.9:{port}"):
        line = start_fails(env, "--otlp-http", f"0.0.0.0:{port}", "--otlp-grpc", "off", "--quiet", "--otlp-endpoint", url)
        check("our own receiver" in line, f"{url}: {line}")
    line = start_fails(env, "--otlp-http", f"127.0.0.1:{port}", "--otlp-grpc", "off", "--quiet",
                       environment={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://localhost:{port}"})
    check("our own receiver" in line, line)


def case_a_receiver_where_spans_are_exported_to_is_refused(env):
    """The same loop, made while it runs."""
    port = free_port()
    a = Source(env, "--otlp-endpoint", f"http://localhost:{port}")
    status, reply = change(a.port, "POST", "/traces/sources", {"kind": "receiver", "protocol": "otlp-http",
                                                               "listen": f"127.0.0.1:{port}"})
    check(status == 400 and "exported to" in json.dumps(reply), f"answer {status} {reply}")
    check(not can_connect(("127.0.0.1", port)), "it listens")
    a.end()


def case_the_spool_survives_kill_9(env):
    port, spool = free_port(), env.path("spool")
    args = ("--otlp-endpoint", f"http://127.0.0.1:{port}", "--export-spool", spool)
    a = Source(env, *args)
    traces = send_many(a, 50)
    wait_for(lambda: a.gauge("export_otlp_http_queue_bytes") == 0 and a.exported("otlp_http")["held"] == 100,
             "the spans to be on disk", step=0.1)
    check(a.gauge("export_otlp_http_spool_bytes") > 1000, "bytes on disk")
    equal(os.stat(os.path.join(spool, "otlp")).st_mode & 0o777, 0o700, "mode of the spool")
    check_balance(a.port)
    a.stop(signal.SIGKILL)
    for _ in range(2):  # and again, while it is resumed
        a = Source(env, *args, "--store", a.store)
        equal(check_balance(a.port)["export_otlp_http"]["held"], 100, "held after kill -9")
        a.stop(signal.SIGKILL)
    b = Receiver(env, "--otlp-http", f"127.0.0.1:{port}")
    a = Source(env, *args, "--store", a.store)
    traces += send_many(a, 10)
    equal(a.settled("otlp_http", 120)["out"], 120, "spans exported")
    for t in traces:
        equal(flat(b, t), flat(a, t), f"trace {t}")
    wait_for(lambda: a.gauge("export_otlp_http_spool_bytes") < 64, "the spool to be empty", step=0.1)
    line = start_fails(env, *args, "--otlp-http", "off", "--otlp-grpc", "off", "--quiet")
    check("spool" in line, f"a second process: {line}")
    a.end()
    b.finish()


def case_every_exporter_has_a_spool(env):
    """Zipkin and Kafka beside OTLP, in folders of their own; what waits for Zipkin survives kill -9."""
    port, spool = free_port(), env.path("spools")
    args = ("--zipkin-endpoint", f"http://127.0.0.1:{port}/api/v2/spans", "--kafka-brokers", "127.0.0.1:1", "--kafka-settings",
            "test.mock.num.brokers=1", "--otlp-endpoint", f"http://127.0.0.1:{port}", "--export-spool", spool)
    a = Source(env, *args)
    traces = send_many(a, 5)
    equal(a.settled("kafka", 10)["out"], 10, "spans to Kafka")
    wait_for(lambda: a.gauge("export_zipkin_spool_bytes") > 1000 and a.gauge("export_zipkin_queue_bytes") == 0, "the disk")
    equal(sorted(os.listdir(spool)), ["kafka", "otlp", "zipkin"], "folders")
    a.stop(signal.SIGKILL)
    b = Receiver(env, "--otlp-http", f"127.0.0.1:{port}")
    a = Source(env, *args, "--store", a.store)
    equal(a.settled("zipkin", 10)["out"], 10, "spans to Zipkin after kill -9")
    for t in traces:
        b.wait_trace(t, 2)
    a.end()
    b.finish()


def case_a_full_spool_drops_and_counts(env):
    a = Source(env, "--otlp-endpoint", f"http://127.0.0.1:{free_port()}", "--export-spool", env.path("small"),
               "--export-spool-bytes", "1M")
    body = request(new_id(), 200)
    for s in body["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        s["attributes"].append(attr("filling", stringValue=base64.b64encode(os.urandom(750)).decode()))
    for i in range(20):
        send(a, body)
        wait_for(lambda: a.gauge("export_otlp_http_queue_bytes") == 0, "the queue to reach the disk", step=0.05)
    wait_for(lambda: a.exported("otlp_http")["in"] == 4000, "all spans to be in the books")
    found = check_balance(a.port)["export_otlp_http"]
    check(found["held"] > 0 and found["dropped"] > 0, f"books {found}")
    check(a.gauge("export_otlp_http_spool_bytes") <= 1 << 20, "bytes on disk")
    a.end()


def case_https_and_mutual_tls(env):
    ca, other = Authority(env, "ours"), Authority(env, "theirs")
    server, client = ca.issue("localhost"), ca.issue("agent")
    endpoint, strict = Endpoint(tls=server), Endpoint(tls=server, client_ca=ca.cert)
    a = Source(env, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": f"https://localhost:{endpoint.port}",
                                 "OTEL_EXPORTER_OTLP_CERTIFICATE": ca.cert})
    send_many(a, 5)
    equal(a.settled("otlp_http", 10)["out"], 10, "spans over HTTPS")
    a.end()
    equal(len(endpoint.spans()), 10, "spans that arrived")
    for options in (("--otlp-certificate", other.cert), ()):  # another Authority; the system's
        a = Source(env, "--otlp-endpoint", f"https://localhost:{endpoint.port}", "--export-give-up", "1s", *options)
        send_many(a, 1)
        equal(a.settled("otlp_http", 2)["dropped"], 2, "spans refused to an endpoint that is not trusted")
        check("certificate" in a.err().lower() or "ssl" in a.err().lower(), f"the log says why: {a.err()}")
        a.end()
    equal(len(endpoint.spans()), 10, "spans that arrived")
    a = Source(env, "--otlp-endpoint", f"https://localhost:{strict.port}", "--otlp-certificate", ca.cert,
               "--otlp-client-certificate", client[0], "--otlp-client-key", client[1])
    send_many(a, 5)
    equal(a.settled("otlp_http", 10)["out"], 10, "spans over mutual TLS")
    a.end()
    a = Source(env, "--otlp-endpoint", f"https://localhost:{strict.port}", "--otlp-certificate", ca.cert,
               "--export-give-up", "1s")
    send_many(a, 1)
    equal(a.settled("otlp_http", 2)["dropped"], 2, "spans without a certificate of ours")
    a.end()
    equal(len(strict.spans()), 10, "spans that arrived")
    line = start_fails(env, "--otlp-endpoint", "https://localhost:1", "--otlp-certificate", "/no/such/file", "--otlp-http", "off",
                       "--otlp-grpc", "off", "--quiet")
    check("/no/such/file" in line and "No such file" in line, line)
    endpoint.close()
    strict.close()


class GrpcSink:
    """An OTLP/gRPC receiver of another make. .port"""

    def __init__(self, env, *tls):
        node, packages = modules()
        self.process = env.start([node, os.path.join(APPS, "grpc_sink.js"), packages, *tls], name="grpc_sink")
        self.port = int(wait_for(lambda: self.process.out().split("\n")[0], "the gRPC server"))

    def calls(self):
        return [json.loads(line) for line in self.process.out().split("\n")[1:-1]]

    def spans(self):
        return [s for call in self.calls() for s in protobuf_spans(base64.b64decode(call["body"]))]


def case_grpc_to_another_make(env):
    """Headers, gzip, TLS and mutual TLS against grpc-js."""
    ca, other = Authority(env, "grpc-ours"), Authority(env, "grpc-theirs")
    server, client = ca.issue("localhost"), ca.issue("agent")
    plain, tls, strict = GrpcSink(env), GrpcSink(env, *server), GrpcSink(env, *server, ca.cert)
    grpc, ours = ("--otlp-protocol", "grpc", "--export-give-up", "1s"), ("--otlp-certificate", ca.cert)
    mine = ("--otlp-client-certificate", client[0], "--otlp-client-key", client[1])
    for sink, url, args, taken in (
            (plain, "http://127.0.0.1:{}", ("--otlp-headers", "X-Key=a%20b", "--otlp-compression", "gzip"), True),
            (tls, "https://localhost:{}", ours, True), (tls, "localhost:{}", ours, True),
            (tls, "https://localhost:{}", ("--otlp-certificate", other.cert), False), (tls, "https://localhost:{}", (), False),
            (tls, "http://localhost:{}", (), False), (strict, "https://localhost:{}", ours + mine, True),
            (strict, "https://localhost:{}", ours, False)):
        a, before = Source(env, *grpc, "--otlp-endpoint", url.format(sink.port), *args), len(sink.spans())
        send_many(a, 5)
        found = a.settled("otlp_grpc", 10)
        equal((found["out"], found["dropped"]), (10, 0) if taken else (0, 10), f"books with {url} {args} ({a.err()[-300:]})")
        equal(len(sink.spans()) - before, 10 if taken else 0, f"spans that arrived at {url} with {args}")
        check(taken or "held and sent again" in a.err(), f"the log says why: {a.err()}")
        a.end()
    equal(plain.calls()[0]["metadata"]["x-key"], "a b", "a header")


def case_the_wrong_port(env):
    """What is mistaken most: HTTP to the gRPC port and gRPC to the HTTP port."""
    b = Receiver(env)
    for protocol, port in (("http/protobuf", b.grpc), ("grpc", b.http)):
        a = Source(env, "--otlp-protocol", protocol, "--otlp-endpoint", f"http://127.0.0.1:{port}", "--export-give-up", "1s")
        send_many(a, 1)
        kind = "otlp_grpc" if protocol == "grpc" else "otlp_http"
        equal(a.settled(kind, 2)["dropped"], 2, "spans dropped")
        lines = [line for line in a.err().splitlines() if f"127.0.0.1:{port}" in line]
        check(len(lines) == 1, f"one line in the log: {a.err()}")
        check(("HTTP" if protocol == "grpc" else "gRPC") in lines[0], f"it says what to do: {lines[0]}")
        a.end()
    check_balance(b.port)
    b.finish()


def case_one_that_hangs_takes_no_time_from_others(env):
    """At the end all exporters have the same few seconds."""
    hang, path = Endpoint(hang=True), env.path("beside.jsonl")
    a = Receiver(env, "--otlp-endpoint", f"http://127.0.0.1:{hang.port}", "--export-file", path)
    traces = send_many(a, 50)
    equal(a.finish(signal.SIGTERM), 0, "exit status")  # and the first one never answers
    with open(path) as text:
        equal({s.trace_id for s in parse_otlp(text.read())}, set(traces), "traces in the file")
    hang.close()


def case_refused_and_tried_again(env):
    endpoint = Endpoint(answers=[(400, {}), (503, {}), (200, {})])
    a = Source(env, "--otlp-endpoint", f"http://127.0.0.1:{endpoint.port}")
    send_many(a, 1)
    equal(a.settled("otlp_http", 2)["dropped"], 2, "spans refused")
    send_many(a, 1)
    equal(a.settled("otlp_http", 4)["out"], 2, "spans sent again")
    equal([r[3] for r in endpoint.requests], [400, 503, 200], "answers")
    a.end()
    endpoint.close()


def case_limits_of_receivers(env):
    """Requests and bytes a second, and a body's size before and after unpacking; each is told with what to do."""
    a = Receiver(env, "--store", "none", "--receive-max-requests", "5")
    got = []

    def refused():
        """Twenty at once, however slow this machine is."""
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            got.extend(pool.map(lambda _: a.post("/v1/traces", json.dumps(request(new_id(), 1)))[0], range(40)))
        return len(set(got)) > 1
    wait_for(refused, f"a refusal; answers {got}")
    check(got.count(200) >= 1 and set(got) <= {200, 429, 503} and len(set(got)) == 2, f"answers {got}")
    a.finish(signal.SIGTERM)
    a = Receiver(env, "--store", "none", "--receive-max-rate", "1M", "--receive-max-body", "100K")
    large = json.dumps(request(new_id(), 500)).encode()
    for body, headers in ((large, JSON), (gzip.compress(large), dict(JSON, **{"Content-Encoding": "gzip"}))):
        status, _, reply = a.post("/v1/traces", body, headers)
        check(status == 413 and "102400 bytes" in json.loads(reply)["message"], f"{len(body)} bytes: {status} {reply}")
    answers = []

    def too_fast():
        answers.extend(a.post("/v1/traces", json.dumps(request(new_id(), 300))) for _ in range(100))
        return any(r[0] == 429 for r in answers)
    wait_for(too_fast, "an answer that it is too much")
    late = [headers for status, headers, _ in answers if status == 429]
    equal({r[0] for r in answers}, {200, 429}, "answers")
    check(all(int(h["retry-after"]) >= 1 for h in late), f"Retry-After {late[0]}")
    check_balance(a.port)
    a.finish(signal.SIGTERM)


def case_secrets_are_not_shown(env):
    a = Source(env, "--otlp-endpoint", f"http://user:s3cret@127.0.0.1:{free_port()}/?key=s3cret", "--otlp-headers", "x=s3cret",
               "--log-level", "debug")
    send_many(a, 1)
    wait_for(lambda: "127.0.0.1" in a.err() and "held and sent again" in a.err(), "the log to name the endpoint")
    a.end()
    check("s3cret" not in a.err() + a.out(), f"a secret is in the log: {a.err()}")
    agent = Agent(env, "--pid", str(os.getpid()), "--otlp-endpoint", f"http://user:s3cret@127.0.0.1:{free_port()}")
    equal(agent.finish(), 0, "exit status")
    check("exported to http://***@127.0.0.1" in agent.err() and "s3cret" not in agent.err(), f"the log of run: {agent.err()}")
    r = env.run([TELLTALE, "options"], env=dict(os.environ, TELLTALE_OTLP_ENDPOINT="http://user:s3cret@h:1",
                                                TELLTALE_KAFKA_SETTINGS="sasl.password=s3cret",
                                                TELLTALE_STORE="clickhouse+http://u:s3cret@h:1/d"))
    check(r.returncode == 0 and "h:1" in r.stdout and "s3cret" not in r.stdout, f"options: {r.stdout}{r.stderr}")
