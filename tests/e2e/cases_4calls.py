# SPDX-License-Identifier: Apache-2.0
"""Every system call that moves a socket's bytes, and every way to come by a socket, with each capture
backend of this kernel."""
import json
import os
import signal
import socket
import struct
import subprocess
import time

from lib import APPS, CLIENT, PATIENCE, PYTHON, SERVER, STATUS_UNSET, TELLTALE, Agent, Conn, check, equal, \
    free_port, get, metrics, wait_for

PAIRS = ["read+write", "recv+send", "recvfrom+sendto", "recvmsg+sendmsg", "readv+writev", "recvmmsg+sendmmsg",
         "peek+send", "recv+sendfile", "recv+splice", "splice+send"]


def backends(env):
    """Those that work here."""
    rows = json.loads(env.run([TELLTALE, "doctor", "--json"]).stdout)["backends"]
    return [r["name"] for r in rows if r["ok"]]


def server(env, where, *pairs):
    p = env.start([PYTHON, os.path.join(APPS, "calls.py"), *where, *pairs], name="calls")
    wait_for(lambda: "ready" in p.out() or not p.alive(), "the server")
    check(p.alive(), f"calls.py: {p.err()}")
    return p


def ask_each(pairs, address, family, number):
    for pair in pairs:
        with Conn(address, family) as c:
            for i in range(number):
                status, _, body = c.get(f"/{pair}/{i}", method="POST", body=b"b" * (100 + i))
                equal((status, len(body)), (200, len(pair)), f"answer {i} of {pair}")


def check_each(pairs, spans, backend, number):
    """One span for each request, with its sizes, whatever the calls were."""
    for pair in pairs:
        found = sorted((s.path, s.attrs.get("http.response.status_code"), s.attrs.get("http.request.body.size"),
                        s.attrs.get("http.response.body.size"), s.status)
                       for s in spans.find(kind=SERVER) if (s.path or "").startswith(f"/{pair}/"))
        equal(found, [(f"/{pair}/{i}", 200, 100 + i, len(pair), STATUS_UNSET) for i in range(number)],
              f"{backend}, {pair}")
    equal(len(spans), number * len(pairs), f"spans in all with {backend}")


def case_signals_while_the_kernel_looks_at_the_programs(env):
    """Each ends that look with EAGAIN, which says nothing of the program."""
    for backend in backends(env):
        t = env.trace(command=["/bin/true"], args=["--capture", backend])
        for _ in range(36):
            for sig in (signal.SIGSTOP, signal.SIGCONT):
                t.popen.send_signal(sig)
            time.sleep(0.05)
        equal(t.finish(None), 0, f"exit status with {backend} ({t.err()[-300:]})")


def case_every_call_on_tcp(env):
    used = backends(env)
    for backend in used:
        port = free_port()
        p = server(env, ["--port", str(port)], *PAIRS)
        with env.trace(pids=[p.pid], args=["--capture", backend]) as t:
            ask_each(PAIRS, ("127.0.0.1", port), socket.AF_INET, 3)
        check_each(PAIRS, t.spans, backend, 3)
    return ", ".join(used)


def case_every_call_on_a_unix_socket(env):
    """One connection after the other: the kernel gives their sockets the same address again. What splice
    takes from such a socket no tracepoint tells of, and the socket itself does not count its bytes."""
    pairs, used = [p for p in PAIRS if p != "splice+send"], backends(env)
    for backend in used:
        path = env.path(f"calls.{backend}")
        p = server(env, ["--unix", path], *pairs)
        with env.trace(pids=[p.pid], args=["--capture", backend]) as t:
            ask_each(pairs, path, socket.AF_UNIX, 3)
        check_each(pairs, t.spans, backend, 3)
    return ", ".join(used)


def question(name, number):
    labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b"."))
    return struct.pack(">HHHHHH", number, 0x100, 1, 0, 0, 0) + labels + b"\0\0\x01\0\x01"


