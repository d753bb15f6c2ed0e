/*
 * crypto/tls.c - the TLS engine: mbedTLS with memory in place of a socket.
 *
 * mbedTLS reads directly from the bytes passed to tls_feed() and keeps partial records itself. An
 * idle engine has no buffers but the two of mbedTLS (16 KiB each).
 */
#include <stdlib.h>
#include <string.h>

#include "crypto/mbed.h"

#define PLAIN_MAX 4096 /* one piece for the sink, on the stack */
#define OUT_MIN 2048   /* one handshake flight */

static const char exporter_label[] = "EXPORTER-sapair-1";

struct tls {
	mbedtls_ssl_context ssl;
	const struct identity *id;
	enum tls_role role;
	tls_judge *judge;
	void *judge_arg;

	const uint8_t *in; /* the rest of the bytes passed to tls_feed() */
	size_t in_left;
	bool starved; /* mbedTLS asked for more bytes than there were */

	uint8_t *out; /* [out_off, out_len) is to be sent */
	size_t out_off;
	size_t out_len;
	size_t out_room;
	bool spoke; /* something was sent: by a server, its certificate */

	struct verify *verify; /* until the leaf is accepted; its reasons, if it is refused */
	bool judged;           /* peer and cert are set */
	enum cert_fault cert;
	struct cert_facts peer;

	struct secret exporter;
	bool set_up; /* ssl has its buffers */
	bool open;
	bool heard; /* plain text was received */
	bool closing;
	enum tls_fault fault;
	int alert; /* received; 0: none */
};

static const char *const fault_texts[] = {
	[TLS_OK] = "no fault",
	[TLS_NO_MEMORY] = "out of memory",
	[TLS_PROTOCOL] = "malformed, truncated or unexpected TLS data",
	[TLS_VERSION] = "the peer does not speak TLS 1.3",
	[TLS_NO_ALPN] = "the peer does not speak \"" TLS_ALPN "\"",
	[TLS_CERT] = "the peer's certificate is refused",
	[TLS_REFUSED] = "the peer probably refused our certificate (its log has the reason)",
	[TLS_ALERT] = "the peer sent a fatal TLS alert",
	[TLS_CLOSED] = "the peer closed the connection",
	[TLS_NO_SUITE] = "no TLS cipher, group or signature in common",
};

const char *tls_fault_text(enum tls_fault f)
{
	return (size_t)f < sizeof fault_texts / sizeof fault_texts[0] ? fault_texts[f]
								      : "unknown fault";
}

/*
 * Transport callbacks of mbedTLS.
 */
static int receive_wire(void *arg, unsigned char *to, size_t n)
{
	struct tls *t = arg;

	if (t->in_left == 0) {
		t->starved = true;
		return MBEDTLS_ERR_SSL_WANT_READ;
	}
	if (n > t->in_left)
		n = t->in_left;
	memcpy(to, t->in, n);
	t->in += n;
	t->in_left -= n;
	return (int)n; /* at most a record */
}

static bool make_room(struct tls *t, size_t n)
{
	size_t room = t->out_room < OUT_MIN ? OUT_MIN : t->out_room;
	uint8_t *grown;

	if (t->out_off > 0) {
		memmove(t->out, t->out + t->out_off, t->out_len - t->out_off);
		t->out_len -= t->out_off;
		t->out_off = 0;
	}
	while (room - t->out_len < n)
		room *= 2;
	if (room == t->out_room)
		return true;
	grown = realloc(t->out, room); /* ciphertext: nothing to wipe */
	if (grown == NULL)
		return false;
	t->out = grown;
	t->out_room = room;
	return true;
}

static int send_wire(void *arg, const unsigned char *from, size_t n)
{
	struct tls *t = arg;

	if (t->out_room - t->out_len < n && !make_room(t, n))
		return MBEDTLS_ERR_SSL_ALLOC_FAILED;
	memcpy(t->out + t->out_len, from, n);
	t->out_len += n;
	t->spoke = true;
	return (int)n; /* at most a record */
}

/*
 * The peer's certificate.
 */

/* mbedTLS derives the alert that it sends from the flag. */
static uint32_t flag_of(enum cert_fault fault)
{
	switch (fault) {
	case CERT_OK:
		return 0;
	case CERT_EXPIRED:
		return MBEDTLS_X509_BADCERT_EXPIRED;
	case CERT_NOT_YET_VALID:
		return MBEDTLS_X509_BADCERT_FUTURE;
	case CERT_UNTRUSTED:
		return MBEDTLS_X509_BADCERT_NOT_TRUSTED;
	case CERT_WRONG_PURPOSE:
		return MBEDTLS_X509_BADCERT_EXT_KEY_USAGE;
	case CERT_WEAK:
		return MBEDTLS_X509_BADCERT_BAD_KEY;
	default:
		return MBEDTLS_X509_BADCERT_OTHER;
	}
}

