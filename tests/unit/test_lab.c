/* proto/config/lab and bundle: pairs from names and groups, precedence of options, errors with line,
 * column and path; written configs and bundles are read back. */
#include "proto/config/bundle.h"

#include <stdlib.h>

#include "proto/json/encode.h"
#include "tests/t.h"

#define HOSTS                                                    \
	"\"hosts\":[{\"name\":\"a\",\"address\":\"192.0.2.1\"}," \
	"{\"name\":\"b\",\"address\":\"192.0.2.2:4600\"},"       \
	"{\"name\":\"c\",\"address\":[\"192.0.2.3\",\"2001:db8::3\"]}]"

static struct lab lab;
static struct err e;

static int parse(const char *text)
{
	e = (struct err){0};
	return lab_parse(&lab, text, strlen(text), &e);
}

static void without_pairs_all_hosts_are_paired(void)
{
	if (!CHECK(parse("{" HOSTS "}") == 0)) {
		NOTE("%s", e.cause);
		return;
	}
	CHECK_STR(lab.name, "lab");
	CHECK_STR(lab.backend, "auto");
	CHECK_U64(lab.n_hosts, 3);
	CHECK_U64(lab.n_pairs, 3);
	CHECK(lab_find_pair(&lab, 0, 1) != NULL && lab_find_pair(&lab, 2, 0) != NULL);
	CHECK(lab_find_pair(&lab, 2, 0) == lab_find_pair(&lab, 0, 2));
	CHECK_U64(lab_find_host(&lab, "c"), 2);
	CHECK(lab_find_host(&lab, "d") == SIZE_MAX);
	lab_free(&lab);
}

static void groups_make_stars_and_meshes(void)
{
	CHECK(parse("{" HOSTS ",\"groups\":[{\"name\":\"leaves\",\"hosts\":[\"b\",\"c\"]}],"
		    "\"pairs\":[[\"a\",\"leaves\"]]}") == 0);
	CHECK_U64(lab.n_pairs, 2);
	CHECK(lab_find_pair(&lab, 1, 2) == NULL);
	lab_free(&lab);
	CHECK(parse("{" HOSTS ",\"groups\":[{\"name\":\"leaves\",\"hosts\":[\"b\",\"c\"]}],"
		    "\"pairs\":[[\"leaves\"]]}") == 0);
	CHECK_U64(lab.n_pairs, 1);
	CHECK(lab_find_pair(&lab, 1, 2) != NULL);
	lab_free(&lab);
	/* A host on both sides is not paired with itself. */
	CHECK(parse("{" HOSTS ",\"pairs\":[[\"a\",\"all\"]]}") == 0);
	CHECK_U64(lab.n_pairs, 2);
	lab_free(&lab);
}

static void options_of_a_pair_override_those_of_host_and_lab(void)
{
	const struct lab_pair *p;

	CHECK(parse("{\"options\":{\"window\":64,\"drain_ms\":7,\"rekey\":{\"time_s\":60}},\"hosts\":["
		    "{\"name\":\"a\",\"address\":\"192.0.2.1\",\"options\":{\"window\":128}},"
		    "{\"name\":\"b\",\"address\":\"192.0.2.2\"}],"
		    "\"pairs\":[[\"all\"],{\"between\":[\"b\",\"a\"],\"options\":{\"drain_ms\":9,"
		    "\"rekey\":{\"bytes\":5}}}]}") == 0);
	if (!CHECK(lab.n_pairs == 1))
		return;
	p = lab.pairs;
	CHECK(p->a == 0 && p->b == 1);
	CHECK_U64(p->opt_a.window, 128);
	CHECK_U64(p->opt_b.window, 64);
	CHECK_U64(p->opt_a.drain_ms, 9);
	CHECK_U64(p->opt_b.drain_ms, 9);
	CHECK_U64(p->opt_a.rekey_time_s, 60);
	CHECK_U64(p->opt_a.limits.soft_bytes, 5);
	lab_free(&lab);
}

