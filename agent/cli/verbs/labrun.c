/*
 * agent/cli/verbs/labrun.c - lab up, status, verify, rekey, down.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/lab/labrun.h"
#include "agent/cli/out.h"
#include "agent/cli/verb.h"
#include "crypto/hex.h"

#define TTL_MAX_MS (30u * 24u * 3600000ull)
#define STEP_MS 60000u /* for what should take a second */
#define GRACE_MS 5000u
#define TIMEOUT_MS 30000u

/* ---- scripts --------------------------------------------------------------------------- */

/* The hash of what is there in the place of our program. */
static const char hash_script[] = "mkdir -p \"$d\"\n"
				  "if [ -x \"$p\" ]; then sha256sum <\"$p\"; fi\n";

static const char put_script[] = "cat >\"$d/sapair.new\"\nchmod 700 \"$d/sapair.new\"\n"
				 "mv -f \"$d/sapair.new\" \"$d/sapair\"\n";

/* In front of those below: is the process of this number our agent? And what of the kernel is whose.
 * With a network namespace of its own (alone) all is the lab's. Else another agent's policies and
 * SAs may be there, now or from before: these are never touched, and not told as ours. */
#define WHOSE                                                                                         \
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

/* An agent with this very bundle stays as it is. */
static const char up_script[] = WHOSE
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

/* Stops the agent, or ends it; then looks whether anything is left, where that can be told. */
static const char down_script[] = WHOSE
	"[ -d \"$d\" ] || { echo gone; exit 0; }\n"
	"rc=0\n"
	"ended=0\n"
	"if [ -x \"$p\" ] && [ -S \"$c\" ]; then\n"
	"	\"$p\" down --all --control \"$c\" --timeout 2 >/dev/null 2>&1 &&\n"
	"		\"$p\" stop --control \"$c\" --timeout 2 >/dev/null 2>&1 && ended=1 && end 40\n"
	"fi\n"
	"end 0\n"
	"rm -f \"$c\"\n"
	"if [ $alone = 1 ]; then\n"
	"	[ $soft = 1 ] || \"$p\" clean --control \"$c\" >/dev/null 2>&1\n"
	"	\"$p\" clean --check --control \"$c\" >&2 || rc=$?\n"
	"elif [ -e \"$d/was-clean\" ] && [ -x \"$p\" ] && ! others; then\n"
	"	[ $ended$soft != 00 ] || \"$p\" clean --control \"$c\" >/dev/null 2>&1\n"
	"	\"$p\" clean --check --control \"$c\" >&2 || rc=$?\n"
	"fi\n"
	"rm -f \"$d/bundle\" \"$d/bundle.new\" \"$d/log\" \"$d/pid\" \"$d/sapair\" \"$d/sapair.new\" "
	"\"$d/was-clean\"\n"
	"rmdir \"$d\" || exit 7\n"
	"rmdir \"${d%/*}\" 2>/dev/null && rmdir \"${d%/*/*}\" 2>/dev/null\n"
	"[ $rc = 0 ] && echo stopped\n"
	"exit $rc\n";

/* ---- what is asked --------------------------------------------------------------------- */

static bool every_host(const struct labrun *r, size_t host)
{
	return r->hosts[host].state != HOST_MANUAL;
}

static bool with_other_program(const struct labrun *r, size_t host)
{
	return labrun_reachable(r, host) && !r->hosts[host].has_program;
}

static uint64_t limit(uint32_t timeout_ms)
{
	return timeout_ms != 0 ? (uint64_t)timeout_ms + GRACE_MS : 0;
}

static int ask(struct labrun *r, const char *words, uint32_t timeout_ms, struct err *e)
{
	return labrun_ask(r,
			  &(struct lab_ask){
				  .words = words,
				  .wanted = labrun_alive,
				  .line = labrun_document,
				  .timeout_ms = limit(timeout_ms),
			  },
			  e);
}

