# SPDX-License-Identifier: Apache-2.0
"""What the kernel side meets beyond plain sockets: loss, io_uring, short lives."""
import errno
import os
import socket
import threading
import time

from lib import (APPS, CLIENT, PATIENCE, PYTHON, SERVER, STATUS_ERROR, Agent, Conn, Skip, books, can_connect, check,
                 check_balance, equal, free_port, http_conn, load, metrics, need, redis, resp, static_nginx, wait_for)

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


def case_the_peer_has_gone_when_it_is_answered(env):
    """Its reset takes effect within the send of the answer, before the call returns: the answer is the request's all the same."""
    web, cache, number = static_nginx(env), redis(env), 40
    a = Agent(env, "--pid", f"{','.join(map(str, web.pids))},{cache.pid}")
    for i in range(number):
        for port, first, request in ((web.port, None, f"GET /missing?{i} HTTP/1.1\r\nHost: a\r\n\r\n"),
                                     (cache.port, "PING", resp("GET", f"key:{i}"))):
            c = Conn(("127.0.0.1", port))
            if i % 2:  # the connection has been answered before
                equal(c.redis(first) if first else c.get("/hello")[0], "+PONG" if first else 200, "first answer")
            c.send(request)
            c.close()
    want = 3 * number
    wait_for(lambda: books(a.port)["span"]["out"] >= want, "the spans")
    found = check_balance(a.port)["span"]
    equal((found["out"], found["dropped"]), (want, 0), "spans, responses without a request")
    status = {}
    for labels, n in metrics(a.port)["traces_spanmetrics_calls_total"].items():
        status[dict(labels)["status_code"]] = status.get(dict(labels)["status_code"], 0) + n
    equal(status, {"STATUS_CODE_UNSET": want}, "spans by status")
    equal(a.finish(), 0, "exit status")


def case_an_answer_that_a_reset_cuts(env):
    """Its span has the status that was seen, and the socket's error although the program took that."""
    with socket.socket() as listener, env.trace(pids=[os.getpid()]) as t:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        c = http_conn(listener.getsockname()[1])
        c.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
        with listener.accept()[0] as s:
            c.close()
            s.recv(4096)
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
            error = wait_for(lambda: s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "the reset")
    served = t.spans.one(kind=SERVER, path="/cut", http__response__status_code=200)
    equal((served.status, served.attrs.get("error.type")), (STATUS_ERROR, errno.errorcode[error]), "status and error")


def answer_or_not(s, number):
    """Answers one request on a connection that may have gone; whether the kernel took the answer."""
    try:
        s.recv(4096)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(str(number)) + str(number).encode())
        return True
    except OSError:
        return False


def case_resets_at_any_moment(env):
    """What the kernel took of an answer is in its span, what it refused is not: before, within or after the call."""
    number, taken = 400, {}
    with socket.socket() as listener, env.trace(pids=[os.getpid()]) as t:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        for i in range(number):
            c = http_conn(port)
            c.send(f"GET /at/{i} HTTP/1.1\r\nHost: a\r\n\r\n")
            if i % 10 == 0:
                c.reset()  # what is read then is of a socket that has no more connection
            s = listener.accept()[0]
            if i % 4 == 0:
                c.close()  # then it is the answer that makes the reset come
            reset = threading.Timer(i % 7 * 3e-5, c.reset if i % 4 and i % 10 else c.close)
            reset.start()
            time.sleep(i % 5 * 3e-5)
            taken[f"/at/{i}"] = answer_or_not(s, i)
            reset.join()
            s.close()
    answered = sum(taken.values())
    for s in t.spans.find(kind=SERVER):
        equal((t.spans.parent(s) or s).kind, CLIENT, f"kind of the parent of {s}")
        equal(s.attrs.get("server.port"), port, f"port of {s}")
        if taken.pop(s.path):
            equal(s.attrs.get("http.response.status_code"), 200, f"status of {s}")
        else:
            equal((s.status, "http.response.status_code" in s.attrs), (STATUS_ERROR, False), f"status of {s}")
    equal(taken, {}, "requests without a span")
    return f"{answered} of {number} answers were taken"


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
