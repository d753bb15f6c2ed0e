#!/usr/bin/env python3
"""scripts/check-layers.py finds what it is there for, and names the edge."""

import importlib.util
import os
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from harness.tap import equal, main, test  # noqa: E402

spec = importlib.util.spec_from_file_location("layers", os.path.join(ROOT, "scripts", "check-layers.py"))
layers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(layers)

LINK, PEER, LOOP = "agent/daemon/link/link", "agent/daemon/peer/peer", "agent/daemon/loop"


def faults_of(uses, owner):
    layers.faults.clear()
    layers.check_circles(layers.check_calls(owner, uses))
    return list(layers.faults)


@test
def a_call_downwards_is_allowed():
    equal(faults_of({PEER: ({"link_close"}, set()), LINK: (set(), set())}, {"link_close": LINK}), [], "faults")


@test
def a_call_upwards_names_both_files_and_the_function():
    found = faults_of({LINK: ({"peer_judge"}, set())}, {"peer_judge": PEER})
    equal(found, ["%s.c: calls peer_judge of %s.c, which is not in a lower layer" % (LINK, PEER)], "faults")


@test
def a_reference_upwards_from_a_table_is_a_fault_unless_it_is_listed():
    uses, owner = {LOOP: (set(), {"link_ops"})}, {"link_ops": LINK}
    equal(len(faults_of(uses, owner)), 1, "faults of one that is not listed")
    layers.TABLES.add((LOOP, "link_ops"))
    equal(faults_of(uses, owner), [], "faults of one that is")
    layers.TABLES.discard((LOOP, "link_ops"))


@test
def a_cycle_within_a_folder_is_reported_with_its_edges():
    a, b, c = ("agent/daemon/link/" + n for n in ("link", "listen", "tls"))
    found = faults_of({a: ({"listen_x"}, set()), b: ({"tls_x"}, set()), c: ({"link_x"}, set())},
                      {"listen_x": b, "tls_x": c, "link_x": a})
    equal(len(found), 1, "faults")
    equal([line.strip() for line in found[0].splitlines()[1:]],
          ["%s -> %s (listen_x)" % (a, b), "%s -> %s (tls_x)" % (b, c), "%s -> %s (link_x)" % (c, a)], "edges")


@test
def an_include_upwards_names_the_line():
    layers.faults.clear()
    layers.check_include("proto/wire/msg.c", 7, "agent/os/os.h", False)
    layers.check_include("agent/daemon/link/link.c", 9, "mbedtls/ssl.h", True)
    equal(layers.faults, ["proto/wire/msg.c:7: includes agent/os/os.h, which is not in a lower layer",
                          "agent/daemon/link/link.c:9: <mbedtls/ssl.h> outside crypto/"], "faults")


if __name__ == "__main__":
    main()
