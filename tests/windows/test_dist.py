#!/usr/bin/env python3
"""The zip file for Windows hosts: its contents, that it is reproducible, and that its program runs.

PowerShell is not available here. A small scanner reads its script; it knows strings, comments, brackets, and
the commands, options and variables that exist, so it finds typing errors. A test on Windows is missing
(docs/windows.md).
"""

import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.program import expect_exit
from harness.settings import ROOT
from harness.tap import check, equal, has, test
from harness.wine import EXE, main, win, windows_path

SCRIPT = os.path.join(ROOT, "scripts", "Install-Sapair.ps1")

# Commands, and the options that the script may use with them.
COMMANDS = {
    "Copy-Item": "Path Destination Recurse Force", "Get-Acl": "LiteralPath",
    "Get-Item": "LiteralPath Force", "Get-Service": "Name ErrorAction", "Join-Path": "",
    "New-Item": "ItemType Path Force", "Out-Null": "", "Remove-Item": "LiteralPath Recurse Force",
    "New-NetFirewallRule": "Name DisplayName Protocol LocalPort Program",
    "Remove-NetFirewallRule": "Name ErrorAction", "Resolve-Path": "LiteralPath",
    "Set-StrictMode": "Version", "Stop-Service": "Name", "Test-Path": "LiteralPath",
    "Unblock-File": "LiteralPath", "Write-Output": "",
}
AUTOMATIC = {"true", "null", "_", "args", "LASTEXITCODE", "PSScriptRoot", "PSCmdlet",
             "ErrorActionPreference"}
OPERATORS = {"eq", "ne", "and", "or", "not", "f", "join", "band", "notcontains"}


def tokens(text):
    """(kind, text, line) of a PowerShell script; a string without an end on its line is an error."""
    rules = [
        ("comment", r"<#.*?#>|#[^\n]*"), ("string", r"'(?:[^'\n]|'')*'"),
        ("expand", r'"(?:[^"`\n]|`.|"")*"'), ("variable", r"\$(?:\w+:)?\w+"), ("splat", r"@\w+"),
        ("open", r"[@$]?[({]|\["), ("close", r"[)}\]]"), ("option", r"-[A-Za-z]\w*"),
        ("word", r"[A-Za-z][\w.-]*"), ("number", r"\d[\w.]*"), ("space", r"[ \n]+"),
        ("sign", r"[|,;=+.:%&!*<>/-]"),
    ]
    at, line = 0, 1
    whole = re.compile("|".join("(?P<%s>%s)" % r for r in rules), re.S)
    while at < len(text):
        m = whole.match(text, at)
        check(m, "line %d: not understood: %r" % (line, text[at:at + 20]))
        if m.lastgroup not in ("space", "comment"):
            yield m.lastgroup, m.group(), line
        line += m.group().count("\n")
        at = m.end()


@test
def the_install_script_has_no_known_mistakes(lab):
    with open(SCRIPT, "rb") as f:
        raw = f.read()
    text = raw.decode("ascii")  # Windows PowerShell would read other bytes in the local code page
    check(b"\t" not in raw and b"`\n" not in raw, "tabs or continued lines")
    found = list(tokens(text))
    stack, pairs = [], {"(": ")", "{": "}", "[": "]"}
    for kind, word, line in found:
        if kind == "open":
            stack.append((pairs[word[-1]], line))
        elif kind == "close":
            check(stack and stack[-1][0] == word, "line %d: %s without an opening bracket" % (line, word))
            stack.pop()
    check(not stack, "never closed: %s" % stack)

    own = set(re.findall(r"^function ([\w-]+)", text, re.M))
    known = set(COMMANDS) | own
    for _, word, line in found:
        if re.fullmatch(r"[A-Z]\w+-[A-Z]\w+", word):
            check(word in known, "line %d: no command %s" % (line, word))
    check(all(text.count(name) > 1 for name in own), "a function is not called")

    made = set(re.findall(r"\$(\w+) = |\] \$(\w+)[,\n) ]|foreach \(\$(\w+) in", text))
    made = {n for row in made for n in row if n} | AUTOMATIC
    used = {w.lstrip("$@") for k, w, _ in found if k in ("variable", "splat")}
    check({n for n in used if ":" not in n} <= made, "never set: %s" % (used - made))
    check({n for n in used if ":" in n} <= {"env:ProgramFiles", "env:ProgramData"}, "variables of the environment")

    command, outer = None, []  # options within brackets belong to another command
    for kind, word, line in found:
        if kind == "open":
            outer.append(command)
        elif kind == "close":
            command = outer.pop()
        elif kind == "word" and word in COMMANDS:
            command = word
        elif kind == "option" and word[1:].lower() not in OPERATORS:
            check(command and word[1:] in COMMANDS[command].split(),
                  "line %d: %s has no option %s" % (line, command, word))


