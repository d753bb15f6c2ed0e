/*
 * crypto/date.c - converts between seconds since 1970 and dates. Years begin in March here, so that
 * the leap day comes last.
 */
#include "crypto/date.h"

#include <stdio.h>
#include <string.h>

int64_t date_days(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = y / 400; /* years here are never negative */
	int64_t in_era = y - era * 400;
	int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

void date_put(char text[DATE_TEXT], int64_t s)
{
	unsigned days, in_day, z, in_era, of_era, in_year, march;

	if (s < 0)
		s = 0;
	if (s > DATE_MAX)
		s = DATE_MAX;
	days = (unsigned)(s / DATE_DAY_S);
	in_day = (unsigned)(s % DATE_DAY_S);
	z = days + 719468;
	in_era = z % 146097;
	of_era = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	in_year = in_era - (365 * of_era + of_era / 4 - of_era / 100);
	march = (5 * in_year + 2) / 153;
	snprintf(text, DATE_TEXT, "%04u-%02u-%02uT%02u:%02u:%02uZ",
		 (of_era + z / 146097 * 400 + (march >= 10)) % 10000,
		 (march < 10 ? march + 3 : march - 9) % 100,
		 (in_year - (153 * march + 2) / 5 + 1) % 100, in_day / 3600 % 100, in_day / 60 % 60,
		 in_day % 60);
}

static int64_t number(const char *digits, size_t n)
{
	int64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = 10 * v + (digits[i] - '0');
	return v;
}

/* What is no digit, or out of range, is not found again in the text of the result. */
bool date_get(int64_t *s, const char *text)
{
	char whole[DATE_TEXT] = "YYYY-MM-DDT00:00:00Z", back[DATE_TEXT];
	size_t n = strlen(text);

	if (n != sizeof "2026-11-23" - 1 && n != DATE_TEXT - 1)
		return false;
	memcpy(whole, text, n);
	*s = date_days(number(whole, 4), number(whole + 5, 2), number(whole + 8, 2)) * DATE_DAY_S +
	     number(whole + 11, 2) * 3600 + number(whole + 14, 2) * 60 + number(whole + 17, 2);
	date_put(back, *s);
	return strcmp(back, whole) == 0;
}
