#!/usr/bin/env python3
"""Memory, descriptors and processor time of an agent; its restrictions; places without secrets."""

import ctypes
import json
import os
import re
import socket
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_paired, wait_single_pair
from harness.control import Control, Gone
from harness.lab import Lab
from harness.program import expect_exit
from harness.settings import ALPHA, LIMIT, SAN, SAPAIR
from harness.tap import Failure, Skip, check, equal, has, main, test, until

FAST = {"defaults": {"rekey": {"min_interval_ms": 0}, "drain_ms": 100, "switch_ms": 50}}


def descriptors(agent):
    try:
        return len(os.listdir("/proc/%d/fd" % agent.pid))
    except PermissionError:
        raise Skip("needs root to read the memory of an agent")


def rss(agent):
    with open("/proc/%d/status" % agent.pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1))


def rekey(agent, peer, n):
    with Control(agent.control) as c:
        for _ in range(n):
            rc, docs = c.ask("rekey", peer=peer)
            equal(rc, 0, "rekey: %s" % docs)


@test(alone=True)
def two_hundred_rekeys_leave_descriptors_and_memory_flat(lab):
    a, b = lab.pair(both=FAST)
    rekey(a, "beta", 100)
    wait_single_pair(a, b)
    before = [(descriptors(x), rss(x)) for x in (a, b)]
    rekey(a, "beta", 200)
    wait_single_pair(a, b)
    for x, (fds, kb) in zip((a, b), before):
        # The connection of the last request may still be closing.
        until(lambda: descriptors(x) <= fds, "at most %d descriptors of %s" % (fds, x.name))
        if not SAN:  # a sanitizer keeps freed memory
            check(rss(x) <= kb + 256, "%s: %d kB, then %d kB" % (x.name, kb, rss(x)))
    print("# %d descriptors and %d kB for one pair" % before[0])


@test(alone=True)
def a_hundred_links_leave_descriptors_and_memory_flat(lab):
    a = lab.agent("alpha", lab.peer_of("beta", role="listen"), **FAST).start()
    b = lab.agent("beta", lab.peer_of("alpha", role="dial"), **FAST).start()
    wait_paired(a, b)
    with Control(b.control) as c:

        def again(n):
            for _ in range(n):
                equal(c.ask("down", peer="alpha")[0], 0, "down")
                equal(c.ask("up", peer="alpha")[0], 0, "up")

        again(20)
        wait_paired(a, b)
        before = descriptors(a), rss(a), descriptors(b), rss(b)
        again(100 if not SAN else 20)
        wait_paired(a, b)
    until(lambda: descriptors(a) <= before[0] and descriptors(b) <= before[2],
          "descriptors are back at %d and %d" % (before[0], before[2]))
    if not SAN:
        check(rss(a) <= before[1] + 512, "alpha: %d kB, then %d kB" % (before[1], rss(a)))
        check(rss(b) <= before[3] + 512, "beta: %d kB, then %d kB" % (before[3], rss(b)))


