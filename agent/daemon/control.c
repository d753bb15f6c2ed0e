/*
 * agent/daemon/control.c - the control socket: one request at a time from each client, answered
 * by documents, closed by "sapair.end/1".
 */
#include "agent/daemon/control.h"

#include "agent/daemon/doc.h"
#include "agent/daemon/event.h"
#include "agent/daemon/manual.h"
#include "agent/daemon/pair.h"
#include "agent/daemon/peer.h"
#include "agent/daemon/waiter.h"
#include "proto/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_MS 1000
#define END_MAX 128 /* room for "sapair.end/1" */

struct client;

/* One peer's part of a request. */
struct item {
	struct waiter w;
	struct job *job;
	char peer[MSG_NAME_MAX + 1];
	bool begun, over;
};

/* A request that waits for peers. */
struct job {
	struct client *client;
	struct ctl_request req;
	uint64_t deadline_ms; /* 0 = none */
	bool told_progress;
	bool ended; /* "sapair.end/1" was sent, with the last document */
	int exit_status;
	size_t n, next, running, left;
	struct item items[];
};

struct client {
	struct client *next;
	struct control *control;
	uv_pipe_t pipe;
	uv_timer_t timer; /* of its job */
	unsigned open_handles;
	bool watching, closing, ending;
	struct job *job;
	struct job *dead; /* of a client that closes: its callers may be under way in it */
	size_t queued;
	size_t have;
	char line[CTL_LINE_MAX];
};

struct control {
	struct agent *agent;
	struct os_control *door;
	struct client *clients;
	size_t n_clients, n_watching;
	bool closed;
};

struct reply_req {
	uv_write_t req;
	struct client *client;
	size_t n;
	char data[];
};

static void serve_lines(struct client *c);

/* ---- clients --------------------------------------------------------------------------- */

static void on_client_closed(uv_handle_t *h)
{
	struct client *c = h->data;

	if (--c->open_handles > 0)
		return;
	free(c->dead);
	wipe(c, sizeof *c);
	free(c);
}

static void job_free(struct job *j)
{
	struct client *c = j->client;

	c->job = NULL;
	for (size_t i = 0; i < j->n; i++)
		if (j->items[i].begun && !j->items[i].over)
			waiter_cancel(&j->items[i].w);
	uv_timer_stop(&c->timer);
	if (c->closing)
		c->dead = j;
	else
		free(j);
}

static void client_close(struct client *c)
{
	struct control *k = c->control;

	if (c->closing)
		return;
	c->closing = true;
	if (c->job != NULL)
		job_free(c->job);
	if (c->watching)
		k->n_watching--;
	for (struct client **at = &k->clients; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			k->n_clients--;
			break;
		}
	}
	uv_close((uv_handle_t *)&c->pipe, on_client_closed);
	uv_close((uv_handle_t *)&c->timer, on_client_closed);
}

static void on_sent(uv_write_t *req, int status)
{
	struct reply_req *r = (struct reply_req *)req->data;
	struct client *c = r->client;

	c->queued -= r->n;
	if (!c->closing && (status < 0 || (c->ending && c->queued == 0)))
		client_close(c);
	wipe(r->data, r->n); /* it may have been a key */
	free(r);
}

/* Whole lines. A client that does not read loses the connection. */
static void reply_bytes(struct client *c, const char *json, size_t n)
{
	struct reply_req *r;
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)json, (unsigned)n);

	if (c->closing || n == 0)
		return;
	if (c->queued + n > CONTROL_QUEUE_MAX) {
		client_close(c);
		return;
	}
	/* Where nothing waits, without a turn of the loop; c->ending needs on_sent(). */
	if (c->queued == 0 && !c->ending) {
		int done = uv_try_write((uv_stream_t *)&c->pipe, &buf, 1);

		if (done > 0) {
			json += done;
			n -= (size_t)done;
		}
		if (n == 0)
			return;
	}
	r = malloc(sizeof *r + n);
	if (r == NULL) {
		client_close(c);
		return;
	}
	r->client = c;
	r->n = n;
	r->req.data = r;
	memcpy(r->data, json, n);
	buf = uv_buf_init(r->data, (unsigned)r->n);
	if (uv_write(&r->req, (uv_stream_t *)&c->pipe, &buf, 1, on_sent) != 0) {
		free(r);
		client_close(c);
		return;
	}
	c->queued += r->n;
}

/* One document and its newline. */
static void reply(struct client *c, char *json, size_t n)
{
	if (n == 0)
		return;
	json[n] = '\n'; /* in the place of its NUL */
	reply_bytes(c, json, n + 1);
	json[n] = '\0';
}

