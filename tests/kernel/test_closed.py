#!/usr/bin/env python3
"""Nothing passes unencrypted once the first policy is installed, whatever fails afterwards."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_paired
from harness.kernel import PORT, main
from harness.netns import inside, sh, v4, v6
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


def esp_or_nothing(w):
    c = w.wire()
    check(c["others"] == 0, "wire: %s" % c)


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


if __name__ == "__main__":
    main()
