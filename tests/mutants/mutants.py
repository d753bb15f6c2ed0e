#!/usr/bin/env python3
"""Removes one check at a time from a copy of the tree, builds it, and runs the tests that docs/security.md
names for the check: each must fail.

    make mutants                                    all except those in the kernel
    python3 tests/mutants/mutants.py [WORD ...]     those whose name contains a WORD ("S2": in the kernel)

A check whose text is not in the source is an error: this list must follow the code. The unchanged tree must
pass first; its failures are reported as such.
"""

import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COPY = os.path.join(ROOT, "build", "mutants")
LINUX = os.path.join("build", "linux")
TIME = 600

# name, file, text, its replacement, tests
MUTANTS = [
    ("S1 the check of a certificate", "crypto/tls.c",
     "\t*flags = flag_of(t->cert);\n", "\tt->cert = CERT_OK;\n\t*flags = 0;\n",
     ["test_tls", "soft/test_identity.py"]),
    ("S2 a required policy is made optional in the kernel", "agent/ipsec/xfrm/policy.c",
     "w.optional = p->opt.mode == MODE_PERMISSIVE;", "w.optional = true;", ["kernel/test_faults.py"]),
    ("S3 one key for every SA", "proto/exchange/keysched.c", None, None, ["sim --break same-key"]),
    ("S4 the tag of answer", "proto/exchange/exchange.c",
     "\tif (!same)\n\t\treturn deny(x, FAULT_TAG,", "\tif (false && !same)\n\t\treturn deny(x, FAULT_TAG,",
     ["test_exchange"]),
    ("S4 the tag of confirm", "proto/exchange/exchange.c",
     "if (!bytes_equal(ev->msg->u.confirm.tag, x->confirm_tag_, TAG_LEN))",
     "if (false)", ["test_exchange", "soft/test_hostile.py"]),
    ("S5 the peer's own address", "proto/exchange/election.c",
     "if (addr_equal(here, there))", "if (!is_own || addr_equal(here, there))",
     ["test_election", "soft/test_hostile.py"]),
    ("S6 old epochs", "proto/exchange/exchange.c", "if (m->epoch <= newest || m->epoch != x->last) {", "if (false && newest) {",
     ["test_exchange", "soft/test_hostile.py"]),
    ("S7 TLS 1.3 as the least version", "crypto/identity.c",
     "mbedtls_ssl_conf_min_tls_version(c, MBEDTLS_SSL_VERSION_TLS1_3)",
     "mbedtls_ssl_conf_min_tls_version(c, MBEDTLS_SSL_VERSION_TLS1_2)",
     ["test_tls", "soft/test_identity.py"]),
    ("S7 only a suite that was offered", "proto/exchange/exchange.c",
     "|| !suite_list_has(&o->suites, (enum suite)m->suite))", "|| o == NULL)",
     ["test_exchange", "soft/test_hostile.py"]),
    ("S8 four unfinished handshakes", "agent/daemon/peer/dial.h",
     "#define HALF_OPEN_MAX 4", "#define HALF_OPEN_MAX 1000",
     ["soft/test_floods.py"]),
    ("S8 the limit of a frame", "proto/wire/frame.c", "r->len == 0 || r->len > FRAME_MAX",
     "r->len == 0", ["test_frame", "soft/test_hostile.py"]),
    ("S8 the limit of the log", "agent/os/log.c",
     "(limited_ms != 0 && !may_write(limited_ms, level))",
     "(limited_ms != 0 && !may_write(limited_ms, level) && false)",
     ["test_log", "soft/test_floods.py"]),
    ("S9 no core dumps", "agent/os/linux/os.c", "\tsetrlimit(RLIMIT_CORE, &no_core);\n",
     "\t(void)no_core;\n", ["test_os_linux", "soft/test_resources.py"]),
    ("S9 no io_uring", "agent/os/linux/confine.c", "RETURN(SECCOMP_RET_ERRNO | ENOSYS),",
     "RETURN(SECCOMP_RET_ALLOW),", ["test_confine"]),
    ("S9 the filter of system calls", "agent/os/linux/confine.c", "note(result, filter_calls(c->role),",
     "note(result, false && filter_calls(c->role),", ["soft/test_resources.py"]),
    ("S9 files outside the config's folders", "agent/os/linux/confine.c", "note(result, close_files(c),",
     "note(result, false && close_files(c),", ["soft/test_resources.py"]),
    ("S9 capabilities", "agent/os/linux/confine.c",
     "\tif (syscall(SYS_capset, &head, caps) == 0)", "\tif (caps[0].effective < 1u << 31)",
     ["test_confine"]),
    ("S9 the helper checks the address", "agent/privsep/policy.c",
     "if (!addr_equal(&want->remote, &is->remote))", "if (false)", ["test_privsep"]),
    ("S9 the helper installs what was reserved", "agent/privsep/policy.c",
     "k->context != NULL && k->context->reserved, \"reserved\"", "true, \"reserved\"", ["test_privsep"]),
    ("S9 the helper activates what was installed", "agent/privsep/policy.c",
     "context != NULL && context->parts == IPSEC_INBOUND, \"installed\"", "true, \"installed\"",
     ["test_privsep"]),
    ("S10 wiping of frames", "proto/wire/frame.c", "\t\twipe(r->body, r->len + 1);\n",
     "\t\t(void)r->body;\n", ["test_frame", "soft/test_secrets.py"]),
    ("S10 wiping of PRK and shares", "proto/exchange/exchange.c",
     "\tsecret_wipe(&x->share_);\n\tsecret_wipe(&x->prk_);\n\tsecret_wipe(&x->tag_key_);\n\twipe(x->confirm_tag_,",
     "\twipe(x->confirm_tag_,", ["test_exchange", "soft/test_secrets.py"]),
    ("S10 wiping of JSON blocks", "proto/json/decode.c", "\twipe(b + 1, b->size);\n", "",
     ["test_json", "soft/test_secrets.py"]),
    ("S10 wiping of decrypted bytes on the stack", "crypto/tls.c",
     "\twipe(plain, sizeof plain);\n", "", ["soft/test_secrets.py"]),
    ("a start waits for another at the same socket", "agent/os/linux/control.c",
     "if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {", "if (fd < 0) {",
     ["test_os_linux"]),
]
ALONE = ("S2",)  # only if named: a test in a kernel takes minutes


