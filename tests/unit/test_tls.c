/*
 * crypto/tls: two engines, or an engine and a hostile mbedTLS peer, over memory.
 */
#include <stdlib.h>
#include <time.h>

#include <mbedtls/ssl.h>

#include "crypto/random.h"
#include "crypto/tls.h"
#include "tests/t.h"

#define BIG 100000

static struct pem_pair ca, other_ca, alice, bob, stranger, pinned_alice, pinned_bob;

/* One end of a connection, and its record of calls. */
struct end {
	struct tls *t;
	enum tls_fault fault;

	const uint8_t *pin;    /* judge() accepts this key; NULL: a chain to the CA */
	bool credulous;        /* judge() accepts everything */
	unsigned judged;       /* calls of judge() */
	enum cert_fault chain; /* its argument */
	struct cert_facts leaf;

	uint8_t plain[BIG + 1];
	size_t plain_len;
	bool stop; /* sink() returns false */
	bool echo; /* sink() sends everything back */
};

static struct end client, server;

static enum cert_fault judge(void *arg, const struct cert_facts *leaf, enum cert_fault chain)
{
	struct end *e = arg;

	e->judged++;
	e->chain = chain;
	e->leaf = *leaf;
	if (e->credulous)
		return CERT_OK;
	if (e->pin == NULL)
		return chain;
	if (!bytes_equal(leaf->pin, e->pin, PIN_LEN))
		return CERT_WRONG_PIN;
	return chain == CERT_UNTRUSTED ? CERT_OK : chain;
}

static bool sink(void *arg, const uint8_t *plain, size_t n)
{
	struct end *e = arg;

	if (e->plain_len + n > sizeof e->plain)
		return false;
	memcpy(e->plain + e->plain_len, plain, n);
	e->plain_len += n;
	if (e->echo)
		CHECK(tls_send(e->t, plain, n));
	return !e->stop;
}

/* xorshift: the same pieces in every run */
static uint32_t dice = 1;

static uint32_t roll(uint32_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 17;
	dice ^= dice << 5;
	return dice % below;
}

enum cut { WHOLE, BYTES, RANDOM };

static size_t feed(struct end *to, struct end *from, enum cut cut)
{
	size_t n, piece;
	const uint8_t *wire = tls_output(from->t, &n);

	if (n == 0)
		return 0;
	piece = cut == WHOLE ? n : cut == BYTES ? 1 : 1 + roll(n < 300 ? (uint32_t)n : 300);
	/* a copy, so that a sanitizer detects a read past its end */
	uint8_t *copy = malloc(piece);

	if (copy == NULL)
		abort();
	memcpy(copy, wire, piece);
	tls_output_done(from->t, piece);
	if (to->fault == TLS_OK)
		to->fault = tls_feed(to->t, copy, piece, sink, to);
	free(copy);
	return piece;
}

static void pump(enum cut cut)
{
	while (feed(&server, &client, cut) + feed(&client, &server, cut) > 0)
		;
}

static struct identity *load(const struct pem_pair *own, const char *trusted)
{
	struct identity *id;

	if (!CHECK(identity_load(&id, own->cert, own->key, trusted) == IDENTITY_OK))
		abort();
	return id;
}

/* The identities of both ends, set before a test. By default both chain to the same CA. */
static struct identity *client_id, *server_id;

static void be(const struct pem_pair *c, const char *c_ca, const struct pem_pair *s,
	       const char *s_ca)
{
	identity_free(client_id);
	identity_free(server_id);
	client_id = load(c, c_ca);
	server_id = load(s, s_ca);
	memset(&client, 0, sizeof client);
	memset(&server, 0, sizeof server);
}

static void be_good(void)
{
	be(&alice, ca.cert, &bob, ca.cert);
}

static void start(void)
{
	client.t = tls_new(client_id, TLS_CLIENT, judge, &client);
	server.t = tls_new(server_id, TLS_SERVER, judge, &server);
	if (client.t == NULL || server.t == NULL)
		abort();
}

static void stop(void)
{
	tls_free(client.t);
	tls_free(server.t);
	client.t = server.t = NULL;
}

static bool both_open(void)
{
	return tls_is_open(client.t) && tls_is_open(server.t) && client.fault == TLS_OK &&
	       server.fault == TLS_OK;
}

