#!/usr/bin/env python3
"""The list of `make mutants` follows the code: each check that it removes is in the source, once."""

import os
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "mutants")]

from harness.tap import equal, main, test  # noqa: E402
from mutants import MUTANTS  # noqa: E402


def count(path, text):
    with open(os.path.join(ROOT, path)) as f:
        return f.read().count(text)


@test
def each_mutant_applies():
    changes = [m for m in MUTANTS if m[2] is not None]
    equal([m[0] for m in changes if count(m[1], m[2]) != 1], [], "mutants that do not apply")


if __name__ == "__main__":
    main()
