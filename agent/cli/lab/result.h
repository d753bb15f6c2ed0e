/*
 * agent/cli/lab/result.h - reads what hosts print: for struct lab_command, on_line.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_RESULT_H
#define SAPAIR_AGENT_CLI_LAB_RESULT_H

#include "agent/cli/lab/session.h"

/* What a script, or labhost on Windows, has done: "same", "started", "stopped" or "gone". */
void lab_result_word(struct parallel_command *j, char *line, size_t len);
/* A document of an agent. */
void lab_result_document(struct parallel_command *j, char *line, size_t len);

#endif
