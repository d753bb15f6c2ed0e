#!/usr/bin/env python3
"""Labs: bundles from a lab file; labs on this machine and, through sshd, on others."""

import json
import os
import pty
import shutil
import signal
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import Agent
from harness.lab import Lab
from harness.labfile import RunningLab, failed_hosts, lab_file
from harness.program import expect_exit, need_faketime, result_of, run_sapair
from harness.settings import ROOT, SAN, SAPAIR, SLOW
from harness.sshd import Sshd, need_ssh
from harness.tap import Skip, check, equal, has, main, need_root, need_tools, test, until


def bundle(lab, host):
    return os.path.join(lab.dir, "bundles", host + ".bundle")


def init(lab, path, *more, rc=0):
    return expect_exit(run_sapair("lab", "init", path, "--out", os.path.join(lab.dir, "bundles"), "--json",
                     *more), rc)


@test
def bundles_contain_everything_that_the_hosts_need(lab):
    made = init(lab, lab_file(lab, 3)).doc("bundles")
    equal((made["changed"], made["pairs"]), (True, 3), "lab init")
    agents = []
    for host in ("h1", "h2", "h3"):
        equal(stat.S_IMODE(os.stat(bundle(lab, host)).st_mode), 0o600, "mode of a bundle")
        a = Agent(lab, host, None, None, ["--bundle", bundle(lab, host)])
        agents.append(lab.add(a).start())
    for a in agents:
        expect_exit(a.cli("up", "--all"))
        s = a.status()
        equal(s["identity"]["lab"], True, "lab in status")
        equal(len(s["peers"]), 2, "peers")
    watch = agents[0].cli_start("watch", "--count", "1")
    until(lambda: expect_exit(agents[0].cli("rekey", "h2", "--reason", "x")) and watch.poll() is not None,
          "an event")
    equal(json.loads(watch.communicate()[0].splitlines()[0])["lab"], True, "lab in an event")
    expect_exit(agents[0].cli("reload"))
    # There are no keys outside the bundles.
    names = os.listdir(os.path.join(lab.dir, "bundles"))
    equal(sorted(names), ["h1.bundle", "h2.bundle", "h3.bundle"], "files of lab init")


@test
def a_second_init_changes_nothing_and_a_changed_file_needs_force(lab):
    path = lab_file(lab)
    first = init(lab, path).doc("bundles")
    again = init(lab, path).doc("bundles")
    equal((again["changed"], again["not_after"]), (False, first["not_after"]), "second init")
    path = lab_file(lab, 3)
    has(init(lab, path, rc=2).doc("error")["hint"], "--renew")
    equal(init(lab, path, "--renew", "--check").doc("bundles")["changed"], True, "what --renew would")
    check(not os.path.exists(bundle(lab, "h3")), "--check has written a bundle")
    equal([init(lab, path, "--renew").doc("bundles")["changed"] for _ in range(2)], [True, False], "--renew")
    equal(init(lab, path, "--force").doc("bundles")["changed"], True, "with --force")


