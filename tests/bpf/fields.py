#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every struct and field of vmlinux/*.h must exist in the kernel's own types.

    fields.py [NAME BTF]...     default: the running kernel; one result line for each

clang compiles a variable of each type that the headers define and bpftool shows both sides, so no C
but the names is parsed here. A field may be missing when another variant of its struct (name___variant) is there whole: the
code then asks bpf_core_field_exists().
"""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BPFTOOL = next((p for p in ("/usr/sbin/bpftool", "/usr/bin/bpftool") if os.path.exists(p)), "bpftool")


def load(path):
    """{id: type} of a BTF file."""
    p = subprocess.run([BPFTOOL, "-j", "btf", "dump", "file", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if p.returncode:
        raise RuntimeError(p.stderr.decode(errors="replace").strip() or p.stdout.decode()[:200])
    return {t["id"]: t for t in json.loads(p.stdout)["types"]}


def members(types, record):
    """Names of a struct's fields; those of anonymous ones inside count as its own."""
    out = set()
    for m in record.get("members", []):
        if m["name"] not in ("(anon)", ""):
            out.add(m["name"])
            continue
        inner = types.get(m["type_id"])
        while inner and inner["kind"] in ("CONST", "VOLATILE", "TYPEDEF"):
            inner = types.get(inner["type_id"])
        if inner and inner["kind"] in ("STRUCT", "UNION"):
            out |= members(types, inner)
    return out


def records(types):
    """{name: set of fields} of structs and of typedefs of nameless ones; a name may come twice in a
    kernel (two files with their own struct): all fields count."""
    out = {}
    for t in types.values():
        name, record = t.get("name"), t
        if t["kind"] == "TYPEDEF":
            record = types.get(t["type_id"])
            if not record or record["kind"] not in ("STRUCT", "UNION") or record.get("name") not in ("(anon)", "", None):
                continue
        if record["kind"] in ("STRUCT", "UNION") and name and name != "(anon)":
            out.setdefault(name, set()).update(members(types, record))
    return out


def ours():
    text = "".join(open(f).read() for f in sorted(glob.glob(f"{TOP}/vmlinux/*.h") + glob.glob(f"{TOP}/vmlinux/arch/x86/*.h")))
    names = [f"struct {n}" for n in re.findall(r"^struct (\w+) {", text, re.M)] + re.findall(r"^} (\w+);", text, re.M)
    source = '#include "vmlinux.h"\n' + "".join(f"{n} variable_{i};\n" for i, n in enumerate(names))
    with tempfile.TemporaryDirectory() as d:
        obj = os.path.join(d, "types.o")
        p = subprocess.run(["clang", "-target", "bpf", "-D__TARGET_ARCH_x86", "-O2", "-g",
                            "-Ivmlinux", "-Iinclude", "-x", "c", "-c", "-o", obj, "-"], cwd=TOP,
                           input=source.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if p.returncode:
            raise RuntimeError(p.stdout.decode())
        return records(load(obj))


def compare(mine, kernel):
    missing = {name: sorted(fields - kernel.get(name.split("___")[0], set())) if name.split("___")[0] in kernel
               else ["(the whole struct)"] for name, fields in mine.items()}
    problems = []
    for name, fields in sorted(missing.items()):
        base = name.split("___")[0]
        variants = [n for n in mine if n != name and n.split("___")[0] == base]
        if fields and not any(not missing[v] for v in variants):
            problems += [f"struct {name}: {f}" for f in fields]
    return problems


def main():
    kernels = list(zip(sys.argv[1::2], sys.argv[2::2])) or [(os.uname().release, "/sys/kernel/btf/vmlinux")]
    try:
        mine = ours()
    except (RuntimeError, OSError) as e:
        print(f"FAIL bpf/fields: {str(e).splitlines()[0]}")
        return 1
    if len(mine) < 10:
        print(f"FAIL bpf/fields: only {len(mine)} structs seen in vmlinux/")
        return 1
    rc = 0
    for name, path in kernels:
        if not os.path.exists(path):
            print(f"SKIP bpf/fields/{name}: no {path}")
            continue
        problems = compare(mine, records(load(path)))
        if problems:
            rc = 1
            print(f"FAIL bpf/fields/{name}: {len(problems)} missing")
            for p in problems:
                print("  " + p)
        else:
            print(f"PASS bpf/fields/{name}")
    return rc


sys.exit(main())