static void reply_error(struct client *c, const char *peer, const struct err *e)
{
	char doc[DOC_MAX];

	reply(c, doc, doc_error(doc, sizeof doc, peer, e));
}

static void reply_end(struct client *c, int exit_status)
{
	char doc[END_MAX];

	reply(c, doc, doc_end(doc, sizeof doc, exit_status));
}

static void refuse(struct client *c, const char *peer, const struct err *e)
{
	reply_error(c, peer, e);
	reply_end(c, err_exit_status(e->code));
}

/* ---- requests that wait ---------------------------------------------------------------- */

static void job_next(struct job *j);
static void on_job_timer(uv_timer_t *t);

static void job_finish(struct job *j)
{
	struct client *c = j->client;

	if (!j->ended)
		reply_end(c, j->exit_status);
	if (c->closing)
		return;
	job_free(j);
	serve_lines(c);
}

/* is_last: and the end of the request, in one piece. */
static void item_document(struct item *it, struct peer *p, bool is_last)
{
	struct job *j = it->job;
	char doc[DOC_MAX + END_MAX];
	size_t n = 0;

	switch (it->w.kind) {
	case WAIT_UP:
		n = doc_up(doc, DOC_MAX, p, &it->w);
		break;
	case WAIT_REKEY:
		n = doc_rekey(doc, DOC_MAX, p, &it->w);
		break;
	case WAIT_VERIFY:
		n = doc_verify(doc, DOC_MAX, p, &it->w.result);
		break;
	}
	if (n > 0 && is_last) {
		doc[n++] = '\n';
		n += doc_end(doc + n, END_MAX - 1, j->exit_status);
		j->ended = true;
	}
	reply(j->client, doc, n);
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
	if (it->w.kind == WAIT_VERIFY && it->w.has_result && p != NULL)
		item_document(it, p, false);
	else if (it->w.kind == WAIT_REKEY && it->w.has_result && p != NULL)
		item_document(it, p, false); /* the receipt says that the proof failed */
	reply_error(j->client, it->peer, e);
	if (j->exit_status == 0)
		j->exit_status = err_exit_status(e->code);
}

static void on_waiter_done(struct waiter *w, const struct err *e)
{
	struct item *it = w->arg;
	struct job *j = it->job;

	item_over(it, e);
	/* The rest from the loop: this may be called from deep inside a peer. */
	uv_timer_start(&j->client->timer, on_job_timer, 0, 0);
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
	it->w.done = on_waiter_done;
	it->w.arg = it;
	peer_wait(p, &it->w);
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
			waiter_why(&it->w, &e);
			waiter_cancel(&it->w);
		}
		item_over(it, &e);
	}
	job_finish(j);
}

static void job_progress(struct job *j)
{
	struct agent *a = j->client->control->agent;
	char text[DOC_MAX / 2], doc[DOC_MAX];

	if (j->told_progress || j->n != 1 || j->items[0].w.kind != WAIT_UP)
		return;
	j->told_progress = true;
	struct peer *p = peer_find(a, j->items[0].peer);

	if (p == NULL || p->current != NULL)
		return;
	snprintf(text, sizeof text, "waiting for %s%s%s", p->cfg.name,
		 p->trouble != NULL ? ": " : "", p->trouble != NULL ? p->trouble->cause : "");
	reply(j->client, doc, doc_progress(doc, sizeof doc, text));
}

/* Until there is something to do, to tell, or no more time. */
static void job_wait(struct job *j)
{
	const uint64_t now = agent_now_ms();
	uint64_t wait = PROGRESS_MS;

	if (j->left == 0 || (j->next < j->n && j->running < j->req.parallel))
		wait = 0;
	else if (j->deadline_ms != 0 && j->deadline_ms < now + wait)
		wait = j->deadline_ms > now ? j->deadline_ms - now : 0;
	uv_timer_start(&j->client->timer, on_job_timer, wait, 0); /* refused if it closes */
}

