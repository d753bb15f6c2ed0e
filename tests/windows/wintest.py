"""Agents of sapair.exe under Wine, beside agents of this system, driven as in tests/soft.

    SAPAIR=build/linux/sapair SAPAIR_EXE=build/win/sapair.exe python3 tests/windows/test_soft.py

A Windows agent is a WinAgent: the same calls, but by the command line, since its control pipe can be
reached from Windows programs only. One Wine prefix serves the whole run (WINEPREFIX, else
build/win/wine); it is made once. Where there is no Wine, every test is skipped with the reason.
"""

import atexit
import fcntl
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "soft"))

import sapairtest
from sapairtest import *
from sapairtest import Agent, Gone, Lab, Result, finished, main, test, tool, well  # noqa: F401

EXE = os.path.abspath(
    os.environ.get("SAPAIR_EXE", os.path.join(HERE, "..", "..", "build", "win", "sapair.exe"))
)
BUILD = os.path.dirname(EXE)
PREFIX = os.environ.get("WINEPREFIX", os.path.join(BUILD, "wine"))
WIN_LIMIT = 60  # seconds: Wine starts programs slowly on a busy machine

sapairtest.LIMIT = WIN_LIMIT

def find_wine():
    for name in ("wine64", "/usr/lib/wine/wine64", "wine"):
        found = shutil.which(name)
        if found:
            return found
    return None

WINE = find_wine()
ENV = dict(os.environ, WINEPREFIX=PREFIX, WINEDEBUG="-all", NO_COLOR="1", LC_ALL="C.UTF-8")

def boot():
    """Makes the prefix once, however many scripts begin together."""
    os.makedirs(os.path.dirname(PREFIX), exist_ok=True)
    with open(PREFIX + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(PREFIX, "ready")):
            shutil.rmtree(PREFIX, ignore_errors=True)
            # By any program: wineboot by name would start a second service manager beside that of the
            # first program, and each call would be answered by one or the other.
            subprocess.run([WINE, "cmd", "/c", "exit"], env=dict(ENV, WINEDLLOVERRIDES="mscoree,mshtml="),
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=180, check=True, start_new_session=True)
            open(os.path.join(PREFIX, "ready"), "w").close()

def keep():
    """A program that waits as long as we live: what Wine starts in the background goes with its last
    program and takes seconds to begin, and would hold the output of the one that began it."""
    boot()
    held = subprocess.Popen([WINE, "cmd"], env=ENV, stdin=subprocess.PIPE,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run([WINE, "cmd", "/c", "exit"], env=ENV, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=180)
    atexit.register(held.stdin.close)


def win(*args, env=None, limit=None, exe=EXE, **kw):
    """One run of a Windows program. On a busy machine Wine fails to begin one in some thousands, with status 1 and
    without a word; the program itself always says why."""
    for last in (False, True):
        r = finished(
            subprocess.run([WINE, exe, *args], stdin=subprocess.DEVNULL, capture_output=True,
                           timeout=limit or WIN_LIMIT, env=dict(ENV, **(env or {})), **kw)
        )
        if last or r.rc != 1 or r.out or r.err:
            return r

def z(path):
    """A path of this system as Windows programs write it."""
    return "Z:" + path.replace("/", "\\")

class WinAgent(Agent):
    def __init__(self, lab, name, address, config, env=None, flags=None):
        """flags: instead of a config file; config has "control" then."""
        super().__init__(lab, name, address, config, flags)
        self.env = env or {}
        self.exe = EXE

    def start(self, ready=True, env=None):
        if self.flags is None:
            self.write_config()
            words = ["--config", z(self.config_path)]
        else:
            words = [*self.flags, "--control", self.config["control"]]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [WINE, self.exe, "run", *words], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=self.lab.dir, env=dict(ENV, **self.env, **(env or {})),
            )
        if ready:
            self.wait_ready()
        return self

    def cli(self, verb, *args, limit=None, json_out=True, **kw):
        words = verb.split() + list(args) + ["--control", self.config["control"]]
        return win(*words, *(["--json"] if json_out else []), limit=limit or 3 * WIN_LIMIT,
                   env=self.env, exe=self.exe, **kw)

    def ask(self, verb, **members):
        words = [members.pop("peer")] if "peer" in members else []
        r = self.cli(verb, *words)
        if r.rc == 3 and "no agent" in r.out + r.err:
            raise Gone(r.out + r.err)
        return r.rc, r.docs

    def stop(self):
        """By the verb; it must exit 0."""
        if self.process is None:
            return
        if self.alive():
            well(self.cli("stop"))
        rc = self.wait_exit()
        self.process = None
        equal(rc, self.expect_exit, "exit status of %s" % self.name)

def win_agent(lab, name, *peers, id=None, env=None, **members):
    """Like lab.agent(), a Windows one."""
    plain = lab.agent(name, *peers, id=id, **members)
    config = dict(plain.config)
    for member in ("certificate", "key", "ca"):
        config[member] = z(config[member])
    config["control"] = r"\\.\pipe\sapair-%d-%d-%s" % (os.getpid(), lab.port, name)
    for member in ("certificate", "key", "ca"):
        os.chmod(plain.config[member], 0o600)
    lab.agents.remove(plain)
    return lab.add(WinAgent(lab, name, plain.address, config, env))

def begin(run=main):
    """main() of a script, or the reason why none of its tests can be run."""
    reason = None
    if WINE is None:
        reason = "no Wine on this machine (package wine64)"
    elif not os.path.exists(EXE):
        reason = "no %s: make windows" % EXE
    if reason:
        print("1..0 # SKIP " + reason)
        return
    keep()
    run()
