/*
 * agent/ipsec: two soft back ends on one loop, 127.0.0.1 and 127.0.0.2 (or ::1 twice), and a bare
 * UDP socket of another program between them.
 *
 *     a  127.0.0.1:port_a  <---- ESP in UDP ---->  127.0.0.2:port_b  b
 */
#include "agent/ipsec/ipsec.h"
#include "crypto/random.h"
#include "tests/t.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#define EVENTS_MAX 64

/* One host: what it was told, and whether that came from within a call. */
struct side {
	struct ipsec *db;
	struct policy policy;
	struct {
		enum ipsec_event_kind kind;
		enum ipsec_part part;
		enum rekey_reason reason;
		struct ipsec_ctx ctx;
		void *owner;
		size_t n;
		char text[256]; /* or the payload */
	} events[EVENTS_MAX];
	size_t n_events;
	void (*on_datagram)(struct side *s);
};

static uv_loop_t loop;
static bool in_a_call;
static struct side a, b;
static struct err e;

static void on_event(void *arg, const struct ipsec_event *ev)
{
	struct side *s = arg;
	size_t i = s->n_events;

	CHECK(!in_a_call);
	if (!CHECK(i < EVENTS_MAX))
		return;
	s->n_events++;
	s->events[i].kind = ev->kind;
	s->events[i].part = ev->part;
	s->events[i].reason = ev->reason;
	s->events[i].ctx = ev->ctx;
	s->events[i].owner = ev->owner;
	s->events[i].n = ev->n;
	s->events[i].text[0] = '\0';
	if (ev->data != NULL && ev->n < sizeof s->events[i].text) {
		memcpy(s->events[i].text, ev->data, ev->n);
		s->events[i].text[ev->n] = '\0';
	} else if (ev->text != NULL) {
		snprintf(s->events[i].text, sizeof s->events[i].text, "%s", ev->text);
	}
	if (ev->kind == IPSEC_EV_DATAGRAM && s->on_datagram != NULL)
		s->on_datagram(s);
}

/* Calls into the back end are marked, so that an event from within one is noticed. */
static int marked(int result)
{
	in_a_call = false;
	return result;
}
#define CALL(call) (in_a_call = true, memset(&e, 0, sizeof e), marked(call))

static uint16_t free_port(const char *address)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t n = sizeof sa;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	CHECK(inet_pton(AF_INET, address, &sa.sin_addr) == 1);
	CHECK(bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&sa, &n) == 0);
	close(fd);
	return ntohs(sa.sin_port);
}

static void open_side(struct side *s, const char *name, const char *local, const char *remote)
{
	const struct ipsec_env env = {.loop = &loop, .on_event = on_event, .arg = s};

	memset(s, 0, sizeof *s);
	CHECK(ipsec_open(&s->db, "soft", &env, &e) == 0);
	snprintf(s->policy.peer, sizeof s->policy.peer, "%s", name);
	s->policy.owner = s;
	CHECK(addr_parse(&s->policy.local, local, &e) == 0);
	CHECK(addr_parse(&s->policy.remote, remote, &e) == 0);
}

static void open_both(void)
{
	CHECK(uv_loop_init(&loop) == 0);
	open_side(&a, "beta", "127.0.0.1", "127.0.0.2");
	open_side(&b, "alpha", "127.0.0.2", "127.0.0.1");
	a.policy.local_esp_port = b.policy.remote_esp_port = free_port("127.0.0.1");
	b.policy.local_esp_port = a.policy.remote_esp_port = free_port("127.0.0.2");
}

static void add_both(void)
{
	CHECK(CALL(ipsec_policy_add(a.db, &a.policy, &e)) == 0);
	CHECK(CALL(ipsec_policy_add(b.db, &b.policy, &e)) == 0);
}

static void close_both(void)
{
	ipsec_close(a.db);
	ipsec_close(b.db);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&loop) == 0);
}

/* Runs the loop until side s has n events; never longer than three seconds. */
static bool wait_events(struct side *s, size_t n)
{
	const uint64_t end_ns = uv_hrtime() + UINT64_C(3000000000);

	while (s->n_events < n && uv_hrtime() < end_ns)
		if (uv_run(&loop, UV_RUN_NOWAIT) == 0 && s->n_events < n)
			break;
	return s->n_events >= n;
}

/* What arrived meanwhile; for "nothing comes": a packet on loopback is there at once. */
static void settle(void)
{
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
}

static struct sa_keys fresh_keys(struct spi spi, enum suite suite, bool esn)
{
	struct sa_keys k = {.spi = spi, .suite = suite, .window = 64, .esn = esn};

	random_secret(&k.key, suite_key_len(suite));
	return k;
}

