#!/usr/bin/env python3
"""docs/config.md and docs/examples/*.json against proto/config/config.c and `sapair check`."""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from docs import ROOT, SAPAIR, bare, check, equal, number, read, run_all, section, source, table, test

doc = read("docs/config.md")
code = source("proto/config/config.c", "proto/config/config.h", "proto/wire/msg.h", "crypto/cert.h")


def define(name):
    m = re.search(r"#define %s (.+)" % name, code)
    return number(m.group(1)) if m else number(name)


def rows(heading):
    return {bare(r[0]): r[1:] for r in table(section(doc, heading))}


def fields(name):
    return re.search(r"%s\[\] = \{(.*?)\n\};" % name, code, re.S).group(1)


def option_names():
    """Of the macro OPTIONS, with the members of rekey and hard in place of these two."""
    text = re.search(r"#define OPTIONS\(base\)(.*?)\n\n", code, re.S).group(1)
    names = []
    for a, b in re.findall(r"OPTION\(base, (\w+)|\{\"(\w+)\"", text):
        name = a or b
        if name in ("rekey", "hard"):
            names += [name + "." + n for n in
                      re.findall(r"LIMIT\(\"(\w+)\"", fields(name + "_fields"))]
        else:
            names.append(name)
    return names


@test
def members_of_the_agent_are_those_of_the_code():
    want = [n for t in re.findall(r"CONFIG\(\"(\w+)\"|\{\"(\w+)\"|PATH\((\w+)\)",
                                  fields("config_fields")) for n in t if n]
    equal(sorted(rows("## Agent")), sorted(want), "members")


@test
def members_of_a_peer_are_those_of_the_code():
    want = [n for t in re.findall(r"\{\"(\w+)\"|PEER\((\w+)", fields("peer_fields")) for n in t if n]
    equal(sorted(rows("## Peer")), sorted(want), "members")


@test
def options_are_those_of_the_code():
    equal(sorted(rows("## Options")), sorted(option_names()), "options")


@test
def ranges_and_defaults_of_numbers_are_those_of_the_code():
    shown = rows("## Options")
    for group in ("rekey", "hard"):
        for name, at, get, low, high in re.findall(
                r"LIMIT\(\"(\w+)\", (\w+), (\w+), (\w+), (\w+)\)", fields(group + "_fields")):
            row = shown[group + "." + name]
            if get == "get_count":
                check(row[1] == "0 or more", "%s.%s: range" % (group, name))
            else:
                equal(row[1], "%d to %d" % (define(low), define(high)), group + "." + name)
            m = re.search(r"\.%s = (\d+)" % at, code)
            equal(row[2], m.group(1) if m else "0", "default of %s.%s" % (group, name))
    for name in ("switch_ms", "drain_ms"):
        equal(shown[name][1], "0 to %d" % define("MS_MAX"), name)
    for name in ("switch_ms", "drain_ms", "window"):
        equal(shown[name][2], re.search(r"\.%s = (\d+)" % name, code).group(1), name)


@test
def words_are_those_of_the_code():
    options, agent = rows("## Options"), rows("## Agent")
    for array, row in (("roles", options["role"]), ("modes", options["mode"]),
                       ("starts", options["start"]), ("encaps", options["encap"]),
                       ("levels", agent["log"])):
        m = re.search(r"\b%s\[\] = \{(.*?)NULL" % array, code)
        want = " ".join("`%s`" % w for w in re.findall(r"\"(\w+)\"", m.group(1)))
        equal(row[1], want, array)


@test
def default_suites_are_those_of_the_code():
    names = re.findall(r"\{\"([\w-]+)\", SUITE_\w+(?:, \d+){5}, true", source("proto/base/suite.c"))
    equal(rows("## Options")["suites"][2], " ".join("`%s`" % n for n in names), "suites")


@test
def limits_of_lists_are_those_of_the_code():
    check("0 to %d of" % define("CONFIG_LISTEN_MAX") in rows("## Agent")["listen"][1], "listen")
    equal(rows("## Agent")["peers"][1], "0 to %d" % define("CONFIG_PEERS_MAX"), "peers")
    check("1 to %d of" % define("PROTECT_MAX") in rows("## Options")["protect"][1], "protect")


@test
def the_whole_example_has_every_member():
    full = json.loads(read("docs/examples/full.json"))
    check("```json\n" + read("docs/examples/full.json") + "```" in doc,
          "the example in the document is not docs/examples/full.json")
    equal(sorted(set(full) | {"test_fault"}), sorted(rows("## Agent")), "members of the agent")
    options = set()
    for k, v in full["defaults"].items():
        options |= {k + "." + n for n in v} if isinstance(v, dict) else {k}
    equal(sorted(options), sorted(rows("## Options")), "options")
    peers = {k for p in full["peers"] for k in p}
    missing = set(rows("## Peer")) - peers
    check(not missing, "no peer has %s" % ", ".join(sorted(missing)))


@test
def every_example_passes_check():
    with tempfile.TemporaryDirectory() as folder:
        for args in (["ca", "new", "--dir", "."],
                     ["ca", "issue", "alpha", "--address", "192.0.2.1", "--dir", "."]):
            subprocess.run([SAPAIR, *args], cwd=folder, check=True, capture_output=True)
        for kind in ("crt", "key"):
            shutil.copy(os.path.join(folder, "alpha." + kind), os.path.join(folder, "sapair." + kind))
        with open(os.open(os.path.join(folder, "beta.ppk"), os.O_CREAT | os.O_WRONLY, 0o600),
                  "w") as f:
            f.write("00" * 32 + "\n")
        shutil.copy(os.path.join(ROOT, "docs", "examples", "deny.txt"), folder)
        for path in sorted(glob.glob(os.path.join(ROOT, "docs", "examples", "*.json"))):
            if '"hosts"' in read(path):
                continue  # a lab file: test_schema.py and docs/lab.md
            name = os.path.join(folder, os.path.basename(path))
            shutil.copy(path, name)
            os.chmod(name, 0o600)
            r = subprocess.run([SAPAIR, "check", name, "--json"], capture_output=True, text=True)
            check(r.returncode == 0, "%s: %s%s" % (path, r.stdout, r.stderr))
            warnings = json.loads(r.stdout)["warnings"]
            check(not warnings, "%s: %s" % (path, warnings))


sys.exit(run_all())
