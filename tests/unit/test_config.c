/* proto/config: defaults, every member, and errors with line, column and path. */
#include "proto/config/config.h"

#include <stdlib.h>

#include "proto/json/decode.h"
#include "proto/json/encode.h"
#include "tests/t.h"

#define PIN "sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static struct config c;
static struct err e;

static int parse(const char *text)
{
	e = (struct err){0};
	return config_parse(&c, text, strlen(text), &e);
}

static bool ep_is(const struct endpoint *ep, const char *want)
{
	char text[ENDPOINT_TEXT];

	endpoint_put(text, ep);
	return CHECK_STR(text, want);
}

static void an_empty_config_has_every_default(void)
{
	static const char *const suites[] = {"aes256gcm16", "aes128gcm16", "aes256-sha256"};

	CHECK(parse("{}") == 0);
	CHECK_STR(c.name, "");
	CHECK_U64(c.listens, 2);
	ep_is(&c.listen[0], "[::]:4510");
	ep_is(&c.listen[1], "0.0.0.0:4510");
	CHECK_U64(c.esp_port, 4510);
	CHECK_STR(c.backend, "auto");
	CHECK_STR(c.log, "info");
	CHECK_STR(c.control, "");
	CHECK(!c.allow_lab && !c.export_keys);
	CHECK_U64(c.n_peers, 0);
	CHECK(c.defaults.role == ROLE_BOTH && c.defaults.policy.mode == MODE_REQUIRED);
	CHECK(c.defaults.policy.start == START_CLOSED &&
	      c.defaults.policy.encap == ENCAP_TRANSPORT);
	CHECK(!c.defaults.policy.udp && c.defaults.esn && c.defaults.verify);
	CHECK_U64(c.defaults.window, 1024);
	CHECK_U64(c.defaults.suites.n, 3);
	for (int i = 0; i < 3; i++)
		CHECK_STR(suite_info((enum suite)c.defaults.suites.v[i])->name, suites[i]);
	CHECK_U64(c.defaults.policy.protects, 1);
	CHECK_STR(c.defaults.policy.protect[0], "all");
	CHECK_U64(c.defaults.policy.exempts, 1);
	CHECK_STR(c.defaults.policy.exempt[0], "icmp");
	CHECK_U64(c.defaults.rekey_time_s, 3600);
	CHECK_U64(c.defaults.rekey_min_interval_ms, 1000);
	CHECK_U64(c.defaults.hard_time_s, 5400);
	CHECK_U64(c.defaults.limits.soft_packets, 0);
	CHECK_U64(c.defaults.switch_ms, 1000);
	CHECK_U64(c.defaults.drain_ms, 5000);
	config_free(&c);
}

static void a_peer_needs_its_address_alone(void)
{
	CHECK(parse("{\"peers\":[{\"address\":\"192.0.2.2\"},"
		    "{\"address\":\"[2001:db8::2]:4600\"}]}") == 0);
	CHECK_U64(c.n_peers, 2);
	CHECK_STR(c.peers[0].name, "192.0.2.2");
	ep_is(&c.peers[0].remote, "192.0.2.2:4510");
	CHECK_U64(c.peers[0].esp_port, 4510);
	CHECK_U64(c.peers[0].local.len, 0);
	CHECK(!c.peers[0].has_pin);
	CHECK_STR(c.peers[1].name, "2001:db8::2");
	CHECK_U64(c.peers[1].esp_port, 4600);
	CHECK(peer_options_change(&c.peers[0].opt, &c.defaults) == CHANGE_NONE);
	config_free(&c);
}

