/*
 * agent/privsep/helper.c - the helper: the only process that may configure the system's IPsec.
 *
 * It reads the config, opens the back end, gives up everything but CAP_NET_ADMIN and a few system calls,
 * and then serves the network process. agent/privsep/policy.h judges each request; refusals are logged.
 * The helper ends when the network process does; SAs and policies stay.
 */
#include "agent/privsep/client.h"

#include "agent/os/confine.h"
#include "agent/os/log.h"
#include "agent/os/os.h"
#include "agent/privsep/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define OTHER_FD 3 /* socket to the network process */

/* A policy that is in force. */
struct owned {
	struct policy p;
	uint32_t number;
};

/* What a request names. */
struct request {
	struct privsep_grant *grant;
	struct privsep_context *context; /* REMOVE: NULL if it is gone */
	struct ipsec_ctx ctx;            /* its id in the back end */
	int fd;                          /* that came with it, or -1 */
};

struct helper {
	uv_loop_t loop; /* the back end's */
	struct ipsec *db;
	bool over;
	const struct privsep_source *source;
	struct privsep_grants grants;
	int routes[2]; /* datagram sockets, IPv4 and IPv6, to find the local address of a route */

	struct privsep_request request;
	struct privsep_answer answer, event;
	uint8_t wire[PRIVSEP_LEN + 1]; /* so that a longer record is noticed */
	uint8_t sent[PRIVSEP_LEN];
};

/* ---- answers and events ------------------------------------------------------------------ */

