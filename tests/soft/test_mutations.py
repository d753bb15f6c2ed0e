#!/usr/bin/env python3
"""A peer with a valid certificate sends every field of every message with every kind of invalid value.

The messages and the ranges of their fields come from the tables of docs/protocol.md, which tests/docs
compares with the code. Each invalid message ends the link as malformed and changes neither the pair of
gamma and alpha nor the honest pair of alpha and beta.
"""

import os
import random
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import in_force, wait_paired
from harness.hostile import Closed, answer, connect_tls, hello, offer, pack
from harness.identity import identity
from harness.lab import Lab
from harness.settings import SAN
from harness.tap import Failure, check, equal, main, test

HERE = os.path.dirname(os.path.abspath(__file__))
NO_LIMIT = {"rekey": {"min_interval_ms": 0}}


def tables():
    """{message: [(field, needed, type, range)]}"""
    found, message = {}, None
    with open(os.path.join(HERE, "..", "..", "docs", "protocol.md")) as f:
        for line in f:
            m = re.match(r"### (\w+)$", line)
            if line.startswith("#"):
                message = m and m.group(1)
            m = re.match(r"\| (\w+) \| (yes|no) \| ([^|]+) \| ([^|]*)\|", line)
            if m and message:
                found.setdefault(message, []).append(
                    (m.group(1), m.group(2) == "yes", m.group(3).strip(), m.group(4).strip())
                )
    return found


def examples():
    o = offer(1000)
    return {
        "hello": hello(epoch="7", last="9", spi_in="0a0b0c0d", spi_out="0d0c0b0a", ppk="ab" * 32),
        "offer": o,
        "answer": dict(answer(o), tag="cd" * 32),
        "confirm": {"type": "confirm", "xid": "00000000000000aa", "tag": "ab" * 32},
        "done": {"type": "done", "xid": "00000000000000aa"},
        "reject": {"type": "reject", "xid": "00000000000000aa", "reason": "busy", "text": "no",
                   "epoch": "7"},
        "rekey": {"type": "rekey", "reason": "request"},
        "probe": {"type": "probe", "id": "00000000000000aa", "epoch": "7", "sent": 3},
        "report": {"type": "report", "id": "00000000000000aa", "epoch": "7", "sent": 3, "closed": True, "received": 3,
                   "spi_in": "0a0b0c0d", "spi_out": "0d0c0b0a", "in_packets": "6",
                   "out_packets": "6"},
        "ping": {"type": "ping", "id": "00000000000000aa"},
        "pong": {"type": "pong", "id": "00000000000000aa"},
        "bye": {"type": "bye", "reason": "shutdown"},
        "error": {"type": "error", "reason": "policy", "text": "no"},
    }


OF_ANY_TYPE = [None, {}, [], [[]], {"a": 1}, -1, 0.5, 1e300, 1 << 53, "\x00", "\x1b[2J", "x" * 5000]


def wrong_values(kind, limits):
    """Values that a field of this type must not have."""
    values = list(OF_ANY_TYPE)
    if kind != "bool":
        values += [True, False]
    if kind != "number":
        values += [0, 1]
    numbers = re.match(r"(\d+) to (\d+)", limits)
    if kind == "number":
        least, most = int(numbers.group(1)), int(numbers.group(2))
        values += ["1", "", most + 1] + ([least - 1] if least > 0 else [])
    elif kind == "text":
        values += ["x" * (int(numbers.group(2)) + 1), "a\nb", "\u202e", "\x7f"]
    elif kind in ("word", "fault", "suite"):
        values += ["", "none of them", "REQUEST", "request ", "Aes256gcm16"]
    elif kind == "hex":
        n = int(limits.split()[0])
        values += ["", "ab" * (n - 1), "ab" * (n + 1), "AB" * n, "0x" + "ab" * (n - 1),
                   "ag" * n, " " + "a" * (2 * n - 1)]
    elif kind == "hex64":
        values += ["", "a" * 15, "a" * 17, "A" * 16, "0x" + "a" * 14, "-" + "a" * 15]
        values += ["0" * 16] if limits == "not 0" else []
    elif kind == "spi":
        values += ["", "a" * 7, "a" * 9, "A" * 8, "0x0a0b0c", "1"]
    elif kind == "dec64":
        values += ["", "-1", "+1", "01", "1.0", "1e3", " 1", "0x1", "18446744073709551616", "9" * 40]
        values += ["0"] if limits.startswith("1") else []
    elif kind == "address":
        values += ["", "localhost", "127.0.0.1:1", "1.2.3", "1.2.3.4.5", "::1%lo", "[::1]", "127.1"]
    elif kind == "bool":
        values += ["true", "", 0, 1]
    elif kind == "list of text":
        values += ["all", [""], [1], ["x" * 32], ["tcp/1"] * 9, [None], ["a\n"], {"0": "all"}]
    elif kind == "list of suites":
        values += ["aes256gcm16", [""], ["rot13"], ["aes256gcm16"] * 2, [1], [None], [["aes256gcm16"]]]
    else:
        raise Failure("no mutations for the type %s" % kind)
    if kind == "list of text":
        values.remove([])  # an empty list is valid
    return values


