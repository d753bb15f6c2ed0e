#!/usr/bin/env python3
"""Writes docs/schema/sapair.*.json, a JSON Schema for each document, from the tables of
docs/output.md: what people read and what programs check are one text.

    scripts/make-schemas.py [DIR]       default: docs/schema

The schemas of the files that people write, config.json and lab.json, are kept by hand beside them.
"""

import json
import os
import re
import sys

sys.dont_write_bytecode = True
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(ROOT, "tests"))
from harness.documents import read, section, table, tables

TYPES = {
    "text": {"type": "string"},
    "path": {"type": "string"},
    "number": {"type": "integer", "minimum": 0},
    "ms": {"type": "number", "minimum": 0},
    "bool": {"type": "boolean"},
    "object": {"type": "object"},
    "count": {"type": "string", "pattern": "^(0|[1-9][0-9]*)$"},
    "spi": {"type": "string", "pattern": "^[0-9a-f]{8}$"},
    "pin": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
    "time": {
        "type": "string",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{3})?Z$",
    },
}


def add(node, steps, leaf, always):
    """Puts a member at its place; whatever leads to one that is always there is there, too."""
    step, rest = steps[0], steps[1:]
    name = step.rstrip("[]")
    members = node.setdefault("properties", {})
    if always and name not in node.setdefault("required", []):
        node["required"].append(name)
    if step.endswith("[]"):
        at = members.setdefault(name, {"type": "array", "items": {}})["items"]
        always = always and not rest
    else:
        at = members.setdefault(name, {})
    if rest:
        at["type"] = "object"
        add(at, rest, leaf, always)
    else:
        at.update(leaf)


def schema_of(name, rows):
    """rows: (member, type, when)."""
    made = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:%s" % name.replace("/", ":").replace(".", ":"),
        "title": name,
        "type": "object",
        "properties": {"schema": {"const": name}},
        "required": ["schema"],
    }
    for member, kind, when in rows:
        steps = member.split(".")
        # a list of objects is there always when one of its members is in each of them
        add(made, steps, TYPES[kind], when == "")
        if when == "" and "[]." in member:
            require(made, steps)
    if name == "sapair.status/1":
        made["properties"]["peers"]["items"]["properties"]["error"] = {
            "type": "object",
            "properties": {m: TYPES[t] for m, t, _ in documents()["sapair.error/1"]},
            "required": ["class", "exit", "cause"],
        }
    return made


def require(node, steps):
    """Within the objects of a list: what is always there."""
    for i, step in enumerate(steps):
        name = step.rstrip("[]")
        if i > 0 and name not in node.setdefault("required", []):
            node["required"].append(name)
        node = node["properties"][name]
        if step.endswith("[]"):
            node = node["items"]


def documents():
    """{schema: [(member, type, when)]}, as docs/output.md has them."""
    text = read("docs/output.md")
    found = {}
    for name in re.findall(r"^### (sapair\.[\w-]+/1)$", text, re.M):
        rows = table(section(text, "### " + name))
        found[name] = [(r[0], r[1], r[2]) for r in rows]
    found["sapair.event/1"] = [
        (r[0], r[1], r[2]) for r in tables(section(text, "## Events"))[0]
    ]
    found["sapair.end/1"] = [("exit", "number", "")]
    found["sapair.progress/1"] = [("text", "text", "")]
    return found


def texts():
    """{name of the file: its text}"""
    return {
        name.replace("/", ".") + ".json": json.dumps(schema_of(name, rows), indent=2) + "\n"
        for name, rows in documents().items()
    }


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "docs", "schema")
    os.makedirs(folder, exist_ok=True)
    for name, text in texts().items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(text)
    print("%d schemas in %s" % (len(texts()), os.path.relpath(folder)))


if __name__ == "__main__":
    main()
