# SPDX-License-Identifier: Apache-2.0
"""What goes from a store and what stays: retention, bytes, archive, summaries, merged blocks, clocks that jump.

A partition is a 24th of the retention long and takes what was received in that time, so that a retention of
seconds makes partitions of a fraction of one.
"""
import base64
import glob
import json
import os
import random
import subprocess
import time

from cases_9store import START, ask, change, fill_up, post, request, small_disk, spans_of, stats, there
from lib import Gateway, Skip, TELLTALE, check, check_balance, equal, need, wait_for


def gone(port, trace):
    return ask(port, f"/traces/{trace}")[0] == 404


def parts(store):
    return set(glob.glob(os.path.join(store, "part-*.db")))


def rollups(port, query=""):
    status, reply = ask(port, f"/traces/rollups{query}")
    equal(status, 200, f"GET /traces/rollups ({reply})")
    return reply


def case_an_archived_trace_outlives_its_partition(env):
    g = Gateway(env, "--retention", "10s")
    traces = []
    for n in range(6):
        trace, body = request(n)
        equal(post(g.http, body)[0], 200, "status")
        traces.append(trace)
        if n == 2:
            kept = trace
            equal(change(g.port, "PUT", f"/traces/{kept}/archive")[0], 204, "archiving")
    first = parts(g.store)
    equal(change(g.port, "PUT", f"/traces/{'f' * 32}/archive")[0], 404, "archiving what is not there")
    wait_for(lambda: all(gone(g.port, t) for t in traces if t != kept), "retention")
    wait_for(lambda: not first & parts(g.store), "the files of its partitions to go")
    there(g.port, kept, 10)
    status, found = ask(g.port, "/traces/search", {"service": "shop"})
    equal([t["trace_id"] for t in found["traces"]], [kept], "traces found")
    equal((stats(env, g.store)["spans"], stats(env, g.store)["traces"]), (10, 1), "figures")
    equal(g.finish(), 0, "exit status")
    g = Gateway(env, "--store", g.store, "--retention", "4s")
    there(g.port, kept, 10)
    out = env.path("archived.jsonl")
    equal(env.run([TELLTALE, "store", "export", "-o", out, g.store]).returncode, 0, "export")
    with open(out) as f:
        equal(sum(len(spans_of(json.loads(line))) for line in f), 10, "spans exported")
    equal(change(g.port, "DELETE", f"/traces/{kept}/archive")[0], 204, "letting go")
    check(gone(g.port, kept), "it is still served")
    equal(change(g.port, "DELETE", f"/traces/{kept}/archive")[0], 404, "letting go twice")
    equal(ask(g.port, "/traces/archive")[1], {"traces": [], "total": 0}, "archive")
    equal(g.finish(), 0, "exit status")


