# SPDX-License-Identifier: Apache-2.0
"""Exporters one by one: Zipkin, Kafka, files; and what /health/ready says of each."""
import ctypes.util
import glob
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time

from cases_9export import Source, everything, send, send_many, start_fails, used_again
from cases_9receive import Receiver, new_id, request
from lib import APPS, PATIENCE, PYTHON, Authority, Endpoint, Skip, check, check_balance, equal, free_port, parse_otlp, tls_context, wait_for


def case_zipkin(env):
    b = Receiver(env)
    a = Source(env, "--zipkin-endpoint", f"http://127.0.0.1:{b.http}/api/v2/spans")
    trace_id, body = everything(6)
    send(a, body)
    got = b.wait_trace(trace_id, 6)
    for want in a.trace(trace_id):
        s = next(x for x in got if x.span_id == want.span_id)
        equal((s.trace_id, s.parent_id, s.name, s.service, s.status), (want.trace_id, want.parent_id, want.name, want.service,
                                                                       want.status), "the span")
        equal((s.attrs["text"], s.attrs["n"], s.attrs["yes"]), (want.attrs["text"], str(want.attrs["n"]), "true"), "tags")
        check(abs(s.start - want.start) < 1000 and abs(s.end - want.end) < 2000, "times in microseconds")
        check("retry" in s.events[0][0], f"annotation {s.events}")
    equal(a.settled("zipkin", 6)["out"], 6, "spans exported")
    a.end()
    b.finish()


def zipkin_ids(endpoint):
    """The trace id of each span that an endpoint took."""
    return [s["traceId"] for path, _, body, status in list(endpoint.requests) if status == 200 and path == "/api/v2/spans"
            for s in json.loads(body)]


def case_zipkin_over_mutual_tls(env):
    """Headers and certificates of its own, by flags and by variables; OTLP's are not its."""
    ca, other = Authority(env, "zipkin-ours"), Authority(env, "zipkin-theirs")
    server, client = ca.issue("localhost"), ca.issue("agent")
    strict = Endpoint(tls=server, client_ca=ca.cert)
    url = f"https://localhost:{strict.port}/api/v2/spans"
    mine = ("--zipkin-client-certificate", client[0], "--zipkin-client-key", client[1])
    a = Source(env, "--zipkin-endpoint", url, "--zipkin-headers", "X-Key=a%20b,x-other=c", "--zipkin-certificate", ca.cert, *mine)
    traces = send_many(a, 5)
    equal(a.settled("zipkin", 10)["out"], 10, "spans over mutual TLS")
    a.end()
    equal(sorted(zipkin_ids(strict)), sorted(traces * 2), "spans that arrived")
    headers = {k.lower(): v for k, v in strict.requests[0][1].items()}
    equal((headers["x-key"], headers["x-other"], headers["content-type"]), ("a b", "c", "application/json"), "headers")
    a = Source(env, environment={
        "TELLTALE_ZIPKIN_ENDPOINT": url, "TELLTALE_ZIPKIN_CERTIFICATE": ca.cert, "TELLTALE_ZIPKIN_CLIENT_KEY": client[1],
        "TELLTALE_ZIPKIN_CLIENT_CERTIFICATE": client[0], "TELLTALE_ZIPKIN_HEADERS": "x-key=variable"})
    send_many(a, 1)
    equal(a.settled("zipkin", 2)["out"], 2, "spans with variables")
    a.end()
    equal({k.lower(): v for k, v in strict.requests[-1][1].items()}["x-key"], "variable", "header")
    for args in (("--zipkin-certificate", ca.cert), ("--zipkin-certificate", other.cert, *mine), mine,
                 ("--otlp-certificate", ca.cert, "--otlp-client-certificate", client[0], "--otlp-client-key", client[1])):
        a = Source(env, "--zipkin-endpoint", url, "--export-give-up", "1s", *args)
        send_many(a, 1)
        equal(a.settled("zipkin", 2)["dropped"], 2, f"spans with {args}")
        check("ssl" in a.err().lower() or "certificate" in a.err().lower(), f"the log says why: {a.err()}")
        a.end()
    equal(len(zipkin_ids(strict)), 12, "spans that arrived")
    off = ("--otlp-http", "off", "--otlp-grpc", "off", "--quiet")
    line = start_fails(env, "--zipkin-endpoint", url, "--zipkin-certificate", "/no/such/file", *off)
    check("/no/such/file: No such file" in line, line)
    line = start_fails(env, "--zipkin-endpoint", url, "--zipkin-client-key", client[1], *off)
    check("zipkin-client-certificate" in line, line)
    strict.close()


