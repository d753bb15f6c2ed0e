#!/usr/bin/env python3
"""Reload applies differences, leaves the rest alone, and changes nothing on an error."""

import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import in_force, wait_paired
from harness.control import Control
from harness.identity import identity
from harness.lab import Lab
from harness.program import expect_exit, run_sapair
from harness.settings import ALPHA, BETA, SAN
from harness.tap import check, equal, has, main, test, until


def by_verb(agent):
    return expect_exit(agent.cli("reload")).doc("reload")


def by_signal(agent):
    """SIGHUP has no reply: waits for its log line."""
    done = "config and identity reloaded"
    before = agent.log().count(done)
    agent.signal(signal.SIGHUP)
    until(lambda: agent.log().count(done) > before, "SIGHUP is done")
    return None


def three(lab, **config):
    """alpha with beta, whose pair must not change, and with gamma."""
    a = lab.agent("alpha", "beta", **config)
    b, c = lab.agent("beta", "alpha", **config), lab.agent("gamma", "alpha", **config)
    for x in (a, b, c):
        x.start()
    wait_paired(a, b)
    return a, b, c


def both_ways(function):
    """Runs a test with the verb and with SIGHUP."""
    for how, reload in (("by the verb", by_verb), ("by SIGHUP", by_signal)):

        def run(lab, reload=reload):
            function(lab, reload)

        test(name="%s, %s" % (function.__name__, how))(run)
    return function


@both_ways
def a_peer_is_added_changed_and_removed(lab, reload):
    a, b, c = three(lab)
    with lab.pair_unchanged(a, b):
        check(a.peer("gamma") is None, "gamma is there already")
        a.config["peers"].append(lab.peer_of("gamma"))
        a.write_config()
        d = reload(a)
        if d:
            equal((d["changed"], d["added"], d["removed"], d["updated"], d["same"]),
                  (True, ["gamma"], [], [], 1), "reload that adds")
        wait_paired(a, c)

    with lab.pair_unchanged(a, b), lab.pair_unchanged(a, c):  # an option that does not affect an existing pair
        a.config["peers"][1]["rekey"] = {"time_s": 1000}
        a.write_config()
        d = reload(a)
        if d:
            equal((d["changed"], d["added"], d["removed"], d["updated"], d["same"]),
                  (True, [], [], ["gamma"], 1), "reload that changes an option")

    with lab.pair_unchanged(a, b):  # another policy: gamma's pair is replaced
        before = in_force(a.peer("gamma"))
        a.config["peers"][1]["pin"] = identity("gamma").pin
        a.write_config()
        d = reload(a)
        if d:
            equal((d["updated"], d["same"]), (["gamma"], 1), "reload that changes the policy")
        until(lambda: in_force(a.peer("gamma")) not in (None, before), "gamma has a new pair")
        wait_paired(a, c)

    with lab.pair_unchanged(a, b):
        a.config["peers"].pop()
        a.write_config()
        d = reload(a)
        if d:
            equal((d["removed"], d["same"]), (["gamma"], 1), "reload that removes")
        check(a.peer("gamma") is None, "gamma is still there")
        p = c.wait_peer("alpha", "is not up", lambda p: p["state"] != "up")
        check("epoch" not in p, "gamma still has SAs: %s" % p)


@both_ways
def an_option_counts_from_the_next_exchange_on(lab, reload):
    a, b, _ = three(lab)
    with lab.pair_unchanged(a, b):
        for x, y in ((a, "beta"), (b, "alpha")):
            x.config["peers"][0]["suites"] = ["aes128gcm16"]
            x.config["peers"][0]["rekey"] = {"min_interval_ms": 0}
            x.write_config()
            reload(x)
        equal(a.peer("beta")["suite"], "aes256gcm16", "suite of the standing pair")
    expect_exit(a.cli("rekey", "beta"))
    equal(a.peer("beta")["suite"], "aes128gcm16", "suite of the next one")
    wait_paired(a, b)


