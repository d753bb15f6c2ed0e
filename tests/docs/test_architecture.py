#!/usr/bin/env python3
"""docs/architecture.md: its map of modules is that of the files."""

import glob
import os
import re
import sys

from docs import ROOT, bare, equal, read, run_all, section, source, table, test

doc = read("docs/architecture.md")
FLOORS = {
    "### crypto/: the only home of mbedTLS": ["crypto"],
    "### proto/: every byte from outside becomes a typed struct here": ["proto"],
    "### agent/os/ and agent/sadb/: the system": ["agent/os", "agent/sadb"],
    "### agent/daemon/: one running agent": ["agent/daemon"],
    "### agent/cli/ and agent/main.c: verbs": ["agent/cli"],
}


def modules(folder):
    """Names of files, without the system where there is one for each; back ends of one system are
    their own business."""
    names = set()
    for path in glob.glob(os.path.join(ROOT, folder, "*.[ch]")):
        name = os.path.splitext(os.path.basename(path))[0]
        if not re.search(r"_(xfrm|wfp|soft)$|^helper_", name):
            names.add(re.sub(r"_(linux|win)$", "", name))
    return names


@test
def every_module_is_on_the_map():
    for heading, folders in FLOORS.items():
        shown = {bare(r[0]) for r in table(section(doc, heading))}
        equal(sorted(shown), sorted(set().union(*map(modules, folders))), heading)


@test
def every_call_of_a_back_end_is_in_the_interface():
    text = re.search(r"struct sadb_ops \{(.*?)\n\};", source("agent/sadb/sadb.h"), re.S).group(1)
    calls = re.findall(r"\(\*(\w+)\)", text)
    shown = [n for r in table(section(doc, "## Adding a back end")) for n in bare(r[0]).split(", ")]
    equal([n for n in shown if n not in calls], [], "calls that there are not")


sys.exit(run_all())
