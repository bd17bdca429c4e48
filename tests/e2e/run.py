#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""End-to-end tests: real programs, traced by the real tracer.

    run.py [-k] [GLOB...]    cases whose name matches (default: all); -k keeps the temporary directory
"""
import fnmatch
import importlib
import os
import signal
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import lib  # noqa: E402


def cases():
    """(name, function) of every function case_NAME in the modules cases_*.py, in order of writing."""
    here = os.path.dirname(os.path.abspath(__file__))
    for f in sorted(os.listdir(here)):
        if f.startswith("cases_") and f.endswith(".py"):
            module = importlib.import_module(f[:-3])
            section = f[len("cases_"):-3]
            for key, value in vars(module).items():
                if key.startswith("case_") and callable(value):
                    yield f"e2e/{section}/{key[len('case_'):]}", value


def skip_all():
    if os.getuid() != 0:
        return "not root"
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        return "this kernel has no BTF"
    return None


def run(name, function, env):
    """One result line; True unless it failed."""
    begin = time.monotonic()
    mark = env.mark()
    try:
        note = function(env)
        print(f"PASS {name}" + (f" ({note})" if note else ""), flush=True)
        return True
    except lib.Skip as e:
        print(f"SKIP {name}: {e}", flush=True)
        return True
    except lib.Fail as e:
        lines = str(e).splitlines() or ["?"]
        where = [f for f in traceback.extract_tb(e.__traceback__) if "cases_" in f.filename]
        print(f"FAIL {name}: {lines[0]}")
        print("".join(f"  {l}\n" for l in lines[1:]), end="")
        if where:
            print(f"  at {os.path.basename(where[-1].filename)}:{where[-1].lineno}: {where[-1].line}")
    except Exception:
        print(f"FAIL {name}: the case itself broke")
        print("".join(f"  {l}\n" for l in traceback.format_exc().splitlines()[-12:]), end="")
    finally:
        env.stop_since(mark)
        print(f"{time.monotonic() - begin:.1f} s", flush=True)
    return False


def main():
    keep = "-k" in sys.argv[1:]
    globs = [a for a in sys.argv[1:] if a != "-k"]
    chosen = [(n, f) for n, f in cases() if not globs or any(fnmatch.fnmatch(n, f"*{g}*") for g in globs)]
    if not os.access(lib.TELLTALE, os.X_OK):
        print(f"FAIL e2e: there is no {os.path.relpath(lib.TELLTALE, lib.TOP)}")
        return 1
    why = skip_all()
    if why:
        print(f"SKIP e2e: {len(chosen)} cases: {why}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # a job in the background of a shell ignores SIGINT, and so would everything that is started here
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # what a user's shell may have set must not reach the programs under test
    for key in [k for k in os.environ if k.startswith(("OTEL_", "TELLTALE_", "PG")) or k.endswith(("_proxy", "_PROXY"))]:
        del os.environ[key]
    env = lib.Env()
    failed = 0
    try:
        for name, function in chosen:
            failed += not run(name, function, env)
    finally:
        if keep:
            for p in env.processes:
                p.stop()
            print(f"kept {env.dir}")
        else:
            env.close()
    return 1 if failed else 0


sys.exit(main())
