#!/usr/bin/env python3
"""Every verb, every exit status, and the output with it."""

import json
import os
import re
import signal
import socket
import stat
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import in_force, wait_paired, wait_single_pair
from harness.control import Control, Gone
from harness.identity import ca, identity, store
from harness.lab import Lab
from harness.program import expect_exit, run_sapair
from harness.settings import ALPHA, BETA, GAMMA, LIMIT, SAPAIR, SLOW, TEST_SAPAIR
from harness.tap import Skip, check, equal, has, main, test, until

NOBODY = 65534
AGENT_VERBS = ["status", "up beta", "down beta", "rekey beta", "verify beta", "watch", "reload"]


def refused(result, rc, *parts):
    """An error with this exit status, a cause with these parts, and the same in JSON."""
    expect_exit(result, rc)
    d = result.doc("error")
    equal(d["exit"], rc, "exit in the document")
    for part in parts:
        has(d["cause"] + " / " + d.get("hint", ""), part, "cause and hint")
    return d


def plain_error(result, rc, *parts):
    """As text: "error: CAUSE (exit N)" and the next step below it, only on stderr."""
    expect_exit(result, rc)
    equal(result.out, "", "stdout")
    lines = result.err.splitlines()
    check(lines[0].startswith("error: ") and lines[0].endswith("(exit %d)" % rc), str(result))
    for part in parts:
        has(result.err, part, "stderr")


# --- 0: and already so ----------------------------------------------------------------------------


@test
def every_verb_prints_json_that_fits_its_schema(lab):
    a, _ = lab.pair(both={"defaults": {"drain_ms": 200, "rekey": {"min_interval_ms": 0}}})
    for words, schema in (
        ("status", "status"), ("status beta", "status"), ("up beta", "up"), ("up --all", "up"),
        ("rekey beta", "rekey"), ("rekey beta --wait", "rekey"), ("verify beta", "verify"),
        ("verify --all", "verify"), ("reload", "reload"), ("down beta", "down"),
        ("down --all", "down"), ("stop", "stop"),
    ):
        verb, *rest = words.split()
        r = expect_exit(a.cli(verb, *rest))
        equal(r.err, "", "stderr of " + words)
        equal([d["schema"] for d in r.docs], ["sapair.%s/1" % schema], "documents of " + words)
    a.wait_exit()
    for words, schema in (("version", "version"), ("help", "help"), ("help rekey", "help")):
        r = expect_exit(run_sapair(*words.split(), "--json"))
        equal([d["schema"] for d in r.docs], ["sapair.%s/1" % schema], "documents of " + words)


@test
def every_verb_prints_text(lab):
    a, _ = lab.pair()
    for words in ("status", "status beta", "up beta", "rekey beta", "verify beta", "reload",
                  "down beta", "stop"):
        verb, *rest = words.split()
        r = expect_exit(a.cli(verb, *rest, json_out=False))
        check(r.out.strip() and "{" not in r.out and "\x1b" not in r.out, "%s: %s" % (words, r))
    a.wait_exit()
    for words in ("version", "help", "help rekey", "rekey --help", "--help", "--version"):
        check(expect_exit(run_sapair(*words.split())).out.strip(), "nothing from " + words)


@test
def a_second_run_of_a_verb_changes_nothing(lab):
    a, b = lab.pair()
    with lab.pair_unchanged(a, b):
        equal(expect_exit(a.cli("up", "beta")).doc("up")["changed"], False, "up of a pair that is up")
        for _ in range(2):
            equal(expect_exit(a.cli("reload")).doc("reload")["changed"], False, "reload of the same")
    equal(expect_exit(a.cli("down", "beta")).doc("down")["changed"], True, "first down")
    equal(expect_exit(a.cli("down", "beta")).doc("down")["changed"], False, "second down")
    equal(expect_exit(a.cli("up", "beta")).doc("up")["changed"], True, "up after down")
    equal(expect_exit(a.cli("up", "beta")).doc("up")["changed"], False, "second up")
    equal(expect_exit(a.cli("stop")).doc("stop")["changed"], True, "first stop")
    equal(a.wait_exit(), 0, "exit of the agent")
    equal(expect_exit(a.cli("stop")).doc("stop")["changed"], False, "second stop")


