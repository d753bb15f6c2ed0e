#!/usr/bin/env python3
"""The Manual SA scenario, call by call, on a substitute for the filter engine."""

import ipaddress
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import same_pair
from harness.control import Gone
from harness.identity import identity
from harness.program import expect_exit
from harness.settings import ALPHA, BETA
from harness.tap import Skip, check, equal, has, test, until
from harness.wfp_engine import CALLOUT, CALLOUTS, FIELDS, LAYERS, PERMIT, Engine, wfp_agent
from harness.wine import main, win, windows_path

RULES = ["FwpmTransactionBegin0", "FwpmProviderAdd0"] + 8 * ["FwpmFilterAdd0"] + ["FwpmTransactionCommit0"]
OPEN = ["FwpmEngineOpen0", "FwpmTransactionBegin0", "FwpmTransactionAbort0"]
PAIR = ["IPsecSaContextCreate0", "IPsecSaContextGetSpi0", "IPsecSaContextAddInbound0",
        "IPsecSaContextAddOutbound0"]
ENDS = ["FwpmTransactionCommit0", "FwpmTransactionAbort0"]
END = ["IPsecSaContextExpire0", "IPsecSaContextDeleteById0"]
READS = ["IPsecSaContextCreateEnumHandle0", "IPsecSaContextEnum0", "FwpmFilterCreateEnumHandle0", "FwpmFilterEnum0"]
ALL_OF_CLEAN = READS + ["FwpmTransactionBegin0", "IPsecSaContextDeleteById0", "FwpmFilterDeleteByKey0",
                        "FwpmProviderDeleteByKey0", "FwpmTransactionCommit0"]
FAST = {"verify": False, "switch_ms": 0, "drain_ms": 300}


def pair(lab, env=None, leads=True, **options):
    """alpha on Windows with its engine, as leader or follower; beta on Linux (soft)."""
    options = dict(FAST, **options)
    roles = ("dial", "listen") if leads else ("listen", "dial")
    a = wfp_agent(lab, "alpha", lab.peer_of("beta", role=roles[0], **options), env=env)
    b = lab.agent("beta", lab.peer_of("alpha", role=roles[1], **options))
    b.start(ready=False)
    a.start()
    b.wait_ready()
    return a, b


def have_same_pair(a, b, epoch=1):
    x, y = a.peer(b.name), b.peer(a.name)
    return x and y and same_pair(x, y) and x["state"] == y["state"] == "up" and int(x["epoch"]) >= epoch


def paired(a, b, epoch=1):
    until(lambda: have_same_pair(a, b, epoch), "%s and %s have the same pair" % (a.name, b.name))


def settled(*engines):
    """Waits until no superseded context is left."""
    until(lambda: all(len(e.state()["contexts"]) == len(e.pairs()) == 1 for e in engines),
          "one complete context each")


def calls_are(engine, wanted, what):
    """Calls since the last check. A call is logged after its effect."""
    made = []
    until(lambda: made.extend(engine.names(new=True)) or len(made) >= len(wanted), what)
    equal(made, wanted, what)


def check_half(agent, peer, half, way):
    equal(half["spi"], agent.peer(peer)[way]["spi"], "SPI")
    equal(half["packets"], 0x7fffffff, "packets")
    equal(half["flags"], 0x2000, "flags")
    check(300 <= half["seconds"] <= 172799, "seconds: %d" % half["seconds"])
    check(half["qm_id"] != 0, "qmSaId is 0")


@test
def a_pairing_makes_the_calls_of_the_manual_sa_article(lab):
    a, b = pair(lab)
    paired(a, b)
    equal(a.engine.names(), OPEN + RULES + PAIR, "calls")
    for call in a.engine.calls():
        check(call["code"] in ("00000000",), "a call was refused: %s" % call)
    (c,) = a.engine.pairs()
    check_half(a, "beta", c["in"], "in")
    check_half(a, "beta", c["out"], "out")
    equal(c["in"]["spi"], c["spi"], "the SPI of the inbound SA and the reserved SPI")
    check(c["in"]["auth"] != c["out"]["auth"], "two SAs have the same key")
    filters = {f["id"]: f for f in a.engine.state()["filters"]}
    equal(LAYERS[filters[c["in_filter"]]["layer"]], "in v4", "layer of the inbound filter")
    equal(LAYERS[filters[c["out_filter"]]["layer"]], "out v4", "layer of the outbound filter")
    expect_exit(a.cli("down", "beta"))
    check(a.engine.is_empty(), "left over: %s" % a.engine.state())


