#!/usr/bin/env python3
"""Certificate renewal without interruption, by the same CA or by a new one; unusable files change nothing."""

import os
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import in_force
from harness.identity import Identity, ca
from harness.lab import Lab
from harness.program import expect_exit, need_faketime, run_sapair
from harness.settings import ALPHA, BETA
from harness.tap import check, equal, has, main, test, until


class Own:
    """A host's identity in files that the test may change."""

    def __init__(self, lab, name, address, by):
        self.folder = os.path.join(lab.dir, "id-" + name)
        expect_exit(run_sapair("ca", "issue", name, "--address", address, "--dir", by, "--out", self.folder,
                  "--days", "20"))
        self.cert = os.path.join(self.folder, name + ".crt")
        self.key = os.path.join(self.folder, name + ".key")
        self.ca = os.path.join(self.folder, "ca.crt")

    def renew(self, by):
        return expect_exit(run_sapair("ca", "renew", self.cert, "--dir", by, "--json")).doc("ca")


def hosts(lab):
    first = ca()
    own = {n: Own(lab, n, at, first) for n, at in (("alpha", ALPHA), ("beta", BETA))}
    a = lab.agent("alpha", lab.peer_of("beta"), id=own["alpha"])
    b = lab.agent("beta", lab.peer_of("alpha"), id=own["beta"])
    for x in (a, b):
        x.start()
    a.wait_up("beta")
    b.wait_up("alpha")
    return a, b, own


def taken(agent, times=1):
    until(lambda: agent.log().count("identity reloaded") == times,
          "%s takes the new identity" % agent.name)


@test
def a_renewed_certificate_is_loaded_without_a_new_exchange(lab):
    a, b, own = hosts(lab)
    before = in_force(a.peer("beta"))
    old_pin, old_end = a.status()["identity"]["pin"], a.status()["identity"]["not_after"]
    has(a.log(), "our certificate expires in ")
    doc = own["alpha"].renew(ca())
    equal((doc["changed"], doc["pin"], doc["addresses"]), (True, old_pin, [ALPHA]), "ca renew")
    taken(a)
    check(a.status()["identity"]["not_after"] > old_end, "the end of the certificate")
    equal(in_force(a.peer("beta")), before, "the pair in force")
    # New links use it: beta sees the new expiry after a restart.
    b.stop()
    b.start()
    until(lambda: (a.peer("beta") or {}).get("state") == "up" and
          b.peer("alpha").get("identity", {}).get("not_after", "") > old_end, "beta sees it")


@test
def a_ca_is_replaced_with_an_overlap_of_both(lab):
    a, b, own = hosts(lab)
    first, second = ca(), ca("second-ca")
    with open(os.path.join(first, "ca.crt")) as f, open(os.path.join(second, "ca.crt")) as g:
        old, new = f.read(), g.read()
    load = a.cli_start("verify", "beta", "--count", "3000", "--interval", "4")

    def ca_file(text, times):
        for agent, o in ((a, own["alpha"]), (b, own["beta"])):
            with open(o.ca + ".new", "w") as f:
                f.write(text)
            os.rename(o.ca + ".new", o.ca)
        for agent in (a, b):
            taken(agent, times)

    ca_file(old + new, 1)
    for o in own.values():
        o.renew(second)
    taken(a, 2)
    taken(b, 2)
    ca_file(new, 3)
    expect_exit(a.cli("rekey", "beta"))
    b.stop()
    b.start()
    b.wait_up("alpha")
    equal(expect_exit(run_sapair("id", "show", own["beta"].cert, "--json")).doc("id")["issuer"].count("second-ca"), 1,
          "issuer")
    load.terminate()
    load.communicate()


@test
def a_ca_that_is_no_longer_trusted_ends_links_and_pairs(lab):
    a, b, own = hosts(lab)
    with open(os.path.join(ca("second-ca"), "ca.crt")) as f:
        other = f.read()
    with open(own["alpha"].ca + ".new", "w") as f:
        f.write(other)
    os.rename(own["alpha"].ca + ".new", own["alpha"].ca)
    a.wait_peer("beta", "is not trusted", lambda p: p["state"] != "up" and p["held"] == 0, limit=40)
    a.wait_error("beta", "auth")
    b.wait_error("alpha", "auth")


