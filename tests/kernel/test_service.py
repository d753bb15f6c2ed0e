#!/usr/bin/env python3
"""Least privilege: a running agent has given up all others."""

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_paired
from harness.identity import store
from harness.kernel import main
from harness.netns import inside, sh, v4
from harness.program import expect_exit
from harness.settings import SAPAIR
from harness.tap import equal, has, test

FAST = {"rekey": {"min_interval_ms": 0}, "switch_ms": 100, "drain_ms": 300}
NET_ADMIN, IPC_LOCK = 1 << 12, 1 << 14


def rights(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def confined(agent):
    """The network process has no capability, its helper has one."""
    for pid, right in ((agent.pid, 0), (agent.helper(), NET_ADMIN)):
        r = rights(pid)
        for name in ("CapPrm", "CapEff"):
            equal(int(r[name], 16) & ~IPC_LOCK, right, "%s of %s" % (name, agent.name))
        equal((r["CapInh"].strip("0"), r["CapAmb"].strip("0")), ("", ""), "inherited capabilities")
        equal((r["NoNewPrivs"], r["Seccomp"]), ("1", "2"), "NoNewPrivs, Seccomp")


@test
def a_root_agent_keeps_no_capability_and_its_helper_one(w):
    a, b = w.pair(both=FAST)
    confined(a)
    confined(b)
    expect_exit(a.cli("rekey", "beta"))
    b.kill()
    b.start()
    wait_paired(a, b)
    a.config["peers"][0]["drain_ms"] = 400
    a.write_config()
    expect_exit(a.cli("reload"))
    expect_exit(a.cli("down", "beta"))
    expect_exit(a.cli("up", "beta"))
    wait_paired(a, b)


@test
def one_capability_without_root_is_enough(w):
    drop = ["setpriv", "--reuid", "4711", "--regid", "4711", "--clear-groups", "--inh-caps",
            "-all,+net_admin", "--ambient-caps", "+net_admin", "--bounding-set", "-all,+net_admin",
            "--no-new-privs"]
    os.chmod(store, 0o755)
    os.chmod(w.dir, 0o711)
    a = w.agent("alpha", dict({"name": "beta", "address": v4("beta")}, **FAST))
    b = w.agent("beta", dict({"name": "alpha", "address": v4("alpha")}, **FAST)).start()
    mine = os.path.join(w.dir, "own")
    os.makedirs(mine)
    for part in ("certificate", "key", "ca"):
        shutil.copy(a.config[part], mine)
        a.config[part] = os.path.join(mine, os.path.basename(a.config[part]))
    a.config["control"] = a.control = os.path.join(mine, "a.sock")
    a.config_path = os.path.join(mine, "alpha.json")
    a.write_config()
    sh("chown", "-R", "4711:4711", mine)
    os.chmod(mine, 0o700)
    a.prefix = inside("alpha") + drop
    a.start(ready=False)
    a.wait_ready()
    wait_paired(a, b)
    equal(rights(a.pid)["Uid"].split()[0], "4711", "user")
    confined(a)
    expect_exit(a.cli("rekey", "beta"))
    w.ping("alpha", "beta")


@test
def a_missing_capability_is_reported(w):
    a = w.agent("alpha", "beta")
    a.write_config()
    for backend in ("xfrm", "auto"):
        a.config["backend"] = backend
        a.write_config()
        p = subprocess.run(
            inside("alpha") + ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin",
                               SAPAIR, "run", "--config", a.config_path],
            capture_output=True, text=True, timeout=60)
        equal(p.returncode, 9, "exit status: %s" % p.stderr)
        has(p.stderr, "CAP_NET_ADMIN")
    w.agents.clear()


if __name__ == "__main__":
    main()
