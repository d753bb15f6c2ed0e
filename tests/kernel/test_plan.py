#!/usr/bin/env python3
"""plan, clean, and policies installed before the agent starts."""

import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent import wait_paired
from harness import schema
from harness.kernel import main
from harness.netns import inside, sh, v4
from harness.settings import SAPAIR
from harness.tap import check, equal, test


def verb(w, host, *words, rc=0):
    p = subprocess.run(inside(host) + [SAPAIR, *words, "--json"], capture_output=True, text=True,
                       stdin=subprocess.DEVNULL, timeout=60)
    check(p.returncode == rc, "%s: exit %d, wanted %d\n%s%s" % (words, p.returncode, rc, p.stdout, p.stderr))
    docs = [json.loads(line) for line in p.stdout.splitlines()]
    for d in docs:
        wrong = schema.faults(d, schema.of_document(d["schema"]), strict=True)
        check(not wrong, "%s against its schema: %s" % (d, wrong))
    return docs


def changes(docs):
    return sorted({d["change"] for d in docs})


@test
def run_does_what_plan_lists(w):
    a = w.agent("alpha", "beta")
    b = w.agent("beta", "alpha")
    a.write_config()
    before = verb(w, "alpha", "plan", a.config_path, rc=10)
    equal(changes(before), ["add"], "changes")
    equal((w.states("alpha"), w.policies("alpha")), ([], []), "what plan did")
    a.start()
    b.start()
    wait_paired(a, b)
    after = verb(w, "alpha", "plan", a.config_path)
    equal(changes(after), ["keep"], "changes")
    planned = sorted(str({k: v for k, v in d.items() if k not in ("change", "spi")}) for d in before)
    there = sorted(str({k: v for k, v in d.items() if k not in ("change", "spi")}) for d in after)
    equal(there, planned, "what is there")
    for p in w.policies("alpha"):
        check(any(d["object"] == "policy" and "src %s/32 dst %s/32" % (d["source"], d["destination"]) in p
                  and "priority %d" % d["priority"] in p for d in before), "not planned: %s" % p)


@test
def clean_removes_what_a_dead_agent_left_and_nothing_else(w):
    a, b = w.pair()
    sh("ip", "xfrm", "policy", "add", "src", v4("alpha"), "dst", "10.9.0.77", "dir", "out", "action",
       "block", host="alpha")
    r = a.run("clean")
    check(r.rc == 2 and "an agent is running" in r.err, "clean beside an agent: %s" % r)
    w.at_rest("alpha")
    a.kill()
    docs = verb(w, "alpha", "clean", "--check", rc=10)
    equal((len(docs), changes(docs)), (6, ["stale"]), "what is left")
    w.at_rest("alpha")
    docs = verb(w, "alpha", "clean")
    equal((len(docs), changes(docs)), (6, ["remove"]), "what was removed")
    equal((len(w.states("alpha")), len(w.policies("alpha"))), (0, 1), "SAs and policies")
    equal(verb(w, "alpha", "clean", "--check"), [], "what is left")


@test
def clean_waits_for_the_helper_of_a_killed_agent_and_then_leaves_nothing(w):
    a, b = w.pair()
    helper = a.helper()
    os.kill(helper, signal.SIGSTOP)  # as if it got no processor time
    a.kill()
    clean = subprocess.Popen(inside("alpha") + [SAPAIR, "clean"], stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    equal(clean.poll(), None, "clean's exit status while the helper is there")
    equal(len(w.policies("alpha")), 4, "policies while the helper is there")
    os.kill(helper, signal.SIGCONT)
    text = clean.communicate(timeout=20)[0]
    equal((clean.returncode, w.policies("alpha"), w.states("alpha")), (0, [], []), "after clean: %s" % text)
    time.sleep(0.5)
    equal(w.policies("alpha"), [], "policies a moment later")


@test
def what_a_stopped_helper_still_manages_is_not_cleaned(w):
    a, b = w.pair()
    helper = a.helper()
    os.kill(helper, signal.SIGSTOP)
    a.kill()
    try:
        r = a.run("clean")
        check(r.rc == 2 and "process %d " % helper in r.err, "clean beside a stopped helper: %s" % r)
        verb(w, "alpha", "plan", a.config_path, "--apply", rc=2)
        equal(len(w.policies("alpha")), 4, "policies")
    finally:
        os.kill(helper, signal.SIGKILL)
    equal(a.run("clean").rc, 0, "clean when the helper is gone")
    equal(w.policies("alpha"), [], "policies at the end")


@test
def another_user_cannot_hold_the_lock_against_an_agent(w):
    squatter = subprocess.Popen(
        inside("alpha") + ["setpriv", "--reuid", "65534", "--clear-groups", sys.executable, "-c",
        "import socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
        "s.bind(chr(0) + 'sapair-xfrm'); s.listen(); print('held', flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE, text=True)
    try:
        equal(squatter.stdout.readline(), "held\n", "the lock's name is held by another user")
        a, b = w.pair()
        check("continuing without the lock" in a.log(), "the log names the user: %s" % a.log())
    finally:
        squatter.kill()
        squatter.wait()


@test
def policies_installed_before_the_agent_block_traffic_and_are_recovered(w):
    a = w.agent("alpha", "beta")
    b = w.agent("beta", "alpha")
    for agent in (a, b):
        agent.write_config()
        verb(w, agent.name, "plan", agent.config_path, "--apply")
    equal(changes(verb(w, "alpha", "plan", a.config_path, rc=10)), ["add", "keep"], "changes")
    u = w.udp(rate=200)
    time.sleep(0.3)
    x, y = u.over()
    equal((x["received"], y["received"]), (0, 0), "datagrams that passed")
    w.flows.clear()
    a.start()
    b.start()
    wait_paired(a, b)
    equal(len(w.policies("alpha")), 4, "policies")


@test
def a_conflicting_policy_of_another_program_is_named_and_the_others_stay(w):
    sh("ip", "xfrm", "policy", "add", "src", v4("beta"), "dst", v4("alpha"), "dir", "in", "action",
       "allow", host="alpha")
    before = w.policies("alpha")
    a = w.agent("alpha", "beta").start()
    e = a.wait_error("beta", "os", "somebody else")
    check("ip xfrm policy" in e["hint"], "hint: %s" % e)
    check(set(before) < set(w.policies("alpha")), "policies: %s" % w.policies("alpha"))
    check(any("dir out" in p and "proto esp" in p for p in w.policies("alpha")), "the pair is not blocked")
    sh("ip", "xfrm", "policy", "delete", "src", v4("beta"), "dst", v4("alpha"), "dir", "in", host="alpha")
    b = w.agent("beta", "alpha").start()
    wait_paired(a, b)  # by itself, once the conflict is gone


if __name__ == "__main__":
    main()
