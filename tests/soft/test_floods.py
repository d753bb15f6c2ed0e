#!/usr/bin/env python3
"""All floods at once against one agent, whose honest pairs rekey at the same time and must not be affected.

alpha has a hundred honest pairs; their other ends are one agent with a hundred addresses. gamma is a
configured peer in Python that floods with a valid certificate and without one. More floods come from
addresses that are not configured, and from those of the honest peers.
"""

import os
import re
import resource
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_paired
from harness.flood import ALL, PeerFlood, closed_connections, descriptors, resident_kb
from harness.hostile import connect, Closed, connect_tls
from harness.identity import identity
from harness.lab import Lab
from harness.settings import GAMMA, SAN, SLOW
from harness.tap import Failure, check, equal, main, test

FAST = {"defaults": {"rekey": {"min_interval_ms": 0}, "drain_ms": 100, "switch_ms": 50}}
SECONDS = 6
HONEST = 100 if not SAN else 20
HALF_OPEN = 10000 if not SAN else 2000  # at once
CLIENT_HELLO = bytes.fromhex("1603010200010001fc0303")  # then 500 bytes, sent slowly


class Flood:
    def __init__(self, lab, a):
        self.lab, self.a, self.over = lab, a, threading.Event()
        self.counts, self.threads, self.trouble = {}, [], []
        self.held, self.most = [], 0

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
        for s in self.held:
            s.close()

    def connect(self, source):
        s = socket.socket()
        s.settimeout(2)
        s.bind((source, 0))
        s.connect((self.a.address, self.lab.port))
        return s

    # floods

    def half_open(self):
        """Keeps as many connections as fit; then replaces the oldest."""
        self.room = min(HALF_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 300)
        for i in range(200):
            if self.over.is_set():
                return
            source = (GAMMA if i % 10 == 0 else honest_address(i % HONEST) if i % 10 < 4
                      else "127.0.9.%d" % (i % 100 + 1))
            self.held.append(self.connect(source))
        self.counts["connections"] = self.counts.get("connections", 0) + 200
        self.most = max(self.most, len(self.held))
        while len(self.held) >= self.room:
            for s in self.held[:200]:
                s.close()
            del self.held[:200]

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
        link = connect_tls(self.a, self.lab, identity("gamma"))
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
        """Causes a log line each time: refused messages and refused connections."""
        self.peer_sends(struct.pack(">I", 2) + b"{}")
        s = self.connect("127.0.9.200")
        s.close()


def honest_address(i):
    return "127.1.0.%d" % (i + 1)


def with_honest_peers(lab):
    """alpha, and the agent at the other end of all its honest pairs, which are up."""
    far, pin = lab.free_port(), identity("delta").pin
    peers = [{"name": "p%d" % i, "address": "%s:%d" % (honest_address(i), far), "pin": pin,
              "role": "listen"} for i in range(HONEST)]
    a = lab.agent("alpha", *peers, lab.peer_of("gamma", role="listen"), log="info", **FAST)
    ours = [dict(lab.peer_of("alpha", role="dial", local=honest_address(i)), name="p%d" % i)
            for i in range(HONEST)]
    b = lab.agent("delta", *ours, listen="0.0.0.0:%d" % far, **FAST)
    a.start()
    b.start()
    rc, docs = b.ask("up", all=True, parallel=HONEST)
    equal(rc, 0, "up of all")
    return a, b


@test(alone=True)
def a_hundred_honest_peers_rekey_within_a_second_during_floods(lab):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, HALF_OPEN + 1000)), hard))
    a, b = with_honest_peers(lab)
    for _ in range(2):
        equal(b.ask("rekey", all=True, parallel=10)[0], 0, "rekey before the flood")
    kb, log = resident_kb(a), len(a.log())
    flood = Flood(lab, a)
    for what, function in (("half-open", flood.half_open), ("slow", flood.slow_loris),
                           ("slow 2", flood.slow_loris), ("long", flood.long_frame),
                           ("deep", flood.deep_frame), ("loud", flood.loud)):
        flood.begin(what, function)
    slowest, rekeys, most = 0.0, 0, 0
    try:
        end = time.monotonic() + SECONDS * SLOW
        while time.monotonic() < end or flood.most < flood.room or rekeys < HONEST:
            check(time.monotonic() < end + 20 * SLOW, "only %s" % flood.counts)
            start = time.monotonic()
            rc, docs = b.ask("rekey", peer="p%d" % (rekeys % HONEST))
            slowest = max(slowest, time.monotonic() - start)
            equal(rc, 0, "rekey of p%d: %s" % (rekeys % HONEST, docs))
            rekeys += 1
            most = max(most, resident_kb(a))
            time.sleep(0.01)
    finally:
        flood.end()
    grown, logged = most - kb, len(a.log()) - log
    lines = [n for n in a.log()[log:].splitlines() if not re.search(r"\bp[0-9]+\b", n)]
    print("# %d rekeys, the slowest %.0f ms, memory %+d kB at most, %d kB of log, %d lines about "
          "others; %d half-open at once; %s" % (
              rekeys, slowest * 1000, grown, logged // 1024, len(lines), flood.most,
              ", ".join("%s %d" % c for c in sorted(flood.counts.items()))))
    equal(flood.trouble, [], "floods")
    for what in ("long", "deep", "loud", "connections"):
        check(flood.counts.get(what, 0) > 0, "no flood of the kind %s" % what)
    check(slowest < 1 * SLOW, "the slowest rekey took %.2f s" % slowest)
    if not SAN:
        check(grown < 8192, "alpha has grown by %d kB" % grown)
    check(len(lines) < 40 * (SECONDS * SLOW + 20), "%d lines of log about floods" % len(lines))
    rc, docs = b.ask("verify", all=True)
    equal(rc, 0, "verify of all afterwards")


