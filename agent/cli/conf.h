/*
 * agent/cli/conf.h - from a config file and default paths to a config with absolute paths.
 */
#ifndef SAPAIR_AGENT_CONF_H
#define SAPAIR_AGENT_CONF_H

#include "agent/cli/args.h"
#include "agent/os/os.h"
#include "proto/config/config.h"

#define CONF_NAME "sapair.json"
#define CONF_CERT "sapair.crt"
#define CONF_KEY "sapair.key"
#define CONF_CA "ca.crt"
#define CONF_CA_KEY "ca.key"
#define CONF_PEERS "peers.d"

/* The config file that is meant by file, or that of the config directory if file is NULL. */
int conf_find(char out[OS_PATH_MAX], const char *file, struct err *e);
/* Makes path absolute: relative to dir, or to the working directory if dir is NULL. */
int conf_absolute(char out[OS_PATH_MAX], const char *dir, const char *path, struct err *e);
/* The same for a member of the config, in place; an empty path stays empty. */
int conf_resolve(char path[CONFIG_PATH_MAX], const char *dir, struct err *e);

/* Reads and checks a config file (absolute path); names of files in it become absolute. *c is
 * freed on -1. */
int conf_read(struct config *c, const char *path, struct err *e);

/* The whole configuration: the file (NULL: defaults), and the peers of dir/peers.d/NAME.json, one per
 * file, sorted by name; checked. The directory may be missing. *c is freed on -1. */
int conf_load(struct config *c, const char *path, const char *dir, struct err *e);
/* The same for verbs that take the file as an argument, by --config, or from the config directory, where
 * it may be missing if there is a peers.d. Sets path. */
int conf_load_given(struct config *c, char path[OS_PATH_MAX], const struct args *a, struct err *e);
/* Is there any? */
bool conf_has_peers(const char *dir);

/*
 * Sets the default paths of certificate, key and CA, in dir; a CA file that is missing is left
 * out. -1 if there is no identity, or a peer with neither pin nor CA.
 */
int conf_identity(struct config *c, const char *dir, struct err *e);

#endif