struct pair_of_sides {
	struct ipsec_ctx a, b;
	struct spi a_in, b_in;
	struct sa_keys to_a, to_b;
};

static struct pair_of_sides reserve_both(enum suite suite, bool esn)
{
	struct pair_of_sides p;

	CHECK(CALL(ipsec_reserve(a.db, &a.policy, &p.a, &p.a_in, &e)) == 0);
	CHECK(CALL(ipsec_reserve(b.db, &b.policy, &p.b, &p.b_in, &e)) == 0);
	CHECK(spi_usable(p.a_in) && spi_usable(p.b_in));
	p.to_a = fresh_keys(p.a_in, suite, esn);
	p.to_b = fresh_keys(p.b_in, suite, esn);
	return p;
}

static struct pair_of_sides pair_up(enum suite suite, bool esn)
{
	struct pair_of_sides p = reserve_both(suite, esn);

	CHECK(CALL(ipsec_install(b.db, p.b, &p.to_b, &p.to_a, &e)) == 0);
	CHECK(CALL(ipsec_install(a.db, p.a, &p.to_a, &p.to_b, &e)) == 0);
	CHECK(CALL(ipsec_activate(a.db, p.a, &p.to_b, &e)) == 0);
	CHECK(CALL(ipsec_activate(b.db, p.b, &p.to_a, &e)) == 0);
	return p;
}

static int send_text(struct side *s, const char *text)
{
	return CALL(ipsec_send(s->db, &s->policy, (const uint8_t *)text, strlen(text), &e));
}

static struct sa_counts counts_of(struct side *s, struct ipsec_ctx ctx, enum ipsec_part part)
{
	struct sa_counts c;

	CHECK(CALL(ipsec_query(s->db, ctx, part, &c, &e)) == 0);
	return c;
}

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static void crypto_starts(void)
{
	CHECK(crypto_start());
}

static void every_suite_carries_a_payload_both_ways(void)
{
	open_both();
	add_both();
	for (unsigned s = 0; s < SUITE_COUNT; s++) {
		struct pair_of_sides p = pair_up((enum suite)s, s % 2 == 0);
		struct sa_counts out, in;

		a.n_events = b.n_events = 0;
		CHECK(send_text(&a, "to b") == 0 && send_text(&a, "once more") == 0);
		CHECK(send_text(&b, "") == 0);
		if (!CHECK(wait_events(&b, 2) && wait_events(&a, 1)))
			NOTE("%s", suite_info((enum suite)s)->name);
		CHECK(b.events[0].kind == IPSEC_EV_DATAGRAM && b.events[0].part == IPSEC_INBOUND);
		CHECK(b.events[0].owner == &b && b.events[0].ctx.id == p.b.id);
		CHECK_STR(b.events[0].text, "to b");
		CHECK_STR(b.events[1].text, "once more");
		CHECK_U64(a.events[0].n, 0);

		out = counts_of(&a, p.a, IPSEC_OUTBOUND);
		in = counts_of(&b, p.b, IPSEC_INBOUND);
		CHECK_U64(out.packets, 2);
		CHECK_U64(out.bytes, 8 + 4 + 8 + 9);
		CHECK(in.packets == out.packets && in.bytes == out.bytes);
		CHECK(in.known == (IPSEC_KNOWS_PACKETS | IPSEC_KNOWS_BYTES | IPSEC_KNOWS_REPLAY |
				   IPSEC_KNOWS_INTEGRITY));
		CHECK(out.known == (IPSEC_KNOWS_PACKETS | IPSEC_KNOWS_BYTES));
	}
	close_both();
}

static void ipv6_carries_a_payload(void)
{
	CHECK(uv_loop_init(&loop) == 0);
	open_side(&a, "beta", "::1", "::1");
	open_side(&b, "alpha", "::1", "::1");
	a.policy.local_esp_port = b.policy.remote_esp_port = free_port("127.0.0.1");
	b.policy.local_esp_port = a.policy.remote_esp_port = free_port("127.0.0.1");
	if (CALL(ipsec_policy_add(a.db, &a.policy, &e)) < 0) {
		SKIP("no IPv6 here");
	} else {
		CHECK(CALL(ipsec_policy_add(b.db, &b.policy, &e)) == 0);
		pair_up(SUITE_AES256GCM16, true);
		CHECK(send_text(&a, "odd") == 0 && wait_events(&b, 1));
		CHECK_STR(b.events[0].text, "odd");
	}
	close_both();
}

