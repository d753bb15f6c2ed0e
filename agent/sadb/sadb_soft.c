/*
 * agent/sadb/sadb_soft.c - security associations in process: ESP in UDP (RFC 3948), no privilege.
 *
 *     UDP datagram | SPI, number, IV | inner UDP header | payload | padding, ICV
 *                    `-- ESP, transport mode, of the pair's two addresses --'
 *
 * It carries datagrams of the agent's own (probes), so that a pair can be proven anywhere, and it
 * is strict about the order of calls: a mistake that a kernel might forgive is ERR_BUG here.
 *
 *     soft ──┬─ sockets: one per local address and port, shared by policies
 *            ├─ policies ── pairs (contexts): inbound SA, outbound SA; one pair is selected
 *            └─ table: SPI -> pair
 *
 * Lifetimes by time are the agent's own; here end those by bytes and packets. SAs die with the
 * process, keys are wiped.
 */
#include "agent/os/os.h"
#include "agent/sadb/sadb.h"
#include "crypto/random.h"
#include "proto/esp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define PACKET_MAX 2048
#define UDP_HEAD 8
#define NEXT_NONE 59                /* RFC 4303 section 2.6: a dummy, to be thrown away */
#define RECEIVE_BUFFER (1 << 20)    /* bytes asked of the system for a socket */
#define DRAIN_MAX 4096              /* datagrams of one turn: other work waits meanwhile */
#define SEND_QUEUE_MAX (256 * 1024) /* bytes: behind that a packet is lost, as in any router */
#define COMPARED 32                 /* newest pairs of a policy: the cost of a rekey stays flat */
#define REPORT_MS 1000              /* SADB_EV_DROPPED comes at most so often */
#define NUMBERS_SOFT 0xf0000000u    /* without ESN: time for a rekey before they are used up */

struct inbound {
	struct esp_in esp;
	uint64_t packets, bytes, replay_dropped, integrity_failed;
	bool soft_told;
	uint32_t words[]; /* of esp.replay */
};

struct outbound {
	struct esp_out esp;
	uint64_t packets, bytes;
	uint64_t order; /* of installation, for "the newest that is left" */
	bool soft_told;
};

/* One context. While it is there, its SPI is in the table and not given to another. */
struct pair {
	struct pair *next_in_bucket, *next_of_policy, *prev_of_policy;
	struct policy *policy;
	uint64_t id; /* a running number, then the SPI: so the table finds contexts, too */
	struct spi spi;
	struct inbound *in;
	struct outbound *out;
};

struct chain {
	struct pair *first;
};

struct socket_ {
	uv_udp_t udp;
	unsigned burst; /* datagrams since the socket was last empty */
	struct soft *db;
	struct socket_ *next;
	struct endpoint at;
	unsigned policies;
};

struct policy {
	struct policy *next;
	struct sa_policy *p;
	struct socket_ *socket;
	struct pair *pairs;    /* newest first */
	struct pair *selected; /* has an outbound; NULL: nothing to send on */
};

/* Events of calls into the back end wait here: nobody is called back from within a call. */
struct waiting {
	struct waiting *next;
	struct policy *policy;
	struct sadb_event ev;
};

enum drop { DROP_UNKNOWN, DROP_SOURCE, DROP_REPLAYED, DROP_INTEGRITY, DROP_SHAPE, DROPS };
static const char *const drop_texts[DROPS] = {
	[DROP_UNKNOWN] = "unknown SPI",
	[DROP_SOURCE] = "wrong sender for its SA",
	[DROP_REPLAYED] = "replayed or too old",
	[DROP_INTEGRITY] = "wrong integrity check value",
	[DROP_SHAPE] = "malformed",
};

struct soft {
	struct sadb db;
	struct sadb_env env;
	unsigned handles; /* of the loop; the last one to close frees the rest */
	bool closing;

	struct socket_ *sockets;
	struct policy *policies;
	struct chain *buckets; /* a power of two of them */
	size_t n_buckets, n_pairs;
	uint32_t reserved;  /* contexts so far */
	uint64_t installed; /* outbound SAs so far */

	struct waiting *waiting, **last_waiting;
	uv_timer_t wake;

	struct {
		unsigned n[DROPS], all;
		struct policy *policy; /* that all of them belong to; NULL: none, or several */
		struct endpoint from;  /* of the last */
		struct spi spi;
		uint64_t told_ms;
	} dropped;
	uv_timer_t report;

	uint8_t received[PACKET_MAX], sent[PACKET_MAX]; /* one packet at a time, all sockets */
};

static struct soft *of(struct sadb *db)
{
	return (struct soft *)(void *)db;
}

/* ---- events ------------------------------------------------------------------------------ */

static void raise_event(struct soft *db, const struct sadb_event *ev)
{
	db->env.on_event(db->env.arg, ev);
}

