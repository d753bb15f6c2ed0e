/* agent/cli: command lines, the table of verbs, readable dates and numbers. */
#include <ctype.h>

#include "agent/cli/out.h"
#include "agent/cli/verbs/list.h"
#include "crypto/date.h"
#include "tests/t.h"

static struct err e;

/* ---- command lines --------------------------------------------------------------------- */

static const struct option first[] = {
	{"all", NULL, "", false},
	{"timeout", "SECONDS", "", false},
	{NULL, NULL, NULL, false},
};
static const struct option second[] = {
	{"peer", "ADDRESS", "", true},
	{"json", NULL, "", false},
	{NULL, NULL, NULL, false},
};
static const struct option *const lists[] = {first, second, NULL};

/* Words are cut at spaces; "_" stands for an empty one. */
static char line[400];
static char *words[32];
static struct args a;

static int read_line(const char *text)
{
	size_t n = 0;

	snprintf(line, sizeof line, "%s", text);
	for (char *w = strtok(line, " "); w != NULL; w = strtok(NULL, " ")) {
		if (strcmp(w, "_") == 0)
			*w = '\0';
		words[n++] = w;
	}
	e = (struct err){0};
	return args_read(&a, lists, words, n, &e);
}

static void options_may_come_anywhere(void)
{
	CHECK(read_line("beta --timeout 2.5 --peer a gamma --peer=b --all -- --json") == 0);
	CHECK_U64(a.n_words, 3);
	CHECK_STR(args_word(&a, 0), "beta");
	CHECK_STR(args_word(&a, 1), "gamma");
	CHECK_STR(args_word(&a, 2), "--json");
	CHECK(args_word(&a, 3) == NULL);
	CHECK(args_has(&a, "all") && args_has(&a, "peer") && !args_has(&a, "json") && !a.json);
	CHECK_STR(args_text(&a, "timeout"), "2.5");
	CHECK_STR(args_text(&a, "peer"), "b");
	CHECK_U64(a.n_given, 4);
	CHECK_STR(a.given[1].value, "a");
	args_free(&a);
}

static void an_empty_value_and_a_dash_are_values(void)
{
	CHECK(read_line("--timeout= --peer _ --peer - -") == 0);
	CHECK_STR(args_text(&a, "timeout"), "");
	CHECK_STR(a.given[1].value, "");
	CHECK_STR(a.given[2].value, "-");
	CHECK_STR(args_word(&a, 0), "-");
	args_free(&a);
}

static void help_and_json_apply_before_errors(void)
{
	CHECK(read_line("--wrong --help") == 0 && a.help);
	args_free(&a);
	CHECK(read_line("-h") == 0 && a.help);
	args_free(&a);
	CHECK(read_line("--wrong --json") == -1 && a.json);
	args_free(&a);
}

