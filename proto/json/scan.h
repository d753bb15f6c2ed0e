/*
 * proto/json/scan.h - checks that a text is one JSON value (RFC 8259).
 *
 * Called before cJSON, which accepts invalid UTF-8, \u0000, control characters, duplicate members,
 * invalid numbers and trailing bytes. Also refused: duplicate members (names are compared unescaped,
 * with case), more than SCAN_MEMBERS_MAX members in an object, too deep nesting, numbers that are
 * not whole or beyond 2^53 - 1 (config and messages have only integers), -0, a byte order mark.
 */
#ifndef SAPAIR_PROTO_JSON_SCAN_H
#define SAPAIR_PROTO_JSON_SCAN_H

#include "proto/base/err.h"

#include <stdbool.h>

#define SCAN_DEPTH_MAX 16
#define SCAN_MEMBERS_MAX 256
/* Added to a depth: allows numbers with one to three decimals, as in our replies. */
#define SCAN_DECIMALS 0x100u

struct scan_where {
	unsigned line, column; /* from 1, of the invalid byte; columns count bytes */
};

/*
 * 0, or -1 with ERR_REFUSED and a cause without position, which is stored in *where. depth is the
 * maximum nesting of objects and arrays, at most SCAN_DEPTH_MAX. No allocation.
 */
int scan_json(const char *text, size_t len, unsigned depth, struct scan_where *where,
	      struct err *e);

/*
 * The position of the nth value (from 0, an object or array before what it contains) of a text that
 * scan_json() accepted, or of its member's name if want_name. False: there are not so many.
 */
bool scan_find(const char *text, size_t len, size_t n, bool want_name, struct scan_where *where);

#endif