static void every_member_is_read(void)
{
	static const char text[] =
		"{\"name\":\"alpha\",\"listen\":[\"127.0.0.1:4600\",\"[::1]\"],"
		"\"esp_port\":4601,\"backend\":\"soft\",\"certificate\":\"a.crt\","
		"\"key\":\"a.key\",\"ca\":\"ca.crt\",\"control\":\"/tmp/s\",\"log\":\"debug\","
		"\"allow_lab\":true,\"export_keys\":true,"
		"\"peers\":[{\"name\":\"beta\",\"address\":\"127.0.0.2:4602\","
		"\"local\":\"127.0.0.1\",\"esp_port\":4603,\"pin\":\"" PIN "\","
		"\"identity\":\"beta.lab\",\"ppk\":\"beta.ppk\",\"role\":\"dial\","
		"\"mode\":\"permissive\",\"start\":\"seamless\",\"encap\":\"tunnel\","
		"\"udp\":true,\"esn\":false,\"verify\":false,\"window\":64,"
		"\"suites\":[\"aes128-sha1\",\"aes256gmac\"],"
		"\"protect\":[\"tcp/445\",\"proto/47\"],\"exempt\":[\"udp/53\"],"
		"\"rekey\":{\"time_s\":60,\"bytes\":68719476736,\"packets\":2147483648,"
		"\"min_interval_ms\":0},"
		"\"hard\":{\"time_s\":120,\"bytes\":68719476737,\"packets\":2147483649},"
		"\"switch_ms\":10,\"drain_ms\":20}]}";
	const struct peer_config *p;

	if (!CHECK(parse(text) == 0)) {
		NOTE("%s", e.cause);
		return;
	}
	p = &c.peers[0];
	CHECK_STR(c.name, "alpha");
	CHECK_U64(c.listens, 2);
	ep_is(&c.listen[0], "127.0.0.1:4600");
	ep_is(&c.listen[1], "[::1]:4510");
	CHECK_U64(c.esp_port, 4601);
	CHECK_STR(c.backend, "soft");
	CHECK_STR(c.certificate, "a.crt");
	CHECK_STR(c.key, "a.key");
	CHECK_STR(c.ca, "ca.crt");
	CHECK_STR(c.control, "/tmp/s");
	CHECK_STR(c.log, "debug");
	CHECK(c.allow_lab);
	CHECK(c.export_keys);
	CHECK_STR(p->name, "beta");
	ep_is(&p->remote, "127.0.0.2:4602");
	CHECK(p->local.len == 4 && p->local.bytes[3] == 1);
	CHECK_U64(p->esp_port, 4603);
	CHECK(p->has_pin && p->pin[0] == 0 && p->pin[31] == 31);
	CHECK_STR(p->identity, "beta.lab");
	CHECK_STR(p->ppk, "beta.ppk");
	CHECK(p->opt.role == ROLE_DIAL && p->opt.policy.mode == MODE_PERMISSIVE);
	CHECK(p->opt.policy.start == START_SEAMLESS && p->opt.policy.encap == ENCAP_TUNNEL);
	CHECK(p->opt.policy.udp && !p->opt.esn && !p->opt.verify);
	CHECK_U64(p->opt.window, 64);
	CHECK_U64(p->opt.suites.n, 2);
	CHECK(p->opt.suites.v[0] == SUITE_AES128_SHA1 && p->opt.suites.v[1] == SUITE_AES256GMAC);
	CHECK_U64(p->opt.policy.protects, 2);
	CHECK_STR(p->opt.policy.protect[1], "proto/47");
	CHECK_U64(p->opt.policy.exempts, 1);
	CHECK_STR(p->opt.policy.exempt[0], "udp/53");
	CHECK_U64(p->opt.rekey_time_s, 60);
	CHECK_U64(p->opt.limits.soft_bytes, UINT64_C(68719476736));
	CHECK_U64(p->opt.limits.soft_packets, UINT64_C(2147483648));
	CHECK_U64(p->opt.rekey_min_interval_ms, 0);
	CHECK_U64(p->opt.hard_time_s, 120);
	CHECK_U64(p->opt.limits.hard_bytes, UINT64_C(68719476737));
	CHECK_U64(p->opt.limits.hard_packets, UINT64_C(2147483649));
	CHECK_U64(p->opt.switch_ms, 10);
	CHECK_U64(p->opt.drain_ms, 20);
	config_free(&c);
}

