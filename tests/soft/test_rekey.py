#!/usr/bin/env python3
"""New SPIs and keys, on demand and by lifetime, without packet loss."""

import concurrent
import concurrent.futures
import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import in_force, wait_paired, wait_single_pair
from harness.control import Control
from harness.lab import Lab
from harness.program import expect_exit
from harness.settings import SAN, SLOW
from harness.tap import check, equal, has, main, test

FAST = {"defaults": {"rekey": {"min_interval_ms": 0}, "drain_ms": 200, "switch_ms": 100}}


def receipt(result):
    return expect_exit(result).doc("rekey")


@test
def the_result_of_a_rekey_agrees_with_status_on_both_hosts(lab):
    a, b = lab.pair(both=FAST)
    for asker, other in ((a, b), (b, a)):
        old, peer_old = asker.peer(other.name), other.peer(asker.name)
        r = receipt(asker.cli("rekey", other.name))
        new, peer_new = wait_paired(asker, other, epoch=int(old["epoch"]) + 1)
        equal(r["peer"], other.name, "peer")
        equal(r["epoch"], {"old": old["epoch"], "new": new["epoch"]}, "epoch")
        for way in ("in", "out"):
            equal(r[way], {"old": old[way]["spi"], "new": new[way]["spi"]}, way)
            equal(r["peer_" + way], {"old": peer_old[way]["spi"], "new": peer_new[way]["spi"]},
                  "peer_" + way)
        check(len({r[w][k] for w in ("in", "out") for k in ("old", "new")}) == 4, "an SPI came again")
        equal((r["changed"], r["joined"], r["limited"], r["verified"]), (True, False, False, True),
              "changed, joined, limited, verified")
        equal(r["role"], asker.peer(other.name)["role"], "role")
        equal(r["reason"], "request", "reason")
        equal(r["suite"], new["suite"], "suite")
        equal(r["overlap_ms"], {"out": 100, "in": 200}, "overlap_ms")
        check(r["probes"]["sent"] > 0 and r["probes"]["lost"] == 0, "probes: %s" % r)
        ms = r["ms"]
        check(0 <= ms["inbound"] <= ms["exchange"] <= ms["total"] and ms["switch"] <= ms["exchange"],
              "ms: %s" % ms)
        equal(new["rekeys"], str(int(old["rekeys"]) + 1), "rekeys")
        wait_single_pair(a, b)


@test
def rekey_with_wait_returns_when_the_old_sas_are_removed(lab):
    a, b = lab.pair(both={"defaults": {"rekey": {"min_interval_ms": 0}, "drain_ms": 700}})
    r = receipt(a.cli("rekey", "beta"))
    equal((r["drained"], a.peer("beta")["held"]), (False, 1), "drained, held without --wait")
    start = time.monotonic()
    r = receipt(a.cli("rekey", "beta", "--wait"))
    took = time.monotonic() - start
    equal((r["drained"], a.peer("beta")["held"]), (True, 0), "drained, held with --wait")
    check(took >= 0.65, "--wait returned after %.2f s of 0.7" % took)
    wait_single_pair(a, b)


@test
def rekey_with_wait_and_a_timeout_reports_the_current_pair(lab):
    a, b = lab.pair(both={"defaults": {"rekey": {"min_interval_ms": 0}, "drain_ms": 60000}})
    start = time.monotonic()
    r = expect_exit(a.cli("rekey", "beta", "--wait", "--timeout", "1"), 4)
    has(r.doc("error")["cause"], "the new pair is in force, but old SAs are still being drained")
    check(time.monotonic() - start < 1 + SLOW, "--timeout was not kept")
    wait_paired(a, b, epoch=2)


@test
def rekey_with_no_wait_returns_at_once(lab):
    a, b = lab.pair(both=FAST)
    expect_exit(a.cli("rekey", "beta", "--no-wait"))
    wait_paired(a, b, epoch=2)


@test
def the_reason_of_a_rekey_is_in_the_events(lab):
    a, b = lab.pair(both=FAST)
    with Control(a.control) as c:
        c.send({"verb": "watch"})
        a.status()
        receipt(a.cli("rekey", "beta", "--reason", "key was shown on a screen"))
        text = ""
        while '"rekey-done"' not in text:
            text += json.dumps(c.line()) + "\n"
    has(text + a.log(), "key was shown on a screen", "events and log")


@test
def one_request_on_each_host_makes_one_rekey(lab):
    a, b = lab.pair(both={"defaults": {"rekey": {"min_interval_ms": 0}}})
    for _ in range(10):
        before = int(a.peer("beta")["epoch"])
        gate = threading.Barrier(2)

        def ask(agent, peer):
            with Control(agent.control) as c:
                gate.wait()
                return c.ask("rekey", peer=peer)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(ask, a, "beta"), pool.submit(ask, b, "alpha")]
            got = [j.result() for j in jobs]
        equal([rc for rc, _ in got], [0, 0], "exits: %s" % got)
        epochs = [docs[0]["epoch"]["new"] for _, docs in got]
        after = int(wait_paired(a, b)[0]["epoch"])
        # The two requests may have come at once, or one after the other.
        check(after in (before + 1, before + 2), "epoch %d after %d" % (after, before))
        if after == before + 1:
            equal(epochs, [str(after)] * 2, "epochs in the receipts")
        check({int(e) for e in epochs} <= {before + 1, before + 2}, "epochs: %s" % epochs)


