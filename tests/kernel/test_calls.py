#!/usr/bin/env python3
"""Every request to the kernel, and every answer, fails once: during a rekey, a pairing, a start.

alpha runs with fault.so in front of libc (tests/fault/fault.c). A request that fails was not sent; an answer
that fails is lost, although the kernel has carried out the request. After each failure the pair must be
restored, with one SA in each direction, and no packet may have been unencrypted.
"""

import ctypes
import mmap
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import same_pair, wait_paired
from harness.control import Gone
from harness.kernel import main
from harness.netns import v4
from harness.settings import SAPAIR
from harness.tap import Failure, Skip, check, equal, has, test, until

for name in ("FAULT_ALL", "FAULT_TIMES"):  # only names with this prefix are passed into the kernel
    if name in os.environ:
        os.environ["SAPAIR_" + name] = os.environ[name]


KERNEL = 3
LIBRARY = os.path.join(os.path.dirname(SAPAIR), "fault.so")
FAST = {"switch_ms": 20, "drain_ms": 50, "rekey": {"min_interval_ms": 0}}
TIMES = int(os.environ.get("SAPAIR_FAULT_TIMES", "3"))
ALL = os.environ.get("SAPAIR_FAULT_ALL") == "1"


class Board(ctypes.Structure):
    _fields_ = [
        ("armed", ctypes.c_int32), ("fail_at", ctypes.c_int32), ("count", ctypes.c_int32),
        ("failed", ctypes.c_int32), ("live", ctypes.c_int64), ("name", ctypes.c_char * 16),
    ]


class Faulty:
    """alpha with fault injection, beta without."""

    def __init__(self, w):
        if not os.path.exists(LIBRARY):
            raise Skip("no fault.so: it is not for sanitizer builds")
        self.w = w
        path = w.path("board")
        with open(path, "w+b") as f:
            f.truncate(mmap.PAGESIZE)
            self.board = Board.from_buffer(mmap.mmap(f.fileno(), mmap.PAGESIZE))
        self.env = {"LD_PRELOAD": LIBRARY, "FAULT_FILE": path}
        self.a = w.agent("alpha", dict({"name": "beta", "address": v4("beta")}, **FAST))
        self.b = w.agent("beta", dict({"name": "alpha", "address": v4("alpha")}, **FAST)).start()

    def arm(self, n):
        self.board.failed = self.board.count = 0
        self.board.fail_at, self.board.armed = n, KERNEL

    def healed(self, what):
        """One verified pair, and nothing else in either kernel."""
        def look():
            if self.b.ask("verify", peer="alpha")[0] != 0:
                return False
            x, y = self.a.peer("beta"), self.b.peer("alpha")
            if x["held"] or y["held"]:
                self.b.ask("rekey", peer="alpha", timeout_ms=3000)
                return False
            return same_pair(x, y) and all(len(self.w.states(h)) == 2 for h in self.w.hosts)

        try:
            until(look, "one SA each way", 40)
        except Failure as f:
            raise Failure("after %s: %s" % (what, f))
        for h in self.w.hosts:
            equal(len(self.w.policies(h)), 4, "policies of %s after %s" % (h, what))

    def each(self, title, action):
        self.a.start(env=self.env)
        wait_paired(self.a, self.b)
        for _ in range(2):
            self.arm(0)
            rc, docs = action()
            equal(rc, 0, "exit without a fault: %s" % docs)
            total = self.board.count
            self.board.armed = 0
            self.healed("no fault")
        step = 1 if ALL else max(1, total // TIMES)
        names, told = {}, 0
        for n in range(random.randrange(step) + 1, total + 1, step):
            self.arm(n)
            rc, docs = action()
            self.board.armed = 0
            name = self.board.name.decode()
            if self.board.failed:
                names[name] = names.get(name, 0) + 1
                told += rc != 0
                check(rc == 0 or docs[-1].get("cause"), "no cause: %s" % docs)
            check(self.a.alive(), "alpha has ended")
            self.healed("%s, number %d of %s" % (name, n, title))
        print("# %s: %d calls to the kernel, failed: %s; %d of them were told" % (
            title, total, names, told))
        check(sum(names.values()) > 0, "nothing failed")


@test
def any_call_to_the_kernel_that_fails_in_a_rekey_is_survived(w):
    f = Faulty(w)
    f.each("a rekey", lambda: f.b.ask("rekey", peer="alpha", timeout_ms=3000))


@test
def any_call_to_the_kernel_that_fails_in_a_pairing_is_survived(w):
    f = Faulty(w)
    w.expect_clear = True  # down removes the policy at beta

    def again():
        f.b.ask("down", peer="alpha")
        return f.b.ask("up", peer="alpha", timeout_ms=10000)

    f.each("a pairing", again)


@test
def any_call_to_the_kernel_that_fails_at_the_start_ends_with_an_error_or_is_survived(w):
    f = Faulty(w)
    w.expect_clear = True  # while alpha does not run
    f.arm(0)
    f.a.start(env=f.env)
    total = f.board.count
    f.board.armed = 0
    f.healed("no fault")
    ends = {}
    step = 1 if ALL else max(1, total // TIMES)
    for n in range(random.randrange(step) + 1, total + 1, step):
        f.a.kill()
        f.arm(n)
        f.a.start(ready=False, env=f.env)
        until(lambda: f.a.process.poll() is not None or answers(f.a), "alpha runs, or has ended")
        f.board.armed = 0
        rc = f.a.process.poll()
        what = "%s, number %d of a start" % (f.board.name.decode(), n)
        end = "runs" if rc is None else "exit %d" % rc
        ends[end] = ends.get(end, 0) + 1
        if rc is not None:
            check(rc > 0, "%s: ended by signal %d" % (what, -rc))
            has(f.a.log(), "error", "log after " + what)
            f.a.start(env=f.env)
        wait_paired(f.a, f.b)
        f.healed(what)
    print("# a start: %d calls to the kernel; %s" % (total, ends))


def answers(agent):
    try:
        return agent.status()
    except Gone:
        return None


if __name__ == "__main__":
    main()
