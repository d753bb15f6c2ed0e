/*
 * agent/ipsec/ipsec.c - the checks of arguments that all back ends share.
 */
#include "agent/ipsec/ipsec.h"

#include <string.h>

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

int ipsec_policy_add(struct ipsec *db, struct policy *p, struct err *e)
{
	struct ipsec_can can;

	if (p->ref != 0)
		return err_set(e, ERR_BUG, "peer %s: policy added twice", p->peer);
	if (p->local.len != p->remote.len || !addr_is_unicast(&p->local) ||
	    !addr_is_unicast(&p->remote))
		return err_set(e, ERR_USAGE,
			       "peer %s: not a pair of unicast addresses of one family", p->peer);
	ipsec_can(db, &can);
	if (p->opt.encap == ENCAP_TUNNEL && !can.tunnel)
		return lacks(db, "encapsulation \"tunnel\"", e);
	if (p->opt.udp && !can.udp)
		return lacks(db, "ESP in UDP", e);
	if (p->opt.start == START_SEAMLESS && !can.seamless)
		return lacks(db, "start \"seamless\"", e);
	if (p->opt.mode == MODE_PERMISSIVE && !can.permissive)
		return lacks(db, "mode \"permissive\"", e);
	return db->ops->policy_add(db, p, e);
}

int ipsec_policy_remove(struct ipsec *db, struct policy *p, struct err *e)
{
	return db->ops->policy_remove(db, p, e);
}

int ipsec_reserve(struct ipsec *db, struct policy *p, struct ipsec_ctx *ctx, struct spi *in,
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

int ipsec_plan(struct ipsec *db, const struct policy *p, ipsec_told *told, void *arg, struct err *e)
{
	return db->ops->plan == NULL ? 0 : db->ops->plan(db, p, told, arg, e);
}

int ipsec_clean(struct ipsec *db, ipsec_told *told, void *arg, struct err *e)
{
	return db->ops->clean == NULL ? 0 : db->ops->clean(db, told, arg, e);
}

#define NATT_PORT 4500 /* RFC 3948 */

uint16_t ipsec_udp_port(const struct policy *p, bool local)
{
	const uint16_t port = local ? p->local_esp_port : p->remote_esp_port;

	if (!p->opt.udp)
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

int ipsec_send(struct ipsec *db, struct policy *p, const uint8_t *data, size_t n, struct err *e)
{
	if (!ipsec_sends(db))
		return err_set(e, ERR_BUG, "back end %s does not send", db->ops->name);
	return db->ops->send(db, p, data, n, e);
}
