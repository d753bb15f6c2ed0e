/*
 * agent/daemon/verify/transport.c - probe datagrams by UDP: one socket for each local address and port.
 */
#include "agent/daemon/verify/transport.h"

#include "agent/os/os.h"
#include "proto/exchange/probe.h"

#include <stdlib.h>
#include <string.h>

#define DRAIN_MAX 4096 /* datagrams of one callback: other work waits meanwhile */

struct probe_socket {
	struct probe_socket *next;
	uv_udp_t udp;
	unsigned burst; /* datagrams since the socket was last empty */
	struct endpoint at;
	struct transport *users;
	char room[PROBE_LEN + 1]; /* a longer datagram is no probe */
};

static void on_room(uv_handle_t *h, size_t wish, uv_buf_t *buf)
{
	struct probe_socket *c = h->data;

	(void)wish;
	*buf = uv_buf_init(c->room, sizeof c->room);
}

static void take_datagram(struct probe_socket *c, size_t n, const struct sockaddr *sa)
{
	const struct addr from = os_endpoint(sa).addr;

	for (const struct transport *t = c->users; t != NULL; t = t->next) {
		if (addr_equal(&t->policy->remote, &from)) {
			t->receive(t->arg, (const uint8_t *)c->room, n);
			return;
		}
	}
}

static void on_received(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *sa,
			unsigned flags)
{
	struct probe_socket *c = h->data;
	struct sockaddr_storage from;
	unsigned more = DRAIN_MAX;
	long got;

	(void)buf;
	(void)flags;
	if (sa == NULL) { /* the socket is empty, or an ICMP error */
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
	return err_hint(e,
			"pairs work, but cannot be verified: choose another port with \"listen\"");
}

static struct probe_socket *open_socket(struct agent *a, const struct endpoint *at, struct err *e)
{
	struct probe_socket *c = calloc(1, sizeof *c);
	struct sockaddr_storage ss;
	int rc;

	if (c == NULL) {
		err_set(e, ERR_OS, "no memory for a socket");
		return NULL;
	}
	c->at = *at;
	uv_udp_init(&a->loop, &c->udp);
	c->udp.data = c;
	os_sockaddr(&ss, &at->addr, at->port);
	rc = uv_udp_bind(&c->udp, (const struct sockaddr *)&ss,
			 at->addr.len == 16 ? UV_UDP_IPV6ONLY : 0);
	if (rc == 0)
		rc = uv_udp_recv_start(&c->udp, on_room, on_received);
	if (rc != 0) {
		uv_close((uv_handle_t *)&c->udp, on_closed);
		no_socket(e, rc, at);
		return NULL;
	}
	c->next = a->probe_sockets;
	a->probe_sockets = c;
	return c;
}

int transport_open(struct transport *t, struct err *e)
{
	const struct endpoint at = {t->policy->local, t->policy->control_port};
	struct probe_socket *s = t->agent->probe_sockets;

	if (ipsec_sends(t->agent->db) || t->socket != NULL)
		return 0;
	while (s != NULL && (s->at.port != at.port || !addr_equal(&s->at.addr, &at.addr)))
		s = s->next;
	if (s == NULL)
		s = open_socket(t->agent, &at, e);
	if (s == NULL)
		return -1;
	t->next = s->users;
	s->users = t;
	t->socket = s;
	return 0;
}

void transport_close(struct transport *t)
{
	struct probe_socket *s = t->socket, **at = &t->agent->probe_sockets;
	struct transport **user;

	if (s == NULL)
		return;
	for (user = &s->users; *user != t;)
		user = &(*user)->next;
	*user = t->next;
	t->socket = NULL;
	if (s->users != NULL)
		return;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	uv_close((uv_handle_t *)&s->udp, on_closed);
}

int transport_send(struct transport *t, const uint8_t *data, size_t n, struct err *e)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)n);
	struct sockaddr_storage ss;
	int rc;

	if (ipsec_sends(t->agent->db))
		return ipsec_send(t->agent->db, t->policy, data, n, e);
	if (transport_open(t, e) < 0)
		return -1;
	os_sockaddr(&ss, &t->policy->remote, t->policy->peer_port);
	rc = uv_udp_try_send(&t->socket->udp, &buf, 1, (const struct sockaddr *)&ss);
	if (rc >= 0 || rc == UV_EAGAIN)
		return 0;
	return err_set(e, ERR_DOWN, "a probe could not be sent: %s", uv_strerror(rc));
}
