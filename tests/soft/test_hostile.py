#!/usr/bin/env python3
"""A peer with a valid certificate that breaks the protocol, in either role.

gamma is Python; alpha and beta are an honest pair, which must not change. The pair of gamma and alpha must
not change either: an invalid message ends the link or is rejected.
"""

import json
import os
import re
import secrets
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import in_force, wait_paired
from harness.hostile import FRAME_MAX, Closed, Listener, answer, connect_tls, hello, offer, pack
from harness.identity import identity
from harness.lab import Lab
from harness.program import expect_exit
from harness.settings import ALPHA, GAMMA, LIMIT, SAN, SLOW
from harness.tap import Failure, check, equal, has, main, test, until

NO_LIMIT = {"rekey": {"min_interval_ms": 0}}


def honest(lab, role="listen", **gamma):
    a = lab.agent("alpha", "beta", lab.peer_of("gamma", role=role, **gamma))
    b = lab.agent("beta", "alpha")
    a.start()
    b.start()
    wait_paired(a, b)
    return a, b


def greeted(a, lab):
    return connect_tls(a, lab, identity("gamma")).hello()


def resident_kb(agent):
    with open("/proc/%d/status" % agent.pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1))


def paired(a, lab):
    """A link of gamma as leader, with a pair in force."""
    link = greeted(a, lab)
    o, reply, _ = link.pair()
    p = a.wait_peer("gamma", "is up", lambda p: p["state"] == "up")
    equal(in_force(p), (o["epoch"], reply["spi"], o["spi"]), "the pair with gamma")
    return link


# --- the honest way, to know that the rest is refused for what it is --------------------------------


@test
def a_pair_is_made_with_a_leader_that_follows_the_protocol(lab):
    a, b = honest(lab)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        before = in_force(a.peer("gamma"))
        link.hello_got["last"] = before[0]
        o, _, _ = link.pair(reason="request")
        equal(in_force(a.peer("gamma"))[0], o["epoch"], "epoch after a rekey")
        check(in_force(a.peer("gamma"))[1:] != before[1:], "the same SPIs")


@test
def a_pair_is_made_with_a_follower_that_follows_the_protocol(lab):
    listener = Listener(lab)
    a, b = honest(lab, role="dial")
    with lab.pair_unchanged(a, b):
        link = listener.accept(identity("gamma")).hello()
        o, reply = link.finish_following()
        p = a.wait_peer("gamma", "is up", lambda p: p["state"] == "up")
        equal(in_force(p), (o["epoch"], o["spi"], reply["spi"]), "the pair with gamma")
        # A peer may ask for new keys; two answers are never the same.
        link.send({"type": "rekey", "reason": "request"})
        o2, _ = link.finish_following()
        equal(int(o2["epoch"]), int(o["epoch"]) + 1, "epoch of the second offer")
        check(o2["share"] != o["share"] and o2["spi"] != o["spi"] and o2["xid"] != o["xid"], str(o2))


# --- epochs and superseded pairs -------------------------------------------------------------------

GREATEST = (1 << 64) - 1


