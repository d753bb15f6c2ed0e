/*
 * proto/config/config.c - the tables of the config file, and the rules between its members.
 */
#include "proto/config/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json/json.h"

#define DEPTH 6
#define TIME_MAX_S 604800u
#define HARD_MIN_S 30u
#define MS_MAX 600000u
#define INTERVAL_MAX_MS 3600000u
#define WINDOW_STEP 32u
#define WINDOW_MAX 4096u

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* ---- defaults -------------------------------------------------------------------------- */

struct peer_options config_default_options(void)
{
	return (struct peer_options){
		.role = ROLE_BOTH,
		.mode = MODE_REQUIRED,
		.start = CONFIG_START_CLOSED,
		.encap = ENCAP_TRANSPORT,
		.esn = true,
		.verify = true,
		.window = 1024,
		.suites = suite_list_default(),
		.protects = 1,
		.protect = {"all"},
		.exempts = 1,
		.exempt = {"icmp"},
		.rekey_time_s = 3600,
		.rekey_min_interval_ms = 1000,
		.hard_time_s = 5400,
		.switch_ms = 1000,
		.drain_ms = 5000,
	};
}

void config_init(struct config *c)
{
	*c = (struct config){
		.listen = {{.addr = {.len = 16}, .port = PROTO_PORT},
			   {.addr = {.len = 4}, .port = PROTO_PORT}},
		.listens = 2,
		.esp_port = PROTO_PORT,
		.backend = "auto",
		.log = "info",
		.defaults = config_default_options(),
	};
}

void config_free(struct config *c)
{
	free(c->peers);
	c->peers = NULL;
	c->n_peers = 0;
}

/* The next peer, with the defaults; room doubles at each power of two. */
static struct peer_config *add_peer(struct config *c, struct err *e)
{
	size_t n = c->n_peers;
	struct peer_config *p;

	if (n == CONFIG_PEERS_MAX) {
		err_set(e, ERR_USAGE, "more than %d peers", CONFIG_PEERS_MAX);
		return NULL;
	}
	if ((n & (n - 1)) == 0) {
		p = realloc(c->peers, (n > 0 ? 2 * n : 1) * sizeof *p);
		if (p == NULL) {
			err_set(e, ERR_BUG, "no memory for %zu peers", n + 1);
			return NULL;
		}
		c->peers = p;
	}
	p = &c->peers[n];
	memset(p, 0, sizeof *p);
	p->opt = c->defaults;
	c->n_peers++;
	return p;
}

/* What follows from the address when the config does not say it. */
static void complete_peer(struct peer_config *p)
{
	if (p->name[0] == '\0')
		addr_put(p->name, &p->remote.addr);
	if (p->esp_port == 0)
		p->esp_port = p->remote.port;
}

int config_add_peer(struct config *c, const char *address, struct err *e)
{
	struct endpoint remote;
	struct peer_config *p;

	if (endpoint_parse(&remote, address, PROTO_PORT, e) < 0)
		return -1;
	p = add_peer(c, e);
	if (p == NULL)
		return -1;
	p->remote = remote;
	complete_peer(p);
	return 0;
}

/* ---- values ---------------------------------------------------------------------------- */

static bool name_fits(const char *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._:-";
	size_t n = strlen(s);

	return n >= 1 && n <= MSG_NAME_MAX && strspn(s, letters) == n;
}

static int get_name(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	if (json_get_text(v, f, to, e) < 0)
		return -1;
	if (!name_fits(to))
		return err_set(e, ERR_USAGE, "only letters, digits and . _ : - make a name");
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

/* Bytes and packets: whole JSON numbers, which scan_json() keeps below 2^53. */
static int get_count(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	double n;

	(void)f;
	if (!json_number(v, &n) || n < 0)
		return err_set(e, ERR_USAGE, "must be a whole number, 0 or more");
	*(uint64_t *)to = (uint64_t)n;
	return 0;
}

/* One of the words of f->more, kept as text. */
static int get_word_text(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	int i;

	if (json_get_word(v, f, &i, e) < 0)
		return -1;
	memset(to, 0, (size_t)f->max);
	memcpy(to, json_string(v), strlen(json_string(v)));
	return 0;
}

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
		return err_set(e, ERR_USAGE, "%s is in the list already", s);
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
	l->n = 0;
	if (json_each(v, SUITE_COUNT, add_suite, l, e) < 0)
		return -1;
	return l->n > 0 ? 0 : err_set(e, ERR_USAGE, "must name at least one suite");
}