@test
def four_unfinished_handshakes_per_address_are_kept_and_the_oldest_is_closed(lab):
    a = lab.agent("alpha", lab.peer_of("gamma", role="listen")).start()
    held = []
    for _ in range(12):
        s = connect(a, lab)
        held.append(s)
        time.sleep(0.02)
    # The first eight are closed long before the handshake times out.
    for s in held[:8]:
        s.settimeout(3 * SLOW)
        try:
            equal(s.recv(1), b"", "data on an old connection")
        except ConnectionError:
            pass
    for s in held[8:]:
        s.settimeout(0.2)
        try:
            equal(s.recv(1), "still open", "what a new connection was told")
        except (TimeoutError, socket.timeout):
            pass
    connect_tls(a, lab, identity("gamma")).hello()

    # Silent connections do not take the places of those that are further on.
    for _ in range(5):
        held += [connect(a, lab) for _ in range(8)]
        connect_tls(a, lab, identity("gamma")).hello()


@test(alone=True)
def closed_connections_hold_few_descriptors_and_a_greeting_among_them_succeeds(lab):
    """RESETS=100000 for the full number."""
    a = lab.agent("alpha", lab.peer_of("gamma", role="listen")).start()
    total, before, most, greeted = int(os.environ.get("RESETS", 4000)), descriptors(a), [], 0
    threads = [threading.Thread(target=closed_connections, args=(a, lab, total // 2, most)) for _ in range(2)]
    for t in threads:
        t.start()
    done = 0
    while done < 20:
        link = connect_tls(a, lab, identity("gamma"))
        link.hello()
        done += 1
        link.close()
        time.sleep(min(total / 100000, 1))
    for t in threads:
        t.join()
    held = max(most) - before
    print("# %d connections, at most %d descriptors, %d greetings" % (total, held, done))
    check(held <= 16, "%d descriptors for one peer" % held)
    time.sleep(1.5)
    check(descriptors(a) <= before, "%d descriptors are left" % (descriptors(a) - before))


@test
def a_failure_that_repeats_is_logged_once(lab):
    a = lab.agent("alpha", {"name": "dead", "address": "240.0.0.9:%d" % lab.free_port()},
                  lab.peer_of("gamma", role="dial")).start()
    time.sleep(5)
    for name in "dead", "gamma":
        lines = [line for line in a.log().splitlines() if "peer %s: " % name in line]
        check(1 <= len(lines) <= 2, "%d lines about %s: %s" % (len(lines), name, lines[:5]))


def flood_of(kind):
    @test(name="%s of a valid peer harm neither the memory nor another pair" % kind, alone=True)
    def flood(lab):
        a = lab.agent("alpha", "beta", lab.peer_of("gamma", role="listen"), **FAST)
        b = lab.agent("beta", "alpha", **FAST)
        a.start()
        b.start()
        wait_paired(a, b)
        connect_tls(a, lab, identity("gamma")).hello()  # so that its memory is not counted
        kb, most, slowest = resident_kb(a), 0, 0.0
        flood = PeerFlood(a, lab, kind)
        try:
            end = time.monotonic() + 2 * SLOW
            while time.monotonic() < end:
                start = time.monotonic()
                equal(b.ask("rekey", peer="alpha")[0], 0, "rekey")
                slowest = max(slowest, time.monotonic() - start)
                most = max(most, resident_kb(a))
        finally:
            flood.end()
        print("# %d %s on %d links, the slowest rekey %.0f ms, memory %+d kB at most" % (
            flood.sent, kind, flood.links, slowest * 1000, most - kb))
        check(flood.sent > 0, "no flood")
        check(slowest < 0.5 * SLOW, "a rekey took %.2f s" % slowest)
        check(SAN or most - kb <= 1024, "alpha has grown by %d kB" % (most - kb))
        equal(b.ask("verify", peer="alpha")[0], 0, "verify afterwards")


for kind in ALL:
    flood_of(kind)


if __name__ == "__main__":
    main(Lab)
