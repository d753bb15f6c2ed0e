/*
 * proto/wire/msg.c - one field table for each message.
 *
 * The tables define name, type and range of every member, for decoding and encoding. check() has the
 * rules between members.
 */
#include "proto/wire/msg.h"

#include <string.h>

#include "crypto/hex.h"
#include "proto/json/decode.h"
#include "proto/json/encode.h"

#define LIFETIME_MIN 30
#define LIFETIME_MAX 604800
#define WINDOW_MAX 4096
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- words ----------------------------------------------------------------------------- */

#define NAME(constant, name) #name,
static const char *const type_words[] = {MSG_LIST(NAME)};
#undef NAME
#define WORD(n, w) w,
#define WORD_OF_FAULT(n, w, c, t) w,
static const char *const reason_words[] = {REASON_LIST(WORD) NULL};
static const char *const fault_words[] = {FAULT_LIST(WORD_OF_FAULT) NULL};
#undef WORD
#undef WORD_OF_FAULT
static const char *const mode_words[] = {"required", "permissive", NULL};
static const char *const encap_words[] = {"transport", "tunnel", NULL};

const char *msg_name(enum msg_type t)
{
	return (unsigned)t < MSG_COUNT ? type_words[t] : "unknown";
}

const char *reason_word(enum rekey_reason r)
{
	return (unsigned)r < REASON_COUNT ? reason_words[r] : "unknown";
}

const char *fault_word(enum fault f)
{
	return (unsigned)f < FAULT_COUNT ? fault_words[f] : "unknown";
}

const char *fault_text(enum fault f)
{
#define TEXT(n, w, c, t) t,
	static const char *const texts[] = {FAULT_LIST(TEXT)};
#undef TEXT

	return (unsigned)f < FAULT_COUNT ? texts[f] : "an unknown fault";
}

enum err_code fault_class(enum fault f)
{
#define CLASS(n, w, c, t) ERR_##c,
	static const enum err_code classes[] = {FAULT_LIST(CLASS)};
#undef CLASS

	return (unsigned)f < FAULT_COUNT ? classes[f] : ERR_BUG;
}

/* ---- values of messages ---------------------------------------------------- */

/* decode_type() has read it. */
static int get_type(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	(void)v, (void)f, (void)to, (void)e;
	return 0;
}

static int get_xid(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	if (json_get_hex64(v, f, to, e) < 0)
		return -1;
	if (*(uint64_t *)to == 0)
		return err_set(e, ERR_REFUSED, "must not be 0");
	return 0;
}

static int get_sa_spi(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	if (json_get_spi(v, f, to, e) < 0)
		return -1;
	if (!spi_usable(*(struct spi *)to))
		return err_set(e, ERR_REFUSED, "SPIs 0 to 255 are reserved");
	return 0;
}

/* A reject with the fault "none" would look like success. */
static int get_fault(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	if (json_get_word(v, f, to, e) < 0)
		return -1;
	if (*(int *)to == FAULT_NONE)
		return err_set(e, ERR_REFUSED, "must be a fault");
	return 0;
}

static int read_suite(const struct cJSON *v, enum suite *s, struct err *e)
{
	const char *name = json_string(v);

	if (name == NULL)
		return err_set(e, ERR_REFUSED, "must be a string");
	*s = suite_of_name(name);
	if (*s == SUITE_COUNT)
		return err_set(e, ERR_REFUSED, "unknown suite \"%.32s\"", name);
	return 0;
}

static int get_suite(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	enum suite s;

	(void)f;
	if (read_suite(v, &s, e) < 0)
		return -1;
	*(int *)to = (int)s;
	return 0;
}

static void put_suite(struct json_out *o, const struct json_field *f, const void *from)
{
	json_put_text(o, f->name, suite_info((enum suite) * (const int *)from)->name);
}

static int add_suite(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	enum suite s;

	(void)i;
	if (read_suite(v, &s, e) < 0)
		return -1;
	if (!suite_list_add(arg, s))
		return err_set(e, ERR_REFUSED, "%s is given twice", suite_info(s)->name);
	return 0;
}

static int get_suites(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	struct suite_list *l = to;

	*l = (struct suite_list){0};
	if (json_each(v, f->max, add_suite, l, e) < 0)
		return -1;
	if (l->n == 0)
		return err_set(e, ERR_REFUSED, "must not be empty");
	return 0;
}