static bool says(struct end *from, struct end *to, const char *text)
{
	size_t n = strlen(text);

	to->plain_len = 0;
	if (!tls_send(from->t, (const uint8_t *)text, n))
		return false;
	pump(WHOLE);
	return to->plain_len == n && memcmp(to->plain, text, n) == 0;
}

static void ends_with_a_common_CA_connect(void)
{
	be_good();
	start();
	CHECK(!tls_is_open(client.t) && tls_peer(client.t) == NULL);
	pump(WHOLE);
	CHECK(both_open());
	CHECK(client.judged == 1 && client.chain == CERT_OK);
	CHECK(server.judged == 1 && server.chain == CERT_OK);
	CHECK_STR(tls_peer(client.t)->name, "bob");
	CHECK_STR(tls_peer(server.t)->name, "alice");
	CHECK_MEM(tls_peer(server.t)->pin, identity_facts(client_id)->pin, PIN_LEN);
	CHECK(tls_cert_fault(client.t) == CERT_OK);
	CHECK(says(&client, &server, "hello bob"));
	CHECK(says(&server, &client, "hello alice"));
	stop();
}

static void bytes_may_come_one_by_one(void)
{
	be_good();
	start();
	pump(BYTES);
	CHECK(both_open());
	CHECK(tls_send(client.t, (const uint8_t *)"drop by drop", 12));
	pump(BYTES);
	CHECK(server.plain_len == 12 && memcmp(server.plain, "drop by drop", 12) == 0);
	stop();
}

static void the_result_does_not_depend_on_how_the_stream_is_split(void)
{
	be_good();
	for (int i = 0; i < 12; i++) {
		client.plain_len = server.plain_len = 0;
		start();
		pump(RANDOM);
		CHECK(both_open());
		for (int k = 0; k < 20; k++) {
			CHECK(tls_send(client.t, (const uint8_t *)"0123456789", 10));
			CHECK(tls_send(server.t, (const uint8_t *)"abcdefghij", 10));
		}
		pump(RANDOM);
		CHECK(client.plain_len == 200 && server.plain_len == 200);
		CHECK(memcmp(client.plain + 190, "abcdefghij", 10) == 0);
		CHECK(memcmp(server.plain + 190, "0123456789", 10) == 0);
		stop();
	}
}

/* The client finishes first: its last flight and its first data arrive together. */
static void data_after_the_handshake_is_read_in_the_same_call(void)
{
	be_good();
	start();
	feed(&server, &client, WHOLE);
	feed(&client, &server, WHOLE);
	CHECK(tls_is_open(client.t) && !tls_is_open(server.t));
	CHECK(tls_send(client.t, (const uint8_t *)"early bird", 10));
	feed(&server, &client, WHOLE);
	CHECK(tls_is_open(server.t) && server.plain_len == 10);
	stop();
}

static void no_plain_text_before_the_certificate_is_accepted(void)
{
	be(&stranger, ca.cert, &bob, ca.cert);
	start();
	feed(&server, &client, WHOLE);
	feed(&client, &server, WHOLE);
	CHECK(tls_is_open(client.t));
	CHECK(tls_send(client.t, (const uint8_t *)"let me in", 9));
	feed(&server, &client, WHOLE);
	CHECK(server.judged == 1 && server.fault == TLS_CERT);
	CHECK(server.plain_len == 0 && !tls_is_open(server.t));
	CHECK(!tls_send(server.t, (const uint8_t *)"x", 1));
	/* a failed connection stays failed */
	CHECK(tls_feed(server.t, (const uint8_t *)"x", 1, sink, &server) == TLS_CERT);
	stop();
}

static void self_signed_peers_connect_by_pins(void)
{
	for (int with_ca = 0; with_ca < 2; with_ca++) {
		be(&pinned_alice, with_ca ? ca.cert : NULL, &pinned_bob, with_ca ? ca.cert : NULL);
		client.pin = identity_facts(server_id)->pin;
		server.pin = identity_facts(client_id)->pin;
		start();
		pump(WHOLE);
		CHECK(both_open());
		CHECK(client.chain == CERT_UNTRUSTED && server.chain == CERT_UNTRUSTED);
		CHECK(client.leaf.self_signed && server.leaf.self_signed);
		CHECK(says(&client, &server, "pin"));
		stop();
	}
}