/* A number without leading zeros: selectors of two hosts are compared as texts. */
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
			return err_set(e, ERR_USAGE, "%s is in the list already", s);
	memset(l->list[i], 0, PROTECT_TEXT);
	memcpy(l->list[i], s, strlen(s));
	l->n = (uint8_t)(i + 1);
	return 0;
}

static int get_protect(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	struct peer_options *o = to;
	struct selectors l = {o->protect, 0, protect_fits,
			      "\"all\", \"tcp/PORT\", \"udp/PORT\" or \"proto/NUMBER\""};

	(void)f;
	memset(o->protect, 0, sizeof o->protect);
	if (json_each(v, PROTECT_MAX, add_selector, &l, e) < 0)
		return -1;
	o->protects = l.n;
	if (l.n == 0)
		return err_set(e, ERR_USAGE, "must have at least one element");
	for (size_t i = 0; i < l.n && l.n > 1; i++)
		if (strcmp(o->protect[i], "all") == 0)
			return err_set(e, ERR_USAGE, "\"all\" stands alone");
	return 0;
}

static int get_exempt(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	struct peer_options *o = to;
	struct selectors l = {o->exempt, 0, exempt_fits, "\"icmp\", \"tcp/PORT\" or \"udp/PORT\""};

	(void)f;
	memset(o->exempt, 0, sizeof o->exempt);
	if (json_each(v, PROTECT_MAX, add_selector, &l, e) < 0)
		return -1;
	o->exempts = l.n;
	return 0;
}

/* ---- tables ---------------------------------------------------------------------------- */

