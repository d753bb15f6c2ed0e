/*
 * proto/json/decode.h - JSON text into structs, by field tables.
 *
 * scan_json() checks the text, cJSON parses it, and json_decode() reads the members of an object:
 * each must be known, and given once. On failure the whole struct is wiped. Errors contain the path
 * of the value, such as "peers[1].address".
 */
#ifndef SAPAIR_PROTO_JSON_DECODE_H
#define SAPAIR_PROTO_JSON_DECODE_H

#include "crypto/secret.h"
#include "proto/base/addr.h"
#include "proto/base/spi.h"
#include "proto/json/field.h"

/* Makes cJSON wipe memory that it frees. Call it once, at start. */
void json_start(void);
/* cJSON's version, such as "1.7.18". */
const char *json_library_version(void);

/* ---- documents ------------------------------------------------------------------------- */

struct json_doc; /* a scanned and parsed text */

/* Scans and parses; depth as in scan_json(). On failure ERR_REFUSED. */
int json_open(struct json_doc **doc, const char *text, size_t len, unsigned depth, struct err *e);
void json_close(struct json_doc *doc); /* wipes; NULL allowed */
const struct cJSON *json_root(const struct json_doc *doc);

/* Reads the root of a document into *to; -1 and e. */
typedef int json_read(const struct cJSON *root, void *to, struct err *e);
/*
 * Opens a file's text, calls read() and closes it. On failure ERR_USAGE in place of ERR_REFUSED, and
 * the cause begins with "line L, column C: ": of the value to which the path of the cause leads (as
 * json_decode() and err_at() make it), of the object for a missing member, of the name for an
 * unknown one, else of the document.
 */
int json_read_file(const char *text, size_t len, unsigned depth, json_read *read, void *to,
		   struct err *e);

/* ---- decoding -------------------------------------------------------------------------- */

/*
 * Reads the members of obj into *to by the table (n at most 64). Unknown, repeated and missing
 * members are errors. Absent optional members leave *to unchanged: the caller stores defaults first.
 * On failure all size bytes of *to are wiped.
 */
int json_decode(const struct cJSON *obj, const struct json_field *fields, size_t n, void *to,
		size_t size, struct err *e);

/* json_open(), json_decode() and json_close() in one, without positions: for messages. */
int json_decode_text(const char *text, size_t len, unsigned depth, const struct json_field *fields,
		     size_t n, void *to, size_t size, struct err *e);

/* The string value of a member, or NULL: to select a table ("type"). */
const char *json_peek(const struct cJSON *obj, const char *name);

/* Numbers: JSON numbers that are integers within min and max. */
json_get json_get_u16, json_get_u32;
json_get json_get_bool;
/* 64-bit counts: decimal strings without sign or leading zero, within min and max. */
json_get json_get_dec64;
/* Lower-case hex of fixed width: uint64_t (16 digits); struct spi (8 digits, any value). */
json_get json_get_hex64, json_get_spi;
/* Hex of exactly f->max bytes; stores uint8_t[max], or a struct secret. */
json_get json_get_hexbytes, json_get_secret;
/* A printable string of f->min to f->max - 1 bytes; stores char[max]. */
json_get json_get_text;
/* A word of the NULL-terminated list f->more (const char *const[]); stores its index, an int. */
json_get json_get_word;
/* An address literal; stores a struct addr. */
json_get json_get_addr;

/* Calls each() for the elements of an array. Stops and returns -1 when each() does, with "[i]"
 * prepended to its cause. */
int json_each(const struct cJSON *array, size_t max,
	      int (*each)(const struct cJSON *v, size_t i, void *arg, struct err *e), void *arg,
	      struct err *e);
bool json_is_string(const struct cJSON *v);
bool json_is_object(const struct cJSON *v);
bool json_is_array(const struct cJSON *v);
const char *json_string(const struct cJSON *v); /* NULL: not a string */
/* The name of a member; NULL for array elements and the document. */
const char *json_name(const struct cJSON *v);

/* For objects whose members are not known, such as documents to print. */
const struct cJSON *json_first(const struct cJSON *v);
const struct cJSON *json_next(const struct cJSON *v);
const struct cJSON *json_member(const struct cJSON *obj, const char *name); /* case-sensitive */
bool json_number(const struct cJSON *v, double *n);
bool json_boolean(const struct cJSON *v, bool *b);

#endif
