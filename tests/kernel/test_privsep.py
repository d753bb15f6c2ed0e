#!/usr/bin/env python3
"""The helper that configures the kernel: what it refuses to whom it serves, and what happens when either
of the two processes dies."""

import random
import signal
import socket
import struct
import time

from kernel import *  # noqa: F403

DRAIN = {"switch_ms": 200, "drain_ms": 500}
LEN = 768
READY, ADD, DROP, RESERVE, ADD_IN, ADD_OUT, REMOVE, QUERY, LEFTOVER, EXEMPT, RELOAD, OPEN, ADD_BOTH, \
    EVENT = range(1, 15)
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
    texts = b"".join(t.encode().ljust(32, b"\0") for t in (*protect, *exempt))
    return (
        peer.encode().ljust(65, b"\0") + packed(local) + packed(remote)
        + struct.pack(">4H6B", port, peer_port, esp, peer_esp, mode, encap, start, udp, len(protect), len(exempt))
        + texts
    )


def keys(spi, suite=AES256GCM16, esn=1, lifetime=5400, window=1024, limits=(0, 0, 0, 0), key=b"k" * 36):
    return struct.pack(">IBBIIQ4QB", spi, suite, esn, lifetime, window, 7, *limits, len(key)) + key.ljust(64, b"\0")


def sa(ctx, spi, **more):
    return struct.pack(">Q", ctx) + keys(spi, **more)


def pair(policy, spi, out, **more):
    return struct.pack(">I", policy) + keys(spi, **more) + keys(out, **more)


def spis_of(w, host="alpha"):
    """The SPIs of its SAs, and those that its policies name."""
    found = {"in": set(), "out": set(), "selected": set()}
    for s in w.states(host):
        way = "out" if s.startswith("src %s " % v4(host)) else "in"
        found[way].add(int(s.split("spi ")[1].split()[0].split("(")[0], 16))
    for p in w.policies(host):
        if "dir out" in p and "proto esp" in p:
            found["selected"].add(int(p.split("spi ")[1].split()[0], 16) if "spi " in p else 0)
    return found


class Helper:
    """A helper, and this test in the place of the process that talks to the network."""

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
        policy, ctx, _, spi = struct.unpack(">IQBI", record[12:29])
        return code, {"op": record[1], "policy": policy, "ctx": ctx, "spi": spi}

    def ask(self, op, body=b"", *fds):
        """The class of the error (0: done), and the answer."""
        self.seq += 1
        self.send((struct.pack(">BBI", 1, op, self.seq) + body).ljust(LEN, b"\0"), *fds)
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
    h.refused("no policy", RESERVE, struct.pack(">I", 1), code=BUG)
    policy = h.done(ADD, add())["policy"]
    got = h.done(RESERVE, struct.pack(">I", policy))
    ctx, spi = got["ctx"], got["spi"]
    check(spi >= 256, "SPI %d" % spi)
    with h.unchanged():
        h.refused("outbound first", ADD_OUT, sa(ctx, 5000, **good), code=BUG)
        h.refused("another SPI", ADD_IN, sa(ctx, spi + 1, **good))
        h.refused("another suite", ADD_IN, sa(ctx, spi, suite=AES128GCM16, key=b"k" * 20, **good))
        h.refused("a longer life", ADD_IN, sa(ctx, spi, **dict(good, lifetime=61)))
        h.refused("no end", ADD_IN, sa(ctx, spi, **dict(good, lifetime=0)))
        h.refused("a wider window", ADD_IN, sa(ctx, spi, window=1025, **good))
        h.refused("no limit", ADD_IN, sa(ctx, spi, **dict(good, limits=(0, 0, 0, 0))))
        h.refused("a short key", ADD_IN, sa(ctx, spi, key=b"k" * 35, **good), code=BUG)
        for bit in range(64):
            equal(h.ask(ADD_IN, sa(ctx ^ 1 << bit, spi, **good))[0], BUG, "another context, bit %d" % bit)
    h.done(ADD_IN, sa(ctx, spi, **good))
    h.refused("a second key", ADD_IN, sa(ctx, spi, **good), code=BUG)
    h.refused("a reserved SPI", ADD_OUT, sa(ctx, 255, **good))
    h.done(ADD_OUT, sa(ctx, 5000, **good))
    equal(len(w.states("alpha")), 2, "SAs")
    check(all(v4("alpha") in s and v4("beta") in s for s in w.states("alpha")), "SAs: %s" % w.states("alpha"))
    # As many pairs as an agent needs, not as many as the kernel has memory for.
    n = 1
    while n < 500 and h.ask(RESERVE, struct.pack(">I", policy))[0] == 0:
        n += 1
    check(66 <= n < 100, "%d pairs" % n)
    h.refused("one pair more", RESERVE, struct.pack(">I", policy))
    a.config["peers"] = []
    a.write_config()
    h.done(REMOVE, struct.pack(">QB", ctx, BOTH))
    h.done(RELOAD)
    h.refused("a peer that the config has no more", RESERVE, struct.pack(">I", policy))
    h.refused("its policy again", ADD, add())
    h.done(DROP, struct.pack(">I", policy))
    equal((w.states("alpha"), w.policies("alpha")), ([], []), "what is left")


