/*
 * proto/exchange/election: both hosts elect the same link; equal hellos mean that both have the same
 * pair in force; a refusal names the difference and its side.
 */
#include "proto/exchange/election.h"
#include "tests/t.h"

static const uint8_t small[PIN_LEN] = {1}, great[PIN_LEN] = {2};

static void both_hosts_elect_the_link_dialled_by_the_smaller_identity(void)
{
	/* the old link is dialled by the smaller identity, the new one by the greater */
	CHECK(election_of(small, great, true, false, true) == ELECT_OLD);
	CHECK(election_of(great, small, false, true, true) == ELECT_OLD);
	/* the reverse */
	CHECK(election_of(small, great, false, true, true) == ELECT_NEW);
	CHECK(election_of(great, small, true, false, true) == ELECT_NEW);
}

static void of_two_links_dialled_by_one_host_the_newer_is_kept(void)
{
	CHECK(election_of(small, great, true, true, true) == ELECT_NEW);
	CHECK(election_of(small, great, false, false, true) == ELECT_NEW);
	CHECK(election_of(great, small, true, true, true) == ELECT_NEW);
}

static void a_peer_that_was_restarted_replaces_any_link(void)
{
	for (int i = 0; i < 4; i++)
		CHECK(election_of(small, great, i & 1, i & 2, false) == ELECT_NEW);
}

/* ---- hello ----------------------------------------------------------------------------- */

static struct hello_own own;
static struct msg_hello peer;
static struct pair_state current;
static enum fault fault;
static struct err e;

/* Two hosts that have the same pair in force. */
static void reset(void)
{
	struct msg_hello *h = &own.sent;

	memset(&own, 0, sizeof own);
	memset(&e, 0, sizeof e);
	h->version = 1;
	h->instance[0] = 1;
	addr_parse(&h->local, "192.0.2.1", NULL);
	addr_parse(&h->remote, "192.0.2.2", NULL);
	h->protects = 2;
	strcpy(h->protect[0], "tcp/445");
	strcpy(h->protect[1], "udp/53");
	h->epoch = h->last = 5;
	h->in.n = 0x1001;
	h->out.n = 0x2002;
	peer = *h;
	peer.instance[0] = 2;
	peer.local = h->remote;
	peer.remote = h->local;
	peer.in = h->out;
	peer.out = h->in;
	current = (struct pair_state){.epoch = 5, .in = h->in, .out = h->out};
}

static enum hello_verdict compare(void)
{
	return hello_compare(&own, &current, &peer, &fault, &e);
}

static void equal_pairs_need_nothing(void)
{
	reset();
	CHECK(compare() == HELLO_EQUAL);
	CHECK(fault == FAULT_NONE && e.code == ERR_NONE);
	peer.mode = MODE_PERMISSIVE; /* informative */
	strcpy(peer.name, "beta");
	strcpy(peer.agent, "sapair/9");
	CHECK(compare() == HELLO_EQUAL);
}

static void any_difference_of_the_pairs_needs_a_new_exchange(void)
{
	reset();
	peer.epoch = peer.last = 6;
	CHECK(compare() == HELLO_DIFFERS);
	reset();
	peer.in.n++;
	CHECK(compare() == HELLO_DIFFERS);
	reset();
	peer.out.n++;
	CHECK(compare() == HELLO_DIFFERS);
	reset();
	current.epoch = 4;
	CHECK(compare() == HELLO_DIFFERS);
	reset();
	peer.epoch = peer.last = 0;
	peer.in.n = peer.out.n = 0;
	CHECK(compare() == HELLO_DIFFERS); /* the peer was restarted */
	current = (struct pair_state){0};
	own.sent.epoch = own.sent.last = 0;
	CHECK(compare() == HELLO_DIFFERS); /* neither has a pair in force */
}

static void an_exchange_that_ended_early_needs_a_new_one(void)
{
	reset();
	own.sent.last = 6;
	CHECK(compare() == HELLO_DIFFERS);
	reset();
	peer.last = 6;
	CHECK(compare() == HELLO_DIFFERS);
	reset();
	own.sent.last = peer.last = 6;
	CHECK(compare() == HELLO_DIFFERS); /* one of them may still have an SA of it */
}

