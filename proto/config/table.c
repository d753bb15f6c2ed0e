/*
 * proto/config/table.c - the members of the config file, one row each, and what follows from them.
 *
 * The schema (docs/schema/config.json) and the tables of docs/config.md are written from these rows
 * by scripts/make-schemas.py. Texts are Markdown.
 */
#include "proto/config/table.h"

#include <assert.h>
#include <string.h>

#include "proto/json/decode.h"
#include "proto/json/encode.h"

#define DEPTH 6
#define KEYS_MAX 32
#define TIME_MAX_S 604800
#define MS_MAX 600000
#define INTERVAL_MAX_MS 3600000
#define WINDOW_MIN 32
#define WINDOW_MAX 4096

static const char *const roles[] = {"both", "dial", "listen", NULL};
static const char *const modes[] = {"required", "permissive", NULL};
static const char *const starts[] = {"closed", "seamless", NULL};
static const char *const encaps[] = {"transport", "tunnel", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

/* ---- rows ------------------------------------------------------------------------------ */

#define SIZE(s, member) sizeof(((struct s *)NULL)->member)
/* A member that one value of a struct holds; one that several values hold. */
#define VALUE(s, member, name_, kind_)                                             \
	.name = name_, .kind = &config_##kind_, .off = offsetof(struct s, member), \
	.size = SIZE(s, member)
#define WHOLE(name_, kind_) .name = name_, .kind = &config_##kind_
#define OPTION(member, kind) VALUE(peer_options, member, #member, kind)
#define POLICY(member, kind) VALUE(peer_options, policy.member, #member, kind)
#define LIMIT(member, name, kind) VALUE(peer_options, member, name, kind)
#define PEER(member, kind) VALUE(peer_config, member, #member, kind), .change = CHANGE_PEER
#define AGENT(member, kind) VALUE(config, member, #member, kind)
#define TABLE(s, rows)                                               \
	{                                                            \
		rows, sizeof rows / sizeof rows[0], sizeof(struct s) \
	}

#define NAME_RANGE "1 to 64 of letters, digits, `. _ : -`"
#define ENDPOINT_RANGE "`ADDRESS`, `ADDRESS:PORT`, `[V6]:PORT`"

static const struct config_key rekey_rows[] = {
	{LIMIT(rekey_time_s, "time_s", u32), .max = TIME_MAX_S, .change = CHANGE_REKEY,
	 .preset = "3600",
	 .text = "seconds until the pair is rekeyed, less up to 10 % at random; 0: 80 % of "
		 "`hard.time_s`"},
	{LIMIT(limits.soft_bytes, "bytes", count), .change = CHANGE_REKEY, .preset = "0",
	 .text = "bytes on one SA until the pair is rekeyed; 0: no limit"},
	{LIMIT(limits.soft_packets, "packets", count), .change = CHANGE_REKEY, .preset = "0",
	 .text = "packets on one SA until the pair is rekeyed; 0: no limit (without ESN: 2^31)"},
	{LIMIT(rekey_min_interval_ms, "min_interval_ms", u32), .max = INTERVAL_MAX_MS,
	 .change = CHANGE_REKEY, .preset = "1000",
	 .text = "minimum time in milliseconds between two rekeys, and between two offers accepted "
		 "from the peer; 0: no limit"},
};
static const struct config_table rekey_table = TABLE(peer_options, rekey_rows);

static const struct config_key hard_rows[] = {
	{LIMIT(hard_time_s, "time_s", u32), .min = 30, .max = TIME_MAX_S, .change = CHANGE_REKEY,
	 .preset = "5400",
	 .text = "seconds until an SA expires; the smaller value of the two hosts is used"},
	{LIMIT(limits.hard_bytes, "bytes", count), .change = CHANGE_REKEY, .preset = "0",
	 .text = "bytes until an SA expires; 0: no limit"},
	{LIMIT(limits.hard_packets, "packets", count), .change = CHANGE_REKEY, .preset = "0",
	 .text = "packets until an SA expires; 0: no limit (without ESN: 2^32 - 2^20)"},
};
static const struct config_table hard_table = TABLE(peer_options, hard_rows);

static const struct config_key option_rows[] = {
	{OPTION(role, word), .more = roles, .change = CHANGE_PEER, .preset = "\"both\"",
	 .text = "which host connects; the TLS client leads the exchanges"},
	{POLICY(mode, word), .more = modes, .change = CHANGE_PEER, .preset = "\"required\"",
	 .text = "`permissive` lets clear text through, for a staged roll-out"},
	{POLICY(start, word), .more = starts, .change = CHANGE_PEER, .preset = "\"closed\"",
	 .text = "`closed` installs the policy before the SAs, `seamless` after them"},
	{POLICY(encap, word), .more = encaps, .change = CHANGE_PEER, .preset = "\"transport\"",
	 .text = "`tunnel`: the whole packet within ESP, between the same two addresses; must be "
		 "equal on both hosts"},
	{POLICY(udp, flag), .change = CHANGE_PEER, .preset = "false",
	 .text = "ESP in UDP (RFC 3948), where something on the path drops ESP; must be equal on "
		 "both hosts; Linux only (`soft` always uses it)"},
	{OPTION(esn, flag), .change = CHANGE_REKEY, .preset = "true",
	 .text = "extended sequence numbers, if the peer has them, too"},
	{OPTION(verify, flag), .change = CHANGE_REKEY, .preset = "true",
	 .text = "verify each new pair with probes"},
	{OPTION(window, u32), .min = WINDOW_MIN, .max = WINDOW_MAX, .change = CHANGE_REKEY,
	 .preset = "1024", .range = "32 to 4096, a multiple of 32",
	 .text = "our anti-replay window in packets"},
	{OPTION(suites, suites), .max = SUITE_COUNT, .change = CHANGE_REKEY,
	 .preset = "[\"aes256gcm16\",\"aes128gcm16\",\"aes256-sha256\"]",
	 .range = "1 to 9 names of [protocol.md](protocol.md#8-suites-and-esp)",
	 .text = "in order of preference"},
	{WHOLE("protect", protect), .max = PROTECT_MAX, .change = CHANGE_PEER,
	 .preset = "[\"all\"]", .range = "1 to 8 of `all`, `tcp/PORT`, `udp/PORT`, `proto/NUMBER`",
	 .text = "traffic that must be ESP; `all` allows no other selector; must be equal on both "
		 "hosts"},
	{WHOLE("exempt", exempt), .max = PROTECT_MAX, .change = CHANGE_PEER, .preset = "[\"icmp\"]",
	 .range = "0 to 8 of `icmp`, `tcp/PORT`, `udp/PORT`",
	 .text = "traffic that may pass in clear; the agents' own TCP port always may"},
	{WHOLE("rekey", group), .more = &rekey_table},
	{WHOLE("hard", group), .more = &hard_table},
	{OPTION(switch_ms, u32), .max = MS_MAX, .change = CHANGE_REKEY, .preset = "1000",
	 .text = "milliseconds that the old outbound SA stays after the switch"},
	{OPTION(drain_ms, u32), .max = MS_MAX, .change = CHANGE_REKEY, .preset = "5000",
	 .text = "milliseconds that the old inbound SA stays after the peer's switch; of more than "
		 "128 old pairs the oldest are removed sooner"},
};
const struct config_table config_option_table = TABLE(peer_options, option_rows);

static const struct config_key peer_rows[] = {
	{VALUE(peer_config, remote, "address", endpoint), .required = true, .change = CHANGE_PEER,
	 .range = ENDPOINT_RANGE, .text = "the address of one host; the port is 4510 by default"},
	{PEER(name, name), .min = 1, .max = SIZE(peer_config, name), .range = NAME_RANGE,
	 .absent = "the address", .text = "its name in commands, logs and events; unique"},
	{PEER(local, address), .range = "same family as `address`",
	 .absent = "the first fitting address in `listen`, else the one that routing selects",
	 .text = "our address of the pair"},
	{PEER(esp_port, u16), .min = 1, .max = UINT16_MAX, .absent = "the port of `address`",
	 .text = "the peer's UDP port for the back end `soft` and for `udp`; with `udp` the "
		 "default is 4500"},
	{WHOLE("pin", pin), .change = CHANGE_PEER, .range = "`sha256:` and 64 hex digits",
	 .absent = "none",
	 .text = "SHA-256 of the peer's public key, as `sapair id show --pin` prints it there; then "
		 "no CA is needed"},
	{PEER(identity, name), .min = 1, .max = SIZE(peer_config, identity), .range = NAME_RANGE,
	 .absent = "none",
	 .text = "the name that its certificate must contain; without it, the certificate must "
		 "contain its `name` or its address"},
	{PEER(ppk, file), .min = 1, .max = CONFIG_PATH_MAX, .absent = "none",
	 .text = "64 to 128 lower-case hex digits, the same on both hosts, mixed into every key; "
		 "read when the peer is added"},
	{VALUE(peer_config, opt, "", include), .more = &config_option_table},
};
const struct config_table config_peer_table = TABLE(peer_config, peer_rows);

#define FILE_(member, absent_, text_)                                                         \
	{                                                                                     \
		AGENT(member, file), .min = 1, .max = CONFIG_PATH_MAX, .change = CHANGE_LINK, \
				     .absent = absent_, .text = text_                         \
	}
static const struct config_key agent_rows[] = {
	{AGENT(name, name), .min = 1, .max = SIZE(config, name), .change = CHANGE_APPLY,
	 .range = NAME_RANGE, .absent = "the certificate's name, else the host's",
	 .text = "the name of this agent"},
	{WHOLE("listen", listen), .max = CONFIG_LISTEN_MAX, .change = CHANGE_RESTART,
	 .preset = "[\"[::]:4510\",\"0.0.0.0:4510\"]", .range = "0 to 8 of " ENDPOINT_RANGE,
	 .text = "TCP addresses to accept connections on; `[]`: this agent only connects"},
	{AGENT(esp_port, u16), .min = 1, .max = UINT16_MAX, .change = CHANGE_RESTART,
	 .absent = "port of the first `listen`",
	 .text = "our UDP port for the back end `soft` and for `udp`; with `udp` the default is "
		 "4500"},
	{AGENT(backend, text), .min = 1, .max = BACKEND_NAME_MAX, .change = CHANGE_RESTART,
	 .preset = "\"auto\"", .range = "`auto` or a name that `sapair version` lists",
	 .text = "the back end, which installs SAs and policies; `auto` is `xfrm` on Linux and "
		 "`wfp` on Windows; without ESP in the kernel the agent does not start. `soft` must be "
		 "named: it does not protect the host's traffic"},
	FILE_(certificate, "`sapair.crt` beside the config file",
	      "our certificate and its chain, PEM"),
	FILE_(key, "`sapair.key` beside the config file", "its private key, PEM, not encrypted"),
	FILE_(ca, "`ca.crt` beside the config file, if it is there",
	      "CA certificates that peers are verified with, PEM"),
	FILE_(deny, "none",
	      "denied keys: one pin (`sha256:...`) in a line, `#` begins a comment; a denied key is "
	      "refused whatever pin or CA allows it"),
	{AGENT(control, path), .min = 1, .max = CONFIG_PATH_MAX, .change = CHANGE_RESTART,
	 .absent = "see below", .text = "the control socket"},
	{AGENT(log, word_text), .max = SIZE(config, log), .more = levels, .change = CHANGE_APPLY,
	 .preset = "\"info\"", .text = "level of the log on stderr"},
	{AGENT(allow_lab, flag), .change = CHANGE_APPLY, .preset = "false",
	 .text = "accept lab identities (`sapair ca new --lab`)"},
	{AGENT(export_keys, flag), .change = CHANGE_APPLY, .preset = "false",
	 .text = "`sapair export` may print the keys of SAs made from now on; they stay in memory "
		 "as long as the SA"},
	{AGENT(defaults, group), .more = &config_option_table,
	 .text = "options of every peer that does not set them itself"},
	{WHOLE("peers", peers), .max = CONFIG_PEERS_MAX, .absent = "none", .text = "the peers"},
};
const struct config_table config_agent_table = TABLE(config, agent_rows);

/* ---- decoding and encoding --------------------------------------------------------------- */

static int get_group(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	return config_table_decode(f->more, v, to, e);
}

static void put_group(struct json_out *o, const struct json_field *f, const void *from)
{
	json_put_open(o, f->name);
	config_table_put(f->more, o, from);
	json_put_close(o);
}

const struct config_kind config_group = {"group", get_group, put_group, NULL};
const struct config_kind config_include = {"include", NULL, NULL, NULL};

static bool has_table(const struct config_key *k)
{
	return k->kind == &config_group || k->kind == &config_include;
}

/* The rows as fields of a struct that begins at base; returns how many there are in f now. */
static size_t add_fields(struct json_field f[KEYS_MAX], size_t n, const struct config_table *t,
			 size_t base)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct config_key *k = &t->keys[i];

		if (k->kind == &config_include) {
			n = add_fields(f, n, k->more, base + k->off);
			continue;
		}
		assert(n < KEYS_MAX);
		f[n++] = (struct json_field){k->name, k->kind->get, base + k->off, k->min,
					     k->max,  k->more,      !k->required,  k->kind->put};
	}
	return n;
}

