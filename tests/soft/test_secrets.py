#!/usr/bin/env python3
"""Searches the agent's memory for keys after their last use.

gamma is Python and leads exchanges with alpha, so that the test knows every secret of them: both shares,
the exporter value, PRK, tags, SA keys. Secrets that must be present at a time, such as the SA keys of the
current pair, are searched for too, to show that the search works.
"""

import base64
import json
import os
import re
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import Agent
from harness.hostile import Keys, connect_tls, expand, hello, ppk_check
from harness.identity import identity
from harness.lab import Lab
from harness.program import expect_exit, run_sapair
from harness.settings import ALPHA, SAN, SAPAIR
from harness.tap import Skip, check, equal, main, test

NO_LIMIT = {"rekey": {"min_interval_ms": 0}, "drain_ms": 100, "switch_ms": 50}


def memory(agent):
    """All writable memory of the process, including heap and stack."""
    if SAN:
        raise Skip("a sanitizer keeps freed memory")
    found = []
    try:
        with open("/proc/%d/maps" % agent.pid) as maps, open("/proc/%d/mem" % agent.pid, "rb", 0) as mem:
            for line in maps:
                m = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
                if m and "[vvar]" not in line:
                    start, end = int(m.group(1), 16), int(m.group(2), 16)
                    mem.seek(start)
                    found.append((line.split()[-1], mem.read(end - start)))
    except PermissionError:
        raise Skip("needs root to read the memory of an agent")
    return found


def where(agent, secrets):
    """{name: places} of the secrets found in memory: as bytes, reversed, as hex, as base64."""
    found = {}
    areas = memory(agent)
    for name, secret in secrets.items():
        for form, text in (("bytes", secret), ("reversed", secret[::-1]),
                           ("hex", secret.hex().encode()),
                           ("base64", base64.b64encode(secret)[4:28])):
            for area, data in areas:
                # Twelve equal bytes are no coincidence: parts of keys are found too.
                for part in (text[:12], text[-12:]):
                    if part in data:
                        found.setdefault(name, set()).add("%s in %s" % (form, area))
    return {k: sorted(v) for k, v in found.items()}


class Run:
    """An exchange led by gamma, with all its secrets."""

    def __init__(self, link, ppk=b""):
        self.o, self.a, self.confirm = link.lead()
        o, a = self.o, self.a
        leader, follower = link.ids()
        exporter = link.exporter()
        keys = Keys(exporter, leader, follower, o, a, ppk)
        self.secrets = {
            "share of gamma": bytes.fromhex(o["share"]),
            "share of alpha": bytes.fromhex(a["share"]),
            "PRK": keys.prk,
            "tag key": expand(keys.prk, b"sapair/1 tag\0" + keys.info, 32),
            "tag of answer": bytes.fromhex(a["tag"]),
            "tag of confirm": bytes.fromhex(self.confirm["tag"]),
        }
        self.exporter = {"exporter": exporter}
        run = bytes.fromhex(o["xid"]) + struct.pack(">Q", int(o["epoch"]))
        suite = a["suite"].encode()
        for_sa = run + bytes([len(suite)]) + suite + bytes([a["esn"]])
        self.sa = {
            "inbound key": expand(keys.prk, b"sapair/1 sa\0\x01" + for_sa + leader + follower
                                  + bytes.fromhex(a["spi"]), 36),
            "outbound key": expand(keys.prk, b"sapair/1 sa\0\x02" + for_sa + follower + leader
                                   + bytes.fromhex(o["spi"]), 36),
        }

    def finish(self, link):
        link.send(self.confirm)
        equal(link.recv("done")["xid"], self.o["xid"], "xid of done")
        link.send({"type": "ping", "id": "7" * 16})
        link.recv("pong")
        return self


def alpha(lab):
    return lab.agent("alpha", lab.peer_of("gamma", role="listen", **NO_LIMIT)).start()


@test
def secrets_of_an_exchange_are_wiped_at_its_end(lab):
    a = alpha(lab)
    link = connect_tls(a, lab, identity("gamma")).hello()
    run = Run(link)
    check("PRK" in where(a, run.secrets), "the PRK of a running exchange was not found")
    run.finish(link)
    equal(where(a, run.secrets), {}, "after done")
    equal(sorted(where(a, run.sa)), ["inbound key", "outbound key"], "keys of SAs in force")


