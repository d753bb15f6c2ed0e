"""The fixture of the tests on loopback: a folder, a free port, agents with the back end soft.

     alpha 127.0.0.1:PORT  <-- TLS 1.3, then ESP in UDP -->  beta 127.0.0.2:PORT
     gamma 127.0.0.3:PORT      an agent, or a peer in Python (hostile.py)

At the end of a test every agent is stopped. An agent that does not exit as expected, or whose log has a
sanitizer's report, fails the test.
"""

import contextlib
import os
import random
import shutil
import socket
import tempfile
import threading

from harness.agent import Agent, in_force, wait_paired
from harness.identity import identity, store
from harness.program import REPORTS
from harness.settings import ADDRESS, ALPHA, BETA, DELTA, GAMMA
from harness.tap import Failure, check, equal


class Lab:
    """The fixture of one test."""

    taken = set()
    taken_lock = threading.Lock()

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="t", dir=store)
        self.agents = []
        self.cleanups = []
        self.port = self.free_port()

    @classmethod
    def free_port(cls, addresses=(ALPHA, BETA, GAMMA, DELTA)):
        """A port below the ephemeral range, free for TCP and UDP on all addresses."""
        for _ in range(1000):
            port = random.randrange(10000, 32000)
            with cls.taken_lock:
                if port in cls.taken:
                    continue
                cls.taken.add(port)
            if all(
                cls.is_free(kind, address, port)
                for address in addresses
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
            ):
                return port
        raise Failure("no free port")

    @staticmethod
    def is_free(kind, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, kind) as s:
            if kind == socket.SOCK_STREAM:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind((address, port))
            except OSError:
                return False
        return True

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o600):
        path = self.path(name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def peer_of(self, name, **members):
        return dict({"name": name, "address": "%s:%d" % (ADDRESS[name], self.port)}, **members)

    def agent(self, name, *peers, id=None, **members):
        """An agent, not started; a peer is a name, or a dict as in the config."""
        id = id or identity(name)
        config = {
            "listen": "%s:%d" % (ADDRESS[name], self.port),
            "backend": "soft",
            "certificate": id.cert,
            "key": id.key,
            "ca": id.ca,
            "control": self.path(name + ".sock"),
            "log": "debug",
            "peers": [self.peer_of(p) if isinstance(p, str) else p for p in peers],
        }
        config.update(members)
        config = {k: v for k, v in config.items() if v is not None}
        return self.add(Agent(self, name, ADDRESS[name], config))

    def agent_by_flags(self, name, *flags, id=None):
        """An agent without a config file, as `sapair run --peer` is used."""
        id = id or identity(name)
        words = [
            "--listen", "%s:%d" % (ADDRESS[name], self.port), "--backend", "soft",
            "--cert", id.cert, "--key", id.key, "--ca", id.ca, "--log", "debug",
        ]
        return self.add(Agent(self, name, ADDRESS[name], None, words + list(flags)))

    def add(self, agent):
        self.agents.append(agent)
        return agent

    def pair(self, alpha=None, beta=None, peer_alpha=None, peer_beta=None, both=None):
        """alpha and beta, started, with a verified pair. both: members of either config."""
        both = both or {}
        a = self.agent("alpha", self.peer_of("beta", **(peer_beta or {})), **{**both, **(alpha or {})})
        b = self.agent("beta", self.peer_of("alpha", **(peer_alpha or {})), **{**both, **(beta or {})})
        a.start(ready=False)
        b.start(ready=False)
        a.wait_ready()
        b.wait_ready()
        wait_paired(a, b)
        return a, b

    @contextlib.contextmanager
    def pair_unchanged(self, a, b):
        """The body of this context must not change the pair of a and b."""
        before = in_force(a.peer(b.name)), in_force(b.peer(a.name))
        check(before[0] is not None, "%s and %s have no pair" % (a.name, b.name))
        yield
        self.check_pair_unchanged(a, b, before)

    @staticmethod
    def check_pair_unchanged(a, b, before):
        for agent, other, was in ((a, b, before[0]), (b, a, before[1])):
            check(agent.alive(), "%s has exited" % agent.name)
            equal(in_force(agent.peer(other.name)), was, "pair in force at %s" % agent.name)
            rc, docs = agent.ask("verify", peer=other.name)
            check(rc == 0 and docs[0]["verified"], "the pair is no longer verified: %s" % docs)

    def close(self, failed):
        faults = []
        for cleanup in reversed(self.cleanups):
            with contextlib.suppress(Exception):
                cleanup()
        for agent in self.agents:
            try:
                agent.stop()
            except Exception as error:
                faults.append(str(error))
                agent.kill_quietly()
            log = agent.log()
            faults += ["%r in the log of %s" % (r, agent.name) for r in REPORTS if r in log]
        text = ""
        if failed or faults:
            for agent in self.agents:
                lines = agent.log().splitlines()
                left_out = "" if len(lines) <= 100 else " (the last 100 of %d lines)" % len(lines)
                text += "---- log of %s%s\n%s\n" % (agent.name, left_out, "\n".join(lines[-100:]))
        shutil.rmtree(self.dir, ignore_errors=True)
        return faults, text
