/* proto/json/scan: a text with exactly one JSON value is accepted; other texts are refused with
 * position and reason. */
#include "proto/json/scan.h"
#include "tests/t.h"

static struct err e;
static struct scan_where w;

static int scan(const char *text, unsigned depth)
{
	return scan_json(text, strlen(text), depth, &w, &e);
}

static void good_texts_are_accepted(void)
{
	/* clang-format off */
	static const char *const rows[] = {
		"{}", "[]", "\"\"", "0", "-1", "true", "false", "null",
		" \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } } \n",
		"9007199254740991", "-9007199254740991", "10", "[[],{},\"\"]",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\uD834\\udd1e\"",
		"\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\"",
		"\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"",
		"{\"\":1,\"a\":2,\"A\":3,\"a \":4}",
		"{\"a\":{\"a\":1},\"b\":{\"a\":1}}",
		"{\"a\\u00e9\":1,\"a\":2,\"a\\u00e9b\":3}",
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (!CHECK(scan(rows[i], SCAN_DEPTH_MAX) == 0))
			NOTE("%s: %s", rows[i], e.cause);
}

static void bad_texts_are_refused_with_position_and_reason(void)
{
	static const struct {
		const char *text;
		unsigned line, column;
		const char *cause;
	} rows[] = {
		/* accepted by cJSON */
		{"{} x", 1, 4, "unexpected text after the value"},
		{"1-2", 1, 2, "unexpected text after the value"},
		{"{\"a\":1}{\"a\":1}", 1, 8, "unexpected text after the value"},
		{"\x01{}", 1, 1, "unexpected byte 0x01, expected a value"},
		{"{\v\"a\":1}", 1, 2, "unexpected byte 0x0b, expected a member's name"},
		{"[\n  \"a\tb\"]", 2, 5, "control character in a string"},
		{"\"a\nb\"", 1, 3, "line break in a string (closing quote missing?)"},
		{"\"a\x1f\"", 1, 3, "control character in a string"},
		{"\"\x80\"", 1, 2, "invalid UTF-8"},
		{"\"\xc0\x80\"", 1, 2, "invalid UTF-8"},
		{"\"\xc1\xbf\"", 1, 2, "invalid UTF-8"},
		{"\"ab\xe0\x9f\xbf\"", 1, 4, "invalid UTF-8"},
		{"\"\xed\xa0\x80\"", 1, 2, "invalid UTF-8"},
		{"\"\xf0\x8f\xbf\xbf\"", 1, 2, "invalid UTF-8"},
		{"\"\xf4\x90\x80\x80\"", 1, 2, "invalid UTF-8"},
		{"\"\xf5\x80\x80\x80\"", 1, 2, "invalid UTF-8"},
		{"\"\xe2\x82\"", 1, 2, "invalid UTF-8"},
		{"\"\xe2\x82", 1, 2, "invalid UTF-8"},
		{"\xff", 1, 1, "unexpected byte 0xff, expected a value"},
		{"\"a\\u0000x\"", 1, 3, "NUL escape is not allowed"},
		{"{\"a\\u0000x\":1}", 1, 4, "NUL escape is not allowed"},
		{"{\"a\":1,\n \"a\":2}", 2, 2, "member \"a\" is given twice"},
		{"{\"ab\":1,\"c\":0,\"a\\u0062\":2}", 1, 15,
		 "member \"a\\\\u0062\" is given twice"},
		{"{\"\\uD834\\udd1e\":1,\"\xf0\x9d\x84\x9e\":2}", 1, 19,
		 "member \"\xf0\x9d\x84\x9e\" is given twice"},
		{"{\"\":1,\"\":2}", 1, 7, "member \"\" is given twice"},
		{"{\"x\":{\"\\/\":1,\"/\":2}}", 1, 14, "member \"/\" is given twice"},
		{"01", 1, 1, "a number must not begin with 0"},
		{"[007]", 1, 2, "a number must not begin with 0"},
		{"-01", 1, 1, "a number must not begin with 0"},
		{"1.", 1, 2, "only whole numbers are allowed"},
		{"[1.5]", 1, 3, "only whole numbers are allowed"},
		{"1e", 1, 2, "only whole numbers are allowed"},
		{"{\"n\":12E3}", 1, 8, "only whole numbers are allowed"},
		{"1e400", 1, 2, "only whole numbers are allowed"},
		{"-0", 1, 1, "-0 is not allowed"},
		{"9007199254740992", 1, 1, "a number exceeds 9007199254740991"},
		{"9007199254740993", 1, 1, "a number exceeds 9007199254740991"},
		{"-9007199254740992", 1, 1, "a number exceeds 9007199254740991"},
		{"18446744073709551617", 1, 1, "a number exceeds 9007199254740991"},
		{"[1,\n111111111111111111111111111111111111111111111111111111]", 2, 1,
		 "a number exceeds 9007199254740991"},
		{"\xef\xbb\xbf{}", 1, 1,
		 "the text begins with a byte order mark: save it without one"},
		{"\xff\xfe{", 1, 1, "the text is UTF-16: save it as UTF-8"},
		{"\xfe\xff{", 1, 1, "the text is UTF-16: save it as UTF-8"},
		/* invalid JSON */
		{"", 1, 1, "the text is empty"},
		{" \n ", 1, 1, "the text is empty"},
		{"{", 1, 2, "unexpected end of the text, expected a member's name"},
		{"{\"a\"", 1, 5, "unexpected end of the text, expected ':'"},
		{"{\"a\":", 1, 6, "unexpected end of the text, expected a value"},
		{"{\"a\":1", 1, 7, "unexpected end of the text, expected ',' or '}'"},
		{"[1\n", 2, 1, "unexpected end of the text, expected ',' or ']'"},
		{"\"abc", 1, 5, "the text ends inside a string"},
		{"\"abc\\", 1, 5, "the text ends inside a string"},
		{"{\"a\":1,}", 1, 8, "unexpected '}', expected a member's name"},
		{"[1,]", 1, 4, "unexpected ']', expected a value"},
		{"[,]", 1, 2, "unexpected ',', expected a value"},
		{"{a:1}", 1, 2, "unexpected 'a', expected a member's name"},
		{"{'a':1}", 1, 2, "names and strings must be in double quotes"},
		{"{\"a\" 1}", 1, 6, "unexpected '1', expected ':'"},
		{"{\"a\":1 \"b\":2}", 1, 8, "unexpected '\"', expected ',' or '}'"},
		{"[1 2]", 1, 4, "unexpected '2', expected ',' or ']'"},
		{"[1}", 1, 3, "unexpected '}', expected ',' or ']'"},
		{"{} // end", 1, 4, "unexpected text after the value"},
		{"{ # no\n}", 1, 3, "comments are not allowed"},
		{"[/* no */]", 1, 2, "comments are not allowed"},
		{"tru", 1, 1, "unexpected 't', expected a value"},
		{"True", 1, 1, "unexpected 'T', expected a value"},
		{"nul", 1, 1, "unexpected 'n', expected a value"},
		{"NaN", 1, 1, "unexpected 'N', expected a value"},
		{"-Infinity", 1, 2, "unexpected 'I', expected a digit"},
		{"-", 1, 2, "unexpected end of the text, expected a digit"},
		{"+1", 1, 1, "unexpected '+', expected a value"},
		{".5", 1, 1, "unexpected '.', expected a value"},
		{"\"\\x41\"", 1, 2, "unknown escape"},
		{"\"\\u12g4\"", 1, 2, "u escape without four hex digits"},
		{"\"\\u12", 1, 2, "u escape without four hex digits"},
		{"\"\\ud834\"", 1, 2, "unpaired surrogate"},
		{"\"\\ud834\\u0041\"", 1, 2, "unpaired surrogate"},
		{"\"\\ud834\\ud834\"", 1, 2, "unpaired surrogate"},
		{"\"\\udd1e\\ud834\"", 1, 2, "unpaired surrogate"},
		{"\"\\ud834xudd1e\"", 1, 2, "unpaired surrogate"},
		{"[[[[[]]]]]", 1, 5, "nested deeper than 4"},
		{"{\"a\":[{\"b\":[\n{}]}]}", 2, 1, "nested deeper than 4"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		bool ok = CHECK(scan(rows[i].text, 4) == -1);

		ok = CHECK(e.code == ERR_REFUSED) && ok;
		ok = CHECK_STR(e.cause, rows[i].cause) && ok;
		ok = CHECK_U64(w.line, rows[i].line) && ok;
		if (!CHECK_U64(w.column, rows[i].column) || !ok)
			NOTE("%s", rows[i].text);
	}
}

static void zero_bytes_are_refused(void)
{
	static const struct {
		const char *text;
		size_t len;
		unsigned column;
	} rows[] = {
		{"\0", 1, 1},       {"{}\0", 3, 3},        {"\"a\0\"", 4, 3},
		{"[1,\0 2]", 7, 4}, {"{\"a\0\":1}", 8, 4}, {"12\0", 3, 3},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK(scan_json(rows[i].text, rows[i].len, 4, &w, &e) == -1);
		CHECK_U64(w.column, rows[i].column);
	}
}

static void depth_is_limited(void)
{
	char text[100];

	for (unsigned n = 0; n < 40; n++) {
		memset(text, '[', n);
		memset(text + n, ']', n);
		text[2 * n] = '\0';
		if (n == 0)
			strcpy(text, "0");
		CHECK(scan(text, 0) == (n == 0 ? 0 : -1));
		CHECK(scan(text, 5) == (n <= 5 ? 0 : -1));
		CHECK(scan(text, 99) == (n <= SCAN_DEPTH_MAX ? 0 : -1));
	}
	CHECK_STR(e.cause, "nested deeper than 16");
}

static void members_are_counted(void)
{
	char text[4000];
	size_t len;

	for (int n = SCAN_MEMBERS_MAX - 1; n <= SCAN_MEMBERS_MAX + 1; n++) {
		len = (size_t)snprintf(text, sizeof text, "{\"x\":0");
		for (int i = 1; i < n; i++)
			len += (size_t)snprintf(text + len, sizeof text - len, ",\"%d\":0", i);
		snprintf(text + len, sizeof text - len, "}");
		CHECK(scan(text, 1) == (n <= SCAN_MEMBERS_MAX ? 0 : -1));
	}
	CHECK_STR(e.cause, "more than 256 members in one object");
	CHECK_U64(w.column, len - strlen("\"256\":0") + 1);
}

static void duplicate_members_are_found_at_any_distance(void)
{
	char text[4000];

	for (int first = 0; first < 100; first += 7)
		for (int second = first + 1; second < 100; second += 3) {
			size_t len = 0;

			for (int i = 0; i < 100; i++)
				len += (size_t)snprintf(text + len, sizeof text - len,
							"%c\"name %d\":{}", i == 0 ? '{' : ',',
							i == second ? first : i);
			snprintf(text + len, sizeof text - len, "}");
			CHECK(scan(text, 2) == -1);
		}
}

static void decimals_are_accepted_only_on_request(void)
{
	static const struct {
		const char *text;
		int result;
	} rows[] = {
		{"1.5", 0},  {"0.001", 0}, {"[12.345,6]", 0}, {"1", 0},
		{"-1.5", 0}, {"1.", -1},   {"1.2345", -1},    {"1.5e3", -1},
		{"1e3", -1}, {".5", -1},   {"-0.5", -1},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK(scan(rows[i].text, 2 | SCAN_DECIMALS) == rows[i].result);
	CHECK(scan("1.5", 2) == -1);
}

static void position_and_error_may_be_null(void)
{
	CHECK(scan_json("x", 1, 4, NULL, NULL) == -1);
	CHECK(scan_json("{}", 2, 4, NULL, NULL) == 0);
}

/* ---- positions ---------------------------------------------------------------------------- */

static const char doc[] = "{\n"
			  "  \"name\": \"alpha, [\\\"{\",\n"
			  "  \"peers\": [\n"
			  "    {\"name\": \"beta\", \"address\": \"192.0.2.2\"},\n"
			  "    {\"name\":{\"deep\":[[1,2],[3,4]]},\n"
			  "     \"addr\\u0065ss\" : 17}, true\n"
			  "  ],\n"
			  "  \"a.b\": 1, \"t\\n\\\\\": 2, \"q\\\"q\": 3, \"\xc3\xbc\": 4\n"
			  "}\n";

static void values_are_found_in_order(void)
{
	static const struct {
		unsigned line, column, name_line, name_column;
	} rows[] = {
		{1, 1, 1, 1},   {2, 11, 2, 3},  {3, 12, 3, 3},  /* the object, name, peers */
		{4, 5, 4, 5},   {4, 14, 4, 6},  {4, 33, 4, 22}, /* peers[0] */
		{5, 5, 5, 5},   {5, 13, 5, 6},                  /* peers[1] */
		{5, 21, 5, 14}, {5, 22, 5, 22}, {5, 23, 5, 23}, {5, 25, 5, 25}, /* deep */
		{5, 28, 5, 28}, {5, 29, 5, 29}, {5, 31, 5, 31}, {6, 23, 6, 6},  {6, 28, 6, 28},
		{8, 10, 8, 3},  {8, 22, 8, 13}, {8, 33, 8, 25}, {8, 42, 8, 36},
	};
	const size_t n = sizeof rows / sizeof rows[0];

	CHECK(scan(doc, 8) == 0);
	for (size_t i = 0; i < n; i++) {
		struct scan_where at = {0, 0}, name = {0, 0};
		bool ok;

		ok = CHECK(scan_find(doc, strlen(doc), i, false, &at));
		ok = CHECK(scan_find(doc, strlen(doc), i, true, &name)) && ok;
		ok = CHECK(at.line == rows[i].line && at.column == rows[i].column) && ok;
		ok = CHECK(name.line == rows[i].name_line && name.column == rows[i].name_column) &&
		     ok;
		if (!ok)
			NOTE("%zu: value %u:%u, name %u:%u", i, at.line, at.column, name.line,
			     name.column);
	}
	CHECK(!scan_find(doc, strlen(doc), n, false, &w));
	CHECK(!scan_find("", 0, 0, false, &w) && !scan_find(" [", 2, 1, false, &w));
}

static void truncated_texts_are_handled_safely(void)
{
	for (size_t len = 0; len < sizeof doc; len++) {
		char text[sizeof doc];

		memcpy(text, doc, len);
		for (size_t n = 0; n < 24; n++)
			scan_find(text, len, n, true, &w);
		CHECK(scan_json(text, len, 8, &w, &e) == (len >= sizeof doc - 2 ? 0 : -1) ||
		      len == sizeof doc);
	}
}

T_MAIN(T(good_texts_are_accepted), T(bad_texts_are_refused_with_position_and_reason),
       T(zero_bytes_are_refused), T(depth_is_limited), T(members_are_counted),
       T(duplicate_members_are_found_at_any_distance), T(decimals_are_accepted_only_on_request),
       T(position_and_error_may_be_null), T(values_are_found_in_order),
       T(truncated_texts_are_handled_safely))