@test
def two_sas_in_one_request_are_judged_each(w):
    h, _ = helper(w)
    number = lambda n: struct.pack(">I", n)
    policy = h.done(ADD, add())["policy"]
    both = lambda ctx, spi, out, **more: sa(ctx, spi) + keys(out, **more)
    got = h.done(RESERVE, number(policy))
    with h.unchanged():
        h.refused("another SPI than the reserved one", ADD_BOTH, both(got["ctx"], got["spi"] ^ 1, 5000))
        h.refused("a reserved SPI for the other", ADD_BOTH, both(got["ctx"], got["spi"], 255))
        h.refused("a longer life of the other", ADD_BOTH, both(got["ctx"], got["spi"], 5000, lifetime=86400 * 30))
        h.refused("a policy that there is not", OPEN, pair(policy + 1, 4000, 5000), code=BUG)
        h.refused("a pair with a reserved SPI", OPEN, pair(policy, 200, 5000))
        h.refused("a pair whose other SPI is reserved", OPEN, pair(policy, 4000, 200))
        h.refused("a pair that lives for ever", OPEN, pair(policy, 4000, 5000, lifetime=0))
    h.done(ADD_BOTH, both(got["ctx"], got["spi"], 5000))
    h.refused("both a second time", ADD_BOTH, both(got["ctx"], got["spi"], 5001), code=BUG)
    equal(spis_of(w), {"in": {got["spi"]}, "out": {5000}, "selected": {5000}}, "with the first pair")
    # What waits is in the kernel, but not what the policies name; then it is.
    new = h.done(OPEN, pair(policy, 4000, 6000))["ctx"]
    equal(spis_of(w), {"in": {got["spi"], 4000}, "out": {5000, 6000}, "selected": {5000}}, "with a new pair")
    with h.unchanged():
        h.refused("the same SPI again", OPEN, pair(policy, 4000, 6001), code=OS)
        h.refused("an outbound SPI that is there", OPEN, pair(policy, 4001, 6000), code=OS)
        h.refused("another SPI than the one that waits", ADD_OUT, sa(new, 6001), code=BUG)
    h.done(ADD_OUT, sa(new, 6000))
    equal(spis_of(w)["selected"], {6000}, "selected")
    # Without one that may be sent on, what waits would be taken: it goes first.
    h.done(OPEN, pair(policy, 4002, 7000))
    h.done(REMOVE, struct.pack(">QB", got["ctx"], BOTH))
    h.done(REMOVE, struct.pack(">QB", new, BOTH))
    until(lambda: spis_of(w) == {"in": {4002}, "out": set(), "selected": {0}}, "nothing to send on")
    h.done(DROP, number(policy))
    equal((w.states("alpha"), w.policies("alpha")), ([], []), "what is left")


@test
def behind_both_sas_the_next_is_reserved_if_it_may_be(w):
    h, _ = helper(w, **DRAIN)
    policy = struct.pack(">I", h.done(ADD, add())["policy"])
    both = lambda got, out, next=b"\1": sa(got["ctx"], got["spi"]) + keys(out) + next
    one = h.done(RESERVE, policy)
    h.refused("neither a yes nor a no", ADD_BOTH, both(one, 5000, b"\2"), code=BUG)
    h.refused("an outbound SPI that is none", ADD_BOTH, both(one, 255))
    # One that is in the kernel already: what was reserved with it is given back.
    h.done(ADD_OUT, sa(h.done(OPEN, policy + keys(4000) + keys(6000))["ctx"], 6000))
    with h.unchanged():
        other = h.done(RESERVE, policy)
        h.refused("an outbound SPI that is there", ADD_BOTH, both(other, 6000), code=OS)
        h.done(REMOVE, struct.pack(">QB", other["ctx"], BOTH))
        until(lambda: len(w.states("alpha")) == 3, "what had been reserved is gone")
    two = h.done(ADD_BOTH, both(one, 5000))
    equal(spis_of(w)["in"] >= {one["spi"], two["spi"]}, True, "inbound SPIs")
    three = h.done(ADD_BOTH, both(two, 5001))
    check(len({one["ctx"], two["ctx"], three["ctx"]}) == 3, "one context twice: %s" % [one, two, three])
    none = h.done(ADD_BOTH, both(three, 5002, b"\0"))
    equal((none["ctx"], none["spi"]), (0, 0), "what nobody wanted")
    h.done(DROP, policy)
    equal((w.states("alpha"), w.policies("alpha")), ([], []), "what is left")


