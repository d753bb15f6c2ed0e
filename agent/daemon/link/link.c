/*
 * agent/daemon/link/link.c - one connection: bytes from libuv through TLS and frames to the peer.
 */
#include "agent/daemon/link/link.h"

#include "agent/daemon/link/identity_ref.h"
#include "agent/os/log.h"
#include "crypto/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX 4096  /* of a message of ours */
#define LINGER_MS 1000 /* after our FIN: how long the peer may take to end its side */

struct link {
	struct link_facts facts;
	struct agent *agent;
	const struct link_owner *ops;
	struct peer *owner; /* NULL: none yet, or no more */
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_shutdown_t shutdown;
	unsigned open_handles;
	bool is_feeding; /* inside the TLS engine: output waits for its return */
	bool is_paused;  /* the peer does not read what we send: we do not read either */
	struct identity_ref *identity;
	struct tls *tls; /* of an accepted link: made at the first byte */
	struct frame_reader frames;
	struct endpoint local, remote;
	uint64_t heard_ms, born_ms, ping_id;
	size_t queued;
};

struct write_req {
	uv_write_t req;
	struct link *link;
	size_t n;
	uint8_t data[];
};

static void link_lost(struct link *l);
static void greet(struct link *l);
static void resume_reading(struct link *l);

/* ---- states, allocation ------------------------------------------------------------------ */

/* The only assignment of l->facts.state. */
static void set_state(struct link *l, enum link_state state)
{
	static const char *const words[] = {"connecting", "handshake", "greeting", "up", "closing"};
	char who[ENDPOINT_TEXT];

	if (l->facts.state != state && log_wants(LOG_DEBUG)) {
		endpoint_put(who, &l->remote);
		log_line(LOG_DEBUG, "link %s (%s): %s -> %s", who,
			 l->facts.is_dialled ? "dialled" : "accepted", words[l->facts.state],
			 words[state]);
	}
	l->facts.state = state;
}

static void detach(struct link *l)
{
	struct peer *owner = l->owner;

	l->owner = NULL;
	if (owner != NULL)
		l->ops->gone(owner, l);
}

static void on_closed(uv_handle_t *h)
{
	struct link *l = h->data;

	if (--l->open_handles > 0)
		return;
	tls_free(l->tls);
	frame_done(&l->frames);
	identity_ref_drop(l->identity);
	wipe(l, sizeof *l);
	free(l);
}

static void close_handles(struct link *l)
{
	if (!uv_is_closing((uv_handle_t *)&l->tcp))
		uv_close((uv_handle_t *)&l->tcp, on_closed);
	if (!uv_is_closing((uv_handle_t *)&l->timer))
		uv_close((uv_handle_t *)&l->timer, on_closed);
}

static struct link *link_new(struct agent *a, const struct link_owner *ops)
{
	struct link *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	l->agent = a;
	l->ops = ops;
	l->identity = identity_ref_take(a->identity);
	l->facts.own_cert = identity_facts(l->identity->id);
	l->born_ms = l->heard_ms = loop_now_ms();
	uv_tcp_init(&a->loop, &l->tcp);
	uv_timer_init(&a->loop, &l->timer);
	l->tcp.data = l;
	l->timer.data = l;
	l->connect.data = l;
	l->shutdown.data = l;
	l->open_handles = 2;
	return l;
}

/* ---- writing --------------------------------------------------------------------------- */

static void on_written(uv_write_t *req, int status)
{
	struct write_req *w = (struct write_req *)req->data;
	struct link *l = w->link;

	l->queued -= w->n;
	if (status < 0 && status != UV_ECANCELED && l->facts.state != LINK_CLOSING) {
		err_set(&l->facts.why, ERR_DOWN, "the link broke: %s", uv_strerror(status));
		link_lost(l);
	}
	if (status == 0)
		resume_reading(l);
	free(w);
}

static int write_rest(struct link *l, const uint8_t *data, size_t n)
{
	struct write_req *w;
	uv_buf_t buf;

	if (l->queued + n > LINK_QUEUE_MAX)
		return -1;
	w = malloc(sizeof *w + n);
	if (w == NULL)
		return -1;
	w->link = l;
	w->n = n;
	w->req.data = w;
	memcpy(w->data, data, n);
	buf = uv_buf_init((char *)w->data, (unsigned)n);
	if (uv_write(&w->req, (uv_stream_t *)&l->tcp, &buf, 1, on_written) != 0) {
		free(w);
		return -1;
	}
	l->queued += n;
	return 0;
}

