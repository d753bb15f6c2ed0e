/*
 * agent/daemon/control/server.c - the control socket: one request at a time from each client,
 * answered
 * by documents, closed by "sapair.end/1".
 */
#include "agent/daemon/control/server.h"

#include "agent/daemon/control/client.h"
#include "agent/daemon/control/doc.h"
#include "agent/os/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLD_ROOM 8192 /* answers for a client whose next request is there already */

struct reply_req {
	uv_write_t req;
	struct caller *client;
	size_t n;
	char data[];
};

static void drop_held(struct caller *c)
{
	if (c->held != NULL)
		wipe(c->held, c->n_held); /* it may have been a key */
	free(c->held);
	c->held = NULL;
	c->n_held = 0;
}

/* ---- clients --------------------------------------------------------------------------- */

static void on_caller_closed(uv_handle_t *h)
{
	struct caller *c = h->data;

	if (--c->open_handles > 0)
		return;
	free(c->dead);
	wipe(c, sizeof *c);
	free(c);
}

void caller_close(struct caller *c)
{
	struct control *k = c->control;

	if (c->closing)
		return;
	c->closing = true;
	drop_held(c);
	if (c->job != NULL)
		job_free(c->job);
	if (c->watching)
		k->n_watching--;
	for (struct caller **at = &k->clients; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			k->n_clients--;
			break;
		}
	}
	uv_close((uv_handle_t *)&c->pipe, on_caller_closed);
	uv_close((uv_handle_t *)&c->timer, on_caller_closed);
}

static void on_sent(uv_write_t *req, int status)
{
	struct reply_req *r = (struct reply_req *)req->data;
	struct caller *c = r->client;

	c->queued -= r->n;
	if (!c->closing && (status < 0 || (c->ending && c->queued == 0)))
		caller_close(c);
	wipe(r->data, r->n); /* it may have been a key */
	free(r);
}

/* Whole lines. A client that does not read loses the connection. */
static void send_bytes(struct caller *c, const char *json, size_t n)
{
	struct reply_req *r;
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)json, (unsigned)n);

	if (c->closing)
		return;
	if (c->queued + n > CONTROL_QUEUE_MAX) {
		caller_close(c);
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
		caller_close(c);
		return;
	}
	r->client = c;
	r->n = n;
	r->req.data = r;
	memcpy(r->data, json, n);
	buf = uv_buf_init(r->data, (unsigned)r->n);
	if (uv_write(&r->req, (uv_stream_t *)&c->pipe, &buf, 1, on_sent) != 0) {
		free(r);
		caller_close(c);
		return;
	}
	c->queued += r->n;
}

static void send_held(struct caller *c)
{
	if (c->held != NULL)
		send_bytes(c, c->held, c->n_held);
	drop_held(c);
}

static void on_turn(uv_prepare_t *h)
{
	struct control *k = h->data;
	struct caller *next;

	for (struct caller *c = k->clients; c != NULL; c = next) {
		next = c->next;
		send_held(c);
	}
	uv_prepare_stop(h);
}

static bool hold(struct caller *c, const char *json, size_t n)
{
	if (c->n_held + n > HOLD_ROOM)
		return false;
	if (c->held == NULL)
		c->held = malloc(HOLD_ROOM);
	if (c->held == NULL)
		return false;
	memcpy(c->held + c->n_held, json, n);
	c->n_held += n;
	uv_prepare_start(&c->control->turn, on_turn);
	return true;
}

/* Answers to requests that came together go together, at the end of the turn at the latest: each is a
 * system call here, and wakes the client. */
static void reply_bytes(struct caller *c, const char *json, size_t n)
{
	const bool more = !c->ending && memchr(c->line, '\n', c->have) != NULL;
	bool is_held;

	if (c->closing || n == 0)
		return;
	is_held = (more || c->held != NULL) && hold(c, json, n);
	if (is_held && more)
		return;
	send_held(c);
	if (!is_held)
		send_bytes(c, json, n);
}

/* One document and its newline. */
void caller_reply(struct caller *c, char *json, size_t n)
{
	if (n == 0)
		return;
	json[n] = '\n'; /* in the place of its NUL */
	reply_bytes(c, json, n + 1);
	json[n] = '\0';
}