@test
def where_the_config_allows_no_more_none_is_reserved(w):
    h, _ = helper(w, rekey={"min_interval_ms": 1000}, **DRAIN)
    policy = struct.pack(">I", h.done(ADD, add())["policy"])
    last = h.done(RESERVE, policy)
    for _ in range(200):
        code, rest = h.ask(RESERVE, policy)
        if code != 0:
            break
    equal(code, PERM, "one too many")
    got = h.done(ADD_BOTH, sa(last["ctx"], last["spi"]) + keys(5000) + b"\1")
    equal((got["ctx"], got["spi"]), (0, 0), "the next, where there may be none")
    h.done(DROP, policy)


@test
def the_first_pair_has_no_outbound_sa_before_it_is_asked_for(w):
    h, _ = helper(w)
    policy = h.done(ADD, add())["policy"]
    ctx = h.done(OPEN, pair(policy, 4000, 6000))["ctx"]
    equal(spis_of(w), {"in": {4000}, "out": set(), "selected": {0}}, "before")
    h.done(ADD_OUT, sa(ctx, 6000))
    equal(spis_of(w), {"in": {4000}, "out": {6000}, "selected": {6000}}, "behind")
    h.done(DROP, struct.pack(">I", policy))


@test
def a_reservation_that_ran_out_is_made_up_for(w):
    h, _ = helper(w)
    policy = h.done(ADD, add())["policy"]
    sh("sh", "-c", "echo 1 >/proc/sys/net/core/xfrm_acq_expires", host="alpha")
    one, two = (h.done(RESERVE, struct.pack(">I", policy)) for _ in range(2))
    until(lambda: w.states("alpha") == [], "the kernel has let go of both")
    h.done(ADD_BOTH, sa(one["ctx"], one["spi"]) + keys(5000))
    h.done(ADD_IN, sa(two["ctx"], two["spi"]))
    equal(spis_of(w), {"in": {one["spi"], two["spi"]}, "out": {5000}, "selected": {5000}}, "SAs")
    h.done(DROP, struct.pack(">I", policy))
    equal((w.states("alpha"), w.policies("alpha")), ([], []), "what is left")


@test
def noise_is_refused_and_nothing_happens(w):
    h, _ = helper(w)
    r = random.Random(1)
    policy = h.done(ADD, add())["policy"]
    ctx = h.done(RESERVE, struct.pack(">I", policy))["ctx"]
    before = h.kernel()
    for _ in range(300):
        h.send(r.randbytes(LEN))
        equal(h.answer()[0], BUG, "noise")
    for n in (1, 6, LEN - 1, LEN + 1, 3 * LEN):
        h.send(struct.pack(">BBI", 1, RESERVE, 1).ljust(n, b"\0")[:n])
        equal(h.answer()[0], BUG, "%d bytes" % n)
    for op in (0, READY, EVENT, EVENT + 1, 255):
        h.refused("operation %d" % op, op, code=BUG)
    good = struct.pack(">BBI", 1, ADD_IN, 9) + sa(ctx, 1000)
    for at in range(0, len(good)):  # whatever one byte makes of it, it is for another SPI
        b = bytearray(good.ljust(LEN, b"\0"))
        b[at] ^= 1 << r.randrange(8)
        h.send(bytes(b))
        check(h.answer()[0] != 0, "byte %d changed" % at)
    equal(h.kernel(), before, "the kernel")
    h.done(REMOVE, struct.pack(">QB", ctx, BOTH))
    h.done(DROP, struct.pack(">I", policy))