def case_zipkin_endpoints_take_turns(env):
    """Two take turns; one that dies is left out and the other takes all; it is used again when it is back."""
    one, two = Receiver(env), Receiver(env)
    a = Source(env, "--export-batch", "2", "--zipkin-endpoint",
               f"http://127.0.0.1:{one.http}/api/v2/spans,http://127.0.0.1:{two.http}/api/v2/spans")
    traces = send_many(a, 20)
    equal(a.settled("zipkin", 40)["out"], 40, "spans exported")
    count = [sum(g.trace(t) is not None for t in traces) for g in (one, two)]
    check(sum(count) == 20 and min(count) >= 7, f"traces of each: {count}")
    one.stop()
    traces = send_many(a, 20)
    equal(a.settled("zipkin", 80)["out"], 80, "spans exported")
    equal(sum(two.trace(t) is not None for t in traces), 20, "traces of the one that is left")
    equal(a.gauge("export_zipkin_endpoints_down"), 1, "endpoints down")
    check(f"127.0.0.1:{one.http}" in a.err(), f"the log names it: {a.err()}")
    again = Receiver(env, "--store", one.store, "--otlp-http", f"127.0.0.1:{one.http}")
    used_again(a, again)
    a.end()
    return f"{count[0]} and {count[1]} of 20"


def case_file_with_rotation(env):
    path = env.path("spans.jsonl")
    a = Source(env, "--store", "none", "--export-file", path, "--export-file-size", "20K", "--export-file-keep", "3",
               "--export-batch", "20")
    traces = []
    for _ in range(30):
        traces += send_many(a, 10)
        time.sleep(0.02)
    equal(a.settled("otlp_file", 600)["out"], 600, "spans written")
    a.end()
    files = sorted(glob.glob(path + "*"))
    equal([os.path.basename(f) for f in files], ["spans.jsonl", "spans.jsonl.1", "spans.jsonl.2", "spans.jsonl.3"], "files")
    kept = []
    for f in reversed(files):
        check(os.path.getsize(f) < 40 << 10, f"{f}: {os.path.getsize(f)} bytes")
        with open(f) as text:
            kept += [s.trace_id for s in parse_otlp(text.read())]
    equal(len(kept), len(set(kept)) * 2, "spans, two of each trace")
    check(traces[-1] in kept and traces[0] not in kept, "the newest stay, the oldest go")
    whole = env.path("whole.jsonl")
    a = Source(env, "--export-file", whole)
    traces = send_many(a, 10)
    a.end()
    with open(whole) as text:
        equal({s.trace_id for s in parse_otlp(text.read())}, set(traces), "traces, written when it ended")
    return f"{len(kept)} spans in {len(files)} files"


def case_file_rotated_by_age(env):
    """Seconds count: a shorter age is one second. What is old is beside, nothing is lost or torn."""
    for age in ("1s", "300ms"):
        path = env.path(f"aged.{age}.jsonl")
        a = Source(env, "--store", "none", "--export-file", path, "--export-file-age", age, "--export-file-keep", "100")
        traces = send_many(a, 5)
        a.settled("otlp_file", 10)

        def turned(cnt):
            traces.extend(send_many(a, 1))
            return len(glob.glob(path + ".*")) >= cnt
        for cnt in (1, 2):
            wait_for(lambda: turned(cnt), f"the {cnt}. old file at an age of {age}", step=0.2)
        a.end()
        found = []
        for f in glob.glob(path + "*"):
            with open(f) as text:
                found += [s.trace_id for s in parse_otlp(text.read())]
        equal(sorted(found), sorted(traces * 2), "spans in all files")


def case_kafka(env):
    """Against librdkafka's own broker, since there is no other here."""
    a = Source(env, "--kafka-brokers", "127.0.0.1:1", "--kafka-settings", "test.mock.num.brokers=1")
    send_many(a, 20)
    equal(a.settled("kafka", 40), {"in": 40, "out": 40, "held": 0, "dropped": 0}, "books")
    a.end()
    a = Source(env, "--kafka-brokers", f"127.0.0.1:{free_port()}", "--export-give-up", "1s", "--kafka-settings",
               "message.timeout.ms=500")
    send_many(a, 1)
    equal(a.settled("kafka", 2)["dropped"], 2, "spans without a broker")
    a.end()
    for settings, word in (("no.such=1", "no.such"), ("acks=many", "acks"), ("nothing", "K=V")):
        line = start_fails(env, "--kafka-brokers", "127.0.0.1:1", "--kafka-settings", settings, "--otlp-http", "off",
                           "--otlp-grpc", "off", "--quiet")
        check(word in line, line)


