/*
 * agent/cli/lab/labfile.h - lab files and bundles on disk.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_LABFILE_H
#define SAPAIR_AGENT_CLI_LAB_LABFILE_H

#include "agent/os/os.h"
#include "proto/config/bundle.h"

#define LAB_TTL_MS (4u * 3600u * 1000u)
#define LAB_TTL_MIN_MS 60000u

/* A lab file and the SHA-256 of its text, by which its bundles are known. */
int labfile_read(struct lab *lab, uint8_t source[SHA256_LEN], const char *path, struct err *e);

/* dir/HOST.bundle */
int labfile_bundle_path(char out[OS_PATH_MAX], const char *dir, const char *host, struct err *e);

/* Reads a bundle (nobody else may) whose certificate is valid now: ERR_USAGE with the dates
 * otherwise. *b: given back by labfile_bundle_free(). */
int labfile_bundle(struct bundle **b, const char *path, struct err *e);
void labfile_bundle_free(struct bundle *b); /* NULL allowed */

/* Are the bundles of every host there, of this source, and good for another minute? until: the
 * end of the first that ends. */
bool labfile_fresh(const struct lab *lab, const uint8_t source[SHA256_LEN], const char *dir,
		   int64_t *until);

/*
 * A throw-away CA, whose key is forgotten when this returns, and one bundle for each host in dir
 * (made, 0700). Without force what is there stays, and is an error.
 */
int labfile_make(const struct lab *lab, const uint8_t source[SHA256_LEN], const char *dir,
		 uint64_t ttl_ms, bool force, int64_t *until, struct err *e);

#endif