/* The leaf decides: the owner's judgement, and faults of its own that not even a pin overrides. */
static void judge_leaf(struct tls *t)
{
	struct verify *v = t->verify;
	enum cert_fault leaf = verify_fault(&v->leaf);
	enum cert_fault chain = leaf != CERT_OK ? leaf : verify_fault(&v->chain);
	struct cert_reasons owners = {.n = 0};

	t->judged = v->judged;
	t->peer = v->facts;
	t->cert = t->judged ? t->judge(t->judge_arg, &t->peer, chain, &owners) : leaf;
	if (t->cert == CERT_OK)
		t->cert = leaf;
	else if (t->cert == chain)
		cert_reasons_add(&v->leaf, &v->chain);
	cert_reasons_add(&v->leaf, &owners);
	if (t->cert != CERT_OK)
		return;
	free(v);
	t->verify = NULL;
}

/* Called for each certificate from the top of the chain to the leaf. */
static int on_cert(void *arg, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
	struct tls *t = arg;

	if (t->verify == NULL)
		t->verify =
			verify_new(t->role == TLS_CLIENT ? TLS_SERVER : TLS_CLIENT, t->id->has_ca);
	if (t->verify == NULL)
		return MBEDTLS_ERR_X509_ALLOC_FAILED;
	verify_on_cert(t->verify, crt, depth, *flags);
	*flags = 0;
	if (depth > 0)
		return 0;
	judge_leaf(t);
	*flags = flag_of(t->cert);
	return 0;
}

/*
 * Faults.
 */

/* The description of the alert received; mbedTLS 3.6 has no public access to it. False: mbedTLS
 * itself reported a fatal alert, for a server that has no certificate. */
static bool read_alert(const struct tls *t, int *alert)
{
	*alert = t->ssl.MBEDTLS_PRIVATE(in_msg)[1];
	return t->ssl.MBEDTLS_PRIVATE(in_msgtype) == MBEDTLS_SSL_MSG_ALERT;
}

static enum tls_fault fault_of_alert(int alert)
{
	switch (alert) {
	case MBEDTLS_SSL_ALERT_MSG_NO_CERT: /* mbedTLS issue 10720: should be 116 */
	case MBEDTLS_SSL_ALERT_MSG_BAD_CERT:
	case MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_CERT:
	case MBEDTLS_SSL_ALERT_MSG_CERT_REVOKED:
	case MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED:
	case MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN:
	case MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA:
	case MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED:
	case 116: /* certificate_required (RFC 8446) */
		return TLS_REFUSED;
	case MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION:
		return TLS_VERSION;
	case MBEDTLS_SSL_ALERT_MSG_NO_APPLICATION_PROTOCOL:
		return TLS_NO_ALPN;
	case MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE:
	case MBEDTLS_SSL_ALERT_MSG_INSUFFICIENT_SECURITY:
		return TLS_NO_SUITE;
	default:
		return TLS_ALERT;
	}
}

/* Whether the peer may be refusing our certificate now: a server until the client has answered its
 * flight, a client until the first plain text. */
static bool is_under_verification(const struct tls *t)
{
	return t->role == TLS_SERVER ? !t->open && t->spoke : t->open && !t->heard;
}

/* The module of an mbedTLS error is in bits 7 to 14. */
static bool cert_unreadable(int ret)
{
	int high = -ret & 0x7f80;

	return (high >= -MBEDTLS_ERR_X509_FEATURE_UNAVAILABLE &&
		high <= -MBEDTLS_ERR_X509_FATAL_ERROR) ||
	       (high >= -MBEDTLS_ERR_PK_SIG_LEN_MISMATCH && high <= -MBEDTLS_ERR_PK_ALLOC_FAILED);
}

static enum tls_fault fault_of(struct tls *t, int ret)
{
	int alert;

	switch (ret) {
	case MBEDTLS_ERR_SSL_ALLOC_FAILED:
	case MBEDTLS_ERR_X509_ALLOC_FAILED:
	case MBEDTLS_ERR_PK_ALLOC_FAILED:
		return TLS_NO_MEMORY;
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
		return TLS_CLOSED;
	case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
		if (read_alert(t, &alert)) {
			t->alert = alert;
			return fault_of_alert(alert);
		}
		t->cert = CERT_MISSING;
		return TLS_CERT;
	case MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE:
		t->cert = CERT_MISSING;
		return TLS_CERT;
	case MBEDTLS_ERR_SSL_NO_APPLICATION_PROTOCOL:
		return TLS_NO_ALPN;
	case MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION:
		return TLS_VERSION;
	case MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE: /* after the certificate: a wrong signature */
		return t->judged ? TLS_PROTOCOL : TLS_NO_SUITE;
	case MBEDTLS_ERR_SSL_INVALID_MAC: /* often an alert under other keys: mbedTLS issue 10877 */
		return is_under_verification(t) ? TLS_REFUSED : TLS_PROTOCOL;
	default:
		if (t->judged)
			return t->cert != CERT_OK ? TLS_CERT : TLS_PROTOCOL;
		if (!cert_unreadable(ret))
			return TLS_PROTOCOL;
		t->cert = CERT_UNREADABLE;
		return TLS_CERT;
	}
}

