#!/usr/bin/env python3
"""Output for other tools: metrics for Prometheus, completions for shells; doctor."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.lab import Lab
from harness.program import expect_exit, need_faketime, run_sapair
from harness.settings import ALPHA
from harness.tap import check, equal, has, main, test

SAMPLE = re.compile(r'^([a-z_:]+)(?:\{((?:[a-z]+="[^"\\]*",?)*)\})? (-?[0-9.e+-]+)$')


def samples(text):
    """{(name, labels): value}, by the rules of the format."""
    found, typed, told = {}, {}, set()
    for line in text.splitlines():
        m = re.match(r"^# (HELP|TYPE) (\S+) (.+)$", line)
        if m:
            check((m.group(1), m.group(2)) not in told, "told twice: %s" % line)
            told.add((m.group(1), m.group(2)))
            if m.group(1) == "TYPE":
                typed[m.group(2)] = m.group(3)
            continue
        m = SAMPLE.match(line)
        check(m, "no sample: %r" % line)
        check(m.group(1) in typed, "%s has no type" % m.group(1))
        key = (m.group(1), m.group(2) or "")
        check(key not in found, "twice: %s" % line)
        found[key] = float(m.group(3))
    for name, kind in typed.items():
        check(kind in ("gauge", "counter"), "%s: %s" % (name, kind))
        check(kind != "counter" or name.endswith("_total"), "%s is a counter" % name)
    return found


@test
def metrics_have_the_format_of_prometheus(lab):
    a, _ = lab.pair()
    expect_exit(a.cli("verify", "beta", "--count", "20"))
    got = samples(expect_exit(a.cli("metrics", json_out=False)).out)
    equal(got["sapair_peer_up", 'peer="beta"'], 1, "up")
    equal(got["sapair_peer_verified", 'peer="beta"'], 1, "verified")
    equal(got["sapair_exchanges_total", 'peer="beta"'], 1, "exchanges")
    check(got["sapair_sa_packets", 'peer="beta",direction="out"'] >= 20, "packets: %s" % got)
    check(got["sapair_verify_rtt_seconds", 'peer="beta"'] < 10, "seconds, not milliseconds")
    ends = {k[1]: v for k, v in got.items() if k[0] == "sapair_cert_expiry_timestamp_seconds"}
    equal(len(ends), 2, "certificates")
    check(all(v > time.time() for v in ends.values()), "ends: %s" % ends)
    path = os.path.join(lab.dir, "sapair.prom")
    expect_exit(a.cli("metrics", "--file", path, json_out=False))
    with open(path) as f:
        equal(set(samples(f.read())), set(got), "the same in a file")
    equal(expect_exit(a.cli("metrics")).doc("status")["name"], "alpha", "with --json the status")
    expect_exit(a.cli("down", "beta"))
    got = samples(expect_exit(a.cli("metrics", json_out=False)).out)
    equal(got["sapair_peer_up", 'peer="beta"'], 0, "after down")
    a.stop()
    expect_exit(a.cli("metrics"), 3)


def complete(words):
    """The completions that bash offers for the last word."""
    script = expect_exit(run_sapair("completion", "bash")).out + """
COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _sapair
printf '%%s\\n' "${COMPREPLY[@]}"
""" % " ".join("'%s'" % w for w in words)
    r = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=20)
    equal(r.stderr, "", "what bash says")
    return r.stdout.split()


@test
def bash_completes_verbs_and_options(lab):
    check({"run", "lab", "rekey"} <= set(complete(["sapair", ""])), "verbs")
    equal(complete(["sapair", "rek"]), ["rekey"], "rek")
    check({"up", "down", "init"} <= set(complete(["sapair", "lab", ""])), "verbs of lab")
    equal(complete(["sapair", "rekey", "beta", "--para"]), ["--parallel"], "an option")
    equal(complete(["sapair", "lab", "up", "x.json", "--he"]), ["--here", "--help"], "options")
    equal(complete(["sapair", "run", "--config", "f"]), [], "files are bash's own")


@test
def other_shells_accept_their_completions(lab):
    for shell, check_words in (("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"]),
                               ("powershell", None)):
        text = expect_exit(run_sapair("completion", shell)).out
        has(text, "sapair")
        has(text, "--parallel" if shell != "fish" else "-l parallel")
        path = os.path.join(lab.dir, shell)
        with open(path, "w") as f:
            f.write(text)
        if check_words and shutil.which(check_words[0]):
            r = subprocess.run([*check_words, path], capture_output=True, text=True)
            equal((r.returncode, r.stderr), (0, ""), shell)
    has(expect_exit(run_sapair("completion", "tcsh"), 2).err, "unknown shell")



def checks(result):
    """{(check, peer): (state, text, hint)}"""
    return {(c["check"], c.get("peer", "")): (c["state"], c["text"], c.get("hint", ""))
            for c in result.doc("doctor")["checks"]}


@test
def doctor_finds_nothing_wrong_with_a_good_pair(lab):
    a, _ = lab.pair()
    got = checks(expect_exit(a.cli("doctor", "--config", a.config_path)))
    for check_ in (("config", ""), ("certificate", ""), ("agent", ""), ("pair", "beta")):
        equal(got[check_][0], "ok", "%s: %s" % (check_, got.get(check_)))
    check(not [c for c in got.values() if c[0] == "fail"], "findings: %s" % got)
    expect_exit(a.cli("doctor", "nobody", "--config", a.config_path), 2)


@test
def doctor_names_cause_and_next_step(lab):
    a, b = lab.pair()
    b.stop()
    a.wait_error("beta", "timeout")
    r = a.cli("doctor", "beta", "--config", a.config_path)
    got = checks(r)
    equal((got["way", "beta"][0], r.rc), ("fail", 4), "a peer that does not run: %s" % got)
    has(got["way", "beta"][1], "refused")
    has(got["way", "beta"][2], "start the agent there")
    a.stop()
    r = a.cli("doctor", "--config", a.config_path)
    got = checks(r)
    equal((got["agent", ""][0], got["agent", ""][2]), ("warn", "start it with \"sapair run\""), "no agent")
    equal(got["back end", ""][1], "soft", "the back end is tried")
    a.config["key"] = shutil.copy(a.config["key"], lab.path("own.key"))
    a.write_config()
    os.chmod(a.config["key"], 0o644)
    got = checks(a.cli("doctor", "--config", a.config_path))
    equal(got["identity", ""][0], "fail", "a key that others can read")
    has(got["identity", ""][2], "chmod 600")
    with open(a.config_path, "w") as f:
        f.write('{"peers": [{"adress": "192.0.2.2"}]}')
    r = a.cli("doctor", "--config", a.config_path)
    equal((checks(r)["config", ""][0], r.rc), ("fail", 2), "a wrong config")
    has(checks(r)["config", ""][1], "line 1, column")


@test
def doctor_looks_at_addresses_ports_links_and_suites(lab):
    a, _ = lab.pair()
    got = checks(expect_exit(a.cli("doctor", "--config", a.config_path)))
    equal(got["addresses", ""][0], "ok", "addresses: %s" % got)
    has(got["mtu", "beta"][1], "lo carries packets of 65536 bytes, 65474 inside ESP")
    a.stop()
    got = checks(a.cli("doctor", "--config", a.config_path))
    equal((got["port", ""][0], got["suites", ""][0]), ("ok", "ok"), "port and suites: %s" % got)
    taken = socket.create_server((ALPHA, lab.port))
    r = a.cli("doctor", "--config", a.config_path)
    taken.close()
    equal((checks(r)["port", ""][0], r.rc), ("fail", 2), "a port that is taken: %s" % r)
    has(checks(r)["port", ""][1], "in use by another program")
    has(checks(r)["port", ""][2], "ss -ltnp")
    a.config["peers"][0]["local"] = "192.0.2.77"
    a.write_config()
    r = a.cli("doctor", "--config", a.config_path)
    equal((checks(r)["addresses", ""][0], r.rc), ("fail", 2), "an address without a host: %s" % r)
    has(checks(r)["addresses", ""][1], "beta: no interface of this host has 192.0.2.77")


@test
def doctor_detects_a_wrong_clock(lab):
    shim = need_faketime()
    a = lab.agent("alpha", lab.peer_of("beta"))
    a.write_config()
    for shift, check_, part in (("-1d", "clock", "is not valid before"), ("+10y", "certificate", "expired at")):
        r = run_sapair("doctor", "--config", a.config_path, "--json", "--control", a.control, limit=60,
                 env=dict(os.environ, LD_PRELOAD=shim, FAKETIME=shift))
        got = checks(r)
        equal(got[check_, ""][0], "fail", "%s: %s" % (shift, got))
        has(got[check_, ""][1], part)
        has(got[check_, ""][2], "clock")


if __name__ == "__main__":
    main(Lab)
