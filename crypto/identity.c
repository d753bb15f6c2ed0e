/*
 * crypto/identity.c - our certificate and key, the trusted CAs, and the TLS configuration that
 * all links share.
 */
#include <stdlib.h>
#include <string.h>

#include "crypto/mbed.h"
#include "crypto/random.h"

static const int suites[] = {
	MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
	MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
	MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
	0,
};

static const uint16_t groups[] = {
	MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
	MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
	MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1,
	MBEDTLS_SSL_IANA_TLS_GROUP_NONE,
};

static const uint16_t signatures[] = {
	MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256,
	MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
	MBEDTLS_TLS1_3_SIG_ECDSA_SECP521R1_SHA512,
	MBEDTLS_TLS1_3_SIG_NONE,
};

static bool config_init(struct identity *id, enum tls_role role)
{
	mbedtls_ssl_config *c = &id->conf[role];
	int end = role == TLS_SERVER ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT;

	if (mbedtls_ssl_config_defaults(c, end, MBEDTLS_SSL_TRANSPORT_STREAM,
					MBEDTLS_SSL_PRESET_DEFAULT) != 0 ||
	    mbedtls_ssl_conf_alpn_protocols(c, id->alpn) != 0 ||
	    mbedtls_ssl_conf_own_cert(c, &id->chain, &id->key) != 0)
		return false;
	mbedtls_ssl_conf_min_tls_version(c, MBEDTLS_SSL_VERSION_TLS1_3);
	mbedtls_ssl_conf_max_tls_version(c, MBEDTLS_SSL_VERSION_TLS1_3);
	mbedtls_ssl_conf_tls13_key_exchange_modes(c,
						  MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
	mbedtls_ssl_conf_ciphersuites(c, suites);
	mbedtls_ssl_conf_groups(c, groups);
	mbedtls_ssl_conf_sig_algs(c, signatures);
	mbedtls_ssl_conf_cert_profile(c, &cert_profile);
	mbedtls_ssl_conf_authmode(c, MBEDTLS_SSL_VERIFY_REQUIRED);
	mbedtls_ssl_conf_rng(c, random_callback, NULL);
#if defined(MBEDTLS_SSL_SESSION_TICKETS)
	if (role == TLS_CLIENT)
		mbedtls_ssl_conf_session_tickets(c, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
#endif
	/* Without a CA mbedTLS fails with CA_CHAIN_REQUIRED before it calls the verify callback, so
	 * our own certificate stands in. tls.c trusts no chain when has_ca is false. */
	mbedtls_ssl_conf_ca_chain(c, id->has_ca ? &id->ca : &id->chain, NULL);
	return true;
}

static enum identity_fault load(struct identity *id, const char *cert, const char *key,
				const char *ca)
{
	enum identity_fault fault = cert_parse(&id->chain, cert, IDENTITY_BAD_CERT);

	if (fault == IDENTITY_OK)
		fault = cert_parse_key(&id->key, key);
	if (fault == IDENTITY_OK && ca != NULL) {
		fault = cert_parse(&id->ca, ca, IDENTITY_BAD_CA);
		id->has_ca = true;
	}
	if (fault != IDENTITY_OK)
		return fault;
	/* a CA that may not sign would only show as an untrusted peer later */
	for (const mbedtls_x509_crt *c = &id->ca; id->has_ca && c != NULL; c = c->next)
		if (!cert_may_sign(c))
			return IDENTITY_BAD_CA;
	if (!cert_key_is_ec(&id->chain.pk))
		return IDENTITY_WEAK;
	if (mbedtls_pk_check_pair(&id->chain.pk, &id->key, random_callback, NULL) != 0)
		return IDENTITY_WRONG_KEY;
	if (!cert_facts_of(&id->facts, &id->chain) || !config_init(id, TLS_CLIENT) ||
	    !config_init(id, TLS_SERVER))
		return IDENTITY_NO_MEMORY;
	return IDENTITY_OK;
}

enum identity_fault identity_load(struct identity **out, const char *cert, const char *key,
				  const char *ca)
{
	struct identity *id = calloc(1, sizeof *id);
	enum identity_fault fault;

	*out = NULL;
	if (id == NULL)
		return IDENTITY_NO_MEMORY;
	id->alpn[0] = TLS_ALPN;
	mbedtls_x509_crt_init(&id->chain);
	mbedtls_x509_crt_init(&id->ca);
	mbedtls_pk_init(&id->key);
	mbedtls_ssl_config_init(&id->conf[TLS_CLIENT]);
	mbedtls_ssl_config_init(&id->conf[TLS_SERVER]);

	fault = load(id, cert, key, ca);
	if (fault == IDENTITY_OK)
		*out = id;
	else
		identity_free(id);
	return fault;
}

void identity_free(struct identity *id)
{
	if (id == NULL)
		return;
	mbedtls_ssl_config_free(&id->conf[TLS_CLIENT]);
	mbedtls_ssl_config_free(&id->conf[TLS_SERVER]);
	mbedtls_pk_free(&id->key); /* wipes the private key */
	mbedtls_x509_crt_free(&id->ca);
	mbedtls_x509_crt_free(&id->chain);
	wipe(id, sizeof *id);
	free(id);
}

void identity_set_alpn(struct identity *id, const char *alpn)
{
	id->alpn[0] = alpn; /* mbedTLS reads the list when a handshake begins */
}

const struct cert_facts *identity_facts(const struct identity *id)
{
	return &id->facts;
}

bool identity_same_ca(const struct identity *a, const struct identity *b)
{
	const mbedtls_x509_crt *x = &a->ca, *y = &b->ca;

	if (a->has_ca != b->has_ca)
		return false;
	for (; x != NULL && y != NULL; x = x->next, y = y->next)
		if (x->raw.len != y->raw.len ||
		    (x->raw.len > 0 && memcmp(x->raw.p, y->raw.p, x->raw.len) != 0))
			return false;
	return x == y; /* both at the end */
}
