/*
 * proto/json/encode.c - JSON text into a caller's buffer, one value at a time.
 */
#include "proto/json/encode.h"

#include <assert.h>
#include <string.h>

#include "crypto/bytes.h"
#include "crypto/hex.h"

#define NUMBER_MAX UINT64_C(9007199254740991) /* 2^53 - 1, as in scan_json() */

/* Room for n more bytes and the NUL, or NULL. */
static char *room(struct json_out *o, size_t n)
{
	char *p;

	if (o->full || n >= o->size - o->len) {
		o->full = true;
		return NULL;
	}
	p = o->buf + o->len;
	o->len += n;
	return p;
}

static void put(struct json_out *o, const char *p, size_t n)
{
	char *to = room(o, n);

	if (to != NULL)
		memcpy(to, p, n);
}

/* In quotes; invalid UTF-8 becomes U+FFFD, so that the text is valid JSON. */
static void put_string(struct json_out *o, const char *p, size_t n)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	size_t took;

	put(o, "\"", 1);
	for (size_t i = 0; i < n; i += took) {
		uint32_t code;
		const char *simple;

		took = text_char(p + i, n - i, &code);
		if (took == 0) {
			took = 1;
			put(o, "\xef\xbf\xbd", 3);
			continue;
		}
		simple = memchr(from, p[i], sizeof from - 1);
		if (simple != NULL) {
			char escape[2] = {'\\', to[simple - from]};

			put(o, escape, 2);
		} else if (code < 0x20) {
			char escape[2] = {(char)('0' + (code >> 4)), "0123456789abcdef"[code & 15]};

			put(o, "\\u00", 4);
			put(o, escape, 2);
		} else {
			put(o, p + i, took);
		}
	}
	put(o, "\"", 1);
}

/* The comma and the name in front of a value. */
static void begin_value(struct json_out *o, const char *name)
{
	if (o->comma)
		put(o, ",", 1);
	o->comma = true;
	if (name != NULL) {
		put_string(o, name, strlen(name));
		put(o, ":", 1);
	}
}

static void open_group(struct json_out *o, const char *name, const char *bracket)
{
	begin_value(o, name);
	put(o, bracket, 1);
	o->comma = false;
	o->depth++;
}

static void close_group(struct json_out *o, const char *bracket)
{
	assert(o->depth > 0);
	put(o, bracket, 1);
	o->comma = true;
	o->depth--;
}

void json_begin(struct json_out *o, char *buf, size_t size)
{
	*o = (struct json_out){.buf = buf, .size = size};
}

size_t json_end(struct json_out *o)
{
	assert(o->depth == 0);
	if (o->full || o->len == 0) {
		wipe(o->buf, o->size);
		return 0;
	}
	o->buf[o->len] = '\0';
	return o->len;
}

void json_put_open(struct json_out *o, const char *name)
{
	open_group(o, name, "{");
}

void json_put_close(struct json_out *o)
{
	close_group(o, "}");
}

void json_put_array(struct json_out *o, const char *name)
{
	open_group(o, name, "[");
}

void json_put_array_end(struct json_out *o)
{
	close_group(o, "]");
}

void json_put_text(struct json_out *o, const char *name, const char *text)
{
	begin_value(o, name);
	if (text == NULL)
		put(o, "null", 4);
	else
		put_string(o, text, strlen(text));
}

/* The digits of n, at the end of buf. */
static const char *digits(char buf[20], uint64_t n, size_t *len)
{
	size_t at = 20;

	do
		buf[--at] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	*len = 20 - at;
	return buf + at;
}

void json_put_u64(struct json_out *o, const char *name, uint64_t n)
{
	char buf[20];
	size_t len;
	const char *p = digits(buf, n < NUMBER_MAX ? n : NUMBER_MAX, &len);

	begin_value(o, name);
	put(o, p, len);
}

void json_put_dec64(struct json_out *o, const char *name, uint64_t n)
{
	char buf[20];
	size_t len;
	const char *p = digits(buf, n, &len);

	begin_value(o, name);
	put_string(o, p, len);
}