@test
def keys_of_a_pair_are_wiped_with_its_sas(lab):
    a = alpha(lab)
    link = connect_tls(a, lab, identity("gamma")).hello()
    first = Run(link).finish(link)
    link.hello_got["last"] = first.o["epoch"]
    second = Run(link).finish(link)
    a.wait_peer("gamma", "holds nothing old", lambda p: p["held"] == 0)
    equal(where(a, {**first.sa, **first.secrets, **second.secrets}), {}, "after a rekey")
    equal(a.ask("down", peer="gamma")[0], 0, "exit of down")
    equal(where(a, second.sa), {}, "after down")


@test
def secrets_of_a_failed_exchange_are_wiped(lab):
    a = alpha(lab)
    link = connect_tls(a, lab, identity("gamma")).hello()
    run = Run(link)
    link.send(dict(run.confirm, tag="0" * 64))
    equal(link.recv("reject")["reason"], "tag", "reply")
    equal(where(a, run.secrets), {}, "after a wrong tag")
    link.hello_got["last"] = run.o["epoch"]
    cut = Run(link)
    link.close()
    a.wait_peer("gamma", "has lost its link", lambda p: p["link"] != "up")
    equal(where(a, {**cut.secrets, **cut.exporter}), {}, "after a cut")


@test
def secrets_of_a_link_are_wiped_with_it(lab):
    a = alpha(lab)
    link = connect_tls(a, lab, identity("gamma")).hello()
    run = Run(link).finish(link)
    with open(link.keylog) as f:
        tls = {line.split()[0]: bytes.fromhex(line.split()[2]) for line in f if line[0] != "#"}
    check(where(a, run.exporter), "the exporter value of a link was not found")
    link.close()
    a.wait_peer("gamma", "has lost its link", lambda p: p["link"] != "up")
    equal(where(a, {**run.exporter, **tls}), {}, "after the link")


def private_key(path):
    """The 32 bytes of a P-256 key."""
    der = subprocess.run(["openssl", "ec", "-in", path, "-outform", "DER"], capture_output=True,
                         check=True).stdout
    at = der.index(b"\x04\x20") + 2
    return der[at:at + 32]


@test
def text_of_key_files_is_wiped_and_keys_are_wiped_at_a_reload(lab):
    old = identity("alpha")
    cert, key = lab.path("own.crt"), lab.path("own.key")
    shutil.copy(old.cert, cert)
    shutil.copy(old.key, key)
    ppk = os.urandom(32)
    path = lab.write("ppk", ppk.hex())
    a = lab.agent("alpha", lab.peer_of("gamma", role="listen", ppk=path), certificate=cert, key=key)
    a.start()
    secret = {"private key": private_key(key)}
    with open(key) as f:
        pem = f.read().split("\n")[1][8:40].encode()
    places = where(a, {**secret, "PPK": ppk})
    check("private key" in places and "PPK" in places, "what is in use was not found: %s" % places)
    check(not [p for p in places["PPK"] if p.startswith("hex")], "the PPK's text: %s" % places)
    check(not [x for x, data in memory(a) if pem in data], "the key's PEM text is in memory")
    fresh = lab.path("fresh")
    expect_exit(run_sapair("id", "new", "--name", "alpha", "--address", ALPHA, "--dir", fresh))
    shutil.copy(os.path.join(fresh, "sapair.crt"), cert)
    shutil.copy(os.path.join(fresh, "sapair.key"), key)
    del a.config["peers"][0]["ppk"]
    a.write_config()
    rc, docs = a.ask("reload")
    equal(rc, 0, "exit of reload: %s" % docs)
    equal(where(a, {**secret, "PPK": ppk}), {}, "after a reload without them")


