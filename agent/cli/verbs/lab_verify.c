/*
 * agent/cli/verbs/lab_verify.c - lab verify: probes through every pair of a lab.
 */
#include <stdio.h>

#include "agent/cli/lab/query.h"
#include "agent/cli/lab/show.h"
#include "agent/cli/verb.h"

static int run_lab_verify(const struct args *a, struct err *e)
{
	uint32_t timeout_ms = LAB_TIMEOUT_MS, count = 3;
	char words[96];
	struct lab_session r;
	int rc = lab_query_open(&r, a, e);

	if (rc == 0)
		rc = args_ms(a, "timeout", &timeout_ms, e);
	if (rc == 0)
		rc = args_u32(a, "count", 1, 1000000, &count, e);
	if (rc == 0)
		rc = lab_query_status(&r, e);
	if (rc == 0) {
		lab_query_forget(&r);
		r.live = !a->json && os_is_terminal(1);
		snprintf(words, sizeof words, "verify --all --json --count %u --timeout %u", count,
			 (timeout_ms + 999) / 1000);
		rc = lab_query_run(&r, words, timeout_ms, e);
	}
	if (rc == 0)
		rc = lab_show(&r, "verify", true);
	lab_session_close(&r);
	return rc;
}

static const struct option options[] = {
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
	.options = {options},
	.least = 1,
	.most = 1,
	.run = run_lab_verify,
};