/* Without a CA, mbedTLS gets our own certificate as CA: it must not be accepted as one. */
static void our_own_certificate_is_not_a_CA(void)
{
	be(&pinned_alice, NULL, &pinned_alice, NULL);
	start();
	pump(WHOLE);
	CHECK(client.fault == TLS_CERT && client.chain == CERT_UNTRUSTED);
	CHECK(tls_cert_fault(client.t) == CERT_UNTRUSTED);
	stop();
}

static void check_server_refuses(enum cert_fault why, enum cert_fault told)
{
	start();
	pump(WHOLE);
	CHECK_U64(server.fault, TLS_CERT);
	CHECK_U64(tls_cert_fault(server.t), why);
	CHECK_U64(server.chain, told);
	CHECK(tls_peer(server.t) != NULL);
	CHECK_U64(client.fault, TLS_REFUSED);
	CHECK(client.plain_len == 0 && server.plain_len == 0);
	stop();
}

static void check_client_refuses(enum cert_fault why, enum cert_fault told)
{
	start();
	pump(WHOLE);
	CHECK_U64(client.fault, TLS_CERT);
	CHECK_U64(tls_cert_fault(client.t), why);
	CHECK_U64(client.chain, told);
	CHECK_U64(server.fault, TLS_REFUSED);
	CHECK(!tls_is_open(client.t) && !tls_is_open(server.t));
	stop();
}

static void another_CA_is_untrusted(void)
{
	be(&stranger, ca.cert, &bob, ca.cert);
	check_server_refuses(CERT_UNTRUSTED, CERT_UNTRUSTED);
	be(&alice, ca.cert, &stranger, ca.cert);
	check_client_refuses(CERT_UNTRUSTED, CERT_UNTRUSTED);
}

static void a_wrong_pin_is_reported_as_such(void)
{
	uint8_t other[PIN_LEN] = {1};

	be(&pinned_alice, NULL, &pinned_bob, NULL);
	client.pin = identity_facts(server_id)->pin;
	server.pin = other;
	check_server_refuses(CERT_WRONG_PIN, CERT_UNTRUSTED);
	be(&pinned_alice, NULL, &pinned_bob, NULL);
	client.pin = other;
	check_client_refuses(CERT_WRONG_PIN, CERT_UNTRUSTED);
}

static struct cert_params wish(const char *name)
{
	struct cert_params w = {.name = name};

	w.not_before = (int64_t)time(NULL) - 3600;
	w.not_after = w.not_before + 86400;
	return w;
}

static void make_ca(struct pem_pair *to, const char *name)
{
	struct cert_params w = wish(name);

	w.is_ca = true;
	if (!CHECK(cert_self(to, &w)))
		abort();
}

static void make_leaf(struct pem_pair *to, const char *name, const struct pem_pair *by)
{
	struct cert_params w = wish(name);

	if (!CHECK(cert_issue(to, &w, by->cert, by->key) == IDENTITY_OK))
		abort();
}

/* With a chain, with a pin, and with a judge() that accepts everything. */
static void wrong_dates_are_never_overridden(void)
{
	static const struct {
		int64_t from, to;
		enum cert_fault fault;
	} rows[] = {
		{-7200, -3600, CERT_EXPIRED},
		{3600, 7200, CERT_NOT_YET_VALID},
	};

	for (size_t i = 0; i < 2; i++) {
		struct cert_params w = wish("alice");
		struct pem_pair mine;

		w.not_before = (int64_t)time(NULL) + rows[i].from;
		w.not_after = (int64_t)time(NULL) + rows[i].to;
		CHECK(cert_issue(&mine, &w, ca.cert, ca.key) == IDENTITY_OK);
		be(&mine, ca.cert, &bob, ca.cert);
		check_server_refuses(rows[i].fault, rows[i].fault);
		be(&mine, ca.cert, &bob, ca.cert);
		server.credulous = true;
		check_server_refuses(rows[i].fault, rows[i].fault);
		be(&bob, ca.cert, &mine, ca.cert);
		client.credulous = true;
		check_client_refuses(rows[i].fault, rows[i].fault);

		CHECK(cert_self(&mine, &w));
		be(&mine, NULL, &pinned_bob, NULL);
		server.pin = identity_facts(client_id)->pin;
		client.credulous = true;
		check_server_refuses(rows[i].fault, rows[i].fault);
	}
}

