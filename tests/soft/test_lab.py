#!/usr/bin/env python3
"""Labs: bundles from a lab file, and agents that need nothing else."""

import json
import os
import stat
import subprocess

import sapairtest
from sapairtest import (
    SAPAIR, Agent, check, equal, finished, has, main, test, tool, until, well,
)


def lab_file(lab, count=2, name="demo", **more):
    """A lab on loopback addresses that no other test has."""
    net = "127.%d.%d." % (sapairtest.random.randrange(30, 90), sapairtest.random.randrange(1, 250))
    text = {"lab": name, "backend": "soft",
            "hosts": [{"name": "h%d" % i, "address": "%s%d:%d" % (net, i, lab.port)}
                      for i in range(1, count + 1)]}
    text.update(more)
    path = os.path.join(lab.dir, name + ".json")
    with open(path, "w") as f:
        json.dump(text, f)
    return path


def bundle(lab, host):
    return os.path.join(lab.dir, "bundles", host + ".bundle")


def init(lab, path, *more, rc=0):
    return well(tool("lab", "init", path, "--out", os.path.join(lab.dir, "bundles"), "--json",
                     *more), rc)


@test
def bundles_are_all_that_the_hosts_need(lab):
    made = init(lab, lab_file(lab, 3)).doc("bundles")
    equal((made["changed"], made["pairs"]), (True, 3), "lab init")
    agents = []
    for host in ("h1", "h2", "h3"):
        equal(stat.S_IMODE(os.stat(bundle(lab, host)).st_mode), 0o600, "mode of a bundle")
        a = Agent(lab, host, None, None, ["--bundle", bundle(lab, host)])
        agents.append(lab.add(a).start())
    for a in agents:
        well(a.cli("up", "--all"))
        s = a.status()
        equal(s["identity"]["lab"], True, "lab in status")
        equal(len(s["peers"]), 2, "peers")
    watch = agents[0].cli_start("watch", "--count", "1")
    until(lambda: well(agents[0].cli("rekey", "h2", "--reason", "x")) and watch.poll() is not None,
          "an event")
    equal(json.loads(watch.communicate()[0].splitlines()[0])["lab"], True, "lab in an event")
    well(agents[0].cli("reload"))
    # No key but those in the bundles is anywhere.
    names = os.listdir(os.path.join(lab.dir, "bundles"))
    equal(sorted(names), ["h1.bundle", "h2.bundle", "h3.bundle"], "files of lab init")


@test
def a_second_init_changes_nothing_and_another_file_needs_force(lab):
    path = lab_file(lab)
    first = init(lab, path).doc("bundles")
    again = init(lab, path).doc("bundles")
    equal((again["changed"], again["not_after"]), (False, first["not_after"]), "second init")
    path = lab_file(lab, 3)
    has(init(lab, path, rc=2).doc("error")["hint"], "--force")
    equal(init(lab, path, "--force").doc("bundles")["changed"], True, "with --force")


@test
def what_is_wrong_with_a_lab_file_or_a_bundle_is_told(lab):
    hosts = [{"name": "a", "address": "192.0.2.1"}, {"name": "b", "address": "192.0.2.2"}]
    for more, cause in (
        ({"hosts": hosts, "pairs": [["a", "x"]]}, 'no host or group is called "x"'),
        ({"hosts": hosts + [{"name": "c", "address": "192.0.2.2"}]}, "the address of hosts[1]"),
        ({"hosts": hosts[:1]}, "at least two hosts"),
    ):
        e = init(lab, lab_file(lab, **more), rc=2).doc("error")
        has(e["cause"], cause)
        has(e["cause"], "line 1, column ")
    init(lab, lab_file(lab))
    path = bundle(lab, "h1")
    has(well(tool("run", "--bundle", path, "--peer", "192.0.2.9"), 2).err, "exclude each other")
    os.chmod(path, 0o644)
    has(well(tool("run", "--bundle", path), 9).err, "chmod 600")
    os.chmod(path, 0o600)
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text[: len(text) // 2])
    has(well(tool("run", "--bundle", path), 2).err, "line 1, column")
    has(well(tool("lab", "init", "nowhere.json"), 2).err, "nowhere.json")
    has(well(tool("lab", "init", lab_file(lab), "--ttl", "5y"), 2).err, "not a time like")
    has(well(tool("lab", "init", lab_file(lab), "--ttl", "5s"), 2).err, "is not between")


@test
def a_bundle_is_refused_when_the_clock_says_so(lab):
    shim = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    if not os.path.exists(shim) or sapairtest.SAN:
        raise sapairtest.Skip("no libfaketime")
    init(lab, lab_file(lab), "--ttl", "1h")
    for shift, cause in (("+1d", "expired at"), ("-1d", "is not valid before")):
        r = subprocess.run(
            [SAPAIR, "run", "--bundle", bundle(lab, "h1")], capture_output=True, timeout=20,
            stdin=subprocess.DEVNULL, env=dict(os.environ, LD_PRELOAD=shim, FAKETIME=shift))
        has(well(finished(r), 2).err, cause)
        has(r.stderr.decode(), "clock")


main()
