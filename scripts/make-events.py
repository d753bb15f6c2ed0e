#!/usr/bin/env python3
"""The message table of sapair.exe for Windows' event log, as windmc reads it.

    scripts/make-events.py agent/daemon/event.h >events.mc

Each event of EVENT_LIST has its number there; 1 to 3 are lines that are no event's, by their level.
The text of all is the line itself.
"""

import re
import sys


def main():
    with open(sys.argv[1]) as f:
        text = f.read()
    events = [(int(n), word) for n, word in re.findall(r'X\(\w+, (\d+), "([\w-]+)", LOG_', text)]
    rows = [(1, "error"), (2, "warning"), (3, "information")] + sorted(events)
    if len(events) < 10 or len({n for n, _ in rows}) != len(rows):
        sys.exit("%s: no EVENT_LIST, or a number twice" % sys.argv[1])
    print("LanguageNames = (English = 0x409:MSG00409)")
    for number, word in rows:
        name = "SAPAIR_" + word.upper().replace("-", "_")
        print("\nMessageId = %d\nSymbolicName = %s\nLanguage = English\n%%1\n." % (number, name))


if __name__ == "__main__":
    main()
