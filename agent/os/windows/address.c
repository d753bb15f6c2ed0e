/*
 * agent/os/windows/address.c - Windows: notices when addresses of this host change, by looking each second.
 */
#include "agent/os/windows/inner.h"

#include <stdlib.h>
#include <uv.h>

#define LOOK_MS 1000

struct os_addresses {
	uv_timer_t timer;
	void (*changed)(void *arg);
	void *arg;
};

static void on_timer(uv_timer_t *t)
{
	struct os_addresses *w = t->data;

	w->changed(w->arg);
}

int os_addresses_watch(struct os_addresses **out, struct uv_loop_s *loop, void (*changed)(void *),
		       void *arg, struct err *e)
{
	struct os_addresses *w = calloc(1, sizeof *w);

	*out = w;
	if (w == NULL)
		return err_set(e, ERR_OS, "no memory to watch addresses");
	w->changed = changed;
	w->arg = arg;
	uv_timer_init(loop, &w->timer);
	w->timer.data = w;
	uv_timer_start(&w->timer, on_timer, LOOK_MS, LOOK_MS);
	uv_unref((uv_handle_t *)&w->timer);
	return 0;
}

bool os_addresses_has(struct os_addresses *w, const struct addr *a)
{
	struct sockaddr_storage ss;
	const unsigned len = os_sockaddr(&ss, a, 0);
	const SOCKET s = socket(ss.ss_family, SOCK_DGRAM, IPPROTO_UDP);
	bool has = true;

	(void)w;
	if (s != INVALID_SOCKET) {
		if (bind(s, (const struct sockaddr *)&ss, (int)len) != 0)
			has = WSAGetLastError() != WSAEADDRNOTAVAIL;
		closesocket(s);
	}
	return has;
}

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

void os_addresses_close(struct os_addresses *w)
{
	if (w != NULL)
		uv_close((uv_handle_t *)&w->timer, on_closed);
}
