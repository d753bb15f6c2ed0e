/*
 * agent/privsep/client_linux.c - starts the helper; the back end that forwards each call to it.
 *
 * Each call sends one request and waits for its answer. Events that arrive meanwhile are delivered when
 * the loop runs again.
 */
#include "agent/privsep/client.h"

#include "agent/os/os.h"
#include "agent/ipsec/ipsec.h"
#include "agent/privsep/record.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#define HELPER_FD 3 /* in the helper */
#define READY_MS 60000
#define END_MS 1000

static char helper_name[] = "sapair-helper";

/* ---- the process ------------------------------------------------------------------------- */

struct privsep {
	int fd;
	pid_t pid;
};

/* In the child after fork(): must not allocate. */
static void become_helper(char **argv, int fd)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
	int null = open("/dev/null", O_RDWR);

	/* Signals to the process group are for the network process; the helper ends after it. */
	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		signal(ignored[i], SIG_IGN);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1); /* a reader of the agent's output must not wait for the helper */
	}
	if (fd == HELPER_FD)
		fcntl(fd, F_SETFD, 0);
	else
		dup2(fd, HELPER_FD);
#ifdef SYS_close_range
	syscall(SYS_close_range, HELPER_FD + 1, ~0u, 0); /* inherit nothing else */
#endif
	execv("/proc/self/exe", argv);
	execv((const char *)(uintptr_t)getauxval(AT_EXECFN), argv); /* no /proc */
	_exit(127);
}

int privsep_start(struct privsep **out, struct err *e)
{
	struct privsep *a = calloc(1, sizeof *a);
	char **own = os_own_args(), **argv;
	int ends[2] = {-1, -1};
	size_t n = 0;

	while (own[n] != NULL)
		n++;
	argv = calloc(n + 1, sizeof *argv);
	if (a == NULL || argv == NULL ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		goto failed;
	memcpy(argv, own, n * sizeof *argv);
	argv[0] = helper_name;
	a->fd = ends[0];
	a->pid = fork();
	if (a->pid < 0)
		goto failed;
	if (a->pid == 0)
		become_helper(argv, ends[1]);
	close(ends[1]);
	free(argv);
	*out = a;
	return 0;

failed:
	err_set(e, ERR_OS, "the helper process cannot be started: %s", strerror(errno));
	if (ends[0] >= 0)
		close(ends[0]);
	if (ends[1] >= 0)
		close(ends[1]);
	free(argv);
	free(a);
	return -1;
}

intptr_t privsep_socket(const struct privsep *a)
{
	return a->fd;
}

void privsep_hang_up(struct privsep *a)
{
	shutdown(a->fd, SHUT_RDWR);
}

void privsep_end(struct privsep *a)
{
	if (a == NULL)
		return;
	privsep_hang_up(a);
	close(a->fd);
	for (int i = 0; i < END_MS && waitpid(a->pid, NULL, WNOHANG) == 0; i++)
		os_sleep_ms(1);
	free(a);
}

bool privsep_is_helper(void)
{
	return strcmp(os_own_args()[0], helper_name) == 0;
}

/* ---- the back end ------------------------------------------------------------------------ */

struct waiting {
	struct waiting *next;
	struct privsep_answer event;
};

struct client {
	struct ipsec db;
	struct ipsec_env env;
	struct ipsec_can can;
	struct privsep *privsep;
	int fd;
	uv_poll_t poll;
	uv_timer_t later;
	unsigned handles; /* that are not closed yet */
	bool closing, lost, told;
	uint32_t seq;

	struct policy **policies; /* by number, less 1 */
	size_t n_policies;
	struct waiting *first, **last;

	struct privsep_request request;
	struct privsep_answer answer;
	uint8_t wire[PRIVSEP_LEN];
};

static void on_later(uv_timer_t *t);

static struct client *client_of(struct ipsec *db)
{
	return (struct client *)(void *)db;
}

static int is_lost(struct client *c, struct err *e)
{
	if (!c->lost && !c->closing)
		uv_timer_start(&c->later, on_later, 0, 0);
	c->lost = true;
	err_set(e, ERR_OS, "the helper process has ended: nothing can be changed any more");
	return err_hint(e, "see the log for the cause; SAs and policies stay as they are");
}

/* Hints are never freed: there are few. */
static const char *intern_hint(const char *hint)
{
	static char *known[64];

	if (hint[0] == '\0')
		return NULL;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (known[i] == NULL)
			known[i] = strdup(hint);
		if (known[i] != NULL && strcmp(known[i], hint) == 0)
			return known[i];
	}
	return NULL;
}

