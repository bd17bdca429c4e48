#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The house rules that a program can check: format, static analysis, who includes whom, budgets,
licence lines. One result line a rule.

    check.py [RULE...]      default: all of RULES
"""
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# What a room may include besides its own folder, core/, include/ and the system's headers.
# A name with a slash is one header, one without is a whole room.
MAY_INCLUDE = {
    "core": [],
    "config": [],
    "ring": [],
    "stream": ["ring"],
    "proto": ["stream", "span/span.h"],
    "span": ["proto"],
    "redact": ["span/span.h"],
    "trace": ["span/span.h"],
    "analyze": ["span/span.h"],
    "store": ["span/span.h", "trace"],
    "receive": ["span/span.h"],
    "export": ["span/span.h"],
    "discover": ["ring"],
    "probe": ["ring"],
    "api": ["span/span.h", "trace", "store/store.h", "store/query.h", "export/export.h"],
    "cli": ["trace"],
    # the files beside main.c put the rooms together
    "user": None,
}
# Generated headers that belong to one room.
GENERATED = {"telltale.skel.h": "probe", ".pb-c.h": "export"}

FUNCTION_MAX = 60
SWITCH_MAX = 100
FILE_MAX = 600
MAIN_MAX = 80

failures = 0


def result(name, problems):
    global failures
    if problems:
        failures += 1
        print(f"FAIL style/{name}: {len(problems)} problem(s)")
        for p in problems[:60]:
            print("  " + p)
    else:
        print(f"PASS style/{name}")


def tracked(*suffixes):
    """Files of the tree that git knows or would know, with one of the suffixes."""
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                         cwd=TOP, stdout=subprocess.PIPE, text=True)
    if out.returncode == 0 and out.stdout:
        files = out.stdout.splitlines()
    else:  # a tree without git: an unpacked archive
        files = [os.path.relpath(os.path.join(d, f), TOP) for d, dirs, fs in os.walk(TOP) for f in fs
                 if not os.path.relpath(d, TOP).startswith(("build", ".git"))]
    return sorted(f for f in files if f.endswith(suffixes) and os.path.isfile(os.path.join(TOP, f)))


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def check_format():
    p = subprocess.run(["make", "-s", "check-format"], cwd=TOP, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True)
    if p.returncode == 127 or "not found" in p.stdout:
        print("SKIP style/format: no clang-format")
        return
    result("format", [l for l in p.stdout.splitlines() if "warning:" in l or "error:" in l] or
           (["make check-format failed"] if p.returncode else []))


def check_cppcheck():
    try:
        p = subprocess.run(["cppcheck", "--quiet", "--enable=warning,portability", "--inline-suppr",
                            "--suppressions-list=tests/style/cppcheck.txt", "--error-exitcode=1",
                            "--std=c11", "--language=c", "-j2", "-Iinclude", "-Iuser", "-D__x86_64__=1", "--include=/usr/include/uthash.h", "--include=/usr/include/utlist.h",
                            "--template={file}:{line}: {id}: {message}", "user"],
                           cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        print("SKIP style/cppcheck: no cppcheck")
        return
    result("cppcheck", p.stdout.splitlines() if p.returncode else [])


def check_includes():
    problems = []
    own_headers = set(tracked(".h"))
    for path in tracked(".c", ".h"):
        if not path.startswith("user/"):
            continue
        room = os.path.dirname(path).split("/")[-1]
        if room not in MAY_INCLUDE:
            problems.append(f"{path}: room '{room}' has no row in MAY_INCLUDE")
            continue
        for num, line in enumerate(read(path).splitlines(), 1):
            m = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
            if not m:
                continue
            what, owner = m.group(1), None
            for suffix, r in GENERATED.items():
                if what.endswith(suffix):
                    owner = r
            if owner is None:
                if "user/" + what in own_headers:
                    owner = what.split("/")[0]
                elif "/" not in what and os.path.dirname(path) + "/" + what in own_headers:
                    owner = room
            allowed = MAY_INCLUDE[room]
            if owner in (None, "core", room) or allowed is None or owner in allowed or what in allowed:
                continue
            problems.append(f"{path}:{num}: room '{room}' may not include {what}")
    for path in tracked(".bpf.c", ".bpf.h"):
        if path.startswith("bpf/"):
            for num, line in enumerate(read(path).splitlines(), 1):
                if re.match(r'\s*#\s*include\s*[<"](sys/|std(io|lib)|string\.h|user/)', line):
                    problems.append(f"{path}:{num}: {line.strip()}")
    result("includes", problems)


def functions(lines):
    """(name, first line, last line) of each function: clang-format puts their braces in column 0."""
    i = 0
    while i < len(lines):
        if lines[i] == "{" and i > 0:
            first = i - 1
            while first > 0 and lines[first - 1] and not re.match(r"[}#/]| \*|.*;$", lines[first - 1]):
                first -= 1
            last = i
            while last < len(lines) and not re.match(r"}", lines[last]):
                last += 1
            head = " ".join(lines[first:i])
            name = re.search(r"(?:BPF_\w+|SEC)\([^()]*\)\s*\S*\s*BPF_\w+\((\w+)|BPF_\w+\((\w+)|(\w+)\s*\(", head)
            yield next((g for g in name.groups() if g), "?") if name else "?", first, last
            i = last
        i += 1


def is_flat_switch(body):
    """Nearly all of the function is one switch whose cases do not nest deeper than one block."""
    text = "\n".join(body)
    m = re.search(r"^\tswitch \(", text, re.M)
    if not m:
        return False
    begin = text[:m.start()].count("\n")
    end = next((i for i in range(begin + 1, len(body)) if body[i] == "\t}"), len(body))
    outside = begin + len(body) - end
    deepest = max(len(l) - len(l.lstrip("\t")) for l in body[begin:end])
    return outside <= 25 and deepest <= 3


def excused(lines, first):
    """A comment `over budget: reason` in the comment right above."""
    i = first - 1
    while i >= 0 and re.match(r"\s*(/\*|\*|//)|.*\*/\s*$", lines[i]):
        if re.search(r"over budget: \w", lines[i]):
            return True
        i -= 1
    return False


def check_budgets():
    problems = []
    for path in tracked(".c", ".h"):
        if not path.startswith(("user/", "bpf/", "include/", "tests/")):
            continue
        lines = read(path).splitlines()
        if len(lines) > FILE_MAX and not any("over budget: " in l for l in lines[:12]):
            problems.append(f"{path}: {len(lines)} lines (at most {FILE_MAX})")
        for name, first, last in functions(lines):
            size = last - first + 1
            limit = MAIN_MAX if name == "main" else FUNCTION_MAX
            if size > limit and size <= SWITCH_MAX and is_flat_switch(lines[first:last + 1]):
                continue
            if size > limit and not excused(lines, first):
                problems.append(f"{path}:{first + 1}: {name}() has {size} lines (at most {limit})")
    result("budgets", problems)


def check_spdx():
    problems = []
    for path in tracked(".c", ".h", ".sh", ".py", ".js", ".proto", "Makefile", "tests/run", ".ci/run",
                        "tests/vm/init"):
        want = "GPL-2.0-only OR BSD-2-Clause" if path.startswith(("bpf/", "include/", "vmlinux/")) else "Apache-2.0"
        head = read(path).splitlines()[:2]
        if not any("SPDX-License-Identifier: " + want in l for l in head):
            problems.append(f"{path}: no line `SPDX-License-Identifier: {want}` at its top")
    result("spdx", problems)


def check_unfinished():
    problems = []
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    for path in tracked(".c", ".h", ".sh", ".py", ".js", ".proto", "Makefile", ".md", ".yaml", ".yml"):
        for num, line in enumerate(read(path).splitlines(), 1):
            if words.search(line):
                problems.append(f"{path}:{num}: {line.strip()[:80]}")
    result("unfinished", problems)


def check_deps():
    """The table of packages reads as meant: what bash complains of does not stop deps.sh."""
    p = subprocess.run(["tests/deps.sh", "list"], cwd=TOP, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True)
    rows = p.stdout.splitlines()
    problems = [l for l in rows if not re.match(r"(build|test) +[a-z0-9.+-]+ +\S", l)]
    if not any(l.startswith("build ") for l in rows) or p.returncode:
        problems.append(f"tests/deps.sh list: {len(rows)} rows, exit status {p.returncode}")
    result("deps", problems)


RULES = {"format": check_format, "cppcheck": check_cppcheck, "includes": check_includes,
         "budgets": check_budgets, "spdx": check_spdx, "unfinished": check_unfinished,
         "deps": check_deps}


def main():
    for rule in sys.argv[1:] or RULES:
        if rule not in RULES:
            print(f"check.py: no rule '{rule}'; there are: {' '.join(RULES)}", file=sys.stderr)
            return 2
        RULES[rule]()
    return 1 if failures else 0


sys.exit(main())