@test
def five_requests_at_once_make_one_rekey(lab):
    # beta is suspended, so that all five requests arrive before the first can end.
    a, b = lab.pair(both={"defaults": {"rekey": {"min_interval_ms": 0}}})
    for agent, other in ((a, b), (b, a)):
        before = int(agent.peer(other.name)["epoch"])
        other.signal(signal.SIGSTOP)
        clients = [Control(agent.control) for _ in range(5)]
        for c in clients:
            c.send({"verb": "rekey", "peer": other.name})
        agent.status()
        other.signal(signal.SIGCONT)
        got = []
        for c in clients:
            got.append(c.line())
            equal(c.line(), {"schema": "sapair.end/1", "exit": 0}, "end of %s" % got[-1])
            c.close()
        equal({d["epoch"]["new"] for d in got}, {str(before + 1)}, "epochs in the receipts")
        equal({(d["in"]["new"], d["out"]["new"]) for d in got}, {in_force(agent.peer(other.name))[1:]},
              "SPIs in the receipts")
        equal(sorted(d["joined"] for d in got), [False] + [True] * 4, "joined")
        equal(int(wait_paired(a, b)[0]["epoch"]), before + 1, "epoch in force")


@test
def at_most_one_rekey_per_second_by_default(lab):
    a, b = lab.pair()
    lead = a if a.peer("beta")["role"] == "leader" else b
    follow = b if lead is a else a
    # The interval applies from the second rekey on.
    receipt(lead.cli("rekey", follow.name))
    for agent, other in ((lead, follow), (follow, lead)):
        start = time.monotonic()
        for _ in range(2):
            r = receipt(agent.cli("rekey", other.name))
            check(r["limited"] or r["joined"] or agent is follow, "not limited: %s" % r)
        took = time.monotonic() - start
        check(1.5 < took < 2.5 * SLOW + 1, "two rekeys in %.2f s" % took)


@test
def rekey_all_prints_one_result_per_pair(lab):
    names = ["beta", "gamma", "delta"]
    a = lab.agent("alpha", *names, **FAST)
    others = [lab.agent(n, "alpha", **FAST) for n in names]
    for x in [a] + others:
        x.start()
    for x in others:
        wait_paired(a, x)
    for more in ([], ["--parallel", "1"]):
        before = {n: int(a.peer(n)["epoch"]) for n in names}
        r = expect_exit(a.cli("rekey", "--all", *more))
        equal(sorted(d["peer"] for d in r.docs), sorted(names), "receipts")
        for d in r.docs:
            equal(int(d["epoch"]["new"]), before[d["peer"]] + 1, "epoch of " + d["peer"])
            check(d["verified"], "not verified: %s" % d)
    # A pair that is not up is reported; the others are rekeyed.
    others[2].stop()
    expect_exit(a.cli("down", "delta"))
    r = expect_exit(a.cli("rekey", "--all"), 3)
    equal(sorted(d["peer"] for d in r.docs if d["schema"] == "sapair.rekey/1"), names[:2], "receipts")
    equal([d["peer"] for d in r.docs if d["schema"] == "sapair.error/1"], ["delta"], "errors")


# --- by themselves --------------------------------------------------------------------------------


def by_itself(title, rekey, reason, load):
    @test(name="a pair is rekeyed by " + title)
    def rekeyed(lab):
        a, b = lab.pair(both={"defaults": {"rekey": dict(rekey, min_interval_ms=100),
                                           "drain_ms": 500}})
        first = int(a.peer("beta")["epoch"])
        with Control(a.control) as c:
            c.send({"verb": "watch"})
            a.status()
            events, lost = [], 0
            end = time.monotonic() + 20 * SLOW
            while len(events) < 2 and time.monotonic() < end:
                if load:
                    rc, docs = a.ask("verify", peer="beta", count=60, interval_ms=1)
                    equal(rc, 0, "verify: %s" % docs)
                    lost += docs[0]["probes"]["lost"]
                while len(events) < 2:
                    c.socket.settimeout(0.05 if load else 10 * SLOW)
                    try:
                        e = c.line()
                    except (TimeoutError, OSError):
                        break
                    if e["event"] == "rekey-done":
                        events.append(e)
            check(len(events) >= 2, "%d rekeys came" % len(events))
            equal({e["reason"] for e in events}, {reason}, "reasons")
            equal(lost, 0, "lost probes")
        p, _ = wait_paired(a, b)
        check(int(p["epoch"]) >= first + 2, "epoch %s" % p["epoch"])

    return rekeyed


by_itself("time", {"time_s": 2}, "time", False)
by_itself("packets", {"packets": 100}, "packets", True)
by_itself("bytes", {"bytes": 10000}, "bytes", True)


