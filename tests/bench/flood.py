#!/usr/bin/env python3
"""Measures an honest peer while a configured peer floods the agent.

    make bench-flood                  a table; exit status 1 when a target is missed
    tests/bench/flood.py SECONDS      for each kind of flood; default 10

alpha has two peers: beta, an agent, and gamma, which floods with a valid certificate. beta asks
for rekeys of its pair, one after another, and after each of them a client asks alpha for its status. All run on one
machine, so that flood and measurement share its processors: the targets are for two cores that do
nothing else.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_paired
from harness.flood import ALL, PeerFlood, resident_kb
from harness.hostile import connect_tls
from harness.identity import identity
from harness.lab import Lab
from harness.tap import Failure

REKEY_MS, STATUS_MS, GROWN_KB = 20, 50, 1024
FAST = {"defaults": {"rekey": {"min_interval_ms": 0}, "drain_ms": 100, "switch_ms": 50}}


def p99(samples):
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * 99 // 100) - 1)]


def timed(agent, verb, **members):
    start = time.monotonic()
    rc, docs = agent.ask(verb, **members)
    if rc != 0:
        raise Failure("%s: %s" % (verb, docs))
    return (time.monotonic() - start) * 1000


def measure(a, b, seconds):
    rekeys, statuses, most = [], [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rekeys.append(timed(b, "rekey", peer="alpha"))
        statuses.append(timed(a, "status"))
        most = max(most, resident_kb(a))
        time.sleep(0.005)
    return p99(rekeys), p99(statuses), most, len(rekeys)


def main():
    seconds, missed = float(sys.argv[1]) if len(sys.argv) > 1 else 10, False
    lab = Lab()
    try:
        a = lab.agent("alpha", "beta", lab.peer_of("gamma", role="listen"), **FAST).start()
        b = lab.agent("beta", "alpha", **FAST).start()
        wait_paired(a, b)
        connect_tls(a, lab, identity("gamma")).hello()  # memory of one link is not counted
        quiet = measure(a, b, seconds)
        form = "%-14s %8s %13s %7s %14s %7s %10s"
        print(form % ("flood", "rekeys", "rekey p99 ms", "ratio", "status p99 ms", "ratio", "grown kB"))
        print(form % ("none", quiet[3], "%.1f" % quiet[0], "", "%.1f" % quiet[1], "", ""))
        for kind in ALL:
            kb = resident_kb(a)
            flood = PeerFlood(a, lab, kind)
            rekey, status, most, n = measure(a, b, seconds)
            flood.end()
            print(form % (kind, n, "%.1f" % rekey, "%.1f" % (rekey / quiet[0]), "%.1f" % status,
                          "%.1f" % (status / quiet[1]), "%+d" % (most - kb)))
            missed = missed or rekey > REKEY_MS or status > STATUS_MS or most - kb > GROWN_KB
    finally:
        faults, _ = lab.close(False)
    print("targets: rekey %d ms, status %d ms, %d kB: %s" % (
        REKEY_MS, STATUS_MS, GROWN_KB, "missed" if missed else "met"))
    for fault in faults:
        print(fault)
    return 1 if missed or faults else 0


if __name__ == "__main__":
    sys.exit(main())
