/*
 * proto/json/scan.h - is this text one JSON value as RFC 8259 has it, and nothing else?
 *
 * Stands in front of cJSON, which accepts broken UTF-8, \u0000, control characters, twins, bad
 * numbers and trailing bytes. Refused here besides: a member given twice (names compared after
 * unescaping, with case), more than SCAN_MEMBERS_MAX members in one object, depth above a limit,
 * numbers that are not whole or beyond 2^53 - 1 (config and messages use integers only), -0, a
 * byte order mark.
 */
#ifndef SAPAIR_PROTO_JSON_SCAN_H
#define SAPAIR_PROTO_JSON_SCAN_H

#include "proto/base/err.h"

#include <stdbool.h>

#define SCAN_DEPTH_MAX 16
#define SCAN_MEMBERS_MAX 256
/* Added to a depth: numbers may have one to three digits behind a point, as our replies do. */
#define SCAN_DECIMALS 0x100u

struct scan_where {
	unsigned line, column; /* from 1, of the offending byte; columns count bytes */
};

/*
 * 0, or -1 with ERR_REFUSED and the cause (where is filled, and the text has no position in it).
 * depth is the greatest nesting of objects and arrays, at most SCAN_DEPTH_MAX. No allocation.
 */
int scan_json(const char *text, size_t len, unsigned depth, struct scan_where *where,
	      struct err *e);

/*
 * The place of the value with this path ("peers[2].address", "" = the document) in a text that
 * scan_json() accepted; of the member's name if want_name. False: not there. A name in double
 * quotes is as text_escape() writes it, and ends at the last quote of the path; without that
 * quote, any name that begins so.
 */
bool scan_find(const char *text, size_t len, const char *path, bool want_name,
	       struct scan_where *where);

#endif
