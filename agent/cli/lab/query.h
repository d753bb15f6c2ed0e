/*
 * agent/cli/lab/query.h - what the lab verbs ask of all agents.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_QUERY_H
#define SAPAIR_AGENT_CLI_LAB_QUERY_H

#include "agent/cli/lab/remote.h"

#define LAB_TIMEOUT_MS 30000u /* default of --timeout */

/* Opens a lab that must be up: ERR_DOWN if it is not. Call lab_session_close() either way. */
int lab_query_open(struct lab_session *r, const struct args *a, struct err *e);
/* Marks the hosts that are started by hand. */
void lab_query_mark_manual(struct lab_session *r);
/* Queries the status of all hosts. Those that do not answer have failed. */
int lab_query_status(struct lab_session *r, struct err *e);
/* Runs a verb of sapair on every host whose agent runs. */
int lab_query_run(struct lab_session *r, const char *words, uint32_t timeout_ms, struct err *e);
/* The time limit of a command on a host, for a verb with that --timeout; UINT64_MAX: none. */
uint64_t lab_query_limit_ms(uint32_t timeout_ms);
/* Forgets what is known of pairs. */
void lab_query_forget(struct lab_session *r);

#endif
