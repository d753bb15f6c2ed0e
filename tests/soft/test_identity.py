#!/usr/bin/env python3
"""Authentication by certificates, pins and PPKs, as seen from both ends of a link.

An honest pair runs at the same agent beside each unauthenticated client and must not change.
"""

import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import in_force, wait_paired
from harness.hostile import Closed, Listener, connect, connect_tls, hello, ppk_check
from harness.identity import identity
from harness.lab import Lab
from harness.program import expect_exit, run_sapair
from harness.settings import ALPHA, BETA, GAMMA, LIMIT, SLOW
from harness.tap import Skip, check, equal, has, main, test, until

REFUSE = "we refuse the certificate of " + GAMMA


def honest(lab, **gamma):
    """alpha and beta are a pair; gamma is a configured peer of alpha, played by Python."""
    a = lab.agent("alpha", "beta", lab.peer_of("gamma", **gamma))
    b = lab.agent("beta", "alpha")
    a.start()
    b.start()
    wait_paired(a, b)
    return a, b


def nothing_installed(agent):
    p = agent.peer("gamma")
    check("epoch" not in p and "in" not in p and p["held"] == 0, "installed for gamma: %s" % p)
    equal(p["state"], "waiting", "state of gamma")


def in_days(days):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + days * 86400))


def bad_identity(title, text, config, tls, make):
    """The same test in both roles: as TLS client and as TLS server."""

    @test(name=title + " is refused when it calls")
    def calls(lab):
        a, b = honest(lab, role="listen", **config(lab))
        with lab.pair_unchanged(a, b):
            try:
                link = connect_tls(a, lab, make(), **tls)
                link.send(hello())
                got = link.until_closed()
                check(not got, "the agent talked to it: %s" % got)
            except Closed:
                pass
            e = a.wait_error("gamma", "auth", text)
            equal(e["exit"], 5, "exit of the error")
            has(e["cause"], REFUSE)
            check(e.get("hint"), "no next step: %s" % e)
            nothing_installed(a)

    @test(name=title + " is refused when it is called")
    def is_called(lab):
        listener = Listener(lab)
        a, b = honest(lab, role="dial", **config(lab))
        with lab.pair_unchanged(a, b):
            try:
                link = listener.accept(make(), **tls)
                got = link.until_closed()
                check(not got, "the agent talked to it: %s" % got)
            except Closed:
                pass
            e = a.wait_error("gamma", "auth", text)
            has(e["cause"], REFUSE)
            nothing_installed(a)
            r = a.cli_start("up", "gamma", "--timeout", "20")
            end = time.monotonic() + LIMIT
            while r.poll() is None and time.monotonic() < end:
                try:
                    listener.socket.settimeout(0.2)
                    listener.accept(make(), **tls).close()
                except (Closed, OSError):
                    pass
            out, _ = r.communicate(timeout=LIMIT)
            equal(r.returncode, 5, "exit of up: %s" % out)
            has(out.decode(), text)
            nothing_installed(a)


def no_config(_):
    return {}


class Shows:
    """One identity's certificate, another one's CA."""

    def __init__(self, shown, trusts):
        self.cert, self.key, self.pin, self.ca = shown.cert, shown.key, shown.pin, trusts.ca


for title, text, config, tls, make in (
    ("a certificate of another ca", "not signed by a trusted CA", no_config, {},
     lambda: Shows(identity("gamma", by="other-ca"), identity("gamma"))),
    ("an expired certificate", "the certificate has expired", no_config, {},
     lambda: identity("gamma", GAMMA, options=("--not-before", in_days(-20)[:10], "--not-after",
                                              in_days(-10)[:10]))),
    ("a certificate that is not valid yet", "is not valid yet", no_config, {},
     lambda: identity("gamma", GAMMA, options=("--not-before", in_days(10)[:10], "--not-after",
                                              in_days(20)[:10]))),
    ("a key that is not the pinned one", "; the pin here is sha256:1212",
     lambda _: {"pin": "sha256:" + "12" * 32}, {}, lambda: identity("gamma")),
    ("a certificate of another peer", "; needed is the name gamma or the address 127.0.0.3", no_config, {},
     lambda: identity("beta")),
    ("a certificate of another host", "has name mallory, address 127.0.0.66; needed", no_config, {},
     lambda: identity("mallory", "127.0.0.66")),
    ("a name that the config does not have", "; needed is the name charlie (identity)",
     lambda _: {"identity": "charlie"}, {}, lambda: identity("gamma")),
    ("a lab certificate", "it is a lab identity", no_config, {},
     lambda: identity("gamma", GAMMA, options=("--lab",))),
):
    bad_identity(title, text, config, tls, make)


