#!/bin/sh
# Runs two agents on this machine. They connect over mutually authenticated TLS 1.3, exchange SPIs
# and fresh keys, install matching SAs, verify them with ESP packets, and rekey on demand.
#
#     demo.sh            back end xfrm if the kernel has ESP and the user is root, else soft
#     demo.sh soft       back end soft: needs no privilege and no IPsec in the kernel
#     demo.sh xfrm       back end xfrm; fails if the kernel cannot do it
#
# soft: alpha 127.0.0.1:4510  <--- TLS 1.3, then ESP in UDP --->  beta 127.0.0.2:4510
# xfrm: alpha 192.0.2.1:4510  <--- TLS 1.3, then ESP ---------->  beta 192.0.2.2:4510
#       Each agent has its own network namespace. The script removes both at its end and
#       changes nothing else on this machine.
set -eu

: "${SAPAIR:?set SAPAIR to the program, or run: make demo}"
port=${SAPAIR_DEMO_PORT:-4510}
dir=$(mktemp -d)
alpha='' beta='' made='' why=''
backend=soft alpha_at=127.0.0.1 beta_at=127.0.0.2

cleanup() {
	for pid in $alpha $beta; do
		kill "$pid" 2>/dev/null || true
	done
	wait 2>/dev/null || true
	for host in $made; do
		ip netns del "$host" 2>/dev/null || true
	done
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9;]*m//g'; fi; }
run() {
	printf '$ sapair %s\n' "$*"
	"$SAPAIR" "$@"
}
# Makes two network namespaces joined by a veth pair, and checks that the kernel has ESP.
# On failure returns 1 with the reason in $why.
hosts() {
	[ "$(id -u)" = 0 ] || { why='it needs root'; return 1; }
	command -v ip >/dev/null || { why='it needs the command ip (package iproute2)'; return 1; }
	for host in "demo-alpha-$$" "demo-beta-$$"; do
		ip netns add "$host" 2>"$dir/why" || { why=$(cat "$dir/why"); return 1; }
		made="$made $host"
	done
	ip -n "demo-alpha-$$" xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode transport \
		aead 'rfc4106(gcm(aes))' "0x$(printf %040d 0)" 128 2>"$dir/why" ||
		{ why="this kernel has no ESP: $(tail -n 1 "$dir/why")"; return 1; }
	ip -n "demo-alpha-$$" xfrm state flush
	{
		ip -n "demo-alpha-$$" link add e type veth peer name e netns "demo-beta-$$" &&
			ip -n "demo-alpha-$$" address add 192.0.2.1/24 dev e &&
			ip -n "demo-beta-$$" address add 192.0.2.2/24 dev e &&
			ip -n "demo-alpha-$$" link set e up && ip -n "demo-beta-$$" link set e up
	} 2>"$dir/why" || { why=$(cat "$dir/why"); return 1; }
	alpha_at=192.0.2.1 beta_at=192.0.2.2 backend=xfrm
}
on() { # HOST COMMAND...
	host=$1
	shift
	if [ $backend = xfrm ]; then
		exec ip netns exec "demo-$host-$$" "$@"
	fi
	exec "$@"
}
bg() { # NAME ARGUMENTS...: starts an agent in the background; it logs to $dir/NAME.log
	name=$1
	shift
	printf '$ sapair %s &\n' "$*"
	(on "$name" "$SAPAIR" "$@") >"$dir/$name.log" 2>&1 &
}
logs() {
	for name in alpha beta; do
		[ -s "$dir/$name.log" ] && sed "s/^/$name: /" "$dir/$name.log" >&2
	done
	return 0
}

cd "$dir"
case ${1:-auto} in
soft) why='soft was requested' ;;
xfrm) hosts || { echo "demo: cannot use the kernel's IPsec: $why" >&2; exit 1; } ;;
*) hosts || true ;;
esac
if [ $backend = xfrm ]; then
	echo "This demo uses the kernel's own IPsec (back end xfrm), between two network namespaces."
else
	echo "This demo processes ESP in the agents (back end soft), not in the kernel: $why."
fi
say '1. Create a CA, and one identity for each host'
run ca new --name demo-ca --dir ca
run ca issue alpha --address $alpha_at --dir ca --out alpha
run ca issue beta --address $beta_at --dir ca --out beta

say '2. Start an agent on each host with the address of its peer'
bg alpha run --peer "$beta_at:$port" --listen "$alpha_at:$port" --backend $backend \
	--ca alpha/ca.crt --cert alpha/alpha.crt --key alpha/alpha.key --control "$dir/alpha.sock"
alpha=$!
bg beta run --peer "$alpha_at:$port" --listen "$beta_at:$port" --backend $backend \
	--ca beta/ca.crt --cert beta/beta.crt --key beta/beta.key --control "$dir/beta.sock"
beta=$!

say '3. The agents pair. Wait until the pair is up and verified with ESP packets'
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
run up $beta_at --control alpha.sock || { logs; exit 1; }

say '4. Status of both agents: the same SPIs, crossed'
run status --control alpha.sock
run status --control beta.sock

say '5. Rekey on demand: new SPIs and keys, make before break'
run rekey $beta_at --control alpha.sock --reason 'demo'

say '6. Verify from beta: 100 probes through the SAs and back'
run verify $alpha_at --control beta.sock --count 100

if [ $backend = xfrm ]; then
	say 'SAs and policies in the kernel of alpha (the SAs from before the rekey expire soon)'
	(on alpha ip xfrm state list nokeys) | grep -E '^src|proto esp|aead'
	(on alpha ip xfrm policy) | grep -B 1 -A 2 'dir ' || true
fi

say '7. Take the pair down: no SA and no policy remains'
run down $beta_at --control alpha.sock
run stop --control alpha.sock
run stop --control beta.sock
wait $alpha $beta
alpha='' beta=''
say 'demo: done, everything was removed'
