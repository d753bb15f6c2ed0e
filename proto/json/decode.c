/*
 * proto/json/decode.c - the only file that uses cJSON.
 *
 * JSON texts contain keys, so cJSON allocates through functions that record the size of a block
 * and wipe it when it is freed.
 */
#include "proto/json/decode.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "crypto/bytes.h"
#include "crypto/hex.h"
#include "proto/json/scan.h"

#define FIELDS_MAX 64

/* ---- memory ---------------------------------------------------------------------------- */

union block {
	size_t size; /* bytes after this header */
	max_align_t align;
};

static void *CJSON_CDECL allocate(size_t size)
{
	union block *b;

	if (size > SIZE_MAX - sizeof *b)
		return NULL;
	b = malloc(sizeof *b + size);
	if (b == NULL)
		return NULL;
	b->size = size;
	return b + 1;
}

static void CJSON_CDECL wipe_and_free(void *p)
{
	union block *b = p;

	if (b == NULL)
		return;
	b--;
	wipe(b + 1, b->size);
	free(b);
}

void json_start(void)
{
	cJSON_Hooks hooks = {allocate, wipe_and_free};

	cJSON_InitHooks(&hooks);
}

const char *json_library_version(void)
{
	return cJSON_Version();
}

/* ---- documents ------------------------------------------------------------------------- */

struct json_doc {
	cJSON *root;
};

static int open_text(struct json_doc **doc, const char *text, size_t len, unsigned depth,
		     struct scan_where *where, struct err *e)
{
	struct json_doc *d;
	const char *end;

	*doc = NULL;
	if (scan_json(text, len, depth, where, e) < 0)
		return -1;
	d = malloc(sizeof *d);
	if (d == NULL)
		return err_set(e, ERR_BUG, "no memory");
	d->root = cJSON_ParseWithLengthOpts(text, len, &end, 0);
	if (d->root == NULL) {
		free(d);
		return err_set(e, ERR_BUG, "no memory"); /* scan_json() has accepted the text */
	}
	*doc = d;
	return 0;
}

int json_open(struct json_doc **doc, const char *text, size_t len, unsigned depth, struct err *e)
{
	return open_text(doc, text, len, depth, NULL, e);
}

void json_close(struct json_doc *doc)
{
	if (doc == NULL)
		return;
	cJSON_Delete(doc->root);
	free(doc);
}

const struct cJSON *json_root(const struct json_doc *doc)
{
	return doc->root;
}

/* The length of a path at the beginning of the cause that err_at() did not mark, or 0. */
static size_t path_of(const char *cause)
{
	size_t n = strspn(cause, "abcdefghijklmnopqrstuvwxyz_0123456789.[]");

	return n > 0 && strncmp(cause + n, ": ", 2) == 0 ? n : 0;
}

/* The value that a path leads to; where it ends early, the object or array that lacks the rest. */
static const cJSON *follow(const cJSON *v, char *path)
{
	while (*path != '\0') {
		char *end = path + 1 + strcspn(path + 1, ".[");
		char after = *end;
		const cJSON *next;

		*end = '\0';
		if (*path == '[')
			next = json_is_array(v)
				       ? cJSON_GetArrayItem(v, (int)strtol(path + 1, NULL, 10))
				       : NULL;
		else
			next = json_member(v, *path == '.' ? path + 1 : path);
		if (next == NULL)
			return v;
		v = next;
		*end = after;
		path = end;
	}
	return v;
}

/* The member of obj that an error calls by name, which is escaped, with its closing quote or cut. */
static const cJSON *find_unknown(const cJSON *obj, const char *name)
{
	char shown[ERR_CAUSE];
	const cJSON *v;

	cJSON_ArrayForEach (v, obj) {
		text_escape(shown, sizeof shown - 1, v->string, strlen(v->string));
		memcpy(shown + strlen(shown), "\"", 2);
		if (strncmp(shown, name, strlen(name)) == 0)
			return v;
	}
	return obj;
}

/* Adds to *n the values in front of wanted, in the order of the text. */
static bool count_to(const cJSON *v, const cJSON *wanted, size_t *n)
{
	const cJSON *child;

	if (v == wanted)
		return true;
	++*n;
	cJSON_ArrayForEach (child, v)
		if (count_to(child, wanted, n))
			return true;
	return false;
}

/* Prepends the position of the value that the cause is about, or else that of the document. */
static void add_place(const cJSON *root, const char *text, size_t len, struct err *e)
{
	static const char unknown[] = "unknown member \"";
	struct scan_where where = {1, 1};
	char path[ERR_CAUSE + 1];
	const char *why;
	const cJSON *v;
	size_t n = e->path > 0 ? e->path : path_of(e->cause), before = 0;
	bool by_name;

	memcpy(path, e->cause, n);
	path[n] = '\0';
	why = e->cause + n + (n > 0 ? strspn(e->cause + n, ": ") : 0);
	v = follow(root, path);
	by_name = strncmp(why, unknown, sizeof unknown - 1) == 0;
	if (by_name)
		v = find_unknown(v, why + sizeof unknown - 1);
	if (count_to(root, v, &before))
		scan_find(text, len, before, by_name, &where);
	err_in(e, "line %u, column %u", where.line, where.column);
}

