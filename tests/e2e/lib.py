# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end cases stand on: servers on free loopback ports with their own configuration,
the tracer, its OTLP JSON as objects, and assertions that say what was there instead.

Every process is started by Env.start() in a session of its own and ended by its pid, also when a
case fails or the harness dies.
"""
import ctypes
import gzip
import http.server
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
APPS = os.path.join(TOP, "tests", "e2e", "apps")
TELLTALE = os.environ.get("TELLTALE", os.path.join(TOP, "build", "telltale"))
PYTHON = "/usr/bin/python3"

SERVER, CLIENT = 2, 3
STATUS_UNSET, STATUS_OK, STATUS_ERROR = 0, 1, 2


class Skip(Exception):
    """The machine lacks what the case needs."""


class Fail(AssertionError):
    """What the case found wrong."""


def check(condition, why):
    if not condition:
        raise Fail(why)


def equal(got, want, what):
    if got != want:
        raise Fail(f"{what}: got {got!r}, want {want!r}")


def need(*programs):
    """Paths of programs, or Skip."""
    found = []
    for p in programs:
        path = shutil.which(p, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if not path:
            raise Skip(f"no {p}")
        found.append(path)
    return found if len(found) > 1 else found[0]


def wait_for(condition, what, seconds=10.0, step=0.02):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Fail(f"waited {seconds:g} s for {what}")
        time.sleep(step)


def free_port(family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        return s.getsockname()[1]


def can_connect(address, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(1)
        try:
            s.connect(address)
            return True
        except OSError:
            return False


# ---- OTLP JSON ---------------------------------------------------------------------------------


def any_value(v):
    for key, value in v.items():
        if key == "intValue":
            return int(value)
        if key == "arrayValue":
            return [any_value(x) for x in value.get("values", [])]
        if key == "kvlistValue":
            return {x["key"]: any_value(x["value"]) for x in value.get("values", [])}
        return value
    return None


def attributes(items):
    return {a["key"]: any_value(a.get("value", {})) for a in items or []}


class Span:
    def __init__(self, resource, span):
        self.resource = resource
        self.service = resource.get("service.name")
        self.pid = resource.get("process.pid")
        self.trace_id = span["traceId"]
        self.span_id = span["spanId"]
        self.parent_id = span.get("parentSpanId") or None
        self.name = span["name"]
        self.kind = span.get("kind", 0)
        self.start = int(span["startTimeUnixNano"])
        self.end = int(span["endTimeUnixNano"])
        self.attrs = attributes(span.get("attributes"))
        self.status = span.get("status", {}).get("code", 0)
        self.status_message = span.get("status", {}).get("message", "")
        self.events = [(e["name"], attributes(e.get("attributes"))) for e in span.get("events", [])]
        self.links = [(l["traceId"], l["spanId"], attributes(l.get("attributes"))) for l in span.get("links", [])]

    @property
    def path(self):
        """The raw path, of either kind of HTTP span."""
        if "url.path" in self.attrs:
            return self.attrs["url.path"]
        m = re.match(r"\w+://[^/]*([^?]*)", self.attrs.get("url.full", ""))
        return m.group(1) if m else None

    def __repr__(self):
        kind = {SERVER: "SERVER", CLIENT: "CLIENT"}.get(self.kind, self.kind)
        what = self.path or self.attrs.get("db.query.text") or self.attrs.get("dns.question.name") or ""
        return (f"<{self.service}/{self.pid} {kind} {self.name!r} {what!r} status={self.status} "
                f"{(self.end - self.start) / 1e6:.2f}ms id={self.span_id} parent={self.parent_id}>")


class Spans(list):
    """Spans of one run."""

    def find(self, **want):
        """Those that match: kind, name, service, pid, path; others name an attribute (. as __)."""
        out = Spans()
        for s in self:
            for key, value in want.items():
                got = getattr(s, key) if key in ("kind", "name", "service", "pid", "path", "status") \
                    else s.attrs.get(key.replace("__", "."))
                if callable(value) and not value(got) or not callable(value) and got != value:
                    break
            else:
                out.append(s)
        return out

    def one(self, **want):
        found = self.find(**want)
        if len(found) != 1:
            raise Fail(f"want one span with {want}, there are {len(found)} of {len(self)}:\n{self.show()}")
        return found[0]

    def count(self, number, **want):
        found = self.find(**want)
        if len(found) != number:
            raise Fail(f"want {number} spans with {want}, there are {len(found)} of {len(self)}:\n{self.show()}")
        return found

    def parent(self, span):
        """Its parent among these, or None."""
        for s in self:
            if s.span_id == span.parent_id and s.trace_id == span.trace_id:
                return s
        return None

    def show(self, limit=25):
        lines = [f"  {s!r}" for s in self[:limit]]
        return "\n".join(lines + ([f"  and {len(self) - limit} more"] if len(self) > limit else []))


def parse_request(request, into):
    for rs in request.get("resourceSpans", []):
        resource = attributes(rs.get("resource", {}).get("attributes"))
        for ss in rs.get("scopeSpans", []):
            for s in ss.get("spans", []):
                into.append(Span(resource, s))


def parse_otlp(text):
    """Spans of OTLP/JSON lines; a line that is no JSON is a failure."""
    spans = Spans()
    for num, line in enumerate(text.splitlines(), 1):
        if line:
            try:
                parse_request(json.loads(line), spans)
            except (ValueError, KeyError) as e:
                raise Fail(f"line {num} of the output is no ExportTraceServiceRequest: {e!r}: {line[:200]}")
    check_ids(spans)
    return spans


def check_ids(spans):
    """What holds for every output."""
    seen = set()
    for s in spans:
        check(re.fullmatch("[0-9a-f]{32}", s.trace_id) and s.trace_id != "0" * 32, f"trace id of {s}")
        check(re.fullmatch("[0-9a-f]{16}", s.span_id) and s.span_id != "0" * 16, f"span id of {s}")
        check(s.span_id not in seen, f"span id twice: {s}")
        check(s.end >= s.start, f"ends before it begins: {s}")
        check(s.service, f"no service.name: {s}")
        check(not (s.resource.get("process.executable.name") == "telltale"), f"the tracer traced itself: {s}")
        confidence = s.attrs.get("telltale.parent.confidence")
        check(confidence is None or 0 <= confidence <= 1, f"confidence {confidence} of {s}")
        seen.add(s.span_id)


# ---- processes ---------------------------------------------------------------------------------


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Process:
    """A started program; out and err are files in the temporary directory."""

    def __init__(self, env, argv, name, **kw):
        self.name = name
        self.out_path = os.path.join(env.dir, f"{name}.{len(env.processes)}.out")
        self.err_path = self.out_path[:-3] + "err"
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            kw.setdefault("stdin", subprocess.DEVNULL)
            self.popen = subprocess.Popen(argv, stdout=out, stderr=err, start_new_session=True,
                                          preexec_fn=die_with_parent, **kw)
        self.pid = self.popen.pid
        env.processes.append(self)  # from here on Env ends it, whatever happens

    def out(self):
        with open(self.out_path, errors="replace") as f:
            return f.read()

    def err(self):
        with open(self.err_path, errors="replace") as f:
            return f.read()

    def alive(self):
        return self.popen.poll() is None

    def wait(self, seconds=20):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Fail(f"{self.name} did not end in {seconds} s; it said: {self.err()[-500:]}") from None

    def stop(self, sig=signal.SIGTERM, seconds=10):
        """Ends it; its whole session if it does not go by itself."""
        if self.popen.poll() is None:
            self.popen.send_signal(sig)
            try:
                self.popen.wait(seconds)
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

    def __init__(self, env, pids=(), args=(), command=None, ready=True, fmt="otlp-json"):
        self.file = os.path.join(env.dir, f"trace.{len(env.processes)}.json")
        self.fmt = fmt
        argv = [TELLTALE, "trace", "-o", self.file, "--format", fmt]
        if pids:
            argv += ["-p", ",".join(str(p) for p in pids)]
        argv += list(args)
        if command:
            argv += ["--"] + list(command)
        super().__init__(env, argv, "telltale", cwd=env.dir)
        self.spans = None
        if ready and not command:
            self.wait_ready()

    def kernel_links(self):
        """How many programs it has attached, as its open files tell."""
        count = 0
        try:
            for fd in os.listdir(f"/proc/{self.pid}/fd"):
                target = os.readlink(f"/proc/{self.pid}/fd/{fd}")
                if "bpf_link" in target or "bpf-link" in target or "perf_event" in target:
                    count += 1
        except OSError:
            pass
        return count

    def wait_ready(self):
        """Until it has attached what it wants to attach: the number of links has come to rest."""
        begin = time.monotonic()
        rest, last = 0, -1
        while rest < 4:
            if not self.alive():
                raise Fail(f"the tracer ended with {self.popen.returncode}: {self.err()[-800:]}")
            if time.monotonic() - begin > 20:
                raise Fail(f"the tracer attached nothing in 20 s: {self.err()[-800:]}")
            now = self.kernel_links()
            rest = rest + 1 if now == last and now > 0 else 0
            last = now
            time.sleep(0.05)
        self.ready_s = time.monotonic() - begin - 0.2

    def finish(self, sig=signal.SIGINT):
        """Ends it neatly and reads its spans."""
        if self.alive():
            self.popen.send_signal(sig)
        status = self.wait(20)
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

    def run(self, argv, seconds=60, **kw):
        """Runs to its end; subprocess.CompletedProcess with text."""
        kw.setdefault("stdin", subprocess.DEVNULL)
        try:
            return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  errors="replace", timeout=seconds, preexec_fn=die_with_parent, **kw)
        except subprocess.TimeoutExpired:
            raise Fail(f"{argv[0]} {' '.join(map(str, argv[1:4]))} ... did not end in {seconds} s") from None

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


# ---- servers -----------------------------------------------------------------------------------


def share(env, key, make):
    """One server for all cases that ask for the same key."""
    if key not in env.shared or not env.shared[key].alive():
        env.shared[key] = make()
    return env.shared[key]


def nginx(env, server="", http="", workers=1, key=None, port=None):
    """nginx with a static document root in the shared memory file system, and what is added to its
    server block. .port .pids (master and workers) .root"""
    binary = need("nginx")
    port = port or free_port()
    home = tempfile.mkdtemp(prefix="nginx.", dir=env.dir)
    root = os.path.join(home, "root")
    os.makedirs(root)
    os.chmod(home, 0o755)
    with open(f"{root}/hello", "w") as f:
        f.write("hello, world\n")
    with open(f"{root}/big", "wb") as f:
        f.write(b"x" * 3_000_000)
    temp = "".join(f"{n}_temp_path {home}/{n};\n" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = os.path.join(home, "nginx.conf")
    with open(conf, "w") as f:
        f.write(f"""daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes {workers};