static void on_wake(uv_timer_t *t)
{
	struct soft *db = t->data;

	while (!db->closing && db->waiting != NULL) {
		struct waiting *w = db->waiting;

		db->waiting = w->next;
		if (db->waiting == NULL)
			db->last_waiting = &db->waiting;
		raise_event(db, &w->ev);
		free(w);
	}
}

static void raise_later(struct soft *db, struct pair *pair, enum sadb_event_kind kind,
			enum sadb_part part, enum rekey_reason reason, const char *text)
{
	struct waiting *w = calloc(1, sizeof *w);

	if (w == NULL)
		w = calloc(1, sizeof *w);
	if (w == NULL)
		abort(); /* a lost expiry would leave a pair that nobody renews */
	w->policy = pair->policy;
	w->ev.kind = kind;
	w->ev.owner = pair->policy->p->owner;
	w->ev.ctx.id = pair->id;
	w->ev.part = part;
	w->ev.reason = reason;
	w->ev.spi = part == SADB_INBOUND ? pair->spi : pair->out->esp.spi;
	w->ev.text = text;
	*db->last_waiting = w;
	db->last_waiting = &w->next;
	uv_timer_start(&db->wake, on_wake, 0, 0);
}

/* What was removed is not spoken of any more. part 0: all of the policy. */
static void forget_events(struct soft *db, const struct policy *pol, uint64_t id, unsigned parts)
{
	struct waiting **at = &db->waiting;

	while (*at != NULL) {
		struct waiting *w = *at;

		if (w->policy == pol &&
		    (parts == 0 || (w->ev.ctx.id == id && ((unsigned)w->ev.part & parts) != 0))) {
			*at = w->next;
			free(w);
		} else {
			at = &w->next;
		}
	}
	db->last_waiting = at;
}

static void on_report(uv_timer_t *t)
{
	struct soft *db = t->data;
	struct sadb_event ev = {.kind = SADB_EV_DROPPED};
	char text[320], from[ENDPOINT_TEXT];
	size_t n = 0;

	for (size_t i = 0; i < DROPS; i++)
		if (db->dropped.n[i] > 0)
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%u %s",
					      n > 0 ? ", " : "", db->dropped.n[i], drop_texts[i]);
	endpoint_put(from, &db->dropped.from);
	snprintf(text + n, sizeof text - n, "; last from %s, SPI %08" PRIx32, from,
		 db->dropped.spi.n);
	ev.owner = db->dropped.policy != NULL ? db->dropped.policy->p->owner : NULL;
	ev.spi = db->dropped.spi;
	ev.n = db->dropped.all;
	ev.text = text;

	memset(&db->dropped, 0, sizeof db->dropped);
	db->dropped.told_ms = uv_now(t->loop);
	raise_event(db, &ev);
}

/* pol: whose SA it was meant for, if any. */
static void drop(struct soft *db, enum drop why, struct policy *pol, const struct endpoint *from,
		 struct spi spi)
{
	if (db->dropped.all == 0) {
		uint64_t since_ms = uv_now(db->env.loop) - db->dropped.told_ms;
		bool quiet = db->dropped.told_ms == 0 || since_ms >= REPORT_MS;

		uv_timer_start(&db->report, on_report, quiet ? 0 : REPORT_MS - since_ms, 0);
		db->dropped.policy = pol;
	} else if (db->dropped.policy != pol) {
		db->dropped.policy = NULL;
	}
	db->dropped.n[why]++;
	db->dropped.all++;
	db->dropped.from = *from;
	db->dropped.spi = spi;
}

/* ---- table of SPIs ----------------------------------------------------------------------- */

static struct pair **bucket_of(struct soft *db, struct spi spi)
{
	return &db->buckets[spi.n & (db->n_buckets - 1)].first; /* our SPIs are random already */
}

static struct pair *pair_of_spi(struct soft *db, struct spi spi)
{
	struct pair *pair = *bucket_of(db, spi);

	while (pair != NULL && !spi_equal(pair->spi, spi))
		pair = pair->next_in_bucket;
	return pair;
}

static struct pair *pair_of_ctx(struct soft *db, struct sadb_ctx ctx)
{
	struct pair *pair = pair_of_spi(db, (struct spi){(uint32_t)ctx.id});

	return pair != NULL && pair->id == ctx.id ? pair : NULL;
}

/* Whether the context is or was one of ours: the number above its SPI was given out. */
static bool was_reserved(const struct soft *db, struct sadb_ctx ctx)
{
	return ctx.id >> 32 >= 1 && ctx.id >> 32 <= db->reserved;
}

