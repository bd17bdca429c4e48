#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads `telltale doctor --json`; one result line a backend that must work and a program.

    telltale doctor --json | loaded.py NAME [BACKEND...]

Without BACKEND: a backend that this kernel does not grant is a SKIP with the report's reason; so is
a program, unless it belongs to the core. Programs of backends that were not chosen are left out.
"""
import json
import sys


def verdict(test, ok, reason, must):
    """Prints a line; True unless it is a FAIL."""
    if ok:
        print(f"PASS {test}")
    elif must or not reason:
        print(f"FAIL {test}: {reason or 'neither there nor explained'}")
        return False
    else:
        print(f"SKIP {test}: {reason}")
    return True


def main():
    name, must = sys.argv[1], sys.argv[2:]
    try:
        report = json.load(sys.stdin)
        backends, programs = report["backends"], report["programs"]
    except (ValueError, KeyError, TypeError) as e:
        print(f"FAIL bpf/load/{name}: `telltale doctor --json` cannot be read: {e!r}")
        return 1
    good = True
    for b in backends:
        if b["name"] in must or not must:
            good &= verdict(f"bpf/load/{name}/backend {b['name']}", b["ok"], b["reason"], b["name"] in must)
    for p in programs:
        reason = p["reason"] or ""
        if reason != "not needed by this choice":
            good &= verdict(f"bpf/load/{name}/{p['name']}", p["loaded"], reason, p["group"] == "core")
    if not any(p["loaded"] for p in programs):
        print(f"FAIL bpf/load/{name}: not one program is loaded")
        good = False
    return 0 if good else 1


sys.exit(main())
