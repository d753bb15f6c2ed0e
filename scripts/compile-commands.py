#!/usr/bin/env python3
"""Writes compile_commands.json, from which clangd takes the options of each file.

    scripts/compile-commands.py [--add] 'FILE...' COMPILER OPTION...    as `make compile-commands` does

--add keeps the existing entries, so that the file contains both systems.
"""

import json
import os
import sys

PATH = "compile_commands.json"


def main():
    add = sys.argv[1] == "--add"
    files, *command = sys.argv[2 if add else 1:]
    top = os.getcwd()
    entries = {}
    if add and os.path.exists(PATH):
        with open(PATH) as f:
            entries = {e["file"]: e for e in json.load(f)}
    for name in files.split():
        entries.setdefault(name, {"directory": top, "file": name, "arguments": [*command, "-c", name]})
    with open(PATH, "w") as f:
        json.dump([entries[name] for name in sorted(entries)], f, indent=1)
        f.write("\n")
    print("%s: %d files" % (PATH, len(entries)))


if __name__ == "__main__":
    main()
