#!/usr/bin/env python3
"""Measures sapair: two agents on this machine, back end soft, real TLS and real ESP.

    make bench                             all, as a table; the numbers also in build/bench.json
    tests/bench/bench.py --only rate cold  these only (--list has the names)
    tests/bench/bench.py --quick           smaller numbers; results that need the full ones are not compared with targets
    tests/bench/bench.py --long            growth over 100,000 rekeys instead of 10,000
    tests/bench/bench.py --json            JSON on stdout instead of the table
    tests/bench/bench.py --check           exit status 1 when a target is missed

Two agents and this program share the processors of one machine. A time is the median
of its samples; "p99" is the sample that 99 of 100 do not exceed. The targets are for two idle
cores; the load of the machine is printed below the table.

      alpha 127.0.0.1 <----> beta 127.0.0.2                   one pair
      hub   127.0.0.1 <----> fan  127.1.x.y, N addresses      N pairs, one agent at each end
"""

import argparse
import contextlib
import json
import os
import platform
import random
import re
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SAPAIR = os.path.abspath(
    os.environ.get("SAPAIR", os.path.join(ROOT, "build", "linux", "sapair"))
)
JSON_FILE = os.path.join(ROOT, "build", "bench.json")
TICKS = os.sysconf("SC_CLK_TCK")
NO_LIMIT = {"rekey": {"min_interval_ms": 0}, "verify": False}
IN_FLIGHT = 24  # pipelined requests on one connection; the agent's buffer is 4 KiB
LIMIT = 120  # seconds until an operation has failed

clock = time.monotonic


class Failure(Exception):
    pass


def p99(samples):
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * 99 // 100) - 1)]


# --- agents --------------------------------------------------------------------------------------