/* Status of all: who does not answer has failed. */
static void on_nothing(struct labrun *r)
{
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (r->hosts[i].state == HOST_UNKNOWN) {
			r->hosts[i].state = HOST_FAILED;
			r->hosts[i].exit = err_exit_status(ERR_DOWN);
			snprintf(r->hosts[i].cause, sizeof r->hosts[i].cause,
				 "its agent does not run");
		}
}

static void find_manual(struct labrun *r)
{
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (r->where == LAB_SSH && r->lab.hosts[i].ssh[0] == '\0')
			r->hosts[i].state = HOST_MANUAL;
}

static int ask_status(struct labrun *r, struct err *e)
{
	find_manual(r);
	if (labrun_ask(r,
		       &(struct lab_ask){.words = "status --json --timeout 4",
					 .wanted = every_host,
					 .line = labrun_document,
					 .judged = true,
					 .timeout_ms = STEP_MS},
		       e) < 0)
		return -1;
	on_nothing(r);
	return 0;
}

/* Opens a lab that has to be up. */
static int open_up(struct labrun *r, const struct args *a, struct err *e)
{
	if (labrun_open(r, a, e) < 0)
		return -1;
	if (labrun_is_up(r))
		return 0;
	err_set(e, ERR_DOWN, "lab %s is not up", r->lab.name);
	return err_hint(e, "sapair lab up brings it up");
}

/* ---- up -------------------------------------------------------------------------------- */

static void take_hash(struct fleet_job *j, char *line, size_t len)
{
	size_t host;
	struct labrun *r = labrun_of(j, &host);

	r->hosts[host].has_program = len >= 2 * SHA256_LEN &&
				     memcmp(line, r->image_hash, 2 * SHA256_LEN) == 0;
}

static char *bundle_of(struct labrun *r, size_t host, size_t *len)
{
	char path[OS_PATH_MAX], *text;

	if (labfile_bundle_path(path, r->dir, r->lab.hosts[host].name, NULL) < 0 ||
	    os_read_file(&text, len, path, OS_SECRET, NULL) < 0)
		return NULL;
	return text;
}

static char *image_of(struct labrun *r, size_t host, size_t *len)
{
	char *copy = malloc(r->image_len);

	(void)host;
	if (copy != NULL)
		memcpy(copy, r->image, r->image_len);
	*len = r->image_len;
	return copy;
}

int labrun_image(char **image, size_t *len, char hash[2 * SHA256_LEN + 1], const char *path,
		 struct err *e)
{
	FILE *f = fopen(path, "rb");
	uint8_t bytes[SHA256_LEN];
	long size = -1;

	*image = NULL;
	*len = 0;
	if (f != NULL && fseek(f, 0, SEEK_END) == 0)
		size = ftell(f);
	if (size > 0 && fseek(f, 0, SEEK_SET) == 0)
		*image = malloc((size_t)size);
	if (*image != NULL)
		*len = fread(*image, 1, (size_t)size, f);
	if (f != NULL)
		fclose(f);
	if (size <= 0 || *image == NULL || *len != (size_t)size)
		return err_set(e, ERR_OS, "%s, the program for the hosts, cannot be read", path);
	if (!sha256(&(struct bytes){*image, *len}, 1, bytes))
		return err_set(e, ERR_BUG, "no memory for a hash");
	hex_put(hash, bytes, sizeof bytes);
	return 0;
}

/* The program on every host that does not have this very one. */
static int put_program(struct labrun *r, struct err *e)
{
	const size_t n = strlen(r->self);

	if (r->where != LAB_SSH || r->program[0] != '\0')
		return 0;
	if (n > 4 && strcmp(r->self + n - 4, ".exe") == 0) {
		for (size_t i = 0; i < r->lab.n_hosts; i++)
			if (labrun_reachable(r, i) && !labwin_is(r, i))
				labrun_fail(r, i, err_exit_status(ERR_USAGE),
					    "a Linux host, and our own program is for Windows: say "
					    "where sapair is there with --program");
		return 0;
	}
	if (labrun_image(&r->image, &r->image_len, r->image_hash, r->self, e) < 0)
		return -1;
	if (labrun_ask(r,
		       &(struct lab_ask){.script = hash_script,
					 .wanted = labrun_reachable,
					 .line = take_hash,
					 .judged = true,
					 .parallel = 8,
					 .timeout_ms = STEP_MS},
		       e) < 0)
		return -1;
	return labrun_ask(r,
			  &(struct lab_ask){.script = put_script,
					    .wanted = with_other_program,
					    .input = image_of,
					    .judged = true,
					    .parallel = 4,
					    .timeout_ms = 4ull * STEP_MS},
			  e);
}