void caller_reply_error(struct caller *c, const char *peer, const struct err *e)
{
	char doc[DOC_MAX];

	caller_reply(c, doc, doc_error(doc, sizeof doc, peer, e));
}

void caller_reply_end(struct caller *c, int exit_status)
{
	char doc[END_MAX];

	caller_reply(c, doc, doc_end(doc, sizeof doc, exit_status));
}

void caller_refuse(struct caller *c, const char *peer, const struct err *e)
{
	caller_reply_error(c, peer, e);
	caller_reply_end(c, err_exit_status(e->code));
}

/* ---- reading --------------------------------------------------------------------------- */

static void too_long(struct caller *c)
{
	struct err e = {0};

	err_set(&e, ERR_USAGE, "a request of more than %d bytes", CTL_LINE_MAX);
	caller_refuse(c, NULL, &e);
	c->ending = true; /* closed once this is written */
	if (c->queued == 0)
		caller_close(c);
}

void caller_serve_lines(struct caller *c)
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
		serve_request(c, line, n);
	}
}

static void on_alloc(uv_handle_t *h, size_t wish, uv_buf_t *buf)
{
	struct caller *c = h->data;

	(void)wish;
	*buf = uv_buf_init(c->line + c->have, (unsigned)(sizeof c->line - c->have));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct caller *c = s->data;

	(void)buf;
	if (n < 0) { /* UV_ENOBUFS: more requests than the buffer holds while one waits */
		send_held(c);
		caller_close(c);
		return;
	}
	c->have += (size_t)n;
	caller_serve_lines(c);
}

static void on_connection(void *arg)
{
	struct control *k = arg;
	struct caller *c;
	unsigned uid = 0;
	int rc;

	c = calloc(1, sizeof *c);
	if (c == NULL)
		return;
	c->control = k;
	c->pipe.data = c->timer.data = c;
	uv_pipe_init(&k->agent->loop.uv, &c->pipe, 0);
	uv_timer_init(&k->agent->loop.uv, &c->timer);
	c->open_handles = 2;
	c->deferred.run = job_go_on;
	c->deferred.arg = c;
	c->next = k->clients;
	k->clients = c;
	k->n_clients++;
	rc = os_control_accept(k->door, &c->pipe, &uid);
	if (rc == UV_EACCES || k->n_clients > CONTROL_CLIENTS_MAX)
		log_limited(loop_now_ms(), LOG_WARN, "control: client of user %u refused", uid);
	if (rc != 0 || k->n_clients > CONTROL_CLIENTS_MAX ||
	    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0)
		caller_close(c);
}

/* ---- open and close -------------------------------------------------------------------- */

static bool is_watched(void *control)
{
	const struct control *k = control;

	return k->n_watching > 0;
}

static void broadcast(void *control, char *json, size_t n)
{
	struct control *k = control;
	struct caller *next;

	for (struct caller *c = k->clients; c != NULL; c = next) {
		next = c->next;
		if (c->watching)
			caller_reply(c, json, n);
	}
}

static const struct event_sink sink = {.is_watched = is_watched, .broadcast = broadcast};

int control_open(struct agent *a, const struct control_host *host, struct err *e)
{
	struct control *k = calloc(1, sizeof *k);
	char path[OS_PATH_MAX];

	if (k == NULL)
		return err_set(e, ERR_OS, "no memory for the control socket");
	k->agent = a;
	k->host = host;
	if (a->cfg.control[0] != '\0')
		snprintf(path, sizeof path, "%s", a->cfg.control);
	else
		os_control_path(path);
	if (os_control_listen(&k->door, &a->loop.uv, path, on_connection, k, e) < 0) {
		free(k);
		return err_in(e, "control socket");
	}
	uv_prepare_init(&a->loop.uv, &k->turn);
	k->turn.data = k;
	a->control = k;
	a->events.sink = &sink;
	a->events.sink_arg = k;
	return 0;
}

void control_close(struct agent *a)
{
	struct control *k = a->control;
	struct caller *c, *next;

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
		send_held(c);
		if (c->queued == 0)
			caller_close(c);
	}
	uv_close((uv_handle_t *)&k->turn, NULL);
}

void control_cut(struct agent *a)
{
	while (a->control != NULL && a->control->clients != NULL)
		caller_close(a->control->clients);
}

void control_free(struct agent *a)
{
	a->events.sink = NULL;
	free(a->control);
	a->control = NULL;
}