@test(alone=True)
def an_idle_pair_takes_no_processor_time(lab):
    a, b = lab.pair()

    def ticks(agent):
        with open("/proc/%d/stat" % agent.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    wait_single_pair(a, b)
    before = ticks(a), ticks(b)
    end = time.monotonic() + 2  # time in which nothing may happen
    while time.monotonic() < end:
        time.sleep(0.1)
    for x, was in zip((a, b), before):
        check(ticks(x) - was <= 3, "%s took %d ticks in 2 s" % (x.name, ticks(x) - was))


@test
def no_key_is_in_logs_or_output_or_the_process(lab):
    ppk = os.urandom(32).hex()
    path = lab.write("ppk", ppk)
    a, b = lab.pair(
        both=FAST, peer_beta={"ppk": path}, peer_alpha={"ppk": path},
    )
    texts = []
    for x, y in ((a, "beta"), (b, "alpha")):
        for words in (["status"], ["up", y], ["rekey", y], ["verify", y], ["status", y], ["reload"]):
            for json_out in (True, False):
                r = expect_exit(x.cli(*words, json_out=json_out))
                texts.append((x.name + " " + " ".join(words), r.out + r.err))
    for words in (["down", "beta"], ["up", "beta"], ["status"]):
        texts.append((" ".join(words), expect_exit(a.cli(*words)).out))
    wait_paired(a, b)
    for x in (a, b):
        for name in ("cmdline", "environ"):
            try:
                with open("/proc/%d/%s" % (x.pid, name), "rb") as f:
                    texts.append((name + " of " + x.name, f.read().decode("utf-8", "replace")))
            except PermissionError:
                pass
        x.stop()
        texts.append(("log of " + x.name, x.log()))
    for what, text in texts:
        check(ppk not in text, "the PPK is in " + what)
        # Shares, tags and keys have 32, 40, 64 or 72 digits; only pins and instances may be visible.
        for m in re.finditer(r"(?<![0-9a-fA-F])[0-9a-fA-F]{32,}(?![0-9a-fA-F])", text):
            before = text[max(0, m.start() - 8):m.start()].lower()
            check(before.endswith("sha256:"), "%s has %s" % (what, m.group(0)))
        check("PRIVATE KEY" not in text, "a private key is in " + what)


@test
def only_the_owner_can_read_the_files_of_the_agent(lab):
    a, b = lab.pair()
    mode = os.stat(a.control).st_mode
    check(stat.S_ISSOCK(mode) and mode & 0o077 == 0, "mode of the socket: %o" % mode)
    if not SAN and os.geteuid() == 0:
        # Not dumpable: its files in /proc belong to root, whatever user it runs as, and no core is written.
        with open("/proc/%d/limits" % a.pid) as f:
            has(f.read(), "Max core file size        0                    0", "limits")


@test
def a_running_agent_is_confined_as_far_as_the_system_can(lab):
    if SAN:
        raise Skip("the leak check of a sanitizer is a tracer, and the agent is not confined")
    a = lab.agent("alpha", "beta", log="info").start()
    with open("/proc/%d/status" % a.pid) as f:
        status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
    equal(status["NoNewPrivs"], "1", "no new privileges")
    if "Seccomp" in status:
        equal(status["Seccomp"], "2", "filter of system calls")
        has(a.log(), "system calls filtered", "what the agent gave up")
    ipc_lock = 1 << 14  # future memory is locked
    for kind in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        equal(int(status[kind], 16) & ~ipc_lock, 0, kind)
    # landlock_create_ruleset() for the version: fails where Landlock is missing.
    if ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1) > 0:
        has(a.log(), "file access restricted", "what the agent gave up")


# Makes one system call fail with ENOSYS, as on a kernel without it, and runs a program.
WITHOUT_CALL = """
import ctypes, os, struct, sys
number = int(sys.argv[1])
code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | 38), (0x06, 0, 0, 0x7fff0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
class Filter(ctypes.Structure):
    _fields_ = [("n", ctypes.c_ushort), ("code", ctypes.c_void_p)]
prctl = ctypes.CDLL(None, use_errno=True).prctl
if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.byref(Filter(len(code), ctypes.addressof(program)))):
    sys.exit(77)
os.execv(sys.argv[2], sys.argv[2:])
"""


@test
def a_restriction_that_the_kernel_refuses_is_reported(lab):
    if SAN:
        raise Skip("the leak check of a sanitizer is a tracer, and the agent is not confined")
    a = lab.agent("alpha", "beta", log="info")
    a.write_config()
    with open(a.log_path, "ab") as log:
        a.process = subprocess.Popen(
            [sys.executable, "-c", WITHOUT_CALL, "444", SAPAIR, "run", "--config", a.config_path],
            stdin=subprocess.DEVNULL, stderr=log)
    try:
        a.wait_ready()
    except Failure:
        if a.process.poll() == 77:
            raise Skip("no filter of system calls here")
        raise
    has(a.log(), "not confined: file access restricted", "the event")
    equal(a.cli("status").doc("status")["unconfined"], "file access restricted", "status")
    found = a.cli("doctor").doc("doctor")["checks"]
    has(" ".join(f["text"] for f in found if f["check"] == "confinement"), "file access", "finding of doctor")