static enum tls_fault fail(struct tls *t, enum tls_fault fault)
{
	if (t->fault == TLS_OK)
		t->fault = fault;
	return t->fault;
}

/*
 * The engine.
 */

/* mbedTLS allocates its two buffers here: for a server only at the first byte, so that a silent
 * client costs little. */
static bool set_up(struct tls *t)
{
	if (t->set_up)
		return true;
	if (mbedtls_ssl_setup(&t->ssl, &t->id->conf[t->role]) != 0)
		return false;
	t->set_up = true;
	mbedtls_ssl_set_bio(&t->ssl, t, send_wire, receive_wire, NULL);
	mbedtls_ssl_set_verify(&t->ssl, on_cert, t);
	return mbedtls_ssl_set_hostname(&t->ssl, NULL) ==
	       0; /* no SNI; the judge callback checks names */
}

struct tls *tls_new(const struct identity *id, enum tls_role role, tls_judge *judge, void *arg)
{
	struct tls *t = calloc(1, sizeof *t);

	if (t == NULL)
		return NULL;
	mbedtls_ssl_init(&t->ssl);
	t->id = id;
	t->role = role;
	t->judge = judge;
	t->judge_arg = arg;
	if (role == TLS_CLIENT && tls_feed(t, NULL, 0, NULL, NULL) != TLS_OK) {
		tls_free(t);
		return NULL;
	}
	return t;
}

void tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	mbedtls_ssl_free(&t->ssl);
	free(t->out);
	free(t->verify);
	wipe(t, sizeof *t);
	free(t);
}

/* The handshake is done: checks the certificate and ALPN again, and exports the keying material. */
static void enter_open(struct tls *t)
{
	const char *alpn = mbedtls_ssl_get_alpn_protocol(&t->ssl);
	uint8_t *exported = secret_room(&t->exporter, TLS_EXPORT_LEN);
	int ret;

	if (!t->judged || t->cert != CERT_OK || mbedtls_ssl_get_verify_result(&t->ssl) != 0) {
		fail(t, TLS_CERT); /* mbedTLS should have failed already */
		return;
	}
	if (alpn == NULL || strcmp(alpn, t->id->alpn[0]) != 0) {
		/* mbedTLS continues without ALPN when one side offers none */
		mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
					       MBEDTLS_SSL_ALERT_MSG_NO_APPLICATION_PROTOCOL);
		fail(t, TLS_NO_ALPN);
		return;
	}
	ret = mbedtls_ssl_export_keying_material(&t->ssl, exported, TLS_EXPORT_LEN, exporter_label,
						 sizeof exporter_label - 1, NULL, 0, 0);
	if (ret != 0)
		fail(t, TLS_NO_MEMORY);
	else
		t->open = true;
}

/* mbedTLS returns WANT_READ also after a message that it handled itself: try again then. */
static bool must_retry(const struct tls *t, int ret)
{
	return ret == MBEDTLS_ERR_SSL_WANT_READ && !t->starved;
}

static void shake_hands(struct tls *t)
{
	int ret;

	do
		ret = mbedtls_ssl_handshake(&t->ssl);
	while (must_retry(t, ret));
	if (ret == 0)
		enter_open(t);
	else if (ret != MBEDTLS_ERR_SSL_WANT_READ)
		fail(t, fault_of(t, ret));
}

static void read_plain(struct tls *t, tls_sink *sink, void *arg)
{
	uint8_t plain[PLAIN_MAX];
	int ret = 0;

	while (t->fault == TLS_OK) {
		ret = mbedtls_ssl_read(&t->ssl, plain, sizeof plain);
		if (ret > 0) {
			t->heard = true;
			if (sink == NULL || !sink(arg, plain, (size_t)ret))
				fail(t, TLS_PROTOCOL);
		} else if (ret == MBEDTLS_ERR_SSL_WANT_READ && t->starved) {
			break;
		} else if (!must_retry(t, ret) &&
			   ret != MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
			fail(t, fault_of(t, ret));
		}
	}
	wipe(plain, sizeof plain);
}

