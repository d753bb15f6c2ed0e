#!/usr/bin/env python3
"""Removals that fail: the verb says what is left, status shows it, and the agent tries again."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_single_pair
from harness.lab import Lab
from harness.program import expect_exit
from harness.tap import check, equal, has, main, test


def failing(call, times):
    """The first calls fail."""
    return ",".join("%s:%d" % (call, n) for n in range(1, times + 1))


def is_gone(p):
    return p["state"] == "down" and "removing" not in p


@test
def down_says_what_is_left_until_it_is_gone(lab):
    a, b = lab.pair(alpha={"test_fault": failing("policy_remove", 3)})
    done = expect_exit(a.cli("down", "beta"), 7).doc("down")
    equal(done["removing"]["policy"], True, "policy left")
    has(done["removing"]["error"]["cause"], "test fault", "cause")
    equal(done["removing"]["error"]["exit"], 7, "exit in the document")
    p = a.peer("beta")
    equal(p["state"], "removing", "state")
    has(p["removing"]["error"]["cause"], "remove the policy", "cause in status")
    check("no policy is left" not in a.log(), "told too early: %s" % a.log())
    has(a.cli("status", "beta", json_out=False).out, "still there: the policy", "status")
    a.wait_peer("beta", "is down", is_gone)
    equal(a.log().count("no policy is left"), 1, "told once")
    expect_exit(a.cli("down", "beta"))
    expect_exit(a.cli("up", "beta"))


@test
def another_down_tries_at_once(lab):
    a, _ = lab.pair(alpha={"test_fault": failing("policy_remove", 8)})
    expect_exit(a.cli("down", "beta"), 7)
    text = expect_exit(a.cli("down", "beta", json_out=False), 7).out
    has(text, "beta is not down yet: still there: the policy", "text of down")
    for _ in range(8):
        if a.cli("down", "beta").rc == 0:
            break
    else:
        check(False, "eight calls fail, and the ninth failed too")
    equal(a.peer("beta")["state"], "down", "state")


@test
def the_policy_goes_with_sas_that_could_not_be_removed(lab):
    a, _ = lab.pair(alpha={"test_fault": "remove:*"})
    done = expect_exit(a.cli("down", "beta")).doc("down")
    check("removing" not in done, "something is left: %s" % done)
    equal(a.peer("beta")["state"], "down", "state")


@test
def sas_of_a_former_generation_are_tried_again(lab):
    a, b = lab.pair(
        alpha={"test_fault": failing("remove", 4)},
        both={"defaults": {"rekey": {"min_interval_ms": 0}, "switch_ms": 0, "drain_ms": 100}},
    )
    old = a.peer("beta")
    expect_exit(a.cli("rekey", "beta"))
    p = a.wait_peer("beta", "has an SA left", lambda p: "removing" in p)
    equal(p["state"], "up", "state")
    equal(p["removing"]["policy"], False, "policy left")
    check(set(p["removing"]["sas"]) <= {old["in"]["spi"], old["out"]["spi"]}, "SAs left: %s" % p)
    a.wait_peer("beta", "has nothing left", lambda p: "removing" not in p)
    wait_single_pair(a, b)
    expect_exit(a.cli("down", "beta"))


@test
def up_waits_until_the_former_policy_is_gone(lab):
    a, b = lab.pair(alpha={"test_fault": failing("policy_remove", 2)})
    expect_exit(a.cli("down", "beta"), 7)
    expect_exit(a.cli("up", "beta"))
    check("removing" not in a.peer("beta"), "something is left")
    wait_single_pair(a, b)


@test
def a_peer_that_the_config_lost_stays_until_it_is_removed(lab):
    a, _ = lab.pair(alpha={"test_fault": failing("policy_remove", 4)})
    peers = a.config["peers"]
    a.config["peers"] = []
    a.write_config()
    done = expect_exit(a.cli("reload"), 7).doc("reload")
    equal(done["removing"], ["beta"], "removing")
    equal(a.peer("beta")["state"], "removing", "state")
    # The same peer again: its policy has to wait.
    a.config["peers"] = peers
    a.write_config()
    expect_exit(a.cli("reload"))
    expect_exit(a.cli("up", "beta"))
    equal([p["state"] for p in a.status()["peers"]], ["up"], "states")


if __name__ == "__main__":
    main(Lab)
