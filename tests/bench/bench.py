#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What tracing costs the traced server on this machine: interleaved runs without and with the agent.

    bench.py [--rounds N] [--seconds S] [--rate R] [--capture HOW] [--only nginx|redis|memory]

Figures are medians over the rounds. The server's CPU time is the kernel's own count of nanoseconds
on a processor (/proc/PID/schedstat), agent and load generator apart. Spans are exported to a local
sink that throws them away. Nothing is asserted: timing is not a test.
"""
import argparse
import glob
import json
import os
import statistics
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "e2e"))
sys.dont_write_bytecode = True
import lib  # noqa: E402

LOAD = os.path.join(TOP, "build", "tests", "load")


def cpu_ns(pids):
    """Nanoseconds on a processor of all threads of these processes."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            try:
                with open(path) as f:
                    total += int(f.read().split()[0])
            except OSError:
                pass
    return total


def rss_kb(pid, field="VmRSS"):
    with open(f"/proc/{pid}/status") as f:
        return next((int(l.split()[1]) for l in f if l.startswith(field)), 0)


def map_kb(pid):
    """Memory of the BPF maps it holds open, as the kernel charges it; each map once."""
    maps = {}
    for path in glob.glob(f"/proc/{pid}/fdinfo/*"):
        try:
            with open(path) as f:
                info = dict(l.split(":", 1) for l in f.read().splitlines() if ":" in l)
        except OSError:
            continue
        if "map_id" in info:
            maps[info["map_id"]] = int(info.get("memlock", "0"))
    return sum(maps.values()) // 1024


