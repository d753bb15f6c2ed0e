#!/bin/sh
# Prints the table of states of the exchange machine as docs/protocol.md shows it (section 6.1).
# After a change of proto/exchange/exchange.c: paste it between the two markers there.
set -eu
cd "$(dirname "$0")/.."
make -s build/linux/test_exchange_doc >&2
exec build/linux/test_exchange_doc --print