static void grow(struct soft *db)
{
	struct chain *old = db->buckets;
	const size_t n_old = db->n_buckets;
	struct chain *more = calloc(2 * n_old, sizeof *more);

	if (more == NULL)
		return; /* longer chains, no harm */
	db->buckets = more;
	db->n_buckets = 2 * n_old;
	for (size_t i = 0; i < n_old; i++) {
		while (old[i].first != NULL) {
			struct pair *pair = old[i].first, **to = bucket_of(db, pair->spi);

			old[i].first = pair->next_in_bucket;
			pair->next_in_bucket = *to;
			*to = pair;
		}
	}
	free(old);
}

/* ---- SAs --------------------------------------------------------------------------------- */

static void wipe_free(void *p, size_t n)
{
	if (p == NULL)
		return;
	wipe(p, n);
	free(p);
}

static void free_inbound(struct inbound *in)
{
	if (in != NULL)
		wipe_free(in, sizeof *in + in->esp.replay.window / 32 * sizeof in->words[0]);
}

/* The pair goes, with what it has. */
static void free_pair(struct soft *db, struct pair *pair)
{
	struct pair **at = bucket_of(db, pair->spi);

	while (*at != pair)
		at = &(*at)->next_in_bucket;
	*at = pair->next_in_bucket;
	if (pair->prev_of_policy != NULL)
		pair->prev_of_policy->next_of_policy = pair->next_of_policy;
	else
		pair->policy->pairs = pair->next_of_policy;
	if (pair->next_of_policy != NULL)
		pair->next_of_policy->prev_of_policy = pair->prev_of_policy;
	db->n_pairs--;

	if (pair->policy->selected == pair)
		pair->policy->selected = NULL;
	free_inbound(pair->in);
	wipe_free(pair->out, sizeof *pair->out);
	free(pair);
}

static void select_newest(struct policy *pol)
{
	pol->selected = NULL;
	for (struct pair *pair = pol->pairs; pair != NULL; pair = pair->next_of_policy)
		if (pair->out != NULL &&
		    (pol->selected == NULL || pair->out->order > pol->selected->out->order))
			pol->selected = pair;
}

/* Takes parts away; nothing else is selected instead. */
static void end_parts(struct soft *db, struct pair *pair, unsigned parts)
{
	if ((parts & SADB_INBOUND) != 0) {
		free_inbound(pair->in);
		pair->in = NULL;
	}
	if ((parts & SADB_OUTBOUND) != 0) {
		if (pair->policy->selected == pair)
			pair->policy->selected = NULL;
		wipe_free(pair->out, sizeof *pair->out);
		pair->out = NULL;
	}
	if (pair->in == NULL && pair->out == NULL)
		free_pair(db, pair);
}

/* The limits of one part after (or before) a packet more. */
static bool over(uint64_t limit, uint64_t now)
{
	return limit != 0 && now > limit;
}

static bool over_hard(const struct sa_policy *p, uint64_t packets, uint64_t bytes)
{
	return over(p->hard_packets, packets) || over(p->hard_bytes, bytes);
}

static void warn_soft(struct soft *db, struct pair *pair, enum sadb_part part, bool *told,
		      uint64_t packets, uint64_t bytes, bool numbers_low)
{
	const struct sa_policy *p = pair->policy->p;
	bool by_bytes = p->soft_bytes != 0 && bytes >= p->soft_bytes;
	bool by_packets = numbers_low || (p->soft_packets != 0 && packets >= p->soft_packets);

	if (*told || (!by_bytes && !by_packets))
		return;
	*told = true; /* once for an SA */
	raise_later(db, pair, SADB_EV_SOFT, part, by_bytes ? REASON_BYTES : REASON_PACKETS, NULL);
}

/* A key serves one SA, in one direction, once (I4). */
static int check_unused(const struct pair *pair, const struct sa_keys *k, bool outbound,
			struct err *e)
{
	unsigned left = COMPARED;

	for (const struct pair *q = pair->policy->pairs; q != NULL && left-- > 0;
	     q = q->next_of_policy) {
		if ((q->in != NULL && secret_equal(&q->in->esp.key, &k->key)) ||
		    (q->out != NULL && secret_equal(&q->out->esp.key, &k->key)))
			return err_set(e, ERR_BUG,
				       "the key of another SA of this peer (SPI %08" PRIx32
				       "): one key, one SA",
				       q->spi.n);
		if (outbound && q->out != NULL && spi_equal(q->out->esp.spi, k->spi))
			return err_set(e, ERR_BUG, "outbound SPI %08" PRIx32 " is in use already",
				       k->spi.n);
	}
	return 0;
}

static int no_context(const struct soft *db, struct sadb_ctx ctx, struct err *e)
{
	if (!was_reserved(db, ctx))
		return err_set(e, ERR_BUG, "unknown context %" PRIx64, ctx.id);
	return err_set(e, ERR_BUG, "context %" PRIx64 " is gone", ctx.id);
}

/* ---- sockets ----------------------------------------------------------------------------- */