@test
def the_filters_protect_everything_but_icmp_and_the_agents_link(lab):
    a, b = pair(lab)
    paired(a, b)
    seen = set()
    for f in a.engine.state()["filters"]:
        conditions = {FIELDS[c[0]]: c[1] for c in f["conditions"]}
        layer = LAYERS[f["layer"]]
        equal(conditions.pop("local type"), 1, "local type: unicast")
        equal(ipaddress.ip_address(conditions.pop("local")), ipaddress.ip_address(ALPHA), "local")
        equal(ipaddress.ip_address(conditions.pop("remote")), ipaddress.ip_address(BETA), "remote")
        if f["action"] == CALLOUT:
            equal(CALLOUTS[f["callout"]], layer, "callout")
            equal((conditions, f["weight"]), ({}, [0, 0]), "rest of a protecting filter")
            seen.add((layer, "protect"))
        else:
            equal((f["action"], f["weight"]), (PERMIT, [1, 0xC]), "action and weight of an exemption")
            seen.add((layer, tuple(sorted(conditions.items()))))
    tcp = [(("local port", lab.port), ("protocol", 6)), (("protocol", 6), ("remote port", lab.port))]
    equal(seen, {(l, r) for l in ("in v4", "out v4")
                 for r in ["protect", (("protocol", 1),)] + tcp}, "filters")


def pair_over_ipv6(lab, name, **env):
    """One address, two ports: the certificates distinguish the agents."""
    ports = {"alpha": lab.port, "beta": lab.free_port(("::1",))}
    options = {h: dict(listen="[::]:%d" % ports[h], id=identity(h, "::1")) for h in ports}
    peer = lambda h: dict(FAST, name=h, address="[::1]:%d" % ports[h], identity=h)
    a = wfp_agent(lab, "alpha", peer("beta"), env=env, engine=Engine(lab, name), **options["alpha"])
    b = lab.agent("beta", peer("alpha"), **options["beta"])
    b.start(ready=False)
    a.start()
    b.wait_ready()
    paired(a, b)
    return a, b


@test
def a_pairing_over_ipv6_makes_the_same_calls_in_the_ipv6_layers(lab):
    if not lab.is_free(1, "::1", lab.port):
        raise Skip("no ::1 here")
    switch = {"SAPAIR_WFP": "wait-ms=10000 ipv6-network"}
    wants = {"SAPAIR_STANDIN_IPV6": "network"}
    # If the engine refuses one byte order, the other is tried once, for the first pair only.
    for name, env, refused in (("turned", {}, 0), ("network", dict(switch, **wants), 0),
                               ("guessed", wants, 1), ("misguided", switch, 1)):
        a, b = pair_over_ipv6(lab, name, **env)
        equal(a.engine.names(), OPEN + RULES + refused * PAIR[:1] + PAIR, "calls, " + name)
        equal([c["call"] for c in a.engine.calls() if int(c["code"], 16)], refused * PAIR[:1], "refused, " + name)
        seen = set()
        for f in a.engine.state()["filters"]:
            conditions = {FIELDS[c[0]]: c[2] or c[1] for c in f["conditions"]}
            equal([conditions.pop(end) for end in ("local", "remote")], 2 * [15 * "00" + "01"], "addresses")
            seen.add((LAYERS[f["layer"]], CALLOUTS[f["callout"]], conditions.get("protocol")))
        equal(seen, {(way, callout, protocol) for way in ("in v6", "out v6")
                     for callout, protocol in ((way, None), (None, 58), (None, 6))}, "filters")
        a.engine.names(new=True)
        receipt = expect_exit(a.cli("rekey", "beta", "--no-verify")).doc("rekey")
        paired(a, b, int(receipt["epoch"]["new"]))
        settled(a.engine)
        calls_are(a.engine, PAIR + END, "calls of a rekey, " + name)
        expect_exit(a.cli("down", "beta"))
        check(a.engine.is_empty(), "left over: %s" % a.engine.state())
        a.stop()
        b.stop()
        lab.agents.clear()


