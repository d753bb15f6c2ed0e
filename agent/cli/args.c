/*
 * agent/cli/args.c - reads command lines; suggests the closest option for a mistyped one.
 */
#include "agent/cli/args.h"

#include <stdlib.h>
#include <string.h>

#define WORD_MAX 32 /* longer words are not compared */
#define TIMEOUT_MAX_S 86400

unsigned args_distance(const char *a, const char *b)
{
	unsigned rows[3][WORD_MAX + 1], *two = rows[0], *last = rows[1], *now = rows[2];
	size_t n = strlen(a), m = strlen(b);

	if (n > WORD_MAX || m > WORD_MAX)
		return WORD_MAX;
	memset(rows, 0, sizeof rows);
	for (size_t k = 0; k <= m; k++)
		last[k] = (unsigned)k;
	for (size_t i = 1; i <= n; i++) {
		unsigned *rest = two;

		now[0] = (unsigned)i;
		for (size_t k = 1; k <= m; k++) {
			unsigned best = last[k - 1] + (a[i - 1] != b[k - 1]);

			if (last[k] + 1 < best)
				best = last[k] + 1;
			if (now[k - 1] + 1 < best)
				best = now[k - 1] + 1;
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] &&
			    two[k - 2] + 1 < best)
				best = two[k - 2] + 1;
			now[k] = best;
		}
		two = last;
		last = now;
		now = rest;
	}
	return last[m];
}

bool args_nearer(const char *a, const char *b, unsigned *best)
{
	unsigned d = args_distance(a, b);
	size_t n = strlen(a);

	if (n >= 3 && strncmp(a, b, n) == 0)
		d = 1; /* a prefix */
	if (d >= *best || d > (n > 3 ? 2u : 1u))
		return false;
	*best = d;
	return true;
}

/* ---- reading --------------------------------------------------------------------------- */

static const struct option *find(const struct option *const *lists, const char *name, size_t n)
{
	for (; *lists != NULL; lists++)
		for (const struct option *o = *lists; o->name != NULL; o++)
			if (strlen(o->name) == n && memcmp(o->name, name, n) == 0)
				return o;
	return NULL;
}

static int unknown(const struct option *const *lists, const char *name, size_t n, struct err *e)
{
	const char *near = NULL;
	char word[WORD_MAX + 1] = "";
	unsigned best = WORD_MAX;

	if (n < sizeof word)
		memcpy(word, name, n);
	for (; *lists != NULL; lists++)
		for (const struct option *o = *lists; o->name != NULL; o++)
			if (args_nearer(word, o->name, &best))
				near = o->name;
	if (near != NULL)
		err_set(e, ERR_USAGE, "unknown option --%.*s; did you mean --%s?", (int)n, name,
			near);
	else
		err_set(e, ERR_USAGE, "unknown option --%.*s", (int)n, name);
	return -1;
}

/* argv[*i] begins with "--" and is longer. */
static int read_option(struct args *a, const struct option *const *lists, char **argv, size_t n,
		       size_t *i, struct err *e)
{
	const char *name = argv[*i] + 2, *equals = strchr(name, '=');
	size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
	const struct option *o = find(lists, name, len);
	const char *value = equals != NULL ? equals + 1 : NULL;

	if (o == NULL)
		return unknown(lists, name, len, e);
	if (o->value == NULL && value != NULL)
		return err_set(e, ERR_USAGE, "--%s takes no value", o->name);
	if (!o->many && args_has(a, o->name))
		return err_set(e, ERR_USAGE, "--%s is given twice", o->name);
	if (o->value != NULL && value == NULL) {
		if (*i + 1 == n || strncmp(argv[*i + 1], "--", 2) == 0)
			return err_set(e, ERR_USAGE, "--%s needs a value: --%s %s", o->name,
				       o->name, o->value);
		value = argv[++*i];
	}
	a->given[a->n_given++] = (struct given){o, value};
	return 0;
}

int args_read(struct args *a, const struct option *const *lists, char **argv, size_t n,
	      struct err *e)
{
	size_t i;