int config_table_decode(const struct config_table *t, const struct cJSON *v, void *to,
			struct err *e)
{
	struct json_field fields[KEYS_MAX];
	size_t n = add_fields(fields, 0, t, 0);

	return json_decode(v, fields, n, to, t->size, e);
}

void config_table_put(const struct config_table *t, struct json_out *o, const void *from)
{
	struct json_field fields[KEYS_MAX];
	size_t n = add_fields(fields, 0, t, 0);

	json_put_fields(o, fields, n, from);
}

static int set_preset(const struct config_key *k, char *to, struct err *e)
{
	const struct json_field f = {.name = k->name, .min = k->min, .max = k->max, .more = k->more};
	struct json_doc *doc;
	int rc;

	if (json_open(&doc, k->preset, strlen(k->preset), DEPTH, e) < 0)
		return -1;
	rc = k->kind->get(json_root(doc), &f, to + k->off, e);
	json_close(doc);
	return rc;
}

int config_table_preset(const struct config_table *t, void *to, struct err *e)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct config_key *k = &t->keys[i];

		if (has_table(k) ? config_table_preset(k->more, (char *)to + k->off, e) < 0
				 : k->preset != NULL && set_preset(k, to, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- comparing ------------------------------------------------------------------------- */

bool config_key_equal(const struct config_key *k, const void *a, const void *b)
{
	const char *p = (const char *)a + k->off, *q = (const char *)b + k->off;

	return k->kind->equal != NULL ? k->kind->equal(p, q, k->size) : memcmp(p, q, k->size) == 0;
}

enum config_change config_table_change(const struct config_table *t, const void *a, const void *b)
{
	enum config_change most = CHANGE_NONE, change;

	for (size_t i = 0; i < t->n; i++) {
		const struct config_key *k = &t->keys[i];

		if (has_table(k))
			change = config_table_change(k->more, (const char *)a + k->off,
						     (const char *)b + k->off);
		else
			change = config_key_equal(k, a, b) ? CHANGE_NONE : k->change;
		if (change > most)
			most = change;
	}
	return most;
}