def broken(title, text, *parts):
    @test(name="a config with %s applies nothing" % title)
    def refused(lab):
        a, b, c = three(lab)
        a.config["peers"].append(lab.peer_of("gamma"))
        a.write_config()
        by_verb(a)
        wait_paired(a, c)
        with lab.pair_unchanged(a, b), lab.pair_unchanged(a, c):
            a.write_config(text(a))
            d = expect_exit(a.cli("reload"), 2).doc("error")
            for part in parts:
                has(d["cause"], part, "cause")
            equal(d["class"], "usage", "class")
            before = a.log().count("system-error")
            a.signal(signal.SIGHUP)
            until(lambda: a.log().count("system-error") > before, "SIGHUP has told its error")
            equal([p["name"] for p in a.status()["peers"]], ["beta", "gamma"], "peers")

    return refused


broken("an error of syntax", lambda a: '{\n "name": "alpha",\n', "line 3, column 1", "alpha.json",
       "nothing was applied")
broken("an unknown member", lambda a: '{\n "colour": "red"\n}', "line 2, column 2", "colour")
broken("a peer twice", lambda a: '{"peers": [{"address": "127.0.0.2"}, {"address": "127.0.0.2"}]}',
       "line 1, column")
broken("limits out of order", lambda a: '{"defaults": {"rekey": {"time_s": 90}, '
       '"hard": {"time_s": 60}}}', "line 1, column")
broken("nothing in it", lambda a: "", "alpha.json")


def restart_needed(title, what, change):
    @test(name="a config with another %s is refused" % title)
    def refused(lab):
        a, b, c = three(lab)
        with lab.pair_unchanged(a, b):
            change(lab, a.config)
            a.config["peers"].append(lab.peer_of("gamma"))
            a.write_config()
            r = expect_exit(a.cli("reload"), 2)
            d = r.doc("error")
            has(d["cause"], what, "cause")
            has(d["cause"], "nothing was applied", "cause")
            has(d["hint"], "restart", "hint")
            check(a.peer("gamma") is None, "gamma was added all the same")

    return refused


restart_needed("listen", "listen", lambda lab, c: c.update(
    listen="%s:%d" % (ALPHA, lab.free_port()), esp_port=lab.port))
restart_needed("esp_port", "esp_port", lambda lab, c: c.update(esp_port=lab.free_port()))
restart_needed("control socket", "control", lambda lab, c: c.update(control=lab.path("other.sock")))


@test
def a_reload_with_a_missing_config_changes_nothing(lab):
    a, b, _ = three(lab)
    with lab.pair_unchanged(a, b):
        os.unlink(a.config_path)
        d = expect_exit(a.cli("reload"), 2).doc("error")
        has(d["cause"], "alpha.json", "cause")
    with lab.pair_unchanged(a, b):
        a.write_config()
        os.chmod(a.config_path, 0o666)
        d = expect_exit(a.cli("reload"), 9).doc("error")
        has(d["cause"], "0666", "cause")


@test
def a_peers_directory_that_cannot_be_read_changes_nothing(lab):
    a, b, _ = three(lab)
    where = lab.path("peers.d")
    with lab.pair_unchanged(a, b):
        lab.write("peers.d", "")
        verbs = [run_sapair(verb, a.config_path, "--json") for verb in ("check", "plan")]
        for result in (a.cli("reload"), *verbs):
            has(expect_exit(result, 7).doc("error")["cause"], "list the peers in %s" % where, "cause")
        os.unlink(where)
        os.mkdir(where)
        for junk in (b"\xff" * 100, b"{", b"[]", b""):
            with open(os.path.join(where, "gamma.json"), "wb") as f:
                f.write(junk)
            os.chmod(os.path.join(where, "gamma.json"), 0o600)
            has(expect_exit(a.cli("reload"), 2).doc("error")["cause"], "gamma.json", "cause")
        os.unlink(os.path.join(where, "gamma.json"))
        os.symlink(lab.path("none"), os.path.join(where, "gamma.json"))
        check(a.cli("reload").rc != 0, "a link to nothing was read")
        os.unlink(os.path.join(where, "gamma.json"))
        expect_exit(a.cli("reload"))


