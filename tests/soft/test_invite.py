#!/usr/bin/env python3
"""Pairing by a token, which is valid once, for one guess, for one key and for a limited time."""

import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import Agent
from harness.identity import identity
from harness.lab import Lab
from harness.program import expect_exit, result_of, run_sapair
from harness.settings import ALPHA, BETA, LIMIT, SAPAIR
from harness.tap import Failure, check, equal, has, main, test, until


class Inviter:
    """`sapair invite` in the background; its token."""

    def __init__(self, lab, name="beta", *flags, folder="a", port=None):
        self.port = port or lab.free_port()
        self.dir = os.path.join(lab.dir, folder)
        self.process = subprocess.Popen(
            [SAPAIR, "invite", name, "--json", "--dir", self.dir, "--port", str(lab.port),
             "--listen", "%s:%d" % (ALPHA, self.port), "--control", os.path.join(lab.dir, "alpha.sock"),
             *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lab.cleanups.append(self.end)
        line = self.process.stdout.readline()
        if not line:
            raise Failure("no token: %s" % self.process.stderr.read())
        self.doc = json.loads(line)
        self.token = self.doc["token"]

    def wait(self, rc):
        out, err = self.process.communicate(timeout=LIMIT)
        r = result_of(subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err))
        return expect_exit(r, rc)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def join(lab, token, *flags, rc=0, folder="b", **kw):
    return expect_exit(run_sapair("join", token, "--json", "--dir", os.path.join(lab.dir, folder), "--local", BETA,
                     "--port", str(lab.port), "--control", os.path.join(lab.dir, "beta.sock"), *flags,
                     **kw), rc)


def peer_file(lab, folder, name):
    return os.path.join(lab.dir, folder, "peers.d", name + ".json")


def pin(lab, folder):
    return expect_exit(run_sapair("id", "show", "--pin", "--dir", os.path.join(lab.dir, folder))).out.strip()


@test
def a_token_gives_both_hosts_pins_and_they_pair(lab):
    inviter = Inviter(lab)
    joined = join(lab, inviter.token, "--name", "alpha").doc("paired")
    invited = inviter.wait(0).doc("paired")
    equal(joined["pin"], pin(lab, "a"), "the pin that the joiner holds")
    equal(invited["pin"], pin(lab, "b"), "the pin that the inviter holds")
    equal(invited["address"], "%s:%d" % (BETA, lab.port), "the joiner's address")
    equal(joined["address"], "%s:%d" % (ALPHA, lab.port), "the inviter's address")
    for folder, name in (("a", "beta"), ("b", "alpha")):
        equal(os.stat(peer_file(lab, folder, name)).st_mode & 0o777, 0o600, "mode of the peer's file")
    # The written files are enough for the agents: pins, no CA.
    for name, folder, address in (("alpha", "a", ALPHA), ("beta", "b", BETA)):
        path = os.path.join(lab.dir, folder, "sapair.json")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            json.dump({"listen": "%s:%d" % (address, lab.port), "backend": "soft"}, f)
        lab.add(Agent(lab, name, address, None, ["--config", path])).start()
    lab.agents[0].wait_up("beta")
    lab.agents[1].wait_up("alpha")


@test
def running_agents_learn_of_the_new_peer_at_once(lab):
    for folder, name, address in (("a", "alpha", ALPHA), ("b", "beta", BETA)):
        expect_exit(run_sapair("id", "new", "--name", name, "--address", address, "--dir",
                  os.path.join(lab.dir, folder)))
        path = os.path.join(lab.dir, folder, "sapair.json")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            json.dump({"listen": "%s:%d" % (address, lab.port), "backend": "soft"}, f)
        lab.add(Agent(lab, name, address, None, ["--config", path])).start()
    inviter = Inviter(lab)
    equal(join(lab, inviter.token).doc("paired")["reloaded"], True, "the joiner's agent")
    equal(inviter.wait(0).doc("paired")["reloaded"], True, "the inviter's agent")
    a, b = lab.agents[:2]
    a.wait_up("beta")
    b.wait_up("alpha")
    equal(expect_exit(run_sapair("check", os.path.join(lab.dir, "a", "sapair.json"), "--json")).doc("check")["peers"],
          1, "peers that check sees")


@test
def with_run_both_become_agents(lab):
    for folder, address in (("a", ALPHA), ("b", BETA)):
        os.mkdir(lab.path(folder), 0o700)
        lab.write(folder + "/sapair.json", json.dumps(
            {"listen": "%s:%d" % (address, lab.port), "backend": "soft"}))
    inviter = Inviter(lab, "beta", "--run")
    joiner = subprocess.Popen(
        [SAPAIR, "join", inviter.token, "--json", "--dir", lab.path("b"), "--name", "alpha", "--local", BETA,
         "--control", lab.path("beta.sock"), "--run"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lab.cleanups.append(joiner.kill)
    until(lambda: os.path.exists(lab.path("beta.sock")), "beta runs")
    up = expect_exit(run_sapair("up", "alpha", "--json", "--control", lab.path("beta.sock"))).doc("up")
    equal(up["verified"], True, "verified")
    for process, name in ((joiner, "beta"), (inviter.process, "alpha")):
        expect_exit(run_sapair("stop", "--control", lab.path(name + ".sock")))
        out, err = process.communicate(timeout=LIMIT)
        equal(process.returncode, 0, "exit of %s: %s%s" % (name, out, err))
        has(out.decode(), '"schema":"sapair.paired/1"')
    expect_exit(run_sapair("run", "--dir", lab.path("b"), "--config", "x"), 2)


@test
def a_token_works_once(lab):
    inviter = Inviter(lab)
    join(lab, inviter.token)
    inviter.wait(0)
    again = join(lab, inviter.token, "--force", rc=4, folder="c").doc("error")
    has(again["hint"], "may have been used")
    check(not os.path.exists(peer_file(lab, "c", "alpha")), "a second joiner holds a pin")


@test
def a_token_expires_on_both_ends(lab):
    inviter = Inviter(lab, "beta", "--ttl", "1s")
    has(inviter.wait(4).doc("error")["cause"], "expired")
    check(not os.path.exists(peer_file(lab, "a", "beta")), "a pin was written although no host joined")
    until(lambda: time.time() > end_of_invitation(inviter), "its end")
    has(join(lab, inviter.token, rc=5).doc("error")["cause"], "the token expired at")


def end_of_invitation(inviter):
    return int(inviter.token.split("/")[1][96:112], 16) + 1


def forged(token, secret=None, pin=None, at=None):
    """A changed token with a correct checksum."""
    import hashlib

    where, raw = token.split("/")
    raw = bytearray(bytes.fromhex(raw)[:-4])
    if pin:
        raw[:32] = bytes.fromhex(pin.split(":")[1])
    if secret:
        raw[32:48] = secret
    where = at or where
    check_ = hashlib.sha256(b"sapair token 1\0" + where.encode() + raw).digest()[:4]
    return where + "/" + (raw + check_).hex()


@test
def a_token_allows_one_guess(lab):
    inviter = Inviter(lab)
    e = join(lab, forged(inviter.token, secret=b"0123456789abcdef"), rc=5).doc("error")
    has(e["cause"], "without a welcome")
    lost = inviter.wait(5).doc("error")
    has(lost["cause"], "did not prove that it knows the token")
    has(lost["hint"], "one wrong proof")
    join(lab, inviter.token, rc=4)  # the correct token comes too late
    for folder, name in (("a", "beta"), ("b", "alpha")):
        check(not os.path.exists(peer_file(lab, folder, name)), "%s holds a pin" % folder)


@test
def a_token_for_another_key_is_refused(lab):
    real, other = Inviter(lab), Inviter(lab, "beta", folder="x")
    # Another host answers at the address of the token: it must not get the proof.
    wrong = forged(real.token, at="%s:%d" % (ALPHA, other.port))
    has(join(lab, wrong, rc=5).doc("error")["cause"], "is not that of the token")
    check(other.process.poll() is None, "the other inviter saw a guess")
    join(lab, real.token)
    real.wait(0)


@test
def unauthenticated_clients_that_do_not_guess_leave_the_invitation_open(lab):
    inviter = Inviter(lab)
    for data in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05hello"):
        with socket.create_connection((ALPHA, inviter.port)) as s:
            s.sendall(data)
    held = [socket.create_connection((ALPHA, inviter.port)) for _ in range(12)]
    # TLS with a certificate, then invalid data.
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    c.set_alpn_protocols(["sapair-join/1"])
    c.load_cert_chain(identity("gamma").cert, identity("gamma").key)
    for body in (b"{}", b"[" * 500, b'{"type":"join","name":"x","port":1}'):
        with c.wrap_socket(socket.create_connection((ALPHA, inviter.port))) as s:
            s.sendall(struct.pack(">I", len(body)) + body)
            try:
                equal(s.recv(100), b"", "data sent to an unauthenticated client")
            except (ssl.SSLError, ConnectionError):
                pass
    join(lab, inviter.token)
    inviter.wait(0)
    for s in held:
        s.close()


@test
def agent_ports_and_invitation_ports_refuse_each_others_clients(lab):
    a, _ = lab.pair()
    inviter = Inviter(lab)
    at = "%s:%d" % (ALPHA, lab.port)
    r = run_sapair("join", forged(inviter.token, pin=identity("alpha").pin, at=at), "--json", "--dir",
             os.path.join(lab.dir, "b"), "--local", BETA, "--timeout", "5")
    check(r.rc in (5, 6), "join at an agent: %s" % r)
    a.wait_up("beta")


@test
def errors_of_invite_and_join_are_reported(lab):
    inviter = Inviter(lab)
    where, raw = inviter.token.split("/")
    for bad in (inviter.token[:-1], inviter.token[:-1] + ("0" if raw[-1] != "0" else "1"), "nonsense",
                where, "/" + raw, ""):
        check(run_sapair("join", bad, "--dir", os.path.join(lab.dir, "b")).rc == 2, "join %r" % bad)
    has(join(lab, inviter.token, "--name", "../x", rc=2).doc("error")["cause"], "a name consists of")
    has(expect_exit(run_sapair("join", inviter.token, "--dir", inviter.dir), 2).err, "on this host")
    has(expect_exit(run_sapair("invite", "beta", "--dir", os.path.join(lab.dir, "n")), 2).err, "which address")
    join(lab, inviter.token)
    inviter.wait(0)
    has(expect_exit(run_sapair("invite", "beta", "--address", ALPHA, "--dir", inviter.dir), 2).err,
        "is already paired")
    # The inviter does not choose which peer --force replaces.
    (name,) = os.listdir(lab.path("b/peers.d"))
    path, name = lab.path("b/peers.d/" + name), name[:-len(".json")]
    with open(path, "a") as f:
        f.write("\n")
    before = os.stat(path).st_size
    for flags, rc in ((["--force"], 2), (["--force", "--name", name], 0)):
        inviter = Inviter(lab, "beta", "--force")
        r = join(lab, inviter.token, *flags, rc=rc)
        equal(os.stat(path).st_size == before, rc != 0, "the file of the peer is unchanged")
        if rc:
            has(r.doc("error")["hint"], "the other host chose this name", "hint")
            inviter.end()
    r = run_sapair("invite", "gamma", "--listen", "%s:%d" % (ALPHA, lab.port), "--dir", inviter.dir,
             "--ttl", "1s", "--json")
    equal(r.rc, 4, "an invitation without a joiner")


@test
def a_token_is_found_in_what_people_paste(lab):
    def from_stdin(text, folder):
        return result_of(subprocess.run(
            [SAPAIR, "join", "-", "--json", "--dir", os.path.join(lab.dir, folder), "--local", BETA],
            input=text, capture_output=True, timeout=30))

    line = "sapair join %s"
    for i, form in enumerate((
            lambda t: t.encode() + b"\n", lambda t: t.encode(), lambda t: (line % t).encode() + b"\r\n",
            lambda t: b"\n  $ sudo /usr/bin/" + (line % t).encode() + b" --name a/b\n",
            lambda t: json.dumps({"schema": "sapair.invite/1", "token": t}).encode(),
            lambda t: b"\xff\xfe" + (line % t + "\r\n").encode("utf-16-le"))):
        late = Inviter(lab, "d%d" % i)
        expect_exit(from_stdin(form(late.token), "d%d" % i))
        late.wait(0)
    late = Inviter(lab, "argument")
    join(lab, line % late.token, folder="argument")
    late.wait(0)
    late = Inviter(lab, "wrong")
    for text in (b"", b"\n \n", b"sapair join\n", b"sapair join " + late.token[:-2].encode() + b"\n", b"x" * 5000):
        expect_exit(from_stdin(text, "w"), 2)
    has(from_stdin(b"", "w").doc("error")["cause"], "no token on stdin")
    has(from_stdin(b"sapair join\n", "w").doc("error")["cause"], "not a token")


if __name__ == "__main__":
    main(Lab)
