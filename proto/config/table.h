/*
 * proto/config/table.h - the members of a config, one row each: for the files of this folder, and
 * for the program that writes the schema and the tables of the manual.
 */
#ifndef SAPAIR_PROTO_CONFIG_TABLE_H
#define SAPAIR_PROTO_CONFIG_TABLE_H

#include "proto/config/config.h"
#include "proto/json/field.h"

/* A type of value (value.c). */
struct config_kind {
	const char *name; /* for the manual */
	json_get *get;
	json_put *put; /* NULL: never written */
	/* NULL: the bytes are compared. */
	bool (*equal)(const void *a, const void *b, size_t size);
};
extern const struct config_kind config_word, config_flag, config_u16, config_u32, config_count,
	config_text, config_word_text, config_file, config_path, config_name, config_address,
	config_endpoint, config_listen, config_pin, config_suites, config_protect, config_exempt;
/* An object of its own, and members within the same object; both with a table in "more". */
extern const struct config_kind config_group, config_include;
/* The list of peers; decoding stores the array in struct config_reading. */
extern const struct config_kind config_peers;

/* A config while it is decoded. The peers are read last, since they start from the defaults. */
struct config_reading {
	struct config c;
	const struct cJSON *peers;
};

struct config_key {
	const char *name;
	const struct config_kind *kind;
	size_t off, size;          /* of the value in its struct */
	uint64_t min, max;         /* as in struct json_field */
	const void *more;          /* list of words, or struct config_table */
	bool required;             /* else optional */
	enum config_change change; /* what a change of the value does at reload */
	const char *preset;        /* default as JSON; NULL: zero, or as "absent" says */
	/* For the manual, where the above does not say it: */
	const char *absent; /* the default */
	const char *range;  /* the values allowed */
	const char *text;   /* the meaning */
};

struct config_table {
	const struct config_key *keys;
	size_t n, size; /* rows; bytes of the struct that they describe */
};
extern const struct config_table config_agent_table, config_peer_table, config_option_table;

/* The members of an object into *to, which is wiped on -1. */
int config_table_decode(const struct config_table *t, const struct cJSON *v, void *to,
			struct err *e);
/* Stores the defaults in *to, which is zero. -1: no memory. */
int config_table_preset(const struct config_table *t, void *to, struct err *e);
void config_table_put(const struct config_table *t, struct json_out *o, const void *from);
/* The greatest effect of a member that differs. */
enum config_change config_table_change(const struct config_table *t, const void *a, const void *b);
bool config_key_equal(const struct config_key *k, const void *a, const void *b);

/* 1 to MSG_NAME_MAX of letters, digits and . _ : - */
bool config_name_fits(const char *s);

#endif