# For clients only: a TLS server always has a certificate.


@test
def a_client_without_a_certificate_is_refused(lab):
    a, b = honest(lab, role="listen")
    with lab.pair_unchanged(a, b):
        try:
            link = connect_tls(a, lab, identity("gamma"), cert=False)
            link.send(hello())
            equal(link.until_closed(), [], "what the agent said")
        except Closed:
            pass
        e = a.wait_error("gamma", "auth", "the peer sent no certificate")
        has(e["hint"], "sapair id new")
        nothing_installed(a)


def bad_tls(title, tls, text):
    @test(name=title + " is refused when it calls")
    def calls(lab):
        a, b = honest(lab, role="listen")
        with lab.pair_unchanged(a, b):
            try:
                link = connect_tls(a, lab, identity("gamma"), **tls)
                link.send(hello())
                equal(link.until_closed(), [], "what the agent said")
            except Closed:
                pass
            e = a.wait_error("gamma", "refused", text)
            equal(e["exit"], 6, "exit of the error")
            nothing_installed(a)

    @test(name=title + " is refused when it is called")
    def is_called(lab):
        listener = Listener(lab)
        a, b = honest(lab, role="dial")
        with lab.pair_unchanged(a, b):
            try:
                equal(listener.accept(identity("gamma"), **tls).until_closed(), [], "messages")
            except Closed:
                pass
            e = a.wait_error("gamma", "refused", text)
            has(e["hint"], "is a sapair agent listening")
            nothing_installed(a)


bad_tls("tls 1.2", {"version": ssl.TLSVersion.TLSv1_2}, "does not speak TLS 1.3")
bad_tls("tls without our protocol name", {"alpn": None}, 'does not speak "sapair/1"')
bad_tls("tls with another protocol name", {"alpn": "h2"}, 'does not speak "sapair/1"')


@test
def connections_without_tls_are_refused(lab):
    a, b = honest(lab, role="listen")
    with lab.pair_unchanged(a, b):
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, secrets.token_bytes(5000),
                     b"\x16\x03\x01\xff\xff" + b"\0" * 70000, b"\x15\x03\x03\0\x02\x02\x28"):
            s = connect(a, lab)
            try:
                s.sendall(data)
                while s.recv(4096):
                    pass
            except ConnectionError:
                pass
            s.close()
        nothing_installed(a)


@test
def a_port_of_another_service_is_reported(lab):
    listener = Listener(lab)
    a, b = honest(lab, role="dial")
    with lab.pair_unchanged(a, b):
        s = listener.accept_plain()
        s.sendall(b"220 mail.example ESMTP\r\n")
        e = a.wait_peer("gamma", "has an error", lambda p: "error" in p)["error"]
        check(e["cause"].startswith("%s:%d" % (GAMMA, lab.port)), e["cause"])
        nothing_installed(a)


# --- whom we are refused by ----------------------------------------------------------------------


@test
def a_peer_that_refuses_us_is_exit_5(lab):
    listener = Listener(lab)
    a, b = honest(lab, role="dial")
    with lab.pair_unchanged(a, b):
        r = a.cli_start("up", "gamma", "--timeout", "20")
        mixed = Shows(identity("gamma"), identity("gamma", by="other-ca"))
        end = time.monotonic() + LIMIT
        while r.poll() is None and time.monotonic() < end:
            try:
                listener.socket.settimeout(0.2)
                listener.accept(mixed).close()
            except (Closed, OSError):
                pass
        out, _ = r.communicate(timeout=LIMIT)
        equal(r.returncode, 5, "exit of up: %s" % out)
        has(out.decode(), "probably refused our certificate")
        nothing_installed(a)