class Control:
    """One connection to an agent's control socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(LIMIT)
        self.rest = b""
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise

    def send(self, verb, **members):
        self.socket.sendall(json.dumps(dict(members, verb=verb)).encode() + b"\n")

    def answer(self):
        """The documents of one request."""
        docs = []
        while True:
            while b"\n" not in self.rest:
                data = self.socket.recv(1 << 20)
                if not data:
                    raise Failure("the agent closed the control socket")
                self.rest += data
            line, self.rest = self.rest.split(b"\n", 1)
            doc = json.loads(line)
            if doc["schema"] == "sapair.error/1":
                raise Failure("%s: %s" % (doc.get("peer", "agent"), doc["cause"]))
            if doc["schema"] == "sapair.end/1":
                return docs
            if doc["schema"] != "sapair.progress/1":
                docs.append(doc)

    def ask(self, verb, **members):
        self.send(verb, **members)
        return self.answer()

    def peers(self):
        return self.ask("status")[0]["peers"]

    def close(self):
        self.socket.close()


class Agent:
    def __init__(self, lab, name, config):
        self.name = name
        self.dir = lab.dir
        self.control = os.path.join(lab.dir, name + ".sock")
        self.config = os.path.join(lab.dir, name + ".json")
        self.log = os.path.join(lab.dir, name + ".log")
        self.process = None
        with open(self.config, "w") as f:
            json.dump(config, f)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [SAPAIR, "run", "--config", self.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
            )
        return self

    def connect(self):
        """Waits for the control socket. Returns a connection."""
        end = clock() + LIMIT
        while True:
            try:
                return Control(self.control)
            except OSError:
                if self.process.poll() is not None or clock() > end:
                    with open(self.log, errors="replace") as f:
                        raise Failure("%s does not run:\n%s" % (self.name, f.read()[-2000:]))
                time.sleep(0.0005)

    def stop(self, number=signal.SIGTERM):
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(LIMIT)
        self.process = None

    def cpu(self):
        """Seconds of processor time so far: in nanoseconds if the kernel has schedstat, else in ticks."""
        with contextlib.suppress(OSError):
            with open("/proc/%d/schedstat" % self.process.pid) as f:
                return int(f.read().split()[0]) / 1e9
        with open("/proc/%d/stat" % self.process.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss(self):
        with open("/proc/%d/status" % self.process.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))


class Lab:
    """A folder, a CA, free ports, and agents; all are removed at its end."""

    def __init__(self):
        self.agents = []
        self.identities = {}

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="sapair-bench-")
        return self

    def __exit__(self, *_):
        for agent in self.agents:
            agent.stop(signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def tool(self, *words):
        subprocess.run(
            [SAPAIR, *words], check=True, cwd=self.dir, timeout=LIMIT,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def identity(self, name, address):
        if not self.identities:
            self.tool("ca", "new", "--name", "bench", "--dir", "ca")
        if name not in self.identities:
            self.tool("ca", "issue", name, "--address", address, "--dir", "ca", "--out", name)
            self.identities[name] = {
                "certificate": os.path.join(name, name + ".crt"),
                "key": os.path.join(name, name + ".key"),
                "ca": os.path.join(name, "ca.crt"),
            }
        return self.identities[name]

    @staticmethod
    def free_port(*addresses):
        for _ in range(1000):
            port = random.randrange(10000, 32000)
            if all(is_free(kind, a, port) for a in addresses
                   for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
                return port
        raise Failure("no free port")

    def agent(self, name, address, listen, defaults, peers):
        config = dict(
            self.identity(name, address),
            listen=listen, backend="soft", control=os.path.join(self.dir, name + ".sock"),
            log="warn", defaults=defaults, peers=peers,
        )
        agent = Agent(self, name, config)
        self.agents.append(agent)
        return agent

    def pair(self, **defaults):
        """alpha and beta, not started."""
        self.port = self.free_port("127.0.0.1", "127.0.0.2")
        ends = {"alpha": "127.0.0.1", "beta": "127.0.0.2"}
        made = []
        for name, other in (("alpha", "beta"), ("beta", "alpha")):
            made.append(self.agent(
                name, ends[name], "%s:%d" % (ends[name], self.port), defaults,
                [{"name": "peer", "address": "%s:%d" % (ends[other], self.port),
                  "identity": other}],
            ))
        return made

    def fan(self, n, **defaults):
        """Two agents and n pairs between them, not started."""
        port, fan_port = self.free_port("127.0.0.1"), self.free_port("0.0.0.0")
        places = ["127.1.%d.%d" % (i // 250, i % 250 + 1) for i in range(n)]
        hub = self.agent(
            "hub", "127.0.0.1", "127.0.0.1:%d" % port, defaults,
            [{"name": "p%d" % i, "address": "%s:%d" % (a, fan_port), "identity": "fan"}
             for i, a in enumerate(places)],
        )
        fan = self.agent(
            "fan", "127.1.0.1", "0.0.0.0:%d" % fan_port, defaults,
            [{"name": "p%d" % i, "address": "127.0.0.1:%d" % port, "local": a, "identity": "hub"}
             for i, a in enumerate(places)],
        )
        return hub, fan


def is_free(kind, address, port):
    with socket.socket(socket.AF_INET, kind) as s:
        if kind == socket.SOCK_STREAM:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((address, port))
        except OSError:
            return False
    return True


def start_both(a, b):
    """Starts both at once and waits until each reports all peers as up and verified. Returns the
    connections, and the seconds since the start."""
    start = clock()
    a.start()
    b.start()
    ends = [a.connect(), b.connect()]
    for c in ends:
        c.send("up", all=True, parallel=10000, timeout_ms=LIMIT * 1000)
    for c in ends:
        for doc in c.answer():
            if not doc["verified"]:
                raise Failure("%s is not verified" % doc["peer"])
    return ends[0], ends[1], clock() - start


def at_rest(*controls):
    """Waits until no superseded SA is left on any of them."""
    end = clock() + LIMIT
    while any(p["held"] for c in controls for p in c.peers()):
        if clock() > end:
            raise Failure("superseded SAs are left")
        time.sleep(0.1)


def leader_first(a, b, ca, cb):
    if ca.peers()[0]["role"] == "leader":
        return a, b, ca, cb
    return b, a, cb, ca


# --- rekeys --------------------------------------------------------------------------------------


class Pump:
    """Keeps an agent busy with rekeys of these peers over one connection, with pipelined requests."""

    def __init__(self, path, peers):
        self.control = Control(path)
        self.requests = [
            json.dumps({"verb": "rekey", "peer": p, "verify": False}).encode() + b"\n"
            for p in peers
        ]
        self.sent = self.lines = 0
        self.tail = b""

    def fill(self, more):
        n = min(IN_FLIGHT - (self.sent - self.answered), more)
        if n > 0:
            self.control.socket.sendall(b"".join(
                self.requests[(self.sent + i) % len(self.requests)] for i in range(n)))
            self.sent += n
        return max(n, 0)

    @property
    def answered(self):
        return self.lines // 2  # a document and an end

    def read(self):
        data = self.control.socket.recv(65536)
        if not data:
            raise Failure("the agent closed the control socket")
        seen = self.tail + data
        if b'"sapair.error/1"' in seen:
            raise Failure(seen[seen.index(b'"sapair.error/1"'):][:300].decode())
        self.lines += data.count(b"\n")
        self.tail = data[-16:]


def pump(jobs, n):
    """n rekeys: jobs is a list of (path of a control socket, peers). Returns the seconds."""
    pumps = [Pump(path, peers) for path, peers in jobs]
    left = n
    with selectors.DefaultSelector() as selector:
        for p in pumps:
            selector.register(p.control.socket, selectors.EVENT_READ, p)
        start = clock()
        turn = True
        while turn:  # in rounds, so that each connection gets a share
            turn = False
            for p in pumps:
                if left > 0 and p.sent < IN_FLIGHT:
                    got = p.fill(1)
                    left -= got
                    turn = turn or got > 0
        while left > 0 or any(p.answered < p.sent for p in pumps):
            ready = selector.select(LIMIT)
            # This program must use little processor time: it handles a third of the pipeline at a time.
            done = sum(p.answered for p in pumps)
            if done >= IN_FLIGHT and left > 0:
                time.sleep(min(0.1, (clock() - start) / done * IN_FLIGHT / 3))
            if not ready:
                raise Failure("no rekey has completed")
            for key, _ in ready:
                key.data.read()
                if IN_FLIGHT - (key.data.sent - key.data.answered) >= IN_FLIGHT // 2:
                    left -= key.data.fill(left)
        seconds = clock() - start
    for p in pumps:
        p.control.close()
    return seconds


# --- measurements ----------------------------------------------------------------------------

benches = []


def bench(name):
    def mark(f):
        benches.append((name, f))
        return f

    return mark


class Table:
    """Rows: name, value, unit, target. bound: +1: the value must reach the target, -1: must not exceed it."""

    def __init__(self):
        self.rows = []
        self.name = ""
        self.quiet = False

    def row(self, what, value, unit, target=None, bound=-1, note="", **more):
        word = ""
        if target is not None:
            word = "PASS" if value * bound >= target * bound else "MISS"
        row = dict(name=self.name, what=what, value=value, unit=unit)
        if target is not None:
            row.update(target=target, bound="at least" if bound > 0 else "at most", verdict=word)
        row.update(more)
        self.rows.append(row)
        if not self.quiet:
            goal = "" if target is None else "%s %s" % (">=" if bound > 0 else "<=", show(target))
            print("%-8s %-46s %9s %-4s %-12s %-4s %s" % (
                self.name, what, show(value), unit, goal, word, note and "# " + note))
            sys.stdout.flush()

    def missed(self):
        return any(r.get("verdict") == "MISS" for r in self.rows)


def show(value):
    if isinstance(value, int):
        return "{:,}".format(value)
    return "{:,.0f}".format(value) if value >= 1000 else "%.3g" % value


@bench("start")
def start_to_verified(t, o):
    rounds = 10 if o.quick else 60
    samples = []
    with Lab() as lab:
        a, b = lab.pair()
        for _ in range(rounds):
            ca, cb, seconds = start_both(a, b)
            samples.append(seconds * 1000)
            ca.close()
            cb.close()
            a.stop()
            b.stop()
    t.row("start of both agents to verified, median", statistics.median(samples), "ms",
          note="%d starts" % rounds, samples=rounds)
    t.row("start of both agents to verified, p99", p99(samples), "ms")


@bench("restart")
def restart_to_verified(t, o):
    rounds = 6 if o.quick else 20
    samples = []
    with Lab() as lab:
        a, b = lab.pair()
        ca, cb, _ = start_both(a, b)
        both = [[a, ca], [b, cb]]
        for i in range(rounds):
            one, other = both[i % 2], both[1 - i % 2]
            start = clock()
            one[0].stop(signal.SIGKILL)
            one[1].close()
            one[0].start()
            one[1] = one[0].connect()
            one[1].ask("up", peer="peer")  # returns when the new pair is verified
            epoch = one[1].peers()[0]["epoch"]
            while True:
                there = other[1].peers()[0]
                if there.get("epoch") == epoch and there["verified"]:
                    break
                if clock() - start > LIMIT:
                    raise Failure("the other agent has not verified the pair")
                time.sleep(0.001)
            samples.append((clock() - start) * 1000)
            time.sleep(0.2)
    t.row("kill -9 and restart to verified, median", statistics.median(samples), "ms",
          note="%d rounds, alternating sides; verified on both" % rounds, samples=rounds)
    t.row("kill -9 and restart to verified, max", max(samples), "ms", 2000)


@bench("rekey")
def one_rekey(t, o):
    n = 300 if o.quick else 2000
    with Lab() as lab:
        a, b = lab.pair(**NO_LIMIT)
        ca, cb, _ = start_both(a, b)
        a, b, ca, cb = leader_first(a, b, ca, cb)
        for control, who, verify in ((ca, "leader", False), (cb, "follower", False),
                                     (ca, "leader, with verification", True)):
            asked, told = [], []
            for i in range(n + 50):
                if i == 50:
                    used = a.cpu() + b.cpu()
                start = clock()
                doc = control.ask("rekey", peer="peer", verify=verify)[0]
                if i >= 50:  # the first ones are a warm-up
                    asked.append((clock() - start) * 1000)
                    told.append(doc["ms"]["total"])
            used = (a.cpu() + b.cpu() - used) / n
            t.row("requested at the %s: processor time, both agents" % who, used * 1e6, "us")
            at_rest(ca, cb)
            for what, samples in (("client", asked), ("agent", told)):
                t.row("requested at the %s: by the %s, median" % (who, what),
                      statistics.median(samples), "ms", note="%d, sequential" % n, samples=n)
                t.row("requested at the %s: by the %s, p99" % (who, what), p99(samples), "ms")


def wire_counts(port):
    """Payload bytes and segments that were sent on the established connections of this port, from the
    counters of the kernel; both ends are on this machine."""
    text = subprocess.run(
        ["ss", "-HtniO", "state", "established", "( sport = :%d or dport = :%d )" % (port, port)],
        check=True, stdout=subprocess.PIPE,
    ).stdout.decode()
    total = {}
    for field in ("bytes_sent", "data_segs_out", "segs_out"):
        total[field] = sum(int(n) for n in re.findall(r"\b%s:(\d+)" % field, text))
    return total


@bench("wire")
def on_the_wire(t, o):
    n = 200 if o.quick else 1000
    if shutil.which("ss") is None:
        t.row("bytes on the control link: ss is missing", 0, "")
        return
    with Lab() as lab:
        a, b = lab.pair(**NO_LIMIT)
        ca, cb, _ = start_both(a, b)
        a, b, ca, cb = leader_first(a, b, ca, cb)
        for control, who in ((ca, "leader"), (cb, "follower")):
            before = wire_counts(lab.port)
            for _ in range(n):
                control.ask("rekey", peer="peer", verify=False)
            after = wire_counts(lab.port)
            each = {k: (after[k] - before[k]) / n for k in after}
            if each["bytes_sent"] == 0:
                t.row("bytes on the control link: not reported by ss", 0, "")
                return
            t.row("frames of a rekey requested at the %s" % who, round(each["data_segs_out"], 2), "",
                  note="TCP segments with data")
            t.row("bytes of a rekey requested at the %s" % who, round(each["bytes_sent"]), "B",
                  note="TLS records: payload of TCP, both ways")


@bench("rate")
def rate_of_one_pair(t, o):
    n, rounds = (1000, 3) if o.quick else (5000, 5)
    with Lab() as lab:
        a, b = lab.pair(**NO_LIMIT)
        ca, cb, _ = start_both(a, b)
        a, b, ca, cb = leader_first(a, b, ca, cb)
        pump([(a.control, ["peer"])], n)
        rates, cpu = [], []
        for _ in range(rounds):
            before = a.cpu() + b.cpu()
            epoch = int(ca.peers()[0]["epoch"])
            seconds = pump([(a.control, ["peer"])], n)
            made = int(ca.peers()[0]["epoch"]) - epoch
            rates.append(made / seconds)
            cpu.append((a.cpu() + b.cpu() - before) / made * 1e6)
            at_rest(ca, cb)
    t.row("rekeys per second of one pair", statistics.median(rates), "/s", 1000, +1,
          note="median of %d rounds of %d; %.0f to %.0f" % (rounds, n, min(rates), max(rates)))
    t.row("processor time of a rekey, both agents", statistics.median(cpu), "us",
          note="utime + stime")


@bench("rate100")
def rate_of_hundred_pairs(t, o):
    pairs, connections = 100, 50
    n, rounds = (3000, 3) if o.quick else (10000, 5)
    with Lab() as lab:
        hub, fan = lab.fan(pairs, **NO_LIMIT)
        ch, cf, _ = start_both(hub, fan)
        names = ["p%d" % i for i in range(pairs)]
        jobs = [(hub.control, names[i::connections]) for i in range(connections)]
        pump(jobs, n)
        rates, cpu = [], []
        for _ in range(rounds):
            before = hub.cpu() + fan.cpu()
            rekeys = sum(int(p["rekeys"]) for p in ch.peers())
            seconds = pump(jobs, n)
            made = sum(int(p["rekeys"]) for p in ch.peers()) - rekeys
            rates.append(made / seconds)
            cpu.append((hub.cpu() + fan.cpu() - before) / made * 1e6)
            at_rest(ch, cf)
    t.row("rekeys per second over %d pairs" % pairs, statistics.median(rates), "/s", 2000, +1,
          note="median of %d rounds of %d over %d connections; %.0f to %.0f" % (
              rounds, n, connections, min(rates), max(rates)))
    t.row("processor time of a rekey, both agents", statistics.median(cpu), "us",
          note="utime + stime")


def settled_rss(agent, seconds=1.0):
    """Waits until the value is stable."""
    end = clock() + 30
    last, since = agent.rss(), clock()
    while clock() - since < seconds and clock() < end:
        time.sleep(0.1)
        now = agent.rss()
        if now != last:
            last, since = now, clock()
    return last


@bench("cold")
def many_peers(t, o):
    n, rounds = (200, 1) if o.quick else (1000, 3)
    judge = not o.quick
    times, hub_each, fan_each, busy, ask = [], [], [], [], []
    with Lab() as lab:
        hub, fan = lab.fan(0)
        hub.start()
        fan.start()
        hub.connect().close()
        fan.connect().close()
        nothing = settled_rss(hub), settled_rss(fan)
        hub.stop()
        fan.stop()
        hub, fan = lab.fan(n)
        for _ in range(rounds):
            ch, cf, seconds = start_both(hub, fan)
            times.append(seconds)
            at_rest(ch, cf)
            hub_each.append((settled_rss(hub, 4) - nothing[0]) / n / 1024)
            fan_each.append((settled_rss(fan) - nothing[1]) / n / 1024)
            before, start = hub.cpu(), clock()
            time.sleep(1 if o.quick else 6)
            busy.append((hub.cpu() - before) / (clock() - start) * 100)
            start = clock()
            ch.peers()
            ask.append((clock() - start) * 1000)
            ch.close()
            cf.close()
            hub.stop()
            fan.stop()
    t.row("cold start to {:,} peers up and verified".format(n), max(times), "s",
          15 if judge else None,
          note="worst of %d; median %.2f; both agents" % (rounds, statistics.median(times)))
    t.row("resident memory of an idle peer, hub", max(hub_each), "KiB", 48 if judge else None,
          note="RSS with {:,} peers less RSS with none".format(n))
    t.row("resident memory of an idle peer, fan", max(fan_each), "KiB", 48 if judge else None,
          note="a UDP socket for each peer")
    t.row("processor of an agent with {:,} idle peers".format(n), statistics.median(busy), "%",
          note="of one core")
    t.row("status of {:,} peers".format(n), statistics.median(ask), "ms")


@bench("growth")
def growth(t, o):
    warm, n, steps = (1000, 2000, 2) if o.quick else (5000, 100000 if o.long else 10000, 5)
    allowed = 256  # KiB
    with Lab() as lab:
        a, b = lab.pair(**NO_LIMIT)
        ca, cb, _ = start_both(a, b)
        a, b, ca, cb = leader_first(a, b, ca, cb)

        def rest():
            at_rest(ca, cb)
            return [(settled_rss(x), x.descriptors()) for x in (a, b)]

        pump([(a.control, ["peer"])], warm)
        first = last = rest()
        path = []
        for _ in range(steps):
            pump([(a.control, ["peer"])], n // steps)
            last = rest()
            path.append([x[0] // 1024 for x in last])
        held = sum(p["held"] for c in (ca, cb) for p in c.peers())
    for i, who in enumerate(("leader", "follower")):
        t.row("growth of the {} over {:,} rekeys".format(who, n),
              (last[i][0] - first[i][0]) / 1024, "KiB", allowed,
              note="RSS at rest, from %d KiB: %s" % (
                  first[i][0] // 1024, " ".join(str(x[i]) for x in path)),
              path=[x[i] for x in path])
    t.row("additional descriptors after {:,} rekeys".format(n),
          max(last[i][1] - first[i][1] for i in (0, 1)), "", 0)
    t.row("superseded SAs when idle", held, "", 0)


@bench("probes")
def probes(t, o):
    rekeys = 200 if o.quick else 1000
    count = 2000 if o.quick else 8000
    with Lab() as lab:
        a, b = lab.pair(**NO_LIMIT)
        ca, cb, _ = start_both(a, b)
        load = [a.connect(), b.connect()]
        start = clock()
        for c in load:
            c.send("verify", peer="peer", count=count, interval_ms=1, timeout_ms=0)
        epoch = int(ca.peers()[0]["epoch"])
        made = 0
        with selectors.DefaultSelector() as selector:
            for c in load:
                selector.register(c.socket, selectors.EVENT_READ)
            while not selector.select(0):  # until one of the probe runs ends
                ca.ask("rekey", peer="peer", verify=False)
        made = int(ca.peers()[0]["epoch"]) - epoch
        docs = [c.answer()[0] for c in load]
        seconds = clock() - start
    sent = sum(d["probes"]["sent"] for d in docs)
    lost = sum(d["probes"]["lost"] for d in docs)
    arrived = sum(d["probes"].get("arrived", 0) for d in docs)
    t.row("rekeys while probes ran", made, "", rekeys if not o.quick else None, +1,
          note="%.0f s" % seconds)
    t.row("probes lost of {:,}".format(sent), lost, "", 0,
          note="both directions, {:.0f} a second, each echoed; {:,} arrived".format(
              sent / seconds, arrived))


@bench("size")
def size(t, o):
    with tempfile.TemporaryDirectory() as d:
        stripped = os.path.join(d, "sapair")
        try:
            subprocess.run(["strip", "-o", stripped, SAPAIR], check=True)
        except (OSError, subprocess.CalledProcessError):
            t.row("size of the program: strip is missing", 0, "")
            return
        t.row("size of the stripped program", os.path.getsize(stripped), "B", 1500000)


# --- main ----------------------------------------------------------------------------------------


def machine():
    model = platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            model = re.search(r"model name\s*:\s*(.*)", f.read()).group(1)
    except (OSError, AttributeError):
        pass
    version = subprocess.run([SAPAIR, "version"], stdout=subprocess.PIPE).stdout.decode()
    return {
        "program": version.splitlines()[0] if version else "?",
        "cores": len(os.sched_getaffinity(0)),
        "processor": model,
        "kernel": platform.release(),
        "load": [round(x, 2) for x in os.getloadavg()],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these only")
    parser.add_argument("--quick", action="store_true", help="smaller numbers")
    parser.add_argument("--long", action="store_true", help="growth over 100,000 rekeys")
    parser.add_argument("--json", action="store_true", help="JSON on stdout, no table")
    parser.add_argument("--check", action="store_true", help="status 1 when a target is missed")
    parser.add_argument("--list", action="store_true", help="only list the names")
    o = parser.parse_args()
    names = [name for name, _ in benches]
    if o.list:
        print("\n".join(names))
        return 0
    unknown = set(o.only or ()) - set(names)
    if unknown:
        parser.error("no such measurement: %s (there are: %s)" % (
            " ".join(sorted(unknown)), " ".join(names)))

    t = Table()
    t.quiet = o.json
    failed = []
    result = dict(schema="sapair.bench/1", machine=machine(), quick=o.quick)
    for name, function in benches:
        if o.only and name not in o.only:
            continue
        t.name = name
        try:
            function(t, o)
        except (Failure, OSError, subprocess.SubprocessError) as error:
            failed.append(name)
            print("%s failed: %s" % (name, error), file=sys.stderr)
    result["machine"]["load_after"] = [round(x, 2) for x in os.getloadavg()]
    result.update(rows=t.rows, failed=failed)
    text = json.dumps(result, indent=1) + "\n"
    if os.path.isdir(os.path.dirname(JSON_FILE)):
        with open(JSON_FILE, "w") as f:
            f.write(text)
    if o.json:
        sys.stdout.write(text)
    else:
        m = result["machine"]
        print("%s; %d cores, %s, Linux %s; load %s before, %s after" % (
            m["program"], m["cores"], m["processor"], m["kernel"], m["load"][0],
            m["load_after"][0]))
    return 1 if failed or (o.check and t.missed()) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
