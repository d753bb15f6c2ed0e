#!/usr/bin/env python3
"""A pair in the kernel: up, verified, only ESP on the wire, nothing left at the end."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.kernel import main
from harness.tap import check, equal, test


@test
def traffic_is_esp_and_only_ping_and_control_are_unencrypted(w):
    a, b = w.pair()
    w.ping("alpha", "beta")
    w.ping("beta", "alpha")
    u, t = w.udp(rate=500, least=500), w.tcp()
    time.sleep(1)
    t.whole()
    u.no_loss(least=300)
    for agent in (a, b):
        rc, docs = agent.ask("verify", peer="beta" if agent is a else "alpha", count=20)
        check(rc == 0 and docs[0]["verified"], "verify: %s %s" % (rc, docs))
    w.no_errors()
    c = w.wire()
    check(c["esp"] > 1000 and c["icmp"] >= 12 and c["control"] > 10, "too little on the wire: %s" % c)
    equal(c["others"], 0, "packets in clear")


if __name__ == "__main__":
    main()
