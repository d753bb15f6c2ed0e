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
#define LINGER_MAX 256 /* connections of all peers that wait for that; 6 of one address */
#define LINGER_MAX_PEER 6
#define MESSAGES_MAX 32  /* of one link, handled in one iteration of the loop */
#define QUEUE_FAIR 16384 /* what a link may always hold, whatever the others do */
#define SECOND_US 1000000

/* Messages of a kind that are handled at once, and in a second. The link is not read until it has
 * paid for what it sent beyond that, so that nothing is lost. Offers have a limit of their own. */
static const struct {
	uint32_t burst, per_s;
} rates[MSG_COUNT] = {
	[MSG_PING] = {256, 4000},   [MSG_PONG] = {256, 4000},         [MSG_PROBE] = {100, 500},
	[MSG_REPORT] = {100, 500},  [MSG_REKEY] = {100, 500},         [MSG_OFFER] = {100, 1000},
	[MSG_ANSWER] = {100, 1000}, [MSG_CONFIRMATION] = {100, 1000}, [MSG_DONE] = {100, 1000},
	[MSG_REJECT] = {100, 1000},
};

struct link {
	struct link_facts facts;
	struct agent *agent;
	const struct link_owner *ops;
	struct peer *owner; /* NULL: none yet, or no more */
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_shutdown_t shutdown;
	uv_timer_t turn; /* reading goes on */
	unsigned open_handles;
	bool is_feeding; /* inside the TLS engine: output waits for its return */
	bool is_waiting; /* for the turn: enough was handled for now */
	bool is_full;    /* what it had to send did not fit: it ends */
	bool has_ended;  /* the peer sends no more */
	bool is_reading;
	struct identity_ref *identity;
	struct tls *tls; /* of an accepted link: made at the first byte */
	struct frame_reader frames;
	struct endpoint local, remote;
	enum cert_fault chain; /* of the peer's certificate */
	uint64_t heard_ms, born_ms, ping_id;
	size_t queued;     /* bytes given to libuv that are not written yet */
	size_t counted;    /* bytes of this link in agent->link_bytes */
	unsigned messages; /* handled in this iteration of the loop */
	struct bucket buckets[MSG_COUNT];
	uint8_t *rest; /* plain text that waits for the turn */
	size_t n_rest;
	struct link *next_closing;
};

struct write_req {
	uv_write_t req;
	struct link *link;
	size_t n;
	uint8_t data[];
};

static void link_lost(struct link *l);
static void greet(struct link *l);
static bool start_reading(struct link *l);
static void end_if_full(struct link *l);
static void continue_reading(struct link *l);

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

static void drop_rest(struct link *l)
{
	if (l->rest != NULL)
		wipe(l->rest, l->n_rest);
	free(l->rest);
	l->rest = NULL;
	l->n_rest = 0;
}

static void on_closed(uv_handle_t *h)
{
	struct link *l = h->data;

	if (--l->open_handles > 0)
		return;
	tls_free(l->tls);
	frame_done(&l->frames);
	drop_rest(l);
	identity_ref_drop(l->identity);
	wipe(l, sizeof *l);
	free(l);
}

/* Frees the descriptor at once, the link when the loop has closed its handles. */
static void close_handles(struct link *l)
{
	if (uv_is_closing((uv_handle_t *)&l->tcp))
		return;
	for (struct link **at = &l->agent->closing; *at != NULL; at = &(*at)->next_closing) {
		if (*at == l) {
			*at = l->next_closing;
			break;
		}
	}
	l->agent->link_bytes -= l->counted;
	l->counted = 0;
	uv_close((uv_handle_t *)&l->tcp, on_closed);
	uv_close((uv_handle_t *)&l->timer, on_closed);
	uv_close((uv_handle_t *)&l->turn, on_closed);
}

/* Closed connections are counted until their descriptors are freed: beyond the limits, the oldest one
 * waits no longer for its peer's end. */
static void begin_linger(struct link *l)
{
	struct link **at = &l->agent->closing, *first = *at, *first_of_peer = NULL;
	unsigned all = 0, of_peer = 0;

	for (; *at != NULL; at = &(*at)->next_closing) {
		all++;
		if (!addr_equal(&(*at)->remote.addr, &l->remote.addr))
			continue;
		if (of_peer++ == 0)
			first_of_peer = *at;
	}
	l->next_closing = NULL;
	*at = l;
	if (of_peer >= LINGER_MAX_PEER)
		close_handles(first_of_peer);
	else if (all >= LINGER_MAX)
		close_handles(first);
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
	uv_timer_init(&a->loop, &l->turn);
	l->tcp.data = l;
	l->timer.data = l;
	l->turn.data = l;
	l->connect.data = l;
	l->shutdown.data = l;
	l->open_handles = 3;
	return l;
}

/* ---- writing --------------------------------------------------------------------------- */