@test
def errors_in_lab_files_and_bundles_are_reported(lab):
    hosts = [{"name": "a", "address": "192.0.2.1"}, {"name": "b", "address": "192.0.2.2"}]
    for more, cause in (
        ({"hosts": hosts, "pairs": [["a", "x"]]}, 'there is no host or group "x"'),
        ({"hosts": hosts + [{"name": "c", "address": "192.0.2.2"}]}, "an address of hosts[1]"),
        ({"hosts": hosts[:1]}, "at least two hosts"),
    ):
        e = init(lab, lab_file(lab, **more), rc=2).doc("error")
        has(e["cause"], cause)
        has(e["cause"], "line 1, column ")
    init(lab, lab_file(lab))
    path = bundle(lab, "h1")
    has(expect_exit(run_sapair("run", "--bundle", path, "--peer", "192.0.2.9"), 2).err, "mutually exclusive")
    os.chmod(path, 0o644)
    has(expect_exit(run_sapair("run", "--bundle", path), 9).err, "chmod 600")
    os.chmod(path, 0o600)
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text[: len(text) // 2])
    has(expect_exit(run_sapair("run", "--bundle", path), 2).err, "line 1, column")
    has(expect_exit(run_sapair("lab", "init", "nowhere.json"), 2).err, "nowhere.json")
    has(expect_exit(run_sapair("lab", "init", lab_file(lab), "--ttl", "5y"), 2).err, "not a time like")
    has(expect_exit(run_sapair("lab", "init", lab_file(lab), "--ttl", "5s"), 2).err, "is not between")


@test
def a_bundle_whose_certificate_is_not_valid_now_is_refused(lab):
    shim = need_faketime()
    init(lab, lab_file(lab), "--ttl", "1h")
    for shift, cause in (("+1d", "expired at"), ("-1d", "is not valid before")):
        r = subprocess.run(
            [SAPAIR, "run", "--bundle", bundle(lab, "h1")], capture_output=True, timeout=20,
            stdin=subprocess.DEVNULL, env=dict(os.environ, LD_PRELOAD=shim, FAKETIME=shift))
        has(expect_exit(result_of(r), 2).err, cause)
        has(r.stderr.decode(), "clock")


@test
def the_example_lab_files_are_valid(lab):
    folder = os.path.join(ROOT, "docs", "examples")
    for name, hosts, pairs in (("pair", 2, 1), ("star", 4, 3), ("mesh", 10, 45), ("windows", 3, 3)):
        made = expect_exit(run_sapair("lab", "init", os.path.join(folder, "lab-%s.json" % name), "--out",
                         os.path.join(lab.dir, name), "--json")).doc("bundles")
        equal((len(made["hosts"]), made["pairs"]), (hosts, pairs), name)
        for h in made["hosts"]:
            with open(h["bundle"]) as f:
                config = json.load(f)["config"]
            check(config["peers"] and config["allow_lab"], "%s: %s" % (h["name"], config))


# --- on this machine ---------------------------------------------------------------------------


@test(alone=True)
def ten_hosts_form_a_verified_full_mesh_in_ten_seconds(lab):
    run = RunningLab(lab, lab_file(lab, 10))
    start = time.monotonic()
    up = run.up("--here")
    took = time.monotonic() - start
    check(took < 10 * SLOW, "45 pairs took %.1f s" % took)
    equal((up["ok"], up["changed"], up["well"], up["where"]), (True, True, 45, "loopback"), "up")
    equal(len(up["pairs"]), 90, "directions")
    check(all(p["verified"] for p in up["pairs"]), "all proven: %s" % up)
    # Usually 1; where two links came up at once, the first exchange may have started twice.
    epochs = [int(p["epoch"]) for p in up["pairs"]]
    again = run.up("--here")
    equal((again["changed"], again["well"]), (False, 45), "the second up")
    equal([int(p["epoch"]) for p in again["pairs"]], epochs, "epochs of the second up")
    rekey = run("rekey", "--parallel", "4")
    equal([int(p["epoch"]) for p in rekey["pairs"]], [n + 1 for n in epochs],
          "each pair was rekeyed once")
    equal(run("verify")["well"], 45, "lab verify")
    equal(run("status")["well"], 45, "lab status")
    down = run("down")
    equal({h["state"] for h in down["hosts"]}, {"gone"}, "lab down")
    run.check_nothing_left()
    equal(run("down")["changed"], False, "the second down")


@test
def a_host_that_dies_is_named_and_a_second_up_completes(lab):
    run = RunningLab(lab, lab_file(lab, 3), )
    run.up("--here")
    os.kill(run.pid("h2"), signal.SIGKILL)
    status = run("status", rc=3)
    equal(list(failed_hosts(status)), ["h2"], "hosts that failed")
    check(all(p["ok"] for p in status["pairs"] if "h2" not in (p["from"], p["to"])), "the others")
    again = run.up("--here")
    equal([h["name"] for h in again["hosts"] if h["changed"]], ["h2"], "what was started anew")
    equal(again["well"], 3, "pairs")
    # One agent hangs: the others finish, and down ends it.
    os.kill(run.pid("h3"), signal.SIGSTOP)
    stuck = run("verify", "--timeout", "1", rc=4)
    check([p for p in stuck["pairs"] if p["from"] == "h1" and p["to"] == "h2"][0]["verified"],
          "h1 -> h2 is proven all the same")
    run("down")
    run.check_nothing_left()


def program(lab, text):
    """A script in place of sapair on the hosts; text decides by "$*"."""
    path = lab.path("program")
    with open(path + ".new", "w") as f:
        f.write("#!/bin/sh\n%s\nexec %s \"$@\"\n" % (text, SAPAIR))
    os.chmod(path + ".new", 0o700)
    os.rename(path + ".new", path)
    return path


@test
def a_host_whose_clock_is_off_by_a_day_is_named_and_a_second_up_completes(lab):
    shim = need_faketime()
    wrong = "case \"$*\" in run*h2/bundle*) export LD_PRELOAD=%s FAKETIME=%s;; esac"
    run = RunningLab(lab, lab_file(lab, 3), "--program", program(lab, wrong % (shim, "-1d")))
    up = run.up("--here", "--timeout", "2", rc=2)
    equal(list(failed_hosts(up)), ["h2"], "hosts that failed")
    has(failed_hosts(up)["h2"], "is not valid before")
    has(failed_hosts(up)["h2"], "this host's clock says")
    pairs = {(p["from"], p["to"]): p["ok"] for p in up["pairs"]}
    check(pairs["h1", "h3"] and pairs["h3", "h1"] and not pairs["h1", "h2"], "the others: %s" % pairs)
    program(lab, "")
    again = run.up("--here")
    equal(([h["name"] for h in again["hosts"] if h["changed"]], again["well"]), (["h2"], 3), "the second up")
    run("down")
    run.check_nothing_left()


@test
def down_reports_what_remains_in_a_kernel(lab):
    need_spaces()
    run = RunningLab(lab, spaces_file(lab.dir, "left%d" % os.getpid()), "--program", program(lab, ""))
    if run.up("--here")["where"] != "namespaces":
        raise Skip("no network namespaces here")
    program(lab, "case \"$*\" in \"clean --check\"*/b/*) echo stale policy; exit 10;; esac")
    down = run("down", rc=10)
    equal(failed_hosts(down), {"b": "stale policy"}, "hosts that failed")
    program(lab, "")
    run("down")
    run.check_nothing_left()


@test
def on_a_terminal_the_table_grows(lab):
    path = lab_file(lab, 3)
    words = [SAPAIR, "lab", "up", path, "--here", "--dir", lab.path("run")]
    run = RunningLab(lab, path)
    ours, theirs = pty.openpty()
    p = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL,
                         env=dict(os.environ, TERM="xterm", NO_COLOR=""))
    os.close(theirs)
    text = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:
            break
        if not more:
            break
        text += more
    os.close(ours)
    equal(p.wait(), 0, "lab up on a terminal: %s" % text)
    tables = text.decode().split("\033[4A\r\033[J")  # four lines up, clear to the end
    check(len(tables) > 3, "the table was drawn %d times: %s" % (len(tables), text))
    has(tables[0], "...")
    last = tables[-1]
    check("..." not in last and "3 of 3 pairs verified" in last, "the last table: %s" % last)
    check("\033[32m" in last or "\033[1;32m" in last, "no colour: %r" % last)
    equal(run("status")["well"], 3, "pairs")