static void an_outbound_sa_waits_for_its_activation(void)
{
	struct pair_of_sides p, q;

	open_both();
	add_both();
	p = reserve_both(SUITE_AES256GCM16, true);
	CHECK(CALL(ipsec_install(a.db, p.a, &p.to_a, &p.to_b, &e)) == 0);
	CHECK(CALL(ipsec_install(b.db, p.b, &p.to_b, &p.to_a, &e)) == 0);
	CHECK(send_text(&a, "x") < 0 && e.code == ERR_DOWN);
	CHECK(CALL(ipsec_activate(a.db, p.a, &p.to_b, &e)) == 0);
	q = reserve_both(SUITE_AES256GCM16, true);
	CHECK(CALL(ipsec_install(a.db, q.a, &q.to_a, &q.to_b, &e)) == 0);
	CHECK(CALL(ipsec_install(b.db, q.b, &q.to_b, &q.to_a, &e)) == 0);
	CHECK(send_text(&a, "on the first") == 0 && wait_events(&b, 1));
	CHECK_U64(b.events[0].ctx.id, p.b.id);
	CHECK(CALL(ipsec_activate(a.db, q.a, &q.to_b, &e)) == 0);
	CHECK(send_text(&a, "on the second") == 0 && wait_events(&b, 2));
	CHECK_U64(b.events[1].ctx.id, q.b.id);
	/* One that only waits does not take the place of the active one that is removed. */
	p = reserve_both(SUITE_AES256GCM16, true);
	CHECK(CALL(ipsec_install(a.db, p.a, &p.to_a, &p.to_b, &e)) == 0);
	CHECK(CALL(ipsec_remove(a.db, q.a, IPSEC_OUTBOUND, &e)) == 0);
	CHECK(send_text(&a, "x") == 0);
	close_both();
}

static void a_wrong_order_of_calls_is_our_bug(void)
{
	struct pair_of_sides p, q;
	struct ipsec_ctx ctx = {0}, unknown = {UINT64_C(77) << 32 | 0x10000};
	struct sa_keys k;
	struct spi spi;

#define REFUSED(call, words)                                \
	do {                                                \
		CHECK(CALL(call) < 0);                      \
		CHECK(e.code == ERR_BUG);                   \
		if (!CHECK(strstr(e.cause, words) != NULL)) \
			NOTE("cause: %s", e.cause);         \
	} while (0)
	open_both();
	REFUSED(ipsec_reserve(a.db, &a.policy, &ctx, &spi, &e), "no policy was added");
	REFUSED(ipsec_policy_remove(a.db, &a.policy, &e), "no policy was added");
	REFUSED(ipsec_send(a.db, &a.policy, (const uint8_t *)"", 0, &e), "no policy was added");
	add_both();
	REFUSED(ipsec_policy_add(a.db, &a.policy, &e), "policy added twice");

	p = reserve_both(SUITE_AES256GCM16, true);
	REFUSED(ipsec_activate(a.db, p.a, &p.to_b, &e), "no outbound SA to activate");
	REFUSED(ipsec_install(a.db, (struct ipsec_ctx){0}, &p.to_a, &p.to_b, &e), "reserve first");
	REFUSED(ipsec_activate(a.db, (struct ipsec_ctx){0}, &p.to_b, &e), "reserve first");
	REFUSED(ipsec_install(a.db, unknown, &p.to_a, &p.to_b, &e), "unknown context");
	REFUSED(ipsec_activate(a.db, unknown, &p.to_b, &e), "unknown context");
	REFUSED(ipsec_install(b.db, p.a, &p.to_a, &p.to_b, &e), "context");
	REFUSED(ipsec_remove(a.db, unknown, IPSEC_BOTH, &e), "unknown context");
	REFUSED(ipsec_remove(a.db, p.a, (enum ipsec_part)4, &e), "no part");
	REFUSED(ipsec_query(a.db, p.a, IPSEC_BOTH, &(struct sa_counts){0}, &e), "one part");

	k = p.to_a;
	k.spi.n = 255;
	REFUSED(ipsec_install(a.db, p.a, &k, &p.to_b, &e), "SPI 255 is reserved");
	k.spi.n = p.a_in.n ^ 1;
	REFUSED(ipsec_install(a.db, p.a, &k, &p.to_b, &e), "was reserved");
	k = p.to_a;
	k.suite = SUITE_AES128GCM16;
	REFUSED(ipsec_install(a.db, p.a, &k, &p.to_b, &e),
		"a key of 36 bytes; aes128gcm16 needs 20");
	k.suite = SUITE_COUNT;
	REFUSED(ipsec_install(a.db, p.a, &k, &p.to_b, &e), "no suite of number");
	k = p.to_b;
	k.spi.n = 0;
	REFUSED(ipsec_install(a.db, p.a, &p.to_a, &k, &e), "outbound SA: SPI 0 is reserved");
	k = p.to_b;
	k.key = p.to_a.key;
	REFUSED(ipsec_install(a.db, p.a, &p.to_a, &k, &e), "one key, one SA");

	CHECK(CALL(ipsec_install(a.db, p.a, &p.to_a, &p.to_b, &e)) == 0);
	REFUSED(ipsec_install(a.db, p.a, &p.to_a, &p.to_b, &e), "installed twice");
	k = p.to_b;
	k.spi.n ^= 1;
	REFUSED(ipsec_activate(a.db, p.a, &k, &e), "was installed");
	CHECK(CALL(ipsec_activate(a.db, p.a, &p.to_b, &e)) == 0);
	REFUSED(ipsec_activate(a.db, p.a, &p.to_b, &e), "activated twice");

	q = reserve_both(SUITE_AES256GCM16, true);
	k = q.to_a;
	k.key = p.to_b.key;
	REFUSED(ipsec_install(a.db, q.a, &k, &q.to_b, &e), "one key, one SA");
	k = q.to_b;
	k.spi = p.b_in;
	REFUSED(ipsec_install(a.db, q.a, &q.to_a, &k, &e), "in use already");

	CHECK(CALL(ipsec_remove(a.db, p.a, IPSEC_INBOUND, &e)) == 0);
	k = fresh_keys(p.a_in, SUITE_AES256GCM16, true);
	REFUSED(ipsec_install(a.db, p.a, &k, &q.to_b, &e), "removed already");
	CHECK(CALL(ipsec_remove(a.db, p.a, IPSEC_OUTBOUND, &e)) == 0);
	REFUSED(ipsec_install(a.db, p.a, &k, &q.to_b, &e), "is gone");
#undef REFUSED
	close_both();
}

