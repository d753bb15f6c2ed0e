/*
 * agent/daemon/control/client.h - a control client: one connection to the control socket.
 *
 * Requests of one client are answered one after another. While one waits for peers (c->request is
 * set),
 * or the client watches events, further lines stay in its buffer.
 */
#ifndef SAPAIR_AGENT_DAEMON_CONTROL_CLIENT_H
#define SAPAIR_AGENT_DAEMON_CONTROL_CLIENT_H

#include "agent/daemon/state.h"
#include "proto/wire/ctl.h"

struct control_client;
struct control_request;
struct peer;
struct reload_result;
struct reply;

/* What a client calls in the files above it. */
struct control_client_ops {
	/* A whole line has arrived. */
	void (*line)(struct control_client *c, const char *line, size_t n);
	/* The client closes: cancels c->request, which is not NULL. */
	void (*cancel)(struct control_client *c);
};

/* What verbs call in the agent. */
struct control_host {
	/* Reads config and identity again, and applies the differences. On -1 nothing has
	 * changed. */
	int (*reload)(struct agent *a, struct reload_result *r, struct err *e);
	/* Adds a peer by its address until the agent exits; pin may be NULL. */
	int (*add_address)(struct agent *a, const char *address, const char *pin, struct peer **p,
			   struct err *e);
	/* Starts an orderly end. */
	void (*stop)(struct agent *a);
};

struct control_client {
	struct control_client *next;
	struct control *control;
	uv_pipe_t pipe;
	uv_timer_t timer; /* of its request */
	unsigned open_handles;
	bool reading; /* control_client_read_lines() is running */
	bool watching, closing;
	bool ending; /* closes when all replies are written */
	struct control_request *request;
	struct control_request *dead; /* cancelled by the close; frames that use it may be active */
	struct reply *reply;          /* the one that is being written, as json */
	struct json_out json;
	size_t queued; /* bytes of replies that are not written yet */
	size_t have;   /* bytes in line */
	char line[CTL_LINE_MAX];
};

struct control {
	struct agent *agent;
	const struct control_host *host;
	const struct control_client_ops *ops;
	struct os_control *socket;
	struct control_client *clients;
	size_t n_clients, n_watching;
	bool closed;
};

#define DOC_MAX 4096 /* bytes of any document but status and reload */
#define CONTROL_CLIENTS_MAX 64
#define CONTROL_QUEUE_MAX (4 * 1024 * 1024) /* bytes queued for a client that does not read */

/* Accepts the connection that waits at k->socket; refuses it if there are too many clients. */
void control_client_accept(struct control *k);
/* Discards what is not written yet. Frees c when the loop has closed its handles. */
void control_client_close(struct control_client *c);
/* Closes c when all replies are written. */
void control_client_end(struct control_client *c);
/* Starts to send events to c. */
void control_client_watch(struct control_client *c);
/* Serves the lines in the buffer, until a request waits. */
void control_client_read_lines(struct control_client *c);

/* ---- replies: JSON objects that begin with "schema" (docs/output.md) ---- */

/* Begins a document of less than size bytes: put its members into the result. Without memory, c is
 * closed. */
struct json_out *control_reply_begin(struct control_client *c, size_t size, const char *schema);
/* Ends and sends it. A client whose queue is full is closed. */
void control_reply_send(struct control_client *c);
/* Sends a document of n bytes that is complete. */
void control_send_event(struct control_client *c, const char *json, size_t n);
/* Members of an error. */
void control_put_err(struct json_out *o, const struct err *e);
/* Sends sapair.error/1; peer may be NULL. */
void control_reply_error(struct control_client *c, const char *peer, const struct err *e);
/* Sends sapair.end/1. */
void control_reply_end(struct control_client *c, int exit_status);
/* Sends both: the request has failed. */
void control_refuse(struct control_client *c, const char *peer, const struct err *e);

#endif
