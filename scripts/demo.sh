#!/bin/sh
# The main job in a few seconds: two agents on this machine find each other over mutually
# authenticated TLS 1.3, exchange SPIs and fresh keys, install matching SAs, prove them with real
# ESP, and rekey on demand. No privilege, no kernel IPsec: the back end is "soft".
#
#     alpha 127.0.0.1:4510  <--- TLS 1.3, then ESP in UDP --->  beta 127.0.0.2:4510
set -eu

: "${SAPAIR:?set SAPAIR to the program, or run: make demo}"
port=${SAPAIR_DEMO_PORT:-4510}
dir=$(mktemp -d)
alpha='' beta=''

cleanup() {
	for pid in $alpha $beta; do
		kill "$pid" 2>/dev/null || true
	done
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9;]*m//g'; fi; }
run() {
	printf '$ sapair %s\n' "$*"
	"$SAPAIR" "$@"
}
bg() { # NAME ARGUMENTS...: an agent in the background, its log in a file
	name=$1
	shift
	printf '$ sapair %s &\n' "$*"
	"$SAPAIR" "$@" >"$dir/$name.log" 2>&1 &
}
logs() {
	for name in alpha beta; do
		[ -s "$dir/$name.log" ] && sed "s/^/$name: /" "$dir/$name.log" >&2
	done
	return 0
}

cd "$dir"
say '1. A trust anchor, and one identity for each host'
run ca new --name demo-ca --dir ca
run ca issue alpha --address 127.0.0.1 --dir ca --out alpha
run ca issue beta --address 127.0.0.2 --dir ca --out beta

say '2. An agent on each host, with the address of its peer'
bg alpha run --peer "127.0.0.2:$port" --listen "127.0.0.1:$port" --backend soft \
	--ca alpha/ca.crt --cert alpha/alpha.crt --key alpha/alpha.key --control "$dir/alpha.sock"
alpha=$!
bg beta run --peer "127.0.0.1:$port" --listen "127.0.0.2:$port" --backend soft \
	--ca beta/ca.crt --cert beta/beta.crt --key beta/beta.key --control "$dir/beta.sock"
beta=$!

say '3. They pair by themselves: wait until the pair is up and proven by real ESP'
tries=0
until [ -S alpha.sock ] && [ -S beta.sock ]; do
	tries=$((tries + 1))
	if [ $tries -gt 100 ] || ! kill -0 $alpha || ! kill -0 $beta; then
		echo 'demo: an agent did not start' >&2
		logs
		exit 1
	fi
	sleep 0.05
done
run up 127.0.0.2 --control alpha.sock || { logs; exit 1; }

say '4. What alpha has in force, and beta: the same SPIs, crossed'
run status --control alpha.sock
run status --control beta.sock

say '5. Rekey on demand: new SPIs and keys, make before break, with a receipt'
run rekey 127.0.0.2 --control alpha.sock --reason 'demo'

say '6. Prove it again, from the other side: 100 probes through the SAs and back'
run verify 127.0.0.1 --control beta.sock --count 100

say '7. Take it down: no SA and no policy is left'
run down 127.0.0.2 --control alpha.sock
run stop --control alpha.sock
run stop --control beta.sock
wait $alpha $beta
alpha='' beta=''
say 'demo: done, nothing was left behind'