def case_dropped_spans_leave_hourly_summaries(env):
    hour = START - START % (3600 * 10**9)
    g = Gateway(env, "--retention", "2s", "--rollup", "3650d")
    equal(rollups(g.port), {"rollups": [], "total": 0}, "summaries before anything went")
    for n in range(20):  # two hours, in several partitions
        body = json.loads(request(n, 2, start=hour + (n % 2) * 3600 * 10**9)[1])
        for i, s in enumerate(body["resourceSpans"][0]["scopeSpans"][0]["spans"]):
            s["endTimeUnixNano"] = str(int(s["startTimeUnixNano"]) + (n + 1) * 10**6)
            s["status"] = {"code": 2} if n % 5 == 0 and i == 0 else {}
        equal(post(g.http, json.dumps(body).encode())[0], 200, "status")
        time.sleep(0.02)
    wait_for(lambda: stats(env, g.store)["spans"] == 0, "everything to go")
    want = []
    for h in (0, 1):
        for i in (0, 1):
            took = [(n + 1) * 10**6 for n in range(20) if n % 2 == h]
            buckets = [0] * max((t // 1000).bit_length() for t in took)
            for t in took:
                buckets[(t // 1000).bit_length() - 1] += 1
            want.append({"hour_unix_nano": str(hour + h * 3600 * 10**9), "service": "shop", "name": f"op {i}",
                         "kind": "server", "spans": 10, "errors": 0 if i else 2, "duration_sum_ns": sum(took),
                         "duration_max_ns": max(took), "duration_buckets": buckets})

    def same():
        found = rollups(g.port)["rollups"]
        return sorted(found, key=lambda r: (r["hour_unix_nano"], r["name"])) == want
    wait_for(same, f"the summaries {want}")
    equal(g.finish(), 0, "exit status")
    g = Gateway(env, "--store", g.store, "--retention", "2s")
    check(same(), f"after a restart: {rollups(g.port)}")
    equal(rollups(g.port, "?service=nobody")["total"], 0, "of another service")
    one = rollups(g.port, f"?start={hour // 10**9}&end={hour // 10**9 + 3600}&limit=1&offset=1")
    equal((len(one["rollups"]), one["total"]), (1, 2), "a part of one hour")
    equal(ask(g.port, "/traces/rollups?start=yesterday")[0], 400, "a bad time")
    equal(g.finish(), 0, "exit status")


def case_past_its_bytes_the_oldest_go(env):
    most, rng = 8 << 20, random.Random(7)
    g = Gateway(env, "--store-max-bytes", str(most))
    traces, sent = [], 0
    for n in range(120):
        trace, body = request(n, 5)
        body = json.loads(body)
        for s in body["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            noise = base64.b64encode(rng.randbytes(30000)).decode()
            s["attributes"].append({"key": "noise", "value": {"stringValue": noise}})
            sent += 30000
        equal(post(g.http, json.dumps(body).encode())[0], 200, "status")
        traces.append(trace)
    check(sent > 2 * most, "too little was sent")
    wait_for(lambda: stats(env, g.store)["bytes"] <= most, "the oldest to go")
    there(g.port, traces[-1], 5)
    served = [not gone(g.port, t) for t in traces]
    check(not served[0] and served == sorted(served), f"not the oldest went: {served}")
    check(sum(served) * 5 * 30000 > most * 0.65, f"only {sum(served)} of {len(traces)} traces are left")
    told = stats(env, g.store)["bytes"]
    used = int(subprocess.check_output(["du", "-s", "--block-size=1", g.store]).split()[0])
    check(abs(told - used) < 256 << 10, f"{told} bytes told, {used} used")
    check_balance(g.port)
    equal(g.finish(), 0, "exit status")
    return f"{sum(served)} of {len(traces)} traces are left in {used} bytes"


def case_on_a_full_disk_what_is_old_makes_room(env):
    """Also what outlives it is written then: an archived trace, and summaries."""
    with small_disk(env) as disk:
        g = Gateway(env, "--retention", "8s", "--rollup", "3650d", "--store", os.path.join(disk, "store"))
        traces, rng = [], random.Random(3)
        for n in range(40):
            trace, body = request(n, 5)
            body = json.loads(body)
            for s in body["resourceSpans"][0]["scopeSpans"][0]["spans"]:
                s["attributes"].append({"key": "noise", "value": {"stringValue": base64.b64encode(rng.randbytes(30000)).decode()}})
            equal(post(g.http, json.dumps(body).encode())[0], 200, "status")
            traces.append(trace)
            if n == 0:
                equal(change(g.port, "PUT", f"/traces/{trace}/archive")[0], 204, "archiving")
            time.sleep(0.1)
        fill_up(os.path.join(disk, "ballast"))
        equal(post(g.http, request(99)[1])[0], 503, "status on a full disk")
        wait_for(lambda: post(g.http, request(99)[1])[0] == 200, "what is old to make room")
        there(g.port, traces[0], 5)
        wait_for(lambda: all(gone(g.port, t) for t in traces[1:]), "the others to go")
        wait_for(lambda: sum(r["spans"] for r in rollups(g.port)["rollups"]) >= 200, "summaries of all that went")
        check_balance(g.port)
        equal(g.finish(), 0, "exit status")
        equal(stats(env, g.store)["bad_blocks"], 0, "bad blocks")


def case_small_blocks_are_merged(env):
    g = Gateway(env)
    traces = []
    for n in range(120):  # each waits for its own commit
        trace, body = request(n)
        equal(post(g.http, body)[0], 200, "status")
        traces.append(trace)
    wait_for(lambda: stats(env, g.store)["blocks"] < 40, "blocks to be merged")
    for t in traces:
        there(g.port, t, 10)
    s = stats(env, g.store)
    equal((s["spans"], s["traces"], s["bad_blocks"]), (1200, 120, 0), "figures")
    r = env.run([TELLTALE, "store", "check", g.store])
    equal((r.returncode, r.stdout), (0, "0 bad blocks\n"), "check, beside the writer")
    equal(g.finish(), 0, "exit status")
    equal(stats(env, g.store)["spans"], 1200, "spans when it is closed")


CLOCK = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *t)
{
	const char *s = getenv("CLOCK_AHEAD_S");
	int rc = syscall(SYS_clock_gettime, id, t);
	if (id == CLOCK_REALTIME && !rc && s)
		t->tv_sec += atoll(s);
	return rc;
}
"""


def case_a_clock_that_was_wrong_drops_nothing(env):
    """Four runs; to that of the gateway alone, the machine's clock is right, ten years ahead, a year behind, right."""
    source, library = env.write("clock.c", CLOCK), env.path("clock.so")
    r = subprocess.run([need("gcc"), "-shared", "-fPIC", "-o", library, source], capture_output=True, text=True)
    if r.returncode:
        raise Skip(f"gcc: {r.stderr.splitlines()[0]}")
    store, traces = env.path("clocks"), []
    for turn, ahead in enumerate((0, 3650 * 86400, -400 * 86400, 0)):
        g = Gateway(env, "--store", store, "--retention", "1d",
                    environment={"LD_PRELOAD": library, "CLOCK_AHEAD_S": str(ahead)})
        trace, body = request(turn, 3, start=START)
        equal(post(g.http, body)[0], 200, "status")
        traces.append(trace)
        time.sleep(1.5)  # retention looks, once a second
        for t in traces:
            there(g.port, t, 3)
        equal(g.finish(), 0, "exit status")


def case_spans_of_days_ahead_are_refused(env):
    g = Gateway(env)
    status, reply = post(g.http, request(1, 3, start=time.time_ns() + 2 * 86400 * 10**9)[1])
    told = json.loads(reply).get("partialSuccess", {})
    equal((status, told.get("rejectedSpans")), (200, "3"), f"answer ({reply})")
    check("bad_time" in told.get("errorMessage", ""), f"the reason: {reply}")
    equal(g.finish(), 0, "exit status")