@test
def a_denied_key_loses_its_pair_and_is_refused(lab):
    deny = lab.write("deny.txt", "# none yet\n\n")
    a = lab.agent("alpha", lab.peer_of("beta"), lab.peer_of("gamma"), deny=deny).start()
    b = lab.agent("beta", lab.peer_of("alpha")).start()
    c = lab.agent("gamma", lab.peer_of("alpha")).start()
    for name in ("beta", "gamma"):
        a.wait_up(name)
    before = in_force(a.peer("gamma"))
    pin = a.peer("beta")["identity"]["pin"]
    lab.write("deny.txt", "  %s  # a lost machine" % pin)
    a.wait_peer("beta", "is not let in", lambda p: p["state"] != "up" and p["held"] == 0)
    has(a.wait_error("beta", "auth")["cause"], "deny list")
    b.wait_peer("alpha", "has no pair", lambda p: p["state"] != "up")
    equal(in_force(a.peer("gamma")), before, "the pair of another peer")
    b.stop()
    b.start()
    b.wait_error("alpha", "auth")
    equal(expect_exit(a.cli("up", "beta", "--timeout", "5"), 5).doc("error")["class"], "auth", "up of who is denied")
    # An unreadable list does not count as empty.
    lab.write("deny.txt", "sha256:beta\n")
    a.wait_log("deny.txt: line 1: must be sha256:")
    check(a.peer("beta")["state"] != "up", "beta was let in")
    e = expect_exit(run_sapair("check", a.config_path), 2)
    has(e.err, "deny.txt: line 1")
    lab.write("deny.txt", "")
    until(lambda: a.cli("up", "beta", "--timeout", "5").rc == 0, "beta is let in again")
    c.stop()


@test
def the_expiry_of_a_certificate_is_reported_30_7_and_1_days_before(lab):
    shim = need_faketime()
    days = os.path.join(lab.dir, "id")
    expect_exit(run_sapair("ca", "issue", "alpha", "--address", ALPHA, "--dir", ca(), "--out", days, "--days", "40"))
    clock = lab.write("clock", "+0d")
    a = lab.agent("alpha", lab.peer_of("beta"), id=Identity(days, "alpha"))
    b = lab.agent("beta", lab.peer_of("alpha")).start()
    a.start(env={"LD_PRELOAD": shim, "FAKETIME_TIMESTAMP_FILE": clock, "FAKETIME_NO_CACHE": "1",
                 "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    a.wait_up("beta")
    pair, told = in_force(a.peer("beta")), "our certificate expires in "
    check(told not in a.log(), "told 40 days before")
    for step, wanted in (("+11d", "28 days"), ("+20d", None), ("+34d", "5 days"), ("+38d", None),
                         ("+39d", "23 hours"), ("+41d", "has expired")):
        lab.write("clock.new", step)
        os.rename(lab.path("clock.new"), clock)
        before = a.log().count("our certificate ")
        if wanted:
            a.wait_log(told + wanted if "has" not in wanted else "our certificate has expired")
        else:
            time.sleep(1.2 * 2)
        equal(a.log().count("our certificate "), before + bool(wanted), "lines at " + step)
    # An existing pair lives to the end of its lifetime.
    equal(in_force(a.peer("beta")), pair, "the pair in force")
    b.stop()


@test
def a_certificate_of_our_own_that_is_not_valid_yet_is_reported_at_the_start(lab):
    days = os.path.join(lab.dir, "id")
    expect_exit(run_sapair("ca", "issue", "alpha", "--address", ALPHA, "--dir", ca(), "--out", days,
                           "--not-before", "2035-01-01", "--not-after", "2035-02-01"))
    a = lab.agent("alpha", lab.peer_of("beta"), id=Identity(days, "alpha")).start()
    a.wait_log("our certificate is not valid before 2035-01-01T00:00:00Z, and the clock says 20")
    time.sleep(1.2 * 2)
    equal(a.log().count("our certificate "), 1, "lines about it")


@test
def a_file_that_cannot_be_used_changes_nothing(lab):
    a, _, own = hosts(lab)
    end = a.status()["identity"]["not_after"]
    shutil.copy(own["alpha"].cert, own["alpha"].cert + ".good")
    with open(own["alpha"].cert, "w") as f:
        f.write("-----BEGIN CERTIFICATE-----\nnonsense\n")
    a.wait_log("cannot use the new certificate")
    equal(a.status()["identity"]["not_after"], end, "the certificate in use")
    os.rename(own["alpha"].cert + ".good", own["alpha"].cert)
    taken(a)
    equal(a.log().count("cannot use the new certificate"), 1, "lines about it")
    a.wait_up("beta")


if __name__ == "__main__":
    main(Lab)
