/*
 * agent/cli/verbs/lab_down.c - lab down: stops a lab and removes all of it.
 */
#include "agent/cli/lab/location.h"
#include "agent/cli/lab/query.h"
#include "agent/cli/lab/script.h"
#include "agent/cli/lab/show.h"
#include "agent/cli/lab/windows.h"
#include "agent/cli/verb.h"

/* Stops the agent, or kills it; then checks for leftovers, if these can be attributed to the lab. */
static const char down_script[] = LAB_SCRIPT_COMMON
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

static int take_down(struct lab_session *r, struct err *e)
{
	static const struct lab_command down = {.script = down_script,
						.on_line = lab_query_word,
						.must_succeed = true};

	lab_query_mark_manual(r);
	if (lab_remote_run(r, &down, e) < 0 || lab_windows_stop(r, e) < 0)
		return -1;
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (r->hosts[i].state == HOST_FAILED)
			return 0; /* its directory is kept for a second run */
	return lab_location_remove(r, e);
}

static int run_lab_down(const struct args *a, struct err *e)
{
	struct lab_session r;
	int rc = lab_session_open(&r, a, e);

	if (rc == 0 && lab_location_is_up(&r)) {
		r.changed = true;
		rc = lab_location_keep_file(&r, e);
		if (rc == 0)
			rc = take_down(&r, e);
	} else if (rc == 0 && lab_location_is_partial(&r)) {
		rc = lab_location_remove(&r, e);
	} else if (rc == 0) {
		lab_location_sweep(&r);
		for (size_t i = 0; i < r.lab.n_hosts; i++)
			r.hosts[i].state = HOST_GONE;
	}
	if (rc == 0)
		rc = lab_show_down(&r);
	lab_session_close(&r);
	return rc;
}

static const struct option options[] = {
	LAB_OPTIONS,
	OPTION_END,
};

const struct verb verb_lab_down = {
	.name = "lab down",
	.words = "FILE",
	.text = "stop a lab and remove all of it",
	.more = "A host that cannot be reached is reported; run the command again to finish\n"
		"it.",
	.example = "sapair lab down lab.json",
	.options = {options},
	.run = run_lab_down,
};
