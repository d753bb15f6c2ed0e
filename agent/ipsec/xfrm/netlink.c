/*
 * agent/ipsec/xfrm/netlink.c - requests to the kernel and their answers, dumps, sockets.
 */
#include "agent/ipsec/xfrm/db.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <linux/filter.h>
#include <sys/socket.h>

#define EVENT_BUFFER (4 << 20)

/* Missing in kernel headers before 2018. */
#ifndef NETLINK_CAP_ACK
#define NETLINK_CAP_ACK 10
#endif
#ifndef NETLINK_EXT_ACK
#define NETLINK_EXT_ACK 11
#endif

int xfrm_said(struct err *e, int os, const char *text)
{
	err_set(e, os == EPERM ? ERR_PERM : ERR_OS, "the kernel says: %s%s%s", strerror(os),
		text[0] != '\0' ? ": " : "", text);
	if (e != NULL)
		e->os = (uint32_t)os;
	switch (os) {
	case EPERM:
		return err_hint(e, "run it as root, or with the capability CAP_NET_ADMIN");
	case EPROTONOSUPPORT:
		return err_hint(e, "this kernel has no ESP: load the modules esp4 and esp6 "
				   "(CONFIG_INET_ESP, CONFIG_INET6_ESP); in a container, on its "
				   "host");
	case ENOBUFS:
	case ENOMEM:
		return err_hint(e, "the kernel is short of memory: try again later");
	default:
		return -1;
	}
}

static ssize_t put_out(struct xfrm *db, union xfrm_msg *m)
{
	ssize_t n;

	/* Events carry the port of the request that caused them: filter_events() looks for it. */
	m->head.nlmsg_pid = mnl_socket_get_portid(db->ask);
	do
		n = mnl_socket_sendto(db->ask, m, m->head.nlmsg_len);
	while (n < 0 && errno == EINTR);
	return n;
}

#define REMOVAL_TRIES 3

int xfrm_ask(struct xfrm *db, union xfrm_msg *m, bool has_answer, struct err *e)
{
	const uint32_t seq = m->head.nlmsg_seq;
	char text[160];
	ssize_t n;
	int os;

	n = put_out(db, m);
	wipe(m, sizeof *m);
	if (n < 0)
		return xfrm_said(e, errno, "send by netlink");
	for (;;) {
		const struct nlmsghdr *h = (const void *)db->answer;

		n = mnl_socket_recvfrom(db->ask, db->answer, sizeof db->answer);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return xfrm_said(e, errno, "receive by netlink");
		if (!mnl_nlmsg_ok(h, (int)n) || h->nlmsg_seq != seq)
			continue; /* a late answer to an earlier request */
		if (has_answer && h->nlmsg_type != NLMSG_ERROR)
			return 0;
		if (!xfrm_get_error(h, &os, text, sizeof text))
			return err_set(e, ERR_OS, "an answer of type %u by netlink",
				       (unsigned)h->nlmsg_type);
		return os == 0 ? 0 : xfrm_said(e, os, text);
	}
}

int xfrm_dump(struct xfrm *db, union xfrm_msg *m, on_dumped *each, void *arg, struct err *e)
{
	const uint32_t seq = m->head.nlmsg_seq;
	bool over = false;
	int rc = 0;

	if (put_out(db, m) < 0)
		return xfrm_said(e, errno, "send by netlink");
	while (!over) {
		ssize_t n = mnl_socket_recvfrom(db->ask, db->answer, sizeof db->answer);
		const struct nlmsghdr *h = (const void *)db->answer;
		int left = (int)n, os;
		char text[160];

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return xfrm_said(e, errno, "receive by netlink");
		for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			if (h->nlmsg_seq != seq)
				continue;
			if (h->nlmsg_type == NLMSG_DONE) {
				over = true;
			} else if (xfrm_get_error(h, &os, text, sizeof text)) {
				over = true;
				rc = xfrm_said(e, os, text);
			} else if (rc == 0 && each(db, h, arg) < 0) {
				rc = err_set(e, ERR_OS, "no memory for what the kernel has");
			}
		}
		wipe(db->answer, (size_t)n); /* SAs come with their keys */
	}
	return rc;
}

/*
 * A larval SA of an acquire has no SPI, so it cannot be deleted and stays for net.core.xfrm_acq_expires
 * seconds. ALLOCSPI between the same hosts, with the same reqid, gives it an SPI.
 */
static int name_larval(struct xfrm *db, struct xfrm_sa *sa, struct err *e)
{
	union xfrm_msg m;
	struct xfrm_sa got;

	xfrm_put_allocspi(&m, ++db->seq, sa, SPI_MIN);
	if (xfrm_ask(db, &m, true, e) < 0)
		return -1;
	if (!xfrm_get_sa((const void *)db->answer, &got))
		return err_set(e, ERR_OS, "an answer that is no SA");
	sa->spi = got.spi;
	return 0;
}

