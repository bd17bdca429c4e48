#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A small shop of real programs that know nothing of tracing, a little load, and its traces.

    demo.py [--seconds N]

nginx in front of a python service, which asks Redis, a node service (which asks Redis too) and
PostgreSQL. Everything listens on loopback, lives in a temporary directory and is gone at the end
or at Ctrl-C.
"""
import argparse
import os
import signal
import subprocess
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "e2e"))
sys.dont_write_bytecode = True
import lib  # noqa: E402


def open_shop(env):
    """Starts the programs; (port of the front, pids of all)."""
    say("starting PostgreSQL, Redis, node, python, nginx ...")
    db, cache = lib.postgres(env), lib.redis(env)
    env.run(db.psql + ["-c", "CREATE TABLE customers (id int PRIMARY KEY, name text); "
                             "INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(0, 99) i"], env=db.env)
    prices = lib.app(env, "shop.js", "--redis", cache.port, environment={"OTEL_SERVICE_NAME": "prices"})
    orders = lib.app(env, "shop.py", "--redis", cache.port, "--upstream", prices.port, "--postgres", db.port,
                     environment={"OTEL_SERVICE_NAME": "orders"})
    front = lib.nginx(env, http=f"upstream orders {{ server 127.0.0.1:{orders.port}; keepalive 8; }}",
                      server="location / { proxy_pass http://orders; proxy_http_version 1.1; proxy_set_header Connection ''; }")
    return front.port, front.pids + [orders.pid, prices.pid, db.pid, cache.pid]


def say(text):
    print(f"\033[2m{text}\033[0m" if sys.stdout.isatty() else text, flush=True)


def customers(port, stop):
    """Orders now and then, until told to stop; some of them fail."""
    i = 1000
    with lib.http_conn(port) as c:
        while not stop.wait(0.4):
            i += 1
            c.get("/status/503" if i % 9 == 0 else "/missing" if i % 7 == 0 else f"/order/{i}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=15)
    opts = parser.parse_args()
    if os.getuid() != 0:
        print("demo: tracing needs root: sudo make demo", file=sys.stderr)
        return 1
    env = lib.Env()
    stop = threading.Event()
    tracer = None
    try:
        port, pids = open_shop(env)
        command = [lib.TELLTALE, "trace", "-p", ",".join(map(str, pids))]
        say("$ " + " ".join([os.path.relpath(lib.TELLTALE)] + command[1:]))
        say(f"the shop is open on http://127.0.0.1:{port}/order/1 for {opts.seconds:g} s; Ctrl-C ends it\n")
        tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        time.sleep(1)
        threading.Thread(target=customers, args=(port, stop), daemon=True).start()
        tracer.wait(opts.seconds)
        return tracer.returncode
    except subprocess.TimeoutExpired:
        return 0
    except KeyboardInterrupt:
        return 0
    except (lib.Fail, lib.Skip) as e:
        print(f"demo: {e}", file=sys.stderr)
        return 1
    finally:
        stop.set()
        if tracer and tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
            try:
                tracer.wait(10)
            except subprocess.TimeoutExpired:
                tracer.kill()
        env.close()


sys.exit(main())
