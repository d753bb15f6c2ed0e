/*
 * agent/cli/verbs/lab_up.c - lab up: starts the agents of a lab and verifies every pair.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/lab/location.h"
#include "agent/cli/lab/netns.h"
#include "agent/cli/lab/query.h"
#include "agent/cli/lab/script.h"
#include "agent/cli/lab/show.h"
#include "agent/cli/lab/ssh_exempt.h"
#include "agent/cli/lab/windows.h"
#include "agent/cli/verb.h"

#define TTL_MAX_MS (30u * 24u * 3600000ull)

/* Prints the hash of the program on the host. */
static const char hash_script[] = "mkdir -p \"$d\"\n"
				  "if [ -x \"$p\" ]; then sha256sum <\"$p\"; fi\n";

static const char put_script[] = "cat >\"$d/sapair.new\"\nchmod 700 \"$d/sapair.new\"\n"
				 "mv -f \"$d/sapair.new\" \"$d/sapair\"\n";

/* Leaves an agent alone that runs with the same bundle. */
static const char up_script[] = LAB_SCRIPT_COMMON
	"set -e\n"
	"mkdir -p \"$d\"\n"
	"cat >\"$d/bundle.new\"\n"
	"if [ -S \"$c\" ] && cmp -s \"$d/bundle.new\" \"$d/bundle\" &&\n"
	"	\"$p\" status --control \"$c\" --timeout 3 >/dev/null 2>&1; then\n"
	"	rm \"$d/bundle.new\"\n"
	"	echo same\n"
	"	exit 0\n"
	"fi\n"
	"if [ -S \"$c\" ] && \"$p\" stop --control \"$c\" --timeout 3 >/dev/null 2>&1; then end 40\n"
	"else end 0; rm -f \"$c\"; fi\n"
	"if [ ! -e \"$d/bundle\" ] && [ $alone = 0 ] && ! others &&\n"
	"	\"$p\" clean --check --control \"$c\" >/dev/null 2>&1; then >\"$d/was-clean\"; fi\n"
	"mv -f \"$d/bundle.new\" \"$d/bundle\"\n"
	"setsid \"$p\" run --bundle \"$d/bundle\" --control \"$c\" >\"$d/log\" 2>&1 </dev/null &\n"
	"pid=$!\n"
	"echo $pid >\"$d/pid\"\n"
	"i=0\n"
	"until [ -S \"$c\" ] && \"$p\" status --control \"$c\" >/dev/null 2>&1; do\n"
	"	i=$((i + 1))\n"
	"	if ! kill -0 $pid 2>/dev/null; then\n"
	"		rc=0\n"
	"		wait $pid || rc=$?\n"
	"		grep . \"$d/log\" | grep -m 1 error >&2 || tail -n 1 \"$d/log\" >&2\n"
	"		exit $rc\n"
	"	fi\n"
	"	[ $i -lt 400 ] || { echo 'the agent did not start in 20 s' >&2; exit 4; }\n"
	"	sleep 0.05\n"
	"done\n"
	"echo started\n";

static bool with_other_program(const struct lab_session *r, size_t host)
{
	return !r->hosts[host].has_program;
}

static void take_hash(struct parallel_command *j, char *line, size_t len)
{
	size_t host;
	struct lab_session *r = lab_remote_session(j, &host);

	r->hosts[host].has_program = len >= 2 * SHA256_LEN &&
				     memcmp(line, r->image_hash, 2 * SHA256_LEN) == 0;
}

static char *bundle_of(struct lab_session *r, size_t host, size_t *len)
{
	char path[OS_PATH_MAX], *text;

	if (labfile_bundle_path(path, r->dir, r->lab.hosts[host].name, NULL) < 0 ||
	    os_read_file(&text, len, path, OS_SECRET, NULL) < 0)
		return NULL;
	return text;
}

static char *image_of(struct lab_session *r, size_t host, size_t *len)
{
	char *copy = malloc(r->image_len);

	(void)host;
	if (copy != NULL)
		memcpy(copy, r->image, r->image_len);
	*len = r->image_len;
	return copy;
}

/* Copies the program to every host that does not have the same one. */
static int put_program(struct lab_session *r, struct err *e)
{
	static const struct lab_command hash = {.script = hash_script,
						.on_line = take_hash,
						.must_succeed = true};
	static const struct lab_command put = {.script = put_script,
					       .selects = with_other_program,
					       .input = image_of,
					       .must_succeed = true,
					       .parallel = 4,
					       .timeout_ms = 4 * LAB_STEP_MS};
	const size_t n = strlen(r->self);

	if (r->where != LAB_SSH || r->program[0] != '\0')
		return 0;
	if (n > 4 && strcmp(r->self + n - 4, ".exe") == 0) {
		for (size_t i = 0; i < r->lab.n_hosts; i++)
			if (lab_session_is_reachable(r, i) && !lab_session_is_windows(r, i))
				lab_session_fail(
					r, i, err_exit_status(ERR_USAGE),
					"a Linux host, and this program is for Windows: give the path of sapair there with --program");
		return 0;
	}
	if (labfile_program(&r->image, &r->image_len, r->image_hash, r->self, e) < 0 ||
	    lab_remote_run(r, &hash, e) < 0)
		return -1;
	return lab_remote_run(r, &put, e);
}

