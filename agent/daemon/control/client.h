/*
 * agent/daemon/control/client.h - a client of the control socket: what control.c, job.c and
 * serve.c share.
 */
#ifndef SAPAIR_AGENT_DAEMON_CONTROL_CLIENT_H
#define SAPAIR_AGENT_DAEMON_CONTROL_CLIENT_H

#include "agent/daemon/control/server.h"
#include "agent/daemon/peer/completion.h"
#include "proto/wire/ctl.h"

#define END_MAX 128 /* room for "sapair.end/1" */

/* One peer's part of a request. */
struct item {
	struct completion w;
	struct job *job;
	char peer[MSG_NAME_MAX + 1];
	bool begun, over;
};

/* A request that waits for peers. */
struct job {
	struct caller *client;
	struct ctl_request req;
	uint64_t deadline_ms; /* 0 = none */
	bool told_progress;
	bool ended; /* "sapair.end/1" was sent, with the last document */
	int exit_status;
	size_t n, next, running, left;
	struct item items[];
};

struct caller {
	struct caller *next;
	struct control *control;
	uv_pipe_t pipe;
	uv_timer_t timer;         /* of its job */
	struct deferred deferred; /* its job goes on */
	unsigned open_handles;
	bool watching, closing, ending;
	struct job *job;
	struct job *dead; /* of a client that closes: its callers may be under way in it */
	size_t queued;
	char *held; /* answers that wait for more of them; NULL: none */
	size_t n_held;
	size_t have;
	char line[CTL_LINE_MAX];
};

struct control {
	struct agent *agent;
	const struct control_host *host;
	struct os_control *door;
	struct caller *clients;
	size_t n_clients, n_watching;
	uv_prepare_t turn; /* the loop waits: what is held goes out */
	bool closed;
};

/* control.c. A closed client gets nothing more, and goes when the loop comes round. */
void caller_close(struct caller *c);
/* One document of n bytes, with room for its newline in the place of its NUL. */
void caller_reply(struct caller *c, char *json, size_t n);
/* An error's document; and an end with an exit status; both. */
void caller_reply_error(struct caller *c, const char *peer, const struct err *e);
void caller_reply_end(struct caller *c, int exit_status);
void caller_refuse(struct caller *c, const char *peer, const struct err *e);
/* Whole lines that have come, as long as no request waits. */
void caller_serve_lines(struct caller *c);

/* serve.c: one request. */
void serve_request(struct caller *c, const char *line, size_t n);

/* job.c. Begins one that waits for a peer, or for all (only NULL). */
void job_start(struct caller *c, const struct ctl_request *req, enum completion_kind kind,
	       struct peer *only, bool changed);
/* Goes on with the job of a caller, if it has one: c->deferred's. */
void job_go_on(void *caller);
/* Tells the end, and goes on with what the client has sent meanwhile. */
void job_finish(struct job *j);
/* Calls off what is under way. */
void job_free(struct job *j);

#endif
