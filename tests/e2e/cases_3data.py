# SPDX-License-Identifier: Apache-2.0
"""Redis, PostgreSQL, MariaDB and DNS."""
import os
import signal
import socket

from lib import (APPS, CLIENT, PYTHON, SERVER, STATUS_ERROR, STATUS_UNSET, TELLTALE, Conn, Skip, check, dns_server, equal,
                 need, parse_otlp, redis, resp, shared_mariadb, shared_postgres, shared_redis, wait_for)


def traced(env, argv, want=0, environment=None):
    """Spans of a traced command."""
    out = env.path("traced.json")
    r = env.run([TELLTALE, "trace", "-o", out, "--format", "otlp-json", "--"] + argv, env=environment)
    equal(r.returncode, want, f"exit status of {argv[0]} ({r.stderr[-300:]})")
    with open(out) as f:
        return parse_otlp(f.read())


def redis_conn(server):
    return Conn(("127.0.0.1", server.port)) if server.port else Conn(server.unix, socket.AF_UNIX)


# ---- Redis -------------------------------------------------------------------------------------


def case_redis_commands(env):
    r = shared_redis(env)
    with env.trace(pids=[r.pid]) as t:
        with redis_conn(r) as c:
            c.redis("SET", "user:1", "pa55word")
            equal(c.redis("GET", "user:1"), "pa55word", "value")
            check(c.redis("NOSUCHCOMMAND", "x").startswith("-ERR"), "an error")
            c.redis("LPUSH", "user:1", "x")
    for name in ("SET", "GET"):
        s = t.spans.one(db__operation__name=name)
        equal((s.attrs.get("db.system.name"), s.status), ("redis", STATUS_UNSET), "system and status")
        check("user:1" in s.attrs.get("db.query.text", ""), f"the key is gone: {s.attrs}")
    wrong = t.spans.one(db__operation__name="LPUSH")
    equal((wrong.status, wrong.attrs.get("error.type")), (STATUS_ERROR, "WRONGTYPE"), "status and error.type")
    check("pa55word" not in repr([s.attrs for s in t.spans]), "a value is shown")


def case_redis_pipeline(env):
    r = shared_redis(env)
    with env.trace(pids=[r.pid]) as t:
        with redis_conn(r) as c:
            c.send(b"".join(resp("INCR", f"counter:{i}") for i in range(20)))
            for _ in range(20):
                c.redis_reply()
    spans = t.spans.count(20, db__operation__name="INCR")
    equal(len({s.attrs["db.query.text"] for s in spans}), 20, "different keys")


def case_redis_transaction(env):
    r = shared_redis(env)
    with env.trace(pids=[r.pid]) as t:
        with redis_conn(r) as c:
            equal(c.redis("MULTI"), "+OK", "MULTI")
            equal(c.redis("SET", "a", "1"), "+QUEUED", "SET")
            equal(c.redis("GET", "a"), "+QUEUED", "GET")
            equal(c.redis("EXEC"), ["+OK", "1"], "EXEC")
            equal(c.redis("PING"), "+PONG", "PING")
    equal(sorted(s.attrs.get("db.operation.name") for s in t.spans), ["EXEC", "GET", "MULTI", "PING", "SET"], "operations")


def case_redis_pub_sub(env):
    r = shared_redis(env)
    with env.trace(pids=[r.pid]) as t:
        with redis_conn(r) as sub, redis_conn(r) as pub:
            equal(sub.redis("SUBSCRIBE", "news")[0], "subscribe", "answer")
            for i in range(5):
                pub.redis("PUBLISH", "news", f"secret {i}")
                equal(sub.redis_reply()[0], "message", "pushed")
    t.spans.count(5, db__operation__name="PUBLISH")
    t.spans.count(1, db__operation__name="SUBSCRIBE")
    check("secret" not in repr([s.attrs for s in t.spans]), "a message is shown")


def case_redis_resp3(env):
    r = shared_redis(env)
    with env.trace(pids=[r.pid]) as t:
        with redis_conn(r) as c:
            check("server" in c.redis("HELLO", "3"), "HELLO")
            c.redis("HSET", "h", "f", "1")
            equal(c.redis("HGETALL", "h"), ["f", "1"], "a map")
            c.redis("GET", "nothing")
    t.spans.one(db__operation__name="HGETALL")
    t.spans.one(db__operation__name="GET")


def case_redis_auth_is_masked(env):
    r = shared_redis(env)
    with env.trace(pids=[r.pid]) as t:
        with redis_conn(r) as c:
            c.redis("AUTH", "hunter2")
            c.redis("PING")
    check("hunter2" not in repr([(s.attrs, s.status_message) for s in t.spans]), "the password is shown")


