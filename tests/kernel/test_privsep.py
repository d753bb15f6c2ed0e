#!/usr/bin/env python3
"""The privileged helper: the requests that it refuses, and the death of either process."""

import contextlib
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import same_pair, wait_paired, wait_single_pair
from harness.control import Control
from harness.kernel import PORT, main
from harness.netns import inside, sh, v4, v6
from harness.program import expect_exit
from harness.settings import SAPAIR
from harness.tap import Skip, check, equal, has, test, until

DRAIN = {"switch_ms": 200, "drain_ms": 500}
LEN = 768
READY, ADD, CHANGE, DROP, RESERVE, INSTALL, ACTIVATE, REMOVE, QUERY, RECOVER, EXEMPT, RELOAD, REQUIRE, EVENT = range(1, 15)
IN, OUT, BOTH = 1, 2, 3
PERM, BUG, OS = 9, 1, 7  # classes, by their place in proto/base/err.h
AES256GCM16, AES128GCM16 = 0, 1


def packed(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    b = socket.inet_pton(family, address)
    return bytes([len(b)]) + b.ljust(16, b"\0")


def add(peer="beta", local=v4("alpha"), remote=v4("beta"), port=PORT, peer_port=PORT, esp=PORT, peer_esp=PORT,
        mode=0, encap=0, start=0, udp=0, protect=("all",), exempt=("icmp",)):
    """The body of a request for a policy."""
    rows = zip(protect + ("",) * (8 - len(protect)), exempt + ("",) * (8 - len(exempt)))
    texts = b"".join(t.encode().ljust(32, b"\0") for row in rows for t in row)
    return (
        peer.encode().ljust(65, b"\0") + packed(local) + packed(remote)
        + struct.pack("=4H3I3B", port, peer_port, esp, peer_esp, mode, encap, start, udp, len(protect), len(exempt))
        + texts
    )


def keys(spi, suite=AES256GCM16, esn=1, lifetime=5400, window=1024, limits=(0, 0, 0, 0), key=b"k" * 36):
    return struct.pack("=IIBIIQ4QB", spi, suite, esn, lifetime, window, 7, *limits, len(key)) + key.ljust(64, b"\0")


def sa(ctx, spi, **more):
    return struct.pack("=Q", ctx) + keys(spi, **more)


def pair(ctx, spi, out=5000, **more):
    return sa(ctx, spi, **more) + keys(out, **more)


def spis_of(w, host="alpha"):
    """The SPIs of its SAs, and those in its policies."""
    found = {"in": set(), "out": set(), "selected": set()}
    for s in w.states(host):
        way = "out" if s.startswith("src %s " % v4(host)) else "in"
        found[way].add(int(s.split("spi ")[1].split()[0].split("(")[0], 16))
    for p in w.policies(host):
        if "dir out" in p and "proto esp" in p:
            found["selected"].add(int(p.split("spi ")[1].split()[0], 16) if "spi " in p else 0)
    return found


class Helper:
    """A helper, with this test in place of the network process."""

    def __init__(self, world, agent):
        self.world, self.host = world, agent.name
        agent.write_config()
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.log = world.path("helper.log")
        words = [SAPAIR, "run", "--config", agent.config_path]
        self.process = subprocess.Popen(
            inside(self.host) + ["bash", "-c", 'trap "" INT TERM HUP; exec -a sapair-helper "$@"', "bash", *words],
            preexec_fn=lambda: os.dup2(theirs.fileno(), 3), pass_fds=(3,), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=open(self.log, "w"))
        theirs.close()
        world.cleanups.append(self.end)
        self.socket.settimeout(20)
        self.seq = 0
        self.code = self.answer()[0]

    def send(self, record, *fds):
        if fds:
            socket.send_fds(self.socket, [record], fds)
        else:
            self.socket.send(record)

    def answer(self):
        record = self.socket.recv(2 * LEN)
        check(len(record) == LEN, "an answer of %d bytes: %s" % (len(record), open(self.log).read()))
        code = record[6]
        policy, ctx, _, spi = struct.unpack("=IQBI", record[12:29])
        return code, {"op": record[1], "policy": policy, "ctx": ctx, "spi": spi}

    def ask(self, op, body=b"", *fds):
        """The class of the error (0: done), and the answer."""
        self.seq += 1
        self.send((struct.pack("=BBI", 2, op, self.seq) + body).ljust(LEN, b"\0"), *fds)
        while True:
            code, rest = self.answer()
            if rest["op"] != EVENT:
                return code, rest

    def done(self, op, body=b"", *fds):
        code, rest = self.ask(op, body, *fds)
        equal(code, 0, "operation %d: %s" % (op, open(self.log).read()))
        return rest

    def refused(self, what, op, body=b"", *fds, code=PERM):
        equal(self.ask(op, body, *fds)[0], code, what)

    def kernel(self):
        return sh("ip", "xfrm", "state", host=self.host), self.world.policies(self.host)

    @contextlib.contextmanager
    def unchanged(self):
        before = self.kernel()
        yield
        equal(self.kernel(), before, "the kernel")

    def end(self):
        self.socket.close()
        self.process.wait(10)


def helper(w, **peer):
    a = w.agent("alpha", dict({"name": "beta", "address": v4("beta")}, **peer))
    w.agents.clear()
    h = Helper(w, a)
    equal(h.code, 0, "ready")
    return h, a


@test
def policies_that_the_config_does_not_have_are_refused(w):
    h, _ = helper(w)
    with h.unchanged():
        for what, body in (
            ("another peer", add(peer="gamma")),
            ("another address", add(remote=v4("gamma"))),
            ("all the world", add(remote="0.0.0.0")),
            ("another own address", add(local=v4("gamma"))),
            ("another family", add(local=v6("alpha"), remote=v6("beta"))),
            ("a policy that lets pass what is in clear", add(mode=1)),
            ("a tunnel", add(encap=1)),
            ("another start", add(start=1)),
            ("UDP", add(udp=1)),
            ("another port", add(port=22)),
            ("another port of the peer", add(peer_port=22)),
            ("nothing protected", add(protect=("tcp/9",))),
            ("one service less", add(exempt=("icmp", "tcp/445"))),
        ):
            h.refused(what, ADD, body)
    h.done(ADD, add())
    equal(len(w.policies("alpha")), 4, "policies")
    h.refused("the same once more", ADD, add(), code=BUG)
    has(open(h.log).read(), "helper: refused: ")


@test
def sas_that_the_config_does_not_have_are_refused(w):
    h, a = helper(w, hard={"time_s": 60, "bytes": 10000000, "packets": 1000},
                  rekey={"time_s": 30, "bytes": 5000000, "packets": 500}, suites=["aes256gcm16"])
    good = dict(lifetime=60, limits=(5000000, 500, 10000000, 1000))
    h.refused("no policy", RESERVE, struct.pack("=I", 1), code=BUG)
    policy = h.done(ADD, add())["policy"]
    got = h.done(RESERVE, struct.pack("=I", policy))
    ctx, spi = got["ctx"], got["spi"]
    check(spi >= 256, "SPI %d" % spi)
    with h.unchanged():
        h.refused("activated first", ACTIVATE, sa(ctx, 5000, **good), code=BUG)
        h.refused("another SPI", INSTALL, pair(ctx, spi + 1, **good))
        h.refused("another suite", INSTALL, pair(ctx, spi, suite=AES128GCM16, key=b"k" * 20, **good))
        h.refused("a longer life", INSTALL, pair(ctx, spi, **dict(good, lifetime=61)))
        h.refused("no end", INSTALL, pair(ctx, spi, **dict(good, lifetime=0)))
        h.refused("a wider window", INSTALL, pair(ctx, spi, window=1025, **good))
        h.refused("no limit", INSTALL, pair(ctx, spi, **dict(good, limits=(0, 0, 0, 0))))
        h.refused("a short key", INSTALL, pair(ctx, spi, key=b"k" * 35, **good), code=BUG)
        h.refused("a reserved SPI", INSTALL, pair(ctx, spi, 255, **good))
        for bit in range(64):
            equal(h.ask(INSTALL, pair(ctx ^ 1 << bit, spi, **good))[0], BUG, "another context, bit %d" % bit)
    h.done(INSTALL, pair(ctx, spi, **good))
    h.refused("a second key", INSTALL, pair(ctx, spi, **good), code=BUG)
    h.refused("an SPI that was not installed", ACTIVATE, sa(ctx, 5001, **good))
    h.refused("a longer life than the other", ACTIVATE, sa(ctx, 5000, **dict(good, lifetime=61)))
    h.done(ACTIVATE, sa(ctx, 5000, **good))
    equal(len(w.states("alpha")), 2, "SAs")
    check(all(v4("alpha") in s and v4("beta") in s for s in w.states("alpha")), "SAs: %s" % w.states("alpha"))
    # The number of pairs is limited to what an agent needs.
    n = 1
    while n < 500 and h.ask(RESERVE, struct.pack("=I", policy))[0] == 0:
        n += 1
    check(66 <= n < 100, "%d pairs" % n)
    h.refused("one pair more", RESERVE, struct.pack("=I", policy))
    a.config["peers"] = []
    a.write_config()
    h.done(REMOVE, struct.pack("=QB", ctx, BOTH))
    h.done(RELOAD)
    h.refused("a peer that the config has no more", RESERVE, struct.pack("=I", policy))
    h.refused("its policy again", ADD, add())
    h.done(DROP, struct.pack("=I", policy))
    equal((w.states("alpha"), w.policies("alpha")), ([], []), "what is left")


@test
def an_installed_outbound_sa_waits_for_its_activation(w):
    h, _ = helper(w)
    number = lambda n: struct.pack("=I", n)
    policy = h.done(ADD, add())["policy"]
    first = h.done(RESERVE, number(policy))
    with h.unchanged():
        h.refused("a longer life of the other", INSTALL,
                  sa(first["ctx"], first["spi"]) + keys(5000, lifetime=86400 * 30))
    h.done(INSTALL, pair(first["ctx"], first["spi"], 5000))
    equal(spis_of(w), {"in": {first["spi"]}, "out": set(), "selected": {0}},
          "policies that name no SPI would use an outbound SA at once")
    h.done(ACTIVATE, sa(first["ctx"], 5000))
    equal(spis_of(w), {"in": {first["spi"]}, "out": {5000}, "selected": {5000}}, "with the first pair")
    new = h.done(RESERVE, number(policy))
    with h.unchanged():
        h.refused("an outbound SPI that is there", INSTALL, pair(new["ctx"], new["spi"], 5000), code=OS)
    h.done(INSTALL, pair(new["ctx"], new["spi"], 6000))
    equal(spis_of(w), {"in": {first["spi"], new["spi"]}, "out": {5000, 6000}, "selected": {5000}},
          "with a new pair")
    h.done(ACTIVATE, sa(new["ctx"], 6000))
    equal(spis_of(w)["selected"], {6000}, "selected")
    # Without an active SA the kernel would use a waiting outbound SA: that one is removed first.
    last = h.done(RESERVE, number(policy))
    h.done(INSTALL, pair(last["ctx"], last["spi"], 7000))
    h.done(REMOVE, struct.pack("=QB", first["ctx"], BOTH))
    h.done(REMOVE, struct.pack("=QB", new["ctx"], BOTH))
    equal(spis_of(w), {"in": {last["spi"]}, "out": set(), "selected": {0}}, "nothing to send on")
    h.done(ACTIVATE, sa(last["ctx"], 7000))
    equal(spis_of(w), {"in": {last["spi"]}, "out": {7000}, "selected": {7000}}, "activated after all")
    h.done(DROP, number(policy))
    equal((w.states("alpha"), w.policies("alpha")), ([], []), "what is left")


@test
def a_reservation_that_ran_out_is_made_up_for(w):
    h, _ = helper(w)
    policy = h.done(ADD, add())["policy"]
    sh("sh", "-c", "echo 1 >/proc/sys/net/core/xfrm_acq_expires", host="alpha")
    got = h.done(RESERVE, struct.pack("=I", policy))
    until(lambda: w.states("alpha") == [], "the kernel has let go of it")
    h.done(INSTALL, pair(got["ctx"], got["spi"]))
    h.done(ACTIVATE, sa(got["ctx"], 5000))
    equal(spis_of(w), {"in": {got["spi"]}, "out": {5000}, "selected": {5000}}, "SAs")
    h.done(DROP, struct.pack("=I", policy))
    equal((w.states("alpha"), w.policies("alpha")), ([], []), "what is left")


@test
def invalid_records_are_refused_and_change_nothing(w):
    h, _ = helper(w)
    r = random.Random(1)
    policy = h.done(ADD, add())["policy"]
    ctx = h.done(RESERVE, struct.pack("=I", policy))["ctx"]
    before = h.kernel()
    for _ in range(300):
        h.send(r.randbytes(LEN))
        equal(h.answer()[0], BUG, "noise")
    for n in (1, 6, LEN - 1, LEN + 1, 3 * LEN):
        h.send(struct.pack("=BBI", 2, RESERVE, 1).ljust(n, b"\0")[:n])
        equal(h.answer()[0], BUG, "%d bytes" % n)
    for op in (0, READY, EVENT, EVENT + 1, 255):
        h.refused("operation %d" % op, op, code=BUG)
    good = struct.pack("=BBI", 2, INSTALL, 9) + pair(ctx, 1000)
    for at in range(0, len(good)):  # any change of one byte gives another SPI
        b = bytearray(good.ljust(LEN, b"\0"))
        b[at] ^= 1 << r.randrange(8)
        h.send(bytes(b))
        check(h.answer()[0] != 0, "byte %d changed" % at)
    equal(h.kernel(), before, "the kernel")
    h.done(REMOVE, struct.pack("=QB", ctx, BOTH))
    h.done(DROP, struct.pack("=I", policy))


@test
def only_tcp_sockets_get_past_ipsec(w):
    h, _ = helper(w)
    four, six = socket.AF_INET, socket.AF_INET6
    udp, tcp = socket.socket(four, socket.SOCK_DGRAM), socket.socket(four, socket.SOCK_STREAM)
    local, tcp6 = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), socket.socket(six, socket.SOCK_STREAM)
    for s in (udp, local, tcp6, h.socket):
        h.refused("%s" % s, EXEMPT, b"\0", s.fileno())
    h.refused("no socket", EXEMPT, b"\0")
    h.refused("two sockets, the second one UDP", EXEMPT, b"\0", tcp.fileno(), udp.fileno())
    h.refused("another family", EXEMPT, b"\1", tcp.fileno())
    with open("/dev/null") as f:
        h.refused("a file", EXEMPT, b"\0", f.fileno())
    h.done(EXEMPT, b"\0", tcp.fileno())
    h.done(EXEMPT, b"\1", tcp6.fileno())
    # Descriptors that come with other requests are closed.
    for _ in range(50):
        h.ask(QUERY, struct.pack("=QB", 1 << 40 | 1, IN), tcp.fileno())
    fds = len(os.listdir("/proc/%d/fd" % h.process.pid))
    check(fds < 20, "%d descriptors" % fds)


