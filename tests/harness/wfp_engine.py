"""The stand-in of the filter engine (tests/windows/fwp_*.c), driven and read. One folder is one machine's engine."""

import contextlib
import json
import os

from harness.tap import until
from harness.wine import BUILD, win_agent, windows_path

STANDIN_EXE = os.path.join(BUILD, "standin", "sapair.exe")

# From Microsoft's headers. The program and the stand-in share another table.
LAYERS = {
    "5926dfc8-e3cf-4426-a283-dc393f5d0f9d": "in v4", "09e61aea-d214-46e2-9b21-b26b0b2f28c8": "out v4",
    "634a869f-fc23-4b90-b0c1-bf620a36ae6f": "in v6", "e1735bde-013f-4655-b351-a49e15762df0": "out v6",
}
CALLOUTS = {
    "5132900d-5e84-4b5f-80e4-01741e81ff10": "in v4", "4b46bf0a-4523-4e57-aa38-a87987c910d9": "out v4",
    "49d3ac92-2a6c-4dcf-955f-1c3be009dd99": "in v6",
    "38d87722-ad83-4f11-a91f-df0fb077225b": "out v6", "00000000-0000-0000-0000-000000000000": None,
}
FIELDS = {
    "6ec7f6c4-376b-45d7-9e9c-d337cedcd237": "local type", "d9ee00de-c1ef-4617-bfe3-ffd8f5a08957": "local",
    "b235ae9a-1d64-49b8-a44c-5ff3d9095045": "remote", "3971ef2b-623e-4f9a-8cb1-6e79b806b9a7": "protocol",
    "0c1ba1af-5765-453f-af22-a8f791ac775b": "local port", "c35a604d-d22b-4e1a-91b4-68f674ee674b": "remote port",
}
PERMIT, CALLOUT = 0x1002, 0x5003


class Engine:
    """The filter engine of one machine: its calls and its objects."""

    def __init__(self, lab, name):
        self.folder = lab.path(name + ".wfp")
        os.mkdir(self.folder)
        self.env = {"SAPAIR_STANDIN": windows_path(self.folder), "WINEDLLOVERRIDES": "fwpuclnt=n",
                    "SAPAIR_WFP": "wait-ms=10000"}  # the calls must not depend on the load
        self.seen = 0

    def path(self, name):
        return os.path.join(self.folder, name)

    def calls(self, new=False):
        try:
            with open(self.path("calls.jsonl")) as f:
                calls = [json.loads(line) for line in f if line.endswith("\n")]
        except FileNotFoundError:
            calls = []
        first, self.seen = (self.seen if new else 0), len(calls)
        return calls[first:]

    def names(self, new=False):
        """Of calls that change objects, or read them in order to."""
        return [c["call"] for c in self.calls(new) if "ubscribe" not in c["call"]
                and ("ById0" not in c["call"] or "Delete" in c["call"])]

    def post_event(self, text):
        """An event: "context ID", "filter ID", "drop ADDRESS SPI STATUS" (numbers in hex)."""
        until(lambda: not os.path.exists(self.path("event")), "the last event has been delivered")
        with open(self.path("event.new"), "w") as f:
            f.write(text + "\n")
        os.rename(self.path("event.new"), self.path("event"))

    def state(self):
        try:
            with open(self.path("state.json")) as f:
                return json.load(f)
        except FileNotFoundError:
            return {"providers": [], "filters": [], "contexts": []}

    def pairs(self):
        """Contexts with both SAs that are not expiring."""
        return [c for c in self.state()["contexts"] if c["in"] and c["out"] and not c["expiring"]]

    def is_empty(self):
        return not any(self.state().values())

    def forget(self):
        """Removes all objects, as a restart of the engine's service does."""
        for name in ("state", "state.json"):
            os.unlink(self.path(name))

    def fail(self, call, n=1, code=0x80320012):
        """The nth call of that name from now on fails with that code; n 0: all, until stop_failing()."""
        with open(self.path("fail.new"), "w") as f:
            f.write("%s %d %x\n" % (call, n, code))
        os.rename(self.path("fail.new"), self.path("fail"))

    def stop_failing(self):
        os.unlink(self.path("fail"))

    @property
    def is_waiting_to_fail(self):
        return os.path.exists(self.path("fail"))

    @contextlib.contextmanager
    def held(self):
        """In this context, another program holds the engine's lock."""
        open(self.path("hold"), "w").close()
        try:
            yield
        finally:
            os.unlink(self.path("hold"))


def wfp_agent(lab, name, *peers, env=None, engine=None, **members):
    """A Windows agent with the back end wfp on the stand-in."""
    engine = engine or Engine(lab, name)
    agent = win_agent(lab, name, *peers, env=dict(engine.env, **(env or {})), backend="wfp", **members)
    agent.exe, agent.engine = STANDIN_EXE, engine
    return agent
