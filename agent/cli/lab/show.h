/*
 * agent/cli/lab/show.h - a lab as a table or as a document.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_SHOW_H
#define SAPAIR_AGENT_CLI_LAB_SHOW_H

#include "agent/cli/lab/session.h"

/* Prints the table or the document. Returns 0 only if no host has failed and every pair is up (need_proof:
 * and verified). */
int lab_show(struct lab_session *r, const char *verb, bool need_proof);
/* The same after `lab down`. */
int lab_show_down(struct lab_session *r);
/* Prints the table over the one that was printed before: for terminals. */
void lab_show_live(struct lab_session *r);

#endif
