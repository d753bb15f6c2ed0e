#!/usr/bin/env python3
"""Address families, packet sizes, extended sequence numbers, several hosts."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_paired, wait_single_pair
from harness.identity import identity
from harness.kernel import main
from harness.netns import HOSTS, batch, inside, sh, v4, v6
from harness.program import expect_exit, result_of
from harness.settings import SAPAIR
from harness.tap import check, equal, has, test

FAST = {"rekey": {"min_interval_ms": 0}, "switch_ms": 100, "drain_ms": 300}


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
def ipv6_pairs_with_empty_neighbour_tables(w):
    a = w.agent("alpha", "beta", address=v6).start()
    for _ in range(3):  # neighbour discovery runs while the policy is installed without an SA
        sh("ip", "-6", "neigh", "flush", "dev", "e", host="alpha")
        w.ping("alpha", "beta", address=v6)
    b = w.agent("beta", "alpha", address=v6).start()
    wait_paired(a, b)
    some_traffic(w, address=v6)
    for h in w.hosts:
        sh("ip", "-6", "neigh", "flush", "dev", "e", host=h)
    expect_exit(a.cli("rekey", "beta"))
    w.ping("beta", "alpha", address=v6)
    b.kill()
    b.start()
    wait_paired(a, b)
    some_traffic(w, address=v6)
    w.no_errors(but=("XfrmInTmplMismatch", "XfrmOutNoStates", "XfrmAcquireError"))
    only_esp(w)


def doctor(w, agent, *statuses):
    r = agent.run("doctor", "--config", agent.config_path, "--json")
    check(r.rc in statuses, "exit status %d, wanted one of %s: %s" % (r.rc, statuses, r))
    d = r.doc("doctor")
    return {(c["check"], c.get("peer", "")): (c["state"], c["text"], c.get("hint", "")) for c in d["checks"]}


@test
def doctor_does_not_judge_a_path_that_our_policy_closes(w):
    # TCP 4510 passes to beta, ESP does not.
    sh("tc", "qdisc", "add", "dev", "e", "ingress", host="beta")
    sh("tc", "filter", "add", "dev", "e", "ingress", "protocol", "ip", "u32", "match", "ip", "protocol", "50", "0xff",
       "action", "drop", host="beta")
    a = w.agent("alpha", "beta").start()
    b = w.agent("beta", "alpha").start()
    expect_exit(a.cli("up", "beta", "--timeout", "12"), 8)
    got = doctor(w, a, 8)
    equal((got["pair", "beta"][0], got["way", "beta"][0]), ("fail", "ok"), "with a link: %s" % got)
    # Without an agent, its policies are still there: a connection of the doctor would not get through.
    sh("tc", "qdisc", "del", "dev", "e", "ingress", host="beta")
    a.kill()
    got = doctor(w, a, 0)
    equal(got["way", "beta"][0], "warn", "after a crash: %s" % got)
    check("not tried" in got["way", "beta"][1] and "start the agent" in got["way", "beta"][2], got)
    a.start()
    wait_paired(a, b)


@test
def an_address_in_a_vrf_is_named_and_ip_vrf_exec_pairs(w):
    sh("ip", "link", "add", "blue", "type", "vrf", "table", "10", host="alpha")
    sh("ip", "link", "set", "blue", "up", host="alpha")
    sh("ip", "link", "set", "e", "master", "blue", host="alpha")
    a = w.agent("alpha", "beta")
    b = w.agent("beta", "alpha").start()
    a.write_config()
    p = result_of(subprocess.run(inside("alpha") + [SAPAIR, "run", "--config", a.config_path], capture_output=True,
                                 stdin=subprocess.DEVNULL, timeout=30))
    has(expect_exit(p, 7).err, "the interface e is in ")
    has(p.err, "ip vrf exec")
    got = doctor(w, a, 2)["addresses", ""]
    check(got[0] == "fail" and "VRF" in got[1] and "ip vrf exec" in got[2], "doctor: %s" % (got,))
    a.prefix = a.prefix + ["sh", "-c", "mount -t cgroup2 c /sys/fs/cgroup; exec ip vrf exec blue \"$@\"", "sh"]
    a.start()
    wait_paired(a, b)
    # 8: whether the pair is protected cannot be judged by the routes of the VRF yet.
    equal(doctor(w, a, 0, 8)["addresses", ""][0], "ok", "inside of the VRF")


@test
def extended_numbers_go_beyond_32_bits(w):
    a, b = w.pair(both=FAST)
    p = a.peer("beta")
    esn(w, "alpha", v4("beta"), v4("alpha"), p["out"]["spi"], 1, out=0xFFFFFF80)
    esn(w, "beta", v4("beta"), v4("alpha"), p["out"]["spi"], 32, seen=0xFFFFFF00)
    some_traffic(w)
    text = sh("ip", "xfrm", "state", host="alpha")
    check("oseq-hi 0x1" in text, "the number did not pass 2^32")
    w.no_errors()
    # Control: without the upper half the same numbers are refused.
    esn(w, "beta", v4("beta"), v4("alpha"), p["out"]["spi"], 32, seen=0x1000, high=5)
    u = w.udp(rate=300)
    time.sleep(0.3)
    u.over()
    check(u.lost[0] > 0, "numbers of the wrong upper half were taken")


def esn(w, host, dst, src, spi, words, out=0, seen=0, high=0):
    """Sets the sequence numbers of an SA by netlink, which `ip` cannot."""
    code = """
