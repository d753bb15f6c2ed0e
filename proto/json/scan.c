/*
 * proto/json/scan.c - checks a JSON text in one pass.
 *
 * Recursion is limited to SCAN_DEPTH_MAX. For each open object the positions and hashes of its names
 * are kept, to find duplicates.
 */
#include "proto/json/scan.h"

#include <string.h>

#define GREATEST UINT64_C(9007199254740991) /* 2^53 - 1: doubles hold it and all below exactly */
#define NO_NAME SIZE_MAX

struct scan {
	const char *text;
	size_t len;
	size_t at; /* the next byte; after a failure the invalid one */
	unsigned depth;
	bool decimals;
	struct err *e;
};

struct name {
	uint32_t at; /* after the opening quote */
	uint32_t hash;
};

static int refuse(struct scan *s, size_t at, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int refuse(struct scan *s, size_t at, const char *fmt, ...)
{
	va_list ap;

	s->at = at;
	va_start(ap, fmt);
	err_setv(s->e, ERR_REFUSED, fmt, ap);
	va_end(ap);
	return -1;
}

/* The byte at an offset, or -1 beyond the end. */
static int byte_at(const struct scan *s, size_t at)
{
	return at < s->len ? (uint8_t)s->text[at] : -1;
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static void skip_space(struct scan *s)
{
	while (s->at < s->len) {
		char c = s->text[s->at];

		if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
			break;
		s->at++;
	}
}

static int unexpected(struct scan *s, const char *wanted)
{
	int c = byte_at(s, s->at);

	if (c < 0)
		return refuse(s, s->at, "unexpected end of the text, expected %s", wanted);
	if (c == '/' || c == '#')
		return refuse(s, s->at, "comments are not allowed");
	if (c == '\'')
		return refuse(s, s->at, "names and strings must be in double quotes");
	if (c > 0x20 && c < 0x7f)
		return refuse(s, s->at, "unexpected '%c', expected %s", c, wanted);
	return refuse(s, s->at, "unexpected byte 0x%02x, expected %s", (unsigned)c, wanted);
}

/* ---- strings --------------------------------------------------------------------------- */

/* Four hex digits, or -1. */
static int32_t hex4(const char *p)
{
	int32_t v = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];

		v <<= 4;
		if (c >= '0' && c <= '9')
			v |= c - '0';
		else if (c >= 'a' && c <= 'f')
			v |= c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			v |= c - 'A' + 10;
		else
			return -1;
	}
	return v;
}