events {{ worker_connections 512; }}
http {{ access_log off; {temp} keepalive_requests 1000000; large_client_header_buffers 4 32k;
{http}
server {{ listen 127.0.0.1:{port} default_server; listen [::1]:{port}; root {root}; sendfile on;
location /missing {{ return 404; }} location /broken {{ return 500 "broken"; }}
{server}
}} }}
""")
    p = env.start([binary, "-p", home, "-c", conf], name="nginx")
    p.port, p.root, p.home = port, root, home
    wait_for(lambda: can_connect(("127.0.0.1", port)) or not p.alive(), "nginx")
    check(p.alive(), f"nginx: {p.err()}")
    wait_for(lambda: len(p.children()) >= workers, "nginx's workers")
    p.pids = [p.pid] + p.children()
    return p


def static_nginx(env):
    return share(env, "nginx", lambda: nginx(env))


def redis(env, unix=None):
    binary = need("redis-server")
    port = 0 if unix else free_port()
    argv = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", env.dir, "--daemonize", "no"]
    if unix:
        argv += ["--unixsocket", unix]
    p = env.start(argv, name="redis")
    p.port, p.unix = port, unix
    if unix:
        wait_for(lambda: can_connect(unix, socket.AF_UNIX) or not p.alive(), "redis")
    else:
        wait_for(lambda: can_connect(("127.0.0.1", port)) or not p.alive(), "redis")
    check(p.alive(), f"redis: {p.out()}{p.err()}")
    return p


def shared_redis(env):
    return share(env, "redis", lambda: redis(env))


def postgres(env):
    """PostgreSQL as user postgres with trust authentication, on TCP. .port .env .psql(sql)"""
    versions = sorted((d for d in (os.listdir("/usr/lib/postgresql") if os.path.isdir("/usr/lib/postgresql") else [])
                       if os.path.exists(f"/usr/lib/postgresql/{d}/bin/initdb")), key=float)
    if not versions:
        raise Skip("no PostgreSQL server")
    bindir = f"/usr/lib/postgresql/{versions[-1]}/bin"
    psql = need("psql")
    who = {}
    home = tempfile.mkdtemp(prefix="postgres.", dir=env.dir)
    if os.getuid() == 0:
        who = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(home, "postgres", "postgres")
    data = f"{home}/data"
    r = env.run([f"{bindir}/initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N", "--no-locale", "-E", "UTF8"],
                cwd=home, **who)
    check(r.returncode == 0, f"initdb: {r.stderr}")
    port = free_port()
    p = env.start([f"{bindir}/postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", home,
                   "-c", "fsync=off", "-c", "autovacuum=off", "-c", "max_connections=30"], name="postgres", cwd=home, **who)
    p.port, p.bindir, p.stop_signal = port, bindir, signal.SIGINT
    p.env = dict(os.environ, PGHOST="127.0.0.1", PGPORT=str(port), PGUSER="postgres", PGDATABASE="postgres",
                 PGSSLMODE="disable", PGGSSENCMODE="disable")
    p.psql = [psql, "-X", "-q", "-t", "-A"]
    wait_for(lambda: not p.alive() or env.run(p.psql + ["-c", "select 1"], env=p.env).returncode == 0, "PostgreSQL", 20)
    check(p.alive(), f"postgres: {p.err()}")
    return p


def shared_postgres(env):
    return share(env, "postgres", lambda: postgres(env))


def mariadb(env):
    server, install, client = need("mariadbd", "mariadb-install-db", "mariadb")
    home = tempfile.mkdtemp(prefix="mariadb.", dir=env.dir)
    r = env.run([install, "--no-defaults", f"--datadir={home}/data", "--auth-root-authentication-method=normal",
                 "--skip-test-db", "--user=root"], cwd=home)
    check(r.returncode == 0, f"mariadb-install-db: {r.stderr[-500:]}{r.stdout[-500:]}")
    port = free_port()
    p = env.start([server, "--no-defaults", f"--datadir={home}/data", f"--socket={home}/sock", f"--port={port}",
                   "--bind-address=127.0.0.1", f"--pid-file={home}/pid", "--user=root", "--skip-name-resolve",
                   "--innodb-buffer-pool-size=16M", "--skip-ssl"], name="mariadb", cwd=home)
    p.port = port
    p.client = [client, "--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{port}", "-uroot", "--skip-ssl", "-N", "-B"]
    wait_for(lambda: not p.alive() or can_connect(("127.0.0.1", port)), "MariaDB", 30)
    check(p.alive(), f"mariadbd: {p.err()[-800:]}")
    return p


def shared_mariadb(env):
    return share(env, "mariadb", lambda: mariadb(env))


def app(env, name, *args, family=socket.AF_INET, unix=None, interpreter=None, **kw):
    """A service of apps/: started with --port PORT or --unix PATH. .port"""
    path = os.path.join(APPS, name)
    interpreter = interpreter or (need("node") if name.endswith(".js") else PYTHON)
    port = None if unix else free_port(family)
    where = ["--unix", unix] if unix else ["--port", str(port)]
    p = env.start([interpreter, path] + where + [str(a) for a in args], name=name.split(".")[0], **kw)
    p.port, p.unix = port, unix
    address, fam = (unix, socket.AF_UNIX) if unix else (("127.0.0.1", port), socket.AF_INET)
    wait_for(lambda: can_connect(address, fam) or not p.alive(), name)
    check(p.alive(), f"{name}: {p.err()}")
    p.pids = [p.pid] + p.children()
    return p


def certificate(env):
    """A self-made certificate for localhost: (certificate file, key file)."""
    openssl = need("openssl")
    cert, key = env.path("tls/cert.pem"), env.path("tls/key.pem")
    if not os.path.exists(cert):
        os.makedirs(env.path("tls"), exist_ok=True)
        r = env.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
                     "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        check(r.returncode == 0, f"openssl: {r.stderr}")
    return cert, key


def dns_server(env):
    binary = need("dnsmasq")
    port = free_port()
    p = env.start([binary, "--no-daemon", "--conf-file=/dev/null", f"--port={port}", "--listen-address=127.0.0.1",
                   "--bind-interfaces", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=",
                   "--address=/www.example.test/192.0.2.7", "--local=/example.test/"], name="dnsmasq")
    p.port = port
    dig = need("dig")
    wait_for(lambda: not p.alive() or env.run([dig, "+time=1", "+tries=1", "@127.0.0.1", "-p", str(port),
                                               "www.example.test"]).returncode == 0, "dnsmasq")
    check(p.alive(), f"dnsmasq: {p.err()}")
    return p


class Endpoint:
    """An OTLP/HTTP receiver. answers: status codes (with headers) to give first, then 200.

    Each request is kept as (path, headers, body unpacked, status given)."""

    def __init__(self, answers=(), hang=False):
        self.requests = []
        todo = list(answers)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if hang:
                    outer.stopped.wait(30)
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                status, headers = todo.pop(0) if todo else (200, {})
                outer.requests.append((self.path, dict(self.headers), body, status))
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k, v)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.stopped = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        """(service, name) of each span of the accepted requests."""
        out = []
        for _, _, body, status in list(self.requests):
            if status == 200:
                out += protobuf_spans(body)
        return out

    def close(self):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()


def protobuf_fields(data):
    """(field number, value) of one message: enough of the wire format to count spans."""
    pos = 0

    def varint():
        nonlocal pos
        value = shift = 0
        while True:
            b = data[pos]
            pos += 1
            value |= (b & 0x7f) << shift
            shift += 7
            if b < 0x80:
                return value

    while pos < len(data):
        tag = varint()
        wire = tag & 7
        if wire == 0:
            value = varint()
        elif wire == 1:
            value, pos = data[pos:pos + 8], pos + 8
        elif wire == 2:
            size = varint()
            check(pos + size <= len(data), "protobuf field beyond its message")
            value, pos = data[pos:pos + size], pos + size
        elif wire == 5:
            value, pos = data[pos:pos + 4], pos + 4
        else:
            raise Fail(f"protobuf wire type {wire}")
        yield tag >> 3, value


def protobuf_spans(body):
    """(service.name, span name) by the public field numbers of ExportTraceServiceRequest."""
    for n, rs in protobuf_fields(body):
        if n != 1:
            continue
        service, scopes = None, []
        for n2, v2 in protobuf_fields(rs):
            if n2 == 1:
                for n3, attr in protobuf_fields(v2):
                    if n3 == 1:
                        kv = dict(protobuf_fields(attr))
                        if kv.get(1) == b"service.name":
                            service = dict(protobuf_fields(kv[2])).get(1, b"").decode()
            elif n2 == 2:
                scopes.append(v2)
        for ss in scopes:
            for n3, span in protobuf_fields(ss):
                if n3 == 2:
                    yield service, dict(protobuf_fields(span)).get(5, b"").decode()


# ---- clients -----------------------------------------------------------------------------------


class Conn:
    """A plain socket that speaks HTTP/1.1 or anything else."""

    def __init__(self, address, family=socket.AF_INET, timeout=10):
        self.s = socket.socket(family, socket.SOCK_STREAM)
        self.s.settimeout(timeout)
        self.s.connect(address)
        self.f = self.s.makefile("rb")

    def send(self, data):
        self.s.sendall(data if isinstance(data, bytes) else data.encode())

    def response(self, head=False):
        """(status, headers, body) of one HTTP response."""
        line = self.f.readline()
        if not line:
            raise Fail("the server closed the connection")
        status = int(line.split()[1])
        headers = {}
        while True:
            h = self.f.readline().strip()
            if not h:
                break
            k, v = h.decode().split(":", 1)
            headers[k.lower()] = v.strip()
        if head or status in (204, 304) or 100 <= status < 200:
            return status, headers, b""
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int(self.f.readline().split(b";")[0], 16)
                chunk = self.f.read(size)
                self.f.readline()
                if not size:
                    return status, headers, body
                body += chunk
        if "content-length" in headers:
            return status, headers, self.f.read(int(headers["content-length"]))
        return status, headers, self.f.read()

    def get(self, path, method="GET", headers="", body=b""):
        size = f"Content-Length: {len(body)}\r\n" if body else ""
        self.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{size}{headers}\r\n".encode() + body)
        return self.response(method == "HEAD")

    def redis(self, *words):
        """One command in RESP; its reply's first line, and the bulk string if it is one."""
        self.send(resp(*words))
        return self.redis_reply()

    def redis_reply(self):
        line = self.f.readline().rstrip(b"\r\n")
        if line[:1] == b"$" and line != b"$-1":
            data = self.f.read(int(line[1:]) + 2)[:-2]
            return data.decode()
        if line[:1] in b"*%>~":
            count = int(line[1:]) * (2 if line[:1] == b"%" else 1)
            return [self.redis_reply() for _ in range(count)]
        return line.decode()

    def reset(self):
        """Closes with RST."""
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.f.close()
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def resp(*words):
    out = b"*%d\r\n" % len(words)
    for w in words:
        w = w if isinstance(w, bytes) else str(w).encode()
        out += b"$%d\r\n%s\r\n" % (len(w), w)
    return out


