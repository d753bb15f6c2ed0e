#!/usr/bin/env python3
"""Writes a software bill of materials in CycloneDX 1.5 JSON: scripts/sbom.py PROGRAM VERSION > FILE

It lists the statically linked libraries (from `PROGRAM version`), the shared libraries (from the ELF
file), and the compiler. It has no times and no paths, so that the same build gives the same bytes.
"""

import json
import re
import subprocess
import sys

LINKED = {
    "mbedtls": ("mbedTLS", "Apache-2.0 OR GPL-2.0-or-later", "pkg:github/Mbed-TLS/mbedtls@v"),
    "libuv": ("libuv", "MIT", "pkg:github/libuv/libuv@v"),
    "cjson": ("cJSON", "MIT", "pkg:github/DaveGamble/cJSON@v"),
}


def said(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def loaded(program):
    """Yields (soname, package, version) of each shared library; package and version may be empty."""
    paths = dict(re.findall(r"(\S+) => (\S+)", said("ldd", program)))
    for soname in sorted(re.findall(r"\(NEEDED\).*\[(.*)\]", said("readelf", "-d", program))):
        path = paths.get(soname, "")
        owner = ""
        for name in (path, path.removeprefix("/usr"), "/usr" + path):
            owner = owner or said("dpkg-query", "-S", name).split(":")[0]
        version = said("dpkg-query", "-W", "-f", "${Version}", owner) if owner else ""
        yield soname, owner, version


def main():
    program, version = sys.argv[1:3]
    own = json.loads(said(program, "version", "--json"))["libraries"]
    components = []
    for key, (name, licence, purl) in LINKED.items():
        components.append({
            "type": "library", "name": name, "version": own[key], "scope": "required",
            "licenses": [{"expression": licence}], "purl": purl + own[key],
        })
    for soname, package, number in loaded(program):
        c = {"type": "library", "name": package or soname, "scope": "required",
             "properties": [{"name": "soname", "value": soname}]}
        if number:
            c.update(version=number, purl="pkg:deb/debian/%s@%s" % (package, number))
        components.append(c)
    comment = said("readelf", "-p", ".comment", program)
    compilers = sorted(set(re.findall(r"\]\s+(.*)", comment)))
    json.dump({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "sapair", "version": version},
            "properties": [{"name": "compiler", "value": c} for c in compilers],
        },
        "components": components,
    }, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
