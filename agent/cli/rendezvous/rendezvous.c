/*
 * agent/cli/rendezvous/rendezvous.c - TLS server or client on an event loop of its own; one
 * message in each direction.
 */
#include "agent/cli/rendezvous/rendezvous.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "agent/os/os.h"
#include "crypto/tls.h"
#include "proto/wire/frame.h"

#define CONN_MS 10000 /* time limit of a connection */
#define CONNS_MAX 16
#define BODY_MAX 1024
#define ROOM 16384

struct session;

struct conn {
	struct conn *next;
	struct session *session;
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_connect_t connect;
	unsigned handles;
	bool closing;
	bool sent; /* our message */
	bool last; /* nothing follows what is queued */
	struct tls *tls;
	struct frame_reader frames;
	uint8_t peer_pin[PIN_LEN]; /* of its certificate */
};

struct session {
	struct rendezvous *m;
	bool is_inviter, over;
	int rc;
	struct err *e;
	uv_loop_t loop;
	uv_tcp_t listener;
	uv_timer_t limit;
	unsigned conns;
	struct conn *list;
	char room[ROOM];
};

static void close_conn(struct conn *c);

/* Ends the rendezvous: successfully, or with *h->e. */
static void finish(struct session *h, int rc)
{
	if (h->over)
		return;
	h->over = true;
	h->rc = rc;
	if (h->is_inviter && !uv_is_closing((uv_handle_t *)&h->listener))
		uv_close((uv_handle_t *)&h->listener, NULL);
	uv_close((uv_handle_t *)&h->limit, NULL);
	/* The connection of the peer closes after its last bytes, all others now. */
	for (struct conn *c = h->list, *next; c != NULL; c = next) {
		next = c->next;
		if (rc < 0 || !c->sent)
			close_conn(c);
	}
}

/* ---- one connection -------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;
	struct session *h = c->session;

	if (--c->handles > 0)
		return;
	h->conns--;
	for (struct conn **at = &h->list; *at != NULL; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	tls_free(c->tls);
	frame_done(&c->frames);
	free(c);
}

static void close_conn(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	uv_close((uv_handle_t *)&c->tcp, on_closed);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}

/* Ends the rendezvous with the error *h->e. */
static void fail(struct conn *c)
{
	close_conn(c);
	finish(c->session, -1);
}

struct out {
	uv_write_t req;
	struct conn *conn;
	bool last;
	size_t n;
	char data[];
};

static void on_sent(uv_write_t *req, int status)
{
	struct out *o = req->data;
	struct conn *c = o->conn;
	bool last = o->last || status < 0;

	wipe(o->data, o->n);
	free(o);
	if (last)
		close_conn(c);
}

/* Sends the output of TLS; last: then closes the connection. */
static void flush(struct conn *c, bool last)
{
	size_t n;
	const uint8_t *p = tls_output(c->tls, &n);
	struct out *o;
	uv_buf_t buf;

	if (c->closing)
		return;
	if (n == 0) {
		if (last)
			close_conn(c);
		return;
	}
	o = malloc(sizeof *o + n);
	if (o == NULL) {
		close_conn(c);
		return;
	}
	o->req.data = o;
	o->conn = c;
	o->last = last;
	o->n = n;
	memcpy(o->data, p, n);
	tls_output_done(c->tls, n);
	buf = uv_buf_init(o->data, (unsigned)n);
	if (uv_write(&o->req, (uv_stream_t *)&c->tcp, &buf, 1, on_sent) != 0) {
		free(o);
		close_conn(c);
	}
}

/* ---- messages -------------------------------------------------------------------------- */

static bool bind_to(struct conn *c, struct invite_bind *b, struct secret *exporter)
{
	struct rendezvous *m = c->session->m;
	bool is_inviter = c->session->is_inviter;

	if (!tls_export(c->tls, exporter))
		return false;
	b->secret = &m->invite->secret;
	b->exporter = exporter;
	b->inviter = is_inviter ? identity_facts(m->id)->pin : c->peer_pin;
	b->joiner = is_inviter ? c->peer_pin : identity_facts(m->id)->pin;
	return true;
}

