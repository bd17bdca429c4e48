# SPDX-License-Identifier: Apache-2.0
"""What deploy/ says is enough for the program: rights, read-only places, flags, libraries."""
import json
import os
import re
import shutil

from cases_9store import ask, post, request, there
from lib import (TELLTALE, TOP, Agent, Gateway, Skip, certificate, check, equal, files_of, free_port, get, need, nginx,
                 wait_for)

# all is read-only but one folder, as in a container
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro / && shift && exec "$@"'
NOBODY = 65532


def texts():
    return {os.path.basename(path): text.decode() for path, text in files_of(os.path.join(TOP, "deploy"))}


def words(pattern, name):
    """What the first group of a pattern found in one of deploy's files, in words."""
    found = re.search(pattern, texts()[name], re.M)
    check(found, f"nothing like {pattern} in deploy/{name}")
    return re.findall(r"[^\s,]+", found[1])


def confined(env, *setpriv):
    """The command that runs another one in a read-only system, with these rights."""
    inside = [need("unshare"), "-m", "--propagation", "private", "sh", "-c", READ_ONLY, "sh", env.dir]
    if env.run([*inside, "true"]).returncode:
        raise Skip("no mount namespace of one's own can be made here")
    return [*inside, need("setpriv"), "--no-new-privs", "--inh-caps=-all", *setpriv]


def only(capabilities):
    return "--bounding-set=-all" + "".join(f",+{c.lower().removeprefix('cap_')}" for c in capabilities)


def captures(env, inside):
    """An agent there traces a web server that is outside, also what goes through TLS."""
    cert, key = certificate(env)
    port = free_port()
    web = nginx(env, http=f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {cert}; ssl_certificate_key {key}; "
                          f"location / {{ return 200 'ok'; }} }}")
    a = Agent(env, "--pid", ",".join(map(str, web.pids)), inside=inside)
    get(web.port, "/hello")
    r = env.run([need("curl"), "-s", "--cacert", cert, f"https://localhost:{port}/secret"])
    equal(r.stdout, "ok", "curl's answer")

    def names():
        return sorted(m["name"] for t in ask(a.port, "/traces/search", {"service": "nginx"})[1]["traces"]
                      for m in t["matched_spans"])
    wait_for(lambda: names() == ["GET /hello", "GET /secret"], "both spans", 15)
    equal(a.finish(), 0, f"exit status ({a.err()[-500:]})")
    equal([line for line in a.err().splitlines() if "warn" in line or "error" in line], [], "complaints")


def case_the_rights_of_the_daemonset_suffice(env):
    captures(env, confined(env, only(words(r"add: \[(.*)\]", "daemonset.yaml"))))


def case_the_rights_of_the_unit_suffice(env):
    captures(env, confined(env, only(words(r"^CapabilityBoundingSet=(.*)$", "telltale.service"))))


def case_a_missing_right_is_told(env):
    rights = [c for c in words(r"add: \[(.*)\]", "daemonset.yaml") if c != "SYS_PTRACE"]
    inside = confined(env, only(rights))
    a = Agent(env, inside=inside)
    equal(a.finish(), 0, "exit status")
    check("CAP_SYS_PTRACE" in a.err(), f"it says: {a.err()!r}")
    found = json.loads(env.run([*inside, TELLTALE, "doctor", "--json"]).stdout)["checks"]
    equal([c["ok"] for c in found if c["name"] == "ptrace"], [False], "doctor's row")


def case_the_gateway_needs_no_rights(env):
    store = env.path("store")
    os.mkdir(store)
    os.chown(store, NOBODY, NOBODY)
    inside = confined(env, only(words(r"^CapabilityBoundingSet=(.*)$", "telltale-gateway.service")),
                      f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    g = Gateway(env, "--store", store, inside=inside)
    trace, body = request(1)
    equal(post(g.http, body)[0], 200, "status")
    there(g.port, trace, 10)
    equal(g.finish(), 0, f"exit status ({g.err()[-500:]})")


def case_flags_exist(env):
    for name in ("daemonset.yaml", "gateway.yaml"):
        command, *args = words(r"args: \[(.*)\]", name)
        known = env.run([TELLTALE, command, "--help"]).stdout
        for flag in (a for a in args if a.startswith("--")):
            check(re.search(rf"{flag}\b", known), f"{flag} of deploy/{name} is not known to {command}")


def case_the_image_has_the_libraries(env):
    """Those that the program is linked with, and the authorities of TLS; nothing else."""
    if not shutil.which("dpkg-query"):
        raise Skip("not a Debian system")
    needed, files = env.run([need("readelf"), "-d", TELLTALE]).stdout, []
    for line in env.run([need("ldd"), TELLTALE]).stdout.splitlines():
        name, _, path = line.strip().partition(" => ")
        if f"[{name}]" in needed and path:
            real = os.path.realpath(path.split()[0])
            files += [real, real.removeprefix("/usr")]
    packages = {line.split(":")[0] for line in env.run(["dpkg-query", "-S", *files]).stdout.splitlines()}
    image = re.search(r"ca-certificates\s+([\w\s.\\-]+?)&&", texts()["Dockerfile"])[1].replace("\\", " ").split()
    equal(sorted(image), sorted(packages - {"libc6"}), "packages of the image")


def case_units_are_well_formed(env):
    verify = need("systemd-analyze")
    for name, text in texts().items():
        if name.endswith(".service"):
            unit = env.write(name, text.replace("/usr/local/bin/telltale", TELLTALE))
            r = env.run([verify, "verify", "--man=no", unit])
            mine = [line for line in (r.stdout + r.stderr).splitlines() if name in line]
            equal(mine, [], f"what systemd says of {name}")