/* Hands what the engine made to the socket. False: the link cannot take it. */
static bool flush(struct link *l)
{
	const uint8_t *out;
	size_t n = 0;

	if (l->tls == NULL || l->is_feeding)
		return true;
	out = tls_output(l->tls, &n);
	if (n == 0)
		return true;
	if (l->queued == 0) {
		uv_buf_t buf = uv_buf_init((char *)(uintptr_t)out, (unsigned)n);
		int done = uv_try_write((uv_stream_t *)&l->tcp, &buf, 1);

		if (done > 0) {
			tls_output_done(l->tls, (size_t)done);
			out = tls_output(l->tls, &n);
		}
	}
	if (n > 0) {
		if (write_rest(l, out, n) < 0)
			return false;
		tls_output_done(l->tls, n);
	}
	return true;
}

bool link_send_body(struct link *l, const char *body, size_t len)
{
	uint8_t frame[FRAME_HEAD + BODY_MAX]; /* one record a message */
	bool ok;

	if ((l->facts.state != LINK_GREETING && l->facts.state != LINK_UP) || len > BODY_MAX)
		return false;
	frame_put_head(frame, (uint32_t)len);
	memcpy(frame + FRAME_HEAD, body, len);
	ok = tls_send(l->tls, frame, FRAME_HEAD + len) && flush(l);
	wipe(frame, FRAME_HEAD + len);
	return ok;
}

bool link_send(struct link *l, const struct msg *m)
{
	char body[BODY_MAX];
	size_t len = msg_encode(m, body, sizeof body);
	bool ok = len > 0 && link_send_body(l, body, len);

	wipe(body, sizeof body);
	return ok;
}

static void send_end(struct link *l, enum fault fault, const char *text)
{
	struct msg m = {.type = MSG_BYE};

	if (fault == FAULT_MALFORMED || fault == FAULT_PROTOCOL || fault == FAULT_POLICY ||
	    fault == FAULT_ADDRESS || fault == FAULT_PPK || fault == FAULT_VERSION) {
		m.type = MSG_ERROR;
		m.u.error.reason = (int)fault;
		text_escape(m.u.error.text, sizeof m.u.error.text, text, strlen(text));
	} else {
		m.u.bye.reason = (int)fault;
	}
	link_send(l, &m);
}

/* ---- closing --------------------------------------------------------------------------- */

static void on_linger(uv_timer_t *t)
{
	close_handles(t->data);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	struct link *l = req->data;

	if (status < 0)
		close_handles(l);
}

void link_close(struct link *l, enum fault fault)
{
	bool connected = l->facts.state != LINK_CONNECTING;

	if (l->facts.state == LINK_CLOSING)
		return;
	if (fault != FAULT_NONE)
		send_end(l, fault,
			 l->facts.why.cause[0] != '\0' ? l->facts.why.cause : fault_text(fault));
	if (l->tls != NULL && tls_is_open(l->tls))
		tls_close(l->tls);
	l->is_feeding = false; /* after the FIN nothing can be sent */
	if (connected)
		flush(l);
	detach(l);
	set_state(l, LINK_CLOSING);
	secret_wipe(&l->facts.exporter);
	if (!connected || uv_shutdown(&l->shutdown, (uv_stream_t *)&l->tcp, on_shutdown) != 0) {
		close_handles(l);
		return;
	}
	/* Our FIN follows what is queued; then wait for the peer's, since data that arrives at a
	 * closed socket would be answered by a reset, which destroys what we sent. */
	uv_timer_start(&l->timer, on_linger, LINGER_MS, 0);
}

/* The link ends for a reason of its own, l->facts.why; the fault is what the peer is told. */
static void link_refuse(struct link *l, enum fault fault)
{
	if (l->facts.state == LINK_CLOSING)
		return;
	if (l->owner != NULL)
		l->ops->lost(l->owner, l);
	link_close(l, fault);
}

static void link_lost(struct link *l)
{
	link_refuse(l, FAULT_NONE);
}

void link_abort(struct link *l, enum fault fault, const struct err *why)
{
	l->facts.why = *why;
	link_refuse(l, fault);
}

/* ---- frames ---------------------------------------------------------------------------- */

static void on_hello(struct link *l, const struct msg_hello *h)
{
	if (l->facts.state != LINK_GREETING) {
		err_set(&l->facts.why, ERR_REFUSED, "a second hello");
		link_refuse(l, FAULT_PROTOCOL);
		return;
	}
	l->ops->hello(l->owner, l, h);
}

