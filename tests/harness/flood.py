"""Floods by a configured peer with a valid certificate, and by a stranger at its address."""

import os
import re
import select
import socket
import struct
import threading
import time

from harness.hostile import Closed, connect_tls, offer, pack
from harness.identity import identity
from harness.settings import GAMMA

PING = {"type": "ping", "id": "7" * 16}
PROBE = {"type": "probe", "id": "7" * 16, "epoch": "1", "sent": 3}
REPORT = {"type": "report", "id": "7" * 16, "epoch": "1", "received": 3}
REKEY = {"type": "rekey", "reason": "request"}
ALL = ("pings", "probes", "reports", "requests", "offers", "unread pings")


def resident_kb(agent):
    with open("/proc/%d/status" % agent.pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1))


def descriptors(agent):
    return len(os.listdir("/proc/%d/fd" % agent.pid))


def reset(s):
    """Closes with RST."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def framed(messages):
    return b"".join(struct.pack(">I", len(body)) + body for body in map(pack, messages))


class PeerFlood:
    """gamma sends messages of one kind as fast as its link takes them, and connects again when it is closed."""

    def __init__(self, agent, lab, kind):
        self.agent, self.lab, self.kind = agent, lab, kind
        self.sent, self.links, self.over = 0, 0, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def data(self, link):
        if self.kind == "offers":
            first = int(link.hello_got["last"]) + 1
            return framed(offer(first + i, suites=["aes128-sha1"]) for i in range(100))
        return framed([{"pings": PING, "unread pings": PING, "probes": PROBE, "reports": REPORT,
                        "requests": REKEY}[self.kind]] * 200)

    def flood(self, link):
        data = self.data(link)
        link.tls.settimeout(0.05)
        while not self.over.is_set():
            try:
                link.tls.send(data)
                self.sent += 200
            except (TimeoutError, socket.timeout, OSError):
                pass
            if self.kind == "unread pings":
                if select.select([link.tls], [], [], 0)[0] and link.tls.pending() == 0:
                    time.sleep(0.01)
                continue
            try:
                while link.tls.recv(65536):
                    if self.over.is_set():
                        return
                return
            except (TimeoutError, socket.timeout):
                pass

    def run(self):
        while not self.over.is_set():
            try:
                link = connect_tls(self.agent, self.lab, identity("gamma"))
                self.links += 1
                link.hello()
                self.flood(link)
            except (Closed, OSError):
                time.sleep(0.05)
            except Exception as e:  # a message in the place of the expected one
                self.trouble = repr(e)
                time.sleep(0.05)

    def end(self):
        self.over.set()
        self.thread.join()


def closed_connections(agent, lab, n, most, source=GAMMA):
    """Opens n connections to the agent and closes each at once, three of four by RST. Appends how many descriptors the
    agent holds to the list most."""
    for i in range(n):
        s = socket.socket()
        s.settimeout(10)
        try:
            s.bind((source, 0))
            s.connect((agent.address, lab.port))
        except OSError:
            s.close()
            time.sleep(0.01)
            continue
        if i % 4:
            reset(s)
        else:
            s.close()
        if i % 50 == 0:
            most.append(descriptors(agent))
