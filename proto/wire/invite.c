/*
 * proto/wire/invite.c - invitations: tokens, proofs, messages.
 */
#include "proto/wire/invite.h"

#include <string.h>

#include "crypto/bytes.h"
#include "crypto/hex.h"
#include "proto/json/decode.h"
#include "proto/json/encode.h"

#define RAW (PIN_LEN + INVITE_SECRET + 8)
#define CHECK_LEN 4

static const char token_label[] = "sapair token 1";
static const char proof_label[] = "sapair invite 1";

/* ---- the token ------------------------------------------------------------------------- */

/* A checksum, to tell a mistyped token from a refused one; not for security. */
static void check_of(uint8_t check[SHA256_LEN], const char *endpoint, const uint8_t raw[RAW])
{
	const struct bytes parts[] = {
		{token_label, sizeof token_label},
		{endpoint, strlen(endpoint)},
		{raw, RAW},
	};

	if (!sha256(parts, 3, check))
		memset(check, 0, SHA256_LEN);
}

void invite_put(char *text, const struct invite *i)
{
	uint8_t raw[RAW + SHA256_LEN];
	size_t len, n;

	endpoint_put(text, &i->at);
	memcpy(raw, i->pin, PIN_LEN);
	memcpy(raw + PIN_LEN, secret_bytes(&i->secret, &len), INVITE_SECRET);
	be_put(raw + RAW - 8, (uint64_t)i->until, 8);
	check_of(raw + RAW, text, raw);
	n = strlen(text);
	text[n] = '/';
	hex_put(text + n + 1, raw, RAW + CHECK_LEN);
	wipe(raw, sizeof raw);
}

static int read_raw(struct invite *i, const char *endpoint, const uint8_t raw[RAW + CHECK_LEN],
		    struct err *e)
{
	uint8_t check[SHA256_LEN];

	check_of(check, endpoint, raw);
	if (!bytes_equal(check, raw + RAW, CHECK_LEN)) {
		err_set(e, ERR_USAGE, "token truncated or mistyped");
		return err_hint(e, "copy the whole line that \"sapair invite\" printed");
	}
	if (endpoint_parse(&i->at, endpoint, PROTO_PORT, e) < 0)
		return -1;
	memcpy(i->pin, raw, PIN_LEN);
	secret_set(&i->secret, raw + PIN_LEN, INVITE_SECRET);
	i->until = (int64_t)(be_get(raw + RAW - 8, 8) & INT64_MAX);
	return 0;
}

int invite_get(struct invite *i, const char *text, size_t len, struct err *e)
{
	static const char hint[] = "a token is one line such as 192.0.2.1:4511/5f0c...";
	char endpoint[ENDPOINT_TEXT];
	uint8_t raw[RAW + CHECK_LEN];
	const char *slash;
	size_t n;
	int rc;

	memset(i, 0, sizeof *i);
	for (; len > 0 && strchr(" \t\r\n", *text) != NULL; text++)
		len--;
	while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
		len--;
	slash = len > 0 ? memchr(text, '/', len) : NULL;
	n = slash != NULL ? (size_t)(slash - text) : 0;
	if (n == 0 || n >= sizeof endpoint || !hex_get(raw, sizeof raw, slash + 1, len - n - 1)) {
		err_set(e, ERR_USAGE, "not a token of \"sapair invite\", or not a complete one");
		return err_hint(e, hint);
	}
	memcpy(endpoint, text, n);
	endpoint[n] = '\0';
	rc = read_raw(i, endpoint, raw, e);
	wipe(raw, sizeof raw);
	return rc;
}

/* ---- proofs ---------------------------------------------------------------------------- */

static bool proof_of(uint8_t out[SHA256_LEN], const struct invite_msg *m,
		     const struct invite_bind *b)
{
	const uint8_t head[] = {(uint8_t)m->kind, (uint8_t)(m->port >> 8), (uint8_t)m->port};
	size_t len;
	const uint8_t *exporter = secret_bytes(b->exporter, &len);
	const struct bytes parts[] = {
		{proof_label, sizeof proof_label},
		{head, sizeof head},
		{exporter, len},
		{b->inviter, PIN_LEN},
		{b->joiner, PIN_LEN},
		{m->name, strlen(m->name)},
	};

	return secret_len(b->secret) == INVITE_SECRET && len == SHA256_LEN &&
	       hmac_sha256(b->secret, parts, sizeof parts / sizeof parts[0], out);
}

bool invite_prove(struct invite_msg *m, const struct invite_bind *b)
{
	return proof_of(m->proof, m, b);
}

bool invite_proven(const struct invite_msg *m, const struct invite_bind *b)
{
	uint8_t want[SHA256_LEN];

	return proof_of(want, m, b) && bytes_equal(want, m->proof, SHA256_LEN);
}

/* ---- messages -------------------------------------------------------------------------- */

static const char *const kinds[] = {"join", "welcome", NULL};

/* Names are used in file names. */
static int get_name(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	const char *s = to;

	if (json_get_text(v, f, to, e) < 0)
		return -1;
	if (!text_alnum(s, "._-") || strchr("._-", s[0]) != NULL)
		return err_set(e, ERR_REFUSED, "not a host name");
	return 0;
}

static const struct json_field fields[] = {
	JSON_NAMED("type", struct invite_msg, kind, json_get_word, .more = kinds,
		   .put = json_put_field_word),
	JSON_FIELD(struct invite_msg, name, get_name, .min = 1, .max = MSG_NAME_MAX + 1,
		   .put = json_put_field_text),
	JSON_FIELD(struct invite_msg, port, json_get_u16, .min = 1, .put = json_put_field_u16),
	JSON_FIELD(struct invite_msg, proof, json_get_hexbytes, .max = SHA256_LEN,
		   .put = json_put_field_hexbytes),
};
#define FIELDS (sizeof fields / sizeof fields[0])

size_t invite_encode(const struct invite_msg *m, char *body, size_t size)
{
	struct json_out o;

	json_begin(&o, body, size);
	json_put_open(&o, NULL);
	json_put_fields(&o, fields, FIELDS, m);
	json_put_close(&o);
	return json_end(&o);
}

int invite_decode(struct invite_msg *m, enum invite_kind wanted, const char *body, size_t len,
		  struct err *e)
{
	memset(m, 0, sizeof *m);
	if (json_decode_text(body, len, 1, fields, FIELDS, m, sizeof *m, e) < 0)
		return -1;
	if (m->kind == (int)wanted)
		return 0;
	memset(m, 0, sizeof *m);
	return err_set(e, ERR_REFUSED, "not a %s", kinds[wanted]);
}
