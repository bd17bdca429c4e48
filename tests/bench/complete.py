#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How many traces are whole when their spans come apart: over several connections, some 4.5 s late.

    complete.py [TRACES_PER_S [SECONDS]]     default: 10,000 traces/s of ten spans for 20 s

Once without sampling, then with the tail's, its buffer large enough and too small: the rate that was held,
traces that have all ten spans, CPU a span, memory. What a buffer costs is the difference to the run
without sampling.
"""
import collections
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TELLTALE = os.path.join(TOP, "build", "telltale")
LOAD = os.path.join(TOP, "build", "tests", "otlp_load")
API, OTLP = 18309, 18318
TICKS = os.sysconf("SC_CLK_TCK")
SPANS = 10  # of each trace
SENDERS, BATCH = 64, 50  # otlp_load's: connections, traces at a time
BELOW = re.compile(rb'"traceId":"([0-9a-f]{32})","spanId"')


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid, what):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith(what))


def get(path):
    with urllib.request.urlopen(f"http://127.0.0.1:{API}{path}", timeout=10) as r:
        return r.read().decode()


def figure(name):
    return sum(float(line.split()[-1]) for line in get("/metrics").splitlines() if line.startswith(name))


def start(store, args):
    p = subprocess.Popen([TELLTALE, "gateway", "--store", store, "--listen", f"127.0.0.1:{API}", "--otlp-http",
                          f"127.0.0.1:{OTLP}", "--otlp-grpc", "off", "--store-max-bytes", "0", "--quiet", *args])
    for _ in range(200):
        time.sleep(0.05)
        try:
            get("/health/live")
        except OSError:
            continue
        if p.poll() is None:
            return p
    raise SystemExit("the gateway does not answer")


def count(store, folder):
    """{trace: spans} of all that is kept."""
    out = os.path.join(folder, "kept.jsonl")
    subprocess.run([TELLTALE, "store", "export", "-o", out, store], check=True)
    spans = collections.Counter()
    with open(out, "rb") as f:
        for line in f:
            spans.update(BELOW.findall(line))
    os.unlink(out)
    return spans


def measure(label, rate, seconds, *args):
    folder = tempfile.mkdtemp(prefix="telltale-bench.", dir=os.environ.get("TMPDIR", "/var/tmp"))
    store = os.path.join(folder, "store")
    p = start(store, args)
    try:
        sent = -(-rate * seconds // (SENDERS * BATCH)) * SENDERS * BATCH * SPANS
        before, empty = cpu_seconds(p.pid), memory_mb(p.pid, "VmRSS")
        out = subprocess.run([LOAD, "127.0.0.1", str(OTLP), str(sent), str(SENDERS), "1", str(rate)], capture_output=True, text=True)
        if out.returncode:
            raise SystemExit(f"the load failed: {out.stderr}")
        held = sent / SPANS / float(out.stdout.split("\n")[-2].split()[1])
        time.sleep(6)
        used, most = cpu_seconds(p.pid) - before, memory_mb(p.pid, "VmHWM")
        early = figure("telltale_trace_incomplete_total") if args else 0
        p.send_signal(signal.SIGTERM)
        p.wait(60)
        kept = count(store, folder)
        whole = sum(n == SPANS for n in kept.values())
        print(f"{label:<18} {held:8.0f} traces/s   {len(kept):8} kept, {100 * whole / max(len(kept), 1):7.3f} % whole   "
              f"{used / sent * 1e6:6.2f} us CPU a span   {empty:4.0f} MB before, at most {most:4.0f} MB"
              + (f"   {early:.0f} decided early" if args else ""), flush=True)
    finally:
        if p.poll() is None:
            p.kill()
        subprocess.run(["rm", "-rf", folder], check=False)


def main():
    rate, seconds = (int(a) for a in (sys.argv[1:] + ["10000", "20"][len(sys.argv) - 1:]))
    measure("without sampling", rate, seconds)
    measure("tail, 256 MiB", rate, seconds, "--sampling", "tail", "--max-traces-per-second", "1000")
    measure("tail, 64 MiB", rate, seconds, "--sampling", "tail", "--max-traces-per-second", "1000", "--tail-buffer", "64M")
    measure("tail, 1 GiB", rate, seconds, "--sampling", "tail", "--max-traces-per-second", "1000", "--tail-buffer", "1G")


main()