@test
def two_windows_machines_have_mirrored_bundles(lab):
    for suite in ("aes256gcm16", "aes128gcm16", "aes192gcm16", "aes256-sha256", "aes128-sha256",
                  "aes128-sha1", "aes256gmac"):
        options = dict(FAST, suites=[suite])
        a = wfp_agent(lab, "alpha", lab.peer_of("beta", **options), engine=Engine(lab, "a-" + suite))
        b = wfp_agent(lab, "beta", lab.peer_of("alpha", **options), engine=Engine(lab, "b-" + suite))
        b.start(ready=False)
        a.start()
        b.wait_ready()
        paired(a, b)
        (x,), (y,) = a.engine.pairs(), b.engine.pairs()
        for here, there in ((x["in"], y["out"]), (x["out"], y["in"])):
            equal(here, there, "bundles of %s" % suite)
        equal(x["in"]["qm_id"], x["out"]["qm_id"], "qmSaId of both directions")
        equal(x["in"]["transform"], 2 if suite.endswith("gmac") else 4, "transform of " + suite)
        a.stop()
        b.stop()


@test
def a_linux_machine_has_the_same_keys(lab):
    for suite in ("aes256gcm16", "aes128-sha256"):
        options = dict(FAST, suites=[suite])
        a = wfp_agent(lab, "alpha", lab.peer_of("beta", **options), engine=Engine(lab, "e-" + suite))
        b = lab.agent("beta", lab.peer_of("alpha", **options), export_keys=True)
        b.start(ready=False)
        a.start()
        b.wait_ready()
        paired(a, b)
        (c,) = a.engine.pairs()
        here = sorted((h["spi"], h["cipher"][2] if "gcm" in suite else h["cipher"][2] + h["auth"][2])
                      for h in (c["in"], c["out"]))
        there = sorted((d["spi"], d["key"] + d.get("mac_key", ""))
                       for d in b.cli("export esp-sa").docs)
        equal(here, there, "SPIs and keys of " + suite)
        a.stop()
        b.stop()


@test
def a_rekey_is_make_before_break(lab):
    a, b = pair(lab)
    paired(a, b)
    (old,) = a.engine.pairs()
    a.engine.names(new=True)
    receipt = expect_exit(a.cli("rekey", "beta", "--no-verify")).doc("rekey")
    paired(a, b, int(receipt["epoch"]["new"]))
    settled(a.engine)
    calls_are(a.engine, PAIR + END, "calls of a rekey")
    (new,) = a.engine.pairs()
    check(new["in"]["qm_id"] != old["in"]["qm_id"], "the same qmSaId twice")
    equal((new["in_filter"], new["out_filter"]), (old["in_filter"], old["out_filter"]), "filters")


@test
def a_restart_recovers_and_replaces_the_pair(lab):
    a, b = pair(lab)
    paired(a, b)
    (old,) = a.engine.pairs()
    filters = a.engine.state()["filters"]
    for end in (a.stop, a.kill):
        end()
        equal(a.engine.pairs(), [old], "contexts without an agent")
        equal(a.engine.state()["filters"], filters, "filters without an agent")
        a.start()
        until(lambda: have_same_pair(a, b) and a.engine.pairs()[-1:] != [old], "a new pair")
        settled(a.engine)
        equal(a.engine.state()["filters"], filters, "filters")
        has(a.log(), "adopted" if "adopted" in a.log() else "of an earlier run")
        (old,) = a.engine.pairs()


CODE = 0x80320035


