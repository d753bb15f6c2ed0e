/* proto/json: a table decodes a struct, or reports an error with its position; a text that does not
 * fit is not written. */
#include "proto/json/decode.h"
#include "proto/json/encode.h"
#include "proto/json/scan.h"
#include "tests/t.h"

static struct err e;

/* ---- decoding -------------------------------------------------------------------------- */

static const char *const words[] = {"closed", "seamless", "open", NULL};

struct inner {
	struct addr address;
	uint16_t port;
};
struct sample {
	uint64_t id, count;
	struct spi spi;
	struct secret key;
	uint8_t tag[4];
	uint32_t seconds;
	uint16_t port;
	bool on;
	char name[9];
	int mode;
	struct addr address;
	size_t peers;
	struct inner peer[2];
};

static const struct json_field inner_fields[] = {
	{"address", json_get_addr, offsetof(struct inner, address), 0, 0, NULL, false, NULL},
	{"port", json_get_u16, offsetof(struct inner, port), 1, 0, NULL, true, NULL},
};

static int get_peer(const struct cJSON *v, size_t i, void *arg, struct err *err)
{
	struct inner *peer = (struct inner *)arg + i;

	return json_decode(v, inner_fields, 2, peer, sizeof *peer, err);
}

static int get_peers(const struct cJSON *v, const struct json_field *f, void *to, struct err *err)
{
	return json_each(v, (size_t)f->max, get_peer, to, err);
}

#define ROW(member, get, min, max, more)                                                  \
	{                                                                                 \
#member, get, offsetof(struct sample, member), min, max, more, true, NULL \
	}
static const struct json_field fields[] = {
	{"id", json_get_hex64, offsetof(struct sample, id), 0, 0, NULL, false, NULL},
	ROW(count, json_get_dec64, 1, UINT64_C(18446744073709551614), NULL),
	ROW(spi, json_get_spi, 0, 0, NULL),
	ROW(key, json_get_secret, 0, 4, NULL),
	ROW(tag, json_get_hexbytes, 0, 4, NULL),
	ROW(seconds, json_get_u32, 10, 604800, NULL),
	ROW(port, json_get_u16, 1, 0, NULL),
	ROW(on, json_get_bool, 0, 0, NULL),
	ROW(name, json_get_text, 1, 9, NULL),
	ROW(mode, json_get_word, 0, 0, words),
	ROW(address, json_get_addr, 0, 0, NULL),
	{"peers", get_peers, offsetof(struct sample, peer), 0, 2, NULL, true, NULL},
};
#define FIELDS (sizeof fields / sizeof fields[0])

static int decode(const char *text, struct sample *s)
{
	memset(s, 0, sizeof *s);
	return json_decode_text(text, strlen(text), 4, fields, FIELDS, s, sizeof *s, &e);
}

static void members_fill_the_struct(void)
{
	static const char text[] =
		"{\"id\":\"0123456789abcdef\",\"count\":\"18446744073709551614\",\"spi\":\"c0ffee01\","
		"\"key\":\"00ff10a5\",\"tag\":\"deadbeef\",\"seconds\":604800,\"port\":65535,"
		"\"on\":true,\"name\":\"gr\xc3\xbc\xc3\x9f\\u00e9\",\"mode\":\"open\","
		"\"address\":\"2001:DB8::1\",\"peers\":[{\"address\":\"192.0.2.1\"},"
		"{\"port\":1,\"address\":\"192.0.2.2\"}]}";
	struct sample s;
	size_t n;

	json_start();
	if (!CHECK(decode(text, &s) == 0)) {
		NOTE("%s", e.cause);
		return;
	}
	CHECK_U64(s.id, UINT64_C(0x0123456789abcdef));
	CHECK_U64(s.count, UINT64_C(18446744073709551614));
	CHECK_U64(s.spi.n, 0xc0ffee01);
	CHECK_MEM(secret_bytes(&s.key, &n), "\x00\xff\x10\xa5", 4);
	CHECK_U64(n, 4);
	CHECK_MEM(s.tag, "\xde\xad\xbe\xef", 4);
	CHECK_U64(s.seconds, 604800);
	CHECK_U64(s.port, 65535);
	CHECK(s.on);
	CHECK_STR(s.name, "gr\xc3\xbc\xc3\x9f\xc3\xa9");
	CHECK(s.mode == 2);
	CHECK(s.address.len == 16 && s.address.bytes[15] == 1);
	CHECK(s.peer[0].address.bytes[3] == 1 && s.peer[1].address.bytes[3] == 2);
	CHECK(s.peer[0].port == 0 && s.peer[1].port == 1);
}

