/* agent/privsep: each record has one encoding; the helper allows only requests that its config permits. */
#include "agent/privsep/policy.h"
#include "tests/t.h"

#include <stdlib.h>

static struct err e;

/* ---- bytes ------------------------------------------------------------------------------- */

static struct addr address(const char *text)
{
	struct addr a = {{0}, 0};

	CHECK(addr_parse(&a, text, &e) == 0);
	return a;
}

static struct privsep_sa sa_with(struct spi spi, uint8_t first_byte)
{
	const uint8_t bytes[SECRET_MAX] = {first_byte, 2, 3};
	struct privsep_sa sa = {.keys = {.spi = spi, .suite = SUITE_AES256GCM16}};
	struct sa_keys *k = &sa.keys;

	secret_set(&k->key, bytes, suite_key_len(k->suite));
	k->epoch = 5;
	k->lifetime_s = 5400;
	k->window = 1024;
	k->esn = true;
	return sa;
}

static struct privsep_request install_request(uint64_t ctx, struct spi in, struct spi out)
{
	return (struct privsep_request){.op = PRIVSEP_INSTALL,
					.seq = 7,
					.ctx = ctx,
					.in = sa_with(in, 1),
					.out = sa_with(out, 9)};
}

static struct privsep_request activate_request(uint64_t ctx, struct spi out)
{
	return (struct privsep_request){.op = PRIVSEP_ACTIVATE,
					.seq = 7,
					.ctx = ctx,
					.out = sa_with(out, 9)};
}

#define SAMPLES 9

/* One request of each kind, with all its members set. */
static size_t samples(struct privsep_request out[SAMPLES])
{
	const struct spi spi = {0x12345678};
	struct privsep_request add = {.op = PRIVSEP_POLICY_ADD, .seq = 1};

	memcpy(add.add.peer, "beta", 5);
	add.add.local = address("192.0.2.1");
	add.add.remote = address("2001:db8::2");
	add.add.control_port = add.add.peer_port = 4510;
	add.add.opt.mode = MODE_PERMISSIVE;
	add.add.opt.encap = ENCAP_TUNNEL;
	add.add.opt.start = START_SEAMLESS;
	add.add.opt.udp = true;
	add.add.opt.protects = add.add.opt.exempts = 2;
	memcpy(add.add.opt.protect[1], "tcp/445", 8);
	memcpy(add.add.opt.exempt[0], "icmp", 5);
	out[0] = add;
	out[1] = (struct privsep_request){.op = PRIVSEP_POLICY_REMOVE, .seq = 2, .policy = 1};
	out[2] = (struct privsep_request){.op = PRIVSEP_RESERVE, .seq = 3, .policy = 1};
	out[3] = install_request(0x10000100001, spi, (struct spi){0x87654321});
	out[4] = activate_request(0x10000100001, spi);
	out[4].out.limits.soft_bytes = out[4].out.limits.hard_packets = UINT64_MAX;
	out[5] = (struct privsep_request){.op = PRIVSEP_REMOVE,
					  .ctx = 3,
					  .part = IPSEC_INBOUND | IPSEC_OUTBOUND};
	out[6] = (struct privsep_request){.op = PRIVSEP_QUERY, .ctx = 3, .part = IPSEC_INBOUND};
	out[7] = (struct privsep_request){.op = PRIVSEP_EXEMPT, .ipv6 = true};
	out[8] = (struct privsep_request){.op = PRIVSEP_RELOAD, .seq = UINT32_MAX};
	return SAMPLES;
}

