/* proto/base/err: texts are escaped and truncated between characters; callers prepend context. */
#include "proto/base/err.h"
#include "tests/t.h"

static struct err e;

static void set_fills_class_and_cause(void)
{
	memset(&e, 0xff, sizeof e);
	CHECK(err_set(&e, ERR_AUTH, "peer %s: %u", "beta", 7u) == -1);
	CHECK(e.code == ERR_AUTH && e.os == 0 && e.path == 0 && e.hint == NULL);
	CHECK_STR(e.cause, "peer beta: 7");
}

static void context_is_prepended(void)
{
	err_set(&e, ERR_REFUSED, "unknown suite");
	CHECK(err_in(&e, "offer") == -1);
	err_in(&e, "peer %s", "beta");
	err_hint(&e, "see sapair.conf(5)");
	CHECK_STR(e.cause, "peer beta: offer: unknown suite");
	CHECK_STR(e.hint, "see sapair.conf(5)");
	CHECK(e.code == ERR_REFUSED);
}

static void elements_of_a_path_are_joined(void)
{
	err_set(&e, ERR_REFUSED, "missing");
	CHECK(err_at(&e, "address") == -1);
	CHECK_STR(e.cause, "address: missing");
	err_at(&e, "[%d]", 1);
	CHECK_STR(e.cause, "[1].address: missing");
	err_at(&e, "peers");
	CHECK_STR(e.cause, "peers[1].address: missing");
	CHECK_U64(e.path, strlen("peers[1].address"));
	err_in(&e, "file");
	CHECK_STR(e.cause, "file: peers[1].address: missing");
	CHECK_U64(e.path, 0);
}

static void the_error_may_be_null(void)
{
	CHECK(err_set(NULL, ERR_BUG, "x") == -1);
	CHECK(err_in(NULL, "x") == -1);
	CHECK(err_at(NULL, "x") == -1);
	CHECK(err_hint(NULL, "x") == -1);
}

static void own_cause_may_be_an_argument(void)
{
	err_set(&e, ERR_OS, "inner");
	err_set(&e, ERR_DOWN, "outer (%s)", e.cause);
	CHECK_STR(e.cause, "outer (inner)");
}

static void causes_are_escaped_once(void)
{
	err_set(&e, ERR_REFUSED, "\"%s\"", "a\x1b[31m\\\n");
	CHECK_STR(e.cause, "\"a\\x1b[31m\\\\\\x0a\"");
	err_in(&e, "b\r");
	CHECK_STR(e.cause, "b\\x0d: \"a\\x1b[31m\\\\\\x0a\"");
}

/* Each text, repeated after 0 to 9 letters: it is truncated only at the end of a unit. */
static void long_causes_are_truncated_between_characters(void)
{
	static const struct {
		const char *text, *shown;
	} rows[] = {
		{"\xe2\x82\xac", "\xe2\x82\xac"},
		{"\xf0\x9f\x94\x91", "\xf0\x9f\x94\x91"},
		{"\x07", "\\x07"},
		{"\\", "\\\\"},
		{"\xe2\x80\x8b", "\\xe2\\x80\\x8b"},
		{"x", "x"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (size_t lead = 0; lead < 10; lead++) {
			size_t unit = strlen(rows[i].shown), len;
			char text[2000] = "aaaaaaaaa";

			text[lead] = '\0';
			for (int k = 0; k < 400; k++)
				strcat(text, rows[i].text);
			for (int in = 0; in < 2; in++) {
				if (in == 0) {
					err_set(&e, ERR_BUG, "%s", text);
				} else { /* the same, truncated by the context in front */
					err_set(&e, ERR_BUG, "%s", text + lead);
					err_in(&e, "%.*s", (int)lead, text);
					if (unit > 4)
						unit = 4; /* each \xNN is a unit of its own now */
				}
				len = strlen(e.cause);
				CHECK(len < sizeof e.cause);
				CHECK(len + strlen(rows[i].shown) >= sizeof e.cause);
				CHECK_U64((len - lead - (in ? 2 : 0)) % unit, 0);
				CHECK(strncmp(e.cause + len - unit, rows[i].shown,
					      unit < 2 ? 1 : 2) == 0);
			}
		}
}

static void terminal_control_codes_are_escaped(void)
{
	static const struct {
		const char *text, *shown;
	} rows[] = {
		{"plain ~", "plain ~"},
		{"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\x91",
		 "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\x91"},
		{"\\", "\\\\"},
		{"\t\x7f", "\\x09\\x7f"},
		{"\xc2\x9b", "\\xc2\\x9b"},          /* C1: control characters */
		{"\xc2\xa0", "\xc2\xa0"},            /* the first character after C1 */
		{"\xe2\x80\xaa", "\\xe2\\x80\\xaa"}, /* U+202A */
		{"\xe2\x80\xae", "\\xe2\\x80\\xae"}, /* U+202E */
		{"\xe2\x80\xaf", "\xe2\x80\xaf"},    /* U+202F, a space */
		{"\xe2\x81\xa6", "\\xe2\\x81\\xa6"}, /* U+2066 */
		{"\xe2\x81\xa9", "\\xe2\\x81\\xa9"}, /* U+2069 */
		{"\xe2\x80\xa8", "\\xe2\\x80\\xa8"}, /* line separator */
		{"\xef\xbb\xbf", "\\xef\\xbb\\xbf"}, /* byte order mark */
		{"\xc0\xaf", "\\xc0\\xaf"},          /* overlong */
		{"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* surrogate */
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
		{"\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80"},
		{"a\xe2\x82", "a\\xe2\\x82"}, /* truncated */
		{"\x80z", "\\x80z"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char shown[64];
		size_t n = strlen(rows[i].text);
		bool same = strcmp(rows[i].text, rows[i].shown) == 0 || rows[i].text[0] == '\\';

		text_escape(shown, sizeof shown, rows[i].text, n);
		CHECK_STR(shown, rows[i].shown);
		CHECK(text_printable(rows[i].text, n) == same);
	}
}

static void escape_takes_bytes_with_zeros_and_any_room(void)
{
	static const char *const wants[] = {"",  "",       "a",       "a",      "a",
					    "a", "a\\x00", "a\\x00b", "a\\x00b"};

	for (size_t size = 0; size < sizeof wants / sizeof wants[0]; size++) {
		char shown[16];

		memset(shown, '#', sizeof shown);
		text_escape(shown, size, "a\0b", 3);
		CHECK(shown[size] == '#');
		if (size > 0)
			CHECK_STR(shown, wants[size]);
	}
}

static void every_class_has_its_word_and_status(void)
{
	for (int i = 0; i < ERR_COUNT; i++) {
		enum err_code code = (enum err_code)i;

		CHECK(err_exit_status(code) == i); /* currently the same numbers */
		CHECK(err_of_word(err_word(code)) == code);
		CHECK(strlen(err_meaning(code)) > 0);
	}
	CHECK_STR(err_word(ERR_PERM), "permission");
	CHECK(err_of_word("no such word") == ERR_COUNT);
	CHECK(err_exit_status(ERR_COUNT) == 1);
	CHECK_STR(err_word(ERR_COUNT), "bug");
}

T_MAIN(T(set_fills_class_and_cause), T(context_is_prepended), T(elements_of_a_path_are_joined),
       T(the_error_may_be_null), T(own_cause_may_be_an_argument), T(causes_are_escaped_once),
       T(long_causes_are_truncated_between_characters), T(terminal_control_codes_are_escaped),
       T(escape_takes_bytes_with_zeros_and_any_room), T(every_class_has_its_word_and_status))
