#!/bin/sh
# Prints the state table of the exchange machine in the format of docs/protocol.md, section 6.1. After a
# change of proto/exchange/exchange.c, replace the table between the two markers there by the output.
set -eu
cd "$(dirname "$0")/.."
make -s build/linux/test_exchange_doc >&2
exec build/linux/test_exchange_doc --print
