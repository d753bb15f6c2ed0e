#!/usr/bin/env python3
"""docs/architecture.md lists the modules that exist."""

import glob
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.documents import bare, read, section, source, table
from harness.settings import ROOT
from harness.tap import equal, main, test

doc = read("docs/architecture.md")


def folders():
    """Folders of the program's own source, from the top."""
    found = set()
    for top in ("crypto", "proto", "agent"):
        for where, _, files in os.walk(os.path.join(ROOT, top)):
            if any(f.endswith((".c", ".h")) and f != "main.c" for f in files):
                found.add(os.path.relpath(where, ROOT))
    return sorted(found)


def modules(folder):
    """Names of the files of a folder, without the suffix of a system."""
    names = set()
    for path in glob.glob(os.path.join(ROOT, folder, "*.[ch]")):
        names.add(re.sub(r"_(linux|win)$", "", os.path.splitext(os.path.basename(path))[0]))
    return names - {"main"}


@test
def every_module_is_on_the_map_of_its_folder():
    headings = re.findall(r"^### ((\S+)/: .*)$", doc, re.M)
    equal(sorted(h[1] for h in headings), folders(), "folders with a map")
    for heading, folder in headings:
        shown = {bare(r[0]) for r in table(section(doc, "### " + heading))}
        equal(sorted(shown), sorted(modules(folder)), heading)


@test
def every_call_of_a_back_end_is_in_the_interface():
    text = re.search(r"struct ipsec_ops \{(.*?)\n\};", source("agent/ipsec/ipsec.h"), re.S).group(1)
    calls = re.findall(r"\(\*(\w+)\)", text)
    shown = [n for r in table(section(doc, "## Adding a back end")) for n in bare(r[0]).split(", ")]
    equal([n for n in shown if n not in calls], [], "calls that there are not")


if __name__ == "__main__":
    main()
