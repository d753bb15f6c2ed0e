#!/usr/bin/env python3
"""Labs in the kernel, and a host without an agent. The full mesh is in test_mesh.py."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_paired
from harness import schema
from harness.kernel import KernelAgent, main
from harness.netns import inside, sh, v4, v6
from harness.program import expect_exit, result_of, run_sapair
from harness.settings import SAPAIR
from harness.sshd import Sshd, need_ssh
from harness.tap import check, equal, has, test


def lab_agent(w, address=v4, **options):
    """alpha has an agent of a lab, beta has none."""
    path = w.write("lone.json", json.dumps({
        "lab": "lone", "backend": "xfrm", "options": options,
        "hosts": [{"name": h, "address": address(h)} for h in w.hosts]}))
    expect_exit(run_sapair("lab", "init", path, "--out", w.dir))
    a = KernelAgent(w, "alpha", None, ["--bundle", w.path("alpha.bundle")])
    return w.add(a).start()


def script(w, a, name="half.sh"):
    """The exported commands, and the document about them."""
    path = w.path(name)
    doc = expect_exit(a.cli("export script", "beta", "--out", path)).doc("script")
    wrong = schema.faults(doc, schema.of_document(doc["schema"]), strict=True)
    check(not wrong, "%s against its schema: %s" % (doc, wrong))
    equal(os.stat(path).st_mode & 0o777, 0o600, "mode of the script")
    equal(doc["file"], path, "file")
    return doc, path


def runs(w, path, doc, address=v4):
    """The commands work: traffic passes as ESP on these SAs."""
    sh("sh", path, host="beta")
    w.udp(rate=500, address=address).no_loss()
    of_beta = {re.search(r"spi 0x(\w+)", s).group(1): s for s in w.states("beta")}
    for spi in (doc["in"], doc["out"]):
        check(int(re.search(r"(\d+)\(packets\)", of_beta[spi]).group(1)) > 100, of_beta[spi])


@test
def a_host_without_an_agent_pairs_by_the_exported_commands(w):
    a = lab_agent(w, hard={"time_s": 300}, rekey={"time_s": 100})
    doc, path = script(w, a)
    runs(w, path, doc)
    has("".join(w.states("beta")), "expire add: soft 0(sec), hard 300(sec)")
    has(a.log(), "a manual pair was exported")
    doc, again = script(w, a, "again.sh")  # a manual rekey
    runs(w, again, doc)
    w.no_errors(but=("XfrmInTmplMismatch",))  # the agent connects, and beta accepts no unencrypted packet
    # beta gets an agent: its pair replaces the manual one.
    for p in (path, again):
        sh("sh", p, "down", host="beta")
    equal(w.states("beta") + w.policies("beta"), [], "what the scripts left")
    b = KernelAgent(w, "beta", None, ["--bundle", w.path("beta.bundle")])
    w.add(b).start()
    wait_paired(a, b)
    refused = expect_exit(a.cli("export script", "beta", "--out", w.path("no.sh")), 2).doc("error")
    has(refused["cause"], "has an agent")
    check(not os.path.exists(w.path("no.sh")), "a script was written all the same")
    expect_exit(a.cli("down", "--all"))
    equal(w.states("alpha"), [], "SAs of the agent after down")


@test
def the_exported_commands_have_the_options_of_the_pair(w):
    a = lab_agent(w, v6, suites=["aes256-sha256"], encap="tunnel", protect=["udp/7000", "proto/132"],
                  exempt=["tcp/22"])
    doc, path = script(w, a)
    runs(w, path, doc, v6)
    sh("sh", path, "down", host="beta")
    equal(w.states("beta") + w.policies("beta"), [], "what the script left")
    for d in a.ask("script", peer="beta")[1]:
        wrong = schema.faults(d, schema.of_document(d["schema"]), strict=True)
        check(not wrong, "%s against its schema: %s" % (d, wrong))


class ByHand:
    """alpha and beta, each with its own folder and sshd, and a lab of the two."""

    def __init__(self, w, **options):
        need_ssh()
        w.watch.over()  # ssh is not ESP
        self.w, servers = w, {}
        self.servers = servers
        for h in w.hosts:
            home = w.path("home-" + h)
            os.mkdir(home)
            command = w.write("session-" + h, "#!/bin/sh\nexport HOME=%s\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"\n" % home)
            os.chmod(command, 0o700)
            servers[h] = Sshd(w, command, v4(h), inside(h))
        self.path = w.write("two.json", json.dumps({
            "lab": "two", "backend": "xfrm", "options": options,
            "hosts": [{"name": h, "address": v4(h), "ssh": servers[h].target()} for h in w.hosts]}))
        self.config = w.write("ssh_config", "Host *\n IdentitiesOnly yes\n GlobalKnownHostsFile none\n"
                              " UserKnownHostsFile %s\n%s" % (
                                  " ".join(s.path("known") for s in servers.values()),
                                  "".join(" IdentityFile %s\n" % s.path("good") for s in servers.values())))
        self.dir = w.path("run")

    def __call__(self, verb, *more, rc=0):
        r = subprocess.run(inside("alpha") + [SAPAIR, "lab", verb, self.path, "--dir", self.dir, "--json",
                                              "--ssh-config", self.config, "--program", SAPAIR, *more],
                           stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        return expect_exit(result_of(r), rc).doc("lab")

    def home(self, h):
        return self.w.path("home-" + h)

    def kill(self, h):
        """Kills the agent of that host and its helper together."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open("/proc/%s/cmdline" % pid) as f:
                if self.home(h) in f.read():
                    os.kill(int(pid), signal.SIGKILL)


@test
def a_lab_is_brought_up_by_ssh_from_one_of_its_hosts(w):
    lab = ByHand(w)
    # alpha's agent runs long before ssh has reached beta: its policies must not block ssh.
    sh("tc", "qdisc", "add", "dev", "e", "root", "netem", "delay", "300ms", host="beta")
    up = lab("up")
    equal((up["ok"], up["well"], up["where"]), (True, 1, "ssh"), "up")
    for h in w.hosts:
        has("".join(w.policies(h)), "port %d" % lab.servers["beta"].port)
    sh("tc", "qdisc", "del", "dev", "e", "root", host="beta")
    # A host whose agent died is reached and restored.
    lab.kill("beta")
    check(w.policies("beta"), "its policies went with the agent")
    up = lab("up")
    equal(([h["changed"] for h in up["hosts"]], up["well"]), ([False, True], 1), "the second up")
    # lab down removes what a crash left.
    lab.kill("beta")
    lab("down")
    for h in w.hosts:
        equal(w.states(h) + w.policies(h) + os.listdir(lab.home(h)), [], "what is left in %s" % h)


if __name__ == "__main__":
    main()
