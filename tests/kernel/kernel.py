"""Two or three hosts in one real Linux kernel with ESP: user-mode Linux, started by this file.

     alpha 10.9.0.1, fd09::1  --.
     beta  10.9.0.2, fd09::2  ---- wire: a bridge, on which a watcher counts all that passes
     gamma 10.9.0.3, fd09::3  --'

Each host is a network namespace. A test is as in ../soft/sapairtest.py, and gets a World: fresh
hosts, agents in them, traffic between them. At its end no unexpected packet may have been on the
wire, and no agent may have ended badly.

    SAPAIR=build/linux/sapair python3 tests/kernel/test_pairing.py [WORD ...]    tests with a WORD

The whole file runs inside user-mode Linux (uml.py says which), on a view of this machine's root file
system, which it does not change. SAPAIR_KERNEL=own runs it on this machine's own kernel, in network
namespaces that it makes there; that needs root and ESP.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "soft")]

import uml  # noqa: E402

INSIDE = os.environ.get("SAPAIR_KERNEL", "")
if not INSIDE:
    uml.run_this_program()

from sapairtest import (  # noqa: E402
    Agent, Failure, Lab, Result, SAPAIR, Skip, check, crossed, equal, finished, has, identity,
    in_force, main, quiet, report, test, together, tool, until, well,
)
import sapairtest  # noqa: E402

HOSTS = {"alpha": 1, "beta": 2, "gamma": 3}
PORT = 4510
STALL_MS = 150
LOAD = os.environ.get("SAPAIR_LOAD", os.path.join(os.path.dirname(SAPAIR), "tests/kernel/load"))
# What the kernel counts and must not: packets that it dropped for a reason of IPsec.
QUIET = ("XfrmInTmplMismatch", "XfrmInNoPols", "XfrmOutPolBlock", "XfrmAcquireError", "XfrmInPolBlock")


def v4(host):
    return "10.9.0.%d" % HOSTS[host]


def v6(host):
    return "fd09::%d" % HOSTS[host]


def sh(*words, host=None, ok=True, text=None):
    """One command, in a host if one is named; its output."""
    argv = (inside(host) if host else []) + [str(w) for w in words]
    p = subprocess.run(argv, input=text, capture_output=True, text=True)
    check(not ok or p.returncode == 0, "%s: %d %s%s" % (argv, p.returncode, p.stdout, p.stderr))
    return p.stdout


def inside(host):
    return ["nsenter", "--net=/run/netns/" + host]


def batch(lines, netns=None):
    words = ["ip"] + (["-n", netns] if netns else []) + ["-batch", "-"]
    p = subprocess.run(words, input="\n".join(lines), capture_output=True, text=True)
    check(p.returncode == 0, "%s: %s\n%s" % (words, p.stderr, "\n".join(lines)))


class KernelAgent(Agent):
    """In a host of its own."""

    def __init__(self, world, name, config, flags=None):
        super().__init__(world, name, v4(name), config, flags)
        self.prefix = inside(name)

    def run(self, *words, **kw):
        """A verb that talks to this agent, or to none, in its host."""
        return finished(
            subprocess.run(
                self.prefix + [SAPAIR, *words, "--control", self.control],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=60, **kw
            )
        )


    def helper(self):
        """The process that has the right to configure IPsec."""
        with open("/proc/%d/task/%d/children" % (self.pid, self.pid)) as f:
            children = f.read().split()
        equal(len(children), 1, "processes that %s started" % self.name)
        return int(children[0])


class Flow:
    """One program of traffic, or the watch; over() gives what it counted."""

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
    """Numbered datagrams both ways between two hosts."""

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
        """Both ends' counts, and how many were lost each way."""
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
        check(x["twice"] == y["twice"] == 0, "packets came twice: " + text)
        return x["sent"] + y["sent"]


class Tcp:
    """One stream, both ways."""

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
        """Every byte arrived in order. With lost: at most so many segments were sent and did not arrive. Segments
        that are only late, since the machine stopped for some time or since they overtook each other on several
        processors, are sent again too, but they arrive twice."""
        x, y = self.over()
        check(
            x["sent"] == y["received"] > 0 and y["sent"] == x["received"] > 0
            and x["wrong"] == y["wrong"] == 0,
            "the stream was hurt: %s %s" % (x, y),
        )
        if lost is not None:
            n = sum(abs(a["segments_out"] - b["segments_in"]) for a, b in ((x, y), (y, x)))
            check(n <= lost, "%d segments were lost: %s %s" % (n, x, y))
        return x["sent"] + y["sent"]