static void the_present_pair_is_compared_not_that_of_our_hello(void)
{
	reset();
	own.sent.epoch = 4; /* sent before an exchange on another link */
	own.sent.in.n = own.sent.out.n = 0x999;
	CHECK(compare() == HELLO_EQUAL);
}

static void differences_of_the_configs_are_refused_with_both_sides(void)
{
	static const struct {
		const char *change;
		enum fault fault;
		enum err_code code;
		const char *why;
	} rows[] = {
		{"version", FAULT_VERSION, ERR_REFUSED, "protocol version 1 here, 2 at the peer"},
		{"instance", FAULT_PROTOCOL, ERR_REFUSED, "received our own hello"},
		{"local", FAULT_ADDRESS, ERR_REFUSED,
		 "the peer's address is 198.51.100.7 according to the peer, but 192.0.2.2 according to our config"},
		{"remote", FAULT_ADDRESS, ERR_REFUSED,
		 "our address is 198.51.100.7 according to the peer, but 192.0.2.1 according to our config"},
		{"encap", FAULT_POLICY, ERR_REFUSED, "encap: transport here, tunnel at the peer"},
		{"udp", FAULT_POLICY, ERR_REFUSED, "ESP in UDP: off here, on at the peer"},
		{"protect more", FAULT_POLICY, ERR_REFUSED,
		 "protect: \"tcp/80\" at the peer, but not here"},
		{"protect less", FAULT_POLICY, ERR_REFUSED,
		 "protect: \"udp/53\" here, but not at the peer"},
		{"ppk here", FAULT_PPK, ERR_AUTH, "a PPK is configured here, but not at the peer"},
		{"ppk there", FAULT_PPK, ERR_AUTH, "a PPK is configured at the peer, but not here"},
		{"ppk differs", FAULT_PPK, ERR_AUTH, "the two hosts have different PPKs"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *c = rows[i].change;
		bool ok;

		reset();
		if (strcmp(c, "version") == 0)
			peer.version = 2;
		else if (strcmp(c, "instance") == 0)
			peer.instance[0] = 1;
		else if (strcmp(c, "local") == 0)
			addr_parse(&peer.local, "198.51.100.7", NULL);
		else if (strcmp(c, "remote") == 0)
			addr_parse(&peer.remote, "198.51.100.7", NULL);
		else if (strcmp(c, "encap") == 0)
			peer.encap = ENCAP_TUNNEL;
		else if (strcmp(c, "udp") == 0)
			peer.udp = true;
		else if (strcmp(c, "protect more") == 0)
			strcpy(peer.protect[peer.protects++], "tcp/80");
		else if (strcmp(c, "protect less") == 0)
			peer.protects--;
		else if (strcmp(c, "ppk there") == 0)
			peer.has_ppk = true;
		else
			own.has_ppk = true;
		if (strcmp(c, "ppk differs") == 0) {
			peer.has_ppk = true;
			peer.ppk_check[31] = 1;
		}
		ok = CHECK(compare() == HELLO_REFUSED);
		ok = CHECK_STR(fault_word(fault), fault_word(rows[i].fault)) && ok;
		ok = CHECK(e.code == rows[i].code) && ok;
		ok = CHECK_STR(e.cause, rows[i].why) && ok;
		if (!ok)
			NOTE("%s", c);
	}
}

static void selectors_are_a_set_and_a_good_ppk_passes(void)
{
	reset();
	strcpy(peer.protect[0], "udp/53");
	strcpy(peer.protect[1], "tcp/445");
	own.has_ppk = peer.has_ppk = true;
	own.peer_check[3] = peer.ppk_check[3] = 9;
	CHECK(compare() == HELLO_EQUAL);
}

T_MAIN(T(both_hosts_elect_the_link_dialled_by_the_smaller_identity),
       T(of_two_links_dialled_by_one_host_the_newer_is_kept),
       T(a_peer_that_was_restarted_replaces_any_link), T(equal_pairs_need_nothing),
       T(any_difference_of_the_pairs_needs_a_new_exchange),
       T(an_exchange_that_ended_early_needs_a_new_one),
       T(the_present_pair_is_compared_not_that_of_our_hello),
       T(differences_of_the_configs_are_refused_with_both_sides),
       T(selectors_are_a_set_and_a_good_ppk_passes))
