# SPDX-License-Identifier: Apache-2.0
"""Programs under test and the tracer: started here, ended by their pids, also when a case fails or
the harness dies."""
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

from base import PATIENCE, TELLTALE, Fail, can_connect, equal, free_port, wait_for
from otlp import parse_otlp


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Process:
    """A started program; out and err are files in the temporary directory."""

    def __init__(self, owner, argv, name, **kw):
        self.name = name
        self.out_path = os.path.join(owner.dir, f"{name}.{len(owner.processes)}.out")
        self.err_path = self.out_path[:-3] + "err"
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            kw.setdefault("stdin", subprocess.DEVNULL)
            self.popen = subprocess.Popen(argv, stdout=out, stderr=err, start_new_session=True,
                                          preexec_fn=die_with_parent, **kw)
        self.pid = self.popen.pid
        owner.processes.append(self)  # from here on Env ends it, whatever happens

    def out(self):
        with open(self.out_path, errors="replace") as f:
            return f.read()

    def err(self):
        with open(self.err_path, errors="replace") as f:
            return f.read()

    def alive(self):
        return self.popen.poll() is None

    def wait(self, seconds=PATIENCE):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Fail(f"{self.name} did not end in {seconds:g} s; it said: {self.err()[-500:]}") from None

    def stop(self, sig=signal.SIGTERM):
        """Ends it; its whole session if it does not go by itself."""
        if self.popen.poll() is None:
            self.popen.send_signal(sig)
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        return self.popen.wait()

    def children(self):
        """Pids of its children, whole tree."""
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            try:
                for tid in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{tid}/children") as f:
                        kids = [int(x) for x in f.read().split()]
                    found += kids
                    todo += kids
            except OSError:
                pass
        return found


class Trace(Process):
    """`telltale trace`; a context manager that ends it and then has .spans."""

    def start(self, env, argv, name, environment=None):
        """Starts it with a socket on which it says that it is ready."""
        path = os.path.join(env.dir, f"notify.{len(env.processes)}")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(path)
        os.chmod(path, 0o666)  # it may run as somebody else
        Process.__init__(self, env, argv, name, cwd=env.dir, env=dict(os.environ, NOTIFY_SOCKET=path, **(environment or {})))

    def __init__(self, env, pids=(), args=(), command=None, fmt="otlp-json", file=None, environment=None):
        self.file = file or os.path.join(env.dir, f"trace.{len(env.processes)}.json")
        self.fmt = fmt
        argv = [TELLTALE, "trace", "-o", self.file, "--format", fmt]
        if pids:
            argv += ["-p", ",".join(str(p) for p in pids)]
        argv += list(args)
        if command:
            argv += ["--"] + list(command)
        self.start(env, argv, "telltale", environment)
        self.spans = None
        if not command:
            self.wait_ready()

    def wait_ready(self):
        """Until it says that everything is attached, as to a service manager (sd_notify)."""
        begin = time.monotonic()
        self.notify.settimeout(0.05)
        while True:
            try:
                if b"READY=1" in self.notify.recv(4096):
                    break
            except TimeoutError:
                pass
            if not self.alive():
                raise Fail(f"the tracer ended with {self.popen.returncode}: {self.err()[-800:]}")
            if time.monotonic() - begin > PATIENCE:
                raise Fail(f"the tracer was not ready after {PATIENCE:g} s: {self.err()[-800:]}")
        self.ready_s = time.monotonic() - begin

    def finish(self, sig=signal.SIGINT):
        """Ends it neatly, or waits for its own end without a signal, and reads its spans."""
        if sig and self.alive():
            self.popen.send_signal(sig)
        status = self.wait()
        if self.fmt == "otlp-json":
            with open(self.file) as f:
                self.spans = parse_otlp(f.read())
        return status

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        if kind is None:
            status = self.finish()
            equal(status, 0, f"exit status of the tracer ({self.err()[-500:]})")
            equal(self.out(), "", "standard output with -o")
        else:
            self.stop()
        return False


