"""A peer in Python: an unauthenticated client, a hostile peer, or a conforming one.

The handshake is Python's ssl. Frames, messages and keys are implemented here from docs/protocol.md and
proto/exchange/keysched.h, independently of the program. The exporter secret comes from OpenSSL's key log.
"""

import hashlib
import hmac
import json
import secrets
import socket
import ssl
import struct
import time

from harness.settings import GAMMA, LIMIT
from harness.tap import Failure, check, equal

FRAME_MAX = 16384
SUITES = ["aes256gcm16"]


class Closed(Exception):
    """The agent has closed the link; the text says how."""


# --- keys ----------------------------------------------------------------------------------------


def extract(salt, ikm, h="sha256"):
    return hmac.new(salt, ikm, h).digest()


def expand(prk, info, n, h="sha256"):
    out, block, i = b"", b"", 1
    while len(out) < n:
        block = hmac.new(prk, block + info + bytes([i]), h).digest()
        out += block
        i += 1
    return out[:n]


def expand_label(secret, label, context, n, h):
    """RFC 8446 section 7.1."""
    label = b"tls13 " + label
    info = struct.pack(">HB", n, len(label)) + label + bytes([len(context)]) + context
    return expand(secret, info, n, h)


def exporter_value(secret, label, n, h):
    """RFC 8446 section 7.5, without a context."""
    empty = hashlib.new(h, b"").digest()
    derived = expand_label(secret, label, empty, hashlib.new(h).digest_size, h)
    return expand_label(derived, b"exporter", empty, n, h)


def sha(data):
    return hashlib.sha256(data).digest()


class Keys:
    """proto/exchange/keysched.h, for one exchange."""

    def __init__(self, exporter, leader_id, follower_id, offer, answer_fields, ppk=b""):
        o, a = offer, answer_fields
        salt = exporter + ppk
        if len(salt) > 64:
            salt = sha(salt)
        self.prk = extract(salt, bytes.fromhex(o["share"]) + bytes.fromhex(a["share"]))
        run = bytes.fromhex(o["xid"]) + struct.pack(">Q", int(o["epoch"]))
        suite = a["suite"].encode()
        self.info = (
            run + bytes([len(suite)]) + suite + bytes([a["esn"]]) + leader_id + follower_id
            + bytes.fromhex(o["spi"]) + bytes.fromhex(a["spi"])
        )

    def tag(self, role, offer_raw, answer_raw):
        key = expand(self.prk, b"sapair/1 tag\0" + self.info, 32)
        return hmac.new(key, bytes([role]) + sha(offer_raw) + sha(answer_raw), "sha256").hexdigest()


def ppk_check(exporter, ppk, is_client):
    return expand(
        extract(exporter, ppk), b"sapair/1 ppk\0" + bytes([1 if is_client else 2]), 32
    ).hex()


# --- one link ------------------------------------------------------------------------------------


def context_of(lab, side, id, alpn="sapair/1", cert=True, version=None):
    context = ssl.SSLContext(
        ssl.PROTOCOL_TLS_CLIENT if side == "client" else ssl.PROTOCOL_TLS_SERVER
    )
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if id else ssl.CERT_NONE
    if id:
        context.load_verify_locations(id.ca)
        if cert:
            context.load_cert_chain(id.cert, id.key)
    if alpn:
        context.set_alpn_protocols([alpn])
    if version:
        context.maximum_version = version
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.keylog_filename = lab.path("keys-%s" % secrets.token_hex(4))
    return context


