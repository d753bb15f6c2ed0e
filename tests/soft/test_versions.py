#!/usr/bin/env python3
"""Peers of another protocol version: negotiated down, or refused with both versions named."""

import contextlib
import json
import os
import socket
import ssl
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.control import Control
from harness.hostile import Closed, Link, connect, connect_tls, context_of, hello, offer
from harness.identity import identity
from harness.lab import Lab
from harness.program import expect_exit, run_sapair
from harness.tap import Failure, check, equal, has, main, test


def alpha(lab):
    return lab.agent("alpha", lab.peer_of("gamma", role="listen")).start()


def dial_with(a, lab, names):
    id = identity("gamma")
    context = context_of(lab, "client", id)
    context.set_alpn_protocols(names)
    link = Link(context.wrap_socket(connect(a, lab)), context, True, id)
    lab.cleanups.append(link.close)
    return link


@test
def a_newer_peer_that_speaks_this_version_too_gets_a_pair(lab):
    a = alpha(lab)
    link = dial_with(a, lab, ["sapair/9", "sapair/2", "sapair/1"])
    equal(link.tls.selected_alpn_protocol(), "sapair/1", "the version that was chosen")
    link.hello(agent="sapair/9.0.0").pair()
    a.wait_peer("gamma", "is up", lambda p: p["state"] == "up")


@test
def a_peer_of_newer_versions_only_is_refused_by_name(lab):
    a = alpha(lab)
    try:
        dial_with(a, lab, ["sapair/2"]).hello()
        raise Failure("a link with sapair/2")
    except (Closed, ssl.SSLError, ConnectionError):
        pass
    e = a.wait_error("gamma", "refused", "sapair/1")
    equal(e["exit"], 6, "exit")


@test
def a_hello_of_a_newer_version_is_answered_with_both_versions(lab):
    a = alpha(lab)
    for version in (2, 4294967295):
        link = connect_tls(a, lab, identity("gamma"))
        link.send(hello(version=version))
        end = [m for m in link.until_closed() if m["type"] == "error"]
        equal([m["reason"] for m in end], ["version"], "how the link ended")
        has(end[0]["text"], "version 1 here, %d at the peer" % version, "text")


@test
def unknown_members_and_messages_are_refused(lab):
    """protocol.md, section 13: any new member needs a new version, so none may be ignored."""
    a = alpha(lab)
    for m in (hello(future=True), {"type": "future"}):
        link = connect_tls(a, lab, identity("gamma"))
        link.send(m)
        end = [m for m in link.until_closed() if m["type"] != "hello"]
        equal([(m["type"], m["reason"]) for m in end], [("error", "malformed")], "how the link ended")


@test
def an_unknown_suite_ends_the_link_and_installs_nothing(lab):
    a = alpha(lab)
    link = connect_tls(a, lab, identity("gamma")).hello()
    link.send(offer(1, suites=["aes512gcm32", "aes256gcm16"]))
    end = [m for m in link.until_closed() if m["type"] == "error"]
    equal([m["reason"] for m in end], ["malformed"], "how the link ended")
    check("epoch" not in a.peer("gamma"), "a pair: %s" % a.peer("gamma"))


def agent_that_says(lab, *docs):
    """A control socket that answers every request with these lines."""
    path = lab.path("future.sock")
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(4)
    lab.cleanups.append(s.close)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                c = s.accept()[0]
                c.recv(4096)
                c.sendall(b"".join(json.dumps(d).encode() + b"\n" for d in docs))
                c.close()

    threading.Thread(target=serve, daemon=True).start()
    return path


@test
def an_older_client_omits_members_that_it_does_not_know(lab):
    end = {"schema": "sapair.end/1", "exit": 0}
    for docs in ([{"schema": "sapair.status/2", "pairs": []}, end], [{"schema": "sapair.end/9"}]):
        path = agent_that_says(lab, *docs)
        for words in ([], ["--json"]):
            r = run_sapair("status", "--control", path, *words)
            equal(r.rc, 2, "exit: %s" % r)
            has(r.out + r.err, docs[0]["schema"])
            check("no peers" not in r.out, r.out)
        os.unlink(path)
    # An unknown member does not mean another version.
    path = agent_that_says(lab, {"schema": "sapair.status/1", "peers": [], "more": 1}, end)
    expect_exit(run_sapair("status", "--control", path))


@test
def requests_of_a_newer_program_are_refused_by_name(lab):
    a = alpha(lab)
    for request, part in (({"verb": "teleport"}, "verb: must be"), ({"verb": "status", "depth": 3}, "depth")):
        with Control(a.control) as c:
            c.send(request)
            d = c.line()
            equal((d["schema"], d["class"]), ("sapair.error/1", "usage"), "reply")
            has(d["cause"], part)
    check(a.status(), "the agent goes on")


if __name__ == "__main__":
    main(Lab)