static socklen_t put_sockaddr(struct sockaddr_storage *sa, const struct addr *a, uint16_t port)
{
	memset(sa, 0, sizeof *sa);
	if (a->len == 4) {
		struct sockaddr_in *in = (struct sockaddr_in *)(void *)sa;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a->bytes, 4);
		return sizeof *in;
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)sa;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, a->bytes, 16);
	return sizeof *in6;
}

static struct endpoint endpoint_of(const struct sockaddr *sa)
{
	struct endpoint ep = {0};

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;

		ep.addr.len = 4;
		memcpy(ep.addr.bytes, &in->sin_addr, 4);
		ep.port = ntohs(in->sin_port);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

		ep.addr.len = 16;
		memcpy(ep.addr.bytes, &in6->sin6_addr, 16);
		ep.port = ntohs(in6->sin6_port);
	}
	return ep;
}

static void handle_closed(struct soft *db)
{
	if (--db->handles > 0 || !db->closing)
		return;
	wipe(db, sizeof *db);
	free(db);
}

static void on_socket_closed(uv_handle_t *h)
{
	struct socket_ *s = h->data;
	struct soft *db = s->db;

	free(s);
	handle_closed(db);
}

static void on_timer_closed(uv_handle_t *h)
{
	handle_closed(h->data);
}

static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct socket_ *s = h->data;

	(void)suggested;
	*buf = uv_buf_init((char *)s->db->received, sizeof s->db->received);
}

static void on_received(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *sa,
			unsigned flags);

static int bind_failed(struct err *e, int status, const struct endpoint *at)
{
	char text[ENDPOINT_TEXT];

	endpoint_put(text, at);
	err_set(e, status == UV_EACCES ? ERR_PERM : ERR_OS, "bind UDP %s for ESP: %s", text,
		uv_strerror(status));
	if (e != NULL)
		e->os = (uint32_t)-status;
	switch (status) {
	case UV_EADDRINUSE:
		return err_hint(e, "another agent on this address? choose another esp_port");
	case UV_EADDRNOTAVAIL:
		return err_hint(e, "not an address of this host: correct \"local\" or \"listen\"");
	case UV_EACCES:
		return err_hint(e, "choose an esp_port above 1023");
	default:
		return -1;
	}
}

static struct socket_ *socket_take(struct soft *db, const struct endpoint *at, struct err *e)
{
	int room = RECEIVE_BUFFER, status;
	struct sockaddr_storage sa;
	struct socket_ *s;

	for (s = db->sockets; s != NULL; s = s->next)
		if (s->at.port == at->port && addr_equal(&s->at.addr, &at->addr)) {
			s->policies++;
			return s;
		}

	s = calloc(1, sizeof *s);
	if (s == NULL || uv_udp_init(db->env.loop, &s->udp) != 0) {
		free(s);
		err_set(e, ERR_OS, "UDP socket for ESP: no memory");
		return NULL;
	}
	s->udp.data = s;
	s->db = db;
	s->at = *at;
	s->policies = 1;
	db->handles++;

	put_sockaddr(&sa, &at->addr, at->port);
	status = uv_udp_bind(&s->udp, (const struct sockaddr *)&sa,
			     at->addr.len == 16 ? UV_UDP_IPV6ONLY : 0);
	if (status == 0)
		status = uv_udp_recv_start(&s->udp, on_room, on_received);
	if (status != 0) {
		uv_close((uv_handle_t *)&s->udp, on_socket_closed);
		bind_failed(e, status, at);
		return NULL;
	}
	uv_recv_buffer_size((uv_handle_t *)&s->udp, &room); /* what the system allows of it */
	s->next = db->sockets;
	db->sockets = s;
	return s;
}

static void socket_drop(struct soft *db, struct socket_ *s)
{
	struct socket_ **at = &db->sockets;

	if (--s->policies > 0)
		return;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	uv_close((uv_handle_t *)&s->udp, on_socket_closed);
}

/* ---- packets ----------------------------------------------------------------------------- */

