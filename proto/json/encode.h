/*
 * proto/json/encode.h - writes JSON text into a caller's buffer.
 *
 * Members appear in the order of the calls, without white space.
 */
#ifndef SAPAIR_PROTO_JSON_ENCODE_H
#define SAPAIR_PROTO_JSON_ENCODE_H

#include "crypto/secret.h"
#include "proto/base/addr.h"
#include "proto/base/spi.h"
#include "proto/json/field.h"

/* Once the buffer is full, nothing more is written, and json_end() returns 0. */
struct json_out {
	char *buf;
	size_t size, len;
	unsigned depth;
	bool comma, full;
};

void json_begin(struct json_out *o, char *buf, size_t size);
/* The length of the text, which is NUL-terminated; 0: it did not fit, and buf is wiped. */
size_t json_end(struct json_out *o);

/* name is NULL inside arrays and for the document itself. */
void json_put_open(struct json_out *o, const char *name);  /* { */
void json_put_close(struct json_out *o);                   /* } */
void json_put_array(struct json_out *o, const char *name); /* [ */
void json_put_array_end(struct json_out *o);               /* ] */
/* Escaped; invalid UTF-8 becomes U+FFFD; NULL is written as null. */
void json_put_text(struct json_out *o, const char *name, const char *text);
/* A number, at most 2^53 - 1; greater ones are written so. */
void json_put_u64(struct json_out *o, const char *name, uint64_t n);
void json_put_dec64(struct json_out *o, const char *name, uint64_t n); /* string */
void json_put_spi(struct json_out *o, const char *name, struct spi spi);
void json_put_hexbytes(struct json_out *o, const char *name, const uint8_t *p, size_t n);
void json_put_bool(struct json_out *o, const char *name, bool b);
void json_put_addr(struct json_out *o, const char *name, const struct addr *a);
/* Microseconds as milliseconds with three decimals: whoever parses the text adds SCAN_DECIMALS to
 * the depth. */
void json_put_ms(struct json_out *o, const char *name, uint64_t us);
/* Writes the members of *from by the table. */
void json_put_fields(struct json_out *o, const struct json_field *fields, size_t n,
		     const void *from);
/*
 * For tables, the counterparts of json_get_u16() and so on. An optional SPI or 64-bit number of
 * zero is absent.
 */
json_put json_put_field_u16, json_put_field_u32, json_put_field_bool, json_put_field_dec64,
	json_put_field_hex64, json_put_field_spi, json_put_field_hexbytes, json_put_field_secret,
	json_put_field_text, json_put_field_word, json_put_field_addr;
/* A JSON value that is copied unchanged. */
void json_put_raw(struct json_out *o, const char *name, const char *json, size_t len);

#endif
