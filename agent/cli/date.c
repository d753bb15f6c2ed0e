/*
 * agent/cli/date.c - converts between seconds since 1970 and dates, in UTC.
 */
#include "agent/cli/date.h"

#include <stdio.h>
#include <string.h>

#define LAST INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

static bool is_leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t days_in(int64_t year, int64_t month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

/* Day number of January 1st. */
static int64_t days_before(int64_t year)
{
	int64_t y = year - 1;

	return 365 * (year - 1970) + (y / 4 - y / 100 + y / 400) -
	       (1969 / 4 - 1969 / 100 + 1969 / 400);
}

void date_put(char text[DATE_TEXT], int64_t s)
{
	int64_t days, year, month = 1;
	int rest;

	if (s < 0)
		s = 0;
	if (s > LAST)
		s = LAST;
	days = s / DATE_DAY_S;
	rest = (int)(s % DATE_DAY_S);
	year = 1970 + days / 366; /* never too late */
	while (days_before(year + 1) <= days)
		year++;
	days -= days_before(year);
	for (; days >= days_in(year, month); month++)
		days -= days_in(year, month);
	snprintf(text, DATE_TEXT, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)year % 10000,
		 (unsigned)month % 100, (unsigned)(days + 1) % 100, (unsigned)rest / 3600 % 100,
		 (unsigned)rest / 60 % 60, (unsigned)rest % 60);
}

/* The number at the place of a letter in a pattern such as "YYYY-MM-DD". */
static int number(const char *text, const char *pattern, char letter)
{
	int n = 0;

	for (; *pattern != '\0'; pattern++, text++)
		if (*pattern == letter)
			n = 10 * n + (*text - '0');
	return n;
}

static bool fits(const char *text, const char *pattern)
{
	if (strlen(text) != strlen(pattern))
		return false;
	for (; *pattern != '\0'; pattern++, text++) {
		bool digit = strchr("YMDhms", *pattern) != NULL;

		if (digit ? *text < '0' || *text > '9' : *text != *pattern)
			return false;
	}
	return true;
}

bool date_get(int64_t *s, const char *text)
{
	static const char whole[] = "YYYY-MM-DDThh:mm:ssZ", date[] = "YYYY-MM-DD";
	const char *p = fits(text, date) ? date : whole;
	int year, month, day, hour, minute, second;
	int64_t days;

	if (!fits(text, p))
		return false;
	year = number(text, p, 'Y');
	month = number(text, p, 'M');
	day = number(text, p, 'D');
	hour = number(text, p, 'h');
	minute = number(text, p, 'm');
	second = number(text, p, 's');
	if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) ||
	    hour > 23 || minute > 59 || second > 59)
		return false;
	days = days_before(year) + day - 1;
	for (int m = 1; m < month; m++)
		days += days_in(year, m);
	*s = days * DATE_DAY_S + hour * 3600 + minute * 60 + second;
	return true;
}
