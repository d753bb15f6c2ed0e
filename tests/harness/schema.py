"""A validator for the part of JSON Schema that docs/schema uses. Any other keyword is an error."""

import json
import os
import re

from harness.settings import ROOT

FOLDER = os.path.join(ROOT, "docs", "schema")
SILENT = {"$schema", "$id", "$defs", "title", "description", "default"}
KINDS = {
    "object": dict, "array": list, "string": str, "boolean": bool,
    "integer": int, "number": (int, float),
}
loaded = {}


def load(name):
    if name not in loaded:
        with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
            loaded[name] = json.load(f)
    return loaded[name]


def of_document(name):
    """The schema of "sapair.status/1"."""
    return load(name.replace("/", ".") + ".json")


def follow(ref, root):
    name, _, path = ref.partition("#")
    root = load(name) if name else root
    node = root
    for step in path.strip("/").split("/"):
        node = node[step] if step else node
    return node, root


def is_kind(value, kind):
    if kind != "boolean" and isinstance(value, bool):
        return False
    return isinstance(value, KINDS[kind])


def faults(value, schema, root=None, at="$", strict=False):
    """The violations, as texts. strict: members that the schema does not name are violations, too."""
    root = schema if root is None else root
    found = []

    def wrong(text):
        found.append("%s: %s" % (at, text))

    for word, want in schema.items():
        if word in SILENT:
            continue
        if word == "$ref":
            node, top = follow(want, root)
            found += faults(value, node, top, at, strict)
        elif word == "anyOf":
            tries = [faults(value, s, root, at, strict) for s in want]
            if all(tries):
                found += min(tries, key=len)
        elif word == "const":
            if value != want:
                wrong("%r is not %r" % (value, want))
        elif word == "enum":
            if value not in want:
                wrong("%r is not one of %r" % (value, want))
        elif word == "type":
            if not is_kind(value, want):
                wrong("%r is not of type %s" % (value, want))
                return found
        elif word == "pattern":
            if isinstance(value, str) and not re.search(want, value):
                wrong("%r does not match %s" % (value, want))
        elif word in ("minimum", "maximum"):
            if is_kind(value, "number") and (value < want if word == "minimum" else value > want):
                wrong("%r exceeds the %s %r" % (value, word, want))
        elif word in ("minLength", "maxLength", "minItems", "maxItems"):
            if isinstance(value, str if word.endswith("Length") else list) and (
                    len(value) < want if word.startswith("min") else len(value) > want):
                wrong("%d violates %s %d" % (len(value), word, want))
        elif word == "uniqueItems":
            if isinstance(value, list) and len({json.dumps(v) for v in value}) != len(value):
                wrong("an element is given twice")
        elif word == "items":
            for i, v in enumerate(value if isinstance(value, list) else []):
                found += faults(v, want, root, "%s[%d]" % (at, i), strict)
        elif word == "required":
            for name in want:
                if isinstance(value, dict) and name not in value:
                    wrong("%s is missing" % name)
        elif word == "properties":
            for name, inner in want.items():
                if isinstance(value, dict) and name in value:
                    found += faults(value[name], inner, root, "%s.%s" % (at, name), strict)
        elif word != "additionalProperties":
            raise ValueError("%s: the keyword %s is not supported" % (at, word))
    if isinstance(value, dict) and (strict or schema.get("additionalProperties") is False):
        if "properties" in schema:
            for name in set(value) - set(schema["properties"]):
                wrong("unknown member %s" % name)
    return found