enum tls_fault tls_feed(struct tls *t, const uint8_t *wire, size_t n, tls_sink *sink, void *arg)
{
	if (t->fault != TLS_OK)
		return t->fault;
	if (!set_up(t))
		return fail(t, TLS_NO_MEMORY);
	t->in = wire;
	t->in_left = n;
	t->starved = false;
	if (!t->open)
		shake_hands(t);
	if (t->open)
		read_plain(t, sink, arg);
	t->in = NULL;
	t->in_left = 0;
	return t->fault;
}

enum tls_fault tls_feed_end(struct tls *t)
{
	return fail(t, is_under_verification(t) ? TLS_REFUSED : TLS_PROTOCOL);
}

bool tls_is_open(const struct tls *t)
{
	return t->open;
}

bool tls_send(struct tls *t, const uint8_t *plain, size_t n)
{
	if (!t->open || t->closing || t->fault != TLS_OK)
		return false;
	while (n > 0) {
		int ret = mbedtls_ssl_write(&t->ssl, plain, n); /* at most a record */

		if (ret <= 0) {
			fail(t, ret == MBEDTLS_ERR_SSL_ALLOC_FAILED ? TLS_NO_MEMORY : TLS_PROTOCOL);
			return false;
		}
		plain += ret;
		n -= (size_t)ret;
	}
	return true;
}

void tls_close(struct tls *t)
{
	if (!t->open || t->closing || (t->fault != TLS_OK && t->fault != TLS_CLOSED))
		return;
	t->closing = true;
	mbedtls_ssl_close_notify(&t->ssl); /* without memory the peer gets none */
}

const uint8_t *tls_output(const struct tls *t, size_t *n)
{
	*n = t->out_len - t->out_off;
	return *n > 0 ? t->out + t->out_off : NULL;
}

void tls_output_done(struct tls *t, size_t n)
{
	t->out_off += n < t->out_len - t->out_off ? n : t->out_len - t->out_off;
	if (t->out_off < t->out_len)
		return;
	free(t->out); /* an idle engine keeps none */
	t->out = NULL;
	t->out_off = t->out_len = t->out_room = 0;
}

const struct cert_facts *tls_peer(const struct tls *t)
{
	return t->judged ? &t->peer : NULL;
}

bool tls_export(const struct tls *t, struct secret *out)
{
	size_t len;
	const uint8_t *p = secret_bytes(&t->exporter, &len);

	if (t->open)
		return secret_set(out, p, len);
	secret_wipe(out);
	return false;
}

static enum cert_fault keep_chain(void *chain, const struct cert_facts *leaf, enum cert_fault fault,
				  struct cert_reasons *why)
{
	(void)leaf;
	(void)why;
	*(enum cert_fault *)chain = fault;
	return CERT_OK;
}

enum cert_fault tls_chain_again(struct tls *t, const struct identity *id)
{
	const mbedtls_x509_crt *crt = mbedtls_ssl_get_peer_cert(&t->ssl);
	enum cert_fault chain = CERT_UNREADABLE;
	struct tls as = {.id = id, .role = t->role, .judge = keep_chain, .judge_arg = &chain};
	uint32_t flags = 0;

	if (crt == NULL)
		return CERT_MISSING;
	(void)mbedtls_x509_crt_verify_with_profile(
		(mbedtls_x509_crt *)(uintptr_t)crt,
		id->has_ca ? (mbedtls_x509_crt *)(uintptr_t)&id->ca : NULL, NULL, &cert_profile,
		NULL, &flags, on_cert, &as);
	free(as.verify);
	return chain; /* also where the leaf itself has a fault: that comes first */
}

enum cert_fault tls_cert_fault(const struct tls *t)
{
	return t->fault == TLS_CERT ? t->cert : CERT_OK;
}

const struct cert_reasons *tls_cert_reasons(const struct tls *t)
{
	return t->fault == TLS_CERT && t->verify != NULL ? &t->verify->leaf : NULL;
}

const char *tls_alert(const struct tls *t)
{
	static const struct {
		int alert;
		const char *word;
	} words[] = {
		{MBEDTLS_SSL_ALERT_MSG_BAD_CERT, "bad_certificate"},
		{MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_CERT, "unsupported_certificate"},
		{MBEDTLS_SSL_ALERT_MSG_CERT_REVOKED, "certificate_revoked"},
		{MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED, "certificate_expired"},
		{MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN, "certificate_unknown"},
		{MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA, "unknown_ca"},
		{MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED, "access_denied"},
	};

	for (size_t i = 0; t->alert != 0 && i < sizeof words / sizeof words[0]; i++)
		if (words[i].alert == t->alert)
			return words[i].word;
	return NULL;
}

const char *tls_library_version(void)
{
	return MBEDTLS_VERSION_STRING;
}