@test
def every_call_of_an_up_can_fail_once(lab):
    a, b = pair(lab)
    paired(a, b)
    for call, n in [("FwpmTransactionBegin0", 1), ("FwpmProviderAdd0", 1)] + \
            [("FwpmFilterAdd0", i) for i in range(1, 9)] + [("FwpmTransactionCommit0", 1)]:
        expect_exit(a.cli("down", "beta"))
        check(a.engine.is_empty(), "left over: %s" % a.engine.state())
        a.engine.fail(call, n, CODE)
        a.engine.calls(new=True)
        expect_exit(a.cli("up", "beta", "--no-verify"))  # retries
        check(not a.engine.is_waiting_to_fail, "%s was not called %d times" % (call, n))
        calls = a.engine.calls(new=True)
        (at,) = [i for i, c in enumerate(calls) if c.get("chosen") or c["code"] == "%08x" % CODE]
        behind = [c for c in calls[at:] if c["call"] in ENDS]
        if call != "FwpmTransactionBegin0":
            equal(behind[0]["left"], 0, "objects after the failure of %s %d" % (call, n))
        equal(behind[-1]["left"], 9, "objects at last")


@test
def a_start_whose_calls_fail_once_ends_well(lab):
    for call, n in [("FwpmTransactionBegin0", 2), (PAIR[0], 1)]:
        engine = Engine(lab, "%s-%d" % (call, n))
        a = wfp_agent(lab, "alpha", lab.peer_of("beta", **FAST), engine=engine)
        b = lab.agent("beta", lab.peer_of("alpha", **FAST))
        engine.fail(call, n, CODE)
        b.start(ready=False)
        a.start()
        b.wait_ready()
        paired(a, b)
        check(not engine.is_waiting_to_fail, "%s was not called %d times" % (call, n))
        settled(engine)
        equal(len(engine.state()["filters"]), 8, "filters")
        has(a.log(), "0x80320035")
        a.stop()
        b.stop()
        lab.agents.clear()


def rekey_fails(a, call):
    """The call is refused; the pair in force stays."""
    settled(a.engine)
    before, was = a.engine.state(), a.peer("beta")
    a.engine.fail(call, 1, CODE)
    r = a.cli("rekey", "beta", "--no-verify")
    check(r.rc in (1, 7), "exit status of a rekey whose %s fails: %s" % (call, r))
    has(r.out, "0x80320035")
    has(r.out, call)
    now = a.peer("beta")
    equal((now["epoch"], now["in"]["spi"], now["state"]), (was["epoch"], was["in"]["spi"], "up"), "pair in force")
    return before


@test
def every_call_of_a_rekey_can_fail_once(lab):
    a, b = pair(lab)
    paired(a, b)
    for call in PAIR:
        before = rekey_fails(a, call)
        until(lambda: a.engine.state() == before, "the state is as before, after %s" % call)
        expect_exit(a.cli("rekey", "beta", "--no-verify"))
    for call in END:
        settled(a.engine)
        a.engine.fail(call, 1, CODE)
        expect_exit(a.cli("rekey", "beta", "--no-verify"))
        settled(a.engine)
        check(not a.engine.is_waiting_to_fail, call + " was not called")


@test
def every_call_of_a_rekey_that_the_peer_leads_can_fail_once(lab):
    a, b = pair(lab, leads=False)
    paired(a, b)
    for call in PAIR[:3]:
        before = rekey_fails(a, call)
        until(lambda: a.engine.state() == before, "the state is as before, after %s" % call)
        expect_exit(a.cli("rekey", "beta", "--no-verify"))
    # The leader already sends on the new pair: its inbound SA stays until there is a newer one.
    before = rekey_fails(a, PAIR[3])
    check(before["contexts"][0] in a.engine.state()["contexts"], "the pair in force: %s" % a.engine.state())
    expect_exit(a.cli("rekey", "beta", "--no-verify"))
    settled(a.engine)


