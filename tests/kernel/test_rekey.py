#!/usr/bin/env python3
"""New SPIs and keys in the kernel, under load, without one lost packet."""

import time

from kernel import *  # noqa: F403

FAST = {"rekey": {"min_interval_ms": 0}, "verify": False}


def rekeys(agent, peer, n, pause=0.0):
    """n on demand, one after the other; milliseconds of each."""
    took = []
    with sapairtest.Control(agent.control) as c:
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
    x, y = w.crossed(a, b, epoch=1001)
    w.no_errors()
    quiet(a, b)
    w.at_rest("alpha")
    w.at_rest("beta")
    c = w.wire()
    check(c["others"] == 0 and c["esp"] >= 2 * n, "wire: %s, %d datagrams" % (c, n))


def reserved(w, host):
    """SPIs that are reserved and have no key yet."""
    return [s.split("spi ")[1].split("(")[0] for s in w.states(host) if "(0x5a5b" in s]


def until_reserved(w, a):
    """Rekeys, one right behind the other, until an SPI is reserved for the next one."""
    for _ in range(20):
        rekeys(a, "beta", 3)
        spis = reserved(w, "alpha")
        if spis:
            equal(len(spis), 1, "SPIs that are reserved ahead")
            return spis[0]
    raise Failure("no SPI was reserved ahead")


@test
def rekeys_that_follow_each_other_find_their_spi_reserved(w):
    a, b = w.pair(both=FAST, alpha={"role": "dial"}, beta={"role": "listen"})
    u = w.udp(rate=500)
    rekeys(a, "beta", 1)
    equal(reserved(w, "alpha"), [], "reserved behind a single rekey")
    spi = until_reserved(w, a)
    rekeys(a, "beta", 1)
    equal("0x" + a.peer("beta")["in"]["spi"], spi, "the SPI of the next rekey")
    # Somebody else takes it away: the next rekey puts its SA in without.
    spi = until_reserved(w, a)
    sh("ip", "xfrm", "state", "delete", "src", v4("beta"), "dst", v4("alpha"), "proto", "esp", "spi", spi, host="alpha")
    rekeys(a, "beta", 1)
    until(lambda: reserved(w, "alpha") == [], "the SPI that nobody came for is given back", 5)
    u.no_loss()
    w.no_errors()
    until_reserved(w, a)
    for agent, peer in ((a, "beta"), (b, "alpha")):
        equal(agent.cli("down", peer).rc, 0, "down")
        equal(w.states(agent.name), [], "SAs that stay behind `down`")
    w.expect_clear = True


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
    x, y = w.crossed(a, b)
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
    quiet(a, b, limit=20)


if __name__ == "__main__":
    main()