def http_conn(port):
    return Conn(("127.0.0.1", port))


def get(port, path, **kw):
    with http_conn(port) as c:
        return c.get(path, **kw)


def load(port, paths, concurrency):
    """Requests the paths with so many connections at once; every answer must be 200."""
    todo = list(reversed(paths))
    lock = threading.Lock()
    errors = []

    def worker():
        try:
            with http_conn(port) as c:
                while True:
                    with lock:
                        if not todo:
                            return
                        path = todo.pop()
                    status, _, body = c.get(path)
                    if status != 200:
                        errors.append(f"{path}: {status} {body[:100]!r}")
        except (OSError, Fail, ValueError) as e:
            errors.append(repr(e))

    threads = [threading.Thread(target=worker) for _ in range(concurrency)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not errors, f"load: {len(errors)} failed, first: {errors[:3]}")


# ---- the agent ---------------------------------------------------------------------------------


class Agent(Trace):
    """`telltale run` on a free port. .port"""

    def __init__(self, env, *args, environment=None):
        self.port, self.fmt, self.file = free_port(), None, None
        Process.__init__(self, env, [TELLTALE, "run", "--listen", f"127.0.0.1:{self.port}", *map(str, args)],
                         "agent", cwd=env.dir, env=dict(os.environ, **(environment or {})))
        self.wait_ready()
        wait_for(lambda: can_connect(("127.0.0.1", self.port)), "the agent's API")


def metrics(port):
    """{name: {labels as a sorted tuple: value}} of /metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as r:
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


def check_balance(port, quiet_s=3.0):
    """Every stage's books add up; asked again while the agent is between two pushes."""
    end = time.monotonic() + quiet_s
    while True:
        found = books(port)
        bad = {s: b for s, b in found.items() if b["in"] != b["out"] + b["held"] + b["dropped"]}
        if found and not bad:
            return found
        if time.monotonic() > end:
            raise Fail(f"books do not balance: {bad or 'there are none'}")
        time.sleep(0.2)
