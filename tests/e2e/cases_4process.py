# SPDX-License-Identifier: Apache-2.0
"""Processes and sockets: fork, prefork, passed descriptors, UNIX sockets, TLS, filters."""
import os
import time

from lib import (CLIENT, PYTHON, SERVER, TELLTALE, Agent, Conn, Endpoint, Skip, app, certificate, check, equal,
                 free_port, get, load, need, nginx, parse_otlp, shared_redis, static_nginx, wait_for)


def case_prefork_workers(env):
    shop = app(env, "shop.py", "--mode", "prefork")
    wait_for(lambda: len(shop.children()) == 3, "the workers")
    pids = [shop.pid] + shop.children()
    with env.trace(pids=[shop.pid] + shop.children()) as t:
        for i in range(40):
            get(shop.port, f"/echo/{i}")
    spans = t.spans.count(40, kind=SERVER)
    check({s.pid for s in spans} <= set(pids), f"pids {({s.pid for s in spans})} are not among {pids}")


def case_workers_forked_after_the_start(env):
    """The filter names the parent alone; its children come later."""
    script = ("import os,socket,sys\nl=socket.create_server(('127.0.0.1',int(sys.argv[1])))\n"
              "for i in range(3):\n"
              " c,_=l.accept()\n"
              " if os.fork()==0:\n"
              "  c.recv(999); c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n'); os._exit(0)\n"
              " c.close(); os.wait()\n")
    port = free_port()
    t = env.trace(command=[PYTHON, "-c", script, str(port)], fmt="otlp-json")
    for i in range(3):
        def ask():
            try:
                return get(port, f"/fork/{i}")[0] == 200
            except OSError:
                return False
        wait_for(ask, "the server")
    equal(t.wait(), 0, "exit status")
    with open(t.file) as f:
        spans = parse_otlp(f.read()).count(3, kind=SERVER)
    equal(len({s.pid for s in spans}), 3, "different processes")


def case_a_passed_descriptor(env):
    passer = app(env, "passer.py")
    wait_for(lambda: passer.children(), "the worker")
    worker = passer.children()[0]
    with env.trace(pids=[passer.pid, worker]) as t:
        for i in range(5):
            get(passer.port, f"/pass/{i}")
    spans = t.spans.count(5, kind=SERVER)
    equal({s.pid for s in spans}, {worker}, "who served")


def case_nginx_to_python_over_a_unix_socket(env):
    path = env.path("shop.sock")
    shop = app(env, "shop.py", unix=path)
    web = nginx(env, server=f"location /echo/ {{ proxy_pass http://unix:{path}:; }}")
    with env.trace(pids=web.pids + [shop.pid]) as t:
        load(web.port, [f"/echo/{i}" for i in range(20)], 1)
    front = t.spans.count(20, kind=SERVER, service="nginx")
    out = t.spans.count(20, kind=CLIENT, service="nginx")
    back = t.spans.count(20, kind=SERVER, pid=shop.pid)
    for s in back:
        parent = t.spans.parent(s)
        check(parent in out and parent.path == s.path, f"parent of {s}: {parent}")
        grand = t.spans.parent(parent)
        check(grand in front and grand.path == s.path, f"parent of {parent}: {grand}")


def case_threads_of_one_process(env):
    shop = app(env, "shop.py")
    with env.trace(pids=[shop.pid]) as t:
        load(shop.port, [f"/echo/{i}" for i in range(200)], 10)
    spans = t.spans.count(200, kind=SERVER)
    equal(len({s.path for s in spans}), 200, "different paths")
    equal({s.pid for s in spans}, {shop.pid}, "process")


def case_service_name_of_the_environment(env):
    shop = app(env, "shop.py", environment={"OTEL_SERVICE_NAME": "checkout"})
    with env.trace(pids=[shop.pid]) as t:
        get(shop.port, "/echo/1")
    equal(t.spans.one(kind=SERVER).service, "checkout", "service.name")


