/*
 * agent/daemon/control/client.c - reads lines from a control client, writes documents to it.
 */
#include "agent/daemon/control/client.h"

#include <stdlib.h>
#include <string.h>

#include "agent/daemon/loop.h"
#include "agent/os/log.h"

struct reply {
	uv_write_t req;
	struct control_client *client;
	size_t size; /* of data */
	size_t n;    /* bytes to be written */
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

static void free_reply(struct reply *r)
{
	wipe(r, sizeof *r + r->size); /* may be a key */
	free(r);
}

static void on_written(uv_write_t *req, int status)
{
	struct reply *r = req->data;
	struct control_client *c = r->client;

	c->queued -= r->n;
	if (status < 0 || (c->ending && c->queued == 0))
		control_client_close(c);
	free_reply(r);
}

/* Takes over c->reply; its text has n bytes, and room for one more. */
static void send_reply(struct control_client *c, size_t n)
{
	struct reply *r = c->reply;
	uv_buf_t buf;
	int done = 0;

	c->reply = NULL;
	r->data[n++] = '\n';
	if (c->queued == 0 && !c->closing) {
		buf = uv_buf_init(r->data, (unsigned)n);
		done = uv_try_write((uv_stream_t *)&c->pipe, &buf, 1);
	}
	r->client = c;
	r->n = done > 0 ? n - (size_t)done : n;
	r->req.data = r;
	buf = uv_buf_init(r->data + n - r->n, (unsigned)r->n);
	c->queued += r->n;
	if (r->n > 0 && !c->closing && c->queued <= CONTROL_QUEUE_MAX &&
	    uv_write(&r->req, (uv_stream_t *)&c->pipe, &buf, 1, on_written) == 0)
		return;
	c->queued -= r->n;
	if (r->n > 0)
		control_client_close(c);
	free_reply(r);
}

static void make_room(struct control_client *c, size_t size)
{
	c->reply = malloc(sizeof *c->reply + size + 1);
	if (c->reply == NULL)
		control_client_close(c);
	else
		c->reply->size = size + 1;
}

struct json_out *control_reply_begin(struct control_client *c, size_t size, const char *schema)
{
	make_room(c, size);
	json_begin(&c->json, c->reply != NULL ? c->reply->data : c->line,
		   c->reply != NULL ? size : 0);
	json_put_open(&c->json, NULL);
	json_put_text(&c->json, "schema", schema);
	return &c->json;
}

void control_reply_send(struct control_client *c)
{
	size_t n;

	if (c->reply == NULL)
		return;
	json_put_close(&c->json);
	n = json_end(&c->json);
	if (n > 0) {
		send_reply(c, n);
		return;
	}
	free_reply(c->reply);
	c->reply = NULL;
	control_client_close(c);
}

void control_send_event(struct control_client *c, const char *json, size_t n)
{
	make_room(c, n);
	if (c->reply == NULL)
		return;
	memcpy(c->reply->data, json, n);
	send_reply(c, n);
}

void control_put_err(struct json_out *o, const struct err *e)
{
	json_put_text(o, "class", err_word(e->code));
	json_put_u64(o, "exit", (uint64_t)err_exit_status(e->code));
	json_put_text(o, "cause", e->cause);
	if (e->hint != NULL)
		json_put_text(o, "hint", e->hint);
	if (e->os != 0)
		json_put_u64(o, "os", e->os);
}

void control_reply_error(struct control_client *c, const char *peer, const struct err *e)
{
	struct json_out *o = control_reply_begin(c, DOC_MAX, "sapair.error/1");

	if (peer != NULL)
		json_put_text(o, "peer", peer);
	control_put_err(o, e);
	control_reply_send(c);
}

void control_reply_end(struct control_client *c, int exit_status)
{
	json_put_u64(control_reply_begin(c, DOC_MAX, "sapair.end/1"), "exit",
		     (uint64_t)exit_status);
	control_reply_send(c);
}

void control_refuse(struct control_client *c, const char *peer, const struct err *e)
{
	control_reply_error(c, peer, e);
	control_reply_end(c, err_exit_status(e->code));
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
	uv_pipe_init(&k->agent->loop, &c->pipe, 0);
	uv_timer_init(&k->agent->loop, &c->timer);
	c->open_handles = 2;
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