static void every_request_comes_back_as_it_was(void)
{
	struct privsep_request all[SAMPLES], back;
	uint8_t wire[PRIVSEP_LEN], again[PRIVSEP_LEN];

	for (size_t i = 0; i < samples(all); i++) {
		privsep_put_request(wire, &all[i]);
		CHECK(privsep_get_request(&back, wire, sizeof wire, &e) == 0);
		privsep_put_request(again, &back);
		CHECK(memcmp(wire, again, sizeof wire) == 0);
		CHECK(back.op == all[i].op && back.seq == all[i].seq && back.ctx == all[i].ctx);
	}
	privsep_put_request(wire, &all[3]);
	CHECK(privsep_get_request(&back, wire, sizeof wire, &e) == 0);
	CHECK(secret_equal(&back.in.keys.key, &all[3].in.keys.key));
	CHECK(secret_equal(&back.out.keys.key, &all[3].out.keys.key));
	CHECK_U64(back.in.keys.spi.n, 0x12345678);
	CHECK_U64(back.out.keys.spi.n, 0x87654321);
	CHECK_U64(back.in.keys.lifetime_s, 5400);
	privsep_put_request(wire, &all[4]);
	CHECK(privsep_get_request(&back, wire, sizeof wire, &e) == 0);
	CHECK_U64(back.out.keys.spi.n, 0x12345678);
	CHECK_U64(back.out.limits.hard_packets, UINT64_MAX);
	privsep_put_request(wire, &all[0]);
	CHECK(privsep_get_request(&back, wire, sizeof wire, &e) == 0);
	CHECK(addr_equal(&back.add.remote, &all[0].add.remote));
	CHECK_STR(back.add.opt.protect[1], "tcp/445");
}

static void no_other_size_and_no_other_version_is_read(void)
{
	struct privsep_request all[SAMPLES], back;
	uint8_t wire[PRIVSEP_LEN + 1] = {0};
	struct privsep_answer answer;

	samples(all);
	all[2].policy = 2; /* fits a part, but not a flag */
	privsep_put_request(wire, &all[2]);
	for (size_t n = 0; n <= sizeof wire; n++)
		CHECK((privsep_get_request(&back, wire, n, &e) == 0) == (n == PRIVSEP_LEN));
	for (unsigned version = 0; version < 256; version++) {
		wire[0] = (uint8_t)version;
		CHECK((privsep_get_request(&back, wire, PRIVSEP_LEN, &e) == 0) ==
		      (version == PRIVSEP_VERSION));
	}
	wire[0] = PRIVSEP_VERSION;
	for (unsigned op = 0; op < 256; op++) {
		const bool fits = op == PRIVSEP_POLICY_REMOVE || op == PRIVSEP_RESERVE ||
				  op == PRIVSEP_REMOVE || op == PRIVSEP_QUERY;

		wire[1] = (uint8_t)op;
		CHECK((privsep_get_request(&back, wire, PRIVSEP_LEN, &e) == 0) == fits);
	}
	CHECK(privsep_get_answer(&answer, wire, PRIVSEP_LEN - 1, &e) < 0);
}

/* A record that is read is written with the same bytes: no bit is ignored. */
static void every_changed_byte_is_refused_or_seen(void)
{
	struct privsep_request all[SAMPLES], back;
	uint8_t wire[PRIVSEP_LEN], again[PRIVSEP_LEN];
	size_t refused = 0;

	for (size_t i = 0; i < samples(all); i++) {
		for (size_t at = 0; at < PRIVSEP_LEN; at++) {
			for (unsigned bit = 0; bit < 8; bit++) {
				privsep_put_request(wire, &all[i]);
				wire[at] ^= (uint8_t)(1u << bit);
				memset(&back, 0xff, sizeof back);
				if (privsep_get_request(&back, wire, sizeof wire, &e) == 0) {
					privsep_put_request(again, &back);
					if (memcmp(wire, again, sizeof wire) != 0)
						CHECK(false);
				} else {
					refused++;
				}
			}
		}
	}
	CHECK(refused > 36000);
}

static void a_refused_request_leaves_no_key(void)
{
	struct privsep_request r = install_request(1, (struct spi){256}, (struct spi){257}), back;
	static const struct privsep_request none;
	uint8_t wire[PRIVSEP_LEN];

	privsep_put_request(wire, &r);
	wire[PRIVSEP_LEN - 1] = 1;
	CHECK(privsep_get_request(&back, wire, sizeof wire, &e) < 0);
	CHECK(memcmp(&back, &none, sizeof none) == 0);
	CHECK(strstr(e.cause, "malformed") != NULL);
}

static void texts_with_terminal_control_codes_are_refused(void)
{
	struct privsep_request all[SAMPLES], back;
	uint8_t wire[PRIVSEP_LEN];

	samples(all);
	memcpy(all[0].add.peer, "b\033[2J", 6);
	privsep_put_request(wire, &all[0]);
	CHECK(privsep_get_request(&back, wire, sizeof wire, &e) < 0);
}

