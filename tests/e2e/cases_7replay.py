# SPDX-License-Identifier: Apache-2.0
"""record and replay."""
import os
import stat

from lib import CLIENT, SERVER, TELLTALE, Record, app, check, equal, get, load, nginx, parse_otlp, shared_redis


def replay(env, file, name, **kw):
    out = env.path(name)
    r = env.run([TELLTALE, "replay", file, "--format", "otlp-json", "-o", out], **kw)
    equal((r.returncode, r.stdout), (0, ""), f"exit status and output of replay ({r.stderr[-400:]})")
    with open(out, "rb") as f:
        return f.read()


def recorded(env):
    """A recording of nginx, python and Redis with 30 requests."""
    file = env.path("shop.rec")
    if not os.path.exists(file):
        r = shared_redis(env)
        shop = app(env, "shop.py", "--redis", r.port)
        web = nginx(env, server=f"location /item/ {{ proxy_pass http://127.0.0.1:{shop.port}; }}")
        rec = Record(env, web.pids + [shop.pid, r.pid], file)
        load(web.port, [f"/item/{i}" for i in range(30)], 1)
        get(web.port, "/missing")
        equal(rec.finish(), 0, f"exit status of record ({rec.err()[-300:]})")
    return file


def case_twice_the_same_bytes(env):
    file = recorded(env)
    one, two = replay(env, file, "one.json"), replay(env, file, "two.json")
    check(one and one == two, f"two replays differ: {len(one)} and {len(two)} bytes")


def case_the_same_spans_as_live(env):
    spans = parse_otlp(replay(env, recorded(env), "spans.json").decode())
    front = spans.find(kind=SERVER, service="nginx")
    equal(len(front), 31, "spans of the front")
    equal(len(spans.find(kind=CLIENT, db__operation__name="GET")), 30, "calls of Redis")
    for s in spans.find(kind=CLIENT, service="nginx"):
        check(spans.parent(s) in front and spans.parent(s).path == s.path, f"parent of {s}: {spans.parent(s)}")


def case_the_file_is_its_owners_alone(env):
    equal(stat.S_IMODE(os.stat(recorded(env)).st_mode), 0o600, "mode")


def case_without_privileges(env):
    file = recorded(env)
    copy = env.path("copy.rec")
    with open(file, "rb") as f, open(copy, "wb") as g:
        g.write(f.read())
    os.chmod(copy, 0o644)
    folder = env.path("nobody")
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o777)
    mine = replay(env, file, "root.json")
    out = replay(env, copy, "nobody/out.json", user=65534, group=65534, extra_groups=[])
    check(out == mine, "differs from what root gets")


def case_a_tree_of_a_recording(env):
    r = env.run([TELLTALE, "replay", recorded(env)])
    equal(r.returncode, 0, f"exit status ({r.stderr})")
    check("nginx" in r.stdout and "GET" in r.stdout, f"no tree: {r.stdout[:300]!r}")


def case_spoilt_files(env):
    file = recorded(env)
    with open(file, "rb") as f:
        data = f.read()
    for name, spoilt in (("empty", b""), ("noise", os.urandom(5000)), ("cut", data[:len(data) // 2 + 3]),
                         ("text", b"hello\n" * 100), ("tail", data + b"\xff" * 77)):
        path = env.write(f"{name}.rec", spoilt)
        r = env.run([TELLTALE, "replay", path, "--format", "otlp-json", "-o", env.path("spoilt.json")])
        check(0 < r.returncode < 126, f"{name}: exit status {r.returncode}")
        check(path in r.stderr and len(r.stderr.strip().splitlines()) == 1, f"{name}: says {r.stderr!r}")
    # flipped bytes: anything but a crash or a hang
    for i in range(20):
        bad = bytearray(data)
        for at in range(i * 37 + 16, len(bad), 499):
            bad[at] ^= 0x55
        r = env.run([TELLTALE, "replay", env.write("flip.rec", bytes(bad)), "--format", "otlp-json", "-o", "/dev/null"])
        check(0 <= r.returncode < 126, f"flipped {i}: exit status {r.returncode} {r.stderr[-300:]}")
