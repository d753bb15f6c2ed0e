#!/usr/bin/env python3
"""Everything at once against one agent, whose honest pairs rekey meanwhile and must not notice.

alpha has honest pairs with beta and delta. gamma is a configured peer in Python that floods with a
good certificate and without one; others flood from addresses that nobody has configured.
"""

import os
import re
import socket
import struct
import threading
import time

from sapairtest import *
from sapairtest import main, test
from stranger import Closed, dial, knock

FAST = {"defaults": {"rekey": {"min_interval_ms": 0}, "drain_ms": 100, "switch_ms": 50}}
SECONDS = 8
HALF_OPEN = 10000 if not SAN else 2000
CLIENT_HELLO = bytes.fromhex("1603010200010001fc0303")  # and then 500 bytes that come slowly


def rss(agent):
    with open("/proc/%d/status" % agent.pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1))


class Flood:
    def __init__(self, lab, a):
        self.lab, self.a, self.over = lab, a, threading.Event()
        self.counts, self.threads, self.trouble = {}, [], []

    def begin(self, what, function):
        def loop():
            while not self.over.is_set():
                try:
                    function()
                    self.counts[what] = self.counts.get(what, 0) + 1
                except (Closed, OSError, Failure):
                    time.sleep(0.01)
                except Exception as e:
                    self.trouble.append("%s: %r" % (what, e))
                    return

        self.threads.append(threading.Thread(target=loop, daemon=True))
        self.threads[-1].start()

    def end(self):
        self.over.set()
        for t in self.threads:
            t.join()

    def connect(self, source):
        s = socket.socket()
        s.settimeout(2)
        s.bind((source, 0))
        s.connect((self.a.address, self.lab.port))
        return s

    # what floods

    def half_open(self):
        """Two hundred at a time, from a hundred addresses that nobody knows, and gamma's."""
        held = []
        for i in range(200):
            if self.over.is_set():
                break
            held.append(self.connect("127.0.9.%d" % (i % 100 + 1) if i % 10 else GAMMA))
        self.counts["connections"] = self.counts.get("connections", 0) + len(held)
        for s in held:
            s.close()

    def slow_loris(self):
        s = self.connect(GAMMA)
        try:
            for b in CLIENT_HELLO + bytes(500):
                if self.over.wait(0.05):
                    return
                s.sendall(bytes([b]))
        finally:
            s.close()

    def peer_sends(self, data):
        link = dial(self.a, self.lab, identity("gamma"))
        try:
            link.hello()
            link.send_bytes(data)
            link.until_closed()
        finally:
            link.close()

    def long_frame(self):
        self.peer_sends(struct.pack(">I", 1 << 20) + b"[" * (1 << 20))

    def deep_frame(self):
        body = b'{"type":"ping","id":' + b"[" * 8000 + b"]" * 8000 + b"}"
        self.peer_sends(struct.pack(">I", len(body)) + body)

    def loud(self):
        """What is logged each time: refusals of messages, and of connections."""
        self.peer_sends(struct.pack(">I", 2) + b"{}")
        s = self.connect("127.0.9.200")
        s.close()


@test(alone=True)
def honest_pairs_rekey_within_a_second_whatever_floods(lab):
    a = lab.agent("alpha", "beta", "delta", lab.peer_of("gamma", role="listen"), log="info", **FAST)
    b = lab.agent("beta", "alpha", **FAST)
    d = lab.agent("delta", "alpha", **FAST)
    for x in (a, b, d):
        x.start()
    together(a, b)
    together(a, d)
    for _ in range(20):
        for x in (b, d):
            equal(x.ask("rekey", peer="alpha")[0], 0, "rekey before the flood")
    kb, log = rss(a), len(a.log())
    flood = Flood(lab, a)
    for what, function in (("half-open", flood.half_open), ("slow", flood.slow_loris),
                           ("slow 2", flood.slow_loris), ("long", flood.long_frame),
                           ("deep", flood.deep_frame), ("loud", flood.loud)):
        flood.begin(what, function)
    slowest, rekeys = 0.0, 0
    try:
        end = time.monotonic() + SECONDS * SLOW
        while time.monotonic() < end or flood.counts.get("connections", 0) < HALF_OPEN:
            check(time.monotonic() < end + 20 * SLOW, "only %s" % flood.counts)
            for x in (b, d):
                start = time.monotonic()
                rc, docs = x.ask("rekey", peer="alpha")
                slowest = max(slowest, time.monotonic() - start)
                equal(rc, 0, "rekey of %s: %s" % (x.name, docs))
                rekeys += 1
            time.sleep(0.02)
    finally:
        flood.end()
    grown, logged = rss(a) - kb, len(a.log()) - log
    lines = [n for n in a.log()[log:].splitlines() if "beta" not in n and "delta" not in n]
    print("# %d rekeys, the slowest %.0f ms, memory %+d kB, %d kB of log, %d lines about others; %s" % (
        rekeys, slowest * 1000, grown, logged // 1024, len(lines),
        ", ".join("%s %d" % c for c in sorted(flood.counts.items()))))
    equal(flood.trouble, [], "floods")
    for what in ("long", "deep", "loud", "connections"):
        check(flood.counts.get(what, 0) > 0, "no flood of the kind %s" % what)
    check(slowest < 1 * SLOW, "the slowest rekey took %.2f s" % slowest)
    if not SAN:
        check(grown < 4096, "alpha has grown by %d kB" % grown)
    check(len(lines) < 40 * (SECONDS * SLOW + 20), "%d lines of log about floods" % len(lines))
    together(a, b)
    together(a, d)


@test
def four_unfinished_handshakes_are_kept_for_an_address_and_the_oldest_goes(lab):
    a = lab.agent("alpha", lab.peer_of("gamma", role="listen")).start()
    held = []
    for _ in range(12):
        s = knock(a, lab)
        held.append(s)
        time.sleep(0.02)
    # The first eight were closed long before the time for a handshake is over.
    for s in held[:8]:
        s.settimeout(3 * SLOW)
        try:
            equal(s.recv(1), b"", "what an old connection was told")
        except ConnectionError:
            pass
    for s in held[8:]:
        s.settimeout(0.2)
        try:
            equal(s.recv(1), "still open", "what a new connection was told")
        except (TimeoutError, socket.timeout):
            pass
    dial(a, lab, identity("gamma")).hello()


if __name__ == "__main__":
    main()
