/*
 * agent/os/creds.h - identity and PPK from files, judged for who else could read them.
 */
#ifndef SAPAIR_AGENT_CREDS_H
#define SAPAIR_AGENT_CREDS_H

#include "agent/os/os.h"
#include "crypto/cert.h"
#include "proto/config/config.h"

/* Certificate, key and (if there is one) CA that the config names. 0 or -1; *out is the caller's,
 * who gives it back by identity_free(). */
int creds_identity(struct identity **out, const struct config *c, struct err *e);

/* A file of 64 to 128 lower-case hex digits; an empty path is an empty secret. */
int creds_ppk(struct secret *out, const char *path, struct err *e);

/*
 * Keys that nobody may have: "sha256:" and 64 hex digits a line; empty lines and what is behind # do not
 * count. An empty path is an empty list. *deny is wiped on -1, and freed by deny_free().
 */
struct deny {
	uint8_t (*pin)[PIN_LEN];
	size_t n;
};
int creds_deny(struct deny *deny, const char *path, struct err *e);
bool deny_has(const struct deny *deny, const uint8_t pin[PIN_LEN]);
void deny_free(struct deny *deny);

/* Names the file that identity_load() and its like did not take; 0 for IDENTITY_OK. */
int creds_fault(enum identity_fault f, const char *cert, const char *key, const char *ca,
		struct err *e);

#endif