static int failed(const struct privsep_answer *a, struct err *e)
{
	err_set(e, (enum err_code)a->code, "%s", a->cause);
	if (e != NULL) {
		e->os = a->os;
		memcpy(e->cause, a->cause, sizeof e->cause); /* the helper has escaped it */
		e->hint = intern_hint(a->hint);
	}
	return -1;
}

static void keep_event(struct client *c, const struct privsep_answer *a)
{
	struct waiting *w = malloc(sizeof *w);

	if (w == NULL)
		return;
	*w = (struct waiting){NULL, *a};
	*c->last = w;
	c->last = &w->next;
	if (!c->closing)
		uv_timer_start(&c->later, on_later, 0, 0);
}

/* Reads the next answer or event into c->answer. 1: there is none. */
static int receive(struct client *c, int flags, struct err *e)
{
	ssize_t n;

	do
		n = recv(c->fd, c->wire, sizeof c->wire, flags);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 1;
	if (n <= 0 || privsep_get_answer(&c->answer, c->wire, (size_t)n, NULL) < 0)
		return is_lost(c, e);
	return 0;
}

/* Sends what is in c->wire, with a socket if fd >= 0. */
static int send_wire(struct client *c, int fd, struct err *e)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof fd)];
	} control;
	struct iovec all = {c->wire, sizeof c->wire};
	struct msghdr m = {.msg_iov = &all, .msg_iovlen = 1};
	ssize_t n;

	if (c->lost)
		return is_lost(c, e);
	if (fd >= 0) {
		memset(&control, 0, sizeof control);
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
	}
	do
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? is_lost(c, e) : 0;
}

/* Waits for the answer to the request of that number; IPSEC_UNKNOWN if none comes. */
static int await(struct client *c, enum privsep_op op, uint32_t seq, struct err *e)
{
	const struct privsep_answer *a = &c->answer;

	do {
		if (receive(c, 0, e) < 0)
			return IPSEC_UNKNOWN;
		if (a->op == PRIVSEP_EVENT)
			keep_event(c, a);
	} while (a->op == PRIVSEP_EVENT);
	if (a->op != op || a->seq != seq) {
		is_lost(c, e);
		return IPSEC_UNKNOWN;
	}
	if (a->code == ERR_NONE)
		return 0;
	failed(a, e);
	return a->unknown ? IPSEC_UNKNOWN : -1;
}

/* Sends c->request, and waits for c->answer. -1: it was not sent, or was not done; IPSEC_UNKNOWN. */
static int ask(struct client *c, enum privsep_op op, int fd, struct err *e)
{
	const uint32_t seq = ++c->seq;
	int rc;

	c->request.op = op;
	c->request.seq = seq;
	privsep_put_request(c->wire, &c->request);
	wipe(&c->request, sizeof c->request);
	rc = send_wire(c, fd, e);
	wipe(c->wire, sizeof c->wire);
	return rc < 0 ? -1 : await(c, op, seq, e);
}

/* ---- calls ------------------------------------------------------------------------------- */

static void client_can(struct ipsec *db, struct ipsec_can *can)
{
	*can = client_of(db)->can;
}

static struct policy *policy_of(const struct client *c, uint32_t number)
{
	return number > 0 && number <= c->n_policies ? c->policies[number - 1] : NULL;
}

/* Room for one more number: the helper, too, doubles its list only when no number is free. */
static bool make_room(struct client *c)
{
	const size_t n = c->n_policies > 0 ? 2 * c->n_policies : 1;
	struct policy **more;

	for (size_t i = 0; i < c->n_policies; i++)
		if (c->policies[i] == NULL)
			return true;
	more = realloc(c->policies, n * sizeof(struct policy *));
	if (more == NULL)
		return false;
	memset(more + c->n_policies, 0, (n - c->n_policies) * sizeof(struct policy *));
	c->policies = more;
	c->n_policies = n;
	return true;
}

static int client_policy_add(struct ipsec *db, struct policy *p, struct err *e)
{
	struct client *c = client_of(db);
	uint32_t number;

	/* Room first: a policy that is installed is never removed because of an error here. */
	if (!make_room(c))
		return err_set(e, ERR_OS, "no memory for a policy");
	c->request.add = *p;
	if (ask(c, PRIVSEP_POLICY_ADD, -1, e) < 0)
		return -1;
	number = c->answer.policy;
	if (number == 0 || number > c->n_policies || c->policies[number - 1] != NULL)
		return is_lost(c, e);
	c->policies[number - 1] = p;
	p->ref = number;
	return 0;
}

static int client_policy_remove(struct ipsec *db, struct policy *p, struct err *e)
{
	struct client *c = client_of(db);
	const uint32_t number = (uint32_t)p->ref;

	if (policy_of(c, number) != p)
		return err_set(e, ERR_BUG, "peer %s: no policy was added", p->peer);
	c->request.policy = number;
	if (ask(c, PRIVSEP_POLICY_REMOVE, -1, e) < 0)
		return -1;
	c->policies[number - 1] = NULL;
	p->ref = 0;
	for (struct waiting *w = c->first; w != NULL; w = w->next)
		if (w->event.policy == number)
			w->event.policy = 0;
	return 0;
}

