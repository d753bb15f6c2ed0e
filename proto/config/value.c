/*
 * proto/config/value.c - the types of values in a config: how each is read, written and compared.
 */
#include <stdio.h>
#include <string.h>

#include "proto/config/table.h"
#include "proto/json/decode.h"
#include "proto/json/encode.h"

/* ---- numbers and texts ----------------------------------------------------------------- */

bool config_name_fits(const char *s)
{
	size_t n = strlen(s);

	return n >= 1 && n <= MSG_NAME_MAX && text_alnum(s, "._:-");
}

static int get_name(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	if (json_get_text(v, f, to, e) < 0)
		return -1;
	if (!config_name_fits(to))
		return err_set(e, ERR_USAGE,
			       "only letters, digits and . _ : - are allowed in a name");
	return 0;
}

static int get_endpoint(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	const char *s = json_string(v);

	(void)f;
	if (s == NULL)
		return err_set(e, ERR_USAGE, "must be a string: \"ADDRESS\" or \"ADDRESS:PORT\"");
	return endpoint_parse(to, s, PROTO_PORT, e);
}

/* Bytes and packets: whole numbers, which scan_json() limits to 2^53 - 1. */
static int get_count(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	double n;

	(void)f;
	if (!json_number(v, &n) || n < 0)
		return err_set(e, ERR_USAGE, "must be a whole number, 0 or more");
	*(uint64_t *)to = (uint64_t)n;
	return 0;
}

/* A word of the list f->more; stores the text. */
static int get_word_text(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	int i;

	if (json_get_word(v, f, &i, e) < 0)
		return -1;
	memset(to, 0, (size_t)f->max);
	memcpy(to, json_string(v), strlen(json_string(v)));
	return 0;
}

static void put_count(struct json_out *o, const struct json_field *f, const void *from)
{
	json_put_u64(o, f->name, *(const uint64_t *)from);
}

static bool texts_equal(const void *a, const void *b, size_t size)
{
	return strncmp(a, b, size) == 0;
}

const struct config_kind config_word = {"word", json_get_word, json_put_field_word, NULL};
const struct config_kind config_flag = {"bool", json_get_bool, json_put_field_bool, NULL};
const struct config_kind config_u16 = {"u16", json_get_u16, json_put_field_u16, NULL};
const struct config_kind config_u32 = {"u32", json_get_u32, json_put_field_u32, NULL};
const struct config_kind config_count = {"count", get_count, put_count, NULL};
const struct config_kind config_text = {"text", json_get_text, NULL, texts_equal};
const struct config_kind config_word_text = {"word", get_word_text, NULL, texts_equal};
const struct config_kind config_file = {"file", json_get_text, NULL, texts_equal};
const struct config_kind config_path = {"path", json_get_text, NULL, texts_equal};
const struct config_kind config_name = {"name", get_name, NULL, texts_equal};

/* ---- addresses and pins ---------------------------------------------------------------- */

static bool endpoints_equal(const void *a, const void *b, size_t size)
{
	const struct endpoint *p = a, *q = b;

	(void)size;
	return addr_equal(&p->addr, &q->addr) && p->port == q->port;
}

static int add_listen(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	struct config *c = arg;

	if (get_endpoint(v, NULL, &c->listen[i], e) < 0)
		return -1;
	for (size_t k = 0; k < i; k++)
		if (c->listen[k].port == c->listen[i].port &&
		    addr_equal(&c->listen[k].addr, &c->listen[i].addr))
			return err_set(e, ERR_USAGE, "is given twice");
	c->listens = i + 1;
	return 0;
}

static int get_listen(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	struct config *c = to;

	(void)f;
	c->listens = 0;
	if (json_is_string(v))
		return add_listen(v, 0, c, e);
	return json_each(v, CONFIG_LISTEN_MAX, add_listen, c, e);
}

static bool listens_equal(const void *a, const void *b, size_t size)
{
	const struct config *c = a, *d = b;

	for (size_t i = 0; i < c->listens && i < d->listens; i++)
		if (!endpoints_equal(&c->listen[i], &d->listen[i], size))
			return false;
	return c->listens == d->listens;
}

static int get_pin(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	struct peer_config *p = to;
	const char *s = json_string(v);

	(void)f;
	if (s == NULL || !pin_get(p->pin, s))
		return err_set(e, ERR_USAGE, "must be \"sha256:\" and 64 lower-case hex digits");
	p->has_pin = true;
	return 0;
}

static bool pins_equal(const void *a, const void *b, size_t size)
{
	const struct peer_config *p = a, *q = b;

	(void)size;
	return p->has_pin == q->has_pin && (!p->has_pin || bytes_equal(p->pin, q->pin, PIN_LEN));
}

const struct config_kind config_address = {"address", json_get_addr, NULL, NULL};
const struct config_kind config_endpoint = {"endpoint", get_endpoint, NULL, endpoints_equal};
const struct config_kind config_listen = {"listen", get_listen, NULL, listens_equal};
const struct config_kind config_pin = {"pin", get_pin, NULL, pins_equal};

/* ---- lists ------------------------------------------------------------------------------- */

static int add_suite(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	const char *s = json_string(v);
	enum suite suite = s != NULL ? suite_of_name(s) : SUITE_COUNT;
	char known[160] = "";
	size_t n = 0;

	(void)i;
	if (suite != SUITE_COUNT) {
		if (suite_list_add(arg, suite))
			return 0;
		return err_set(e, ERR_USAGE, "%s is given twice", s);
	}
	for (int k = 0; k < SUITE_COUNT; k++)
		n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", k > 0 ? ", " : "",
				      suite_info((enum suite)k)->name);
	return err_set(e, ERR_USAGE, "unknown suite; known: %s", known);
}

