#!/usr/bin/env python3
"""Two agents pair and verify the pair; their output is correct."""

import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import in_force, same_pair, wait_paired
from harness.identity import identity
from harness.lab import Lab
from harness.program import expect_exit, run_sapair
from harness.settings import ALPHA, BETA, SAN, SLOW
from harness.tap import Skip, check, equal, has, main, test, until


def check_fields(doc, fields, what):
    """fields: name -> type, or a pattern for the whole text."""
    for name, want in fields.items():
        check(name in doc, "%s lacks %s: %s" % (what, name, doc))
        if isinstance(want, str):
            ok = isinstance(doc[name], str) and re.fullmatch(want, doc[name])
        else:
            ok = isinstance(doc[name], want) and not (want is int and isinstance(doc[name], bool))
        check(ok, "%s: %s is %r, wanted %s" % (what, name, doc[name], want))


SPI = "[0-9a-f]{8}"
COUNT = "0|[1-9][0-9]*"
PIN = "sha256:[0-9a-f]{64}"
MS = (int, float)


@test
def a_peer_address_and_a_ca_are_enough(lab):
    a = lab.agent_by_flags("alpha", "--peer", "%s:%d" % (BETA, lab.port))
    b = lab.agent_by_flags("beta", "--peer", "%s:%d" % (ALPHA, lab.port))
    a.start()
    b.start()
    a.wait_up(BETA)  # a peer without a name is known by its address
    b.wait_up(ALPHA)
    until(lambda: same_pair(a.peer(BETA), b.peer(ALPHA)), "SPIs are crossed")
    up = expect_exit(a.cli("up", BETA)).doc("up")
    equal(up["changed"], False, "changed of up")


@test
def the_first_one_to_start_waits_for_the_other(lab):
    a, b = lab.agent("alpha", "beta"), lab.agent("beta", "alpha")
    for first, second in ((a, b), (b, a)):
        first.start()
        p = first.wait_error(second.name, "timeout", "cannot connect")
        has(p["hint"], "is the agent there running")
        equal(first.peer(second.name)["state"], "waiting", "state")
        second.start()
        wait_paired(a, b)
        first.stop()
        second.stop()


@test(alone=True)
def both_start_at_once_and_pair_twenty_times(lab):
    times = []
    for _ in range(20 if not SAN else 6):
        a, b = lab.agent("alpha", "beta"), lab.agent("beta", "alpha")
        start = time.monotonic()
        a.start(ready=False)
        b.start(ready=False)
        a.wait_ready()
        b.wait_ready()
        wait_paired(a, b, limit=3 * SLOW)
        times.append(time.monotonic() - start)
        a.stop()
        b.stop()
        lab.agents.clear()
    print("# paired and proven in %.2f to %.2f s" % (min(times), max(times)))


@test
def one_config_has_many_peers(lab):
    names = ["alpha", "beta", "gamma", "delta"]
    agents = [lab.agent(n, *[m for m in names if m != n]) for n in names]
    for x in agents:
        x.start(ready=False)
    for x in agents:
        x.wait_ready()
    spis = []
    for i, x in enumerate(agents):
        for y in agents[i + 1:]:
            p, q = wait_paired(x, y)
            spis += [p["in"]["spi"], q["in"]["spi"]]
    equal(len(set(spis)), len(spis), "different SPIs")


@test
def ipv6_works_with_two_ports_of_one_address(lab):
    if not lab.is_free(1, "::1", lab.port):
        raise Skip("no ::1 here")
    port = lab.port, lab.free_port(("::1",))
    # Both ends have one address: the names in the certificates distinguish them.
    agents = []
    for i, (name, other) in enumerate((("alpha", "beta"), ("beta", "alpha"))):
        agents.append(
            lab.agent(
                name,
                {"name": other, "address": "[::1]:%d" % port[1 - i], "identity": other},
                id=identity(name, "::1"),
                listen="[::]:%d" % port[i],  # an address cannot be both own and a peer's
            )
        )
    a, b = agents
    a.start()
    b.start()
    wait_paired(a, b)
    r = expect_exit(b.cli("rekey", "alpha")).doc("rekey")
    equal(r["verified"], True, "verified")
    wait_paired(a, b, epoch=int(r["epoch"]["new"]))


