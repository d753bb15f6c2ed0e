"""Numbered datagrams and streams between hosts, and the packet counter on the wire (tests/kernel/load.c)."""

import json
import os
import signal
import subprocess
import time

from harness.netns import inside, v4
from harness.settings import SAPAIR
from harness.tap import check

STALL_MS = 150
LOAD = os.environ.get("SAPAIR_LOAD", os.path.join(os.path.dirname(SAPAIR), "tests/kernel/load"))


class Flow:
    """One traffic program, or the packet counter; over() ends it and returns its counts."""

    def __init__(self, host, *words):
        self.words = [str(w) for w in words]
        self.process = subprocess.Popen(
            inside(host) + [LOAD] + self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        self.result = None

    def ready(self):
        line = self.process.stdout.readline()
        check(line == "ready\n", "load %s: %r %s" % (self.words, line, "" if line else self.process.stderr.read()))
        return self

    def end(self):
        self.process.send_signal(signal.SIGTERM)

    def over(self):
        if self.result is None:
            self.end()
            out, err = self.process.stdout.read(), self.process.stderr.read()
            self.process.wait(30)
            check(self.process.returncode == 0, "load %s: %s" % (self.words, err))
            self.result = json.loads(out.splitlines()[-1])
        return self.result


class Udp:
    """Numbered datagrams in both directions between two hosts."""

    def __init__(self, world, a, b, rate=1000, port=7000, address=v4, least=120):
        self.ends = [
            Flow(a, "udp", address(a), address(b), port, rate, least),
            Flow(b, "udp", address(b), address(a), port, rate, least),
        ]
        world.flows += self.ends
        for e in self.ends:
            e.ready()
        for e in self.ends:
            e.process.stdin.close()

    def over(self):
        """Counts of both ends; self.lost is the loss in each direction."""
        for e in self.ends:
            e.end()
        x, y = [e.over() for e in self.ends]
        self.lost = (x["sent"] - y["received"], y["sent"] - x["received"])
        return x, y

    def no_loss(self, least=100):
        x, y = self.over()
        text = "%s\n%s\nlost %s" % (x, y, self.lost)
        check(self.lost == (0, 0) and x["failed"] == y["failed"] == 0, "packets were lost: " + text)
        check(x["sent"] >= least and y["sent"] >= least, "too little traffic: " + text)
        check(x["twice"] == y["twice"] == 0, "packets arrived twice: " + text)
        return x["sent"] + y["sent"]


class Tcp:
    """One TCP stream, in both directions."""

    def __init__(self, world, a, b, rate=200000, port=7001, address=v4):
        self.ends = [Flow(b, "listen", address(b), port, rate).ready()]
        self.ends.append(Flow(a, "connect", address(a), address(b), port, rate))
        world.flows += self.ends
        for e in self.ends:
            e.ready()

    def over(self):
        self.ends[1].end()
        time.sleep(0.3)
        self.ends[0].end()
        return [e.over() for e in self.ends]

    def whole(self, lost=None):
        """Every byte must have arrived in order. lost: the maximum number of segments that did not arrive. Late
        segments, delayed by the machine or reordered on several processors, are sent again too, but arrive
        twice."""
        x, y = self.over()
        check(
            x["sent"] == y["received"] > 0 and y["sent"] == x["received"] > 0
            and x["wrong"] == y["wrong"] == 0,
            "the stream is damaged: %s %s" % (x, y),
        )
        if lost is not None:
            n = sum(abs(a["segments_out"] - b["segments_in"]) for a, b in ((x, y), (y, x)))
            check(n <= lost, "%d segments were lost: %s %s" % (n, x, y))
        return x["sent"] + y["sent"]
