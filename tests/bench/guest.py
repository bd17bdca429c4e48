# SPDX-License-Identifier: Apache-2.0
"""Inside a guest with -icount: instructions per request of nginx and redis-server, untraced, traced by
each backend, and while another process is the traced one; the tracer's own, as `run` with a store and as
`trace` writing JSON; its time to attach.

Everything runs as SCHED_BATCH, so that nobody preempts who wakes it: else the scheduler falls into one of
two habits (the server sees one request a turn, or four) 1,500 instructions a request apart, whatever is
traced."""
import glob
import json
import os
import signal
import sys
import time

import lib

REQUESTS = 1500


def instructions(pids):
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with open(path) as f:
                total += int(f.read().split()[0])
    return total


def load(env, kind, port, path):
    r = env.run(["/test/load", kind, str(port), "-c", "4", "-n", str(REQUESTS), "-p", path], seconds=600)
    lib.check(r.returncode == 0, f"load: {r.stderr}{r.stdout}")
    return json.loads(r.stdout)


def measure(env, pids, kind, port, path, tracer=None):
    """(server's, tracer's) instructions per request."""
    load(env, kind, port, path)  # warm
    if tracer:
        time.sleep(1)
    before, own = instructions(pids), instructions([tracer.pid]) if tracer else 0
    load(env, kind, port, path)
    server = instructions(pids) - before  # at once: redis does housekeeping in idle time too
    if tracer:
        time.sleep(1)
    return server / REQUESTS, (instructions([tracer.pid]) - own) / REQUESTS if tracer else 0


def agent(env, capture, pids, case, traced, expected):
    """With `run`: spans, their metrics and a durable store. (server's, its own, seconds to attach, remark)"""
    t = lib.Agent(env, *[x for p in traced for x in ("--pid", p)], "--capture", capture)
    on, own = measure(env, pids, *case, tracer=t)
    spans = lib.books(t.port)["redact"]["out"]
    t.finish()
    return on, own, t.ready_s, f"  only {spans:.0f} spans of {2 * REQUESTS} requests" if expected and spans < 2 * REQUESTS else ""


def json_text(env, capture, pids, case):
    """The tracer's own with `trace --format otlp-json`."""
    t = lib.Trace(env, pids, ["--capture", capture])
    _, own = measure(env, pids, *case, tracer=t)
    t.stop(signal.SIGINT)
    return own


def main():
    kernel, captures = sys.argv[1], sys.argv[2:]
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    env = lib.Env()
    try:
        web, server = lib.nginx(env), lib.redis(env)
        with open(f"{web.root}/small", "w") as f:
            f.write("x" * 100)
        with lib.Conn(("127.0.0.1", server.port)) as c:
            c.redis("SET", "key", "v" * 64)
        bystander = env.start(["/bin/sleep", "100000"])
        cases = (("nginx", web.pids, "http", web.port, "/small"), ("redis", [server.pid], "redis", server.port, "key"))
        print(f"{'kernel':7} {'backend':11} {'server':6} {'traced':>9} {'instr/req':>10} {'more':>8} {'run/req':>8} {'JSON/req':>8} {'attach s':>9}")
        off = {}
        for name, *case in cases:
            off[name], _ = measure(env, *case)
            print(f"{kernel:7} {'-':11} {name:6} {'no':>9} {off[name]:10.0f}")
        for capture in captures:
            for name, pids, *case in cases:
                for what, traced in (("yes", pids), ("another", [bystander.pid])):
                    on, own, ready_s, note = agent(env, capture, pids, case, traced, what == "yes")
                    text = f"{json_text(env, capture, pids, case):8.0f}" if what == "yes" else 8 * " "
                    print(f"{kernel:7} {capture:11} {name:6} {what:>9} {on:10.0f} {on - off[name]:+8.0f} {own:8.0f} {text} {ready_s:9.2f}{note}")
    finally:
        env.close()


main()