def wrong_messages():
    """(title, bytes) of each."""
    found = []
    for name, m in examples().items():
        for field, needed, kind, limits in tables()[name]:
            def add(how, body):
                found.append(("%s: %s %s" % (name, field, how), body))

            if needed:
                add("missing", pack({k: v for k, v in m.items() if k != field}))
            add("with another case", pack({k.upper() if k == field else k: v for k, v in m.items()}))
            whole = pack(m)
            twice = pack({field: m[field]})[1:-1]
            add("twice", b"{" + twice + b"," + whole[1:])
            if field == "type":
                continue
            for v in wrong_values(kind, limits):
                if type(v) is type(m[field]) and v == m[field]:
                    continue
                add("is %.40r" % (v,), pack({k: v if k == field else w for k, w in m.items()}))
        found.append((name + ": one member more", pack(dict(m, more=1))))
        found.append((name + ": cut", pack(m)[:-1]))
        found.append((name + ": twice in one frame", pack(m) * 2))
        found.append((name + ": in an array", b"[" + pack(m) + b"]"))
    return found


@test
def the_example_messages_have_every_field(lab):
    for name, rows in tables().items():
        if name in examples():
            equal(sorted(examples()[name]), sorted(r[0] for r in rows), "fields of " + name)
    equal(len(examples()), 13, "messages")


@test
def any_wrong_field_of_any_message_ends_the_link_and_changes_nothing(lab):
    a = lab.agent("alpha", "beta", lab.peer_of("gamma", role="listen", **NO_LIMIT), log="warn")
    b = lab.agent("beta", "alpha")
    a.start()
    b.start()
    wait_paired(a, b)
    all_of_them = wrong_messages()
    chosen = all_of_them if not SAN else random.Random(1).sample(all_of_them, 150)
    gamma = identity("gamma")
    link = connect_tls(a, lab, gamma).hello()
    link.pair()
    before = in_force(a.wait_peer("gamma", "is up", lambda p: p["state"] == "up"))
    kept = {"epoch": before[0], "last": before[0], "spi_in": before[2], "spi_out": before[1]}
    with lab.pair_unchanged(a, b):
        for title, body in chosen:
            link.close()
            link = connect_tls(a, lab, gamma)
            if not title.startswith("hello"):
                link.hello(**kept)
            try:
                link.send_body(body)
                end = [(m["type"], m.get("reason")) for m in link.until_closed()
                       if m["type"] not in ("hello", "probe", "ping")]
            except Closed as closed:
                raise Failure("%s: ended as %s" % (title, closed))
            except Failure as failure:
                raise Failure("%s: %s" % (title, failure))
            equal(end, [("error", "malformed")], title)
        link.close()
        equal(in_force(a.peer("gamma")), before, "the pair with gamma")
    print("# %d of %d wrong messages" % (len(chosen), len(all_of_them)))
    check(len(a.log()) < 400 * len(chosen), "a log of %d bytes" % len(a.log()))


if __name__ == "__main__":
    main(Lab)