static int make_bundles(struct lab_session *r, uint64_t ttl_ms, struct err *e)
{
	if (labfile_fresh(&r->lab, r->source, r->dir, &r->until))
		return 0;
	return labfile_make(&r->lab, r->source, r->dir, ttl_ms, true, &r->until, e);
}

static bool first_host(const struct lab_session *r, size_t host)
{
	(void)r;
	return host == 0;
}

static bool other_hosts(const struct lab_session *r, size_t host)
{
	(void)r;
	return host != 0;
}

/* which: NULL for all. */
static int start_some(struct lab_session *r,
		      bool (*which)(const struct lab_session *r, size_t host), struct err *e)
{
	const struct lab_command c = {.script = up_script,
				      .selects = which,
				      .input = bundle_of,
				      .on_line = lab_query_word,
				      .must_succeed = true};

	return lab_remote_run(r, &c, e);
}

/* Where all hosts share a kernel, the first agent starts alone: it makes the kernel load the
 * modules of the suites, which the others would wait for at the same time. */
static int start_agents(struct lab_session *r, struct err *e)
{
	if (r->where == LAB_SSH)
		return start_some(r, NULL, e) < 0 ? -1 : lab_windows_start(r, e);
	if (strcmp(r->lab.backend, "soft") == 0)
		return start_some(r, NULL, e);
	return start_some(r, first_host, e) < 0 ? -1 : start_some(r, other_hosts, e);
}

/* Each host waits for its pairs and verifies them: both directions of every pair. */
static int prove(struct lab_session *r, uint32_t timeout_ms, struct err *e)
{
	char words[96];

	snprintf(words, sizeof words, "up --all --json --timeout %u.%03u", timeout_ms / 1000,
		 timeout_ms % 1000);
	return lab_query_run(r, words, timeout_ms, e);
}

/* If namespaces are missing: ends the agents that may still be running in them, and makes them
 * again. */
static int mend(struct lab_session *r, struct err *e)
{
	static const struct lab_command end = {.script = LAB_SCRIPT_COMMON "end 0\n"};

	if (lab_location_is_complete(r))
		return 0;
	if (lab_remote_run(r, &end, e) < 0)
		return -1;
	return netns_make(r, e);
}

static int bring_up(struct lab_session *r, struct err *e)
{
	uint64_t ttl_ms = LAB_TTL_MS;
	uint32_t timeout_ms = LAB_TIMEOUT_MS;

	if (args_span(r->args, "ttl", LAB_TTL_MIN_MS, TTL_MAX_MS, &ttl_ms, e) < 0 ||
	    args_ms(r->args, "timeout", &timeout_ms, e) < 0)
		return -1;
	if (lab_location_is_up(r)) {
		if (args_has(r->args, "here") != (r->where != LAB_SSH)) {
			err_set(e, ERR_USAGE, "lab %s is up %s", r->lab.name,
				r->where == LAB_SSH ? "on its hosts, by ssh" : "on this machine");
			return err_hint(e, "stop it first: sapair lab down");
		}
		if (lab_location_keep_file(r, e) < 0 || mend(r, e) < 0)
			return -1;
	} else if (lab_location_create(r, e) < 0) {
		return -1;
	}
	lab_query_mark_manual(r);
	if (lab_ssh_exempt(r, e) < 0 || make_bundles(r, ttl_ms, e) < 0 || put_program(r, e) < 0 ||
	    lab_windows_copy(r, e) < 0 || start_agents(r, e) < 0)
		return -1;
	return prove(r, timeout_ms, e);
}

static int run_lab_up(const struct args *a, struct err *e)
{
	struct lab_session r;
	int rc = lab_session_open(&r, a, e);

	r.live = rc == 0 && !a->json && os_is_terminal(1);
	if (rc == 0)
		rc = bring_up(&r, e);
	if (rc == 0)
		rc = lab_show(&r, "up", true);
	lab_session_close(&r);
	return rc;
}

static const struct option options[] = {
	{"here", NULL, "run the hosts on this machine, in network namespaces", false},
	{"loopback", NULL, "with --here: on loopback addresses instead", false},
	{"ttl", "TIME", "lifetime of the lab: 90m, 4h, 2d (default 4h)", false},
	{"timeout", "SECONDS", "time for all pairs to be verified (default 30)", false},
	LAB_OPTIONS,
	OPTION_END,
};

const struct verb verb_lab_up = {
	.name = "lab up",
	.words = "FILE",
	.text = "start every host of a lab and verify every pair",
	.more = "Uses ssh for hosts that have \"ssh\" in the lab file, or with --here this\n"
		"machine: network namespaces as root, otherwise loopback addresses. Agents\n"
		"that already run are left running.",
	.example = "sapair lab up lab.json --here",
	.options = {options},
	.run = run_lab_up,
};