void msg_put_suites(struct json_out *o, const struct json_field *f, const void *from)
{
	const struct suite_list *l = from;

	json_put_array(o, f->name);
	for (size_t i = 0; i < l->n; i++)
		json_put_text(o, NULL, suite_info((enum suite)l->v[i])->name);
	json_put_array_end(o);
}

static int add_protect(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	static const struct json_field text = {.min = 1, .max = PROTECT_TEXT};
	struct msg_hello *m = arg;

	if (json_get_text(v, &text, m->protect[i], e) < 0)
		return -1;
	m->protects = (uint8_t)(i + 1);
	return 0;
}

static int get_protect(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	return json_each(v, f->max, add_protect, to, e);
}

static void put_protect(struct json_out *o, const struct json_field *f, const void *from)
{
	const struct msg_hello *m = from;

	json_put_array(o, f->name);
	for (size_t i = 0; i < m->protects; i++)
		json_put_text(o, NULL, m->protect[i]);
	json_put_array_end(o);
}

static int get_ppk_check(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	static const struct json_field bytes = {.max = TAG_LEN};
	struct msg_hello *m = to;

	(void)f;
	if (json_get_hexbytes(v, &bytes, m->ppk_check, e) < 0)
		return -1;
	m->has_ppk = true;
	return 0;
}

static void put_ppk_check(struct json_out *o, const struct json_field *f, const void *from)
{
	const struct msg_hello *m = from;

	if (m->has_ppk)
		json_put_hexbytes(o, f->name, m->ppk_check, TAG_LEN);
}

/* Of a report; 0 is a valid count, so a flag says whether it is present. */
static void put_count(struct json_out *o, const struct json_field *f, const void *from)
{
	const struct msg_report *m = (const void *)((const char *)from - f->off);

	if (m->has_counts)
		json_put_dec64(o, f->name, *(const uint64_t *)from);
}

/* ---- tables ---------------------------------------------------------------------------- */

/* A member: its struct, its name, how it is read and written, limits or words. */
#define TYPE                                    \
	{                                       \
		.name = "type", .get = get_type \
	}
#define FIELD(s, member, get_, put_, min_, max_)                                       \
	{                                                                              \
		.name = #member, .get = get_, .off = offsetof(struct msg_##s, member), \
		.min = min_, .max = max_, .put = put_                                  \
	}
#define WORDS(s, member, get_, list)                                                   \
	{                                                                              \
		.name = #member, .get = get_, .off = offsetof(struct msg_##s, member), \
		.more = list, .put = json_put_field_word                               \
	}
