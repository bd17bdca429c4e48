# SPDX-License-Identifier: Apache-2.0
"""Parents, measured: each request carries an id that appears in its path, its key or its query, so
a wrong parent shows. Wrong parents must be 0; recall (found of all that there should be) is
printed, and demanded only where the kernel's evidence is certain."""
import re

from lib import (CLIENT, SERVER, Fail, app, check, load, nginx, shared_postgres, shared_redis)

ID = re.compile(r"\b(?:item|both|up|echo|sql|wait)/(\w+)|\b(?:key|more):(\w+)")


def request_id(span):
    text = " ".join(str(span.attrs.get(k, "")) for k in ("url.path", "url.full", "db.query.text"))
    m = ID.search(text)
    return m and (m.group(1) or m.group(2))


def allowed(parent, child):
    """May the one be the other's parent at all?"""
    if child.kind == CLIENT:
        return parent.kind == SERVER and parent.pid == child.pid
    return parent.kind == CLIENT and parent.pid != child.pid


def judge(spans, pids, expect_children, least):
    """Counts right, wrong and missing parents. pids: processes in the trace; expect_children: how
    many spans should have one; least: the recall demanded."""
    right, wrong = 0, []
    by_id = {(s.trace_id, s.span_id): s for s in spans}
    for s in spans:
        if not s.parent_id:
            continue
        parent = by_id.get((s.trace_id, s.parent_id))
        if parent is None:
            wrong.append(f"{s}: its parent is not there")
        elif not allowed(parent, s) or request_id(parent) != request_id(s) and s.attrs.get("db.query.text") != "SELECT ?":
            wrong.append(f"{s}: its parent is {parent}")
        else:
            right += 1
    if wrong:
        raise Fail(f"{len(wrong)} wrong parents of {right + len(wrong)}\n" + "\n".join("  " + w for w in wrong[:10]))
    recall = right / expect_children
    if recall < least:
        raise Fail(f"recall {recall:.3f} ({right} of {expect_children}), want {least}; {len(spans)} spans of {pids}\n{spans.show(12)}")
    links = sum(len(s.links) for s in spans)
    return f"recall {recall:.3f}, wrong 0, links {links}"


def shop_behind_nginx(env, *args, name="shop.py"):
    r = shared_redis(env)
    shop = app(env, name, "--redis", r.port, *args)
    web = nginx(env, http=f"upstream shop {{ server 127.0.0.1:{shop.port}; keepalive 32; }}",
                server="location / { proxy_pass http://shop; proxy_http_version 1.1; proxy_set_header Connection ''; }")
    return r, shop, web


def nginx_python_redis(env, concurrency, mode, least):
    r, shop, web = shop_behind_nginx(env, "--mode", mode)
    pids = web.pids + [shop.pid, r.pid]
    n = 100
    with env.trace(pids=pids) as t:
        load(web.port, [f"/item/q{i:04d}" for i in range(n)], concurrency)
    # nginx serves and calls, python serves and calls, redis serves: four have a parent
    t.spans.count(n, kind=SERVER, service="nginx")
    check(len(t.spans) >= 5 * n - 2, f"{len(t.spans)} spans, want {5 * n}\n{t.spans.show()}")
    return judge(t.spans, pids, 4 * n, least)


def case_nginx_python_redis_1(env):
    return nginx_python_redis(env, 1, "threaded", 1.0)


def case_nginx_python_redis_4(env):
    return nginx_python_redis(env, 4, "threaded", 0.98)


def case_nginx_python_redis_20(env):
    return nginx_python_redis(env, 20, "threaded", 0.98)


def case_nginx_asyncio_redis_1(env):
    return nginx_python_redis(env, 1, "asyncio", 0.0)


def case_nginx_asyncio_redis_20(env):
    return nginx_python_redis(env, 20, "asyncio", 0.0)


def case_several_calls_of_one_request(env):
    r = shared_redis(env)
    back = nginx(env, server="location /echo/ { return 200 'echo'; }")
    shop = app(env, "shop.py", "--redis", r.port, "--upstream", back.port)
    pids = [shop.pid, r.pid] + back.pids
    n = 60
    with env.trace(pids=pids) as t:
        load(shop.port, [f"/both/q{i:04d}" for i in range(n)], 4)
    # three calls, each seen at both ends
    return judge(t.spans, pids, 6 * n, 0.98)


def case_python_postgres(env):
    pg = shared_postgres(env)
    shop = app(env, "shop.py", "--postgres", pg.port)
    n = 40
    with env.trace(pids=[shop.pid, pg.pid]) as t:
        load(shop.port, [f"/sql/q{i:04d}" for i in range(n)], 4)
    t.spans.count(n, kind=CLIENT, db__operation__name="SELECT")
    return judge(t.spans, [shop.pid, pg.pid], 2 * n, 0.98)


def node_upstream(env, concurrency, least, *args, path="up"):
    back = nginx(env, server="location /echo/ { return 200 'echo'; }")
    node = app(env, "shop.js", "--upstream", back.port, *args)
    pids = [node.pid] + back.pids
    n = 80
    with env.trace(pids=pids) as t:
        load(node.port, [f"/{path}/q{i:04d}" for i in range(n)], concurrency)
    t.spans.count(n, kind=SERVER, pid=node.pid)
    t.spans.count(n, kind=CLIENT, pid=node.pid)
    return judge(t.spans, pids, 2 * n, least)


def case_node_http_1(env):
    return node_upstream(env, 1, 0.5)


def case_node_http_20(env):
    return node_upstream(env, 20, 0.5)


def case_node_one_socket_shared(env):
    """A pool of one: the call is written in the turn that read another request's answer."""
    return node_upstream(env, 8, 0.5, "--pool", 1)


def case_node_after_a_timer(env):
    return node_upstream(env, 8, 0.5, path="wait")


def case_node_redis_shared_connection(env):
    r = shared_redis(env)
    node = app(env, "shop.js", "--redis", r.port)
    n = 80
    with env.trace(pids=[node.pid, r.pid]) as t:
        load(node.port, [f"/item/q{i:04d}" for i in range(n)], 8)
    t.spans.count(n, kind=CLIENT, pid=node.pid)
    return judge(t.spans, [node.pid, r.pid], 2 * n, 0.5)