def case_kafka_broker_away_and_back(env):
    """What waited for the broker reaches it once it is back; nothing is lost, nothing sent twice."""
    if not ctypes.util.find_library("rdkafka"):
        raise Skip("no librdkafka")
    broker = env.start([PYTHON, os.path.join(APPS, "kafka_broker.py")], name="kafka_broker", stdin=subprocess.PIPE)

    def tell(word):
        broker.popen.stdin.write(word.encode() + b"\n")
        broker.popen.stdin.flush()
        wait_for(lambda: broker.out().split()[-1] == word, f"the broker to be {word}")

    address = wait_for(lambda: broker.out().strip(), "the broker's address")
    a = Source(env, "--kafka-brokers", address, "--kafka-settings", "message.timeout.ms=1000,reconnect.backoff.max.ms=200")
    send_many(a, 5)
    equal(a.settled("kafka", 10)["out"], 10, "spans exported")
    tell("down")
    send_many(a, 5)
    wait_for(lambda: a.gauge("export_kafka_endpoints_down") == 1, "the exporter to see that it is away")
    equal((a.exported("kafka")["held"], a.exported("kafka")["dropped"]), (10, 0), "spans held and dropped")
    check(address in a.err(), f"the log names it: {a.err()}")
    tell("up")
    equal(a.settled("kafka", 20), {"in": 20, "out": 20, "held": 0, "dropped": 0}, "books when it is back")
    wait_for(lambda: "works again" in a.err(), "the log to say so")
    a.end()


def api_versions(asked):
    """A broker's answer to ApiVersions: that, SaslHandshake and SaslAuthenticate (Kafka protocol, version 3)."""
    keys = b"".join(struct.pack(">hhhB", key, 0, last, 0) for key, last in ((18, 3), (17, 1), (36, 0)))
    body = asked[8:12] + struct.pack(">hB", 0, 4) + keys + struct.pack(">IB", 0, 0)
    return struct.pack(">I", len(body)) + body


class Ear:
    """Takes connections, over TLS or not, and keeps what Kafka's clients say first. .port .heard .names"""

    def __init__(self, context=None):
        self.heard, self.names, self.context = [], [], context
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            try:
                client.settimeout(PATIENCE)
                if self.context:
                    client = self.context.wrap_socket(client, server_side=True)
                    self.names.append(dict(p[0] for p in client.getpeercert()["subject"])["commonName"])
                self.heard.append(client.recv(4096))
                client.sendall(api_versions(self.heard[-1]))
                self.heard.append(client.recv(4096))
            except OSError:
                pass
            client.close()


def case_kafka_settings_reach_librdkafka(env):
    """TLS, mutual TLS and SASL by its own names, seen by a listener; what it does not take is refused in a line."""
    ca, other = Authority(env, "kafka-ours"), Authority(env, "kafka-theirs")
    server, client = ca.issue("localhost"), ca.issue("agent")
    ear, plain = Ear(tls_context(server, ca.cert)), Ear()

    def to(port, settings):
        """A connection that comes too late for the messages' time-out, on a slow machine, says nothing."""
        a = Source(env, "--kafka-brokers", f"localhost:{port}", "--export-give-up", "1s", "--kafka-settings",
                   "message.timeout.ms=500,broker.address.family=v4," + settings)
        send_many(a, 1)
        a.settled("kafka", 2)
        a.end()
        check("s3cret" not in a.err() + a.out(), f"a secret is in the log: {a.err()}")

    mine = f"ssl.certificate.location={client[0]},ssl.key.location={client[1]}"
    def heard(by, port, settings, word):
        to(port, settings)
        return any(word in h for h in by.heard)
    trusted = f"security.protocol=ssl,ssl.ca.location={ca.cert},{mine}"
    wait_for(lambda: heard(ear, ear.port, trusted, b"telltale"), "Kafka to be spoken inside TLS, with our client.id")
    equal(set(ear.names), {"agent"}, "our certificate was shown")
    del ear.names[:]
    to(ear.port, f"security.protocol=ssl,ssl.ca.location={other.cert},{mine}")
    equal(ear.names, [], "handshakes with a server that is not trusted")
    sasl = "security.protocol=sasl_plaintext,sasl.mechanisms=PLAIN,sasl.username=me,sasl.password=s3cret"
    wait_for(lambda: heard(plain, plain.port, sasl, b"PLAIN"), "a SASL handshake")
    for settings, word in (("security.protocol=nope", "security.protocol"), ("security.protocol=ssl,ssl.ca.location=/no/such",
                                                                             "ssl.ca.location"),
                           ("security.protocol=sasl_plaintext,sasl.mechanisms=PLAIN", "sasl.username")):
        line = start_fails(env, "--kafka-brokers", "127.0.0.1:1", "--kafka-settings", settings, "--otlp-http", "off",
                           "--otlp-grpc", "off", "--quiet")
        check(word in line, line)