@test
def making_identities_twice_changes_nothing(lab):
    cases = [
        ["ca", "new", "--dir", lab.path("ca")],
        ["ca", "issue", "alpha", "--address", ALPHA, "--dir", lab.path("ca"), "--out", lab.path("a")],
        ["id", "new", "--name", "beta", "--dir", lab.path("b")],
        ["ca", "sign", lab.path("b/sapair.crt"), "--address", BETA, "--dir", lab.path("ca"),
         "--out", lab.path("beta.crt")],
    ]
    for words in cases:
        first, second = (expect_exit(run_sapair(*words, "--json")).docs[0] for _ in range(2))
        equal((first["changed"], second["changed"]), (True, False), "changed of " + " ".join(words))
        equal(first["pin"], second["pin"], "pin of " + " ".join(words))
    for key in ("ca/ca.key", "a/alpha.key", "b/sapair.key"):
        equal(stat.S_IMODE(os.stat(lab.path(key)).st_mode), 0o600, "mode of " + key)


@test
def a_certificate_signed_by_the_ca_pairs(lab):
    folder = lab.path("own")
    expect_exit(run_sapair("id", "new", "--name", "alpha", "--dir", folder))
    expect_exit(run_sapair("ca", "sign", folder + "/sapair.crt", "--address", ALPHA, "--dir", ca(),
              "--out", lab.path("alpha.crt")))
    a = lab.agent("alpha", "beta", certificate=lab.path("alpha.crt"), key=folder + "/sapair.key")
    b = lab.agent("beta", "alpha")
    a.start()
    b.start()
    wait_paired(a, b)


@test
def up_after_down_pairs_again_and_the_peer_reports_both(lab):
    a, b = lab.pair()
    before = in_force(a.peer("beta"))
    expect_exit(a.cli("down", "beta"))
    p = a.peer("beta")
    equal((p["state"], p["link"], p["held"]), ("down", "none", 0), "alpha's side")
    check("epoch" not in p and "in" not in p and "out" not in p, "SAs are left: %s" % p)
    q = b.wait_peer("alpha", "is not up any more", lambda q: q["state"] != "up")
    check("in" not in q and "out" not in q and q["held"] == 0, "the peer's SAs are left: %s" % q)
    has(b.peer("alpha")["error"]["cause"], "taken down", "what the peer says")
    # A peer that is down is not contacted.
    refused(a.cli("rekey", "beta"), 3, "down", "sapair up brings it back")
    refused(a.cli("verify", "beta"), 3, "down")
    up = expect_exit(a.cli("up", "beta", "--timeout", "20")).doc("up")
    equal((up["changed"], up["state"], up["verified"]), (True, "up", True), "up")
    p, _ = wait_paired(a, b)
    equal(p["epoch"], "1", "epochs are forgotten with down")
    check(not {p["in"]["spi"], p["out"]["spi"]} & set(before[1:]), "an SPI came again")