int json_read_file(const char *text, size_t len, unsigned depth, json_read *read, void *to,
		   struct err *e)
{
	struct json_doc *doc;
	struct scan_where where;
	struct err none = {.code = ERR_NONE};
	int rc;

	if (e == NULL)
		e = &none;
	rc = open_text(&doc, text, len, depth, &where, e);
	if (rc < 0 && e->code == ERR_REFUSED)
		err_in(e, "line %u, column %u", where.line, where.column);
	if (rc == 0) {
		rc = read(doc->root, to, e);
		if (rc < 0)
			add_place(doc->root, text, len, e);
		json_close(doc);
	}
	if (rc < 0 && e->code == ERR_REFUSED)
		e->code = ERR_USAGE; /* the user's file, not a peer's message */
	return rc;
}

/* ---- decoding -------------------------------------------------------------------------- */

static const struct json_field *find_field(const struct json_field *fields, size_t n,
					   const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(fields[i].name, name) == 0)
			return &fields[i];
	return NULL;
}

static int decode_members(const cJSON *obj, const struct json_field *fields, size_t n, void *to,
			  struct err *e)
{
	uint64_t seen = 0; /* one bit per field */
	const cJSON *v;

	if (!cJSON_IsObject(obj))
		return err_set(e, ERR_REFUSED, "must be an object");
	cJSON_ArrayForEach (v, obj) {
		const struct json_field *f = find_field(fields, n, v->string);
		uint64_t bit;

		if (f == NULL)
			return err_set(e, ERR_REFUSED, "unknown member \"%s\"", v->string);
		bit = UINT64_C(1) << (f - fields);
		if (seen & bit) {
			err_set(e, ERR_REFUSED, "given twice"); /* scan_json() has checked it */
			return err_at(e, "%s", f->name);
		}
		seen |= bit;
		if (f->get(v, f, (char *)to + f->off, e) < 0)
			return err_at(e, "%s", f->name);
	}
	for (size_t i = 0; i < n; i++)
		if (!fields[i].optional && !(seen & UINT64_C(1) << i)) {
			err_set(e, ERR_REFUSED, "missing");
			return err_at(e, "%s", fields[i].name);
		}
	return 0;
}

int json_decode(const struct cJSON *obj, const struct json_field *fields, size_t n, void *to,
		size_t size, struct err *e)
{
	assert(n <= FIELDS_MAX);
	if (decode_members(obj, fields, n, to, e) == 0)
		return 0;
	wipe(to, size);
	return -1;
}

int json_decode_text(const char *text, size_t len, unsigned depth, const struct json_field *fields,
		     size_t n, void *to, size_t size, struct err *e)
{
	struct json_doc *doc;
	int done;

	json_open(&doc, text, len, depth, e);
	if (doc == NULL) {
		wipe(to, size);
		return -1;
	}
	done = json_decode(doc->root, fields, n, to, size, e);
	json_close(doc);
	return done;
}

const char *json_peek(const struct cJSON *obj, const char *name)
{
	return json_string(json_member(obj, name));
}

/* ---- values ---------------------------------------------------------------------------- */

static int get_number(const cJSON *v, const struct json_field *f, uint64_t type_max, uint64_t *n,
		      struct err *e)
{
	uint64_t max = f->max == 0 || f->max > type_max ? type_max : f->max;

	if (!cJSON_IsNumber(v) || v->valuedouble < (double)f->min || v->valuedouble > (double)max ||
	    v->valuedouble != (double)(uint64_t)v->valuedouble)
		return err_set(e, ERR_REFUSED,
			       "must be a whole number between %" PRIu64 " and %" PRIu64, f->min,
			       max);
	*n = (uint64_t)v->valuedouble;
	return 0;
}

int json_get_u16(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	uint64_t n = 0;

	if (get_number(v, f, UINT16_MAX, &n, e) < 0)
		return -1;
	*(uint16_t *)to = (uint16_t)n;
	return 0;
}

int json_get_u32(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	uint64_t n = 0;

	if (get_number(v, f, UINT32_MAX, &n, e) < 0)
		return -1;
	*(uint32_t *)to = (uint32_t)n;
	return 0;
}

int json_get_bool(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	(void)f;
	if (!cJSON_IsBool(v))
		return err_set(e, ERR_REFUSED, "must be true or false");
	*(bool *)to = cJSON_IsTrue(v);
	return 0;
}

/* A decimal number without sign or leading zero. */
static bool read_dec64(const char *p, uint64_t *n)
{
	*n = 0;
	if (p == NULL || *p == '\0' || (*p == '0' && p[1] != '\0'))
		return false;
	for (; *p != '\0'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (*p < '0' || *p > '9' || *n > (UINT64_MAX - digit) / 10)
			return false;
		*n = 10 * *n + digit;
	}
	return true;
}

int json_get_dec64(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	uint64_t max = f->max == 0 ? UINT64_MAX : f->max, n;

	if (!read_dec64(json_string(v), &n) || n < f->min || n > max)
		return err_set(e, ERR_REFUSED,
			       "must be a string with a whole number between %" PRIu64
			       " and %" PRIu64,
			       f->min, max);
	*(uint64_t *)to = n;
	return 0;
}

