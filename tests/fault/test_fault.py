#!/usr/bin/env python3
"""Every allocation and every system call of an agent fails once.

alpha runs with fault.so (tests/fault/fault.c) in front of libc; beta runs without. For n = 1, 2, ... the
n-th call of alpha fails while beta asks for a rekey or a pair. Then the injection stops, and both must have
the same pair in force, and an error that names the failure if the request failed. At the end no SA, no
descriptor and no allocation may be left.

By default only some calls fail, spread evenly from a random start. FAULT_TIMES=n sets their number;
FAULT_ALL=1 selects all.
"""

import contextlib
import ctypes
import mmap
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_paired, wait_single_pair
from harness.control import Gone
from harness.lab import Lab
from harness.settings import LIMIT, SAPAIR
from harness.tap import Failure, Skip, check, equal, main, test, until

LIBRARY = os.path.join(os.path.dirname(SAPAIR), "fault.so")
FAST = {"defaults": {"rekey": {"min_interval_ms": 0}, "drain_ms": 50, "switch_ms": 20}}
ALLOC, CALL = 1, 2
BACK = 40  # seconds until the pair is restored
TIMES = int(os.environ.get("FAULT_TIMES", "12"))  # failures of one kind in one scenario
ALL = os.environ.get("FAULT_ALL") == "1"


class Board(ctypes.Structure):
    _fields_ = [
        ("armed", ctypes.c_int32), ("fail_at", ctypes.c_int32), ("count", ctypes.c_int32),
        ("failed", ctypes.c_int32), ("live", ctypes.c_int64), ("name", ctypes.c_char * 16),
    ]


def with_board(lab, agent):
    """The agent's environment, and the memory that it shares with the test."""
    if not os.path.exists(LIBRARY):
        raise Skip("no %s: it is not for sanitizer builds" % os.path.basename(LIBRARY))
    path = lab.path("board")
    with open(path, "w+b") as f:
        f.truncate(mmap.PAGESIZE)
        board = Board.from_buffer(mmap.mmap(f.fileno(), mmap.PAGESIZE))
    agent.start(ready=False, env={"LD_PRELOAD": LIBRARY, "FAULT_FILE": path})
    return board


def descriptors(agent):
    return len(os.listdir("/proc/%d/fd" % agent.pid))


