#!/usr/bin/env python3
"""Agents that are killed, links that break or fall silent: the pair stays or is restored."""

import os
import random
import select
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import in_force, wait_paired, wait_single_pair
from harness.control import Control, Gone
from harness.lab import Lab
from harness.program import expect_exit
from harness.settings import ALPHA, BETA, SAN, SLOW
from harness.tap import check, equal, has, main, test

FAST = {"defaults": {"rekey": {"min_interval_ms": 0}, "drain_ms": 200, "switch_ms": 100}}
BACK = 2 if not SAN else 5  # seconds from the start of a killed agent until the pair is verified


def rekey_until(agent, peer, over):
    """Rekeys without a pause, and ignores the results."""
    while not over.is_set():
        try:
            with Control(agent.control) as c:
                while not over.is_set():
                    c.ask("rekey", peer=peer, timeout_ms=500)
        except Gone:
            time.sleep(0.005)


def killed(title, victim, rekeys):
    @test(alone=True, name="%s is back in %d seconds after kill -9%s, ten times" %
          (title, BACK, " during rekeys" if rekeys else ""))
    def comes_back(lab):
        a, b = lab.pair(both=FAST)
        agent, other = (a, b) if victim == "alpha" else (b, a)
        times = []
        for _ in range(10 if not SAN else 4):
            over = threading.Event()
            threads = [
                threading.Thread(target=rekey_until, args=(x, y.name, over))
                for x, y in ((a, b), (b, a)) if rekeys
            ]
            for t in threads:
                t.start()
            # The moment must be random.
            time.sleep(random.uniform(0.02, 0.2) if rekeys else 0)
            before = other.peer(agent.name)["epoch"]
            agent.kill()
            over.set()
            for t in threads:
                t.join()
            p = other.wait_peer(agent.name, "has lost its link", lambda p: p["link"] != "up")
            equal(p["state"], "up", "state at the one that lives (I5)")
            agent.start(ready=False)
            agent.wait_ready()
            p, _ = wait_paired(agent, other, epoch=int(before) + 1, limit=BACK)
            times.append(time.monotonic() - agent.started)
            check(times[-1] <= BACK, "back after %.2f s" % times[-1])
        wait_single_pair(a, b, limit=30 * SLOW)
        print("# %s: proven again after %.2f to %.2f s" % (title, min(times), max(times)))

    return comes_back


killed("the first of two", "alpha", False)
killed("the second of two", "beta", False)
killed("the first of two", "alpha", True)
killed("the second of two", "beta", True)


@test
def both_killed_at_once_pair_again(lab):
    a, b = lab.pair(both=FAST)
    old = set(in_force(a.peer("beta"))[1:])
    for _ in range(3):
        a.kill()
        b.kill()
        a.start(ready=False)
        b.start(ready=False)
        a.wait_ready()
        b.wait_ready()
        p, _ = wait_paired(a, b)
        check(not {p["in"]["spi"], p["out"]["spi"]} & old, "an SPI came again")


@test
def a_silent_peer_is_detected_in_ten_seconds_and_the_pair_stays(lab):
    a, b = lab.pair(both=FAST)
    before = in_force(a.peer("beta"))
    b.signal(signal.SIGSTOP)
    start = time.monotonic()
    p = a.wait_peer("beta", "has lost its link", lambda p: p["link"] != "up", limit=14)
    took = time.monotonic() - start
    check(5 < took < 12.5, "known after %.1f s" % took)
    equal((p["state"], in_force(p)), ("up", before), "the pair (I5)")
    equal(p["error"]["class"], "timeout", "class of the error")
    has(p["error"]["cause"], "silent")
    while time.monotonic() - start < 12:  # longer than the detection takes
        equal(in_force(a.peer("beta")), before, "the pair (I5)")
        time.sleep(0.2)
    expect_exit(a.cli("rekey", "beta", "--timeout", "0.5"), 4)
    b.signal(signal.SIGCONT)
    wait_paired(a, b, limit=30 * SLOW)
    expect_exit(a.cli("verify", "beta"))
    a.wait_peer("beta", "has no error beside a good pair", lambda p: "error" not in p, limit=5 * SLOW)
    wait_single_pair(a, b, limit=30 * SLOW)