def part(g, name):
    """(status, reason) of /health/ready."""
    status, reply = g.get("/health/ready")
    found = json.loads(reply)
    check(found["ok"] == (status == 200) and all(p["reason"] for p in found["parts"]), f"{status} {found}")
    return status, {p["name"]: p["reason"] for p in found["parts"] if p["ok"]}.get(name)


def case_health_says_how_exporters_do(env):
    """One that cannot send has a reason, and does not make the gateway unready."""
    b = Receiver(env)
    a = Source(env, "--otlp-endpoint", f"http://me:s3cret@127.0.0.1:{b.http}/?k=s3cret", "--export-file", env.path("beside.jsonl"),
               environment={"OTEL_BSP_MAX_QUEUE_SIZE": "20"})
    send_many(a, 2)
    a.settled("otlp_http", 4)
    equal([part(a, f"export_{kind}") for kind in ("otlp_http", "otlp_file")], [(200, "ready")] * 2, "exporters that send")
    equal([part(a, name)[1] for name in ("loop", "store")], ["turns", "ready"], "the other parts")
    check(f":{a.http}, OTLP/gRPC on 127.0.0.1:{a.grpc}" in part(a, "receive")[1], f"receivers: {part(a, 'receive')}")
    b.stop()
    send_many(a, 1)
    wait_for(lambda: f"127.0.0.1:{b.http}/" in part(a, "export_otlp_http")[1], "the exporter to see it")
    status, reason = part(a, "export_otlp_http")
    check(status == 200 and " fails since " in reason and "s3cret" not in reason, f"{status} {reason}")
    send_many(a, 30)
    wait_for(lambda: "queue is full" in part(a, "export_otlp_http")[1], "it to say that its queue is full")
    equal(part(a, "export_otlp_file"), (200, "ready"), "the other exporter")
    again = Receiver(env, "--store", b.store, "--otlp-http", f"127.0.0.1:{b.http}")
    wait_for(lambda: part(a, "export_otlp_http") == (200, "ready"), "it to be ready again", step=0.2)
    a.end()
    again.finish()


def case_health_of_a_full_spool(env):
    a = Source(env, "--otlp-endpoint", f"http://127.0.0.1:{free_port()}", "--export-spool", env.path("full"),
               "--export-spool-bytes", "1M")
    _, body = everything(200)
    wait_for(lambda: send(a, body) or "spool is full" in part(a, "export_otlp_http")[1], "the spool to be full", step=0.1)
    equal(part(a, "export_otlp_http")[0], 200, "status")
    check("its spool is full and spans are dropped" in a.err(), f"told in the log: {a.err()}")
    a.end()


def case_otel_variables_of_the_signal(env):
    """Each OTEL_EXPORTER_OTLP_TRACES_* is stronger than the one for all signals; over mutual TLS."""
    ca = Authority(env, "signal")
    server, client = ca.issue("localhost"), ca.issue("agent")
    strict = Endpoint(tls=server, client_ca=ca.cert)
    mine = {"ENDPOINT": f"https://localhost:{strict.port}/own", "HEADERS": "x-key=a%2Cb%3D%C3%BC,x-empty=", "PROTOCOL": "http/protobuf",
            "COMPRESSION": "gzip", "TIMEOUT": "9000", "CERTIFICATE": ca.cert, "CLIENT_KEY": client[1], "CLIENT_CERTIFICATE": client[0]}
    others = {"ENDPOINT": "http://127.0.0.1:1", "HEADERS": "x-general=1", "PROTOCOL": "grpc", "COMPRESSION": "none", "TIMEOUT": "1",
              "CERTIFICATE": "/no/such", "CLIENT_KEY": "/no/such", "CLIENT_CERTIFICATE": "/no/such"}
    a = Source(env, environment=dict({f"OTEL_EXPORTER_OTLP_TRACES_{k}": v for k, v in mine.items()},
                                     **{f"OTEL_EXPORTER_OTLP_{k}": v for k, v in others.items()}))
    send_many(a, 3)
    equal(a.settled("otlp_http", 6)["out"], 6, "spans exported")
    path, headers, _, _ = strict.requests[0]
    headers = {k.lower(): v for k, v in headers.items()}
    equal((path, headers["x-key"].encode("latin-1").decode(), headers["x-empty"], headers["content-encoding"], "x-general" in headers),
          ("/own", "a,b=ü", "", "gzip", False), "path and headers")
    a.end()
    equal(len(strict.spans()), 6, "spans that arrived")
    strict.close()