static void answers_come_back_as_they_were(void)
{
	struct privsep_answer a = {.op = PRIVSEP_EVENT,
				   .code = ERR_OS,
				   .os = 17,
				   .unknown = true,
				   .cause = "the kernel says: no",
				   .hint = "ask it again",
				   .policy = 3,
				   .ctx = 0x30000200001,
				   .part = IPSEC_OUTBOUND,
				   .spi = {0xdeadbeef},
				   .left_s = 9,
				   .kind = 4,
				   .counts = {15, 1, 2, 3, UINT64_MAX},
				   .can = {.esn = true, .window_max = 4096}},
			      back;
	uint8_t wire[PRIVSEP_LEN], again[PRIVSEP_LEN];

	a.local = address("::1");
	suite_list_add(&a.can.suites, SUITE_AES128_SHA1);
	suite_list_add(&a.can.suites, SUITE_AES256GCM16);
	privsep_put_answer(wire, &a);
	CHECK(privsep_get_answer(&back, wire, sizeof wire, &e) == 0);
	CHECK_STR(back.cause, a.cause);
	CHECK_STR(back.hint, a.hint);
	CHECK(back.unknown && back.can.esn && !back.can.tunnel);
	CHECK_U64(back.counts.integrity_failed, UINT64_MAX);
	CHECK(suite_list_has(&back.can.suites, SUITE_AES128_SHA1) && back.can.suites.n == 2);
	for (size_t at = 0; at < PRIVSEP_LEN; at++) {
		privsep_put_answer(wire, &a);
		wire[at] ^= 0x80;
		if (privsep_get_answer(&back, wire, sizeof wire, &e) == 0) {
			privsep_put_answer(again, &back);
			CHECK(memcmp(wire, again, sizeof wire) == 0);
		}
	}
}

/* ---- judgement --------------------------------------------------------------------------- */

static const char two_peers[] =
	"{\"listen\":\"192.0.2.1\",\"peers\":["
	"{\"name\":\"beta\",\"address\":\"192.0.2.2\",\"pin\":\"sha256:"
	"0000000000000000000000000000000000000000000000000000000000000000\"},"
	"{\"name\":\"gamma\",\"address\":\"2001:db8::3\",\"esn\":false,\"window\":64,"
	"\"suites\":[\"aes128gcm16\"],\"hard\":{\"time_s\":60,\"bytes\":1000,\"packets\":100},"
	"\"rekey\":{\"time_s\":30,\"bytes\":500,\"packets\":50}}]}";

static struct privsep_grants grants;
static struct privsep_grant *grant;
static struct privsep_context *context;

static bool config(const char *text)
{
	struct config c;
	bool ok;

	if (!CHECK(config_parse(&c, text, strlen(text), &e) == 0)) {
		NOTE("%s", e.cause);
		return false;
	}
	ok = privsep_grants_configure(&grants, &c, &e) == 0;
	config_free(&c);
	return CHECK(ok);
}

static int route(void *asked, const struct addr *remote, struct addr *local, struct err *why)
{
	(void)why;
	CHECK(remote->len == 16);
	++*(int *)asked;
	*local = address("2001:db8::1");
	return 0;
}

static bool allows(const struct privsep_request *r)
{
	int asked = 0;

	memset(&e, 0, sizeof e);
	return privsep_check(&grants, r, route, &asked, &grant, &context, &e) == 0;
}

/* Is the request refused for this reason? */
static bool refuses(const struct privsep_request *r, enum err_code code, const char *part)
{
	bool ok = !allows(r) && e.code == code && strstr(e.cause, part) != NULL;

	if (!ok)
		NOTE("not refused for \"%s\" but: %d %s", part, (int)e.code, e.cause);
	return ok;
}

static struct privsep_request add_request(size_t peer)
{
	struct privsep_request r = {.op = PRIVSEP_POLICY_ADD, .add = grants.peers[peer].policy};

	if (r.add.local.len == 0)
		r.add.local = address("2001:db8::1");
	return r;
}

static uint32_t added(size_t peer)
{
	struct privsep_request r = add_request(peer);

	if (!CHECK(allows(&r))) {
		NOTE("%s", e.cause);
		return 0;
	}
	return privsep_grant_add(&grants, grant, &r);
}

