# SPDX-License-Identifier: Apache-2.0
"""Servers on free loopback ports, each with its own configuration in the temporary directory."""
import gzip
import http.server
import os
import shutil
import signal
import socket
import ssl
import tempfile
import threading

from base import APPS, PYTHON, Skip, can_connect, check, free_port, need, wait_for
from otlp import protobuf_resources, protobuf_spans


def share(env, key, make):
    """One server for all cases that ask for the same key."""
    if key not in env.shared or not env.shared[key].alive():
        env.shared[key] = make()
    return env.shared[key]


def nginx(env, server="", http="", workers=1, key=None, port=None, binary=None):
    """nginx with a static document root in the shared memory file system, and what is added to its
    server block. .port .pids (master and workers) .root"""
    binary = binary or need("nginx")
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
    wait_for(lambda: not p.alive() or env.run(p.psql + ["-c", "select 1"], env=p.env).returncode == 0, "PostgreSQL")
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
    wait_for(lambda: not p.alive() or can_connect(("127.0.0.1", port)), "MariaDB")
    check(p.alive(), f"mariadbd: {p.err()[-800:]}")
    return p


def shared_mariadb(env):
    return share(env, "mariadb", lambda: mariadb(env))


def app(env, name, *args, unix=None, environment=None):
    """A service of apps/: started with --port PORT or --unix PATH. .port"""
    path = os.path.join(APPS, name)
    interpreter = (need("node") if name.endswith(".js") else PYTHON)
    port = None if unix else free_port()
    where = ["--unix", unix] if unix else ["--port", str(port)]
    p = env.start([interpreter, path] + where + [str(a) for a in args], name=name.split(".")[0],
                  env=dict(os.environ, **(environment or {})))
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


class Authority:
    """A certificate authority of its own. .cert; issue(name) gives (certificate file, key file)"""

    def __init__(self, env, name):
        self.env, self.openssl, self.home = env, need("openssl"), env.path(f"tls/{name}")
        os.makedirs(self.home, exist_ok=True)
        self.cert, self.key = self.make(name, "-addext", "keyUsage=critical,keyCertSign")

    def make(self, name, *args):
        cert, key = os.path.join(self.home, f"{name}.pem"), os.path.join(self.home, f"{name}.key")
        r = self.env.run([self.openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                          "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}", *args])
        check(r.returncode == 0, f"openssl: {r.stderr}")
        return cert, key

    def issue(self, name):
        return self.make(name, "-CA", self.cert, "-CAkey", self.key, "-addext", "basicConstraints=critical,CA:false",
                         "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1")


def tls_context(certificate, client_ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


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
    """An OTLP/HTTP receiver. answers: status codes (with headers) to give first, then 200; hang: none until it is closed.
    tls: its (certificate, key); client_ca: who signs the clients' certificates.

    Each request is kept as (path, headers, body unpacked, status given)."""

    def __init__(self, answers=(), hang=False, tls=None, client_ca=None):
        self.requests = []
        todo = list(answers)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if hang:
                    outer.stopped.wait()
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
        if tls:
            self.server.socket = tls_context(tls, client_ca).wrap_socket(self.server.socket, server_side=True,
                                                                         do_handshake_on_connect=False)
            self.server.handle_error = lambda *_: None  # a client that does not trust us
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def resources(self, key):
        """Values of a resource attribute in the accepted requests."""
        return {v for _, _, body, status in list(self.requests) if status == 200 for v in protobuf_resources(body, key)}

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


class Sink:
    """Answers 200 to every export and forgets it: for benchmarks."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                left = int(self.headers.get("Content-Length", 0))
                while left:
                    left -= len(self.rfile.read(min(left, 1 << 20)))
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