/* Faults above the leaf are left to judge(): a pin needs no chain. */
static void an_expired_CA_refuses_a_chain_but_no_pin(void)
{
	struct cert_params w = wish("old CA");
	struct pem_pair old, mine;

	w.name = "old-ca";
	w.is_ca = true;
	w.not_before -= 86400;
	w.not_after = (int64_t)time(NULL) - 60;
	CHECK(cert_self(&old, &w));
	make_leaf(&mine, "alice", &old);

	be(&mine, ca.cert, &bob, old.cert);
	check_server_refuses(CERT_EXPIRED, CERT_EXPIRED);
	be(&mine, ca.cert, &bob, old.cert);
	server.credulous = true;
	start();
	pump(WHOLE);
	CHECK(both_open() && server.chain == CERT_EXPIRED);
	stop();
}

static void a_CA_is_no_peer(void)
{
	be(&ca, ca.cert, &bob, ca.cert);
	server.credulous = true;
	check_server_refuses(CERT_WRONG_PURPOSE, CERT_WRONG_PURPOSE);
}

static void the_exporter_binds_one_connection(void)
{
	SECRET(a);
	SECRET(b);
	SECRET(c);

	be_good();
	start();
	CHECK(!tls_export(client.t, &a) && secret_len(&a) == 0);
	pump(WHOLE);
	CHECK(tls_export(client.t, &a) && tls_export(server.t, &b));
	CHECK(secret_len(&a) == TLS_EXPORT_LEN && secret_equal(&a, &b));
	stop();
	start();
	pump(WHOLE);
	CHECK(tls_export(client.t, &c) && !secret_equal(&a, &c));
	stop();
}

static void big_payloads_pass_both_ways(void)
{
	static uint8_t data[BIG];

	random_bytes(data, sizeof data);
	be_good();
	start();
	pump(WHOLE);
	CHECK(tls_send(client.t, data, sizeof data) && tls_send(server.t, data, sizeof data));
	pump(RANDOM);
	CHECK(server.plain_len == BIG && memcmp(server.plain, data, BIG) == 0);
	CHECK(client.plain_len == BIG && memcmp(client.plain, data, BIG) == 0);
	CHECK(tls_send(client.t, data, 0));
	stop();
}

static void the_output_buffer_is_freed_when_empty(void)
{
	size_t n;

	be_good();
	start();
	CHECK(tls_output(client.t, &n) != NULL && n > 100);
	tls_output_done(client.t, n + 1000);
	CHECK(tls_output(client.t, &n) == NULL && n == 0);
	tls_output_done(client.t, 5);
	CHECK(tls_output(client.t, &n) == NULL && n == 0);
	stop();
}

static void the_sink_may_send(void)
{
	be_good();
	server.echo = true;
	start();
	pump(WHOLE);
	CHECK(tls_send(client.t, (const uint8_t *)"echo", 4));
	pump(WHOLE);
	CHECK(client.plain_len == 4 && memcmp(client.plain, "echo", 4) == 0);
	stop();
}

static void the_sink_may_stop(void)
{
	be_good();
	server.stop = true;
	start();
	pump(WHOLE);
	CHECK(tls_send(client.t, (const uint8_t *)"one", 3));
	CHECK(tls_send(client.t, (const uint8_t *)"two", 3));
	pump(WHOLE);
	CHECK(server.fault != TLS_OK && server.plain_len == 3);
	CHECK(!tls_send(server.t, (const uint8_t *)"x", 1));
	stop();
}

static void close_notify_ends_the_stream(void)
{
	be_good();
	start();
	pump(WHOLE);
	CHECK(tls_send(client.t, (const uint8_t *)"bye", 3));
	tls_close(client.t);
	tls_close(client.t);
	CHECK(!tls_send(client.t, (const uint8_t *)"x", 1));
	feed(&server, &client, WHOLE);
	CHECK(server.fault == TLS_CLOSED && server.plain_len == 3);
	CHECK(tls_feed_end(server.t) == TLS_CLOSED);
	tls_close(server.t); /* its close_notify follows that of the peer */
	feed(&client, &server, WHOLE);
	CHECK(client.fault == TLS_CLOSED);
	stop();
}

