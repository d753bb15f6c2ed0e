"""Three hosts, traffic between all of them, and random faults.

    alpha   its agent always runs
    beta    its agent is killed, stopped, suspended and reloaded, and its helper is killed
    gamma   the same; its pairs are also taken down, and leftovers of a killed agent are removed

SAs are deleted and flushed; the wire is cut, slow, and loses packets. While all pairs are up, no packet may be
unencrypted. After each fault all pairs must be restored and verified. A pair that was taken
down must leave nothing in the kernel, even if traffic triggers acquires.
"""

import contextlib
import os
import re
import signal
import time

from harness.agent import wait_paired, wait_single_pair
from harness.control import Gone
from harness.kernel import PORT
from harness.netns import HOSTS, sh, v4, v6
from harness.settings import SAPAIR
from harness.tap import check, equal, until
from harness.traffic import Flow

FAST = {"rekey": {"min_interval_ms": 0}, "drain_ms": 1000, "switch_ms": 200}
BACK = 90  # seconds until all pairs must be restored after a fault
PAIRS = (("alpha", "beta"), ("alpha", "gamma"), ("beta", "gamma"))


def rss(agent):
    total = 0
    for pid in (agent.pid, agent.helper()):
        with open("/proc/%d/status" % pid) as f:
            total += int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1))
    return total