static void defaults_apply_to_peers_listed_before_them(void)
{
	CHECK(parse("{\"peers\":[{\"address\":\"192.0.2.2\",\"rekey\":{\"bytes\":7}}],"
		    "\"defaults\":{\"drain_ms\":42,\"rekey\":{\"time_s\":30},"
		    "\"suites\":[\"aes256gmac\"],\"exempt\":[]}}") == 0);
	CHECK_U64(c.peers[0].opt.drain_ms, 42);
	CHECK_U64(c.peers[0].opt.rekey_time_s, 30);
	CHECK_U64(c.peers[0].opt.limits.soft_bytes, 7);
	CHECK_U64(c.peers[0].opt.suites.n, 1);
	CHECK_U64(c.peers[0].opt.policy.exempts, 0);
	config_free(&c);
}

static void the_esp_port_follows_the_listen_port(void)
{
	CHECK(parse("{\"listen\":\"127.0.0.1:4600\"}") == 0);
	CHECK_U64(c.listens, 1);
	CHECK_U64(c.esp_port, 4600);
	config_free(&c);
	CHECK(parse("{\"listen\":[]}") == 0);
	CHECK_U64(c.listens, 0);
	CHECK_U64(c.esp_port, 4510);
	config_free(&c);
}

/* A config with one peer at 192.0.2.1; further members of the peer follow. */
#define P1 "{\"peers\":[{\"address\":\"192.0.2.1\""
#define P2 "{\"peers\":[{\"address\":\"192.0.2.1\"},{\"address\":"

