#!/usr/bin/env python3
"""docs/protocol.md against the headers and tables of the code."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.documents import bare, number, read, section, source, table, x_list
from harness.settings import ROOT
from harness.tap import check, equal, main, test

doc = read("docs/protocol.md")
msg_h = source("proto/wire/msg.h")
msg_c = source("proto/wire/msg.c")
WORDS = {
    "mode_words": ["required", "permissive"],
    "encap_words": ["transport", "tunnel"],
    "reason_words": [r[1] for r in x_list(msg_h, "REASON_LIST")],
    "fault_words": None,
}
MESSAGES = [r[1] for r in x_list(msg_h, "MSG_LIST")]


def defined(name):
    """A number that msg.c or a header of proto/ defines, or a plain one."""
    name = name.strip()
    if name == "UINT32_MAX":
        return 4294967295
    if name == "SUITE_COUNT":
        return len(suites())
    m = re.search(r"#define %s (.+)" % re.escape(name), msg_h + msg_c)
    if m:
        return number(m.group(1))
    text = re.sub(r"\b[A-Z_]{3,}\b", lambda w: str(defined(w.group(0))), name)
    return number(text)


def suites():
    return re.findall(r"\[SUITE_\w+\] = \{(.*?)\}", source("proto/base/suite.c"))


def words(name):
    return " ".join("`%s`" % w for w in WORDS[name])


def described(kind, get, least, most, more):
    """Type and range of a field, in the words of the document."""
    low, high = defined(least or "0"), defined(most or "0")
    if get == "get_type":
        return "word", "`%s`" % kind
    if get == "json_get_word" and more == "fault_words":
        return "fault", ""
    return {
        "json_get_u32": lambda: ("number", "%d to %d" % (low, high or 4294967295)),
        "json_get_hexbytes": lambda: ("hex", "%d bytes" % high),
        "json_get_secret": lambda: ("hex", "%d bytes" % high),
        "json_get_text": lambda: ("text", "%d to %d bytes" % (low, high - 1)),
        "json_get_addr": lambda: ("address", ""),
        "json_get_word": lambda: ("word", words(more)),
        "json_get_bool": lambda: ("bool", ""),
        "json_get_dec64": lambda: ("dec64", "%d or more" % low),
        "json_get_hex64": lambda: ("hex64", ""),
        "get_xid": lambda: ("hex64", "not 0"),
        "get_sa_spi": lambda: ("spi", ""),
        "get_suite": lambda: ("suite", ""),
        "get_suites": lambda: ("list of suites", "1 to %d, none twice" % high),
        "get_fault": lambda: ("fault", "not `none`"),
        "get_ppk_check": lambda: ("hex", "%d bytes" % defined("TAG_LEN")),
        "get_protect": lambda: (
            "list of text", "0 to %d, each 1 to %d bytes" % (high, defined("PROTECT_TEXT") - 1)),
    }[get]()


def fields(kind):
    """[name, needed, type, range] of each field of one message, from its table in msg.c."""
    body = re.search(r"%s_fields\[\] = \{(.*?)\n\};" % kind, msg_c, re.S).group(1)
    rows = []
    for line in body.splitlines():
        line = line.strip().rstrip(",")
        if line == "TYPE":
            rows.append(["type", "yes", *described(kind, "get_type", "", "", "")])
            continue
        m = re.fullmatch(r"(FIELD|WORDS|OPTIONAL)\((.*)\)", line)
        if m:
            a = [x.strip().strip('"') for x in m.group(2).split(",")]
            if m.group(1) == "FIELD":
                rows.append([a[1], "yes", *described(kind, a[2], a[4], a[5], "")])
            elif m.group(1) == "WORDS":
                rows.append([a[1], "yes", *described(kind, a[2], "", "", a[3])])
            else:
                rows.append([a[1], "no", *described(kind, a[3], "", "", "")])
            continue
        m = re.fullmatch(r"\{(.*)\}", line)
        if m:
            a = dict(re.findall(r"\.(\w+) = ([^,]+)", m.group(1)))
            needed = "no" if a.get("optional") == "true" else "yes"
            rows.append([a["name"].strip('"'), needed,
                         *described(kind, a["get"], "", a.get("max", ""), "")])
    return rows


@test
def every_message_has_its_section():
    equal(re.findall(r"^### ([a-z]+)$", doc, re.M), MESSAGES, "sections of messages")


@test
def fields_of_messages_are_those_of_the_code():
    for kind in MESSAGES:
        rows = [r[:4] for r in table(section(doc, "### " + kind))]
        equal(rows, fields(kind), "fields of " + kind)


@test
def faults_are_those_of_the_code():
    rows = [[bare(r[0]), r[1], r[2]] for r in table(section(doc, "## 11. Faults"))]
    classes = {r[0]: r[2] for r in x_list(source("proto/base/err.h"), "ERR_LIST")}
    want = [[r[1], classes[r[2]], r[3]] for r in x_list(msg_h, "FAULT_LIST")]
    equal(rows, want, "faults")


@test
def reasons_of_exchanges_are_those_of_the_code():
    rows = [bare(r[0]) for r in table(section(doc, "### 6.4 When an exchange begins"))]
    equal(rows, WORDS["reason_words"], "reasons")


@test
def suites_are_those_of_the_code():
    rows = [[bare(c) for c in r] for r in table(section(doc, "## 8. Suites and ESP"))]
    preset = re.search(r'OPTION\(suites.*?\.preset = "\[(.*?)\]"', source("proto/config/table.c"), re.S).group(1)
    default = re.findall(r"[\w-]+", preset)
    want = []
    for s in suites():
        a = [x.strip().strip('"') for x in s.split(",")]
        # name, kind, key, salt, MAC key, IV, ICV, RFC
        want.append([a[0], *a[2:7], "yes" if a[0] in default else "no", a[7]])
    equal(rows, want, "suites")


@test
def constants_are_those_of_the_code():
    paths = ("proto/wire/msg.h proto/wire/frame.h proto/json/scan.h proto/exchange/keysched.h proto/exchange/probe.h proto/exchange/exchange.h "
             "agent/daemon/link/link.h agent/daemon/peer/dial.h agent/daemon/peer/dial.c agent/daemon/pair/rekey.c "
             "agent/daemon/verify/verify.h agent/daemon/verify/verify.c").split()
    code = source(*paths)
    for name, value, _ in table(section(doc, "## 12. Constants")):
        m = re.search(r"#define %s (.+)" % name, code)
        check(m, "no %s in the code" % name)
        equal(int(value), number(m.group(1)), name)


@test
def labels_and_alpn_are_those_of_the_code():
    keysched = source("proto/exchange/keysched.c")
    for label in re.findall(r"begin\(&i, \"([^\"]+)\"\)", keysched):
        check(label in doc, "label %r is not in the document" % label)
    for path, pattern in (("crypto/tls.c", r"exporter_label\[\] = \"([^\"]+)\""),
                          ("crypto/tls.h", r"TLS_ALPN \"([^\"]+)\"")):
        value = re.search(pattern, source(path)).group(1)
        check("`%s`" % value in doc, "%r is not in the document" % value)


@test
def vectors_are_those_of_the_independent_program():
    out = subprocess.run([sys.executable, "-B", "tests/unit/vectors_keysched.py"], cwd=ROOT,
                         capture_output=True, text=True, check=True).stdout
    want = {}
    for line in out.splitlines():
        name, value = line.rsplit(None, 1)
        want[name] = value
    text = re.search(r"<!-- vectors -->\n```text\n(.*?)```", doc, re.S).group(1)
    shown, last = {}, None
    for line in text.splitlines():
        if line.startswith(" "):
            shown[last] += line.strip()
        else:
            last, value = line.rsplit(None, 1)
            shown[last] = value
    equal(shown, want, "vectors")


@test
def hashes_of_the_whole_exchange_are_right():
    program = r"""
