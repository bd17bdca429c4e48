#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the backend costs end to end: OTLP/HTTP bytes in, durable on disk, found again over HTTP.

    store.py [SPANS] [--keep]         default: 10,000,000 spans
    store.py SPANS --apart [--keep]   10,000 traces a second whose spans come over several connections, some
                                      4.5 s late, so that most traces lie in several blocks
    store.py --queries FOLDER         on what --keep left

Prints CPU a span and spans a second for each core that the gateway used, bytes a span on disk,
memory, and how long it takes to find a trace by id and to search.
"""
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TELLTALE = os.path.join(TOP, "build", "telltale")
LOAD = os.path.join(TOP, "build", "tests", "otlp_load")
API, OTLP = 18209, 18218
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_ns(pid):
    """Of all threads that live, to the nanosecond; the machine may be busy with other things. A search's
    second thread is gone when it ends: measure() looks at the whole process too, by the tick."""
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/schedstat") as f:
            total += int(f.read().split()[0])
    return total


def memory_mb(pid, what):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith(what))


def start(store, *args):
    p = subprocess.Popen([TELLTALE, "gateway", "--store", store, "--listen", f"127.0.0.1:{API}", "--otlp-http",
                          f"127.0.0.1:{OTLP}", "--otlp-grpc", "off", "--store-max-bytes", "0", *args])
    for _ in range(200):
        try:
            ask("/health/live")
            return p
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the gateway does not answer")


def ask(path, body=None):
    """(milliseconds, status, reply)"""
    c = http.client.HTTPConnection("127.0.0.1", API, timeout=60)
    begin = time.monotonic()
    c.request("POST" if body is not None else "GET", path, json.dumps(body) if body is not None else None,
              {"Content-Type": "application/json"} if body is not None else {})
    r = c.getresponse()
    reply = r.read()
    took = (time.monotonic() - begin) * 1000
    c.close()
    return took, r.status, reply


def line(label, times, note=""):
    t = sorted(times)
    print(f"{label:<44} p50 {t[len(t) // 2]:8.2f} ms   p99 {t[min(len(t) - 1, int(len(t) * 0.99))]:8.2f} ms   "
          f"max {t[-1]:8.2f} ms  {note}", flush=True)


def measure(pid, label, requests, hits=None):
    times, found, before, ticks = [], 0, cpu_ns(pid), cpu_seconds(pid)
    for path, body in requests:
        took, status, reply = ask(path, body)
        if status not in (200, 404):
            print(f"{label}: {status} {reply[:200]}")
            return
        times.append(took)
        if hits:
            found += hits(json.loads(reply))
    cpu_ms = max((cpu_ns(pid) - before) / 1e6, (cpu_seconds(pid) - ticks - 1 / TICKS) * 1000)
    line(label, times, f"CPU {cpu_ms / len(times):7.2f} ms each" +
         (f", {found / len(times):.1f} hits" if hits else ""))


def search(**q):
    return "/traces/search", {"limit": 20, **q}


def tempo(q):
    return "/tempo/api/search?" + urllib.parse.urlencode({"q": q, "limit": 20}), None


# What only whole traces tell, by TraceQL: few hits, then none.
FRONT, CART = '{ resource.service.name = "frontend" }', '{ resource.service.name = "cart" }'
WHOLE = [
    ("few hits: traceDuration", "{ traceDuration > 1915ms }"),
    ("few hits: traceDuration and an error", "{ traceDuration > 1800ms && status = error }"),
    ("few hits: sum(duration)", "{} | sum(duration) > 3s"),
    ("no hit: traceDuration", "{ traceDuration > 3s }"),
    ("no hit: count()", "{} | count() > 12"),
    ("no hit: rootServiceName", '{ rootServiceName = "payment" }'),
    ("no hit: rootName", '{ rootName = "never a root" }'),
    ("no hit: parent = nil && A", '{ parent = nil && resource.service.name = "cart" }'),
    ("no hit: { A } > { B }", f"{CART} > {FRONT}"),
    ("no hit: { A } >> { B }", f"{CART} >> {FRONT}"),
    ("no hit: { A } ~ { B }", f"{FRONT} ~ {{ parent = nil }}"),
    ("no hit: { A } < { B }", f"{FRONT} < {CART}"),
]


def queries(pid, ids):
    hits = lambda r: len(r.get("traces") or [])  # noqa: E731
    measure(pid, "trace by id", [(f"/traces/{i}", None) for i in ids])
    measure(pid, "trace by id, unknown", [(f"/traces/{n + 1:032x}", None) for n in range(50)])
    services = ["frontend", "checkout", "cart", "payment", "inventory", "catalog", "search", "shipping"]
    measure(pid, "service", [search(service=s) for s in services * 4], hits)
    measure(pid, "service, status 500", [search(service=s, attributes=[{"key": "http.response.status_code", "op": "=", "value": 500}])
                                    for s in services * 2], hits)
    measure(pid, "service, longer than 20 ms", [search(service=s, min_duration="20ms") for s in services * 2], hits)
    measure(pid, "TraceQL: error and database", [tempo('{ status = error } && { span.db.system.name != "" }')] * 8, hits)
    measure(pid, "TraceQL: frontend calls something slow", [tempo('{ resource.service.name = "frontend" } >> { duration > 50ms }')] * 8, hits)
    measure(pid, "no hit: value that is nowhere", [search(attributes=[{"key": "http.response.status_code", "op": "=", "value": 418}])] * 8, hits)
    measure(pid, "no hit: service that is nowhere", [search(service="nowhere")] * 8, hits)
    measure(pid, "no hit: regular expression", [search(attributes=[{"key": "url.path", "op": "=~", "value": ".*nowhere.*"}])] * 8, hits)
    measure(pid, "no hit: longer than 1000 s", [tempo("{ duration > 1000s }")] * 8, hits)
    for label, q in WHOLE:
        measure(pid, label, [tempo(q)] * 4, hits)
    calls = {"parent": {"service": "cart"}, "child": {"service": "frontend"}}
    measure(pid, "no hit: cart calls frontend", [search(structure=calls)] * 4, hits)
    measure(pid, "services", [("/traces/services", None)] * 8)


def again(folder):
    """The queries alone, on a store that --keep left."""
    p = start(os.path.join(folder, "store"))
    try:
        with open(os.path.join(folder, "ids")) as f:
            queries(p.pid, f.read().split())
    finally:
        p.send_signal(signal.SIGTERM)
        p.wait(60)


def main():
    if "--queries" in sys.argv:
        return again(sys.argv[-1])
    spans = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 10_000_000
    folder = tempfile.mkdtemp(prefix="telltale-bench.", dir=os.environ.get("TMPDIR", "/var/tmp"))
    store = os.path.join(folder, "store")
    p = start(store)
    try:
        before = cpu_seconds(p.pid)
        apart = ["1", "10000"] if "--apart" in sys.argv else []
        out = subprocess.run([LOAD, "127.0.0.1", str(OTLP), str(spans), "32", *apart], capture_output=True, text=True)
        if out.returncode:
            raise SystemExit(f"the load failed: {out.stderr}")
        *ids, last = out.stdout.split("\n")[:-1]
        with open(os.path.join(folder, "ids"), "w") as f:
            f.write("\n".join(ids[:1000]))
        used, wall = cpu_seconds(p.pid) - before, float(last.split()[1])
        print(f"taken in                 {spans / wall:10.0f} spans/s, {last}")
        print(f"CPU at the last ack      {used / spans * 1e6:10.2f} us a span = {spans / used:.0f} spans/s for each core")
        time.sleep(10)
        used = cpu_seconds(p.pid) - before
        print(f"CPU ten seconds later    {used / spans * 1e6:10.2f} us a span = {spans / used:.0f} spans/s for each core")
        print(f"memory                   {memory_mb(p.pid, 'VmRSS'):10.0f} MB, at most {memory_mb(p.pid, 'VmHWM'):.0f} MB")
        s = json.loads(subprocess.run([TELLTALE, "store", "stats", "--json", store], capture_output=True, text=True).stdout)
        print(f"on disk                  {s['bytes_per_span']:10.1f} bytes a span, {s['blocks']} blocks, {s['traces']} traces")
        queries(p.pid, ids[:1000])
        print(f"memory after the queries {memory_mb(p.pid, 'VmRSS'):10.0f} MB, at most {memory_mb(p.pid, 'VmHWM'):.0f} MB")
    finally:
        p.send_signal(signal.SIGTERM)
        p.wait(60)
        if "--keep" in sys.argv:
            print(f"kept: {folder}; again: store.py --queries {folder}")
        else:
            subprocess.run(["rm", "-rf", folder], check=False)


main()
