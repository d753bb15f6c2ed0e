/*
 * proto/config/config.h - config text (JSON) to struct config.
 *
 * No file I/O: file names are not resolved. Unknown and repeated members are errors. Everything but
 * the peers' addresses has a default. Errors begin with "line L, column C: ".
 */
#ifndef SAPAIR_PROTO_CONFIG_CONFIG_H
#define SAPAIR_PROTO_CONFIG_CONFIG_H

#include "crypto/cert.h"
#include "proto/config/policy.h"

struct cJSON;
struct json_out;

#define CONFIG_PATH_MAX 1024
#define CONFIG_LISTEN_MAX 8
#define CONFIG_PEERS_MAX 10000
#define BACKEND_NAME_MAX 16

enum peer_role { ROLE_BOTH, ROLE_DIAL, ROLE_LISTEN };

/* What a change of a member does at reload, from the least effect to the greatest. */
enum config_change {
	CHANGE_NONE,    /* nothing differs */
	CHANGE_APPLY,   /* applied at once */
	CHANGE_LINK,    /* new links use it */
	CHANGE_REKEY,   /* the next exchange uses it; the pair stays */
	CHANGE_PEER,    /* the peer is removed and added again */
	CHANGE_RESTART, /* the reload is refused */
};

/* The options that "defaults" and each peer may set; a peer starts with the defaults. */
struct peer_options {
	int role; /* "role": enum peer_role */
	struct policy_options policy;
	bool esn;                 /* "esn": default true */
	bool verify;              /* "verify": verify each new pair; default true */
	uint32_t window;          /* "window": 32 to 4096 packets; default 1024 */
	struct suite_list suites; /* "suites" */
	/* "rekey": { time_s, bytes, packets, min_interval_ms }; 0: no limit */
	uint32_t rekey_time_s;          /* default 3600; jittered down by up to 10 % */
	uint32_t rekey_min_interval_ms; /* default 1000; 0 = no limit */
	/* "hard": { time_s, bytes, packets }: when an SA expires; 0: no limit (time_s: 30 to 604800) */
	uint32_t hard_time_s;    /* default 5400 */
	struct sa_limits limits; /* bytes and packets of "rekey" (soft) and "hard" */
	uint32_t switch_ms;      /* "switch_ms": how long the old outbound SA stays; default 1000 */
	uint32_t drain_ms;       /* "drain_ms": how long the old inbound SA stays; default 5000 */
};

struct peer_config {
	char name[MSG_NAME_MAX + 1]; /* default: the address as text */
	struct endpoint remote;      /* "address" */
	struct addr local;           /* "local"; none: a listen address, or as routed */
	uint16_t esp_port;           /* "esp_port": the peer's UDP port of soft; default: its TCP
	                                * port number */
	bool has_pin;
	uint8_t pin[PIN_LEN];             /* "pin" */
	char identity[CERT_NAME_MAX + 1]; /* "identity": the URI name that its certificate must have;
	                                * default: its name or address */
	char ppk[CONFIG_PATH_MAX];        /* "ppk": file with 64 to 128 hex digits */
	struct peer_options opt;
};

struct config {
	char name[MSG_NAME_MAX + 1]; /* default: the certificate's name, else the host's */
	struct endpoint listen[CONFIG_LISTEN_MAX]; /* "listen": string or list; default [::]:4510 and
	                                * 0.0.0.0:4510 */
	size_t listens;
	uint16_t esp_port; /* "esp_port": our UDP port of soft; default: first listen's */
	char backend[BACKEND_NAME_MAX]; /* "backend": default "auto" */
	char certificate[CONFIG_PATH_MAX], key[CONFIG_PATH_MAX], ca[CONFIG_PATH_MAX];
	char deny[CONFIG_PATH_MAX];    /* "deny": file with pins of denied keys */
	char control[CONFIG_PATH_MAX]; /* "control": empty: the system's default */
	char log[8];                   /* "log": error, warn, info, debug */
	bool export_keys; /* "export_keys": `sapair export` may print keys; default false */
	bool allow_lab;   /* "allow_lab": lab identities are accepted; default false */
	struct peer_options defaults;
	struct peer_config *peers; /* allocated; freed by config_free() */
	size_t n_peers;
};

/* Defaults for everything. -1: no memory. */
int config_init(struct config *c, struct err *e);
/* Parses a config. On -1 (ERR_USAGE, "line L, column C: path: cause") *c is freed. */
int config_parse(struct config *c, const char *text, size_t len, struct err *e);
/* The same for a config within another document (a bundle); causes begin with the path. */
int config_decode(struct config *c, const struct cJSON *obj, struct err *e);
/* Adds one peer with the defaults (run --peer, up ADDRESS): "ADDRESS[:PORT]". */
int config_add_peer(struct config *c, const char *address, struct err *e);
/* Adds one peer from a file of its own (peers.d): an object as in "peers". On -1 a peer may have been
 * added nevertheless: free *c. */
int config_add_text(struct config *c, const char *text, size_t len, struct err *e);
/* Rules between members: unique names and address pairs, order of limits, selectors. Called by
 * config_parse(); call it again after config_add_peer(). */
int config_check(const struct config *c, struct err *e);
void config_free(struct config *c);

/* Whether a policy with these options blocks clear-text traffic of a selector such as "tcp/22". */
bool config_stops(const struct peer_options *o, const char *selector);
/*
 * Options outside a config (lab files): the defaults; members of v on top of *o, which stays as it
 * is on -1; the rules between them; and *o as members of the object that is being written.
 */
int config_default_options(struct peer_options *o, struct err *e);
int config_get_options(struct peer_options *o, const struct cJSON *v, struct err *e);
int config_check_options(const struct peer_options *o, struct err *e);
void config_put_options(struct json_out *out, const struct peer_options *o);

/* The greatest effect of a difference between two peers of the same name. */
enum config_change peer_config_change(const struct peer_config *a, const struct peer_config *b);
enum config_change peer_options_change(const struct peer_options *a, const struct peer_options *b);
/* The name of a member that differs and cannot be changed by a reload, or NULL. */
const char *config_restart_member(const struct config *a, const struct config *b);

#endif
