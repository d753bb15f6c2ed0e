/* proto/ctl: a request is what differs from the verb's defaults, and nothing is guessed. */
#include "proto/wire/ctl.h"

#include "tests/t.h"

static struct ctl_request r, back;
static struct err e;
static char line[CTL_LINE_MAX];

static int decode(const char *text)
{
	e = (struct err){0};
	return ctl_decode(&r, text, strlen(text), &e);
}

static void a_short_request_has_the_defaults(void)
{
	CHECK(decode("{\"verb\":\"status\"}") == 0);
	CHECK(r.verb == CTL_STATUS && r.wait == CTL_WAIT_DONE);
	CHECK_STR(r.peer, "");
	CHECK(!r.all && r.verify);
	CHECK_U64(r.timeout_ms, 30000);
	CHECK_U64(r.count, 3);
	CHECK_U64(r.interval_ms, 0);
	CHECK_U64(r.parallel, 16);
}

static void only_what_differs_is_written(void)
{
	ctl_request_init(&r, CTL_REKEY);
	r.all = true;
	CHECK(ctl_encode(&r, line, sizeof line) == strlen(line));
	CHECK_STR(line, "{\"verb\":\"rekey\",\"all\":true}");
}

static void what_is_written_is_read_back(void)
{
	ctl_request_init(&r, CTL_UP);
	strcpy(r.peer, "[2001:db8::1]:4600");
	r.wait = CTL_WAIT_DRAIN;
	r.timeout_ms = 0;
	r.verify = false;
	r.count = 1000000;
	r.interval_ms = 60000;
	r.parallel = 1;
	strcpy(r.reason, "a \"quoted\" reason");
	strcpy(r.pin, "sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
	CHECK(ctl_encode(&r, line, sizeof line) > 0);
	CHECK(ctl_decode(&back, line, strlen(line), &e) == 0);
	CHECK_MEM(&back, &r, sizeof r);
	CHECK(ctl_encode(&r, line, 40) == 0);
	for (int v = 0; v < CTL_COUNT; v++) {
		ctl_request_init(&r, (enum ctl_verb)v);
		strcpy(r.peer, "b");
		CHECK(ctl_encode(&r, line, sizeof line) > 0);
		CHECK(ctl_decode(&back, line, strlen(line), &e) == 0 && back.verb == v);
	}
}

static void what_is_wrong_is_told(void)
{
	static const struct {
		const char *text, *cause;
	} rows[] = {
		{"", "request: "},
		{"{}", "request: verb: missing"},
		{"{\"verb\":\"halt\"}", "request: verb: must be \"status\", \"up\", "},
		{"{\"verb\":\"status\",\"peers\":\"a\"}", "request: unknown member \"peers\""},
		{"{\"verb\":\"rekey\"}", "request: rekey: name a peer, or say all"},
		{"{\"verb\":\"down\",\"all\":false}", "request: down: name a peer, or say all"},
		{"{\"verb\":\"down\",\"all\":true,\"peer\":\"a\"}", "request: peer and all excl"},
		{"{\"verb\":\"status\",\"peer\":\"\"}", "request: peer: must be 1 to 64"},
		{"{\"verb\":\"status\",\"peer\":[]}", "request: "},
		{"{\"verb\":\"status\",\"wait\":\"long\"}", "request: wait: must be \"none\""},
		{"{\"verb\":\"status\",\"count\":0}", "request: count: must be"},
		{"{\"verb\":\"status\",\"timeout_ms\":-1}", "request: timeout_ms: must be"},
		{"{\"verb\":\"up\",\"peer\":\"a\",\"pin\":\"x\"}", "request: pin: must be"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		bool right = CHECK(decode(rows[i].text) == -1);

		right = CHECK(e.code == ERR_USAGE) && right;
		right = CHECK(strncmp(e.cause, rows[i].cause, strlen(rows[i].cause)) == 0) && right;
		if (!right)
			NOTE("%s: %s", rows[i].text, e.cause);
	}
}

T_MAIN(T(a_short_request_has_the_defaults), T(only_what_differs_is_written),
       T(what_is_written_is_read_back), T(what_is_wrong_is_told))
