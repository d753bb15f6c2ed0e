/*
 * agent/cli/lab/query.h - queries the agents of a lab, and reads their replies.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_QUERY_H
#define SAPAIR_AGENT_CLI_LAB_QUERY_H

#include "agent/cli/lab/remote.h"

#define LAB_TIMEOUT_MS 30000u /* default of --timeout */

/* Marks the hosts that are started by hand. */
void lab_query_mark_manual(struct lab_session *r);
/* Queries the status of all hosts. Those that do not answer have failed. */
int lab_query_status(struct lab_session *r, struct err *e);
/* Runs a verb of sapair on every host whose agent runs. */
int lab_query_run(struct lab_session *r, const char *words, uint32_t timeout_ms, struct err *e);
/* The time limit of a command on a host, for a verb with that --timeout; UINT64_MAX: none. */
uint64_t lab_query_limit_ms(uint32_t timeout_ms);

/* on_line of struct lab_command: "same", "started", "stopped" or "gone", from a script or labhost. */
void lab_query_word(struct parallel_command *j, char *line, size_t len);
/* on_line of struct lab_command: a document of an agent, as with --json. */
void lab_query_document(struct parallel_command *j, char *line, size_t len);

#endif