static void on_message(struct link *l, const struct msg *m, const char *body, size_t len)
{
	struct msg pong = {.type = MSG_PONG};

	switch (m->type) {
	case MSG_HELLO:
		on_hello(l, &m->u.hello);
		return;
	case MSG_BYE:
		l->facts.bye = (enum fault)m->u.bye.reason;
		err_set(&l->facts.why,
			fault_class(l->facts.bye) == ERR_NONE ? ERR_DOWN
							      : fault_class(l->facts.bye),
			"the peer closed the link: %s", fault_text(l->facts.bye));
		link_lost(l);
		return;
	case MSG_ERROR:
		l->facts.bye = (enum fault)m->u.error.reason;
		err_set(&l->facts.why,
			fault_class(l->facts.bye) == ERR_NONE ? ERR_REFUSED
							      : fault_class(l->facts.bye),
			"the peer refused: %s (%s)", fault_text(l->facts.bye), m->u.error.text);
		link_lost(l);
		return;
	default:
		break;
	}
	if (l->facts.state != LINK_UP) {
		err_set(&l->facts.why, ERR_REFUSED, "%s before hello", msg_name(m->type));
		link_refuse(l, FAULT_PROTOCOL);
		return;
	}
	switch (m->type) {
	case MSG_PING:
		pong.u.pong.id = m->u.ping.id;
		link_send(l, &pong);
		return;
	case MSG_PONG:
		return; /* heard_ms is set already */
	default:
		l->ops->message(l->owner, l, m, body, len);
	}
}

static void on_frame(struct link *l, const char *body, size_t len)
{
	struct msg m;

	if (msg_decode(&m, body, len, &l->facts.why) < 0)
		link_refuse(l, FAULT_MALFORMED);
	else
		on_message(l, &m, body, len);
	wipe(&m, sizeof m);
}

/* Sink of the TLS engine. */
static bool on_plain(void *arg, const uint8_t *plain, size_t n)
{
	struct link *l = arg;

	if (l->facts.state == LINK_HANDSHAKE && tls_is_open(l->tls))
		greet(l);
	while (n > 0 && (l->facts.state == LINK_GREETING || l->facts.state == LINK_UP)) {
		const char *body;
		size_t took = 0, len;

		if (frame_feed(&l->frames, plain, n, &took, &l->facts.why) < 0) {
			link_refuse(l, FAULT_MALFORMED);
			break;
		}
		plain += took;
		n -= took;
		body = frame_body(&l->frames, &len);
		if (body == NULL)
			continue;
		on_frame(l, body, len);
		frame_done(&l->frames);
	}
	return l->facts.state == LINK_GREETING || l->facts.state == LINK_UP;
}

/* ---- handshake ------------------------------------------------------------------------- */

static enum cert_fault judge(void *arg, const struct cert_facts *leaf, enum cert_fault chain,
			     struct cert_reasons *why)
{
	const struct link *l = arg;

	return l->owner == NULL ? CERT_WRONG_PEER : l->ops->judge(l->owner, leaf, chain, why);
}

static const char *cert_hint(enum cert_fault f)
{
	switch (f) {
	case CERT_WRONG_PIN:
		return "if that host was re-installed, put its new pin (sapair id) into the config "
		       "here";
	case CERT_WRONG_PEER:
		return "compare the names and addresses in its certificate (sapair id show there) "
		       "with the peer's config here";
	case CERT_EXPIRED:
		return "renew the peer's certificate, and check both clocks";
	case CERT_NOT_YET_VALID:
		return "check the clocks of both hosts";
	case CERT_DENIED:
		return "if that key may be used after all, remove it from the file of \"deny\"";
	case CERT_MISSING:
		return "give the agent there a certificate: sapair id new, or sapair ca issue";
	case CERT_WRONG_PURPOSE:
	case CERT_WEAK:
	case CERT_UNREADABLE:
		return "the host there needs another certificate; a pin does not help";
	case CERT_LAB:
		return "use another identity there, or set allow_lab here";
	default:
		return "check that both hosts trust the same CA, or set each other's pins";
	}
}