class Scenario:
    def __init__(self, lab, role):
        self.lab = lab
        self.a = lab.agent("alpha", lab.peer_of("beta", role=role[0]), log="info", **FAST)
        self.b = lab.agent("beta", lab.peer_of("alpha", role=role[1]), log="info", **FAST)
        self.board = with_board(lab, self.a)
        self.b.start()
        self.a.wait_ready()
        wait_paired(self.a, self.b)

    def rest(self):
        """Waits until both are idle, with one pair and filled caches."""
        def verified():
            """A failed verification is not repeated automatically."""
            return self.b.ask("verify", peer="alpha")[0] + self.a.ask("verify", peer="beta")[0] == 0

        until(verified, "the pair carries traffic", limit=BACK)

        def settled():
            """An inbound SA that the peer may use is kept until a newer pair is confirmed (I6)."""
            if self.a.peer("beta")["held"] + self.b.peer("alpha")["held"] == 0:
                return True
            self.b.ask("rekey", peer="alpha", timeout_ms=3000)
            time.sleep(0.2)
            return False

        until(settled, "no superseded SA is left", limit=BACK)
        wait_paired(self.a, self.b, limit=BACK)
        wait_single_pair(self.a, self.b, limit=BACK)
        until(lambda: not self.a.peer("beta").get("draining"), "nothing drains")

    def count(self, kind, action):
        """The number of calls of the action without failures."""
        self.board.count = self.board.fail_at = 0
        self.board.armed = kind
        rc, docs = action()
        equal(rc, 0, "exit of the action without a fault: %s" % docs)
        self.board.armed = 0
        return self.board.count

    def fail(self, kind, n, action):
        self.board.failed = self.board.count = 0
        self.board.fail_at = n
        self.board.armed = kind
        try:
            rc, docs = action()
        finally:
            self.board.armed = 0
        hit = self.board.failed
        name = self.board.name.decode()
        what = "call %d, %s" % (n, name)
        check(self.a.alive(), "alpha exited after %s" % what)
        if hit and rc != 0:
            check(docs[-1].get("cause"), "%s: no cause: %s" % (what, docs))
            check(docs[-1].get("class") != "bug", "%s: %s" % (what, docs[-1]))
        try:
            self.rest()
        except Failure as f:
            raise Failure("after %s: %s\n%s\n%s" % (
                what, f, self.a.peer("beta"), self.b.peer("alpha")))
        return hit, rc, name

    def run(self, title, kind, action):
        for _ in range(3):
            total = self.count(kind, action)
            self.rest()
        step = 1 if ALL else max(1, total // TIMES)
        first = random.randrange(step) + 1
        live, fds = self.board.live, descriptors(self.a)
        failed = refused = 0
        names = {}
        for n in range(first, total + 1, step):
            hit, rc, name = self.fail(kind, n, action)
            failed += hit
            refused += hit and rc != 0
            if hit:
                names[name] = names.get(name, 0) + 1
        self.count(kind, action)
        self.rest()
        print("# %s: %d calls, %d failed (%s), %d of them reported, live allocations %+d" % (
            title, total, failed, ", ".join("%s %d" % x for x in sorted(names.items())), refused,
            self.board.live - live))
        check(failed > 0, "nothing failed")
        until(lambda: descriptors(self.a) <= fds, "at most %d descriptors" % fds)
        check(self.board.live - live <= 24, "%d allocations are not freed" % (self.board.live - live))


def rekey(s):
    return lambda: s.b.ask("rekey", peer="alpha", timeout_ms=1000)


def pair(s):
    def action():
        rc, docs = s.b.ask("down", peer="alpha")
        equal(rc, 0, "down: %s" % docs)
        return s.b.ask("up", peer="alpha", timeout_ms=15000)

    return action


for role, roles in (("follows", ("listen", "dial")), ("leads", ("dial", "listen"))):
    for what, action in (("a rekey", rekey), ("a pairing", pair)):
        for kind, calls in ((ALLOC, "allocation"), (CALL, "system call")):
            if what == "a pairing" and role == "leads":  # otherwise it would wait before it reconnects
                role, roles = "may lead", ("both", "both")

            def one(lab, roles=roles, action=action, kind=kind, title="%s %s, %ss" % (
                    role, what, calls)):
                s = Scenario(lab, roles)
                s.run(title, kind, action(s))

            test(one, name="any failing %s in %s that the agent %s is survived" % (calls, what, role))


def start(lab, kind, least, most, what):
    b = lab.agent("beta", "alpha", **FAST).start()
    a = lab.agent("alpha", "beta", log="info", **FAST)
    board = with_board(lab, a)
    a.wait_ready()
    wait_paired(a, b)
    a.stop()
    seen, names = {}, {}
    step = 1 if ALL else least
    n = random.randrange(step) + 1
    while n < most:
        a = lab.agent("alpha", "beta", log="info", **FAST)
        lab.agents.remove(a)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(a.log_path)
        board.failed = board.count = 0
        board.fail_at, board.armed = n, kind
        a.start(ready=False, env={"LD_PRELOAD": LIBRARY, "FAULT_FILE": lab.path("board")})
        end = time.monotonic() + LIMIT
        while a.process.poll() is None and board.failed == 0 and time.monotonic() < end:
            try:
                if a.status()["peers"][0]["state"] == "up":
                    break
            except Gone:
                time.sleep(0.005)
        hit = board.failed
        until(lambda: a.process.poll() is not None or state(a), "alpha runs or has exited")
        board.armed = 0
        rc = a.process.poll()
        seen[rc] = seen.get(rc, 0) + 1
        name = board.name.decode()
        names[name] = names.get(name, 0) + 1
        if rc is None:
            wait_paired(a, b)
            a.signal(signal.SIGTERM)
            equal(a.wait_exit(), 0, "exit after %s %d (%s)" % (what, n, name))
            a.process = None
            if os.path.exists(a.control):  # the capability to remove it was lost
                check(name in ("syscall", "open"), "a socket is left after %s" % name)
        else:
            # libuv aborts if it cannot create or use its signal pipe, or grow its table of
            # descriptors.
            check(rc > 0 or rc == -6 and name in ("pipe2", "write", "read", "realloc"), "%s %d (%s) of the start: ended by a signal: %d" % (what, n, name, rc))
            check("error" in a.log() or rc < 0, "%s %d (%s): exit %d without an error:\n%s" % (
                what, n, name, rc, a.log()))
            a.process = None
        if not hit:
            break
        n += step
    print("# %d starts: %s; what failed: %s" % (sum(seen.values()), ", ".join(
        "%s %d" % ("runs" if rc is None else "exit %d" % rc, k) for rc, k in seen.items()),
        ", ".join("%s %d" % x for x in sorted(names.items()))))


@test
def any_failing_allocation_at_the_start_ends_with_an_error_or_is_survived(lab):
    start(lab, ALLOC, 173, 3000, "allocation")


@test
def any_failing_system_call_at_the_start_ends_with_an_error_or_is_survived(lab):
    start(lab, CALL, 23, 1000, "system call")


def state(agent):
    try:
        return agent.status()
    except Gone:
        return None


if __name__ == "__main__":
    main(Lab)
