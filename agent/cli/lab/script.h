/*
 * agent/cli/lab/script.h - shell functions that the scripts of `lab up` and `lab down` share.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_SCRIPT_H
#define SAPAIR_AGENT_CLI_LAB_SCRIPT_H

/*
 * ours PID     is it our agent?
 * others       is another agent running on this host? Then SAs and policies may belong to it, and are
 *              neither removed nor reported. ($alone: all objects of the namespace belong to the lab.)
 * end TICKS    waits for our agent to exit, at most TICKS times 50 ms; then kills it.
 */
#define LAB_SCRIPT_COMMON                                                                             \
	"ours() { tr '\\0' '\\n' <\"/proc/$1/cmdline\" 2>/dev/null | grep -qxF -e \"$d/bundle\"; }\n" \
	"others() {\n"                                                                                \
	"	for s in /run/sapair/control.sock \"$HOME\"/.sapair-lab/*/*/control.sock; do\n"             \
	"		[ -S \"$s\" ] && [ \"$s\" != \"$c\" ] &&\n"                                                \
	"			\"$p\" status --control \"$s\" --timeout 2 >/dev/null 2>&1 && return 0\n"                 \
	"	done\n"                                                                                     \
	"	return 1\n"                                                                                 \
	"}\n"                                                                                         \
	"end() {\n"                                                                                   \
	"	[ -f \"$d/pid\" ] || return 0\n"                                                            \
	"	pid=$(cat \"$d/pid\")\n"                                                                    \
	"	i=0\n"                                                                                      \
	"	while ours \"$pid\" && [ $i -lt $1 ]; do i=$((i + 1)); sleep 0.05; done\n"                  \
	"	ours \"$pid\" || return 0\n"                                                                \
	"	ended=0\n"                                                                                  \
	"	kill -9 \"$pid\" 2>/dev/null || true\n"                                                     \
	"}\n"

#endif
