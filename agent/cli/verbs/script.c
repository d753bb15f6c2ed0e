/*
 * agent/cli/verbs/script.c - export script: the other half of a pair that is made by hand, as
 * lines for iproute2 on a host that has no agent.
 *
 * `ip -batch -` reads them: keys stand in no list of processes. What the policies say is what
 * agent/ipsec/xfrm/policy.c would say on that host, but for the agent's own probes and links.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/conf.h"
#include "agent/cli/request.h"
#include "proto/base/suite.h"

#define SCRIPT_ROOM 65536
#define PACKETS_MAX UINT64_C(4293918720) /* 2^32 - 2^20: no extended sequence numbers here */
#define PRIORITY_EXEMPT 1000
#define PRIORITY_PROTECT 2000

struct script {
	const struct args *args;
	struct json_doc *half,
		*key[2];      /* of the reply; in and out from the view of the other host */
	struct out_page page; /* has keys: wiped before it is freed */
};

static const char *half(const struct script *s, const char *path)
{
	return show_text(json_root(s->half), path, "");
}

static const char *key(const struct script *s, bool is_in, const char *path)
{
	return show_text(json_root(s->key[is_in]), path, "");
}

/* ---- asking ---------------------------------------------------------------------------- */

static int take(struct request *q, const struct cJSON *d, const char *line, size_t len,
		struct err *e)
{
	const char *schema = show_text(d, "schema", "");
	struct script *s = q->arg;
	struct json_doc **to = NULL;

	if (strcmp(schema, "sapair.half/1") == 0)
		to = &s->half;
	else if (strcmp(schema, "sapair.key/1") == 0)
		to = &s->key[strcmp(show_text(d, "direction", ""), "out") == 0];
	return to != NULL && *to == NULL ? request_parse(to, line, len, e) : 0;
}

/* ---- lines ----------------------------------------------------------------------------- */

static bool is_tunnel(const struct script *s)
{
	return strcmp(half(s, "encap"), "tunnel") == 0;
}

static void add_ids(struct script *s, bool is_in)
{
	out_add(&s->page, " src %s dst %s proto esp spi 0x%s", key(s, is_in, "source"),
		key(s, is_in, "destination"), key(s, is_in, "spi"));
}

static void add_state(struct script *s, bool is_in)
{
	const struct suite_info *i = suite_info(suite_of_name(half(s, "suite")));
	double lifetime = 0;

	show_number(json_root(s->half), "lifetime_s", &lifetime);
	out_add(&s->page, "xfrm state add");
	add_ids(s, is_in);
	out_add(&s->page, " reqid 0x%s mode %s replay-window 32", key(s, true, "spi"),
		half(s, "encap"));
	if (i->kind == SUITE_CBC)
		out_add(&s->page, " auth-trunc %s 0x%s %d enc cbc(aes) 0x%s",
			i->mac_key_len == 20 ? "hmac(sha1)" : "hmac(sha256)",
			key(s, is_in, "mac_key"), i->icv_len * 8, key(s, is_in, "key"));
	else
		out_add(&s->page, " aead %s 0x%s 128",
			i->kind == SUITE_GCM ? "rfc4106(gcm(aes))" : "rfc4543(gcm(aes))",
			key(s, is_in, "key"));
	out_add(&s->page, " limit time-hard %.0f limit packet-hard %llu\n", lifetime,
		(unsigned long long)PACKETS_MAX);
}

/* One selector of outbound packets of that host: "proto tcp sport 445". */
struct rule {
	const char *proto, *sport, *dport, *type;
	bool protects;
};

static void add_rule(struct script *s, const struct rule *r, bool is_in, bool away)
{
	const char *here = half(s, "address"), *there = half(s, "agent");
	bool optional = strcmp(half(s, "mode"), "permissive") == 0;
	int bits = strchr(here, ':') != NULL ? 128 : 32;

	out_add(&s->page, "%sxfrm policy %s src %s/%d dst %s/%d", away ? "ip " : "",
		away ? "delete" : "update", is_in ? there : here, bits, is_in ? here : there, bits);
	if (r->proto != NULL)
		out_add(&s->page, " proto %s", r->proto);
	if (r->type != NULL)
		out_add(&s->page, " type %s", r->type);
	if (r->sport != NULL)
		out_add(&s->page, " %s %s", is_in ? "dport" : "sport", r->sport);
	if (r->dport != NULL)
		out_add(&s->page, " %s %s", is_in ? "sport" : "dport", r->dport);
	out_add(&s->page, " dir %s", is_in ? "in" : "out");
	if (!away)
		out_add(&s->page, " priority %d", r->protects ? PRIORITY_PROTECT : PRIORITY_EXEMPT);
	if (!away && r->protects) {
		out_add(&s->page, " tmpl");
		if (is_tunnel(s))
			out_add(&s->page, " src %s dst %s", is_in ? there : here,
				is_in ? here : there);
		out_add(&s->page, " proto esp reqid 0x%s mode %s level %s", key(s, true, "spi"),
			half(s, "encap"), optional ? "use" : "required");
	}
	out_add(&s->page, "\n");
}

static void add_both(struct script *s, const struct rule *r, bool away)
{
	add_rule(s, r, false, away);
	add_rule(s, r, true, away);
}

/* text: "all", "proto/N", or "tcp/445" for a service on either host. */
static void add_selector(struct script *s, const char *text, bool protects, bool away)
{
	struct rule r = {.protects = protects};

	if (strncmp(text, "proto/", 6) == 0) {
		r.proto = text + 6;
	} else if (strcmp(text, "all") != 0) {
		r.proto = text[0] == 't' ? "tcp" : "udp";
		r.sport = text + 4;
		add_both(s, &r, away);
		r.dport = r.sport;
		r.sport = NULL;
	}
	add_both(s, &r, away);
}

