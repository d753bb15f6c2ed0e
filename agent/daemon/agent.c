/*
 * agent/daemon/agent.c - start, reload and stop of one agent.
 */
#include "agent/daemon/agent.h"

#include "agent/daemon/control/server.h"
#include "agent/daemon/event.h"
#include "agent/daemon/link/link.h"
#include "agent/daemon/link/listen.h"
#include "agent/daemon/peer/peer.h"
#include "agent/daemon/cert_reload.h"
#include "agent/os/confine.h"
#include "agent/os/creds.h"
#include "crypto/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOP_MS 1500 /* links have so long to say goodbye */

/* ---- identity -------------------------------------------------------------------------- */

struct identity_ref *identity_ref_take(struct identity_ref *r)
{
	r->refs++;
	return r;
}

void identity_ref_drop(struct identity_ref *r)
{
	if (r == NULL || --r->refs > 0)
		return;
	identity_free(r->id);
	deny_free(&r->deny);
	free(r);
}

static int load_identity(const struct agent *a, const struct config *c, struct identity_ref **out,
			 struct err *e)
{
	struct identity_ref *r = calloc(1, sizeof *r);
	int rc;

	if (r == NULL)
		return err_set(e, ERR_BUG, "no memory for the identity");
	if (a->start->identity != NULL)
		rc = a->start->identity(a->start->reload_arg, c, &r->id, e);
	else
		rc = creds_identity(&r->id, c, e);
	if (rc < 0) {
		free(r);
		return -1;
	}
	if (identity_facts(r->id)->is_lab && !c->allow_lab) {
		err_set(e, ERR_USAGE, "%s is a lab identity, and the config does not allow_lab",
			c->certificate);
		err_hint(e, "lab identities are for labs: get another one, or say --allow-lab");
		identity_free(r->id);
		free(r);
		return -1;
	}
	if (creds_deny(&r->deny, c->deny, e) < 0) {
		identity_free(r->id);
		free(r);
		return -1;
	}
	r->refs = 1;
	*out = r;
	return 0;
}

/* Who was let in before, and would not be now. */
static void drop_denied(struct agent *a)
{
	for (struct peer *p = a->peers; p != NULL; p = p->next)
		if (p->has_facts && deny_has(&a->identity->deny, p->peer_pin))
			peer_drop_denied(p);
}

int agent_renew(struct agent *a, struct err *e)
{
	struct identity_ref *id = NULL;

	if (load_identity(a, &a->cfg, &id, e) < 0)
		return -1;
	identity_ref_drop(a->identity); /* links that stand keep theirs */
	a->identity = id;
	drop_denied(a);
	return 0;
}

static void fill_name(struct agent *a)
{
	const struct cert_facts *f = identity_facts(a->identity->id);

	if (a->cfg.name[0] != '\0')
		return;
	if (f->name[0] != '\0')
		memcpy(a->cfg.name, f->name, sizeof a->cfg.name);
	else
		os_host_name(a->cfg.name, sizeof a->cfg.name);
}

/* ---- options that the back end must be able to do ---------------------------------------- */

static int check_can(const struct agent *a, const struct peer_config *p, struct err *e)
{
	const struct peer_options *o = &p->opt;
	const struct ipsec_can *can = &a->can;
	const char *lacks = NULL;
	bool suite = false;

	for (uint8_t i = 0; i < o->suites.n; i++)
		suite = suite || suite_list_has(&can->suites, (enum suite)o->suites.v[i]);
	if (o->encap == ENCAP_TUNNEL && !can->tunnel)
		lacks = "encap tunnel";
	else if (o->udp && !can->udp)
		lacks = "udp encapsulation";
	else if (o->start == CONFIG_START_SEAMLESS && !can->seamless)
		lacks = "start seamless";
	else if (o->mode == MODE_PERMISSIVE && !can->permissive)
		lacks = "mode permissive";
	else if (!suite)
		lacks = "any of the peer's suites";
	else if (!can->selectors && (o->protects != 1 || strcmp(o->protect[0], "all") != 0))
		lacks = "protect other than all";
	else if (!can->selectors && !can->datagrams &&
		 (o->exempts != 1 || strcmp(o->exempt[0], "icmp") != 0))
		lacks = "exempt other than icmp"; /* what protects nothing exempts all */
	if (lacks == NULL)
		return 0;
	return err_set(e, ERR_USAGE, "peer %s: the back end %s cannot do %s", p->name,
		       a->db->ops->name, lacks);
}

