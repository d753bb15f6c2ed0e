#!/usr/bin/env python3
"""Export of SA keys for Wireshark: only if the config allows it, logged, readable by the owner only; tshark
decrypts a capture with them."""

import json
import os
import signal
import stat
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import Agent
from harness.lab import Lab
from harness.program import expect_exit, run_sapair
from harness.settings import LIMIT, SAN, SAPAIR
from harness.tap import Skip, check, equal, has, main, need_root, need_tools, test, until

LINE = '"IPv4","'


class Follow:
    def __init__(self, lab, agent, *words):
        self.dir = os.path.join(lab.dir, "keys")
        self.table = os.path.join(self.dir, "esp_sa")
        self.process = subprocess.Popen(
            [SAPAIR, "export", "esp-sa", *words, "--follow", self.dir, "--control", agent.control],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        lab.cleanups.append(self.end)
        until(lambda: os.path.exists(self.table), "the table is there")

    def lines(self):
        with open(self.table) as f:
            return [line for line in f.read().splitlines() if not line.startswith("#")]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@test
def keys_are_given_only_where_the_config_allows_it(lab):
    a, _ = lab.pair()
    e = expect_exit(a.cli("export esp-sa"), 9).doc("error")
    has(e["cause"], "does not allow")
    has(e["hint"], "export_keys")
    a.config["export_keys"] = True
    a.write_config()
    expect_exit(a.cli("reload"))
    equal(expect_exit(a.cli("export esp-sa")).docs, [], "keys of a pair from before")
    with open(lab.path("events"), "w") as f:
        watch = subprocess.Popen([SAPAIR, "watch", "--json", "--control", a.control], stdout=f,
                                 stdin=subprocess.DEVNULL)
    lab.cleanups.append(watch.kill)

    def events():
        with open(lab.path("events")) as f:
            return f.read()

    until(lambda: expect_exit(a.cli("rekey", "beta")) and events(), "a rekey is seen")
    keys = [d for d in expect_exit(a.cli("export esp-sa")).docs if d["schema"] == "sapair.key/1"]
    newest = [d for d in keys if d["epoch"] == a.peer("beta")["epoch"]]
    equal(sorted(d["direction"] for d in newest), ["in", "out"], "directions")
    p = a.peer("beta")
    equal({d["direction"]: d["spi"] for d in newest}, {"in": p["in"]["spi"], "out": p["out"]["spi"]}, "SPIs")
    equal({len(d["key"]) for d in newest}, {72}, "key and salt of AES-256-GCM, in hex")
    until(lambda: '"id":180,"event":"keys-exported"' in events(), "the event is seen")
    watch.kill()
    watch.wait()
    has(a.log(), "SA keys were exported")
    text = expect_exit(a.cli("export esp-sa", "beta", json_out=False)).out
    has(text, LINE)
    has(text, '"AES-GCM with 16 octet ICV [RFC4106]"')
    check(newest[0]["key"] not in a.log(), "a key is in the log")
    expect_exit(a.cli("export esp-sa", "nobody"), 2)


@test
def both_hosts_export_the_same_keys(lab):
    for suite in ("aes128gcm16", "aes256-sha256", "aes128-sha1", "aes256gmac"):
        both = {"export_keys": True, "defaults": {"suites": [suite]}}
        a, b = lab.pair(both=both)
        of = [{d["spi"]: (d["key"], d.get("mac_key"), d["source"], d["suite"])
               for d in expect_exit(x.cli("export esp-sa")).docs} for x in (a, b)]
        equal(of[0], of[1], "keys of " + suite)
        equal(len(of[0]), 2, "SAs")
        a.stop()
        b.stop()
        lab.agents.clear()


@test
def the_exported_table_follows_the_pair(lab):
    a, _ = lab.pair(both={"export_keys": True})
    f = Follow(lab, a, "beta")
    equal(stat.S_IMODE(os.stat(f.table).st_mode), 0o600, "mode of the table")
    equal(len(f.lines()), 2, "lines")
    for n in (4, 6):
        expect_exit(a.cli("rekey", "beta"))
        until(lambda: len(f.lines()) == n, "%d lines" % n)
    expect_exit(a.cli("down", "beta"))
    equal(f.process.wait(LIMIT), 0, "exit of the follower")
    check(not os.path.exists(f.table), "the table is left after down")
    expect_exit(a.cli("up", "beta"))
    # All peers: the lines of a peer are removed with it, and the table with the last peer.
    c = lab.agent("gamma", lab.peer_of("alpha"), export_keys=True).start()
    a.config["peers"].append(lab.peer_of("gamma"))
    a.write_config()
    expect_exit(a.cli("reload"))
    a.wait_up("gamma")
    c.wait_up("alpha")
    f = Follow(lab, a)
    until(lambda: len(f.lines()) >= 4, "keys of both")
    expect_exit(a.cli("down", "gamma"))
    until(lambda: "127.0.0.3" not in "".join(f.lines()), "those of gamma are gone")
    check(len(f.lines()) >= 2, "those of beta are there")
    expect_exit(a.cli("down", "--all"))
    equal(f.process.wait(LIMIT), 0, "exit of the follower")
    check(not os.path.exists(f.table), "the table is left after down --all")
    expect_exit(a.cli("up", "beta"))
    f = Follow(lab, a)
    f.process.send_signal(signal.SIGINT)
    equal(f.process.wait(LIMIT), -signal.SIGINT, "exit of the follower")
    check(not os.path.exists(f.table), "the table is left after an interrupt")
    f = Follow(lab, a)
    a.stop()
    equal(f.process.wait(LIMIT), 0, "exit of the follower")
    check(not os.path.exists(f.table), "the table is left after stop")


@test
def export_script_is_for_labs_only_and_names_its_host(lab):
    a, _ = lab.pair()
    out = lab.path("half.sh")
    has(expect_exit(a.cli("export script", "beta"), 2).doc("error")["hint"], "--out FILE")
    e = expect_exit(a.cli("export script", "beta", "--out", out), 9).doc("error")
    has(e["cause"], "no lab identity")
    expect_exit(a.cli("export script", "nobody", "--out", out), 2)
    # In a lab: the back end soft has no commands for another host's kernel.
    lab.write("lab.json", json.dumps({"backend": "soft", "hosts": [
        {"name": "h%d" % i, "address": "127.0.0.%d:%d" % (i + 2, lab.port)} for i in (1, 2)]}))
    expect_exit(run_sapair("lab", "init", lab.path("lab.json"), "--out", lab.dir))
    h = lab.add(Agent(lab, "h1", None, None, ["--bundle", lab.path("h1.bundle")])).start()
    has(expect_exit(h.cli("export script", "h2", "--out", out), 2).doc("error")["cause"], "in its own process")
    has(expect_exit(h.cli("export script", "h2", "--out", lab.path("lab.json")), 2).doc("error")["cause"],
        "already exists")
    check(not os.path.exists(out), "a script was written all the same")


def tshark(capture, keys, port, *words):
    env = dict(os.environ, WIRESHARK_CONFIG_DIR=keys)
    r = subprocess.run(
        ["tshark", "-r", capture, "-d", "udp.port==%d,udpencap" % port,
         "-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE", *words],
        capture_output=True, text=True, env=env, timeout=120)
    check(r.returncode == 0, "tshark: %s" % r.stderr)
    return r.stdout.splitlines()


@test(alone=True)
def tshark_decrypts_a_capture_over_rekeys_under_load(lab):
    need_root()
    need_tools(tshark="tshark", tcpdump="tcpdump")
    if SAN:
        raise Skip("runs with the plain build only")
    capture = os.path.join(lab.dir, "wire.pcap")
    options = {"esn": False, "rekey": {"min_interval_ms": 0}}
    a, _ = lab.pair(both={"export_keys": True, "defaults": options})
    f = Follow(lab, a)
    dump = subprocess.Popen(
        ["tcpdump", "-i", "lo", "-U", "-Z", "root", "-B", "8192", "-w", capture, "udp port %d" % lab.port],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    lab.cleanups.append(lambda: dump.poll() is None and dump.kill())
    until(lambda: os.path.exists(capture) and os.path.getsize(capture) >= 24, "tcpdump writes")
    load = a.cli_start("verify", "beta", "--count", "300", "--interval", "5")
    for _ in range(3):
        expect_exit(a.cli("rekey", "beta"))
    equal(load.wait(LIMIT), 0, "exit of the load")
    load.communicate()
    until(lambda: len(f.lines()) == 8, "keys of four pairs")
    dump.send_signal(signal.SIGINT)
    dump.communicate()
    rows = [r.split("\t") for r in tshark(
        capture, f.dir, lab.port, "-Y", "esp", "-T", "fields", "-e", "esp.spi", "-e", "esp.icv_good",
        "-e", "frame.protocols")]
    check(len(rows) > 200, "%d packets" % len(rows))
    check(len({r[0] for r in rows}) >= 6, "SPIs in the capture: %s" % {r[0] for r in rows})
    wrong = [r for r in rows if r[1] not in ("1", "True")]
    check(not wrong, "%d of %d packets without a right ICV: %s" % (len(wrong), len(rows), wrong[:3]))
    wrong = [r for r in rows if "esp:udp" not in r[-1]]
    check(not wrong, "%d packets were not decrypted: %s" % (len(wrong), wrong[:3]))


if __name__ == "__main__":
    main(Lab)