static void errors_have_line_column_and_path(void)
{
	static const struct {
		const char *text, *cause;
	} rows[] = {
		{"", "line 1, column 1: the text is empty"},
		{"{\n  \"name\": \"a\",\n}", "line 3, column 1: "},
		{"[]", "line 1, column 1: must be an object"},
		{"{\"nmae\":\"a\"}", "line 1, column 2: unknown member \"nmae\""},
		{"{\"name\":\"a\",\n\"name\":\"a\"}", "line 2, column 1: "},
		{"{\"peers\":[\n {\"name\":\"x\"}]}",
		 "line 2, column 2: peers[0].address: missing"},
		{"{\n\"peers\":[{\"address\":\"192.0.2.1\"},\n\t{\"adress\":\"192.0.2.2\"}]}",
		 "line 3, column 3: peers[1]: unknown member \"adress\""},
		{"{\"peers\":{}}", "line 1, column 10: peers: must be an array"},
		{"{\"peers\":[7]}", "line 1, column 11: peers[0]: must be an object"},
		{"{\"peers\":[{\"address\":\"beta\"}]}",
		 "line 1, column 22: peers[0].address: \"beta\" is not an IPv4 or IPv6 address"},
		{"{\"peers\":[{\"address\":7}]}",
		 "line 1, column 22: peers[0].address: must be a string"},
		{"{\"peers\":[{\"address\":\"224.0.0.1\"}]}",
		 "line 1, column 22: peers[0].address: 224.0.0.1 is not a unicast address"},
		{"{\"listen\":\"192.0.2.1\",\"peers\":[{\"address\":\"192.0.2.1\"}]}",
		 "line 1, column 43: peers[0].address: 192.0.2.1 is our own address: it is in listen"},
		{"{\"listen\":[\"::\",\"::\"]}", "line 1, column 17: listen[1]: is given twice"},
		{"{\"listen\":[\"::\",7]}", "line 1, column 17: listen[1]: must be a string"},
		{"{\"listen\":\"*:4510\"}", "line 1, column 11: listen: "},
		{"{\"esp_port\":0}",
		 "line 1, column 13: esp_port: must be a whole number between 1"},
		{"{\"log\":\"loud\"}", "line 1, column 8: log: must be \"error\", \"warn\", "},
		{"{\"name\":\"a b\"}", "line 1, column 9: name: only letters, digits and"},
		{"{\"name\":\"\"}", "line 1, column 9: name: must be 1 to 64 bytes long"},
		{"{\"defaults\":{\"window\":33}}",
		 "line 1, column 23: defaults.window: 33 is not a multiple of 32"},
		{"{\"defaults\":{\"window\":31}}", "line 1, column 23: defaults.window: must be"},
		{"{\"defaults\":{\"address\":\"::1\"}}", "line 1, column 14: defaults: unknown"},
		{P1 ",\"name\":\"192.0.2.9\"}]}",
		 "line 1, column 41: peers[0].name: 192.0.2.9 is an address, but not the one of this peer"},
		{"{\"listen\":\"fe80::1\"}", "line 1, column 11: listen: fe80::1 is a link-local"},
		{"{\"listen\":\"224.0.0.1\"}", "line 1, column 11: listen: 224.0.0.1 is not a uni"},
		{"{\"peers\":[{\"address\":\"fe80::1\"}]}",
		 "line 1, column 22: peers[0].address: fe80::1 is a link-local address"},
		{P1 ",\"local\":\"::1\"}]}", "line 1, column 42: peers[0].local: not of the same"},
		{P1 ",\"local\":\"192.0.2.1\"}]}", "line 1, column 42: peers[0].local: the same"},
		{P1 ",\"local\":\"0.0.0.0\"}]}", "line 1, column 42: peers[0].local: "},
		{P1 ",\"pin\":\"sha256:00\"}]}", "line 1, column 40: peers[0].pin: must be"},
		{P1 ",\"ppk\":\"\"}]}", "line 1, column 40: peers[0].ppk: must be 1 to"},
		{P1 ",\"role\":\"dail\"}]}", "line 1, column 41: peers[0].role: must be \"both\""},
		{P1 ",\"suites\":[]}]}", "line 1, column 43: peers[0].suites: must name at least"},
		{P1 ",\"suites\":[\"rot13\"]}]}",
		 "line 1, column 44: peers[0].suites[0]: unknown suite; known: aes256gcm16, "},
		{P1 ",\"suites\":[\"aes256gmac\",\"aes256gmac\"]}]}",
		 "line 1, column 57: peers[0].suites[1]: aes256gmac is given twice"},
		{P1 ",\"protect\":[]}]}", "line 1, column 44: peers[0].protect: must have"},
		{P1 ",\"protect\":[\"all\",\"tcp/1\"]}]}",
		 "line 1, column 44: peers[0].protect: \"all\" allows no other selector"},
		{P1 ",\"protect\":[\"tcp/0\"]}]}", "line 1, column 45: peers[0].protect[0]: must"},
		{P1 ",\"protect\":[\"tcp/01\"]}]}", "line 1, column 45: peers[0].protect[0]: "},
		{P1 ",\"protect\":[\"tcp/65536\"]}]}", "line 1, column 45: peers[0].protect[0]"},
		{P1 ",\"protect\":[\"proto/256\"]}]}", "line 1, column 45: peers[0].protect[0]"},
		{P1 ",\"protect\":[\"tcp/1\",\"tcp/1\"]}]}", "line 1, column 53: peers[0].prot"},
		{P1 ",\"protect\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}]}",
		 "line 1, column 45: peers[0].protect[0]"},
		{P1 ",\"exempt\":[\"proto/1\"]}]}", "line 1, column 44: peers[0].exempt[0]: must"},
		{P1 ",\"protect\":[\"tcp/1\"],\"exempt\":[\"tcp/1\"]}]}",
		 "line 1, column 64: peers[0].exempt[0]: tcp/1 is in protect, too"},
		{P1 ",\"rekey\":{\"time_s\":5400}}]}",
		 "line 1, column 11: peers[0].hard.time_s: 5400 is not above rekey.time_s, 5400"},
		{P1 ",\"hard\":{\"time_s\":29}}]}",
		 "line 1, column 51: peers[0].hard.time_s: must be a whole number between 30"},
		{P1 ",\"hard\":{\"packets\":9}}]}",
		 "line 1, column 52: peers[0].hard.packets: needs a smaller rekey.packets"},
		{P1 ",\"rekey\":{\"bytes\":9},\"hard\":{\"bytes\":9}}]}",
		 "line 1, column 70: peers[0].hard.bytes: 9 is not above rekey.bytes, 9"},
		{P1 ",\"rekey\":{\"bytes\":-1}}]}",
		 "line 1, column 51: peers[0].rekey.bytes: must be a whole number, 0 or more"},
		{P1 ",\"rekey\":{\"bytes\":\"9\"}}]}", "line 1, column 51: peers[0].rekey.bytes: "},
		{P1 ",\"rekey\":{\"bytes\":1.5}}]}", "line 1, column 52: only whole numbers"},
		{P1 ",\"rekey\":{\"when\":1}}]}", "line 1, column 43: peers[0].rekey: unknown mem"},
		{P1 ",\"hard\":{\"time_s\":30},\"rekey\":{\"time_s\":1,"
		    "\"min_interval_ms\":30000}}]}",
		 "line 1, column 93: peers[0].rekey.min_interval_ms: 30000 ms is not below"},
		{P2 "\"192.0.2.1\"}]}",
		 "line 1, column 46: peers[1].address: the same pair of addresses as peers[0]"},
		{P2 "\"192.0.2.1\",\"name\":\"b\"}]}",
		 "line 1, column 46: peers[1].address: the same pair of"},
		{P2 "\"192.0.2.1\",\"name\":\"b\",\"local\":\"192.0.2.9\"}]}",
		 "line 1, column 46: peers[1].address: also of peers[0]: set local in both"},
		{"{\"listen\":[],"
		 "\"peers\":[{\"address\":\"192.0.2.1\",\"role\":\"listen\"}]}",
		 "line 1, column 53: peers[0].role: \"listen\" needs an address"},
		{"{\"defaults\":{\"hard\":{\"time_s\":60}}}",
		 "line 1, column 31: defaults.hard.time_s: 60 is not above rekey.time_s, 3600"},
		{"{\"a\":[[[[[[[]]]]]]]}", "line 1, column "},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		bool right = CHECK(parse(rows[i].text) == -1);

		right = CHECK(e.code == ERR_USAGE) && right;
		right = CHECK(strncmp(e.cause, rows[i].cause, strlen(rows[i].cause)) == 0) && right;
		right = CHECK(c.peers == NULL && c.n_peers == 0) && right;
		if (!right)
			NOTE("row %zu: %s: %s", i, rows[i].text, e.cause);
		config_free(&c);
	}
}