def case_service_name_of_a_script(env):
    shop, node = app(env, "shop.py"), app(env, "shop.js")
    with env.trace(pids=[shop.pid, node.pid]) as t:
        get(shop.port, "/echo/1")
        get(node.port, "/echo/1")
    names = {s.pid: s.service for s in t.spans}
    check("shop" in names.get(shop.pid, "") and "shop" in names.get(node.pid, ""), f"names: {names}")
    return f"{names[shop.pid]!r}, {names[node.pid]!r}"


# ---- TLS ---------------------------------------------------------------------------------------


def case_https_of_nginx(env):
    cert, key = certificate(env)
    port = free_port()
    web = nginx(env, http=f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {cert}; ssl_certificate_key {key}; "
                          "location / { return 200 ok; } }")
    with env.trace(pids=web.pids) as t:
        r = env.run([need("curl"), "-s", "--cacert", cert, f"https://localhost:{port}/secure/1", f"https://localhost:{port}/secure/2"])
        equal((r.returncode, r.stdout), (0, "okok"), "curl")
    spans = t.spans.count(2, kind=SERVER, url__scheme="https")
    equal(sorted(s.path for s in spans), ["/secure/1", "/secure/2"], "paths")
    equal(len(t.spans), 2, "spans in all (the bytes below are not parsed)")


def case_https_of_python(env):
    cert, key = certificate(env)
    shop = app(env, "shop.py", "--tls", cert, key)
    with env.trace(pids=[shop.pid]) as t:
        r = env.run([need("curl"), "-s", "--cacert", cert, f"https://localhost:{shop.port}/echo/1",
                     f"https://localhost:{shop.port}/status/503"])
        equal(r.returncode, 0, "curl")
    equal(sorted((s.path, s.attrs.get("http.response.status_code")) for s in t.spans.find(kind=SERVER)),
          [("/echo/1", 200), ("/status/503", 503)], "paths and codes")


def case_https_client_of_python(env):
    cert, key = certificate(env)
    shop = app(env, "shop.py", "--tls", cert, key)
    out = env.path("https.json")
    script = ("import ssl,sys,urllib.request as u\nc=ssl.create_default_context(cafile=sys.argv[2])\n"
              "for i in range(3): u.urlopen(f'https://localhost:{sys.argv[1]}/echo/{i}',context=c).read()\n")
    r = env.run([TELLTALE, "trace", "-o", out, "--format", "otlp-json", "--", PYTHON, "-c", script, str(shop.port), cert])
    equal(r.returncode, 0, f"exit status ({r.stderr})")
    with open(out) as f:
        spans = parse_otlp(f.read())
    equal(sorted(s.path for s in spans.find(kind=CLIENT, http__response__status_code=200)),
          ["/echo/0", "/echo/1", "/echo/2"], "paths")


def case_no_tls_when_told_so(env):
    cert, key = certificate(env)
    shop = app(env, "shop.py", "--tls", cert, key)
    with env.trace(pids=[shop.pid], args=["--no-tls"]) as t:
        env.run([need("curl"), "-s", "--cacert", cert, f"https://localhost:{shop.port}/echo/1"])
    equal([s for s in t.spans if s.path], [], "spans with a path")


# ---- filters -----------------------------------------------------------------------------------


def case_a_pid_filter_lets_nothing_else_through(env):
    web, shop = static_nginx(env), app(env, "shop.py")
    with env.trace(pids=[shop.pid]) as t:
        get(web.port, "/hello")
        get(shop.port, "/echo/1")
    equal([s.pid for s in t.spans], [shop.pid], "processes seen")


def case_a_name_filter(env):
    web, shop = static_nginx(env), app(env, "shop.py")
    with env.trace(args=["--process", "ngin?"]) as t:
        get(web.port, "/hello")
        get(shop.port, "/echo/1")
    equal({s.service for s in t.spans}, {"nginx"}, "services")
    t.spans.count(1, kind=SERVER, pid=lambda pid: pid in web.pids)