class Relay:
    """A TCP relay between two agents that can close its connections or stop forwarding."""

    def __init__(self, lab, listen, source, to):
        self.lab, self.source, self.to = lab, source, to
        self.server = socket.socket()
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.server.bind(listen)
        self.server.listen(16)
        self.links, self.lock, self.after = [], threading.Lock(), None
        lab.cleanups.append(self.close)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            try:
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                far.bind((self.source, 0))
                far.connect(self.to)
            except OSError:
                near.close()
                far.close()
                continue
            for s in (near, far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.links.append((near, far))
            threading.Thread(target=self.carry, args=(near, far), daemon=True).start()

    def carry(self, near, far):
        other = {near: far, far: near}
        try:
            while True:
                for s in select.select([near, far], [], [], 60)[0]:
                    data = s.recv(65536)
                    if not data:
                        return
                    if self.after is not None:
                        self.after -= 1
                        if self.after < 0:
                            self.after = None
                            return
                    other[s].sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            near.close()
            far.close()

    def cut(self):
        with self.lock:
            for pair in self.links:
                for s in pair:
                    try:
                        s.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
            self.links.clear()

    def cut_after(self, n):
        """Closes the link after this many chunks."""
        self.after = n

    def close(self):
        self.server.close()
        self.cut()


def relayed(lab):
    """alpha connects to beta through a relay at 127.0.0.2; beta listens on another port."""
    inner = lab.free_port()
    a = lab.agent("alpha", lab.peer_of("beta", role="dial", esp_port=inner), **FAST)
    b = lab.agent("beta", lab.peer_of("alpha", role="listen", esp_port=lab.port), **FAST)
    b.config["listen"] = "%s:%d" % (BETA, inner)
    relay = Relay(lab, (BETA, lab.port), ALPHA, (BETA, inner))
    b.start()
    a.start()
    wait_paired(a, b)
    return a, b, relay


@test
def a_broken_link_is_restored_and_the_pair_stays(lab):
    a, b, relay = relayed(lab)
    before = in_force(a.peer("beta"))
    for _ in range(5):
        relay.cut()
        a.wait_peer("beta", "is linked again", lambda p: p["link"] == "up", limit=20 * SLOW)
        b.wait_peer("alpha", "is linked again", lambda p: p["link"] == "up")
        equal(in_force(a.peer("beta")), before, "the pair of two equal hellos")
    wait_paired(a, b)
    equal(a.ask("verify", peer="beta")[0], 0, "verify")


@test
def a_link_that_breaks_at_any_point_of_an_exchange_loses_no_packet(lab):
    a, b, relay = relayed(lab)
    over, runs = threading.Event(), []

    def load():
        with Control(a.control, limit=120) as c:
            while not over.is_set():
                runs.append(c.ask("verify", peer="beta", count=200, interval_ms=1)[1][0])

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for n in list(range(8)) * (3 if not SAN else 1):
            p, _ = wait_paired(a, b, limit=30 * SLOW)
            relay.cut_after(n)
            a.ask("rekey", peer="beta", timeout_ms=300)
            relay.cut_after(10 ** 9)
            p = a.peer("beta")
            check(p["state"] == "up" and b.peer("alpha")["state"] == "up", "the pair went down (I5)")
        wait_paired(a, b, limit=30 * SLOW)
    finally:
        over.set()
        thread.join()
    wait_single_pair(a, b, limit=30 * SLOW)
    lost = sum(r["probes"]["lost"] for r in runs)
    sent = sum(r["probes"]["sent"] for r in runs)
    equal(lost, 0, "lost of %d probes" % sent)


@test
def a_restarted_peer_pairs_again_by_itself(lab):
    a, b = lab.pair(both=FAST)
    for _ in range(3):
        before = int(a.peer("beta")["epoch"])
        expect_exit(b.cli("stop"))
        equal(b.wait_exit(), 0, "exit of beta")
        a.wait_peer("beta", "has lost its link", lambda p: p["link"] != "up")
        equal(a.peer("beta")["state"], "up", "state of the one that lives")
        b.start()
        wait_paired(a, b, epoch=before + 1)


if __name__ == "__main__":
    main(Lab)