/* The peer's refusal carries no reason: our own judgement often has it. */
static void say_refused(const struct link *l, const char *who, struct err *e)
{
	char text[ERR_CAUSE];
	struct cert_reasons found;
	const char *alert = l->tls == NULL ? NULL : tls_alert(l->tls);
	bool judged = identity_judge(l->identity->id, l->facts.is_dialled ? TLS_CLIENT : TLS_SERVER,
				     NULL, &found);

	if (judged && found.n > 0)
		cert_reasons_put(text, sizeof text, &found);
	else
		cert_names_put(text, sizeof text, l->facts.own_cert);
	err_set(e, ERR_AUTH, "%s probably refused our certificate%s%s%s: %s%s", who,
		alert != NULL ? " (" : "", alert != NULL ? alert : "", alert != NULL ? ")" : "",
		judged && found.n > 0 ? "" : "it has ", text);
	err_hint(e, "the log of the agent there names the failed check");
}

static void say_refusal(const struct link *l, const char *who, struct err *e)
{
	const struct cert_facts *facts = tls_peer(l->tls);
	const struct cert_reasons *reasons = tls_cert_reasons(l->tls);
	enum cert_fault fault = tls_cert_fault(l->tls);
	char text[ERR_CAUSE], got[PIN_TEXT + 1] = "no key";

	if (facts != NULL)
		pin_put(got, facts->pin);
	if (reasons != NULL && reasons->n > 0)
		cert_reasons_put(text, sizeof text, reasons);
	else
		snprintf(text, sizeof text, "%s", cert_fault_text(fault));
	err_set(e, ERR_AUTH, "we refuse the certificate of %s (%s): %s", who, got, text);
	err_hint(e, cert_hint(fault));
}

static void tls_failed(struct link *l, enum tls_fault f)
{
	struct err *e = &l->facts.why;
	char who[ENDPOINT_TEXT];

	endpoint_put(who, &l->remote);
	switch (f) {
	case TLS_CERT:
		say_refusal(l, who, e);
		break;
	case TLS_REFUSED:
		if (!l->facts.is_dialled && l->owner != NULL && l->ops->has_other(l->owner)) {
			err_set(e, ERR_DOWN, "%s keeps another link", who);
			break;
		}
		say_refused(l, who, e);
		break;
	case TLS_VERSION:
	case TLS_NO_ALPN:
	case TLS_NO_SUITE:
		err_set(e, ERR_REFUSED, "%s: %s", who, tls_fault_text(f));
		err_hint(e, "is a sapair agent listening on that port?");
		break;
	default:
		err_set(e, ERR_DOWN, "%s: %s", who, tls_fault_text(f));
	}
	link_lost(l);
}

static void on_timer(uv_timer_t *t);

static void arm(struct link *l, uint64_t ms)
{
	uv_timer_start(&l->timer, on_timer, ms, 0);
}

static void greet(struct link *l)
{
	struct msg m = {.type = MSG_HELLO};

	set_state(l, LINK_GREETING);
	if (l->owner == NULL || !tls_export(l->tls, &l->facts.exporter)) {
		err_set(&l->facts.why, ERR_BUG, "the TLS engine has no exporter value");
		link_lost(l);
		return;
	}
	l->ops->fill_hello(l->owner, l, &m.u.hello);
	l->facts.sent_epoch = m.u.hello.epoch;
	l->facts.sent_last = m.u.hello.last;
	if (!link_send(l, &m)) {
		err_set(&l->facts.why, ERR_DOWN, "cannot send hello on the link");
		link_lost(l);
	}
}

/* ---- reading --------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *h, size_t wish, uv_buf_t *buf)
{
	struct link *l = h->data;

	(void)wish;
	*buf = uv_buf_init(l->agent->read_room, sizeof l->agent->read_room);
}

static void take(struct link *l, const uint8_t *data, size_t n)
{
	enum tls_fault f;

	if (l->tls == NULL) { /* allocate the TLS state on the first byte */
		l->tls = tls_new(l->identity->id, TLS_SERVER, judge, l);
		if (l->tls == NULL) {
			err_set(&l->facts.why, ERR_OS, "no memory for a TLS session");
			link_lost(l);
			return;
		}
	}
	l->is_feeding = true;
	f = tls_feed(l->tls, data, n, on_plain, l);
	if (f == TLS_OK && l->facts.state == LINK_HANDSHAKE && tls_is_open(l->tls))
		greet(l);
	l->is_feeding = false;
	if (!flush(l) && l->facts.state != LINK_CLOSING) {
		err_set(&l->facts.why, ERR_DOWN, "the peer does not read what it asked for");
		link_lost(l);
	}
	if (l->facts.state == LINK_CLOSING)
		return;
	if (f != TLS_OK)
		tls_failed(l, f);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf);

