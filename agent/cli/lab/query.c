/*
 * agent/cli/lab/query.c - what the lab verbs ask of all agents.
 */
#include "agent/cli/lab/query.h"

#include <stdio.h>
#include <string.h>

#include "agent/cli/lab/location.h"
#include "agent/cli/lab/result.h"

#define GRACE_MS 5000u

bool lab_query_not_manual(const struct lab_session *r, size_t host)
{
	return r->hosts[host].state != HOST_MANUAL;
}

uint64_t lab_query_limit_ms(uint32_t timeout_ms)
{
	return timeout_ms != 0 ? (uint64_t)timeout_ms + GRACE_MS : 0;
}

int lab_query_run(struct lab_session *r, const char *words, uint32_t timeout_ms, struct err *e)
{
	return lab_remote_run(r,
			      &(struct lab_command){
				      .args = words,
				      .selects = lab_session_is_running,
				      .on_line = lab_result_document,
				      .timeout_ms = lab_query_limit_ms(timeout_ms),
			      },
			      e);
}

static void on_nothing(struct lab_session *r)
{
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (r->hosts[i].state == HOST_UNKNOWN) {
			r->hosts[i].state = HOST_FAILED;
			r->hosts[i].exit = err_exit_status(ERR_DOWN);
			snprintf(r->hosts[i].cause, sizeof r->hosts[i].cause,
				 "its agent is not running");
		}
}

void lab_query_mark_manual(struct lab_session *r)
{
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (r->where == LAB_SSH && r->lab.hosts[i].ssh[0] == '\0')
			r->hosts[i].state = HOST_MANUAL;
}

int lab_query_status(struct lab_session *r, struct err *e)
{
	lab_query_mark_manual(r);
	if (lab_remote_run(r,
			   &(struct lab_command){.args = "status --json --timeout 4",
						 .selects = lab_query_not_manual,
						 .on_line = lab_result_document,
						 .must_succeed = true,
						 .timeout_ms = LAB_STEP_MS},
			   e) < 0)
		return -1;
	on_nothing(r);
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