import contextlib, hashlib, io, re, sys
sys.path.insert(0, "tests/unit")
with contextlib.redirect_stdout(io.StringIO()):
    import vectors_keysched as v
doc = open("docs/protocol.md", encoding="utf-8").read()
line = {k: re.search(r'^\{"type":"%s","xid":"01.*$' % k, doc, re.M).group(0).encode()
        for k in ("offer", "answer", "confirm")}
sha = lambda b: hashlib.sha256(b).digest()
prk = v.prk_of()
v.OFFER_HASH = sha(line["offer"])
print(v.OFFER_HASH.hex())
v.ANSWER_HASH = sha(line["answer"][:-74])
print(v.ANSWER_HASH.hex())
assert v.tag(prk, 1, "aes256gcm16", 1).hex().encode() == line["answer"][-66:-2], "tag of answer"
v.ANSWER_HASH = sha(line["answer"])
print(v.ANSWER_HASH.hex())
assert v.tag(prk, 2, "aes256gcm16", 1).hex().encode() == line["confirm"][-66:-2], "tag of confirm"
print(v.sa(prk, 1, "aes256gcm16", 1).hex())
print(v.sa(prk, 2, "aes256gcm16", 1).hex())
body = b"SAPP" + bytes([1, 1, 0, 0]) + bytes.fromhex("1122334455667788")
body += (1).to_bytes(4, "big") + (v.EPOCH).to_bytes(8, "big")
print((body + v.hmac256(v.probe(prk), body)[:16]).hex())
"""
    out = subprocess.run([sys.executable, "-B", "-c", program], cwd=ROOT, capture_output=True,
                         text=True)
    check(out.returncode == 0, out.stderr)
    text = section(doc, "### 7.7 A whole exchange")
    equal(re.findall(r"^    .*? ([0-9a-f]{64,})$", text, re.M), out.stdout.split(), "values")


if __name__ == "__main__":
    main()
