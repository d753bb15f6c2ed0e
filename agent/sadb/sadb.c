/*
 * agent/sadb/sadb.c - finds a back end by name, and checks what every back end would have to.
 */
#include "agent/sadb/sadb.h"

#include "proto/apart.h"

#include <stdio.h>
#include <string.h>

/* The back ends of this program; "auto" takes the first of the system's own that opens. */
static const struct sadb_ops *const table[] = {
#ifdef __linux__
	&sadb_xfrm,
#endif
#ifdef _WIN32
	&sadb_wfp,
#endif
	&sadb_soft,
};
#define TABLE_LEN (sizeof table / sizeof table[0])

/* In process: carries the probes, but does not protect the host's traffic. */
static bool is_systems_own(const struct sadb_ops *ops)
{
	return ops != &sadb_soft;
}

const char *sadb_names(void)
{
	static char names[16 * TABLE_LEN];

	if (names[0] == '\0')
		for (size_t i = 0, n = 0; i < TABLE_LEN; i++)
			n += (size_t)snprintf(names + n, sizeof names - n, "%s%s",
					      i > 0 ? ", " : "", table[i]->name);
	return names;
}

static const struct sadb_ops *find(const char *name)
{
	for (size_t i = 0; i < TABLE_LEN; i++)
		if (strcmp(table[i]->name, name) == 0)
			return table[i];
	return NULL;
}

bool sadb_known(const char *name)
{
	return strcmp(name, "auto") == 0 || find(name) != NULL;
}

static int open_one(struct sadb **db, const struct sadb_ops *ops, const struct sadb_env *env,
		    struct err *e)
{
#ifdef __linux__
	if (env->apart != NULL && ops == &sadb_xfrm)
		ops = &sadb_apart;
#endif
	return ops->open(db, env, e);
}

/* Falls back to soft only where there is nothing else to have: a right that is missing is an error,
 * or a host that could be protected would not be (D9). */
static int open_auto(struct sadb **db, const struct sadb_env *env, struct err *e)
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
		if (rc != SADB_ABSENT)
			return -1;
	}
	return sadb_soft.open(db, env, e);
}

int sadb_open(struct sadb **db, const char *name, const struct sadb_env *env, struct err *e)
{
	const struct sadb_ops *ops;

	*db = NULL;
	if (strcmp(name, "auto") == 0)
		return open_auto(db, env, e);
	ops = find(name);
	if (ops == NULL)
		return err_set(e, ERR_USAGE, "back end \"%s\": this program has auto, %s", name,
			       sadb_names());
	if (open_one(db, ops, env, e) < 0)
		return err_in(e, "back end %s", name);
	return 0;
}

void sadb_close(struct sadb *db)
{
	if (db != NULL)
		db->ops->close(db);
}

void sadb_can(struct sadb *db, struct sadb_can *can)
{
	memset(can, 0, sizeof *can);
	db->ops->can(db, can);
}

static int lacks(const struct sadb *db, const char *what, struct err *e)
{
	return err_set(e, ERR_USAGE, "back end %s cannot do %s", db->ops->name, what);
}

void sadb_policy_of(struct sa_policy *p, const struct apart_policy *from)
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

