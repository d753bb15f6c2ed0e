"""Documents and C sources: sections, tables, declarations."""

import os
import re

from harness.settings import ROOT
from harness.tap import check


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def section(text, heading):
    """From a heading ("### hello") to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    m = re.search(r"^%s$(.*?)(?=^#{1,%d} |\Z)" % (re.escape(heading), level), text, re.M | re.S)
    check(m, "no section %r" % heading)
    return m.group(1)


def tables(text):
    """Each table as a list of rows without its head; cells stripped."""
    found, rows = [], None
    for line in text.splitlines() + [""]:
        line = line.strip()
        if line.startswith("|") and line.endswith("|"):
            cells = [c.strip() for c in re.split(r"(?<!\\)\|", line[1:-1])]
            if rows is None:
                rows = []
            elif not set("".join(cells)) <= set("-: "):
                rows.append(cells)
        elif rows is not None:
            found.append(rows)
            rows = None
    return found


def table(text):
    found = tables(text)
    check(found, "a table is missing")
    return found[0]


def bare(cell):
    """Removes the marks of code."""
    return cell.replace("`", "")


def source(*paths):
    """Removes comments from C text."""
    text = "\n".join(read(p) for p in paths)
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


def x_list(text, name):
    """The arguments of each X() of a list macro, strings without quotes."""
    m = re.search(r"#define %s\(X\)(.*?[^\\])\n" % name, text, re.S)
    check(m, "no list %s" % name)
    rows = re.findall(r"X\(((?:[^()\"]|\"[^\"]*\")*)\)", m.group(1))
    return [[a.strip('"') for a in re.findall(r"\s*(\"[^\"]*\"|[^,\s]+)", r)] for r in rows]


def number(text):
    """The value of a number or a product of numbers in C."""
    text = re.sub(r"(?<=[0-9a-fA-F])[uUlL]+\b", "", text.strip())
    text = re.sub(r"UINT(?:32|64)_C\((\d+)\)", r"\1", text)
    check(re.fullmatch(r"[-+*()\s0-9a-fxA-F]+", text), "not a number: %r" % text)
    return eval(text, {"__builtins__": {}})