static void absent_optional_members_stay_as_they_were(void)
{
	static const char text[] = "{\"id\":\"0000000000000001\"}";
	struct sample s = {.seconds = 3600, .name = "default", .on = true};

	CHECK(json_decode_text(text, strlen(text), 4, fields, FIELDS, &s, sizeof s, &e) == 0);
	CHECK(s.id == 1 && s.seconds == 3600 && s.on);
	CHECK_STR(s.name, "default");
}

#define ID "\"id\":\"0000000000000001\""
static void bad_values_are_refused_by_name_and_reason(void)
{
	static const struct {
		const char *text, *cause;
	} rows[] = {
		{"[]", "must be an object"},
		{"{}", "id: missing"},
		{"{\"ID\":\"0000000000000001\"}", "unknown member \"ID\""},
		{"{" ID ",\"x\\u001b\":1}", "unknown member \"x\\x1b\""},
		{"{" ID ",\"\":1}", "unknown member \"\""},
		{"{" ID "," ID "}", "member \"id\" is given twice"},
		{"{\"id\":\"000000000000001\"}", "id: must be 16 lower-case hex digits"},
		{"{\"id\":\"00000000000000001\"}", "id: must be 16 lower-case hex digits"},
		{"{\"id\":\"000000000000000A\"}", "id: must be 16 lower-case hex digits"},
		{"{\"id\":1}", "id: must be 16 lower-case hex digits"},
		{"{\"id\":null}", "id: must be 16 lower-case hex digits"},
		{"{\"spi\":\"c0ffee0\"}", "spi: must be 8 lower-case hex digits"},
		{"{\"spi\":\"0xc0ffee\"}", "spi: must be 8 lower-case hex digits"},
		{"{\"spi\":[]}", "spi: must be 8 lower-case hex digits"},
		{"{\"key\":\"00ff10\"}", "key: must be 8 lower-case hex digits"},
		{"{\"key\":\"00ff10a5ff\"}", "key: must be 8 lower-case hex digits"},
		{"{\"key\":\"00ff10ag\"}", "key: must be 8 lower-case hex digits"},
		{"{\"key\":\"\"}", "key: must be 8 lower-case hex digits"},
		{"{\"key\":{}}", "key: must be 8 lower-case hex digits"},
		{"{\"tag\":\"deadbe\"}", "tag: must be 8 lower-case hex digits"},
		{"{\"tag\":\"DEADBEEF\"}", "tag: must be 8 lower-case hex digits"},
#define COUNT "count: must be a string with a whole number between 1 and 18446744073709551614"
		{"{\"count\":1}", COUNT},
		{"{\"count\":\"\"}", COUNT},
		{"{\"count\":\"0\"}", COUNT},
		{"{\"count\":\"01\"}", COUNT},
		{"{\"count\":\"+1\"}", COUNT},
		{"{\"count\":\"-1\"}", COUNT},
		{"{\"count\":\" 1\"}", COUNT},
		{"{\"count\":\"1x\"}", COUNT},
		{"{\"count\":\"18446744073709551615\"}", COUNT},
		{"{\"count\":\"18446744073709551616\"}", COUNT},
		{"{\"count\":\"99999999999999999999999\"}", COUNT},
		{"{\"seconds\":9}", "seconds: must be a whole number between 10 and 604800"},
		{"{\"seconds\":604801}", "seconds: must be a whole number between 10 and 604800"},
		{"{\"seconds\":-10}", "seconds: must be a whole number between 10 and 604800"},
		{"{\"seconds\":\"10\"}", "seconds: must be a whole number between 10 and 604800"},
		{"{\"seconds\":9007199254740991}",
		 "seconds: must be a whole number between 10 and 604800"},
		{"{\"seconds\":10.5}", "only whole numbers are allowed"},
		{"{\"port\":0}", "port: must be a whole number between 1 and 65535"},
		{"{\"port\":65536}", "port: must be a whole number between 1 and 65535"},
		{"{\"port\":true}", "port: must be a whole number between 1 and 65535"},
		{"{\"on\":1}", "on: must be true or false"},
		{"{\"on\":\"true\"}", "on: must be true or false"},
		{"{\"on\":null}", "on: must be true or false"},
		{"{\"name\":7}", "name: must be a string"},
		{"{\"name\":\"\"}", "name: must be 1 to 8 bytes long"},
		{"{\"name\":\"123456789\"}", "name: must be 1 to 8 bytes long"},
		{"{\"name\":\"a\\nb\"}", "name: must not contain control characters"},
		{"{\"name\":\"a\x7f\"}", "name: must not contain control characters"},
		{"{\"name\":\"\\u202e\"}", "name: must not contain control characters"},
		{"{\"name\":\"a\\u0000b\"}", "NUL escape is not allowed"},
		{"{\"mode\":\"Open\"}", "mode: must be \"closed\", \"seamless\" or \"open\""},
		{"{\"mode\":\"\"}", "mode: must be \"closed\", \"seamless\" or \"open\""},
		{"{\"mode\":2}", "mode: must be \"closed\", \"seamless\" or \"open\""},
		{"{\"address\":1}", "address: must be a string"},
		{"{\"address\":\"1.2.3\"}", "address: \"1.2.3\" is not an IPv4 or IPv6 address"},
		{"{\"peers\":{}}", "peers: must be an array"},
		{"{\"peers\":[1]}", "peers[0]: must be an object"},
		{"{\"peers\":[{\"address\":\"::1\"},{}]}", "peers[1].address: missing"},
		{"{\"peers\":[{\"address\":\"::1\"},{\"address\":\"x\"}]}",
		 "peers[1].address: \"x\" is not an IPv4 or IPv6 address"},
		{"{\"peers\":[{\"address\":\"::1\",\"prt\":1}]}",
		 "peers[0]: unknown member \"prt\""},
		{"{\"peers\":[{\"address\":\"::1\",\"port\":0}]}",
		 "peers[0].port: must be a whole number between 1 and 65535"},
		{"{\"peers\":[{\"address\":\"::1\"},{\"address\":\"::1\"},{\"address\":\"::1\"}]}",
		 "peers: must have at most 2 elements"},
		{"{} ", "id: missing"},
		{"{}x", "unexpected text after the value"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		static const struct sample zero;
		struct sample s;

		CHECK(decode(rows[i].text, &s) == -1);
		CHECK(e.code == ERR_REFUSED);
		CHECK_STR(e.cause, rows[i].cause);
		CHECK_MEM(&s, &zero, sizeof s);
	}
}

static void failure_wipes_the_whole_struct(void)
{
	static const char *const rows[] = {
		"{\"key\":\"00ff10a5\",\"tag\":\"deadbeef\"}",
		"{",
		"[]",
		"{" ID ",\"key\":\"00ff10a5\",\"port\":0}",
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		static const struct sample zero;
		struct sample s;

		memset(&s, 0xaa, sizeof s);
		CHECK(json_decode_text(rows[i], strlen(rows[i]), 4, fields, FIELDS, &s, sizeof s,
				       &e) == -1);
		CHECK_MEM(&s, &zero, sizeof s);
		CHECK(json_decode_text(rows[i], strlen(rows[i]), 4, fields, FIELDS, &s, sizeof s,
				       NULL) == -1);
	}
}

static void sixty_four_members_are_distinguished(void)
{
	struct json_field many[64];
	char names[64][4], text[1000] = "{";
	uint16_t to[64];
	size_t len = 1;

	for (size_t i = 0; i < 64; i++) {
		snprintf(names[i], sizeof names[i], "m%zu", i);
		many[i] = (struct json_field){names[i], json_get_u16, i * sizeof to[0], 0, 0, NULL,
					      false,    NULL};
		len += (size_t)snprintf(text + len, sizeof text - len, "\"m%zu\":%zu%c", 63 - i,
					63 - i, i == 63 ? '}' : ',');
	}
	CHECK(json_decode_text(text, len, 1, many, 64, to, sizeof to, &e) == 0);
	for (size_t i = 0; i < 64; i++)
		CHECK_U64(to[i], i);
	strcpy(text + len - strlen(",\"m0\":0}"), "}");
	CHECK(json_decode_text(text, strlen(text), 1, many, 64, to, sizeof to, &e) == -1);
	CHECK_STR(e.cause, "m0: missing");
}

static int read_sample(const struct cJSON *root, void *to, struct err *err)
{
	return json_decode(root, fields, FIELDS, to, sizeof(struct sample), err);
}

/* Fails with a given cause. */
static int read_cause(const struct cJSON *root, void *to, struct err *err)
{
	(void)root;
	return err_set(err, ERR_OS, "%s", (const char *)to);
}

static void errors_in_files_have_line_and_column(void)
{
	static const struct {
		const char *text, *cause;
	} rows[] = {
		{"{\n" ID ",\n  \"port\": 0}",
		 "line 3, column 11: port: must be a whole number between 1 and 65535"},
		{"\n {\n}", "line 2, column 2: id: missing"},
		{"[]", "line 1, column 1: must be an object"},
		{"{" ID ",\n \"peers\":\n  [{}]}", "line 3, column 4: peers[0].address: missing"},
		{"{" ID ",\n \"peers\":[{\"address\":\"::1\"},\n{\"address\" : \"::1%lo\"}]}",
		 "line 3, column 14: peers[1].address: \"::1%lo\": IPv6 zones are not supported"},
		{"{" ID ",\n \"Port\" : 1}", "line 2, column 2: unknown member \"Port\""},
		{"{" ID ",\n \"peers\":[{\n\"a.b[0]\" : 1}]}",
		 "line 3, column 1: peers[0]: unknown member \"a.b[0]\""},
		{"{" ID ",\n \"\\u00fc\\t\\\"\" : 1}",
		 "line 2, column 2: unknown member \"\xc3\xbc\\x09\"\""},
		{"{" ID ",\n \"peers\":1,\n \"ports\":1}",
		 "line 2, column 10: peers: must be an array"},
		{"{\"a\":1\n,}", "line 2, column 2: unexpected '}', expected a member's name"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *text = rows[i].text;
		struct sample s;

		CHECK(json_read_file(text, strlen(text), 4, read_sample, &s, &e) == -1);
		CHECK_STR(e.cause, rows[i].cause);
		CHECK(e.code == ERR_USAGE);
	}
}

static void causes_with_a_path_have_positions_too(void)
{
	static const char text[] =
		"{\n \"peers\": [\n  {\"name\": \"a\"}, {\"name\": \"a\"}\n ]\n}";
	static const struct {
		char *cause, *placed;
	} rows[] = {
		{"peers[1].name: used twice", "line 3, column 27: peers[1].name: used twice"},
		{"peers[1].port.x: missing", "line 3, column 18: peers[1].port.x: missing"},
		{"peers[1]: not so", "line 3, column 18: peers[1]: not so"},
		{"peers[1].[0].name: no", "line 3, column 18: peers[1].[0].name: no"},
		{"peers[99999999999999999999].name: no",
		 "line 2, column 11: peers[99999999999999999999].name: no"},
		{"peers.name: no", "line 2, column 11: peers.name: no"},
		{"peers[7].name: missing", "line 2, column 11: peers[7].name: missing"},
		{"no path here", "line 1, column 1: no path here"},
		{"timeout: no path", "line 1, column 1: timeout: no path"},
		{"", "line 1, column 1: "},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK(json_read_file(text, strlen(text), 4, read_cause, rows[i].cause, &e) == -1);
		CHECK_STR(e.cause, rows[i].placed);
		CHECK(e.code == ERR_OS);
		CHECK(json_read_file(text, strlen(text), 4, read_cause, rows[i].cause, NULL) == -1);
	}
}

static void long_unknown_names_have_a_position(void)
{
	char text[600] = "{\n\"x", name[500];
	struct sample s;

	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	snprintf(text, sizeof text, "{\n\"%s\":1}", name);
	CHECK(json_read_file(text, strlen(text), 4, read_sample, &s, &e) == -1);
	CHECK(strncmp(e.cause, "line 2, column 1: unknown member \"nnn", 36) == 0);
}

static void members_are_looked_up_with_case(void)
{
	static const char text[] =
		"{\"Type\":\"x\",\"type\":\"y\",\"n\":12,\"b\":false,\"z\":null}";
	const struct cJSON *root, *v;
	struct json_doc *doc;
	double n = 0;
	bool b = true;

	CHECK(json_open(&doc, text, strlen(text), 1, &e) == 0);
	root = json_root(doc);
	CHECK_STR(json_peek(root, "type"), "y");
	CHECK_STR(json_peek(root, "TYPE"), NULL);
	CHECK_STR(json_peek(root, "n"), NULL);
	CHECK(json_member(json_member(root, "n"), "n") == NULL);
	CHECK(json_number(json_member(root, "n"), &n) && n == 12);
	CHECK(!json_number(json_member(root, "b"), &n));
	CHECK(json_boolean(json_member(root, "b"), &b) && !b);
	CHECK(!json_boolean(json_member(root, "z"), &b));
	CHECK(json_member(root, "z") != NULL && json_string(json_member(root, "z")) == NULL);
	v = json_next(json_first(root));
	CHECK_STR(json_name(v), "type");
	CHECK_STR(json_string(v), "y");
	CHECK(json_is_object(root) && !json_is_array(root) && json_is_string(v));
	CHECK(json_name(root) == NULL && json_first(v) == NULL && json_next(NULL) == NULL);
	json_close(doc);
	json_close(NULL);
}

static void closing_wipes_the_strings(void)
{
	static const char text[] = "{\"key\":\"000102030405060708090a0b0c0d0e0f\"}";
	const volatile char *p;
	struct json_doc *doc;

	if (t_memory_is_checked()) {
		SKIP("this tool reports reads of freed memory");
		return;
	}
	CHECK(json_open(&doc, text, strlen(text), 1, &e) == 0);
	p = json_peek(json_root(doc), "key");
	CHECK(p[3] == '1');
	json_close(doc);
	for (size_t i = 0; i <= 32; i++)
		CHECK(p[i] == '\0');
}

/* ---- encoding -------------------------------------------------------------------------- */

static void put_field(struct json_out *o, const char *name, json_put *put, const void *from)
{
	const struct json_field f = {.name = name, .put = put};

	json_put_fields(o, &f, 1, from);
}

static void put_all(struct json_out *o)
{
	static const struct addr a = {{192, 0, 2, 1}, 4};
	const uint64_t id = UINT64_C(0x0123456789abcdef);
	SECRET(key);

	secret_set(&key, (const uint8_t *)"\x01\x02\xff", 3);
	json_put_open(o, NULL);
	json_put_text(o, "text", "q\" b\\ /\b\f\n\r\t\x01\x1f\x7f \xc3\xbc");
	json_put_text(o, "n\"", NULL);
	json_put_text(o, "bad", "a\xff\xc3");
	json_put_u64(o, "zero", 0);
	json_put_u64(o, "big", UINT64_C(9007199254740991));
	json_put_u64(o, "bigger", UINT64_MAX);
	json_put_dec64(o, "count", UINT64_MAX);
	put_field(o, "id", json_put_field_hex64, &id);
	json_put_spi(o, "spi", (struct spi){0xc0ffee});
	json_put_hexbytes(o, "tag", (const uint8_t *)"\xde\xad", 2);
	json_put_hexbytes(o, "none", NULL, 0);
	put_field(o, "key", json_put_field_secret, &key);
	json_put_array(o, "list");
	json_put_bool(o, NULL, true);
	json_put_bool(o, NULL, false);
	json_put_text(o, NULL, NULL);
	json_put_array(o, NULL);
	json_put_array_end(o);
	json_put_open(o, NULL);
	json_put_close(o);
	json_put_array_end(o);
	json_put_addr(o, "address", &a);
	json_put_ms(o, "ms", 1234567);
	json_put_ms(o, "less", 7);
	json_put_raw(o, "raw", "[1,2]", 5);
	json_put_close(o);
}

static const char all[] =
	"{\"text\":\"q\\\" b\\\\ /\\b\\f\\n\\r\\t\\u0001\\u001f\x7f \xc3\xbc\",\"n\\\"\":null,"
	"\"bad\":\"a\xef\xbf\xbd\xef\xbf\xbd\",\"zero\":0,\"big\":9007199254740991,"
	"\"bigger\":9007199254740991,\"count\":\"18446744073709551615\","
	"\"id\":\"0123456789abcdef\",\"spi\":\"00c0ffee\",\"tag\":\"dead\",\"none\":\"\","
	"\"key\":\"0102ff\",\"list\":[true,false,null,[],{}],\"address\":\"192.0.2.1\","
	"\"ms\":1234.567,\"less\":0.007,\"raw\":[1,2]}";

static void all_kinds_are_written_and_pass_the_scanner(void)
{
	char buf[1000];
	struct json_out o;

	json_begin(&o, buf, sizeof buf);
	put_all(&o);
	CHECK_U64(json_end(&o), strlen(all));
	CHECK_STR(buf, all);
	CHECK(scan_json(buf, strlen(buf), 3 | SCAN_DECIMALS, NULL, &e) == 0);
}

static void a_text_that_does_not_fit_is_not_written(void)
{
	static const char zero[sizeof all + 8];

	for (size_t size = 0; size < sizeof all + 4; size++) {
		char buf[sizeof all + 8];
		struct json_out o;
		size_t len;

		memset(buf, '#', sizeof buf);
		json_begin(&o, buf, size);
		put_all(&o);
		len = json_end(&o);
		CHECK_U64(len, size >= sizeof all ? sizeof all - 1 : 0);
		if (len == 0)
			CHECK_MEM(buf, zero, size);
		for (size_t i = size; i < sizeof buf; i++)
			CHECK(buf[i] == '#');
	}
}

static void a_value_alone_and_no_value(void)
{
	char buf[8];
	struct json_out o;

	json_begin(&o, buf, sizeof buf);
	json_put_u64(&o, NULL, 1234567);
	CHECK_U64(json_end(&o), 7);
	CHECK_STR(buf, "1234567");
	json_begin(&o, buf, sizeof buf);
	CHECK_U64(json_end(&o), 0);
	json_begin(&o, buf, sizeof buf);
	json_put_raw(&o, NULL, "", 0);
	CHECK_U64(json_end(&o), 0);
}

/* ---- properties ------------------------------------------------------------------------ */

#define ROOM 8192

static uint32_t below(uint32_t n)
{
	static uint64_t state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 33) % n;
}

static char made[ROOM];
static size_t made_len;

static void add(const char *text)
{
	memcpy(made + made_len, text, strlen(text) + 1);
	made_len += strlen(text);
}

static void add_space(void)
{
	static const char *const spaces[] = {"", "", "", "", " ", "\n", "\t ", "\r\n"};

	add(spaces[below(8)]);
}

static void add_string(unsigned unique)
{
	static const char *const parts[] = {
		"a",
		"B",
		"0",
		" ",
		"{",
		"]",
		",",
		"\\\"",
		"\\\\",
		"\\/",
		"\\n",
		"\\u0041",
		"\\u00e9",
		"\\ud834\\udd1e",
		"\xc3\xa9",
		"\xe2\x82\xac",
		"\xf0\x9d\x84\x9e",
		"\x7f",
		"\\u001F",
	};
	char number[12];

	add("\"");
	for (uint32_t n = below(5); n > 0; n--)
		add(parts[below(sizeof parts / sizeof parts[0])]);
	if (unique > 0) {
		snprintf(number, sizeof number, "#%u", unique);
		add(number);
	}
	add("\"");
}

static void add_value(unsigned depth)
{
	static const char *const simple[] = {
		"true", "false", "null", "0", "-1", "10", "9007199254740991", "-9007199254740991"};
	uint32_t kind = below(depth > 0 ? 5 : 2);
	uint32_t n = below(4);

	add_space();
	if (kind == 0) {
		add(simple[below(8)]);
	} else if (kind == 1) {
		add_string(0);
	} else {
		add(kind == 2 ? "[" : "{");
		add_space();
		for (unsigned i = 1; i <= n; i++) {
			if (i > 1)
				add(",");
			if (kind != 2) {
				add_space();
				add_string(i);
				add_space();
				add(":");
			}
			add_value(depth - 1);
		}
		add(kind == 2 ? "]" : "}");
	}
	add_space();
}

/* Writes the tree as text. */
static void rewrite(struct json_out *o, const struct cJSON *v, const char *name)
{
	char number[32];
	double n;
	bool b;

	if (json_is_object(v) || json_is_array(v)) {
		(json_is_object(v) ? json_put_open : json_put_array)(o, name);
		for (const struct cJSON *c = json_first(v); c != NULL; c = json_next(c))
			rewrite(o, c, json_name(c));
		(json_is_object(v) ? json_put_close : json_put_array_end)(o);
	} else if (json_is_string(v)) {
		json_put_text(o, name, json_string(v));
	} else if (json_number(v, &n)) {
		json_put_raw(o, name, number, (size_t)snprintf(number, sizeof number, "%.0f", n));
	} else if (json_boolean(v, &b)) {
		json_put_bool(o, name, b);
	} else {
		json_put_text(o, name, NULL);
	}
}

/* The same, from the text alone: removes white space and normalises escapes. */
static size_t squeeze(const char *text, size_t len, char *buf)
{
	bool quoted = false;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned code, low;

		if (text[i] == '"')
			quoted = !quoted;
		if (!quoted && strchr(" \t\r\n", text[i]) != NULL)
			continue;
		if (text[i] != '\\') {
			buf[n++] = text[i];
			continue;
		}
		i++;
		if (text[i] == '/') {
			buf[n++] = '/';
		} else if (text[i] != 'u') {
			buf[n++] = '\\';
			buf[n++] = text[i];
		} else {
			sscanf(text + i + 1, "%4x", &code);
			i += 4;
			if (code >= 0xd800 && code < 0xe000) {
				sscanf(text + i + 3, "%4x", &low);
				i += 6;
				code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
			}
			if (code >= 8 && code < 14 && code != 11) {
				buf[n++] = '\\';
				buf[n++] = "btn?fr"[code - 8];
			} else if (code < 0x20) {
				n += (size_t)sprintf(buf + n, "\\u%04x", code);
			} else if (code == '"' || code == '\\') {
				buf[n++] = '\\';
				buf[n++] = (char)code;
			} else if (code < 0x80) {
				buf[n++] = (char)code;
			} else if (code < 0x800) {
				buf[n++] = (char)(0xc0 | code >> 6);
				buf[n++] = (char)(0x80 | (code & 0x3f));
			} else {
				if (code < 0x10000) {
					buf[n++] = (char)(0xe0 | code >> 12);
				} else {
					buf[n++] = (char)(0xf0 | code >> 18);
					buf[n++] = (char)(0x80 | (code >> 12 & 0x3f));
				}
				buf[n++] = (char)(0x80 | (code >> 6 & 0x3f));
				buf[n++] = (char)(0x80 | (code & 0x3f));
			}
		}
	}
	buf[n] = '\0';
	return n;
}