static int make_bundles(struct labrun *r, uint64_t ttl_ms, struct err *e)
{
	if (labfile_fresh(&r->lab, r->source, r->dir, &r->until))
		return 0;
	return labfile_make(&r->lab, r->source, r->dir, ttl_ms, true, &r->until, e);
}

static bool first_host(const struct labrun *r, size_t host)
{
	return host == 0 && labrun_reachable(r, host);
}

static bool other_hosts(const struct labrun *r, size_t host)
{
	return host != 0 && labrun_reachable(r, host);
}

static int start_some(struct labrun *r, bool (*which)(const struct labrun *r, size_t host),
		      struct err *e)
{
	return labrun_ask(r,
			  &(struct lab_ask){.script = up_script,
					    .wanted = which,
					    .input = bundle_of,
					    .line = labrun_word,
					    .judged = true,
					    .parallel = r->where == LAB_SSH ? 8 : 32,
					    .timeout_ms = STEP_MS},
			  e);
}

/* On one kernel the first agent alone: it makes the kernel load the modules of the suites, which many at
 * once would each wait for, and each make the kernel look for. */
static int start_agents(struct labrun *r, struct err *e)
{
	if (r->where == LAB_SSH)
		return start_some(r, labrun_reachable, e) < 0 ? -1 : labwin_start(r, STEP_MS, e);
	if (strcmp(r->lab.backend, "soft") == 0)
		return start_some(r, labrun_reachable, e);
	return start_some(r, first_host, e) < 0 ? -1 : start_some(r, other_hosts, e);
}

/* Each host waits for its pairs and proves them: both directions of every pair. */
static int prove(struct labrun *r, uint32_t timeout_ms, struct err *e)
{
	char words[96];

	snprintf(words, sizeof words, "up --all --json --timeout %u.%03u", timeout_ms / 1000,
		 timeout_ms % 1000);
	return ask(r, words, timeout_ms, e);
}

/* An agent outlives the name of its namespace. */
static int mend(struct labrun *r, struct err *e)
{
	static const char script[] = WHOSE "end 0\n";

	if (labrun_is_whole(r))
		return 0;
	if (labrun_ask(r,
		       &(struct lab_ask){.script = script, .parallel = 32, .timeout_ms = STEP_MS},
		       e) < 0)
		return -1;
	return labrun_mend(r, e);
}

static int bring_up(struct labrun *r, struct err *e)
{
	uint64_t ttl_ms = LAB_TTL_MS;
	uint32_t timeout_ms = TIMEOUT_MS;

	if (args_span(r->args, "ttl", LAB_TTL_MIN_MS, TTL_MAX_MS, &ttl_ms, e) < 0 ||
	    args_ms(r->args, "timeout", &timeout_ms, e) < 0)
		return -1;
	if (labrun_is_up(r)) {
		if (args_has(r->args, "here") != (r->where != LAB_SSH)) {
			err_set(e, ERR_USAGE, "lab %s is up %s", r->lab.name,
				r->where == LAB_SSH ? "on its hosts, by ssh" : "on this machine");
			return err_hint(e, "take it down first: sapair lab down");
		}
		if (labrun_keep(r, e) < 0 || mend(r, e) < 0)
			return -1;
	} else if (labrun_settle(r, e) < 0) {
		return -1;
	}
	find_manual(r);
	if (labself_spare_ssh(r, e) < 0 || make_bundles(r, ttl_ms, e) < 0 ||
	    put_program(r, e) < 0 || labwin_place(r, STEP_MS, e) < 0 || start_agents(r, e) < 0)
		return -1;
	return prove(r, timeout_ms, e);
}

