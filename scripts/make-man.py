#!/usr/bin/env python3
"""Writes the man pages docs/sapair.1, sapair.json.5 and sapair-protocol.7: the first from the program's
own help, the others from docs/config.md and docs/protocol.md. One text, three readers.

    SAPAIR=build/linux/sapair scripts/make-man.py [DIR]       default: docs
"""

import json
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
SAPAIR = os.environ.get("SAPAIR", os.path.join(ROOT, "build", "linux", "sapair"))


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def inline(text):
    """Marks of code, bold, italics and links as roff."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*)", text)
    out = ""
    for part in parts:
        if part.startswith("`") and len(part) > 1:
            out += "\\fB" + escape(part[1:-1]).replace("\\&", "") + "\\fP"
        elif part.startswith("**"):
            out += "\\fB" + escape(part[2:-2]).replace("\\&", "") + "\\fP"
        else:
            out += escape(part).replace("\\&", "")
    return "\\&" + out if out[:1] in (".", "'") else out


def cells(line):
    return [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line.strip()[1:-1])]


def table(lines):
    """Each row as its first cell and a sentence of the others."""
    head, out = cells(lines[0]), []
    for line in lines[2:]:
        row = cells(line)
        rest = [r if h in ("", "Meaning", "What", "Effect", "Does") else "%s: %s" % (h.lower(), r)
                for h, r in zip(head[1:], row[1:]) if r]
        out += [".TP", inline(row[0]) or "\\&", inline("; ".join(rest)) or "\\&"]
    return out + [".PP"]


def from_markdown(text):
    out, lines, i = [], text.splitlines(), 0
    while i < len(lines):
        line = lines[i]
        if line.startswith("```") or line.startswith("    "):
            fence = line.startswith("```")
            i += fence
            out += [".PP", ".nf", ".RS 2"]
            while i < len(lines) and (not lines[i].startswith("```") if fence else
                                      lines[i].startswith("    ") or not lines[i]):
                out.append(escape(lines[i] if fence else lines[i][4:]) or "\\&")
                i += 1
            out += [".RE", ".fi", ".PP"]
            i += fence
            continue
        if line.startswith("|"):
            rows = []
            while i < len(lines) and lines[i].startswith("|"):
                rows.append(lines[i])
                i += 1
            out += table(rows)
            continue
        m = re.match(r"(#+) (.*)", line)
        if m:
            if len(m.group(1)) > 1:
                title = m.group(2).replace("`", "")
                out.append((".SH " + escape(title.upper())) if len(m.group(1)) == 2
                           else (".SS " + escape(title)))
        elif line.startswith("- "):
            out += [".IP \\(bu 2", inline(line[2:])]
        elif re.match(r"\d+\. ", line):
            number, rest = line.split(". ", 1)
            out += [".IP %s. 4" % number, inline(rest)]
        elif not line:
            out.append(".PP")
        else:
            out.append(inline(line.strip()))
        i += 1
    return squeeze(out)


def squeeze(lines):
    """No paragraph mark before a heading, an end or another one."""
    out = []
    for line in lines:
        if line == ".PP" and out and (out[-1] == ".PP" or out[-1][:3] in (".SH", ".SS")):
            continue
        if line[:3] in (".SH", ".SS", ".IP", ".TP") and out and out[-1] == ".PP":
            out.pop()
        out.append(line)
    while out and out[-1] == ".PP":
        out.pop()
    return out


def page(name, section, what, body):
    head = ['.\\" Made by scripts/make-man.py: change what it is made from.',
            '.TH %s %s "" sapair "sapair manual"' % (name.upper(), section),
            ".SH NAME", "%s \\- %s" % (escape(name), escape(what))]
    return "\n".join(head + body) + "\n"


def commands():
    r = subprocess.run([SAPAIR, "help", "--json"], capture_output=True, text=True, check=True)
    doc = json.loads(r.stdout)
    out = [".SH SYNOPSIS", ".B sapair", ".I VERB", "[options]", ".SH DESCRIPTION",
           "sapair gives two hosts a matching pair of IPsec security associations, without IKE. An agent on",
           "each host reserves an SPI, draws fresh keys, and exchanges them with its peer over mutually",
           "authenticated TLS 1.3. Then both install the pair, prove it with probes, and rekey it without",
           "losing a packet.", ".SH VERBS"]
    for v in doc["verbs"]:
        out += [".SS sapair %s %s" % (escape(v["name"]), escape(v["words"])),
                escape(v["text"][0].upper() + v["text"][1:]) + "."]
        out += [escape(line) for line in v.get("more", "").splitlines()]
        for o in v["options"]:
            if o["name"] in ("json", "help"):
                continue
            value = " \\fI%s\\fP" % escape(o["value"]) if "value" in o else ""
            out += [".TP", "\\fB\\-\\-%s\\fP%s" % (escape(o["name"]), value), escape(o["text"])]
        out += [".PP", "Example: \\fB%s\\fP" % escape(v["example"])]
    out += [".SH COMMON OPTIONS", "Every verb has these.", ".TP", "\\fB\\-\\-json\\fP",
            "results as JSON, one object a line", ".TP", "\\fB\\-\\-help\\fP", "all about the verb",
            ".SH EXIT STATUS"]
    for x in doc["exits"]:
        out += [".TP", str(x["exit"]), escape(x["text"])]
    out += [".SH FILES", ".TP", "/etc/sapair, ~/.config/sapair",
            "the config directory: sapair.json, sapair.crt, sapair.key, ca.crt, peers.d", ".TP",
            "/run/sapair/control.sock, $XDG_RUNTIME_DIR/sapair/control.sock", "the control socket",
            ".SH SEE ALSO", ".BR sapair.json (5),", ".BR sapair\\-protocol (7)"]
    return page("sapair", 1, "pairs of IPsec SAs between two hosts, without IKE", out)


def document(path, intro):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        text = f.read()
    return [".SH DESCRIPTION", intro, ".PP"] + from_markdown(text) + [
        ".SH SEE ALSO", ".BR sapair (1)"]


def pages():
    return {
        "sapair.1": commands(),
        "sapair.json.5": page("sapair.json", 5, "config file of sapair",
                              document("docs/config.md", "The config of an agent.")),
        "sapair-protocol.7": page("sapair-protocol", 7, "the protocol of sapair agents",
                                  document("docs/protocol.md", "What two agents say to each other.")),
    }


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "docs")
    for name, text in pages().items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(text)


if __name__ == "__main__":
    main()