/* Sends our message, with the proof for this TLS session. */
static int send_message(struct conn *c)
{
	const struct rendezvous *m = c->session->m;
	struct invite_msg msg = {.kind = c->session->is_inviter ? INVITE_WELCOME : INVITE_JOIN,
				 .port = m->port};
	uint8_t frame[FRAME_HEAD + BODY_MAX];
	struct invite_bind b;
	SECRET(exporter);
	size_t n = 0;

	memcpy(msg.name, m->name, sizeof msg.name);
	if (bind_to(c, &b, &exporter) && invite_prove(&msg, &b))
		n = invite_encode(&msg, (char *)frame + FRAME_HEAD, BODY_MAX);
	frame_put_head(frame, (uint32_t)n);
	c->sent = n > 0 && tls_send(c->tls, frame, FRAME_HEAD + n);
	return c->sent ? 0 : err_set(c->session->e, ERR_BUG, "no memory for a message");
}

static void note_addresses(struct conn *c)
{
	struct sockaddr_storage ss;
	int n = sizeof ss;

	if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&ss, &n) == 0)
		c->session->m->peer_addr = os_endpoint((struct sockaddr *)&ss).addr;
	n = sizeof ss;
	if (uv_tcp_getsockname(&c->tcp, (struct sockaddr *)&ss, &n) == 0)
		c->session->m->own_addr = os_endpoint((struct sockaddr *)&ss).addr;
}

/* Handles the peer's message: the joiner's proof, or the inviter's welcome. */
static void take_body(struct conn *c, const char *body, size_t len)
{
	struct session *h = c->session;
	struct rendezvous *m = h->m;
	struct invite_bind b;
	struct err ignored = {0};
	SECRET(exporter);

	if (invite_decode(&m->peer, h->is_inviter ? INVITE_JOIN : INVITE_WELCOME, body, len,
			  h->is_inviter ? &ignored : h->e) < 0) {
		if (h->is_inviter) {
			close_conn(c);
			return;
		}
		err_in(h->e, "the inviter's reply");
		fail(c);
		return;
	}
	note_addresses(c);
	if (!bind_to(c, &b, &exporter) || !invite_proven(&m->peer, &b)) {
		char from[ADDR_TEXT];

		addr_put(from, &m->peer_addr);
		err_set(h->e, ERR_AUTH, "%s did not prove that it knows the token", from);
		err_hint(h->e, h->is_inviter
				       ? "the token is void after one wrong proof; make a new "
					 "one, and send it another way"
				       : "make a new token");
		fail(c);
		return;
	}
	memcpy(m->peer_pin, c->peer_pin, PIN_LEN);
	/* Store before the welcome is sent: a peer that was welcomed must be known here. */
	if (m->keep(m, h->e) < 0 || (h->is_inviter && send_message(c) < 0)) {
		fail(c);
		return;
	}
	tls_close(c->tls);
	c->last = true; /* on_read() flushes */
	finish(h, 0);
}

static bool on_plain(void *arg, const uint8_t *plain, size_t n)
{
	struct conn *c = arg;

	while (n > 0) {
		const char *body;
		size_t took, len;

		if (frame_feed(&c->frames, plain, n, &took, NULL) < 0 || c->frames.len > BODY_MAX)
			return false;
		plain += took;
		n -= took;
		body = frame_body(&c->frames, &len);
		if (body == NULL)
			continue;
		if (c->session->over || c->closing)
			return false;
		take_body(c, body, len);
		frame_done(&c->frames);
		return n == 0;
	}
	return true;
}

/* ---- TLS ------------------------------------------------------------------------------- */