static void removing_a_missing_part_is_no_error(void)
{
	struct pair_of_sides p;
	struct sa_counts c;

	open_both();
	add_both();
	p = pair_up(SUITE_AES256GCM16, true);
	CHECK(CALL(ipsec_remove(a.db, p.a, IPSEC_INBOUND, &e)) == 0);
	CHECK(CALL(ipsec_remove(a.db, p.a, IPSEC_INBOUND, &e)) == 0);
	CHECK(CALL(ipsec_query(a.db, p.a, IPSEC_INBOUND, &c, &e)) < 0 && e.code == ERR_DOWN);
	CHECK_U64(c.known, 0);
	CHECK(CALL(ipsec_query(a.db, p.a, IPSEC_OUTBOUND, &c, &e)) == 0);
	CHECK(CALL(ipsec_remove(a.db, p.a, IPSEC_BOTH, &e)) == 0);
	CHECK(CALL(ipsec_remove(a.db, p.a, IPSEC_BOTH, &e)) == 0);
	CHECK(CALL(ipsec_query(a.db, p.a, IPSEC_OUTBOUND, &c, &e)) < 0 && e.code == ERR_DOWN);
	p = reserve_both(SUITE_AES256GCM16, true); /* reserved only: goes at once */
	CHECK(CALL(ipsec_remove(a.db, p.a, IPSEC_BOTH, &e)) == 0);
	CHECK(CALL(ipsec_install(a.db, p.a, &p.to_a, &p.to_b, &e)) < 0);
	close_both();
}

static void removing_the_selected_sa_selects_the_newest_remaining(void)
{
	struct pair_of_sides p[3];

	open_both();
	add_both();
	CHECK(send_text(&a, "x") < 0 && e.code == ERR_DOWN);
	CHECK_STR(e.cause, "peer beta: no SA to send on");
	for (int i = 0; i < 3; i++)
		p[i] = pair_up(SUITE_AES256GCM16, true);
	CHECK(send_text(&a, "on 2") == 0);
	CHECK(CALL(ipsec_remove(a.db, p[2].a, IPSEC_OUTBOUND, &e)) == 0);
	CHECK(send_text(&a, "on 1") == 0);
	CHECK(CALL(ipsec_remove(a.db, p[0].a, IPSEC_OUTBOUND, &e)) == 0); /* not the selected */
	CHECK(send_text(&a, "still on 1") == 0);
	CHECK(wait_events(&b, 3));
	CHECK_U64(b.events[0].ctx.id, p[2].b.id);
	CHECK_U64(b.events[1].ctx.id, p[1].b.id);
	CHECK_U64(b.events[2].ctx.id, p[1].b.id);
	CHECK(CALL(ipsec_remove(a.db, p[1].a, IPSEC_BOTH, &e)) == 0);
	CHECK(send_text(&a, "x") < 0 && e.code == ERR_DOWN);
	close_both();
}

