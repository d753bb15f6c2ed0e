/*
 * agent/ipsec/xfrm/route.c - asks the kernel for routes and interfaces, by rtnetlink.
 */
#include "agent/ipsec/xfrm/db.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

int xfrm_open_routes(struct xfrm *db, struct err *e)
{
	const unsigned groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE |
				RTMGRP_IPV4_RULE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE |
				1u << (RTNLGRP_IPV6_RULE - 1);
	struct xfrm_guard *g = &db->guard;

	g->ask = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	g->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (g->ask != NULL && g->events != NULL &&
	    mnl_socket_bind(g->ask, 0, MNL_SOCKET_AUTOPID) == 0 &&
	    mnl_socket_bind(g->events, groups, MNL_SOCKET_AUTOPID) == 0)
		return 0;
	xfrm_said(e, errno, "");
	return err_in(e, "netlink socket of routes");
}

/* Sends a request and waits for its answer, which stays in guard.answer. The kernel's errno; 0: done. */
static int ask(struct xfrm *db, struct nlmsghdr *h)
{
	struct xfrm_guard *g = &db->guard;
	const struct nlmsghdr *answer = (const void *)g->answer;
	const struct nlmsgerr *error;
	ssize_t n;

	h->nlmsg_flags |= NLM_F_REQUEST;
	h->nlmsg_seq = ++g->seq;
	do
		n = mnl_socket_sendto(g->ask, h, h->nlmsg_len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno;
	do
		n = mnl_socket_recvfrom(g->ask, g->answer, sizeof g->answer);
	while ((n < 0 && errno == EINTR) ||
	       (n >= 0 && (!mnl_nlmsg_ok(answer, (int)n) || answer->nlmsg_seq != h->nlmsg_seq)));
	if (n < 0)
		return errno;
	if (answer->nlmsg_type != NLMSG_ERROR)
		return 0;
	error = mnl_nlmsg_get_payload(answer);
	return error->error != 0 ? -error->error : EPROTO;
}

static bool attr_ok(const struct nlmsghdr *h, const struct nlattr *a)
{
	return mnl_attr_ok(a, (int)((const char *)mnl_nlmsg_get_payload_tail(h) - (const char *)a));
}

void xfrm_find_route(struct xfrm *db, const struct addr *to, struct xfrm_route *r)
{
	union {
		struct nlmsghdr head;
		char room[128];
	} m = {.head = {.nlmsg_len = 0}};
	struct nlmsghdr *h = mnl_nlmsg_put_header(&m);
	struct rtmsg *ask_for = mnl_nlmsg_put_extra_header(h, sizeof *ask_for);
	const struct rtmsg *is;
	int os;

	memset(r, 0, sizeof *r);
	h->nlmsg_type = RTM_GETROUTE;
	ask_for->rtm_family = to->len == 16 ? AF_INET6 : AF_INET;
	ask_for->rtm_dst_len = (uint8_t)(to->len * 8);
	mnl_attr_put(h, RTA_DST, to->len, to->bytes);
	os = ask(db, h);
	r->is_known = os == 0 || os == ENETUNREACH || os == EHOSTUNREACH || os == EACCES ||
		      os == EINVAL || os == ENODEV;
	if (os != 0)
		return;
	h = (void *)db->guard.answer;
	is = mnl_nlmsg_get_payload(h);
	if (h->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(h) < sizeof *is)
		return;
	r->is_local = is->rtm_type == RTN_LOCAL;
	r->exists = r->is_local || is->rtm_type == RTN_UNICAST;
	for (const struct nlattr *a = mnl_nlmsg_get_payload_offset(h, sizeof *is); attr_ok(h, a);
	     a = mnl_attr_next(a)) {
		if (mnl_attr_get_type(a) == RTA_OIF && mnl_attr_get_payload_len(a) == 4)
			r->device = (int)mnl_attr_get_u32(a);
		if (mnl_attr_get_type(a) == RTA_PREFSRC && mnl_attr_get_payload_len(a) == to->len) {
			r->from.len = to->len;
			memcpy(r->from.bytes, mnl_attr_get_payload(a), to->len);
		}
	}
}

bool xfrm_device_name(struct xfrm *db, int index, char name[DEVICE_ROOM])
{
	union {
		struct nlmsghdr head;
		char room[128];
	} m = {.head = {.nlmsg_len = 0}};
	struct nlmsghdr *h = mnl_nlmsg_put_header(&m);
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(h, sizeof *link);

	name[0] = '\0';
	h->nlmsg_type = RTM_GETLINK;
	link->ifi_index = index;
	if (ask(db, h) != 0)
		return false;
	h = (void *)db->guard.answer;
	if (h->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(h) < sizeof *link)
		return false;
	for (const struct nlattr *a = mnl_nlmsg_get_payload_offset(h, sizeof *link); attr_ok(h, a);
	     a = mnl_attr_next(a))
		if (mnl_attr_get_type(a) == IFLA_IFNAME &&
		    mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
			snprintf(name, DEVICE_ROOM, "%s", mnl_attr_get_str(a));
	return name[0] != '\0';
}
