/*
 * agent/ipsec/xfrm/netlink.c - dialogue with the kernel: requests, answers, dumps, sockets.
 */
#define _GNU_SOURCE /* for recvmmsg. NOLINT */
#include "agent/ipsec/xfrm/db.h"

#include "agent/os/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <linux/filter.h>
#include <sys/socket.h>

#define EVENT_BUFFER (4 << 20)

/* Of the kernel's headers from 2018 on; older ones lack some. */
#ifndef NETLINK_CAP_ACK
#define NETLINK_CAP_ACK 10
#endif
#ifndef NETLINK_EXT_ACK
#define NETLINK_EXT_ACK 11
#endif

#define ACK_ROOM 512 /* an error with the kernel's own words */
#define SEQ_LATER 0  /* of requests that nobody waits for; others count from 1 */

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

/* Sends n requests, and what waits ahead of them. */
static ssize_t put_out(struct xfrm *db, union xfrm_msg *m, size_t count)
{
	struct iovec parts[1 + XFRM_TOGETHER] = {{db->later, db->n_later * sizeof db->later[0]}};
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct msghdr msg = {.msg_name = &kernel,
			     .msg_namelen = sizeof kernel,
			     .msg_iov = parts,
			     .msg_iovlen = 1 + count};
	ssize_t n;

	/* Events bear the number that their cause bore: filter_events() knows ours by it. */
	for (size_t i = 0; i < count; i++) {
		m[i].head.nlmsg_pid = mnl_socket_get_portid(db->ask);
		parts[1 + i] = (struct iovec){&m[i], NLMSG_ALIGN(m[i].head.nlmsg_len)};
	}
	do
		n = sendmsg(mnl_socket_get_fd(db->ask), &msg, 0);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		db->n_later = 0;
	return n;
}

/* An answer that nobody waits for: a removal failed, or the rest of something that was given up. */
static void hear_later(const struct nlmsghdr *h, int left)
{
	char text[160];
	int os;

	if (mnl_nlmsg_ok(h, left) && h->nlmsg_seq == SEQ_LATER &&
	    xfrm_get_error(h, &os, text, sizeof text) && os != ESRCH)
		log_line(LOG_WARN, "the kernel did not remove an SA: %s %s", strerror(os), text);
}

static void on_turn(uv_prepare_t *h)
{
	xfrm_flush(h->data);
}

void xfrm_flush(struct xfrm *db)
{
	if (db->n_later > 0)
		put_out(db, NULL, 0); /* if it fails, at the next turn */
	if (db->n_later == 0)
		uv_prepare_stop(&db->turn);
}

void xfrm_delete_later(struct xfrm *db, const struct xfrm_sa *sa)
{
	struct xfrm_removal *r;
	union xfrm_msg m;

	if (db->n_later == LATER_MAX)
		xfrm_flush(db);
	if (db->n_later == LATER_MAX) {
		xfrm_delete_sa(db, sa, NULL);
		return;
	}
	xfrm_put_sa_id(&m, SEQ_LATER, XFRM_MSG_DELSA, sa);
	m.head.nlmsg_flags &= (uint16_t)~NLM_F_ACK;
	m.head.nlmsg_pid = mnl_socket_get_portid(db->ask);
	r = &db->later[db->n_later++];
	assert(m.head.nlmsg_len == sizeof *r);
	memcpy(r, &m, sizeof *r);
	uv_prepare_start(&db->turn, on_turn);
}

/*
 * Sends one request and waits for its answer: an acknowledgement, an error, or (has_answer) a
 * message, which stays in db->answer. Wipes what it read when it is no answer, and m in any case.
 */
int xfrm_ask(struct xfrm *db, union xfrm_msg *m, bool has_answer, struct err *e)
{
	const uint32_t seq = m->head.nlmsg_seq;
	char text[160];
	ssize_t n;
	int os;

	n = put_out(db, m, 1);
	wipe(m, sizeof *m);
	if (n < 0)
		return xfrm_said(e, errno, "send by netlink");
	for (;;) {
		const struct nlmsghdr *h = (const void *)db->answer;
		int left;

		n = mnl_socket_recvfrom(db->ask, db->answer, sizeof db->answer);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return xfrm_said(e, errno, "receive by netlink");
		left = (int)n;
		if (!mnl_nlmsg_ok(h, left) || h->nlmsg_seq != seq) {
			hear_later(h, left);
			continue;
		}
		if (has_answer && h->nlmsg_type != NLMSG_ERROR)
			return 0;
		if (!xfrm_get_error(h, &os, text, sizeof text))
			return err_set(e, ERR_OS, "an answer of type %u by netlink",
				       (unsigned)h->nlmsg_type);
		return os == 0 ? 0 : xfrm_said(e, os, text);
	}
}

/* The answer to one of n requests, numbered from first on; others are heard. */
static unsigned take_answer(const struct nlmsghdr *h, size_t len, uint32_t first, size_t n,
			    struct xfrm_sa *got, struct err *e)
{
	const uint32_t i = h->nlmsg_seq - first;
	char text[160];
	int os;