static uint64_t reserved(uint32_t policy, uint64_t inner, struct spi spi)
{
	struct privsep_request r = {.op = PRIVSEP_RESERVE, .policy = policy};

	return CHECK(allows(&r)) ? privsep_context_add(&grants, grant, inner, spi, 0) : 0;
}

static void policies_are_those_of_the_config(void)
{
	struct privsep_request r;

	if (!config(two_peers))
		return;
	for (size_t peer = 0; peer < 2; peer++) {
		r = add_request(peer);
		CHECK(allows(&r));
		memcpy(r.add.peer, "delta", 6);
		CHECK(refuses(&r, ERR_PERM, "no peer delta"));
		r = add_request(peer);
		snprintf(r.add.peer, sizeof r.add.peer, "%s", peer == 0 ? "gamma" : "beta");
		CHECK(refuses(&r, ERR_PERM, "another address"));
		r = add_request(peer);
		r.add.remote.bytes[r.add.remote.len - 1] ^= 1;
		CHECK(refuses(&r, ERR_PERM, "another address"));
		r = add_request(peer);
		r.add.local.bytes[r.add.local.len - 1] ^= 2;
		CHECK(refuses(&r, ERR_PERM, "another own address"));
		r = add_request(peer);
		r.add.local.len = 0;
		CHECK(refuses(&r, ERR_PERM, "another own address"));
		r = add_request(peer);
		r.add.opt.mode = MODE_PERMISSIVE;
		CHECK(refuses(&r, ERR_PERM, "another mode"));
		r = add_request(peer);
		r.add.opt.encap = ENCAP_TUNNEL;
		CHECK(refuses(&r, ERR_PERM, "another encapsulation"));
		r = add_request(peer);
		r.add.opt.udp = true;
		CHECK(refuses(&r, ERR_PERM, "another encapsulation"));
		r = add_request(peer);
		r.add.opt.start = START_SEAMLESS;
		CHECK(refuses(&r, ERR_PERM, "another start"));
		r = add_request(peer);
		r.add.control_port++;
		CHECK(refuses(&r, ERR_PERM, "another port"));
		r = add_request(peer);
		r.add.peer_port++;
		CHECK(refuses(&r, ERR_PERM, "another port"));
		r = add_request(peer);
		r.add.opt.exempts = 2;
		memcpy(r.add.opt.exempt[1], "tcp/22", 7);
		CHECK(refuses(&r, ERR_PERM, "another selectors"));
		r = add_request(peer);
		r.add.opt.protects = 0;
		CHECK(refuses(&r, ERR_PERM, "another selectors"));
	}
	CHECK(added(0) != 0);
	r = add_request(0);
	CHECK(refuses(&r, ERR_BUG, "added twice"));
	privsep_grants_free(&grants);
}