@test
def every_call_of_plan_and_clean_can_fail_once(lab):
    a, b = pair(lab)
    paired(a, b)
    a.kill()
    before = a.engine.state()
    control = ["--control", a.config["control"]]
    verbs = (["plan", "--config", windows_path(a.config_path)], ["clean", "--check", *control], ["clean", *control])

    def run(words):
        a.engine.calls(new=True)
        r = win(*words, "--json", env=a.env, exe=a.exe)
        return r, [c["call"] for c in a.engine.calls(new=True)]

    tried = 0
    for words in verbs:
        calls = run(words)[1] if "plan" in words or "--check" in words else ALL_OF_CLEAN
        for call in dict.fromkeys(calls):
            if "Destroy" in call or "Close" in call or "Abort" in call:
                continue  # the result of these is not used
            a.engine.fail(call, 1, CODE)
            r, made = run(words)
            check(not a.engine.is_waiting_to_fail, "%s was not called by %s" % (call, words))
            if words[0] == "clean" and len(words) == 3 and call not in OPEN + READS:
                check(r.rc in (0, 1, 7), "exit status of clean whose %s fails: %s" % (call, r))
                expect_exit(win(*words, "--json", env=a.env, exe=a.exe))
                check(a.engine.is_empty(), "left over after %s: %s" % (call, a.engine.state()))
                a.start()
                paired(a, b)
                a.kill()
                before = a.engine.state()
            else:
                equal(r.rc, 1, "exit status of %s whose %s fails: %s" % (words[0], call, r))  # one of our own codes
                has(r.out, "0x80320035")
                has(r.out, call)
                equal(a.engine.state(), before, "state after %s of %s" % (call, words[0]))
            tried += 1
    print("# %d calls failed" % tried)


def answers(a):
    try:
        return a.status()
    except Gone:
        return None


@test
def every_call_of_a_restart_can_fail_once(lab):
    a, b = pair(lab)
    paired(a, b)
    a.kill()
    a.engine.calls(new=True)
    a.start()
    paired(a, b)
    settled(a.engine)
    calls = [c["call"] for c in a.engine.calls(new=True)]
    ended = []
    for call in dict.fromkeys(calls):
        if "Destroy" in call or "Unsubscribe" in call or "Abort" in call:
            continue  # the result of these is not used
        a.kill()
        before = a.engine.state()
        a.engine.fail(call, 1, CODE)
        a.start(ready=False)
        until(lambda: not a.alive() or answers(a) and have_same_pair(a, b), "it exits or has a pair")
        if not a.alive():
            ended.append(call)
            equal(a.wait_exit(), 1, "exit status of a start whose %s fails" % call)  # one of our own codes
            has(a.log(), "0x80320035")
            equal(a.engine.state(), before, "objects that existed before, after " + call)
            a.process = None
            a.start()
        paired(a, b)
        settled(a.engine)
        check(not a.engine.is_waiting_to_fail, "%s was not called" % call)
        equal(len(a.engine.state()["filters"]), 8, "filters after " + call)
    print("# %d calls failed; a start ended for %s" % (len(dict.fromkeys(calls)), ended))


@test
def every_call_of_a_teardown_can_fail_once(lab):
    a, b = pair(lab)
    for call in ["IPsecSaContextDeleteById0", "IPsecSaContextCreateEnumHandle0", "IPsecSaContextEnum0",
                 "FwpmTransactionBegin0", "FwpmFilterDeleteByKey0", "FwpmProviderDeleteByKey0",
                 "FwpmTransactionCommit0"]:
        paired(a, b)
        a.engine.fail(call, 1, CODE)
        expect_exit(a.cli("down", "beta"))
        check(a.engine.is_empty(), "left over after %s: %s" % (call, a.engine.state()))
        check(not a.engine.is_waiting_to_fail, call + " was not called")
        expect_exit(a.cli("up", "beta", "--no-verify"))


@test
def filters_that_cannot_be_deleted_are_named_until_they_are_gone(lab):
    a, b = pair(lab)
    paired(a, b)
    a.engine.fail("FwpmFilterDeleteByKey0", 0)
    done = expect_exit(a.cli("down", "beta"), 7).doc("down")
    equal(done["removing"]["policy"], True, "policy left")
    has(done["removing"]["error"]["cause"], "FwpmFilterDeleteByKey0", "cause")
    equal(len(a.engine.state()["filters"]), 8, "filters")
    equal(a.peer("beta")["state"], "removing", "state")
    check("no policy is left" not in a.log(), "told too early")
    expect_exit(a.cli("down", "beta"), 7)
    a.engine.stop_failing()
    a.wait_peer("beta", "is down", lambda p: p["state"] == "down")
    check(a.engine.is_empty(), "left over: %s" % a.engine.state())
    has(a.log(), "no policy is left", "log")
    # Clean finishes what a stopped agent left, and says when it cannot.
    expect_exit(a.cli("up", "beta", "--no-verify"))
    a.engine.fail("FwpmFilterDeleteByKey0", 0)
    expect_exit(a.cli("down", "beta"), 7)
    a.stop()
    clean = ["clean", "--control", a.config["control"], "--json"]
    expect_exit(win(*clean, env=a.env, exe=a.exe), 7)
    a.engine.stop_failing()
    expect_exit(win(*clean, env=a.env, exe=a.exe))
    check(a.engine.is_empty(), "left over: %s" % a.engine.state())