@test
def descriptors_of_the_caller_are_not_needed(lab):
    """An agent started without stdin, stdout and stderr must not send its log to a peer."""
    a, b = lab.pair()
    a.stop()
    a.write_config()
    a.process = subprocess.Popen(
        ["/bin/sh", "-c", 'exec "$0" run --config "$1" <&- >&- 2>&-', SAPAIR, a.config_path]
    )
    a.wait_ready()
    wait_paired(a, b)
    rekey(a, "beta", 1)


@test
def sixty_clients_at_once_are_served(lab):
    a, b = lab.pair()
    with lab.pair_unchanged(a, b):
        clients = [Control(a.control) for _ in range(60)]
        for c in clients:
            c.send({"verb": "status"})
        for c in clients:
            equal(c.line()["schema"], "sapair.status/1", "reply")
        more = []
        for _ in range(40):  # beyond the limit: refused
            try:
                c = Control(a.control)
                c.send({"verb": "status"})
                c.line()
                more.append(c)
            except Gone:
                break
        else:
            raise Failure("a hundred clients at once were served")
        for c in clients + more:
            c.close()
        until(lambda: answers(a), "the agent answers again")


def answers(agent):
    try:
        return agent.status()
    except Gone:
        return None


@test
def of_agents_started_at_once_at_one_control_socket_one_runs(lab):
    """Each has a port of its own, so that only the control socket is contended."""
    first = lab.agent("alpha", "beta").start()
    first.kill()
    check(os.path.exists(first.control), "kill -9 leaves the socket")
    rivals = []
    for i in range(4):
        a = lab.agent("alpha", "beta", listen="%s:%d" % (ALPHA, lab.free_port()))
        a.config_path, a.log_path = lab.path("alpha%d.json" % i), lab.path("alpha%d.log" % i)
        rivals.append(a)
    for a in rivals:
        a.start(ready=False)
    until(lambda: sum(a.alive() for a in rivals) <= 1, "at most one runs")
    running = [a for a in rivals if a.alive()]
    equal(len(running), 1, "agents that run")
    running[0].wait_ready()
    for a in rivals:
        if a is not running[0]:
            a.expect_exit = 2
            equal(a.wait_exit(), 2, "exit status of one that was late")
            has(a.log(), "an agent is already running at " + a.control, "log")
    equal([n for n in os.listdir(lab.dir) if n.endswith(".lock")], [], "lock files")
    running[0].stop()


@test
def service_managers_are_notified(lab):
    path = lab.path("notify")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.settimeout(LIMIT)
    lab.cleanups.append(s.close)
    a = lab.agent("alpha", "beta")
    a.start(env={"NOTIFY_SOCKET": path})
    equal(s.recv(4096), b"READY=1", "at the start")
    expect_exit(a.cli("stop"))
    equal(s.recv(4096), b"STOPPING=1", "at the end")
    equal(a.wait_exit(), 0, "exit")


@test
def log_levels_and_json_logs(lab):
    a = lab.agent("alpha", "beta", log="error")
    b = lab.agent("beta", "alpha", log="info")
    a.start()
    b.start()
    wait_paired(a, b)
    a.stop()
    b.stop()
    equal(a.log(), "", "log at the level error")
    check(" debug " not in b.log() and " info " in b.log(), b.log())
    with open(lab.path("json.log"), "wb") as log:
        process = subprocess.Popen([SAPAIR, "run", "--config", a.config_path, "--log", "debug",
                                    "--json"], stdout=log, stderr=log)
    a.process = process
    a.wait_ready()
    a.stop()
    with open(lab.path("json.log")) as f:
        for line in f:
            d = json.loads(line)
            equal(sorted(d)[:3], ["level", "text", "time"], "members")


if __name__ == "__main__":
    main(Lab)