@test
def the_helper_exits_with_the_agent_and_leaves_all_sas(w):
    h, _ = helper(w)
    policy = h.done(ADD, add())["policy"]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        h.process.send_signal(number)  # sent to a whole terminal or service; the helper ignores them
    got = h.done(RESERVE, struct.pack("=I", policy))
    h.done(INSTALL, pair(got["ctx"], got["spi"]))
    h.done(ACTIVATE, sa(got["ctx"], 5000))
    before = h.kernel()
    h.end()
    equal(h.process.returncode, 0, "exit status of the helper")
    equal(h.kernel(), before, "the kernel")


def gone(pid):
    until(lambda: not os.path.exists("/proc/%d" % pid), "process %d has ended" % pid, 5)


@test
def an_agent_whose_helper_is_killed_reports_it_and_traffic_continues(w):
    a, b = w.pair(both=DRAIN)
    u, t = w.udp(rate=500, least=500), w.tcp()
    time.sleep(0.3)
    os.kill(a.helper(), signal.SIGKILL)
    equal(a.process.wait(10), 7, "exit status of alpha")
    has(a.log(), "the helper process has ended")
    a.process = None
    time.sleep(0.5)
    a.start()
    wait_paired(a, b)
    wait_single_pair(a, b, limit=20)
    for agent in (a, b):
        w.at_rest(agent.name)
    u.no_loss(least=500)
    t.whole(lost=3)


