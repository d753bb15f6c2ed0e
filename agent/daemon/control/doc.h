/*
 * agent/daemon/control/doc.h - documents, and parts of them, that several verbs share.
 *
 * Every document is one JSON object that begins with "schema"; docs/output.md lists the members.
 * Numbers that a system does not have are left out. All functions that write a document return its
 * length, 0 if it does not fit.
 */
#ifndef SAPAIR_AGENT_DAEMON_CONTROL_DOC_H
#define SAPAIR_AGENT_DAEMON_CONTROL_DOC_H

#include "agent/daemon/state.h"
#include "proto/json/encode.h"

struct pair_view;
struct peer;

#define DOC_MAX 4096    /* bytes of any document but status and reload */
#define DOC_END_MAX 128 /* bytes of sapair.end/1 */

/* Begins and ends a document. */
void doc_begin(struct json_out *o, char *buf, size_t size, const char *schema);
size_t doc_finish(struct json_out *o);

size_t doc_error(char *buf, size_t size, const char *peer, const struct err *e); /* peer: or NULL */
size_t doc_end(char *buf, size_t size, int exit_status);
size_t doc_progress(char *buf, size_t size, const char *text);
/* The key of one SA; 0 also if it was not kept. The caller wipes buf. */
size_t doc_key(char *buf, size_t size, const struct agent *a, const struct peer *p,
	       const struct pair_view *v, bool is_in);

/* Members of an error. */
void doc_put_err(struct json_out *o, const struct err *e);
/* The member "removing": what could not be removed, and why; nothing if there is none. */
void doc_put_removing(struct json_out *o, const struct peer *p);
/* An SA as an object, with its counters unless db is NULL. */
void doc_put_sa(struct json_out *o, const char *name, struct ipsec *db, const struct pair_view *g,
		enum ipsec_part part);

#endif
