/*
 * agent/ipsec/ipsec.c - finds a back end by name, and checks what every back end would have to.
 */
#include "agent/ipsec/ipsec.h"

#include "agent/privsep/record.h"

#include <stdio.h>
#include <string.h>

/* The back ends of this program; "auto" takes the first of the system's own that opens. */
static const struct ipsec_ops *const table[] = {
#ifdef __linux__
	&ipsec_xfrm,
#endif
#ifdef _WIN32
	&ipsec_wfp,
#endif
	&ipsec_soft,
};
#define TABLE_LEN (sizeof table / sizeof table[0])

/* In process: carries the probes, but does not protect the host's traffic. */
static bool is_systems_own(const struct ipsec_ops *ops)
{
	return ops != &ipsec_soft;
}

const char *ipsec_names(void)
{
	static char names[16 * TABLE_LEN];

	if (names[0] == '\0')
		for (size_t i = 0, n = 0; i < TABLE_LEN; i++)
			n += (size_t)snprintf(names + n, sizeof names - n, "%s%s",
					      i > 0 ? ", " : "", table[i]->name);
	return names;
}

static const struct ipsec_ops *find(const char *name)
{
	for (size_t i = 0; i < TABLE_LEN; i++)
		if (strcmp(table[i]->name, name) == 0)
			return table[i];
	return NULL;
}

bool ipsec_known(const char *name)
{
	return strcmp(name, "auto") == 0 || find(name) != NULL;
}

static int open_one(struct ipsec **db, const struct ipsec_ops *ops, const struct ipsec_env *env,
		    struct err *e)
{
#ifdef __linux__
	if (env->privsep != NULL && ops == &ipsec_xfrm)
		ops = &ipsec_privsep;
#endif
	return ops->open(db, env, e);
}

/* Falls back to soft only where there is nothing else to have: a right that is missing is an error,
 * or a host that could be protected would not be (D9). */
static int open_auto(struct ipsec **db, const struct ipsec_env *env, struct err *e)
{
	for (size_t i = 0; i < TABLE_LEN; i++) {
		struct err why = {0};
		int rc;

		if (!is_systems_own(table[i]))
			continue;
		rc = open_one(db, table[i], env, &why);
		if (rc == 0)
			return 0;
		err_in(&why, "back end %s", table[i]->name);
		if (e != NULL)
			*e = why;
		if (rc != IPSEC_ABSENT)
			return -1;
	}
	return ipsec_soft.open(db, env, e);
}

int ipsec_open(struct ipsec **db, const char *name, const struct ipsec_env *env, struct err *e)
{
	const struct ipsec_ops *ops;

	*db = NULL;
	if (strcmp(name, "auto") == 0)
		return open_auto(db, env, e);
	ops = find(name);
	if (ops == NULL)
		return err_set(e, ERR_USAGE, "back end \"%s\": this program has auto, %s", name,
			       ipsec_names());
	if (open_one(db, ops, env, e) < 0)
		return err_in(e, "back end %s", name);
	return 0;
}

void ipsec_close(struct ipsec *db)
{
	if (db != NULL)
		db->ops->close(db);
}

void ipsec_can(struct ipsec *db, struct ipsec_can *can)
{
	memset(can, 0, sizeof *can);
	db->ops->can(db, can);
}

static int lacks(const struct ipsec *db, const char *what, struct err *e)
{
	return err_set(e, ERR_USAGE, "back end %s cannot do %s", db->ops->name, what);
}

void ipsec_policy_of(struct sa_policy *p, const struct privsep_policy *from)
{
	memset(p, 0, sizeof *p);
	p->peer = from->peer;
	p->local = from->local;
	p->remote = from->remote;
	p->control_port = from->control_port;
	p->peer_port = from->peer_port;
	p->local_esp_port = from->local_esp_port;
	p->remote_esp_port = from->remote_esp_port;
	p->mode = (enum policy_mode)from->mode;
	p->encap = (enum encap_mode)from->encap;
	p->start = (enum policy_start)from->start;
	p->udp = from->udp;
	p->protects = from->protects;
	p->exempts = from->exempts;
	memcpy(p->protect, from->protect, sizeof p->protect);
	memcpy(p->exempt, from->exempt, sizeof p->exempt);
}

int ipsec_policy_add(struct ipsec *db, struct sa_policy *p, struct err *e)
{
	struct ipsec_can can;

	if (p->ref != 0)
		return err_set(e, ERR_BUG, "peer %s: policy added twice", p->peer);
	if (p->local.len != p->remote.len || !addr_is_unicast(&p->local) ||
	    !addr_is_unicast(&p->remote))
		return err_set(e, ERR_USAGE,
			       "peer %s: not a pair of unicast addresses of one family", p->peer);
	ipsec_can(db, &can);
	if (p->encap == ENCAP_TUNNEL && !can.tunnel)
		return lacks(db, "encapsulation \"tunnel\"", e);
	if (p->udp && !can.udp)
		return lacks(db, "ESP in UDP", e);
	if (p->start == START_SEAMLESS && !can.seamless)
		return lacks(db, "start \"seamless\"", e);
	if (p->mode == MODE_PERMISSIVE && !can.permissive)
		return lacks(db, "mode \"permissive\"", e);
	return db->ops->policy_add(db, p, e);
}