@test
def roles_decide_which_agent_connects(lab):
    a, b = lab.pair(peer_beta={"role": "listen"}, peer_alpha={"role": "dial"})
    equal(a.peer("beta")["role"], "follower", "role of alpha")
    equal(b.peer("alpha")["role"], "leader", "role of beta")


@test
def a_pin_is_enough_without_a_ca(lab):
    ids = {}
    for name in ("alpha", "beta"):
        folder = lab.path(name + "-id")
        doc = expect_exit(run_sapair("id", "new", "--name", name, "--dir", folder, "--json")).doc("id")
        has(doc["pin"], "sha256:")
        ids[name] = (folder, doc["pin"])
    agents = []
    for name, other in (("alpha", "beta"), ("beta", "alpha")):
        folder = ids[name][0]
        agents.append(
            lab.agent(
                name,
                lab.peer_of(other, pin=ids[other][1]),
                certificate=os.path.join(folder, "sapair.crt"),
                key=os.path.join(folder, "sapair.key"),
                ca=None,
            )
        )
    a, b = agents
    a.start()
    b.start()
    p, _ = wait_paired(a, b)
    equal(p["identity"]["pin"], ids["beta"][1], "pin of the peer")


@test
def the_option_pin_applies_to_the_preceding_peer(lab):
    a = lab.agent_by_flags(
        "alpha", "--peer", "%s:%d" % (BETA, lab.port), "--pin", identity("beta").pin
    )
    b = lab.agent_by_flags("beta", "--peer", "%s:%d" % (ALPHA, lab.port))
    a.start()
    b.start()
    a.wait_up(BETA)
    b.wait_up(ALPHA)


@test
def lab_identities_need_allow_lab(lab):
    dim = identity("beta", BETA, options=("--lab",))
    a, b = lab.agent("alpha", "beta"), lab.agent("beta", "alpha", id=dim)
    b.write_config()
    has(expect_exit(run_sapair("run", "--config", b.config_path), 2).err, "is a lab identity")
    has(expect_exit(run_sapair("check", b.config_path), 2).err, "is a lab identity")
    b.config["allow_lab"] = True
    a.start()
    b.start()
    equal(b.status()["identity"]["lab"], True, "lab in beta's status")
    a.wait_error("beta", "auth", "we refuse the certificate")
    a.stop()
    a.config["allow_lab"] = True
    a.start()
    wait_paired(a, b)


@test
def an_address_can_be_paired_at_run_time(lab):
    a = lab.agent("alpha")
    b = lab.agent("beta", "alpha")
    a.start()
    b.start()
    where = "%s:%d" % (BETA, lab.port)
    up = expect_exit(a.cli("up", where)).doc("up")
    equal((up["changed"], up["state"], up["verified"]), (True, "up", True), "up of an address")
    # It survives a reload, although it is not in the config.
    expect_exit(a.cli("reload"))
    equal(a.peer(BETA)["state"], "up", "state after reload")


