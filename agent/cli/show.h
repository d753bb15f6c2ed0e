/*
 * agent/cli/show.h - the members of the agent's documents as text.
 *
 * Paths name nested members: "epoch.new". A number may also be in a string.
 */
#ifndef SAPAIR_AGENT_CLI_SHOW_H
#define SAPAIR_AGENT_CLI_SHOW_H

#include "agent/cli/out.h"
#include "proto/json/decode.h"

/* Prints a document. several: the command concerns many peers, each gets one line. */
typedef void show_document(const struct cJSON *d, bool several);

bool show_has(const struct cJSON *d, const char *path);
bool show_is(const struct cJSON *d, const char *path); /* is the boolean there, and true? */
/* Returns otherwise if there is no such text. */
const char *show_text(const struct cJSON *d, const char *path, const char *otherwise);
/* Returns false if there is no such number. */
bool show_number(const struct cJSON *d, const char *path, double *n);

/* The member "removing": one line with what could not be removed, and why. Nothing if it is missing. */
void show_removing(const struct cJSON *d);

/* A number as text, "-" if it is missing. Return text, which the caller owns. */
const char *show_count(char text[OUT_NUMBER], const struct cJSON *d, const char *path);
const char *show_ms(char text[OUT_NUMBER], const struct cJSON *d, const char *path);
const char *show_span(char text[OUT_NUMBER], const struct cJSON *d, const char *path); /* of s */
/* The day of a date, "unknown" if it is missing. Overwritten by the next call. */
const char *show_date(const struct cJSON *d, const char *path);

#endif
