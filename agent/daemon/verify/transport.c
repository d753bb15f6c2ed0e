/*
 * agent/daemon/verify/transport.c - probe datagrams by UDP: one socket for each local address and port.
 */
#include "agent/daemon/verify/transport.h"

#include "agent/daemon/verify/verify.h"
#include "agent/os/log.h"
#include "agent/os/os.h"
#include "proto/exchange/probe.h"

#include <stdlib.h>
#include <string.h>

#define DRAIN_MAX 4096 /* datagrams of one turn: other work waits meanwhile */

struct carrier {
	struct carrier *next;
	struct agent *agent;
	uv_udp_t udp;
	unsigned burst; /* datagrams since the socket was last empty */
	struct endpoint at;
	unsigned peers;
	char room[PROBE_LEN + 1]; /* a longer datagram is no probe */
};

static void to_sockaddr(struct sockaddr_storage *ss, const struct addr *a, uint16_t port)
{
	char text[ADDR_TEXT];

	addr_put(text, a);
	if (a->len == 4)
		uv_ip4_addr(text, port, (struct sockaddr_in *)ss);
	else
		uv_ip6_addr(text, port, (struct sockaddr_in6 *)ss);
}

static void on_room(uv_handle_t *h, size_t wish, uv_buf_t *buf)
{
	struct carrier *c = h->data;

	(void)wish;
	*buf = uv_buf_init(c->room, sizeof c->room);
}

static void take_datagram(struct carrier *c, size_t n, const struct sockaddr *sa)
{
	struct addr from = {{0}, 0};
	char text[ADDR_TEXT] = "";
	struct peer *p;

	if (uv_ip_name(sa, text, sizeof text) != 0 || addr_parse(&from, text, NULL) < 0)
		return;
	p = peer_of_addresses(c->agent, &c->at.addr, &from);
	if (p != NULL && p->carrier == c)
		verify_on_datagram(p, (const uint8_t *)c->room, n);
}

static void on_received(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *sa,
			unsigned flags)
{
	struct carrier *c = h->data;
	struct sockaddr_storage from;
	unsigned more = DRAIN_MAX;
	long got;

	(void)buf;
	(void)flags;
	if (sa == NULL) { /* nothing more for now, or an ICMP error */
		c->burst = 0;
		return;
	}
	if (n > 0)
		take_datagram(c, (size_t)n, sa);
	if (++c->burst < OS_UDP_BURST)
		return;
	c->burst = 0;
	while (more-- > 0 && !uv_is_closing((uv_handle_t *)h) &&
	       (got = os_udp_more(h, c->room, sizeof c->room, &from)) >= 0)
		if (got > 0)
			take_datagram(c, (size_t)got, (struct sockaddr *)&from);
}

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

static int no_socket(struct err *e, int rc, const struct endpoint *at)
{
	char text[ENDPOINT_TEXT];

	endpoint_put(text, at);
	err_set(e, rc == UV_EACCES ? ERR_PERM : ERR_OS, "UDP %s for probes: %s", text,
		uv_strerror(rc));
	if (e != NULL)
		e->os = (uint32_t)-rc;
	return err_hint(e, "pairs work, but cannot be proven: choose another port with \"listen\"");
}

static struct carrier *new_carrier(struct agent *a, const struct endpoint *at, struct err *e)
{
	struct carrier *c = calloc(1, sizeof *c);
	struct sockaddr_storage ss;
	int rc;

	if (c == NULL) {
		err_set(e, ERR_OS, "no memory for a socket");
		return NULL;
	}
	c->agent = a;
	c->at = *at;
	uv_udp_init(&a->loop.uv, &c->udp);
	c->udp.data = c;
	to_sockaddr(&ss, &at->addr, at->port);
	rc = uv_udp_bind(&c->udp, (const struct sockaddr *)&ss,
			 at->addr.len == 16 ? UV_UDP_IPV6ONLY : 0);
	if (rc == 0)
		rc = uv_udp_recv_start(&c->udp, on_room, on_received);
	if (rc != 0) {
		uv_close((uv_handle_t *)&c->udp, on_closed);
		no_socket(e, rc, at);
		return NULL;
	}
	c->next = a->carriers;
	a->carriers = c;
	return c;
}

int carrier_open(struct peer *p, struct err *e)
{
	const struct endpoint at = {p->policy.local, p->policy.control_port};
	struct agent *a = p->agent;
	struct carrier *c = a->carriers;

	if (ipsec_sends(a->db) || p->carrier != NULL)
		return 0;
	while (c != NULL && (c->at.port != at.port || !addr_equal(&c->at.addr, &at.addr)))
		c = c->next;
	if (c == NULL)
		c = new_carrier(a, &at, e);
	if (c == NULL)
		return -1;
	c->peers++;
	p->carrier = c;
	return 0;
}

void carrier_close(struct peer *p)
{
	struct carrier *c = p->carrier, **at = &p->agent->carriers;

	p->carrier = NULL;
	if (c == NULL || --c->peers > 0)
		return;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	uv_close((uv_handle_t *)&c->udp, on_closed);
}

int carrier_send(struct peer *p, const uint8_t *data, size_t n, struct err *e)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)n);
	struct sockaddr_storage ss;
	int rc;

	if (ipsec_sends(p->agent->db))
		return ipsec_send(p->agent->db, &p->policy, data, n, e);
	if (carrier_open(p, e) < 0)
		return -1;
	to_sockaddr(&ss, &p->policy.remote, p->policy.peer_port);
	rc = uv_udp_try_send(&p->carrier->udp, &buf, 1, (const struct sockaddr *)&ss);
	if (rc >= 0 || rc == UV_EAGAIN)
		return 0; /* no room: lost, as on the wire */
	return err_set(e, ERR_DOWN, "a probe could not be sent: %s", uv_strerror(rc));
}
