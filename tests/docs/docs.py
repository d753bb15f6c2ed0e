"""What the tests of the documents share: sections, tables, C sources, TAP."""

import os
import re
import sys
import traceback

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SAPAIR = os.path.abspath(os.environ.get("SAPAIR", os.path.join(ROOT, "build", "linux", "sapair")))
tests = []


class Wrong(AssertionError):
    pass


def test(f):
    """Marks a function as a test; its name is a sentence."""
    tests.append(f)
    return f


def run_all():
    """Runs what is marked (or what has the word given) and prints TAP; the exit status."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [t for t in tests if word in t.__name__]
    failed = 0
    for i, t in enumerate(chosen, 1):
        why = None
        try:
            t()
        except Wrong as e:
            why = str(e)
        except Exception:
            why = traceback.format_exc()
        if why is not None:
            failed += 1
            print("\n".join("# " + line for line in why.splitlines()))
        print("%s %d - %s" % ("ok" if why is None else "not ok", i, t.__name__.replace("_", " ")))
        sys.stdout.flush()
    print("1..%d" % len(chosen))
    return 1 if failed else 0


def check(condition, text):
    if not condition:
        raise Wrong(text)


def equal(is_, want, what):
    """Both are lists or dicts: tells where they differ."""
    if is_ == want:
        return
    if isinstance(is_, dict) and isinstance(want, dict):
        lines = ["%s: %r is %r, the code says %r" % (what, k, is_.get(k), want.get(k))
                 for k in sorted(set(is_) | set(want), key=str) if is_.get(k) != want.get(k)]
    elif isinstance(is_, list) and isinstance(want, list) and len(is_) == len(want):
        lines = ["%s: is %r, the code says %r" % (what, a, b)
                 for a, b in zip(is_, want) if a != b]
    else:
        lines = ["%s\nis:            %r\nthe code says: %r" % (what, is_, want)]
    raise Wrong("\n".join(lines))


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
    check(found, "no table where one was expected")
    return found[0]


def bare(cell):
    """Without the marks of code."""
    return cell.replace("`", "")


def source(*paths):
    """C text without comments."""
    text = "\n".join(read(p) for p in paths)
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


def x_list(text, name):
    """The arguments of each X() of a list macro, strings without quotes."""
    m = re.search(r"#define %s\(X\)(.*?[^\\])\n" % name, text, re.S)
    check(m, "no list %s" % name)
    rows = re.findall(r"X\(((?:[^()\"]|\"[^\"]*\")*)\)", m.group(1))
    return [[a.strip('"') for a in re.findall(r"\s*(\"[^\"]*\"|[^,\s]+)", r)] for r in rows]


def number(text):
    """A number or a product of numbers as C has it."""
    text = re.sub(r"(?<=[0-9a-fA-F])[uUlL]+\b", "", text.strip())
    text = re.sub(r"UINT(?:32|64)_C\((\d+)\)", r"\1", text)
    check(re.fullmatch(r"[-+*()\s0-9a-fxA-F]+", text), "not a number: %r" % text)
    return eval(text, {"__builtins__": {}})
