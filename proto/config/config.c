/*
 * proto/config/config.c - config text to struct config.
 */
#include "proto/config/config.h"

#include <stdlib.h>
#include <string.h>

#include "proto/config/table.h"
#include "proto/json/decode.h"

#define DEPTH 6

/* ---- peers ----------------------------------------------------------------------------- */

int config_init(struct config *c, struct err *e)
{
	memset(c, 0, sizeof *c);
	c->esp_port = PROTO_PORT;
	return config_table_preset(&config_agent_table, c, e);
}

int config_default_options(struct peer_options *o, struct err *e)
{
	memset(o, 0, sizeof *o);
	return config_table_preset(&config_option_table, o, e);
}

void config_free(struct config *c)
{
	free(c->peers);
	c->peers = NULL;
	c->n_peers = 0;
}

/* Adds a peer with the defaults; the array is doubled at each power of two. */
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

/* Defaults that depend on the address. */
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

/* ---- parsing --------------------------------------------------------------------------- */

static int decode_peer(const struct cJSON *v, size_t i, void *arg, struct err *e)
{
	struct config *c = arg;
	struct peer_config *p = add_peer(c, e);

	(void)i;
	if (p == NULL || config_table_decode(&config_peer_table, v, p, e) < 0)
		return -1;
	complete_peer(p);
	return 0;
}

static int decode_config(const struct cJSON *root, void *to, struct err *e)
{
	struct config_reading r = {.peers = NULL};
	struct config *c = to;

	if (config_init(&r.c, e) < 0)
		return -1;
	r.c.esp_port = 0;
	if (config_table_decode(&config_agent_table, root, &r, e) < 0)
		return -1;
	*c = r.c;
	if (c->esp_port == 0)
		c->esp_port = c->listens > 0 ? c->listen[0].port : PROTO_PORT;
	if (r.peers != NULL && json_each(r.peers, CONFIG_PEERS_MAX, decode_peer, c, e) < 0)
		return err_at(e, "peers");
	return config_check(c, e);
}

int config_decode(struct config *c, const struct cJSON *obj, struct err *e)
{
	memset(c, 0, sizeof *c);
	if (decode_config(obj, c, e) == 0)
		return 0;
	config_free(c);
	return -1;
}

int config_parse(struct config *c, const char *text, size_t len, struct err *e)
{
	memset(c, 0, sizeof *c);
	if (json_read_file(text, len, DEPTH, decode_config, c, e) == 0)
		return 0;
	config_free(c);
	return -1;
}

static int read_peer(const struct cJSON *root, void *to, struct err *e)
{
	return decode_peer(root, 0, to, e);
}

int config_add_text(struct config *c, const char *text, size_t len, struct err *e)
{
	return json_read_file(text, len, DEPTH, read_peer, c, e);
}

/* ---- options and changes ----------------------------------------------------------------- */

int config_get_options(struct peer_options *o, const struct cJSON *v, struct err *e)
{
	struct peer_options read = *o;

	if (config_table_decode(&config_option_table, v, &read, e) < 0)
		return -1;
	*o = read;
	return 0;
}

void config_put_options(struct json_out *out, const struct peer_options *o)
{
	config_table_put(&config_option_table, out, o);
}

enum config_change peer_options_change(const struct peer_options *a, const struct peer_options *b)
{
	return config_table_change(&config_option_table, a, b);
}

enum config_change peer_config_change(const struct peer_config *a, const struct peer_config *b)
{
	return config_table_change(&config_peer_table, a, b);
}

const char *config_restart_member(const struct config *a, const struct config *b)
{
	const struct config_table *t = &config_agent_table;

	for (size_t i = 0; i < t->n; i++)
		if (t->keys[i].change == CHANGE_RESTART && !config_key_equal(&t->keys[i], a, b))
			return t->keys[i].name;
	return NULL;
}
