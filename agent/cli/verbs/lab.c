/*
 * agent/cli/verbs/lab.c - lab status, lab verify, lab rekey: requests to every host of a lab that is up.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/lab/location.h"
#include "agent/cli/lab/query.h"
#include "agent/cli/lab/show.h"
#include "agent/cli/verb.h"

static void forget_pairs(struct lab_session *r)
{
	memset(r->cells, 0, r->lab.n_hosts * r->lab.n_hosts * sizeof *r->cells);
}

/* Opens a lab, which must be up, and queries its status. Call lab_session_close() either way. */
static int open_lab(struct lab_session *r, const struct args *a, struct err *e)
{
	if (lab_session_open(r, a, e) < 0)
		return -1;
	if (lab_location_is_up(r))
		return lab_query_status(r, e);
	err_set(e, ERR_DOWN, "lab %s is not up", r->lab.name);
	return err_hint(e, "sapair lab up starts it");
}

static int run_lab_status(const struct args *a, struct err *e)
{
	struct lab_session r;
	int rc = open_lab(&r, a, e);

	if (rc == 0)
		rc = lab_show(&r, "status", false);
	lab_session_close(&r);
	return rc;
}

static int run_lab_verify(const struct args *a, struct err *e)
{
	uint32_t timeout_ms = LAB_TIMEOUT_MS, count = 3;
	char words[96];
	struct lab_session r;
	int rc;

	if (args_ms(a, "timeout", &timeout_ms, e) < 0 ||
	    args_u32(a, "count", 1, 1000000, &count, e) < 0)
		return -1;
	snprintf(words, sizeof words, "verify --all --json --count %u --timeout %u", count,
		 (timeout_ms + 999) / 1000);
	rc = open_lab(&r, a, e);
	if (rc == 0) {
		forget_pairs(&r);
		r.live = !a->json && os_is_terminal(1);
		rc = lab_query_run(&r, words, timeout_ms, e);
	}
	if (rc == 0)
		rc = lab_show(&r, "verify", true);
	lab_session_close(&r);
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
				      .on_line = lab_query_document,
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

/* Queries the status again, and keeps the errors that the rekeys have reported. */
static int query_again(struct lab_session *r, struct err *e)
{
	const size_t n = r->lab.n_hosts * r->lab.n_hosts;
	struct lab_cell *told = calloc(n, sizeof *told);
	int rc;

	if (told == NULL)
		return err_set(e, ERR_BUG, "no memory");
	memcpy(told, r->cells, n * sizeof *told);
	forget_pairs(r);
	rc = lab_query_status(r, e);
	for (size_t i = 0; i < n; i++)
		if (told[i].seen && (told[i].exit != 0 || told[i].cause[0] != '\0'))
			r->cells[i] = told[i];
	free(told);
	return rc;
}

static int run_lab_rekey(const struct args *a, struct err *e)
{
	uint32_t timeout_ms = LAB_TIMEOUT_MS, parallel = 8;
	struct lab_session r;
	int rc;

	if (args_ms(a, "timeout", &timeout_ms, e) < 0 ||
	    args_u32(a, "parallel", 1, LAB_HOSTS_MAX, &parallel, e) < 0)
		return -1;
	rc = open_lab(&r, a, e);
	if (rc == 0) {
		forget_pairs(&r);
		rc = rekey_pairs(&r, parallel, timeout_ms, e);
	}
	if (rc == 0)
		rc = query_again(&r, e);
	if (rc == 0) {
		r.changed = true;
		rc = lab_show(&r, "rekey", false);
	}
	lab_session_close(&r);
	return rc;
}

static const struct option status_options[] = {
	LAB_OPTIONS,
	OPTION_END,
};

const struct verb verb_lab_status = {
	.name = "lab status",
	.words = "FILE",
	.text = "show all pairs of a lab, as seen from both hosts",
	.example = "sapair lab status lab.json",
	.options = {status_options},
	.run = run_lab_status,
};

static const struct option verify_options[] = {
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
	.options = {verify_options},
	.run = run_lab_verify,
};

static const struct option rekey_options[] = {
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
	.options = {rekey_options},
	.run = run_lab_rekey,
};