/* Returns false if the scanner refuses the text; otherwise cJSON must have read all of it. */
static bool accepted_as_it_stands(const char *text, size_t len)
{
	static char want[ROOM], is[ROOM];
	struct json_doc *doc;
	struct json_out o;

	if (json_open(&doc, text, len, 8, &e) < 0) {
		CHECK(e.code == ERR_REFUSED);
		return false;
	}
	json_begin(&o, is, sizeof is);
	rewrite(&o, json_root(doc), NULL);
	json_close(doc);
	CHECK_U64(json_end(&o), squeeze(text, len, want));
	if (!CHECK_STR(is, want))
		NOTE("%.*s", (int)len, text);
	return true;
}

static void cjson_reads_what_the_scanner_accepts(void)
{
	for (int round = 0; round < 300; round++) {
		made_len = 0;
		add_value(5);
		if (!CHECK(accepted_as_it_stands(made, made_len)))
			NOTE("%s: %s", e.cause, made);
	}
}

static void a_changed_byte_is_refused_or_read_unchanged(void)
{
	unsigned refused = 0, accepted = 0;

	for (int round = 0; round < 100; round++) {
		made_len = 0;
		add_value(3);
		for (size_t i = 0; i < made_len; i++) {
			char kept = made[i];

			for (int k = 0; k < 12; k++) {
				static const char likely[] = "\"\\,:{}[]0u1-e. \x80";

				made[i] = k < 6 ? (char)below(256) : likely[below(sizeof likely)];
				if (accepted_as_it_stands(made, made_len))
					accepted++;
				else
					refused++;
			}
			made[i] = kept;
			/* the same text, truncated there */
			if (!accepted_as_it_stands(made, i))
				refused++;
		}
	}
	CHECK(refused > 1000 && accepted > 1000);
}

