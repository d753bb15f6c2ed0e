#!/usr/bin/env python3
"""Computes the key schedule of docs/protocol.md a second time, from the text alone.

Only hmac and hashlib are used; HKDF is written out from RFC 5869. Prints the values that
tests/unit/test_keysched.c expects and docs/protocol.md shows:

    python3 tests/unit/vectors_keysched.py
"""
import hashlib
import hmac


def hmac256(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def extract(salt, ikm):
    return hmac256(salt, ikm)


def expand(prk, info, length):
    okm, block, n = b"", b"", 0
    while len(okm) < length:
        n += 1
        block = hmac256(prk, block + info + bytes([n]))
        okm += block
    return okm[:length]


def u8(n):
    return n.to_bytes(1, "big")


def u32(n):
    return n.to_bytes(4, "big")


def u64(n):
    return n.to_bytes(8, "big")


# Inputs: the bytes of each string count upwards from a different value.
def run_of(first, n):
    return bytes((first + i) % 256 for i in range(n))


EXPORTER = run_of(0x00, 32)
LEADER_SHARE = run_of(0x20, 32)
FOLLOWER_SHARE = run_of(0x40, 32)
LEADER_ID = run_of(0x60, 32)
FOLLOWER_ID = run_of(0x80, 32)
PPK32 = run_of(0xA0, 32)
PPK64 = run_of(0xA0, 64)
OFFER_HASH = run_of(0xC0, 32)
ANSWER_HASH = run_of(0xE0, 32)
XID = 0x0102030405060708
EPOCH = 42
LEADER_SPI = 0xC0FFEE01
FOLLOWER_SPI = 0x00000100

KEY_LEN = {
    "aes256gcm16": 36, "aes128gcm16": 20, "aes192gcm16": 28, "aes256-sha256": 64,
    "aes128-sha256": 48, "aes128-sha1": 36, "aes256gmac": 36, "aes128gmac": 20,
    "aes192gmac": 28,
}


def prk_of(ppk=b""):
    return extract(EXPORTER + ppk, LEADER_SHARE + FOLLOWER_SHARE)


def choice(suite, esn):
    return u8(len(suite)) + suite.encode() + u8(esn)


def sa(prk, direction, suite, esn):
    down = direction == 1
    info = b"sapair/1 sa\0" + u8(direction) + u64(XID) + u64(EPOCH) + choice(suite, esn)
    info += (LEADER_ID + FOLLOWER_ID) if down else (FOLLOWER_ID + LEADER_ID)
    info += u32(FOLLOWER_SPI if down else LEADER_SPI)
    return expand(prk, info, KEY_LEN[suite])


def both():
    return LEADER_ID + FOLLOWER_ID + u32(LEADER_SPI) + u32(FOLLOWER_SPI)


def said(prk):
    return expand(prk, b"sapair/1 said\0" + u64(XID) + u64(EPOCH), 4)


def tag(prk, role, suite, esn):
    key = expand(prk, b"sapair/1 tag\0" + u64(XID) + u64(EPOCH) + choice(suite, esn) + both(), 32)
    return hmac256(key, u8(role) + OFFER_HASH + ANSWER_HASH)


def probe(prk):
    return expand(prk, b"sapair/1 probe\0" + u64(XID) + u64(EPOCH) + both(), 32)


def ppk_check(ppk, role):
    return expand(extract(EXPORTER, ppk), b"sapair/1 ppk\0" + u8(role), 32)


def show(name, value):
    print(f"{name:<36}{value.hex()}")


prk = prk_of()
show("prk", prk)
show("prk, PPK of 32 bytes", prk_of(PPK32))
show("prk, PPK of 64 bytes", prk_of(PPK64))
for name in KEY_LEN:
    show(f"sa leader to follower {name}", sa(prk, 1, name, 0))
show("sa follower to leader aes256gcm16", sa(prk, 2, "aes256gcm16", 0))
show("sa follower to leader, esn", sa(prk, 2, "aes256gcm16", 1))
show("said", said(prk))
show("tag of answer", tag(prk, 1, "aes256gcm16", 0))
show("tag of confirm", tag(prk, 2, "aes256gcm16", 0))
show("tag of confirm, esn", tag(prk, 2, "aes256gcm16", 1))
show("probe", probe(prk))
show("ppk check of the TLS client", ppk_check(PPK32, 1))
show("ppk check of the TLS server", ppk_check(PPK64, 2))