static void errors_suggest_the_intended_word(void)
{
	static const struct {
		const char *text, *cause;
	} rows[] = {
		{"--tmieout 3", "unknown option --tmieout; did you mean --timeout?"},
		{"--tim 3", "unknown option --tim; did you mean --timeout?"},
		{"--al", "unknown option --al; did you mean --all?"},
		{"--frobnicate", "unknown option --frobnicate"},
		{"--frobnicate=7", "unknown option --frobnicate"},
		{"-v", "unknown option -v: options have two dashes"},
		{"--all=yes", "--all takes no value"},
		{"--all --all", "--all is given twice"},
		{"--timeout 1 --timeout 2", "--timeout is given twice"},
		{"--timeout", "--timeout needs a value: --timeout SECONDS"},
		{"--timeout --all", "--timeout needs a value: --timeout SECONDS"},
		{"--timeout -- 3", "--timeout needs a value: --timeout SECONDS"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK(read_line(rows[i].text) == -1);
		CHECK(e.code == ERR_USAGE);
		CHECK_STR(e.cause, rows[i].cause);
		args_free(&a);
	}
}

static void numbers_are_read_strictly(void)
{
	static const struct {
		const char *text;
		int rc;
		uint32_t n;
	} rows[] = {
		{"--timeout 1", 0, 1},     {"--timeout 100", 0, 100},
		{"--timeout 101", -1, 7},  {"--timeout 0", -1, 7},
		{"--timeout -1", -1, 7},   {"--timeout 1x", -1, 7},
		{"--timeout 0x10", -1, 7}, {"--timeout _", -1, 7},
		{"--timeout 1.0", -1, 7},  {"", 0, 7},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint32_t n = 7;

		CHECK(read_line(rows[i].text) == 0);
		if (!CHECK(args_u32(&a, "timeout", 1, 100, &n, &e) == rows[i].rc) ||
		    !CHECK_U64(n, rows[i].n))
			NOTE("%s", rows[i].text);
		args_free(&a);
	}
	CHECK(read_line("--timeout 18446744073709551617") == 0);
	CHECK(args_u32(&a, "timeout", 0, UINT32_MAX, &(uint32_t){0}, &e) == -1);
	args_free(&a);
}

static void seconds_may_have_a_fraction(void)
{
	static const struct {
		const char *text;
		int rc;
		uint32_t ms;
	} rows[] = {
		{"--timeout 0", 0, 0},      {"--timeout 30", 0, 30000},
		{"--timeout 0.5", 0, 500},  {"--timeout 1.25", 0, 1250},
		{"--timeout 0.0019", 0, 1}, {"--timeout 86400", 0, 86400000},
		{"--timeout 86401", -1, 7}, {"--timeout .5", -1, 7},
		{"--timeout 1.", -1, 7},    {"--timeout 1,5", -1, 7},
		{"--timeout 1s", -1, 7},    {"--timeout 1e3", -1, 7},
		{"--timeout inf", -1, 7},   {"", 0, 7},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint32_t ms = 7;

		CHECK(read_line(rows[i].text) == 0);
		if (!CHECK(args_ms(&a, "timeout", &ms, &e) == rows[i].rc) ||
		    !CHECK_U64(ms, rows[i].ms))
			NOTE("%s", rows[i].text);
		args_free(&a);
	}
}

static void suggestions_are_one_typing_error_away(void)
{
	CHECK_U64(args_distance("status", "status"), 0);
	CHECK_U64(args_distance("statsu", "status"), 1);
	CHECK_U64(args_distance("stat", "status"), 2);
	CHECK_U64(args_distance("", "abc"), 3);
	CHECK_U64(args_distance("kitten", "sitting"), 3);
	CHECK_STR(verb_near(verb_list, "statsu"), "status");
	CHECK_STR(verb_near(verb_list, "rekye"), "rekey");
	CHECK_STR(verb_near(verb_list, "ca isue"), "ca issue");
	CHECK_STR(verb_near(verb_list, "ver"), "verify");
	CHECK(verb_near(verb_list, "frobnicate") == NULL);
	CHECK(verb_near(verb_list, "a-word-of-more-than-thirty-two-letters") == NULL);
}

/* ---- the table ------------------------------------------------------------------------- */

static void check_options(const struct verb *v, size_t list)
{
	for (const struct option *o = v->options[list]; o->name != NULL; o++) {
		CHECK(o->name[0] != '-' && strcmp(o->name, "json") != 0);
		CHECK(o->text[0] != '\0' && strlen(o->text) <= 64);
		for (size_t i = 0; i <= list; i++)
			for (const struct option *p = v->options[i]; p != o && p->name != NULL; p++)
				if (!CHECK(strcmp(o->name, p->name) != 0))
					NOTE("%s --%s", v->name, o->name);
	}
}

static void every_verb_is_complete(void)
{
	char start[80];

	for (const struct verb *const *at = verb_list; *at != NULL; at++) {
		const struct verb *v = *at;
		bool right = CHECK(v->run != NULL) && CHECK(v->text[0] != '\0') &&
			     CHECK(!isupper((unsigned char)v->text[0]));

		snprintf(start, sizeof start, "sapair %s", v->name);
		if (!CHECK(strncmp(v->example, start, strlen(start)) == 0) || !right)
			NOTE("%s", v->name);
		CHECK(v->words == NULL || v->words[0] != '\0');
		for (size_t i = 0; i < OPTION_LISTS_MAX && v->options[i] != NULL; i++)
			check_options(v, i);
		for (const struct verb *const *w = verb_list; w != at; w++)
			CHECK(strcmp((*w)->name, v->name) != 0);
	}
}

static void verbs_of_two_words_are_found(void)
{
	static char ca[] = "ca", issue[] = "issue", id[] = "id", file[] = "a.crt", run[] = "run";
	char *two[] = {ca, issue}, *of_file[] = {id, file}, *one[] = {run, issue};
	size_t took;

	CHECK_STR(verb_find(verb_list, two, 2, &took)->name, "ca issue");
	CHECK_U64(took, 2);
	CHECK(verb_find(verb_list, two, 1, &took) == NULL);
	CHECK_STR(verb_find(verb_list, of_file, 2, &took)->name, "id show");
	CHECK_U64(took, 1);
	CHECK_STR(verb_find(verb_list, of_file, 1, &took)->name, "id show");
	CHECK_STR(verb_find(verb_list, one, 2, &took)->name, "run");
	CHECK_U64(took, 1);
}

/* ---- dates and numbers ------------------------------------------------------------------- */

static void dates_survive_a_round_trip(void)
{
	static const struct {
		int64_t s;
		const char *text;
	} rows[] = {
		{0, "1970-01-01T00:00:00Z"},          {86399, "1970-01-01T23:59:59Z"},
		{951782400, "2000-02-29T00:00:00Z"},  {951868800, "2000-03-01T00:00:00Z"},
		{4107542400, "2100-03-01T00:00:00Z"}, {4107456000, "2100-02-28T00:00:00Z"},
		{2147483648, "2038-01-19T03:14:08Z"}, {1798761599, "2026-12-31T23:59:59Z"},
		{1798761600, "2027-01-01T00:00:00Z"}, {253402300799, "9999-12-31T23:59:59Z"},
	};
	char text[DATE_TEXT];
	int64_t s;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		date_put(text, rows[i].s);
		CHECK_STR(text, rows[i].text);
		CHECK(date_get(&s, rows[i].text) && s == rows[i].s);
	}
	CHECK(date_get(&s, "2000-03-01") && s == 951868800);
	for (int64_t day = 0; day < 200000; day += 13) {
		date_put(text, day * DATE_DAY_S + 7);
		if (!CHECK(date_get(&s, text) && s == day * DATE_DAY_S + 7))
			break;
	}
}