static void one_address_may_have_two_peers_by_local_address(void)
{
	CHECK(parse("{\"peers\":[{\"name\":\"a\",\"address\":\"192.0.2.1\","
		    "\"local\":\"192.0.2.8\"},{\"name\":\"b\",\"address\":\"192.0.2.1\","
		    "\"local\":\"192.0.2.9\"}]}") == 0);
	CHECK_U64(c.n_peers, 2);
	config_free(&c);
}

static void peers_are_added_by_address(void)
{
	CHECK(config_init(&c, &e) == 0);
	c.defaults.drain_ms = 9;
	CHECK(config_add_peer(&c, "192.0.2.2", &e) == 0);
	CHECK(config_add_peer(&c, "[2001:db8::1]:99", &e) == 0);
	CHECK(config_check(&c, &e) == 0);
	CHECK_STR(c.peers[0].name, "192.0.2.2");
	CHECK_U64(c.peers[0].opt.drain_ms, 9);
	CHECK_STR(c.peers[1].name, "2001:db8::1");
	CHECK_U64(c.peers[1].esp_port, 99);
	CHECK(config_add_peer(&c, "nobody", &e) == -1);
	CHECK(e.code == ERR_USAGE);
	CHECK_U64(c.n_peers, 2);
	/* Removing a peer makes room for another. */
	c.n_peers = 1;
	CHECK(config_add_peer(&c, "192.0.2.2:99", &e) == 0);
	CHECK(config_check(&c, &e) == -1);
	CHECK_STR(e.cause, "peers[1].address: the same pair of addresses as peers[0]");
	config_free(&c);
}