def case_dns_by_many_messages_a_call(env):
    """A vector that is used again for each call, and is seldom full."""
    used = backends(env)
    for backend in used:
        for pair in ("recvmmsg+sendmmsg", "recvmmsg+sendto", "recvfrom+sendto"):
            port = free_port()
            p = server(env, ["--udp", str(port)], pair)
            with env.trace(pids=[p.pid], args=["--capture", backend]) as t:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    s.connect(("127.0.0.1", port))
                    s.settimeout(PATIENCE)
                    for i in range(0, 20, 4):  # one alone, then three at once
                        for some in ([i], [i + 1, i + 2, i + 3]):
                            for n in some:
                                s.send(question(f"n{n}.example.test", n))
                            for _ in some:
                                s.recv(512)
            names = sorted(s.attrs.get("dns.question.name") for s in t.spans.find(kind=SERVER))
            equal(names, sorted(f"n{n}.example.test" for n in range(20)), f"questions with {backend} and {pair}")
    return ", ".join(used)


def case_messages_past_those_looked_at_are_counted(env):
    """Of one sendmmsg the system call backend looks at 8 messages."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        p = env.start([PYTHON, "-c", f"""if True:
            import socket, sys
            sys.path.insert(0, {APPS!r})
            from calls import Vector
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.connect({sink.getsockname()!r})
            sys.stdin.readline()
            assert Vector(12).send(s, [{question("many.example.test", 1)!r}] * 12) == 12
            sys.stdin.readline()"""], name="many", stdin=subprocess.PIPE)
        a = Agent(env, "--pid", p.pid, "--capture", "syscall")
        p.popen.stdin.write(b"\n")
        p.popen.stdin.flush()
        found = wait_for(lambda: metrics(a.port)["telltale_kernel_vector_end_total"].get(()), "the count")
        equal(found, 4, "messages that were not looked at")
        equal(a.finish(), 0, "exit status")


# ---- how a process came by its socket --------------------------------------------------------------


def relay(env, how, where):
    p = env.start([PYTHON, os.path.join(APPS, "relay.py"), how, str(where)], name=how, stdin=subprocess.PIPE)
    wait_for(lambda: "ready" in p.out() or not p.alive(), how)
    check(p.alive(), f"relay.py: {p.err()}")
    return p


def ask_kept(client, number):
    """So many requests on the connection that the client has open."""
    want = client.out().count("answered") + number
    client.popen.stdin.write(b"\n" * number)
    client.popen.stdin.flush()
    wait_for(lambda: client.out().count("answered") == want, "the answers")


def case_connections_open_before_from_either_end(env):
    """Who listens and who dialled is right for each end alone, and both make one trace."""
    used = backends(env)
    for where in (free_port(), env.path("before.sock")):
        server, client = relay(env, "answer", where), relay(env, "keep", where)
        for backend in used:
            args = ["--capture", backend]
            for kind, p in ((SERVER, server), (CLIENT, client)):
                with env.trace(pids=[p.pid], args=args) as t:
                    ask_kept(client, 2)
                equal([(s.kind, s.pid) for s in t.spans], [(kind, p.pid)] * 2, f"{backend}: the end of {p.name} alone")
            with env.trace(pids=[server.pid, client.pid], args=args) as t:
                for _ in range(2):  # bytes of a UNIX socket that nobody counted from its start are joined by time
                    ask_kept(client, 1)
                    time.sleep(0.1)
            equal(len(t.spans), 4, f"{backend}: spans of both ends")
            for s in t.spans.count(2, kind=SERVER):
                parent = t.spans.parent(s)
                check(parent and parent.kind == CLIENT and parent.path == s.path, f"{backend}: parent of {s}: {parent}")
    return ", ".join(used)


def case_copied_inherited_and_handed_on(env):
    """dup, a shell that inherits the socket as its standard input, a child that answers for its parent."""
    used = backends(env)
    for backend in used:
        for how in ("dup", "inetd", "child"):
            port = free_port()
            p = relay(env, how, port)
            with env.trace(pids=[p.pid], args=["--capture", backend]) as t:
                for i in range(3):
                    equal(get(port, f"/{how}/{i}")[0], 200, "answer")
            spans = t.spans.count(3, kind=SERVER, http__response__status_code=200, status=STATUS_UNSET)
            equal(sorted(s.path for s in spans), [f"/{how}/{i}" for i in range(3)], f"{backend}, {how}: paths")
            equal(len(t.spans), 3, f"{backend}, {how}: spans in all")
            served = {s.pid for s in spans}
            check(p.pid not in served and len(served) == 3 if how == "inetd" else served == {p.pid},
                  f"{backend}, {how}: who served: {served}, started {p.pid}")
    return ", ".join(used)
