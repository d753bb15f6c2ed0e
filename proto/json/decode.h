/*
 * proto/json/decode.h - JSON text into structs, by field tables.
 *
 * scan_json() checks the text, cJSON parses it, and json_decode() walks the members of an object:
 * each must be known, and given once. On failure the whole struct is wiped. Paths in errors read
 * "peers[1].address".
 */
#ifndef SAPAIR_PROTO_JSON_DECODE_H
#define SAPAIR_PROTO_JSON_DECODE_H

#include "crypto/secret.h"
#include "proto/base/addr.h"
#include "proto/base/spi.h"
#include "proto/json/field.h"

/* Makes cJSON allocate through functions that wipe on free. Call once, at start. */
void json_start(void);
/* "1.7.18": cJSON's own version. */
const char *json_library_version(void);

/* ---- documents ------------------------------------------------------------------------- */

struct json_doc; /* a scanned and parsed text */

/*
 * Scans and parses; depth as in scan_json(). On failure ERR_REFUSED; the cause begins with
 * "line L, column C: " when with_place (files), without it for messages. Borrowed text must
 * outlive the document when places are wanted later.
 */
int json_open(struct json_doc **doc, const char *text, size_t len, unsigned depth, bool with_place,
	      struct err *e);
void json_close(struct json_doc *doc); /* wipes; NULL allowed */
const struct cJSON *json_root(const struct json_doc *doc);

/*
 * For errors of files: puts "line L, column C: " in front of a cause that begins with a path
 * ("peers[1].address: why"; json_decode() makes such ones, err_at() helps), or of any other cause
 * the place where the document begins. A missing member is shown at its object, an unknown one
 * at its name. text is what json_open() accepted. Returns -1.
 */
int json_place(const char *text, size_t len, struct err *e);

/* ---- decoding -------------------------------------------------------------------------- */

/*
 * Members of obj into *to, by the table (n at most 64). Unknown, repeated and missing members
 * are errors. *to is left as it is for absent optional members, so the caller puts defaults
 * there first. size is that of *to: on failure it is wiped whole.
 */
int json_decode(const struct cJSON *obj, const struct json_field *fields, size_t n, void *to,
		size_t size, struct err *e);

/* json_open + json_decode + json_close in one, without places: for messages. */
int json_decode_text(const char *text, size_t len, unsigned depth, const struct json_field *fields,
		     size_t n, void *to, size_t size, struct err *e);

/* The string value of a member, or NULL: to find out which table to use ("type"). */
const char *json_peek(const struct cJSON *obj, const char *name);

/* Numbers: JSON numbers that are integers within min and max. */
json_get json_get_u16, json_get_u32;
json_get json_get_bool;
/* 64-bit counts: decimal strings without sign or leading zero, within min and max. */
json_get json_get_dec64;
/* Fixed-width lower-case hex: uint64_t (16 digits); struct spi (8 digits, any value). */
json_get json_get_hex64, json_get_spi;
/* Exactly f->max bytes of hex into uint8_t[max]; or into a struct secret of exactly max bytes. */
json_get json_get_hexbytes, json_get_secret;
/* A string of f->min to f->max - 1 bytes into char[max], printable (no control characters). */
json_get json_get_text;
/* A word of the NULL-ended list f->more (const char *const[]) into an int: its index. */
json_get json_get_word;
/* An address literal into a struct addr. */
json_get json_get_addr;

/* Array walk for get functions of lists. Stops and returns -1 when each() does, with "[i]" put
 * in front of its cause. */
int json_each(const struct cJSON *array, size_t max,
	      int (*each)(const struct cJSON *v, size_t i, void *arg, struct err *e), void *arg,
	      struct err *e);
bool json_is_string(const struct cJSON *v);
bool json_is_object(const struct cJSON *v);
bool json_is_array(const struct cJSON *v);
const char *json_string(const struct cJSON *v); /* NULL when it is none */
/* The name of a member; NULL for array elements and the document. */
const char *json_name(const struct cJSON *v);

/* Walk of an object of unknown members (for printing documents that another wrote). */
const struct cJSON *json_first(const struct cJSON *v);
const struct cJSON *json_next(const struct cJSON *v);
const struct cJSON *json_member(const struct cJSON *obj, const char *name); /* with case */
bool json_number(const struct cJSON *v, double *n);
bool json_boolean(const struct cJSON *v, bool *b);
bool json_is_null(const struct cJSON *v);

#endif
