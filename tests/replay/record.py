#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the recordings of tests/replay/ anew from real programs (root).

    record.py [NAME...]     default: all of SCENARIOS; then: run.sh --update, and read what changed

Recordings hold payload, so only what the scenarios say may be in them: servers of their own, made-up
data.
"""
import os
import shutil
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "e2e"))
sys.dont_write_bytecode = True
import lib  # noqa: E402
import servers  # noqa: E402


def http(env):
    """nginx: keep-alive, pipelining, HEAD, errors, sendfile, a body cut by the budget."""
    web = lib.nginx(env)
    yield web.pids
    with lib.http_conn(web.port) as c:
        for path in ("/hello", "/hello?token=secret", "/missing", "/broken", "/big"):
            c.get(path)
        c.get("/hello", method="HEAD")
        c.send("GET /hello?1 HTTP/1.1\r\nHost: a\r\n\r\nGET /missing?2 HTTP/1.1\r\nHost: a\r\n\r\n")
        c.response()
        c.response()
        c.get("/hello", headers="traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n")
        c.get("/hello", headers="X-Pad: " + "p" * 6000 + "\r\n")


def redis(env):
    """Pipelines, transactions, pub/sub, RESP3, errors."""
    server = lib.redis(env)
    yield [server.pid]
    with lib.Conn(("127.0.0.1", server.port)) as c, lib.Conn(("127.0.0.1", server.port)) as sub:
        c.redis("SET", "user:1", "secret")
        c.send(b"".join(lib.resp("INCR", f"n:{i}") for i in range(5)))
        for _ in range(5):
            c.redis_reply()
        for words in (("MULTI",), ("GET", "user:1"), ("EXEC",), ("LPUSH", "user:1", "x"), ("HELLO", "3"), ("GET", "none")):
            c.redis(*words)
        sub.redis("SUBSCRIBE", "news")
        c.redis("PUBLISH", "news", "secret")
        sub.redis_reply()


def postgres(env):
    """psql and pgbench: simple, extended, COPY, an error."""
    pg = lib.postgres(env)
    yield [pg.pid]
    script = env.write("s.sql", "CREATE TABLE t (a int, b text);\nINSERT INTO t VALUES (1, 'secret');\nSELECT b FROM t WHERE a = 1;\n"
                                "COPY t TO STDOUT;\nSELECT 1/0;\nDROP TABLE t;\n")
    env.run(pg.psql + ["-f", script], env=pg.env)
    bench = env.write("b.sql", "SELECT 1 + 1 AS y;\n")
    env.run([f"{pg.bindir}/pgbench", "-n", "-M", "prepared", "-t", "3", "-f", bench], env=pg.env)


def mariadb(env):
    """Queries and an error."""
    db = lib.mariadb(env)
    yield [db.pid]
    env.run(db.client + ["-e", "CREATE DATABASE shop; USE shop; CREATE TABLE t (a int, b varchar(20)); "
                               "INSERT INTO t VALUES (1, 'secret'); SELECT b FROM t WHERE a = 1; SELECT nothing FROM t"])


def parents(env):
    """nginx, python and Redis, three requests at a time."""
    cache = lib.redis(env)
    # the command line is in the recording: a path of this machine's source tree has no place there
    shutil.copy(f"{lib.APPS}/shop.py", env.dir)
    servers.APPS = env.dir
    shop = lib.app(env, "shop.py", "--redis", cache.port)
    web = lib.nginx(env, server=f"location / {{ proxy_pass http://127.0.0.1:{shop.port}; }}")
    yield web.pids + [shop.pid, cache.pid]
    lib.load(web.port, [f"/item/q{i}" for i in range(12)], 3)


SCENARIOS = {"http": http, "redis": redis, "postgres": postgres, "mariadb": mariadb, "parents": parents}


def main():
    for name in sys.argv[1:] or SCENARIOS:
        env = lib.Env()
        try:
            scenario = SCENARIOS[name](env)
            pids = next(scenario)
            recorder = lib.Record(env, pids, env.path("rec"))
            next(scenario, None)
            lib.equal(recorder.finish(), 0, "exit status of record")
            out = f"{TOP}/tests/replay/{name}.rec.zst"
            r = env.run(["zstd", "-qf", "-19", env.path("rec"), "-o", out])
            lib.equal(r.returncode, 0, f"zstd ({r.stderr})")
            print(f"{os.path.relpath(out)}: {os.path.getsize(env.path('rec'))} bytes, {os.path.getsize(out)} packed")
        finally:
            env.close()


main()
