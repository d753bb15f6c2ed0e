/*
 * proto/config/lab.c - the lab file: its tables, and one config for each host.
 */
#include "proto/config/lab.h"

#include <stdlib.h>
#include <string.h>

#include "proto/json/decode.h"
#include "proto/json/encode.h"

#define DEPTH 7

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* A lab while it is decoded. */
struct reading {
	struct lab lab;
	struct lab_group *groups;
	size_t n_groups;
	uint32_t *index; /* number of the pair of hosts a and b, at a * n_hosts + b; 0: none */
	const struct cJSON *options, *hosts, *groups_at, *pairs;
};

/* ---- values ---------------------------------------------------------------------------- */

/* Names are used in file names and on command lines: they begin with a letter or digit. */
static bool name_fits(const char *s)
{
	size_t n = strlen(s);

	return n >= 1 && n <= LAB_NAME_MAX && text_alnum(s, "._-") && strchr("._-", s[0]) == NULL;
}

static int get_name(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	if (json_get_text(v, f, to, e) < 0)
		return -1;
	if (!name_fits(to))
		return err_set(e, ERR_USAGE,
			       "must be 1 to %d letters, digits and . _ -, and begin with a "
			       "letter or digit",
			       LAB_NAME_MAX);
	return 0;
}

/* A destination of ssh, never an option: [user@]host or ssh://[user@]host[:port]. */
static int get_ssh(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	const char *s = to;

	if (json_get_text(v, f, to, e) < 0)
		return -1;
	if (s[0] == '-' || !text_alnum(s, "._-@:/[]%"))
		return err_set(e, ERR_USAGE,
			       "must be \"[USER@]HOST\" or \"ssh://[USER@]HOST:PORT\"");
	return 0;
}

/* Decoded later, when the values it depends on are known. */
static int get_later(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	(void)f;
	(void)e;
	*(const struct cJSON **)to = v;
	return 0;
}

static int add_address(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	struct lab_host *h = arg;
	const char *s = json_string(v);

	if (s == NULL)
		return err_set(e, ERR_USAGE, "must be a string: \"ADDRESS\" or \"ADDRESS:PORT\"");
	if (endpoint_parse(&h->at[i], s, PROTO_PORT, e) < 0)
		return -1;
	if (addr_check_host(&h->at[i].addr, e) < 0)
		return -1;
	h->ats = i + 1;
	return 0;
}

static int get_address(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	struct lab_host *h = to;

	(void)f;
	h->ats = 0;
	if (json_is_string(v))
		return add_address(v, 0, h, e);
	if (json_each(v, LAB_ADDRS_MAX, add_address, h, e) < 0)
		return -1;
	return h->ats > 0 ? 0 : err_set(e, ERR_USAGE, "must have at least one element");
}

/* ---- hosts ----------------------------------------------------------------------------- */

static const char *const systems[] = {"linux", "windows", NULL};

struct host_reading {
	struct lab_host h;
	const struct cJSON *options;
};

static const struct json_field host_fields[] = {
	JSON_NAMED("name", struct host_reading, h.name, get_name, .min = 1,
		   .max = LAB_NAME_MAX + 1),
	JSON_NAMED("address", struct host_reading, h, get_address, .optional = false),
	JSON_NAMED("ssh", struct host_reading, h.ssh, get_ssh, .min = 1, .max = LAB_SSH_MAX + 1,
		   .optional = true),
	JSON_NAMED("system", struct host_reading, h.system, json_get_word, .more = systems,
		   .optional = true),
	JSON_FIELD(struct host_reading, options, get_later, .optional = true),
};

size_t lab_find_host(const struct lab *lab, const char *name)
{
	for (size_t i = 0; i < lab->n_hosts; i++)
		if (strcmp(lab->hosts[i].name, name) == 0)
			return i;
	return SIZE_MAX;
}

static int get_options(struct peer_options *o, const struct cJSON *v, struct err *e)
{
	if (v == NULL)
		return 0;
	if (config_get_options(o, v, e) < 0 || config_check_options(o, e) < 0)
		return err_at(e, "options");
	return 0;
}