static const char *const roles[] = {"both", "dial", "listen", NULL};
static const char *const modes[] = {"required", "permissive", NULL};
static const char *const starts[] = {"closed", "seamless", NULL};
static const char *const encaps[] = {"transport", "tunnel", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

/* Every member is optional but the peer's address. */
/* clang-format off */
#define FIELD(type, base, member, at, getter, least, most, words) \
	{member, getter, (base) + offsetof(type, at), least, most, words, true}
#define LIMIT(member, at, getter, least, most) \
	FIELD(struct peer_options, 0, member, at, getter, least, most, NULL)
/* clang-format on */

static const struct json_field rekey_fields[] = {
	LIMIT("time_s", rekey_time_s, json_get_u32, 0, TIME_MAX_S),
	LIMIT("bytes", rekey_bytes, get_count, 0, 0),
	LIMIT("packets", rekey_packets, get_count, 0, 0),
	LIMIT("min_interval_ms", rekey_min_interval_ms, json_get_u32, 0, INTERVAL_MAX_MS),
};

static const struct json_field hard_fields[] = {
	LIMIT("time_s", hard_time_s, json_get_u32, HARD_MIN_S, TIME_MAX_S),
	LIMIT("bytes", hard_bytes, get_count, 0, 0),
	LIMIT("packets", hard_packets, get_count, 0, 0),
};

static int get_rekey(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	(void)f;
	return json_decode(v, rekey_fields, COUNT(rekey_fields), to, sizeof(struct peer_options),
			   e);
}

static int get_hard(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	(void)f;
	return json_decode(v, hard_fields, COUNT(hard_fields), to, sizeof(struct peer_options), e);
}

/* Of a struct peer_options that lies at base in the destination; some getters want all of it. */
/* clang-format off */
#define OPTION(base, at, getter, least, most, words) \
	FIELD(struct peer_options, base, #at, at, getter, least, most, words)
#define OPTIONS(base)                                                          \
	OPTION(base, role, json_get_word, 0, 0, roles),                        \
	OPTION(base, mode, json_get_word, 0, 0, modes),                        \
	OPTION(base, start, json_get_word, 0, 0, starts),                      \
	OPTION(base, encap, json_get_word, 0, 0, encaps),                      \
	OPTION(base, udp, json_get_bool, 0, 0, NULL),                          \
	OPTION(base, esn, json_get_bool, 0, 0, NULL),                          \
	OPTION(base, verify, json_get_bool, 0, 0, NULL),                       \
	OPTION(base, window, json_get_u32, WINDOW_STEP, WINDOW_MAX, NULL),     \
	OPTION(base, suites, get_suites, 0, 0, NULL),                          \
	{"protect", get_protect, base, 0, 0, NULL, true},                      \
	{"exempt", get_exempt, base, 0, 0, NULL, true},                        \
	{"rekey", get_rekey, base, 0, 0, NULL, true},                          \
	{"hard", get_hard, base, 0, 0, NULL, true},                            \
	OPTION(base, switch_ms, json_get_u32, 0, MS_MAX, NULL),                \
	OPTION(base, drain_ms, json_get_u32, 0, MS_MAX, NULL)
/* clang-format on */

static const struct json_field option_fields[] = {OPTIONS(0)};

#define PEER(at, getter, least, most) \
	FIELD(struct peer_config, 0, #at, at, getter, least, most, NULL)
static const struct json_field peer_fields[] = {
	{"address", get_endpoint, offsetof(struct peer_config, remote), 0, 0, NULL, false},
	PEER(name, get_name, 1, MSG_NAME_MAX + 1),
	PEER(local, json_get_addr, 0, 0),
	PEER(esp_port, json_get_u16, 1, 0),
	{"pin", get_pin, 0, 0, 0, NULL, true},
	PEER(identity, get_name, 1, CERT_NAME_MAX + 1),
	PEER(ppk, json_get_text, 1, CONFIG_PATH_MAX),
	OPTIONS(offsetof(struct peer_config, opt)),
};

/* A config while it is read: the peers come last, since they begin with the defaults. */
struct reading {
	struct config c;
	const struct cJSON *peers;
};

static int add_listen(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	struct reading *r = arg;

	if (get_endpoint(v, NULL, &r->c.listen[i], e) < 0)
		return -1;
	for (size_t k = 0; k < i; k++)
		if (r->c.listen[k].port == r->c.listen[i].port &&
		    addr_equal(&r->c.listen[k].addr, &r->c.listen[i].addr))
			return err_set(e, ERR_USAGE, "is in the list already");
	r->c.listens = i + 1;
	return 0;
}

static int get_listen(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	struct reading *r = to;

	(void)f;
	r->c.listens = 0;
	if (json_is_string(v))
		return add_listen(v, 0, r, e);
	return json_each(v, CONFIG_LISTEN_MAX, add_listen, r, e);
}

static int get_defaults(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	(void)f;
	return json_decode(v, option_fields, COUNT(option_fields), to, sizeof(struct peer_options),
			   e);
}

static int get_peers(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	struct reading *r = to;

	(void)f;
	if (!json_is_array(v))
		return err_set(e, ERR_USAGE, "must be an array");
	r->peers = v;
	return 0;
}

#define SIZE(at) sizeof(((struct config *)NULL)->at)
#define CONFIG(member, at, getter, least, most, words) \
	FIELD(struct reading, 0, member, c.at, getter, least, most, words)
#define PATH(at) CONFIG(#at, at, json_get_text, 1, CONFIG_PATH_MAX, NULL)
static const struct json_field config_fields[] = {
	CONFIG("name", name, get_name, 1, MSG_NAME_MAX + 1, NULL),
	{"listen", get_listen, 0, 0, 0, NULL, true},
	CONFIG("esp_port", esp_port, json_get_u16, 1, 0, NULL),
	CONFIG("backend", backend, json_get_text, 1, BACKEND_NAME_MAX, NULL),
	PATH(certificate),
	PATH(key),
	PATH(ca),
	PATH(deny),
	PATH(control),
	CONFIG("log", log, get_word_text, 0, SIZE(log), levels),
	CONFIG("allow_lab", allow_lab, json_get_bool, 0, 0, NULL),
	CONFIG("export_keys", export_keys, json_get_bool, 0, 0, NULL),
	CONFIG("test_fault", fault, json_get_text, 0, SIZE(fault), NULL),
	CONFIG("defaults", defaults, get_defaults, 0, 0, NULL),
	{"peers", get_peers, 0, 0, 0, NULL, true},
};

static int read_peer(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	struct config *c = arg;
	struct peer_config *p = add_peer(c, e);

	(void)i;
	if (p == NULL || json_decode(v, peer_fields, COUNT(peer_fields), p, sizeof *p, e) < 0)
		return -1;
	complete_peer(p);
	return 0;
}

static int read_config(struct config *c, const struct cJSON *root, struct err *e)
{
	struct reading r = {.peers = NULL};

	config_init(&r.c);
	r.c.esp_port = 0;
	if (json_decode(root, config_fields, COUNT(config_fields), &r, sizeof r, e) < 0)
		return -1;
	*c = r.c;
	if (c->esp_port == 0)
		c->esp_port = c->listens > 0 ? c->listen[0].port : PROTO_PORT;
	if (r.peers != NULL && json_each(r.peers, CONFIG_PEERS_MAX, read_peer, c, e) < 0)
		return err_at(e, "peers");
	return config_check(c, e);
}

int config_decode(struct config *c, const struct cJSON *obj, struct err *e)
{
	config_init(c);
	if (read_config(c, obj, e) == 0)
		return 0;
	config_free(c);
	return -1;
}

int config_parse(struct config *c, const char *text, size_t len, struct err *e)
{
	struct json_doc *doc;

	config_init(c);
	if (json_open(&doc, text, len, DEPTH, true, e) < 0)
		goto wrong;
	if (read_config(c, json_root(doc), e) < 0) {
		json_place(text, len, e);
		json_close(doc);
		goto wrong;
	}
	json_close(doc);
	return 0;

wrong:
	config_free(c);
	if (e != NULL && e->code == ERR_REFUSED)
		e->code = ERR_USAGE; /* not a peer's message: the user's file */
	return -1;
}

int config_add_text(struct config *c, const char *text, size_t len, struct err *e)
{
	struct json_doc *doc;
	int rc = -1;

	if (json_open(&doc, text, len, DEPTH, true, e) == 0) {
		rc = read_peer(json_root(doc), 0, c, e);
		if (rc < 0)
			json_place(text, len, e);
		json_close(doc);
	}
	if (rc < 0 && e != NULL && e->code == ERR_REFUSED)
		e->code = ERR_USAGE; /* not a peer's message: the user's file */
	return rc;
}

/* ---- rules between members --------------------------------------------------------------- */

static int limit_wrong(struct err *e, const char *what, uint64_t rekey, uint64_t hard)
{
	if (rekey == 0)
		err_set(e, ERR_USAGE, "needs a smaller rekey.%s, or the pair goes down there",
			what);
	else
		err_set(e, ERR_USAGE, "%" PRIu64 " is not above rekey.%s, %" PRIu64, hard, what,
			rekey);
	err_at(e, "%s", what);
	return err_at(e, "hard");
}

static bool selector_in(const char *s, const char list[PROTECT_MAX][PROTECT_TEXT], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], s) == 0)
			return true;
	return false;
}