static void ten_thousand_peers_are_the_maximum(void)
{
	size_t size = 60 * (CONFIG_PEERS_MAX + 2), n;
	char *text = malloc(size);

	if (!CHECK(text != NULL))
		return;
	for (unsigned over = 0; over < 2; over++) {
		n = (size_t)snprintf(text, size, "{\"peers\":[");
		for (unsigned i = 0; i < CONFIG_PEERS_MAX + over; i++)
			n += (size_t)snprintf(text + n, size - n, "%s{\"address\":\"10.0.%u.%u\"}",
					      i > 0 ? ",\n" : "", i >> 8, i & 255);
		snprintf(text + n, size - n, "]}");
		if (over == 0) {
			CHECK(parse(text) == 0);
			CHECK_U64(c.n_peers, CONFIG_PEERS_MAX);
		} else {
			CHECK(parse(text) == -1);
			CHECK_STR(e.cause, "line 1, column 10: peers: must have at most "
					   "10000 elements");
		}
		config_free(&c);
	}
	free(text);
}

static void each_member_states_the_effect_of_its_change(void)
{
	static const struct {
		const char *peer;
		enum config_change change;
	} other[] = {
		{"{\"address\":\"192.0.2.3\",\"name\":\"b\"}", CHANGE_PEER},
		{"{\"address\":\"192.0.2.2:1\",\"name\":\"b\"}", CHANGE_PEER},
		{"{\"address\":\"192.0.2.2\",\"name\":\"c\"}", CHANGE_PEER},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"local\":\"192.0.2.9\"}", CHANGE_PEER},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"esp_port\":7}", CHANGE_PEER},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"ppk\":\"p\"}", CHANGE_PEER},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"identity\":\"i\"}", CHANGE_PEER},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"role\":\"dial\"}", CHANGE_PEER},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"mode\":\"permissive\"}", CHANGE_PEER},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"esn\":false}", CHANGE_REKEY},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"window\":64}", CHANGE_REKEY},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"suites\":[\"aes256gcm16\"]}",
		 CHANGE_REKEY},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"protect\":[\"tcp/1\"]}", CHANGE_PEER},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"exempt\":[\"tcp/1\"]}", CHANGE_PEER},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"rekey\":{\"time_s\":7}}",
		 CHANGE_REKEY},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"rekey\":{\"packets\":7}}",
		 CHANGE_REKEY},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"drain_ms\":7}", CHANGE_REKEY},
		{"{\"address\":\"192.0.2.2\",\"name\":\"b\",\"pin\":\"" PIN "\"}", CHANGE_PEER},
	};
	struct config first;
	char text[400];

	CHECK(parse("{\"peers\":[{\"name\":\"b\",\"address\":\"192.0.2.2\"}]}") == 0);
	first = c;
	CHECK(parse("{\"peers\":[{\"address\":\"192.0.2.2\",\"esn\":true,\"name\":\"b\"}]}") == 0);
	CHECK(peer_config_change(&first.peers[0], &c.peers[0]) == CHANGE_NONE);
	config_free(&c);
	for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
		snprintf(text, sizeof text, "{\"peers\":[%s]}", other[i].peer);
		if (!CHECK(parse(text) == 0)) {
			NOTE("%s", e.cause);
			continue;
		}
		if (!CHECK(peer_config_change(&first.peers[0], &c.peers[0]) == other[i].change))
			NOTE("%s", other[i].peer);
		config_free(&c);
	}
	config_free(&first);
}