def case_otel_disabled_or_without_endpoint(env):
    """OTEL_SDK_DISABLED takes the standard's exporters away, not the ones asked for; otlp alone says what it lacks."""
    endpoint = Endpoint()
    here = f"http://127.0.0.1:{endpoint.port}"
    a = Source(env, environment={"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp,zipkin,console",
                                 "OTEL_EXPORTER_OTLP_ENDPOINT": here})
    a.wait_trace(send_many(a, 1)[0], 2)
    equal([s for s in check_balance(a.port) if s.startswith("export_")], [], "exporters")
    a.end()
    equal((endpoint.requests, "work 0" in a.out()), ([], False), "what was exported")
    a = Source(env, "--otlp-endpoint", here, environment={"OTEL_SDK_DISABLED": "true"})
    send_many(a, 1)
    equal(a.settled("otlp_http", 2)["out"], 2, "spans to the endpoint that was asked for")
    a.end()
    a = Source(env, environment={"OTEL_TRACES_EXPORTER": "otlp"})
    a.end()
    check("OTEL_TRACES_EXPORTER" in a.err() and "nothing is exported" in a.err(), f"a warning: {a.err()}")
    endpoint.close()


def case_grpc_endpoints_take_turns(env):
    one, two = Receiver(env), Receiver(env)
    a = Source(env, "--export-batch", "2", "--otlp-protocol", "grpc", "--otlp-endpoint",
               f"http://127.0.0.1:{one.grpc},http://127.0.0.1:{two.grpc}")
    traces = send_many(a, 20)
    equal(a.settled("otlp_grpc", 40)["out"], 40, "spans exported")
    count = [sum(g.trace(t) is not None for t in traces) for g in (one, two)]
    check(sum(count) == 20 and min(count) >= 7, f"traces of each: {count}")
    one.stop()
    traces = send_many(a, 20)
    equal(a.settled("otlp_grpc", 80)["out"], 80, "spans exported")
    equal(sum(two.trace(t) is not None for t in traces), 20, "traces of the one that is left")
    a.end()
    two.finish()


def case_the_spool_survives_an_ordinary_end(env):
    """What was not yet a batch reaches the disk as well."""
    port = free_port()
    args = ("--otlp-endpoint", f"http://127.0.0.1:{port}", "--export-spool", env.path("ended"))
    a = Receiver(env, *args, "--export-delay", "1h")
    traces = send_many(a, 10)
    equal(a.finish(signal.SIGTERM), 0, "exit status")
    b = Receiver(env, "--otlp-http", f"127.0.0.1:{port}")
    a = Source(env, *args, "--store", a.store)
    equal(a.settled("otlp_http", 20), {"in": 20, "out": 20, "held": 0, "dropped": 0}, "books of the next process")
    equal(sum(b.trace(t) is not None for t in traces), 10, "traces that arrived")
    a.end()
    b.finish()


def case_limits_of_another_gateway(env):
    """What it refuses for good is dropped at once and told; what it asks to wait for is sent again."""
    small, slow = Receiver(env, "--receive-max-body", "2K"), Receiver(env, "--receive-max-requests", "1")
    for protocol, kind in (("grpc", "otlp_grpc"), ("http/protobuf", "otlp_http")):
        a = Source(env, "--otlp-protocol", protocol, "--otlp-endpoint", f"http://127.0.0.1:{getattr(small, kind[5:])}")
        send(a, request(new_id(), 200))
        found = a.settled(kind, 200)
        check(found["dropped"] == 200 and "2048 bytes" in a.err() and "refused for good" in a.err(), f"{found} {a.err()}")
        check(protocol == "grpc" or "--export-batch" in a.err(), f"what can be done: {a.err()}")
        a.end()
        a = Source(env, "--export-batch", "2", "--otlp-protocol", protocol, "--otlp-endpoint",
                   f"http://127.0.0.1:{getattr(slow, kind[5:])}")
        send_many(a, 4)
        equal(a.settled(kind, 8), {"in": 8, "out": 8, "held": 0, "dropped": 0}, f"books of {kind}")
        a.end()