@test
def requests_of_one_record_are_done_up_to_the_first_that_fails(w):
    h, _ = helper(w)
    policy = h.done(ADD, add())["policy"]
    request = lambda seq, number: (struct.pack(">BBII", 1, RESERVE, seq, number)).ljust(LEN, b"\0")
    h.send(request(50, policy) + request(51, policy) + request(52, 99) + request(53, policy))
    answers = h.socket.recv(32 * LEN)
    got = [(answers[at + 1], answers[at + 5], answers[at + 6]) for at in range(0, len(answers), LEN)]
    equal(got, [(RESERVE, 50, 0), (RESERVE, 51, 0), (RESERVE, 52, BUG)], "answers")
    equal(len(w.states("alpha")), 2, "reserved")
    with h.unchanged():
        h.send(b"".join(request(n, policy) for n in range(17)))
        equal(h.answer()[0], BUG, "more than a record holds")
    h.done(DROP, struct.pack(">I", policy))


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
    # What comes with other requests does not stay open.
    for _ in range(50):
        h.ask(QUERY, struct.pack(">QB", 1 << 40 | 1, IN), tcp.fileno())
    fds = len(os.listdir("/proc/%d/fd" % h.process.pid))
    check(fds < 20, "%d descriptors" % fds)


@test
def the_end_of_the_other_process_ends_the_helper_and_leaves_all(w):
    h, _ = helper(w)
    policy = h.done(ADD, add())["policy"]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        h.process.send_signal(number)  # for the whole terminal or service, not for the helper
    got = h.done(RESERVE, struct.pack(">I", policy))
    h.done(ADD_IN, sa(got["ctx"], got["spi"]))
    h.done(ADD_OUT, sa(got["ctx"], 5000))
    before = h.kernel()
    h.end()
    equal(h.process.returncode, 0, "exit status of the helper")
    equal(h.kernel(), before, "the kernel")


def gone(pid):
    until(lambda: not os.path.exists("/proc/%d" % pid), "process %d has ended" % pid, 5)


@test
def an_agent_whose_helper_is_killed_says_so_and_its_traffic_goes_on(w):
    a, b = w.pair(both=DRAIN)
    u, t = w.udp(rate=500, least=500), w.tcp()
    time.sleep(0.3)
    os.kill(a.helper(), signal.SIGKILL)
    equal(a.process.wait(10), 7, "exit status of alpha")
    has(a.log(), "the helper process has ended")
    a.process = None
    time.sleep(0.5)
    a.start()
    together(a, b)
    quiet(a, b, limit=20)
    for agent in (a, b):
        w.at_rest(agent.name)
    u.no_loss(least=500)
    t.whole(lost=3)


@test
def a_helper_that_is_killed_in_the_middle_of_rekeys_costs_no_packet(w):
    a, b = w.pair(both=dict(DRAIN, verify=False, rekey={"min_interval_ms": 0}))
    u = w.udp(rate=500, least=500)
    for turn in range(6):
        victim = (a, b)[turn % 2]
        other, name = ((b, "alpha"), (a, "beta"))[turn % 2]
        helper_pid = victim.helper()
        with sapairtest.Control(other.control) as c:
            for _ in range(3):
                c.send({"verb": "rekey", "peer": name, "verify": False})
            time.sleep(0.002 * turn)
            os.kill(helper_pid, signal.SIGKILL)
        equal(victim.process.wait(10), 7, "exit status of %s" % victim.name)
        victim.process = None
        victim.start()
        until(lambda: crossed(a.peer("beta"), b.peer("alpha")), "the same pair again")
    u.no_loss(least=500)


@test
def an_agent_that_is_killed_takes_its_helper_with_it(w):
    a, b = w.pair(both=DRAIN)
    helper_pid = a.helper()
    a.kill()
    gone(helper_pid)
    check(len(w.states("alpha")) >= 2 and len(w.policies("alpha")) == 4, "SAs and policies stay")
    a.start()
    together(a, b)
    helper_pid = a.helper()
    a.stop()
    check(not os.path.exists("/proc/%d" % helper_pid), "the helper outlived its agent's end")


@test
def signals_for_the_whole_group_end_both_in_order(w):
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
    well(a.cli("reload"))
    together(a, c)
    a.config["peers"][0]["mode"] = "permissive"  # another policy for a peer that is there
    a.write_config()
    well(a.cli("reload"))
    together(a, b)
    check(any("level use" in p for p in w.policies("alpha")), "policies: %s" % w.policies("alpha"))
    a.config["peers"].pop()
    a.write_config()
    well(a.cli("reload"))
    check(not any(v4("gamma") in p for p in w.policies("alpha")), "policies: %s" % w.policies("alpha"))
    w.expect_clear = True


if __name__ == "__main__":
    main()