static void add_policies(struct script *s, bool away)
{
	const struct cJSON *d = json_root(s->half);
	bool six = strchr(half(s, "address"), ':') != NULL, icmp = false;

	for (const struct cJSON *v = json_first(json_member(d, "exempt")); v != NULL;
	     v = json_next(v)) {
		if (strcmp(json_string(v), "icmp") == 0)
			icmp = true;
		else
			add_selector(s, json_string(v), false, away);
	}
	if (icmp) {
		add_both(s, &(struct rule){.proto = six ? "ipv6-icmp" : "icmp"}, away);
	} else if (six) { /* neighbour discovery must not be protected */
		add_both(s, &(struct rule){.proto = "ipv6-icmp", .type = "135"}, away);
		add_both(s, &(struct rule){.proto = "ipv6-icmp", .type = "136"}, away);
	}
	for (const struct cJSON *v = json_first(json_member(d, "protect")); v != NULL;
	     v = json_next(v))
		add_selector(s, json_string(v), true, away);
}

static void write_script(struct script *s)
{
	out_add(&s->page,
		"#!/bin/sh\n"
		"# For %s, %s, until %s: its half of a pair with %s.\n"
		"# Contains keys: delete it after use. With the argument \"down\" it removes the half.\n"
		"if [ \"${1-up}\" = down ]; then\n",
		half(s, "peer"), half(s, "address"), half(s, "not_after"), half(s, "agent"));
	add_policies(s, true);
	for (int is_in = 0; is_in < 2; is_in++) {
		out_add(&s->page, "ip xfrm state delete");
		add_ids(s, is_in != 0);
		out_add(&s->page, "\n");
	}
	out_add(&s->page, "exit 0\nfi\nip -batch - <<'END'\n");
	add_state(s, true);
	add_state(s, false);
	add_policies(s, false);
	out_add(&s->page, "END\n");
}

/* ---- the verb -------------------------------------------------------------------------- */

static void tell(const struct script *s, const char *path)
{
	char buf[OS_PATH_MAX + 1024];
	struct json_out o;

	if (!s->args->json) {
		out_note(
			"for %s, until %s: run it there as root: sh FILE; to remove it: sh FILE down",
			half(s, "peer"), half(s, "not_after"));
		return;
	}
	out_begin(&o, buf, sizeof buf, "sapair.script/1");
	json_put_text(&o, "peer", half(s, "peer"));
	json_put_text(&o, "file", path);
	json_put_text(&o, "suite", half(s, "suite"));
	json_put_text(&o, "in", key(s, false, "spi")); /* from the view of this host */
	json_put_text(&o, "out", key(s, true, "spi"));
	json_put_text(&o, "not_after", half(s, "not_after"));
	out_end(&o);
}

static int put(struct script *s, const char *path, struct err *e)
{
	if (s->half == NULL || s->key[0] == NULL || s->key[1] == NULL)
		return err_set(e, ERR_BUG, "the agent sent an incomplete pair");
	s->page = (struct out_page){.text = calloc(1, SCRIPT_ROOM), .size = SCRIPT_ROOM};
	if (s->page.text == NULL)
		return err_set(e, ERR_BUG, "no memory for a script");
	write_script(s);
	if (s->page.full)
		return err_set(e, ERR_BUG, "the script is too long");
	if (path[0] == '\0')
		out_text("%s", s->page.text);
	else if (os_write_file(path, s->page.text, s->page.n, true, true, e) < 0)
		return -1;
	tell(s, path);
	return 0;
}

static int run_script(const struct args *a, struct err *e)
{
	struct script s = {.args = a};
	const char *out = args_text(a, "out");
	char path[OS_PATH_MAX] = "";
	int rc;

	if (out == NULL) {
		err_set(e, ERR_USAGE, "the script contains keys: choose the output with --out");
		return err_hint(e, "--out FILE creates a file with mode 0600; --out - is stdout");
	}
	if (strcmp(out, "-") == 0) {
		if (a->json)
			return err_set(e, ERR_USAGE, "--json and --out - are mutually exclusive");
	} else if (conf_absolute(path, NULL, out, e) < 0) {
		return -1;
	} else if (os_exists(path)) { /* before the pair is made */
		return err_set(e, ERR_USAGE, "%s: already exists", path);
	}
	rc = request_ask(a, CTL_SCRIPT, take, &s, e);
	if (rc == 0)
		rc = put(&s, path, e);
	json_close(s.key[0]);
	json_close(s.key[1]);
	json_close(s.half);
	if (s.page.text != NULL)
		wipe(s.page.text, SCRIPT_ROOM);
	free(s.page.text);
	return rc;
}

static const struct option script_options[] = {
	{"out", "FILE|-", "output: a new file with mode 0600, or - for stdout", false},
	OPTION_END,
};

const struct verb verb_export_script = {
	.name = "export script",
	.words = "PEER",
	.text = "pair with a host that has no agent, by a script of ip xfrm",
	.more = "Makes one pair by hand: installs our half, and writes the other half as a\n"
		"shell script for a Linux host with iproute2. The script removes it when run\n"
		"with \"down\". Lab identities only.",
	.example = "sapair export script beta --out - | ssh root@beta sh",
	.options = {script_options, verb_control},
	.run = run_script,
};
