/*
 * agent/daemon/control/request.c - requests of the control socket that wait for peers.
 */
#include "agent/daemon/control/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/loop.h"
#include "agent/daemon/peer/peer.h"

#define PROGRESS_MS 1000

/* The part of a request that concerns one peer. */
struct target {
	struct completion w;
	struct control_request *request;
	char peer[MSG_NAME_MAX + 1];
	bool started, done;
};

struct control_request {
	struct control_client *client;
	struct ctl_request req;
	control_result *result;
	uint64_t deadline_ms; /* 0: none */
	bool sent_progress;
	int exit_status;
	size_t n;       /* targets */
	size_t next;    /* to be started */
	size_t running; /* started, not done */
	size_t left;    /* not done */
	struct target targets[];
};

static void start_targets(struct control_request *r);
static void start_timer(struct control_request *r);

/* ---- end ------------------------------------------------------------------------------- */

static void free_request(struct control_request *r)
{
	struct control_client *c = r->client;

	c->request = NULL;
	for (size_t i = 0; i < r->n; i++)
		if (r->targets[i].started && !r->targets[i].done)
			completion_cancel(&r->targets[i].w);
	uv_timer_stop(&c->timer);
	if (c->closing)
		c->dead = r;
	else
		free(r);
}

static void end_request(struct control_request *r)
{
	struct control_client *c = r->client;

	control_reply_end(c, r->exit_status);
	if (c->closing)
		return; /* control_client_close() has called control_request_cancel() */
	free_request(r);
	control_client_read_lines(c);
}

void control_request_cancel(struct control_client *c)
{
	free_request(c->request);
}

void control_request_abandon(struct control_client *c)
{
	if (c->request->exit_status == 0)
		c->request->exit_status = err_exit_status(ERR_DOWN);
	end_request(c->request);
}

/* ---- one target ------------------------------------------------------------------------ */

static void end_target(struct target *t, const struct err *e)
{
	struct control_request *r = t->request;
	struct peer *p = peer_find(r->client->control->agent, t->peer);
	struct err gone = {0};

	t->done = true;
	r->running--;
	r->left--;
	if (e == NULL && p != NULL) {
		r->result(r->client, p, &t->w);
		return;
	}
	if (e == NULL) {
		err_set(&gone, ERR_DOWN, "the peer was removed");
		e = &gone;
	}
	/* A pair that is up has a result, even if it fails to be verified or protected. */
	if (p != NULL &&
	    (t->w.kind == COMPLETE_UP ? peer_is_up(p) && e->code == ERR_VERIFY : t->w.has_result))
		r->result(r->client, p, &t->w);
	control_reply_error(r->client, t->peer, e);
	if (r->exit_status == 0)
		r->exit_status = err_exit_status(e->code);
}

/* Called from within the peer: the request continues when the timer expires, at once. */
static void on_complete(struct completion *w, const struct err *e)
{
	struct target *t = w->arg;
	struct control_client *c = t->request->client;

	end_target(t, e);
	if (!c->closing)
		start_timer(t->request);
}

static void start_target(struct target *t)
{
	struct control_request *r = t->request;
	struct peer *p = peer_find(r->client->control->agent, t->peer);
	struct err e = {0};

	t->started = true;
	r->running++;
	if (p == NULL) {
		err_set(&e, ERR_DOWN, "%s was removed", t->peer);
		end_target(t, &e);
		return;
	}
	t->w.want_verify = r->req.verify;
	t->w.want_drain = r->req.wait == CTL_WAIT_DRAIN;
	t->w.count = r->req.count;
	t->w.interval_ms = r->req.interval_ms;
	t->w.done = on_complete;
	t->w.arg = t;
	completion_start(p, &t->w);
}

/* ---- the request ----------------------------------------------------------------------- */

static void expire(struct control_request *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct target *t = &r->targets[i];
		struct err e = {0};

		if (t->done)
			continue;
		if (!t->started) {
			t->started = true;
			r->running++;
			err_set(&e, ERR_TIMEOUT, "not started within the time limit");
		} else {
			completion_why(&t->w, &e);
			completion_cancel(&t->w);
		}
		end_target(t, &e);
	}
	end_request(r);
}

/* Once, for `up` of one peer: says what prevents it. */
static void send_progress(struct control_request *r)
{
	const struct target *t = &r->targets[0];
	char text[DOC_MAX / 2];
	const struct err *trouble;
	struct peer *p;

	if (r->sent_progress || r->n != 1 || t->w.kind != COMPLETE_UP)
		return;
	r->sent_progress = true;
	p = peer_find(r->client->control->agent, t->peer);
	if (p == NULL || peer_is_up(p))
		return;
	trouble = peer_trouble(p);
	snprintf(text, sizeof text, "waiting for %s%s%s", peer_name(p), trouble != NULL ? ": " : "",
		 trouble != NULL ? trouble->cause : "");
	json_put_text(control_reply_begin(r->client, DOC_MAX, "sapair.progress/1"), "text", text);
	control_reply_send(r->client);
}

static bool can_start_target(const struct control_request *r)
{
	return r->next < r->n && r->running < r->req.parallel;
}

static void on_timer(uv_timer_t *timer);

static void start_timer(struct control_request *r)
{
	const uint64_t now = loop_now_ms();
	uint64_t wait = PROGRESS_MS;

	if (r->left == 0 || can_start_target(r))
		wait = 0;
	else if (r->deadline_ms != 0 && r->deadline_ms < now + wait)
		wait = r->deadline_ms > now ? r->deadline_ms - now : 0;
	uv_timer_start(&r->client->timer, on_timer, wait, 0); /* fails if the client is closing */
}

static void on_timer(uv_timer_t *timer)
{
	struct control_client *c = timer->data;
	struct control_request *r = c->request;
	uint64_t now = loop_now_ms();

	if (r == NULL)
		return;
	if (r->left == 0) {
		end_request(r);
		return;
	}
	if (r->deadline_ms != 0 && now >= r->deadline_ms) {
		expire(r);
		return;
	}
	if (can_start_target(r)) {
		start_targets(r);
		return;
	}
	if (now - r->targets[0].w.since_us / 1000 >= PROGRESS_MS)
		send_progress(r);
	start_timer(r);
}

static void start_targets(struct control_request *r)
{
	while (!r->client->closing && can_start_target(r))
		start_target(&r->targets[r->next++]);
	start_timer(r);
}

void control_request_start(struct control_client *c, const struct ctl_request *req,
			   enum completion_kind kind, control_result *result, struct peer *only,
			   bool changed)
{
	struct agent *a = c->control->agent;
	size_t n = only != NULL ? 1 : a->n_peers, i = 0;
	struct control_request *r = calloc(1, sizeof *r + n * sizeof r->targets[0]);

	if (r == NULL) {
		control_client_close(c);
		return;
	}
	r->client = c;
	r->req = *req;
	r->result = result;
	r->deadline_ms = req->timeout_ms != 0 ? loop_now_ms() + req->timeout_ms : 0;
	for (struct peer *p = a->peers; p != NULL && i < n; p = peer_next(p)) {
		struct target *t = &r->targets[i];

		if (only != NULL && p != only)
			continue;
		t->request = r;
		t->w.kind = kind;
		t->w.changed = changed;
		snprintf(t->peer, sizeof t->peer, "%s", peer_name(p));
		i++;
	}
	r->n = r->left = i;
	c->request = r;
	if (i == 0) {
		end_request(r);
		return;
	}
	start_targets(r);
}