/* The inviter accepts any valid certificate, since the proof follows; the joiner only the key of
 * the token. */
static enum cert_fault judge(void *arg, const struct cert_facts *leaf, enum cert_fault chain)
{
	struct conn *c = arg;

	(void)chain;
	memcpy(c->peer_pin, leaf->pin, PIN_LEN);
	if (c->session->is_inviter || bytes_equal(leaf->pin, c->session->m->invite->pin, PIN_LEN))
		return CERT_OK;
	return CERT_WRONG_PIN;
}

static void joiner_failed(struct conn *c, enum tls_fault f)
{
	struct session *h = c->session;
	char at[ENDPOINT_TEXT];

	if (h->is_inviter || h->over)
		return;
	endpoint_put(at, &h->m->invite->at);
	if (f == TLS_CERT && tls_cert_fault(c->tls) == CERT_WRONG_PIN) {
		err_set(h->e, ERR_AUTH, "the key of %s is not that of the token", at);
		err_hint(h->e, "another host may be answering there; make a new token");
	} else if (f == TLS_CERT) {
		err_set(h->e, ERR_AUTH, "%s: %s", at, cert_fault_text(tls_cert_fault(c->tls)));
		err_hint(h->e, "check the clocks of both hosts");
	} else if (c->sent) {
		err_set(h->e, ERR_AUTH, "%s refused: it closed the connection without a welcome",
			at);
		err_hint(h->e, "see the inviter's output; make a new token");
	} else {
		err_set(h->e, ERR_REFUSED, "%s: %s", at, tls_fault_text(f));
		err_hint(h->e, "check that \"sapair invite\" is listening there");
	}
	finish(h, -1);
}

static void on_alloc(uv_handle_t *handle, size_t wish, uv_buf_t *buf)
{
	struct conn *c = handle->data;

	(void)wish;
	*buf = uv_buf_init(c->session->room, ROOM);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = s->data;
	enum tls_fault f;

	if (n == 0 || c->closing)
		return;
	f = n < 0 ? tls_feed_end(c->tls)
		  : tls_feed(c->tls, (const uint8_t *)buf->base, (size_t)n, on_plain, c);
	if (c->closing)
		return;
	if (f != TLS_OK) {
		joiner_failed(c, f);
		flush(c, true);
		return;
	}
	if (!c->session->is_inviter && !c->sent && tls_is_open(c->tls) && send_message(c) < 0) {
		fail(c);
		return;
	}
	flush(c, c->last);
}

static void on_conn_timeout(uv_timer_t *t)
{
	close_conn(t->data);
}

static struct conn *new_conn(struct session *h, enum tls_role role)
{
	struct conn *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->tls = tls_new(h->m->id, role, judge, c);
	if (c->tls == NULL) {
		free(c);
		return NULL;
	}
	c->session = h;
	c->handles = 2;
	uv_tcp_init(&h->loop, &c->tcp);
	uv_timer_init(&h->loop, &c->timer);
	c->tcp.data = c->timer.data = c->connect.data = c;
	c->next = h->list;
	h->list = c;
	h->conns++;
	return c;
}

/* ---- session --------------------------------------------------------------------------- */

static struct session *open_session(struct rendezvous *m, bool is_inviter, struct err *e)
{
	struct session *h = calloc(1, sizeof *h);

	if (h == NULL || uv_loop_init(&h->loop) != 0) {
		free(h);
		err_set(e, ERR_BUG, "no memory for an event loop");
		return NULL;
	}
	h->m = m;
	h->is_inviter = is_inviter;
	h->e = e;
	h->rc = -1;
	uv_timer_init(&h->loop, &h->limit);
	h->limit.data = h;
	return h;
}

static int run_session(struct session *h)
{
	int rc;

	uv_run(&h->loop, UV_RUN_DEFAULT);
	rc = h->rc;
	uv_loop_close(&h->loop);
	wipe(h, sizeof *h);
	free(h);
	return rc;
}

