/*
 * agent/daemon/control/doc.h - parts of documents that several verbs share.
 */
#ifndef SAPAIR_AGENT_DAEMON_CONTROL_DOC_H
#define SAPAIR_AGENT_DAEMON_CONTROL_DOC_H

#include "agent/daemon/control/client.h"
#include "agent/daemon/pair/pair.h"

/* An SA as an object, with its counters unless db is NULL. Those that the system lacks are left out. */
void doc_put_sa(struct json_out *o, const char *name, struct ipsec *db, const struct pair_view *g,
		enum ipsec_part part);
/* The member "removing": what could not be removed, and why; nothing if there is none. */
void doc_put_removing(struct json_out *o, const struct peer *p);
/* Sends the keys of both SAs of a generation, as far as they were kept. */
void doc_reply_keys(struct control_client *c, const struct peer *p, const struct pair_view *v);

#endif