static int run_lab_up(const struct args *a, struct err *e)
{
	struct labrun r;
	int rc = labrun_open(&r, a, e);

	r.live = rc == 0 && !a->json && os_is_terminal(1);
	if (rc == 0)
		rc = bring_up(&r, e);
	if (rc == 0)
		rc = labrun_show(&r, "up", true);
	labrun_close(&r);
	return rc;
}

/* ---- while it is up ------------------------------------------------------------------------ */

static int run_lab_status(const struct args *a, struct err *e)
{
	struct labrun r;
	int rc = open_up(&r, a, e);

	if (rc == 0)
		rc = ask_status(&r, e);
	if (rc == 0)
		rc = labrun_show(&r, "status", false);
	labrun_close(&r);
	return rc;
}

/* What is known of before does not count as an answer. */
static void forget_cells(struct labrun *r)
{
	memset(r->cells, 0, r->lab.n_hosts * r->lab.n_hosts * sizeof *r->cells);
}

static int run_lab_verify(const struct args *a, struct err *e)
{
	uint32_t timeout_ms = TIMEOUT_MS, count = 3;
	char words[96];
	struct labrun r;
	int rc = open_up(&r, a, e);

	if (rc == 0)
		rc = args_ms(a, "timeout", &timeout_ms, e);
	if (rc == 0)
		rc = args_u32(a, "count", 1, 1000000, &count, e);
	if (rc == 0)
		rc = ask_status(&r, e);
	if (rc == 0) {
		forget_cells(&r);
		r.live = !a->json && os_is_terminal(1);
		snprintf(words, sizeof words, "verify --all --json --count %u --timeout %u", count,
			 (timeout_ms + 999) / 1000);
		rc = ask(&r, words, timeout_ms, e);
	}
	if (rc == 0)
		rc = labrun_show(&r, "verify", true);
	labrun_close(&r);
	return rc;
}

/* What an end of a pair said that could not be rekeyed. */
static bool is_trouble(const struct cell *c)
{
	return c->seen && (c->exit != 0 || c->cause[0] != '\0');
}

/* Both ends as they are now, and what failed as it was told. */
static int look_again(struct labrun *r, struct err *e)
{
	size_t n = r->lab.n_hosts;
	struct cell *told = calloc(n * n, sizeof *told);
	int rc;

	if (told == NULL)
		return err_set(e, ERR_BUG, "no memory");
	memcpy(told, r->cells, n * n * sizeof *told);
	forget_cells(r);
	rc = ask_status(r, e);
	for (size_t i = 0; i < n * n; i++)
		if (is_trouble(&told[i]))
			r->cells[i] = told[i];
	free(told);
	return rc;
}

/* In turn k every host rekeys with the one k places on: each pair once, and no host has more than two
 * to do at a time. */
static int rekey_pairs(struct labrun *r, uint32_t parallel, uint32_t timeout_ms, struct err *e)
{
	size_t n = r->lab.n_hosts;
	char words[96];

	snprintf(words, sizeof words, "rekey --json --reason lab --timeout %u",
		 (timeout_ms + 999) / 1000);
	for (size_t k = 1; k <= n / 2; k++) {
		for (size_t i = 0; i < n; i++) {
			size_t to = (i + k) % n;
			bool once = 2 * k != n || i < k;

			r->hosts[i].partner =
				once && lab_find_pair(&r->lab, i, to) != NULL ? to : SIZE_MAX;
		}
		if (labrun_ask(r,
			       &(struct lab_ask){.words = words,
						 .wanted = labrun_alive,
						 .partners = true,
						 .line = labrun_document,
						 .parallel = parallel,
						 .timeout_ms = limit(timeout_ms)},
			       e) < 0)
			return -1;
	}
	return 0;
}