static void addresses_of_a_pair_have_the_same_family(void)
{
	CHECK(parse("{\"hosts\":[{\"name\":\"a\",\"address\":\"2001:db8::1\"},"
		    "{\"name\":\"b\",\"address\":[\"192.0.2.2\",\"2001:db8::2\"]}]}") == 0);
	if (CHECK(lab.n_pairs == 1))
		CHECK(lab.pairs[0].at_a == 0 && lab.pairs[0].at_b == 1);
	lab_free(&lab);
}

static void errors_have_line_column_and_path(void)
{
	static const struct {
		const char *text, *cause;
	} bad[] = {
		{"[]", "line 1, column 1: "},
		{"{}", "line 1, column 1: hosts: missing"},
		{"{\n \"host\": []}", "line 2, column 2: unknown member \"host\""},
		{"{\"hosts\":[{\"name\":\"a\",\"address\":\"192.0.2.1\"}]}",
		 "hosts: a lab needs at least two hosts"},
		{"{\"hosts\":[{\"name\":\"a\",\"address\":\"192.0.2.1\"},\n"
		 "{\"name\":\"a\",\"address\":\"192.0.2.2\"}]}",
		 "line 2, column 9: hosts[1].name: a is also the name of hosts[0]"},
		{"{\"hosts\":[{\"name\":\"a\",\"address\":\"192.0.2.1\"},\n"
		 "{\"name\":\"b\",\"address\":\"192.0.2.1\"}]}",
		 "line 2, column 23: hosts[1].address: 192.0.2.1 is also an address of hosts[0], a"},
		{"{\"hosts\":[{\"name\":\"-x\",\"address\":\"192.0.2.1\"}]}", "hosts[0].name: "},
		{"{\"hosts\":[{\"name\":\"a/b\",\"address\":\"192.0.2.1\"}]}", "hosts[0].name: "},
		{"{\"hosts\":[{\"name\":\"a\",\"address\":\"192.0.2.1\",\"ssh\":\"-oX\"}]}",
		 "hosts[0].ssh: "},
		{"{\"hosts\":[{\"name\":\"a\",\"address\":\"224.0.0.1\"}]}",
		 "224.0.0.1 is not a unicast address"},
		{"{" HOSTS ",\"pairs\":[[\"a\",\n\"d\"]]}",
		 "line 2, column 1: pairs[0][1]: there is no host or group \"d\""},
		{"{" HOSTS ",\"pairs\":[[\"a\",\"a\"]]}",
		 "pairs[0]: must contain two different hosts"},
		{"{" HOSTS ",\"pairs\":[[]]}", "pairs[0]: must name two hosts"},
		{"{" HOSTS ",\"pairs\":[]}", "pairs: a lab needs at least one pair"},
		{"{" HOSTS ",\"pairs\":\"some\"}", "pairs: must be \"all\" or a list"},
		{"{" HOSTS ",\"groups\":[{\"name\":\"a\",\"hosts\":[]}]}",
		 "groups[0].name: a host or group is already named a"},
		{"{" HOSTS ",\"groups\":[{\"name\":\"g\",\"hosts\":[\"x\"]}]}",
		 "groups[0].hosts[0]: there is no host \"x\""},
		{"{\"options\":{\"window\":33}," HOSTS "}", "options.window: 33 is not a multiple"},
		{"{" HOSTS
		 ",\"pairs\":[{\"between\":[\"a\",\"b\"],\"options\":{\"hard\":{\"time_s\":30}}}]}",
		 "pairs[0].options.hard.time_s: 30 is not above"},
		{"{\"hosts\":[{\"name\":\"a\",\"address\":\"192.0.2.1\"},"
		 "{\"name\":\"b\",\"address\":\"2001:db8::2\"}]}",
		 "pairs: a and b have no addresses of the same family"},
		{"{\"hosts\":[{\"name\":\"a\",\"address\":\"192.0.2.1\",\"options\":{\"udp\":true}},"
		 "{\"name\":\"b\",\"address\":\"192.0.2.2\"}]}",
		 "pairs: a and b do not agree on udp"},
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		bool refused = CHECK(parse(bad[i].text) < 0);

		if (!refused)
			lab_free(&lab);
		if (!refused || !CHECK(strstr(e.cause, bad[i].cause) != NULL) ||
		    !CHECK(e.code == ERR_USAGE) || !CHECK(strncmp(e.cause, "line ", 5) == 0))
			NOTE("%s: %s", bad[i].text, e.cause);
	}
}