class World(Lab):
    """What one test has: hosts on a wire, agents, traffic."""

    hosts = ("alpha", "beta")

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="t", dir=sapairtest.store)
        self.agents, self.cleanups, self.flows = [], [], []
        self.port = PORT
        self.expect_clear = False
        self.made = []
        self.build(self.hosts)
        self.watch = Flow("wire", "watch", "any", PORT).ready()

    def build(self, hosts):
        sh("ip", "netns", "add", "wire")
        self.made.append("wire")
        batch(["link add name br0 type bridge mcast_snooping 0", "link set br0 up"], "wire")
        for h in hosts:
            self.add_host(h)

    def add_host(self, h, mtu=1500):
        sh("ip", "netns", "add", h)
        self.made.append(h)
        batch(["link add name e type veth peer name %s netns wire" % h], h)
        batch(["link set %s master br0 mtu %d up" % (h, mtu)], "wire")
        batch(
            [
                "link set lo up", "link set e mtu %d up" % mtu, "address add %s/24 dev e" % v4(h),
                "address add %s/64 dev e nodad" % v6(h),
            ],
            h,
        )
        # A segment that is only late is not sent twice: what is, was lost.
        sh("sh", "-c", "echo 0 >/proc/sys/net/ipv4/tcp_early_retrans", host=h)

    def cut(self, host):
        """Nothing passes between the host and the wire, and neither end notices."""
        sh("bridge", "-n", "wire", "link", "set", "dev", host, "state", "0")

    def join(self, host):
        sh("bridge", "-n", "wire", "link", "set", "dev", host, "state", "3")

    def config(self, name, *peers, address=v4, **members):
        id = identity(name, v4(name), v6(name))
        both = {
            "listen": [address(name)],
            "backend": "xfrm",
            "certificate": id.cert,
            "key": id.key,
            "ca": id.ca,
            "control": self.path(name + ".sock"),
            "log": "debug",
            "peers": [
                dict({"name": p, "address": address(p)}) if isinstance(p, str) else p for p in peers
            ],
        }
        both.update(members)
        return {k: v for k, v in both.items() if v is not None}

    def agent(self, name, *peers, **members):
        return self.add(KernelAgent(self, name, self.config(name, *peers, **members)))

    def pair(self, both=None, alpha=None, beta=None, address=v4, **members):
        """alpha and beta, started and proven; both: options of either's peer."""
        peer = lambda name, more: dict({"name": name, "address": address(name)}, **(both or {}), **(more or {}))
        a = self.agent("alpha", peer("beta", alpha), address=address, **members)
        b = self.agent("beta", peer("alpha", beta), address=address, **members)
        a.start(ready=False)
        b.start(ready=False)
        a.wait_ready()
        b.wait_ready()
        if (both or {}).get("verify", True):
            together(a, b)
        else:
            self.crossed(a, b)
        return a, b

    def crossed(self, a, b, epoch=1):
        """Until both have the same pair in force, proven or not."""

        def look():
            x, y = a.peer(b.name), b.peer(a.name)
            return (x, y) if crossed(x, y) and int(x["epoch"]) >= epoch else None

        return until(look, "%s and %s have the same pair" % (a.name, b.name))

    def udp(self, a="alpha", b="beta", **kw):
        return Udp(self, a, b, **kw)

    def tcp(self, a="alpha", b="beta", **kw):
        return Tcp(self, a, b, **kw)

    def ping(self, a, b, count=3, address=v4, ok=True):
        p = subprocess.run(
            inside(a) + ["ping", "-q", "-i", "0.02", "-W", "1", "-c", str(count), address(b)],
            capture_output=True, text=True,
        )
        check((p.returncode == 0) == ok, "ping %s -> %s: %s%s" % (a, b, p.stdout, p.stderr))

    # what the kernel says

    def states(self, host):
        return ip_blocks(sh("ip", "-s", "xfrm", "state", "list", "nokeys", host=host))

    def policies(self, host):
        return [p for p in ip_blocks(sh("ip", "xfrm", "policy", host=host)) if "\tsocket " not in p]

    def stat(self, host):
        out = sh("cat", "/proc/net/xfrm_stat", host=host)
        return {k: int(v) for k, v in (line.split() for line in out.splitlines())}

    def no_errors(self, *hosts, but=()):
        """Nothing in the kernel's counters of dropped IPsec packets."""
        for h in hosts or self.hosts:
            bad = {k: v for k, v in self.stat(h).items() if v and k not in but}
            check(not bad, "XFRM counters of %s: %s" % (h, bad))

    def at_rest(self, host, pairs=1):
        check(len(self.states(host)) == 2 * pairs, "SAs of %s: %s" % (host, self.states(host)))

    def wire(self):
        """Counts of the wire up to now; ends the watch."""
        return self.watch.over()

    def close(self, failed):
        trouble, text = [], ""
        for f in self.flows:
            f.process.kill()
        with contextlib.suppress(Exception):
            w = self.wire()  # each packet twice: where it comes from, where it goes
            if w["missed"]:
                trouble.append("the watch on the wire missed %d packets" % w["missed"])
            if w["others"] and not self.expect_clear:
                trouble.append("in clear on the wire: %s" % w)
        if failed or trouble:
            for h in self.made[1:]:
                text += "---- %s\n%s\n%s\n%s\n" % (
                    h, sh("ip", "-s", "xfrm", "state", "list", "nokeys", host=h, ok=False),
                    "\n".join(self.policies(h)), {k: v for k, v in self.stat(h).items() if v},
                )
        more, logs = super().close(failed or bool(trouble))
        for n in self.made:
            sh("ip", "netns", "del", n, ok=False)
        return trouble + more, text + logs


def ip_blocks(text):
    """The entries of `ip xfrm`: a line that begins at the margin, and those below it."""
    blocks = []
    for line in text.splitlines():
        if line[:1] not in (" ", "\t", ""):
            blocks.append(line)
        elif blocks:
            blocks[-1] += "\n" + line
    return [b for b in blocks]


def set_clock(seconds):
    """Steps the wall clock."""
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


sapairtest.Lab = World
os.environ["JOBS"] = "1"
sapairtest.LIMIT = 45  # seconds: on a busy machine all of this one stands at times
