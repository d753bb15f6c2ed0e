#!/usr/bin/env python3
"""sapair.exe without IPsec: verbs, the control pipe, files; pairs with itself and with Linux over TLS."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import same_pair, wait_paired, wait_single_pair
from harness.program import expect_exit, run_sapair
from harness.tap import check, equal, has, test, until
from harness.wine import EXE, main, win, win_agent, windows_path


@test
def two_windows_agents_pair_rekey_and_go_down(lab):
    # Wine's UDP supports 127.0.0.1 only: two ports, and no probes. A Linux peer has probes, see below.
    esp = lab.free_port()
    a = win_agent(lab, "alpha", lab.peer_of("beta", esp_port=esp, verify=False))
    b = win_agent(lab, "beta", lab.peer_of("alpha", verify=False), esp_port=esp)
    a.start(ready=False)
    b.start(ready=False)
    a.wait_ready()
    b.wait_ready()

    def have_same_pair(epoch):
        x, y = a.peer("beta"), b.peer("alpha")
        return same_pair(x, y) and int(x["epoch"]) >= epoch and x["state"] == y["state"] == "up"

    until(lambda: have_same_pair(1), "both have the same pair")
    done = expect_exit(b.cli("rekey", "alpha", "--no-verify")).doc("rekey")
    until(lambda: have_same_pair(int(done["epoch"]["new"])), "both have the same new pair")
    expect_exit(a.cli("down", "beta"))
    equal(a.peer("beta")["state"], "down", "state at alpha")
    until(lambda: b.peer("alpha")["state"] != "up", "beta has no pair")


@test
def a_windows_agent_and_a_linux_agent_pair(lab):
    a = win_agent(lab, "alpha", "beta")
    b = lab.agent("beta", "alpha")
    a.start(ready=False)
    b.start()
    a.wait_ready()
    x, _ = wait_paired(a, b)
    expect_exit(a.cli("verify", "beta"))
    expect_exit(b.cli("verify", "alpha"))
    expect_exit(a.cli("rekey", "beta"))
    epoch = int(expect_exit(b.cli("rekey", "alpha")).doc("rekey")["epoch"]["new"])
    check(epoch >= int(x["epoch"]) + 2, "epochs: %s then %d" % (x["epoch"], epoch))
    wait_paired(a, b, epoch=epoch)
    wait_single_pair(a, b)
    a.stop()
    b.wait_peer("alpha", "lost its link", lambda p: p["link"] != "up")
    a.start()
    wait_paired(a, b)


@test
def a_second_agent_on_the_same_pipe_is_refused(lab):
    a = win_agent(lab, "alpha", "beta").start()
    r = win("run", "--config", windows_path(a.config_path))
    equal(r.rc, 2, "exit status")
    has(r.err, "an agent is already running")
    a.kill()
    r = a.cli("status", json_out=False)
    equal(r.rc, 3, "exit status of status without an agent")
    has(r.err, "sapair run")
    a.start()  # the pipe of a killed agent is free again


@test
def files_made_on_linux_are_read_on_windows_and_vice_versa(lab):
    folder = lab.path("ca")
    expect_exit(win("ca", "new", "--name", "made-on-windows", "--dir", windows_path(folder)))
    expect_exit(win("ca", "issue", "gamma", "--address", "127.0.0.3", "--dir", windows_path(folder), "--out",
             windows_path(lab.path("id"))))
    shown = [expect_exit(f("id", "show", w(lab.path("id/gamma.crt")), "--json")).docs[0]
             for f, w in ((win, windows_path), (run_sapair, str))]
    equal(shown[0]["pin"], shown[1]["pin"], "pin")
    text = expect_exit(win("check", "--config", windows_path(lab.write("a b \u00e9.json", "{\"x\":1}"))), 2).err
    has(text, "a b \u00e9.json")  # names and output are UTF-8
    check(b"\r" not in text.encode(), "a carriage return in the output")


@test
def the_program_is_one_file_below_3_mb(lab):
    small = lab.path("sapair.exe")
    subprocess.run(["x86_64-w64-mingw32-strip", "-o", small, EXE], check=True)
    check(os.path.getsize(small) < 3_000_000, "%d bytes stripped" % os.path.getsize(small))
    text = subprocess.run(["x86_64-w64-mingw32-objdump", "-p", small], check=True,
                          capture_output=True, text=True).stdout
    known = {"advapi32", "bcrypt", "crypt32", "dbghelp", "fwpuclnt", "iphlpapi", "kernel32",
             "msvcrt", "ole32", "psapi", "shell32", "user32", "userenv", "ws2_32"}
    used = {n.lower() for n in re.findall(r"DLL Name: (.*)\.dll", text, re.I)}
    check(used <= known, "other libraries: %s" % (used - known))
    for word in ("HIGH_ENTROPY_VA", "DYNAMIC_BASE", "NX_COMPAT"):
        has(text, word, "flags of the program")


@test(alone=True)
def the_service_is_installed_started_stopped_and_removed(lab):
    a = win_agent(lab, "alpha", "beta")
    b = lab.agent("beta", "alpha").start()
    a.write_config()

    def service(verb, rc=0, *words):
        return expect_exit(win("service", verb, *words, "--json"), rc)

    lab.cleanups.append(lambda: win("service", "remove"))
    service("remove")
    has(service("start", 2).out, "not installed")
    has(service("install", 2, "--config", windows_path(lab.path("none.json"))).out, "none.json")
    key = r"HKLM\SYSTEM\CurrentControlSet\Services\sapair"

    for changed in (True, False, False):
        d = service("install", 0, "--config", windows_path(a.config_path)).doc("service")
        equal((d["action"], d["changed"]), ("install", changed), "install")
    has(win("query", key, exe="reg.exe").out, "service main --config")
    source = r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\sapair"
    has(win("query", source, exe="reg.exe").out, "sapair.exe")
    equal(service("start").doc("service")["changed"], True, "start")
    wait_paired(a, b)
    equal(service("start").doc("service")["changed"], False, "start of a running service")
    equal(service("stop").doc("service")["changed"], True, "stop")
    check(a.cli("status").rc == 3, "the agent answers after its service stopped")
    equal(service("stop").doc("service")["changed"], False, "stop of a stopped service")
    os.unlink(a.config_path)
    has(service("start", 7).out, "it ended with exit status 2")
    equal(service("remove").doc("service")["changed"], True, "remove")
    equal(service("remove").doc("service")["changed"], False, "removal of a removed service")


if __name__ == "__main__":
    main()