/* D8 in small: pairs come and go under way, and every payload arrives. */
static void nothing_is_lost_across_rekeys(void)
{
	struct pair_of_sides old = {0};
	unsigned sent = 0, arrived = 0;
	char text[16];

	open_both();
	add_both();
	for (int epoch = 0; epoch < 50; epoch++) {
		struct pair_of_sides p = pair_up(SUITE_AES128GCM16, true);

		for (int i = 0; i < 5; i++) {
			snprintf(text, sizeof text, "%u", sent++);
			CHECK(send_text(&a, text) == 0);
		}
		if (epoch > 0) { /* outbound at once, inbound after what was under way */
			CHECK(CALL(ipsec_remove(a.db, old.a, IPSEC_BOTH, &e)) == 0);
			CHECK(wait_events(&b, 5));
			CHECK(CALL(ipsec_remove(b.db, old.b, IPSEC_BOTH, &e)) == 0);
		} else {
			CHECK(wait_events(&b, 5));
		}
		for (size_t i = 0; i < b.n_events; i++) {
			snprintf(text, sizeof text, "%u", arrived++);
			CHECK_STR(b.events[i].text, text);
		}
		b.n_events = 0;
		old = p;
	}
	CHECK_U64(arrived, sent);
	close_both();
}

/* ---- a socket of another program --------------------------------------------------------- */

static int other_socket(const char *address, uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	const struct timeval patience = {2, 0};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
	CHECK(inet_pton(AF_INET, address, &sa.sin_addr) == 1);
	CHECK(bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0);
	return fd;
}

static void inject(int fd, const void *packet, size_t n)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(b.policy.local_esp_port)};

	CHECK(inet_pton(AF_INET, "127.0.0.2", &sa.sin_addr) == 1);
	CHECK(sendto(fd, packet, n, 0, (struct sockaddr *)&sa, sizeof sa) == (ssize_t)n);
}

static void packets_without_an_sa_are_dropped_and_reported(void)
{
	static const uint8_t unknown[64] = {0x7f, 0xff, 0xff, 0xff};
	uint8_t packet[64] = {0};
	int near, far;
	struct pair_of_sides p;
	struct sa_counts in;

	open_both();
	add_both();
	p = pair_up(SUITE_AES256GCM16, true);
	near = other_socket("127.0.0.1", 0);
	far = other_socket("127.0.0.3", 0);

	CHECK(send_text(&a, "first") == 0 && wait_events(&b, 1)); /* number 1 is seen */
	inject(near, unknown, sizeof unknown);
	CHECK(wait_events(&b, 2)); /* the first report comes at once */
	CHECK(b.events[1].kind == IPSEC_EV_DROPPED && b.events[1].owner == NULL);
	CHECK(begins(b.events[1].text, "1 unknown SPI; last from 127.0.0.1:"));
	CHECK(strstr(b.events[1].text, ", SPI 7fffffff") != NULL);

	/* Within a second of it these are counted together. */
	for (int i = 0; i < 4; i++)
		packet[i] = (uint8_t)(p.b_in.n >> (24 - 8 * i));
	packet[7] = 200;
	inject(near, unknown, 5);            /* too short for an SPI and a number */
	inject(far, packet, sizeof packet);  /* wrong sender */
	inject(near, packet, sizeof packet); /* wrong ICV */
	inject(near, packet, 20);            /* a length that the suite does not have */
	packet[7] = 1;
	inject(near, packet, sizeof packet); /* number 1 again */
	inject(near, "\xff", 1);             /* NAT keepalive: ignored */
	memset(packet, 0, 4);
	inject(near, packet, sizeof packet); /* non-ESP marker: ignored */
	CHECK(wait_events(&b, 3));
	CHECK_U64(b.events[2].n, 5);
	CHECK(b.events[2].owner == NULL); /* not all of one peer's */
	CHECK(begins(b.events[2].text,
		     "1 wrong sender for its SA, 1 replayed or too old, "
		     "1 wrong integrity check value, 2 malformed; last from 127.0.0.1:"));
	in = counts_of(&b, p.b, IPSEC_INBOUND);
	CHECK_U64(in.packets, 1);
	CHECK_U64(in.replay_dropped, 1);
	CHECK_U64(in.integrity_failed, 1);
	CHECK(send_text(&a, "alive") == 0 && wait_events(&b, 4));
	CHECK_STR(b.events[3].text, "alive");
	close(near);
	close(far);
	close_both();
}

