/*
 * agent/cli/ident.h - what the verbs id and ca share: options, files, output.
 */
#ifndef SAPAIR_AGENT_IDENT_H
#define SAPAIR_AGENT_IDENT_H

#include "agent/cli/args.h"
#include "agent/os/os.h"
#include "crypto/cert.h"
#include "proto/json/encode.h"

/* Options of every verb that makes a certificate. */
extern const struct option ident_options[];

#define IDENT_DAYS 825 /* of a host certificate */
#define IDENT_CA_DAYS 3650

/* A request for a certificate, and the memory that it points into. */
struct ident_wish {
	struct cert_params wish;
	char name[CERT_NAME_MAX + 1];
	uint8_t addr[CERT_ADDRS_MAX][17];
};

/* 1 to CERT_NAME_MAX letters, digits and . _ -? */
bool ident_name_fits(const char *s);

/* --address, --days, --not-before, --not-after, --lab; name as given. */
int ident_wish(struct ident_wish *w, const struct args *a, const char *name, uint32_t days,
	       struct err *e);
/* Does a certificate have the requested names and marks? Dates are not compared. */
bool ident_same(const struct cert_facts *f, const struct cert_params *w);

/* The directory: --dir, or the config directory. */
int ident_dir(char out[OS_PATH_MAX], const struct args *a, struct err *e);

/* Facts of the first certificate of a file; pem (freed by os_free_text()) may be NULL. */
int ident_read(struct cert_facts *f, const char *path, enum os_trust trust, char **pem, size_t *len,
	       struct err *e);

/* Writes key and certificate. On failure, neither is left. */
int ident_write(const struct pem_pair *pair, const char *cert, const char *key, bool force,
		struct err *e);

struct ident_files {
	char dir[OS_PATH_MAX], cert[OS_PATH_MAX], key[OS_PATH_MAX];
};

/* Makes a self-signed certificate by the options, of a CA or of a host, and its key. */
int ident_make(const struct args *a, const struct ident_files *files, const char *name, bool is_ca,
	       struct err *e);

/* Members of a document: name, pin, addresses, dates. */
void ident_put(struct json_out *o, const struct cert_facts *f);
/* The same as lines of text. */
void ident_show(const struct cert_facts *f);

#endif