@test
def a_follower_whose_helper_dies_before_it_answers_costs_no_packet(w):
    if shutil.which("strace") is None:
        raise Skip("no strace")
    # In a rekey the helper of the follower sends: reserve, answer; outbound SA, inbound SA, answer;
    # policy, answer. The last one is killed when the kernel has activated the outbound SA.
    for sent in range(2, 8):
        a, b = w.pair(both=dict(DRAIN, rekey={"min_interval_ms": 0}),
                      alpha={"role": "dial"}, beta={"role": "listen"})
        u = w.udp(rate=500, least=500)
        time.sleep(0.2)
        trace = w.path("trace")
        strace = subprocess.Popen(
            ["strace", "-qq", "-p", str(b.helper()), "-e", "trace=sendto", "-e", "signal=none", "-o", trace,
             "-e", "inject=sendto:signal=KILL:when=%d" % sent])
        time.sleep(1)
        a.ask("rekey", peer="beta", verify=False, timeout_ms=2000)
        equal(b.process.wait(10), 7, "exit status of beta, killed at message %d" % sent)
        strace.wait(10)
        b.process = None
        time.sleep(0.5)
        b.start()
        wait_paired(a, b)
        wait_single_pair(a, b, limit=20)
        u.no_loss(least=500)
        for agent in (a, b):
            agent.stop()
            sh(SAPAIR, "clean", host=agent.name)
        w.agents.clear()
        w.flows.clear()


