# SPDX-License-Identifier: Apache-2.0
"""Results, checks and small helpers that everything else here builds on."""
import glob
import os
import shutil
import socket
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
APPS = os.path.join(TOP, "tests", "e2e", "apps")
TELLTALE = os.environ.get("TELLTALE", os.path.join(TOP, "build", "telltale"))
PYTHON = "/usr/bin/python3"

# a guest without hardware acceleration is so much slower that all patience is stretched
SLOW = float(os.environ.get("E2E_SLOW", "1"))

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


def wait_for(condition, what, seconds=10.0, step=0.02):
    """Polls until condition() is true and returns its value."""
    seconds *= SLOW
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Fail(f"waited {seconds:g} s for {what}")
        time.sleep(step)


def free_port(family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        return s.getsockname()[1]


def can_connect(address, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(1)
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
