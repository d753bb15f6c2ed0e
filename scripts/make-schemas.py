#!/usr/bin/env python3
"""Writes files that are generated from tables:

- docs/schema/sapair.*.json, a JSON Schema for each document, from the tables of docs/output.md;
- docs/schema/config.json, and the tables of members in docs/config.md, from the rows of
  proto/config/table.c, as the program build/linux/config_table (CONFIG_TABLE) prints them.

    scripts/make-schemas.py [DIR]       default: docs/schema

docs/schema/lab.json is written by hand.
"""

import json
import os
import re
import subprocess
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
    """Adds a member at its path. A parent of a member that is always present is always present too."""
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
        # a list of objects is always present if it has a member without a condition
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
    """Marks a member as required in the objects of a list."""
    for i, step in enumerate(steps):
        name = step.rstrip("[]")
        if i > 0 and name not in node.setdefault("required", []):
            node["required"].append(name)
        node = node["properties"][name]
        if step.endswith("[]"):
            node = node["items"]


def documents():
    """Returns {schema: [(member, type, when)]} from docs/output.md."""
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


# --- the config file ----------------------------------------------------------------------------

CONFIG_TABLE = os.environ.get("CONFIG_TABLE", os.path.join(ROOT, "build", "linux", "config_table"))
NUMBER_MAX = 2**53 - 1
SELECTORS = {
    "protect": "^(all|tcp/[1-9][0-9]{0,4}|udp/[1-9][0-9]{0,4}|proto/[0-9]{1,3})$",
    "exempt": "^(icmp|tcp/[1-9][0-9]{0,4}|udp/[1-9][0-9]{0,4})$",
}
PATTERNS = {
    "name": "^[A-Za-z0-9._:-]{1,64}$",
    "address": "^([0-9]{1,3}([.][0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$",
    "endpoint": "^([0-9]{1,3}([.][0-9]{1,3}){3}(:[0-9]{1,5})?|"
                r"\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$",
}
KINDS = {  # the type of a value in docs/config.md
    "u16": "number", "u32": "number", "count": "number", "name": "text", "endpoint": "text",
    "pin": "text", "listen": "text or list of text", "suites": "list of words",
    "protect": "list of text", "exempt": "list of text", "group": "object",
    "peers": "list of objects",
}


