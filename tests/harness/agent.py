"""An agent as a process, and the pair in force of two agents."""

import json
import os
import signal
import subprocess
import time

from harness import tap
from harness.control import Control, Gone
from harness.program import run_sapair
from harness.settings import SAPAIR, TEST_SAPAIR, WRAP
from harness.tap import Failure, check, equal, until


class Agent:
    """`sapair run` with a config file, or with the options in flags."""

    def __init__(self, lab, name, address, config, flags=None):
        self.lab, self.name, self.address = lab, name, address
        self.config, self.flags = config, flags
        self.control = os.path.join(lab.dir, name + ".sock")
        self.config_path = os.path.join(lab.dir, name + ".json")
        self.log_path = os.path.join(lab.dir, name + ".log")
        self.process = None
        self.expect_exit = 0
        self.prefix = WRAP[:]  # put in front of the command line

    def write_config(self, text=None):
        with open(self.config_path, "w") as f:
            config = {k: v for k, v in self.config.items() if k != "test_fault"}
            f.write(text if text is not None else json.dumps(config, indent=1))

    def start(self, ready=True, env=None):
        """If the config has test_fault, runs the program with fault injection, with that rule."""
        program = SAPAIR
        if self.config and "test_fault" in self.config:
            program = TEST_SAPAIR
            env = dict(env or {}, SAPAIR_TEST_FAULT=self.config["test_fault"])
        if self.flags is None:
            self.write_config()
            argv = self.prefix + [program, "run", "--config", self.config_path]
        else:
            argv = self.prefix + [program, "run", *self.flags, "--control", self.control]
        self.process = None
        self.started = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.lab.dir,
                env=dict(os.environ, NO_COLOR="1", **(env or {})),
            )
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self):
        def answers():
            check(self.process.poll() is None, "%s exited with status %s" % (self.name, self.process.poll()))
            try:
                return self.status()
            except Gone:
                return None

        until(answers, "%s answers" % self.name)

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, limit=None):
        try:
            return self.process.wait(limit or tap.default_limit_s)
        except subprocess.TimeoutExpired:
            raise Failure("%s did not exit in %d s" % (self.name, limit or tap.default_limit_s))

    def stop(self):
        """Sends SIGTERM; the agent must exit with expect_exit (0) and remove its socket."""
        if self.process is None:
            return
        if self.alive():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        rc = self.wait_exit()
        self.process = None
        equal(rc, self.expect_exit, "exit status of %s" % self.name)
        if rc == 0:
            check(not os.path.exists(self.control), "%s did not remove its socket" % self.name)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def kill_quietly(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, verb, **members):
        with Control(self.control) as c:
            return c.ask(verb, **members)

    def status(self):
        rc, docs = self.ask("status")
        equal(rc, 0, "exit of status")
        return docs[0]

    def peer(self, name):
        """The member of status for this peer, or None."""
        for p in self.status()["peers"]:
            if p["name"] == name:
                return p
        return None

    def cli(self, verb, *args, limit=None, json_out=True, **kw):
        words = verb.split() + list(args) + ["--control", self.control]
        return run_sapair(*words, *(["--json"] if json_out else []), limit=limit or 3 * tap.default_limit_s, **kw)

    def cli_start(self, verb, *args):
        return subprocess.Popen(
            [SAPAIR, *verb.split(), *args, "--control", self.control, "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )

    def wait_up(self, name, epoch=None, limit=None):
        """Waits until the pair is in force and verified, at this epoch or later."""

        def look():
            p = self.peer(name)
            fine = p and p["state"] == "up" and p["verified"] and p["link"] == "up"
            return p if fine and (epoch is None or int(p["epoch"]) >= epoch) else None

        try:
            return until(look, "%s: %s is up" % (self.name, name), limit)
        except Failure as failure:
            raise Failure("%s\n%s" % (failure, json.dumps(self.peer(name))))

    def wait_peer(self, name, what, look, limit=None):
        """Waits until look(peer of status) is true; returns that peer."""

        def both():
            p = self.peer(name)
            return p if p is not None and look(p) else None

        try:
            return until(both, "%s: %s %s" % (self.name, name, what), limit)
        except Failure as failure:
            raise Failure("%s\n%s" % (failure, json.dumps(self.peer(name))))

    def wait_error(self, name, klass, part="", limit=None):
        """Waits until the last error of the peer has this class and this part in its cause."""
        return self.wait_peer(
            name,
            "has the error %s %r" % (klass, part),
            lambda p: p.get("error", {}).get("class") == klass and part in p["error"]["cause"],
            limit,
        )["error"]

    def wait_log(self, part, limit=None):
        try:
            until(lambda: part in self.log(), "log of %s has %r" % (self.name, part), limit)
        except Failure as failure:
            raise Failure(str(failure))


def in_force(peer):
    """Epoch and SPIs of a peer of status; None when no pair is in force."""
    return (peer["epoch"], peer["in"]["spi"], peer["out"]["spi"]) if "epoch" in peer else None


def same_pair(a, b):
    """Do two peers of status have the same pair in force?"""
    return "epoch" in a and "epoch" in b and in_force(a) == (
        b["epoch"], b["out"]["spi"], b["in"]["spi"],
    )


def wait_paired(a, b, epoch=None, limit=None):
    """Waits until both agents have the same verified pair; returns both peers of status."""

    def look():
        x, y = a.peer(b.name), b.peer(a.name)
        fine = all(
            p and p["state"] == "up" and p["verified"] and p["link"] == "up" for p in (x, y)
        )
        if not fine or not same_pair(x, y) or (epoch and int(x["epoch"]) < epoch):
            return None
        return x, y

    try:
        return until(look, "%s and %s have the same verified pair" % (a.name, b.name), limit)
    except Failure as failure:
        x, y = a.peer(b.name), b.peer(a.name)
        raise Failure("%s\n%s\n%s" % (failure, json.dumps(x), json.dumps(y)))


def wait_single_pair(a, b, limit=None):
    """Waits until no superseded SA is left: one SA in each direction."""

    def look():
        x, y = a.peer(b.name), b.peer(a.name)
        return (x, y) if x["held"] == y["held"] == 0 and same_pair(x, y) else None

    return until(look, "one SA in each direction on %s and %s" % (a.name, b.name), limit)
