#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does our TraceQL parser accept what Grafana's grammar (npm: @grafana/lezer-traceql) accepts? One
query a line in queries.txt; what is well formed but means nothing, or is not evaluated, counts as
accepted: the grammar knows no types."""
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.join(TOP, "tests", "traceql")
QUERIES = os.path.join(HERE, "queries.txt")
ACCEPT = os.path.join(TOP, "build", "tests", "traceql", "accept")


def lines(command, cwd):
    p = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode:
        raise RuntimeError(p.stderr.strip() or f"{command[0]}: exit status {p.returncode}")
    return p.stdout.splitlines()


def main():
    npm = subprocess.run([os.path.join(TOP, "tests", "npm.sh")], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    if npm.returncode:
        why = npm.stderr.strip().splitlines()
        print("SKIP traceql/grammar: the npm packages cannot be had" + (f": {why[-1]}" if why else ""))
        return 0
    make = subprocess.run(["make", "-s", "-j2", os.path.relpath(ACCEPT, TOP)], cwd=TOP,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if make.returncode:
        print("FAIL traceql/grammar: the program does not build")
        print("".join("  " + l + "\n" for l in make.stdout.splitlines()[-20:]), end="")
        return 1
    with open(QUERIES, encoding="utf-8") as f:
        queries = f.read().splitlines()
    try:
        theirs = lines(["node", os.path.join(HERE, "grammar.js"), QUERIES], npm.stdout.strip())
    except FileNotFoundError:
        print("SKIP traceql/grammar: no node")
        return 0
    ours = lines([ACCEPT, QUERIES], TOP)
    wrong = [(q, t, o) for q, t, o in zip(queries, theirs, ours)
             if (t == "ok") == o.startswith("syntax")]
    if len(ours) != len(queries) or len(theirs) != len(queries):
        print("FAIL traceql/grammar: not every query was answered")
        return 1
    if wrong:
        print(f"FAIL traceql/grammar: {len(wrong)} of {len(queries)} queries")
        for q, t, o in wrong:
            print(f"  {q}\n    grammar: {t}, we: {o}")
        return 1
    print("PASS traceql/grammar")
    print(f"{len(queries)} queries, {theirs.count('ok')} of them valid")
    return 0


sys.exit(main())