@test
def both_agents_report_a_wrong_ca(lab):
    a = lab.agent("alpha", lab.peer_of("beta", role="dial")).start()
    b = lab.agent("beta", lab.peer_of("alpha", role="listen"),
                  id=identity("beta", by="other-ca")).start()
    a.wait_error("beta", "auth", "we refuse the certificate of %s" % BETA)
    # beta is the TLS server: alpha refuses its certificate and closes before it has sent its own.
    b.wait_peer("alpha", "is not up", lambda p: p["state"] == "waiting")
    refused = a.cli("up", "beta", "--timeout", "10")
    expect_exit(refused, 5)


@test
def a_peer_that_is_authorised_later_pairs_by_itself(lab):
    a = lab.agent("alpha", lab.peer_of("beta", pin="sha256:" + "ab" * 32)).start()
    b = lab.agent("beta", "alpha").start()
    a.wait_error("beta", "auth", "the pin here is")
    a.config["peers"][0]["pin"] = identity("beta").pin
    a.write_config()
    expect_exit(a.cli("reload"))
    wait_paired(a, b)


@test
def an_agent_whose_own_certificate_has_expired_says_so(lab):
    old = identity("alpha", ALPHA, options=("--not-before", in_days(-20)[:10], "--not-after",
                                            in_days(-10)[:10]))
    a = lab.agent("alpha", "beta", id=old).start()
    b = lab.agent("beta", "alpha").start()
    a.wait_log("our certificate has expired")
    b.wait_error("alpha", "auth", "has expired")
    check("epoch" not in a.peer("beta"), "a pair with an expired certificate")


@test
def a_certificate_that_expires_soon_is_reported_at_the_start(lab):
    soon = identity("alpha", ALPHA, options=("--days", "10"))
    a = lab.agent("alpha", "beta", id=soon).start()
    a.wait_log("our certificate expires in")


# --- unauthenticated clients ----------------------------------------------------------------------


@test
def a_connection_from_an_unknown_address_is_closed_at_once(lab):
    a, b = honest(lab, role="listen")
    with lab.pair_unchanged(a, b):
        for _ in range(20):
            start = time.monotonic()
            s = connect(a, lab, source="127.0.0.66")
            try:
                s.sendall(b"\x16\x03\x01")
                equal(s.recv(4096), b"", "what the agent said")
            except ConnectionError:
                pass
            check(time.monotonic() - start < SLOW, "it was kept for a while")
        a.wait_log("no peer has this address")
        # Log lines caused by unauthenticated clients are limited.
        lines = [line for line in a.log().splitlines() if "no peer has this address" in line]
        check(len(lines) <= 12, "%d log lines caused by one client" % len(lines))


def slow_client(title, feed):
    @test(name=title + " is gone in ten seconds")
    def slow(lab):
        a, b = honest(lab, role="listen")
        with lab.pair_unchanged(a, b):
            start = time.monotonic()
            s = connect(a, lab)
            s.settimeout(1)
            end = start + 14 + 3 * SLOW
            data = iter(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100)
            gone = None
            while gone is None and time.monotonic() < end:
                try:
                    if feed:
                        s.sendall(bytes([next(data)]))
                    if s.recv(4096) == b"":
                        gone = time.monotonic() - start
                except (TimeoutError, socket.timeout):
                    pass
                except ConnectionError:
                    gone = time.monotonic() - start
                if gone is None and int(time.monotonic() - start) % 4 == 3:
                    rc, _ = a.ask("verify", peer="beta")
                    equal(rc, 0, "verify of the honest pair meanwhile")
            check(gone is not None, "it is still there after %.1f s" % (time.monotonic() - start))
            check(9 <= gone < 11.5 + SLOW, "gone after %.1f s" % gone)

    return slow


slow_client("a client that sends nothing", False)
slow_client("a client that sends one byte per second", True)


@test
def a_peer_that_sends_no_hello_is_disconnected_in_ten_seconds(lab):
    a, b = honest(lab, role="listen")
    with lab.pair_unchanged(a, b):
        start = time.monotonic()
        link = connect_tls(a, lab, identity("gamma"))
        equal([m["type"] for m in link.until_closed()], ["hello"], "what the agent said")
        check(9 <= time.monotonic() - start < 11.5 + SLOW, "gone after %.1f s" %
              (time.monotonic() - start))
        nothing_installed(a)


