/*
 * proto/base/addr.c - parses addresses strictly and prints them as in RFC 5952.
 */
#include "proto/base/addr.h"

#include <stdio.h>
#include <string.h>

#define GROUPS 8

/* ---- reading --------------------------------------------------------------------------- */

/* "192.0.2.1" to the end of the text; no leading zeros, which some programs read as octal. */
static bool read_v4(uint8_t bytes[4], const char *p)
{
	for (int i = 0; i < 4; i++) {
		unsigned v = 0;
		int n = 0;

		if (i > 0 && *p++ != '.')
			return false;
		for (; *p >= '0' && *p <= '9'; p++, n++) {
			if (n == 3 || (n > 0 && v == 0))
				return false;
			v = 10 * v + (unsigned)(*p - '0');
		}
		if (n == 0 || v > 255)
			return false;
		bytes[i] = (uint8_t)v;
	}
	return *p == '\0';
}

/* One to four hex digits. Returns the position after them, or NULL. */
static const char *read_group(uint8_t bytes[2], const char *p)
{
	unsigned v = 0;
	int n = 0;

	for (;; p++, n++) {
		unsigned digit;

		if (*p >= '0' && *p <= '9')
			digit = (unsigned)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			digit = (unsigned)(*p - 'a') + 10;
		else if (*p >= 'A' && *p <= 'F')
			digit = (unsigned)(*p - 'A') + 10;
		else
			break;
		if (n == 4)
			return NULL;
		v = v << 4 | digit;
	}
	bytes[0] = (uint8_t)(v >> 8);
	bytes[1] = (uint8_t)v;
	return n > 0 ? p : NULL;
}

/* RFC 4291 section 2.2: groups, at most one "::" for one or more of zeros, an IPv4 tail. */
static bool read_v6(uint8_t bytes[16], const char *p)
{
	size_t n = 0, gap = SIZE_MAX; /* bytes read; where "::" stood */

	memset(bytes, 0, 16);
	if (*p == ':' && *++p != ':')
		return false; /* only "::" may come first */
	for (;;) {
		const char *end;

		if (*p == ':') { /* the second one */
			if (gap != SIZE_MAX)
				return false;
			gap = n;
			p++;
			if (*p == '\0')
				break;
		}
		if (n == 2 * GROUPS)
			return false;
		end = read_group(bytes + n, p);
		if (end != NULL && *end != '.') {
			n += 2;
			p = end;
		} else if (n <= 12 && read_v4(bytes + n, p)) {
			n += 4;
			p = "";
		} else {
			return false;
		}
		if (*p == '\0')
			break;
		if (*p++ != ':' || *p == '\0')
			return false;
	}
	if (gap == SIZE_MAX)
		return n == 2 * GROUPS;
	if (n == 2 * GROUPS)
		return false;
	memmove(bytes + 16 - (n - gap), bytes + gap, n - gap);
	memset(bytes + gap, 0, 16 - n);
	return true;
}

static bool is_mapped(const uint8_t bytes[16])
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(bytes, prefix, sizeof prefix) == 0;
}

static bool read_addr(struct addr *a, const char *text)
{
	memset(a, 0, sizeof *a);
	if (read_v4(a->bytes, text)) {
		a->len = 4;
		return true;
	}
	if (!read_v6(a->bytes, text)) {
		memset(a, 0, sizeof *a);
		return false;
	}
	a->len = 16;
	if (is_mapped(a->bytes)) {
		a->len = 4;
		memcpy(a->bytes, a->bytes + 12, 4);
		memset(a->bytes + 4, 0, 12);
	}
	return true;
}

int addr_parse(struct addr *a, const char *text, struct err *e)
{
	if (read_addr(a, text))
		return 0;
	if (strchr(text, '%') != NULL)
		return err_set(e, ERR_USAGE, "\"%.64s\": IPv6 zones are not supported", text);
	return err_set(e, ERR_USAGE, "\"%.64s\" is not an IPv4 or IPv6 address", text);
}

/* 1 to 65535, to the end of the text. */
static bool read_port(uint16_t *port, const char *p)
{
	uint32_t v = 0;

	if (*p < '1' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		v = 10 * v + (uint32_t)(*p - '0');
		if (v > UINT16_MAX)
			return false;
	}
	*port = (uint16_t)v;
	return *p == '\0';
}

