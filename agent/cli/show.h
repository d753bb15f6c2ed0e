/*
 * agent/cli/show.h - the agent's documents as text. Members that are missing are left out.
 */
#ifndef SAPAIR_AGENT_SHOW_H
#define SAPAIR_AGENT_SHOW_H

#include "proto/json/json.h"

/* several: the command is about many peers, so each gets one line. */
typedef void show_document(const struct cJSON *d, bool several);

show_document show_status, show_up, show_down, show_rekey, show_verify, show_reload, show_stop,
	show_event;

/* The text at a path ("epoch.new"), or otherwise. */
const char *show_text(const struct cJSON *d, const char *path, const char *otherwise);
/* The number at a path, also one in a string; false: there is none. */
bool show_number(const struct cJSON *d, const char *path, double *n);
bool show_is(const struct cJSON *d, const char *path); /* there, and true */

#endif