static void sas_are_for_policies_in_force_and_in_turn(void)
{
	const struct spi in = {4096}, out = {5000};
	struct privsep_request r = {.op = PRIVSEP_RESERVE, .policy = 1};
	uint32_t policy;
	uint64_t ctx;

	if (!config(two_peers))
		return;
	CHECK(refuses(&r, ERR_BUG, "no policy"));
	policy = added(0);
	for (uint32_t other = 0; other < 5; other++) {
		r.policy = other;
		CHECK(allows(&r) == (other == policy));
	}
	r.policy = UINT32_MAX;
	CHECK(!allows(&r));
	ctx = reserved(policy, 17, in);
	r = activate_request(ctx, out);
	CHECK(refuses(&r, ERR_BUG, "is not installed"));
	r = install_request(ctx, out, in);
	CHECK(refuses(&r, ERR_PERM, "was not reserved"));
	for (unsigned bit = 0; bit < 64; bit++) {
		r = install_request(ctx ^ UINT64_C(1) << bit, in, out);
		CHECK(!allows(&r));
	}
	r = install_request(ctx, in, (struct spi){255});
	CHECK(refuses(&r, ERR_PERM, "is none for an SA"));
	r = install_request(ctx, in, out);
	CHECK(allows(&r) && context != NULL && context->inner == 17);
	privsep_context_installed(context, out);
	CHECK_U64(context->parts, IPSEC_INBOUND);
	CHECK(!context->reserved);
	CHECK(refuses(&r, ERR_BUG, "is not reserved"));
	r = activate_request(ctx, (struct spi){5001});
	CHECK(refuses(&r, ERR_PERM, "was not installed"));
	r = activate_request(ctx, out);
	r.out.keys.lifetime_s = UINT32_MAX;
	CHECK(refuses(&r, ERR_PERM, "lifetime"));
	r = activate_request(ctx, out);
	CHECK(allows(&r));
	privsep_context_activated(context);
	CHECK_U64(context->parts, IPSEC_INBOUND | IPSEC_OUTBOUND);
	CHECK(refuses(&r, ERR_BUG, "is not installed"));
	r = (struct privsep_request){.op = PRIVSEP_QUERY, .ctx = ctx, .part = IPSEC_OUTBOUND};
	CHECK(allows(&r));
	r.part = IPSEC_INBOUND | IPSEC_OUTBOUND;
	CHECK(refuses(&r, ERR_BUG, "one part"));
	r = (struct privsep_request){.op = PRIVSEP_REMOVE, .ctx = ctx};
	CHECK(refuses(&r, ERR_BUG, "no part"));
	r.part = IPSEC_OUTBOUND;
	CHECK(allows(&r) && context != NULL);
	privsep_context_removed(grant, context, IPSEC_OUTBOUND);
	r = (struct privsep_request){.op = PRIVSEP_QUERY, .ctx = ctx, .part = IPSEC_OUTBOUND};
	CHECK(refuses(&r, ERR_DOWN, "no such SA"));
	privsep_grants_free(&grants);
}

static void both_sas_of_a_request_are_judged(void)
{
	const struct spi in = {4096}, out = {5000};
	struct privsep_request r;

	if (!config(two_peers))
		return;
	r = install_request(reserved(added(0), 17, in), in, out);
	CHECK(allows(&r) && context != NULL && context->inner == 17);
	r.out.keys.lifetime_s = UINT32_MAX;
	CHECK(refuses(&r, ERR_PERM, "lifetime"));
	r.out.keys.lifetime_s = r.in.keys.lifetime_s;
	r.in.keys.window = UINT32_MAX;
	CHECK(refuses(&r, ERR_PERM, "window"));
	r.in.keys.window = r.out.keys.window;
	r.out.keys.window = UINT32_MAX;
	CHECK(refuses(&r, ERR_PERM, "window"));
	r.out.keys.window = r.in.keys.window;
	r.out.limits.hard_packets =
		1000; /* stricter, but both SAs get the limits of the inbound one */
	CHECK(refuses(&r, ERR_PERM, "different limits"));
	r.out.limits.hard_packets = 0;
	r.out.keys.esn = false;
	CHECK(refuses(&r, ERR_PERM, "different limits"));
	r.out.keys.esn = true;
	CHECK(allows(&r));
	privsep_grants_free(&grants);
}

static void a_removed_context_stays_removed(void)
{
	struct privsep_request r;
	uint64_t first, next;
	uint32_t policy;

	if (!config(two_peers))
		return;
	policy = added(0);
	first = reserved(policy, 1, (struct spi){1000});
	r = (struct privsep_request){.op = PRIVSEP_REMOVE, .ctx = first, .part = IPSEC_INBOUND};
	CHECK(allows(&r) && context != NULL);
	privsep_context_removed(grant, context, IPSEC_INBOUND);
	next = reserved(policy, 2, (struct spi){1001});
	CHECK(next != first);
	CHECK(allows(&r) && context == NULL); /* nothing to do */
	r = install_request(first, (struct spi){1001}, (struct spi){5000});
	CHECK(refuses(&r, ERR_BUG, "is gone"));
	r = (struct privsep_request){.op = PRIVSEP_POLICY_REMOVE, .policy = policy};
	CHECK(allows(&r));
	privsep_grant_remove(&grants, grant);
	r = install_request(next, (struct spi){1001}, (struct spi){5000});
	CHECK(refuses(&r, ERR_BUG, "is gone"));
	policy = added(0);
	CHECK(reserved(policy, 3, (struct spi){1002}) != next);
	privsep_grants_free(&grants);
}

static void make_out_alike(struct privsep_request *r)
{
	r->out = r->in;
	r->out.keys.spi = (struct spi){5000};
}