int sadb_policy_add(struct sadb *db, struct sa_policy *p, struct err *e)
{
	struct sadb_can can;

	if (p->ref != 0)
		return err_set(e, ERR_BUG, "peer %s: policy added twice", p->peer);
	if (p->local.len != p->remote.len || !addr_is_unicast(&p->local) ||
	    !addr_is_unicast(&p->remote))
		return err_set(e, ERR_USAGE,
			       "peer %s: not a pair of unicast addresses of one family", p->peer);
	sadb_can(db, &can);
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

int sadb_policy_remove(struct sadb *db, struct sa_policy *p, struct err *e)
{
	return db->ops->policy_remove(db, p, e);
}

int sadb_reserve(struct sadb *db, struct sa_policy *p, struct sadb_ctx *ctx, struct spi *in,
		 struct err *e)
{
	ctx->id = 0;
	in->n = 0;
	return db->ops->reserve(db, p, ctx, in, e);
}

static int check_keys(struct sadb *db, const struct sa_keys *k, struct err *e)
{
	struct sadb_can can;

	if (!spi_usable(k->spi))
		return err_set(e, ERR_BUG, "SPI %u is reserved: 0 to 255", (unsigned)k->spi.n);
	if ((unsigned)k->suite >= SUITE_COUNT)
		return err_set(e, ERR_BUG, "no suite of number %d", (int)k->suite);
	if (secret_len(&k->key) != suite_key_len(k->suite))
		return err_set(e, ERR_BUG, "a key of %zu bytes; %s needs %zu", secret_len(&k->key),
			       suite_info(k->suite)->name, suite_key_len(k->suite));
	sadb_can(db, &can);
	if (!suite_list_has(&can.suites, k->suite))
		return lacks(db, suite_info(k->suite)->name, e);
	if (k->esn && !can.esn)
		return lacks(db, "extended sequence numbers", e);
	return 0;
}

static int no_context(struct err *e)
{
	return err_set(e, ERR_BUG, "no context: reserve first");
}

static int check_sa(struct sadb *db, struct sadb_ctx ctx, const struct sa_keys *k, struct err *e)
{
	if (ctx.id == 0)
		return no_context(e);
	return check_keys(db, k, e);
}

bool sadb_takes_spi(const struct sadb *db)
{
	return db->ops->open_pair != NULL;
}

static int check_both(struct sadb *db, const struct sa_keys *in, const struct sa_keys *out,
		      enum sadb_part *failed, struct err *e)
{
	*failed = SADB_INBOUND;
	if (check_keys(db, in, e) < 0)
		return err_in(e, "inbound SA");
	if (check_keys(db, out, e) == 0)
		return 0;
	*failed = SADB_OUTBOUND;
	return err_in(e, "outbound SA");
}

int sadb_open_pair(struct sadb *db, struct sa_policy *p, struct sadb_ctx *ctx,
		   const struct sa_keys *in, const struct sa_keys *out, enum sadb_part *failed,
		   struct err *e)
{
	ctx->id = 0;
	if (check_both(db, in, out, failed, e) < 0)
		return -1;
	return db->ops->open_pair(db, p, ctx, in, out, failed, e);
}

int sadb_add_inbound(struct sadb *db, struct sadb_ctx ctx, const struct sa_keys *k, struct err *e)
{
	if (check_sa(db, ctx, k, e) < 0)
		return err_in(e, "inbound SA");
	return db->ops->add_inbound(db, ctx, k, e);
}

int sadb_add_outbound(struct sadb *db, struct sadb_ctx ctx, const struct sa_keys *k, struct err *e)
{
	if (check_sa(db, ctx, k, e) < 0)
		return err_in(e, "outbound SA");
	return db->ops->add_outbound(db, ctx, k, e);
}

int sadb_add_both(struct sadb *db, struct sadb_ctx ctx, const struct sa_keys *in,
		  const struct sa_keys *out, struct sadb_next *next, enum sadb_part *failed,
		  struct err *e)
{
	*failed = SADB_INBOUND;
	if (next != NULL)
		*next = (struct sadb_next){.ctx = {0}};
	if (db->ops->add_both == NULL) {
		if (sadb_add_inbound(db, ctx, in, e) < 0)
			return -1;
		*failed = SADB_OUTBOUND;
		return sadb_add_outbound(db, ctx, out, e);
	}
	if (ctx.id == 0)
		return no_context(e);
	if (check_both(db, in, out, failed, e) < 0)
		return -1;
	return db->ops->add_both(db, ctx, in, out, next, failed, e);
}

int sadb_remove(struct sadb *db, struct sadb_ctx ctx, enum sadb_part part, struct err *e)
{
	if (((unsigned)part & ~(unsigned)SADB_BOTH) != 0 || part == 0)
		return err_set(e, ERR_BUG, "remove: no part %d", (int)part);
	return db->ops->remove(db, ctx, part, e);
}

int sadb_query(struct sadb *db, struct sadb_ctx ctx, enum sadb_part part, struct sa_counts *counts,
	       struct err *e)
{
	memset(counts, 0, sizeof *counts);
	if (part != SADB_INBOUND && part != SADB_OUTBOUND)
		return err_set(e, ERR_BUG, "query: one part at a time");
	return db->ops->query(db, ctx, part, counts, e);
}

int sadb_leftovers(struct sadb *db, sadb_found *found, void *arg, struct err *e)
{
	return db->ops->leftovers(db, found, arg, e);
}

int sadb_exempt_socket(struct sadb *db, intptr_t fd, bool ipv6, struct err *e)
{
	return db->ops->exempt_socket == NULL ? 0 : db->ops->exempt_socket(db, fd, ipv6, e);
}

int sadb_reload(struct sadb *db, struct err *e)
{
	return db->ops->reload == NULL ? 0 : db->ops->reload(db, e);
}

int sadb_plan(struct sadb *db, const struct sa_policy *p, sadb_told *told, void *arg, struct err *e)
{
	return db->ops->plan == NULL ? 0 : db->ops->plan(db, p, told, arg, e);
}

int sadb_clean(struct sadb *db, sadb_told *told, void *arg, struct err *e)
{
	return db->ops->clean == NULL ? 0 : db->ops->clean(db, told, arg, e);
}

#define NATT_PORT 4500 /* RFC 3948 */

uint16_t sadb_udp_port(const struct sa_policy *p, bool local)
{
	const uint16_t port = local ? p->local_esp_port : p->remote_esp_port;

	if (!p->udp)
		return 0;
	return port == 0 || port == (local ? p->control_port : p->peer_port) ? NATT_PORT : port;
}

bool sadb_counts_all(const struct sadb *db)
{
	return db->ops->statistics != NULL;
}

int sadb_statistics(struct sadb *db, char *text, size_t size, struct err *e)
{
	if (!sadb_counts_all(db))
		return err_set(e, ERR_BUG, "back end %s has no statistics", db->ops->name);
	return db->ops->statistics(db, text, size, e);
}

bool sadb_sends(const struct sadb *db)
{
	return db->ops->send != NULL;
}

int sadb_send(struct sadb *db, struct sa_policy *p, const uint8_t *data, size_t n, struct err *e)
{
	if (!sadb_sends(db))
		return err_set(e, ERR_BUG, "back end %s does not send", db->ops->name);
	return db->ops->send(db, p, data, n, e);
}