static void an_end_without_close_notify_depends_on_the_state(void)
{
	be_good();
	start();
	CHECK(tls_feed_end(server.t) ==
	      TLS_PROTOCOL); /* an unauthenticated client that sent nothing */
	CHECK(tls_feed_end(client.t) == TLS_PROTOCOL); /* our certificate was not sent */
	stop();

	start();
	feed(&server, &client, WHOLE);
	CHECK(tls_feed_end(server.t) == TLS_REFUSED);
	CHECK(tls_feed_end(server.t) == TLS_REFUSED);
	feed(&client, &server, WHOLE);
	CHECK(tls_is_open(client.t));
	CHECK(tls_feed_end(client.t) == TLS_REFUSED);
	stop();

	start();
	pump(WHOLE);
	CHECK(says(&server, &client, "truncated"));
	CHECK(tls_feed_end(client.t) == TLS_PROTOCOL);
	CHECK(tls_feed_end(server.t) == TLS_PROTOCOL);
	stop();
}

static void garbage_is_refused(void)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";
	uint8_t noise[400];

	be_good();
	start();
	CHECK(tls_feed(server.t, (const uint8_t *)http, strlen(http), sink, &server) != TLS_OK);
	CHECK(tls_feed(client.t, (const uint8_t *)http, strlen(http), sink, &client) != TLS_OK);
	CHECK(server.judged == 0 && client.judged == 0);
	stop();
	for (int i = 0; i < 200; i++) {
		random_bytes(noise, sizeof noise);
		if (i % 2 == 0)
			memcpy(noise, "\x16\x03\x01\x01\x80\x01\x00\x01\x7c\x03\x03", 11);
		start();
		tls_feed(server.t, noise, sizeof noise, sink, &server);
		tls_feed(client.t, noise, sizeof noise, sink, &client);
		CHECK(!tls_is_open(server.t) && !tls_is_open(client.t));
		stop();
	}
}

static void a_tampered_record_is_refused(void)
{
	const uint8_t *out;
	uint8_t wire[200];
	size_t n;

	be_good();
	start();
	pump(WHOLE);
	CHECK(says(&server, &client, "we are friends"));
	CHECK(tls_send(server.t, (const uint8_t *)"attack at dawn", 14));
	out = tls_output(server.t, &n);
	if (!CHECK(n > 14 && n < sizeof wire))
		return;
	memcpy(wire, out, n);
	wire[n / 2] ^= 4;
	client.plain_len = 0;
	CHECK(tls_feed(client.t, wire, n, sink, &client) == TLS_PROTOCOL);
	CHECK(client.plain_len == 0);
	CHECK(tls_output(client.t, &n) != NULL && n > 0); /* the alert */
	stop();
}

/* A man in the middle flips one bit of the client's stream, then of the server's. */
static void every_flipped_bit_fails_the_handshake(void)
{
	be_good();
	for (size_t at = 0; at < 2000; at += 37) {
		for (int side = 0; side < 2; side++) {
			size_t n, passed = 0;
			bool flipped = false;

			client.fault = server.fault = TLS_OK;
			client.plain_len = server.plain_len = 0;
			start();
			for (;;) {
				struct end *from = side == 0 ? &client : &server;
				struct end *to = side == 0 ? &server : &client;
				uint8_t copy[4096];
				const uint8_t *wire = tls_output(from->t, &n);

				if (n > 0 && n <= sizeof copy) {
					memcpy(copy, wire, n);
					tls_output_done(from->t, n);
					if (at >= passed && at < passed + n) {
						copy[at - passed] ^= (uint8_t)(1U << roll(8));
						flipped = true;
					}
					passed += n;
					if (to->fault == TLS_OK)
						to->fault = tls_feed(to->t, copy, n, sink, to);
				}
				if (feed(from, to, WHOLE) == 0 && n == 0)
					break;
			}
			/* bytes that TLS ignores (a record's legacy version) may pass */
			if (flipped && both_open())
				CHECK(says(&client, &server, "x") && says(&server, &client, "y"));
			else if (flipped)
				CHECK(client.fault != TLS_OK || server.fault != TLS_OK ||
				      !tls_is_open(server.t));
			stop();
		}
	}
}

/*
 * Peers that break the rules of sapair: mbedTLS used directly.
 */