@test
def an_offer_of_the_last_epoch_does_not_stop_the_pair(lab):
    a, b = honest(lab, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        known = int(in_force(a.peer("gamma"))[0])
        for jump in GREATEST - known, (1 << 20) + 1:
            link.send(offer(known + jump))
            no = link.recv("reject")
            equal((no["reason"], int(no["epoch"])), ("epoch", known), "reject of known + %d" % jump)
            known += 1 << 20
        link.hello_got["last"] = str(known)
        o, _, _ = link.pair(reason="request")
        equal(in_force(a.peer("gamma"))[0], o["epoch"], "epoch after the next exchange")


@test
def a_reject_with_the_last_epoch_does_not_stop_the_pair(lab):
    listener = Listener(lab)
    a, b = honest(lab, role="dial")
    with lab.pair_unchanged(a, b):
        link = listener.accept(identity("gamma")).hello(last=str(GREATEST))
        o = link.recv("offer")
        equal(int(o["epoch"]), (1 << 20) + 1, "epoch of the first offer")
        link.send({"type": "reject", "xid": o["xid"], "reason": "epoch", "text": "",
                   "epoch": str(GREATEST)})
        o, _ = link.finish_following()
        equal(int(o["epoch"]), (2 << 20) + 2, "epoch of the second offer")
        a.wait_peer("gamma", "is up", lambda p: p["state"] == "up")


@test
def what_is_known_of_epochs_ends_with_down(lab):
    a, b = honest(lab, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        link.hello_got["last"] = str(1 << 19)
        link.pair(reason="request")
        expect_exit(a.cli("down", "gamma"), 0)
        expect_exit(a.cli("up", "gamma", "--no-wait"), 0)
        equal(int(greeted(a, lab).hello_got["last"]), 0, "epoch known after down")


@test
def links_cut_after_the_answer_do_not_block_the_pair(lab):
    a, b = honest(lab, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        paired(a, lab).close()
        for _ in range(70):
            link = greeted(a, lab)
            link.send(offer(int(link.hello_got["last"]) + 1, reason="mismatch"))
            link.recv_until("answer")
            link.close()
        equal(a.peer("gamma")["held"], 64, "superseded pairs")


# --- what does not decode ---------------------------------------------------------------------------


def frame(body):
    return struct.pack(">I", len(body)) + body


def nest(n):
    return b'{"type":"ping","id":' + b"[" * n + b"]" * n + b"}"


PING = b'{"type":"ping","id":"0000000000000001"}'
bad_frames = {
    "a frame of no bytes": struct.pack(">I", 0),
    "a frame that is too long": struct.pack(">I", FRAME_MAX + 1) + b"{" * 100,
    "a frame of four gigabytes": b"\xff\xff\xff\xff",
    "a message that is not json": frame(b"hello"),
    "an empty object": frame(b"{}"),
    "an array": frame(b"[]"),
    "a bare number": frame(b"7"),
    "two objects in one frame": frame(PING + PING),
    "bytes behind the object": frame(PING + b" x"),
    "an object that does not end": frame(PING[:-1]),
    "objects nested too deep": frame(nest(5)),
    "objects nested a thousand deep": frame(nest(8000)),
    "a member twice": frame(b'{"type":"ping","id":"0000000000000001","id":"0000000000000002"}'),
    "an unknown member": frame(b'{"type":"ping","id":"0000000000000001","more":1}'),
    "a member with another case": frame(b'{"type":"ping","ID":"0000000000000001"}'),
    "a member that is missing": frame(b'{"type":"ping"}'),
    "a member of a wrong type": frame(b'{"type":"ping","id":1}'),
    "an unknown type": frame(b'{"type":"dance"}'),
    "a type that is no string": frame(b'{"type":1}'),
    "no type": frame(b'{"id":"0000000000000001"}'),
    "upper case hex": frame(b'{"type":"ping","id":"00000000000000AB"}'),
    "hex that is too short": frame(b'{"type":"ping","id":"01"}'),
    "an escaped zero": frame(b'{"type":"ping","id":"000000000000\\u00001"}'),
    "bytes that are no utf-8": frame(b'{"type":"ping","id":"\xff\xfe"}'),
    "a byte order mark": frame(b"\xef\xbb\xbf" + PING),
    "an xid of zero": frame(pack(offer(5, xid="0" * 16))),
    "an epoch as a number": frame(pack(offer(5)).replace(b'"epoch":"5"', b'"epoch":5')),
    "an epoch of zero": frame(pack(offer(0))),
    "an epoch beyond 64 bits": frame(pack(offer(1 << 64))),
    "an epoch with a leading zero": frame(pack(offer(5)).replace(b'"epoch":"5"', b'"epoch":"05"')),
    "spi 0": frame(pack(offer(5, spi="00000000"))),
    "spi 1": frame(pack(offer(5, spi="00000001"))),
    "spi 255": frame(pack(offer(5, spi="000000ff"))),
    "an unknown suite": frame(pack(offer(5, suites=["rot13"]))),
    "no suite at all": frame(pack(offer(5, suites=[]))),
    "a suite twice": frame(pack(offer(5, suites=["aes256gcm16"] * 2))),
    "a share that is too short": frame(pack(offer(5, share="ab" * 31))),
    "a share that is missing": frame(pack(offer(5, share=None))),
    "a lifetime of a second": frame(pack(offer(5, lifetime_s=1))),
    "a lifetime of a fraction": frame(pack(offer(5, lifetime_s=3600.5))),
    "a negative window": frame(pack(offer(5, window=-1))),
    "a window that is too large": frame(pack(offer(5, window=4097))),
    "an unknown reason": frame(pack(offer(5, reason="boredom"))),
    "esn as a number": frame(pack(offer(5, esn=1))),
    "a reject without a fault": frame(b'{"type":"reject","xid":"0000000000000001",'
                                      b'"reason":"none","text":""}'),
    "an error with control characters": frame(b'{"type":"error","reason":"busy",'
                                              b'"text":"\\u001b[31m\x07"}'),
}


def bad_frame(title, data):
    @test(name=title + " ends the link and changes nothing")
    def refused(lab):
        a, b = honest(lab)
        with lab.pair_unchanged(a, b):
            link = paired(a, lab)
            before = in_force(a.peer("gamma"))
            link.send_bytes(data)
            got = [m for m in link.until_closed() if m["type"] not in ("probe", "ping")]
            equal([(m["type"], m["reason"]) for m in got], [("error", "malformed")], "what came back")
            check(got[0]["text"] and "\x1b" not in got[0]["text"], "text: %s" % got)
            p = a.wait_peer("gamma", "has an error", lambda p: "error" in p)
            equal((p["error"]["class"], p["error"]["exit"]), ("refused", 6), "error in status")
            equal(in_force(p), before, "the pair with gamma")
            # The next link works.
            again = connect_tls(a, lab, identity("gamma"))
            again.hello(epoch=before[0], last=before[0], spi_in=before[2], spi_out=before[1])
            a.wait_peer("gamma", "has a link", lambda p: p["link"] == "up")
            equal(in_force(a.peer("gamma")), before, "the pair with gamma")

    return refused


for title, data in bad_frames.items():
    bad_frame(title, data)


@test
def a_truncated_frame_is_no_message(lab):
    a, b = honest(lab)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        before = in_force(a.peer("gamma"))
        o = pack(offer(int(before[0]) + 1))
        for n in (1, 3, 4, 5, len(o) // 2, len(o) + 3):
            link.send_bytes(frame(o)[:n])
            link.close()
            a.wait_peer("gamma", "has lost its link", lambda p: p["link"] != "up")
            equal(in_force(a.peer("gamma")), before, "the pair after %d bytes" % n)
            link = connect_tls(a, lab, identity("gamma"))
            link.hello(epoch=before[0], last=before[0], spi_in=before[2], spi_out=before[1])


@test
def frames_are_read_in_any_fragments(lab):
    a, b = honest(lab)
    with lab.pair_unchanged(a, b):
        link = greeted(a, lab)
        data = frame(PING) * 3
        for i in range(len(data)):
            link.send_bytes(data[i:i + 1])
        for _ in range(3):
            equal(link.recv("pong")["id"], "0000000000000001", "id of pong")
        link.send_bytes(frame(PING.replace(b"{", b"{" + b" " * 9000)) * 20)
        for _ in range(20):
            link.recv("pong")


# --- hello --------------------------------------------------------------------------------------------


def bad_hello(title, fault, klass, text, **changes):
    @test(name=title + " is refused")
    def refused(lab):
        a, b = honest(lab)
        with lab.pair_unchanged(a, b):
            link = connect_tls(a, lab, identity("gamma"))
            link.send(hello(**changes))
            got = link.until_closed()
            equal([m["type"] for m in got], ["hello", "error"], "what the agent said")
            equal(got[1]["reason"], fault, "reason")
            e = a.wait_error("gamma", klass, text)
            p = a.peer("gamma")
            check(p["state"] == "waiting" and "epoch" not in p, "installed: %s" % p)
            has(got[1]["text"], text, "text for the peer")
            check(e["exit"] in (5, 6), "exit: %s" % e)

    return refused


bad_hello("a hello of version 2", "version", "refused", "version 1 here, 2 at the peer", version=2)
bad_hello("a hello with another local address", "address", "refused", "127.0.0.66",
          local="127.0.0.66")
bad_hello("a hello with our address wrong", "address", "refused", "127.0.0.66", remote="127.0.0.66")
bad_hello("a hello with the addresses swapped", "address", "refused", ALPHA, local=ALPHA,
          remote=GAMMA)
bad_hello("a hello with ipv6 addresses", "address", "refused", "::1", local="::1")
bad_hello("a hello with another policy", "policy", "refused", "tcp/445", protect=["tcp/445"])
bad_hello("a hello with tunnel mode", "policy", "refused", "tunnel at the peer", encap="tunnel")
bad_hello("a hello with esp in udp", "policy", "refused", "ESP in UDP", udp=True)
bad_hello("a hello with a ppk that we do not have", "ppk", "auth", "PPK", ppk="ab" * 32)
bad_hello("a hello with an epoch and no spis", "malformed", "refused", "spi_in", epoch="7", last="7")
bad_hello("a hello with spis and no epoch", "malformed", "refused", "spi_in", spi_in="00001000",
          spi_out="00001001")
bad_hello("a hello whose last epoch is behind", "malformed", "refused", "last", epoch="7", last="6",
          spi_in="00001000", spi_out="00001001")
bad_hello("a hello with a reserved spi", "malformed", "refused", "spi", epoch="7", last="7",
          spi_in="000000ff", spi_out="00001001")
bad_hello("a hello with an unknown mode", "malformed", "refused", "mode", mode="whatever")
bad_hello("a hello with terminal codes", "malformed", "refused", "control characters",
          name="\u202egamma\u001b[31m")
bad_hello("a hello with nine selectors", "malformed", "refused", "protect",
          protect=["tcp/%d" % i for i in range(1, 10)])


@test
def a_reflected_hello_is_refused(lab):
    a, b = honest(lab)
    with lab.pair_unchanged(a, b):
        link = connect_tls(a, lab, identity("gamma"))
        link.send(link.recv("hello"))
        equal([m.get("reason") for m in link.until_closed()], ["protocol"], "what the agent said")
        a.wait_error("gamma", "refused", "received our own hello")


@test
def a_second_hello_ends_the_link(lab):
    a, b = honest(lab)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        before = in_force(a.peer("gamma"))
        link.send(hello())
        got = [m for m in link.until_closed() if m["type"] != "probe"]
        equal([m.get("reason") for m in got], ["protocol"], "what the agent said")
        a.wait_error("gamma", "refused", "a second hello")
        equal(in_force(a.peer("gamma")), before, "the pair with gamma")


@test
def a_message_before_hello_ends_the_link(lab):
    a, b = honest(lab)
    with lab.pair_unchanged(a, b):
        for m in (
            offer(1), {"type": "confirm", "xid": "1" * 16, "tag": "0" * 64},
            {"type": "done", "xid": "1" * 16}, {"type": "rekey", "reason": "request"},
            {"type": "probe", "id": "1" * 16, "epoch": "1", "sent": 3},
            {"type": "ping", "id": "1" * 16}, {"type": "pong", "id": "1" * 16},
        ):
            link = connect_tls(a, lab, identity("gamma"))
            link.send(m)
            got = link.until_closed()
            equal([x["type"] for x in got], ["hello", "error"], "reply to " + m["type"])
            equal(got[1]["reason"], "protocol", "reason")
            a.wait_error("gamma", "refused", m["type"] + " before hello")
            check("epoch" not in a.peer("gamma"), "something was installed")


@test
def a_wrong_epoch_in_hello_leads_to_a_new_exchange(lab):
    a, b = honest(lab)
    with lab.pair_unchanged(a, b):
        paired(a, lab)
        # A peer that has lost its state, or has another: the pair stays until a newer one is up.
        for last in ("0", "700"):
            before = in_force(a.peer("gamma"))
            link = connect_tls(a, lab, identity("gamma"))
            link.hello(last=last)
            equal(in_force(a.peer("gamma")), before, "the pair with gamma")
            link.hello_got["last"] = str(max(int(last), int(link.hello_got["last"])))
            o, _, _ = link.pair()
            equal(in_force(a.peer("gamma"))[0], o["epoch"], "the new epoch")


# --- the exchange: alpha follows ----------------------------------------------------------------------


def bad_offer(title, fault, **changes):
    @test(name="an offer with " + title + " is turned down")
    def refused(lab):
        a, b = honest(lab, **NO_LIMIT)
        with lab.pair_unchanged(a, b):
            link = paired(a, lab)
            before = in_force(a.peer("gamma"))
            fields = {k: v(a) if callable(v) else v for k, v in changes.items()}
            o = offer(fields.pop("epoch", int(before[0]) + 1), **fields)
            link.send(o)
            r = link.recv("reject")
            equal((r["reason"], r["xid"]), (fault, o["xid"]), "the reject")
            check(r["text"], "no text in the reject")
            equal(in_force(a.peer("gamma")), before, "the pair with gamma")
            link.hello_got["last"] = str(max(int(o["epoch"]), int(before[0])))
            link.pair()  # the link still works

    return refused


bad_offer("the epoch in force", "epoch", epoch=1)
bad_offer("the spi that is in force", "spi", spi=lambda a: a.peer("gamma")["out"]["spi"])
bad_offer("a suite that we do not allow", "suite", suites=["aes128-sha1"])


@test
def an_old_epoch_is_rejected_with_the_newest(lab):
    a, b = honest(lab, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        link.hello_got["last"] = "41"
        link.pair()
        for old in (1, 5, 42):
            link.send(offer(old))
            r = link.recv("reject")
            equal((r["reason"], r.get("epoch")), ("epoch", "42"), "the reject")
        equal(in_force(a.peer("gamma"))[0], "42", "epoch in force")


@test
def a_repeated_offer_is_accepted_once(lab):
    a, b = honest(lab, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        link.hello_got["last"] = "1"
        o, _, confirm = link.lead()
        link.send(o)  # the current offer again: no answer
        link.send({"type": "ping", "id": "7" * 16})
        link.recv("pong")
        link.send(confirm)
        equal(link.recv("done")["xid"], o["xid"], "xid of done")
        now = in_force(a.peer("gamma"))
        link.send(o)
        equal(link.recv("reject")["reason"], "epoch", "reply to an offer of yesterday")
        link.send(confirm)
        link.send({"type": "ping", "id": "8" * 16})
        link.recv("pong")
        equal(in_force(a.peer("gamma")), now, "the pair with gamma")


@test
def an_offer_during_an_exchange_is_rejected_as_busy(lab):
    a, b = honest(lab, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        link.hello_got["last"] = "1"
        o, _, confirm = link.lead()
        link.send(offer(3))
        equal(link.recv("reject")["reason"], "busy", "reply to an offer meanwhile")
        link.send(confirm)
        equal(link.recv("done")["xid"], o["xid"], "xid of done")


@test
def a_wrong_tag_in_confirm_installs_no_outbound(lab):
    a, b = honest(lab, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        link.hello_got["last"] = "1"
        before = in_force(a.peer("gamma"))
        o, _, confirm = link.lead()
        link.send(dict(confirm, tag="0" * 64))
        r = link.recv("reject")
        equal((r["xid"], r["reason"]), (o["xid"], "tag"), "the reject")
        equal(in_force(a.peer("gamma")), before, "the pair with gamma")
        e = a.wait_error("gamma", "auth", "wrong tag in the confirmation")
        equal(e["exit"], 5, "exit of the error")
        link.send(confirm)  # too late
        link.send({"type": "ping", "id": "7" * 16})
        link.recv("pong")
        equal(in_force(a.peer("gamma")), before, "the pair with gamma")


@test
def messages_of_another_exchange_change_nothing(lab):
    a, b = honest(lab, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        before = in_force(a.peer("gamma"))
        old = offer(2)
        reply = answer(old)
        for xid in (old["xid"], secrets.token_hex(8)):
            for m in (
                {"type": "confirm", "xid": xid, "tag": "0" * 64}, {"type": "done", "xid": xid},
                {"type": "reject", "xid": xid, "reason": "busy", "text": "no"},
                dict(reply, xid=xid, tag="0" * 64), {"type": "pong", "id": xid},
                {"type": "rekey", "reason": "request"},
                {"type": "report", "id": xid, "epoch": "1", "sent": 0, "closed": False, "received": 4},
            ):
                link.send(m)
        # Also during an exchange.
        link.hello_got["last"] = "1"
        o, reply, confirm = link.lead()
        other = secrets.token_hex(8)
        for m in (
            dict(confirm, xid=other), {"type": "done", "xid": o["xid"]}, {"type": "done", "xid": other},
            {"type": "reject", "xid": other, "reason": "busy", "text": "no"},
            reply,
        ):
            link.send(m)
        equal(in_force(a.peer("gamma")), before, "the pair with gamma")
        link.send(confirm)
        equal(link.recv("done")["xid"], o["xid"], "xid of done")
        equal(in_force(a.peer("gamma")), (o["epoch"], reply["spi"], o["spi"]), "the new pair")


@test
def an_abandoned_offer_leaves_nothing(lab):
    a, b = honest(lab, drain_ms=100, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        link.hello_got["last"] = "1"
        before = in_force(a.peer("gamma"))
        o, _, _ = link.lead()
        link.send({"type": "reject", "xid": o["xid"], "reason": "system", "text": "no room"})
        a.wait_error("gamma", "os", "no room")
        p = a.peer("gamma")
        equal((in_force(p), p["held"]), (before, 0), "after the reject")
        # A link that breaks after the answer: the peer may already send on the SA (I6).
        link.hello_got["last"] = o["epoch"]
        o, _, _ = link.lead()
        link.close()
        p = a.wait_peer("gamma", "has lost its link", lambda p: p["link"] != "up")
        equal((in_force(p), p["held"]), (before, 1), "after the cut")
        link = connect_tls(a, lab, identity("gamma"))
        link.hello(epoch=before[0], last=before[0], spi_in=before[2], spi_out=before[1])
        link.pair()
        a.wait_peer("gamma", "holds nothing old", lambda p: p["held"] == 0)


@test
def an_unfinished_exchange_times_out_in_ten_seconds(lab):
    a, b = honest(lab, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        link.hello_got["last"] = "1"
        before = in_force(a.peer("gamma"))
        link.lead()
        start = time.monotonic()
        # Pings keep the link alive; the exchange has a time limit of its own.
        got = None
        link.tls.settimeout(2)
        while got is None and time.monotonic() - start < 14 * SLOW:
            link.send({"type": "ping", "id": "7" * 16})
            try:
                while True:
                    m, _ = link.recv_any()
                    if m["type"] == "bye":
                        got = m["reason"]
                        break
                    if m["type"] == "pong":
                        time.sleep(0.2)
                        break
            except Failure:
                pass
        took = time.monotonic() - start
        equal(got, "timeout", "how the link ended")
        check(9 <= took < 12 + SLOW, "after %.1f s" % took)
        equal(in_force(a.peer("gamma")), before, "the pair with gamma")


@test
def a_flood_of_offers_is_limited(lab):
    a, b = honest(lab)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        reasons = []
        for i in range(200):
            link.send(offer(i + 2, suites=["aes128-sha1"]))
            reasons.append(link.recv("reject")["reason"])
        check(reasons.count("suite") <= 10 * SLOW, "%d were judged" % reasons.count("suite"))
        equal(set(reasons), {"suite", "limit"}, "replies")
        a.wait_log("offers arrive too fast")
        lines = [line for line in a.log().splitlines() if "offers arrive too fast" in line]
        check(len(lines) <= 30, "%d log lines of one flood" % len(lines))


@test
def a_link_that_the_leader_resets_after_our_answer_is_reported_as_reset(lab):
    a, b = honest(lab, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        for _ in range(5):
            link = greeted(a, lab)
            link.send(offer(int(link.hello_got["last"]) + 1))
            link.recv_until("answer")  # now the agent waits for confirm
            link.tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.close()
        until(lambda: a.log().count("peer gamma: link-down: ") == 5, "five links are lost")
        equal(a.log().count("the link broke: connection reset by peer"), 5, "what became of them")
        paired(a, lab)


@test
def a_leader_that_never_confirms_leaves_a_bounded_number_of_sas(lab):
    a, b = honest(lab, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        before = in_force(a.peer("gamma"))
        last, faults = 1, []
        while len(faults) < 5:
            check(last < 300, "no end to it: %d held" % a.peer("gamma")["held"])
            o = offer(last + 1)
            link.send(o)
            last += 1
            if link.recv("answer", "reject")["type"] == "answer":
                link.send({"type": "confirm", "xid": o["xid"], "tag": "0" * 64})
                equal(link.recv("reject")["reason"], "tag", "reply to a wrong tag")
            else:
                faults.append(json.loads(link.raw)["reason"])
        equal(set(faults), {"busy"}, "how it ends")
        p = a.peer("gamma")
        check(p["held"] <= 64, "%d held" % p["held"])
        equal(in_force(p), before, "the pair with gamma")


@test
def a_flood_of_requests_and_pings_does_not_block_the_agent(lab):
    a, b = honest(lab, role="dial")
    listener = Listener(lab)
    link = listener.accept(identity("gamma")).hello()
    link.finish_following()
    with lab.pair_unchanged(a, b):
        before = in_force(a.peer("gamma"))
        for _ in range(500):
            link.send({"type": "ping", "id": "7" * 16})
            link.send({"type": "probe", "id": "7" * 16, "epoch": "1", "sent": 3})
            link.send({"type": "report", "id": "7" * 16, "epoch": "1", "sent": 0, "closed": False, "received": 3})
        link.send({"type": "rekey", "reason": "request"})
        link.send({"type": "rekey", "reason": "request"})
        o = link.recv_until("offer")
        equal(int(o["epoch"]), int(before[0]) + 1, "epoch of the offer")


@test
def a_peer_that_never_reads_is_disconnected(lab):
    a, b = honest(lab)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        link.tls.settimeout(20)
        before, most = resident_kb(a), 0
        data = frame(PING) * 500
        try:
            for _ in range(4000):
                link.send_bytes(data)
                most = max(most, resident_kb(a))
        except (Closed, TimeoutError, socket.timeout):
            pass
        most = max(most, resident_kb(a))
        check(SAN or most - before <= 1024, "the agent grew by %d kB" % (most - before))
        a.wait_peer("gamma", "has lost its link", lambda p: p["link"] != "up", limit=40 * SLOW)
        has(a.log(), "the link was silent for")


@test
def a_peer_that_reads_late_keeps_its_link_and_gets_every_answer(lab):
    a, b = honest(lab)
    with lab.pair_unchanged(a, b):
        link = paired(a, lab)
        link.tls.settimeout(20)
        n = 20000  # their answers are more than the agent queues and the sockets hold
        sender = threading.Thread(target=lambda: [link.send_bytes(frame(PING) * 500) for _ in range(n // 500)])
        sender.start()
        time.sleep(2)
        for _ in range(n):
            link.recv_until("pong")
        sender.join()
        equal(a.peer("gamma")["link"], "up", "link")


# --- the exchange: alpha leads ------------------------------------------------------------------------


def led(lab):
    """alpha leads; its first offer is sent, no pair is in force."""
    listener = Listener(lab)
    a, b = honest(lab, role="dial", **NO_LIMIT)
    link = listener.accept(identity("gamma")).hello()
    return listener, a, b, link


def bad_answer(title, fault, klass, make):
    @test(name="an answer with " + title + " is turned down")
    def refused(lab):
        _, a, b, link = led(lab)
        with lab.pair_unchanged(a, b):
            o = link.recv("offer")
            link.send(make(o))
            r = link.recv("reject")
            equal((r["xid"], r["reason"]), (o["xid"], fault), "the reject")
            a.wait_error("gamma", klass)
            p = a.peer("gamma")
            check("epoch" not in p and p["held"] == 0, "installed: %s" % p)

    return refused


def tagged(o, **changes):
    return dict(answer(o, **changes), tag="0" * 64)


bad_answer("a wrong tag", "tag", "auth", lambda o: tagged(o))
bad_answer("a suite that was not offered", "suite", "refused",
           lambda o: tagged(o, suite="aes128-sha1"))
bad_answer("our own spi", "spi", "refused", lambda o: tagged(o, spi=o["spi"]))
bad_answer("our own share", "protocol", "refused", lambda o: tagged(o, share=o["share"]))
bad_answer("a longer lifetime", "protocol", "refused",
           lambda o: tagged(o, lifetime_s=o["lifetime_s"] + 1))


@test
def an_answer_whose_tag_is_not_last_ends_the_link(lab):
    _, a, b, link = led(lab)
    with lab.pair_unchanged(a, b):
        o = link.recv("offer")
        m = answer(o)
        m = {"type": "answer", "tag": "0" * 64, **m}
        link.send(m)
        got = [x for x in link.until_closed() if x["type"] == "error"]
        equal([x["reason"] for x in got], ["malformed"], "what came back")
        check("epoch" not in a.peer("gamma"), "something was installed")


@test
def a_reflected_offer_changes_nothing(lab):
    _, a, b, link = led(lab)
    with lab.pair_unchanged(a, b):
        o = link.recv("offer")
        link.send_body(link.raw)
        link.send({"type": "ping", "id": "7" * 16})
        link.recv("pong")
        # The agent still waits for the answer.
        m = dict(answer(o), tag="0" * 64)
        link.send(m)
        equal(link.recv("reject")["reason"], "tag", "reply to the answer")


@test
def an_offer_from_the_follower_ends_the_link(lab):
    _, a, b, link = led(lab)
    with lab.pair_unchanged(a, b):
        link.finish_following()
        before = in_force(a.wait_peer("gamma", "is up", lambda p: p["state"] == "up"))
        link.send(offer(99))
        got = [x for x in link.until_closed() if x["type"] in ("error", "bye")]
        equal([x["reason"] for x in got], ["protocol"], "what came back")
        equal(in_force(a.peer("gamma")), before, "the pair with gamma")


@test
def the_reason_that_a_peer_gives_is_reported(lab):
    _, a, b, link = led(lab)
    with lab.pair_unchanged(a, b):
        o = link.recv("offer")
        link.send({"type": "reject", "xid": o["xid"], "reason": "suite", "text": "%s%n <none> 'x"})
        e = a.wait_error("gamma", "refused", "the peer refused: %s%n <none> 'x")
        equal(e["exit"], 6, "exit of the error")


@test
def terminal_escape_codes_in_a_reason_end_the_link(lab):
    _, a, b, link = led(lab)
    with lab.pair_unchanged(a, b):
        o = link.recv("offer")
        link.send({"type": "reject", "xid": o["xid"], "reason": "suite", "text": "\u202e\u001b[31m"})
        got = [m for m in link.until_closed() if m["type"] == "error"]
        equal([m["reason"] for m in got], ["malformed"], "what came back")
        check("\x1b" not in a.log() and "\u202e" not in a.log(), "raw text in the log")


@test
def a_done_that_never_comes_leaves_the_pair_in_force(lab):
    listener, a, b, link = led(lab)
    with lab.pair_unchanged(a, b):
        o, reply, confirm = link.follow()
        equal(confirm["type"], "confirm", "reply to the answer")
        link.close()
        p = a.wait_peer("gamma", "has lost its link", lambda p: p["link"] != "up")
        equal(in_force(p), (o["epoch"], o["spi"], reply["spi"]), "what alpha sends on (I5)")
        # On the next link both have the same pair: no exchange is needed.
        listener.socket.settimeout(LIMIT)
        link = listener.accept(identity("gamma"))
        link.hello(epoch=o["epoch"], last=o["epoch"], spi_in=reply["spi"], spi_out=o["spi"])
        a.wait_peer("gamma", "has a link", lambda p: p["link"] == "up")
        link.send({"type": "ping", "id": "7" * 16})
        link.recv("pong")  # and no offer before it
        equal(in_force(a.peer("gamma")), in_force(p), "the pair with gamma")


@test
def a_second_link_of_a_restarted_peer_replaces_the_first_at_once(lab):
    a, b = honest(lab, **NO_LIMIT)
    with lab.pair_unchanged(a, b):
        first = paired(a, lab)
        before = in_force(a.peer("gamma"))
        second = greeted(a, lab)
        got = [m for m in first.until_closed() if m["type"] == "bye"]
        equal([m["reason"] for m in got], ["replaced"], "bye of the old link")
        equal(in_force(a.peer("gamma")), before, "the pair with gamma")
        second.pair()


@test
def the_name_of_a_peer_is_that_of_its_certificate(lab):
    a, b = honest(lab)
    with lab.pair_unchanged(a, b):
        link = connect_tls(a, lab, identity("gamma"))
        link.hello(name="beta", agent="%s%n" * 8)
        a.wait_peer("gamma", "has a link", lambda p: p["link"] == "up")
        equal(a.peer("gamma")["identity"]["name"], "gamma", "name of gamma")


if __name__ == "__main__":
    main(Lab)