/* Bytes that wait to be sent: those of the TLS engine, and those that libuv has. */
static size_t unsent(const struct link *l)
{
	size_t n = 0;

	if (l->tls != NULL)
		(void)tls_output(l->tls, &n);
	return l->queued + n;
}

/* Every buffer of the link whose size its peer can choose is in its budget, and in the agent's. */
static void count_bytes(struct link *l)
{
	size_t now = unsent(l) + l->n_rest + (l->frames.body != NULL ? l->frames.len : 0);

	if (uv_is_closing((uv_handle_t *)&l->tcp))
		return;
	l->agent->link_bytes += now - l->counted;
	l->counted = now;
	if (l->agent->link_bytes > LINK_TOTAL_MAX && now > QUEUE_FAIR)
		l->is_full = true;
}

static void on_written(uv_write_t *req, int status)
{
	struct write_req *w = (struct write_req *)req->data;
	struct link *l = w->link;

	l->queued -= w->n;
	if (status < 0 && status != UV_ECANCELED && l->facts.state != LINK_CLOSING) {
		err_set(&l->facts.why, ERR_DOWN, "the link broke: %s", uv_strerror(status));
		link_lost(l);
	}
	count_bytes(l);
	if (status == 0)
		continue_reading(l);
	free(w);
}

static int write_rest(struct link *l, const uint8_t *data, size_t n)
{
	struct write_req *w;
	uv_buf_t buf;

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

static void on_turn(uv_timer_t *t);

/* A message could not be sent. The link ends when its callback has returned, so that no caller has to
 * look at the result. */
static void end_soon(struct link *l)
{
	l->is_full = true;
	if (!uv_is_closing((uv_handle_t *)&l->turn))
		uv_timer_start(&l->turn, on_turn, 0, 0);
}

bool link_send_body(struct link *l, const char *body, size_t len)
{
	uint8_t frame[FRAME_HEAD + BODY_MAX]; /* one record a message */
	bool ok;

	if ((l->facts.state != LINK_GREETING && l->facts.state != LINK_UP) || len > BODY_MAX)
		return false;
	if (l->is_full || unsent(l) + len > LINK_QUEUE_MAX) {
		end_soon(l);
		return false;
	}
	frame_put_head(frame, (uint32_t)len);
	memcpy(frame + FRAME_HEAD, body, len);
	ok = tls_send(l->tls, frame, FRAME_HEAD + len) && flush(l);
	wipe(frame, FRAME_HEAD + len);
	count_bytes(l);
	if (!ok || l->is_full)
		end_soon(l);
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

	if (status < 0 || l->has_ended)
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
	drop_rest(l);
	uv_timer_stop(&l->turn);
	if (l->has_ended && l->queued == 0) { /* also after a reset */
		close_handles(l);
		return;
	}
	if (!connected || uv_shutdown(&l->shutdown, (uv_stream_t *)&l->tcp, on_shutdown) != 0) {
		close_handles(l);
		return;
	}
	/* Our FIN follows what is queued; then wait for the peer's, since data that arrives at a
	 * closed socket would be answered by a reset, which destroys what we sent. */
	if (!l->has_ended && !l->is_reading)
		start_reading(l);
	uv_timer_start(&l->timer, on_linger, LINGER_MS, 0);
	begin_linger(l);
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

/* The link is not read until then; 0: the next iteration of the loop. */
static void wait_turn(struct link *l, uint64_t ms)
{
	if (l->is_waiting)
		return;
	l->is_waiting = true;
	uv_timer_start(&l->turn, on_turn, ms, 0);
}

/* One more message was handled: may the next one follow at once? */
static void pace(struct link *l, enum msg_type kind)
{
	uint64_t us = 0;

	if (rates[kind].per_s != 0)
		us = bucket_take(&l->buckets[kind], rates[kind].burst,
				 SECOND_US / rates[kind].per_s);
	if (us == 0 && ++l->messages < MESSAGES_MAX)
		return;
	wait_turn(l, (us + 999) / 1000);
}

static bool is_talking(const struct link *l)
{
	return l->facts.state == LINK_GREETING || l->facts.state == LINK_UP;
}

static void on_frame(struct link *l, const char *body, size_t len)
{
	struct msg m;

	if (msg_decode(&m, body, len, &l->facts.why) < 0) {
		link_refuse(l, FAULT_MALFORMED);
	} else {
		on_message(l, &m, body, len);
		if (is_talking(l))
			pace(l, m.type);
	}
	wipe(&m, sizeof m);
}

/* Appends to what is kept. */
static bool keep_rest(struct link *l, const uint8_t *plain, size_t n)
{
	uint8_t *all = malloc(l->n_rest + n);

	if (all == NULL)
		return false;
	if (l->n_rest > 0)
		memcpy(all, l->rest, l->n_rest);
	memcpy(all + l->n_rest, plain, n);
	n += l->n_rest;
	drop_rest(l);
	l->rest = all;
	l->n_rest = n;
	return true;
}

static void take_plain(struct link *l, const uint8_t *plain, size_t n)
{
	while (n > 0 && is_talking(l) && !l->is_waiting) {
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
	if (n > 0 && is_talking(l) && !keep_rest(l, plain, n)) {
		err_set(&l->facts.why, ERR_OS, "no memory for what the peer sent");
		link_lost(l);
	}
}

/* Sink of the TLS engine. */
static bool on_plain(void *arg, const uint8_t *plain, size_t n)
{
	struct link *l = arg;

	if (l->facts.state == LINK_HANDSHAKE && tls_is_open(l->tls))
		greet(l);
	take_plain(l, plain, n);
	return is_talking(l);
}

/* ---- handshake ------------------------------------------------------------------------- */

static enum cert_fault judge(void *arg, const struct cert_facts *leaf, enum cert_fault chain,
			     struct cert_reasons *why)
{
	struct link *l = arg;

	l->chain = chain;
	return l->owner == NULL ? CERT_WRONG_PEER : l->ops->judge(l->owner, leaf, chain, why);
}

enum cert_fault link_judge_again(struct link *l)
{
	const struct identity *now = l->agent->identity->id;
	struct cert_reasons why = {0};

	return l->ops->judge(l->owner, tls_peer(l->tls),
			     identity_same_ca(l->identity->id, now) ? l->chain
								    : tls_chain_again(l->tls, now),
			     &why);
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
		l->facts.has_refused = true;
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
	l->messages = 0;
}

/* What was handled may have made output, and may have ended the link. */
static void end_feeding(struct link *l, enum tls_fault f)
{
	l->is_feeding = false;
	if (l->facts.state == LINK_HANDSHAKE && !l->facts.has_answered && unsent(l) > 0) {
		l->facts.has_answered = true;
		if (!l->facts.is_dialled && l->owner != NULL)
			l->ops->answered(l->owner, l);
	}
	if (!flush(l))
		l->is_full = true;
	count_bytes(l);
	end_if_full(l);
	if (f != TLS_OK && l->facts.state != LINK_CLOSING)
		tls_failed(l, f);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf);

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
	end_feeding(l, f);
}

static void end_if_full(struct link *l)
{
	if (!l->is_full || l->facts.state == LINK_CLOSING)
		return;
	err_set(&l->facts.why, ERR_DOWN, "the peer does not read what it asked for");
	link_lost(l);
}

static bool start_reading(struct link *l)
{
	l->is_reading = uv_read_start((uv_stream_t *)&l->tcp, on_alloc, on_read) == 0;
	return l->is_reading;
}

/* Stops while enough was handled for now, and while the answers are not sent: a peer that does not read
 * gets no more of them. Such a link is silent to us and ends after LINK_DEAD_MS. */
static void pause_reading(struct link *l)
{
	if (l->facts.state == LINK_CLOSING || !l->is_reading ||
	    (!l->is_waiting && unsent(l) <= LINK_QUEUE_SOFT))
		return;
	uv_read_stop((uv_stream_t *)&l->tcp);
	l->is_reading = false;
}

static void continue_reading(struct link *l)
{
	uint8_t *plain = l->rest;
	size_t n = l->n_rest;

	if (l->is_reading || l->is_waiting || l->facts.state < LINK_HANDSHAKE ||
	    l->facts.state == LINK_CLOSING || unsent(l) > LINK_QUEUE_SOFT)
		return;
	l->rest = NULL;
	l->n_rest = 0;
	l->messages = 0;
	l->is_feeding = true;
	take_plain(l, plain, n);
	if (plain != NULL)
		wipe(plain, n);
	free(plain);
	end_feeding(l, TLS_OK);
	if (l->facts.state == LINK_CLOSING || l->is_waiting || unsent(l) > LINK_QUEUE_SOFT)
		return;
	if (!start_reading(l)) {
		err_set(&l->facts.why, ERR_OS, "cannot read from the link");
		link_lost(l);
	}
}

static void on_turn(uv_timer_t *t)
{
	struct link *l = t->data;

	l->is_waiting = false;
	end_if_full(l);
	continue_reading(l);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct link *l = s->data;

	if (n == 0)
		return; /* libuv's EAGAIN */
	l->has_ended = n < 0;
	if (l->facts.state == LINK_CLOSING) {
		if (l->has_ended)
			close_handles(l);
		return;
	}
	if (n > 0) {
		l->heard_ms = loop_now_ms();
		take(l, (const uint8_t *)buf->base, (size_t)n);
		if ((size_t)n == buf->len && l->facts.state != LINK_CLOSING)
			wait_turn(l, 0);
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
	uint64_t quiet = loop_now_ms() - l->heard_ms, age = loop_now_ms() - l->born_ms;
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
	if (age >= LINK_AGE_MAX_MS ||
	    (age >= LINK_AGE_MS && l->facts.is_dialled && l->ops->is_idle(l->owner))) {
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
	if (l->tls == NULL || !start_reading(l) || !flush(l)) {
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
	if (!start_reading(l)) {
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