def copy():
    """Sources and objects, with their times, so that few have to be built again."""
    shutil.rmtree(COPY, ignore_errors=True)
    os.makedirs(os.path.join(COPY, "build"))
    for name in ("Makefile", "agent", "crypto", "proto", "scripts", "tests", "docs"):
        subprocess.run(["cp", "-a", os.path.join(ROOT, name), COPY], check=True)
    for name in ("deps", "linux", "linux-test"):
        subprocess.run(["cp", "-a", os.path.join(ROOT, "build", name), COPY + "/build/"], check=True)


def program_of(test):
    """The target to build for a test."""
    if ".py" in test:
        return [LINUX + "/sapair", LINUX + "-test/sapair", LINUX + "/fault.so"]
    name = test.split()[0]
    where = "tests/agent/" if os.path.exists("%s/tests/agent/%s.c" % (ROOT, name)) else ""
    return [os.path.join(LINUX, where + name)]


def make(targets):
    p = subprocess.run(["make", "-s", "WERROR="] + sorted(set(targets)), cwd=COPY,
                       capture_output=True, text=True)
    return None if p.returncode == 0 else p.stdout + p.stderr


def failures(test):
    """The number of failed tests; a program that crashed or printed no test counts as one."""
    if ".py" in test:
        argv = [sys.executable, "-B", "tests/" + test]
    else:
        argv = [program_of(test)[0]] + test.split()[1:]
    try:
        p = subprocess.run(argv, cwd=COPY, capture_output=True, text=True, errors="replace",
                           timeout=TIME, stdin=subprocess.DEVNULL,
                           env=dict(os.environ, SAPAIR=os.path.join(COPY, LINUX, "sapair")))
    except subprocess.TimeoutExpired:
        return 1
    failed = len(re.findall(r"^not ok", p.stdout, re.M))
    return failed or int(p.returncode != 0 or "\nok" not in "\n" + p.stdout)


def change(path, old, new):
    path = os.path.join(COPY, path)
    with open(path) as f:
        text = f.read()
    if text.count(old) != 1:
        sys.exit("%s: %d times in the code: %r" % (path, text.count(old), old))
    with open(path, "w") as f:
        f.write(text.replace(old, new))
    return path, text


def main():
    words = sys.argv[1:]
    chosen = [m for m in MUTANTS if any(w in m[0] for w in words)
              or not words and not m[0].startswith(ALONE)]
    copy()
    every = sorted({t for m in chosen for t in m[4] if m[1] and m[2]})
    print("1..%d" % (len(chosen) + 1))
    broken = make([p for t in every for p in program_of(t)])
    bad = [t for t in every if broken or failures(t)]
    print("%sok 1 - the unchanged tree passes" % ("not " if bad else ""))
    for line in (broken or "").splitlines() + bad:
        print("#  " + line)
    failed = bool(bad)
    for number, (name, path, old, new, tests) in enumerate(chosen, 2):
        if old is None:  # an option of the test program
            failed_tests = {t: failures(t) for t in tests}
        else:
            changed, text = change(path, old, new)
            broken = make([p for t in tests for p in program_of(t)])
            failed_tests = {t: 0 if broken else failures(t) for t in tests}
            with open(changed, "w") as f:
                f.write(text)
        missed = [t for t in tests if failed_tests[t] == 0]
        counts = ", ".join("%d of %s" % (n, t) for t, n in failed_tests.items())
        if old is not None and broken:
            counts = "it does not build:\n#  " + broken.replace("\n", "\n#  ")
        failed = failed or bool(missed)
        print("%sok %d - a test detects the removal of: %s" % ("not " if missed else "", number, name))
        print("#  " + counts, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