static void the_first_member_that_needs_a_restart_is_named(void)
{
	static const char *const rows[][2] = {
		{"{\"listen\":[\"[::]:4510\",\"0.0.0.0:4510\"],\"esp_port\":4510}", NULL},
		{"{\"listen\":\"[::]:4510\"}", "listen"},
		{"{\"listen\":[\"[::]:4510\",\"0.0.0.0:4511\"]}", "listen"},
		{"{\"esp_port\":4511}", "esp_port"},
		{"{\"backend\":\"soft\"}", "backend"},
		{"{\"control\":\"c.sock\"}", "control"},
		{"{\"log\":\"debug\",\"name\":\"a\",\"key\":\"k\",\"export_keys\":true}", NULL},
	};
	struct config first;

	CHECK(parse("{}") == 0);
	first = c;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *member;

		if (!CHECK(parse(rows[i][0]) == 0))
			continue;
		member = config_restart_member(&first, &c);
		CHECK_STR(member != NULL ? member : "", rows[i][1] != NULL ? rows[i][1] : "");
		config_free(&c);
	}
	config_free(&first);
}

static void options_are_written_as_they_are_read(void)
{
	struct peer_options o, again;
	char text[2000], more[2000];
	struct json_doc *doc;
	struct json_out out;

	CHECK(config_default_options(&o, &e) == 0);
	o.window = 64;
	o.role = ROLE_LISTEN;
	o.limits.hard_bytes = 9;
	for (int i = 0; i < 2; i++) {
		json_begin(&out, text, sizeof text);
		json_put_open(&out, NULL);
		config_put_options(&out, &o);
		json_put_close(&out);
		CHECK(json_end(&out) > 0);
		if (i == 1)
			break;
		memcpy(more, text, sizeof more);
		CHECK(config_default_options(&again, &e) == 0);
		CHECK(peer_options_change(&o, &again) == CHANGE_PEER);
		if (!CHECK(json_open(&doc, text, strlen(text), 6, &e) == 0))
			return;
		CHECK(config_get_options(&again, json_root(doc), &e) == 0);
		json_close(doc);
		CHECK(peer_options_change(&o, &again) == CHANGE_NONE);
		o = again;
	}
	CHECK_STR(text, more);
}

static void a_policy_blocks_protected_traffic_that_is_not_exempt(void)
{
	static const struct {
		const char *options;
		bool stops;
	} some[] = {
		{"\"esn\":true", true},
		{"\"exempt\":[\"icmp\",\"tcp/22\"]", false},
		{"\"exempt\":[\"tcp/220\",\"udp/22\"]", true},
		{"\"exempt\":[]", true},
		{"\"mode\":\"permissive\"", false},
		{"\"protect\":[\"tcp/445\"]", false},
		{"\"protect\":[\"tcp/445\",\"tcp/22\"]", true},
	};
	char text[200];

	for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
		snprintf(text, sizeof text, "{\"peers\":[{\"address\":\"192.0.2.2\",%s}]}",
			 some[i].options);
		if (!CHECK(parse(text) == 0))
			continue;
		if (!CHECK(config_stops(&c.peers[0].opt, "tcp/22") == some[i].stops))
			NOTE("%s", some[i].options);
		config_free(&c);
	}
}

T_MAIN(T(an_empty_config_has_every_default), T(a_peer_needs_its_address_alone),
       T(every_member_is_read), T(defaults_apply_to_peers_listed_before_them),
       T(the_esp_port_follows_the_listen_port), T(errors_have_line_column_and_path),
       T(one_address_may_have_two_peers_by_local_address), T(peers_are_added_by_address),
       T(ten_thousand_peers_are_the_maximum), T(each_member_states_the_effect_of_its_change),
       T(the_first_member_that_needs_a_restart_is_named), T(options_are_written_as_they_are_read),
       T(a_policy_blocks_protected_traffic_that_is_not_exempt))