static void encoding_what_was_decoded_gives_the_same_bytes(void)
{
	for (int round = 0; round < 200; round++) {
		char first[2000], second[2000];
		struct json_out o;
		struct sample s, t;

		memset(&s, 0, sizeof s);
		s.id = (uint64_t)below(UINT32_MAX) << 32 | below(UINT32_MAX);
		s.count = 1 + (uint64_t)below(UINT32_MAX) * below(UINT32_MAX);
		s.spi.n = below(UINT32_MAX);
		secret_set(&s.key, (const uint8_t *)&s.id, 4);
		memcpy(s.tag, &s.count, 4);
		s.seconds = 10 + below(604791);
		s.port = (uint16_t)(1 + below(65535));
		s.on = below(2) == 0;
		for (uint32_t i = 1 + below(8); i-- > 0;)
			s.name[i] = (char)(' ' + below(95));
		s.mode = (int)below(3);
		s.address.len = below(2) == 0 ? 4 : 16;
		for (size_t i = 0; i < s.address.len; i++)
			s.address.bytes[i] = (uint8_t)(below(3) == 0 ? below(256) : 0);
		t = s;
		for (int pass = 0; pass < 2; pass++) {
			json_begin(&o, pass == 0 ? first : second, sizeof first);
			json_put_open(&o, NULL);
			put_field(&o, "id", json_put_field_hex64, &t.id);
			json_put_dec64(&o, "count", t.count);
			json_put_spi(&o, "spi", t.spi);
			put_field(&o, "key", json_put_field_secret, &t.key);
			json_put_hexbytes(&o, "tag", t.tag, sizeof t.tag);
			json_put_u64(&o, "seconds", t.seconds);
			json_put_u64(&o, "port", t.port);
			json_put_bool(&o, "on", t.on);
			json_put_text(&o, "name", t.name);
			json_put_text(&o, "mode", words[t.mode]);
			json_put_addr(&o, "address", &t.address);
			json_put_close(&o);
			CHECK(json_end(&o) > 0);
			if (pass == 0 && !CHECK(decode(first, &t) == 0))
				NOTE("%s: %s", e.cause, first);
		}
		CHECK_STR(second, first);
		CHECK(addr_equal(&s.address, &t.address) && secret_equal(&s.key, &t.key));
	}
}

T_MAIN(T(members_fill_the_struct), T(absent_optional_members_stay_as_they_were),
       T(bad_values_are_refused_by_name_and_reason), T(failure_wipes_the_whole_struct),
       T(sixty_four_members_are_distinguished), T(errors_in_files_have_line_and_column),
       T(causes_with_a_path_have_positions_too), T(long_unknown_names_have_a_position),
       T(members_are_looked_up_with_case), T(closing_wipes_the_strings),
       T(all_kinds_are_written_and_pass_the_scanner), T(a_text_that_does_not_fit_is_not_written),
       T(a_value_alone_and_no_value), T(cjson_reads_what_the_scanner_accepts),
       T(a_changed_byte_is_refused_or_read_unchanged),
       T(encoding_what_was_decoded_gives_the_same_bytes))
