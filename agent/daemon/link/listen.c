/*
 * agent/daemon/link/listen.c - listening sockets.
 */
#include "agent/daemon/link/listen.h"

#include "agent/os/log.h"

#include <stdlib.h>

#define BACKLOG 1024

struct listener {
	struct listener *next;
	struct agent *agent;
	const struct link_owner *ops;
	struct endpoint at;
	uv_tcp_t tcp;
};

static void on_connection(uv_stream_t *server, int status)
{
	struct listener *ln = server->data;
	struct err e = {0};

	if (status < 0) {
		log_limited(loop_now_ms(), LOG_WARN, "accept: %s", uv_strerror(status));
		return;
	}
	if (link_accept(ln->agent, ln->ops, server, &e) == NULL && e.code != ERR_NONE)
		log_limited(loop_now_ms(), LOG_WARN, "accept: %s", e.cause);
}

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

static int open_one(struct agent *a, const struct link_owner *ops, const struct endpoint *ep,
		    struct err *e)
{
	struct listener *ln = calloc(1, sizeof *ln), **end = &a->listeners;
	struct sockaddr_storage ss;
	char text[ENDPOINT_TEXT];
	int rc;

	if (ln == NULL)
		return err_set(e, ERR_OS, "no memory for a listener");
	endpoint_put(text, ep);
	ln->agent = a;
	ln->ops = ops;
	ln->at = *ep;
	uv_tcp_init(&a->loop, &ln->tcp);
	ln->tcp.data = ln;
	os_sockaddr(&ss, &ep->addr, ep->port);
	rc = uv_tcp_bind(&ln->tcp, (const struct sockaddr *)&ss,
			 ep->addr.len == 16 ? UV_TCP_IPV6ONLY : 0);
	if (rc == 0 && link_exempt(a, &ln->tcp, ep->addr.len == 16, e) < 0) {
		uv_close((uv_handle_t *)&ln->tcp, on_closed);
		return err_in(e, "listen on %s", text);
	}
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&ln->tcp, BACKLOG, on_connection);
	if (rc != 0) {
		err_set(e, rc == UV_EACCES ? ERR_PERM : ERR_OS, "cannot listen on %s: %s", text,
			uv_strerror(rc));
		e->os = (uint32_t)-rc;
		err_hint(e, rc == UV_EADDRINUSE
				    ? "another agent or program has this port: stop it, or choose "
				      "another with --listen"
				    : "choose an address of this host with --listen");
		uv_close((uv_handle_t *)&ln->tcp, on_closed);
		return -1;
	}
	while (*end != NULL)
		end = &(*end)->next;
	*end = ln;
	return 0;
}

int listen_open(struct agent *a, const struct link_owner *ops, struct err *e)
{
	for (size_t i = 0; i < a->cfg.listens; i++) {
		struct err one = {0};

		if (open_one(a, ops, &a->cfg.listen[i], &one) == 0)
			continue;
		/* The default listens on both families; a host without IPv6 is no failure. */
		if (a->cfg.listens > 1 && addr_is_any(&a->cfg.listen[i].addr) &&
		    (int)one.os == -UV_EAFNOSUPPORT)
			continue;
		*e = one;
		return -1;
	}
	if (a->listeners == NULL && a->cfg.listens > 0)
		return err_set(e, ERR_OS, "no listening socket could be opened");
	return 0;
}

bool listen_address(const struct agent *a, size_t i, struct endpoint *ep)
{
	const struct listener *ln = a->listeners;

	for (; ln != NULL && i > 0; i--)
		ln = ln->next;
	if (ln != NULL)
		*ep = ln->at;
	return ln != NULL;
}

void listen_close(struct agent *a)
{
	while (a->listeners != NULL) {
		struct listener *ln = a->listeners;

		a->listeners = ln->next;
		uv_close((uv_handle_t *)&ln->tcp, on_closed);
	}
}