@test
def watch_prints_events_as_they_happen(lab):
    a, b = lab.pair()
    with Control(a.control) as c:
        c.send({"verb": "watch"})
        # Its first line may be any event: ask until the request has arrived.
        rekeyed = expect_exit(a.cli("rekey", "beta", "--reason", "seen")).doc("rekey")
        events = []
        while not events or events[-1]["event"] != "verified":
            events.append(c.line())
        done = [e for e in events if e["event"] == "rekey-done"]
        equal(len(done), 1, "rekey-done in %s" % events)
        equal(done[0]["schema"], "sapair.event/1", "schema")
        equal((done[0]["id"], done[0]["peer"]), (111, "beta"), "id and peer")
        equal((done[0]["epoch"], done[0]["in"]), (rekeyed["epoch"]["new"], rekeyed["in"]["new"]),
              "what the event and the receipt say")
        check(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", done[0]["time"]), "time")
        expect_exit(a.cli("down", "beta"))
        while events[-1]["event"] != "down":
            events.append(c.line())
        expect_exit(a.cli("stop"))
        while events[-1]["event"] != "stopping":
            events.append(c.line())


@test
def watch_ends_after_its_count_or_timeout(lab):
    a, b = lab.pair()
    process = a.cli_start("watch", "beta", "--count", "1")
    end = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < end:
        a.cli("rekey", "beta")
    out, err = process.communicate(timeout=LIMIT)
    equal(process.returncode, 0, "exit of watch: %s" % err)
    equal([json.loads(line)["schema"] for line in out.splitlines()], ["sapair.event/1"], "events")
    start = time.monotonic()
    expect_exit(a.cli("watch", "--timeout", "0.3", limit=LIMIT))
    check(0.25 <= time.monotonic() - start < 2 * SLOW, "--timeout of watch was not kept")


@test
def check_accepts_valid_and_refuses_invalid_configs(lab):
    a = lab.agent("alpha", "beta")
    a.write_config()
    d = expect_exit(run_sapair("check", a.config_path, "--json")).doc("check")
    equal((d["ok"], d["peers"], d["warnings"]), (True, 1, []), "check")
    for text, line, column, part in (
        ('{\n "listen": "127.0.0.1:1",\n "colour": 1\n}', 3, 2, "colour"),
        ('{\n "name": "a",\n "name": "b"\n}', 3, 2, "name"),
        ('{\n "peers": [\n  {"address": "nowhere"}\n ]\n}', 3, 15, "address"),
        ('{"peers": [{"name": "x"}]}', 1, 12, "address"),
        ('{"log": "loud"}', 1, 9, "log"),
        ('{"log": "info"', 1, 15, ""),
    ):
        a.write_config(text)
        r = run_sapair("check", a.config_path, "--json")
        d = refused(r, 2, a.config_path, part)
        has(d["cause"], "line %d, column %d" % (line, column), "cause")
        refused(run_sapair("run", "--config", a.config_path, "--json"), 2, "line %d, column %d" % (line, column))


# --- 1: what should not happen --------------------------------------------------------------------


@test
def a_reply_that_is_not_json_is_exit_1(lab):
    path = lab.path("fake.sock")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    server.listen(8)
    lab.cleanups.append(server.close)

    def serve():
        for _ in range(2):
            s, _ = server.accept()
            s.recv(4096)
            s.sendall(b"what?\n")
            s.close()

    threading.Thread(target=serve, daemon=True).start()
    refused(run_sapair("status", "--control", path, "--json"), 1, "reply")
    plain_error(run_sapair("status", "--control", path), 1, "reply")


# --- 2: usage ---------------------------------------------------------------------------------------


@test
def wrong_usage_is_exit_2_and_suggests_the_right_word(lab):
    a = lab.agent("alpha", "beta").start()
    for words, parts in (
        ("", []),
        ("stauts", ["unknown verb", "status"]),
        ("frobnicate", ["unknown verb", "sapair help"]),
        ("ca", ["new, issue, sign"]),
        ("ca isue x", ["ca issue"]),
        ("status --jsno", ["unknown option", "--json"]),
        ("status -v", ["two dashes"]),
        ("rekey", ["give a peer or --all"]),
        ("rekey beta --all", ["exclusive"]),
        ("rekey beta --wait --no-wait", ["exclusive"]),
        ("rekey beta gamma", ["unexpected argument"]),
        ("rekey beta --timeout soon", ["--timeout"]),
        ("rekey beta --timeout", ["needs a value"]),
        ("rekey beta --timeout 1 --timeout 2", ["twice"]),
        ("verify beta --count 0", ["--count"]),
        ("verify beta --count 1000001", ["--count"]),
        ("up 192.0.2.300", ["192.0.2.300"]),
        ("up beta --pin sha256:12", ["--pin"]),
        ("run --peer nowhere", ["nowhere"]),
        ("run --log loud --peer 127.0.0.2", ["--log"]),
        ("run --backend none --peer 127.0.0.2", ["soft"]),
        ("run --config /nonexistent/sapair.json", ["/nonexistent/sapair.json"]),
        ("help frobnicate", ["frobnicate"]),
        ("ca issue alpha --dir " + ca(), ["address"]),
    ):
        words = words.split()
        ours = words[:1] and words[0] in ("status", "rekey", "verify", "up")
        r = run_sapair(*words, *(["--control", a.control] if ours else []), cwd=lab.dir)
        check(r.rc == 2, "%s:\n%s" % (" ".join(words), r))
        for part in parts:
            has(r.out + r.err, part, "output of %r" % " ".join(words))
    refused(a.cli("rekey", "gamma"), 2, "no peer is called gamma", "sapair status")
    for verb in ("status", "verify", "down"):
        refused(a.cli(verb, "gamma"), 2, "no peer is called gamma")


@test
def invalid_requests_get_an_error_and_the_agent_runs_on(lab):
    a, b = lab.pair()
    with lab.pair_unchanged(a, b):
        for line in (
            b"", b"x", b"{}", b"[]", b"null", b'{"verb":"status"}x', b'{"verb":"dance"}',
            b'{"verb":"status","verb":"status"}', b'{"verb":"status","colour":1}',
            b'{"verb":"verify","count":"many"}', b'{"verb":"verify","count":-1}',
            b'{"verb":"status","peer":"' + b"x" * 65 + b'"}', b'\xff\xfe', b'{"verb":"st\\u0000"}',
            b"[" * 4000, b'{"verb":"up","peer":"127.0.0.9","pin":"sha256:00"}',
        ):
            with Control(a.control) as c:
                c.send_raw(line + b"\n")
                d = c.line()
                check(d["schema"] == "sapair.error/1" and d["exit"] == 2, "%r: %s" % (line, d))
                equal(c.line(), {"schema": "sapair.end/1", "exit": 2}, "end of %r" % line)
                equal(c.ask("status")[0], 0, "the next request on the same connection")
        with Control(a.control) as c:
            c.send_raw(b"x" * 4096)
            equal(c.line()["exit"], 2, "a line without an end")
        with Control(a.control) as c:  # half a request, then several at once
            c.send_raw(b'{"verb":"sta')
            c.send_raw(b'tus"}\n{"verb":"status"}\n')
            for _ in range(2):
                equal([c.line()["schema"] for _ in range(2)], ["sapair.status/1", "sapair.end/1"],
                      "documents")


@test
def pipelined_requests_are_answered_in_order(lab):
    a, b = lab.pair(both={"defaults": {"rekey": {"min_interval_ms": 0}}})
    kinds = ["rekey", "status", "status", "rekey", "dance", "status"]  # the answer to status is long
    with Control(a.control) as c:
        for kind in kinds * 5:
            c.send({"verb": kind, "peer": "beta"})
        for i, kind in enumerate(kinds * 5):
            want = "error" if kind == "dance" else kind
            equal([c.line()["schema"] for _ in range(2)], ["sapair.%s/1" % want, "sapair.end/1"], "answer %d" % i)
        # A slow request does not delay the answers before it.
        c.send_raw(b'{"verb":"status"}\n{"verb":"verify","peer":"beta","count":4,"interval_ms":700}\n')
        start = time.monotonic()
        equal([c.line()["schema"] for _ in range(2)], ["sapair.status/1", "sapair.end/1"], "the first answer")
        check(time.monotonic() - start < 1.5, "an answer waited for the one behind it")
        equal([c.line()["schema"] for _ in range(2)], ["sapair.verify/1", "sapair.end/1"], "the slow one")
    # The agent exits: earlier answers are not lost.
    with Control(a.control) as c:
        c.send_raw(b'{"verb":"status"}\n{"verb":"stop"}\n')
        equal([c.line()["schema"] for _ in range(2)], ["sapair.status/1", "sapair.end/1"], "before the end")
    equal(a.wait_exit(), 0, "exit")


@test
def a_reply_caused_by_a_timer_is_sent_at_once(lab):
    nobody = {"name": "gamma", "address": GAMMA, "role": "listen"}
    a = lab.agent("alpha", lab.peer_of("beta"), nobody, defaults={"drain_ms": 300, "switch_ms": 100}).start()
    b = lab.agent("beta", lab.peer_of("alpha")).start()
    wait_paired(a, b)
    with Control(a.control) as c:
        c.send_raw(b'{"verb":"rekey","peer":"beta","verify":false,"wait":"drain"}\n'
                   b'{"verb":"up","peer":"gamma","timeout_ms":2500}\n')
        start = time.monotonic()
        equal([c.line()["schema"] for _ in range(2)], ["sapair.rekey/1", "sapair.end/1"], "the first answer")
        took = time.monotonic() - start
        # The other peer sends nothing, so the next event is the first progress of the second request.
        check(0.2 < took < 1.2, "the first answer came after %.2f s" % took)


@test
def clients_that_disconnect_early_do_no_harm(lab):
    a, b = lab.pair()
    for verb in ("status", "watch", "verify", "up", "rekey"):
        for _ in range(10):
            with Control(a.control) as c:
                c.send({"verb": verb} if verb == "watch" else {"verb": verb, "peer": "beta"})
    p, _ = wait_paired(a, b)  # a rekey in progress completes
    check(int(p["epoch"]) <= 12, "one request was served more than once")


@test
def watchers_that_never_read_do_not_block_the_agent(lab):
    a, b = lab.pair(both={"defaults": {"rekey": {"min_interval_ms": 0}, "drain_ms": 100}})
    for _ in range(5):
        c = Control(a.control)
        lab.cleanups.append(c.close)
        c.send({"verb": "watch"})
    for _ in range(50):
        equal(a.ask("rekey", peer="beta")[0], 0, "exit of rekey")
    wait_paired(a, b)


# --- 3: not running, not up -------------------------------------------------------------------------


@test
def without_an_agent_it_is_exit_3(lab):
    path = lab.path("none.sock")
    for words in AGENT_VERBS:
        words = words.split()
        refused(run_sapair(*words, "--control", path, "--json"), 3, "no agent is running", path, "sapair run")
        plain_error(run_sapair(*words, "--control", path), 3, "no agent is running", "sapair run")
    # A stale socket is not an agent.
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    refused(run_sapair("status", "--control", path, "--json"), 3, "no agent is running")


@test
def a_stale_socket_does_not_prevent_the_next_start(lab):
    a, b = lab.pair()
    a.kill()
    check(os.path.exists(a.control), "kill -9 leaves the socket")
    a.start()
    wait_paired(a, b)


@test
def a_second_agent_at_the_same_socket_is_refused(lab):
    a = lab.agent("alpha", "beta").start()
    r = run_sapair("run", "--config", a.config_path, "--json")
    refused(r, 2, "an agent is already running", a.control)
    check(a.alive() and a.status(), "the first one is not harmed")


@test
def a_pair_that_is_not_up_is_exit_3(lab):
    a = lab.agent("alpha", "beta").start()
    for verb in ("rekey", "verify"):
        refused(a.cli(verb, "beta"), 3, "waiting", "sapair up waits for it")
    refused(a.cli("rekey", "beta", "--no-wait"), 3, "waiting")
    r = a.cli("status", "beta")
    expect_exit(r, 3)
    equal(r.doc("status")["peers"][0]["state"], "waiting", "state")
    expect_exit(a.cli("status"))  # of all peers: the agent runs, which is enough


@test
def an_agent_that_is_stopped_answers_pending_requests(lab):
    a = lab.agent("alpha", "beta").start()
    with Control(a.control) as c:
        c.send({"verb": "up", "peer": "beta", "timeout_ms": 60000})
        a.wait_error("beta", "timeout")
        expect_exit(a.cli("stop"))
        d = c.line()
        equal((d["schema"], d["exit"]), ("sapair.error/1", 3), "what up says")
        has(d["cause"], "stopping")
        equal(c.line(), {"schema": "sapair.end/1", "exit": 3}, "end of up")
    equal(a.wait_exit(), 0, "exit of the agent")


# --- 4: in time --------------------------------------------------------------------------------------


@test
def an_absent_peer_is_exit_4_in_time(lab):
    a = lab.agent("alpha", "beta").start()
    for timeout in ("0.5", "1.5"):
        start = time.monotonic()
        r = a.cli("up", "beta", "--timeout", timeout)
        took = time.monotonic() - start
        refused(r, 4, "%s:%d" % (BETA, lab.port), "is the agent there running")
        check(float(timeout) - 0.05 <= took < float(timeout) + SLOW, "took %.2f s" % took)


@test
def up_waits_for_a_peer_that_comes_late(lab):
    a, b = lab.agent("alpha", "beta"), lab.agent("beta", "alpha")
    a.start()
    waiting = a.cli_start("up", "beta", "--timeout", "60")
    a.wait_error("beta", "timeout")
    b.start()
    out, err = waiting.communicate(timeout=LIMIT)
    equal(waiting.returncode, 0, "exit of up: %s %s" % (out, err))
    d = json.loads(out.splitlines()[-1])
    equal((d["state"], d["verified"], d["changed"]), ("up", True, True), "up")


@test
def progress_goes_to_stderr_and_not_into_json(lab):
    a = lab.agent("alpha", "beta").start()
    r = a.cli("up", "beta", "--timeout", "2.5", json_out=False)
    plain_error_lines = [line for line in r.err.splitlines() if line.startswith("waiting for")]
    expect_exit(r, 4)
    equal((len(plain_error_lines), r.out), (1, ""), "progress of up:\n%s" % r)
    r = a.cli("up", "beta", "--timeout", "2.5")
    equal([d["schema"] for d in r.docs], ["sapair.error/1"], "documents")


@test
def a_link_that_falls_silent_is_exit_4(lab):
    a, b = lab.pair(both={"defaults": {"rekey": {"min_interval_ms": 0}}})
    b.signal(signal.SIGSTOP)
    start = time.monotonic()
    r = a.cli("rekey", "beta", "--timeout", "1")
    refused(r, 4, "answers, but the exchange timed out")
    check(time.monotonic() - start < 1 + SLOW, "--timeout was not kept")
    b.signal(signal.SIGCONT)
    wait_paired(a, b)


# --- 5: authentication -------------------------------------------------------------------------------


@test
def a_wrong_ca_is_exit_5_on_both_sides(lab):
    a = lab.agent("alpha", "beta").start()
    b = lab.agent("beta", "alpha", id=identity("beta", BETA, by="other-ca")).start()
    for x, y in ((a, "beta"), (b, "alpha")):
        d = refused(x.cli("up", y, "--timeout", "8"), 5, "certificate")
        check(x.peer(y)["state"] == "waiting", "state of %s" % y)
        check("epoch" not in x.peer(y), "something was installed")
        equal(d["class"], "auth", "class")


# --- 6: policy ---------------------------------------------------------------------------------------


@test
def no_common_suite_is_exit_6_on_both_sides(lab):
    a = lab.agent("alpha", lab.peer_of("beta", suites=["aes256gcm16"])).start()
    b = lab.agent("beta", lab.peer_of("alpha", suites=["aes128gcm16"])).start()
    for x, y in ((a, "beta"), (b, "alpha")):
        refused(x.cli("up", y, "--timeout", "20"), 6, "no suite in common", "aes256gcm16",
                "aes128gcm16")
        check("epoch" not in x.peer(y) and x.peer(y)["held"] == 0, "something was installed")


@test
def different_policies_are_exit_6_on_both_sides(lab):
    a = lab.agent("alpha", lab.peer_of("beta", udp=True)).start()
    b = lab.agent("beta", lab.peer_of("alpha")).start()
    for x, y in ((a, "beta"), (b, "alpha")):
        refused(x.cli("up", y, "--timeout", "8"), 6, "ESP in UDP", "on")
        check("epoch" not in x.peer(y), "something was installed")


@test
def different_addresses_are_exit_6(lab):
    # beta takes 127.0.0.3 for its address with alpha; both connections come from the expected addresses.
    a = lab.agent("alpha", "beta", "gamma").start()
    b = lab.agent(
        "beta", lab.peer_of("alpha", local=GAMMA), id=identity("beta", BETA, GAMMA),
        listen=["%s:%d" % (BETA, lab.port), "%s:%d" % (GAMMA, lab.port)],
    ).start()
    # From 127.0.0.3 it is gamma to alpha, and its certificate has that address: another pair.
    a.wait_up("gamma")
    equal(a.peer("beta")["state"], "waiting", "beta at alpha")
    b.stop()


# --- 7: the system -----------------------------------------------------------------------------------


def fault_test(call, role):
    @test(name="a failed %s at the %s is exit 7 and the old pair stays" % (call, role))
    def fails(lab):
        other = "listen" if role == "leader" else "dial"
        a, b = lab.pair(
            alpha={"test_fault": call + ":2"},
            peer_beta={"role": {"leader": "dial", "follower": "listen"}[role]},
            peer_alpha={"role": other},
            both={"defaults": {"rekey": {"min_interval_ms": 0}}},
        )
        with lab.pair_unchanged(a, b):
            refused(a.cli("rekey", "beta"), 7, "test fault", "epoch 1 ")
            p = until(lambda: [x for x in (a.peer("beta"),) if "error" in x], "the error is told")[0]
            equal(p["error"]["class"], "os", "class in status")
        wait_single_pair(a, b, limit=60)
        done = expect_exit(a.cli("rekey", "beta")).doc("rekey")
        check(int(done["epoch"]["new"]) > 2, "the epoch of the failed one came again")
        check("error" not in a.peer("beta"), "the error is still told")

    return fails


for call in ("reserve", "install", "activate"):
    for role in ("leader", "follower"):
        fault_test(call, role)


@test
def the_released_program_has_no_fault_injection(lab):
    with open(SAPAIR, "rb") as released, open(TEST_SAPAIR, "rb") as other:
        check(b"SAPAIR_TEST_FAULT" in other.read(), "the test program has no fault injection")
        check(b"SAPAIR_TEST_FAULT" not in released.read(), "the released program has fault injection")
    a = lab.agent("alpha", "beta")
    a.write_config(json.dumps(dict(a.config, test_fault="reserve:1")))
    refused(run_sapair("check", a.config_path, "--json"), 2, "test_fault")
    lab.agents.clear()


@test
def both_agents_report_a_failed_install(lab):
    for role, other in (("dial", "listen"), ("listen", "dial")):
        a, b = lab.pair(
            alpha={"test_fault": "activate:2"},
            peer_beta={"role": role}, peer_alpha={"role": other},
            both={"defaults": {"rekey": {"min_interval_ms": 0}}},
        )
        with lab.pair_unchanged(a, b):
            refused(b.cli("rekey", "alpha"), 7, "the peer refused", "epoch 1 ")
        a.stop()
        b.stop()
        lab.agents.clear()


def unknown_test(call, role):
    @test(name="a lost answer to %s at the %s leaves a pair that both can receive on" % (call, role))
    def unknown(lab):
        other = "listen" if role == "leader" else "dial"
        a, b = lab.pair(
            alpha={"test_fault": call + ":2?"},
            peer_beta={"role": {"leader": "dial", "follower": "listen"}[role]},
            peer_alpha={"role": other},
            both={"defaults": {"rekey": {"min_interval_ms": 0}}},
        )
        refused(a.cli("rekey", "beta"), 7, "test fault", "epoch 1 ")
        check("the peer refused" not in b.log(), "beta was told that alpha does not use the new pair: %s" % b.log())
        wait_single_pair(a, b, limit=60)
        expect_exit(a.cli("verify", "beta"))
        expect_exit(b.cli("verify", "alpha"))

    return unknown


for call in ("install", "activate"):
    for role in ("leader", "follower"):
        unknown_test(call, role)


@test
def a_permanent_install_failure_is_reported_and_leaves_nothing(lab):
    a = lab.agent("alpha", "beta", test_fault="activate:*").start()
    b = lab.agent("beta", "alpha").start()
    refused(a.cli("up", "beta", "--timeout", "10"), 7, "test fault", "activate the outbound SA")
    equal(a.peer("beta")["state"] in ("waiting", "pairing"), True, "state")
    expect_exit(a.cli("down", "beta"))
    equal(a.peer("beta")["held"], 0, "held by alpha")
    b.wait_peer("alpha", "holds nothing", lambda p: p["held"] == 0 and "epoch" not in p)


@test
def an_address_in_use_is_exit_7_with_its_cause(lab):
    with socket.socket() as s:
        s.bind((ALPHA, lab.port))
        s.listen(1)
        a = lab.agent("alpha", "beta")
        a.write_config()
        refused(run_sapair("run", "--config", a.config_path, "--json"), 7, "cannot listen on",
                "%s:%d" % (ALPHA, lab.port), "in use", "--listen")
    check(not os.path.exists(a.control), "a socket was left")
    # The UDP port is needed too.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((ALPHA, lab.port))
        a.start(ready=False)
        b = lab.agent("beta", "alpha").start()

        def told():
            if not a.alive():
                return True
            try:
                p = a.peer("beta")
            except Gone:
                return False
            return p and p.get("error", {}).get("class") == "os"

        until(told, "the UDP port in use is told")
        if not a.alive():
            equal(a.wait_exit(), 7, "exit of alpha")
            a.process = None
        has(a.log(), str(lab.port), "log")
        has(a.log(), "in use", "log")
    if not a.alive():
        a.start()
    wait_paired(a, b)


@test
def an_address_that_is_not_ours_is_exit_7(lab):
    a = lab.agent("alpha", "beta", listen="192.0.2.77:%d" % lab.port)
    a.write_config()
    refused(run_sapair("run", "--config", a.config_path, "--json"), 7, "cannot listen on 192.0.2.77",
            "address of this host")


# --- 8: proof ----------------------------------------------------------------------------------------


@test
def sas_that_carry_nothing_are_exit_8(lab):
    # alpha sends its ESP to a port without a listener.
    a = lab.agent("alpha", lab.peer_of("beta", esp_port=lab.free_port())).start()
    b = lab.agent("beta", "alpha").start()
    d = refused(a.cli("up", "beta"), 8, "nothing arrived", "received 0", "filtered")
    p = a.wait_peer("beta", "is up but not proven", lambda p: p["state"] == "up" and not p["verified"])
    has(d["cause"], p["out"]["spi"], "cause")
    equal(p["error"]["class"], "verify", "error in status")
    r = a.cli("verify", "beta", "--count", "5")
    refused(r, 8, "nothing arrived")
    v = r.doc("verify")
    equal((v["verified"], v["probes"]["arrived"], v["probes"]["echoed"]), (False, 0, 0), "verify")
    r = a.cli("rekey", "beta")
    refused(r, 8)
    d = r.doc("rekey")
    equal(d["verified"], False, "verified in the receipt")
    expect_exit(a.cli("up", "beta", "--no-verify"))
    expect_exit(a.cli("rekey", "beta", "--no-verify"))


@test
def probes_without_an_echo_are_exit_8(lab):
    a = lab.agent("alpha", "beta").start()
    b = lab.agent("beta", "alpha", test_fault="send:*").start()
    refused(a.cli("up", "beta"), 8, "our probes arrive", "no echo")
    r = a.cli("verify", "beta", "--count", "5")
    refused(r, 8, "our probes arrive", "filtered on the way from the peer")
    v = r.doc("verify")
    equal((v["verified"], v["probes"]["echoed"]), (False, 0), "verify")
    check(v["probes"]["arrived"] > 0, "arrived: %s" % v)
    refused(b.cli("verify", "alpha"), 7, "test fault")  # the SAs were not installed


# --- 9: permission -----------------------------------------------------------------------------------


@test
def a_key_that_others_can_read_is_exit_9(lab):
    id = identity("alpha")
    key = lab.write("open.key", open(id.key).read(), 0o644)
    a = lab.agent("alpha", "beta", key=key)
    a.write_config()
    for words in (["run", "--config", a.config_path], ["check", a.config_path]):
        refused(run_sapair(*words, "--json"), 9, key, "0644", "chmod 600")
    os.chmod(key, 0o600)
    ppk = lab.write("ppk", "ab" * 32, 0o640)
    a.config["peers"] = [lab.peer_of("beta", ppk=ppk)]
    a.write_config()
    for words in (["run", "--config", a.config_path], ["check", a.config_path]):
        refused(run_sapair(*words, "--json"), 9, ppk, "chmod 600")


@test
def a_config_that_others_can_write_is_exit_9(lab):
    a = lab.agent("alpha", "beta")
    a.write_config()
    os.chmod(a.config_path, 0o666)
    refused(run_sapair("run", "--config", a.config_path, "--json"), 9, a.config_path, "0666", "chmod")


@test
def another_users_agent_is_exit_9(lab):
    if os.geteuid() != 0:
        raise Skip("needs root to act as another user")
    a, b = lab.pair()
    for folder in (store, lab.dir):
        os.chmod(folder, 0o711)
    if not os.access(SAPAIR, os.X_OK):
        raise Skip("other users cannot reach the program")
    try:
        r = run_sapair("status", "--control", a.control, "--json", user=NOBODY, cwd="/")
    except PermissionError:
        raise Skip("other users cannot reach the program")
    refused(r, 9, a.control)
    # Even if the socket is open to all users, the agent checks the user.
    os.chmod(a.control, 0o777)
    r = run_sapair("status", "--control", a.control, "--json", user=NOBODY, cwd="/")
    check(r.rc in (3, 9), "another user got in:\n%s" % r)
    check("sapair.status" not in r.out, "another user got an answer:\n%s" % r)
    wait_paired(a, b)


# --- stopping ----------------------------------------------------------------------------------------


@test
def sigterm_sigint_and_stop_end_the_agent_cleanly_at_any_time(lab):
    a, b = lab.pair()
    for end in (signal.SIGTERM, signal.SIGINT, "stop"):
        if end == "stop":
            expect_exit(a.cli("stop"))
        else:
            a.signal(end)
        equal(a.wait_exit(), 0, "exit after %s" % end)
        check(not os.path.exists(a.control), "the socket is left after %s" % end)
        # The peer keeps its pair: an agent that exits removes no protection.
        equal(b.peer("alpha")["state"], "up", "state at the peer")
        a.start()
        wait_paired(a, b)
    for pause in (0, 0.002, 0.01, 0.03):  # during the start
        b.stop()
        b.start(ready=False)
        time.sleep(pause)
        b.signal(signal.SIGTERM)
        check(b.wait_exit() in (0, -signal.SIGTERM), "exit at a start")
        b.process = None
        b.start()
    wait_paired(a, b)


if __name__ == "__main__":
    main(Lab)
