/*
 * agent/daemon/control/client.c - reads lines from a control client, writes documents to it.
 */
#include "agent/daemon/control/client.h"

#include <stdlib.h>
#include <string.h>

#include "agent/daemon/control/doc.h"
#include "agent/daemon/loop.h"
#include "agent/os/log.h"

struct reply {
	uv_write_t req;
	struct control_client *client;
	size_t n;
	char data[];
};

/* ---- close ----------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *h)
{
	struct control_client *c = h->data;

	if (--c->open_handles > 0)
		return;
	free(c->dead);
	wipe(c, sizeof *c);
	free(c);
}

void control_client_close(struct control_client *c)
{
	struct control *k = c->control;

	if (c->closing)
		return;
	c->closing = true;
	if (c->request != NULL)
		k->ops->cancel(c);
	if (c->watching)
		k->n_watching--;
	for (struct control_client **at = &k->clients; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			k->n_clients--;
			break;
		}
	}
	uv_close((uv_handle_t *)&c->pipe, on_closed);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}

void control_client_end(struct control_client *c)
{
	c->ending = true;
	if (c->queued == 0)
		control_client_close(c);
}

/* ---- replies --------------------------------------------------------------------------- */

static void on_written(uv_write_t *req, int status)
{
	struct reply *r = req->data;
	struct control_client *c = r->client;

	c->queued -= r->n;
	if (status < 0 || (c->ending && c->queued == 0))
		control_client_close(c);
	wipe(r->data, r->n); /* may be a key */
	free(r);
}

static void queue_reply(struct control_client *c, const char *data, size_t n)
{
	struct reply *r = malloc(sizeof *r + n);
	uv_buf_t buf;

	if (r == NULL) {
		control_client_close(c);
		return;
	}
	r->client = c;
	r->n = n;
	r->req.data = r;
	memcpy(r->data, data, n);
	buf = uv_buf_init(r->data, (unsigned)n);
	if (uv_write(&r->req, (uv_stream_t *)&c->pipe, &buf, 1, on_written) != 0) {
		wipe(r->data, n);
		free(r);
		control_client_close(c);
		return;
	}
	c->queued += n;
}

static void send_bytes(struct control_client *c, const char *data, size_t n)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)n);

	if (c->closing)
		return;
	if (c->queued + n > CONTROL_QUEUE_MAX) {
		control_client_close(c);
		return;
	}
	if (c->queued == 0) {
		int done = uv_try_write((uv_stream_t *)&c->pipe, &buf, 1);

		if (done > 0) {
			data += done;
			n -= (size_t)done;
		}
	}
	if (n > 0)
		queue_reply(c, data, n);
}

void control_reply(struct control_client *c, char *json, size_t n)
{
	if (n == 0)
		return;
	json[n] = '\n';
	send_bytes(c, json, n + 1);
	json[n] = '\0';
}

void control_reply_error(struct control_client *c, const char *peer, const struct err *e)
{
	char doc[DOC_MAX];

	control_reply(c, doc, doc_error(doc, sizeof doc, peer, e));
}

void control_reply_end(struct control_client *c, int exit_status)
{
	char doc[DOC_END_MAX];

	control_reply(c, doc, doc_end(doc, sizeof doc, exit_status));
}

void control_refuse(struct control_client *c, const char *peer, const struct err *e)
{
	control_reply_error(c, peer, e);
	control_reply_end(c, err_exit_status(e->code));
}

void control_reply_keys(struct control_client *c, const struct peer *p, const struct pair_view *v)
{
	char doc[DOC_MAX];

	for (int is_in = 0; is_in < 2; is_in++)
		control_reply(c, doc,
			      doc_key(doc, sizeof doc, c->control->agent, p, v, is_in != 0));
	wipe(doc, sizeof doc);
}

/* ---- lines ----------------------------------------------------------------------------- */

void control_client_watch(struct control_client *c)
{
	c->watching = true;
	c->control->n_watching++;
}

static void refuse_long_line(struct control_client *c)
{
	struct err e = {0};

	err_set(&e, ERR_USAGE, "a request of more than %d bytes", CTL_LINE_MAX);
	control_refuse(c, NULL, &e);
	control_client_end(c);
}

void control_client_read_lines(struct control_client *c)
{
	if (c->reading)
		return;
	c->reading = true;
	while (!c->closing && !c->ending && c->request == NULL && !c->watching) {
		char *nl = memchr(c->line, '\n', c->have);
		size_t n;
		char line[CTL_LINE_MAX];

		if (nl == NULL) {
			if (c->have == sizeof c->line)
				refuse_long_line(c);
			break;
		}
		n = (size_t)(nl - c->line);
		memcpy(line, c->line, n);
		line[n] = '\0';
		c->have -= n + 1;
		memmove(c->line, nl + 1, c->have);
		c->control->ops->line(c, line, n);
	}
	c->reading = false;
}

static void on_alloc(uv_handle_t *h, size_t wish, uv_buf_t *buf)
{
	struct control_client *c = h->data;

	(void)wish;
	*buf = uv_buf_init(c->line + c->have, (unsigned)(sizeof c->line - c->have));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct control_client *c = s->data;

	(void)buf;
	if (n < 0) { /* UV_ENOBUFS: the buffer is full while a request waits */
		control_client_close(c);
		return;
	}
	c->have += (size_t)n;
	control_client_read_lines(c);
}

/* ---- accept ---------------------------------------------------------------------------- */

void control_client_accept(struct control *k)
{
	struct control_client *c = calloc(1, sizeof *c);
	unsigned uid = 0;
	int rc;

	if (c == NULL)
		return;
	c->control = k;
	c->pipe.data = c->timer.data = c;
	uv_pipe_init(&k->agent->loop.uv, &c->pipe, 0);
	uv_timer_init(&k->agent->loop.uv, &c->timer);
	c->open_handles = 2;
	c->deferred.run = k->ops->resume;
	c->deferred.arg = c;
	c->next = k->clients;
	k->clients = c;
	k->n_clients++;
	rc = os_control_accept(k->socket, &c->pipe, &uid);
	if (rc == UV_EACCES || k->n_clients > CONTROL_CLIENTS_MAX)
		log_limited(loop_now_ms(), LOG_WARN, "control: refused a client of user %u", uid);
	if (rc != 0 || k->n_clients > CONTROL_CLIENTS_MAX ||
	    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0)
		control_client_close(c);
}
