/* proto/wire/ctl: a request contains what differs from the verb's defaults; unknown members are refused. */
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

static void only_differences_from_defaults_are_written(void)
{
	ctl_request_init(&r, CTL_REKEY);
	r.all = true;
	CHECK(ctl_encode(&r, line, sizeof line) == strlen(line));
	CHECK_STR(line, "{\"verb\":\"rekey\",\"all\":true}");
}

static void is_read_back(void)
{
	CHECK(ctl_encode(&r, line, sizeof line) > 0);
	CHECK(ctl_decode(&back, line, strlen(line), &e) == 0);
	CHECK_MEM(&back, &r, sizeof r);
}

static void what_is_written_is_read_back(void)
{
	ctl_request_init(&r, CTL_UP);
	strcpy(r.peer, "[2001:db8::1]:4600");
	r.timeout_ms = 0;
	r.verify = false;
	r.parallel = 1;
	strcpy(r.pin, "sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
	is_read_back();
	CHECK(ctl_encode(&r, line, 40) == 0);
	ctl_request_init(&r, CTL_REKEY);
	r.all = true;
	r.wait = CTL_WAIT_DRAIN;
	strcpy(r.reason, "a \"quoted\" reason");
	is_read_back();
	ctl_request_init(&r, CTL_VERIFY);
	strcpy(r.peer, "b");
	r.count = 1000000;
	r.interval_ms = 60000;
	is_read_back();
	for (int v = 0; v < CTL_COUNT; v++) {
		ctl_request_init(&r, (enum ctl_verb)v);
		if (v != CTL_WATCH && v != CTL_RELOAD && v != CTL_STOP)
			strcpy(r.peer, "b");
		CHECK(ctl_encode(&r, line, sizeof line) > 0);
		CHECK(ctl_decode(&back, line, strlen(line), &e) == 0 && back.verb == v);
	}
}

static void errors_name_the_member(void)
{
	static const struct {
		const char *text, *cause;
	} rows[] = {
		{"", "request: "},
		{"{}", "request: verb: missing"},
		{"{\"verb\":\"halt\"}", "request: verb: must be \"status\", \"up\", "},
		{"{\"verb\":\"status\",\"peers\":\"a\"}", "request: unknown member \"peers\""},
		{"{\"verb\":\"rekey\"}", "request: rekey: \"peer\" or \"all\" is missing"},
		{"{\"verb\":\"down\",\"all\":false}",
		 "request: down: \"peer\" or \"all\" is missing"},
		{"{\"verb\":\"down\",\"all\":true,\"peer\":\"a\"}",
		 "request: \"peer\" and \"all\" are mut"},
		{"{\"verb\":\"status\",\"peer\":\"\"}", "request: peer: must be 1 to 64"},
		{"{\"verb\":\"script\"}", "request: script: \"peer\" is missing"},
		{"{\"verb\":\"script\",\"all\":true}", "request: script has no member \"all\""},
		{"{\"verb\":\"stop\",\"peer\":\"a\"}", "request: stop has no member \"peer\""},
		{"{\"verb\":\"up\",\"peer\":\"a\",\"count\":4}",
		 "request: up has no member \"count"},
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

T_MAIN(T(a_short_request_has_the_defaults), T(only_differences_from_defaults_are_written),
       T(what_is_written_is_read_back), T(errors_name_the_member))