class Link:
    def __init__(self, tls, context, is_client, id):
        self.tls, self.id, self.is_client = tls, id, is_client
        self.keylog = context.keylog_filename
        self.rest = b""
        self.hello_got = None
        self.ppk = b""
        tls.settimeout(LIMIT)

    def exporter(self):
        with open(self.keylog) as f:
            found = [line.split()[2] for line in f if line.startswith("EXPORTER_SECRET")]
        h = "sha384" if self.tls.cipher()[0].endswith("SHA384") else "sha256"
        return exporter_value(bytes.fromhex(found[-1]), b"EXPORTER-sapair-1", 32, h)

    def close(self):
        try:
            self.tls.close()
        except OSError:
            pass

    # frames

    def send_bytes(self, data):
        try:
            self.tls.sendall(data)
        except (OSError, ssl.SSLError) as error:
            raise Closed(str(error))

    def send_body(self, body):
        self.send_bytes(struct.pack(">I", len(body)) + body)

    def send(self, message):
        body = pack(message)
        self.send_body(body)
        return body

    def recv_bytes(self, n):
        while len(self.rest) < n:
            try:
                data = self.tls.recv(65536)
            except (ssl.SSLError, ConnectionError) as error:
                raise Closed(str(error))
            except (TimeoutError, socket.timeout):
                raise Failure("no message within the time limit")
            if not data:
                raise Closed("end")
            self.rest += data
        data, self.rest = self.rest[:n], self.rest[n:]
        return data

    def recv_any(self):
        """(message, its exact bytes)"""
        n = struct.unpack(">I", self.recv_bytes(4))[0]
        check(0 < n <= FRAME_MAX, "a frame of %d bytes from the agent" % n)
        raw = self.recv_bytes(n)
        return json.loads(raw), raw

    def recv(self, *types):
        """The next message of these types. Answers pings and ignores probes until it arrives."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            m, raw = self.recv_any()
            if m["type"] in types:
                self.raw = raw
                return m
            if m["type"] == "ping":
                self.send({"type": "pong", "id": m["id"]})
            elif m["type"] not in ("probe", "pong", "rekey"):
                raise Failure("wanted %s, got %s" % ("/".join(types), m))
        raise Failure("no %s came" % "/".join(types))

    def recv_until(self, kind):
        """The next message of this type; ignores all others."""
        while True:
            m, self.raw = self.recv_any()
            if m["type"] == kind:
                return m

    def until_closed(self):
        """All messages until the link is closed."""
        got = []
        try:
            while True:
                got.append(self.recv_any()[0])
        except Closed:
            return got

    # exchanges

    def hello(self, **changes):
        self.send(hello(**changes))
        self.hello_got = self.recv("hello")
        return self

    def ids(self):
        """Identities of leader and follower; the leader is the TLS client."""
        own = bytes.fromhex(self.id.pin.split(":")[1])
        agent = spki_hash(self.tls.getpeercert(True))
        return (own, agent) if self.is_client else (agent, own)

    def lead(self, **changes):
        """As leader, from offer to answer, whose tag is checked. Returns offer, answer and confirm."""
        o = offer(int(self.hello_got["last"]) + 1, **changes)
        raw = self.send(o)
        a = self.recv("answer")
        answer_raw = self.raw
        keys = Keys(self.exporter(), *self.ids(), o, a, self.ppk)
        equal(keys.tag(1, raw, answer_raw[:-74]), a["tag"], "tag of the answer")
        confirm = {"type": "confirm", "xid": o["xid"], "tag": keys.tag(2, raw, answer_raw)}
        return o, a, confirm

    def pair(self, **changes):
        """A complete exchange as leader."""
        o, a, confirm = self.lead(**changes)
        self.send(confirm)
        equal(self.recv("done")["xid"], o["xid"], "xid of done")
        return o, a, confirm

    def follow(self, **changes):
        """As follower, from offer to confirm, whose tag is checked. Returns offer, answer and confirm."""
        o = self.recv("offer")
        raw = self.raw
        a = answer(o, **changes)
        keys = Keys(self.exporter(), *self.ids(), o, a, self.ppk)
        body = pack(a)[:-1] + b',"tag":"' + b"0" * 64 + b'"}'
        tag = changes.get("tag") or keys.tag(1, raw, body[:-74])
        body = body[:-66] + tag.encode() + b'"}'
        self.send_body(body)
        confirm = self.recv("confirm", "reject")
        if confirm["type"] == "confirm":
            equal(keys.tag(2, raw, body), confirm["tag"], "tag of confirm")
        return o, a, confirm

    def finish_following(self):
        o, a, confirm = self.follow()
        equal(confirm["type"], "confirm", "reply to the answer")
        self.send({"type": "done", "xid": o["xid"]})
        return o, a


def pack(message):
    return json.dumps(message, separators=(",", ":")).encode()


def spki_hash(der):
    """SHA-256 of SubjectPublicKeyInfo: the 7th element of TBSCertificate (RFC 5280, v3)."""

    def element(at):
        n, head = der[at + 1], 2
        if n & 0x80:
            head += n & 0x7F
            n = int.from_bytes(der[at + 2:at + head], "big")
        return at + head, at + head + n

    at = element(element(0)[0])[0]  # into Certificate, into TBSCertificate
    for _ in range(6):  # version, serial, signature, issuer, validity, subject
        at = element(at)[1]
    return sha(der[at:element(at)[1]])


# --- messages ------------------------------------------------------------------------------------


def hello(**changes):
    m = {
        "type": "hello", "version": 1, "instance": secrets.token_hex(16), "agent": "harness",
        "name": "gamma", "local": GAMMA, "remote": "127.0.0.1", "mode": "required",
        "encap": "transport", "udp": False, "protect": ["all"], "epoch": "0", "last": "0",
    }
    m.update(changes)
    return {k: v for k, v in m.items() if v is not None}


def fresh_spi():
    return "%08x" % (secrets.randbits(32) | 0x10000)


def offer(epoch, **changes):
    m = {
        "type": "offer", "xid": secrets.token_hex(8), "epoch": str(epoch), "reason": "start",
        "suites": SUITES, "spi": fresh_spi(), "share": secrets.token_hex(32),
        "lifetime_s": 3600, "esn": True, "window": 1024,
    }
    m.update(changes)
    return {k: v for k, v in m.items() if v is not None}


def answer(o, **changes):
    """The message without its tag."""
    m = {
        "type": "answer", "xid": o["xid"], "suite": o["suites"][0], "spi": fresh_spi(),
        "share": secrets.token_hex(32), "lifetime_s": o["lifetime_s"], "esn": o["esn"],
        "window": 1024,
    }
    m.update({k: v for k, v in changes.items() if k != "tag"})
    return m


# --- connections ---------------------------------------------------------------------------------


def connect(agent, lab, source=GAMMA):
    """A TCP connection to an agent, from this address."""
    s = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
    s.settimeout(LIMIT)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.bind((source, 0))
    try:
        s.connect((agent.address, lab.port))
    except OSError:
        s.close()
        raise
    lab.cleanups.append(s.close)
    return s


def connect_tls(agent, lab, id, source=GAMMA, **tls):
    """A link as TLS client. Raises Closed if the handshake fails on this side; a refusal by the agent is detected
    by the first read."""
    s = connect(agent, lab, source)
    context = context_of(lab, "client", id, **tls)
    try:
        link = Link(context.wrap_socket(s), context, True, id)
    except (ssl.SSLError, ConnectionError) as error:
        s.close()
        raise Closed(str(error))
    lab.cleanups.append(link.close)
    return link


class Listener:
    """A listening socket that accepts the connections of an agent."""

    def __init__(self, lab, address=GAMMA):
        self.lab = lab
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, lab.port))
        self.socket.listen(64)
        self.socket.settimeout(LIMIT)
        lab.cleanups.append(self.socket.close)

    def accept_plain(self):
        s, _ = self.socket.accept()
        s.settimeout(LIMIT)
        self.lab.cleanups.append(s.close)
        return s

    def accept(self, id, **tls):
        s = self.accept_plain()
        context = context_of(self.lab, "server", id, **tls)
        try:
            link = Link(context.wrap_socket(s, server_side=True), context, False, id)
        except (ssl.SSLError, ConnectionError) as error:
            s.close()
            raise Closed(str(error))
        self.lab.cleanups.append(link.close)
        return link