import socket, struct
dst, src, spi, words, out, seen, high = %r
body = struct.pack("=16s4sHBx16sII", socket.inet_aton(dst), bytes.fromhex(spi), socket.AF_INET, 50,
                   socket.inet_aton(src), 0, 0)
value = struct.pack("=6I", words, out, seen, 0, high, words * 32 if words > 1 else 1) + b"\\0" * (4 * words)
if words > 1:
    value = value[:20] + struct.pack("=I", 1024) + value[24:]
body += struct.pack("=HH", 4 + len(value), 23) + value
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 6)
s.send(struct.pack("=IHHII", 16 + len(body), 0x1e, 0x105, 1, 0) + body)
error = struct.unpack("=i", s.recv(4096)[16:20])[0]
assert error == 0, error
""" % ((dst, src, spi, words, out, seen, high),)
    sh(sys.executable, "-c", code, host=host)


@test
def full_size_segments_and_large_datagrams_pass(w):
    w.pair(both=FAST)
    t = w.tcp(rate=0)
    time.sleep(1.5)
    n = t.whole()
    check(n > 200000, "only %d bytes" % n)
    mss = [e.result["mss"] for e in t.ends]
    check(all(1390 <= m <= 1426 for m in mss), "segments of %s bytes" % mss)
    large(w, 8000)
    w.no_errors()
    only_esp(w)


def large(w, size):
    """A datagram of that size arrives complete."""
    receive = subprocess.Popen(
        inside("beta") + [sys.executable, "-c", "import socket; s = socket.socket(socket.AF_INET, "
                          "socket.SOCK_DGRAM); s.bind(('%s', 7009)); s.settimeout(5); print('ready', "
                          "flush=True); print(len(s.recv(65536)))" % v4("beta")],
        stdout=subprocess.PIPE, text=True,
    )
    equal(receive.stdout.readline(), "ready\n", "receiver")
    sh(sys.executable, "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
       ".sendto(b'x' * %d, ('%s', 7009))" % (size, v4("beta")), host="alpha")
    equal(receive.communicate()[0], "%d\n" % size, "bytes of the large datagram")


@test
def a_small_mtu_on_the_path_is_discovered(w):
    # alpha -- gamma -- beta; the MTU of the second link is 1300
    sh("ip", "netns", "add", "gamma")
    w.made.append("gamma")
    for h, n in (("alpha", 1), ("beta", 2)):
        batch(["link add name r type veth peer name r%d netns gamma" % n], h)
        batch(["link set r mtu %d up" % (1500 if n == 1 else 1300), "address add 10.8.%d.1/24 dev r" % n,
               "route add 10.8.%d.0/24 via 10.8.%d.254" % (3 - n, n)], h)
        batch(["link set r%d mtu %d up" % (n, 1500 if n == 1 else 1300),
               "address add 10.8.%d.254/24 dev r%d" % (n, n)], "gamma")
    sh("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward", host="gamma")
    where = lambda h: "10.8.%d.1" % HOSTS[h]  # noqa: E731
    id = {h: identity(h, where(h)) for h in w.hosts}
    agents = []
    for h, o in (("alpha", "beta"), ("beta", "alpha")):
        agents.append(w.agent(h, {"name": o, "address": where(o)}, listen=[where(h)],
                              certificate=id[h].cert, key=id[h].key).start())
    wait_paired(*agents)
    t = w.tcp(rate=0, address=where)
    time.sleep(1.5)
    n = t.whole()
    check(n > 200000, "only %d bytes passed the narrow link" % n)
    check(t.ends[1].result["mss"] < 1300, "alpha's segments: %s" % t.ends[1].result)


@test
def three_hosts_form_a_full_mesh(w):
    w.add_host("gamma")
    w.hosts = ("alpha", "beta", "gamma")
    agents = {}
    for h in w.hosts:
        agents[h] = w.agent(h, *[dict({"name": o, "address": v4(o)}, **FAST) for o in w.hosts if o != h])
        agents[h].start()
    pairs = (("alpha", "beta"), ("beta", "gamma"), ("gamma", "alpha"))
    for x, y in pairs:
        wait_paired(agents[x], agents[y])
    flows = [w.udp(x, y, rate=200, port=7100 + i) for i, (x, y) in enumerate(pairs)]
    for h in w.hosts:
        expect_exit(agents[h].cli("rekey", "--all"))
    agents["beta"].kill()
    agents["beta"].start()
    for x, y in pairs:
        wait_paired(agents[x], agents[y])
        wait_single_pair(agents[x], agents[y])
    for f in flows:
        f.no_loss()
    expect_exit(agents["alpha"].cli("down", "--all"))
    wait_paired(agents["beta"], agents["gamma"])
    w.at_rest("gamma")
    equal(w.states("alpha"), [], "SAs of alpha")


if __name__ == "__main__":
    main()
