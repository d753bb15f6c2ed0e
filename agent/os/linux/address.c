/*
 * agent/os/linux/address.c - Linux: notices when addresses of this host change.
 *
 * The kernel notifies of each change (RTNETLINK). Whether an address is local is asked of the routing table,
 * which also knows loopback prefixes and local routes, and is right where net.ipv4.ip_nonlocal_bind is set.
 */
#include "agent/os/common.h"
#include "agent/os/linux/inner.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define SETTLE_MS \
	50 /* changes come in groups, and a route goes after the address is reported gone */

struct os_addresses {
	uv_poll_t poll;
	uv_timer_t settle;
	int events, request; /* sockets */
	void (*changed)(void *arg);
	void *arg;
	unsigned handles; /* of the loop, that are not closed yet */
};

static int open_netlink(uint32_t groups)
{
	const struct sockaddr_nl sa = {.nl_family = AF_NETLINK, .nl_groups = groups};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&sa, sizeof sa) != 0) {
		const int no = errno;

		close(fd);
		errno = no;
		return -1;
	}
	return fd;
}

static void on_settled(uv_timer_t *t)
{
	struct os_addresses *w = t->data;

	w->changed(w->arg);
}

/* What has changed is not of interest, nor is a lost notification (ENOBUFS). */
static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct os_addresses *w = poll->data;
	char text[4096];

	(void)status, (void)events;
	for (int i = 0; i < 64 && (recv(w->events, text, sizeof text, 0) >= 0 || errno == ENOBUFS);
	     i++)
		;
	if (!uv_is_active((uv_handle_t *)&w->settle))
		uv_timer_start(&w->settle, on_settled, SETTLE_MS, 0);
}

int os_addresses_watch(struct os_addresses **out, struct uv_loop_s *loop, void (*changed)(void *),
		       void *arg, struct err *e)
{
	struct os_addresses *w = calloc(1, sizeof *w);

	*out = NULL;
	if (w == NULL)
		return err_set(e, ERR_OS, "no memory to watch addresses");
	w->changed = changed;
	w->arg = arg;
	w->events = open_netlink(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
	w->request = w->events < 0 ? -1 : open_netlink(0);
	if (w->request < 0 || uv_poll_init(loop, &w->poll, w->events) != 0) {
		os_failed(e, errno, "watch", "the addresses of this host");
		os_control_close(w->events);
		os_control_close(w->request);
		free(w);
		return -1;
	}
	uv_timer_init(loop, &w->settle);
	w->poll.data = w->settle.data = w;
	w->handles = 2;
	uv_poll_start(&w->poll, UV_READABLE, on_readable);
	uv_unref((uv_handle_t *)&w->poll);
	uv_unref((uv_handle_t *)&w->settle);
	*out = w;
	return 0;
}

struct route_request {
	struct nlmsghdr head;
	struct rtmsg route;
	struct rtattr attribute;
	uint8_t address[16];
};

bool os_addresses_has(struct os_addresses *w, const struct addr *a)
{
	struct route_request q = {
		.head = {.nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST},
		.route = {.rtm_family = a->len == 4 ? AF_INET : AF_INET6,
			  .rtm_dst_len = (unsigned char)(8 * a->len)},
		.attribute = {.rta_len = (unsigned short)RTA_LENGTH(a->len), .rta_type = RTA_DST},
	};
	union {
		struct nlmsghdr head;
		char room[4096];
	} answer;
	ssize_t n;

	if (w == NULL)
		return true;
	while (recv(w->request, &answer, sizeof answer, 0) >= 0)
		; /* of an earlier request that failed */
	memcpy(q.address, a->bytes, a->len);
	q.head.nlmsg_len = (uint32_t)(sizeof q - sizeof q.address + a->len);
	if (send(w->request, &q, q.head.nlmsg_len, 0) < 0)
		return true;
	n = recv(w->request, &answer, sizeof answer, 0); /* the kernel has answered within send() */
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct rtmsg)))
		return true;
	if (answer.head.nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *why = NLMSG_DATA(&answer.head);

		return why->error != -ENETUNREACH && why->error != -EHOSTUNREACH;
	}
	return ((const struct rtmsg *)NLMSG_DATA(&answer.head))->rtm_type == RTN_LOCAL;
}

static void on_closed(uv_handle_t *h)
{
	struct os_addresses *w = h->data;

	if (--w->handles > 0)
		return;
	close(w->events);
	close(w->request);
	free(w);
}

void os_addresses_close(struct os_addresses *w)
{
	if (w == NULL)
		return;
	uv_close((uv_handle_t *)&w->poll, on_closed);
	uv_close((uv_handle_t *)&w->settle, on_closed);
}
