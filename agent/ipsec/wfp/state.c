/*
 * agent/ipsec/wfp/state.c - SA contexts: two SAs on a pair's two protecting filters.
 *
 * Calls, never in a transaction: Create, GetSpi, AddInbound, AddOutbound; Expire when the peer has
 * switched; DeleteById to remove both SAs at once.
 */
#include "agent/ipsec/wfp/api.h"

#include "agent/ipsec/wfp/db.h"

#define TRIES 3 /* of a removal */
#define PAUSE_MS 20
#define GRACE_S \
	60 /* beyond the agent's own lifetime of an SA; only SAs of a dead agent live that long */

/* ---- traffic ----------------------------------------------------------------------------- */

/* Not documented; the one program known to work reverses the bytes. */
static void put_v6(UINT8 out[16], const struct addr *a, bool network_order)
{
	for (size_t i = 0; i < 16; i++)
		out[i] = a->bytes[network_order ? i : 15 - i];
}

static void put_traffic(const struct wfp_engine *g, IPSEC_TRAFFIC0 *t, const struct wfp_filters *r,
			enum wfp_role filter)
{
	memset(t, 0, sizeof *t);
	t->trafficType = IPSEC_TRAFFIC_TYPE_TRANSPORT;
	t->ipsecFilterId = r->id[filter];
	if (r->local.len == 4) {
		t->ipVersion = FWP_IP_VERSION_V4;
		t->localV4Address = wfp_v4_of(&r->local);
		t->remoteV4Address = wfp_v4_of(&r->remote);
		return;
	}
	t->ipVersion = FWP_IP_VERSION_V6;
	put_v6(t->localV6Address, &r->local, g->sw.ipv6_network);
	put_v6(t->remoteV6Address, &r->remote, g->sw.ipv6_network);
}

/* ---- contexts ---------------------------------------------------------------------------- */

typedef DWORD WINAPI removal(HANDLE engine, UINT64 context);

/* No error if the context is gone. */
static int remove_by(removal *call, const char *name, struct wfp_engine *g, uint64_t context,
		     struct err *e)
{
	DWORD code = ERROR_SUCCESS;

	for (int i = 0; i < TRIES && !wfp_is_dead(code); i++) {
		if (i > 0)
			Sleep(PAUSE_MS);
		code = call(g->handle, context);
		if (code == ERROR_SUCCESS || code == (DWORD)FWP_E_NOT_FOUND)
			return 0;
	}
	return wfp_failed(e, code, name);
}

int wfp_delete_context(struct wfp_engine *g, uint64_t context, struct err *e)
{
	return remove_by(IPsecSaContextDeleteById0, "IPsecSaContextDeleteById0", g, context, e);
}

static DWORD create(struct wfp_engine *g, const struct wfp_filters *r, UINT64 *context)
{
	IPSEC_TRAFFIC0 traffic;
	DWORD code;

	put_traffic(g, &traffic, r, WFP_OUT);
	code = IPsecSaContextCreate0(g->handle, &traffic, NULL, context);
	if (r->local.len == 4 ||
	    (code != (DWORD)FWP_E_INVALID_PARAMETER && code != (DWORD)FWP_E_TRAFFIC_MISMATCH))
		return code;
	/* The filter does not cover these addresses: try the other byte order. */
	g->sw.ipv6_network = !g->sw.ipv6_network;
	put_traffic(g, &traffic, r, WFP_OUT);
	if (IPsecSaContextCreate0(g->handle, &traffic, NULL, context) == ERROR_SUCCESS)
		return ERROR_SUCCESS;
	g->sw.ipv6_network = !g->sw.ipv6_network;
	return code;
}