static void on_job_timer(uv_timer_t *t)
{
	struct client *c = t->data;
	struct job *j = c->job;
	uint64_t now = agent_now_ms();

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

static void job_next(struct job *j)
{
	struct client *c = j->client;

	while (!c->closing && j->next < j->n && j->running < j->req.parallel)
		item_begin(&j->items[j->next++]);
	job_wait(j);
}

static size_t count_peers(const struct agent *a, const struct peer *only)
{
	size_t n = 0;

	if (only != NULL)
		return 1;
	for (const struct peer *p = a->peers; p != NULL; p = p->next)
		n++;
	return n;
}

static void start_job(struct client *c, const struct ctl_request *req, enum waiter_kind kind,
		      struct peer *only, bool changed)
{
	struct agent *a = c->control->agent;
	size_t n = count_peers(a, only), i = 0;
	struct job *j = calloc(1, sizeof *j + n * sizeof j->items[0]);

	if (j == NULL) {
		client_close(c);
		return;
	}
	j->client = c;
	j->req = *req;
	if (j->req.parallel == 0)
		j->req.parallel = 16;
	j->deadline_ms = req->timeout_ms != 0 ? agent_now_ms() + req->timeout_ms : 0;
	for (struct peer *p = a->peers; p != NULL; p = p->next) {
		struct item *it = &j->items[i];

		if (only != NULL && p != only)
			continue;
		it->job = j;
		it->w.kind = kind;
		it->w.changed = changed;
		memcpy(it->peer, p->cfg.name, sizeof it->peer);
		i++;
	}
	j->n = j->left = n;
	c->job = j;
	if (n == 0) {
		job_finish(j);
		return;
	}
	job_next(j);
}

/* ---- verbs ----------------------------------------------------------------------------- */

static bool find_or_refuse(struct client *c, const struct ctl_request *req, struct peer **p)
{
	struct err e = {0};

	*p = NULL;
	if (req->peer[0] == '\0')
		return true;
	*p = peer_find(c->control->agent, req->peer);
	if (*p != NULL)
		return true;
	err_set(&e, ERR_USAGE, "no peer is called %s", req->peer);
	err_hint(&e, "sapair status lists the peers");
	refuse(c, req->peer, &e);
	return false;
}

static void do_status(struct client *c, const struct ctl_request *req)
{
	struct peer *p;
	size_t n = 0;
	char *doc;

	if (!find_or_refuse(c, req, &p))
		return;
	doc = doc_status(c->control->agent, p, &n);
	if (doc == NULL) {
		client_close(c);
		return;
	}
	reply(c, doc, n);
	free(doc);
	reply_end(c, p != NULL && !peer_is_up(p) ? err_exit_status(ERR_DOWN) : 0);
}

static void do_up(struct client *c, const struct ctl_request *req)
{
	struct agent *a = c->control->agent;
	struct peer *p = req->peer[0] != '\0' ? peer_find(a, req->peer) : NULL;
	struct err e = {0};
	bool changed = false;

	if (req->peer[0] != '\0' && p == NULL) {
		if (agent_add_address(a, req->peer, req->pin, &p, &e) < 0) {
			err_in(&e, "no peer is called %s", req->peer);
			refuse(c, req->peer, &e);
			return;
		}
		changed = true;
	}
	if (p != NULL)
		changed = peer_up(p) || changed;
	for (struct peer *each = a->peers; p == NULL && each != NULL; each = each->next)
		peer_up(each);
	if (req->wait == CTL_WAIT_NONE) {
		struct waiter none = {.kind = WAIT_UP,
				      .changed = changed,
				      .since_us = agent_now_us()};
		char doc[DOC_MAX];

		if (p != NULL)
			reply(c, doc, doc_up(doc, sizeof doc, p, &none));
		reply_end(c, 0);
		return;
	}
	start_job(c, req, WAIT_UP, p, changed);
}

static void do_down(struct client *c, const struct ctl_request *req)
{
	struct agent *a = c->control->agent;
	struct peer *p;
	char doc[DOC_MAX];

	if (!find_or_refuse(c, req, &p))
		return;
	for (struct peer *each = a->peers, *next; each != NULL; each = next) {
		next = each->next;
		if (p == NULL || p == each)
			reply(c, doc, doc_down(doc, sizeof doc, each->cfg.name, peer_down(each)));
	}
	reply_end(c, 0);
}

static void do_rekey(struct client *c, const struct ctl_request *req)
{
	char doc[DOC_MAX];
	struct peer *p;

	if (!find_or_refuse(c, req, &p))
		return;
	if (req->reason[0] != '\0')
		event_plain(c->control->agent, EVENT_REKEY_ASKED, p != NULL ? p->cfg.name : NULL,
			    req->reason);
	if (req->wait != CTL_WAIT_NONE) {
		start_job(c, req, WAIT_REKEY, p, false);
		return;
	}
	if (p != NULL && !peer_is_up(p)) {
		struct err e = {0};

		err_set(&e, ERR_DOWN, "the pair with %s is %s", p->cfg.name, peer_state_word(p));
		refuse(c, p->cfg.name, &e);
		return;
	}
	for (struct peer *each = c->control->agent->peers; each != NULL; each = each->next) {
		if ((p != NULL && p != each) || !peer_is_up(each))
			continue;
		peer_want_exchange(each, REASON_REQUEST);
		reply(c, doc, doc_started(doc, sizeof doc, "rekey", each->cfg.name));
	}
	reply_end(c, 0);
}

static void do_verify(struct client *c, const struct ctl_request *req)
{
	struct peer *p;

	if (find_or_refuse(c, req, &p))
		start_job(c, req, WAIT_VERIFY, p, false);
}

static void do_reload(struct client *c)
{
	struct reload_result r;
	struct err e = {0};
	size_t size, n;
	char *doc;

	if (agent_reload(c->control->agent, &r, &e) < 0) {
		refuse(c, NULL, &e);
		return;
	}
	size = 1024 + (r.n_added + r.n_removed + r.n_updated) * 2 * (MSG_NAME_MAX + 3);
	doc = malloc(size);
	if (doc != NULL) {
		n = doc_reload(doc, size, &r);
		reply(c, doc, n);
		free(doc);
	}
	reload_result_free(&r);
	reply_end(c, 0);
}

static void reply_keys(struct client *c, const struct peer *p, const struct gen *g)
{
	char doc[DOC_MAX];

	for (int is_in = 0; g != NULL && is_in < 2; is_in++)
		reply(c, doc, doc_key(doc, sizeof doc, p, g, is_in != 0));
	wipe(doc, sizeof doc);
}

static void do_export(struct client *c, const struct ctl_request *req)
{
	struct agent *a = c->control->agent;
	struct err e = {0};
	struct peer *p;

	if (!find_or_refuse(c, req, &p))
		return;
	if (!a->cfg.export_keys) {
		err_set(&e, ERR_PERM, "the config does not allow that keys are exported");
		err_hint(&e, "\"export_keys\": true does, for pairs that come up after a reload");
		refuse(c, NULL, &e);
		return;
	}
	event_plain(a, EVENT_KEYS_EXPORTED, p != NULL ? p->cfg.name : NULL,
		    "keys of SAs were given out: whoever has them can read the traffic");
	for (struct peer *each = a->peers; each != NULL; each = each->next) {
		if (p != NULL && p != each)
			continue;
		reply_keys(c, each, each->fresh);
		reply_keys(c, each, each->current);
		for (const struct gen *g = each->held; g != NULL; g = g->next)
			reply_keys(c, each, g);
	}
	reply_end(c, 0);
}

static void do_script(struct client *c, const struct ctl_request *req)
{
	char doc[DOC_MAX];
	struct err e = {0};
	struct peer *p;
	struct gen *g;

	if (!find_or_refuse(c, req, &p))
		return;
	if (manual_pair(p, &g, &e) < 0) {
		refuse(c, p->cfg.name, &e);
		return;
	}
	event_plain(
		c->control->agent, EVENT_HALF_EXPORTED, p->cfg.name,
		"a pair was made by hand: whoever has the script can read and forge its traffic");
	reply(c, doc, doc_half(doc, sizeof doc, p, g));
	reply_keys(c, p, g);
	manual_told(p, g);
	reply_end(c, 0);
}

static void do_stop(struct client *c)
{
	char doc[DOC_MAX];

	reply(c, doc, doc_stop(doc, sizeof doc));
	reply_end(c, 0);
	agent_stop(c->control->agent);
}

static void serve(struct client *c, const char *line, size_t n)
{
	struct ctl_request req;
	struct err e = {0};

	if (ctl_decode(&req, line, n, &e) < 0) {
		refuse(c, NULL, &e);
		return;
	}
	if (c->control->agent->stopping) {
		err_set(&e, ERR_DOWN, "the agent is stopping");
		refuse(c, NULL, &e);
		return;
	}
	switch ((enum ctl_verb)req.verb) {
	case CTL_STATUS:
		do_status(c, &req);
		break;
	case CTL_UP:
		do_up(c, &req);
		break;
	case CTL_DOWN:
		do_down(c, &req);
		break;
	case CTL_REKEY:
		do_rekey(c, &req);
		break;
	case CTL_VERIFY:
		do_verify(c, &req);
		break;
	case CTL_WATCH:
		c->watching = true;
		c->control->n_watching++;
		break;
	case CTL_RELOAD:
		do_reload(c);
		break;
	case CTL_STOP:
		do_stop(c);
		break;
	case CTL_EXPORT:
		do_export(c, &req);
		break;
	case CTL_SCRIPT:
		do_script(c, &req);
		break;
	case CTL_COUNT:
		break;
	}
}

/* ---- reading --------------------------------------------------------------------------- */

static void too_long(struct client *c)
{
	struct err e = {0};

	err_set(&e, ERR_USAGE, "a request of more than %d bytes", CTL_LINE_MAX);
	refuse(c, NULL, &e);
	c->ending = true; /* closed once this is written */
	if (c->queued == 0)
		client_close(c);
}

/* Whole lines that have come, as long as no request waits. */
static void serve_lines(struct client *c)
{
	while (!c->closing && !c->ending && c->job == NULL && !c->watching) {
		char *nl = memchr(c->line, '\n', c->have);
		size_t n;
		char line[CTL_LINE_MAX];

		if (nl == NULL) {
			if (c->have == sizeof c->line)
				too_long(c);
			return;
		}
		n = (size_t)(nl - c->line);
		memcpy(line, c->line, n);
		line[n] = '\0';
		c->have -= n + 1;
		memmove(c->line, nl + 1, c->have);
		serve(c, line, n);
	}
}

static void on_alloc(uv_handle_t *h, size_t wish, uv_buf_t *buf)
{
	struct client *c = h->data;

	(void)wish;
	*buf = uv_buf_init(c->line + c->have, (unsigned)(sizeof c->line - c->have));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct client *c = s->data;

	(void)buf;
	if (n < 0) { /* UV_ENOBUFS: more requests than the buffer holds while one waits */
		client_close(c);
		return;
	}
	c->have += (size_t)n;
	serve_lines(c);
}

static void on_connection(void *arg)
{
	struct control *k = arg;
	struct client *c;
	unsigned uid = 0;
	int rc;

	c = calloc(1, sizeof *c);
	if (c == NULL)
		return;
	c->control = k;
	c->pipe.data = c->timer.data = c;
	uv_pipe_init(&k->agent->loop, &c->pipe, 0);
	uv_timer_init(&k->agent->loop, &c->timer);
	c->open_handles = 2;
	c->next = k->clients;
	k->clients = c;
	k->n_clients++;
	rc = os_control_accept(k->door, &c->pipe, &uid);
	if (rc == UV_EACCES || k->n_clients > CONTROL_CLIENTS_MAX)
		log_limited(agent_now_ms(), LOG_WARN, "control: client of user %u refused", uid);
	if (rc != 0 || k->n_clients > CONTROL_CLIENTS_MAX ||
	    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0)
		client_close(c);
}

/* ---- open and close -------------------------------------------------------------------- */

int control_open(struct agent *a, struct err *e)
{
	struct control *k = calloc(1, sizeof *k);
	char path[OS_PATH_MAX];

	if (k == NULL)
		return err_set(e, ERR_OS, "no memory for the control socket");
	k->agent = a;
	if (a->cfg.control[0] != '\0')
		snprintf(path, sizeof path, "%s", a->cfg.control);
	else
		os_control_path(path);
	if (os_control_listen(&k->door, &a->loop, path, on_connection, k, e) < 0) {
		free(k);
		return err_in(e, "control socket");
	}
	a->control = k;
	return 0;
}

void control_close(struct agent *a)
{
	struct control *k = a->control;
	struct client *c, *next;

	if (k == NULL || k->closed)
		return;
	k->closed = true;
	os_control_unlisten(k->door);
	for (c = k->clients; c != NULL; c = next) {
		next = c->next;
		c->ending = true;
		if (c->job != NULL) { /* its peers are gone, and have said so */
			if (c->job->exit_status == 0)
				c->job->exit_status = err_exit_status(ERR_DOWN);
			job_finish(c->job);
		}
		if (c->queued == 0)
			client_close(c);
	}
}

void control_cut(struct agent *a)
{
	while (a->control != NULL && a->control->clients != NULL)
		client_close(a->control->clients);
}

void control_free(struct agent *a)
{
	free(a->control);
	a->control = NULL;
}

bool control_is_watched(const struct agent *a)
{
	return a->control != NULL && a->control->n_watching > 0;
}

void control_broadcast(struct agent *a, char *json, size_t n)
{
	struct client *next;

	for (struct client *c = a->control->clients; c != NULL; c = next) {
		next = c->next;
		if (c->watching)
			reply(c, json, n);
	}
}
