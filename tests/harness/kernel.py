"""The fixture of the kernel suite: hosts in one Linux kernel with ESP.

     alpha 10.9.0.1, fd09::1  --.
     beta  10.9.0.2, fd09::2  ---- wire: a bridge with a program that counts all packets
     gamma 10.9.0.3, fd09::3  --'

Each host is a network namespace. A test fails if an unexpected packet was on the wire, or if an agent
did not exit as expected.

A test file runs inside user-mode Linux (uml.py). SAPAIR_KERNEL=own runs it on this machine's own kernel,
in network namespaces; that needs root and ESP.
"""

import contextlib
import os
import subprocess
import tempfile
import time

from harness import tap, uml
from harness.agent import Agent, same_pair, wait_paired
from harness.identity import identity, store
from harness.lab import Lab
from harness.netns import batch, inside, sh, v4, v6
from harness.program import result_of
from harness.settings import SAPAIR
from harness.tap import check, equal, until
from harness.traffic import Flow, Tcp, Udp

PORT = 4510
LIMIT = 45  # seconds: on a busy machine the kernel sometimes gets no processor time
MISMATCH = "XfrmInTmplMismatch"


def enter():
    """Runs this program again in user-mode Linux and exits, unless it already runs there. Called before any test."""
    if not os.environ.get("SAPAIR_KERNEL"):
        uml.run_this_program()
    tap.set_default_limit(LIMIT)


def main():
    """Runs the marked tests of a file, one at a time, in user-mode Linux."""
    enter()
    tap.main(World, jobs=1)


class KernelAgent(Agent):
    """An agent with the back end xfrm, in a host of its own."""

    def __init__(self, world, name, config, flags=None):
        super().__init__(world, name, v4(name), config, flags)
        self.prefix = inside(name)

    def run(self, *words, **kw):
        """Runs a verb in the agent's host."""
        return result_of(
            subprocess.run(
                self.prefix + [SAPAIR, *words, "--control", self.control],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=60, **kw
            )
        )

    def helper(self):
        """The process id of the privileged helper."""
        with open("/proc/%d/task/%d/children" % (self.pid, self.pid)) as f:
            children = f.read().split()
        equal(len(children), 1, "processes that %s started" % self.name)
        return int(children[0])


class World(Lab):
    """The fixture of one test."""

    hosts = ("alpha", "beta")

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="t", dir=store)
        self.agents, self.cleanups, self.flows = [], [], []
        self.early = {}
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
        # No early retransmission: a late segment is not sent again, so a repeated one was lost.
        sh("sh", "-c", "echo 0 >/proc/sys/net/ipv4/tcp_early_retrans", host=h)

    def cut(self, host):
        """Drops all packets between the host and the wire, with both links up."""
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
        """alpha and beta, started, with a verified pair; both: members of either peer."""
        peer = lambda name, more: dict({"name": name, "address": address(name)}, **(both or {}), **(more or {}))
        a = self.agent("alpha", peer("beta", alpha), address=address, **members)
        b = self.agent("beta", peer("alpha", beta), address=address, **members)
        a.start(ready=False)
        b.start(ready=False)
        a.wait_ready()
        b.wait_ready()
        if (both or {}).get("verify", True):
            wait_paired(a, b)
        else:
            self.wait_same_pair(a, b)
        self.early = {h: self.stat(h).get(MISMATCH, 0) for h in self.hosts}
        return a, b

    def wait_same_pair(self, a, b, epoch=1):
        """Waits until both have the same pair in force, verified or not."""

        def look():
            x, y = a.peer(b.name), b.peer(a.name)
            return (x, y) if same_pair(x, y) and int(x["epoch"]) >= epoch else None

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

    def states(self, host):
        return ip_blocks(sh("ip", "-s", "xfrm", "state", "list", "nokeys", host=host))

    def policies(self, host):
        return [p for p in ip_blocks(sh("ip", "xfrm", "policy", host=host)) if "\tsocket " not in p]

    def stat(self, host):
        out = sh("cat", "/proc/net/xfrm_stat", host=host)
        return {k: int(v) for k, v in (line.split() for line in out.splitlines())}

    def no_errors(self, *hosts, but=()):
        """All counters of /proc/net/xfrm_stat except those named must be 0. Not counted: connections of
        the other agent that came before pair() was ready. Policies are installed first, and until the
        agent has bound its socket, they refuse its peer."""
        for h in hosts or self.hosts:
            stat = self.stat(h)
            stat[MISMATCH] = stat.get(MISMATCH, 0) - self.early.get(h, 0)
            bad = {k: v for k, v in stat.items() if v and k not in but}
            check(not bad, "XFRM counters of %s: %s" % (h, bad))

    def at_rest(self, host, pairs=1):
        check(len(self.states(host)) == 2 * pairs, "SAs of %s: %s" % (host, self.states(host)))

    def wire(self):
        """Stops the packet counter; returns its counts."""
        return self.watch.over()

    def close(self, failed):
        faults, text = [], ""
        for f in self.flows:
            f.process.kill()
        with contextlib.suppress(Exception):
            w = self.wire()  # counts each packet twice, on entry and on exit
            if w["missed"]:
                faults.append("the packet counter missed %d packets" % w["missed"])
            if w["others"] and not self.expect_clear:
                faults.append("unencrypted packets on the wire: %s" % w)
        if failed or faults:
            for h in self.made[1:]:
                text += "---- %s\n%s\n%s\n%s\n" % (
                    h, sh("ip", "-s", "xfrm", "state", "list", "nokeys", host=h, ok=False),
                    "\n".join(self.policies(h)), {k: v for k, v in self.stat(h).items() if v},
                )
        more, logs = super().close(failed or bool(faults))
        for n in self.made:
            sh("ip", "netns", "del", n, ok=False)
        return faults + more, text + logs


def ip_blocks(text):
    """The entries of `ip xfrm`: an unindented line and the indented ones that follow."""
    blocks = []
    for line in text.splitlines():
        if line[:1] not in (" ", "\t", ""):
            blocks.append(line)
        elif blocks:
            blocks[-1] += "\n" + line
    return blocks


def set_clock(seconds):
    """Steps the wall clock."""
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)
