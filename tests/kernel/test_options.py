#!/usr/bin/env python3
"""Config options in the kernel: suites, selectors, modes."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_paired
from harness.kernel import PORT, main
from harness.netns import inside, v4, v6
from harness.program import expect_exit
from harness.settings import SAPAIR
from harness.tap import check, equal, test
from harness.traffic import Flow

FAST = {"rekey": {"min_interval_ms": 0}, "switch_ms": 100, "drain_ms": 300}
SUITES = [
    "aes256gcm16", "aes192gcm16", "aes128gcm16", "aes256-sha256", "aes128-sha256", "aes128-sha1",
    "aes256gmac", "aes192gmac", "aes128gmac",
]


def some_traffic(w, a="alpha", b="beta", address=v4, tcp=True):
    u = w.udp(a, b, rate=300, address=address)
    t = w.tcp(a, b, address=address) if tcp else None
    time.sleep(0.4)
    if t:
        t.whole()
    u.no_loss(least=50)
    w.flows.clear()


def only_esp(w):
    c = w.wire()
    check(c["esp"] > 0 and c["others"] == 0, "wire: %s" % c)


@test
def every_suite_carries_traffic(w):
    a, b = w.pair(both=dict(FAST, suites=SUITES[:1]))
    for n, suite in enumerate(SUITES):
        for agent in (a, b):
            agent.config["peers"][0]["suites"] = [suite]
            agent.write_config()
            expect_exit(agent.cli("reload"))
        expect_exit(a.cli("rekey", "beta"))
        x, y = wait_paired(a, b, epoch=n + 2)
        equal((x["suite"], y["suite"]), (suite, suite), "suite")
        some_traffic(w, tcp=n % 4 == 0)
    w.no_errors()
    only_esp(w)


def in_the_form(w, form, address):
    """A pair of that form, with traffic, a rekey, and an agent that is killed; the counts of the wire."""
    w.watch = Flow("wire", "watch", "any", PORT).ready()
    a, b = w.pair(both=dict(FAST, **form), address=address)
    some_traffic(w, address=address)
    expect_exit(a.cli("rekey", "beta"))
    w.ping("beta", "alpha", address=address)
    u = w.udp(rate=200, address=address)
    if not form.get("udp"):  # its socket decapsulates ESP in UDP, which needs the agent
        b.kill()
        b.start()
        wait_paired(a, b)
    time.sleep(0.2)
    u.no_loss(least=20)
    w.flows.clear()
    rc, docs = a.ask("verify", peer="beta", count=5)
    check(rc == 0, "verify: %s" % docs)
    mode = "tunnel" if form.get("encap") else "transport"
    for h in w.hosts:
        for s in w.states(h):
            check("mode %s" % mode in s and ("type espinudp" in s) == bool(form.get("udp")), "SA: %s" % s)
    plan = subprocess.run(inside("alpha") + [SAPAIR, "plan", a.config_path], capture_output=True, text=True)
    equal(plan.returncode, 0, "plan: %s" % plan.stdout)
    equal((", tunnel" in plan.stdout, ", in UDP from 4500 to 4500" in plan.stdout),
          (mode == "tunnel", bool(form.get("udp"))), "plan:\n%s" % plan.stdout)
    w.no_errors(but=("XfrmInTmplMismatch", "XfrmOutNoStates", "XfrmAcquireError"))
    c = w.wire()
    for agent in (a, b):
        expect_exit(agent.cli("down", "--all"))
        agent.stop()
        w.agents.remove(agent)
    for h in w.hosts:
        equal((w.states(h), w.policies(h)), ([], []), "residue of %s" % h)
    w.watch.over()
    return c


@test
def tunnel_mode_and_esp_in_udp_carry_traffic_in_that_form_only(w):
    w.watch.over()
    for form, address in (({"encap": "tunnel"}, v4), ({"udp": True}, v4), ({"encap": "tunnel", "udp": True}, v4),
                          ({"encap": "tunnel"}, v6), ({"udp": True}, v6)):
        c = in_the_form(w, form, address)
        form_of, other = ("esp_udp", "esp") if form.get("udp") else ("esp", "esp_udp")
        check(c[form_of] > 100 and c[other] == 0 and c["others"] == 0, "%s: wire %s" % (form, c))


@test
def an_esp_port_that_somebody_else_has_is_named_and_the_pair_comes_once_it_is_free(w):
    taken = Flow("alpha", "echo", v4("alpha"), 4500).ready()
    w.flows.append(taken)
    a = w.agent("alpha", {"name": "beta", "address": v4("beta"), "udp": True}).start()
    b = w.agent("beta", {"name": "alpha", "address": v4("alpha"), "udp": True}).start()
    e = a.wait_error("beta", "os", "UDP port 4500")
    check("esp_port" in e["hint"], "hint: %s" % e)
    check(w.policies("alpha") != [], "the policies must not wait for the port")
    taken.process.kill()
    wait_paired(a, b)


@test
def only_the_configured_selectors_are_protected(w):
    w.expect_clear = True
    a, b = w.pair(both=dict(FAST, protect=["udp/7000", "proto/132"]))
    some_traffic(w)
    c = w.wire()
    check(c["esp"] > 100 and c["others"] > 20, "wire: %s" % c)
    check(all("proto 6 " in o and "7001" in o for o in c["other"]), "wire: %s" % c)
    check(a.peer("beta")["verified"], "not proven")


@test
def a_start_through_ssh_from_the_peer_warns(w):
    come = {"SSH_CONNECTION": "%s 50000 %s 22" % (v4("beta"), v4("alpha"))}
    for exempt, env, warned in (
        (["icmp"], come, True),
        (["icmp", "tcp/22"], come, False),
        (["icmp"], {"SSH_CONNECTION": "10.9.0.77 50000 %s 22" % v4("alpha")}, False),
        (["icmp"], {"SSH_CONNECTION": "nonsense"}, False),
    ):
        a = w.agent("alpha", {"name": "beta", "address": v4("beta"), "exempt": exempt}).start(env=env)
        equal('"exempt": ["icmp", "tcp/22"]' in a.log(), warned, "a warning with %s, %s" % (exempt, env))
        expect_exit(a.cli("down", "--all"))
        a.stop()
        os.unlink(a.log_path)
        w.agents.remove(a)


@test
def exempt_traffic_passes_unencrypted(w):
    w.expect_clear = True
    a = w.agent("alpha", {"name": "beta", "address": v4("beta"), "exempt": ["tcp/7001"]}).start()
    b = w.agent("beta", {"name": "alpha", "address": v4("alpha"), "exempt": ["tcp/7001"]})
    t = w.tcp()  # before there is a pair
    b.start()
    wait_paired(a, b)
    t.whole()
    w.flows.clear()
    w.ping("alpha", "beta")  # not exempt here: through ESP
    some_traffic(w)
    c = w.wire()
    check(all("proto 6 " in o and "7001" in o for o in c["other"]) and c["others"] > 20, "wire: %s" % c)
    check(c["esp"] > 100 and c["icmp"] == 0, "wire: %s" % c)


@test
def permissive_passes_unencrypted_traffic_until_there_is_a_pair(w):
    w.expect_clear = True
    a = w.agent("alpha", {"name": "beta", "address": v4("beta"), "mode": "permissive"}).start()
    some_traffic(w)
    b = w.agent("beta", {"name": "alpha", "address": v4("alpha"), "mode": "permissive"}).start()
    wait_paired(a, b)
    clear = w.wire()["others"]
    check(clear > 100, "nothing was in clear before")
    w.watch = Flow("wire", "watch", "any", PORT).ready()
    some_traffic(w)
    only_esp(w)


if __name__ == "__main__":
    main()
