#!/usr/bin/env python3
"""Requests that the kernel refuses or does not answer: the cause is reported, the change is rolled back, the pair stays."""

import contextlib
import mmap
import os
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import same_pair, wait_paired, wait_single_pair
from harness.control import Control
from harness.kernel import ip_blocks, main
from harness.netns import batch, inside, sh, v4
from harness.program import expect_exit
from harness.settings import SAPAIR
from harness.tap import check, equal, has, test, until

FAST = {"rekey": {"min_interval_ms": 0}, "switch_ms": 100, "drain_ms": 300}
LIBRARY = os.path.join(os.path.dirname(SAPAIR), "fault.so")
KERNEL = 3  # of tests/fault/fault.c: netlink messages


@contextlib.contextmanager
def without(*modules):
    """Removes these modules; the kernel does not load them again."""
    with open("/proc/sys/kernel/modprobe", "r+") as f:
        loader = f.read().strip()
        f.seek(0)
        f.write("/bin/false\n")
    try:
        for m in modules:
            sh("rmmod", m)
        yield
    finally:
        with open("/proc/sys/kernel/modprobe", "w") as f:
            f.write(loader + "\n")
        for m in reversed(modules):
            sh("modprobe", "-d", "/run/m", m, ok=False)


def run_once(w, agent, rc=None):
    agent.write_config()
    p = subprocess.run(inside(agent.name) + [SAPAIR, "run", "--config", agent.config_path],
                       capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    check(rc is None or p.returncode == rc, "exit %d, wanted %s: %s" % (p.returncode, rc, p.stderr))
    return p.stderr


@test
def a_kernel_without_esp_or_xfrm_ends_the_start_and_auto_does_not_fall_back(w):
    a = w.agent("alpha", "beta")
    for modules, part in ((("esp4",), "esp4"), (("xfrm_user",), "xfrm_user")):
        with without(*modules):
            for backend in ("xfrm", "auto"):
                a.config["backend"] = backend
                has(run_once(w, a, 7), part)
    a.config["backend"] = "xfrm"
    a.start()


@test
def a_suite_that_the_kernel_lacks_is_not_offered(w):
    # The kernel creates AES-GCM at its first use, with the module loader.
    sh("ip", "xfrm", "state", "add", "src", "10.9.7.1", "dst", "10.9.7.2", "proto", "esp", "spi", "0x1000", "mode",
       "transport", "aead", "rfc4106(gcm(aes))", "0x" + "11" * 20, "128", host="beta")
    with without("authencesn", "authenc"):
        a = w.agent("alpha", dict({"name": "beta", "address": v4("beta")}, suites=["aes128-sha1"]))
        has(run_once(w, a, 2), "cannot do any of the peer's suites")
        equal((w.states("alpha"), w.policies("alpha")), ([], []), "what is left on alpha")
        both = ["aes128-sha1", "aes256gcm16"]
        a.config["peers"][0]["suites"] = both
        a.start()
        b = w.agent("beta", dict({"name": "alpha", "address": v4("alpha")}, suites=both)).start()
        x, _ = wait_paired(a, b)
        equal(x["suite"], "aes256gcm16", "suite")


@test
def an_address_that_is_not_ours_is_named(w):
    a = w.agent("alpha", {"name": "beta", "address": v4("beta"), "local": "10.9.0.99"}).start()
    b = w.agent("beta", "alpha").start()
    a.wait_error("beta", "os", "10.9.0.99")
    equal(w.states("alpha"), [], "SAs")
    batch(["address add 10.9.0.99/24 dev e"], "alpha")
    b.config["peers"][0]["address"] = "10.9.0.99"
    b.config["peers"][0]["identity"] = "alpha"
    b.write_config()
    expect_exit(b.cli("reload"))
    wait_paired(a, b)


@test
def an_spi_that_a_foreign_sa_has_fails_one_exchange_and_costs_no_packet(w):
    a, b = w.pair(both=dict(FAST, verify=False))
    u = w.udp(rate=300)
    old = {s.split("spi ")[1].split()[0] for s in w.states("beta")}
    epoch = int(a.peer("beta")["epoch"])
    b.signal(signal.SIGSTOP)
    with Control(a.control) as c:
        c.send({"verb": "rekey", "peer": "beta", "verify": False})
        time.sleep(0.1)  # the offer is sent
        a.signal(signal.SIGSTOP)
        b.signal(signal.SIGCONT)
        new = until(lambda: [s for s in w.states("beta") if s.split("spi ")[1].split()[0] not in old
                             and "dst %s" % v4("beta") in s], "beta's inbound SA")
        spi = new[0].split("spi ")[1].split()[0].split("(")[0]
        sh("ip", "xfrm", "state", "add", "src", v4("alpha"), "dst", v4("beta"), "proto", "esp", "spi", spi,
           "reqid", "7", "mode", "transport", "aead", "rfc4106(gcm(aes))", "0x" + "11" * 20, "128", host="alpha")
        before = [s for s in ip_blocks(sh("ip", "xfrm", "state", host="alpha")) if "reqid 7 " in s]
        a.signal(signal.SIGCONT)
        until(lambda: "SPI" in a.log() and "rekey failed" in a.log(), "the failure in the log")
    expect_exit(a.cli("rekey", "beta", "--no-verify"))
    w.wait_same_pair(a, b, epoch=epoch + 1)
    u.no_loss(least=20)
    equal([s for s in ip_blocks(sh("ip", "xfrm", "state", host="alpha")) if "reqid 7 " in s], before, "the foreign SA")
    w.no_errors()


@test
def traffic_without_a_pair_triggers_an_exchange(w):
    a, b = w.pair(both=FAST)
    p = a.peer("beta")
    a.signal(signal.SIGSTOP)
    sh("ip", "xfrm", "state", "delete", "dst", v4("beta"), "proto", "esp", "spi", "0x" + p["out"]["spi"], host="alpha")
    u = w.udp(rate=100)
    until(lambda: "spi 0x00000000" in "".join(w.states("alpha")), "the kernel asks")
    a.signal(signal.SIGCONT)
    w.wait_same_pair(a, b, epoch=int(p["epoch"]) + 1)
    time.sleep(0.2)
    u.over()
    check(u.ends[1].result["received"] > 0, "nothing came through: %s" % u.ends[1].result)
    equal([s for s in w.states("alpha") if "spi 0x00000000" in s], [], "what was asked for")


@test
def each_request_to_the_kernel_may_fail_and_the_pair_in_force_stays(w):
    path = w.path("board")
    with open(path, "wb") as f:
        f.write(bytes(mmap.PAGESIZE))
    b = w.agent("beta", dict({"name": "alpha", "address": v4("alpha")}, **dict(FAST, verify=False)))
    a = w.agent("alpha", dict({"name": "beta", "address": v4("beta")}, **dict(FAST, verify=False)))
    b.start()
    a.start(ready=False, env={"LD_PRELOAD": LIBRARY, "FAULT_FILE": path})
    a.wait_ready()
    w.wait_same_pair(a, b)
    with open(path, "r+b") as f:
        board = mmap.mmap(f.fileno(), mmap.PAGESIZE)

    def set_(armed, at):
        board[4:16] = struct.pack("=3i", at, 0, 0)
        board[0:4] = struct.pack("=i", armed)

    u = w.udp(rate=200)
    failed = 0
    for n in range(1, 40):
        set_(KERNEL, n)
        r = a.cli("rekey", "beta", "--no-verify", "--timeout", "10")
        hit = struct.unpack("=i", board[12:16])[0]
        board[0:4] = bytes(4)
        check(r.rc in (0, 3, 4, 6, 7), "rekey with failure %d: %s" % (n, r))
        check(a.process.poll() is None, "the agent ended at failure %d" % n)
        failed += hit
        if not hit:
            break
        until(lambda: same_pair(a.peer("beta"), b.peer("alpha")), "in force after failure %d" % n)
    check(failed >= 4, "only %d requests failed" % failed)
    print("# %d requests failed, one in each rekey" % failed)
    expect_exit(a.cli("rekey", "beta", "--no-verify"))
    w.wait_same_pair(a, b)
    u.no_loss(least=50)
    wait_single_pair(a, b, limit=30)
    for h in w.hosts:  # an SPI whose number was lost with the answer expires
        keyed = [s for s in w.states(h) if "aead" in s]
        equal(len(keyed), 2, "SAs of %s: %s\nnumber" % (h, keyed))


if __name__ == "__main__":
    main()
