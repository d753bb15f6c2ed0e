/*
 * agent/daemon/control/request.c - requests of the control socket that wait for peers.
 */
#include "agent/daemon/control/client.h"
#include "agent/daemon/control/doc.h"
#include "agent/daemon/peer/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_MS 1000

static void job_next(struct job *j);
static void on_job_timer(uv_timer_t *t);

void job_free(struct job *j)
{
	struct caller *c = j->client;

	c->job = NULL;
	for (size_t i = 0; i < j->n; i++)
		if (j->items[i].begun && !j->items[i].over)
			completion_cancel(&j->items[i].w);
	uv_timer_stop(&c->timer);
	loop_cancel(&c->control->agent->loop, &c->deferred);
	if (c->closing)
		c->dead = j;
	else
		free(j);
}

void job_finish(struct job *j)
{
	struct caller *c = j->client;

	if (!j->ended)
		caller_reply_end(c, j->exit_status);
	if (c->closing)
		return;
	job_free(j);
	caller_serve_lines(c);
}

/* is_last: and the end of the request, in one piece. */
static void item_document(struct item *it, struct peer *p, bool is_last)
{
	struct job *j = it->job;
	char doc[DOC_MAX + END_MAX];
	size_t n = 0;

	switch (it->w.kind) {
	case COMPLETE_UP:
		n = doc_up(doc, DOC_MAX, p, &it->w);
		break;
	case COMPLETE_REKEY:
		n = doc_rekey(doc, DOC_MAX, p, &it->w);
		break;
	case COMPLETE_VERIFY:
		n = doc_verify(doc, DOC_MAX, p, &it->w.result);
		break;
	}
	if (n > 0 && is_last) {
		doc[n++] = '\n';
		n += doc_end(doc + n, END_MAX - 1, j->exit_status);
		j->ended = true;
	}
	caller_reply(j->client, doc, n);
}

static void item_over(struct item *it, const struct err *e)
{
	struct job *j = it->job;
	struct agent *a = j->client->control->agent;
	struct peer *p = peer_find(a, it->peer);

	it->over = true;
	j->running--;
	j->left--;
	if (e == NULL && p != NULL) {
		item_document(it, p, j->left == 0);
		return;
	}
	if (it->w.kind == COMPLETE_VERIFY && it->w.has_result && p != NULL)
		item_document(it, p, false);
	else if (it->w.kind == COMPLETE_REKEY && it->w.has_result && p != NULL)
		item_document(it, p, false); /* the receipt says that the proof failed */
	caller_reply_error(j->client, it->peer, e);
	if (j->exit_status == 0)
		j->exit_status = err_exit_status(e->code);
}

static void on_completion(struct completion *w, const struct err *e)
{
	struct item *it = w->arg;
	struct job *j = it->job;

	item_over(it, e);
	/* The rest later: this may be called from deep inside a peer. */
	loop_defer(&j->client->control->agent->loop, &j->client->deferred);
}

static void item_begin(struct item *it)
{
	struct job *j = it->job;
	struct peer *p = peer_find(j->client->control->agent, it->peer);
	struct err e = {0};

	it->begun = true;
	j->running++;
	if (p == NULL) {
		err_set(&e, ERR_DOWN, "%s was removed", it->peer);
		item_over(it, &e);
		return;
	}
	it->w.want_verify = j->req.verify;
	it->w.want_drain = j->req.wait == CTL_WAIT_DRAIN;
	it->w.count = j->req.count;
	it->w.interval_ms = j->req.interval_ms;
	it->w.done = on_completion;
	it->w.arg = it;
	completion_start(p, &it->w);
}

static void job_time_over(struct job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		struct item *it = &j->items[i];
		struct err e = {0};

		if (it->over)
			continue;
		if (!it->begun) {
			it->begun = true;
			j->running++;
			err_set(&e, ERR_TIMEOUT, "not begun: the time was over");
		} else {
			completion_why(&it->w, &e);
			completion_cancel(&it->w);
		}
		item_over(it, &e);
	}
	job_finish(j);
}

static void job_progress(struct job *j)
{
	struct agent *a = j->client->control->agent;
	char text[DOC_MAX / 2], doc[DOC_MAX];
	const struct err *why;

	if (j->told_progress || j->n != 1 || j->items[0].w.kind != COMPLETE_UP)
		return;
	j->told_progress = true;
	struct peer *p = peer_find(a, j->items[0].peer);

	if (p == NULL || peer_is_up(p))
		return;
	why = peer_trouble(p);
	snprintf(text, sizeof text, "waiting for %s%s%s", peer_name(p), why != NULL ? ": " : "",
		 why != NULL ? why->cause : "");
	caller_reply(j->client, doc, doc_progress(doc, sizeof doc, text));
}

/* Until there is something to do, to tell, or no more time. */
static void job_wait(struct job *j)
{
	const uint64_t now = loop_now_ms();
	uint64_t wait = PROGRESS_MS;

	if (j->left == 0 || (j->next < j->n && j->running < j->req.parallel))
		wait = 0;
	else if (j->deadline_ms != 0 && j->deadline_ms < now + wait)
		wait = j->deadline_ms > now ? j->deadline_ms - now : 0;
	uv_timer_start(&j->client->timer, on_job_timer, wait, 0); /* refused if it closes */
}

void job_go_on(void *caller)
{
	struct caller *c = caller;
	struct job *j = c->job;
	uint64_t now = loop_now_ms();

	if (j == NULL)
		return;
	if (j->left == 0) {
		job_finish(j);
		return;
	}
	if (j->deadline_ms != 0 && now >= j->deadline_ms) {
		job_time_over(j);
		return;
	}
	if (j->next < j->n && j->running < j->req.parallel) {
		job_next(j);
		return;
	}
	if (now - j->items[0].w.since_us / 1000 >= PROGRESS_MS)
		job_progress(j);
	job_wait(j);
}

static void on_job_timer(uv_timer_t *t)
{
	job_go_on(t->data);
}

static void job_next(struct job *j)
{
	struct caller *c = j->client;

	while (!c->closing && j->next < j->n && j->running < j->req.parallel)
		item_begin(&j->items[j->next++]);
	job_wait(j);
}

static size_t count_peers(const struct agent *a, const struct peer *only)
{
	size_t n = 0;

	if (only != NULL)
		return 1;
	for (const struct peer *p = a->peers; p != NULL; p = peer_next(p))
		n++;
	return n;
}

void job_start(struct caller *c, const struct ctl_request *req, enum completion_kind kind,
	       struct peer *only, bool changed)
{
	struct agent *a = c->control->agent;
	size_t n = count_peers(a, only), i = 0;
	struct job *j = calloc(1, sizeof *j + n * sizeof j->items[0]);

	if (j == NULL) {
		caller_close(c);
		return;
	}
	j->client = c;
	j->req = *req;
	if (j->req.parallel == 0)
		j->req.parallel = 16;
	j->deadline_ms = req->timeout_ms != 0 ? loop_now_ms() + req->timeout_ms : 0;
	for (struct peer *p = a->peers; p != NULL; p = peer_next(p)) {
		struct item *it = &j->items[i];

		if (only != NULL && p != only)
			continue;
		it->job = j;
		it->w.kind = kind;
		it->w.changed = changed;
		snprintf(it->peer, sizeof it->peer, "%s", peer_name(p));
		i++;
	}
	j->n = j->left = i;
	c->job = j;
	if (i == 0) {
		job_finish(j);
		return;
	}
	job_next(j);
}
