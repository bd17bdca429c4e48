#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds and runs the unit tests, with --san under ASan and UBSan; one result line a test."""
import glob
import os
import re
import subprocess
import sys

SAN = "--san" in sys.argv[1:]
BUILD = "build/san" if SAN else "build"
PREFIX = "san" if SAN else "unit"
LIMIT_S = 120


def make():
    command = ["make", "-s", "-k", "-j2", "unit-build"] + (["SAN=1"] if SAN else [])
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return p.returncode, p.stdout


def results(output):
    """(kind, name, why) of each TAP line; cmocka 1.1 writes `ok 1 - name`, `ok 2 # SKIP name`."""
    for line in output.splitlines():
        m = re.match(r"(not )?ok \d+(?: -)?\s*(.*)", line)
        if not m:
            continue
        text = m.group(2)
        skip = re.search(r"#\s*SKIP\s*(.*)", text)
        # a skipped one is `not ok 2 # SKIP name` there
        if skip:
            yield "SKIP", text[:skip.start()].strip() or skip.group(1), ""
        elif m.group(1):
            yield "FAIL", text, "assertion failed"
        else:
            yield "PASS", text, ""


def indent(text, lines=60):
    return "".join("  " + l + "\n" for l in text.splitlines()[-lines:])


def run_binary(path, suite):
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP",
               ASAN_OPTIONS="detect_leaks=1:abort_on_error=0", UBSAN_OPTIONS="print_stacktrace=1")
    try:
        p = subprocess.run([path], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           stdin=subprocess.DEVNULL, timeout=LIMIT_S, errors="replace", text=True)
        status, output = p.returncode, p.stdout
    except subprocess.TimeoutExpired as e:
        output = (e.stdout or b"").decode(errors="replace")
        status = None
    counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}
    reasons = [l for l in output.splitlines() if l.startswith("SKIP")]
    for kind, name, why in results(output):
        counts[kind] += 1
        if kind == "SKIP":
            why = reasons.pop(0)[4:].strip(" :") if reasons else "the test says so"
        print(f"{kind} {suite}/{name}" + (f": {why}" if why else ""))
        if kind == "FAIL":
            print(indent(output), end="")
    # cmocka stops at a crash: the plan tells how many there should have been
    plan = sum(int(n) for n in re.findall(r"^1\.\.(\d+)", output, re.M))
    seen = sum(counts.values())
    if status is None:
        print(f"FAIL {suite}: not done after {LIMIT_S} s\n" + indent(output), end="")
    elif seen == 0 or seen < plan or (status != 0 and counts["FAIL"] == 0):
        print(f"FAIL {suite}: exit status {status} after {seen} of {plan} tests\n" + indent(output), end="")
        return False
    return status == 0


def main():
    built, output = make()
    ok = True
    sources = sorted(glob.glob("tests/unit/*/*_test.c"))
    for src in sources:
        suite = PREFIX + "/" + src[len("tests/unit/"):-len("_test.c")]
        binary = BUILD + "/" + src[:-2]
        if built and subprocess.run(["make", "-q", binary] + (["SAN=1"] if SAN else []),
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            print(f"FAIL {suite}: does not build")
            ok = False
            continue
        ok = run_binary(binary, suite) and ok
    if built:
        print(f"FAIL {PREFIX}: the build of the unit tests failed\n" + indent(output), end="")
    if not sources:
        print(f"SKIP {PREFIX}: there are no unit tests")
    return 0 if ok and not built else 1


sys.exit(main())