class Bench:
    def __init__(self, env, opts):
        self.env, self.opts, self.sink = env, opts, lib.Sink()
        self.results = {}

    def load(self, *args):
        r = self.env.run([LOAD] + [str(a) for a in args], seconds=120)
        if r.returncode:
            raise lib.Fail(f"load {args}: {r.stderr or r.stdout}")
        return json.loads(r.stdout)

    def agent(self, pids):
        args = [x for p in pids for x in ("--pid", p)] + ["--otlp-endpoint", f"http://127.0.0.1:{self.sink.port}"]
        if self.opts.capture:
            args += ["--capture", self.opts.capture]
        return lib.Agent(self.env, *args)

    def lost(self, agent):
        """What was dropped, by stage and reason."""
        out = {}
        for labels, value in lib.metrics(agent.port).get("telltale_records_total", {}).items():
            d = dict(labels)
            if value and d["outcome"] not in ("in", "out", "held"):
                out["/".join([d["stage"], d["outcome"]] + ([d["reason"]] if "reason" in d else []))] = int(value)
        return out

    def one(self, pids, load_args, traced):
        """A round at fixed rate, then one as fast as it goes."""
        agent = self.agent(pids) if traced else None
        self.load(*load_args, "-r", self.opts.rate, "-d", 1)  # warm
        before, agent_before = cpu_ns(pids), cpu_ns([agent.pid]) if agent else 0
        fixed = self.load(*load_args, "-r", self.opts.rate, "-d", self.opts.seconds)
        server = cpu_ns(pids) - before
        if agent:
            time.sleep(0.5)  # what it still does for these requests is its cost too
        agent_ns = cpu_ns([agent.pid]) - agent_before if agent else 0
        fastest = self.load(*load_args, "-d", min(3, self.opts.seconds))
        out = {"server_us": server / fixed["requests"] / 1e3, "agent_us": agent_ns / fixed["requests"] / 1e3,
               "p50_us": fixed["p50_us"], "p99_us": fixed["p99_us"], "rate": fixed["rate"], "fastest": fastest["rate"]}
        if agent:
            out["lost"] = sum(self.lost(agent).values())
            out["lost_where"] = self.lost(agent)
            out["rss_mb"] = rss_kb(agent.pid) / 1024
            agent.finish()
        return out

    def compare(self, name, pids, load_args):
        rounds = {False: [], True: []}
        for i in range(self.opts.rounds):
            for traced in (False, True) if i % 2 == 0 else (True, False):
                rounds[traced].append(self.one(pids, load_args, traced))
        off, on = ({k: statistics.median(r[k] for r in rounds[t]) for k, v in rounds[t][0].items() if not isinstance(v, dict)}
                   for t in (False, True))
        self.results[name] = {"off": off, "on": on, "rounds": {"off": rounds[False], "on": rounds[True]}}
        print(f"\n{name}, {self.opts.rate} requests/s, medians of {self.opts.rounds} rounds of {self.opts.seconds} s")
        print(f"  {'':26}{'untraced':>12}{'traced':>12}{'ratio':>9}{'difference':>12}")
        for key, what in (("server_us", "server CPU, us/request"), ("p50_us", "p50, us"), ("p99_us", "p99, us"),
                          ("rate", "requests/s reached"), ("fastest", "saturation, requests/s")):
            ratio = on[key] / off[key] if off[key] else float("nan")
            print(f"  {what:26}{off[key]:12.2f}{on[key]:12.2f}{ratio:9.3f}{on[key] - off[key]:+12.2f}")
        differences = sorted(b["server_us"] - a["server_us"] for a, b in zip(rounds[False], rounds[True]))
        print(f"  server CPU, difference of each pair, us: {' '.join(f'{d:+.2f}' for d in differences)}")
        print(f"  agent CPU {on['agent_us']:.2f} us/request, RSS {on['rss_mb']:.1f} MB, "
              f"lost {[r['lost_where'] for r in rounds[True] if r['lost']] or 0}")

    def memory(self, web):
        begin = time.monotonic()
        agent = self.agent(web.pids)
        start = {"ready_s": time.monotonic() - begin, "rss_mb": rss_kb(agent.pid) / 1024, "maps_mb": map_kb(agent.pid) / 1024}
        long = self.load("http", web.port, "-p", "/small", "-r", 20000, "-d", self.opts.long)
        time.sleep(1)
        busy = {"rate": long["rate"], "rss_mb": rss_kb(agent.pid) / 1024, "rss_most_mb": rss_kb(agent.pid, "VmHWM") / 1024,
                "lost": self.lost(agent), "requests": long["requests"]}
        agent.finish()
        self.results["memory"] = {"start": start, "busy": busy}
        print(f"\nagent: attached after {start['ready_s']:.2f} s, RSS {start['rss_mb']:.1f} MB, BPF maps {start['maps_mb']:.1f} MB")
        print(f"  {busy['requests']} requests at {busy['rate']:.0f}/s: RSS {busy['rss_mb']:.1f} MB "
              f"(most {busy['rss_most_mb']:.1f}), lost {busy['lost']}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=int, default=10000)
    parser.add_argument("--long", type=float, default=30, help="seconds at 20,000 requests/s")
    parser.add_argument("--capture")
    parser.add_argument("--only", choices=["nginx", "redis", "memory"])
    opts = parser.parse_args()
    env = lib.Env()
    try:
        bench = Bench(env, opts)
        web, server = lib.nginx(env), lib.redis(env)
        with open(f"{web.root}/small", "w") as f:
            f.write("x" * 811)
        with lib.Conn(("127.0.0.1", server.port)) as c:
            c.redis("SET", "key", "v" * 64)
        if opts.only in (None, "nginx"):
            bench.compare("nginx, 811 bytes, keep-alive, 32 connections", web.pids, ["http", web.port, "-p", "/small"])
        if opts.only in (None, "redis"):
            bench.compare("redis GET, 64 bytes, 32 connections", [server.pid], ["redis", server.port])
        if opts.only in (None, "memory"):
            bench.memory(web)
        with open(os.path.join(TOP, "build", "bench.json"), "w") as f:
            json.dump(bench.results, f, indent=1)
    finally:
        env.close()


main()
