/*
 * agent/ipsec/xfrm/guard.c - can traffic that our policies protect pass in clear?
 *
 * The kernel tells of changes of policies, addresses and routes. It does not tell of sysctls, which are
 * read every 2 seconds. Each policy is judged by itself; a change is the event IPSEC_EV_JUDGED.
 */
#include "agent/ipsec/xfrm/db.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS 2000
#define SOON_MS 100  /* events that come together are judged together */
#define ALL_ROUNDS 8 /* so many rounds, and routes and policies are read again without an event */
#define SLICE 50     /* policies that are judged in one callback */
#define FOREIGN_MAX 65536

/* ---- policies of other programs --------------------------------------------------------- */

/* Does the prefix contain the address? An address of no family is any. */
static bool contains(const struct addr *prefix, uint8_t bits, const struct addr *a)
{
	const size_t whole = bits / 8;
	const uint8_t mask = (uint8_t)(0xff00u >> bits % 8);

	if (bits == 0)
		return true;
	return prefix->len == a->len && whole <= a->len &&
	       memcmp(prefix->bytes, a->bytes, whole) == 0 &&
	       (whole == a->len || ((prefix->bytes[whole] ^ a->bytes[whole]) & mask) == 0);
}

static bool ports_overlap(bool has, uint16_t port, uint16_t foreign, uint16_t mask)
{
	return !has || ((port ^ foreign) & mask) == 0;
}

/* Is there a packet that both are for? */
static bool overlaps(const struct xfrm_rule *r, const struct xfrm_rule *foreign)
{
	return r->dir == foreign->dir && contains(&foreign->src, foreign->src_bits, &r->src) &&
	       contains(&foreign->dst, foreign->dst_bits, &r->dst) &&
	       (r->proto == 0 || foreign->proto == 0 || r->proto == foreign->proto) &&
	       ports_overlap(r->has_sport, r->sport, foreign->sport, foreign->sport_mask) &&
	       ports_overlap(r->has_dport, r->dport, foreign->dport, foreign->dport_mask);
}

static bool port_is_within(bool has, uint16_t port, uint16_t foreign, uint16_t mask)
{
	return !has || (mask == UINT16_MAX && port == foreign);
}

/* Is all that the foreign policy is for exempt anyway? */
static bool is_exempt(const struct xfrm_policy *pol, const struct xfrm_rule *foreign)
{
	for (size_t i = 0; i < pol->n_rules; i++) {
		const struct xfrm_rule *r = &pol->rules[i];

		if (!r->protects && r->dir == foreign->dir && r->proto == foreign->proto &&
		    port_is_within(r->has_sport, r->sport, foreign->sport, foreign->sport_mask) &&
		    port_is_within(r->has_dport, r->dport, foreign->dport, foreign->dport_mask))
			return true;
	}
	return false;
}

static void describe_foreign(char *text, size_t size, const struct xfrm_rule *f)
{
	static const char *const dirs[] = {"in", "out", "fwd"};
	char src[ADDR_TEXT], dst[ADDR_TEXT];

	addr_put(src, &f->src);
	addr_put(dst, &f->dst);
	snprintf(text, size,
		 "a foreign policy goes first: src %s/%u dst %s/%u dir %s priority %" PRIu32, src,
		 (unsigned)f->src_bits, dst, (unsigned)f->dst_bits, dirs[f->dir % 3], f->priority);
}

/* The kernel asks the smaller number first; of equal ones, which goes first differs by version. */
static uint32_t judge_foreign(const struct xfrm *db, const struct xfrm_policy *pol, char *text,
			      size_t size)
{
	for (size_t i = 0; i < db->guard.n_foreign; i++) {
		const struct xfrm_rule *f = &db->guard.foreign[i];

		for (size_t k = 0; k < pol->n_rules; k++) {
			const struct xfrm_rule *r = &pol->rules[k];

			if (!r->protects || f->priority > r->priority || !overlaps(r, f) ||
			    is_exempt(pol, f))
				continue;
			describe_foreign(text, size, f);
			return UNPROTECTED_FOREIGN_POLICY;
		}
	}
	return 0;
}