static int client_reserve(struct ipsec *db, struct policy *p, struct ipsec_ctx *ctx, struct spi *in,
			  struct err *e)
{
	struct client *c = client_of(db);
	int rc;

	if (policy_of(c, (uint32_t)p->ref) != p)
		return err_set(e, ERR_BUG, "peer %s: no policy was added", p->peer);
	c->request.policy = (uint32_t)p->ref;
	rc = ask(c, PRIVSEP_RESERVE, -1, e);
	if (rc < 0)
		return rc;
	ctx->id = c->answer.ctx;
	*in = c->answer.spi;
	return 0;
}

static void set_sa(struct privsep_sa *sa, const struct policy *p, const struct sa_keys *k)
{
	sa->keys = *k;
	sa->limits = p->limits;
}

/* The upper bits of a context's number are that of its policy. */
static const struct policy *policy_of_ctx(const struct client *c, struct ipsec_ctx ctx,
					  struct err *e)
{
	const struct policy *p = policy_of(c, (uint32_t)(ctx.id >> 40));

	if (p == NULL)
		err_set(e, ERR_BUG, "a context of no policy");
	return p;
}

static int client_install(struct ipsec *db, struct ipsec_ctx ctx, const struct sa_keys *in,
			  const struct sa_keys *out, struct err *e)
{
	struct client *c = client_of(db);
	const struct policy *p = policy_of_ctx(c, ctx, e);

	if (p == NULL)
		return -1;
	c->request.ctx = ctx.id;
	set_sa(&c->request.in, p, in);
	set_sa(&c->request.out, p, out);
	return ask(c, PRIVSEP_INSTALL, -1, e);
}

static int client_activate(struct ipsec *db, struct ipsec_ctx ctx, const struct sa_keys *out,
			   struct err *e)
{
	struct client *c = client_of(db);
	const struct policy *p = policy_of_ctx(c, ctx, e);

	if (p == NULL)
		return -1;
	c->request.ctx = ctx.id;
	set_sa(&c->request.out, p, out);
	return ask(c, PRIVSEP_ACTIVATE, -1, e);
}

static int client_remove(struct ipsec *db, struct ipsec_ctx ctx, enum ipsec_part part,
			 struct err *e)
{
	struct client *c = client_of(db);

	c->request.ctx = ctx.id;
	c->request.part = (uint8_t)part;
	return ask(c, PRIVSEP_REMOVE, -1, e);
}

static int client_query(struct ipsec *db, struct ipsec_ctx ctx, enum ipsec_part part,
			struct sa_counts *counts, struct err *e)
{
	struct client *c = client_of(db);

	c->request.ctx = ctx.id;
	c->request.part = (uint8_t)part;
	if (ask(c, PRIVSEP_QUERY, -1, e) < 0)
		return -1;
	*counts = c->answer.counts;
	return 0;
}

static int client_recover(struct ipsec *db, ipsec_found *found, void *arg, struct err *e)
{
	struct client *c = client_of(db);

	for (;;) {
		struct ipsec_leftover l;
		const struct policy *p;

		if (ask(c, PRIVSEP_RECOVER, -1, e) < 0)
			return -1;
		if (c->answer.ctx == 0)
			return 0;
		p = policy_of(c, c->answer.policy);
		if (p == NULL)
			continue;
		l = (struct ipsec_leftover){.ctx = {c->answer.ctx},
					    .part = (enum ipsec_part)c->answer.part,
					    .local = c->answer.local,
					    .remote = c->answer.remote,
					    .spi = c->answer.spi,
					    .owner = p->owner,
					    .left_s = c->answer.left_s};
		if (found(arg, &l, e) < 0)
			return -1;
	}
}

static int client_exempt_socket(struct ipsec *db, intptr_t fd, bool ipv6, struct err *e)
{
	struct client *c = client_of(db);

	c->request.ipv6 = ipv6;
	return ask(c, PRIVSEP_EXEMPT, (int)fd, e);
}

static int client_reload(struct ipsec *db, struct err *e)
{
	return ask(client_of(db), PRIVSEP_RELOAD, -1, e);
}

/* ---- events ------------------------------------------------------------------------------ */

