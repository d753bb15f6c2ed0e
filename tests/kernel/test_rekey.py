#!/usr/bin/env python3
"""New SPIs and keys in the kernel, under load, without packet loss."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_single_pair
from harness.control import Control
from harness.kernel import main, set_clock
from harness.tap import check, test, until

FAST = {"rekey": {"min_interval_ms": 0}, "verify": False}


def rekeys(agent, peer, n, pause=0.0):
    """n rekeys on demand, one after the other; milliseconds of each."""
    took = []
    with Control(agent.control) as c:
        for _ in range(n):
            start = time.monotonic()
            rc, docs = c.ask("rekey", peer=peer, verify=False)
            took.append((time.monotonic() - start) * 1000)
            check(rc == 0, "rekey: exit %d %s" % (rc, docs))
            if pause:
                time.sleep(pause)
    return took


@test
def a_thousand_rekeys_under_udp_and_tcp_lose_nothing(w):
    a, b = w.pair(both=FAST)
    u, t = w.udp(rate=1000, least=2000), w.tcp(rate=500000)
    took = rekeys(a, "beta", 500) + rekeys(b, "alpha", 500)
    print("# a rekey took %.1f ms (p99 %.1f)" % (sorted(took)[500], sorted(took)[990]))
    n = u.no_loss(least=2000)
    t.whole(lost=3)
    x, y = w.wait_same_pair(a, b, epoch=1001)
    w.no_errors()
    wait_single_pair(a, b)
    w.at_rest("alpha")
    w.at_rest("beta")
    c = w.wire()
    check(c["others"] == 0 and c["esp"] >= 2 * n, "wire: %s, %d datagrams" % (c, n))


@test
def the_clock_may_step_and_nothing_is_lost(w):
    a, b = w.pair(both=FAST)
    u = w.udp(rate=500)
    for step in (-3600, 7200, -3600):
        set_clock(step)
        rekeys(a, "beta", 3)
        rekeys(b, "alpha", 3)
        time.sleep(0.2)
    u.no_loss()
    x, y = w.wait_same_pair(a, b)
    for agent, peer in ((a, x), (b, y)):
        pinned = [p for p in w.policies(agent.name) if "spi 0x" + peer["out"]["spi"] in p]
        check(pinned, "%s does not send on what is in force: %s" % (agent.name, w.policies(agent.name)))
    w.no_errors()


@test
def packets_ask_for_a_rekey_before_the_limit(w):
    limits = {"rekey": {"packets": 300, "min_interval_ms": 0}, "hard": {"packets": 1000}}
    a, b = w.pair(both=limits)
    u = w.udp(rate=1000)
    until(lambda: int(a.peer("beta")["epoch"]) >= 5, "rekeys by packets")
    u.no_loss()
    w.no_errors()
    wait_single_pair(a, b, limit=20)


if __name__ == "__main__":
    main()
