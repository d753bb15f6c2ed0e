#!/usr/bin/env python3
"""Checks the layers of the program: docs/architecture.md, "Layers".

    scripts/check-layers.py [BUILD]      BUILD: folder of the objects, default build/linux

A file includes and calls its own folder and layers below it. Calls are read from the relocations of the
objects, so a call through a macro or an inline function counts too. Within a folder, no group of files
may call each other in a circle. A reference from a constant table of operations is not a call; those
that point upwards are listed below by name.

Also checked: the one home of each library, the files that may include system headers, and memcmp() on
secrets. Prints one line for each fault; the exit status is 1 if there is one.
"""

import glob
import os
import re
import subprocess
import sys

# A layer may use those above it in this list. Folders of one line may not use each other, except as
# AMONG says. The longest prefix decides.
LAYERS = [
    ["crypto/"],
    ["proto/base/", "proto/json/"],
    ["proto/config/", "proto/wire/", "proto/exchange/", "proto/esp/"],
    ["agent/os/", "agent/ipsec/"],
    ["agent/privsep/record"],
    ["agent/privsep/policy"],
    ["agent/privsep/"],
    ["agent/daemon/loop"],
    ["agent/daemon/event", "agent/daemon/removal"],
    ["agent/daemon/state"],
    ["agent/daemon/link/", "agent/daemon/pair/", "agent/daemon/verify/"],
    ["agent/daemon/peer/"],
    ["agent/daemon/control/"],
    ["agent/daemon/"],
    ["agent/cli/"],
    ["agent/main"],
]
AMONG = {
    ("proto/json/", "proto/base/"),
    ("proto/config/", "proto/wire/"),
    ("proto/exchange/", "proto/wire/"),
    ("agent/ipsec/", "agent/os/"),
}
# References upwards from tables of operations: (file, symbol).
TABLES = set()

ISO = set(
    "assert complex ctype errno fenv float inttypes limits locale math setjmp signal stdalign stdarg "
    "stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath time uchar wchar wctype".split()
)
HOMES = [  # headers of a library, the files that may include them
    (r"(mbedtls|psa)/", r"crypto/"),
    (r".*cJSON", r"proto/json/decode\.c$"),
    (r"uv(\.h$|/)", r"agent/"),
]
SYSTEM = r"agent/os/|agent/ipsec/(xfrm|wfp)/|agent/privsep/(\w+_(linux|win)|helper|spawn)\.[ch]$"

faults = []


def fault(text, *words):
    faults.append(text % words)


def prefix_of(path):
    """The entry of LAYERS that a path belongs to, and its level."""
    best = max(
        ((p, i) for i, row in enumerate(LAYERS) for p in row if path.startswith(p)),
        key=lambda x: len(x[0]), default=(None, -1),
    )
    return best


def allowed(a, b):
    """May the file a use the file b?"""
    (pa, la), (pb, lb) = prefix_of(a), prefix_of(b)
    return pa == pb or lb < la or (pa, pb) in AMONG


# --- includes ---------------------------------------------------------------------------------


def check_include(path, number, name, is_system):
    where = "%s:%d" % (path, number)
    if not is_system:
        to = name if "/" in name else os.path.join(os.path.dirname(path), name)
        if prefix_of(to)[1] < 0:
            fault('%s: "%s" is in no layer: name it from the top, "proto/base/err.h"', where, name)
        elif not allowed(path, to):
            fault("%s: includes %s, which is in a layer above or beside it", where, to)
        return
    base = name[:-2] if name.endswith(".h") else name
    if base in ISO:
        return
    for pattern, home in HOMES:
        if re.match(pattern, name):
            if not re.match(home, path):
                fault("%s: <%s> outside %s", where, name, home)
            return
    if not re.match(SYSTEM, path):
        fault("%s: <%s> is a header of one system: only in agent/os/ and in files of one system", where, name)


def check_source(path):
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            m = re.match(r'\s*#\s*include\s*([<"])([^>"]+)', line)
            if m:
                check_include(path, number, m.group(2), m.group(1) == "<")
            code = re.sub(r"/\*.*?\*/|^\s*\*.*", "", line)
            if re.search(r"\bmemcmp\s*\(", code) and "not secret" not in line:
                if re.search(r"(^|[^a-z])(keys?|secrets?|tags?|pins?)([^a-z]|$)", code.lower()):
                    fault("%s:%d: memcmp on a secret: use secret_equal (or say /* not secret */)", path, number)


# --- calls ------------------------------------------------------------------------------------


def read_object(path):
    """The global symbols that an object defines, those that its code uses, and those that its constant
    data refers to."""
    defined, calls, data = set(), set(), set()
    text = subprocess.run(["readelf", "-srW", path], capture_output=True, text=True, check=True).stdout
    section = None
    for line in text.splitlines():
        m = re.match(r"Relocation section '\.rela(\S+)'", line)
        if m:
            section = m.group(1)
            continue
        words = line.split()
        if line.startswith("Symbol table"):
            section = None
        elif section and len(words) >= 5 and re.match(r"[0-9a-f]{12,}$", words[0]):
            if not section.startswith((".debug", ".eh_frame")):
                (calls if section.startswith(".text") else data).add(words[4].split("@")[0])
        elif section is None and len(words) == 8 and words[0].endswith(":"):
            if words[4] in ("GLOBAL", "WEAK") and words[6] not in ("UND", "Ndx"):
                defined.add(words[7])
    return defined, calls, data


def read_objects(build):
    owner, uses = {}, {}
    for path in glob.glob(os.path.join(build, "**", "*.o"), recursive=True):
        name = os.path.relpath(path, build)[:-2]
        if prefix_of(name)[1] < 0 or not os.path.exists(name + ".c"):
            continue
        defined, calls, data = read_object(path)
        uses[name] = calls, data
        owner.update((s, name) for s in defined)
    return owner, uses


def check_calls(owner, uses):
    """{file: {file it calls: one symbol}}; faults for calls upwards."""
    graph = {}
    for name, (calls, data) in sorted(uses.items()):
        edges = graph.setdefault(name, {})
        for symbol in sorted(calls | data):
            to = owner.get(symbol)
            if to is None or to == name:
                continue
            if symbol in calls:
                edges.setdefault(to, symbol)
            if not allowed(name, to) and (symbol in calls or (name, symbol) not in TABLES):
                what = "calls" if symbol in calls else "has in a table"
                fault("%s.c: %s %s of %s.c, which is in a layer above or beside it", name, what, symbol, to)
    return graph


def check_circles(graph):
    """Tarjan's strongly connected components: each of more than one file is a circle."""
    index, low, stack, on = {}, {}, [], set()

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        on.add(v)
        for w in graph.get(v, ()):
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in on:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            group = set()
            while v not in group:
                group.add(stack.pop())
            on.difference_update(group)
            if len(group) > 1:
                tell_circle(graph, group)

    sys.setrecursionlimit(10000)
    for v in sorted(graph):
        if v not in index:
            visit(v)


def tell_circle(graph, group):
    edges = ["    %s -> %s (%s)" % (a, b, s) for a in sorted(group) for b, s in sorted(graph[a].items()) if b in group]
    fault("%d files call each other in a circle:\n%s", len(group), "\n".join(edges))


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    build = sys.argv[1] if len(sys.argv) > 1 else "build/linux"
    for top in ("crypto", "proto", "agent"):
        for path in sorted(glob.glob(top + "/**/*.[ch]", recursive=True)):
            check_source(path)
    owner, uses = read_objects(build)
    if "main" not in owner:
        sys.exit("check-layers: no objects in %s: run make first" % build)
    check_circles(check_calls(owner, uses))
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
