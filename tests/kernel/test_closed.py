#!/usr/bin/env python3
"""Nothing passes unencrypted once the first policy is installed, whatever fails afterwards."""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_paired
from harness.kernel import PORT, main
from harness.netns import inside, sh, v4, v6
from harness.program import expect_exit
from harness.settings import SAPAIR
from harness.tap import check, equal, has, test
from harness.traffic import Flow

SEND = """
import socket
s = socket.socket(socket.%s, socket.SOCK_DGRAM)
for i in range(50):
    try:
        s.sendto(b'x', ('%s', 9))
    except OSError:
        pass
"""
TAKE = """
import socket, time
s = socket.socket(socket.%s, socket.%s)
s.bind(('%s', %d))
if s.type == socket.SOCK_STREAM:
    s.listen()
print('taken', flush=True)
time.sleep(600)
"""


def family(address):
    return "AF_INET6" if ":" in address else "AF_INET"


def send(host, address):
    """50 datagrams of an ordinary program."""
    sh("python3", "-c", SEND % (family(address), address), host=host)


def take_port(w, host, address, port, kind="SOCK_STREAM"):
    p = subprocess.Popen(inside(host) + ["python3", "-c", TAKE % (family(address), kind, address, port)],
                         stdout=subprocess.PIPE, text=True)
    w.cleanups.append(p.kill)
    equal(p.stdout.readline(), "taken\n", "port %d" % port)
    return p


SEND_ALWAYS = """
import socket, time
s = socket.socket(socket.%s, socket.SOCK_DGRAM)
print('sending', flush=True)
while True:
    try:
        s.sendto(b'x', ('%s', 9))
    except OSError:
        pass
    time.sleep(0.001)
"""


def keep_sending(w, host, address):
    p = subprocess.Popen(inside(host) + ["python3", "-c", SEND_ALWAYS % (family(address), address)],
                         stdout=subprocess.PIPE, text=True)
    w.cleanups.append(p.kill)
    equal(p.stdout.readline(), "sending\n", "sender")
    return p


def esp_or_nothing(w):
    c = w.wire()
    check(c["others"] == 0, "wire: %s" % c)
    return c


@test
def the_watch_sees_the_same_datagrams_without_policies(w):
    w.expect_clear = True
    send("alpha", v4("beta"))
    send("alpha", v6("beta"))
    c = w.wire()
    check(c["others"] >= 100, "wire: %s" % c)


@test
def a_listen_port_in_use_ends_the_agent_with_its_policies_in_place(w):
    w.expect_clear = True  # beta has no agent
    for n, (address, peer) in enumerate(((v4, {}), (v6, {}), (v4, {"encap": "tunnel"}), (v4, {"udp": True}))):
        w.watch = Flow("wire", "watch", "any", PORT).ready()
        take = take_port(w, "alpha", address("alpha"), PORT)
        a = w.agent("alpha", dict({"name": "beta", "address": address("beta")}, **peer), address=address)
        a.start(ready=False)
        equal(a.wait_exit(), 7, "exit status, case %d" % n)
        has(a.log(), "in use")
        a.process = None
        check(len(w.policies("alpha")) >= 4, "policies: %s" % w.policies("alpha"))
        send("alpha", address("beta"))
        esp_or_nothing(w)
        take.kill()
        take.wait()
        w.agents.clear()
        sh(SAPAIR, "clean", host="alpha")


@test
def an_identity_that_cannot_be_read_leaves_the_policies_in_place(w):
    a = w.agent("alpha", "beta")
    with open(w.path("empty.key"), "w"):
        pass
    os.chmod(w.path("empty.key"), 0o600)
    a.config["key"] = w.path("empty.key")
    a.start(ready=False)
    check(a.wait_exit() != 0, "started")
    a.process = None
    w.agents.clear()
    check(len(w.policies("alpha")) >= 4, "policies: %s" % w.policies("alpha"))
    send("alpha", v4("beta"))
    esp_or_nothing(w)


@test
def an_encapsulation_port_in_use_leaves_the_policies_in_place(w):
    taken = take_port(w, "alpha", v4("alpha"), 4500, "SOCK_DGRAM")
    a = w.agent("alpha", {"name": "beta", "address": v4("beta"), "udp": True}).start()
    b = w.agent("beta", {"name": "alpha", "address": v4("alpha"), "udp": True}).start()
    e = a.wait_error("beta", "os", "UDP port 4500")
    has(e["hint"], "esp_port")
    send("alpha", v4("beta"))
    send("beta", v4("alpha"))
    taken.kill()
    taken.wait()
    wait_paired(a, b)
    esp_or_nothing(w)


