#!/usr/bin/env python3
"""Writes the seeds of the fuzz target privsep, tests/corpus/privsep, in the form that fuzz_privsep.c reads.

    tests/fuzz/privsep_seeds.py     after a change of the requests or of made_up() in fuzz_privsep.c
"""

import os
import struct

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "corpus", "privsep")
# In the order of enum privsep_op.
ADD, REMOVE_POLICY, RESERVE, INSTALL, ACTIVATE, REMOVE, QUERY, RECOVER, EXEMPT, RELOAD = range(10)
BETA, GAMMA = 0, 1  # the peers of the configs
BOTH, ONLY_BETA, ONLY_GAMMA, NONE = range(4)  # the configs
IN, OUT = 1, 2
NEWEST, UNKNOWN = b"\0", b"\xf0\0\0\0\1"  # contexts


def request(op, *fields):
    """One request; the last byte is 0: no byte of the record is changed."""
    data = [f if isinstance(f, bytes) else bytes([f]) for f in fields]
    return bytes([op << 4 | 4, 7]) + b"".join(data) + b"\0"


def sa(suite=None, esn=False, window=None, lifetime_s=None, hard_bytes=None, soft_bytes=None,
       hard_packets=None, soft_packets=None, spi=0):
    """An SA with these properties; one that is not named has a value that the config permits."""
    numbers = [lifetime_s, hard_bytes, soft_bytes, hard_packets, soft_packets]
    what = (suite is None) | esn << 1 | (window is not None) << 2
    what |= sum((n is not None) << 3 + i for i, n in enumerate(numbers))
    data = bytes([spi, what])
    data += b"" if suite is None else bytes([suite])
    data += b"" if window is None else bytes([window.bit_length() - 1])
    return data + b"".join(struct.pack(">I", n) for n in numbers if n is not None)


def install(context=NEWEST, **limits):
    return request(INSTALL, context, sa(**limits), sa(**limits))


def activate(context=NEWEST, **limits):
    return request(ACTIVATE, context, sa(**limits))


def config(which):
    return bytes([2, which])


def system(context, how):
    """The system removes the part `how` of the context, or reports an SA of an earlier run."""
    return b"\3" + context + bytes([how])


def add(peer):
    return request(ADD, peer)


def reserve(policy):
    return request(RESERVE, policy)


SEEDS = {
    "one-pair": [
        add(GAMMA), reserve(1), install(), activate(), request(QUERY, NEWEST, IN),
        request(QUERY, NEWEST, OUT), request(REMOVE, NEWEST, OUT), request(REMOVE, NEWEST, IN),
        request(REMOVE_POLICY, 1),
    ],
    "two-peers": [
        add(BETA), add(GAMMA), reserve(1), reserve(2), install(), install(b"\1"), activate(b"\1"), activate(),
        config(ONLY_BETA), reserve(2), reserve(1), install(), activate(),
    ],
    "rekey": [
        add(GAMMA), reserve(1), install(), activate(), reserve(1), install(), activate(),
        request(REMOVE, b"\1", OUT), request(REMOVE, b"\1", IN), request(QUERY, NEWEST, OUT),
    ],
    "activated-before-installed": [
        add(GAMMA), reserve(1), activate(), install(), install(), activate(), activate(),
    ],
    "byte-limits": [
        add(GAMMA), reserve(1), install(hard_bytes=1001), install(soft_bytes=501), install(hard_bytes=0),
        install(hard_packets=101), install(soft_packets=51), install(hard_bytes=999, soft_bytes=499),
        activate(hard_bytes=1001), activate(soft_packets=0),
    ],
    "different-limits": [
        add(GAMMA), reserve(1), request(INSTALL, NEWEST, sa(), sa(hard_bytes=999)),
        request(INSTALL, NEWEST, sa(), sa(spi=7)), request(ACTIVATE, NEWEST, sa(spi=7)),
    ],
    "lifetime-too-long": [
        add(GAMMA), reserve(1), install(lifetime_s=61), install(lifetime_s=0), install(lifetime_s=32),
    ],
    "window-too-large": [
        add(GAMMA), reserve(1), install(window=512), install(window=32), activate(lifetime_s=4096),
        activate(window=1),
    ],
    "other-suite": [
        add(GAMMA), reserve(1), install(suite=0), install(esn=True), install(suite=1), install(suite=2),
    ],
    "extended-sequence-numbers": [add(BETA), reserve(1), install(esn=True), activate(esn=True)],
    "too-many-reservations": [add(GAMMA), *[reserve(1)] * 90],
    "config-reload": [
        add(GAMMA), reserve(1), config(ONLY_BETA), install(), add(GAMMA), config(ONLY_GAMMA), add(GAMMA),
        request(REMOVE_POLICY, 1), add(GAMMA), config(NONE), reserve(2), request(REMOVE_POLICY, 2),
    ],
    "removed-then-added": [
        add(GAMMA), reserve(1), request(REMOVE, NEWEST, IN), reserve(1), install(b"\1"), install(),
        request(REMOVE_POLICY, 1), add(GAMMA), reserve(1), reserve(2), activate(b"\1"), install(), activate(),
    ],
    "removed-by-the-system": [
        add(GAMMA), reserve(1), install(), activate(), system(NEWEST, OUT), request(QUERY, NEWEST, OUT),
        system(NEWEST, IN), activate(), reserve(1), system(NEWEST, IN), install(),
    ],
    "recovered": [
        add(GAMMA), request(RECOVER), system(UNKNOWN, 0), activate(), system(UNKNOWN, 2), install(),
        request(QUERY, NEWEST, OUT), request(REMOVE, NEWEST, OUT), request(REMOVE, b"\1", IN),
    ],
    "without-context": [
        request(EXEMPT), request(RELOAD), request(RECOVER), install(UNKNOWN), activate(UNKNOWN),
        request(REMOVE, UNKNOWN, IN | OUT), request(QUERY, UNKNOWN, IN), reserve(5),
        request(REMOVE_POLICY, 5),
    ],
    "other-bytes": [
        b"\0" + bytes(767) + b"\1", b"\x11" + bytes(17), request(ADD, GAMMA)[:-1] + b"\xe1\4\xff",
        reserve(1),
    ],
}


def main():
    for name in os.listdir(CORPUS):
        os.unlink(os.path.join(CORPUS, name))
    for name, events in SEEDS.items():
        with open(os.path.join(CORPUS, name), "wb") as f:
            f.write(b"".join(events))


if __name__ == "__main__":
    main()