def hard_end(title, soft, hard):
    @test(name="a pair whose %s are used up ends and repairs itself" % title)
    def ends(lab):
        a, b = lab.pair(both={"defaults": {"rekey": dict(soft, min_interval_ms=0), "hard": hard,
                                           "drain_ms": 300}})
        old = in_force(a.peer("beta"))
        b.signal(signal.SIGSTOP)  # the rekey at the soft limit must fail
        with Control(a.control) as c:
            c.send({"verb": "watch"})
            expect_exit(a.cli("verify", "beta", "--count", "1000"), 8)
            p = a.peer("beta")
            check("epoch" not in p and p["state"] == "pairing", "still in force: %s" % p)
            check(p["error"]["class"] in ("down", "verify"), "error: %s" % p)
            b.signal(signal.SIGCONT)
            seen = []
            while "down" not in seen or "up" not in seen[seen.index("down"):]:
                seen.append(c.line()["event"])
        p, q = wait_paired(a, b)
        check(int(p["epoch"]) > int(old[0]), "epoch %s after %s" % (p["epoch"], old[0]))
        check(not {p["in"]["spi"], p["out"]["spi"]} & set(old[1:]), "an SPI came again")
        expect_exit(a.cli("verify", "beta"))
        wait_single_pair(a, b)

    return ends


hard_end("packets", {"packets": 300}, {"packets": 500})
hard_end("bytes", {"bytes": 40000}, {"bytes": 60000})


@test
def a_hard_lifetime_triggers_a_rekey_well_before_its_end(lab):
    a, b = lab.pair(both={"defaults": {"hard": {"time_s": 30}, "rekey": {"time_s": 0}}})
    p = a.peer("beta")
    check(p["hard_in_s"] <= 30, "hard_in_s: %s" % p)
    check(p["rekey_in_s"] <= 24, "no rekey before the hard end: %s" % p)


@test
def both_hosts_agree_on_the_shorter_lifetime(lab):
    a, b = lab.pair(
        peer_beta={"hard": {"time_s": 300}, "rekey": {"time_s": 200}},
        peer_alpha={"hard": {"time_s": 120}, "rekey": {"time_s": 60}},
    )
    for x, y in ((a, "beta"), (b, "alpha")):
        left = x.peer(y)["hard_in_s"]
        check(90 < left <= 120, "hard_in_s of %s: %d" % (x.name, left))


# --- under load -----------------------------------------------------------------------------------


def load_until(agent, peer, over, results):
    """One probe per millisecond, run after run, until over is set."""
    with Control(agent.control, limit=120) as c:
        while not over.is_set():
            rc, docs = c.ask("verify", peer=peer, count=1000, interval_ms=1, timeout_ms=60000)
            results.append((rc, docs[0]))


@test(alone=True)
def a_thousand_rekeys_under_load_lose_no_packet(lab):
    wanted = 100 if SAN else 1000
    a, b = lab.pair(both=FAST)
    over = threading.Event()
    results = {"alpha": [], "beta": []}
    threads = [
        threading.Thread(target=load_until, args=(a, "beta", over, results["alpha"])),
        threading.Thread(target=load_until, args=(b, "alpha", over, results["beta"])),
    ]
    for t in threads:
        t.start()
    spis, slowest = set(), 0
    start = time.monotonic()
    try:
        # Leader and follower ask alternately.
        with Control(a.control) as ca, Control(b.control) as cb:
            for i in range(wanted):
                c, peer = ((ca, "beta"), (cb, "alpha"))[i % 2]
                rc, docs = c.ask("rekey", peer=peer)
                equal(rc, 0, "rekey %d: %s" % (i, docs))
                d = docs[0]
                equal(d["verified"], True, "verified in receipt %d" % i)
                equal(d["probes"]["lost"], 0, "lost in receipt %d" % i)
                spis |= {d["in"]["new"], d["out"]["new"]}
                slowest = max(slowest, d["ms"]["switch"])
    finally:
        over.set()
        for t in threads:
            t.join()
    took = time.monotonic() - start
    equal(len(spis), 2 * wanted, "different SPIs")
    for name, runs in results.items():
        check(runs, "no run of " + name)
        for rc, d in runs:
            equal((rc, d["verified"]), (0, True), "verify of %s: %s" % (name, d))
            equal((d["probes"]["lost"], d["probes"]["echoed"]), (0, 1000), "probes of %s: %s" % (name, d))
            equal(d["probes"].get("arrived"), 1000, "probes of %s that arrived: %s" % (name, d))
    p, q = wait_single_pair(a, b)
    check(int(p["epoch"]) >= wanted + 1, "epoch %s" % p["epoch"])
    for x in (p, q):
        equal((x["in"]["replay_dropped"], x["in"]["integrity_failed"]), ("0", "0"), "drops")
    check("dropped" not in a.log() + b.log(), "drops in a log")
    sent = sum(d["probes"]["sent"] for runs in results.values() for _, d in runs)
    print("# %d rekeys in %.1f s, %d probes, 0 lost, slowest switch %.2f ms"
          % (wanted, took, sent, slowest))


if __name__ == "__main__":
    main(Lab)