@test
def sas_that_cannot_be_deleted_are_named_until_they_are_gone(lab):
    a, b = pair(lab)
    paired(a, b)
    a.engine.fail("IPsecSaContextDeleteById0", 0)
    expect_exit(a.cli("rekey", "beta", "--no-verify"))
    p = a.wait_peer("beta", "has an SA left", lambda p: "removing" in p)
    equal(p["state"], "up", "state")
    check(p["removing"]["sas"], "no SA is named: %s" % p)
    a.engine.stop_failing()
    a.wait_peer("beta", "has nothing left", lambda p: "removing" not in p)
    equal(len(a.engine.state()["contexts"]), 1, "contexts")


@test
def a_lock_held_by_another_program_does_not_stop_the_loop(lab):
    a, b = pair(lab, env={"SAPAIR_WFP": ""})
    paired(a, b)
    with a.engine.held():
        began = time.monotonic()
        r = a.cli("rekey", "beta", "--no-verify")
        took = time.monotonic() - began
        equal(r.rc, 7, "exit status")
        has(r.out, "does not answer")
        check(took < 5, "the rekey took %.1f s" % took)
        for _ in range(5):
            began = time.monotonic()
            equal(a.peer("beta")["link"], "up", "link")
            check(time.monotonic() - began < 2, "status took %.1f s" % (time.monotonic() - began))
        equal(b.peer("alpha")["state"], "up", "state at the peer")
    until(lambda: a.cli("rekey", "beta", "--no-verify").rc == 0, "a rekey succeeds again")
    settled(a.engine)


@test
def objects_that_another_program_removes_are_restored(lab):
    a, b = pair(lab)
    paired(a, b)
    was = a.peer("beta")
    a.engine.forget()
    until(lambda: have_same_pair(a, b, int(was["epoch"]) + 1), "a new pair", 60)
    until(lambda: len(a.engine.state()["filters"]) == 8, "the filters are back")
    has(a.log(), "another program removed")


@test
def events_of_the_engine_take_effect_at_once(lab):
    """Without events removals are detected within 10 s; with events sooner."""
    a, b = pair(lab)
    paired(a, b)
    log = lambda: a.log()
    for what in ("context", "filter"):
        was = a.peer("beta")
        (c,) = a.engine.pairs()
        told = {"context": c["id"], "filter": c["in_filter"]}[what]
        a.engine.forget()
        began = time.monotonic()
        a.engine.post_event("%s %d" % (what, told))
        until(lambda: have_same_pair(a, b, int(was["epoch"]) + 1), "a new pair")
        check(time.monotonic() - began < 8, "%s: %.1f s" % (what, time.monotonic() - began))
    a.engine.post_event("drop %s 12345678 c000a010" % BETA)
    until(lambda: "peer beta: 1 packets dropped; the last: SPI 12345678, status 0xc000a010" in log(),
          "drops are reported")
    a.engine.post_event("drop 192.0.2.99 1 2")  # of another program
    a.stop()
    check(log().count("packets dropped") == 1, "drops of other programs are reported")
    (end,) = [c for c in a.engine.calls() if c["call"] == "FwpmEngineClose0"]
    equal((end["enums"], end["unfreed"]), (0, 0), "subscriptions and memory at the end")


@test
def an_engine_without_events_is_enough(lab):
    a = wfp_agent(lab, "alpha", lab.peer_of("beta", **FAST))
    b = lab.agent("beta", lab.peer_of("alpha", **FAST))
    a.engine.fail("IPsecSaContextSubscribe0", 1, 0x80320035)
    b.start(ready=False)
    a.start()
    b.wait_ready()
    paired(a, b)
    check(not a.engine.is_waiting_to_fail, "no subscription was tried")


