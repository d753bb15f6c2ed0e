#!/usr/bin/env python3
"""Writes the message table of sapair.exe for the Windows event log, as input of windmc.

    scripts/make-events.py agent/daemon/event.h >events.mc

Each event of EVENT_LIST keeps its number. Log lines that are not events have 1 (error), 2 (warning) or 3
(information). The text of every message is the log line.
"""

import re
import sys


def main():
    with open(sys.argv[1]) as f:
        text = f.read()
    events = [(int(n), word) for n, word in re.findall(r'X\(\w+, (\d+), "([\w-]+)", LOG_', text)]
    rows = [(1, "error"), (2, "warning"), (3, "information")] + sorted(events)
    if len(events) < 10 or len({n for n, _ in rows}) != len(rows):
        sys.exit("%s: no EVENT_LIST, or duplicate numbers" % sys.argv[1])
    print("LanguageNames = (English = 0x409:MSG00409)")
    for number, word in rows:
        name = "SAPAIR_" + word.upper().replace("-", "_")
        print("\nMessageId = %d\nSymbolicName = %s\nLanguage = English\n%%1\n." % (number, name))


if __name__ == "__main__":
    main()