#define OPTIONAL(s, name_, member, get_, put_)                                       \
	{                                                                            \
		.name = name_, .get = get_, .off = offsetof(struct msg_##s, member), \
		.optional = true, .put = put_                                        \
	}

/* clang-format off */
static const struct json_field hello_fields[] = {
	TYPE,
	FIELD(hello, version,  json_get_u32,      json_put_field_u32,      1, UINT32_MAX),
	FIELD(hello, instance, json_get_hexbytes, json_put_field_hexbytes, 0, INSTANCE_LEN),
	FIELD(hello, agent,    json_get_text,     json_put_field_text,     0, MSG_NAME_MAX + 1),
	FIELD(hello, name,     json_get_text,     json_put_field_text,     0, MSG_NAME_MAX + 1),
	FIELD(hello, local,    json_get_addr,     json_put_field_addr,     0, 0),
	FIELD(hello, remote,   json_get_addr,     json_put_field_addr,     0, 0),
	WORDS(hello, mode,     json_get_word,     mode_words),
	WORDS(hello, encap,    json_get_word,     encap_words),
	FIELD(hello, udp,      json_get_bool,     json_put_field_bool,     0, 0),
	{.name = "protect", .get = get_protect, .put = put_protect, .max = PROTECT_MAX},
	FIELD(hello, epoch,    json_get_dec64,    json_put_field_dec64,    0, 0),
	FIELD(hello, last,     json_get_dec64,    json_put_field_dec64,    0, 0),
	OPTIONAL(hello, "spi_in", in, get_sa_spi, json_put_field_spi),
	OPTIONAL(hello, "spi_out", out, get_sa_spi, json_put_field_spi),
	{.name = "ppk", .get = get_ppk_check, .put = put_ppk_check, .optional = true},
};
static const struct json_field offer_fields[] = {
	TYPE,
	FIELD(offer, xid,        get_xid,         json_put_field_hex64,  0, 0),
	FIELD(offer, epoch,      json_get_dec64,  json_put_field_dec64,  1, 0),
	WORDS(offer, reason,     json_get_word,   reason_words),
	FIELD(offer, suites,     get_suites,      msg_put_suites,            0, SUITE_COUNT),
	FIELD(offer, spi,        get_sa_spi,      json_put_field_spi,    0, 0),
	FIELD(offer, share,      json_get_secret, json_put_field_secret, 0, SHARE_LEN),
	FIELD(offer, lifetime_s, json_get_u32,    json_put_field_u32,    LIFETIME_MIN, LIFETIME_MAX),
	FIELD(offer, esn,        json_get_bool,   json_put_field_bool,   0, 0),
	FIELD(offer, window,     json_get_u32,    json_put_field_u32,    0, WINDOW_MAX),
};
static const struct json_field answer_fields[] = {
	TYPE,
	FIELD(answer, xid,        get_xid,           json_put_field_hex64,    0, 0),
	FIELD(answer, suite,      get_suite,         put_suite,               0, 0),
	FIELD(answer, spi,        get_sa_spi,        json_put_field_spi,      0, 0),
	FIELD(answer, share,      json_get_secret,   json_put_field_secret,   0, SHARE_LEN),
	FIELD(answer, lifetime_s, json_get_u32,      json_put_field_u32,      LIFETIME_MIN, LIFETIME_MAX),
	FIELD(answer, esn,        json_get_bool,     json_put_field_bool,     0, 0),
	FIELD(answer, window,     json_get_u32,      json_put_field_u32,      0, WINDOW_MAX),
	FIELD(answer, tag,        json_get_hexbytes, json_put_field_hexbytes, 0, TAG_LEN),
};
static const struct json_field confirm_fields[] = {
	TYPE,
	FIELD(confirm, xid, get_xid,           json_put_field_hex64,    0, 0),
	FIELD(confirm, tag, json_get_hexbytes, json_put_field_hexbytes, 0, TAG_LEN),
};
static const struct json_field done_fields[] = {
	TYPE,
	FIELD(done, xid, get_xid, json_put_field_hex64, 0, 0),
};
static const struct json_field reject_fields[] = {
	TYPE,
	FIELD(reject, xid,  get_xid,       json_put_field_hex64, 0, 0),
	WORDS(reject, reason, get_fault,     fault_words),
	FIELD(reject, text, json_get_text, json_put_field_text,  0, MSG_TEXT_MAX + 1),
	OPTIONAL(reject, "epoch", epoch, json_get_dec64, json_put_field_dec64),
};
static const struct json_field rekey_fields[] = {
	TYPE,
	WORDS(rekey, reason, json_get_word, reason_words),
};
static const struct json_field probe_fields[] = {
	TYPE,
	FIELD(probe, id,    json_get_hex64, json_put_field_hex64, 0, 0),
	FIELD(probe, epoch, json_get_dec64, json_put_field_dec64, 0, 0),
	FIELD(probe, sent,  json_get_u32,   json_put_field_u32,   0, 0),
};
static const struct json_field report_fields[] = {
	TYPE,
	FIELD(report, id,       json_get_hex64, json_put_field_hex64, 0, 0),
	FIELD(report, epoch,    json_get_dec64, json_put_field_dec64, 0, 0),
	FIELD(report, sent,     json_get_u32,   json_put_field_u32,   0, 0),
	FIELD(report, closed,   json_get_bool,  json_put_field_bool,  0, 0),
	FIELD(report, received, json_get_u32,   json_put_field_u32,   0, 0),
	OPTIONAL(report, "spi_in", in, get_sa_spi, json_put_field_spi),
	OPTIONAL(report, "spi_out", out, get_sa_spi, json_put_field_spi),
	OPTIONAL(report, "in_packets", in_packets, json_get_dec64, put_count),
	OPTIONAL(report, "out_packets", out_packets, json_get_dec64, put_count),
};
static const struct json_field ping_fields[] = {
	TYPE,
	FIELD(ping, id, json_get_hex64, json_put_field_hex64, 0, 0),
};
static const struct json_field pong_fields[] = {
	TYPE,
	FIELD(pong, id, json_get_hex64, json_put_field_hex64, 0, 0),
};
static const struct json_field bye_fields[] = {
	TYPE,
	WORDS(bye, reason, json_get_word, fault_words),
};
static const struct json_field error_fields[] = {
	TYPE,
	WORDS(error, reason, get_fault,     fault_words),
	FIELD(error, text, json_get_text, json_put_field_text, 0, MSG_TEXT_MAX + 1),
};

#define TABLE(constant, name) {name##_fields, COUNT(name##_fields), sizeof(struct msg_##name)},
static const struct {
	const struct json_field *fields;
	size_t n, size;
} tables[] = {MSG_LIST(TABLE)};
#undef TABLE
/* clang-format on */

/* ---- rules between members ------------------------------------------------------------- */

static int check_hello(const struct msg_hello *m, struct err *e)
{
	bool in_force = m->epoch != 0;

	if ((m->in.n != 0) != in_force || (m->out.n != 0) != in_force)
		return err_set(e, ERR_REFUSED,
			       "spi_in and spi_out must be present exactly when an "
			       "epoch is in force");
	if (m->last < m->epoch)
		return err_set(e, ERR_REFUSED, "last must not be below epoch");
	return 0;
}

static int check_report(struct msg_report *m, const struct cJSON *obj, struct err *e)
{
	bool in = json_member(obj, "in_packets") != NULL;

	if (in != (json_member(obj, "out_packets") != NULL))
		return err_set(e, ERR_REFUSED,
			       "in_packets and out_packets must both be present or absent");
	m->has_counts = in;
	return 0;
}

/* The tag covers the bytes before it, so the end has one form only. */
static int check_answer(const char *body, size_t len, struct err *e)
{
	static const char head[] = ",\"tag\":\"";

	if (len > ANSWER_TAIL && memcmp(body + len - ANSWER_TAIL, head, sizeof head - 1) == 0 &&
	    memcmp(body + len - 2, "\"}", 2) == 0)
		return 0;
	return err_set(e, ERR_REFUSED, "tag must be the last member, without white space");
}

static int check(struct msg *m, const struct cJSON *obj, const char *body, size_t len,
		 struct err *e)
{
	switch (m->type) {
	case MSG_HELLO:
		return check_hello(&m->u.hello, e);
	case MSG_ANSWER:
		return check_answer(body, len, e);
	case MSG_REPORT:
		return check_report(&m->u.report, obj, e);
	default:
		return 0;
	}
}

/* ---- decoding -------------------------------------------------------------------------- */

static int decode_type(const struct cJSON *obj, enum msg_type *type, struct err *e)
{
	const char *word = json_peek(obj, "type");

	if (word == NULL)
		return err_set(e, ERR_REFUSED, "type: missing, or not a string");
	for (unsigned t = 0; t < MSG_COUNT; t++)
		if (strcmp(type_words[t], word) == 0) {
			*type = (enum msg_type)t;
			return 0;
		}
	return err_set(e, ERR_REFUSED, "unknown type \"%.32s\"", word);
}

static int decode(struct msg *m, const struct cJSON *obj, const char *body, size_t len,
		  struct err *e)
{
	if (decode_type(obj, &m->type, e) < 0)
		return -1;
	if (json_decode(obj, tables[m->type].fields, tables[m->type].n, &m->u, tables[m->type].size,
			e) < 0 ||
	    check(m, obj, body, len, e) < 0)
		return err_in(e, "%s", msg_name(m->type));
	return 0;
}

int msg_decode(struct msg *m, const char *body, size_t len, struct err *e)
{
	struct json_doc *doc;
	int result;

	memset(m, 0, sizeof *m);
	if (json_open(&doc, body, len, MSG_DEPTH, e) < 0)
		return -1;
	result = decode(m, json_root(doc), body, len, e);
	json_close(doc);
	if (result < 0)
		wipe(m, sizeof *m);
	return result;
}

/* ---- encoding -------------------------------------------------------------------------- */

size_t msg_encode(const struct msg *m, char *buf, size_t size)
{
	struct json_out o;

	json_begin(&o, buf, size);
	json_put_open(&o, NULL);
	json_put_text(&o, "type", msg_name(m->type));
	json_put_fields(&o, tables[m->type].fields, tables[m->type].n, &m->u);
	json_put_close(&o);
	return json_end(&o);
}

void msg_answer_set_tag(char *body, size_t len, const uint8_t tag[TAG_LEN])
{
	char hex[2 * TAG_LEN + 1];

	hex_put(hex, tag, TAG_LEN);
	memcpy(body + len - 2 - 2 * TAG_LEN, hex, 2 * TAG_LEN);
}