struct raw {
	mbedtls_ssl_context ssl;
	mbedtls_ssl_config conf;
	mbedtls_x509_crt crt;
	mbedtls_pk_context key;
	struct end *peer;
	uint8_t in[32768];
	size_t in_len;
	int ret;
};

static struct raw raw;

static int raw_send(void *arg, const unsigned char *p, size_t n)
{
	struct raw *r = arg;

	if (r->peer->fault == TLS_OK)
		r->peer->fault = tls_feed(r->peer->t, p, n, sink, r->peer);
	return (int)n;
}

static int raw_recv(void *arg, unsigned char *p, size_t n)
{
	struct raw *r = arg;
	size_t have;
	const uint8_t *wire = tls_output(r->peer->t, &have);

	if (have == 0)
		return MBEDTLS_ERR_SSL_WANT_READ;
	if (n > have)
		n = have;
	memcpy(p, wire, n);
	tls_output_done(r->peer->t, n);
	return (int)n;
}

static void raw_init(struct end *peer, enum tls_role role, const struct pem_pair *own,
		     const char **alpn)
{
	memset(&raw, 0, sizeof raw);
	raw.peer = peer;
	mbedtls_ssl_init(&raw.ssl);
	mbedtls_ssl_config_init(&raw.conf);
	mbedtls_x509_crt_init(&raw.crt);
	mbedtls_pk_init(&raw.key);
	mbedtls_ssl_config_defaults(
		&raw.conf, role == TLS_SERVER ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
		MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
	mbedtls_ssl_conf_rng(&raw.conf, random_callback, NULL);
	mbedtls_ssl_conf_authmode(&raw.conf, MBEDTLS_SSL_VERIFY_NONE);
	if (role == TLS_SERVER)
		mbedtls_ssl_conf_authmode(&raw.conf, MBEDTLS_SSL_VERIFY_OPTIONAL);
	if (alpn != NULL)
		mbedtls_ssl_conf_alpn_protocols(&raw.conf, alpn);
	if (own != NULL) {
		CHECK(mbedtls_x509_crt_parse(&raw.crt, (const unsigned char *)own->cert,
					     strlen(own->cert) + 1) == 0);
		CHECK(mbedtls_pk_parse_key(&raw.key, (const unsigned char *)own->key,
					   strlen(own->key) + 1, NULL, 0, random_callback,
					   NULL) == 0);
		CHECK(mbedtls_ssl_conf_own_cert(&raw.conf, &raw.crt, &raw.key) == 0);
	}
}

static void raw_run(void)
{
	CHECK(mbedtls_ssl_setup(&raw.ssl, &raw.conf) == 0);
	mbedtls_ssl_set_hostname(&raw.ssl, NULL);
	mbedtls_ssl_set_bio(&raw.ssl, &raw, raw_send, raw_recv, NULL);
	for (int i = 0; i < 50; i++) {
		raw.ret = mbedtls_ssl_handshake(&raw.ssl);
		if (raw.ret != MBEDTLS_ERR_SSL_WANT_READ)
			break;
	}
}

static void raw_free(void)
{
	mbedtls_ssl_free(&raw.ssl);
	mbedtls_ssl_config_free(&raw.conf);
	mbedtls_x509_crt_free(&raw.crt);
	mbedtls_pk_free(&raw.key);
	tls_free(client.t);
	tls_free(server.t);
	client.t = server.t = NULL;
}

static const char *our_alpn[] = {TLS_ALPN, NULL};
static const char *their_alpn[] = {"h2", NULL};

static void against_server(const struct pem_pair *own, const char **alpn)
{
	be_good();
	server.t = tls_new(server_id, TLS_SERVER, judge, &server);
	raw_init(&server, TLS_CLIENT, own, alpn);
}

static void against_client(const struct pem_pair *own, const char **alpn)
{
	be_good();
	client.t = tls_new(client_id, TLS_CLIENT, judge, &client);
	raw_init(&client, TLS_SERVER, own, alpn);
}

static void a_conforming_raw_peer_is_accepted(void)
{
	against_server(&alice, our_alpn);
	raw_run();
	CHECK(raw.ret == 0 && server.fault == TLS_OK && tls_is_open(server.t));
	raw_free();
	against_client(&bob, our_alpn);
	raw_run();
	CHECK(raw.ret == 0 && client.fault == TLS_OK && tls_is_open(client.t));
	raw_free();
}

static void a_client_without_a_certificate_is_refused(void)
{
	against_server(NULL, our_alpn);
	raw_run();
	CHECK_U64(server.fault, TLS_CERT);
	CHECK_U64(tls_cert_fault(server.t), CERT_MISSING);
	CHECK(server.judged == 0 && !tls_is_open(server.t) && tls_peer(server.t) == NULL);
	raw_free();
}

static void another_or_no_ALPN_is_refused(void)
{
	static const char **const rows[] = {NULL, their_alpn};

	for (size_t i = 0; i < 2; i++) {
		against_server(&alice, rows[i]);
		raw_run();
		CHECK_U64(server.fault, TLS_NO_ALPN);
		CHECK(!tls_is_open(server.t));
		raw_free();
		against_client(&bob, rows[i]);
		raw_run();
		CHECK_U64(client.fault, TLS_NO_ALPN);
		CHECK(!tls_is_open(client.t));
		raw_free();
	}
}

static void TLS_1_2_is_refused(void)
{
	against_server(&alice, our_alpn);
	mbedtls_ssl_conf_max_tls_version(&raw.conf, MBEDTLS_SSL_VERSION_TLS1_2);
	raw_run();
	CHECK(raw.ret != 0);
	CHECK_U64(server.fault, TLS_VERSION);
	raw_free();
	against_client(&bob, our_alpn);
	mbedtls_ssl_conf_max_tls_version(&raw.conf, MBEDTLS_SSL_VERSION_TLS1_2);
	raw_run();
	CHECK(raw.ret != 0);
	/* the server of mbedTLS looks for a suite before it checks the version */
	CHECK(client.fault == TLS_NO_SUITE || client.fault == TLS_VERSION);
	raw_free();
}

/* Alerts in clear text, before keys exist. */
static void alerts_have_texts(void)
{
	static const struct {
		uint8_t alert;
		enum tls_fault fault;
	} rows[] = {
		{0, TLS_CLOSED},    {10, TLS_ALERT},    {40, TLS_NO_SUITE}, {42, TLS_REFUSED},
		{43, TLS_REFUSED},  {44, TLS_REFUSED},  {45, TLS_REFUSED},  {46, TLS_REFUSED},
		{48, TLS_REFUSED},  {49, TLS_REFUSED},  {50, TLS_ALERT},    {70, TLS_VERSION},
		{71, TLS_NO_SUITE}, {116, TLS_REFUSED}, {120, TLS_NO_ALPN},
	};

	be_good();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint8_t wire[] = {21, 3, 3, 0, 2, rows[i].alert == 0 ? 1 : 2, rows[i].alert};

		start();
		NOTE("alert %d", rows[i].alert);
		CHECK_U64(tls_feed(client.t, wire, sizeof wire, sink, &client), rows[i].fault);
		stop();
	}
}