/* ---- reload ---------------------------------------------------------------------------- */

static int check_restart(const struct agent *a, const struct config *c, struct err *e)
{
	const char *what = config_restart_member(&a->cfg, c);

	if (what == NULL)
		return 0;
	err_set(e, ERR_USAGE, "%s changed: that needs a restart; nothing was applied", what);
	return err_hint(e, "restart the agent, or put the old value back");
}

static const struct peer_config *find_config(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_peers; i++)
		if (strcmp(c->peers[i].name, name) == 0)
			return &c->peers[i];
	return NULL;
}

static int add_name(char ***list, size_t *n, const char *name)
{
	char **grown = realloc(*list, (*n + 1) * sizeof *grown);

	if (grown == NULL)
		return -1;
	*list = grown;
	grown[*n] = strdup(name);
	if (grown[*n] == NULL)
		return -1;
	(*n)++;
	return 0;
}

static void free_names(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

void reload_result_free(struct reload_result *r)
{
	free_names(r->added, r->n_added);
	free_names(r->removed, r->n_removed);
	free_names(r->updated, r->n_updated);
	memset(r, 0, sizeof *r);
}

static void reload_old_peers(struct agent *a, const struct config *c, struct reload_result *r)
{
	struct peer *p, *next;

	for (p = a->peers; p != NULL; p = next) {
		const struct peer_config *pc = find_config(c, p->cfg.name);
		enum config_change change = pc != NULL ? peer_config_change(&p->cfg, pc)
						       : CHANGE_PEER;

		next = p->next;
		if (change == CHANGE_NONE) {
			r->same++;
			continue;
		}
		if (change <= CHANGE_REKEY) {
			peer_options_set(p, pc);
			add_name(&r->updated, &r->n_updated, p->cfg.name);
			continue;
		}
		if (pc == NULL && p->temporary) {
			r->same++;
			continue;
		}
		if (pc == NULL)
			add_name(&r->removed, &r->n_removed, p->cfg.name);
		else
			add_name(&r->updated, &r->n_updated, p->cfg.name);
		peer_remove(p);
	}
}

static void reload_new_peers(struct agent *a, const struct config *c, struct reload_result *r)
{
	for (size_t i = 0; i < c->n_peers; i++) {
		const struct peer_config *pc = &c->peers[i];
		struct err e = {0};
		bool known = false;

		for (const struct peer *p = a->peers; p != NULL; p = p->next)
			known = known || strcmp(p->cfg.name, pc->name) == 0;
		if (known)
			continue;
		if (peer_add(a, pc, NULL, &e) < 0) {
			event_fail(a, EVENT_SYSTEM, pc->name, &e);
			continue;
		}
		for (size_t k = 0; k < r->n_updated; k++)
			known = known || strcmp(r->updated[k], pc->name) == 0;
		if (!known)
			add_name(&r->added, &r->n_added, pc->name);
	}
}

/* Whatever a peer of the new config needs is there: none is let go for one that cannot begin. */
static int check_peers(const struct agent *a, const struct config *c, struct err *e)
{
	for (size_t i = 0; i < c->n_peers; i++) {
		SECRET(ppk);

		if (check_can(a, &c->peers[i], e) < 0)
			return -1;
		if (creds_ppk(&ppk, c->peers[i].ppk, e) < 0)
			return err_in(e, "peer %s: ppk", c->peers[i].name);
	}
	return 0;
}

static const char hint_closed[] =
	"a running agent reads only in the folders whose files its config "
	"named at the start: restart it, or check who may read the file";

int agent_reload(struct agent *a, struct reload_result *r, struct err *e)
{
	struct identity_ref *id = NULL;
	struct config c;

	memset(r, 0, sizeof *r);
	if (a->start->reload == NULL) {
		err_set(e, ERR_USAGE, "the agent was started without a config file");
		return err_hint(e, "start it with --config to change peers at run time");
	}
	if (a->start->reload(a->start->reload_arg, &c, e) < 0) {
		if (e != NULL && e->os == EACCES)
			err_hint(e, hint_closed);
		return err_in(e, "reload: nothing was applied");
	}
	if (check_restart(a, &c, e) < 0)
		goto free_config;
	if (check_peers(a, &c, e) < 0 || load_identity(a, &c, &id, e) < 0 ||
	    ipsec_reload(a->db, e) < 0) {
		err_in(e, "reload: nothing was applied");
		if (e != NULL && e->os == EACCES)
			err_hint(e, hint_closed);
		identity_ref_drop(id);
		goto free_config;
	}
	r->identity_changed = !bytes_equal(identity_facts(id->id)->pin,
					   identity_facts(a->identity->id)->pin, PIN_LEN) ||
			      identity_facts(id->id)->not_after !=
				      identity_facts(a->identity->id)->not_after;
	identity_ref_drop(a->identity); /* links that stand keep theirs */
	a->identity = id;
	reload_old_peers(a, &c, r);
	reload_new_peers(a, &c, r);
	if (c.name[0] == '\0')
		memcpy(c.name, a->cfg.name, sizeof c.name);
	config_free(&a->cfg);
	a->cfg = c;
	fill_name(a);
	drop_denied(a);
	renew_seen(a->renew);
	event_plain(a, EVENT_RELOADED, NULL, "config and identity were read anew");
	return 0;
free_config:
	config_free(&c);
	return -1;
}

int agent_add_address(struct agent *a, const char *address, const char *pin, struct peer **p,
		      struct err *e)
{
	size_t before = a->cfg.n_peers;
	struct peer_config pc;

	if (a->start->privsep != NULL && !ipsec_sends(a->db)) {
		err_set(e, ERR_USAGE,
			"the process that has the right to install SAs takes peers from the config only");
		return err_hint(
			e, "write it into the config, or a file in peers.d, and: sapair reload");
	}
	if (config_add_peer(&a->cfg, address, e) < 0)
		return -1;
	if (pin != NULL && pin[0] != '\0') {
		if (!pin_get(a->cfg.peers[before].pin, pin)) {
			a->cfg.n_peers = before;
			return err_set(e, ERR_USAGE, "%s is not a pin", pin);
		}
		a->cfg.peers[before].has_pin = true;
	}
	pc = a->cfg.peers[before];
	if (config_check(&a->cfg, e) < 0 || check_can(a, &pc, e) < 0) {
		a->cfg.n_peers = before;
		return -1;
	}
	a->cfg.n_peers = before; /* the config stays what the file says */
	if (peer_add(a, &pc, p, e) < 0)
		return -1;
	(*p)->temporary = true;
	return 0;
}

/* ---- stop ------------------------------------------------------------------------------ */

static void on_stop_timer(uv_timer_t *t)
{
	control_cut(t->data); /* links have a shorter limit of their own */
}

static void end_signals(struct agent *a)
{
	os_unwatch_stop();
	for (size_t i = 0; i < sizeof a->signals / sizeof a->signals[0]; i++)
		uv_close((uv_handle_t *)&a->signals[i], NULL);
}

void agent_give_up(struct agent *a, const struct err *why)
{
	if (a->fate.code == ERR_NONE)
		a->fate = *why;
	event_fail(a, EVENT_SYSTEM, NULL, why);
	agent_stop(a);
}

void agent_stop(struct agent *a)
{
	if (a->stopping)
		return;
	a->stopping = true;
	os_notify("STOPPING=1");
	event_plain(a, EVENT_STOPPING, NULL, "stopping");
	listen_close(a);
	while (a->peers != NULL)
		peer_stop(a->peers);
	control_close(a);
	end_signals(a);
	os_ignore_signals();
	renew_stop(a->renew);
	a->renew = NULL;
	ipsec_close(a->db);
	a->db = NULL;
	uv_timer_start(&a->stop_timer, on_stop_timer, STOP_MS, 0);
	uv_unref((uv_handle_t *)&a->stop_timer); /* nothing left: the loop ends at once */
}

static void on_end(uv_signal_t *s, int number)
{
	(void)number;
	agent_stop(s->data);
}

static void on_service_stop(void *arg)
{
	agent_stop(arg);
}

static void on_reload(uv_signal_t *s, int number)
{
	struct agent *a = s->data;
	struct reload_result r;
	struct err e = {0};

	(void)number;
	os_notify("RELOADING=1");
	if (agent_reload(a, &r, &e) < 0)
		event_fail(a, EVENT_SYSTEM, NULL, &e);
	else
		reload_result_free(&r);
	os_notify("READY=1");
}

/* ---- start ----------------------------------------------------------------------------- */

/* An agent that cannot be stopped by a signal does not start; timers and handles are there anyway. */
static int start_signals(struct agent *a, struct err *e)
{
	struct os_signal list[OS_SIGNALS];
	int rc = 0, one;

	os_signals(list);
	for (size_t i = 0; i < OS_SIGNALS; i++) {
		uv_signal_init(&a->loop.uv, &a->signals[i]);
		a->signals[i].data = a;
		one = uv_signal_start(&a->signals[i], list[i].reload ? on_reload : on_end,
				      list[i].number);
		rc = one < 0 ? one : rc;
		uv_unref((uv_handle_t *)&a->signals[i]);
	}
	os_watch_stop(&a->loop.uv, on_service_stop, a);
	uv_timer_init(&a->loop.uv, &a->watchdog);
	uv_timer_init(&a->loop.uv, &a->stop_timer);
	a->stop_timer.data = a;
	if (rc < 0)
		return err_set(e, ERR_OS, "signals cannot be taken: %s", uv_strerror(rc));
	return 0;
}

/* Whoever starts us by ssh from the peer's host would be cut off, and not know why. */
static void mind_session(const struct agent *a, const struct peer_config *p)
{
	const struct agent_start *s = a->start;
	char ssh[PROTECT_TEXT];

	snprintf(ssh, sizeof ssh, "tcp/%u", s->session_port);
	if (s->session_port == 0 || a->can.datagrams || !config_stops(&p->opt, ssh) ||
	    !addr_equal(&s->session_from, &p->remote.addr))
		return;
	log_line(
		LOG_WARN,
		"peer %s: your ssh session comes from there, and stands still until the pair is up%s%s%s",
		p->name, a->can.selectors ? "; \"exempt\": [\"icmp\", \"" : "",
		a->can.selectors ? ssh : "",
		a->can.selectors ? "\"] on both hosts keeps it open" : "");
}

static int open_ipsec(struct agent *a, struct err *e)
{
	struct ipsec_env env = {.loop = &a->loop.uv,
				.on_event = peer_on_ipsec,
				.arg = a,
				.privsep = a->start->privsep};

	if (ipsec_open(&a->db, a->cfg.backend, &env, e) < 0)
		return -1;
	if (e->code != ERR_NONE) { /* "auto" found none of the system's own */
		err_in(e, "this host's traffic is NOT protected, back end %s only proves pairs",
		       a->db->ops->name);
		event_fail(a, EVENT_SYSTEM, NULL, e);
		memset(e, 0, sizeof *e);
	}
	if (a->cfg.fault[0] != '\0') {
		struct ipsec *wrapped = ipsec_fault_wrap(a->db, a->cfg.fault);

		if (wrapped == NULL)
			return err_set(e, ERR_USAGE, "test_fault: %s is no rule", a->cfg.fault);
		a->db = wrapped;
	}
	ipsec_can(a->db, &a->can);
	for (size_t i = 0; i < a->cfg.n_peers; i++) {
		if (check_can(a, &a->cfg.peers[i], e) < 0)
			return -1;
		mind_session(a, &a->cfg.peers[i]);
	}
	return 0;
}

static void drain_loop(struct agent *a)
{
	loop_run(&a->loop);
	uv_close((uv_handle_t *)&a->stop_timer, NULL);
	uv_close((uv_handle_t *)&a->watchdog, NULL);
	loop_close(&a->loop);
}

/* All is open: from here on less will do. What reload reads can still be read. */
static int confine(const struct agent *a, struct err *e)
{
	const char *const *usual = a->start->paths;
	char dir[OS_PATH_MAX], text[200];
	struct confinement c = {.role = CONFINE_AGENT, .control_dir = dir};
	const char **paths = calloc(a->cfg.n_peers + AGENT_PATHS_MAX + 5, sizeof *paths);
	size_t n = 0;

	if (paths == NULL)
		return err_set(e, ERR_OS, "no memory for the names of files");
	for (size_t i = 0; i < a->cfg.listens; i++)
		c.low_ports = c.low_ports || a->cfg.listen[i].port < 1024;
	os_dir_of(dir, a->cfg.control);
	while (n < AGENT_PATHS_MAX && usual[n] != NULL) {
		paths[n] = usual[n];
		n++;
	}
	paths[n++] = a->cfg.certificate;
	paths[n++] = a->cfg.key;
	paths[n++] = a->cfg.ca;
	paths[n++] = a->cfg.deny;
	for (size_t i = 0; i < a->cfg.n_peers; i++)
		if (a->cfg.peers[i].ppk[0] != '\0')
			paths[n++] = a->cfg.peers[i].ppk;
	c.paths = paths;
	os_confine(&c, text, sizeof text);
	free(paths);
	if (text[0] != '\0')
		log_line(LOG_INFO, "agent: confined: %s", text);
	return 0;
}

static int start(struct agent *a, struct err *e)
{
	if (load_identity(a, &a->cfg, &a->identity, e) < 0)
		return -1;
	fill_name(a);
	a->renew = renew_start(a);
	if (open_ipsec(a, e) < 0 || control_open(a, e) < 0)
		return -1;
	/* Policy first: from here on a declared pair is closed. */
	for (size_t i = 0; i < a->cfg.n_peers; i++)
		if (peer_add(a, &a->cfg.peers[i], NULL, e) < 0)
			return -1;
	if (listen_open(a, e) < 0)
		return -1;
	return confine(a, e);
}

static void on_watchdog(uv_timer_t *t)
{
	(void)t;
	os_notify("WATCHDOG=1");
}

/* A loop that stands still is for the service manager to find. */
static void start_watchdog(struct agent *a)
{
	uint64_t ms = os_watchdog_ms();

	if (ms == 0)
		return;
	uv_timer_start(&a->watchdog, on_watchdog, 0, ms / 2);
	uv_unref((uv_handle_t *)&a->watchdog);
}

int agent_run(struct agent_start *s, struct err *e)
{
	struct agent *a = calloc(1, sizeof *a);
	int rc;

	if (a == NULL)
		return err_set(e, ERR_OS, "no memory for the agent");
	a->start = s;
	a->cfg = s->cfg;
	memset(&s->cfg, 0, sizeof s->cfg);
	a->started_ms = loop_now_ms();
	random_bytes(a->instance, sizeof a->instance);
	os_confine_rings();
	rc = loop_open(&a->loop);
	if (rc != 0) {
		err_set(e, ERR_OS, "no event loop: %s", uv_strerror(rc));
		config_free(&a->cfg);
		free(a);
		return -1;
	}
	rc = start_signals(a, e) < 0 ? -1 : start(a, e);
	if (rc < 0) {
		a->stopping = true;
		listen_close(a);
		while (a->peers != NULL)
			peer_stop(a->peers);
		control_close(a);
		end_signals(a);
		renew_stop(a->renew);
		a->renew = NULL;
		if (a->db != NULL)
			ipsec_close(a->db);
		a->db = NULL;
	} else {
		log_line(LOG_INFO, "agent: %s is running, back end %s, %zu peers", a->cfg.name,
			 a->db->ops->name, a->n_peers);
		os_notify("READY=1");
		start_watchdog(a);
		loop_run(&a->loop);
	}
	drain_loop(a);
	if (a->fate.code != ERR_NONE) {
		rc = -1;
		if (e != NULL)
			*e = a->fate;
	}
	control_free(a);
	identity_ref_drop(a->identity);
	config_free(&a->cfg);
	wipe(a, sizeof *a);
	free(a);
	return rc;
}
