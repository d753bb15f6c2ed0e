/*
 * agent/cli/verbs/plan.c - plan and clean: SAs and policies in the system, without an agent.
 */
#include "agent/cli/client.h"
#include "agent/cli/conf.h"
#include "agent/cli/out.h"
#include "agent/cli/verb.h"
#include "agent/daemon/peer/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const changes[] = {
	[IPSEC_KEEP] = "keep",     [IPSEC_ADD] = "add",     [IPSEC_CHANGE] = "change",
	[IPSEC_REMOVE] = "remove", [IPSEC_STALE] = "stale",
};

struct teller {
	const char *schema;
	bool json;
	size_t objects, differs;
};

static void tell_json(const struct teller *t, const struct ipsec_object *o)
{
	char buf[1024], addr[ADDR_TEXT];
	struct json_out j;

	out_begin(&j, buf, sizeof buf, t->schema);
	json_put_text(&j, "change", changes[o->change]);
	json_put_text(&j, "object", o->is_policy ? "policy" : "sa");
	json_put_text(&j, "direction", o->is_out ? "out" : "in");
	addr_put(addr, &o->src);
	json_put_text(&j, "source", addr);
	addr_put(addr, &o->dst);
	json_put_text(&j, "destination", addr);
	if (o->is_policy) {
		json_put_text(&j, "action", !o->protects ? "clear" : o->optional ? "try" : "esp");
		if (o->proto != 0)
			json_put_u64(&j, "protocol", o->proto);
		if (o->has_sport)
			json_put_u64(&j, "source_port", o->sport);
		if (o->has_dport)
			json_put_u64(&j, "destination_port", o->dport);
		json_put_u64(&j, "priority", o->priority);
	} else if (o->spi.n != 0) {
		json_put_spi(&j, "spi", o->spi);
	}
	if (o->tunnel)
		json_put_text(&j, "encap", "tunnel");
	if (o->esp_port != 0) {
		json_put_u64(&j, "source_port", o->from_esp_port);
		json_put_u64(&j, "destination_port", o->esp_port);
	}
	if (o->tag != 0)
		json_put_u64(&j, "tag", o->tag);
	if (o->id != 0)
		json_put_dec64(&j, "id", o->id);
	out_end(&j);
}

static void tell_text(const struct ipsec_object *o)
{
	char src[ADDR_TEXT], dst[ADDR_TEXT], what[96], udp[48] = "";

	addr_put(src, &o->src);
	addr_put(dst, &o->dst);
	if (o->is_policy) {
		int n = o->proto == 0
				? snprintf(what, sizeof what, "all")
				: snprintf(what, sizeof what, "protocol %u", (unsigned)o->proto);

		if (o->has_sport)
			n += snprintf(what + n, sizeof what - (size_t)n, " from %u", o->sport);
		if (o->has_dport)
			n += snprintf(what + n, sizeof what - (size_t)n, " to %u", o->dport);
		snprintf(what + n, sizeof what - (size_t)n, ": %s, priority %" PRIu32,
			 !o->protects  ? "in clear"
			 : o->optional ? "ESP if there is an SA"
				       : "ESP",
			 o->priority);
	} else if (o->spi.n != 0) {
		snprintf(what, sizeof what, "SPI %08" PRIx32, o->spi.n);
	} else {
		snprintf(what, sizeof what, "SPI and keys by exchange");
	}
	if (o->esp_port != 0)
		snprintf(udp, sizeof udp, ", in UDP from %u to %u", (unsigned)o->from_esp_port,
			 (unsigned)o->esp_port);
	out_text("%-6s  %-6s  %-3s  %s -> %s  %s%s%s\n", changes[o->change],
		 o->is_policy ? "policy" : "sa", o->is_out ? "out" : "in", src, dst, what,
		 o->tunnel ? ", tunnel" : "", udp);
}

static void told(void *arg, const struct ipsec_object *o)
{
	struct teller *t = arg;

	t->objects++;
	if (o->change != IPSEC_KEEP)
		t->differs++;
	if (t->json)
		tell_json(t, o);
	else
		tell_text(o);
}

static void no_event(void *arg, const struct ipsec_event *ev)
{
	(void)arg, (void)ev;
}

/* An event loop and an open back end. */
struct session {
	uv_loop_t loop;
	struct ipsec *db;
	struct policy *policies;
};

static int begin(struct session *s, const char *backend, bool looks_only, struct err *e)
{
	struct ipsec_env env = {.loop = &s->loop, .on_event = no_event, .looks_only = looks_only};
	struct err why = {0};

	s->policies = NULL;
	uv_loop_init(&s->loop);
	if (ipsec_open(&s->db, backend, &env, &why) == 0) {
		if (why.code == ERR_NONE)
			return 0;
		ipsec_close(s->db); /* the back end soft leaves nothing in the system */
		uv_run(&s->loop, UV_RUN_DEFAULT);
	}
	uv_loop_close(&s->loop);
	*e = why;
	return -1;
}