/* ---- configs and bundles --------------------------------------------------------------- */

static char text[65536];

static void each_host_gets_a_config_that_is_read_back(void)
{
	struct json_out o;
	struct config c;
	size_t n;

	CHECK(parse("{\"backend\":\"soft\"," HOSTS ",\"options\":{\"suites\":[\"aes128gcm16\"]},"
		    "\"pairs\":[[\"all\"],{\"between\":[\"a\",\"b\"],\"options\":{\"window\":96}}]}") ==
	      0);
	json_begin(&o, text, sizeof text);
	lab_put_config(&o, NULL, &lab, 0);
	n = json_end(&o);
	CHECK(n > 0 && n < lab_config_room(&lab, 0));
	e = (struct err){0};
	if (!CHECK(config_parse(&c, text, n, &e) == 0)) {
		NOTE("%s", e.cause);
		return;
	}
	CHECK_STR(c.name, "a");
	CHECK_STR(c.backend, "soft");
	CHECK(c.allow_lab);
	CHECK_U64(c.n_peers, 2);
	for (size_t i = 0; i < c.n_peers; i++) {
		bool b = strcmp(c.peers[i].name, "b") == 0;

		CHECK_STR(c.peers[i].identity, c.peers[i].name);
		CHECK_U64(c.peers[i].remote.port, b ? 4600 : 4510);
		CHECK_U64(c.peers[i].esp_port, b ? 4600 : 4510);
		CHECK_U64(c.peers[i].opt.window, b ? 96 : 1024);
		CHECK(peer_options_change(&c.peers[i].opt,
					  &lab_find_pair(&lab, 0, b ? 1 : 2)->opt_a) ==
		      CHANGE_NONE);
	}
	config_free(&c);
	lab_free(&lab);
}

static void a_bundle_is_read_back(void)
{
	static struct pem_pair own = {"-----BEGIN CERTIFICATE-----\nAA\n", "-----BEGIN KEY-----\n"};
	static const uint8_t source[SHA256_LEN] = {1, 2, 3};
	static struct bundle b;
	size_t n;

	CHECK(parse("{" HOSTS "}") == 0);
	n = bundle_write(text, sizeof text, &lab, 1, source, &own, "-----BEGIN CA-----\n");
	CHECK(n > 0 && n < bundle_room(&lab, 1));
	e = (struct err){0};
	if (!CHECK(bundle_parse(&b, text, n, &e) == 0)) {
		NOTE("%s", e.cause);
		return;
	}
	CHECK_STR(b.lab, "lab");
	CHECK_STR(b.host, "b");
	CHECK_MEM(b.source, source, SHA256_LEN);
	CHECK_STR(b.cert, own.cert);
	CHECK_STR(b.key, own.key);
	CHECK_STR(b.ca, "-----BEGIN CA-----\n");
	CHECK_U64(b.cfg.n_peers, 2);
	bundle_wipe(&b);
	/* A truncated bundle is refused, and nothing of it is kept. */
	for (size_t cut = 0; cut < n; cut += 7)
		CHECK(bundle_parse(&b, text, cut, &e) < 0 && b.key[0] == '\0');
	CHECK(bundle_parse(&b, "{\"schema\":\"sapair.bundle/2\"}", 28, &e) < 0);
	lab_free(&lab);
}

T_MAIN(T(without_pairs_all_hosts_are_paired), T(groups_make_stars_and_meshes),
       T(options_of_a_pair_override_those_of_host_and_lab),
       T(addresses_of_a_pair_have_the_same_family), T(errors_have_line_column_and_path),
       T(each_host_gets_a_config_that_is_read_back), T(a_bundle_is_read_back))