/* What waits to be sent is answers to what was read: a peer that does not read gets no more of them. A
 * link that stays so is silent to us and ends after LINK_DEAD_MS. */
static void pause_reading(struct link *l)
{
	if (l->is_paused || l->facts.state == LINK_CLOSING || l->queued <= LINK_QUEUE_SOFT)
		return;
	uv_read_stop((uv_stream_t *)&l->tcp);
	l->is_paused = true;
}

static void resume_reading(struct link *l)
{
	if (!l->is_paused || l->facts.state == LINK_CLOSING || l->queued > LINK_QUEUE_SOFT)
		return;
	l->is_paused = false;
	if (uv_read_start((uv_stream_t *)&l->tcp, on_alloc, on_read) != 0) {
		err_set(&l->facts.why, ERR_OS, "cannot read from the link");
		link_lost(l);
	}
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct link *l = s->data;

	if (n == 0)
		return; /* libuv's EAGAIN */
	if (l->facts.state == LINK_CLOSING) {
		if (n < 0)
			close_handles(l);
		return;
	}
	if (n > 0) {
		l->heard_ms = loop_now_ms();
		take(l, (const uint8_t *)buf->base, (size_t)n);
		pause_reading(l);
		return;
	}
	if (l->tls != NULL &&
	    (l->facts.state == LINK_HANDSHAKE || l->facts.state == LINK_GREETING)) {
		enum tls_fault f = tls_feed_end(l->tls);

		if (f == TLS_REFUSED) {
			tls_failed(l, f);
			return;
		}
	}
	err_set(&l->facts.why, ERR_DOWN, "the link broke: %s",
		n == UV_EOF ? "closed by the peer" : uv_strerror((int)n));
	if (l->facts.state == LINK_HANDSHAKE && l->facts.is_dialled)
		err_hint(&l->facts.why, "does the config there have a peer with our address?");
	link_lost(l);
}

void link_set_up(struct link *l)
{
	set_state(l, LINK_UP);
	arm(l, LINK_PING_MS);
}

/* ---- time ------------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *t)
{
	struct link *l = t->data;
	uint64_t quiet = loop_now_ms() - l->heard_ms;
	struct msg ping = {.type = MSG_PING};
	char who[ENDPOINT_TEXT];

	endpoint_put(who, &l->remote);
	if (l->facts.state != LINK_UP) {
		err_set(&l->facts.why, ERR_TIMEOUT, "%s: %s", who,
			l->facts.state == LINK_CONNECTING ? "connection timed out"
							  : "handshake timed out");
		err_hint(&l->facts.why, l->facts.state == LINK_CONNECTING
						? "is the agent there running, and its port open?"
						: NULL);
		link_lost(l);
		return;
	}
	if (quiet >= LINK_DEAD_MS) {
		err_set(&l->facts.why, ERR_TIMEOUT, "the link was silent for %u s",
			(unsigned)(quiet / 1000));
		link_refuse(l, FAULT_QUIET);
		return;
	}
	if (loop_now_ms() - l->born_ms >= LINK_AGE_MS && l->facts.is_dialled &&
	    l->ops->is_idle(l->owner)) {
		err_set(&l->facts.why, ERR_DOWN, "replaced after a day");
		link_refuse(l, FAULT_REPLACED);
		return;
	}
	if (quiet >= LINK_PING_MS) {
		ping.u.ping.id = ++l->ping_id;
		link_send(l, &ping);
		arm(l, LINK_PING_MS);
		return;
	}
	arm(l, LINK_PING_MS - quiet);
}

/* ---- dialled and accepted links ------------------------------------------------------------------------ */

static bool both_ends(struct link *l)
{
	struct sockaddr_storage ss;
	int len = sizeof ss;

	if (uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&ss, &len) != 0)
		return false;
	l->local = os_endpoint((const struct sockaddr *)&ss);
	len = sizeof ss;
	if (uv_tcp_getpeername(&l->tcp, (struct sockaddr *)&ss, &len) != 0)
		return false;
	l->remote = os_endpoint((const struct sockaddr *)&ss);
	return l->local.addr.len != 0 && l->remote.addr.len != 0;
}