@test
def status_up_and_verify_agree_with_the_facts(lab):
    a, b = lab.pair()
    doc = expect_exit(a.cli("status")).doc("status")
    check_fields(
        doc,
        {
            "name": "alpha", "version": r"\d+\.\d+\.\d+", "pid": int, "uptime_s": int,
            "backend": "soft", "identity": dict, "listen": list, "peers": list,
        },
        "status",
    )
    equal(doc["pid"], a.pid, "pid")
    equal(doc["listen"], ["%s:%d" % (ALPHA, lab.port)], "listen")
    equal(doc["identity"]["pin"], identity("alpha").pin, "own pin")
    check_fields(doc["identity"], {"name": "alpha", "pin": PIN, "not_after": "20..-.*Z"}, "identity")
    p = doc["peers"][0]
    check_fields(
        p,
        {
            "name": "beta", "address": re.escape("%s:%d" % (BETA, lab.port)), "local": ALPHA,
            "state": "up", "link": "up", "role": "leader|follower", "mode": "required",
            "epoch": COUNT, "suite": "aes256gcm16", "esn": bool, "age_s": int, "rekey_in_s": int,
            "hard_in_s": int, "held": int, "rekeys": COUNT, "verified": bool, "identity": dict,
        },
        "peer",
    )
    check("error" not in p, "an error beside a good pair: %s" % p)
    equal(p["identity"]["pin"], identity("beta").pin, "the peer's pin")
    check_fields(p["in"], {"spi": SPI, "packets": COUNT, "bytes": COUNT, "replay_dropped": "0",
                           "integrity_failed": "0"}, "in")
    check_fields(p["out"], {"spi": SPI, "packets": COUNT, "bytes": COUNT}, "out")
    check(int(p["in"]["packets"]) >= 3 and int(p["out"]["packets"]) >= 3, "no probe was counted")
    check(int(p["in"]["spi"], 16) > 255, "a reserved SPI")
    equal({p["role"], b.peer("alpha")["role"]}, {"leader", "follower"}, "roles")

    up = expect_exit(a.cli("up", "beta")).doc("up")
    check_fields(
        up,
        {"peer": "beta", "changed": bool, "state": "up", "epoch": COUNT, "suite": "aes256gcm16",
         "verified": bool, "rtt_ms": MS, "ms": MS},
        "up",
    )
    equal((up["changed"], up["verified"]), (False, True), "changed and verified of up")
    equal((up["epoch"], up["in"]["spi"], up["out"]["spi"]), in_force(p), "up against status")

    before, peer_before = a.peer("beta"), b.peer("alpha")
    v = expect_exit(a.cli("verify", "beta", "--count", "20")).doc("verify")
    equal(v["peer"], "beta", "peer")
    equal(v["verified"], True, "verified")
    equal(v["epoch"], p["epoch"], "epoch of verify")
    equal(v["probes"], {"sent": 20, "arrived": 20, "echoed": 20, "lost": 0}, "probes")
    check(v["rtt_ms"]["min"] <= v["rtt_ms"]["median"] <= v["rtt_ms"]["max"], "rtt: %s" % v)
    check_fields(
        v["counts"], dict.fromkeys(("out", "peer_in", "in", "peer_out"), COUNT), "counts"
    )
    equal((v["counts"]["out"], v["counts"]["in"]), (v["counts"]["peer_in"], v["counts"]["peer_out"]),
          "counts of the two hosts")
    after, peer_after = a.peer("beta"), b.peer("alpha")
    for way, at in (("out", 0), ("in", 1)):
        equal(int(after[way]["packets"]) - int(before[way]["packets"]), 20, "packets " + way)
        equal(int(peer_after[way]["packets"]) - int(peer_before[way]["packets"]), 20,
              "the peer's packets " + way)
    check(int(after["out"]["bytes"]) > int(before["out"]["bytes"]), "bytes stand still")


@test
def suites_are_agreed_in_the_leaders_order(lab):
    all_suites = ["aes256gcm16", "aes128gcm16", "aes192gcm16", "aes256-sha256", "aes128-sha256",
                  "aes128-sha1", "aes256gmac", "aes128gmac", "aes192gmac"]
    for suite in all_suites:
        a, b = lab.pair(
            both={"defaults": {"rekey": {"min_interval_ms": 0}}},
            peer_beta={"role": "dial", "suites": [suite] + [s for s in all_suites if s != suite]},
            peer_alpha={"role": "listen", "suites": all_suites[::-1]},
        )
        p, q = a.peer("beta"), b.peer("alpha")
        equal((p["suite"], q["suite"]), (suite, suite), "suite")
        expect_exit(a.cli("verify", "beta", "--count", "50"))
        a.stop()
        b.stop()
        lab.agents.clear()


@test
def esn_is_agreed_only_when_both_want_it(lab):
    for wish in ((True, True), (True, False), (False, False)):
        a, b = lab.pair(peer_beta={"esn": wish[0]}, peer_alpha={"esn": wish[1]})
        p, q = a.peer("beta"), b.peer("alpha")
        equal((p["esn"], q["esn"]), (all(wish), all(wish)), "esn")
        a.stop()
        b.stop()
        lab.agents.clear()


if __name__ == "__main__":
    main(Lab)