static void limits_are_those_of_the_config_or_stricter(void)
{
	const struct spi in = {4096};
	struct privsep_request good, r;
	uint64_t ctx;

	if (!config(two_peers))
		return;
	ctx = reserved(added(1), 1, in);
	good = install_request(ctx, in, (struct spi){5000});
	good.in.keys.suite = SUITE_AES128GCM16;
	good.in.keys.esn = false;
	good.in.keys.lifetime_s = 60;
	good.in.keys.window = 64;
	good.in.limits.soft_bytes = 500;
	good.in.limits.hard_bytes = 1000;
	good.in.limits.soft_packets = 50;
	good.in.limits.hard_packets = 100;
	make_out_alike(&good);
	CHECK(allows(&good));
	r = good;
	r.in.limits.hard_bytes = r.in.limits.soft_bytes = r.in.limits.hard_packets =
		r.in.limits.soft_packets = 1;
	r.in.keys.lifetime_s = 1;
	make_out_alike(&r);
	CHECK(allows(&r));
	for (unsigned s = 0; s < SUITE_COUNT; s++) {
		r = good;
		r.in.keys.suite = (enum suite)s;
		make_out_alike(&r);
		CHECK(s == SUITE_AES128GCM16 ? allows(&r)
					     : refuses(&r, ERR_PERM, suite_info(s)->name));
	}
	r = good;
	r.in.keys.esn = true;
	make_out_alike(&r);
	CHECK(refuses(&r, ERR_PERM, "extended"));
	r = good;
	r.in.keys.window = 65;
	CHECK(refuses(&r, ERR_PERM, "window"));
	r = good;
	r.in.keys.lifetime_s = 61;
	CHECK(refuses(&r, ERR_PERM, "lifetime"));
	r.in.keys.lifetime_s = 0;
	CHECK(refuses(&r, ERR_PERM, "lifetime"));
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned more = 0; more < 2; more++) {
			uint64_t *limit;

			r = good;
			limit = i == 0   ? &r.in.limits.soft_bytes
				: i == 1 ? &r.in.limits.soft_packets
				: i == 2 ? &r.in.limits.hard_bytes
					 : &r.in.limits.hard_packets;
			*limit = more != 0 ? *limit + 1 : 0; /* 0: no limit */
			make_out_alike(&r);
			CHECK(refuses(&r, ERR_PERM, "bytes or packets"));
		}
	}
	privsep_grants_free(&grants);
	/* Without ESN, sequence numbers limit the packets, whatever the config says. */
	if (!config(two_peers))
		return;
	ctx = reserved(added(0), 1, in);
	r = install_request(ctx, in, (struct spi){5000});
	CHECK(allows(&r));
	r.in.keys.esn = false;
	make_out_alike(&r);
	CHECK(refuses(&r, ERR_PERM, "bytes or packets"));
	r.in.limits.hard_packets = PRIVSEP_PACKETS_MAX;
	make_out_alike(&r);
	CHECK(allows(&r));
	privsep_grants_free(&grants);
}

static void the_number_of_sas_is_limited(void)
{
	struct privsep_request r = {.op = PRIVSEP_RESERVE};
	uint32_t n = 0;

	if (!config(two_peers))
		return;
	r.policy = added(0);
	CHECK(privsep_context_add(&grants, &grants.list[r.policy - 1], 99, (struct spi){300},
				  IPSEC_INBOUND) != 0);
	while (n < 1000 && allows(&r)) {
		n++;
		reserved(r.policy, n, (struct spi){1000 + n});
	}
	CHECK_U64(n, grants.peers[0].contexts_max);
	CHECK(n >= EXCHANGE_HELD_MAX + 2 && n < 100); /* one rekey a second, a drain of 5 s */
	CHECK(refuses(&r, ERR_PERM, "so many SAs"));
	privsep_context_removed(grant, privsep_context_find(grant, 1), IPSEC_INBOUND);
	CHECK(allows(&r));
	privsep_grants_free(&grants);
}

