#!/usr/bin/env python3
"""Labs in the kernel: a host that has no agent. The full mesh: test_mesh.py."""

import re

from kernel import *  # noqa: F403
from kernel import v4, v6

sys.path.insert(0, os.path.join(HERE, "..", "docs"))
import schema  # noqa: E402


def lab_agent(w, address=v4, **options):
    """alpha has an agent of a lab; beta could have, and has none."""
    path = w.write("lone.json", json.dumps({
        "lab": "lone", "backend": "xfrm", "options": options,
        "hosts": [{"name": h, "address": address(h)} for h in w.hosts]}))
    well(tool("lab", "init", path, "--out", w.dir))
    a = KernelAgent(w, "alpha", None, ["--bundle", w.path("alpha.bundle")])
    return w.add(a).start()


def script(w, a, name="half.sh"):
    """The other half, and what was said about it."""
    path = w.path(name)
    doc = well(a.cli("export script", "beta", "--out", path)).doc("script")
    wrong = schema.faults(doc, schema.of_document(doc["schema"]), strict=True)
    check(not wrong, "%s against its schema: %s" % (doc, wrong))
    equal(os.stat(path).st_mode & 0o777, 0o600, "mode of the script")
    equal(doc["file"], path, "file")
    return doc, path


def runs(w, path, doc, address=v4):
    """The lines work: traffic passes, as ESP (the watch sees to that), on these very SAs."""
    sh("sh", path, host="beta")
    w.udp(rate=500, address=address).no_loss()
    of_beta = {re.search(r"spi 0x(\w+)", s).group(1): s for s in w.states("beta")}
    for spi in (doc["in"], doc["out"]):
        check(int(re.search(r"(\d+)\(packets\)", of_beta[spi]).group(1)) > 100, of_beta[spi])


@test
def a_host_without_an_agent_is_the_other_half_by_the_printed_lines(w):
    a = lab_agent(w, hard={"time_s": 300}, rekey={"time_s": 100})
    doc, path = script(w, a)
    runs(w, path, doc)
    has("".join(w.states("beta")), "expire add: soft 0(sec), hard 300(sec)")
    has(a.log(), "a pair was made by hand")
    doc, again = script(w, a, "again.sh")  # a rekey by hand
    runs(w, again, doc)
    w.no_errors(but=("XfrmInTmplMismatch",))  # the agent calls, and beta takes nothing in clear
    # beta gets an agent: what it agrees on takes the place.
    for p in (path, again):
        sh("sh", p, "down", host="beta")
    equal(w.states("beta") + w.policies("beta"), [], "what the scripts left")
    b = KernelAgent(w, "beta", None, ["--bundle", w.path("beta.bundle")])
    w.add(b).start()
    together(a, b)
    refused = well(a.cli("export script", "beta", "--out", w.path("no.sh")), 2).doc("error")
    has(refused["cause"], "has an agent")
    check(not os.path.exists(w.path("no.sh")), "a script was written all the same")
    well(a.cli("down", "--all"))
    equal(w.states("alpha"), [], "SAs of the agent after down")


@test
def its_options_are_in_the_lines_too(w):
    a = lab_agent(w, v6, suites=["aes256-sha256"], encap="tunnel", protect=["udp/7000", "proto/132"],
                  exempt=["tcp/22"])
    doc, path = script(w, a)
    runs(w, path, doc, v6)
    sh("sh", path, "down", host="beta")
    equal(w.states("beta") + w.policies("beta"), [], "what the script left")
    for d in a.ask("script", peer="beta")[1]:
        wrong = schema.faults(d, schema.of_document(d["schema"]), strict=True)
        check(not wrong, "%s against its schema: %s" % (d, wrong))


if __name__ == "__main__":
    main()
