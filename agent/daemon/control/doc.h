/*
 * agent/daemon/control/doc.h - the documents that the agent gives out, one JSON object each.
 *
 * Every document begins with "schema"; docs/output.md lists the members. Numbers that a system
 * cannot give are absent.
 */
#ifndef SAPAIR_AGENT_DAEMON_CONTROL_DOC_H
#define SAPAIR_AGENT_DAEMON_CONTROL_DOC_H

#include "agent/daemon/state.h"
#include "agent/daemon/peer/completion.h"
#include "agent/daemon/peer/reload.h"

#define DOC_MAX 4096 /* of any document but status and reload */

/* All return the length, 0 when it did not fit. */
size_t doc_error(char *buf, size_t size, const char *peer, const struct err *e);
size_t doc_end(char *buf, size_t size, int exit_status);
size_t doc_progress(char *buf, size_t size, const char *text);
size_t doc_up(char *buf, size_t size, const struct peer *p, const struct completion *w);
size_t doc_down(char *buf, size_t size, const char *peer, bool changed);
size_t doc_rekey(char *buf, size_t size, const struct peer *p, const struct completion *w);
size_t doc_verify(char *buf, size_t size, const struct peer *p, const struct verify_result *r);
size_t doc_reload(char *buf, size_t size, const struct reload_result *r);
/* `rekey --no-wait`: asked for, not done. */
size_t doc_started(char *buf, size_t size, const char *verb, const char *peer);
/* The key of one half of a pair; 0 also when it was not kept. The buffer is to be wiped. */
size_t doc_key(char *buf, size_t size, const struct agent *a, const struct peer *p,
	       const struct pair_view *v, bool is_in);
/* What the other host of a pair made by hand needs beside the keys. */
size_t doc_half(char *buf, size_t size, const struct peer *p, const struct pair_view *v);
size_t doc_stop(char *buf, size_t size);

/* Status of one peer, or of all (only is NULL): allocated, freed by the caller; NULL: no memory. */
char *doc_status(struct agent *a, const struct peer *only, size_t *len);

#endif
