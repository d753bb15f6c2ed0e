/*
 * agent/cli/verbs/lab_rekey.c - lab rekey: new SPIs and keys for every pair of a lab.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/lab/query.h"
#include "agent/cli/lab/result.h"
#include "agent/cli/lab/show.h"
#include "agent/cli/verb.h"

/* Has a host reported an error? */
static bool is_trouble(const struct lab_cell *c)
{
	return c->seen && (c->exit != 0 || c->cause[0] != '\0');
}

/* Queries the status again, and keeps the errors that were reported before. */
static int look_again(struct lab_session *r, struct err *e)
{
	size_t n = r->lab.n_hosts;
	struct lab_cell *told = calloc(n * n, sizeof *told);
	int rc;

	if (told == NULL)
		return err_set(e, ERR_BUG, "no memory");
	memcpy(told, r->cells, n * n * sizeof *told);
	lab_query_forget(r);
	rc = lab_query_status(r, e);
	for (size_t i = 0; i < n * n; i++)
		if (is_trouble(&told[i]))
			r->cells[i] = told[i];
	free(told);
	return rc;
}

/* In round k, every host rekeys with the host k places further on: each pair once, and at most
 * two rekeys per host at a time. */
static int rekey_pairs(struct lab_session *r, uint32_t parallel, uint32_t timeout_ms, struct err *e)
{
	size_t n = r->lab.n_hosts;
	char words[96];
	const struct lab_command c = {.args = words,
				      .selects = lab_session_is_running,
				      .with_partner = true,
				      .on_line = lab_result_document,
				      .parallel = parallel,
				      .timeout_ms = lab_query_limit_ms(timeout_ms)};

	snprintf(words, sizeof words, "rekey --json --reason lab --timeout %u",
		 (timeout_ms + 999) / 1000);
	for (size_t k = 1; k <= n / 2; k++) {
		for (size_t i = 0; i < n; i++) {
			size_t to = (i + k) % n;
			bool once = 2 * k != n || i < k;

			r->hosts[i].partner =
				once && lab_find_pair(&r->lab, i, to) != NULL ? to : SIZE_MAX;
		}
		if (lab_remote_run(r, &c, e) < 0)
			return -1;
	}
	return 0;
}

static int run_lab_rekey(const struct args *a, struct err *e)
{
	uint32_t timeout_ms = LAB_TIMEOUT_MS, parallel = 8;
	struct lab_session r;
	int rc = lab_query_open(&r, a, e);

	if (rc == 0)
		rc = args_ms(a, "timeout", &timeout_ms, e);
	if (rc == 0)
		rc = args_u32(a, "parallel", 1, LAB_HOSTS_MAX, &parallel, e);
	if (rc == 0)
		rc = lab_query_status(&r, e);
	if (rc == 0) {
		lab_query_forget(&r);
		rc = rekey_pairs(&r, parallel, timeout_ms, e);
	}
	if (rc == 0)
		rc = look_again(&r, e);
	if (rc == 0) {
		r.changed = true;
		rc = lab_show(&r, "rekey", false);
	}
	lab_session_close(&r);
	return rc;
}

static const struct option options[] = {
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
	.options = {options},
	.least = 1,
	.most = 1,
	.run = run_lab_rekey,
};
