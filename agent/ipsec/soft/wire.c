/*
 * agent/ipsec/soft/wire.c - sockets and packets of the back end soft.
 *
 *     UDP datagram | SPI, number, IV | inner UDP header | payload | padding, ICV
 *                    `-- ESP, transport mode, of the pair's two addresses --'
 */
#include "agent/os/os.h"
#include "agent/ipsec/soft/db.h"
#include "proto/esp/udp.h"

#include <stdlib.h>
#include <string.h>

#define NEXT_NONE 59                /* dummy packet, RFC 4303 section 2.6 */
#define RECEIVE_BUFFER (1 << 20)    /* bytes asked of the system for a socket */
#define DRAIN_MAX 4096              /* datagrams read before other work continues */
#define SEND_QUEUE_MAX (256 * 1024) /* bytes; more are dropped */

/* ---- sockets ----------------------------------------------------------------------------- */

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

struct socket_ *soft_socket_take(struct soft *db, const struct endpoint *at, struct err *e)
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

	os_sockaddr(&sa, &at->addr, at->port);
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

void soft_socket_drop(struct soft *db, struct socket_ *s)
{
	struct socket_ **at = &db->sockets;

	if (--s->policies > 0)
		return;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	uv_close((uv_handle_t *)&s->udp, on_socket_closed);
}

void soft_timer_closed(uv_handle_t *h)
{
	handle_closed(h->data);
}

/* ---- packets ----------------------------------------------------------------------------- */

/* Whether the inner packet is what the policy protects: a whole datagram between the two ports
 * (RFC 4301 section 5.2 wants the selectors checked). */
static bool inner_is_ours(const struct policy *p, const uint8_t *udp, size_t n)
{
	return udp_is(udp, n,
		      &(struct udp_flow){p->remote, p->local, p->remote_esp_port,
					 p->local_esp_port});
}

/* A packet for an existing SA, from its peer's address. */
static void take_packet(struct soft *db, struct pair *pair, uint8_t *packet, size_t n,
			const struct endpoint *from)
{
	struct inbound *in = pair->in;
	struct soft_policy *pol = pair->policy;
	const struct policy *p = pol->p;
	struct ipsec_event ev = {.kind = IPSEC_EV_DATAGRAM, .part = IPSEC_INBOUND};
	uint8_t next, *inner;
	size_t len;

	switch (esp_open(&in->esp, packet, n, &next, &inner, &len)) {
	case ESP_OK:
		break;
	case ESP_REPLAYED:
		in->replay_dropped++;
		soft_dropped(db, DROP_REPLAYED, pol, from, pair->spi);
		return;
	case ESP_INTEGRITY:
		in->integrity_failed++;
		soft_dropped(db, DROP_INTEGRITY, pol, from, pair->spi);
		return;
	default:
		soft_dropped(db, DROP_SHAPE, pol, from, pair->spi);
		return;
	}
	if (soft_over_hard(p, in->packets + 1, in->bytes + len)) {
		soft_raise_later(db, pair, IPSEC_EV_HARD, IPSEC_INBOUND, REASON_BYTES,
				 "inbound: hard limit of bytes or packets");
		soft_end_parts(db, pair, IPSEC_INBOUND);
		return;
	}
	in->packets++;
	in->bytes += len;
	soft_warn(db, pair, IPSEC_INBOUND, &in->soft_told, in->packets, in->bytes, false);
	if (next == NEXT_NONE)
		return;
	if (next != ESP_NEXT_UDP || !inner_is_ours(p, inner, len)) {
		soft_dropped(db, DROP_SHAPE, pol, from, pair->spi);
		return;
	}
	ev.owner = p->owner;
	ev.ctx.id = pair->id;
	ev.spi = pair->spi;
	ev.data = inner + UDP_HEAD;
	ev.n = len - UDP_HEAD;
	soft_raise(db, &ev); /* last: pair, policy and socket may be gone now */
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
	from = os_endpoint(sa);
	if (cut || !esp_peek(packet, n, &spi)) {
		soft_dropped(db, DROP_SHAPE, NULL, &from, spi);
		return;
	}
	if (spi.n == 0)
		return; /* the non-ESP marker: somebody's IKE (section 2.2) */
	pair = soft_pair_of_spi(db, spi);
	if (pair == NULL || pair->in == NULL || pair->policy->socket != s)
		soft_dropped(db, DROP_UNKNOWN, NULL, &from, spi);
	else if (!addr_equal(&from.addr, &pair->policy->p->remote))
		soft_dropped(db, DROP_SOURCE, pair->policy, &from, spi);
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
	(void)status; /* packets may be lost anywhere */
	free(req->data);
}

int soft_transmit(struct socket_ *s, const struct policy *p, uint8_t *packet, size_t n,
		  struct err *e)
{
	uv_buf_t buf = uv_buf_init((char *)packet, (unsigned)n);
	struct sockaddr_storage to;
	struct endpoint ep = {p->remote, p->remote_esp_port};
	char text[ENDPOINT_TEXT];
	struct queued *q;
	int status;

	os_sockaddr(&to, &ep.addr, ep.port);
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
