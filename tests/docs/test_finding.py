#!/usr/bin/env python3
"""docs/architecture.md, "Where to find": each search finds its place. Names in tests/ that make that possible."""

import os
import re
import shlex
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.documents import bare, read, section, table
from harness.settings import ROOT
from harness.tap import check, equal, main, test

MOST = 5  # lines that a search may print


def rows():
    return table(section(read("docs/architecture.md"), "## Where to find"))


@test
def every_search_finds_its_place():
    wrong = []
    for what, search, place in rows():
        words, place = shlex.split(bare(search)), bare(place)
        check(words[:2] == ["grep", "-rn"] and len(words) == 4, "%s: not a search: %s" % (what, search))
        found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
        if not found or len(found) > MOST or {line.split(":")[0] for line in found} != {place}:
            wrong.append("row %r: wanted up to %d lines of %s, found %s" % (what, MOST, place, found or "nothing"))
    check(not wrong, "\n".join(wrong))


@test
def the_ten_places_are_in_the_table():
    text = " ".join(r[0] for r in rows())
    for word in ("decoded", "wiped", "state", "Windows", "suite", "verb", "message", "back end", "test", "config key"):
        check(word in text, "no row for: %s" % word)


@test
def no_fuzz_seed_is_named_by_a_hash_or_a_number():
    for folder, _, names in os.walk(os.path.join(ROOT, "tests", "corpus")):
        bad = [n for n in names if re.fullmatch(r"[0-9a-f]{16,}|[0-9]+", n)]
        equal(bad, [], "seeds without a name in %s" % os.path.relpath(folder, ROOT))


@test
def no_test_imports_by_star():
    for folder, _, names in os.walk(os.path.join(ROOT, "tests")):
        for name in names:
            if name.endswith(".py"):
                path = os.path.relpath(os.path.join(folder, name), ROOT)
                stars = re.findall(r"^from .* import \*.*$", read(path), re.M)
                equal(stars, [], "imports of %s" % path)


if __name__ == "__main__":
    main()