bool config_stops(const struct peer_options *o, const char *selector)
{
	return o->mode == MODE_REQUIRED && !selector_in(selector, o->exempt, o->exempts) &&
	       (selector_in("all", o->protect, o->protects) ||
		selector_in(selector, o->protect, o->protects));
}

int config_check_options(const struct peer_options *o, struct err *e)
{
	if (o->window % WINDOW_STEP != 0) {
		err_set(e, ERR_USAGE, "%u is not a multiple of %u", o->window, WINDOW_STEP);
		return err_at(e, "window");
	}
	/* Without rekey.time_s the agent itself rekeys well before hard.time_s. */
	if (o->rekey_time_s >= o->hard_time_s)
		return limit_wrong(e, "time_s", o->rekey_time_s, o->hard_time_s);
	if (o->hard_bytes != 0 && (o->rekey_bytes == 0 || o->rekey_bytes >= o->hard_bytes))
		return limit_wrong(e, "bytes", o->rekey_bytes, o->hard_bytes);
	if (o->hard_packets != 0 && (o->rekey_packets == 0 || o->rekey_packets >= o->hard_packets))
		return limit_wrong(e, "packets", o->rekey_packets, o->hard_packets);
	if ((uint64_t)o->rekey_min_interval_ms >= (uint64_t)o->hard_time_s * 1000) {
		err_set(e, ERR_USAGE, "%u ms are not below hard.time_s, %u s",
			o->rekey_min_interval_ms, o->hard_time_s);
		err_at(e, "min_interval_ms");
		return err_at(e, "rekey");
	}
	for (size_t i = 0; i < o->exempts; i++) {
		if (!selector_in(o->exempt[i], o->protect, o->protects))
			continue;
		err_set(e, ERR_USAGE, "%s is protected: it cannot be exempt, too", o->exempt[i]);
		err_at(e, "[%zu]", i);
		return err_at(e, "exempt");
	}
	return 0;
}