class Soak:
    def __init__(self, world, dice):
        self.w, self.dice = world, dice
        self.faults, self.rekeys, self.slowest, self.passed, self.samples = {}, 0, 0.0, 0, []
        self.by_name = {}
        self.address = dice.choice((v4, v6))
        self.forms = {frozenset(p): dice.choice(({}, {}, {"encap": "tunnel"}, {"udp": True})) for p in PAIRS}
        self.closed = [self.kill, self.restart, self.kill_both, self.kill_helper, self.hang, self.cut,
                       self.bad_wire, self.reload, self.flush, self.delete_one, self.burst]
        self.opened = [self.down_up, self.clean]
        for h in HOSTS:
            if h not in world.hosts:
                world.add_host(h)
        world.hosts = tuple(HOSTS)
        for h in world.hosts:
            others = [o for o in world.hosts if o != h]
            agent = world.agent(h, *[dict(FAST, name=o, address=self.address(o), **self.form(h, o)) for o in others],
                                address=self.address, log="info")
            self.by_name[h] = agent.start(ready=False)
        for agent in self.by_name.values():
            agent.wait_ready()
        self.all_back()
        for i, (a, b) in enumerate(PAIRS):
            world.udp(a, b, rate=100, port=7000 + i, address=self.address, least=0)

    def form(self, *pair):
        """Mode and encapsulation of that pair, the same at both ends."""
        return self.forms[frozenset(pair)]

    def all_back(self):
        start = time.monotonic()
        for a, b in PAIRS:
            wait_paired(self.by_name[a], self.by_name[b], limit=BACK)
        self.slowest = max(self.slowest, time.monotonic() - start)

    def victim(self):
        return self.by_name[self.dice.choice(("beta", "gamma"))]

    def other(self, agent):
        return self.dice.choice([h for h in self.w.hosts if h != agent.name])

    def wait(self, most):
        time.sleep(self.dice.random() * most)

    def rekey(self):
        """Rekeys random pairs, several at a time. Some may fail during faults, with a cause."""
        for _ in range(self.dice.randrange(1, 6)):
            agent = self.dice.choice(list(self.by_name.values()))
            with contextlib.suppress(Gone, OSError):
                rc, docs = agent.ask("rekey", peer=self.other(agent), verify=False, timeout_ms=3000)
                self.rekeys += rc == 0
                check(rc == 0 or docs[0].get("cause"), "an error without a cause: %s" % docs)

    # --- faults without any clear text ------------------------------------------

    def kill(self):
        agent = self.victim()
        agent.kill()
        self.wait(3)
        agent.start()

    def restart(self):
        """An agent that exits leaves the pair in force."""
        agent = self.victim()
        agent.stop()
        self.wait(2)
        agent.start()

    def kill_both(self):
        for name in ("beta", "gamma"):
            self.by_name[name].kill()
        self.wait(2)
        for name in ("gamma", "beta"):
            self.by_name[name].start(ready=False)
        for name in ("gamma", "beta"):
            self.by_name[name].wait_ready()

    def kill_helper(self):
        agent = self.victim()
        os.kill(agent.helper(), signal.SIGKILL)
        check(agent.wait_exit(20) != 0, "an agent without its helper exited with status 0")
        agent.process = None
        self.wait(2)
        agent.start()

    def hang(self):
        agent = self.victim()
        agent.signal(signal.SIGSTOP)
        self.wait(self.dice.choice((1, 15)))
        agent.signal(signal.SIGCONT)

    def cut(self):
        host = self.dice.choice(self.w.hosts)
        self.w.cut(host)
        self.wait(self.dice.choice((1, 15)))
        self.w.join(host)

    def bad_wire(self):
        host = self.dice.choice(self.w.hosts)
        how = self.dice.choice((["delay", "200ms", "150ms"], ["loss", "30%"], ["duplicate", "30%"],
                                ["delay", "20ms", "reorder", "50%"]))
        sh("tc", "qdisc", "add", "dev", "e", "root", "netem", *how, host=host)
        for _ in range(3):
            self.rekey()
            self.wait(2)
        sh("tc", "qdisc", "del", "dev", "e", "root", host=host)

    def reload(self):
        agent = self.victim()
        for peer in agent.config["peers"]:
            peer.update(window=self.dice.choice((256, 512, 1024)), drain_ms=self.dice.choice((500, 1000)))
        agent.write_config()
        equal(agent.ask("reload")[0], 0, "exit of reload")

    def flush(self):
        sh("ip", "xfrm", "state", "flush", "proto", "esp", host=self.dice.choice(self.w.hosts))

    def delete_one(self):
        host = self.dice.choice(self.w.hosts)
        for state in self.dice.sample(self.w.states(host), 1):
            m = re.match(r"src (\S+) dst (\S+)\n\s*proto esp spi (\S+?)\(", state)
            sh("ip", "xfrm", "state", "delete", "src", m.group(1), "dst", m.group(2), "proto", "esp", "spi",
               m.group(3), host=host, ok=False)

    def burst(self):
        for _ in range(10):
            self.rekey()

    # --- pairs that are taken down; clear text is allowed ------------------------------------

    def nothing_of(self, host, other=None):
        """Waits until the pair, or all pairs, of that host are removed from its kernel."""
        mark = self.address(other) if other else self.address(host)
        left = [x for x in self.w.states(host) + self.w.policies(host) if mark in x]
        check(not left, "left on %s: %s" % (host, left))

    def down_up(self):
        agent = self.victim()
        other = self.by_name[self.other(agent)]
        who = self.dice.choice(((agent, other), (other, agent), (agent,)))
        for x in who:
            y = other if x is agent else agent
            start = time.monotonic()
            equal(x.ask("down", peer=y.name)[0], 0, "exit of down")
            check(time.monotonic() - start < 10, "down took %.1f s" % (time.monotonic() - start))
            self.nothing_of(x.name, y.name)
            self.wait(1)
        for x in who:
            x.ask("up", peer=(other if x is agent else agent).name, timeout_ms=100)

    def clean(self):
        agent = self.victim()
        agent.kill()
        self.wait(1)
        sh(SAPAIR, "clean", host=agent.name)
        self.nothing_of(agent.name)
        agent.start()

    def watch_anew(self):
        """Waits for the last unencrypted packets and restarts the packet counter."""
        time.sleep(0.5)
        self.w.watch = Flow("wire", "watch", "any", PORT).ready()

    def unwatch(self):
        seen = self.w.wire()
        check(not seen["missed"], "the packet counter missed %d packets" % seen["missed"])
        check(not seen["others"], "unencrypted packets on the wire: %s" % seen)
        self.passed += (seen["esp"] + seen["esp_udp"]) // 2

    # --- measuring ------------------------------------------------------------------------------

    def rest(self):
        for a, b in PAIRS:
            wait_single_pair(self.by_name[a], self.by_name[b], limit=BACK)

        def still():
            self.all_back()
            return all(len(self.w.states(h)) == 4 for h in self.w.hosts)

        until(still, "two SAs for each pair on each host, and nothing else", BACK)
        for h in self.w.hosts:
            equal(len(self.w.policies(h)), 8, "policies of %s" % h)
        a = self.by_name["alpha"]
        self.samples.append((rss(a), len(os.listdir("/proc/%d/fd" % a.pid))))
        print("# %5d rekeys, %3d faults, %d packets in ESP, alpha %d kB, %d descriptors" % (
            self.rekeys, sum(self.faults.values()), self.passed, *self.samples[-1]), flush=True)

    def run(self, end):
        while time.monotonic() < end:
            for _ in range(6):
                self.hit(self.dice.choice(self.closed))
            self.hit(self.dice.choice(self.opened))
            self.rest()
        self.unwatch()

    def each_once(self):
        for fault in self.dice.sample(self.closed, len(self.closed)) + self.opened:
            self.hit(fault)
        self.rest()
        self.unwatch()

    def hit(self, fault):
        self.faults[fault.__name__] = self.faults.get(fault.__name__, 0) + 1
        if fault in self.opened:
            self.unwatch()
        fault()
        self.rekey()
        self.all_back()
        if fault in self.opened:
            self.watch_anew()

    def judge(self):
        """The baseline is the third sample, after about twenty faults, when all caches are filled."""
        grown = self.samples[-1][0] - self.samples[min(2, len(self.samples) - 1)][0]
        check(grown <= 1024, "alpha has grown by %d kB" % grown)
        check(self.samples[-1][1] <= self.samples[0][1] + 1, "alpha's descriptors: %s" % self.samples)
        check(self.passed > 100, "too little traffic: %d packets" % self.passed)