static void no_other_text_is_a_date(void)
{
	static const char *const wrong[] = {
		"",
		"2026",
		"2026-1-1",
		"2026-13-01",
		"2026-00-01",
		"2026-02-29",
		"2100-02-29",
		"1969-12-31",
		"2026-04-31",
		"2026-11-23T10:00:00",
		"2026-11-23T24:00:00Z",
		"2026-11-23T10:60:00Z",
		"2026-11-23T10:00:60Z",
		"2026-11-23 10:00:00Z",
		"2026-11-23T10:00:00+01",
		"2026-11-23Z",
		"26-11-2023",
	};
	int64_t s;

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		if (!CHECK(!date_get(&s, wrong[i])))
			NOTE("%s", wrong[i]);
}

static void numbers_are_short(void)
{
	char t[OUT_NUMBER];

	CHECK_STR(out_count(t, 0), "0");
	CHECK_STR(out_count(t, 999), "999");
	CHECK_STR(out_count(t, 8123), "8,123");
	CHECK_STR(out_count(t, 1234567), "1,234,567");
	CHECK_STR(out_count(t, 1e30), "1,000,000,000,000,000");
	CHECK_STR(out_bytes(t, 0), "0 B");
	CHECK_STR(out_bytes(t, 999), "999 B");
	CHECK_STR(out_bytes(t, 1000), "1.0 kB");
	CHECK_STR(out_bytes(t, 9932112), "9.9 MB");
	CHECK_STR(out_bytes(t, 250e9), "250 GB");
	CHECK_STR(out_bytes(t, 1e30), "1000000000000 EB");
	CHECK_STR(out_ms(t, 0), "0 ms");
	CHECK_STR(out_ms(t, 0.701), "0.7 ms");
	CHECK_STR(out_ms(t, 0.0421), "0.042 ms");
	CHECK_STR(out_ms(t, 9.94), "9.9 ms");
	CHECK_STR(out_ms(t, 9.96), "10 ms");
	CHECK_STR(out_ms(t, 999), "999 ms");
	CHECK_STR(out_ms(t, 1240), "1.24 s");
	CHECK_STR(out_span(t, -3), "0 s");
	CHECK_STR(out_span(t, 119), "119 s");
	CHECK_STR(out_span(t, 3288), "54 min");
	CHECK_STR(out_span(t, 7380), "2 h 3 min");
	CHECK_STR(out_span(t, 200000), "2 d 7 h");
}

T_MAIN(T(options_may_come_anywhere), T(an_empty_value_and_a_dash_are_values),
       T(help_and_json_apply_before_errors), T(errors_suggest_the_intended_word),
       T(numbers_are_read_strictly), T(seconds_may_have_a_fraction),
       T(suggestions_are_one_typing_error_away), T(every_verb_is_complete),
       T(verbs_of_two_words_are_found), T(dates_survive_a_round_trip), T(no_other_text_is_a_date),
       T(numbers_are_short))
