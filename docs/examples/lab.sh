#!/bin/sh
# A lab from one script: three hosts, every pair up and proven, rekeyed, and gone again. Here the
# three hosts are three addresses of this machine; in a lab, copy each folder to its host and start
# the agent there.
#
#     docs/examples/lab.sh [PREFIX]       default: 127.0.0. (hosts are PREFIX11, PREFIX12, PREFIX13)
set -eu

net=${1:-127.0.0.}
sapair=${SAPAIR:-sapair}
dir=$(mktemp -d)
agents=

cleanup() {
	for pid in $agents; do
		kill "$pid" 2>/dev/null || true
	done
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

cd "$dir"
"$sapair" ca new --name lab-ca --lab --days 1 --dir ca >/dev/null
for n in 11 12 13; do
	"$sapair" ca issue "host$n" --address "$net$n" --days 1 --dir ca --out "host$n" >/dev/null 2>&1
	peers=
	for m in 11 12 13; do
		[ $m = $n ] || peers="$peers${peers:+,} {\"name\": \"host$m\", \"address\": \"$net$m\"}"
	done
	cat >"host$n/sapair.json" <<-EOF
		{
		  "listen": "$net$n", "backend": "soft", "allow_lab": true, "control": "control.sock",
		  "certificate": "host$n.crt", "key": "host$n.key",
		  "peers": [$peers]
		}
	EOF
	chmod 700 "host$n" && chmod 600 "host$n/sapair.json"
	"$sapair" run --config "host$n/sapair.json" 2>"host$n/log" &
	agents="$agents $!"
done
for n in 11 12 13; do
	tries=0
	until [ -S "host$n/control.sock" ]; do
		tries=$((tries + 1))
		[ $tries -le 100 ] || { cat "host$n/log" >&2; exit 1; }
		sleep 0.1
	done
	"$sapair" up --all --timeout 30 --control "host$n/control.sock"
done
"$sapair" rekey --all --reason 'lab' --control host11/control.sock
"$sapair" verify --all --count 100 --control host12/control.sock
for n in 11 12 13; do
	"$sapair" down --all --control "host$n/control.sock" >/dev/null
	"$sapair" stop --control "host$n/control.sock" >/dev/null
done
echo 'all pairs were up, rekeyed and proven; nothing is left'
