#!/usr/bin/env python3
"""The man pages are those that scripts/make-man.py writes, and groff prints no warning."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.documents import read
from harness.settings import ROOT, SAPAIR
from harness.tap import check, equal, main, need_tools, test

os.environ["SAPAIR"] = SAPAIR
sys.path.insert(0, os.path.join(ROOT, "scripts"))
make_man = __import__("make-man")


@test
def man_pages_are_those_of_the_help_and_the_documents():
    for name, text in make_man.pages().items():
        check(read("docs/" + name) == text, "docs/%s: run scripts/make-man.py" % name)


@test
def the_man_page_has_every_verb():
    page = read("docs/sapair.1")
    r = subprocess.run([SAPAIR, "help", "--json"], capture_output=True, text=True, check=True)
    verbs = [v["name"] for v in json.loads(r.stdout)["verbs"]]
    check(len(verbs) > 20, "verbs: %s" % verbs)
    for verb in verbs:
        check(".SS sapair %s " % verb.replace("-", "\\-") in page, "no %s" % verb)


@test
def groff_takes_them_without_a_warning():
    need_tools(groff="groff")
    for name in make_man.pages():
        r = subprocess.run(["groff", "-man", "-Tutf8", "-wall", "-Kutf8", os.path.join(ROOT, "docs", name)],
                           capture_output=True, text=True)
        equal(r.stderr, "", name)


if __name__ == "__main__":
    main()
