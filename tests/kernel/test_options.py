#!/usr/bin/env python3
"""What a config can say, in the kernel: suites, selectors, modes."""

import time

from kernel import *  # noqa: F403

FAST = {"rekey": {"min_interval_ms": 0}, "switch_ms": 100, "drain_ms": 300}
SUITES = [
    "aes256gcm16", "aes192gcm16", "aes128gcm16", "aes256-sha256", "aes128-sha256", "aes128-sha1",
    "aes256gmac", "aes192gmac", "aes128gmac",
]


def some_traffic(w, a="alpha", b="beta", address=v4, tcp=True):
    u = w.udp(a, b, rate=300, address=address)
    t = w.tcp(a, b, address=address) if tcp else None
    time.sleep(0.4)
    if t:
        t.whole()
    u.no_loss(least=50)
    w.flows.clear()


def only_esp(w):
    c = w.wire()
    check(c["esp"] > 0 and c["others"] == 0, "wire: %s" % c)


@test
def every_suite_carries_traffic(w):
    a, b = w.pair(both=dict(FAST, suites=SUITES[:1]))
    for n, suite in enumerate(SUITES):
        for agent in (a, b):
            agent.config["peers"][0]["suites"] = [suite]
            agent.write_config()
            well(agent.cli("reload"))
        well(a.cli("rekey", "beta"))
        x, y = together(a, b, epoch=n + 2)
        equal((x["suite"], y["suite"]), (suite, suite), "suite")
        some_traffic(w, tcp=n % 4 == 0)
    w.no_errors()
    only_esp(w)


@test
def only_what_is_named_is_protected(w):
    w.expect_clear = True
    a, b = w.pair(both=dict(FAST, protect=["udp/7000", "proto/132"]))
    some_traffic(w)
    c = w.wire()
    check(c["esp"] > 100 and c["others"] > 20, "wire: %s" % c)
    check(all("proto 6 " in o and "7001" in o for o in c["other"]), "wire: %s" % c)
    check(a.peer("beta")["verified"], "not proven")


@test
def what_is_exempt_passes_in_clear(w):
    w.expect_clear = True
    a = w.agent("alpha", {"name": "beta", "address": v4("beta"), "exempt": ["tcp/7001"]}).start()
    b = w.agent("beta", {"name": "alpha", "address": v4("alpha"), "exempt": ["tcp/7001"]})
    t = w.tcp()  # before there is a pair
    b.start()
    together(a, b)
    t.whole()
    w.flows.clear()
    w.ping("alpha", "beta")  # not exempt this time: through ESP
    some_traffic(w)
    c = w.wire()
    check(all("proto 6 " in o and "7001" in o for o in c["other"]) and c["others"] > 20, "wire: %s" % c)
    check(c["esp"] > 100 and c["icmp"] == 0, "wire: %s" % c)


@test
def permissive_lets_clear_pass_until_there_is_a_pair(w):
    w.expect_clear = True
    a = w.agent("alpha", {"name": "beta", "address": v4("beta"), "mode": "permissive"}).start()
    some_traffic(w)
    b = w.agent("beta", {"name": "alpha", "address": v4("alpha"), "mode": "permissive"}).start()
    together(a, b)
    clear = w.wire()["others"]
    check(clear > 100, "nothing was in clear before")
    w.watch = Flow("wire", "watch", "any", PORT).ready()
    some_traffic(w)
    only_esp(w)


if __name__ == "__main__":
    main()