static void tell(struct client *c, const struct privsep_answer *a)
{
	const struct policy *p = policy_of(c, a->policy);
	struct ipsec_event ev = {.kind = (enum ipsec_event_kind)a->kind,
				 .owner = p != NULL ? p->owner : NULL,
				 .ctx = {a->ctx},
				 .part = (enum ipsec_part)a->part,
				 .reason = (enum rekey_reason)a->reason,
				 .spi = a->spi,
				 .text = a->cause[0] != '\0' ? a->cause : NULL};

	if (a->kind <= IPSEC_EV_REMOVED && p != NULL)
		c->env.on_event(c->env.arg, &ev);
}

static void tell_loss(struct client *c)
{
	struct ipsec_event ev = {.kind = IPSEC_EV_LOST};
	struct err e = {0};

	if (c->told)
		return;
	c->told = true;
	uv_poll_stop(&c->poll);
	is_lost(c, &e);
	ev.text = e.cause;
	c->env.on_event(c->env.arg, &ev);
}

static void on_later(uv_timer_t *t)
{
	struct client *c = t->data;

	while (!c->closing && c->first != NULL) {
		struct waiting *w = c->first;

		c->first = w->next;
		if (c->first == NULL)
			c->last = &c->first;
		tell(c, &w->event);
		free(w);
	}
	if (!c->closing && c->lost)
		tell_loss(c);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct client *c = poll->data;

	(void)status, (void)events;
	while (receive(c, MSG_DONTWAIT, NULL) == 0) {
		if (c->answer.op != PRIVSEP_EVENT) {
			is_lost(c, NULL);
			break;
		}
		keep_event(c, &c->answer);
	}
	on_later(&c->later);
}

/* ---- open and close ---------------------------------------------------------------------- */

/* What the back end can do, or why it cannot be opened. */
static int await_ready(struct client *c, struct err *e)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	const struct privsep_answer *a = &c->answer;
	int n;

	do
		n = poll(&p, 1, READY_MS);
	while (n < 0 && errno == EINTR);
	if (n <= 0 || recv(c->fd, c->wire, sizeof c->wire, MSG_DONTWAIT) != PRIVSEP_LEN ||
	    privsep_get_answer(&c->answer, c->wire, PRIVSEP_LEN, NULL) < 0 ||
	    a->op != PRIVSEP_READY)
		return err_set(e, ERR_OS, "the helper process does not start");
	if (a->code != ERR_NONE)
		return failed(a, e);
	c->can = a->can;
	return 0;
}

static const struct ipsec_ops forward_ops;

static int privsep_open(struct ipsec **out, const struct ipsec_env *env, struct err *e)
{
	struct client *c = calloc(1, sizeof *c);

	if (c == NULL)
		return err_set(e, ERR_OS, "no memory");
	c->db.ops = &forward_ops;
	c->env = *env;
	c->privsep = env->privsep;
	c->fd = (int)privsep_socket(env->privsep);
	c->last = &c->first;
	if (await_ready(c, e) < 0)
		goto free_client;
	if (uv_poll_init(env->loop, &c->poll, c->fd) != 0) {
		err_set(e, ERR_OS, "the loop does not take the helper's socket");
		goto free_client;
	}
	/* libuv has set O_NONBLOCK; calls block. */
	fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) & ~O_NONBLOCK);
	uv_timer_init(env->loop, &c->later);
	c->poll.data = c->later.data = c;
	c->handles = 2;
	uv_poll_start(&c->poll, UV_READABLE, on_readable);
	*out = &c->db;
	return 0;

free_client:
	privsep_hang_up(env->privsep);
	free(c);
	return -1;
}

static void on_closed(uv_handle_t *h)
{
	struct client *c = h->data;

	if (--c->handles > 0)
		return;
	while (c->first != NULL) {
		struct waiting *w = c->first;

		c->first = w->next;
		free(w);
	}
	free(c->policies);
	wipe(c, sizeof *c);
	free(c);
}

/* The helper leaves policies and SAs in the kernel: fail closed. */
static void client_close(struct ipsec *db)
{
	struct client *c = client_of(db);

	c->closing = true;
	for (size_t i = 0; i < c->n_policies; i++)
		if (c->policies[i] != NULL)
			c->policies[i]->ref = 0;
	privsep_hang_up(c->privsep);
	uv_close((uv_handle_t *)&c->poll, on_closed);
	uv_close((uv_handle_t *)&c->later, on_closed);
}

static const struct ipsec_ops forward_ops = {
	.name = "xfrm",
	.open = privsep_open,
	.close = client_close,
	.can = client_can,
	.policy_add = client_policy_add,
	.policy_remove = client_policy_remove,
	.reserve = client_reserve,
	.install = client_install,
	.activate = client_activate,
	.remove = client_remove,
	.query = client_query,
	.recover = client_recover,
	.exempt_socket = client_exempt_socket,
	.reload = client_reload,
};

const struct ipsec_ops *privsep_backend(const struct privsep *a)
{
	return a != NULL ? &forward_ops : NULL;
}