@test(alone=True)
def two_hundred_connections_at_once_do_not_block_the_peer(lab):
    # All connections come from beta's address, before and while beta starts.
    a = lab.agent("alpha", "beta", "gamma")
    b = lab.agent("beta", lab.peer_of("alpha", role="dial"))
    c = lab.agent("gamma", "alpha")
    a.config["peers"][0]["role"] = "listen"
    a.start()
    c.start()
    wait_paired(a, c)
    with lab.pair_unchanged(a, c):
        flood = [connect(a, lab, source=BETA) for _ in range(200)]
        for s in flood[::2]:
            try:
                s.sendall(b"\x16\x03\x01\x02\x00\x01")
            except ConnectionError:
                pass
        start = time.monotonic()
        b.start()
        a.wait_up("beta", limit=8 * SLOW)
        print("# paired %.2f s after its start" % (time.monotonic() - start))
        more = [connect(a, lab, source=BETA) for _ in range(200)]
        before = in_force(a.peer("beta"))
        expect_exit(a.cli("verify", "beta"))
        equal(in_force(a.peer("beta")), before, "beta's pair")
        for s in flood + more:
            s.close()


@test
def a_listener_that_only_accepts_times_out_and_is_tried_again(lab):
    listener = Listener(lab)
    a, b = honest(lab, role="dial")
    with lab.pair_unchanged(a, b):
        start = time.monotonic()
        s = listener.accept_plain()
        until(lambda: s.recv(65536) == b"", "the agent gave up", limit=14 * SLOW)
        took = time.monotonic() - start
        check(9 <= took < 11.5 + SLOW, "gave up after %.1f s" % took)
        a.wait_error("gamma", "timeout", "handshake timed out")
        s.close()
        listener.accept_plain()


# --- PPK -----------------------------------------------------------------------------------------


def with_ppks(lab, alpha, beta):
    agents = []
    for name, other, ppk in (("alpha", "beta", alpha), ("beta", "alpha", beta)):
        more = {}
        if ppk:
            more["ppk"] = lab.write(name + ".ppk", ppk + "\n")
        agents.append(lab.agent(name, lab.peer_of(other, **more)).start())
    return agents


