"""strongSwan, for comparison: two daemons, controlled by the vici protocol."""

import os
import socket
import statistics
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.identity import identity
from harness.netns import batch, inside, v4
from harness.tap import Failure, check

CHARON = next((p for p in ("/usr/lib/ipsec/charon", "/usr/libexec/ipsec/charon") if os.access(p, os.X_OK)), None)
CONF = """charon {
  load = random nonce openssl pem pkcs1 pkcs8 pubkey x509 hmac gcm aes sha1 sha2 kdf kernel-netlink socket-default vici
  plugins { vici { socket = unix://%s } }
  filelog { all { path = %s
 default = 0 } }
  process { }
}
"""
ESP = "aes256gcm16"
IKE = "aes256gcm16-prfsha256-x25519"


def item(name):
    return struct.pack("B", len(name)) + name.encode()


def encode(tree):
    """A message of vici."""
    out = b""
    for k, v in tree.items():
        if isinstance(v, dict):
            out += b"\1" + item(k) + encode(v) + b"\2"
        elif isinstance(v, list):
            out += b"\4" + item(k)
            for x in v:
                x = x if isinstance(x, bytes) else str(x).encode()
                out += b"\5" + struct.pack("!H", len(x)) + x
            out += b"\6"
        else:
            v = v if isinstance(v, bytes) else str(v).encode()
            out += b"\3" + item(k) + struct.pack("!H", len(v)) + v
    return out


class Vici:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(30)
        self.s.connect(path)

    def packet(self):
        head = self.s.recv(4, socket.MSG_WAITALL)
        return self.s.recv(struct.unpack("!I", head)[0], socket.MSG_WAITALL)

    def send(self, kind, name, body=b""):
        p = struct.pack("B", kind) + item(name) + body
        self.s.sendall(struct.pack("!I", len(p)) + p)

    def ask(self, command, **tree):
        self.send(0, command, encode(tree))
        p = self.packet()
        while p[0] == 7:
            p = self.packet()
        check(p[0] == 1, "vici %s: %r" % (command, p))
        if b"success" in p and b"\3\7success\0\3yes" not in p:
            raise Failure("vici %s: %r" % (command, p))

    def register(self, event):
        self.send(3, event)
        check(self.packet()[0] == 5, "vici: no event %s" % event)

    def rekeyed(self, child):
        """Sends a command and waits for its end."""
        self.send(0, "rekey", encode({"child": child}))
        left = {1, 7}
        while left:
            left.discard(self.packet()[0])