/* Repeats the removal until the object is gone: a request or an answer may be lost. */
int xfrm_delete_sa(struct xfrm *db, const struct xfrm_sa *sa, struct err *e)
{
	struct xfrm_sa named = *sa;
	struct err why = {0};

	if (named.spi.n == 0 && name_larval(db, &named, e) < 0)
		return err_in(e, "remove what traffic asked for");
	for (int i = 0; i < REMOVAL_TRIES; i++) {
		union xfrm_msg m;

		memset(&why, 0, sizeof why);
		xfrm_put_sa_id(&m, ++db->seq, XFRM_MSG_DELSA, &named);
		if (xfrm_ask(db, &m, false, &why) == 0 || why.os == ESRCH)
			return 0;
	}
	if (e != NULL)
		*e = why;
	return err_in(e, "remove the SA %08" PRIx32, sa->spi.n);
}

int xfrm_set_rule(struct xfrm *db, uint16_t type, const struct xfrm_rule *r, struct err *e)
{
	union xfrm_msg m;

	xfrm_put_rule(&m, ++db->seq, type, r);
	return xfrm_ask(db, &m, false, e);
}

static int delete_rule_once(struct xfrm *db, const struct xfrm_rule *r, struct err *e)
{
	struct xfrm_rule is;
	union xfrm_msg m;

	xfrm_put_rule_id(&m, ++db->seq, XFRM_MSG_GETPOLICY, r);
	if (xfrm_ask(db, &m, true, e) < 0)
		return -1;
	if (!xfrm_get_rule((const void *)db->answer, &is) || !xfrm_is_our_rule(&is))
		return 0;
	xfrm_put_rule_id(&m, ++db->seq, XFRM_MSG_DELPOLICY, r);
	return xfrm_ask(db, &m, false, e);
}

int xfrm_delete_rule(struct xfrm *db, const struct xfrm_rule *r, struct err *e)
{
	struct err why = {0};

	for (int i = 0; i < REMOVAL_TRIES; i++) {
		memset(&why, 0, sizeof why);
		if (delete_rule_once(db, r, &why) == 0 || why.os == ENOENT || why.os == ESRCH)
			return 0;
	}
	if (e != NULL)
		*e = why;
	return err_in(e, "remove a policy");
}

/* ---- sockets ----------------------------------------------------------------------------- */

/* Passes the types of events that are used, unless one of our own requests caused them. */
static int filter_events(struct mnl_socket *events, uint32_t own_port)
{
	static const uint16_t types[] = {XFRM_MSG_EXPIRE,    XFRM_MSG_DELSA,
					 XFRM_MSG_FLUSHSA,   XFRM_MSG_DELPOLICY,
					 XFRM_MSG_UPDPOLICY, XFRM_MSG_FLUSHPOLICY,
					 XFRM_MSG_ACQUIRE};
	enum { N = sizeof types / sizeof types[0] };
	struct sock_filter code[N + 5];
	struct sock_fprog prog = {.len = N + 5, .filter = code};

	/* The filter reads big endian; netlink heads are in the host's order. */
	code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					       offsetof(struct nlmsghdr, nlmsg_pid));
	code[1] =
		(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(own_port), N + 1, 0);
	code[2] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_H | BPF_ABS,
					       offsetof(struct nlmsghdr, nlmsg_type));
	for (unsigned i = 0; i < N; i++)
		code[3 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							   htons(types[i]), (uint8_t)(N - i), 0);
	code[N + 3] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	code[N + 4] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	return setsockopt(mnl_socket_get_fd(events), SOL_SOCKET, SO_ATTACH_FILTER, &prog,
			  sizeof prog);
}

static bool is_absent(int os)
{
	return os == EPROTONOSUPPORT || os == ESOCKTNOSUPPORT || os == EAFNOSUPPORT;
}

static int no_socket(struct err *e, int os)
{
	xfrm_said(e, os, "");
	if (is_absent(os))
		err_hint(e, "this kernel has no IPsec interface: load the module xfrm_user "
			    "(CONFIG_XFRM_USER)");
	return err_in(e, "netlink socket of IPsec");
}

int xfrm_open_sockets(struct xfrm *db, struct err *e)
{
	const unsigned groups = XFRMGRP_ACQUIRE | XFRMGRP_EXPIRE | XFRMGRP_SA | XFRMGRP_POLICY;
	int on = 1, room = EVENT_BUFFER, fd;

	db->ask = mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC);
	if (db->ask == NULL || mnl_socket_bind(db->ask, 0, MNL_SOCKET_AUTOPID) < 0)
		return no_socket(e, errno);
	/* Without NETLINK_CAP_ACK, errors contain the request with its keys. */
	mnl_socket_setsockopt(db->ask, NETLINK_CAP_ACK, &on, sizeof on);
	mnl_socket_setsockopt(db->ask, NETLINK_EXT_ACK, &on, sizeof on);

	db->events = mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (db->events == NULL)
		return no_socket(e, errno);
	fd = mnl_socket_get_fd(db->events);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	if (filter_events(db->events, mnl_socket_get_portid(db->ask)) < 0 ||
	    mnl_socket_bind(db->events, groups, MNL_SOCKET_AUTOPID) < 0)
		return no_socket(e, errno);
	return 0;
}