static void no_common_parameters_are_reported(void)
{
	static const int odd[] = {MBEDTLS_TLS1_3_AES_128_CCM_SHA256, 0};
	static const uint16_t far[] = {MBEDTLS_SSL_IANA_TLS_GROUP_SECP521R1, 0};

	against_server(&alice, our_alpn);
	mbedtls_ssl_conf_ciphersuites(&raw.conf, odd);
	raw_run();
	CHECK_U64(server.fault, TLS_NO_SUITE);
	raw_free();
	against_client(&bob, our_alpn);
	mbedtls_ssl_conf_ciphersuites(&raw.conf, odd);
	raw_run();
	CHECK_U64(client.fault, TLS_NO_SUITE);
	raw_free();
	against_server(&alice, our_alpn);
	mbedtls_ssl_conf_groups(&raw.conf, far);
	raw_run();
	CHECK_U64(server.fault, TLS_NO_SUITE);
	raw_free();
	against_client(&bob, our_alpn);
	mbedtls_ssl_conf_groups(&raw.conf, far);
	raw_run();
	CHECK(client.fault != TLS_OK || !tls_is_open(client.t));
	raw_free();
}

static void other_groups_are_negotiated(void)
{
	static const uint16_t p384[] = {MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, 0};

	against_client(&bob, our_alpn); /* a HelloRetryRequest */
	mbedtls_ssl_conf_groups(&raw.conf, p384);
	raw_run();
	CHECK(raw.ret == 0 && tls_is_open(client.t));
	raw_free();
}