static int check_addresses(const struct config *c, const struct peer_config *p, struct err *e)
{
	char text[ADDR_TEXT];

	addr_put(text, &p->remote.addr);
	if (!addr_is_unicast(&p->remote.addr)) {
		err_set(e, ERR_USAGE, "%s is not the address of one host", text);
		return err_at(e, "address");
	}
	for (size_t i = 0; i < c->listens; i++) {
		if (!addr_equal(&c->listen[i].addr, &p->remote.addr))
			continue;
		err_set(e, ERR_USAGE, "%s is our own: it is in listen", text);
		return err_at(e, "address");
	}
	if (p->local.len == 0)
		return 0;
	if (!addr_is_unicast(&p->local))
		err_set(e, ERR_USAGE, "not the address of one host");
	else if (p->local.len != p->remote.addr.len)
		err_set(e, ERR_USAGE, "one of IPv4 and IPv6 with %s: a pair has one family", text);
	else if (addr_equal(&p->local, &p->remote.addr))
		err_set(e, ERR_USAGE, "the same as the peer's address");
	else
		return 0;
	return err_at(e, "local");
}

static int check_peer(const struct config *c, const struct peer_config *p, struct err *e)
{
	struct addr named;

	if (!name_fits(p->name)) {
		err_set(e, ERR_USAGE, "only letters, digits and . _ : - make a name");
		return err_at(e, "name");
	}
	if (check_addresses(c, p, e) < 0)
		return -1;
	/* Commands take names and addresses: one must not mean two peers. */
	if (addr_parse(&named, p->name, NULL) == 0 && !addr_equal(&named, &p->remote.addr)) {
		err_set(e, ERR_USAGE, "%s is an address, but not this peer's", p->name);
		return err_at(e, "name");
	}
	if (p->opt.role == ROLE_LISTEN && c->listens == 0) {
		err_set(e, ERR_USAGE, "waits for the peer to dial, but listen is empty");
		return err_at(e, "role");
	}
	return config_check_options(&p->opt, e);
}

static int by_name(const void *a, const void *b)
{
	const struct peer_config *const *p = a, *const *q = b;
	int order = strcmp((*p)->name, (*q)->name);

	return order != 0 ? order : *p < *q ? -1 : 1;
}

static int by_address(const void *a, const void *b)
{
	const struct peer_config *const *p = a, *const *q = b;
	int order = addr_compare(&(*p)->remote.addr, &(*q)->remote.addr);

	if (order == 0)
		order = addr_compare(&(*p)->local, &(*q)->local);
	return order != 0 ? order : *p < *q ? -1 : 1;
}

static int twice(const struct config *c, const struct peer_config *p, const char *member,
		 struct err *e)
{
	err_at(e, "%s", member);
	err_at(e, "[%zu]", (size_t)(p - c->peers));
	return err_at(e, "peers");
}

/* sorted has room for every peer; neighbours are compared, so 10,000 peers take no time. */
static int check_twins(const struct config *c, const struct peer_config **sorted, struct err *e)
{
	for (size_t i = 0; i < c->n_peers; i++)
		sorted[i] = &c->peers[i];
	qsort(sorted, c->n_peers, sizeof sorted[0], by_address);
	for (size_t i = 1; i < c->n_peers; i++) {
		const struct peer_config *p = sorted[i - 1], *q = sorted[i];
		size_t first = (size_t)(p - c->peers);

		if (!addr_equal(&p->remote.addr, &q->remote.addr))
			continue;
		if (addr_equal(&p->local, &q->local))
			err_set(e, ERR_USAGE, "peers[%zu] is the same pair of addresses", first);
		else if (p->local.len == 0)
			err_set(e, ERR_USAGE, "peers[%zu] has it, too: give each a local address",
				first);
		else
			continue;
		return twice(c, q, "address", e);
	}
	qsort(sorted, c->n_peers, sizeof sorted[0], by_name);
	for (size_t i = 1; i < c->n_peers; i++) {
		if (strcmp(sorted[i - 1]->name, sorted[i]->name) != 0)
			continue;
		err_set(e, ERR_USAGE, "peers[%zu] is called %s, too",
			(size_t)(sorted[i - 1] - c->peers), sorted[i]->name);
		return twice(c, sorted[i], "name", e);
	}
	return 0;
}

int config_check(const struct config *c, struct err *e)
{
	const struct peer_config **sorted;
	int rc;

	if (config_check_options(&c->defaults, e) < 0)
		return err_at(e, "defaults");
	for (size_t i = 0; i < c->n_peers; i++) {
		if (check_peer(c, &c->peers[i], e) == 0)
			continue;
		err_at(e, "[%zu]", i);
		return err_at(e, "peers");
	}
	if (c->n_peers < 2)
		return 0;
	sorted = calloc(c->n_peers, sizeof(void *));
	if (sorted == NULL)
		return err_set(e, ERR_BUG, "no memory to compare %zu peers", c->n_peers);
	rc = check_twins(c, sorted, e);
	free(sorted);
	return rc;
}