@test
def a_helper_that_is_killed_in_the_middle_of_rekeys_costs_no_packet(w):
    a, b = w.pair(both=dict(DRAIN, verify=False, rekey={"min_interval_ms": 0}))
    u = w.udp(rate=500, least=500)
    for round in range(6):
        victim = (a, b)[round % 2]
        other, name = ((b, "alpha"), (a, "beta"))[round % 2]
        helper_pid = victim.helper()
        with Control(other.control) as c:
            for _ in range(3):
                c.send({"verb": "rekey", "peer": name, "verify": False})
            time.sleep(0.002 * round)
            os.kill(helper_pid, signal.SIGKILL)
        equal(victim.process.wait(10), 7, "exit status of %s" % victim.name)
        victim.process = None
        victim.start()
        until(lambda: same_pair(a.peer("beta"), b.peer("alpha")), "the same pair again")
    u.no_loss(least=500)


@test
def an_agent_that_is_killed_takes_its_helper_with_it(w):
    a, b = w.pair(both=DRAIN)
    helper_pid = a.helper()
    a.kill()
    gone(helper_pid)
    check(len(w.states("alpha")) >= 2 and len(w.policies("alpha")) == 4, "SAs and policies stay")
    a.start()
    wait_paired(a, b)
    helper_pid = a.helper()
    a.stop()
    check(not os.path.exists("/proc/%d" % helper_pid), "the helper outlived its agent's end")