/* The peer itself may send on the SA only what the policy protects. */
static void an_authentic_packet_of_another_flow_is_dropped(void)
{
	struct sockaddr_in sa;
	socklen_t len = sizeof sa;
	uint8_t packet[2048];
	int tap, near;
	ssize_t n;

	open_both();
	add_both();
	pair_up(SUITE_AES256GCM16, true);
	near = other_socket("127.0.0.1", 0);
	tap = other_socket("127.0.0.2", 0);
	CHECK(getsockname(tap, (struct sockaddr *)&sa, &len) == 0);
	a.policy.remote_esp_port = ntohs(sa.sin_port); /* also the inner port */
	CHECK(send_text(&a, "for another port") == 0);
	n = recv(tap, packet, sizeof packet, 0);
	if (CHECK(n > 0))
		inject(near, packet, (size_t)n);
	CHECK(wait_events(&b, 1));
	CHECK(b.events[0].kind == IPSEC_EV_DROPPED && b.events[0].owner == &b);
	CHECK(begins(b.events[0].text, "1 malformed; "));
	close(near);
	close(tap);
	close_both();
}

static void drops_are_reported_once_a_second(void)
{
	static const uint8_t unknown[64] = {0x7f, 0xff, 0xff, 0xff};
	int near;

	open_both();
	add_both();
	near = other_socket("127.0.0.1", 0);
	for (int i = 0; i < 300; i++) {
		inject(near, unknown, sizeof unknown);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	settle();
	CHECK(b.n_events >= 1 && b.n_events <= 2);
	close(near);
	close_both();
}

/* ---- limits ------------------------------------------------------------------------------ */

static void limits_warn_once_and_then_end_the_sa(void)
{
	struct pair_of_sides p;
	size_t datagrams = 0;

	open_both();
	add_both();
	p = pair_up(SUITE_AES256GCM16, true);
	a.policy.limits.soft_packets = 3;
	a.policy.limits.hard_packets = 5;
	b.policy.limits.soft_bytes = 2 * 9;
	for (int i = 0; i < 5; i++)
		CHECK(send_text(&a, "x") == 0);
	CHECK(send_text(&a, "x") < 0 && e.code == ERR_DOWN);
	CHECK_STR(e.cause, "peer beta: outbound: hard limit of bytes or packets");
	CHECK(send_text(&a, "x") < 0 && e.code == ERR_DOWN);
	CHECK(wait_events(&a, 2) && wait_events(&b, 6));
	settle();
	CHECK_U64(a.n_events, 2);
	CHECK(a.events[0].kind == IPSEC_EV_SOFT && a.events[0].part == IPSEC_OUTBOUND &&
	      a.events[0].reason == REASON_PACKETS && a.events[0].ctx.id == p.a.id);
	CHECK(a.events[1].kind == IPSEC_EV_HARD && a.events[1].part == IPSEC_OUTBOUND);
	CHECK_U64(b.n_events, 6);
	for (size_t i = 0; i < b.n_events; i++) {
		if (b.events[i].kind == IPSEC_EV_DATAGRAM)
			datagrams++;
		else
			CHECK(b.events[i].kind == IPSEC_EV_SOFT &&
			      b.events[i].reason == REASON_BYTES &&
			      b.events[i].part == IPSEC_INBOUND);
	}
	CHECK_U64(datagrams, 5);
	close_both();
}

static void an_inbound_hard_limit_lets_nothing_more_through(void)
{
	struct pair_of_sides p;
	size_t datagrams = 0;

	open_both();
	add_both();
	p = pair_up(SUITE_AES128_SHA1, false);
	b.policy.limits.hard_bytes = 3 * 9;
	for (int i = 0; i < 6; i++)
		CHECK(send_text(&a, "x") == 0);
	CHECK(wait_events(&b, 5)); /* three payloads, the end, and the rest as unknown */
	for (size_t i = 0; i < b.n_events; i++)
		if (b.events[i].kind == IPSEC_EV_DATAGRAM)
			datagrams++;
	CHECK_U64(datagrams, 3);
	CHECK(CALL(ipsec_query(b.db, p.b, IPSEC_INBOUND, &(struct sa_counts){0}, &e)) < 0 &&
	      e.code == ERR_DOWN);
	CHECK(send_text(&b, "back") == 0 && wait_events(&a, 1));
	close_both();
}

static void removed_sas_cause_no_events(void)
{
	struct pair_of_sides p;

	open_both();
	add_both();
	p = pair_up(SUITE_AES256GCM16, true);
	a.policy.limits.soft_packets = 1;
	CHECK(send_text(&a, "x") == 0); /* the warning waits for the loop */
	CHECK(CALL(ipsec_remove(a.db, p.a, IPSEC_OUTBOUND, &e)) == 0);
	settle();
	CHECK_U64(a.n_events, 0);
	pair_up(SUITE_AES256GCM16, true);
	CHECK(send_text(&a, "x") == 0);
	CHECK(CALL(ipsec_policy_remove(a.db, &a.policy, &e)) == 0);
	CHECK_U64(a.policy.ref, 0);
	settle();
	CHECK_U64(a.n_events, 0);
	close_both();
}

/* ---- policies and sockets ---------------------------------------------------------------- */

static void one_socket_serves_several_peers(void)
{
	struct policy second;
	open_both();
	second = a.policy;
	strcpy(second.peer, "gamma");
	CHECK(addr_parse(&second.remote, "127.0.0.3", &e) == 0);
	CHECK(CALL(ipsec_policy_add(a.db, &second, &e)) == 0);
	add_both(); /* the same local port */
	pair_up(SUITE_AES256GCM16, true);
	CHECK(CALL(ipsec_policy_remove(a.db, &second, &e)) == 0);
	CHECK(send_text(&b, "still there") == 0 && wait_events(&a, 1));
	CHECK(CALL(ipsec_policy_remove(a.db, &a.policy, &e)) == 0);
	CHECK(CALL(ipsec_policy_add(a.db, &a.policy, &e)) == 0); /* the port is free again */
	close_both();
}

static void a_peer_twice_is_refused(void)
{
	struct policy second;

	open_both();
	add_both();
	second = a.policy;
	second.ref = 0;
	strcpy(second.peer, "gamma");
	CHECK(CALL(ipsec_policy_add(a.db, &second, &e)) < 0 && e.code == ERR_USAGE);
	CHECK_STR(e.cause, "peer gamma: peer beta has the same addresses and ports");
	close_both();
}

static void a_bind_that_fails_says_what_to_do(void)
{
	char want[160];
	int taken;

	open_both();
	taken = other_socket("127.0.0.1", a.policy.local_esp_port);
	CHECK(CALL(ipsec_policy_add(a.db, &a.policy, &e)) < 0 && e.code == ERR_OS);
	snprintf(want, sizeof want,
		 "peer beta: bind UDP 127.0.0.1:%u for ESP: address already in use",
		 (unsigned)a.policy.local_esp_port);
	CHECK_STR(e.cause, want);
	CHECK(e.hint != NULL && strstr(e.hint, "esp_port") != NULL);
	CHECK_U64(a.policy.ref, 0);
	close(taken);
	CHECK(CALL(ipsec_policy_add(a.db, &a.policy, &e)) == 0);

	CHECK(addr_parse(&b.policy.local, "192.0.2.77", &e) == 0);
	CHECK(CALL(ipsec_policy_add(b.db, &b.policy, &e)) < 0 && e.code == ERR_OS);
	CHECK(strstr(e.cause, "192.0.2.77:") != NULL);
	CHECK(e.hint != NULL && strstr(e.hint, "not an address of this host") != NULL);
	close_both();
}

static void unsupported_options_are_refused(void)
{
	struct ipsec_can can;

	open_both();
	ipsec_can(a.db, &can);
	CHECK(can.esn && can.udp && can.permissive && can.counts && can.datagrams);
	CHECK(!can.tunnel && !can.seamless && !can.survives);
	CHECK_U64(can.window_max, 4096);
	CHECK_U64(can.suites.n, SUITE_COUNT);
	CHECK(ipsec_sends(a.db));

	a.policy.opt.encap = ENCAP_TUNNEL;
	CHECK(CALL(ipsec_policy_add(a.db, &a.policy, &e)) < 0 && e.code == ERR_USAGE);
	CHECK_STR(e.cause, "back end soft cannot do encapsulation \"tunnel\"");
	a.policy.opt.encap = ENCAP_TRANSPORT;
	a.policy.opt.start = START_SEAMLESS;
	CHECK(CALL(ipsec_policy_add(a.db, &a.policy, &e)) < 0 && e.code == ERR_USAGE);
	a.policy.opt.start = START_CLOSED;
	a.policy.opt.mode = MODE_PERMISSIVE;
	a.policy.opt.udp = true;
	CHECK(CALL(ipsec_policy_add(a.db, &a.policy, &e)) == 0);
	CHECK(addr_parse(&b.policy.remote, "::1", &e) == 0);
	CHECK(CALL(ipsec_policy_add(b.db, &b.policy, &e)) < 0 && e.code == ERR_USAGE);
	close_both();
}

static void names_are_known(void)
{
	const struct ipsec_env env = {.loop = &loop, .on_event = on_event, .arg = &a};
	struct ipsec *db;

	CHECK(uv_loop_init(&loop) == 0);
	CHECK(ipsec_known("soft") && ipsec_known("auto") && !ipsec_known("ipsec9"));
	CHECK(strstr(ipsec_names(), "soft") != NULL);
	CHECK(ipsec_open(&db, "ipsec9", &env, &e) < 0 && e.code == ERR_USAGE && db == NULL);
	CHECK(strstr(e.cause, "back end \"ipsec9\": this program has auto, ") != NULL);
	CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0 && uv_loop_close(&loop) == 0);
}

