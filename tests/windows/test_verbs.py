#!/usr/bin/env python3
"""Verbs on Windows that the other files do not use: labs, tokens, keys, tools; Ctrl-C."""

import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import Agent, wait_paired
from harness.program import expect_exit, result_of, run_sapair
from harness.settings import ALPHA, BETA
from harness.tap import check, equal, has, test
from harness.wine import ENV, EXE, WINE, WinAgent, main, win, win_agent, windows_path


def pipe(lab, name):
    return r"\\.\pipe\sapair-%d-%d-%s" % (os.getpid(), lab.port, name)


@test
def a_lab_of_windows_and_linux_comes_from_its_bundles(lab):
    hosts = [{"name": n, "address": "%s:%d" % (a, lab.port)} for n, a in (("h1", ALPHA), ("h2", BETA))]
    path = lab.write("demo.json", json.dumps({"lab": "demo", "backend": "soft", "hosts": hosts}))
    made = expect_exit(win("lab", "init", windows_path(path), "--out", windows_path(lab.path("out")), "--json")).doc("bundles")
    equal((made["changed"], made["pairs"]), (True, 1), "lab init")
    os.chmod(lab.path("out/h2.bundle"), 0o600)
    a = lab.add(WinAgent(lab, "h1", None, {"control": pipe(lab, "h1")},
                         flags=["--bundle", windows_path(lab.path("out/h1.bundle"))]))
    b = lab.add(Agent(lab, "h2", None, None, ["--bundle", lab.path("out/h2.bundle")]))
    a.start(ready=False)
    b.start()
    a.wait_ready()
    expect_exit(a.cli("up", "h2"))
    equal(a.status()["identity"]["lab"], True, "lab in status")
    expect_exit(a.cli("reload"))


@test
def windows_and_linux_pair_by_a_token(lab):
    for here, there in ((win_words, linux_words), (linux_words, win_words)):
        folder, port = here.__name__, lab.free_port()
        inviter = subprocess.Popen(
            here("invite", "beta", "--json", "--listen", "%s:%d" % (ALPHA, port), "--port", str(lab.port),
                 folders=("--dir", lab.path(folder + "-a"))),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV)
        lab.cleanups.append(inviter.kill)
        token = json.loads(inviter.stdout.readline())["token"]
        r = subprocess.run(
            there("join", token, "--json", "--name", "alpha", "--local", BETA, "--port", str(lab.port),
                  folders=("--dir", lab.path(folder + "-b"))),
            stdin=subprocess.DEVNULL, capture_output=True, env=ENV, timeout=60)
        joined = expect_exit(result_of(r)).doc("paired")
        out = inviter.communicate(timeout=60)[0]
        invited = json.loads(out.splitlines()[-1])
        pins = [expect_exit(run_sapair("id", "show", lab.path(folder + s + "/sapair.crt"), "--json")).docs[0]["pin"]
                for s in ("-a", "-b")]
        equal([joined["pin"], invited["pin"]], pins, "pins that each host has stored")
        check(os.path.exists(lab.path(folder + "-b/peers.d/alpha.json")), "no file of the peer")


def win_words(*words, folders):
    return [WINE, EXE, *words, folders[0], windows_path(folders[1])]


def linux_words(*words, folders):
    return [os.environ["SAPAIR"], *words, *folders]


@test
def completions_and_help_work_on_windows(lab):
    has(expect_exit(win("completion", "powershell")).out, "Register-ArgumentCompleter")
    verbs = {v["name"] for v in expect_exit(win("help", "--json")).doc("help")["verbs"]}
    linux = {v["name"] for v in expect_exit(run_sapair("help", "--json")).doc("help")["verbs"]}
    equal(linux - verbs, set(), "verbs that Windows lacks")
    equal({v.split()[0] for v in verbs - linux}, {"service", "labhost"}, "verbs of Windows alone")
    equal(expect_exit(win("nonsense"), 2).rc, 2, "an unknown verb")


@test
def a_running_agent_exports_keys_and_metrics_until_ctrl_c(lab):
    a = win_agent(lab, "alpha", "beta", export_keys=True).start()
    b = lab.agent("beta", "alpha", export_keys=True).start()
    wait_paired(a, b)
    keys = [{(d["spi"], d["key"]) for d in expect_exit(x.cli("export esp-sa")).docs} for x in (a, b)]
    equal(keys[0], keys[1], "keys of both")
    equal(len(keys[0]), 2, "keys")
    has(expect_exit(a.cli("metrics", json_out=False)).out, 'peer="beta"')
    found = expect_exit(win("doctor", "--config", windows_path(a.config_path), "--json")).doc("doctor")["checks"]
    equal([(c["peer"], c["state"]) for c in found if c["check"] == "pair"], [("beta", "ok")], "doctor")
    a.signal(signal.SIGINT)
    equal(a.wait_exit(), 0, "exit status")
    has(a.log(), "stopping")
    a.process = None


if __name__ == "__main__":
    main()