class Env:
    """One temporary directory and all that was started in it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="telltale-e2e.")
        os.chmod(self.dir, 0o755)
        self.processes = []
        self.shared = {}

    def start(self, argv, name=None, **kw):
        return Process(self, argv, name or os.path.basename(argv[0]), **kw)

    def trace(self, **kw):
        return Trace(self, **kw)

    def run(self, argv, seconds=2 * PATIENCE, **kw):
        """Runs to its end; subprocess.CompletedProcess with text."""
        kw.setdefault("stdin", subprocess.DEVNULL)
        if "user" in kw:
            argv = [self.reachable(argv[0]), *argv[1:]]
        try:
            return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  errors="replace", timeout=seconds, preexec_fn=die_with_parent, **kw)
        except subprocess.TimeoutExpired:
            raise Fail(f"{argv[0]} {' '.join(map(str, argv[1:4]))} ... did not end in {seconds:g} s") from None

    def reachable(self, program):
        """What every user may run: of the project's own, which may lie in a home of root, a copy."""
        if program != TELLTALE:
            return program
        copy = self.path("reachable-" + os.path.basename(program))
        if not os.path.exists(copy):
            shutil.copy(program, copy)
        return copy

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w" if isinstance(text, str) else "wb") as f:
            f.write(text)
        return path

    def mark(self):
        return len(self.processes)

    def stop_since(self, mark):
        """Ends what a case started and left; servers that cases share were started before."""
        for p in reversed(self.processes[mark:]):
            if p not in self.shared.values():
                p.stop()

    def close(self):
        for p in reversed(self.processes):
            p.stop(getattr(p, "stop_signal", signal.SIGTERM))
        shutil.rmtree(self.dir, ignore_errors=True)


class Record(Trace):
    """`telltale record` of some processes to a file."""

    def __init__(self, env, pids, file):
        self.fmt, self.file = None, file
        self.start(env, [TELLTALE, "record", "-o", file, "-p", ",".join(map(str, pids))], "record")
        self.wait_ready()


class Served(Trace):
    """A command that serves the API on a free port, with a store of its own. .port, .store
    `inside` is a command that runs it, as a container or a service manager would."""

    def __init__(self, env, command, args, defaults, environment=None, inside=()):
        self.port, self.fmt, self.file = free_port(), None, None
        args = [str(a) for a in args]
        for option, value in defaults.items():
            if option not in args:
                args += [option, value]
        self.store = args[args.index("--store") + 1]
        self.start(env, [*inside, TELLTALE, command, "--listen", f"127.0.0.1:{self.port}", *args], command, environment)
        self.wait_ready()
        wait_for(lambda: can_connect(("127.0.0.1", self.port)), "its API")


class Agent(Served):
    """`telltale run`; it receives only if told to."""

    def __init__(self, env, *args, environment=None, inside=()):
        super().__init__(env, "run", args, {"--store": env.path(f"store.{len(env.processes)}"),
                                            "--otlp-http": "off", "--otlp-grpc": "off"}, environment, inside)


class Gateway(Served):
    """`telltale gateway`, receiving on free ports. .http, .grpc"""

    def __init__(self, env, *args, environment=None, inside=()):
        self.http, self.grpc = free_port(), free_port()
        super().__init__(env, "gateway", args, {"--store": env.path(f"store.{len(env.processes)}"),
                                                "--otlp-http": f"127.0.0.1:{self.http}",
                                                "--otlp-grpc": f"127.0.0.1:{self.grpc}"}, environment,
                         inside)


def metrics(port):
    """{name: {labels as a sorted tuple: value}} of /metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as r:
        text = r.read().decode()
    out = {}
    for line in text.splitlines():
        m = re.match(r'([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)', line)
        if m and not line.startswith("#"):
            labels = tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m.group(2) or "")))
            out.setdefault(m.group(1), {})[labels] = float(m.group(3))
    return out


def books(port):
    """{stage: {outcome: value}} of telltale_records_total, reasons of drops added up under 'dropped'."""
    out = {}
    for labels, value in metrics(port).get("telltale_records_total", {}).items():
        d = dict(labels)
        outcome = d["outcome"]
        if outcome not in ("in", "out", "held"):
            outcome = "dropped"
        stage = out.setdefault(d["stage"], {"in": 0, "out": 0, "held": 0, "dropped": 0})
        stage[outcome] += value
    return out


def check_balance(port):
    """Every stage's books add up; asked again while the agent is between two pushes."""
    end = time.monotonic() + PATIENCE
    while True:
        found = books(port)
        bad = {s: b for s, b in found.items() if b["in"] != b["out"] + b["held"] + b["dropped"]}
        if found and not bad:
            return found
        if time.monotonic() > end:
            raise Fail(f"books do not balance: {bad or 'there are none'}")
        time.sleep(0.2)