static void on_limit(uv_timer_t *t)
{
	struct session *h = t->data;
	char at[ENDPOINT_TEXT];

	endpoint_put(at, &h->m->invite->at);
	if (h->is_inviter) {
		err_set(h->e, ERR_TIMEOUT, "the token has expired, and no host has joined");
		err_hint(h->e, "make a new one; --ttl makes it valid for longer");
	} else {
		err_set(h->e, ERR_TIMEOUT, "%s did not answer in time", at);
		err_hint(
			h->e,
			"check that the inviter is still waiting, and that its firewall allows TCP there");
	}
	finish(h, -1);
}

static void on_connection(uv_stream_t *server, int status)
{
	struct session *h = server->data;
	struct conn *c;

	if (status < 0 || h->over)
		return;
	c = new_conn(h, TLS_SERVER);
	if (c == NULL)
		return;
	if (uv_accept(server, (uv_stream_t *)&c->tcp) != 0 || h->conns > CONNS_MAX ||
	    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) {
		close_conn(c);
		return;
	}
	uv_timer_start(&c->timer, on_conn_timeout, CONN_MS, 0);
}

static int start_listener(struct session *h)
{
	const struct endpoint *at = &h->m->listen;
	struct sockaddr_storage ss;
	char text[ENDPOINT_TEXT];
	int rc;

	os_sockaddr(&ss, &at->addr, at->port);
	rc = uv_tcp_bind(&h->listener, (const struct sockaddr *)&ss, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&h->listener, CONNS_MAX, on_connection);
	if (rc == 0)
		return 0;
	endpoint_put(text, at);
	err_set(h->e, rc == UV_EACCES ? ERR_PERM : ERR_OS, "cannot listen on %s: %s", text,
		uv_strerror(rc));
	return err_hint(h->e, "choose another address or port with --listen");
}

int rendezvous_invite(struct rendezvous *m, struct err *e)
{
	struct session *h = open_session(m, true, e);

	if (h == NULL)
		return -1;
	uv_tcp_init(&h->loop, &h->listener);
	h->listener.data = h;
	if (start_listener(h) < 0) {
		finish(h, -1);
	} else {
		uv_timer_start(&h->limit, on_limit, m->limit_ms, 0);
		if (m->ready != NULL)
			m->ready(m);
	}
	return run_session(h);
}

static void on_connected(uv_connect_t *req, int status)
{
	struct conn *c = req->data;
	struct session *h = c->session;
	char at[ENDPOINT_TEXT];

	if (c->closing)
		return;
	if (status < 0) {
		endpoint_put(at, &h->m->invite->at);
		err_set(h->e, ERR_TIMEOUT, "%s: %s", at, uv_strerror(status));
		err_hint(h->e,
			 "the token may have been used or expired, or a firewall blocks the port");
		fail(c);
		return;
	}
	uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
	flush(c, false);
}

int rendezvous_join(struct rendezvous *m, struct err *e)
{
	struct session *h = open_session(m, false, e);
	struct sockaddr_storage ss, own;
	struct conn *c;
	int rc = 0;

	if (h == NULL)
		return -1;
	c = new_conn(h, TLS_CLIENT);
	if (c == NULL) {
		err_set(e, ERR_BUG, "no memory for a connection");
		finish(h, -1);
		return run_session(h);
	}
	uv_timer_start(&h->limit, on_limit, m->limit_ms, 0);
	os_sockaddr(&ss, &m->invite->at.addr, m->invite->at.port);
	if (m->own_addr.len != 0) {
		os_sockaddr(&own, &m->own_addr, 0);
		rc = uv_tcp_bind(&c->tcp, (const struct sockaddr *)&own, 0);
	}
	if (rc == 0)
		rc = uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&ss,
				    on_connected);
	if (rc != 0)
		on_connected(&c->connect, rc);
	return run_session(h);
}