/* No two hosts share a name or an address. */
static int check_host(const struct lab *lab, const struct lab_host *h, struct err *e)
{
	size_t twin = lab_find_host(lab, h->name);
	char text[ADDR_TEXT];

	if (twin != SIZE_MAX)
		return err_value(e, "name", "%s is also the name of hosts[%zu]", h->name, twin);
	for (size_t i = 0; i < h->ats; i++) {
		addr_put(text, &h->at[i].addr);
		for (size_t k = 0; k < i; k++)
			if (addr_equal(&h->at[k].addr, &h->at[i].addr))
				return err_value(e, "address", "%s is given twice", text);
		for (size_t k = 0; k < lab->n_hosts; k++)
			for (size_t m = 0; m < lab->hosts[k].ats; m++) {
				if (!addr_equal(&lab->hosts[k].at[m].addr, &h->at[i].addr))
					continue;
				return err_value(e, "address",
						 "%s is also an address of hosts[%zu], %s", text, k,
						 lab->hosts[k].name);
			}
	}
	return 0;
}

static int read_host(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	struct reading *r = arg;
	struct host_reading h;

	memset(&h, 0, sizeof h);
	if (json_decode(v, host_fields, COUNT(host_fields), &h, sizeof h, e) < 0)
		return -1;
	h.h.opt = r->lab.opt;
	if (get_options(&h.h.opt, h.options, e) < 0 || check_host(&r->lab, &h.h, e) < 0)
		return -1;
	r->lab.hosts[i] = h.h;
	r->lab.n_hosts = i + 1;
	return 0;
}

static int read_hosts(struct reading *r, struct err *e)
{
	r->lab.hosts = calloc(LAB_HOSTS_MAX, sizeof *r->lab.hosts);
	if (r->lab.hosts == NULL)
		return err_set(e, ERR_BUG, "no memory for the hosts");
	if (json_each(r->hosts, LAB_HOSTS_MAX, read_host, r, e) < 0)
		return err_at(e, "hosts");
	if (r->lab.n_hosts >= 2)
		return 0;
	return err_value(e, "hosts", "a lab needs at least two hosts");
}

/* ---- groups ---------------------------------------------------------------------------- */

static struct lab_group *find_group(struct reading *r, const char *name)
{
	for (size_t i = 0; i < r->n_groups; i++)
		if (strcmp(r->groups[i].name, name) == 0)
			return &r->groups[i];
	return NULL;
}

struct group_reading {
	const struct reading *r;
	struct lab_group *g;
};

static int add_member(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	struct group_reading *in = arg;
	const char *name = json_string(v);
	size_t host = name != NULL ? lab_find_host(&in->r->lab, name) : SIZE_MAX;

	if (name == NULL)
		return err_set(e, ERR_USAGE, "must be the name of a host");
	if (host == SIZE_MAX)
		return err_set(e, ERR_USAGE, "there is no host \"%s\"", name);
	for (size_t k = 0; k < i; k++)
		if (in->g->host[k] == host)
			return err_set(e, ERR_USAGE, "%s is in the list already", name);
	in->g->host[i] = (uint16_t)host;
	in->g->n = i + 1;
	return 0;
}

struct group_text {
	char name[LAB_NAME_MAX + 1];
	const struct cJSON *hosts;
};

static const struct json_field group_fields[] = {
	JSON_FIELD(struct group_text, name, get_name, .min = 1, .max = LAB_NAME_MAX + 1),
	JSON_FIELD(struct group_text, hosts, get_later, .optional = false),
};

static int read_group(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	struct reading *r = arg;
	struct group_reading in = {r, &r->groups[i]};
	struct group_text text;

	memset(&text, 0, sizeof text);
	if (json_decode(v, group_fields, COUNT(group_fields), &text, sizeof text, e) < 0)
		return -1;
	if (lab_find_host(&r->lab, text.name) != SIZE_MAX || find_group(r, text.name) != NULL ||
	    strcmp(text.name, "all") == 0)
		return err_value(e, "name", "a host or group is already named %s", text.name);
	memcpy(in.g->name, text.name, sizeof in.g->name);
	r->n_groups = i + 1;
	if (json_each(text.hosts, LAB_HOSTS_MAX, add_member, &in, e) < 0)
		return err_at(e, "hosts");
	return 0;
}

