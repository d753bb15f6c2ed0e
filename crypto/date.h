/*
 * crypto/date.h - dates in UTC: seconds since 1970 to and from RFC 3339 format.
 *
 * gmtime and timegm differ between systems, are not reentrant everywhere, and 32-bit time_t ends in
 * 2038.
 */
#ifndef SAPAIR_CRYPTO_DATE_H
#define SAPAIR_CRYPTO_DATE_H

#include <stdbool.h>
#include <stdint.h>

#define DATE_DAY_S 86400
#define DATE_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z, the latest date of X.509 */
#define DATE_TEXT 21                   /* "2026-11-23T10:00:00Z" with the NUL */

/* Days since 1970 of a date in the proleptic Gregorian calendar; years from 0. */
int64_t date_days(int64_t year, int64_t month, int64_t day);
/* Seconds since 1970; years 1970 to 9999. */
void date_put(char text[DATE_TEXT], int64_t s);
/* "2026-11-23" (midnight) or "2026-11-23T10:00:00Z"; nothing else. */
bool date_get(int64_t *s, const char *text);

#endif