def case_a_port_filter(env):
    web, shop = static_nginx(env), app(env, "shop.py")
    with env.trace(args=["--port", str(shop.port)]) as t:
        get(web.port, "/hello")
        get(shop.port, "/echo/1")
    t.spans.count(1, kind=SERVER)
    equal({s.path for s in t.spans}, {"/echo/1"}, "paths")


def case_a_port_filter_inside_tls(env):
    cert, key = certificate(env)
    chosen, other = (app(env, "shop.py", "--tls", cert, key) for _ in range(2))
    with env.trace(args=["--port", str(chosen.port)]) as t:
        for shop, path in ((other, "/echo/other"), (chosen, "/echo/chosen"), (other, "/echo/again")):
            r = env.run([need("curl"), "-s", "--cacert", cert, f"https://localhost:{shop.port}{path}"])
            equal(r.returncode, 0, "curl")
    equal({(s.pid, s.path) for s in t.spans.find(kind=SERVER)}, {(chosen.pid, "/echo/chosen")}, "who served")
    equal({s.path for s in t.spans}, {"/echo/chosen"}, "paths")


def case_a_protocol_filter(env):
    r, shop = shared_redis(env), app(env, "shop.py")
    with env.trace(pids=[r.pid, shop.pid], args=["--protocol", "redis"]) as t:
        get(shop.port, "/echo/1")
        with Conn(("127.0.0.1", r.port)) as c:
            c.redis("PING")
    equal([s.attrs.get("db.system.name") for s in t.spans], ["redis"], "systems")


def is_removed(folder):
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def case_a_cgroup_filter(env):
    mount = next((line.split()[1] for line in open("/proc/mounts") if line.split()[2] == "cgroup2"), None)
    if not mount:
        raise Skip("no cgroup v2 mount")
    group = os.path.join(mount, f"telltale-test-{os.getpid()}")
    try:
        os.mkdir(group)
    except OSError as e:
        raise Skip(f"cannot make a cgroup: {e}") from None
    inside, outside = app(env, "shop.py"), app(env, "shop.py")
    try:
        with open(f"{group}/cgroup.procs", "w") as f:
            f.write(str(inside.pid))
        with env.trace(args=["--cgroup", "/" + os.path.basename(group)]) as t:
            get(outside.port, "/echo/out")
            get(inside.port, "/echo/in")
        equal([s.path for s in t.spans.find(kind=SERVER)], ["/echo/in"], "paths")
        os.mkdir(f"{group}/below")
        url = f"{need('curl')} -s -o /dev/null http://127.0.0.1:{outside.port}/echo"
        with env.trace(args=["--cgroup", "/" + os.path.basename(group)]) as t:
            get(outside.port, "/echo/0")
            r = env.run(["/bin/sh", "-c", f"{url}/1; echo $$ > {group}/below/cgroup.procs; {url}/2; /bin/sh -c '{url}/3; {url}/4'"])
            equal(r.returncode, 0, f"the shell below the group ({r.stderr})")
        equal(sorted((s.kind, s.path) for s in t.spans), [(CLIENT, f"/echo/{i}") for i in (2, 3, 4)], "of a group below and children")
    finally:
        inside.stop()
        for folder in (f"{group}/below", group):
            wait_for(lambda: is_removed(folder), f"{folder} to be empty")


def case_the_agent_never_traces_itself(env):
    """Everything on this machine is traced, the agent's own API is used, and not a span is its own."""
    endpoint = Endpoint()
    web = static_nginx(env)
    a = Agent(env, "--otlp-endpoint", f"http://127.0.0.1:{endpoint.port}")
    try:
        for _ in range(5):
            get(a.port, "/metrics")
        get(web.port, "/hello")
        wait_for(lambda: ("nginx" in [s for s, _ in endpoint.spans()]), "nginx's span")
        time.sleep(1.5)
        equal(a.finish(), 0, "exit status")
        # others of this name may run here, and are traced
        pids = endpoint.resources("process.pid")
        check(pids and a.pid not in pids, f"pid {a.pid} is among {pids}")
    finally:
        endpoint.close()
