/*
 * agent/cli/verbs/lab_status.c - lab status: all pairs of a lab, as seen from both hosts.
 */
#include "agent/cli/lab/query.h"
#include "agent/cli/lab/show.h"
#include "agent/cli/verb.h"

static int run_lab_status(const struct args *a, struct err *e)
{
	struct lab_session r;
	int rc = lab_query_open(&r, a, e);

	if (rc == 0)
		rc = lab_query_status(&r, e);
	if (rc == 0)
		rc = lab_show(&r, "status", false);
	lab_session_close(&r);
	return rc;
}

static const struct option options[] = {
	LAB_OPTIONS,
	OPTION_END,
};

const struct verb verb_lab_status = {
	.name = "lab status",
	.words = "FILE",
	.text = "show all pairs of a lab, as seen from both hosts",
	.example = "sapair lab status lab.json",
	.options = {options},
	.least = 1,
	.most = 1,
	.run = run_lab_status,
};