@test
def without_privilege_nothing_is_changed(lab):
    for word, rc, text in (("none", 9, "elevated"), ("nobfe", 7, "sc start bfe")):
        a = wfp_agent(lab, "alpha", "beta", env={"SAPAIR_STANDIN_ACCESS": word},
                      engine=Engine(lab, word))
        a.start(ready=False)
        equal(a.wait_exit(), rc, "exit status")
        a.process = None
        has(a.log(), text)
        check(a.engine.is_empty(), "the engine was changed")


@test
def options_that_windows_lacks_are_refused_by_name(lab):
    for option, value in (("mode", "permissive"), ("encap", "tunnel"), ("start", "seamless"),
                          ("protect", ["tcp/445"]), ("exempt", ["icmp", "tcp/22"]), ("exempt", ["tcp/22"]),
                          ("exempt", [])):
        a = wfp_agent(lab, "alpha", lab.peer_of("beta", **{option: value}),
                      engine=Engine(lab, "%s%d" % (option, len(value))))
        a.start(ready=False)
        equal(a.wait_exit(), 2, "exit status with %s" % option)
        a.process = None
        has(a.log(), "wfp cannot do")
        check(a.engine.is_empty(), "the engine was changed")


@test
def plan_lists_and_clean_removes(lab):
    a, b = pair(lab)
    paired(a, b)
    config = ["--config", windows_path(a.config_path)]

    def run(verb, *words):
        r = win(verb, *words, "--json", env=a.env, exe=a.exe)
        return r.rc, sorted((d["change"], d["object"], d["direction"]) for d in r.docs), r.docs

    rc, objects, docs = run("plan", *config)
    filters = 4 * [("keep", "policy", "in")] + 4 * [("keep", "policy", "out")]
    equal((rc, objects), (0, filters + [("keep", "sa", "in"), ("keep", "sa", "out")]), "plan")
    ids = {d["id"] for d in docs if d["object"] == "policy"}
    r = win("doctor", *config, "--json", env=a.env, exe=a.exe).doc("doctor")
    (c,) = [c for c in r["checks"] if c["check"] == "statistics"]
    equal(c["text"], "1 SAs active on the whole machine; dropped so far: 3 unknown SPI, "
          "4 integrity, 5 decryption, 6 replay, 7 in clear", "statistics")
    equal(ids, {str(f["id"]) for f in a.engine.state()["filters"]}, "filters of plan")
    spis = {d["direction"]: d["spi"] for d in docs if d["object"] == "sa"}
    p = a.peer("beta")
    equal(spis, {"in": p["in"]["spi"], "out": p["out"]["spi"]}, "SPIs of plan")
    equal({(d["source"], d["destination"]) for d in docs if d["direction"] == "in"}, {(BETA, ALPHA)}, "ends")
    r = win("clean", "--control", a.config["control"], env=a.env, exe=a.exe)
    equal(r.rc, 2, "clean while an agent runs")

    a.kill()
    other = dict(a.config, peers=[lab.peer_of("gamma")])
    path = windows_path(lab.write("other.json", json.dumps(other)))
    rc, objects, docs = run("plan", "--config", path)
    equal(rc, 10, "exit status of a plan that differs")
    equal([o[0] for o in objects], 10 * ["add"] + 10 * ["stale"], "changes")
    control = ["--control", a.config["control"]]
    before = a.engine.state()
    rc, objects, _ = run("clean", "--check", *control)
    equal((rc, len(objects)), (10, 10), "clean --check")
    equal(a.engine.state(), before, "what clean --check leaves")
    rc, objects, _ = run("clean", *control)
    equal((rc, [o[0] for o in objects]), (0, 10 * ["remove"]), "clean")
    check(a.engine.is_empty(), "left over: %s" % a.engine.state())
    equal(run("clean", "--check", *control)[:2], (0, []), "clean --check after clean")
    rc, objects, _ = run("plan", *config)
    equal((rc, [o[0] for o in objects]), (10, 10 * ["add"]), "plan of an empty engine")
    a.start()
    paired(a, b)


if __name__ == "__main__":
    main()