/* Blocks until the network process has room for it. */
static void send_answer(struct helper *h, const struct privsep_answer *a)
{
	ssize_t n;

	privsep_put_answer(h->sent, a);
	do
		n = send(OTHER_FD, h->sent, sizeof h->sent, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		h->over = true;
}

static void fill_err(struct privsep_answer *a, const struct err *e)
{
	a->code = (uint8_t)e->code;
	a->os = e->os;
	memcpy(a->cause, e->cause, sizeof a->cause);
	snprintf(a->hint, sizeof a->hint, "%s", e->hint != NULL ? e->hint : "");
}

static void on_event(void *arg, const struct ipsec_event *ev)
{
	struct helper *h = arg;
	const struct owned *own = ev->owner;
	struct privsep_answer *a = &h->event;
	struct privsep_context *context;
	struct privsep_grant *grant;

	if (own == NULL)
		return;
	grant = &h->grants.list[own->number - 1];
	context = ev->ctx.id != 0 ? privsep_context_find(grant, ev->ctx.id) : NULL;
	memset(a, 0, sizeof *a);
	a->op = PRIVSEP_EVENT;
	a->kind = (uint8_t)ev->kind;
	a->policy = own->number;
	a->part = (uint8_t)ev->part;
	a->reason = (uint8_t)ev->reason;
	a->spi = ev->spi;
	if (context != NULL)
		a->ctx = privsep_context_number(&h->grants, grant, context);
	snprintf(a->cause, sizeof a->cause, "%s", ev->text != NULL ? ev->text : "");
	if (context != NULL && (ev->kind == IPSEC_EV_HARD || ev->kind == IPSEC_EV_REMOVED))
		privsep_context_removed(grant, context, a->part);
	send_answer(h, a);
}

static int route_of(void *arg, const struct addr *remote, struct addr *local, struct err *e)
{
	const struct helper *h = arg;
	const bool ipv6 = remote->len == 16;
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct sockaddr_storage ss;
	struct sockaddr *sa = (struct sockaddr *)&ss;
	socklen_t len = os_sockaddr(&ss, remote, PROTO_PORT);
	int fd = h->routes[ipv6], rc;

	rc = connect(fd, sa, len);
	if (rc == 0)
		rc = getsockname(fd, sa, &len);
	if (rc != 0)
		err_set(e, ERR_OS, "no route: %s", strerror(errno));
	(void)connect(fd, &none, sizeof none);
	if (rc != 0)
		return -1;
	*local = os_endpoint(sa).addr;
	return 0;
}

/* ---- requests: one function each --------------------------------------------------------- */

static int do_policy_add(struct helper *h, const struct request *q, struct err *e)
{
	struct owned *own = calloc(1, sizeof *own);

	if (own == NULL)
		return err_set(e, ERR_OS, "no memory for a policy");
	own->p = h->request.add;
	own->p.owner = own;
	/* Before the policy is added, since that may already raise an event. */
	q->grant->owner = own;
	own->number = h->answer.policy = privsep_grant_add(&h->grants, q->grant, &h->request);
	if (ipsec_policy_add(h->db, &own->p, e) == 0)
		return 0;
	privsep_grant_remove(&h->grants, q->grant);
	free(own);
	return -1;
}

static int do_policy_remove(struct helper *h, const struct request *q, struct err *e)
{
	struct owned *own = q->grant->owner;

	if (ipsec_policy_remove(h->db, &own->p, e) < 0)
		return -1; /* the client asks again */
	privsep_grant_remove(&h->grants, q->grant);
	free(own);
	return 0;
}

static int do_reserve(struct helper *h, const struct request *q, struct err *e)
{
	struct owned *own = q->grant->owner;
	struct ipsec_ctx ctx;
	int rc;

	rc = ipsec_reserve(h->db, &own->p, &ctx, &h->answer.spi, e);
	if (rc < 0)
		return rc;
	h->answer.ctx = privsep_context_add(&h->grants, q->grant, ctx.id, h->answer.spi, 0);
	if (h->answer.ctx != 0)
		return 0;
	ipsec_remove(h->db, ctx, IPSEC_BOTH, NULL);
	return err_set(e, ERR_OS, "no memory for an SA");
}

static int do_install(struct helper *h, const struct request *q, struct err *e)
{
	const struct privsep_request *r = &h->request;
	struct owned *own = q->grant->owner;
	int rc;

	own->p.limits = r->in.limits; /* the outbound SA has the same */
	rc = ipsec_install(h->db, q->ctx, &r->in.keys, &r->out.keys, e);
	if (rc == 0)
		privsep_context_installed(q->context, r->out.keys.spi);
	return rc;
}

static int do_activate(struct helper *h, const struct request *q, struct err *e)
{
	struct owned *own = q->grant->owner;
	int rc;

	own->p.limits = h->request.out.limits;
	rc = ipsec_activate(h->db, q->ctx, &h->request.out.keys, e);
	if (rc == 0)
		privsep_context_activated(q->context);
	return rc;
}

static int do_remove(struct helper *h, const struct request *q, struct err *e)
{
	if (q->context == NULL) /* it is gone */
		return 0;
	if (ipsec_remove(h->db, q->ctx, (enum ipsec_part)h->request.part, e) < 0)
		return -1; /* the client asks again */
	privsep_context_removed(q->grant, q->context, h->request.part);
	return 0;
}

static int do_query(struct helper *h, const struct request *q, struct err *e)
{
	return ipsec_query(h->db, q->ctx, (enum ipsec_part)h->request.part, &h->answer.counts, e);
}

/* Takes the first one and stops: the others follow with the next requests. */
static int take_first(void *arg, const struct ipsec_leftover *l, struct err *e)
{
	struct ipsec_leftover *found = arg;

	(void)e;
	*found = *l;
	return -1;
}

static int do_recover(struct helper *h, const struct request *q, struct err *e)
{
	struct ipsec_leftover l = {.ctx = {0}};
	struct privsep_answer *a = &h->answer;
	const struct owned *own;
	int rc;

	(void)q;
	rc = ipsec_recover(h->db, take_first, &l, e);
	if (l.ctx.id == 0)
		return rc;
	own = l.owner;
	a->policy = own->number;
	a->ctx = privsep_context_add(&h->grants, &h->grants.list[own->number - 1], l.ctx.id, l.spi,
				     (uint8_t)l.part);
	a->part = (uint8_t)l.part;
	a->spi = l.spi;
	a->local = l.local;
	a->remote = l.remote;
	a->left_s = l.left_s;
	return a->ctx != 0 ? 0 : err_set(e, ERR_OS, "no memory for an SA");
}

static bool is_option(int fd, int option, int want)
{
	int is = -1;
	socklen_t len = sizeof is;

	return getsockopt(fd, SOL_SOCKET, option, &is, &len) == 0 && is == want;
}

/* Only the agents' own TCP bypasses the policies. */
static int do_exempt(struct helper *h, const struct request *q, struct err *e)
{
	const bool ipv6 = h->request.ipv6;

	if (q->fd < 0 || !is_option(q->fd, SO_DOMAIN, ipv6 ? AF_INET6 : AF_INET) ||
	    !is_option(q->fd, SO_TYPE, SOCK_STREAM) || !is_option(q->fd, SO_PROTOCOL, IPPROTO_TCP))
		return err_set(e, ERR_PERM, "exempt: no TCP socket of that family");
	return ipsec_exempt_socket(h->db, q->fd, ipv6, e);
}

static int read_config(struct helper *h, struct err *e)
{
	struct config c;
	int rc;

	if (h->source->read(h->source->arg, &c, e) < 0)
		return -1;
	rc = privsep_grants_configure(&h->grants, &c, e);
	config_free(&c);
	return rc;
}

static int do_reload(struct helper *h, const struct request *q, struct err *e)
{
	(void)q;
	return read_config(h, e);
}

static void log_refusal(const struct err *e)
{
	log_limited(os_now_ns() / 1000000, LOG_WARN, "helper: refused: %s", e->cause);
}

static int do_request(struct helper *h, int fd, struct err *e)
{
	static int (*const handlers[PRIVSEP_OPS])(struct helper *, const struct request *,
						  struct err *) = {
#define HANDLER(name, fn, fields, condition) [PRIVSEP_##name] = do_##fn,
		PRIVSEP_REQUESTS(HANDLER)
#undef HANDLER
	};
	struct request q = {.fd = fd};

	if (privsep_check(&h->grants, &h->request, route_of, h, &q.grant, &q.context, e) < 0) {
		if (e->code != ERR_DOWN)
			log_refusal(e);
		return -1;
	}
	q.ctx.id = q.context != NULL ? q.context->inner : 0;
	return handlers[h->request.op](h, &q, e);
}

/* ---- the socket -------------------------------------------------------------------------- */

/* The last descriptor of a record, or -1; the others are closed. */
static int descriptor_of(struct msghdr *m)
{
	int fd = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		size_t n = 0;

		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			n = (c->cmsg_len - CMSG_LEN(0)) / sizeof fd;
		for (size_t i = 0; i < n; i++) {
			if (fd >= 0)
				close(fd);
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
		}
	}
	return fd;
}