def case_redis_over_a_unix_socket(env):
    r = redis(env, unix=env.path("redis.sock"))
    with env.trace(pids=[r.pid]) as t:
        with redis_conn(r) as c:
            c.redis("SET", "k", "v")
            c.redis("GET", "k")
    s = t.spans.one(db__operation__name="GET")
    equal(s.kind, SERVER, "kind at the listening end")
    spans = traced(env, [need("redis-cli"), "-s", r.unix, "GET", "k"])
    equal(spans.one(db__operation__name="GET").kind, CLIENT, "kind at the dialling end")


def case_redis_client(env):
    r = shared_redis(env)
    s = traced(env, [need("redis-cli"), "-p", str(r.port), "SET", "cli", "value"]).one(db__operation__name="SET")
    equal((s.kind, s.attrs.get("server.port"), s.attrs.get("db.system.name")), (CLIENT, r.port, "redis"), "kind, port, system")


# ---- PostgreSQL --------------------------------------------------------------------------------


def case_postgres_simple(env):
    pg = shared_postgres(env)
    spans = traced(env, pg.psql + ["-c", "SELECT 'top secret' || 42 AS x"], environment=pg.env)
    s = spans.one(kind=CLIENT, db__operation__name="SELECT")
    equal((s.attrs.get("db.system.name"), s.attrs.get("db.namespace")), ("postgresql", "postgres"), "system, namespace")
    check("top secret" not in repr(s.attrs) and "42" not in s.attrs.get("db.query.text", "42"), f"literals: {s.attrs}")
    equal(s.status, STATUS_UNSET, "status")


def case_postgres_error(env):
    pg = shared_postgres(env)
    spans = traced(env, pg.psql + ["-c", "SELECT 1/0"], want=1, environment=pg.env)
    s = spans.one(kind=CLIENT, db__operation__name="SELECT")
    equal((s.status, s.attrs.get("db.response.status_code"), s.attrs.get("error.type")), (STATUS_ERROR, "22012", "22012"),
          "status, code, error.type")


def case_postgres_several_statements(env):
    pg = shared_postgres(env)
    script = env.write("several.sql", "CREATE TABLE IF NOT EXISTS t (a int, b text);\nINSERT INTO t VALUES (1, 'x');\n"
                                      "UPDATE t SET b = 'y' WHERE a = 1;\nSELECT * FROM t;\nDROP TABLE t;\n")
    spans = traced(env, pg.psql + ["-f", script], environment=pg.env)
    got = [s.attrs.get("db.operation.name") for s in sorted(spans, key=lambda s: s.start)]
    equal(got, ["CREATE", "INSERT", "UPDATE", "SELECT", "DROP"], "operations")


def case_postgres_extended_and_prepared(env):
    pg = shared_postgres(env)
    script = env.write("bench.sql", "\\set n random(1, 1000)\nSELECT :n + 1 AS y;\n")
    for mode in ("extended", "prepared"):
        spans = traced(env, [f"{pg.bindir}/pgbench", "-n", "-M", mode, "-c", "2", "-t", "20", "-f", script], environment=pg.env)
        selects = spans.find(kind=CLIENT, db__operation__name="SELECT", db__query__text=lambda q: q and "AS y" in q)
        equal(len(selects), 40, f"SELECTs with -M {mode} of {len(spans)} spans")
        check(all(s.status == STATUS_UNSET for s in selects), "their status")


def case_postgres_pipeline(env):
    """Messages of several statements before the first answer; the last of them fails."""
    pg = shared_postgres(env)
    script = env.write("pipeline.sql", "\\startpipeline\nSELECT 1 AS a;\nSELECT 2 AS b;\nSELECT 3/0 AS c;\n\\endpipeline\n")
    spans = traced(env, [f"{pg.bindir}/pgbench", "-n", "-M", "extended", "-c", "1", "-t", "1", "-f", script], want=2, environment=pg.env)
    got = [(s.attrs.get("db.query.text"), s.attrs.get("db.response.status_code"), s.status)
           for s in sorted(spans.find(kind=CLIENT), key=lambda s: s.attrs.get("db.query.text"))]
    equal(got, [("SELECT ? AS a;", None, STATUS_UNSET), ("SELECT ? AS b;", None, STATUS_UNSET),
                ("SELECT ?/? AS c;", "22012", STATUS_ERROR)], "queries, codes, statuses")


def case_postgres_cancel(env):
    pg = shared_postgres(env)
    t = env.trace(command=pg.psql + ["-c", "SELECT pg_sleep(600)"], environment=pg.env)
    sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_for(lambda: env.run(pg.psql + ["-c", sleeps], env=pg.env).stdout.strip() == "1", "the query to run")
    os.kill(t.children()[0], signal.SIGINT)
    equal(t.finish(None), 1, f"exit status of psql ({t.err()[-300:]})")
    spans = t.spans
    slept = spans.one(kind=CLIENT, db__operation__name="SELECT")
    equal((slept.status, slept.attrs.get("db.response.status_code")), (STATUS_ERROR, "57014"), "status, code")
    equal(spans.one(kind=CLIENT, db__operation__name="CANCEL").status, STATUS_UNSET, "status of the request to cancel")