/* A leaf whose only weakness is its signature: SHA-1. */
static void a_weak_signature_is_refused(void)
{
	mbedtls_x509write_cert w;
	struct pem_pair weak = alice;
	mbedtls_pk_context key;

	mbedtls_x509write_crt_init(&w);
	mbedtls_pk_init(&key);
	CHECK(mbedtls_pk_parse_key(&key, (const unsigned char *)alice.key, strlen(alice.key) + 1,
				   NULL, 0, random_callback, NULL) == 0);
	mbedtls_x509write_crt_set_version(&w, MBEDTLS_X509_CRT_VERSION_3);
	mbedtls_x509write_crt_set_md_alg(&w, MBEDTLS_MD_SHA1);
	mbedtls_x509write_crt_set_subject_key(&w, &key);
	mbedtls_x509write_crt_set_issuer_key(&w, &key);
	CHECK(mbedtls_x509write_crt_set_serial_raw(&w, (unsigned char *)"\1", 1) == 0 &&
	      mbedtls_x509write_crt_set_validity(&w, "20200101000000", "20990101000000") == 0 &&
	      mbedtls_x509write_crt_set_subject_name(&w, "CN=weak") == 0 &&
	      mbedtls_x509write_crt_set_issuer_name(&w, "CN=weak") == 0 &&
	      mbedtls_x509write_crt_pem(&w, (unsigned char *)weak.cert, sizeof weak.cert,
					random_callback, NULL) == 0);
	mbedtls_x509write_crt_free(&w);
	mbedtls_pk_free(&key);

	be(&weak, ca.cert, &bob, ca.cert);
	server.credulous = true;
	check_server_refuses(CERT_WEAK, CERT_WEAK);
}

static void every_fault_has_a_text(void)
{
	for (int f = TLS_OK; f <= TLS_NO_SUITE; f++)
		CHECK(strcmp(tls_fault_text((enum tls_fault)f), "unknown fault") != 0);
	CHECK_STR(tls_fault_text((enum tls_fault)99), "unknown fault");
	tls_free(NULL);
}

static void make_world(void)
{
	struct cert_params w;

	CHECK(crypto_start());
	make_ca(&ca, "lab-ca");
	make_ca(&other_ca, "lab-ca"); /* the same name, another key */
	make_leaf(&alice, "alice", &ca);
	make_leaf(&bob, "bob", &ca);
	make_leaf(&stranger, "alice", &other_ca);
	w = wish("alice");
	CHECK(cert_self(&pinned_alice, &w));
	w = wish("bob");
	CHECK(cert_self(&pinned_bob, &w));
}

static void tear_down(void)
{
	identity_free(client_id);
	identity_free(server_id);
	client_id = server_id = NULL;
}

T_MAIN(T(make_world), T(ends_with_a_common_CA_connect), T(bytes_may_come_one_by_one),
       T(the_result_does_not_depend_on_how_the_stream_is_split),
       T(data_after_the_handshake_is_read_in_the_same_call),
       T(no_plain_text_before_the_certificate_is_accepted), T(self_signed_peers_connect_by_pins),
       T(our_own_certificate_is_not_a_CA), T(another_CA_is_untrusted),
       T(a_wrong_pin_is_reported_as_such), T(wrong_dates_are_never_overridden),
       T(an_expired_CA_refuses_a_chain_but_no_pin), T(a_CA_is_no_peer),
       T(a_weak_signature_is_refused), T(the_exporter_binds_one_connection),
       T(big_payloads_pass_both_ways), T(the_output_buffer_is_freed_when_empty),
       T(the_sink_may_send), T(the_sink_may_stop), T(close_notify_ends_the_stream),
       T(an_end_without_close_notify_depends_on_the_state), T(garbage_is_refused),
       T(a_tampered_record_is_refused), T(every_flipped_bit_fails_the_handshake),
       T(a_conforming_raw_peer_is_accepted), T(a_client_without_a_certificate_is_refused),
       T(another_or_no_ALPN_is_refused), T(TLS_1_2_is_refused), T(alerts_have_texts),
       T(no_common_parameters_are_reported), T(other_groups_are_negotiated),
       T(every_fault_has_a_text), T(tear_down))