@test
def the_install_script_fits_the_program(lab):
    with open(SCRIPT) as f:
        text = f.read()
    shown = win("help", "--json").doc("help")
    verbs = {v["name"] for v in shown["verbs"]}
    for words in re.findall(r"Invoke-Program \$exe @\(([^)]*)\)", text):
        parts = re.findall(r"'([^']*)'", words)
        check(" ".join(parts[:2]) in verbs or parts[0] in verbs, "no verb: %s" % parts)
    for part in ("'/inheritance:r'", "*S-1-5-18:(OI)(CI)F", "*S-1-5-32-544:(OI)(CI)F", "-Protocol 50",
                 "-Protocol TCP -LocalPort $Port", "'service', 'remove'", "@('clean')"):
        has(text, part, "script")


@test
def the_zip_file_is_complete_and_reproducible(lab):
    check_call = [sys.executable, os.path.join(ROOT, "scripts", "make-dist-windows.py"), EXE, "1.2.3"]
    sums = set()
    for name in ("a", "b"):
        os.mkdir(lab.path(name))
        subprocess.run(check_call + [lab.path(name)], check=True, capture_output=True, timeout=60)
        path = lab.path(name + "/sapair-1.2.3-windows-x64.zip")
        with open(path, "rb") as f:
            sums.add(hashlib.sha256(f.read()).hexdigest())
    equal(len(sums), 1, "zips of the same program")
    with zipfile.ZipFile(path) as f:
        f.extractall(lab.path("x"))
    folder = lab.path("x/sapair-1.2.3")
    there = {os.path.relpath(p, folder) for p in glob.glob(folder + "/**", recursive=True)
             if os.path.isfile(p)}
    docs = {os.path.relpath(p, ROOT) for pattern in ("docs/*.md", "docs/examples/*", "docs/schema/*")
            for p in glob.glob(os.path.join(ROOT, pattern))}
    equal(there, docs | {"sapair.exe", "Install-Sapair.ps1", "sapair.example.json", "README.md",
                         "CHANGELOG.md", "LICENSE", "SHA256SUMS", "licences/mbedTLS.txt",
                         "licences/libuv.txt", "licences/cJSON.txt"}, "files")
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True)
    exe = os.path.join(folder, "sapair.exe")
    check(os.path.getsize(exe) < 3_000_000, "%d bytes" % os.path.getsize(exe))
    with open(exe, "rb") as f:
        data = f.read()
    at = int.from_bytes(data[0x3c:0x40], "little")
    equal(data[at + 8:at + 12], bytes(4), "time of the link in the program")
    check(os.path.abspath(ROOT).encode() not in data, "the builder's folder is in the program")
    has(expect_exit(win("version", exe=exe)).out, "back ends: wfp, soft")
    shutil.copy(os.path.join(folder, "sapair.example.json"), lab.path("sapair.json"))
    os.chmod(lab.path("sapair.json"), 0o600)
    has(win("check", "--config", windows_path(lab.path("sapair.json")), exe=exe).err, "sapair.crt")


if __name__ == "__main__":
    main()