int wfp_pair_reserve(struct wfp_engine *g, struct wfp_job *j)
{
	IPSEC_GETSPI0 get;
	IPSEC_SA_SPI spi = 0;
	UINT64 context = 0;
	DWORD code = create(g, &j->filters, &context);

	if (code != ERROR_SUCCESS)
		return wfp_failed(&j->e, code, "IPsecSaContextCreate0");
	memset(&get, 0, sizeof get);
	put_traffic(g, &get.inboundIpsecTraffic, &j->filters, WFP_IN);
	get.ipVersion = get.inboundIpsecTraffic.ipVersion;
	code = IPsecSaContextGetSpi0(g->handle, context, &get, &spi);
	j->context = context;
	j->spi.n = spi;
	if (code == ERROR_SUCCESS && spi_usable(j->spi))
		return 0;
	wfp_delete_context(g, context, NULL);
	if (code == ERROR_SUCCESS)
		return err_set(&j->e, ERR_OS, "IPsecSaContextGetSpi0 returned the reserved SPI %u",
			       (unsigned)spi);
	return wfp_failed(&j->e, code, "IPsecSaContextGetSpi0");
}

void wfp_pair_unreserve(struct wfp_engine *g, struct wfp_job *j)
{
	wfp_delete_context(g, j->context, NULL);
}

int wfp_pair_delete(struct wfp_engine *g, struct wfp_job *j)
{
	return wfp_delete_context(g, j->context, &j->e);
}

int wfp_pair_expire(struct wfp_engine *g, struct wfp_job *j)
{
	return remove_by(IPsecSaContextExpire0, "IPsecSaContextExpire0", g, j->context, &j->e);
}

/* ---- bundles ----------------------------------------------------------------------------- */

/* The suites as authentication and cipher transforms. cipher 0: authentication only. */
static const struct transform {
	int auth, auth_config, cipher, cipher_config;
} transforms[SUITE_COUNT] = {
	[SUITE_AES256GCM16] = {IPSEC_AUTH_AES_256, WFP_AUTHCFG_GCM_256, IPSEC_CIPHER_TYPE_AES_256,
			       WFP_CIPHCFG_GCM_256},
	[SUITE_AES192GCM16] = {IPSEC_AUTH_AES_192, WFP_AUTHCFG_GCM_192, IPSEC_CIPHER_TYPE_AES_192,
			       WFP_CIPHCFG_GCM_192},
	[SUITE_AES128GCM16] = {IPSEC_AUTH_AES_128, WFP_AUTHCFG_GCM_128, IPSEC_CIPHER_TYPE_AES_128,
			       WFP_CIPHCFG_GCM_128},
	[SUITE_AES256_SHA256] = {IPSEC_AUTH_SHA_256, WFP_AUTHCFG_SHA256_128,
				 IPSEC_CIPHER_TYPE_AES_256, WFP_CIPHCFG_CBC_256},
	[SUITE_AES128_SHA256] = {IPSEC_AUTH_SHA_256, WFP_AUTHCFG_SHA256_128,
				 IPSEC_CIPHER_TYPE_AES_128, WFP_CIPHCFG_CBC_128},
	[SUITE_AES128_SHA1] = {IPSEC_AUTH_SHA_1, WFP_AUTHCFG_SHA1_96, IPSEC_CIPHER_TYPE_AES_128,
			       WFP_CIPHCFG_CBC_128},
	[SUITE_AES256GMAC] = {IPSEC_AUTH_AES_256, WFP_AUTHCFG_GCM_256, 0, 0},
	[SUITE_AES192GMAC] = {IPSEC_AUTH_AES_192, WFP_AUTHCFG_GCM_192, 0, 0},
	[SUITE_AES128GMAC] = {IPSEC_AUTH_AES_128, WFP_AUTHCFG_GCM_128, 0, 0},
};

/* A bundle of one SA, and what it points to. Contains the key: wipe it. */
struct bundle {
	IPSEC_SA_BUNDLE0 bundle;
	IPSEC_SA0 sa;
	IPSEC_SA_AUTH_AND_CIPHER_INFORMATION0 both;
	UINT8 key[SECRET_MAX];
};

