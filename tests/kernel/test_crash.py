#!/usr/bin/env python3
"""Agents that die, restart or start late: traffic continues, nothing is unencrypted, nothing stale remains."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import same_pair, wait_paired, wait_single_pair
from harness.control import Control
from harness.kernel import main
from harness.netns import sh
from harness.program import expect_exit
from harness.settings import SAPAIR
from harness.tap import check, equal, has, test, until
from harness.traffic import STALL_MS

DRAIN = {"switch_ms": 200, "drain_ms": 500}


def rest(w, a, b):
    """One SA in each direction on both hosts, the policies of the pair, no error counted except for segments of
    the agents' own TCP whose process has ended: without a socket they are not exempt from the policy."""
    wait_single_pair(a, b, limit=20)
    for agent in (a, b):
        w.at_rest(agent.name)
        equal(len(w.policies(agent.name)), 4, "policies of %s" % agent.name)
    w.no_errors(but=("XfrmInTmplMismatch",))


def died(w, *who):
    a, b = w.pair(both=DRAIN)
    u, t = w.udp(rate=500, least=500), w.tcp()
    time.sleep(0.3)
    for agent in who:
        {"alpha": a, "beta": b}[agent].kill()
    time.sleep(1)
    start = time.monotonic()
    for agent in who:
        {"alpha": a, "beta": b}[agent].start(ready=False)
    for agent in who:
        {"alpha": a, "beta": b}[agent].wait_ready()
    wait_paired(a, b)
    took = time.monotonic() - start
    print("# proven %.2f s after the restart" % took)
    rest(w, a, b)
    u.no_loss(least=500)
    t.whole(lost=3)
    stood = max(e.result["gap_ms"] for e in u.ends)  # the whole machine: no packet was lost
    check(took < 2 or stood > STALL_MS, "the pair came back after %.1f s" % took)
    for agent in who:
        has({"alpha": a, "beta": b}[agent].log(), "of an earlier run stay in force")


@test
def one_agent_killed_under_load_loses_nothing(w):
    died(w, "alpha")


@test
def the_other_agent_killed_under_load_loses_nothing(w):
    died(w, "beta")


@test
def both_agents_killed_under_load_lose_nothing(w):
    died(w, "alpha", "beta")


@test
def acquire_states_are_removed_with_the_pair(w):
    """Where there is no SA, the kernel adds an acquire state without an SPI, so it cannot be deleted by SPI."""
    w.watch.over()  # while the pair is down, traffic is unencrypted
    a = w.agent("alpha", "beta").start()  # without a peer
    w.udp(rate=500, least=0)
    for round in range(5):
        until(lambda: any("spi 0x00000000" in s for s in w.states("alpha")), "the kernel wants an SA")
        start = time.monotonic()
        expect_exit(a.run("down", "beta"))
        took = time.monotonic() - start
        equal((w.states("alpha"), w.policies("alpha")), ([], []), "what is left, round %d" % round)
        check(took < 5, "down took %.1f s" % took)
        a.run("up", "beta", "--no-verify", "--timeout", "0.1")
    until(lambda: any("spi 0x00000000" in s for s in w.states("alpha")), "the kernel wants an SA")
    a.kill()
    sh(SAPAIR, "clean", host="alpha")
    equal((w.states("alpha"), w.policies("alpha")), ([], []), "what is left by clean")
    sh(SAPAIR, "clean", "--check", host="alpha")
    w.flows.clear()


@test
def killed_in_the_middle_of_rekeys_ten_times(w):
    a, b = w.pair(both=dict(DRAIN, verify=False, rekey={"min_interval_ms": 0}))
    u = w.udp(rate=500, least=500)
    for round in range(10):
        victim = (a, b)[round % 2]
        other, name = ((b, "alpha"), (a, "beta"))[round % 2]
        with Control(other.control) as c:
            for _ in range(3):
                c.send({"verb": "rekey", "peer": name, "verify": False})
            time.sleep(0.002 * round)
            victim.kill()
        victim.start()
        until(lambda: same_pair(a.peer("beta"), b.peer("alpha")), "the same pair again")
    rest(w, a, b)
    u.no_loss(least=500)


@test
def stop_and_start_again_loses_nothing(w):
    a, b = w.pair(both=DRAIN)
    u = w.udp(rate=500)
    a.stop()
    time.sleep(0.3)
    a.start()
    wait_paired(a, b)
    rest(w, a, b)
    u.no_loss()


@test
def either_host_may_start_first_and_no_packet_leaves_before_both_run(w):
    for first, second in (("alpha", "beta"), ("beta", "alpha")):
        x = w.agent(first, second).start()
        w.ping(first, second)
        f = w.udp(first, second, rate=100)
        time.sleep(0.5)
        y = w.agent(second, first).start()
        wait_paired(x, y)
        time.sleep(0.5)
        f.over()
        check(f.lost[0] >= 10, "a host without its pair sent: %s" % (f.lost,))
        for agent, other in ((x, second), (y, first)):
            expect_exit(agent.cli("down", other))
        for agent in (x, y):
            agent.stop()
            w.agents.remove(agent)
    # Without the policy of one host its answers are unencrypted, and the policy of the other drops them.
    c = w.wire()
    check(all("ports 7000 7000" in o for o in c["other"]), "wire: %s" % c)
    w.expect_clear = True


if __name__ == "__main__":
    main()