def config_rows():
    """{table: rows} with the members of the config file, as the program has them."""
    text = subprocess.run([CONFIG_TABLE], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in text.splitlines():
        row = json.loads(line)
        found.setdefault(row.pop("table"), []).append(row)
    return found


def config_value(row, suites):
    """The schema of one member."""
    kind = row["kind"]
    if kind == "word":
        return {"enum": row["words"]}
    if kind == "bool":
        return {"type": "boolean"}
    if kind in ("u16", "u32", "count"):
        return {"type": "integer", "minimum": row["min"], "maximum": row["max"] or NUMBER_MAX}
    if kind in ("text", "file", "path"):
        return {"type": "string", "minLength": row["min"], "maxLength": row["max"] - 1}
    if kind in PATTERNS:
        return {"$ref": "#/$defs/" + kind}
    if kind == "pin":
        return {"type": "string", "pattern": "^(sha256|SHA256):[0-9a-f]{64}$"}
    if kind == "suites":
        return {"type": "array", "minItems": 1, "maxItems": row["max"], "uniqueItems": True,
                "items": {"enum": suites}}
    if kind in SELECTORS:
        least = {"minItems": 1} if kind == "protect" else {}
        return {"type": "array", **least, "maxItems": row["max"], "uniqueItems": True,
                "items": {"type": "string", "pattern": SELECTORS[kind]}}
    assert kind == "listen", kind
    endpoint = {"$ref": "#/$defs/endpoint"}
    return {"anyOf": [endpoint, {"type": "array", "maxItems": row["max"], "items": endpoint}]}


def config_object(members, required=()):
    needed = {"required": list(required)} if required else {}
    return {"type": "object", **needed, "additionalProperties": False, "properties": members}


def config_schema(rows):
    suites = [r["name"] for r in rows["suite"]]
    options = {}
    for row in rows["option"]:
        group, _, name = row["name"].rpartition(".")
        at = options if not group else options.setdefault(group, config_object({}))["properties"]
        at[name] = config_value(row, suites)
        if "default" in row:
            at[name]["default"] = row["default"]
    refs = {name: {"$ref": "#/$defs/options/" + name} for name in options}
    peer = {r["name"]: config_value(r, suites) for r in rows["peer"]}
    needed = [r["name"] for r in rows["peer"] if r["required"]]
    agent = {}
    for row in rows["agent"]:
        if row["kind"] == "group":
            agent[row["name"]] = config_object(refs)
        elif row["kind"] == "peers":
            agent[row["name"]] = {"type": "array", "maxItems": row["max"],
                                  "items": config_object({**peer, **refs}, needed)}
        else:
            agent[row["name"]] = config_value(row, suites)
            if "default" in row:
                agent[row["name"]]["default"] = row["default"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:sapair:config",
        "title": "the config file of sapair",
        **config_object(agent),
        "$defs": {
            **{name: {"type": "string", "pattern": p} for name, p in PATTERNS.items()},
            "options": options,
        },
    }


def config_range(row):
    if row["range"]:
        return row["range"]
    if row["kind"] == "word":
        return " ".join("`%s`" % w for w in row["words"])
    if row["kind"] in ("u16", "u32"):
        return "%d to %d" % (row["min"], row["max"])
    if row["kind"] == "count":
        return "0 or more"
    if row["kind"] == "text":
        return "%d to %d bytes" % (row["min"], row["max"] - 1)
    return "0 to %d" % row["max"] if row["kind"] == "peers" else ""


def config_default(row):
    if row["required"]:
        return "required"
    if "default" not in row:
        return row["absent"] or ""
    value = row["default"]
    if isinstance(value, list):
        return (" and " if row["kind"] == "listen" else " ").join("`%s`" % v for v in value)
    return str(value) if type(value) is int else "`%s`" % str(value).replace("F", "f").replace("T", "t")


def config_changes(rows, change):
    """The members whose change has this effect at a reload, without those of peers."""
    names = [r["name"].split(".")[0] for r in rows["option"] + rows["agent"]
             if r["change"] == change]
    return list(dict.fromkeys(names))


def config_document(rows):
    """docs/config.md with new tables of members, new names in the table of effects of a reload, and a new
    example."""
    text = read("docs/config.md")
    for heading, name in (("## Agent", "agent"), ("## Peer", "peer"), ("## Options", "option")):
        lines = ["| Member | Type | Range | Default | Meaning |", "|---|---|---|---|---|"]
        for r in rows[name]:
            cells = (KINDS.get(r["kind"], r["kind"]), config_range(r), config_default(r), r["text"])
            lines.append("| `%s` | %s |" % (r["name"], " | ".join(cells)))
        lines = [re.sub(r"\|  (?=\|)", "| ", line) for line in lines]
        text = re.sub(
            r"(^%s\n(?:(?!\| Member).*\n)*?)(?:\|.*\n)+" % heading,
            lambda m: m.group(1) + "\n".join(lines) + "\n", text, count=1, flags=re.M,
        )
    for change in ("rekey", "apply", "restart"):  # rows of two cells
        names = config_changes(rows, change)
        any_of = "|".join(names)
        text = re.sub(r"^\| (?:`(?:%s)` ?)+ \|(?=[^|]*\|$)" % any_of,
                      lambda m: "| %s |" % " ".join("`%s`" % n for n in names), text, flags=re.M)
    example = read("docs/examples/full.json")
    return re.sub(r"```json\n\{\n.*?```", lambda m: "```json\n" + example + "```", text, flags=re.S)


def texts():
    """{name of the file: its text}"""
    made = {name.replace("/", ".") + ".json": schema_of(name, rows) for name, rows in documents().items()}
    made["config.json"] = config_schema(config_rows())
    return {name: json.dumps(schema, indent=2) + "\n" for name, schema in made.items()}


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "docs", "schema")
    os.makedirs(folder, exist_ok=True)
    for name, text in texts().items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(text)
    document = config_document(config_rows())
    with open(os.path.join(ROOT, "docs", "config.md"), "w", encoding="utf-8") as f:
        f.write(document)
    print("%d schemas in %s" % (len(texts()), os.path.relpath(folder)))


if __name__ == "__main__":
    main()
