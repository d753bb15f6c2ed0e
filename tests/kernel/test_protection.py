#!/usr/bin/env python3
"""What is said of a pair is true: protected, and why not; judged in time."""

import contextlib
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.kernel import main
from harness.netns import sh, v4, v6
from harness.tap import check, equal, has, test

SYSCTL_S = 10
NETLINK_S = 1


def reasons(agent, peer):
    p = agent.peer(peer)
    equal(p["protected"], p["protected_reasons"] == [], "protected beside its reasons")
    return p["protected_reasons"]


def becomes(agent, peer, want, limit, event=None):
    """Waits until status says these reasons; no longer than the limit since the call."""
    begin = time.monotonic()
    while reasons(agent, peer) != want:
        took = time.monotonic() - begin
        check(took < limit, "%s: %s after %.1f s, wanted %s" % (agent.name, reasons(agent, peer), took, want))
        time.sleep(0.05)


def sysctl(host, path, value):
    sh("sh", "-c", "echo %d >/proc/sys/net/%s" % (value, path), host=host)


def exits(agent, verb, peer, rc, *words):
    got = agent.run(verb, peer, "--json", *words)
    equal(got.rc, rc, "exit status of %s: %s" % (verb, got))
    return [json.loads(line) for line in got.out.splitlines()]


@contextlib.contextmanager
def rule(host, *words):
    sh("ip", "xfrm", "policy", "add", *words, host=host)
    try:
        yield
    finally:
        sh("ip", "xfrm", "policy", "delete", *words[:words.index("priority")], host=host, ok=False)


@test
def a_pair_at_rest_is_protected_and_a_pair_taken_down_is_not(w):
    a, b = w.pair()
    becomes(a, "beta", [], NETLINK_S)
    p = a.peer("beta")
    check(p["protected"] and p["carrying"], "peer: %s" % p)
    up = exits(a, "up", "beta", 0)[0]
    check(up["protected"] and up["carrying"] and up["protected_reasons"] == [], "up: %s" % up)
    check(exits(a, "verify", "beta", 0)[0]["protected"], "verify")
    exits(a, "down", "beta", 0)
    p = a.peer("beta")
    equal((p["protected"], p["protected_reasons"], p["carrying"]), (False, ["down"], False), "after down")
    w.expect_clear = True


@test
def a_sysctl_that_lets_packets_pass_is_told_within_ten_seconds(w):
    w.expect_clear = True
    a, b = w.pair()
    for path in ("ipv4/conf/e/disable_xfrm", "ipv4/conf/e/disable_policy", "ipv4/conf/all/disable_xfrm",
                 "ipv4/conf/all/disable_policy"):
        becomes(a, "beta", [], SYSCTL_S)
        sysctl("alpha", path, 1)
        becomes(a, "beta", ["sysctl"], SYSCTL_S)
        for verb in ("up", "verify"):
            docs = exits(a, verb, "beta", 8)
            check(not docs[0]["protected"], "%s: %s" % (verb, docs))
            equal(docs[0]["protected_reasons"], ["sysctl"], verb)
        has(a.run("doctor", "beta").out, "disable_")
        sysctl("alpha", path, 0)
    becomes(a, "beta", [], SYSCTL_S)
    a.wait_log("not protected: sysctl")
    a.wait_log("protected: traffic cannot pass in clear")


@test
def a_sysctl_of_ipv6_is_told(w):
    w.expect_clear = True
    a, b = w.pair(address=v6)
    becomes(a, "beta", [], NETLINK_S)
    sysctl("alpha", "ipv6/conf/e/disable_policy", 1)
    becomes(a, "beta", ["sysctl"], SYSCTL_S)
    sysctl("alpha", "ipv6/conf/e/disable_policy", 0)
    becomes(a, "beta", [], SYSCTL_S)


@test
def sysctls_set_before_the_start_are_told_by_up_verify_and_doctor(w):
    w.expect_clear = True
    for h in ("alpha", "beta"):
        for option in ("disable_xfrm", "disable_policy"):
            sysctl(h, "ipv4/conf/e/" + option, 1)
    a = w.agent("alpha", "beta").start(ready=False)
    b = w.agent("beta", "alpha").start(ready=False)
    a.wait_ready()
    b.wait_ready()
    up = a.run("up", "beta", "--timeout", "20")
    equal(up.rc, 8, "up: %s" % (up,))
    equal(a.run("verify", "beta", "--count", "5").rc, 8, "verify")
    doctor = a.run("doctor")
    check(doctor.rc != 0 and "disable_" in doctor.out, "doctor: %s" % (doctor,))