	memset(a, 0, sizeof *a);
	a->given = calloc(n + 1, sizeof *a->given);
	a->words = calloc(n + 1, sizeof(char *));
	if (a->given == NULL || a->words == NULL)
		return err_set(e, ERR_BUG, "no memory");
	for (i = 0; i < n && strcmp(argv[i], "--") != 0; i++) {
		a->help = a->help || strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
		a->json = a->json || strcmp(argv[i], "--json") == 0;
	}
	if (a->help)
		return 0;
	for (i = 0; i < n && strcmp(argv[i], "--") != 0; i++) {
		if (argv[i][0] != '-' || argv[i][1] == '\0')
			a->words[a->n_words++] = argv[i];
		else if (argv[i][1] != '-')
			return err_set(e, ERR_USAGE, "unknown option %s: options have two dashes",
				       argv[i]);
		else if (read_option(a, lists, argv, n, &i, e) < 0)
			return -1;
	}
	for (i++; i < n; i++)
		a->words[a->n_words++] = argv[i];
	return 0;
}

void args_free(struct args *a)
{
	free(a->given);
	free(a->words);
	memset(a, 0, sizeof *a);
}

/* ---- asking ---------------------------------------------------------------------------- */

static const struct given *last_given(const struct args *a, const char *name)
{
	for (size_t i = a->n_given; i > 0; i--)
		if (strcmp(a->given[i - 1].option->name, name) == 0)
			return &a->given[i - 1];
	return NULL;
}

bool args_has(const struct args *a, const char *name)
{
	return last_given(a, name) != NULL;
}

const char *args_text(const struct args *a, const char *name)
{
	const struct given *g = last_given(a, name);

	return g != NULL ? g->value : NULL;
}

const char *args_word(const struct args *a, size_t i)
{
	return i < a->n_words ? a->words[i] : NULL;
}

/* Reads the digits at *p. Returns false if there are none, or if the number is above max. */
static bool read_digits(const char **p, uint64_t max, uint64_t *n)
{
	const char *start = *p;

	for (*n = 0; **p >= '0' && **p <= '9'; ++*p) {
		*n = 10 * *n + (uint64_t)(**p - '0');
		if (*n > max)
			return false;
	}
	return *p > start;
}

int args_u32(const struct args *a, const char *name, uint32_t min, uint32_t max, uint32_t *n,
	     struct err *e)
{
	const char *text = args_text(a, name), *p = text;
	uint64_t v;

	if (text == NULL)
		return 0;
	if (!read_digits(&p, max, &v) || *p != '\0' || v < min)
		return err_set(e, ERR_USAGE, "--%s: \"%s\" is not a whole number from %u to %u",
			       name, text, min, max);
	*n = (uint32_t)v;
	return 0;
}

int args_ms(const struct args *a, const char *name, uint32_t *ms, struct err *e)
{
	const char *text = args_text(a, name), *p = text;
	uint64_t s, v;

	if (text == NULL)
		return 0;
	if (!read_digits(&p, TIMEOUT_MAX_S, &s))
		goto wrong;
	v = 1000 * s;
	if (*p == '.') {
		if (p[1] == '\0')
			goto wrong;
		p++;
		for (unsigned unit = 100; *p >= '0' && *p <= '9'; unit /= 10)
			v += unit * (unsigned)(*p++ - '0');
	}
	if (*p != '\0')
		goto wrong;
	*ms = (uint32_t)v;
	return 0;
wrong:
	return err_set(e, ERR_USAGE, "--%s: \"%s\" is not a number of seconds from 0 to %d", name,
		       text, TIMEOUT_MAX_S);
}

int args_span(const struct args *a, const char *name, uint64_t min_ms, uint64_t max_ms,
	      uint64_t *ms, struct err *e)
{
	static const struct {
		const char *word;
		uint64_t ms;
	} units[] = {{"", 1000}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	const char *text = args_text(a, name), *p = text;
	uint64_t n;

	if (text == NULL)
		return 0;
	for (size_t i = 0; read_digits(&p, UINT32_MAX, &n) && i < sizeof units / sizeof units[0];
	     i++, p = text) {
		if (strcmp(p, units[i].word) != 0)
			continue;
		if (n * units[i].ms < min_ms || n * units[i].ms > max_ms)
			return err_set(e, ERR_USAGE,
				       "--%s: \"%s\" is not between %llu s and %llu s", name, text,
				       (unsigned long long)(min_ms / 1000),
				       (unsigned long long)(max_ms / 1000));
		*ms = n * units[i].ms;
		return 0;
	}
	return err_set(e, ERR_USAGE, "--%s: \"%s\" is not a time like 90s, 5m, 4h or 2d", name,
		       text);
}
