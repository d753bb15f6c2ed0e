/*
 * agent/daemon/control/request.h - a request of a control client that waits for one peer or for
 * all.
 */
#ifndef SAPAIR_AGENT_DAEMON_CONTROL_REQUEST_H
#define SAPAIR_AGENT_DAEMON_CONTROL_REQUEST_H

#include "agent/daemon/control/client.h"
#include "agent/daemon/peer/completion.h"

/* Writes the document of a peer: its length, 0 if it does not fit. */
typedef size_t control_result(char *buf, size_t size, const struct peer *p,
			      const struct completion *w);

/*
 * Starts to wait for only, or for all peers if only is NULL, at most req->parallel at a time.
 * Sends the
 * result of each and sapair.end/1 at the end, which may come before this returns. changed: see
 * struct completion.
 */
void control_request_start(struct control_client *c, const struct ctl_request *req,
			   enum completion_kind kind, control_result *result, struct peer *only,
			   bool changed);
/* Starts further peers, ends a request that is complete or out of time, or waits. Does nothing for a
 * client without a request. */
void control_request_resume(void *client);
/* Cancels what the request of a closing client waits for, without a reply. */
void control_request_cancel(struct control_client *c);
/* Ends the request because the agent stops: ERR_DOWN, unless it has failed already. */
void control_request_abandon(struct control_client *c);

#endif