@test
def a_policy_of_another_program_is_told_within_a_second(w):
    w.expect_clear = True
    a, b = w.pair()
    becomes(a, "beta", [], NETLINK_S)
    for words in (
        ("src", "10.9.0.0/24", "dst", "10.9.0.0/24", "dir", "out", "priority", "100"),
        ("src", "0.0.0.0/0", "dst", v4("beta") + "/32", "dir", "out", "priority", "2000"),
        ("src", "10.0.0.0/8", "dst", "10.0.0.0/8", "proto", "tcp", "dir", "out", "priority", "0"),
        ("src", v4("beta") + "/32", "dst", v4("alpha") + "/32", "dir", "in", "mark", "5",
         "priority", "7"),
    ):
        with rule("alpha", *words):
            becomes(a, "beta", ["foreign-policy"], NETLINK_S)
            equal(exits(a, "up", "beta", 8)[0]["protected_reasons"], ["foreign-policy"], "up")
        becomes(a, "beta", [], NETLINK_S)
    for words in (
        ("src", "10.9.0.0/24", "dst", "10.9.0.0/24", "dir", "out", "priority", "2001"),
        ("src", "10.9.0.0/24", "dst", "10.9.0.64/26", "dir", "out", "priority", "1"),
        ("src", "10.9.0.0/24", "dst", "10.9.0.0/24", "dir", "out", "action", "block", "priority", "1"),
        ("src", "10.9.0.0/24", "dst", "10.9.0.0/24", "proto", "icmp", "dir", "out", "priority", "1"),
        ("src", "fd09::/64", "dst", "fd09::/64", "dir", "out", "priority", "1"),
    ):
        with rule("alpha", *words):
            time.sleep(0.5)
            equal(reasons(a, "beta"), [], "reasons with %s" % (words,))


@test
def a_policy_that_cannot_be_put_back_is_told(w):
    w.expect_clear = True
    a, b = w.pair()
    becomes(a, "beta", [], NETLINK_S)
    selector = ("src", v4("alpha") + "/32", "dst", v4("beta") + "/32", "dir", "out")
    a.signal(signal.SIGSTOP)
    os.kill(a.helper(), signal.SIGSTOP)
    sh("ip", "xfrm", "policy", "delete", *selector, host="alpha")
    sh("ip", "xfrm", "policy", "add", *selector, "priority", "5000", host="alpha")
    os.kill(a.helper(), signal.SIGCONT)
    a.signal(signal.SIGCONT)
    becomes(a, "beta", ["policy-missing"], NETLINK_S)
    sh("ip", "xfrm", "policy", "delete", *selector, host="alpha")
    becomes(a, "beta", [], NETLINK_S)


@test
def an_address_that_goes_and_a_route_that_takes_another_are_told_within_a_second(w):
    w.expect_clear = True
    a, b = w.pair()
    becomes(a, "beta", [], NETLINK_S)
    sh("ip", "address", "add", "10.9.0.77/24", "dev", "e", host="alpha")
    time.sleep(0.5)
    equal(reasons(a, "beta"), [], "with a second address")
    sh("ip", "route", "add", v4("beta") + "/32", "dev", "e", "src", "10.9.0.77", host="alpha")
    becomes(a, "beta", ["route"], NETLINK_S)
    sh("ip", "route", "delete", v4("beta") + "/32", host="alpha")
    becomes(a, "beta", [], NETLINK_S)
    sh("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/e/promote_secondaries", host="alpha")
    sh("ip", "address", "delete", v4("alpha") + "/24", "dev", "e", host="alpha")
    becomes(a, "beta", ["address-gone"], NETLINK_S)
    sh("ip", "address", "add", v4("alpha") + "/24", "dev", "e", host="alpha")
    sh("ip", "address", "delete", "10.9.0.77/24", "dev", "e", host="alpha")
    sh("ip", "address", "add", v4("beta") + "/32", "dev", "lo", host="alpha")
    becomes(a, "beta", ["peer-is-local"], NETLINK_S)


@test
def a_permissive_pair_is_not_protected_and_up_exits_with_0(w):
    w.expect_clear = True
    a, b = w.pair(both={"mode": "permissive"})
    equal(reasons(a, "beta"), ["permissive"], "reasons")
    exits(a, "up", "beta", 0)


if __name__ == "__main__":
    main()
