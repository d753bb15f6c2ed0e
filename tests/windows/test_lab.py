#!/usr/bin/env python3
"""A Windows host of a lab, reached through sshd, with sessions like those of Windows: cmd, sftp."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.labfile import RunningLab, failed_hosts, lab_file
from harness.program import expect_exit, result_of, run_sapair
from harness.sshd import Sshd, need_ssh, sftp_server
from harness.tap import Failure, check, equal, has, test, until
from harness.wfp_engine import STANDIN_EXE, Engine
from harness.wine import ENV, EXE, PREFIX, WINE, main

SLOW = {"limit": 200}


def windows_sshd(lab, home):
    """Sessions start in the user's folder, and only the user can read their files, as on Windows."""
    # Under Wine a detached program keeps the host's stderr open, which would keep the session open.
    command = lab.write("session", """#!/bin/sh
umask 077
export WINEPREFIX='%s' WINEDEBUG=-all NO_COLOR=1 LC_ALL=C.UTF-8
cd '%s' || exit 1
[ "$SSH_ORIGINAL_COMMAND" != sftp ] || exec %s
said=$(mktemp)
'%s' cmd /d /c "$SSH_ORIGINAL_COMMAND" 2>"$said"
rc=$?
cat "$said" >&2
rm "$said"
exit $rc
""" % (PREFIX, home, sftp_server(), WINE))
    os.chmod(command, 0o700)
    return Sshd(lab, command)


class Mixed(RunningLab):
    """h1 is Linux, h2 Windows, both reached by ssh."""

    def __init__(self, lab, *flags):
        need_ssh()
        self.home, config = lab.path("home"), lab.path("ssh_config")
        os.mkdir(self.home)
        servers = Sshd(lab), windows_sshd(lab, self.home)
        path = lab_file(lab, 2, "mixed%d" % lab.port)
        with open(path) as f:
            text = json.load(f)
        for host, sshd in zip(text["hosts"], servers):
            host["ssh"] = sshd.target()
        # Wine's UDP supports no other loopback address.
        text["hosts"][1].update(system="windows", address="127.0.0.1:%d" % lab.port)
        with open(path, "w") as f:
            json.dump(text, f)
        with open(config, "w") as f:
            f.write("Host *\n IdentitiesOnly yes\n GlobalKnownHostsFile none\n UserKnownHostsFile %s\n%s" % (
                " ".join(s.path("known") for s in servers),
                "".join(" IdentityFile %s\n" % s.path("good") for s in servers)))
        super().__init__(lab, path, "--ssh-config", config, *flags)

    def up(self, *more, rc=0, timeout=60):
        return self("up", "--timeout", str(timeout), *more, rc=rc, **SLOW)

    def text_there(self):
        text = ""
        for folder, _, names in os.walk(self.home):
            for name in names:
                with open(os.path.join(folder, name), errors="replace") as f:
                    text += f.read()
        return text

    def there(self):
        return sorted(n for _, _, names in os.walk(self.home) for n in names)


@test
def a_windows_host_of_a_lab_is_reached_by_ssh(lab):
    run = Mixed(lab)
    up = run.up("--exe", EXE)
    equal((up["ok"], up["changed"], up["well"], up["where"]), (True, True, 1, "ssh"), "up")
    check({"bundle", "log", "pid", "sapair.exe"} <= set(run.there()), "files there: %s" % run.there())
    check(not {"bundle.new", "sapair.new"} & set(run.there()), "files there: %s" % run.there())
    equal(run("status", **SLOW)["well"], 1, "status")
    equal(run("rekey", **SLOW)["well"], 1, "rekey")
    # The running program is replaced; the agent runs on.
    other = lab.path("other.exe")
    shutil.copy(EXE, other)
    with open(other, "ab") as f:
        f.write(b"\0")
    again = run.up("--exe", other)
    equal((again["changed"], again["well"]), (False, 1), "the second up")
    check("sapair.old" in run.there(), "files there: %s" % run.there())
    run("down", **SLOW)
    equal(os.listdir(run.home), [], "files left on the host")
    run.check_nothing_left()


@test
def a_failure_on_a_windows_host_is_reported_and_a_second_up_completes(lab):
    run = Mixed(lab)
    up = run.up(rc=2, timeout=1)
    has(failed_hosts(up)["h2"], "--exe")
    equal(up["hosts"][0]["state"], "running", "the other host")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", lab.port))
        taken.listen()
        try:
            up = run.up("--exe", EXE, rc=7, timeout=1)
            has(failed_hosts(up)["h2"], "address already in use")
        except Failure:
            # The agent can end after its pipe was found: the pair fails, and the cause is in the log there.
            has(run.text_there(), "address already in use")
    equal(run.up("--exe", EXE)["well"], 1, "the second up")
    run("down", **SLOW)
    equal(os.listdir(run.home), [], "files left on the host")


class Host:
    """The folder of a lab on a Windows host, as `lab up` makes it; with a filter engine."""

    def __init__(self, lab):
        path = lab_file(lab, 2, backend="wfp")
        expect_exit(run_sapair("lab", "init", path, "--out", lab.path("bundles")))
        self.dir = lab.path("labs/demo/h1")
        os.makedirs(self.dir, mode=0o700)
        for name in ("sapair.exe", "fwpuclnt.dll"):
            shutil.copy(os.path.join(os.path.dirname(STANDIN_EXE), name), self.dir)
        self.engine = Engine(lab, "h1")
        self.pipe = r"\\.\pipe\sapair-test-%d" % lab.port
        self.bundle = lab.path("bundles/h1.bundle")
        lab.cleanups.append(lambda: self("stop"))

    def __call__(self, verb):
        with tempfile.TemporaryFile() as said:  # see windows_sshd()
            r = subprocess.run(
                [WINE, os.path.join(self.dir, "sapair.exe"), "labhost", verb, "--control", self.pipe],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, timeout=100,
                env=dict(ENV, **self.engine.env))
            said.seek(0)
            r.stderr = said.read()
        return result_of(r)

    def start(self):
        shutil.copy(self.bundle, os.path.join(self.dir, "bundle.new"))
        return expect_exit(self("start"))

    def kill(self):
        mine = os.path.join(self.dir, "bundle").replace("/", "\\")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open("/proc/%s/cmdline" % pid) as f:
                if mine in f.read():
                    os.kill(int(pid), signal.SIGKILL)

    def clear(self):
        equal(sorted(os.listdir(self.dir)), ["fwpuclnt.dll", "sapair.exe"], "remaining files")


@test
def lab_down_removes_leftovers_of_a_crashed_windows_host(lab):
    host = Host(lab)
    equal(host.start().out, "started\n", "start")
    until(lambda: host.engine.state()["filters"], "filters")
    equal(host.start().out, "same\n", "the second start")
    host.kill()
    check(not host.engine.is_empty(), "the crash left no objects to remove")
    equal(expect_exit(host("stop")).out, "stopped\n", "stop")
    check(host.engine.is_empty(), "left: %s" % host.engine.state())
    host.clear()


@test
def lab_down_keeps_objects_that_existed_before_the_lab(lab):
    host = Host(lab)
    host.start()
    until(lambda: host.engine.state()["filters"], "filters")
    host.kill()
    os.unlink(os.path.join(host.dir, "was-clean"))  # as if the host had objects before the lab
    before = host.engine.state()
    equal(expect_exit(host("stop")).out, "stopped\n", "stop")
    equal(host.engine.state(), before, "objects that existed before")
    host.clear()


if __name__ == "__main__":
    main()