static void on_connected(uv_connect_t *req, int status)
{
	struct link *l = req->data;
	char who[ENDPOINT_TEXT];

	if (l->facts.state == LINK_CLOSING || status == UV_ECANCELED)
		return;
	endpoint_put(who, &l->remote);
	if (status < 0) {
		err_set(&l->facts.why, ERR_TIMEOUT, "cannot connect to %s: %s", who,
			uv_strerror(status));
		l->facts.why.os = (uint32_t)-status;
		err_hint(&l->facts.why, "is the agent there running, and its port open?");
		link_lost(l);
		return;
	}
	both_ends(l);
	uv_tcp_nodelay(&l->tcp, 1);
	set_state(l, LINK_HANDSHAKE);
	l->heard_ms = loop_now_ms();
	l->tls = tls_new(l->identity->id, TLS_CLIENT, judge, l);
	if (l->tls == NULL || uv_read_start((uv_stream_t *)&l->tcp, on_alloc, on_read) != 0 ||
	    !flush(l)) {
		err_set(&l->facts.why, ERR_OS, "no memory for a TLS session");
		link_lost(l);
		return;
	}
	arm(l, LINK_HANDSHAKE_MS);
}

int link_exempt(struct agent *a, const uv_tcp_t *tcp, bool ipv6, struct err *e)
{
	uv_os_fd_t fd;

	uv_fileno((const uv_handle_t *)tcp, &fd);
	return ipsec_exempt_socket(a->db, (intptr_t)fd, ipv6, e);
}

static int connect_from(struct link *l, const struct addr *local, struct err *e)
{
	struct sockaddr_storage src, dst;
	char from_text[ADDR_TEXT], to[ENDPOINT_TEXT];
	int rc;

	os_sockaddr(&dst, &l->remote.addr, l->remote.port);
	os_sockaddr(&src, local, 0);
	rc = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&src, 0);
	if (rc == 0 && link_exempt(l->agent, &l->tcp, l->remote.addr.len == 16, e) < 0)
		return -1;
	if (rc == 0)
		rc = uv_tcp_connect(&l->connect, &l->tcp, (const struct sockaddr *)&dst,
				    on_connected);
	if (rc == 0)
		return 0;
	addr_put(from_text, local);
	endpoint_put(to, &l->remote);
	return err_set(e, ERR_OS, "cannot connect from %s to %s: %s", from_text, to,
		       uv_strerror(rc));
}

struct link *link_dial(struct agent *a, const struct link_owner *ops, struct peer *owner,
		       const struct addr *from, const struct endpoint *to, struct err *e)
{
	struct link *l = link_new(a, ops);

	if (l == NULL) {
		err_set(e, ERR_OS, "no memory for a link");
		return NULL;
	}
	l->facts.is_dialled = true;
	l->remote = *to;
	if (connect_from(l, from, e) < 0) {
		set_state(l, LINK_CLOSING);
		close_handles(l);
		return NULL;
	}
	l->owner = owner;
	arm(l, LINK_CONNECT_MS);
	return l;
}

struct link *link_accept(struct agent *a, const struct link_owner *ops, uv_stream_t *server,
			 struct err *e)
{
	struct link *l = link_new(a, ops);
	const char *why = NULL;
	char who[ENDPOINT_TEXT];

	if (l == NULL) {
		err_set(e, ERR_OS, "no memory for a link");
		return NULL;
	}
	if (uv_accept(server, (uv_stream_t *)&l->tcp) != 0 || !both_ends(l)) {
		set_state(l, LINK_CLOSING);
		close_handles(l);
		return NULL;
	}
	l->owner = ops->find(a, &l->local.addr, &l->remote.addr, &why);
	if (l->owner == NULL) {
		endpoint_put(who, &l->remote);
		log_limited(loop_now_ms(), LOG_WARN, "connection from %s refused: %s", who, why);
		set_state(l, LINK_CLOSING);
		close_handles(l);
		return NULL;
	}
	set_state(l, LINK_HANDSHAKE);
	ops->accepted(l->owner, l);
	uv_tcp_nodelay(&l->tcp, 1);
	if (uv_read_start((uv_stream_t *)&l->tcp, on_alloc, on_read) != 0) {
		link_close(l, FAULT_NONE);
		return NULL;
	}
	arm(l, LINK_HANDSHAKE_MS);
	return l;
}

const struct link_facts *link_facts(const struct link *l)
{
	return &l->facts;
}

const struct cert_facts *link_peer_cert(const struct link *l)
{
	return tls_peer(l->tls);
}