static int run_lab_rekey(const struct args *a, struct err *e)
{
	uint32_t timeout_ms = TIMEOUT_MS, parallel = 8;
	struct labrun r;
	int rc = open_up(&r, a, e);

	if (rc == 0)
		rc = args_ms(a, "timeout", &timeout_ms, e);
	if (rc == 0)
		rc = args_u32(a, "parallel", 1, LAB_HOSTS_MAX, &parallel, e);
	if (rc == 0)
		rc = ask_status(&r, e);
	if (rc == 0) {
		forget_cells(&r);
		rc = rekey_pairs(&r, parallel, timeout_ms, e);
	}
	if (rc == 0)
		rc = look_again(&r, e);
	if (rc == 0) {
		r.changed = true;
		rc = labrun_show(&r, "rekey", false);
	}
	labrun_close(&r);
	return rc;
}

/* ---- down ------------------------------------------------------------------------------ */

static int take_down(struct labrun *r, struct err *e)
{
	find_manual(r);
	if (labrun_ask(r,
		       &(struct lab_ask){.script = down_script,
					 .wanted = every_host,
					 .line = labrun_word,
					 .judged = true,
					 .parallel = r->where == LAB_SSH ? 8 : 32,
					 .timeout_ms = STEP_MS},
		       e) < 0 ||
	    labwin_take_down(r, STEP_MS, e) < 0)
		return -1;
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (r->hosts[i].state == HOST_FAILED)
			return 0; /* its folder is kept: a second run comes back to it */
	return labrun_forget(r, e);
}

static int run_lab_down(const struct args *a, struct err *e)
{
	struct labrun r;
	int rc = labrun_open(&r, a, e);

	if (rc == 0 && labrun_is_up(&r)) {
		r.changed = true;
		rc = labrun_keep(&r, e);
		if (rc == 0)
			rc = take_down(&r, e);
	} else if (rc == 0 && labrun_is_begun(&r)) {
		rc = labrun_forget(&r, e);
	} else if (rc == 0) {
		labrun_sweep(&r);
		for (size_t i = 0; i < r.lab.n_hosts; i++)
			r.hosts[i].state = HOST_GONE;
	}
	if (rc == 0)
		rc = labrun_show_down(&r);
	labrun_close(&r);
	return rc;
}

static const struct option lab_up_options[] = {
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
	.options = {lab_up_options},
	.least = 1,
	.most = 1,
	.run = run_lab_up,
};

static const struct option lab_options[] = {
	LAB_OPTIONS,
	OPTION_END,
};

const struct verb verb_lab_status = {
	.name = "lab status",
	.words = "FILE",
	.text = "show all pairs of a lab, as seen from both hosts",
	.example = "sapair lab status lab.json",
	.options = {lab_options},
	.least = 1,
	.most = 1,
	.run = run_lab_status,
};

static const struct option lab_verify_options[] = {
	{"count", "N", "probes in each direction (default 3)", false},
	{"timeout", "SECONDS", "time limit (default 30)", false},
	LAB_OPTIONS,
	OPTION_END,
};

const struct verb verb_lab_verify = {
	.name = "lab verify",
	.words = "FILE",
	.text = "verify every pair of a lab in both directions",
	.example = "sapair lab verify lab.json --count 100",
	.options = {lab_verify_options},
	.least = 1,
	.most = 1,
	.run = run_lab_verify,
};

static const struct option lab_rekey_options[] = {
	{"parallel", "N", "rekey N pairs in parallel (default 8)", false},
	{"timeout", "SECONDS", "time limit (default 30)", false},
	LAB_OPTIONS,
	OPTION_END,
};

const struct verb verb_lab_rekey = {
	.name = "lab rekey",
	.words = "FILE",
	.text = "rekey every pair of a lab",
	.example = "sapair lab rekey lab.json --parallel 4",
	.options = {lab_rekey_options},
	.least = 1,
	.most = 1,
	.run = run_lab_rekey,
};

const struct verb verb_lab_down = {
	.name = "lab down",
	.words = "FILE",
	.text = "stop a lab and remove all of it",
	.more = "A host that cannot be reached is reported; run the command again to finish\n"
		"it.",
	.example = "sapair lab down lab.json",
	.options = {lab_options},
	.least = 1,
	.most = 1,
	.run = run_lab_down,
};