/* An escape at p, of at most n bytes: its length, or 0 and why not. */
static size_t escaped(const char *p, size_t n, uint32_t *code, const char **why)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *simple;
	int32_t u, low;

	*why = "the text ends inside a string";
	if (n < 2)
		return 0;
	simple = memchr(from, p[1], sizeof from - 1);
	if (simple != NULL) {
		*code = (uint8_t)to[simple - from];
		return 2;
	}
	*why = "unknown escape";
	if (p[1] != 'u')
		return 0;
	*why = "u escape without four hex digits";
	if (n < 6 || (u = hex4(p + 2)) < 0)
		return 0;
	*why = "NUL escape is not allowed";
	if (u == 0)
		return 0;
	*code = (uint32_t)u;
	if (u < 0xd800 || u > 0xdfff)
		return 6;
	*why = "unpaired surrogate";
	if (u > 0xdbff || n < 12 || p[6] != '\\' || p[7] != 'u' || (low = hex4(p + 8)) < 0xdc00 ||
	    low > 0xdfff)
		return 0;
	*code = 0x10000u + ((uint32_t)(u - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
	return 12;
}

/* One character of a string, escaped or not: its length in the text, or 0 and why not. */
static size_t character(const char *p, size_t n, uint32_t *code, const char **why)
{
	uint8_t c = (uint8_t)*p;

	if (c == '\\')
		return escaped(p, n, code, why);
	*why = "invalid UTF-8";
	if (c >= 0x20)
		return text_char(p, n, code);
	*why = "control character in a string";
	if (c == '\n' || c == '\r')
		*why = "line break in a string (closing quote missing?)";
	return 0;
}

/* Scans from after the opening quote to after the closing one. */
static int string(struct scan *s, uint32_t *hash)
{
	uint32_t h = 2166136261u; /* FNV-1a over unescaped characters */

	for (;;) {
		const char *why;
		uint32_t code;
		size_t n = 1;

		if (s->at >= s->len)
			return refuse(s, s->len, "the text ends inside a string");
		code = (uint8_t)s->text[s->at];
		if (code == '"')
			break;
		if (code < 0x20 || code > 0x7f || code == '\\') {
			n = character(s->text + s->at, s->len - s->at, &code, &why);
			if (n == 0)
				return refuse(s, s->at, "%s", why);
		}
		h = (h ^ code) * 16777619u;
		s->at += n;
	}
	s->at++;
	*hash = h;
	return 0;
}

/* Compares two accepted strings, from after their opening quotes. */
static bool same_string(const struct scan *s, size_t a, size_t b)
{
	for (;;) {
		const char *why;
		uint32_t ca = 0, cb = 0;

		if (s->text[a] == '"' || s->text[b] == '"')
			return s->text[a] == s->text[b];
		a += character(s->text + a, s->len - a, &ca, &why);
		b += character(s->text + b, s->len - b, &cb, &why);
		if (ca != cb)
			return false;
	}
}

/* ---- values ---------------------------------------------------------------------------- */

static int value(struct scan *s, unsigned left);

static int word(struct scan *s, const char *w)
{
	size_t n = strlen(w);

	if (s->len - s->at < n || memcmp(s->text + s->at, w, n) != 0)
		return unexpected(s, "a value");
	s->at += n;
	return 0;
}

static int fraction(struct scan *s)
{
	size_t point = s->at;

	if (!s->decimals || byte_at(s, point) != '.')
		return refuse(s, point, "only whole numbers are allowed");
	s->at++;
	while (is_digit(byte_at(s, s->at)) && s->at - point <= 3)
		s->at++;
	if (s->at == point + 1 || is_digit(byte_at(s, s->at)))
		return refuse(s, point, "a number may have one to three decimals");
	return 0;
}

static int number(struct scan *s)
{
	size_t start = s->at;
	bool negative = byte_at(s, start) == '-';
	uint64_t n = 0;
	int c;

	if (negative)
		s->at++;
	if (!is_digit(byte_at(s, s->at)))
		return unexpected(s, "a digit");
	if (byte_at(s, s->at) == '0' && is_digit(byte_at(s, s->at + 1)))
		return refuse(s, start, "a number must not begin with 0");
	for (; is_digit(c = byte_at(s, s->at)); s->at++) {
		n = 10 * n + (uint64_t)(c - '0');
		if (n > GREATEST)
			return refuse(s, start, "a number exceeds 9007199254740991");
	}
	if (c == '.' || c == 'e' || c == 'E')
		if (fraction(s) < 0)
			return -1;
	if (negative && n == 0)
		return refuse(s, start, "-0 is not allowed");
	return 0;
}

static int array(struct scan *s, unsigned left)
{
	if (left == 0)
		return refuse(s, s->at, "nested deeper than %u", s->depth);
	s->at++;
	skip_space(s);
	if (byte_at(s, s->at) == ']') {
		s->at++;
		return 0;
	}
	for (;;) {
		skip_space(s);
		if (value(s, left - 1) < 0)
			return -1;
		skip_space(s);
		if (byte_at(s, s->at) == ']') {
			s->at++;
			return 0;
		}
		if (byte_at(s, s->at) != ',')
			return unexpected(s, "',' or ']'");
		s->at++;
	}
}

/* A name that differs from the n names in seen. */
static int name(struct scan *s, struct name *seen, size_t n)
{
	size_t start = s->at;
	struct name *own;

	if (byte_at(s, start) != '"')
		return unexpected(s, "a member's name");
	if (n == SCAN_MEMBERS_MAX)
		return refuse(s, start, "more than %d members in one object", SCAN_MEMBERS_MAX);
	own = &seen[n];
	own->at = (uint32_t)++s->at;
	if (string(s, &own->hash) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (seen[i].hash == own->hash && same_string(s, seen[i].at, own->at))
			return refuse(s, start, "member %.*s is given twice",
				      s->at - start < 80 ? (int)(s->at - start) : 80,
				      s->text + start);
	return 0;
}

static int object(struct scan *s, unsigned left)
{
	struct name seen[SCAN_MEMBERS_MAX];

	if (left == 0)
		return refuse(s, s->at, "nested deeper than %u", s->depth);
	s->at++;
	skip_space(s);
	if (byte_at(s, s->at) == '}') {
		s->at++;
		return 0;
	}
	for (size_t n = 0;; n++) {
		skip_space(s);
		if (name(s, seen, n) < 0)
			return -1;
		skip_space(s);
		if (byte_at(s, s->at) != ':')
			return unexpected(s, "':'");
		s->at++;
		skip_space(s);
		if (value(s, left - 1) < 0)
			return -1;
		skip_space(s);
		if (byte_at(s, s->at) == '}') {
			s->at++;
			return 0;
		}
		if (byte_at(s, s->at) != ',')
			return unexpected(s, "',' or '}'");
		s->at++;
	}
}

static int value(struct scan *s, unsigned left)
{
	uint32_t unused;
	int c = byte_at(s, s->at);

	switch (c) {
	case '{':
		return object(s, left);
	case '[':
		return array(s, left);
	case '"':
		s->at++;
		return string(s, &unused);
	case 't':
		return word(s, "true");
	case 'f':
		return word(s, "false");
	case 'n':
		return word(s, "null");
	default:
		return c == '-' || is_digit(c) ? number(s) : unexpected(s, "a value");
	}
}

static int document(struct scan *s)
{
	static const char mark[] = "\xef\xbb\xbf", little[] = "\xff\xfe", big[] = "\xfe\xff";

	if (s->len > UINT32_MAX)
		return refuse(s, 0, "the text is too long");
	if (s->len >= 3 && memcmp(s->text, mark, 3) == 0)
		return refuse(s, 0, "the text begins with a byte order mark: save it without one");
	if (s->len >= 2 && (memcmp(s->text, little, 2) == 0 || memcmp(s->text, big, 2) == 0))
		return refuse(s, 0, "the text is UTF-16: save it as UTF-8");
	if (s->len >= 2 && (s->text[0] == '\0') != (s->text[1] == '\0'))
		return refuse(
			s, 0,
			"the text looks like UTF-16 without a byte order mark: save it as UTF-8");
	skip_space(s);
	if (s->at == s->len)
		return refuse(s, 0, "the text is empty");
	if (value(s, s->depth) < 0)
		return -1;
	skip_space(s);
	if (s->at < s->len)
		return refuse(s, s->at, "unexpected text after the value");
	return 0;
}

static void place(const char *text, size_t at, struct scan_where *where)
{
	where->line = where->column = 1;
	for (size_t i = 0; i < at; i++) {
		where->column++;
		if (text[i] == '\n') {
			where->line++;
			where->column = 1;
		}
	}
}

int scan_json(const char *text, size_t len, unsigned depth, struct scan_where *where, struct err *e)
{
	struct scan s = {.text = text, .len = len, .decimals = depth & SCAN_DECIMALS, .e = e};

	s.depth = depth & ~SCAN_DECIMALS;
	if (s.depth > SCAN_DEPTH_MAX)
		s.depth = SCAN_DEPTH_MAX;
	if (document(&s) == 0)
		return 0;
	if (where != NULL)
		place(text, s.at, where);
	return -1;
}

/* ---- places ---------------------------------------------------------------------------- */

/* The position after the string that begins at at. */
static size_t skip_string(const char *text, size_t len, size_t at)
{
	for (at++; at < len && text[at] != '"'; at++)
		if (text[at] == '\\')
			at++;
	return at < len ? at + 1 : len;
}

bool scan_find(const char *text, size_t len, size_t n, bool want_name, struct scan_where *where)
{
	struct scan s = {.text = text, .len = len};
	size_t name_at = NO_NAME;

	while (s.at < len) {
		size_t start = s.at;

		if (memchr(" \t\r\n,:]}", text[start], 8) != NULL) {
			s.at++;
			continue;
		}
		if (text[start] == '"') {
			s.at = skip_string(text, len, start);
			skip_space(&s);
			if (byte_at(&s, s.at) == ':') {
				name_at = start;
				continue;
			}
		} else if (text[start] == '{' || text[start] == '[') {
			s.at++;
		} else {
			while (s.at < len && memchr(" \t\r\n,]}", text[s.at], 7) == NULL)
				s.at++;
		}
		if (n-- == 0) {
			place(text, want_name && name_at != NO_NAME ? name_at : start, where);
			return true;
		}
		name_at = NO_NAME;
	}
	return false;
}