static void serve(struct helper *h, const uint8_t *wire, size_t n, int fd)
{
	struct privsep_answer *a = &h->answer;
	struct err e = {0};
	int rc = privsep_get_request(&h->request, wire, n, &e);

	memset(a, 0, sizeof *a);
	a->op = rc < 0 ? PRIVSEP_READY : h->request.op;
	a->seq = h->request.seq;
	if (rc < 0)
		log_refusal(&e);
	else
		rc = do_request(h, fd, &e);
	wipe(&h->request, sizeof h->request);
	if (rc < 0)
		fill_err(a, &e);
	a->unknown = rc == IPSEC_UNKNOWN;
	send_answer(h, a);
}

/* Receives and answers one request, if there is one. */
static void take_request(struct helper *h)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec all = {h->wire, sizeof h->wire};
	struct msghdr m = {.msg_iov = &all,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof control};
	ssize_t n = recvmsg(OTHER_FD, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		h->over = true;
		return;
	}
	fd = descriptor_of(&m);
	serve(h, h->wire, (size_t)n, fd);
	wipe(h->wire, sizeof h->wire);
	if (fd >= 0)
		close(fd);
}

/* Serves requests and runs the back end's loop. */
static void work(struct helper *h)
{
	struct pollfd on[] = {{.fd = OTHER_FD, .events = POLLIN},
			      {.fd = uv_backend_fd(&h->loop), .events = POLLIN}};

	while (!h->over) {
		uv_run(&h->loop, UV_RUN_NOWAIT);
		if (poll(on, 2, uv_backend_timeout(&h->loop)) > 0 && on[0].revents != 0)
			take_request(h);
	}
}