static int read_groups(struct reading *r, struct err *e)
{
	r->groups = calloc(LAB_GROUPS_MAX, sizeof *r->groups);
	if (r->groups == NULL)
		return err_set(e, ERR_BUG, "no memory for the groups");
	if (r->groups_at != NULL && json_each(r->groups_at, LAB_GROUPS_MAX, read_group, r, e) < 0)
		return err_at(e, "groups");
	return 0;
}

/* ---- pairs ----------------------------------------------------------------------------- */

/* The hosts that a name in "pairs" stands for. */
static int resolve(struct reading *r, const struct cJSON *v, struct lab_group *out, struct err *e)
{
	const char *name = json_string(v);
	const struct lab_group *g;
	size_t host;

	memset(out, 0, sizeof *out);
	if (name == NULL)
		return err_set(e, ERR_USAGE, "must be the name of a host or group");
	host = lab_find_host(&r->lab, name);
	g = find_group(r, name);
	if (host != SIZE_MAX) {
		out->host[out->n++] = (uint16_t)host;
	} else if (g != NULL) {
		*out = *g;
	} else if (strcmp(name, "all") == 0) {
		for (; out->n < r->lab.n_hosts; out->n++)
			out->host[out->n] = (uint16_t)out->n;
	} else {
		return err_set(e, ERR_USAGE, "there is no host or group \"%s\"", name);
	}
	return 0;
}

/* The first two addresses of the same family. */
static bool choose_addresses(const struct lab *lab, struct lab_pair *p)
{
	const struct lab_host *a = &lab->hosts[p->a], *b = &lab->hosts[p->b];

	for (size_t i = 0; i < a->ats; i++)
		for (size_t k = 0; k < b->ats; k++)
			if (a->at[i].addr.len == b->at[k].addr.len) {
				p->at_a = (uint8_t)i;
				p->at_b = (uint8_t)k;
				return true;
			}
	return false;
}