static bool is_as_wanted(const struct xfrm_rule *r, const struct xfrm_rule *is)
{
	return xfrm_rule_same_selector(r, is) && xfrm_same_rule(r, is) && is->allows;
}

static void count_own(struct xfrm *db, const struct xfrm_rule *is)
{
	const uint16_t number = xfrm_number(is);

	for (struct xfrm_policy *pol = db->policies; pol != NULL; pol = pol->next) {
		if (pol->number != number)
			continue;
		for (size_t i = 0; i < pol->n_rules; i++)
			if (is_as_wanted(&pol->rules[i], is))
				pol->rules_seen++;
		return;
	}
}

static int take_rule(struct xfrm *db, const struct nlmsghdr *h, void *arg)
{
	struct xfrm_guard *g = &db->guard;
	struct xfrm_rule r, *more;

	(void)arg;
	if (!xfrm_get_rule(h, &r) || r.dir > XFRM_POLICY_FWD)
		return 0; /* a socket's own policy is for this socket only */
	if (xfrm_is_our_rule(&r)) {
		count_own(db, &r);
		return 0;
	}
	if (!r.allows || g->n_foreign == FOREIGN_MAX)
		return 0; /* what is blocked does not pass in clear */
	if ((g->n_foreign & (g->n_foreign - 1)) == 0) {
		more = realloc(g->foreign, (g->n_foreign * 2 + 1) * sizeof *more);
		if (more == NULL)
			return -1;
		g->foreign = more;
	}
	g->foreign[g->n_foreign++] = r;
	return 0;
}

/*
 * The kernel drops cached routes when a policy is added, and not when one is removed: a connected socket goes
 * on as the removed policy wanted it. So one of our policies of each family is set again, to the same value.
 */
static void drop_cached_routes(struct xfrm *db)
{
	bool is_done[2] = {false, false}, has_failed = false;

	for (const struct xfrm_policy *pol = db->policies; pol != NULL; pol = pol->next) {
		const bool ipv6 = pol->p->local.len == 16;
		size_t i = 0;

		if (is_done[ipv6] || pol->removing || pol->is_missing)
			continue;
		while (i < pol->n_rules &&
		       (pol->rules[i].dir != XFRM_OUT || !pol->rules[i].protects))
			i++;
		if (i == pol->n_rules)
			continue;
		is_done[ipv6] = true;
		has_failed = has_failed ||
			     xfrm_set_rule(db, XFRM_MSG_UPDPOLICY, &pol->rules[i], NULL) < 0;
	}
	db->guard.routes_stale = has_failed;
}

static void read_policies(struct xfrm *db)
{
	union xfrm_msg m;

	if (db->guard.foreign_known) {
		if (db->guard.routes_stale)
			drop_cached_routes(db);
		return;
	}
	db->guard.n_foreign = 0;
	for (struct xfrm_policy *pol = db->policies; pol != NULL; pol = pol->next)
		pol->rules_seen = 0;
	xfrm_put_dump_rules(&m, ++db->seq);
	db->guard.foreign_known = xfrm_dump(db, &m, take_rule, NULL, NULL) == 0;
	for (struct xfrm_policy *pol = db->policies; pol != NULL && db->guard.foreign_known;
	     pol = pol->next)
		pol->is_missing = pol->rules_seen < pol->n_rules &&
				  pol->rules_seen + xfrm_restore_rules(db, pol) < pol->n_rules;
	if (db->guard.foreign_known && db->guard.routes_stale)
		drop_cached_routes(db);
}

/* ---- sysctls ---------------------------------------------------------------------------- */

/* The first byte of the file is '0'? -1: it cannot be read; errno says why. */
static int read_sysctl(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char c = '\0';
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, &c, 1);
	close(fd);
	return n == 1 ? c != '0' : -1;
}