@test
def signals_to_the_process_group_end_both_in_order(w):
    a, b = w.pair(both=DRAIN)
    helper_pid = a.helper()
    os.kill(helper_pid, signal.SIGTERM)
    os.kill(helper_pid, signal.SIGINT)
    a.signal(signal.SIGINT)
    equal(a.process.wait(10), 0, "exit status of alpha")
    a.process = None
    gone(helper_pid)
    has(b.log(), "alpha")


@test
def a_peer_can_be_added_by_the_config_and_by_nothing_else(w):
    a, b = w.pair(both=DRAIN)
    r = a.cli("up", v4("gamma"), json_out=False)
    equal(r.rc, 2, "up of an unknown address: %s" % r)
    has(r.err, "sapair reload")
    w.add_host("gamma")
    c = w.agent("gamma", dict({"name": "alpha", "address": v4("alpha")}, **DRAIN)).start()
    a.config["peers"].append(dict({"name": "gamma", "address": v4("gamma")}, **DRAIN))
    a.write_config()
    expect_exit(a.cli("reload"))
    wait_paired(a, c)
    a.config["peers"][0]["mode"] = "permissive"  # another policy for a configured peer
    a.write_config()
    expect_exit(a.cli("reload"))
    wait_paired(a, b)
    check(any("level use" in p for p in w.policies("alpha")), "policies: %s" % w.policies("alpha"))
    a.config["peers"].pop()
    a.write_config()
    expect_exit(a.cli("reload"))
    check(not any(v4("gamma") in p for p in w.policies("alpha")), "policies: %s" % w.policies("alpha"))
    w.expect_clear = True


if __name__ == "__main__":
    main()
