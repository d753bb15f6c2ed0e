/*
 * agent/daemon/control/request.h - a request of a control client that waits for one peer or for
 * all.
 */
#ifndef SAPAIR_AGENT_DAEMON_CONTROL_REQUEST_H
#define SAPAIR_AGENT_DAEMON_CONTROL_REQUEST_H

#include "agent/daemon/control/client.h"
#include "agent/daemon/peer/completion.h"

/* Sends the document of a peer. */
typedef void control_result(struct control_client *c, const struct peer *p,
			    const struct completion *w);

/*
 * Starts to wait for only, or for all peers if only is NULL, at most req->parallel at a time.
 * Sends the result of each and sapair.end/1 at the end, which may come before this returns. changed: see
 * struct completion.
 */
void control_request_start(struct control_client *c, const struct ctl_request *req,
			   enum completion_kind kind, control_result *result, struct peer *only,
			   bool changed);
/* Cancels what the request of a closing client waits for, without a reply. */
void control_request_cancel(struct control_client *c);
/* Ends the request because the agent stops: ERR_DOWN, unless it has failed already. */
void control_request_abandon(struct control_client *c);

#endif