/* ---- callbacks that tear down what called them ------------------------------------------- */

static void remove_policy(struct side *s)
{
	CHECK(ipsec_policy_remove(s->db, &s->policy, &e) == 0);
}

static void answer_and_close(struct side *s)
{
	CHECK(ipsec_send(s->db, &s->policy, (const uint8_t *)"echo", 4, &e) == 0);
	ipsec_close(s->db);
	s->db = NULL;
}

static void a_callback_may_remove_or_close(void)
{
	open_both();
	add_both();
	pair_up(SUITE_AES256GCM16, true);
	b.on_datagram = remove_policy;
	CHECK(send_text(&a, "one") == 0 && send_text(&a, "two") == 0);
	CHECK(wait_events(&b, 1));
	settle();
	CHECK_U64(b.n_events, 1);
	CHECK(CALL(ipsec_policy_add(b.db, &b.policy, &e)) == 0);
	pair_up(SUITE_AES256GCM16, true);
	b.on_datagram = answer_and_close;
	CHECK(send_text(&a, "three") == 0 && send_text(&a, "four") == 0);
	CHECK(wait_events(&a, 1));
	CHECK_STR(a.events[0].text, "echo");
	close_both();
}

/* ---- size -------------------------------------------------------------------------------- */

#define PEERS 1000