/* One option of one interface, or of all. */
static void judge_sysctl(struct xfrm_device *d, const char *device, const char *option)
{
	const bool is_all = strcmp(device, "all") == 0;
	const char *family = d->ipv6 ? "ipv6" : "ipv4";
	char path[128];
	int is;

	snprintf(path, sizeof path, "/proc/sys/net/%s/conf/%s/%s", family, device, option);
	is = read_sysctl(path);
	if (is > 0) {
		d->reasons |= UNPROTECTED_SYSCTL;
		snprintf(d->text, sizeof d->text, "net.%s.conf.%s.%s is set", family, device,
			 option);
	}
	/* Kernels without the option, and interfaces that have just gone, have no such file. */
	if (is < 0 && (errno != ENOENT || (is_all && !d->ipv6)))
		d->reasons |= UNPROTECTED_UNKNOWN;
}

static void judge_device(struct xfrm *db, struct xfrm_device *d)
{
	char name[DEVICE_ROOM];

	if (!d->ipv6)
		judge_sysctl(d, "all", "disable_xfrm");
	judge_sysctl(d, "all", "disable_policy");
	if (d->index == 0 || !xfrm_device_name(db, d->index, name))
		return;
	if (!d->ipv6)
		judge_sysctl(d, name, "disable_xfrm");
	judge_sysctl(d, name, "disable_policy");
}

static uint32_t judge_sysctls(struct xfrm *db, int index, bool ipv6, char *text, size_t size)
{
	struct xfrm_guard *g = &db->guard;
	struct xfrm_device *d = NULL, other = {0};

	for (size_t i = 0; i < g->n_devices && d == NULL; i++)
		if (g->devices[i].index == index && g->devices[i].ipv6 == ipv6)
			d = &g->devices[i];
	if (d == NULL) {
		d = g->n_devices < sizeof g->devices / sizeof g->devices[0]
			    ? &g->devices[g->n_devices++]
			    : &other;
		*d = (struct xfrm_device){.index = index, .ipv6 = ipv6};
		judge_device(db, d);
	}
	if (d->reasons != 0 && text[0] == '\0')
		snprintf(text, size, "%s", d->text);
	return d->reasons;
}

/* ---- addresses and routes --------------------------------------------------------------- */

static void find_routes(struct xfrm *db, struct xfrm_policy *pol)
{
	struct xfrm_route own, peer;

	xfrm_find_route(db, &pol->p->local, &own);
	xfrm_find_route(db, &pol->p->remote, &peer);
	pol->device = peer.is_local ? 0 : peer.device;
	pol->route_round = db->guard.route_round;
	pol->route_reasons = 0;
	if (!own.is_known || !peer.is_known)
		pol->route_reasons |= UNPROTECTED_UNKNOWN;
	else if (!own.is_local)
		pol->route_reasons |= UNPROTECTED_ADDRESS_GONE;
	else if (peer.exists && !peer.is_local && peer.from.len != 0 &&
		 !addr_equal(&peer.from, &pol->p->local))
		pol->route_reasons |= UNPROTECTED_ROUTE;
	if (peer.is_local)
		pol->route_reasons |= UNPROTECTED_PEER_IS_LOCAL;
}

/* ---- judging ---------------------------------------------------------------------------- */

static void judge_policy(struct xfrm *db, struct xfrm_policy *pol)
{
	char text[256] = "";
	struct ipsec_event ev = {.kind = IPSEC_EV_JUDGED, .owner = pol->p->owner, .text = text};

	pol->judged_round = db->guard.round;
	if (!db->guard.foreign_known || db->guard.routes_stale)
		ev.reasons |= UNPROTECTED_UNKNOWN;
	if (pol->is_missing)
		ev.reasons |= UNPROTECTED_POLICY_MISSING;
	ev.reasons |= judge_foreign(db, pol, text, sizeof text);
	if (pol->route_round != db->guard.route_round)
		find_routes(db, pol);
	ev.reasons |= pol->route_reasons;
	ev.reasons |= judge_sysctls(db, pol->device, pol->p->local.len == 16, text, sizeof text);
	if (pol->is_judged && ev.reasons == pol->reasons)
		return;
	pol->is_judged = true;
	pol->reasons = ev.reasons;
	db->env.on_event(db->env.arg, &ev);
}