int ipsec_policy_remove(struct ipsec *db, struct sa_policy *p, struct err *e)
{
	return db->ops->policy_remove(db, p, e);
}

int ipsec_reserve(struct ipsec *db, struct sa_policy *p, struct ipsec_ctx *ctx, struct spi *in,
		  struct err *e)
{
	ctx->id = 0;
	in->n = 0;
	return db->ops->reserve(db, p, ctx, in, e);
}

static int check_keys(struct ipsec *db, const struct sa_keys *k, struct err *e)
{
	struct ipsec_can can;

	if (!spi_usable(k->spi))
		return err_set(e, ERR_BUG, "SPI %u is reserved: 0 to 255", (unsigned)k->spi.n);
	if ((unsigned)k->suite >= SUITE_COUNT)
		return err_set(e, ERR_BUG, "no suite of number %d", (int)k->suite);
	if (secret_len(&k->key) != suite_key_len(k->suite))
		return err_set(e, ERR_BUG, "a key of %zu bytes; %s needs %zu", secret_len(&k->key),
			       suite_info(k->suite)->name, suite_key_len(k->suite));
	ipsec_can(db, &can);
	if (!suite_list_has(&can.suites, k->suite))
		return lacks(db, suite_info(k->suite)->name, e);
	if (k->esn && !can.esn)
		return lacks(db, "extended sequence numbers", e);
	return 0;
}

static int check_sa(struct ipsec *db, const struct sa_keys *k, const char *which, struct err *e)
{
	return check_keys(db, k, e) < 0 ? err_in(e, "%s SA", which) : 0;
}

static int check_context(struct ipsec_ctx ctx, struct err *e)
{
	return ctx.id == 0 ? err_set(e, ERR_BUG, "no context: reserve first") : 0;
}

int ipsec_install(struct ipsec *db, struct ipsec_ctx ctx, const struct sa_keys *in,
		  const struct sa_keys *out, struct err *e)
{
	if (check_context(ctx, e) < 0 || check_sa(db, in, "inbound", e) < 0 ||
	    check_sa(db, out, "outbound", e) < 0)
		return -1;
	return db->ops->install(db, ctx, in, out, e);
}

int ipsec_activate(struct ipsec *db, struct ipsec_ctx ctx, const struct sa_keys *out, struct err *e)
{
	if (check_context(ctx, e) < 0 || check_sa(db, out, "outbound", e) < 0)
		return -1;
	return db->ops->activate(db, ctx, out, e);
}

int ipsec_remove(struct ipsec *db, struct ipsec_ctx ctx, enum ipsec_part part, struct err *e)
{
	if (((unsigned)part & ~(unsigned)IPSEC_BOTH) != 0 || part == 0)
		return err_set(e, ERR_BUG, "remove: no part %d", (int)part);
	return db->ops->remove(db, ctx, part, e);
}

int ipsec_query(struct ipsec *db, struct ipsec_ctx ctx, enum ipsec_part part,
		struct sa_counts *counts, struct err *e)
{
	memset(counts, 0, sizeof *counts);
	if (part != IPSEC_INBOUND && part != IPSEC_OUTBOUND)
		return err_set(e, ERR_BUG, "query: one part at a time");
	return db->ops->query(db, ctx, part, counts, e);
}

int ipsec_recover(struct ipsec *db, ipsec_found *found, void *arg, struct err *e)
{
	return db->ops->recover(db, found, arg, e);
}

int ipsec_exempt_socket(struct ipsec *db, intptr_t fd, bool ipv6, struct err *e)
{
	return db->ops->exempt_socket == NULL ? 0 : db->ops->exempt_socket(db, fd, ipv6, e);
}

int ipsec_reload(struct ipsec *db, struct err *e)
{
	return db->ops->reload == NULL ? 0 : db->ops->reload(db, e);
}

int ipsec_plan(struct ipsec *db, const struct sa_policy *p, ipsec_told *told, void *arg,
	       struct err *e)
{
	return db->ops->plan == NULL ? 0 : db->ops->plan(db, p, told, arg, e);
}

int ipsec_clean(struct ipsec *db, ipsec_told *told, void *arg, struct err *e)
{
	return db->ops->clean == NULL ? 0 : db->ops->clean(db, told, arg, e);
}

#define NATT_PORT 4500 /* RFC 3948 */

uint16_t ipsec_udp_port(const struct sa_policy *p, bool local)
{
	const uint16_t port = local ? p->local_esp_port : p->remote_esp_port;

	if (!p->udp)
		return 0;
	return port == 0 || port == (local ? p->control_port : p->peer_port) ? NATT_PORT : port;
}

bool ipsec_counts_all(const struct ipsec *db)
{
	return db->ops->statistics != NULL;
}

int ipsec_statistics(struct ipsec *db, char *text, size_t size, struct err *e)
{
	if (!ipsec_counts_all(db))
		return err_set(e, ERR_BUG, "back end %s has no statistics", db->ops->name);
	return db->ops->statistics(db, text, size, e);
}

bool ipsec_sends(const struct ipsec *db)
{
	return db->ops->send != NULL;
}

int ipsec_send(struct ipsec *db, struct sa_policy *p, const uint8_t *data, size_t n, struct err *e)
{
	if (!ipsec_sends(db))
		return err_set(e, ERR_BUG, "back end %s does not send", db->ops->name);
	return db->ops->send(db, p, data, n, e);
}