static void ten_thousand_sas_stay_small_and_quick(void)
{
	static struct policy policies[PEERS];
	const struct ipsec_env env = {.loop = &loop, .on_event = on_event, .arg = &a};
	struct ipsec_ctx ctx;
	uint64_t begun_ns;
	struct spi spi;
	size_t before;

	CHECK(uv_loop_init(&loop) == 0);
	memset(&a, 0, sizeof a);
	CHECK(ipsec_open(&a.db, "soft", &env, &e) == 0);
	before = mallinfo2().uordblks;
	for (unsigned i = 0; i < PEERS; i++) {
		char remote[32];

		snprintf(remote, sizeof remote, "127.1.%u.%u", i / 250, i % 250 + 1);
		memset(&policies[i], 0, sizeof policies[i]);
		strcpy(policies[i].peer, "one of many");
		policies[i].local_esp_port = policies[i].remote_esp_port =
			i == 0 ? free_port("127.0.0.1") : policies[0].local_esp_port;
		CHECK(addr_parse(&policies[i].local, "127.0.0.1", &e) == 0);
		CHECK(addr_parse(&policies[i].remote, remote, &e) == 0);
		CHECK(ipsec_policy_add(a.db, &policies[i], &e) == 0);
	}
	for (unsigned generation = 0; generation < 5; generation++) {
		begun_ns = uv_hrtime();
		for (unsigned i = 0; i < PEERS; i++) {
			struct sa_keys in, out;

			CHECK(ipsec_reserve(a.db, &policies[i], &ctx, &spi, &e) == 0);
			in = fresh_keys(spi, SUITE_AES256GCM16, true);
			in.window = 1024;
			out = fresh_keys((struct spi){256 + generation}, SUITE_AES256GCM16, true);
			CHECK(ipsec_install(a.db, ctx, &in, &out, &e) == 0);
			CHECK(ipsec_activate(a.db, ctx, &out, &e) == 0);
		}
		if (generation == 0 && mallinfo2().uordblks > before) {
			size_t each = (mallinfo2().uordblks - before) / PEERS;

			NOTE("%zu bytes for a peer with two SAs", each);
			CHECK(each < 1536);
		}
	}
	NOTE("%llu us for a pair among 10,000 SAs",
	     (unsigned long long)((uv_hrtime() - begun_ns) / PEERS / 1000));
	ipsec_close(a.db);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&loop) == 0);
}

T_MAIN(T(crypto_starts), T(every_suite_carries_a_payload_both_ways), T(ipv6_carries_a_payload),
       T(an_outbound_sa_waits_for_its_activation), T(a_wrong_order_of_calls_is_our_bug),
       T(removing_a_missing_part_is_no_error),
       T(removing_the_selected_sa_selects_the_newest_remaining), T(nothing_is_lost_across_rekeys),
       T(packets_without_an_sa_are_dropped_and_reported),
       T(an_authentic_packet_of_another_flow_is_dropped), T(drops_are_reported_once_a_second),
       T(limits_warn_once_and_then_end_the_sa), T(an_inbound_hard_limit_lets_nothing_more_through),
       T(removed_sas_cause_no_events), T(one_socket_serves_several_peers),
       T(a_peer_twice_is_refused), T(a_bind_that_fails_says_what_to_do),
       T(unsupported_options_are_refused), T(names_are_known), T(a_callback_may_remove_or_close),
       T(ten_thousand_sas_stay_small_and_quick))