static void on_timer(uv_timer_t *t);

static void judge_after(struct xfrm *db, uint64_t ms)
{
	uv_timer_start(&db->guard.timer, on_timer, ms, TICK_MS);
}

/* Judges those that this round has not judged yet; the rest in the next callback. */
static void go_on(struct xfrm *db)
{
	struct xfrm_guard *g = &db->guard;
	unsigned n = 0;

	g->is_slicing = false;
	for (struct xfrm_policy *pol = db->policies; pol != NULL; pol = pol->next) {
		if (pol->judged_round == g->round)
			continue;
		if (n++ == SLICE) {
			g->is_slicing = true;
			judge_after(db, 0);
			return;
		}
		judge_policy(db, pol);
	}
	if (g->is_stale)
		judge_after(db, SOON_MS);
}

static void begin_round(struct xfrm_guard *g)
{
	g->round++;
	g->is_stale = false;
	g->n_devices = 0;
	if (g->round % ALL_ROUNDS == 0) {
		g->route_round++;
		g->foreign_known = false;
	}
}

static void on_timer(uv_timer_t *t)
{
	struct xfrm *db = t->data;
	struct xfrm_guard *g = &db->guard;

	if (db->closing)
		return;
	if (!g->is_slicing && !g->only_new)
		begin_round(g);
	g->only_new = false;
	read_policies(db);
	go_on(db);
}

void xfrm_judge_soon(struct xfrm *db)
{
	if (!db->guard.is_open)
		return;
	db->guard.only_new = true;
	judge_after(db, 0);
}

/* Not later than SOON_MS after the first of several events. */
static void note_event(struct xfrm *db)
{
	struct xfrm_guard *g = &db->guard;

	if (!g->is_open || g->is_stale)
		return;
	g->is_stale = true;
	if (!g->is_slicing && !g->only_new)
		judge_after(db, SOON_MS);
}

void xfrm_judge_anew(struct xfrm *db)
{
	db->guard.foreign_known = false;
	db->guard.routes_stale = true;
	note_event(db);
}

static void on_route_event(uv_poll_t *poll, int status, int events)
{
	struct xfrm *db = poll->data;
	struct xfrm_guard *g = &db->guard;
	ssize_t n;

	(void)status, (void)events;
	do
		n = mnl_socket_recvfrom(g->events, g->answer, sizeof g->answer);
	while (n >= 0 || errno == EINTR || errno == ENOBUFS || errno == ENOSPC);
	g->route_round++;
	note_event(db);
}

/* ---- open and close --------------------------------------------------------------------- */

int xfrm_open_guard(struct xfrm *db, struct err *e)
{
	struct xfrm_guard *g = &db->guard;

	if (xfrm_open_routes(db, e) < 0)
		return -1;
	if (uv_poll_init(db->env.loop, &g->poll, mnl_socket_get_fd(g->events)) != 0)
		return err_set(e, ERR_OS, "the loop does not take the socket of routes");
	g->poll.data = g->timer.data = db;
	uv_timer_init(db->env.loop, &g->timer);
	db->handles += 2;
	uv_poll_start(&g->poll, UV_READABLE, on_route_event);
	g->route_round = g->round = 1;
	g->is_open = true;
	judge_after(db, TICK_MS);
	return 0;
}

void xfrm_close_guard(struct xfrm *db, uv_close_cb on_closed)
{
	if (!db->guard.is_open)
		return;
	db->guard.is_open = false;
	uv_close((uv_handle_t *)&db->guard.poll, on_closed);
	uv_close((uv_handle_t *)&db->guard.timer, on_closed);
}

void xfrm_free_guard(struct xfrm *db)
{
	if (db->guard.ask != NULL)
		mnl_socket_close(db->guard.ask);
	if (db->guard.events != NULL)
		mnl_socket_close(db->guard.events);
	free(db->guard.foreign);
}
