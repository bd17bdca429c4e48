# SPDX-License-Identifier: Apache-2.0
"""What the kernel side meets beyond plain sockets: loss, io_uring, short lives."""
import os
import time

from lib import (APPS, CLIENT, PATIENCE, PYTHON, SERVER, Agent, Skip, books, can_connect, check, check_balance, equal,
                 free_port, http_conn, load, metrics, need, static_nginx, wait_for)

GROWTH_KB = 20_000  # of the agent; the recent traces that it keeps for the API are most of it


def case_retransmits_are_events(env):
    need("ip", "tc", "unshare")
    size = 300_000
    t = env.trace(command=["/usr/bin/unshare", "-n", PYTHON, f"{APPS}/lossy.py", "--size", str(size)])
    status = t.wait()
    if status == 77:
        raise Skip(t.err().strip())
    equal(status, 0, f"exit status ({t.err()})")
    t.finish()
    served = t.spans.one(kind=SERVER, path="/lossy", http__response__status_code=200)
    equal(served.attrs.get("http.response.body.size"), size, "size of the answer")
    counts = [attrs["telltale.retransmit.count"] for name, attrs in served.events if name == "retransmit"]
    check(len(counts) == 1 and counts[0] > 0, f"events of {served}: {served.events}")
    equal(t.spans.one(kind=CLIENT, path="/lossy").attrs.get("http.response.body.size"), size, "what the client got")
    return f"{counts[0]} segments sent again"


def uring_server(env):
    if not os.path.exists("/usr/include/liburing.h"):
        raise Skip("no liburing.h (package liburing-dev)")
    binary, port = env.path("uring"), free_port()
    r = env.run([need("gcc"), "-O2", "-o", binary, f"{APPS}/uring.c", "-luring"])
    equal(r.returncode, 0, f"gcc ({r.stderr})")
    p = env.start([binary, str(port)])
    wait_for(lambda: not p.alive() or can_connect(("127.0.0.1", port)), "the server")
    if not p.alive():
        raise Skip(p.err().strip())
    p.port = port
    return p


def case_io_uring_is_counted(env):
    """Its payload cannot be read; bytes and times of the server's side are known all the same."""
    server, number = uring_server(env), 200
    a = Agent(env, "--pid", server.pid)
    sent = got = 0
    with http_conn(server.port) as c:
        for i in range(number):
            sent += len(f"GET /n/{i} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got += len("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nuring\n")
            equal(c.get(f"/n/{i}")[2], b"uring\n", "the answer")

    def gaps(name):
        return int(sum(metrics(a.port)[f"telltale_stream_gap_{name}_bytes_total"].values()))
    wait_for(lambda: gaps("counted") >= sent + got, "the server's bytes")
    check_balance(a.port)
    equal((gaps("counted"), gaps("lost"), gaps("fault")), (sent + got, 0, 0), "bytes counted, lost, not readable")
    equal(a.finish(), 0, "exit status")
    with env.trace(pids=[os.getpid(), server.pid]) as t:
        load(server.port, [f"/n/{i}" for i in range(number)], 1)
    spans = t.spans.count(number, kind=CLIENT, http__response__status_code=200)
    check(all(s.end > s.start for s in spans), "a span without a time")

def rss_kb(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def case_ten_thousand_short_lives(env):
    """Processes that come and go, some with a connection of their own, beside a server that goes on."""
    web, number, talkers, asked, warm = static_nginx(env), 10_000, 500, 400, 200
    a = Agent(env, "--port", web.port)  # every process is selected, one server's connections are
    load(web.port, [f"/hello?{i}" for i in range(warm)], 2)
    wait_for(lambda: books(a.port)["span"]["out"] >= 2 * warm, "the first spans")
    before, begin = rss_kb(a.pid), time.monotonic()
    talk = f"exec 3<>/dev/tcp/127.0.0.1/{web.port}; printf 'GET /hello HTTP/1.0\\r\\n\\r\\n' >&3; read -r x <&3"
    lives = env.start(["/bin/bash", "-c", f"for i in {{1..{talkers}}}; do ( {talk} ); "
                                          f"for j in {{2..{number // talkers}}}; do /bin/true; done; done"])
    with http_conn(web.port) as c:
        for i in range(asked):
            equal(c.get(f"/hello?{i}")[0], 200, "answer of nginx")
            time.sleep(0.02)
    equal(lives.wait(10 * PATIENCE), 0, f"exit status of the processes ({lives.err()})")
    took = time.monotonic() - begin
    wait_for(lambda: books(a.port)["span"]["out"] >= 2 * (warm + asked + talkers), "the spans")
    time.sleep(1)
    found, grown = check_balance(a.port), rss_kb(a.pid) - before
    equal(found["span"]["out"], 2 * (warm + asked + talkers), "spans, of both ends of each request")
    check(found["kernel"]["in"] > 3 * number, f"records of {number} processes: {found['kernel']}")
    equal([(s, found[s]["dropped"]) for s in ("kernel", "ring", "stream") if found[s]["dropped"]], [], "dropped")
    check(grown < GROWTH_KB, f"memory grew by {grown} kB")
    equal(a.finish(), 0, "exit status")
    return f"{took:.0f} s, memory grew by {grown} kB"