static void put16(uint8_t *to, size_t v)
{
	to[0] = (uint8_t)(v >> 8);
	to[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *from)
{
	return (unsigned)from[0] << 8 | from[1];
}

static uint32_t sum16(uint32_t sum, const uint8_t *p, size_t n)
{
	for (; n > 1; p += 2, n -= 2)
		sum += get16(p);
	return n > 0 ? sum + ((uint32_t)*p << 8) : sum;
}

/* RFC 768, RFC 8200 section 8.1: over addresses, protocol, length and the datagram itself. 0 or
 * 0xffff for a datagram whose checksum is right. */
static unsigned udp_sum(const struct addr *from, const struct addr *to, const uint8_t *udp,
			size_t n)
{
	uint32_t sum = ESP_NEXT_UDP + (uint32_t)n;

	sum = sum16(sum, from->bytes, from->len);
	sum = sum16(sum, to->bytes, to->len);
	sum = sum16(sum, udp, n);
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

/* Whether the inner packet is what the policy protects: a whole datagram between the two ports
 * (RFC 4301 section 5.2 wants the selectors checked). */
static bool inner_is_ours(const struct sa_policy *p, const uint8_t *udp, size_t n)
{
	return n >= UDP_HEAD && get16(udp) == p->remote_esp_port &&
	       get16(udp + 2) == p->local_esp_port && get16(udp + 4) == n && get16(udp + 6) != 0 &&
	       udp_sum(&p->remote, &p->local, udp, n) == 0;
}

/* A packet for an SA that is there, from where it should be. */
static void take_packet(struct soft *db, struct pair *pair, uint8_t *packet, size_t n,
			const struct endpoint *from)
{
	struct inbound *in = pair->in;
	struct policy *pol = pair->policy;
	const struct sa_policy *p = pol->p;
	struct sadb_event ev = {.kind = SADB_EV_DATAGRAM, .part = SADB_INBOUND};
	uint8_t next, *inner;
	size_t len;

	switch (esp_open(&in->esp, packet, n, &next, &inner, &len)) {
	case ESP_OK:
		break;
	case ESP_REPLAYED:
		in->replay_dropped++;
		drop(db, DROP_REPLAYED, pol, from, pair->spi);
		return;
	case ESP_INTEGRITY:
		in->integrity_failed++;
		drop(db, DROP_INTEGRITY, pol, from, pair->spi);
		return;
	default:
		drop(db, DROP_SHAPE, pol, from, pair->spi);
		return;
	}
	if (over_hard(p, in->packets + 1, in->bytes + len)) {
		raise_later(db, pair, SADB_EV_HARD, SADB_INBOUND, REASON_BYTES,
			    "inbound: hard limit of bytes or packets");
		end_parts(db, pair, SADB_INBOUND);
		return;
	}
	in->packets++;
	in->bytes += len;
	warn_soft(db, pair, SADB_INBOUND, &in->soft_told, in->packets, in->bytes, false);
	if (next == NEXT_NONE)
		return;
	if (next != ESP_NEXT_UDP || !inner_is_ours(p, inner, len)) {
		drop(db, DROP_SHAPE, pol, from, pair->spi);
		return;
	}
	ev.owner = p->owner;
	ev.ctx.id = pair->id;
	ev.spi = pair->spi;
	ev.data = inner + UDP_HEAD;
	ev.n = len - UDP_HEAD;
	raise_event(db, &ev); /* last: pair, policy and socket may be gone now */
}

static void take_datagram(struct socket_ *s, uint8_t *packet, size_t n, bool cut,
			  const struct sockaddr *sa)
{
	struct soft *db = s->db;
	struct endpoint from;
	struct spi spi = {0};
	struct pair *pair;

	if (n == 1 && packet[0] == 0xff)
		return; /* NAT keepalive (RFC 3948 section 2.3) */
	from = endpoint_of(sa);
	if (cut || !esp_peek(packet, n, &spi)) {
		drop(db, DROP_SHAPE, NULL, &from, spi);
		return;
	}
	if (spi.n == 0)
		return; /* the non-ESP marker: somebody's IKE (section 2.2) */
	pair = pair_of_spi(db, spi);
	if (pair == NULL || pair->in == NULL || pair->policy->socket != s)
		drop(db, DROP_UNKNOWN, NULL, &from, spi);
	else if (!addr_equal(&from.addr, &pair->policy->p->remote))
		drop(db, DROP_SOURCE, pair->policy, &from, spi);
	else
		take_packet(db, pair, packet, n, &from);
}

static void on_received(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *sa,
			unsigned flags)
{
	struct socket_ *s = h->data;
	uint8_t *packet = s->db->received;
	struct sockaddr_storage from;
	unsigned more = DRAIN_MAX;
	long got;

	(void)buf;
	if (sa == NULL) { /* nothing more for now, or an ICMP error */
		s->burst = 0;
		return;
	}
	if (n > 0)
		take_datagram(s, packet, (size_t)n, (flags & UV_UDP_PARTIAL) != 0, sa);
	if (++s->burst < OS_UDP_BURST)
		return;
	s->burst = 0;
	while (more-- > 0 && !uv_is_closing((uv_handle_t *)h) &&
	       (got = os_udp_more(h, packet, sizeof s->db->received, &from)) >= 0)
		if (got > 0)
			take_datagram(s, packet, (size_t)got, false, (struct sockaddr *)&from);
}

struct queued {
	uv_udp_send_t req;
	uint8_t packet[];
};

static void on_sent(uv_udp_send_t *req, int status)
{
	(void)status; /* on the wire it could be lost as well */
	free(req->data);
}

/* What the socket's buffer does not take now goes into libuv's queue; behind a long one it is
 * lost, as on the wire. */
static int transmit(struct socket_ *s, const struct sa_policy *p, uint8_t *packet, size_t n,
		    struct err *e)
{
	uv_buf_t buf = uv_buf_init((char *)packet, (unsigned)n);
	struct sockaddr_storage to;
	struct endpoint ep = {p->remote, p->remote_esp_port};
	char text[ENDPOINT_TEXT];
	struct queued *q;
	int status;

	put_sockaddr(&to, &ep.addr, ep.port);
	status = uv_udp_try_send(&s->udp, &buf, 1, (const struct sockaddr *)&to);
	if (status >= 0)
		return 0;
	if (status == UV_EAGAIN) {
		if (uv_udp_get_send_queue_size(&s->udp) >= SEND_QUEUE_MAX)
			return 0;
		q = malloc(sizeof *q + n);
		if (q == NULL)
			return 0;
		memcpy(q->packet, packet, n);
		q->req.data = q;
		buf.base = (char *)q->packet;
		status = uv_udp_send(&q->req, &s->udp, &buf, 1, (const struct sockaddr *)&to,
				     on_sent);
		if (status == 0)
			return 0;
		free(q);
	}
	endpoint_put(text, &ep);
	err_set(e, ERR_OS, "send ESP to UDP %s: %s", text, uv_strerror(status));
	if (e != NULL)
		e->os = (uint32_t)-status;
	return -1;
}

/* ---- the interface ----------------------------------------------------------------------- */

static int soft_open(struct sadb **out, const struct sadb_env *env, struct err *e)
{
	struct soft *db = calloc(1, sizeof *db);

	if (db == NULL)
		return err_set(e, ERR_OS, "no memory");
	db->n_buckets = 64;
	db->buckets = calloc(db->n_buckets, sizeof *db->buckets);
	if (db->buckets == NULL) {
		free(db);
		return err_set(e, ERR_OS, "no memory");
	}
	db->db.ops = &sadb_soft;
	db->env = *env;
	db->last_waiting = &db->waiting;
	uv_timer_init(env->loop, &db->wake);
	uv_timer_init(env->loop, &db->report);
	db->wake.data = db->report.data = db;
	db->handles = 2;
	*out = &db->db;
	return 0;
}

static struct policy *policy_of(const struct sa_policy *p, struct err *e)
{
	struct policy *pol = (struct policy *)(uintptr_t)p->ref;

	if (pol == NULL)
		err_set(e, ERR_BUG, "peer %s: no policy was added", p->peer);
	return pol;
}

static int soft_policy_add(struct sadb *sadb, struct sa_policy *p, struct err *e)
{
	struct soft *db = of(sadb);
	const struct endpoint at = {p->local, p->local_esp_port};
	struct policy *pol;

	if (p->local_esp_port == 0 || p->remote_esp_port == 0)
		return err_set(e, ERR_USAGE, "peer %s: soft needs a UDP port on both hosts",
			       p->peer);
	for (pol = db->policies; pol != NULL; pol = pol->next)
		if (addr_equal(&pol->p->local, &p->local) &&
		    addr_equal(&pol->p->remote, &p->remote) &&
		    pol->p->local_esp_port == p->local_esp_port &&
		    pol->p->remote_esp_port == p->remote_esp_port)
			return err_set(e, ERR_USAGE,
				       "peer %s: peer %s has the same addresses and ports", p->peer,
				       pol->p->peer);

	pol = calloc(1, sizeof *pol);
	if (pol == NULL)
		return err_set(e, ERR_OS, "no memory");
	pol->p = p;
	pol->socket = socket_take(db, &at, e);
	if (pol->socket == NULL) {
		free(pol);
		return err_in(e, "peer %s", p->peer);
	}
	pol->next = db->policies;
	db->policies = pol;
	p->ref = (uintptr_t)pol;
	return 0;
}

static void free_policy(struct soft *db, struct policy *pol)
{
	struct policy **at = &db->policies;

	forget_events(db, pol, 0, 0);
	if (db->dropped.policy == pol)
		db->dropped.policy = NULL;
	for (struct pair *pair = pol->pairs, *next; pair != NULL; pair = next) {
		next = pair->next_of_policy;
		free_pair(db, pair);
	}
	socket_drop(db, pol->socket);
	while (*at != pol)
		at = &(*at)->next;
	*at = pol->next;
	pol->p->ref = 0;
	free(pol);
}

static int soft_policy_remove(struct sadb *sadb, struct sa_policy *p, struct err *e)
{
	struct policy *pol = policy_of(p, e);

	if (pol == NULL)
		return -1;
	free_policy(of(sadb), pol);
	return 0;
}

static int soft_reserve(struct sadb *sadb, struct sa_policy *p, struct sadb_ctx *ctx,
			struct spi *in, struct err *e)
{
	struct soft *db = of(sadb);
	struct policy *pol = policy_of(p, e);
	struct pair *pair, **bucket;

	if (pol == NULL)
		return -1;
	pair = calloc(1, sizeof *pair);
	if (pair == NULL)
		return err_set(e, ERR_OS, "no memory");
	do {
		pair->spi.n = random_u32();
	} while (!spi_usable(pair->spi) || pair_of_spi(db, pair->spi) != NULL);
	pair->id = (uint64_t)++db->reserved << 32 | pair->spi.n;
	pair->policy = pol;

	if (db->n_pairs >= db->n_buckets)
		grow(db);
	bucket = bucket_of(db, pair->spi);
	pair->next_in_bucket = *bucket;
	*bucket = pair;
	pair->next_of_policy = pol->pairs;
	if (pol->pairs != NULL)
		pol->pairs->prev_of_policy = pair;
	pol->pairs = pair;
	db->n_pairs++;
	ctx->id = pair->id;
	*in = pair->spi;
	return 0;
}

static int soft_add_inbound(struct sadb *sadb, struct sadb_ctx ctx, const struct sa_keys *k,
			    struct err *e)
{
	struct soft *db = of(sadb);
	struct pair *pair = pair_of_ctx(db, ctx);
	const size_t words = replay_words(k->window);
	struct inbound *in;

	if (pair == NULL)
		return no_context(db, ctx, e);
	if (pair->in != NULL)
		return err_set(e, ERR_BUG, "inbound SA of SPI %08" PRIx32 " installed twice",
			       pair->spi.n);
	if (pair->out != NULL)
		return err_set(e, ERR_BUG, "inbound SA of SPI %08" PRIx32 " was removed already",
			       pair->spi.n);
	if (!spi_equal(k->spi, pair->spi))
		return err_set(e, ERR_BUG, "inbound SPI %08" PRIx32 "; %08" PRIx32 " was reserved",
			       k->spi.n, pair->spi.n);
	if (check_unused(pair, k, false, e) < 0)
		return -1;

	in = calloc(1, sizeof *in + words * sizeof in->words[0]);
	if (in == NULL)
		return err_set(e, ERR_OS, "no memory");
	in->esp.spi = k->spi;
	in->esp.suite = k->suite;
	in->esp.key = k->key;
	replay_init(&in->esp.replay, k->window, k->esn, in->words);
	pair->in = in;
	return 0;
}

static int soft_add_outbound(struct sadb *sadb, struct sadb_ctx ctx, const struct sa_keys *k,
			     struct err *e)
{
	struct soft *db = of(sadb);
	struct pair *pair = pair_of_ctx(db, ctx);
	struct outbound *out;

	if (pair == NULL)
		return no_context(db, ctx, e);
	if (pair->out != NULL)
		return err_set(e, ERR_BUG, "outbound SA of context %" PRIx64 " installed twice",
			       ctx.id);
	if (pair->in == NULL)
		return err_set(e, ERR_BUG, "outbound SA before the inbound one (SPI %08" PRIx32 ")",
			       pair->spi.n);
	if (check_unused(pair, k, true, e) < 0)
		return -1;

	out = calloc(1, sizeof *out);
	if (out == NULL)
		return err_set(e, ERR_OS, "no memory");
	out->esp.spi = k->spi;
	out->esp.suite = k->suite;
	out->esp.key = k->key;
	out->esp.esn = k->esn;
	random_bytes(out->esp.iv_salt, sizeof out->esp.iv_salt);
	out->order = ++db->installed;
	pair->out = out;
	pair->policy->selected = pair;
	return 0;
}

static int soft_remove(struct sadb *sadb, struct sadb_ctx ctx, enum sadb_part part, struct err *e)
{
	struct soft *db = of(sadb);
	struct pair *pair = pair_of_ctx(db, ctx);
	struct policy *pol;
	bool was_selected;

	if (pair == NULL)
		return was_reserved(db, ctx) ? 0 : no_context(db, ctx, e);
	pol = pair->policy;
	was_selected = pol->selected == pair && ((unsigned)part & SADB_OUTBOUND) != 0;
	forget_events(db, pol, ctx.id, part);
	end_parts(db, pair, part);
	if (was_selected)
		select_newest(pol);
	return 0;
}

static int soft_query(struct sadb *sadb, struct sadb_ctx ctx, enum sadb_part part,
		      struct sa_counts *counts, struct err *e)
{
	struct soft *db = of(sadb);
	const struct pair *pair = pair_of_ctx(db, ctx);

	if (pair == NULL && !was_reserved(db, ctx))
		return no_context(db, ctx, e);
	if (pair != NULL && part == SADB_INBOUND && pair->in != NULL) {
		counts->known = SADB_KNOWS_PACKETS | SADB_KNOWS_BYTES | SADB_KNOWS_REPLAY |
				SADB_KNOWS_INTEGRITY;
		counts->packets = pair->in->packets;
		counts->bytes = pair->in->bytes;
		counts->replay_dropped = pair->in->replay_dropped;
		counts->integrity_failed = pair->in->integrity_failed;
		return 0;
	}
	if (pair != NULL && part == SADB_OUTBOUND && pair->out != NULL) {
		counts->known = SADB_KNOWS_PACKETS | SADB_KNOWS_BYTES;
		counts->packets = pair->out->packets;
		counts->bytes = pair->out->bytes;
		return 0;
	}
	return err_set(e, ERR_DOWN, "context %" PRIx64 " has no %s SA", ctx.id,
		       part == SADB_INBOUND ? "inbound" : "outbound");
}

static int soft_leftovers(struct sadb *sadb, sadb_found *found, void *arg, struct err *e)
{
	(void)sadb, (void)found, (void)arg, (void)e; /* nothing outlives the process */
	return 0;
}

static int end_outbound(struct soft *db, struct pair *pair, enum rekey_reason reason,
			const char *text, struct err *e)
{
	const char *peer = pair->policy->p->peer;

	raise_later(db, pair, SADB_EV_HARD, SADB_OUTBOUND, reason, text);
	end_parts(db, pair, SADB_OUTBOUND);
	return err_set(e, ERR_DOWN, "peer %s: %s", peer, text);
}

static int soft_send(struct sadb *sadb, struct sa_policy *p, const uint8_t *data, size_t n,
		     struct err *e)
{
	struct soft *db = of(sadb);
	const struct policy *pol = policy_of(p, e);
	const size_t inner_len = UDP_HEAD + n;
	uint8_t *inner = db->sent; /* esp_seal() moves it to where it belongs */
	struct outbound *out;
	struct pair *pair;
	unsigned sum;
	size_t len;

	if (pol == NULL)
		return -1;
	if (n > PACKET_MAX - ESP_OVERHEAD_MAX - UDP_HEAD)
		return err_set(e, ERR_BUG, "peer %s: a payload of %zu bytes; %d go in", p->peer, n,
			       PACKET_MAX - ESP_OVERHEAD_MAX - UDP_HEAD);
	pair = pol->selected;
	if (pair == NULL)
		return err_set(e, ERR_DOWN, "peer %s: no SA to send on", p->peer);
	out = pair->out;
	if (over_hard(p, out->packets + 1, out->bytes + inner_len))
		return end_outbound(db, pair, REASON_BYTES,
				    "outbound: hard limit of bytes or packets", e);

	put16(inner, p->local_esp_port);
	put16(inner + 2, p->remote_esp_port);
	put16(inner + 4, inner_len);
	put16(inner + 6, 0);
	memcpy(inner + UDP_HEAD, data, n);
	sum = udp_sum(&p->local, &p->remote, inner, inner_len);
	put16(inner + 6, sum != 0 ? sum : 0xffff);

	switch (esp_seal(&out->esp, ESP_NEXT_UDP, inner, inner_len, db->sent, sizeof db->sent,
			 &len)) {
	case ESP_OK:
		break;
	case ESP_EXHAUSTED:
		return end_outbound(db, pair, REASON_PACKETS,
				    "outbound: the sequence numbers are used up", e);
	case ESP_NO_MEMORY:
		return err_set(e, ERR_OS, "peer %s: seal a packet: no memory", p->peer);
	default:
		return err_set(e, ERR_BUG, "peer %s: seal a packet of %zu bytes", p->peer, n);
	}
	out->packets++;
	out->bytes += inner_len;
	warn_soft(db, pair, SADB_OUTBOUND, &out->soft_told, out->packets, out->bytes,
		  !out->esp.esn && out->esp.seq >= NUMBERS_SOFT);
	return transmit(pol->socket, p, db->sent, len, e);
}

static void soft_can(struct sadb *sadb, struct sadb_can *can)
{
	(void)sadb;
	can->esn = can->udp = can->permissive = can->counts = can->datagrams = true;
	can->window_max = REPLAY_WINDOW_MAX;
	for (unsigned s = 0; s < SUITE_COUNT; s++)
		suite_list_add(&can->suites, (enum suite)s);
}

static void soft_close(struct sadb *sadb)
{
	struct soft *db = of(sadb);

	db->closing = true;
	while (db->policies != NULL)
		free_policy(db, db->policies);
	free(db->buckets);
	db->buckets = NULL;
	uv_close((uv_handle_t *)&db->wake, on_timer_closed);
	uv_close((uv_handle_t *)&db->report, on_timer_closed);
}

const struct sadb_ops sadb_soft = {
	.name = "soft",
	.open = soft_open,
	.close = soft_close,
	.can = soft_can,
	.policy_add = soft_policy_add,
	.policy_remove = soft_policy_remove,
	.reserve = soft_reserve,
	.add_inbound = soft_add_inbound,
	.add_outbound = soft_add_outbound,
	.remove = soft_remove,
	.query = soft_query,
	.leftovers = soft_leftovers,
	.send = soft_send,
};