@test
def without_namespaces_addresses_are_mapped_to_loopback(lab):
    path = os.path.join(lab.dir, "real.json")
    with open(path, "w") as f:
        json.dump({"lab": "real", "hosts": [{"name": "a", "address": "192.0.2.1:%d" % lab.port},
                                            {"name": "b", "address": "2001:db8::2:3"},
                                            {"name": "c", "address": ["2001:db8::3", "192.0.2.3"]}],
                   "pairs": [["a", "c"], ["b", "c"]]}, f)
    run = RunningLab(lab, path)
    up = run.up("--here", "--loopback")
    equal((up["where"], up["well"]), ("loopback", 2), "up")
    check(all(h["address"].startswith("127.") for h in up["hosts"]), "addresses: %s" % up["hosts"])
    equal(run.up("--here")["changed"], False, "the second up")
    run("down")
    run.check_nothing_left()


def spaces(name=""):
    if shutil.which("ip") is None:
        return set()
    words = subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout.split()
    return {w for w in words if w.startswith("sapair-" + name)}


def need_spaces():
    need_root()
    need_tools(ip="iproute2")


def spaces_file(folder, name, port=None):
    """A lab with addresses that this machine does not have."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "spaces.json")
    at = ":%d" % port if port else ""
    with open(path, "w") as f:
        json.dump({"lab": name, "backend": "soft", "hosts": [
            {"name": "a", "address": ["192.0.2.1" + at] + ([] if port else ["2001:db8::1"])},
            {"name": "b", "address": "192.0.2.2" + at},
            {"name": "c", "address": "192.0.2.3" + at if port else "2001:db8::3"}],
                   "pairs": [["a", "b"], ["a", "c"]]}, f)
    return path


@test
def as_root_the_hosts_have_namespaces_of_their_own(lab):
    need_spaces()
    name = "t%d" % os.getpid()
    run = RunningLab(lab, spaces_file(lab.dir, name))
    up = run.up("--here")
    if up["where"] != "namespaces":
        raise Skip("no network namespaces here")
    equal(up["well"], 2, "pairs")
    equal(len(spaces(name)), 4, "namespaces")
    check({h["netns"] for h in up["hosts"]} < spaces(name), "names told: %s" % up["hosts"])
    equal(run.up("--here")["changed"], False, "the second up")
    # As after a restart of the machine: up recreates what is missing, and down still works.
    for space in sorted(spaces(name))[1:3]:
        subprocess.run(["ip", "netns", "del", space], check=True)
    again = run.up("--here")
    equal((again["changed"], again["well"], len(spaces(name))), (True, 2, 4), "up with a namespace lost")
    subprocess.run(["ip", "netns", "del", sorted(spaces(name))[1]], check=True)
    run("down")
    run.check_nothing_left()
    equal(spaces(name), set(), "namespaces that are left")


class Usual(RunningLab):
    """A lab in its default folder, without --dir."""

    def __init__(self, lab, path, *flags):
        super().__init__(lab, path, *flags)
        self.dir = None

    def __call__(self, verb, *more, rc=0, limit=60):
        r = run_sapair("lab", verb, self.path, "--json", *self.flags, *more, limit=limit * SLOW)
        doc = expect_exit(r, rc).doc("lab")
        self.dir = doc["dir"]
        return doc

    def end(self):
        run_sapair("lab", "down", self.path, *self.flags, limit=60)


@test
def two_labs_of_one_name_do_not_disturb_each_other(lab):
    name = "twin%d" % os.getpid()
    for how in ("namespaces", "loopback")[SAN:]:
        flags = ["--loopback"] if how == "loopback" else []
        two = [Usual(lab, spaces_file(os.path.join(lab.dir, how, side), name, lab.port))
               for side in ("left", "right")]
        # At the same time, with the same addresses in their files.
        started = [subprocess.Popen([SAPAIR, "lab", "up", run.path, "--here", "--json", *flags],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for run in two]
        ups = [json.loads(p.communicate(timeout=60 * SLOW)[0]) for p in started]
        equal([(u["ok"], u["well"]) for u in ups], [(True, 2)] * 2, "up of both: %s" % ups)
        if how == "namespaces" and ups[0]["where"] == how:
            equal(len(spaces(name)), 8, "namespaces of both")
        check(ups[0]["dir"] != ups[1]["dir"], "both have the folder %s" % ups[0]["dir"])
        equal([run("rekey")["well"] for run in two], [2, 2], "rekey of both")
        two[0]("down")
        two[0].check_nothing_left()
        equal(two[1]("verify")["well"], 2, "the other, with one down")
        equal(two[1].up("--here")["changed"], False, "a second up of the other")
        # Another path of the same file is the same lab.
        os.symlink(os.path.dirname(two[1].path), os.path.join(lab.dir, "link-" + how))
        same = Usual(lab, os.path.join(lab.dir, "link-" + how, "spaces.json"))
        equal(same("status")["well"], 2, "through a link")
        two[1]("down")
        two[1].check_nothing_left()
    equal(spaces(name), set(), "namespaces that are left")


@test
def an_interrupted_up_leaves_nothing(lab):
    need_spaces()
    name = "cut%d" % os.getpid()
    run = RunningLab(lab, spaces_file(lab.dir, name))
    for verb in ("down", "up"):
        p = subprocess.Popen([SAPAIR, "lab", "up", run.path, "--here", "--dir", run.dir],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             start_new_session=True)
        until(lambda: spaces(name) or p.poll() is not None, "the first namespace")
        if p.poll() is None:
            os.killpg(p.pid, signal.SIGKILL)
        output = p.communicate()
        if p.returncode == 0 and run("status")["where"] != "namespaces":
            raise Skip("no network namespaces here")
        equal(p.returncode, -signal.SIGKILL, "exit status of lab up: %s" % (output,))
        if verb == "up":
            equal(run.up("--here")["well"], 2, "up after a cut one")
        run("down")
        run.check_nothing_left()
        equal(spaces(name), set(), "namespaces that are left")


@test
def a_lab_that_is_down_or_has_the_name_of_another_is_reported(lab):
    run = RunningLab(lab, lab_file(lab, 2))
    for verb in ("status", "verify", "rekey"):
        r = expect_exit(run_sapair("lab", verb, run.path, "--dir", run.dir), 3)
        has(r.err, "lab demo is not up")
    has(expect_exit(run_sapair("lab", "up", run.path, "--dir", run.dir), 2).err, "--here")
    run.up("--here")
    before = run.path
    run.path = lab_file(lab, 3)
    r = run_sapair("lab", "up", run.path, "--here", "--dir", run.dir)
    equal(r.rc, 0 if before != run.path else 2, "another file by that name:\n%s" % r)
    has(r.err, "stop it first")
    run.path = os.path.join(run.dir, "lab.json")
    run("down")
    run.check_nothing_left()


# --- through ssh -------------------------------------------------------------------------------


@test
def a_lab_is_brought_up_and_down_through_ssh(lab):
    need_ssh()
    sshd = Sshd(lab)
    name = "ssh%d" % lab.port
    path = lab_file(lab, 3, name)
    with open(path) as f:
        text = json.load(f)
    for h in text["hosts"][:3]:
        h["ssh"] = sshd.target()
    with open(path, "w") as f:
        json.dump(text, f)
    run = RunningLab(lab, path, "--ssh-config", sshd.path("config"))
    up = run.up()
    equal((up["ok"], up["changed"], up["well"], up["where"]), (True, True, 3, "ssh"), "up")
    with open(os.path.join(run.dir, "tag")) as f:
        there = os.path.expanduser("~root/.sapair-lab/%s-%s" % (name, f.read()))
    equal(stat.S_IMODE(os.stat(os.path.join(there, "h1", "bundle")).st_mode), 0o600, "bundle")
    check(os.access(os.path.join(there, "h1", "sapair"), os.X_OK), "the program was copied")
    with open("/proc/%s/cmdline" % open(os.path.join(there, "h1", "pid")).read().strip()) as f:
        has(f.read(), os.path.join(there, "h1"))
    again = run.up()
    equal((again["changed"], again["well"]), (False, 3), "the second up")
    equal(run("rekey")["well"], 3, "rekey")
    run("down")
    check(not os.path.exists(there), "%s is left" % there)
    run.check_nothing_left()


@test
def hosts_that_ssh_cannot_reach_are_named_and_the_others_finish(lab):
    need_ssh()
    sshd = Sshd(lab)
    path = lab_file(lab, 4, "part%d" % lab.port)
    with open(path) as f:
        text = json.load(f)
    dead = lab.free_port()
    for h, target in zip(text["hosts"], (sshd.target(), sshd.target(), "ssh://root@127.0.0.1:%d" % dead,
                                         "root@wrong")):
        h["ssh"] = target
    with open(path, "w") as f:
        json.dump(text, f)
    with open(sshd.path("config"), "r+") as f:
        good = f.read()
        f.seek(0)
        f.write("Match originalhost wrong\n  IdentityFile %s\n" % sshd.path("bad")
                + good.replace("Host *\nIdentitiesOnly yes\nIdentityFile",
                               "Match host 127.0.0.1 !originalhost wrong\nIdentityFile"))
    run = RunningLab(lab, path, "--ssh-config", sshd.path("config"))
    up = run.up("--timeout", "3", rc=4)
    trouble = failed_hosts(up)
    equal(sorted(trouble), ["h3", "h4"], "hosts that failed: %s" % up["hosts"])
    has(trouble["h3"], "onnection refused")
    has(trouble["h4"], "ssh: ")
    pairs = {(p["from"], p["to"]): p for p in up["pairs"]}
    check(pairs["h1", "h2"]["verified"] and pairs["h2", "h1"]["verified"], "h1 and h2")
    check("cause" in pairs["h1", "h3"], "why h1 -> h3 is not up")
    # Both hosts can be reached now: the same command completes the lab.
    for h in text["hosts"]:
        h["ssh"] = sshd.target()
    sshd.write("config", good.replace("Match originalhost wrong", "Host wrong").replace(
        "Host *", "Host *\nStrictHostKeyChecking no"))
    with open(sshd.path("config"), "a") as f:
        f.write("Host h3.invalid\n")
    run("down", rc=4)
    with open(path, "w") as f:
        json.dump(text, f)
    shutil.copy(path, os.path.join(run.dir, "lab.json"))
    equal(run.up()["well"], 6, "the second up")
    run("down")
    run.check_nothing_left()


@test
def hosts_without_ssh_are_started_by_hand(lab):
    need_ssh()
    sshd = Sshd(lab)
    path = lab_file(lab, 2, "hand%d" % lab.port)
    with open(path) as f:
        text = json.load(f)
    text["hosts"][0]["ssh"] = sshd.target()
    with open(path, "w") as f:
        json.dump(text, f)
    run = RunningLab(lab, path, "--ssh-config", sshd.path("config"))
    up = subprocess.Popen([SAPAIR, "lab", "up", path, "--dir", run.dir, "--timeout", "60", *run.flags],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lab.cleanups.append(lambda: (up.kill(), up.communicate()))
    there = os.path.join(run.dir, "h2.bundle")
    until(lambda: os.path.exists(there) or up.poll() is not None, "the bundle of h2")
    lab.add(Agent(lab, "h2", None, None, ["--bundle", there])).start(ready=False)
    said = up.communicate(timeout=60 * SLOW)[0].decode()
    equal(up.returncode, 0, "exit status of up:\n%s" % said)
    has(said, 'host h2: no ssh: run "sapair run --bundle" there by hand, with %s' % there)
    status = run("status")
    equal([h["state"] for h in status["hosts"]], ["running", "manual"], "states")
    equal(status["ok"], True, "ok")
    run("down")


if __name__ == "__main__":
    main(Lab)
