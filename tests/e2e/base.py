# SPDX-License-Identifier: Apache-2.0
"""Results, checks and small helpers that everything else here builds on."""
import errno
import glob
import os
import random
import shutil
import socket
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
APPS = os.path.join(TOP, "tests", "e2e", "apps")
TELLTALE = os.environ.get("TELLTALE", os.path.join(TOP, "build", "telltale"))
PYTHON = "/usr/bin/python3"

# a guest without hardware acceleration is so much slower that all patience is stretched
SLOW = float(os.environ.get("E2E_SLOW", "1"))

# what is waited for comes soon, or the machine stands still for a while: a long wait costs nothing when it does not fail
PATIENCE = max(60.0, 10.0 * SLOW)

SERVER, CLIENT = 2, 3
STATUS_UNSET, STATUS_OK, STATUS_ERROR = 0, 1, 2


class Skip(Exception):
    """The machine lacks what the case needs."""


class Fail(AssertionError):
    """What the case found wrong."""


def check(condition, why):
    if not condition:
        raise Fail(why)


def equal(got, want, what):
    if got != want:
        raise Fail(f"{what}: got {got!r}, want {want!r}")


def need(*programs):
    """Paths of programs, or Skip."""
    found = []
    for p in programs:
        path = shutil.which(p, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if not path:
            raise Skip(f"no {p}")
        found.append(path)
    return found if len(found) > 1 else found[0]


def wait_for(condition, what, step=0.02):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Fail(f"waited {PATIENCE:g} s for {what}")
        time.sleep(step)


def ports_of_nobody():
    """Ports that the kernel gives to no client and to no listener that asks for any: in random order, each once."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        low, high = map(int, f.read().split())
    ports = [*range(10000, low), *range(high + 1, 65536)]
    random.shuffle(ports)
    yield from ports


PORTS = ports_of_nobody()


def free_port():
    """A port of TCP and UDP that is free on 127.0.0.1 and [::1] and stays so until somebody binds it by its number."""
    for port in PORTS:
        try:
            for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(family, kind) as s:
                        s.bind((address, port))
            return port
        except OSError as e:
            if e.errno != errno.EADDRINUSE:
                return port  # this machine has no IPv6
    raise Fail("every port is taken")


def can_connect(address, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(PATIENCE)
        try:
            s.connect(address)
            return True
        except OSError:
            return False


def files_of(folder):
    """(path, bytes) of every file. A running store closes logs and drops partitions: what is gone when it is opened is left out."""
    for path in glob.glob(os.path.join(folder, "**", "*"), recursive=True):
        try:
            with open(path, "rb") as f:
                yield path, f.read()
        except (FileNotFoundError, IsADirectoryError):
            pass