static int get_hex(const cJSON *v, uint8_t *to, size_t n, struct err *e)
{
	const char *s = json_string(v);

	if (s == NULL || !hex_get(to, n, s, strlen(s)))
		return err_set(e, ERR_REFUSED, "must be %zu lower-case hex digits", 2 * n);
	return 0;
}

int json_get_hex64(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	uint8_t bytes[8] = {0};

	(void)f;
	if (get_hex(v, bytes, sizeof bytes, e) < 0)
		return -1;
	*(uint64_t *)to = be_get(bytes, sizeof bytes);
	return 0;
}

int json_get_spi(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	uint8_t bytes[4] = {0};

	(void)f;
	if (get_hex(v, bytes, sizeof bytes, e) < 0)
		return -1;
	((struct spi *)to)->n = (uint32_t)be_get(bytes, sizeof bytes);
	return 0;
}

int json_get_hexbytes(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	return get_hex(v, to, (size_t)f->max, e);
}

int json_get_secret(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	const char *s = json_string(v);

	assert(f->max > 0 && f->max <= SECRET_MAX);
	if (s == NULL || strlen(s) != 2 * f->max || !hex_get_secret(to, s, strlen(s)))
		return err_set(e, ERR_REFUSED, "must be %" PRIu64 " lower-case hex digits",
			       2 * f->max);
	return 0;
}

int json_get_text(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	const char *s = json_string(v);
	size_t n;

	assert(f->max > 0);
	if (s == NULL)
		return err_set(e, ERR_REFUSED, "must be a string");
	n = strlen(s);
	if (n < f->min || n > f->max - 1)
		return err_set(e, ERR_REFUSED, "must be %" PRIu64 " to %" PRIu64 " bytes long",
			       f->min, f->max - 1);
	if (!text_printable(s, n))
		return err_set(e, ERR_REFUSED, "must not contain control characters");
	memset(to, 0, (size_t)f->max);
	memcpy(to, s, n);
	return 0;
}

int json_get_word(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	const char *const *words = f->more;
	const char *s = json_string(v);
	char list[200] = "";
	size_t len = 0;

	for (int i = 0; s != NULL && words[i] != NULL; i++)
		if (strcmp(words[i], s) == 0) {
			*(int *)to = i;
			return 0;
		}
	for (size_t i = 0; words[i] != NULL; i++) {
		const char *between = i == 0 ? "" : words[i + 1] != NULL ? ", " : " or ";
		int n = snprintf(list + len, sizeof list - len, "%s\"%s\"", between, words[i]);

		if (n < 0 || (size_t)n >= sizeof list - len)
			break;
		len += (size_t)n;
	}
	return err_set(e, ERR_REFUSED, "must be %s", list);
}

int json_get_addr(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	const char *s = json_string(v);

	(void)f;
	if (s == NULL)
		return err_set(e, ERR_REFUSED, "must be a string");
	if (addr_parse(to, s, e) == 0)
		return 0;
	if (e != NULL)
		e->code = ERR_REFUSED;
	return -1;
}

int json_each(const struct cJSON *array, size_t max,
	      int (*each)(const struct cJSON *v, size_t i, void *arg, struct err *e), void *arg,
	      struct err *e)
{
	const cJSON *v;
	size_t i = 0;

	if (!cJSON_IsArray(array))
		return err_set(e, ERR_REFUSED, "must be an array");
	cJSON_ArrayForEach (v, array) {
		if (i == max)
			return err_set(e, ERR_REFUSED, "must have at most %zu elements", max);
		if (each(v, i, arg, e) < 0)
			return err_at(e, "[%zu]", i);
		i++;
	}
	return 0;
}

bool json_is_string(const struct cJSON *v)
{
	return cJSON_IsString(v);
}

bool json_is_object(const struct cJSON *v)
{
	return cJSON_IsObject(v);
}

bool json_is_array(const struct cJSON *v)
{
	return cJSON_IsArray(v);
}

const char *json_string(const struct cJSON *v)
{
	return cJSON_IsString(v) ? v->valuestring : NULL;
}

const char *json_name(const struct cJSON *v)
{
	return v != NULL ? v->string : NULL;
}

const struct cJSON *json_first(const struct cJSON *v)
{
	return v != NULL ? v->child : NULL;
}

const struct cJSON *json_next(const struct cJSON *v)
{
	return v != NULL ? v->next : NULL;
}

const struct cJSON *json_member(const struct cJSON *obj, const char *name)
{
	return cJSON_IsObject(obj) ? cJSON_GetObjectItemCaseSensitive(obj, name) : NULL;
}

bool json_number(const struct cJSON *v, double *n)
{
	if (!cJSON_IsNumber(v))
		return false;
	*n = v->valuedouble;
	return true;
}

bool json_boolean(const struct cJSON *v, bool *b)
{
	if (!cJSON_IsBool(v))
		return false;
	*b = cJSON_IsTrue(v);
	return true;
}
