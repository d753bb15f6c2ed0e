/*
 * agent/os/creds.h - identity, PPK and deny list from files, with checks of their permissions.
 */
#ifndef SAPAIR_AGENT_CREDS_H
#define SAPAIR_AGENT_CREDS_H

#include "agent/os/os.h"
#include "crypto/judge.h"
#include "proto/config/config.h"

/* Loads certificate, key and, if there is one, CA of the config. The caller frees *out with
 * identity_free(). */
int creds_identity(struct identity **out, const struct config *c, struct err *e);

/* Reads 64 to 128 lower-case hex digits from a file; an empty path gives an empty secret. */
int creds_ppk(struct secret *out, const char *path, struct err *e);

/*
 * Denied keys: a file with one "sha256:" and 64 hex digits on each line; # begins a comment. An empty path
 * gives an empty list. The caller frees *deny with deny_free(); it is empty after -1.
 */
struct deny {
	uint8_t (*pin)[PIN_LEN];
	size_t n;
};
int creds_deny(struct deny *deny, const char *path, struct err *e);
bool deny_has(const struct deny *deny, const uint8_t pin[PIN_LEN]);
void deny_free(struct deny *deny);

/*
 * Why peers will refuse our certificate in the roles that we have towards the peers of the config, each
 * reason once. Left out: its dates, whether it is a lab identity, and what pins make good where pins are
 * used: for a self-signed certificate, and the chain where the config has no CA.
 */
void creds_judge(struct cert_reasons *r, const struct identity *id, const struct config *c);
/* Adds the reasons that are not there yet, with the same exceptions. */
void creds_add_reasons(struct cert_reasons *to, const struct cert_reasons *from,
		       const struct cert_facts *f, bool has_ca);

/* Describes a fault of identity_load() with the name of the file; 0 for IDENTITY_OK. */
int creds_fault(enum identity_fault f, const char *cert, const char *key, const char *ca,
		struct err *e);
/* Replaces the cause by the true one, with its place in the PEM text, where it can be found. Returns -1. */
int creds_explain(enum identity_fault f, const char *cert, const char *key, const char *ca,
		  const char *cert_path, const char *key_path, const char *ca_path, struct err *e);

#endif