def case_postgres_copy(env):
    pg = shared_postgres(env)
    rows = env.write("rows.txt", "".join(f"{i}\tsecret value {i}\n" for i in range(2000)))
    script = env.write("copy.sql", f"CREATE TABLE c (a int, b text);\n\\copy c from '{rows}'\n"
                                   f"\\copy c to '{env.path('out.txt')}'\nSELECT count(*) FROM c;\nDROP TABLE c;\n")
    spans = traced(env, pg.psql + ["-f", script], environment=pg.env)
    spans.count(2, kind=CLIENT, db__operation__name="COPY")
    spans.one(kind=CLIENT, db__operation__name="SELECT")
    spans.one(kind=CLIENT, db__operation__name="DROP")
    check("secret value" not in repr([s.attrs for s in spans]), "data is shown")


def case_postgres_server_side(env):
    pg = shared_postgres(env)
    with env.trace(pids=[pg.pid]) as t:
        env.run(pg.psql + ["-c", "SELECT 7"], env=pg.env)
    s = t.spans.one(kind=SERVER, db__operation__name="SELECT")
    equal(s.service, "postgres", "service")


# ---- MariaDB -----------------------------------------------------------------------------------


def case_mariadb_queries(env):
    db = shared_mariadb(env)
    sql = ("CREATE DATABASE IF NOT EXISTS shop; USE shop; CREATE TABLE IF NOT EXISTS t (a int, b varchar(40)); "
           "INSERT INTO t VALUES (1, 'top secret'); SELECT b FROM t WHERE a = 1; DROP TABLE t")
    spans = traced(env, db.client + ["-e", sql])
    for name in ("INSERT", "SELECT", "DROP"):
        s = spans.find(kind=CLIENT, db__operation__name=name, db__query__text=lambda q: q and "@@" not in q and "()" not in q)
        equal(len(s), 1, f"spans of {name}:\n{spans.show()}\n")
        check(s[0].attrs.get("db.system.name") in ("mysql", "mariadb"), f"system: {s[0].attrs}")
        equal(s[0].status, STATUS_UNSET, "status")
    check("top secret" not in repr([s.attrs for s in spans]), "a literal is shown")


def case_mariadb_error(env):
    db = shared_mariadb(env)
    spans = traced(env, db.client + ["-e", "SELECT * FROM mysql.no_such_table"], want=1)
    s = spans.one(kind=CLIENT, status=STATUS_ERROR)
    equal(s.attrs.get("db.response.status_code"), "1146", "code")


def case_mariadb_prepared_statements(env):
    db = shared_mariadb(env)
    app, sql = f"{APPS}/mysql_stmts.py", "SELECT user, 'top secret' FROM user WHERE host <> 'x'"
    if env.run([PYTHON, app, str(db.port), "1", sql]).returncode == 77:
        raise Skip("no libmariadb")
    spans = traced(env, [PYTHON, app, str(db.port), "3", sql, "SELECT * FROM no_such_table"])
    text = "SELECT user, ? FROM user WHERE host <> ?"
    spans.one(kind=CLIENT, name="PREPARE user", db__query__text=text, status=STATUS_UNSET)
    spans.count(3, kind=CLIENT, name="SELECT user", db__query__text=text, db__namespace="mysql", status=STATUS_UNSET)
    failed = spans.one(kind=CLIENT, name="PREPARE no_such_table", status=STATUS_ERROR)
    equal(failed.attrs.get("db.response.status_code"), "1146", "code")
    equal(len(spans), 5, "spans in all")


# ---- DNS ---------------------------------------------------------------------------------------


def case_dns(env):
    server, dig = dns_server(env), need("dig")
    spans = traced(env, [dig, "+tries=1", "@127.0.0.1", "-p", str(server.port), "www.example.test", "A"])
    s = spans.one(kind=CLIENT, dns__question__name="www.example.test")
    check(s.status == STATUS_UNSET and "example" not in s.name, f"status and name: {s}")
    spans = traced(env, [dig, "+tries=1", "@127.0.0.1", "-p", str(server.port), "none.example.test", "A"])
    s = spans.one(kind=CLIENT, dns__question__name="none.example.test")
    equal(s.attrs.get("error.type"), "NXDOMAIN", "error.type")
    return f"name {s.name!r}"


def case_dns_server_side(env):
    server, dig = dns_server(env), need("dig")
    with env.trace(pids=[server.pid]) as t:
        for name in ("www.example.test", "other.example.test"):
            env.run([dig, "+tries=1", "@127.0.0.1", "-p", str(server.port), name])
    t.spans.count(2, kind=SERVER, service="dnsmasq")


def case_dns_unanswered(env):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        spans = traced(env, [need("dig"), "+tries=1", "+time=1", "@127.0.0.1", "-p", str(port), "a.example.test"], want=9)
    s = spans.one(kind=CLIENT, dns__question__name="a.example.test")
    equal(s.status, STATUS_ERROR, "status")
    check(s.attrs.get("error.type"), f"no error.type: {s.attrs}")