	if (!mnl_nlmsg_ok(h, (int)len) || h->nlmsg_seq == SEQ_LATER || i >= n) {
		hear_later(h, (int)len);
		return 0;
	}
	if (xfrm_get_error(h, &os, text, sizeof text)) {
		if (os != 0)
			xfrm_said(&e[i], os, text);
	} else if (got == NULL || i != n - 1 || !xfrm_get_sa(h, got)) {
		err_set(&e[i], ERR_OS, "an answer of type %u by netlink", (unsigned)h->nlmsg_type);
	}
	return 1u << i;
}

static int fail_each(struct err *e, size_t n, int os, const char *what)
{
	for (size_t i = 0; i < n; i++)
		xfrm_said(&e[i], os, what);
	return -1;
}

int xfrm_ask_each(struct xfrm *db, union xfrm_msg *m, size_t n, struct xfrm_sa *got, struct err *e)
{
	const uint32_t first = db->seq + 1;
	uint32_t room[XFRM_TOGETHER][ACK_ROOM / 4];
	struct iovec parts[XFRM_TOGETHER];
	struct mmsghdr answers[XFRM_TOGETHER] = {{.msg_len = 0}};
	unsigned missing = (1u << n) - 1;
	int os = 0;

	for (size_t i = 0; i < n; i++) {
		parts[i] = (struct iovec){&room[i], sizeof room[i]};
		answers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
		m[i].head.nlmsg_seq = first + (uint32_t)i;
	}
	db->seq += (uint32_t)n;
	if (put_out(db, m, n) < 0)
		os = errno;
	wipe(m, n * sizeof *m);
	if (os != 0)
		return fail_each(e, n, os, "send by netlink");
	while (missing != 0) {
		/* The kernel has answered all before it came back from the request. */
		int come = recvmmsg(mnl_socket_get_fd(db->ask), answers, (unsigned)n,
				    MSG_WAITFORONE, NULL);

		if (come < 0 && errno == EINTR)
			continue;
		if (come < 0)
			return fail_each(e, n, errno, "receive by netlink");
		for (int i = 0; i < come; i++)
			missing &= ~take_answer((const void *)&room[i], answers[i].msg_len, first,
						n, got, e);
	}
	for (size_t i = 0; i < n; i++)
		if (e[i].code != ERR_NONE)
			return -1;
	return 0;
}

int xfrm_dump(struct xfrm *db, union xfrm_msg *m, on_dumped *each, void *arg, struct err *e)
{
	const uint32_t seq = m->head.nlmsg_seq;
	bool over = false;
	int rc = 0;

	if (put_out(db, m, 1) < 0)
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
			if (h->nlmsg_seq != seq) {
				hear_later(h, left);
				continue;
			}
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
 * Traffic made the kernel note that an SA is wanted. Nothing deletes that without an SPI, and for
 * net.core.xfrm_acq_expires seconds it would stay; but who asks for an SPI between the same hosts, with
 * the same reqid, gets this very one.
 */
static int name_wanted(struct xfrm *db, struct xfrm_sa *sa, struct err *e)
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

int xfrm_delete_sa(struct xfrm *db, const struct xfrm_sa *sa, struct err *e)
{
	struct xfrm_sa named = *sa;
	union xfrm_msg m;
	struct err why = {0};

	if (named.spi.n == 0 && name_wanted(db, &named, e) < 0)
		return err_in(e, "remove what traffic asked for");
	xfrm_put_sa_id(&m, ++db->seq, XFRM_MSG_DELSA, &named);
	if (xfrm_ask(db, &m, false, &why) == 0 || why.os == ESRCH)
		return 0;
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

/* Only when it is still ours: somebody may have put another in its place. */
int xfrm_delete_rule(struct xfrm *db, const struct xfrm_rule *r, struct err *e)
{
	struct xfrm_rule is;
	struct err why = {0};
	union xfrm_msg m;

	xfrm_put_rule_id(&m, ++db->seq, XFRM_MSG_GETPOLICY, r);
	if (xfrm_ask(db, &m, true, &why) < 0)
		goto failed;
	if (!xfrm_get_rule((const void *)db->answer, &is) || !xfrm_is_our_rule(&is))
		return 0;
	xfrm_put_rule_id(&m, ++db->seq, XFRM_MSG_DELPOLICY, r);
	if (xfrm_ask(db, &m, false, &why) == 0)
		return 0;
failed:
	if (why.os == ENOENT || why.os == ESRCH)
		return 0;
	if (e != NULL)
		*e = why;
	return err_in(e, "remove a policy");
}

/* ---- sockets ----------------------------------------------------------------------------- */

/* Lets through what we look at, unless it is an echo of our own requests. */
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

bool xfrm_is_absent(int os)
{
	return os == EPROTONOSUPPORT || os == ESOCKTNOSUPPORT || os == EAFNOSUPPORT;
}

static int no_socket(struct err *e, int os)
{
	xfrm_said(e, os, "");
	if (xfrm_is_absent(os))
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
	/* Without the first, errors bring the request back, keys included. */
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