static void leftovers_can_only_be_removed(void)
{
	struct privsep_request r;
	uint32_t policy;
	uint64_t ctx;

	if (!config(two_peers))
		return;
	policy = added(0);
	ctx = privsep_context_add(&grants, &grants.list[policy - 1], 5, (struct spi){300},
				  IPSEC_INBOUND);
	r = install_request(ctx, (struct spi){300}, (struct spi){5000});
	CHECK(refuses(&r, ERR_BUG, "is not reserved"));
	r = activate_request(ctx, (struct spi){300});
	CHECK(refuses(&r, ERR_BUG, "is not installed"));
	r = (struct privsep_request){.op = PRIVSEP_QUERY, .ctx = ctx, .part = IPSEC_INBOUND};
	CHECK(allows(&r));
	r = (struct privsep_request){.op = PRIVSEP_REMOVE, .ctx = ctx, .part = IPSEC_INBOUND};
	CHECK(allows(&r) && context != NULL && context->inner == 5);
	privsep_grants_free(&grants);
}

static void a_peer_that_left_the_config_gets_nothing_more(void)
{
	static const char *const others[] = {
		"{\"listen\":\"192.0.2.1\",\"peers\":[]}",
		"{\"listen\":\"192.0.2.1\",\"peers\":[{\"name\":\"beta\",\"address\":\"192.0.2.9\"}]}",
		"{\"listen\":\"192.0.2.7\",\"peers\":[{\"name\":\"beta\",\"address\":\"192.0.2.2\"}]}",
		("{\"listen\":\"192.0.2.1\",\"peers\":[{\"name\":\"beta\",\"address\":\"192.0.2.2\","
		 "\"mode\":\"permissive\"}]}")};

	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		struct privsep_request r = {.op = PRIVSEP_RESERVE};
		uint64_t ctx;

		if (!config(two_peers))
			return;
		r.policy = added(0);
		ctx = reserved(r.policy, 1, (struct spi){1000});
		if (!config(two_peers) || !CHECK(allows(&r)) || !config(others[i]))
			return;
		CHECK(refuses(&r, ERR_PERM, "does not allow it any more"));
		r = install_request(ctx, (struct spi){1000}, (struct spi){5000});
		CHECK(refuses(&r, ERR_PERM, "does not allow it any more"));
		r = (struct privsep_request){.op = PRIVSEP_REMOVE,
					     .ctx = ctx,
					     .part = IPSEC_INBOUND};
		CHECK(allows(&r) && context != NULL);
		r = (struct privsep_request){.op = PRIVSEP_POLICY_REMOVE, .policy = 1};
		CHECK(allows(&r));
		privsep_grants_free(&grants);
	}
}

static void thousands_of_policies_have_numbers_of_their_own(void)
{
	static char text[200000];
	size_t n = 0, peers = 1000;
	uint32_t first = 0;

	n += (size_t)snprintf(text + n, sizeof text - n, "{\"listen\":\"192.0.2.1\",\"peers\":[");
	for (size_t i = 0; i < peers; i++)
		n += (size_t)snprintf(text + n, sizeof text - n,
				      "%s{\"name\":\"p%zu\",\"address\":\"10.1.%zu.%zu\"}",
				      i > 0 ? "," : "", i, i / 250, i % 250 + 1);
	snprintf(text + n, sizeof text - n, "]}");
	if (!config(text))
		return;
	for (size_t i = 0; i < peers; i++) {
		uint32_t number = added(i);

		CHECK(number != 0 && grants.list[number - 1].peer == i);
		if (i == 500)
			first = number;
	}
	privsep_grant_remove(&grants, &grants.list[first - 1]);
	CHECK(added(500) != 0);
	CHECK_U64(grants.used_grants, peers);
	privsep_grants_free(&grants);
}

T_MAIN(T(every_request_comes_back_as_it_was), T(no_other_size_and_no_other_version_is_read),
       T(every_changed_byte_is_refused_or_seen), T(a_refused_request_leaves_no_key),
       T(texts_with_terminal_control_codes_are_refused), T(answers_come_back_as_they_were),
       T(policies_are_those_of_the_config), T(sas_are_for_policies_in_force_and_in_turn),
       T(both_sas_of_a_request_are_judged), T(a_removed_context_stays_removed),
       T(limits_are_those_of_the_config_or_stricter), T(the_number_of_sas_is_limited),
       T(leftovers_can_only_be_removed), T(a_peer_that_left_the_config_gets_nothing_more),
       T(thousands_of_policies_have_numbers_of_their_own))
