#!/usr/bin/env python3
"""A rekey every second, with random faults: `make soak MINUTES=30`.

    alpha <--> gamma    without faults: every rekey must succeed
    alpha <--> beta     beta is killed, suspended, stopped and started, reloaded, and its system calls fail

Memory, descriptors and SAs of alpha must not grow, and after each fault the pair must be restored. Prints a
line per minute and a sum; exits with 1 on a failure.

    SEED=n      repeats the faults of a run, which prints its seed at the start
"""

import os
import random
import re
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import same_pair, wait_paired, wait_single_pair
from harness.control import Gone
from harness.lab import Lab
from harness.tap import check, equal

FAST = {"rekey": {"min_interval_ms": 0}, "drain_ms": 1000, "switch_ms": 200}
BACK = 60  # seconds until a pair must be restored after a fault
RULES = [
    "install:3", "activate:2", "activate:3", "reserve:2", "reserve:4", "remove:2",
    "remove:5", "send:2", "query:7", "policy_add:1", "install:2,activate:4,remove:1",
]


def descriptors(agent):
    return len(os.listdir("/proc/%d/fd" % agent.pid))


def rss(agent):
    with open("/proc/%d/status" % agent.pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1))


def ask(agent, verb, **members):
    try:
        return agent.ask(verb, **members)
    except (Gone, OSError) as e:
        return None, [{"cause": str(e)}]


class Soak:
    def __init__(self, minutes, dice):
        self.dice, self.end = dice, time.monotonic() + minutes * 60
        self.lab = lab = Lab()
        options = {"defaults": FAST, "log": "info"}
        self.a = lab.agent("alpha", "beta", "gamma", **options)
        self.b = lab.agent("beta", "alpha", **options)
        self.c = lab.agent("gamma", "alpha", **options)
        for x in (self.a, self.b, self.c):
            x.start()
        wait_paired(self.a, self.b)
        wait_paired(self.a, self.c)
        self.faults, self.rekeys, self.refused = {}, 0, 0
        self.slowest = self.slowest_back = 0.0
        self.samples = []

    # one second

    def rekey(self):
        """gamma's must succeed; beta's may fail while beta does not run, with a reason."""
        start = time.monotonic()
        rc, docs = ask(self.a, "rekey", peer="gamma", verify=False)
        check(rc == 0, "rekey with gamma: %s" % docs)
        self.slowest = max(self.slowest, time.monotonic() - start)
        rc, docs = ask(self.a, "rekey", peer="beta", verify=False, timeout_ms=900)
        self.rekeys += 1 + (rc == 0)
        if rc != 0:
            self.refused += 1
            check(docs[0].get("cause"), "a refusal without a cause: %s" % docs)

    def hit(self):
        name, fault = self.dice.choice([
            ("kill -9", self.kill), ("hangs", self.hang), ("hangs for long", self.hang_long),
            ("ends and starts", self.restart), ("reload", self.reload), ("calls fail", self.rule),
            ("down and up", self.down_up),
        ])
        self.faults[name] = self.faults.get(name, 0) + 1
        fault()
        start = time.monotonic()
        wait_paired(self.a, self.b, limit=BACK)
        self.slowest_back = max(self.slowest_back, time.monotonic() - start)

    def for_a_while(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.rekey()
            time.sleep(0.5)

    def kill(self):
        self.b.kill()
        self.for_a_while(self.dice.random() * 2)
        self.b.config.pop("test_fault", None)
        self.b.start()

    def hang(self):
        self.b.signal(signal.SIGSTOP)
        self.for_a_while(self.dice.random() * 3)
        self.b.signal(signal.SIGCONT)

    def hang_long(self):
        """Longer than a link may be silent: alpha closes it."""
        self.b.signal(signal.SIGSTOP)
        self.for_a_while(10 + self.dice.random() * 3)
        self.b.signal(signal.SIGCONT)

    def restart(self):
        self.b.stop()
        self.b.config.pop("test_fault", None)
        self.b.start()

    def reload(self):
        self.b.config["peers"][0]["window"] = self.dice.choice([256, 512, 1024])
        self.b.write_config()
        equal(self.b.ask("reload")[0], 0, "exit of reload")

    def rule(self):
        self.b.stop()
        self.b.config["test_fault"] = self.dice.choice(RULES)
        self.b.start()
        self.for_a_while(3)

    def down_up(self):
        equal(self.b.ask("down", peer="alpha")[0], 0, "exit of down")
        ask(self.b, "up", peer="alpha")

    # measuring

    def sample(self):
        wait_single_pair(self.a, self.c, limit=BACK)
        wait_single_pair(self.a, self.b, limit=BACK)
        sizes = [rss(x) for x in (self.a, self.c)], [descriptors(x) for x in (self.a, self.c)]
        log = os.path.getsize(self.a.log_path)
        self.samples.append(sizes)
        print("%5d rekeys, %3d refused, faults %3d, alpha %d kB, gamma %d kB, descriptors %s, "
              "log %d kB" % (self.rekeys, self.refused, sum(self.faults.values()),
                             sizes[0][0], sizes[0][1], sizes[1], log // 1024), flush=True)

    def run(self):
        next_sample = time.monotonic() + 60
        next_fault = time.monotonic() + 5
        while time.monotonic() < self.end:
            start = time.monotonic()
            self.rekey()
            if start > next_fault:
                self.hit()
                next_fault = time.monotonic() + self.dice.uniform(3, 12)
            if start > next_sample:
                self.sample()
                next_sample += 60
            time.sleep(max(0.0, 1 - (time.monotonic() - start)))
        self.sample()

    def judge(self):
        """The baseline is the first sample, after a minute, when all caches are filled."""
        first, last = self.samples[0], self.samples[-1]
        for i, name in enumerate(("alpha", "gamma")):
            grown = last[0][i] - first[0][i]
            check(grown <= 1024, "%s has grown by %d kB" % (name, grown))
            check(last[1][i] <= first[1][i] + 1, "%s: %d descriptors, then %d" % (
                name, first[1][i], last[1][i]))
        check(self.slowest < 5, "the undisturbed pair took %.1f s to rekey" % self.slowest)
        peers = {p["name"]: p for p in self.a.status()["peers"]}
        check(same_pair(peers["gamma"], self.c.peer("alpha")), "alpha and gamma differ")


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 1
    seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
    print("soak: %g minutes, SEED=%d" % (minutes, seed), flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    soak = None
    failed = False
    try:
        soak = Soak(minutes, random.Random(seed))
        soak.run()
        soak.judge()
    except Exception as e:
        failed = True
        print("FAILED: %s: %s" % (type(e).__name__, e))
    if soak is None:
        return 1
    trouble, logs = soak.lab.close(failed)
    for line in trouble:
        print("FAILED: " + line)
    if failed:
        print(logs[-20000:])
    print("%s: %d rekeys, %d refused meanwhile; slowest of the undisturbed pair %.2f s, slowest to "
          "come back %.1f s; faults: %s" % (
              "soak failed" if failed or trouble else "soak ok", soak.rekeys, soak.refused,
              soak.slowest, soak.slowest_back,
              ", ".join("%s %d" % f for f in sorted(soak.faults.items()))))
    return 1 if failed or trouble else 0


if __name__ == "__main__":
    sys.exit(main())