static void put_keys(struct bundle *m, const struct sa_keys *k)
{
	const struct suite_info *s = suite_info(k->suite);
	const struct transform *t = &transforms[k->suite];
	IPSEC_SA_AUTH_INFORMATION0 *auth = &m->both.saAuthInformation;
	IPSEC_SA_CIPHER_INFORMATION0 *cipher = &m->both.saCipherInformation;
	const UINT32 sealing = (UINT32)s->enc_key_len + s->salt_len;
	size_t n;
	const uint8_t *key = secret_bytes(&k->key, &n);

	memcpy(m->key, key, n);
	auth->authTransform.authTransformId.authType = (IPSEC_AUTH_TYPE)t->auth;
	auth->authTransform.authTransformId.authConfig = (IPSEC_AUTH_CONFIG)t->auth_config;
	cipher->cipherTransform.cipherTransformId.cipherType = (IPSEC_CIPHER_TYPE)t->cipher;
	cipher->cipherTransform.cipherTransformId.cipherConfig =
		(IPSEC_CIPHER_CONFIG)t->cipher_config;
	/* GCM: both transforms have the same key and salt. CBC: the MAC key follows the cipher key. */
	auth->authKey.data = s->kind == SUITE_CBC ? m->key + sealing : m->key;
	auth->authKey.size = s->kind == SUITE_CBC ? s->mac_key_len : sealing;
	cipher->cipherKey.data = m->key;
	cipher->cipherKey.size = sealing;
	m->sa.spi = k->spi.n;
	if (s->kind == SUITE_GMAC) {
		m->sa.saTransformType = IPSEC_TRANSFORM_ESP_AUTH;
		m->sa.espAuthInformation = auth;
	} else {
		m->sa.saTransformType = IPSEC_TRANSFORM_ESP_AUTH_AND_CIPHER;
		m->sa.espAuthAndCipherInformation = &m->both;
	}
}

static void put_bundle(const struct wfp_engine *g, struct bundle *m, const struct wfp_filters *r,
		       const struct sa_keys *k)
{
	uint32_t life = k->lifetime_s + GRACE_S;

	memset(m, 0, sizeof *m);
	put_keys(m, k);
	if (life < WFP_LIFE_MIN_S)
		life = WFP_LIFE_MIN_S;
	if (life > WFP_LIFE_MAX_S)
		life = WFP_LIFE_MAX_S;
	m->bundle.flags = g->sw.own_deletion ? 0 : WFP_BUNDLE_NO_DUP_DELETION;
	m->bundle.lifetime.lifetimeSeconds = life;
	m->bundle.lifetime.lifetimePackets = WFP_PACKETS;
	m->bundle.qmSaId = k->qm_sa_id;
	m->bundle.numSAs = 1;
	m->bundle.saList = &m->sa;
	m->bundle.ipVersion = r->local.len == 4 ? FWP_IP_VERSION_V4 : FWP_IP_VERSION_V6;
	m->bundle.pfsGroup = IPSEC_PFS_NONE;
}

int wfp_pair_add(struct wfp_engine *g, struct wfp_job *j)
{
	struct bundle m;
	DWORD code;

	if (j->keys.qm_sa_id == 0)
		return err_set(&j->e, ERR_BUG, "the pair has no qmSaId");
	put_bundle(g, &m, &j->filters, &j->keys);
	code = j->outbound ? IPsecSaContextAddOutbound0(g->handle, j->context, &m.bundle)
			   : IPsecSaContextAddInbound0(g->handle, j->context, &m.bundle);
	SecureZeroMemory(&m, sizeof m);
	if (code == ERROR_SUCCESS)
		return 0;
	return wfp_failed(&j->e, code,
			  j->outbound ? "IPsecSaContextAddOutbound0" : "IPsecSaContextAddInbound0");
}

/* The caller was told that it failed, so nothing may be sent on it. An inbound SA alone is harmless;
 * the caller removes its context. */
void wfp_pair_unadd(struct wfp_engine *g, struct wfp_job *j)
{
	if (j->outbound)
		wfp_pair_expire(g, j);
}
