/*
 * agent/cli/help.h - the help of one verb or of all, as text or as JSON.
 */
#ifndef SAPAIR_AGENT_CLI_HELP_H
#define SAPAIR_AGENT_CLI_HELP_H

#include "agent/cli/verb.h"

/* Prints the help of only, or of all verbs if only is NULL. */
void help_print(const struct verb *const *list, const struct verb *only, bool json);

#endif
