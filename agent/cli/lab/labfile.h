/*
 * agent/cli/lab/labfile.h - the files of labs: lab files, bundles, programs.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_LABFILE_H
#define SAPAIR_AGENT_CLI_LAB_LABFILE_H

#include "agent/os/os.h"
#include "proto/config/bundle.h"

#define LAB_TTL_MS (4u * 3600u * 1000u)
#define LAB_TTL_MIN_MS 60000u

/* Reads a lab file; source: the SHA-256 of its text, which its bundles contain. */
int labfile_read(struct lab *lab, uint8_t source[SHA256_LEN], const char *path, struct err *e);

/* dir/HOST.bundle */
int labfile_bundle_path(char out[OS_PATH_MAX], const char *dir, const char *host, struct err *e);

/* Reads a bundle, which only its owner may read. ERR_USAGE if its certificate is not valid now.
 * Free *b with labfile_bundle_free(). */
int labfile_bundle(struct bundle **b, const char *path, struct err *e);
void labfile_bundle_free(struct bundle *b); /* NULL allowed */

/* Are there bundles of this source for every host, valid for another minute? until: the earliest
 * expiry. */
bool labfile_fresh(const struct lab *lab, const uint8_t source[SHA256_LEN], const char *dir,
		   int64_t *until);

/* Makes a throw-away CA, whose key is wiped before this returns, and one bundle per host in dir,
 * which is created with mode 0700. Without force, existing files are an error. */
int labfile_make(const struct lab *lab, const uint8_t source[SHA256_LEN], const char *dir,
		 uint64_t ttl_ms, bool force, int64_t *until, struct err *e);

/* Reads a program into memory, which the caller frees; hash: its SHA-256 in hex. */
int labfile_program(char **image, size_t *len, char hash[2 * SHA256_LEN + 1], const char *path,
		    struct err *e);

#endif
