"""Agents and programs of the Windows build, under Wine.

    SAPAIR=build/linux/sapair SAPAIR_EXE=build/win/sapair.exe python3 tests/windows/test_soft.py

A WinAgent has the methods of an Agent, but uses the command line: only Windows programs can open the
control pipe. All tests use one Wine prefix (WINEPREFIX, else build/win/wine), which is made once.
"""

import atexit
import fcntl
import os
import shutil
import subprocess

from harness import tap
from harness.agent import Agent
from harness.control import Gone
from harness.lab import Lab
from harness.program import expect_exit, result_of
from harness.settings import ROOT
from harness.tap import equal

EXE = os.path.abspath(os.environ.get("SAPAIR_EXE", os.path.join(ROOT, "build", "win", "sapair.exe")))
BUILD = os.path.dirname(EXE)
PREFIX = os.environ.get("WINEPREFIX", os.path.join(BUILD, "wine"))
WIN_LIMIT = 60  # seconds: Wine starts programs slowly on a busy machine


def find_wine():
    for name in ("wine64", "/usr/lib/wine/wine64", "wine"):
        found = shutil.which(name)
        if found:
            return found
    return None


WINE = find_wine()
ENV = dict(os.environ, WINEPREFIX=PREFIX, WINEDEBUG="-all", NO_COLOR="1", LC_ALL="C.UTF-8")


def make_prefix():
    """Makes the prefix once, even if several programs start at the same time."""
    os.makedirs(os.path.dirname(PREFIX), exist_ok=True)
    with open(PREFIX + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(PREFIX, "ready")):
            shutil.rmtree(PREFIX, ignore_errors=True)
            # Not with wineboot: it would start a second service manager, and either of the two could answer a
            # call.
            subprocess.run([WINE, "cmd", "/c", "exit"], env=dict(ENV, WINEDLLOVERRIDES="mscoree,mshtml="),
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=180, check=True, start_new_session=True)
            open(os.path.join(PREFIX, "ready"), "w").close()


def keep_wine_running():
    """Starts a program that waits until this one exits. Wine's background processes exit with the last program,
    take seconds to start, and keep the output of the program open that started them."""
    make_prefix()
    idle = subprocess.Popen([WINE, "cmd"], env=ENV, stdin=subprocess.PIPE,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run([WINE, "cmd", "/c", "exit"], env=ENV, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=180)
    atexit.register(idle.stdin.close)


def win(*args, env=None, limit=None, exe=EXE, **kw):
    """One run of a Windows program. On a busy machine Wine fails to start about one in several thousand, with
    status 1 and no output, which never happens with the program itself: such a run is repeated."""
    for last in (False, True):
        r = result_of(
            subprocess.run([WINE, exe, *args], stdin=subprocess.DEVNULL, capture_output=True,
                           timeout=limit or WIN_LIMIT, env=dict(ENV, **(env or {})), **kw)
        )
        if last or r.rc != 1 or r.out or r.err:
            return r


def windows_path(path):
    """The Windows form of a path of this system."""
    return "Z:" + path.replace("/", "\\")


class WinAgent(Agent):
    def __init__(self, lab, name, address, config, env=None, flags=None):
        """flags: options instead of a config file; config["control"] is then the pipe."""
        super().__init__(lab, name, address, config, flags)
        self.env = env or {}
        self.exe = EXE

    def start(self, ready=True, env=None):
        if self.flags is None:
            self.write_config()
            words = ["--config", windows_path(self.config_path)]
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
        """Runs `sapair stop`; the agent must exit with expect_exit (0)."""
        if self.process is None:
            return
        if self.alive():
            expect_exit(self.cli("stop"))
        rc = self.wait_exit()
        self.process = None
        equal(rc, self.expect_exit, "exit status of %s" % self.name)


def win_agent(lab, name, *peers, id=None, env=None, **members):
    """Like lab.agent(), for a Windows agent."""
    plain = lab.agent(name, *peers, id=id, **members)
    config = dict(plain.config)
    for member in ("certificate", "key", "ca"):
        config[member] = windows_path(config[member])
    config["control"] = r"\\.\pipe\sapair-%d-%d-%s" % (os.getpid(), lab.port, name)
    for member in ("certificate", "key", "ca"):
        os.chmod(plain.config[member], 0o600)
    lab.agents.remove(plain)
    return lab.add(WinAgent(lab, name, plain.address, config, env))


def require_wine():
    """Ends the program with a SKIP line if its tests cannot be run; otherwise starts Wine."""
    if WINE is None:
        tap.skip_all("no Wine: install the package wine64")
    if not os.path.exists(EXE):
        tap.skip_all("no %s: run make windows" % EXE)
    keep_wine_running()


def main():
    """Runs the marked tests of a file."""
    require_wine()
    tap.set_default_limit(WIN_LIMIT)
    tap.main(Lab)
