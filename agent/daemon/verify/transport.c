/*
 * agent/daemon/verify/transport.c - probe datagrams by UDP.
 *
 * One socket for each local address and port sends, as any program's would: the policies alone decide
 * whether its datagrams are protected. It receives, too, unless the system can require SAs of a socket. Then
 * each peer has a second, connected one, which accepts only what the SAs with this peer have carried; the
 * kernel prefers it for datagrams from this peer. It does not send, since the kernel keeps the route of a
 * connected socket, and with it the decision to protect, after another program's policy is removed.
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
	bool is_closed; /* connected, and accepts only what the SAs of its one user have carried */
	struct transport *only_user;
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

	if (c->only_user != NULL) {
		c->only_user->receive(c->only_user->arg, (const uint8_t *)c->room, n);
		return;
	}
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

static int bind_socket(struct probe_socket *c, const struct transport *t, bool is_closed,
		       struct err *e)
{
	const bool ipv6 = c->at.addr.len == 16;
	struct sockaddr_storage ss;
	uv_os_fd_t fd;
	int rc;

	if (ipsec_can_require_sa(t->agent->db))
		(void)os_udp_share(&c->udp); /* without it, bind fails for all but the first */
	if (is_closed && (uv_fileno((uv_handle_t *)&c->udp, &fd) != 0 ||
			  ipsec_require_sa(t->agent->db, t->policy, (intptr_t)fd, e) < 0))
		return -1;
	os_sockaddr(&ss, &c->at.addr, c->at.port);
	rc = uv_udp_bind(&c->udp, (const struct sockaddr *)&ss, ipv6 ? UV_UDP_IPV6ONLY : 0);
	if (rc == 0 && is_closed) {
		os_sockaddr(&ss, &t->policy->remote, t->policy->peer_port);
		rc = uv_udp_connect(&c->udp, (const struct sockaddr *)&ss);
	}
	if (rc == 0)
		rc = uv_udp_recv_start(&c->udp, on_room, on_received);
	return rc == 0 ? 0 : no_socket(e, rc, &c->at);
}

static struct probe_socket *open_socket(const struct transport *t, bool is_closed, struct err *e)
{
	struct probe_socket *c = calloc(1, sizeof *c);

	if (c == NULL) {
		err_set(e, ERR_OS, "no memory for a socket");
		return NULL;
	}
	c->at = (struct endpoint){t->policy->local, t->policy->control_port};
	c->is_closed = is_closed;
	if (uv_udp_init_ex(&t->agent->loop, &c->udp, c->at.addr.len == 16 ? AF_INET6 : AF_INET) !=
	    0) {
		free(c);
		err_set(e, ERR_OS, "no socket for probes");
		return NULL;
	}
	c->udp.data = c;
	if (bind_socket(c, t, is_closed, e) < 0) {
		uv_close((uv_handle_t *)&c->udp, on_closed);
		return NULL;
	}
	c->next = t->agent->probe_sockets;
	t->agent->probe_sockets = c;
	return c;
}

static struct probe_socket *shared_socket(const struct transport *t, struct err *e)
{
	const struct endpoint at = {t->policy->local, t->policy->control_port};
	struct probe_socket *s = t->agent->probe_sockets;

	while (s != NULL &&
	       (s->is_closed || s->at.port != at.port || !addr_equal(&s->at.addr, &at.addr)))
		s = s->next;
	return s != NULL ? s : open_socket(t, false, e);
}

static void use_socket(struct transport *t, struct probe_socket *s)
{
	t->next = s->users;
	s->users = t;
	t->socket = s;
}

void transport_require_sa(struct transport *t)
{
	if (t->socket == NULL || t->receiver != NULL || !ipsec_can_require_sa(t->agent->db))
		return;
	t->receiver =
		open_socket(t, true, NULL); /* without a route, say, the next run tries again */
	if (t->receiver != NULL)
		t->receiver->only_user = t;
}

bool transport_is_closed(const struct transport *t)
{
	return ipsec_sends(t->agent->db) || t->receiver != NULL;
}

int transport_open(struct transport *t, struct err *e)
{
	struct probe_socket *s;

	if (ipsec_sends(t->agent->db) || t->socket != NULL)
		return 0;
	s = shared_socket(t, e);
	if (s == NULL)
		return -1;
	use_socket(t, s);
	return 0;
}

static void close_socket(struct agent *a, struct probe_socket *s)
{
	struct probe_socket **at = &a->probe_sockets;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	uv_close((uv_handle_t *)&s->udp, on_closed);
}

void transport_close(struct transport *t)
{
	struct probe_socket *s = t->socket;
	struct transport **user;

	if (t->receiver != NULL)
		close_socket(t->agent, t->receiver);
	t->receiver = NULL;
	if (s == NULL)
		return;
	for (user = &s->users; *user != t;)
		user = &(*user)->next;
	*user = t->next;
	t->socket = NULL;
	if (s->users == NULL)
		close_socket(t->agent, s);
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