/* Big-endian, of fixed width. */
static void put_hex(struct json_out *o, const char *name, uint64_t n, size_t width)
{
	uint8_t bytes[8];

	be_put(bytes, n, width);
	json_put_hexbytes(o, name, bytes, width);
}

void json_put_spi(struct json_out *o, const char *name, struct spi spi)
{
	put_hex(o, name, spi.n, 4);
}

void json_put_hexbytes(struct json_out *o, const char *name, const uint8_t *p, size_t n)
{
	char *to;

	begin_value(o, name);
	to = room(o, 2 * n + 2);
	if (to == NULL)
		return;
	to[0] = '"';
	hex_put(to + 1, p, n);
	to[2 * n + 1] = '"'; /* in place of the NUL of hex_put() */
}

void json_put_bool(struct json_out *o, const char *name, bool b)
{
	begin_value(o, name);
	put(o, b ? "true" : "false", b ? 4 : 5);
}

void json_put_addr(struct json_out *o, const char *name, const struct addr *a)
{
	char text[ADDR_TEXT];

	addr_put(text, a);
	json_put_text(o, name, text);
}

void json_put_ms(struct json_out *o, const char *name, uint64_t us)
{
	char buf[20];
	char tail[4] = {'.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10),
			(char)('0' + us % 10)};
	size_t len;
	const char *p = digits(buf, us / 1000, &len);

	begin_value(o, name);
	put(o, p, len);
	put(o, tail, sizeof tail);
}

void json_put_raw(struct json_out *o, const char *name, const char *json, size_t len)
{
	begin_value(o, name);
	put(o, json, len);
	if (len == 0)
		o->full = true; /* not a value: the text would be invalid */
}

/* ---- fields ---------------------------------------------------------------------------- */

void json_put_fields(struct json_out *o, const struct json_field *fields, size_t n,
		     const void *from)
{
	for (size_t i = 0; i < n; i++)
		if (fields[i].put != NULL)
			fields[i].put(o, &fields[i], (const char *)from + fields[i].off);
}

void json_put_field_u16(struct json_out *o, const struct json_field *f, const void *from)
{
	json_put_u64(o, f->name, *(const uint16_t *)from);
}

void json_put_field_u32(struct json_out *o, const struct json_field *f, const void *from)
{
	json_put_u64(o, f->name, *(const uint32_t *)from);
}

void json_put_field_bool(struct json_out *o, const struct json_field *f, const void *from)
{
	json_put_bool(o, f->name, *(const bool *)from);
}

void json_put_field_dec64(struct json_out *o, const struct json_field *f, const void *from)
{
	const uint64_t *n = from;

	if (*n != 0 || !f->optional)
		json_put_dec64(o, f->name, *n);
}

void json_put_field_hex64(struct json_out *o, const struct json_field *f, const void *from)
{
	put_hex(o, f->name, *(const uint64_t *)from, 8);
}

void json_put_field_spi(struct json_out *o, const struct json_field *f, const void *from)
{
	const struct spi *spi = from;

	if (spi->n != 0 || !f->optional)
		json_put_spi(o, f->name, *spi);
}

void json_put_field_hexbytes(struct json_out *o, const struct json_field *f, const void *from)
{
	json_put_hexbytes(o, f->name, from, (size_t)f->max);
}

void json_put_field_secret(struct json_out *o, const struct json_field *f, const void *from)
{
	size_t n;
	const uint8_t *p = secret_bytes(from, &n);

	json_put_hexbytes(o, f->name, p, n);
}

void json_put_field_text(struct json_out *o, const struct json_field *f, const void *from)
{
	json_put_text(o, f->name, from);
}

void json_put_field_word(struct json_out *o, const struct json_field *f, const void *from)
{
	json_put_text(o, f->name, ((const char *const *)f->more)[*(const int *)from]);
}

void json_put_field_addr(struct json_out *o, const struct json_field *f, const void *from)
{
	json_put_addr(o, f->name, from);
}