@test
def the_same_ppk_on_both_hosts_pairs(lab):
    for digits in (64, 96, 128):
        ppk = secrets.token_hex(digits // 2)
        a, b = with_ppks(lab, ppk, ppk)
        wait_paired(a, b)
        expect_exit(a.cli("rekey", "beta"))
        for agent in (a, b):
            check(ppk not in agent.log(), "the PPK is in a log")
            agent.stop()
        lab.agents.clear()


@test
def different_ppks_are_exit_5_on_both_hosts(lab):
    a, b = with_ppks(lab, secrets.token_hex(32), secrets.token_hex(32))
    for x, y in ((a, "beta"), (b, "alpha")):
        r = x.cli("up", y, "--timeout", "8")
        expect_exit(r, 5)
        has(r.doc("error")["cause"], "PPK")
        check("epoch" not in x.peer(y), "something was installed")


@test
def a_ppk_on_one_host_alone_is_exit_5_on_both(lab):
    a, b = with_ppks(lab, secrets.token_hex(32), None)
    for x, y in ((a, "beta"), (b, "alpha")):
        r = x.cli("up", y, "--timeout", "8")
        expect_exit(r, 5)
        has(r.doc("error")["cause"], "PPK")
        check("epoch" not in x.peer(y), "something was installed")


@test
def an_invalid_ppk_file_is_exit_2(lab):
    a = lab.agent("alpha")
    for text in ("", "xyz", "ab" * 31, "ab" * 65, "AB" * 32):
        ppk = lab.write("ppk", text)
        a.config["peers"] = [lab.peer_of("beta", ppk=ppk)]
        a.write_config()
        for words in (["run", "--config", a.config_path], ["check", a.config_path]):
            r = expect_exit(run_sapair(*words, "--json"), 2)
            has(r.doc("error")["cause"], "64 to 128 lower-case hex digits")


@test
def a_wrong_or_echoed_ppk_proof_is_refused(lab):
    ppk = secrets.token_hex(32)
    path = lab.write("ppk", ppk)
    a, b = honest(lab, role="listen", ppk=path)
    with lab.pair_unchanged(a, b):
        for make in (
            lambda link: None,
            lambda link: "00" * 32,
            lambda link: ppk_check(link.exporter(), bytes.fromhex(ppk), False),  # a reflection of its own
            lambda link: ppk_check(link.exporter(), bytes(32), True),
        ):
            link = connect_tls(a, lab, identity("gamma"))
            h = link.recv("hello")
            equal(h["ppk"], ppk_check(link.exporter(), bytes.fromhex(ppk), False), "its own value")
            link.send(hello(ppk=make(link)))
            end = link.until_closed()
            equal([m.get("reason") for m in end], ["ppk"], "what the agent said")
            a.wait_error("gamma", "auth", "PPK")
            nothing_installed(a)
        link = connect_tls(a, lab, identity("gamma"))
        link.send(hello(ppk=ppk_check(link.exporter(), bytes.fromhex(ppk), True)))
        a.wait_peer("gamma", "has a link", lambda p: p["link"] == "up")


def openssl_leaf(lab, name, *extensions):
    """A certificate as another CA makes it; returns its path. The CA is own-ca.crt of the lab's directory."""
    if not shutil.which("openssl"):
        raise Skip("no openssl: install it")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=lab.dir, check=True, capture_output=True, timeout=LIMIT)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    if not os.path.exists(lab.path("own-ca.crt")):
        openssl("req", "-x509", *key, "-keyout", "own-ca.key", "-out", "own-ca.crt", "-days", "99", "-subj", "/CN=corp",
                "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", *key, "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
    lab.write(name + ".ext", "".join(e + "\n" for e in extensions))
    openssl("x509", "-req", "-in", name + ".csr", "-CA", "own-ca.crt", "-CAkey", "own-ca.key", "-CAcreateserial",
            "-days", "90", "-extfile", name + ".ext", "-out", name + ".crt")
    os.chmod(lab.path(name + ".key"), 0o600)
    return lab.path(name + ".crt")


@test
def an_own_certificate_is_judged_as_peers_judge_it(lab):
    san = "subjectAltName="
    rows = (  # extensions; connects, accepts; words of a reason; role of the peer for which check is silent
        ([san + "URI:sapair:a"], True, True, None, None),
        ([san + "IP:127.0.0.1", "extendedKeyUsage=serverAuth"], False, True, "needs clientAuth", "listen"),
        ([san + "IP:127.0.0.1", "extendedKeyUsage=clientAuth"], True, False, "needs serverAuth", "dial"),
        ([san + "IP:127.0.0.1", "extendedKeyUsage=emailProtection"], False, False, "emailProtection", None),
        ([san + "DNS:a.example"], True, True, "DNS a.example", None),
    )
    for i, (extensions, connects, accepts, reason, role) in enumerate(rows):
        name = "leaf%d" % i
        crt = openssl_leaf(lab, name, *extensions)
        shown = expect_exit(run_sapair("id", "show", crt, "--json")).doc("id")
        equal((shown["connects"], shown["accepts"]), (connects, accepts), extensions)
        check(any(reason in r for r in shown["reasons"]) if reason else not shown["reasons"], shown)
        for peer_role in ("both", "listen", "dial"):
            config = lab.write(name + ".json", json.dumps({
                "backend": "soft", "certificate": crt, "key": lab.path(name + ".key"), "ca": lab.path("own-ca.crt"),
                "peers": [{"name": "b", "address": BETA, "role": peer_role}]}))
            os.chmod(config, 0o600)
            warnings = expect_exit(run_sapair("check", config, "--json")).doc("check")["warnings"]
            silent = not reason or peer_role == role
            check(any(reason in w for w in warnings) if not silent else not warnings,
                  "%s %s: %s" % (extensions, peer_role, warnings))
        doctor = run_sapair("doctor", "--config", config, "--json").doc("doctor")["checks"]
        own = [c for c in doctor if c["check"] == "certificate"]
        check(own[0]["text"].startswith("a" if i == 0 else "CN=leaf"), "an empty name: %s" % own)


@test
def a_certificate_that_no_peer_accepts_is_told_at_the_start(lab):
    crt = openssl_leaf(lab, "alpha", "subjectAltName=DNS:a.example")
    a = lab.agent("alpha", lab.peer_of("beta"), certificate=crt, key=lab.path("alpha.key"),
                  ca=lab.path("own-ca.crt")).start()
    a.wait_log("peers will refuse our certificate unless they have its pin: ")
    has(a.log(), "DNS a.example")


if __name__ == "__main__":
    main(Lab)
