/*
 * proto/config/lab.h - lab files: hosts, pairs, and one config for each host.
 *
 *     { "lab": "demo", "backend": "soft", "options": {...},
 *       "hosts":  [ {"name": "a", "address": "192.0.2.1", "ssh": "root@a", "options": {...}}, ... ],
 *       "groups": [ {"name": "leaves", "hosts": ["b", "c"]} ],
 *       "pairs":  "all", or [ ["a", "leaves"], {"between": ["b", "c"], "options": {...}} ] }
 *
 * Options of a pair override those of the host, which override those of the lab. No files, no clock.
 * Errors begin with "line L, column C: ".
 */
#ifndef SAPAIR_PROTO_CONFIG_LAB_H
#define SAPAIR_PROTO_CONFIG_LAB_H

#include "proto/config/config.h"

#define LAB_NAME_MAX 32 /* of labs, hosts and groups; used in file names */
#define LAB_HOSTS_MAX 200
#define LAB_GROUPS_MAX 64
#define LAB_ADDRS_MAX 4
#define LAB_SSH_MAX 128

enum lab_system { LAB_LINUX, LAB_WINDOWS };

struct lab_host {
	char name[LAB_NAME_MAX + 1];
	struct endpoint at[LAB_ADDRS_MAX]; /* "address" */
	size_t ats;
	char ssh[LAB_SSH_MAX + 1]; /* "ssh": the destination; empty: none */
	int system;                /* "system": enum lab_system */
	struct peer_options opt;   /* of the lab, then its own */
};

/* a is before b in the file. */
struct lab_pair {
	uint16_t a, b;
	uint8_t at_a, at_b;        /* which of their addresses */
	struct peer_options opt_a; /* a's options for b */
	struct peer_options opt_b;
};

struct lab_group {
	char name[LAB_NAME_MAX + 1];
	uint16_t host[LAB_HOSTS_MAX];
	size_t n;
};

struct lab {
	char name[LAB_NAME_MAX + 1];    /* "lab" */
	char backend[BACKEND_NAME_MAX]; /* "backend": default "auto" */
	bool export_keys;               /* "export_keys": of every host; default false */
	struct peer_options opt;
	struct lab_host *hosts; /* hosts and pairs are freed by lab_free() */
	size_t n_hosts;
	struct lab_pair *pairs;
	size_t n_pairs;
};

/* On -1 (ERR_USAGE) nothing has to be freed. */
int lab_parse(struct lab *lab, const char *text, size_t len, struct err *e);
void lab_free(struct lab *lab);

/* The pair of two hosts, or NULL. */
const struct lab_pair *lab_find_pair(const struct lab *lab, size_t a, size_t b);
/* The index of a host; SIZE_MAX: none. */
size_t lab_find_host(const struct lab *lab, const char *name);

/* The config of one host, as a member (or as the document, with NULL). */
void lab_put_config(struct json_out *out, const char *member, const struct lab *lab, size_t host);
/* The most bytes that lab_put_config() writes. */
size_t lab_config_room(const struct lab *lab, size_t host);

#endif
