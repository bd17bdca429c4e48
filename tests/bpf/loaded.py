#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads `telltale doctor --json`; one result line a program: loaded, or absent with a reason.

    telltale doctor --json | loaded.py NAME [GROUP...]    GROUP: must be loaded whole

A program whose group this kernel cannot have is a SKIP; one that its verifier refused is a FAIL.
"""
import json
import sys


def main():
    name, must = sys.argv[1], set(sys.argv[2:]) | {"core"}
    try:
        report = json.load(sys.stdin)
        programs = report["programs"]
    except (ValueError, KeyError, TypeError) as e:
        print(f"FAIL bpf/load/{name}: `telltale doctor --json` cannot be read: {e!r}")
        return 1
    rc = 0
    for p in programs:
        test = f"bpf/load/{name}/{p.get('group')}/{p['program']}"
        reason = p.get("reason") or ""
        if p.get("loaded"):
            print(f"PASS {test}")
        elif not reason:
            print(f"FAIL {test}: neither loaded nor explained")
            rc = 1
        elif "verifier" in reason.lower() or p.get("group") in must and not p.get("optional"):
            print(f"FAIL {test}: {reason}")
            rc = 1
        else:
            print(f"SKIP {test}: {reason}")
    if not programs:
        print(f"FAIL bpf/load/{name}: no programs in the report")
        rc = 1
    return rc


sys.exit(main())