/* ---- start and end ----------------------------------------------------------------------- */

/* Exempt from the policies, which would make connect() fail while there is no SA. */
static void open_routes(struct helper *h)
{
	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		h->routes[ipv6] =
			socket(ipv6 != 0 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (h->routes[ipv6] >= 0)
			ipsec_exempt_socket(h->db, h->routes[ipv6], ipv6 != 0, NULL);
	}
}

static void confine(const struct helper *h)
{
	const struct confinement c = {.role = CONFINE_HELPER, .paths = h->source->paths};
	struct confined result;

	os_confine(&c, &result);
	log_line(LOG_INFO, "helper: confined: %s", result.done);
	if (result.failed[0] != '\0')
		log_line(LOG_WARN, "helper: not confined: %s", result.failed);
}

/* Everything that needs rights which the helper gives up afterwards. */
static int begin(struct helper *h, struct err *e)
{
	const struct ipsec_env env = {.loop = &h->loop, .on_event = on_event, .arg = h};

	if (read_config(h, e) < 0 || ipsec_xfrm.open(&h->db, &env, e) < 0)
		return -1;
	open_routes(h);
	confine(h);
	return 0;
}

static void send_ready(struct helper *h, int rc, const struct err *e)
{
	struct privsep_answer *a = &h->answer;

	a->op = PRIVSEP_READY;
	if (rc < 0)
		fill_err(a, e);
	else
		ipsec_can(h->db, &a->can);
	send_answer(h, a);
}

static void end(struct helper *h)
{
	if (h->db != NULL)
		ipsec_close(h->db);
	uv_run(&h->loop, UV_RUN_DEFAULT);
	uv_loop_close(&h->loop);
	for (int i = 0; i < 2; i++)
		if (h->routes[i] >= 0)
			close(h->routes[i]);
	for (size_t i = 0; i < h->grants.n_grants; i++)
		free(h->grants.list[i].owner);
	privsep_grants_free(&h->grants);
	wipe(h, sizeof *h);
	free(h);
}

int privsep_serve(const struct privsep_source *source, struct err *e)
{
	struct helper *h;
	struct err why = {0};
	int rc;

	if (!is_option(OTHER_FD, SO_DOMAIN, AF_UNIX) ||
	    !is_option(OTHER_FD, SO_TYPE, SOCK_SEQPACKET))
		return err_set(e, ERR_USAGE, "the helper is started by sapair run only");
	h = calloc(1, sizeof *h);
	if (h == NULL)
		return err_set(e, ERR_OS, "no memory for the helper");
	prctl(PR_SET_NAME, "sapair-helper", 0, 0, 0);
	fcntl(OTHER_FD, F_SETFD, FD_CLOEXEC);
	if (!os_lock_memory())
		mlock(h, sizeof *h); /* where keys pass through */
	h->source = source;
	h->routes[0] = h->routes[1] = -1;
	os_confine_rings();
	uv_loop_init(&h->loop);
	rc = begin(h, &why);
	send_ready(h, rc, &why);
	if (rc == 0)
		work(h);
	end(h);
	return 0;
}
