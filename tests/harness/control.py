"""The control socket, client side."""

import json
import socket

from harness import tap


class Gone(Exception):
    """The agent has closed its control socket, or does not have one."""


class Control:
    """One connection to an agent's control socket."""

    def __init__(self, path, limit=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(limit or 2 * tap.default_limit_s)
        self.rest = b""
        try:
            self.socket.connect(path)
        except OSError as error:
            self.socket.close()
            raise Gone(str(error))

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, request):
        self.send_raw(json.dumps(request).encode() + b"\n")

    def send_raw(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Gone(str(error))

    def line(self):
        while b"\n" not in self.rest:
            try:
                data = self.socket.recv(65536)
            except ConnectionError as error:
                raise Gone(str(error))
            if not data:
                raise Gone("closed")
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def ask(self, verb, **members):
        """Sends a request. Returns its exit status and its documents."""
        self.send(dict(members, verb=verb))
        docs = []
        while True:
            d = self.line()
            if d["schema"] == "sapair.end/1":
                return d["exit"], docs
            docs.append(d)
