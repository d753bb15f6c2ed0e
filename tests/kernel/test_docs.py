#!/usr/bin/env python3
"""The commands of docs/linux.md and README.md, each on the host of its prompt."""

import os
import re
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.kernel import main
from harness.netns import batch, inside, sh
from harness.settings import ROOT, SAPAIR
from harness.tap import check, equal, has, test, until

SETUP = """
rm -rf /run/etc-{name} /run/run-{name}; mkdir -p /run/etc-{name}; cp -a /etc/. /run/etc-{name}/; mkdir -p -m 700 /run/etc-{name}/sapair
hostname {name}; mount --make-rprivate /; mount --bind /run/etc-{name} /etc
mkdir -p -m 700 /run/run-{name}; mkdir -p /run/sapair; mount --bind /run/run-{name} /run/sapair
cd /run; export PATH={path}:$PATH NO_COLOR=1
"""


class Shell:
    """A shell that stays open, on a host with its own /etc and /run/sapair."""

    def __init__(self, name):
        self.process = subprocess.Popen(
            inside(name) + ["unshare", "-mu", "bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True)
        self.run(SETUP.format(name=name, path=os.path.dirname(SAPAIR)))

    def run(self, command, limit=60):
        """Exit status and output."""
        if command.endswith(" &"):
            command = command[:-2] + " >/dev/null 2>&1 &\nuntil test -S /run/sapair/control.sock; do sleep 0.1; done"
        self.process.stdin.write((command + "\necho \"=END= $?\"\n").encode())
        self.process.stdin.flush()
        text, end = b"", time.monotonic() + limit
        while not re.search(rb"=END= \d+\n", text):
            ready = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]
            check(ready, "%s: no end in %d s\n%s" % (command, limit, text))
            data = os.read(self.process.stdout.fileno(), 65536)
            check(data, "%s: the shell ended\n%s" % (command, text))
            text += data
        out, rc = re.match(rb"(.*)=END= (\d+)\n", text, re.S).groups()
        return int(rc), out.decode()

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)


def commands(*path):
    with open(os.path.join(ROOT, *path)) as f:
        text = f.read()
    for body in re.findall(r"^```console norun: run by tests/kernel/test_docs.py\n(.*?)^```", text, re.M | re.S):
        for m in re.finditer(r"^(alpha|beta)# (.*?)(?=^(?:alpha|beta)# |\Z)", body, re.M | re.S):
            command = m.group(2).rstrip("\n")
            status = re.search(r" \(exit (\d+)\)$", command)
            yield m.group(1), re.sub(r" \(exit \d+\)$", "", command), int(status.group(1)) if status else 0


@test
def the_commands_of_the_linux_document_work_as_shown(w):
    batch(["address add 192.0.2.1/24 dev e"], "alpha")
    batch(["address add 192.0.2.2/24 dev e"], "beta")
    shells = {h: Shell(h) for h in w.hosts}
    for s in shells.values():
        w.cleanups.append(s.close)
    pins, n = None, 0
    for host, command, status in commands("docs", "linux.md"):
        if "PIN" in command and not pins:
            pins = {h: shells[h].run("sapair id show --pin")[1].strip() for h in w.hosts}
            for s in shells.values():
                s.run("ALPHA_PIN=%s BETA_PIN=%s" % (pins["alpha"], pins["beta"]))
        rc, out = shells[host].run(command)
        equal(rc, status, "%s# %s\n%s\nexit status" % (host, command, out))
        n += 1
    check(n >= 25, "only %d commands were found" % n)
    shells["alpha"].run("sapair stop")
    shells["beta"].run("sapair stop")


@test
def two_hosts_are_paired_with_three_commands(w):
    batch(["address add 192.0.2.1/24 dev e"], "alpha")
    batch(["address add 192.0.2.2/24 dev e"], "beta")
    shells = {h: Shell(h) for h in w.hosts}
    for s in shells.values():
        w.cleanups.append(s.close)
    (_, invite, _), (_, join, _), *rest = commands("README.md")
    equal(len(rest), 1, "more commands: %s" % rest)
    invite = invite.split("\n")[0]  # the rest is its output
    w.expect_clear = True  # the token exchange uses TLS
    shells["alpha"].run("(%s >/run/token 2>/dev/null </dev/null &)" % invite)
    token = until(lambda: sh("cat", "/run/token", ok=False).strip(), "a token")
    equal(re.sub("/.*", "", token), re.sub("/.*", "", join), "the line that the inviter prints")
    shells["beta"].run("(%s%s >/run/join.log 2>&1 </dev/null &)" % (token, join.split("...")[1]))
    host, command, _ = rest[0]
    until(lambda: shells[host].run("sapair status")[0] == 0, "an agent runs", 15)
    rc, out = shells[host].run(command)
    equal(rc, 0, "%s: %s%s\nexit status" % (command, out, sh("cat", "/run/join.log")))
    has(out, "verified  yes")
    w.ping("alpha", "beta", address=lambda h: "192.0.2.%d" % (1 if h == "alpha" else 2))
    for s in shells.values():
        s.run("sapair stop; sapair clean")


@test
def the_demo_uses_the_kernel_and_leaves_nothing(w):
    before = sh("ip", "netns", "list")
    for word in ("", "soft"):
        p = subprocess.run(["sh", os.path.join(ROOT, "scripts", "demo.sh")] + word.split(), capture_output=True,
                           text=True, stdin=subprocess.DEVNULL, timeout=60)
        equal(p.returncode, 0, "%s%s\nexit status" % (p.stdout, p.stderr))
        has(p.stdout, "ESP in the agents (back end soft)" if word else "the kernel's own IPsec (back end xfrm)")
        equal("proto esp spi" in p.stdout, not word, "%s\nSAs of the kernel" % p.stdout)
    equal(sh("ip", "netns", "list"), before, "namespaces")


if __name__ == "__main__":
    main()
