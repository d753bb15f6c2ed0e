/*
 * agent/cli/lab/query.c - what the lab verbs ask of all agents.
 */
#include "agent/cli/lab/query.h"

#include <stdio.h>
#include <string.h>

#include "agent/cli/lab/location.h"
#include "agent/cli/lab/result.h"

#define GRACE_MS 5000u

uint64_t lab_query_limit_ms(uint32_t timeout_ms)
{
	return timeout_ms != 0 ? (uint64_t)timeout_ms + GRACE_MS : UINT64_MAX;
}

int lab_query_run(struct lab_session *r, const char *words, uint32_t timeout_ms, struct err *e)
{
	const struct lab_command c = {.args = words,
				      .selects = lab_session_is_running,
				      .on_line = lab_result_document,
				      .timeout_ms = lab_query_limit_ms(timeout_ms)};

	return lab_remote_run(r, &c, e);
}

void lab_query_mark_manual(struct lab_session *r)
{
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (r->where == LAB_SSH && r->lab.hosts[i].ssh[0] == '\0')
			r->hosts[i].state = HOST_MANUAL;
}

int lab_query_status(struct lab_session *r, struct err *e)
{
	static const struct lab_command c = {.args = "status --json --timeout 4",
					     .on_line = lab_result_document,
					     .must_succeed = true};

	lab_query_mark_manual(r);
	if (lab_remote_run(r, &c, e) < 0)
		return -1;
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (r->hosts[i].state == HOST_UNKNOWN)
			lab_session_fail(r, i, err_exit_status(ERR_DOWN),
					 "its agent is not running");
	return 0;
}

int lab_query_open(struct lab_session *r, const struct args *a, struct err *e)
{
	if (lab_session_open(r, a, e) < 0)
		return -1;
	if (lab_location_is_up(r))
		return 0;
	err_set(e, ERR_DOWN, "lab %s is not up", r->lab.name);
	return err_hint(e, "sapair lab up starts it");
}

void lab_query_forget(struct lab_session *r)
{
	memset(r->cells, 0, r->lab.n_hosts * r->lab.n_hosts * sizeof *r->cells);
}
