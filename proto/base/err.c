/*
 * proto/base/err.c - error texts: escaped, and truncated between characters.
 */
#include "proto/base/err.h"

#include <stdio.h>
#include <string.h>

static const struct {
	int status;
	const char *word, *meaning;
} classes[ERR_COUNT] = {
#define ERR_ROW(name, status, word, text) {status, word, text},
	ERR_LIST(ERR_ROW)
#undef ERR_ROW
};

/* ---- text ------------------------------------------------------------------------------ */

size_t text_char(const char *src, size_t n, uint32_t *code)
{
	const uint8_t *s = (const uint8_t *)src;
	uint32_t c = s[0], least;
	size_t len;

	if (c < 0x80) {
		*code = c;
		return 1;
	}
	if (c >= 0xc2 && c <= 0xdf) {
		len = 2;
		least = 0x80;
		c &= 0x1f;
	} else if (c >= 0xe0 && c <= 0xef) {
		len = 3;
		least = 0x800;
		c &= 0x0f;
	} else if (c >= 0xf0 && c <= 0xf4) {
		len = 4;
		least = 0x10000;
		c &= 0x07;
	} else {
		return 0;
	}
	if (n < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0; /* overlong, out of range, or half of a surrogate pair */
	*code = c;
	return len;
}

/* Not a control character, nor one that hides or reorders its neighbours. */
static bool is_printable(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} hidden[] = {
		{0x0000, 0x001f}, {0x007f, 0x009f},   /* C0, DEL, C1 */
		{0x00ad, 0x00ad}, {0x061c, 0x061c},   /* soft hyphen, Arabic letter mark */
		{0x200b, 0x200f}, {0x2028, 0x202e},   /* zero width, marks, separators, bidi */
		{0x2060, 0x206f}, {0xfeff, 0xfeff},   /* joiners, bidi isolates, byte order mark */
		{0xfff9, 0xfffb}, {0xe0000, 0xe0fff}, /* annotations, tags */
	};

	if (c >= 0x20 && c < 0x7f)
		return true;
	for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
		if (c >= hidden[i].first && c <= hidden[i].last)
			return false;
	return true;
}

void text_escape(char *dst, size_t size, const char *src, size_t n)
{
	size_t out = 0, took;

	if (size == 0)
		return;
	for (size_t i = 0; i < n; i += took) {
		uint32_t c = 0;
		size_t need;

		took = text_char(src + i, n - i, &c);
		if (took > 0 && is_printable(c)) {
			need = c == '\\' ? 2 : took;
			if (need >= size - out)
				break;
			if (c == '\\')
				dst[out] = '\\';
			memcpy(dst + out + need - took, src + i, took);
		} else {
			if (took == 0)
				took = 1;
			need = 4 * took;
			if (need >= size - out)
				break;
			for (size_t k = 0; k < took; k++) {
				unsigned b = (uint8_t)src[i + k];

				dst[out + 4 * k] = '\\';
				dst[out + 4 * k + 1] = 'x';
				dst[out + 4 * k + 2] = "0123456789abcdef"[b >> 4];
				dst[out + 4 * k + 3] = "0123456789abcdef"[b & 15];
			}
		}
		out += need;
	}
	dst[out] = '\0';
}

bool text_printable(const char *src, size_t n)
{
	size_t took;

	for (size_t i = 0; i < n; i += took) {
		uint32_t c = 0;

		took = text_char(src + i, n - i, &c);
		if (took == 0 || !is_printable(c))
			return false;
	}
	return true;
}

bool text_alnum(const char *src, const char *more)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

	for (; *src != '\0'; src++)
		if (strchr(letters, *src) == NULL && strchr(more, *src) == NULL)
			return false;
	return true;
}

/* Formats and escapes. vsnprintf() may split a character, but beyond the end of dst: escaping never
 * shortens a text. */
static void format(char *dst, size_t size, const char *fmt, va_list ap) PRINTF_LIKE(3, 0);
static void format(char *dst, size_t size, const char *fmt, va_list ap)
{
	char raw[ERR_CAUSE + 4];
	int n = vsnprintf(raw, sizeof raw, fmt, ap);

	if (n < 0)
		n = 0;
	if ((size_t)n >= sizeof raw)
		n = (int)sizeof raw - 1;
	text_escape(dst, size, raw, (size_t)n);
}

/* Appends escaped text, whole characters and whole escapes only. */
static void append(char *dst, size_t size, const char *text)
{
	size_t out = strlen(dst), n = strlen(text), took;

	for (size_t i = 0; i < n; i += took) {
		uint32_t c = 0;

		took = text_char(text + i, n - i, &c);
		if (took == 0)
			took = 1;
		else if (c == '\\' && i + 1 < n)
			took = text[i + 1] == 'x' && n - i >= 4 ? 4 : 2;
		if (took >= size - out)
			break;
		memcpy(dst + out, text + i, took);
		out += took;
	}
	dst[out] = '\0';
}

/* ---- errors ---------------------------------------------------------------------------- */

int err_setv(struct err *e, enum err_code code, const char *fmt, va_list ap)
{
	char cause[ERR_CAUSE];

	if (e == NULL)
		return -1;
	format(cause, sizeof cause, fmt, ap); /* the arguments may point into *e */
	*e = (struct err){.code = code};
	memcpy(e->cause, cause, strlen(cause) + 1);
	return -1;
}

int(err_set)(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_setv(e, code, fmt, ap);
	va_end(ap);
	return -1;
}

int(err_in)(struct err *e, const char *fmt, ...)
{
	char cause[ERR_CAUSE];
	va_list ap;

	if (e == NULL)
		return -1;
	va_start(ap, fmt);
	format(cause, sizeof cause, fmt, ap);
	va_end(ap);
	append(cause, sizeof cause, ": ");
	append(cause, sizeof cause, e->cause);
	memcpy(e->cause, cause, strlen(cause) + 1);
	e->path = 0;
	return -1;
}

int(err_at)(struct err *e, const char *fmt, ...)
{
	char cause[ERR_CAUSE];
	size_t path;
	va_list ap;

	if (e == NULL)
		return -1;
	va_start(ap, fmt);
	format(cause, sizeof cause, fmt, ap);
	va_end(ap);
	path = strlen(cause);
	if (e->path == 0) {
		append(cause, sizeof cause, ": ");
	} else {
		if (e->cause[0] != '[')
			append(cause, sizeof cause, ".");
		path = strlen(cause) + e->path;
	}
	append(cause, sizeof cause, e->cause);
	memcpy(e->cause, cause, strlen(cause) + 1);
	e->path = (uint16_t)(path < strlen(cause) ? path : strlen(cause));
	return -1;
}

int(err_value)(struct err *e, const char *path, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_setv(e, ERR_USAGE, fmt, ap);
	va_end(ap);
	return err_at(e, "%s", path);
}

int(err_hint)(struct err *e, const char *hint)
{
	if (e != NULL)
		e->hint = hint;
	return -1;
}

int err_exit_status(enum err_code code)
{
	return (unsigned)code < ERR_COUNT ? classes[code].status : classes[ERR_BUG].status;
}

const char *err_word(enum err_code code)
{
	return (unsigned)code < ERR_COUNT ? classes[code].word : classes[ERR_BUG].word;
}

const char *err_meaning(enum err_code code)
{
	return (unsigned)code < ERR_COUNT ? classes[code].meaning : classes[ERR_BUG].meaning;
}

enum err_code err_of_word(const char *word)
{
	unsigned i = 0;

	while (i < ERR_COUNT && strcmp(classes[i].word, word) != 0)
		i++;
	return (enum err_code)i;
}