@test
def plan_closes_the_peers_of_peers_d_too(w):
    a = w.agent("alpha")
    a.config["peers"] = []
    a.write_config()
    os.mkdir(w.path("peers.d"))
    with open(w.path("peers.d/beta.json"), "w") as f:
        json.dump({"name": "beta", "address": v4("beta")}, f)
    os.chmod(w.path("peers.d/beta.json"), 0o600)
    sh(SAPAIR, "plan", "--apply", a.config_path, host="alpha")
    w.agents.clear()
    check(len(w.policies("alpha")) >= 4, "policies: %s" % w.policies("alpha"))
    send("alpha", v4("beta"))
    esp_or_nothing(w)


def with_senders(w, address=v4, **more):
    peer = lambda name: dict({"name": name, "address": address(name)}, **more)
    a, b = w.agent("alpha", peer("beta"), address=address), w.agent("beta", peer("alpha"), address=address)
    a.start()
    b.start()
    wait_paired(a, b)
    senders = [keep_sending(w, "alpha", address("beta")), keep_sending(w, "beta", address("alpha"))]
    return a, b, senders


def reload_all(agents, **members):
    for x in agents:
        x.config["peers"][0].update(members)
        x.write_config()
        expect_exit(x.cli("reload"))


@test
def a_pair_that_is_taken_down_is_seen_by_the_watch(w):
    w.expect_clear = True
    a, b, _ = with_senders(w)
    for x, peer in ((a, "beta"), (b, "alpha")):
        expect_exit(x.cli("down", peer))
    time.sleep(0.2)
    c = w.wire()
    check(c["others"] > 20, "wire: %s" % c)


@test
def a_reload_that_changes_the_policy_never_opens_it(w):
    for address in (v4, v6):
        w.watch = Flow("wire", "watch", "any", PORT).ready()
        a, b, senders = with_senders(w, address)
        for members in ({"exempt": ["icmp", "tcp/22"]}, {"exempt": ["tcp/22", "tcp/23", "icmp"]},
                        {"encap": "tunnel"}, {"protect": ["udp/9", "tcp/80"]}, {"udp": True},
                        {"protect": ["all"], "encap": "transport", "exempt": []}, {"role": "listen"}):
            reload_all((a, b) if "role" not in members else (a,), **members)
            if address is v6 or "role" in members:
                continue  # a change each, without waiting
            wait_paired(a, b)
        wait_paired(a, b)
        for x in (a, b):
            equal({d["change"] for d in plan(x)}, {"keep"}, "policies of %s" % x.name)
        for p in senders:
            p.kill()
            p.wait()
        c = esp_or_nothing(w)
        check(c["esp"] + c["esp_udp"] > 500, "wire: %s" % c)
        for x in (a, b):
            x.stop()
            sh(SAPAIR, "clean", host=x.name)
        w.agents.clear()


def plan(agent):
    p = subprocess.run(inside(agent.name) + [SAPAIR, "plan", agent.config_path, "--json"], capture_output=True, text=True)
    return [json.loads(line) for line in p.stdout.splitlines()]


@test
def a_reload_whose_new_policy_cannot_be_installed_keeps_the_former_one(w):
    a, b, _ = with_senders(w)
    foreign = ["src", v4("alpha"), "dst", v4("beta"), "proto", "tcp", "sport", "23", "dir", "out"]
    sh("ip", "xfrm", "policy", "add", *foreign, "action", "allow", host="alpha")
    before = w.policies("alpha")
    a.config["peers"][0]["exempt"] = ["icmp", "tcp/23"]
    a.write_config()
    equal(expect_exit(a.cli("reload"), 7).doc("reload")["removing"], ["beta"], "peers whose policy stays")
    equal(sorted(x.split("tmpl")[0] for x in w.policies("alpha")), sorted(x.split("tmpl")[0] for x in before),
          "policies")
    sh("ip", "xfrm", "policy", "delete", *foreign, host="alpha")
    reload_all((b,), exempt=["icmp", "tcp/23"])
    wait_paired(a, b)
    esp_or_nothing(w)


if __name__ == "__main__":
    main()