int endpoint_parse(struct endpoint *ep, const char *text, uint16_t default_port, struct err *e)
{
	const char *start = text, *end, *port = NULL;
	char literal[ADDR_TEXT];
	size_t n;

	memset(ep, 0, sizeof *ep);
	ep->port = default_port;
	if (*text == '[') {
		start = text + 1;
		end = strchr(start, ']');
		if (end == NULL)
			return err_set(e, ERR_USAGE, "\"%.64s\": missing ']'", text);
		if (end[1] == ':')
			port = end + 2;
		else if (end[1] != '\0')
			return err_set(e, ERR_USAGE, "\"%.64s\": unexpected text after ']'", text);
		if (memchr(start, ':', (size_t)(end - start)) == NULL)
			return err_set(e, ERR_USAGE,
				       "\"%.64s\": only an IPv6 address may be in brackets", text);
	} else {
		end = strchr(text, ':');
		if (end != NULL && strchr(end + 1, ':') == NULL)
			port = end + 1; /* a single colon: IPv4 and port */
		else
			end = text + strlen(text);
	}
	if (port != NULL && !read_port(&ep->port, port))
		return err_set(e, ERR_USAGE, "\"%.64s\": the port must be 1 to 65535", text);

	n = (size_t)(end - start);
	if (n >= sizeof literal) /* too long for an address: the message shows its beginning */
		return addr_parse(&ep->addr, start, e);
	memcpy(literal, start, n);
	literal[n] = '\0';
	return addr_parse(&ep->addr, literal, e);
}

/* ---- printing -------------------------------------------------------------------------- */

static void put_v6(char text[ADDR_TEXT], const uint8_t bytes[16])
{
	unsigned group[GROUPS];
	int first = -1, longest = 1; /* RFC 5952 section 4.2.2: a single zero is not shortened */
	size_t len = 0;

	for (int i = 0; i < GROUPS; i++)
		group[i] = (unsigned)bytes[2 * i] << 8 | bytes[2 * i + 1];
	for (int i = 0, run = 0; i < GROUPS; i++) {
		run = group[i] == 0 ? run + 1 : 0;
		if (run > longest) {
			longest = run;
			first = i - run + 1;
		}
	}
	for (int i = 0; i < GROUPS; i++) {
		if (i == first) {
			len += (size_t)snprintf(text + len, ADDR_TEXT - len, "::");
			i += longest - 1;
			continue;
		}
		len += (size_t)snprintf(text + len, ADDR_TEXT - len, "%s%x",
					i == 0 || i == first + longest ? "" : ":", group[i]);
	}
}

void addr_put(char text[ADDR_TEXT], const struct addr *a)
{
	const uint8_t *b = a->bytes;

	if (a->len == 4) {
		snprintf(text, ADDR_TEXT, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
	} else if (a->len != 16) {
		snprintf(text, ADDR_TEXT, "none");
	} else if (is_mapped(b)) {
		snprintf(text, ADDR_TEXT, "::ffff:%u.%u.%u.%u", b[12], b[13], b[14], b[15]);
	} else {
		put_v6(text, b);
	}
}

void endpoint_put(char text[ENDPOINT_TEXT], const struct endpoint *ep)
{
	char addr[ADDR_TEXT];
	bool v6 = ep->addr.len == 16;

	addr_put(addr, &ep->addr);
	snprintf(text, ENDPOINT_TEXT, "%s%s%s:%u", v6 ? "[" : "", addr, v6 ? "]" : "", ep->port);
}

/* ---- comparing ------------------------------------------------------------------------- */

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_compare(a, b) == 0;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return memcmp(a->bytes, b->bytes, a->len);
}

bool addr_is_any(const struct addr *a)
{
	static const uint8_t zero[16];

	return a->len > 0 && memcmp(a->bytes, zero, a->len) == 0;
}

bool addr_is_unicast(const struct addr *a)
{
	static const uint8_t ones[4] = {255, 255, 255, 255};

	if (a->len == 0 || addr_is_any(a))
		return false;
	if (a->len == 4)
		return (a->bytes[0] & 0xf0) != 0xe0 && memcmp(a->bytes, ones, 4) != 0;
	return a->bytes[0] != 0xff;
}

int addr_check_host(const struct addr *a, struct err *e)
{
	char text[ADDR_TEXT];

	addr_put(text, a);
	if (!addr_is_unicast(a))
		return err_set(e, ERR_USAGE, "%s is not a unicast address", text);
	if (a->len == 4 || a->bytes[0] != 0xfe || (a->bytes[1] & 0xc0) != 0x80)
		return 0;
	err_set(e, ERR_USAGE,
		"%s is a link-local address: it is ambiguous without a zone, and zones are not "
		"supported",
		text);
	return err_hint(e, "use a global or unique local address of that host");
}