class Daemon:
    def __init__(self, w, name):
        self.name = name
        self.path = w.path(name + ".vici")
        conf = w.path(name + ".swan")
        with open(conf, "w") as f:
            f.write(CONF % (self.path, w.path(name + ".charon")))
        self.process = subprocess.Popen(
            inside(name) + ["sh", "-c", "rm -f /run/charon.pid /var/run/charon.pid; exec " + CHARON],
            env=dict(os.environ, STRONGSWAN_CONF=conf), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        w.cleanups.append(self.process.kill)
        end = time.monotonic() + 20
        while True:
            try:
                self.vici = Vici(self.path)
                break
            except OSError:
                check(time.monotonic() < end and self.process.poll() is None, "charon of %s does not run" % name)
                time.sleep(0.02)
        time.sleep(0.5)  # it writes its pid file, which the next one checks

    @property
    def pid(self):
        return self.process.pid

    def load(self, other, names, addresses=None, pfs=False):
        """One connection for each name; addresses: those of beta."""
        id, peer = identity(self.name, v4(self.name)), identity(other, v4(other))
        read = lambda p: open(p, "rb").read()  # noqa: E731
        for path, flag in ((id.cert, "NONE"), (peer.cert, "NONE"), (id.ca, "CA")):
            self.vici.ask("load-cert", type="X509", flag=flag, data=read(path))
        self.vici.ask("load-key", type="any", data=read(id.key))
        for i, n in enumerate(names):
            at = {h: v4(h) for h in (self.name, other)}
            if addresses:
                at["beta"] = addresses[i]
            child = {"local_ts": ["%s/32[udp]" % at[self.name]], "remote_ts": ["%s/32[udp]" % at[other]],
                     "mode": "transport", "esp_proposals": [ESP + ("-x25519" if pfs else "")],
                     "start_action": "none"}
            self.vici.ask("load-conn", **{n: {
                "version": "2", "local_addrs": [at[self.name]], "remote_addrs": [at[other]],
                "proposals": [IKE], "mobike": "no", "unique": "never",
                "local": {"auth": "pubkey", "certs": [read(id.cert)]},
                "remote": {"auth": "pubkey", "certs": [read(peer.cert)]},
                "children": {n: child}}})


def memory(d):
    with open("/proc/%d/status" % d.pid) as f:
        return next(int(x.split()[1]) / 1024 for x in f if x.startswith("VmRSS"))


def used(*daemons):
    total = 0.0
    for d in daemons:
        for task in os.listdir("/proc/%d/task" % d.pid):
            with open("/proc/%d/task/%s/schedstat" % (d.pid, task)) as f:
                total += int(f.read().split()[0]) / 1e9
    return total


def p99(samples):
    return sorted(samples)[max(0, -(-len(samples) * 99 // 100) - 1)]


def hundred(t, w, a, b, n):
    """Measures the start of n pairs, from the command."""
    names = ["n%d" % i for i in range(n)]
    addresses = ["10.9.1.%d" % (i + 1) for i in range(n)]
    batch(["address add %s/16 dev e" % x for x in addresses], "beta")
    batch(["route add 10.9.1.0/24 dev e"], "alpha")
    for d, o in ((a, "beta"), (b, "alpha")):
        d.load(o, names, addresses)
    a.vici.ask("terminate", ike="one", timeout="5000")
    start = time.monotonic()
    for i in names:
        a.vici.ask("initiate", child=i, timeout="-1")
    while True:
        out = subprocess.run(inside("alpha") + ["ip", "xfrm", "state", "count"], capture_output=True, text=True).stdout
        if int(out.split()[-1]) >= 2 * n:
            break
        check(time.monotonic() < start + 60, "strongSwan: %s of %d SAs" % (out, 2 * n))
        time.sleep(0.005)
    t.row("%d pairs from the command" % n, time.monotonic() - start, "s")


def measure(t, w, floor, found, ping, quick):
    version = subprocess.run([CHARON, "--version"], capture_output=True, text=True).stdout
    n = 10 if quick else 30
    b, a = Daemon(w, "beta"), Daemon(w, "alpha")
    for d, o in ((a, "beta"), (b, "alpha")):
        d.load(o, ["one"])
    took = []
    for _ in range(n):
        start = time.monotonic()
        a.vici.ask("initiate", child="one", timeout="5000")
        ping.until_back()
        took.append((time.monotonic() - start) * 1000)
        if _ < n - 1:
            a.vici.ask("terminate", ike="one", timeout="5000")
            time.sleep(0.02)
    found["ping"] = statistics.median(took)
    found["from"] = "here"
    t.row("initiate to the first protected ping: median", found["ping"], "ms",
          note=" ".join(version.split()[-2:]))
    a.vici.register("child-rekey")
    for word, pfs in (("without PFS", False), ("with PFS", True)):
        for d, o in ((a, "beta"), (b, "alpha")):
            d.load(o, ["one"], pfs=pfs)
        a.vici.ask("terminate", ike="one", timeout="5000")
        a.vici.ask("initiate", child="one", timeout="5000")
        least = floor.round(300)["median_us"] / 1000
        took, cpu = [], used(a, b)
        start = time.monotonic()
        for _ in range(50 if quick else 300):
            one = time.monotonic()
            a.vici.rekeyed("one")
            took.append((time.monotonic() - one) * 1000)
        seconds = time.monotonic() - start
        if not pfs:
            found.update(rekey=statistics.median(took), p99=p99(took), rate=len(took) / seconds)
        t.row("rekey %s: median" % word, statistics.median(took), "ms", note="p99 %.1f; %.1f floors; %.0f per second; "
              "%.1f s of processor time for 1,000" % (p99(took), statistics.median(took) / least,
                                                      len(took) / seconds, (used(a, b) - cpu) / len(took) * 1000))
    hundred(t, w, a, b, 20 if quick else 100)
    t.row("resident, with them", max(memory(a), memory(b)), "MB")