/* ---- options alone ----------------------------------------------------------------------- */

int config_get_options(struct peer_options *o, const struct cJSON *v, struct err *e)
{
	struct peer_options read = *o;

	if (json_decode(v, option_fields, COUNT(option_fields), &read, sizeof read, e) < 0)
		return -1;
	*o = read;
	return 0;
}

static void put_texts(struct json_out *out, const char *name,
		      const char list[PROTECT_MAX][PROTECT_TEXT], size_t n)
{
	json_put_array(out, name);
	for (size_t i = 0; i < n; i++)
		json_put_text(out, NULL, list[i]);
	json_put_array_end(out);
}

void config_put_options(struct json_out *out, const struct peer_options *o)
{
	json_put_text(out, "role", roles[o->role]);
	json_put_text(out, "mode", modes[o->mode]);
	json_put_text(out, "start", starts[o->start]);
	json_put_text(out, "encap", encaps[o->encap]);
	json_put_bool(out, "udp", o->udp);
	json_put_bool(out, "esn", o->esn);
	json_put_bool(out, "verify", o->verify);
	json_put_u64(out, "window", o->window);
	json_put_array(out, "suites");
	for (size_t i = 0; i < o->suites.n; i++)
		json_put_text(out, NULL, suite_info((enum suite)o->suites.v[i])->name);
	json_put_array_end(out);
	put_texts(out, "protect", o->protect, o->protects);
	put_texts(out, "exempt", o->exempt, o->exempts);
	json_put_open(out, "rekey");
	json_put_u64(out, "time_s", o->rekey_time_s);
	json_put_u64(out, "bytes", o->rekey_bytes);
	json_put_u64(out, "packets", o->rekey_packets);
	json_put_u64(out, "min_interval_ms", o->rekey_min_interval_ms);
	json_put_close(out);
	json_put_open(out, "hard");
	json_put_u64(out, "time_s", o->hard_time_s);
	json_put_u64(out, "bytes", o->hard_bytes);
	json_put_u64(out, "packets", o->hard_packets);
	json_put_close(out);
	json_put_u64(out, "switch_ms", o->switch_ms);
	json_put_u64(out, "drain_ms", o->drain_ms);
}

/* ---- comparing ------------------------------------------------------------------------- */

static bool texts_equal(const char a[PROTECT_MAX][PROTECT_TEXT],
			const char b[PROTECT_MAX][PROTECT_TEXT], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

bool peer_options_equal(const struct peer_options *a, const struct peer_options *b)
{
	return a->role == b->role && a->mode == b->mode && a->start == b->start &&
	       a->encap == b->encap && a->udp == b->udp && a->esn == b->esn &&
	       a->verify == b->verify && a->window == b->window && a->suites.n == b->suites.n &&
	       memcmp(a->suites.v, b->suites.v, a->suites.n) == 0 && a->protects == b->protects &&
	       a->exempts == b->exempts && texts_equal(a->protect, b->protect, a->protects) &&
	       texts_equal(a->exempt, b->exempt, a->exempts) &&
	       a->rekey_time_s == b->rekey_time_s && a->rekey_bytes == b->rekey_bytes &&
	       a->rekey_packets == b->rekey_packets &&
	       a->rekey_min_interval_ms == b->rekey_min_interval_ms &&
	       a->hard_time_s == b->hard_time_s && a->hard_bytes == b->hard_bytes &&
	       a->hard_packets == b->hard_packets && a->switch_ms == b->switch_ms &&
	       a->drain_ms == b->drain_ms;
}

bool peer_config_equal(const struct peer_config *a, const struct peer_config *b)
{
	return strcmp(a->name, b->name) == 0 && addr_equal(&a->remote.addr, &b->remote.addr) &&
	       a->remote.port == b->remote.port && addr_equal(&a->local, &b->local) &&
	       a->esp_port == b->esp_port && a->has_pin == b->has_pin &&
	       (!a->has_pin || bytes_equal(a->pin, b->pin, PIN_LEN)) &&
	       strcmp(a->identity, b->identity) == 0 && strcmp(a->ppk, b->ppk) == 0 &&
	       peer_options_equal(&a->opt, &b->opt);
}
