"""The command line: identities and CA, check, usage, text output, an agent that misbehaves."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import Agent, wait_paired
from harness.identity import identity
from harness.lab import Lab
from harness.program import expect_exit, run_sapair
from harness.settings import ADDRESS, ALPHA, BETA, LIMIT, SAPAIR
from harness.tap import Skip, check, equal, has, main, test

PIN = "sha256:" + "0" * 64


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def error(result, rc, *parts):
    """An error with this exit status, on stderr as text."""
    expect_exit(result, rc)
    equal(result.out, "", "stdout")
    has(result.err, "error: ", "stderr")
    has(result.err, "(exit %d)" % rc, "stderr")
    for part in parts:
        has(result.err, part, "stderr")


# --- usage ---------------------------------------------------------------------------------------


@test
def without_arguments_it_prints_help_and_fails(lab):
    r = expect_exit(run_sapair(), 2)
    has(r.out, "rekey PEER|--all")
    equal(expect_exit(run_sapair("help")).out, r.out, "help")
    equal(expect_exit(run_sapair("--help")).out, r.out, "--help")


@test
def every_verb_has_help(lab):
    doc = expect_exit(run_sapair("help", "--json")).doc("help")
    check(len(doc["verbs"]) >= 18, "verbs: %d" % len(doc["verbs"]))
    equal([x["exit"] for x in doc["exits"]], list(range(11)), "exit statuses")
    for verb in doc["verbs"]:
        words = verb["name"].split()
        r = expect_exit(run_sapair(*words, "--help"))
        has(r.out, "sapair " + verb["name"])
        has(r.out, verb["text"])
        for option in verb["options"]:
            has(r.out, "--" + option["name"])
        equal(expect_exit(run_sapair("help", *words)).out, r.out, "help %s" % verb["name"])


@test
def errors_suggest_the_closest_word(lab):
    error(run_sapair("statsu"), 2, 'unknown verb "statsu"; did you mean "status"?')
    error(run_sapair("frobnicate"), 2, 'unknown verb "frobnicate"', "sapair help lists the verbs")
    error(run_sapair("ca"), 2, "new, issue, sign, renew or show?")
    error(run_sapair("ca", "isue", "x"), 2, 'did you mean "ca issue"?')
    error(run_sapair("rekey", "--al"), 2, "did you mean --all?", "sapair rekey --help")
    error(run_sapair("rekey"), 2, "give a peer or --all")
    error(run_sapair("rekey", "beta", "--all"), 2, "mutually exclusive")
    error(run_sapair("rekey", "beta", "--wait", "--no-wait"), 2, "mutually exclusive")
    error(run_sapair("status", "a", "b"), 2, 'unexpected argument "b"')
    error(run_sapair("status", "--timeout", "soon"), 2, '"soon" is not a number of seconds')
    error(run_sapair("verify", "b", "--count", "0"), 2, "from 1 to 1000000")
    error(run_sapair("up", "192.0.2.1", "--pin", "abc"), 2, "--pin")
    error(run_sapair("help", "nothing"), 2, 'no verb "nothing"')


@test
def an_error_with_json_is_a_document_on_stdout(lab):
    for argv, rc in ((["frobnicate"], 2), (["rekey"], 2), (["rekey", "--wrong"], 2)):
        r = expect_exit(run_sapair(*argv, "--json"), rc)
        equal(r.err, "", "stderr")
        d = r.doc("error")
        equal((d["class"], d["exit"]), ("usage", rc), "error")
        check(d["cause"] and d["hint"], str(d))
    d = expect_exit(run_sapair("status", "--control", lab.path("none.sock"), "--json"), 3).doc("error")
    equal(d["class"], "down", "class")


@test
def version_names_libraries_and_back_ends(lab):
    d = expect_exit(run_sapair("version", "--json")).doc("version")
    check("soft" in d["backends"] and d["protocol"] == "sapair/1", str(d))
    check(all(d["libraries"][k] for k in ("mbedtls", "libuv", "cjson")), str(d))
    equal(expect_exit(run_sapair("--version")).out.split()[1], d["version"], "version")


@test
def output_that_cannot_be_written_is_an_error(lab):
    with open("/dev/full", "w") as full:
        r = subprocess.run([SAPAIR, "help"], stdout=full, stderr=subprocess.PIPE)
    equal(r.returncode, 7, "exit")
    has(r.stderr.decode(), "cannot write the output")


# --- identities ----------------------------------------------------------------------------------


@test
def id_new_makes_an_identity_once(lab):
    where = ["--dir", lab.path("conf/deep")]
    d = expect_exit(
        run_sapair("id", "new", "--name", "alpha", "--address", ALPHA, "--address", "2001:db8::1",
             *where, "--json")
    ).doc("id")
    equal(d["changed"], True, "changed")
    equal((d["name"], d["addresses"]), ("alpha", [ALPHA, "2001:db8::1"]), "says")
    equal((d["key_state"], d["self_signed"], d["valid"], d["lab"]), ("ok", True, True, False), "is")
    equal((mode(d["key"]), mode(d["certificate"])), (0o600, 0o644), "modes")
    again = expect_exit(run_sapair("id", "new", "--name", "other", *where, "--json")).doc("id")
    equal((again["changed"], again["pin"], again["name"]), (False, d["pin"], "alpha"), "again")
    shown = expect_exit(run_sapair("id", *where, "--json")).doc("id")
    check("changed" not in shown and shown["pin"] == d["pin"], str(shown))
    equal(expect_exit(run_sapair("id", "show", "--pin", *where)).out, d["pin"] + "\n", "--pin")
    equal(expect_exit(run_sapair("id", d["certificate"], "--pin")).out, d["pin"] + "\n", "of a file")
    forced = expect_exit(run_sapair("id", "new", "--name", "alpha", "--force", *where, "--json")).doc("id")
    check(forced["changed"] and forced["pin"] != d["pin"], str(forced))
    text = expect_exit(run_sapair("id", *where)).out
    has(text, forced["pin"])
    has(text, "readable only by its owner")


@test
def a_key_that_others_can_read_is_shown_and_an_error(lab):
    where = ["--dir", lab.path("conf")]
    d = expect_exit(run_sapair("id", "new", *where, "--json")).doc("id")
    os.chmod(d["key"], 0o640)
    r = expect_exit(run_sapair("id", *where), 9)
    has(r.out, d["pin"])
    has(r.err, "lets others read or write a secret")
    docs = expect_exit(run_sapair("id", *where, "--json"), 9).docs
    equal([x["schema"] for x in docs], ["sapair.id/1", "sapair.error/1"], "documents")
    equal(docs[0]["key_state"], "permission", "key_state")
    os.remove(d["key"])
    r = expect_exit(run_sapair("id", *where), 2)
    has(r.err, "No such file")
    error(run_sapair("id", "--dir", lab.path("empty")), 2, "sapair id new")


@test
def one_half_of_an_identity_is_not_overwritten(lab):
    where = ["--dir", lab.path("conf")]
    d = expect_exit(run_sapair("id", "new", *where, "--json")).doc("id")
    os.remove(d["certificate"])
    error(run_sapair("id", "new", *where), 2, "sapair.key: already exists", "--force")
    expect_exit(run_sapair("id", "new", "--force", *where))


@test
def invalid_certificate_options_are_refused(lab):
    where = ["--dir", lab.path("conf")]
    error(run_sapair("id", "new", "--name", "a b", *where), 2, "letters, digits")
    error(run_sapair("id", "new", "--address", "beta", *where), 2, "--address")
    error(run_sapair("id", "new", "--address", "224.0.0.1", *where), 2, "not a unicast address")
    error(run_sapair("id", "new", "--days", "0", *where), 2, "--days")
    error(run_sapair("id", "new", "--days", "9", "--not-after", "2030-01-01", *where), 2, "mutually exclusive")
    error(run_sapair("id", "new", "--not-after", "tomorrow", *where), 2, "is not a date")
    error(run_sapair("id", "new", "--not-after", "2001-01-01", *where), 2, "expire before it is valid")
    check(not os.path.exists(lab.path("conf/sapair.key")), "a key was written")


@test
def certificates_start_before_now_and_end_as_requested(lab):
    d = expect_exit(run_sapair("id", "new", "--dir", lab.path("a"), "--days", "10", "--json")).doc("id")
    begin = time.mktime(time.strptime(d["not_before"] + "UTC", "%Y-%m-%dT%H:%M:%SZ%Z"))
    end = time.mktime(time.strptime(d["not_after"] + "UTC", "%Y-%m-%dT%H:%M:%SZ%Z"))
    equal(end - begin, 10 * 86400 + 300, "days, and the five minutes before")
    d = expect_exit(
        run_sapair("id", "new", "--dir", lab.path("b"), "--not-before", "2020-01-01", "--not-after",
             "2020-01-02T03:04:05Z", "--json")
    ).doc("id")
    equal(
        (d["not_before"], d["not_after"], d["valid"]),
        ("2020-01-01T00:00:00Z", "2020-01-02T03:04:05Z", False),
        "dates",
    )
    has(expect_exit(run_sapair("id", "--dir", lab.path("b"))).out, "expired at 2020-01-02T03:04:05Z")


# --- CA ------------------------------------------------------------------------------------------


def ca_in(lab, *options):
    d = expect_exit(run_sapair("ca", "new", "--name", "test-ca", "--dir", lab.path("ca"), *options, "--json"))
    return d.doc("ca")


def issue(lab, *options, out="out"):
    return run_sapair("ca", "issue", "alpha", "--dir", lab.path("ca"), "--out", lab.path(out), *options,
                "--json")


@test
def a_ca_is_made_once_and_issues(lab):
    ca = ca_in(lab)
    check(ca["changed"] and ca["ca"] and not ca["lab"], str(ca))
    equal((mode(ca["key"]), mode(ca["certificate"])), (0o600, 0o644), "modes")
    check(not ca_in(lab)["changed"], "made again")
    d = expect_exit(issue(lab, "--address", ALPHA)).doc("ca")
    equal((d["changed"], d["name"], d["addresses"]), (True, "alpha", [ALPHA]), "issued")
    check(not d["self_signed"] and not d["ca"], str(d))
    equal(mode(d["key"]), 0o600, "mode")
    with open(d["ca_certificate"]) as a, open(ca["certificate"]) as b:
        equal(a.read(), b.read(), "copy of the CA's certificate")
    again = expect_exit(issue(lab, "--address", ALPHA)).doc("ca")
    equal((again["changed"], again["pin"]), (False, d["pin"]), "again")
    r = expect_exit(issue(lab, "--address", BETA), 2)
    has(r.doc("error")["cause"], "alpha.key: already exists")
    forced = expect_exit(issue(lab, "--address", BETA, "--force")).doc("ca")
    equal((forced["changed"], forced["addresses"]), (True, [BETA]), "forced")
    has(expect_exit(issue(lab), 2).doc("error")["cause"], "--address is missing")
    equal(expect_exit(run_sapair("ca", "show", "--dir", lab.path("ca"), "--json")).doc("ca")["pin"],
          ca["pin"], "show")


@test
def the_certificate_of_another_ca_is_not_replaced(lab):
    ca_in(lab)
    os.mkdir(lab.path("out"))
    lab.write("out/ca.crt", "another")
    r = expect_exit(issue(lab, "--address", ALPHA), 2)
    has(r.doc("error")["cause"], "from another CA")
    check(not os.path.exists(lab.path("out/alpha.key")), "a key was written")


@test
def no_certificate_outlives_its_ca_and_the_lab_mark_is_inherited(lab):
    ca = ca_in(lab, "--days", "5", "--lab")
    r = expect_exit(issue(lab, "--address", ALPHA))
    d = r.doc("ca")
    equal((d["not_after"], d["lab"]), (ca["not_after"], True), "issued")
    has(r.err, "when the CA expires")


@test
def sign_certifies_a_key_that_stays_on_its_host(lab):
    ca = ca_in(lab)
    own = expect_exit(run_sapair("id", "new", "--name", "beta", "--dir", lab.path("b"), "--json")).doc("id")
    argv = ["ca", "sign", own["certificate"], "--dir", lab.path("ca"), "--address", BETA, "--out",
            lab.path("beta.crt"), "--json"]
    d = expect_exit(run_sapair(*argv)).doc("ca")
    equal((d["pin"], d["name"], d["self_signed"]), (own["pin"], "beta", False), "signed")
    check("key" not in d, "a key?")
    check(not expect_exit(run_sapair(*argv)).doc("ca")["changed"], "signed again")
    os.replace(lab.path("beta.crt"), own["certificate"])
    equal(expect_exit(run_sapair("id", "--dir", lab.path("b"), "--json")).doc("id")["key_state"], "ok", "key")
    check(ca["pin"] != own["pin"], "pins")
    error(run_sapair("ca", "sign", own["certificate"], "--address", BETA, "--dir", lab.path("none")), 2,
          "sapair ca new")


# --- check ---------------------------------------------------------------------------------------


def config(lab, **members):
    id = identity("alpha")
    c = {"certificate": id.cert, "key": id.key, "ca": id.ca, "backend": "soft",
         "peers": [{"name": "beta", "address": BETA}]}
    c.update(members)
    return lab.write("sapair.json", json.dumps({k: v for k, v in c.items() if v is not None}))


@test
def check_reads_every_file_that_an_agent_reads(lab):
    path = config(lab)
    d = expect_exit(run_sapair("check", path, "--json")).doc("check")
    equal((d["ok"], d["peers"], d["file"], d["warnings"]), (True, 1, path, []), "check")
    equal(expect_exit(run_sapair("check", "--config", path)).out, "ok: 1 peer\n", "text")
    equal(expect_exit(run_sapair("check", "sapair.json", cwd=lab.dir)).out, "ok: 1 peer\n", "relative")


@test
def check_reports_the_error_and_its_place(lab):
    path = lab.write("sapair.json", '{\n  "peers": [\n    {"adress": "192.0.2.1"}\n  ]\n}\n')
    error(run_sapair("check", path), 2, path + ': line 3, column 6: peers[0]: unknown member "adress"')
    error(run_sapair("check", lab.path("none.json")), 2, "No such file", "give the file")
    error(run_sapair("check", config(lab, backend="carrier-pigeon")), 2, "carrier-pigeon", "soft")
    error(run_sapair("check", config(lab, certificate="none.crt")), 2, lab.path("none.crt"), "id new")
    error(run_sapair("check", config(lab, certificate=identity("beta").cert)), 2, "does not belong to")
    error(run_sapair("check", config(lab, ca=None)), 2, "cannot authenticate beta", "sapair id")
    expect_exit(run_sapair("check", config(lab, ca=None, peers=[{"address": BETA, "pin": PIN}])))
    lab.write("short.ppk", "00ff\n")
    error(run_sapair("check", config(lab, peers=[{"address": BETA, "ppk": "short.ppk"}])), 2,
          "64 to 128 lower-case hex digits")
    lab.write("good.ppk", "0f" * 32 + "\n", mode=0o644)
    error(run_sapair("check", config(lab, peers=[{"address": BETA, "ppk": "good.ppk"}])), 9, "chmod 600")
    os.chmod(lab.path("good.ppk"), 0o600)
    expect_exit(run_sapair("check", config(lab, peers=[{"address": BETA, "ppk": "good.ppk"}])))
    os.chmod(config(lab), 0o666)
    error(run_sapair("check", lab.path("sapair.json")), 9, "lets others write it")


@test
def check_warns_of_certificates_that_expire_soon(lab):
    ca_in(lab, "--days", "20")
    d = expect_exit(issue(lab, "--address", ALPHA)).doc("ca")
    path = config(lab, certificate=d["certificate"], key=d["key"], ca=d["ca_certificate"], peers=[
        {"address": BETA, "mode": "permissive"}])
    r = expect_exit(run_sapair("check", path))
    equal(r.out, "ok: 1 peer\n", "stdout")
    has(r.err, "alpha.crt expires in ")
    has(r.err, "ca.crt expires in ")
    has(r.err, "permissive allows clear text")
    equal(len(expect_exit(run_sapair("check", path, "--json")).doc("check")["warnings"]), 3, "warnings")


@test
def files_beside_the_config_are_found_by_their_usual_names(lab):
    expect_exit(run_sapair("id", "new", "--dir", lab.dir))
    path = lab.write("sapair.json", json.dumps({"peers": [{"address": BETA, "pin": PIN}]}))
    expect_exit(run_sapair("check", path))


# --- run -----------------------------------------------------------------------------------------


@test
def run_without_a_peer_prints_an_example(lab):
    env = {"XDG_CONFIG_HOME": lab.dir, "HOME": lab.dir, "PATH": ""}
    if os.geteuid() == 0 and os.path.exists("/etc/sapair"):
        raise Skip("/etc/sapair is here")
    error(run_sapair("run", env=env), 2, "no peer, and no config file", "sapair run --peer ADDRESS")
    error(run_sapair("run", "--peer", BETA, env=env), 2, "no identity", "sapair id new")


@test
def options_that_soft_lacks_are_refused_by_name_and_needless_ones_are_accepted(lab):
    for option, value in (("encap", "tunnel"), ("start", "seamless"), ("protect", ["tcp/445"])):
        a = lab.agent("alpha", lab.peer_of("beta", **{option: value})).start(ready=False)
        equal(a.wait_exit(), 2, "exit status with %s" % option)
        a.process = None
        has(a.log(), "soft cannot do %s" % option)
        lab.agents.remove(a)
    a = lab.agent("alpha", lab.peer_of("beta", exempt=["icmp", "tcp/22"])).start()
    wait_paired(a, lab.agent("beta", lab.peer_of("alpha", exempt=[])).start())


@test
def invalid_options_are_refused_before_the_agent_starts(lab):
    id = identity("alpha")
    base = ["run", "--cert", id.cert, "--key", id.key, "--control", lab.path("c.sock"), "--backend",
            "soft"]
    peer = ["--peer", BETA, "--ca", id.ca]
    error(run_sapair(*base, "--peer", "beta", "--ca", id.ca), 2, '--peer: "beta" is not an IPv4')
    error(run_sapair(*base, *peer, "--log", "loud"), 2, "error, warn, info or debug")
    error(run_sapair(*base[:-1], "wfp2", *peer), 2, "wfp2", "soft")
    error(run_sapair(*base, *peer, "--esp-port", "0"), 2, "--esp-port")
    error(run_sapair(*base, *peer, "--pin", "abc"), 2, "--pin", "sapair id")
    error(run_sapair(*base, "--pin", PIN, *peer, "--peer", "127.0.0.3"), 2, "must follow the --peer")
    error(run_sapair(*base, *peer, "--peer", BETA), 2, "the same pair of addresses")
    error(run_sapair(*base, *peer, "--listen", BETA), 2, "is our own")
    error(run_sapair(*base, *peer, "--ppk", lab.path("none")), 2, "none")
    check(not os.path.exists(lab.path("c.sock")), "an agent was started")


@test
def two_options_on_each_host_make_a_pair_by_pins(lab):
    expect_exit(run_sapair("id", "new", "--name", "a", "--dir", lab.path("a")))
    expect_exit(run_sapair("id", "new", "--name", "b", "--dir", lab.path("b")))
    pins = {n: expect_exit(run_sapair("id", "--dir", lab.path(n), "--pin")).out.strip() for n in "ab"}
    agents = []
    for name, other, peer, me in (("alpha", BETA, "b", "a"), ("beta", ALPHA, "a", "b")):
        flags = ["--listen", "%s:%d" % (ADDRESS[name], lab.port), "--backend", "soft",
                 "--cert", lab.path(me + "/sapair.crt"), "--key", lab.path(me + "/sapair.key"),
                 "--pin", pins[peer], "--peer", "%s:%d" % (other, lab.port)]
        agents.append(lab.add(Agent(lab, name, ADDRESS[name], None, flags)))
        agents[-1].start(ready=False)
    for agent, other in zip(agents, (BETA, ALPHA)):
        agent.wait_ready()
        expect_exit(agent.cli("up", other))


# --- text for people -----------------------------------------------------------------------------


@test
def text_output_agrees_with_the_documents(lab):
    a, b = lab.pair()
    peer, _ = wait_paired(a, b)

    def text(verb, *args, rc=0):
        return expect_exit(a.cli(verb, *args, json_out=False), rc).out

    for out in (text("status"), text("status", "beta"), text("up", "beta")):
        has(out, peer["in"]["spi"])
        has(out, peer["out"]["spi"])
        check("\033" not in out, "colour without a terminal")
    has(text("status"), "VERIFIED")
    has(text("up", "beta"), "already")
    has(text("verify", "beta", "--count", "5"), "verified: 5 of 5 probes returned")
    out = text("rekey", "beta", "--wait")
    has(out, "beta epoch 1 -> 2")
    has(out, "the old SAs are removed")
    has(out, peer["in"]["spi"] + " -> ")
    has(out, "0 of 3 probes lost")
    has(text("rekey", "beta", "--no-wait"), "started")
    has(text("reload"), "nothing changed, 1 peers unchanged")
    has(text("down", "beta"), "all SAs and policies are removed")
    has(text("down", "beta"), "beta is down already")
    has(text("status", "beta", rc=3), ": down")
    error(a.cli("rekey", "nobody", json_out=False), 2, "no peer is called nobody")
    has(text("stop"), "the agent has stopped")
    has(text("stop"), "no agent was running")
    a.wait_exit()


@test
def watch_prints_events_and_ends_at_its_count(lab):
    a, b = lab.pair()
    watch = a.cli_start("watch", "beta", "--count", "2", "--timeout", str(LIMIT))
    # Its first output shows that it watches: rekey until then.
    end = time.monotonic() + LIMIT
    while watch.poll() is None and time.monotonic() < end:
        expect_exit(a.cli("rekey", "beta"))
    out, err = watch.communicate(timeout=LIMIT)
    equal(watch.returncode, 0, "exit: %s" % err)
    docs = [json.loads(line) for line in out.splitlines()]
    equal([d["schema"] for d in docs], ["sapair.event/1"] * 2, "documents")
    check(all(d["peer"] == "beta" for d in docs), str(docs))
    expect_exit(a.cli("watch", "--timeout", "0.05"))
    expect_exit(a.cli("watch", "--timeout", "0.05", "--count", "9"), 4)


# --- an agent that misbehaves --------------------------------------------------------------------


class Fake:
    """Accepts one request, sends these bytes, then closes the connection or waits."""

    def __init__(self, lab, reply, hang=False):
        os.makedirs(lab.path("fake"), mode=0o700, exist_ok=True)
        self.path = lab.path("fake/%d.sock" % len(os.listdir(lab.path("fake"))))
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(self.path)
        self.socket.listen()
        self.reply, self.hang = reply, hang
        self.request = None
        self.over = threading.Event()
        lab.cleanups.append(self.close)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        client, _ = self.socket.accept()
        with client:
            self.request = json.loads(client.makefile().readline())
            for part in self.reply:
                client.sendall(part)
            if self.hang:
                self.over.wait(60)

    def close(self):
        self.over.set()
        self.socket.close()

    def ask(self, *argv, **kw):
        return run_sapair(*argv, "--control", self.path, **kw)


END = b'{"schema":"sapair.end/1","exit":0}\n'


@test
def an_agent_that_disappears_is_exit_3(lab):
    for reply in ([], [b'{"schema":"sapair.sta'], [b'{"schema":"sapair.progress/1","text":"x"}\n']):
        error_text = expect_exit(Fake(lab, reply).ask("status"), 3).err
        has(error_text, "exited before it answered")
    expect_exit(Fake(lab, []).ask("watch"), 3)


@test
def an_agent_that_does_not_answer_is_exit_4(lab):
    start = time.monotonic()
    r = Fake(lab, [], hang=True).ask("status", "--timeout", "0.1")
    check(2 <= time.monotonic() - start < LIMIT, "time")
    error(r, 4, "did not answer")


@test
def invalid_replies_are_exit_1(lab):
    for reply in (b"hello\n", b"{}\n", b"[]\n", b'{"schema":"sapair.end/1"}\n', b"\xff\xff\n",
                  b'{"schema":"sapair.end/1","exit":0} x\n', b"[" * 5000 + b"\n"):
        expect_exit(Fake(lab, [reply]).ask("status"), 1)


@test
def replies_are_read_in_any_length_and_any_fragments(lab):
    peers = [
        {"name": "p%d" % i, "address": "10.0.0.1:1", "state": "up", "verified": True, "epoch": "1",
         "in": {"spi": "%08x" % (i + 256)}, "out": {"spi": "00000100"}} for i in range(3000)
    ]
    text = json.dumps({"schema": "sapair.status/1", "name": "big", "listen": [], "peers": peers})
    data = text.encode() + b"\n" + END
    r = expect_exit(Fake(lab, [data]).ask("status", "--json"))
    equal(json.loads(r.out), json.loads(text), "document")
    r = expect_exit(Fake(lab, [data[i:i + 7777] for i in range(0, len(data), 7777)]).ask("status"))
    equal(len(r.out.splitlines()), 3000 + 4, "lines")
    has(r.out.splitlines()[-1], "%08x" % (2999 + 256))
    fake = Fake(lab, [bytes([c]) for c in END])
    expect_exit(fake.ask("rekey", "x", "--reason", 'say "hi"', "--no-verify", "--wait", "--timeout", "0"))
    equal(fake.request, {"verb": "rekey", "peer": "x", "wait": "drain", "timeout_ms": 0,
                         "verify": False, "reason": 'say "hi"'}, "request")


@test
def errors_and_progress_go_to_stderr_and_the_exit_status_is_that_of_the_agent(lab):
    docs = [
        {"schema": "sapair.progress/1", "text": "waiting for beta"},
        {"schema": "sapair.error/1", "peer": "beta", "class": "auth", "exit": 5, "cause": "why",
         "hint": "next"},
        {"schema": "sapair.end/1", "exit": 5},
    ]
    reply = [json.dumps(d).encode() + b"\n" for d in docs]
    r = expect_exit(Fake(lab, reply).ask("up", "beta"), 5)
    equal((r.out, r.err), ("", "waiting for beta\nerror: why (exit 5)\nnext\n"), "text")
    r = expect_exit(Fake(lab, reply).ask("up", "--all"), 5)
    has(r.err, "error: beta: why (exit 5)")
    r = expect_exit(Fake(lab, reply).ask("up", "beta", "--json"), 5)
    equal((r.docs, r.err), ([docs[1]], ""), "JSON")


if __name__ == "__main__":
    main(Lab)