@test
def a_reload_with_a_broken_identity_or_ppk_changes_nothing(lab):
    a, b, _ = three(lab)
    good = dict(a.config)
    with lab.pair_unchanged(a, b):
        with open(identity("beta").key) as f:
            a.config = dict(good, key=lab.write("other.key", f.read()))
        a.config["peers"] = good["peers"] + [lab.peer_of("gamma")]
        a.write_config()
        d = expect_exit(a.cli("reload"), 2).doc("error")
        has(d["cause"], "does not belong to the certificate", "cause")
        a.config = dict(good, certificate=lab.path("none.crt"))
        a.write_config()
        has(expect_exit(a.cli("reload"), 2).doc("error")["cause"], "none.crt", "cause")
        a.config = dict(good)
        a.config["peers"] = good["peers"] + [lab.peer_of("gamma", ppk=lab.write("ppk", "short"))]
        a.write_config()
        has(expect_exit(a.cli("reload"), 2).doc("error")["cause"], "ppk", "cause")
        equal([p["name"] for p in a.status()["peers"]], ["beta"], "peers")
        a.config["peers"] = [dict(good["peers"][0], ppk=lab.path("none.ppk"))]
        a.write_config()
        expect_exit(a.cli("reload"), 2)


@test
def a_new_certificate_is_loaded_and_the_pair_stays(lab):
    folder = lab.path("id")
    os.mkdir(folder, 0o700)
    a = lab.agent("alpha", "beta", certificate=folder + "/x.crt", key=folder + "/x.key")
    b = lab.agent("beta", "alpha")

    def install(id):
        shutil.copy(id.cert, folder + "/x.crt")
        shutil.copy(id.key, folder + "/x.key")

    install(identity("alpha"))
    a.start()
    b.start()
    wait_paired(a, b)
    with lab.pair_unchanged(a, b):
        renewed = identity("alpha", ALPHA, options=("--days", "300"))
        install(renewed)
        d = by_verb(a)
        equal((d["changed"], d["identity_changed"], d["same"]), (True, True, 1), "reload")
        equal(a.status()["identity"]["pin"], renewed.pin, "own pin")
        equal(by_verb(a)["changed"], False, "changed of a second reload")
    # The next link uses it.
    b.stop()
    b.start()
    wait_paired(a, b)
    equal(b.peer("alpha")["identity"]["pin"], renewed.pin, "pin that beta sees")


@test
def reload_during_rekeys_loses_nothing(lab):
    a, b, c = three(lab, defaults={"rekey": {"min_interval_ms": 0}, "drain_ms": 100})
    gamma = lab.peer_of("gamma")
    with Control(a.control) as client:
        for i in range(30 if not SAN else 8):
            client.send({"verb": "rekey", "peer": "beta"})
            a.config["peers"] = a.config["peers"][:1] + ([gamma] if i % 2 == 0 else [])
            a.write_config()
            equal(a.ask("reload")[0], 0, "exit of reload")
            while client.line()["schema"] != "sapair.end/1":
                pass
    wait_paired(a, b)


@test
def an_agent_without_a_config_file_says_what_it_needs(lab):
    a = lab.agent_by_flags("alpha", "--peer", "%s:%d" % (BETA, lab.port)).start()
    r = a.cli("reload")
    check(r.rc in (0, 2), str(r))
    if r.rc == 2:
        has(r.doc("error")["hint"], "--config")
    else:
        equal(r.doc("reload")["changed"], False, "changed")
    equal([p["name"] for p in a.status()["peers"]], [BETA], "peers")


if __name__ == "__main__":
    main(Lab)
