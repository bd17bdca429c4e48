# SPDX-License-Identifier: Apache-2.0
"""What is wrong is said in one clear line, with a fitting exit status."""
import json
import os
import signal

from lib import TELLTALE, Record, Skip, Trace, check, equal, get, load, static_nginx, wait_for


def refuses(env, args, *words, status=None, environment=None, **kw):
    r = env.run([TELLTALE] + [str(a) for a in args], env=environment, **kw)
    check(0 < r.returncode < 126 or r.returncode == status, f"{args}: exit status {r.returncode}, said {r.stderr!r}")
    if status is not None:
        equal(r.returncode, status, f"exit status of {args}")
    lines = r.stderr.strip().splitlines()
    check(1 <= len(lines) <= 2, f"{args}: {len(lines)} lines: {r.stderr!r}")
    for w in words:
        check(str(w) in r.stderr, f"{args}: {w!r} is not in {r.stderr!r}")
    equal(r.stdout, "", f"standard output of {args}")
    return r.stderr


def case_unknown_options_and_values(env):
    refuses(env, ["trace", "--no-such-option"], "--no-such-option")
    refuses(env, ["nosuchcommand"], "nosuchcommand")
    refuses(env, ["trace", "--format", "xml", "-p", "1"], "xml", "otlp-json")
    refuses(env, ["trace", "-p", "abc"], "abc")
    refuses(env, ["run", "--capture-bytes", "99999999"], "99999999")
    refuses(env, ["run", "--listen", "nonsense"], "nonsense")
    refuses(env, ["replay"], "FILE")


def case_output_that_cannot_be_written(env):
    refuses(env, ["trace", "-o", "/nonexistent/dir/out", "--", "/bin/true"], "/nonexistent/dir/out")
    refuses(env, ["record", "-o", "/nonexistent/dir/out", "-p", os.getpid()], "/nonexistent/dir/out")


def case_a_full_disk(env):
    web = static_nginx(env)
    t = env.trace(pids=web.pids, file="/dev/full")
    get(web.port, "/hello")
    if t.alive():
        t.popen.send_signal(signal.SIGINT)
    status = t.wait()
    check(0 < status < 126, f"exit status {status}")
    check("No space left" in t.err() and "/dev/full" in t.err(), f"says: {t.err()!r}")


def case_a_full_disk_for_a_recording(env):
    web, disk = static_nginx(env), env.path("disk")
    os.makedirs(disk)
    r = env.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk])
    if r.returncode:
        raise Skip(f"mount: {r.stderr.strip()}")
    rec = None
    try:
        rec = Record(env, web.pids, f"{disk}/file")
        load(web.port, [f"/hello?{'x' * 300}{i}" for i in range(400)], 2)
        equal(rec.wait(), 125, f"exit status ({rec.err()!r})")
        check(len(rec.err().strip().splitlines()) == 1 and f"{disk}/file: No space left" in rec.err(), f"says: {rec.err()!r}")
        r = env.run([TELLTALE, "replay", f"{disk}/file", "-o", env.path("cut.json"), "--format", "otlp-json"])
        equal((r.returncode, r.stderr), (0, ""), "replay of what was written")
    finally:
        if rec:
            rec.stop()
        env.run(["umount", disk])


def case_a_pid_that_is_not_there(env):
    dead = env.start(["/bin/true"])
    dead.wait()
    refuses(env, ["trace", "-p", dead.pid], dead.pid)


def case_a_pid_that_dies(env):
    p = env.start(["/bin/sleep", "60"])
    t = env.trace(pids=[p.pid])
    p.stop(signal.SIGKILL)
    equal(t.wait(), 0, f"exit status once nothing is left to trace ({t.err()})")


def case_configuration_errors_name_the_line(env):
    good = "listen: 127.0.0.1:0\n"
    for text, line, words in ((good + "no-such-key: 1\n", 2, ["no-such-key"]),
                              (good + "\ncapture-bytes: lots\n", 3, ["capture-bytes", "lots"]),
                              ("listen: [1, 2\n", None, []),
                              ("tls: maybe\n", 1, ["tls", "maybe"])):
        path = env.write("bad.yaml", text)
        said = refuses(env, ["run", "--config", path], path, *words)
        check(line is None or f":{line}" in said or f"line {line}" in said, f"no line {line} in {said!r}")
    refuses(env, ["run", "--config", "/nonexistent.yaml"], "/nonexistent.yaml")


def case_environment_errors_name_the_variable(env):
    refuses(env, ["run"], "TELLTALE_CAPTURE_BYTES", environment=dict(os.environ, TELLTALE_CAPTURE_BYTES="many"))


def case_without_privileges(env):
    who = {"user": 65534, "group": 65534, "extra_groups": []}
    for args in (["trace", "-p", "1"], ["run"], ["record", "-o", "/tmp/x.rec"], ["trace", "--", "/bin/true"]):
        said = refuses(env, args, **who)
        check(any(w in said for w in ("root", "sudo", "CAP_", "privilege")), f"what to do is not said: {said!r}")
    r = env.run([TELLTALE, "doctor", "--json"], **who)
    check(r.stdout.strip().startswith("{"), f"doctor without privileges: {r.stdout!r} {r.stderr!r}")


def case_a_backend_that_this_kernel_refuses(env):
    """The reason is the kernel's, and what is said to do helps."""
    report = json.loads(env.run([TELLTALE, "doctor", "--json"]).stdout)
    refused = [b for b in report["backends"] if not b["ok"]]
    if not refused:
        raise Skip("every backend works here")
    said = refuses(env, ["trace", "--capture", refused[0]["name"], "--", "/bin/true"], refused[0]["name"],
                   report["kernel"], "another --capture", status=125)
    check("5.8 or newer" not in said, f"a newer kernel is asked for on {report['kernel']}: {said!r}")
    equal(env.run([TELLTALE, "trace", "--capture", report["backend"], "--", "/bin/true"]).returncode, 0, "the other backend")


class Piped(Trace):
    """A shell's command line in which a tracer says that it is ready."""

    def __init__(self, env, line):
        self.fmt = self.file = None
        self.start(env, ["/bin/sh", "-c", line], "sh")
        self.wait_ready()


def case_standard_output_closed_early(env):
    web = static_nginx(env)
    t = Piped(env, f"{TELLTALE} trace -p {web.pids[-1]} --format otlp-json -o - | head -c 1")
    wait_for(lambda: get(web.port, "/hello") and not t.alive(), "the tracer to end")
    check("Segmentation" not in t.err() and "Aborted" not in t.err(), f"says: {t.err()!r}")


def case_help(env):
    for args in (["--help"], ["help"], ["trace", "--help"], ["run", "--help"], ["replay", "--help"]):
        r = env.run([TELLTALE] + args)
        equal((r.returncode, r.stderr), (0, ""), f"{args}")
        check(5 < len(r.stdout.splitlines()) <= 40, f"{args}: {len(r.stdout.splitlines())} lines")
    r = env.run([TELLTALE, "--version"])
    check(r.returncode == 0 and "telltale" in r.stdout, f"version: {r.stdout!r}")