static bool texts_equal(const char a[PROTECT_MAX][PROTECT_TEXT], uint8_t n,
			const char b[PROTECT_MAX][PROTECT_TEXT], uint8_t m)
{
	for (uint8_t i = 0; i < n && i < m; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return n == m;
}

/* Options that must be equal on both hosts, or that must fit each other. */
static int check_ends(const struct lab *lab, const struct lab_pair *p, struct err *e)
{
	const struct peer_options *a = &p->opt_a, *b = &p->opt_b;
	const char *what = NULL;

	if (a->policy.encap != b->policy.encap)
		what = "encap";
	else if (a->policy.udp != b->policy.udp)
		what = "udp";
	else if (!texts_equal(a->policy.protect, a->policy.protects, b->policy.protect,
			      b->policy.protects))
		what = "protect";
	else if (suite_choose(&a->suites, &b->suites) == SUITE_COUNT)
		what = "suites";
	if (what != NULL)
		return err_set(e, ERR_USAGE, "%s and %s do not agree on %s", lab->hosts[p->a].name,
			       lab->hosts[p->b].name, what);
	if ((a->role == ROLE_LISTEN && b->role == ROLE_LISTEN))
		return err_set(e, ERR_USAGE,
			       "role is \"listen\" on both %s and %s: neither connects",
			       lab->hosts[p->a].name, lab->hosts[p->b].name);
	return 0;
}

/* Options of the pair override those of the hosts. A later entry for a pair replaces an earlier one. */
static int add_pair(struct reading *r, size_t x, size_t y, const struct cJSON *options,
		    struct err *e)
{
	struct lab *lab = &r->lab;
	struct lab_pair made = {.a = (uint16_t)(x < y ? x : y), .b = (uint16_t)(x < y ? y : x)};
	uint32_t *at = &r->index[made.a * lab->n_hosts + made.b];

	made.opt_a = lab->hosts[made.a].opt;
	made.opt_b = lab->hosts[made.b].opt;
	if (get_options(&made.opt_a, options, e) < 0 || get_options(&made.opt_b, options, e) < 0)
		return -1;
	if (!choose_addresses(lab, &made))
		return err_set(e, ERR_USAGE, "%s and %s have no addresses of the same family",
			       lab->hosts[made.a].name, lab->hosts[made.b].name);
	if (check_ends(lab, &made, e) < 0)
		return -1;
	if (*at == 0) {
		if ((lab->n_pairs & (lab->n_pairs - 1)) == 0) {
			size_t room = lab->n_pairs > 0 ? 2 * lab->n_pairs : 1;
			struct lab_pair *grown = realloc(lab->pairs, room * sizeof *grown);

			if (grown == NULL)
				return err_set(e, ERR_BUG, "no memory for %zu pairs", room);
			lab->pairs = grown;
		}
		*at = (uint32_t)++lab->n_pairs;
	}
	lab->pairs[*at - 1] = made;
	return 0;
}

struct between {
	struct reading *r;
	struct lab_group *side; /* two of them */
	size_t n;
};

static int add_side(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	struct between *b = arg;

	b->n = i + 1;
	return resolve(b->r, v, &b->side[i], e);
}

static int read_between(struct reading *r, const struct cJSON *v, const struct cJSON *options,
			struct err *e)
{
	struct lab_group *side = calloc(2, sizeof *side);
	struct between b = {r, side, 0};
	size_t named = 0;
	int rc = -1;

	if (side == NULL)
		return err_set(e, ERR_BUG, "no memory");
	if (json_each(v, 2, add_side, &b, e) < 0)
		goto out;
	if (b.n == 0) {
		err_set(e, ERR_USAGE, "must name two hosts or groups");
		goto out;
	}
	for (size_t i = 0; i < side[0].n; i++)
		for (size_t k = b.n == 2 ? 0 : i + 1; k < side[b.n - 1].n; k++) {
			size_t x = side[0].host[i], y = side[b.n - 1].host[k];

			if (x == y)
				continue;
			named++;
			if (add_pair(r, x, y, options, e) < 0)
				goto out;
		}
	if (named == 0)
		err_set(e, ERR_USAGE, "must contain two different hosts");
	else
		rc = 0;
out:
	free(side);
	return rc;
}

struct pair_text {
	const struct cJSON *between, *options;
};

static const struct json_field pair_fields[] = {
	JSON_FIELD(struct pair_text, between, get_later, .optional = false),
	JSON_FIELD(struct pair_text, options, get_later, .optional = true),
};

static int read_pair(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	struct pair_text text = {NULL, NULL};

	(void)i;
	if (json_is_array(v))
		return read_between(arg, v, NULL, e);
	if (json_decode(v, pair_fields, COUNT(pair_fields), &text, sizeof text, e) < 0)
		return -1;
	return read_between(arg, text.between, text.options, e);
}

static int read_pairs(struct reading *r, struct err *e)
{
	size_t n = r->lab.n_hosts;

	r->index = calloc(n * n, sizeof *r->index);
	if (r->index == NULL)
		return err_set(e, ERR_BUG, "no memory for the pairs");
	if (r->pairs != NULL && !json_is_string(r->pairs)) {
		if (json_each(r->pairs, LAB_HOSTS_MAX * LAB_HOSTS_MAX, read_pair, r, e) < 0)
			return err_at(e, "pairs");
	} else if (r->pairs != NULL && strcmp(json_string(r->pairs), "all") != 0) {
		return err_value(e, "pairs", "must be \"all\" or a list of pairs");
	} else {
		for (size_t i = 0; i < n; i++)
			for (size_t k = i + 1; k < n; k++)
				if (add_pair(r, i, k, NULL, e) < 0)
					return err_at(e, "pairs");
	}
	if (r->lab.n_pairs > 0)
		return 0;
	return err_value(e, "pairs", "a lab needs at least one pair");
}

/* ---- the file -------------------------------------------------------------------------- */

static const struct json_field lab_fields[] = {
	JSON_NAMED("lab", struct reading, lab.name, get_name, .min = 1, .max = LAB_NAME_MAX + 1,
		   .optional = true),
	JSON_NAMED("backend", struct reading, lab.backend, json_get_text, .min = 1,
		   .max = BACKEND_NAME_MAX, .optional = true),
	JSON_NAMED("export_keys", struct reading, lab.export_keys, json_get_bool, .optional = true),
	JSON_FIELD(struct reading, options, get_later, .optional = true),
	JSON_FIELD(struct reading, hosts, get_later, .optional = false),
	JSON_NAMED("groups", struct reading, groups_at, get_later, .optional = true),
	JSON_FIELD(struct reading, pairs, get_later, .optional = true),
};

static int read_lab(const struct cJSON *root, void *to, struct err *e)
{
	struct reading *r = to;

	memcpy(r->lab.name, "lab", sizeof "lab");
	memcpy(r->lab.backend, "auto", sizeof "auto");
	if (json_decode(root, lab_fields, COUNT(lab_fields), r, sizeof *r, e) < 0)
		return -1;
	if (config_default_options(&r->lab.opt, e) < 0 ||
	    get_options(&r->lab.opt, r->options, e) < 0 || read_hosts(r, e) < 0)
		return -1;
	return read_groups(r, e) < 0 ? -1 : read_pairs(r, e);
}

int lab_parse(struct lab *lab, const char *text, size_t len, struct err *e)
{
	struct reading r;
	int rc;

	memset(&r, 0, sizeof r);
	rc = json_read_file(text, len, DEPTH, read_lab, &r, e);
	if (rc < 0)
		lab_free(&r.lab);
	*lab = r.lab;
	free(r.groups);
	free(r.index);
	return rc;
}

void lab_free(struct lab *lab)
{
	free(lab->hosts);
	free(lab->pairs);
	memset(lab, 0, sizeof *lab);
}

const struct lab_pair *lab_find_pair(const struct lab *lab, size_t a, size_t b)
{
	for (size_t i = 0; i < lab->n_pairs; i++)
		if ((lab->pairs[i].a == a && lab->pairs[i].b == b) ||
		    (lab->pairs[i].a == b && lab->pairs[i].b == a))
			return &lab->pairs[i];
	return NULL;
}

/* ---- configs --------------------------------------------------------------------------- */

#define OPTIONS_ROOM 1024 /* bytes of the options as JSON */

size_t lab_config_room(const struct lab *lab, size_t host)
{
	size_t peers = 0;

	for (size_t i = 0; i < lab->n_pairs; i++)
		peers += lab->pairs[i].a == host || lab->pairs[i].b == host ? 1 : 0;
	return 2 * OPTIONS_ROOM + peers * (OPTIONS_ROOM + 256);
}

static void put_endpoint(struct json_out *out, const char *name, const struct endpoint *ep)
{
	char text[ENDPOINT_TEXT];

	endpoint_put(text, ep);
	json_put_text(out, name, text);
}

static void put_peer(struct json_out *out, const struct lab *lab, const struct lab_pair *p,
		     bool is_a)
{
	const struct lab_host *own = &lab->hosts[is_a ? p->a : p->b];
	const struct lab_host *other = &lab->hosts[is_a ? p->b : p->a];
	const struct peer_options *o = is_a ? &p->opt_a : &p->opt_b;

	json_put_open(out, NULL);
	json_put_text(out, "name", other->name);
	put_endpoint(out, "address", &other->at[is_a ? p->at_b : p->at_a]);
	json_put_addr(out, "local", &own->at[is_a ? p->at_a : p->at_b].addr);
	/* soft has one UDP port: that of the first listen */
	json_put_u64(out, "esp_port", other->at[0].port);
	json_put_text(out, "identity", other->name);
	if (peer_options_change(o, &own->opt) != CHANGE_NONE)
		config_put_options(out, o);
	json_put_close(out);
}

void lab_put_config(struct json_out *out, const char *member, const struct lab *lab, size_t host)
{
	const struct lab_host *h = &lab->hosts[host];

	json_put_open(out, member);
	json_put_text(out, "name", h->name);
	json_put_array(out, "listen");
	for (size_t i = 0; i < h->ats; i++)
		put_endpoint(out, NULL, &h->at[i]);
	json_put_array_end(out);
	json_put_text(out, "backend", lab->backend);
	json_put_bool(out, "allow_lab", true);
	if (lab->export_keys)
		json_put_bool(out, "export_keys", true);
	json_put_open(out, "defaults");
	config_put_options(out, &h->opt);
	json_put_close(out);
	json_put_array(out, "peers");
	for (size_t i = 0; i < lab->n_pairs; i++) {
		const struct lab_pair *p = &lab->pairs[i];

		if (p->a == host || p->b == host)
			put_peer(out, lab, p, p->a == host);
	}
	json_put_array_end(out);
	json_put_close(out);
}
