/*
 * agent/cli/date.h - dates in RFC 3339 format, UTC.
 */
#ifndef SAPAIR_AGENT_DATE_H
#define SAPAIR_AGENT_DATE_H

#include <stdbool.h>
#include <stdint.h>

#define DATE_DAY_S 86400
#define DATE_TEXT 21 /* "2026-11-23T10:00:00Z" with the NUL */

/* Seconds since 1970; years 1970 to 9999. */
void date_put(char text[DATE_TEXT], int64_t s);
/* "2026-11-23" (midnight) or "2026-11-23T10:00:00Z"; nothing else. */
bool date_get(int64_t *s, const char *text);

#endif