static void end(struct session *s)
{
	ipsec_close(s->db);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	uv_loop_close(&s->loop);
	free(s->policies);
}

/* ---- plan ------------------------------------------------------------------------------ */

static int plan_peers(struct session *s, const struct config *c, struct teller *t, struct err *e)
{
	for (size_t i = 0; i < c->n_peers; i++) {
		struct policy p;

		if (policy_fill(&p, c, &c->peers[i], &s->loop, e) < 0 ||
		    ipsec_plan(s->db, &p, told, t, e) < 0)
			return err_in(e, "peer %s", c->peers[i].name);
	}
	return ipsec_plan(s->db, NULL, told, t, e);
}

/* A peer whose policy cannot be installed yet (no route, no address) does not stop the others. */
static int apply_peers(struct session *s, const struct config *c, struct err *e)
{
	struct policy *p = calloc(c->n_peers + 1, sizeof *p); /* used until the end */
	size_t done = 0;
	int rc = 0;

	if (p == NULL)
		return err_set(e, ERR_OS, "no memory");
	s->policies = p;
	for (size_t i = 0; i < c->n_peers; i++) {
		struct err why = {0};

		if (policy_fill(&p[i], c, &c->peers[i], &s->loop, &why) == 0 &&
		    ipsec_policy_add(s->db, &p[i], &why) == 0) {
			done++;
			continue;
		}
		*e = why;
		rc = err_in(e, "peer %s", c->peers[i].name);
		if (i + 1 < c->n_peers)
			out_error(false, NULL, e);
	}
	out_note("%zu of %zu peers are blocked: nothing passes in the clear until they are paired",
		 done, c->n_peers);
	return rc;
}

static int run_plan(const struct args *a, struct err *e)
{
	struct teller t = {.schema = "sapair.plan/1", .json = a->json};
	bool apply = args_has(a, "apply");
	char path[OS_PATH_MAX];
	struct session s;
	struct config c;
	int rc;

	if (conf_find_given(path, a, e) < 0 || conf_read(&c, path, e) < 0)
		return -1;
	rc = config_check(&c, e);
	if (rc == 0)
		rc = begin(&s, c.backend, !apply, e);
	if (rc == 0) {
		rc = apply ? apply_peers(&s, &c, e) : plan_peers(&s, &c, &t, e);
		end(&s);
	}
	config_free(&c);
	if (rc < 0)
		return -1;
	return t.differs > 0 ? err_exit_status(ERR_DIFFERS) : 0;
}

/* ---- clean ----------------------------------------------------------------------------- */

static int no_agent(const struct args *a, struct err *e)
{
	struct client *c;

	if (client_open(&c, args_text(a, "control"), NULL) < 0)
		return 0;
	client_close(c);
	err_set(e, ERR_USAGE, "an agent is running: its SAs and policies are in use");
	return err_hint(e,
			"sapair down removes pairs; sapair stop and then clean removes everything");
}

static int run_clean(const struct args *a, struct err *e)
{
	struct teller t = {.schema = "sapair.clean/1", .json = a->json};
	const char *backend = args_text(a, "backend");
	bool check = args_has(a, "check");
	struct session s;
	int rc;

	if (backend == NULL)
		backend = "auto";
	if (!ipsec_known(backend))
		return err_set(e, ERR_USAGE, "--backend \"%s\": not one of auto, %s", backend,
			       ipsec_names());
	if (no_agent(a, e) < 0 || begin(&s, backend, true, e) < 0)
		return -1;
	rc = check ? ipsec_plan(s.db, NULL, told, &t, e) : ipsec_clean(s.db, told, &t, e);
	end(&s);
	if (rc < 0)
		return -1;
	if (!a->json && t.objects == 0)
		out_text("nothing left\n");
	return check && t.objects > 0 ? err_exit_status(ERR_DIFFERS) : 0;
}

static const struct option plan_options[] = {
	{"config", "FILE", "same as FILE", false},
	{"apply", NULL, "install the policies", false},
	OPTION_END,
};

const struct verb verb_plan = {
	.name = "plan",
	.words = "[FILE]",
	.text = "compare the policies and SAs of the config with the system",
	.more = "Changes nothing; exits with status 10 if there are differences. With\n"
		"--apply, installs the policies without an agent or SAs: from then on,\n"
		"nothing passes in the clear.",
	.example = "sapair plan /etc/sapair/sapair.json",
	.options = {plan_options},
	.run = run_plan,
};

static const struct option clean_options[] = {
	{"check", NULL, "only report", false},
	{"backend", "NAME", "back end (default: the system's own)", false},
	{"control", "PATH", "control socket of an agent that must not be running", false},
	OPTION_END,
};

const struct verb verb_clean = {
	.name = "clean",
	.text = "remove what a dead agent left behind",
	.more = "Removes only sapair's own SAs and policies. The traffic that they protected\n"
		"is in the clear afterwards. With --check, removes nothing; exits with status\n"
		"10 if anything is left.",
	.example = "sapair clean --check",
	.options = {clean_options},
	.run = run_clean,
};
