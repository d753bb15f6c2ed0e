/*
 * tests/support/ipsec_fault: the chosen calls fail and do nothing, all others go through.
 */
#include "crypto/random.h"
#include "tests/support/ipsec_fault.h"
#include "tests/t.h"

#include <uv.h>

static uv_loop_t loop;
static struct ipsec *db;
static struct policy policy;
static struct err e;

static void on_event(void *arg, const struct ipsec_event *ev)
{
	(void)arg, (void)ev;
}

static struct ipsec *open_inner(void)
{
	static const struct ipsec_env env = {.loop = &loop, .on_event = on_event, .arg = NULL};
	struct ipsec *inner;

	CHECK(uv_loop_init(&loop) == 0);
	CHECK(ipsec_open(&inner, "soft", &env, &e) == 0);
	return inner;
}

static void open_with(const char *rule)
{
	db = ipsec_fault_wrap(open_inner(), rule);
	CHECK(db != NULL);
	memset(&policy, 0, sizeof policy);
	strcpy(policy.peer, "beta");
	policy.local_esp_port = 24510; /* 127.0.0.9: no other test binds there */
	policy.remote_esp_port = 24510;
	CHECK(addr_parse(&policy.local, "127.0.0.9", &e) == 0);
	CHECK(addr_parse(&policy.remote, "127.0.0.10", &e) == 0);
}

static void close_it(struct ipsec *it)
{
	ipsec_close(it);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&loop) == 0);
}

static void crypto_starts(void)
{
	CHECK(crypto_start());
}

static void the_third_call_fails_once(void)
{
	struct ipsec_ctx ctx;
	struct spi spi;

	open_with("reserve:3");
	CHECK_STR(db->ops->name, "soft");
	CHECK(ipsec_policy_add(db, &policy, &e) == 0);
	for (int i = 1; i <= 5; i++) {
		memset(&e, 0, sizeof e);
		CHECK((ipsec_reserve(db, &policy, &ctx, &spi, &e) == 0) == (i != 3));
		if (i == 3) {
			CHECK(e.code == ERR_OS);
			CHECK_STR(e.cause, "test fault: reserve call 3");
			CHECK(ctx.id == 0 && spi.n == 0);
		}
	}
	close_it(db);
}

static void a_star_fails_every_call_and_parts_are_independent(void)
{
	struct sa_keys k = {.suite = SUITE_AES256GCM16, .window = 64}, out;
	struct ipsec_ctx ctx;
	struct sa_counts c;

	open_with("activate:*,policy_add:1,install:2");
	CHECK(ipsec_policy_add(db, &policy, &e) < 0);
	CHECK_U64(policy.ref, 0);
	CHECK(ipsec_policy_add(db, &policy, &e) == 0);
	CHECK(ipsec_reserve(db, &policy, &ctx, &k.spi, &e) == 0);
	random_secret(&k.key, suite_key_len(k.suite));
	out = k;
	random_secret(&out.key, suite_key_len(out.suite));
	CHECK(ipsec_install(db, ctx, &k, &out, &e) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(ipsec_activate(db, ctx, &out, &e) < 0 && e.code == ERR_OS);
	CHECK(ipsec_query(db, ctx, IPSEC_OUTBOUND, &c, &e) == 0);
	CHECK(ipsec_query(db, ctx, IPSEC_INBOUND, &c, &e) == 0);
	CHECK(ipsec_send(db, &policy, (const uint8_t *)"x", 1, &e) < 0 && e.code == ERR_DOWN);
	CHECK(ipsec_remove(db, ctx, IPSEC_BOTH, &e) == 0);
	CHECK(ipsec_policy_remove(db, &policy, &e) == 0);
	close_it(db);
}

static void an_unknown_outcome_is_one_that_was_done(void)
{
	struct sa_keys in = {.suite = SUITE_AES256GCM16, .window = 64}, out;
	struct ipsec_ctx ctx;
	struct sa_counts c;

	open_with("install:1?,activate:1?");
	CHECK(ipsec_policy_add(db, &policy, &e) == 0);
	CHECK(ipsec_reserve(db, &policy, &ctx, &in.spi, &e) == 0);
	random_secret(&in.key, suite_key_len(in.suite));
	out = in;
	random_secret(&out.key, suite_key_len(out.suite));
	CHECK(ipsec_install(db, ctx, &in, &out, &e) == IPSEC_UNKNOWN && e.code == ERR_OS);
	CHECK(ipsec_query(db, ctx, IPSEC_INBOUND, &c, &e) == 0);
	CHECK(ipsec_activate(db, ctx, &out, &e) == IPSEC_UNKNOWN && e.code == ERR_OS);
	CHECK(ipsec_send(db, &policy, (const uint8_t *)"x", 1, &e) == 0);
	close_it(db);
}

static void every_call_can_fail(void)
{
	static const char rule[] = "policy_remove:1,remove:1,query:1,recover:1,send:1";
	struct ipsec_ctx ctx;
	struct sa_counts c;
	struct ipsec_can can;
	struct spi spi;

	open_with(rule);
	ipsec_can(db, &can);
	CHECK(can.datagrams && ipsec_sends(db));
	CHECK(ipsec_policy_add(db, &policy, &e) == 0);
	CHECK(ipsec_reserve(db, &policy, &ctx, &spi, &e) == 0);
	CHECK(ipsec_remove(db, ctx, IPSEC_BOTH, &e) < 0 && e.code == ERR_OS);
	CHECK(ipsec_remove(db, ctx, IPSEC_BOTH, &e) == 0);
	CHECK(ipsec_query(db, ctx, IPSEC_INBOUND, &c, &e) < 0 && e.code == ERR_OS);
	CHECK(ipsec_query(db, ctx, IPSEC_INBOUND, &c, &e) < 0 && e.code == ERR_DOWN);
	CHECK(ipsec_send(db, &policy, (const uint8_t *)"x", 1, &e) < 0 && e.code == ERR_OS);
	CHECK(ipsec_send(db, &policy, (const uint8_t *)"x", 1, &e) < 0 && e.code == ERR_DOWN);
	CHECK(ipsec_recover(db, NULL, NULL, &e) < 0);
	CHECK(ipsec_recover(db, NULL, NULL, &e) == 0);
	CHECK(ipsec_policy_remove(db, &policy, &e) < 0 && policy.ref != 0);
	CHECK(ipsec_policy_remove(db, &policy, &e) == 0);
	close_it(db);
}

static void a_wrong_rule_is_refused(void)
{
	static const char *const rules[] = {
		"",
		"reserve",
		"reserve:",
		"reserve:0",
		"reserve:x",
		"reserve:1x",
		"reserve:1,",
		",reserve:1",
		"reserve:1;send:1",
		"reserv:1",
		"reserves:1",
		"close:1",
		":1",
		"reserve:-1",
		"reserve: 1",
		"reserve:**",
		"reserve:1?",
		"activate:?",
		"activate:1??",
		"send:1,send:2,send:3,send:4,send:5,send:6,send:7,send:8,send:9",
	};
	struct ipsec *inner = open_inner();

	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
		if (!CHECK(ipsec_fault_wrap(inner, rules[i]) == NULL))
			NOTE("rule \"%s\"", rules[i]);
	close_it(inner);
}

T_MAIN(T(crypto_starts), T(the_third_call_fails_once),
       T(a_star_fails_every_call_and_parts_are_independent),
       T(an_unknown_outcome_is_one_that_was_done), T(every_call_can_fail),
       T(a_wrong_rule_is_refused))