@test
def no_block_of_memory_is_freed_with_a_secret_in_it(lab):
    """Checks each block when it is freed (tests/fault/fault.c), for the whole life of the agent."""
    library = os.path.join(os.path.dirname(SAPAIR), "fault.so")
    if not os.path.exists(library):
        raise Skip("no fault.so: it is not for sanitizer builds")
    id = identity("alpha")
    ppk = os.urandom(32)
    grave = lab.write("grave", "")
    a = lab.agent("alpha", lab.peer_of("gamma", role="listen", ppk=lab.write("ppk", ppk.hex()),
                                       **NO_LIMIT))
    a.start(env={"LD_PRELOAD": library, "GRAVE_FILE": grave})
    secret = {"private key": private_key(id.key), "PPK": ppk}

    def more(run, link):
        n = str(len(secret))
        for part in (run.secrets, run.sa, run.exporter):
            secret.update({k + " " + n: v for k, v in part.items()})
        with open(link.keylog) as f:
            secret.update({line.split()[0] + " " + n: bytes.fromhex(line.split()[2])
                           for line in f if line[0] != "#"})

    link = connect_tls(a, lab, identity("gamma"))
    link.ppk = ppk
    link.send(hello(ppk=ppk_check(link.exporter(), ppk, True)))
    link.hello_got = link.recv("hello")
    for _ in range(2):
        run = Run(link, ppk).finish(link)
        link.hello_got["last"] = run.o["epoch"]
        more(run, link)
    run = Run(link, ppk)
    link.send(dict(run.confirm, tag="0" * 64))
    link.recv("reject")
    more(run, link)
    link.hello_got["last"] = run.o["epoch"]
    more(Run(link, ppk), link)
    link.close()
    equal(a.ask("reload")[0], 0, "exit of reload")
    equal(a.ask("down", peer="gamma")[0], 0, "exit of down")
    a.stop()
    with open(grave, "rb") as f:
        freed = f.read()
    check(len(freed) > 500_000 and b"gamma" in freed, "%d bytes were freed" % len(freed))
    found = [name for name, s in secret.items() for form in (s, s[::-1], s.hex().encode())
             if form[:12] in freed or form[-12:] in freed]
    equal(found, [], "secrets in what was freed")
    print("# %d secrets in none of %d kB that were freed" % (len(secret), len(freed) // 1024))


@test
def the_key_of_a_bundle_is_in_that_bundle_only(lab):
    hosts = [{"name": "h%d" % i, "address": "127.77.9.%d:%d" % (i, lab.port)} for i in (1, 2, 3)]
    path = lab.write("demo.json", json.dumps({"lab": "demo", "backend": "soft", "hosts": hosts}))
    out = lab.path("bundles")
    said = expect_exit(run_sapair("lab", "init", path, "--out", out, "--json"))
    texts = {h["name"]: open(os.path.join(out, h["name"] + ".bundle")).read() for h in hosts}
    # The second half of each key: the first is the same for all keys of a curve.
    keys = {n: "".join(json.loads(t)["key"].split("\n")[1:-2]) for n, t in texts.items()}
    keys = {n: k[40:80] for n, k in keys.items()}
    equal(len(set(keys.values())), 3, "different keys")
    a = Agent(lab, "h1", None, None, ["--bundle", os.path.join(out, "h1.bundle")])
    lab.add(a).start()
    for words in (["status"], ["status", "h2"], ["reload"]):
        r = a.cli(*words)
        said.out += r.out + r.err
    with open("/proc/%d/cmdline" % a.pid) as f:
        said.out += f.read()
    a.stop()
    for name, key in keys.items():
        for other, text in texts.items():
            flat = text.replace("\\n", "")
            equal(key in flat, other == name, "the key of %s in the bundle of %s" % (name, other))
            equal(flat.count("PRIVATE KEY"), 2, "keys in the bundle of %s" % other)
        check(key not in (said.out + said.err + a.log()).replace("\n", ""), "the key was told")


@test
def memory_is_locked_and_no_core_is_dumped(lab):
    a = alpha(lab)
    if SAN:
        raise Skip("a sanitizer's shadow cannot be locked")
    with open("/proc/%d/status" % a.pid) as f:
        status = f.read()
    if os.geteuid() == 0:
        locked = int(re.search(r"VmLck:\s+(\d+) kB", status).group(1))
        check(locked > 500, "%d kB are locked" % locked)
    a.expect_exit = -6
    a.signal(6)
    a.wait_exit()
    equal([n for n in os.listdir(lab.dir) if n.startswith("core")], [], "core files")


if __name__ == "__main__":
    main(Lab)
