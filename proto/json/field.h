/*
 * proto/json/field.h - a member of a JSON object, as a row of a table.
 *
 * One table describes a document in both directions: json_decode() (decode.h) reads its members,
 * json_put_fields() (encode.h) writes them in the order of the rows.
 */
#ifndef SAPAIR_PROTO_JSON_FIELD_H
#define SAPAIR_PROTO_JSON_FIELD_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;
struct json_field;
struct json_out;

/* Reads the value v into *to. -1 and an error that does not name the member. */
typedef int json_get(const struct cJSON *v, const struct json_field *f, void *to, struct err *e);
/* Writes the member from *from; nothing, if an optional member is absent. */
typedef void json_put(struct json_out *o, const struct json_field *f, const void *from);

struct json_field {
	const char *name;
	json_get *get;
	size_t off;       /* of the value in the struct */
	uint64_t min;     /* get's limits: least number, */
	uint64_t max;     /* greatest number (0: the type's), or bytes, or elements */
	const void *more; /* what the get function needs beyond (word list, inner table) */
	bool optional;    /* when absent, the value stays as it was before the call */
	json_put *put;    /* NULL: not written by json_put_fields() */
};

/* A row for a member of a C struct, by name, or called otherwise in JSON; further members follow. */
#define JSON_FIELD(type, member, get_, ...) JSON_NAMED(#member, type, member, get_, __VA_ARGS__)
#define JSON_NAMED(name_, type, member, get_, ...)                                     \
	{                                                                              \
		.name = name_, .get = get_, .off = offsetof(type, member), __VA_ARGS__ \
	}

#endif