static int get_suites(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	struct suite_list *l = to;

	(void)f;
	*l = (struct suite_list){0};
	if (json_each(v, SUITE_COUNT, add_suite, l, e) < 0)
		return -1;
	return l->n > 0 ? 0 : err_set(e, ERR_USAGE, "must name at least one suite");
}

/* A number without leading zeros, since selectors of two hosts are compared as texts. */
static bool number_fits(const char *s, unsigned min, unsigned max)
{
	unsigned n = 0;

	if (*s < '0' || *s > '9' || (*s == '0' && s[1] != '\0'))
		return false;
	for (; *s >= '0' && *s <= '9'; s++) {
		n = 10 * n + (unsigned)(*s - '0');
		if (n > max)
			return false;
	}
	return *s == '\0' && n >= min;
}

static bool port_fits(const char *s)
{
	return (strncmp(s, "tcp/", 4) == 0 || strncmp(s, "udp/", 4) == 0) &&
	       number_fits(s + 4, 1, UINT16_MAX);
}

static bool protect_fits(const char *s)
{
	return strcmp(s, "all") == 0 || port_fits(s) ||
	       (strncmp(s, "proto/", 6) == 0 && number_fits(s + 6, 0, UINT8_MAX));
}

static bool exempt_fits(const char *s)
{
	return strcmp(s, "icmp") == 0 || port_fits(s);
}

struct selectors {
	char (*list)[PROTECT_TEXT];
	uint8_t n;
	bool (*fits)(const char *s);
	const char *words;
};

static int add_selector(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	struct selectors *l = arg;
	const char *s = json_string(v);

	if (s == NULL || !l->fits(s))
		return err_set(e, ERR_USAGE, "must be %s", l->words);
	for (size_t k = 0; k < i; k++)
		if (strcmp(l->list[k], s) == 0)
			return err_set(e, ERR_USAGE, "%s is given twice", s);
	memset(l->list[i], 0, PROTECT_TEXT);
	memcpy(l->list[i], s, strlen(s));
	l->n = (uint8_t)(i + 1);
	return 0;
}

static int get_protect(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	struct peer_options *o = to;
	struct selectors l = {o->policy.protect, 0, protect_fits,
			      "\"all\", \"tcp/PORT\", \"udp/PORT\" or \"proto/NUMBER\""};

	(void)f;
	memset(o->policy.protect, 0, sizeof o->policy.protect);
	if (json_each(v, PROTECT_MAX, add_selector, &l, e) < 0)
		return -1;
	o->policy.protects = l.n;
	if (l.n == 0)
		return err_set(e, ERR_USAGE, "must have at least one element");
	for (size_t i = 0; i < l.n && l.n > 1; i++)
		if (strcmp(o->policy.protect[i], "all") == 0)
			return err_set(e, ERR_USAGE, "\"all\" allows no other selector");
	return 0;
}

static int get_exempt(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	struct peer_options *o = to;
	struct selectors l = {o->policy.exempt, 0, exempt_fits,
			      "\"icmp\", \"tcp/PORT\" or \"udp/PORT\""};

	(void)f;
	memset(o->policy.exempt, 0, sizeof o->policy.exempt);
	if (json_each(v, PROTECT_MAX, add_selector, &l, e) < 0)
		return -1;
	o->policy.exempts = l.n;
	return 0;
}

static void put_selectors(struct json_out *o, const char *name,
			  const char list[PROTECT_MAX][PROTECT_TEXT], size_t n)
{
	json_put_array(o, name);
	for (size_t i = 0; i < n; i++)
		json_put_text(o, NULL, list[i]);
	json_put_array_end(o);
}

static bool selectors_equal(const char a[PROTECT_MAX][PROTECT_TEXT],
			    const char b[PROTECT_MAX][PROTECT_TEXT], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

static void put_protect(struct json_out *o, const struct json_field *f, const void *from)
{
	const struct peer_options *p = from;

	put_selectors(o, f->name, p->policy.protect, p->policy.protects);
}

static void put_exempt(struct json_out *o, const struct json_field *f, const void *from)
{
	const struct peer_options *p = from;

	put_selectors(o, f->name, p->policy.exempt, p->policy.exempts);
}

static bool protect_equal(const void *a, const void *b, size_t size)
{
	const struct peer_options *p = a, *q = b;

	(void)size;
	return p->policy.protects == q->policy.protects &&
	       selectors_equal(p->policy.protect, q->policy.protect, p->policy.protects);
}

static bool exempt_equal(const void *a, const void *b, size_t size)
{
	const struct peer_options *p = a, *q = b;

	(void)size;
	return p->policy.exempts == q->policy.exempts &&
	       selectors_equal(p->policy.exempt, q->policy.exempt, p->policy.exempts);
}

static int get_peers(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	struct config_reading *r = to;

	(void)f;
	if (!json_is_array(v))
		return err_set(e, ERR_USAGE, "must be an array");
	r->peers = v;
	return 0;
}

const struct config_kind config_suites = {"suites", get_suites, msg_put_suites, NULL};
const struct config_kind config_protect = {"protect", get_protect, put_protect, protect_equal};
const struct config_kind config_exempt = {"exempt", get_exempt, put_exempt, exempt_equal};
const struct config_kind config_peers = {"peers", get_peers, NULL, NULL};
