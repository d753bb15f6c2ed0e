/*
 * agent/daemon/agent.c - start, reload and stop of one agent.
 */
#include "agent/daemon/agent.h"

#include "agent/daemon/cert_reload.h"
#include "agent/daemon/control/server.h"
#include "agent/daemon/link/identity_ref.h"
#include "agent/daemon/link/listen.h"
#include "agent/daemon/peer/peer.h"
#include "agent/daemon/peer/policy.h"
#include "agent/os/confine.h"
#include "agent/privsep/client.h"
#include "crypto/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOP_MS 1500 /* so long may clients of the control socket take to read what is queued */

/* An agent as this file has it; the other parts see the first member. */
struct process {
	struct agent a;
	uv_signal_t signals[OS_SIGNALS];
	uv_timer_t stop_timer, watchdog;
	struct cert_reload *cert_reload;
	struct err exit_reason; /* if it was not asked to end */
};

static struct process *process_of(struct agent *a)
{
	return (struct process *)a;
}

/* ---- identity -------------------------------------------------------------------------- */

static void set_identity(struct agent *a, struct identity_ref *id)
{
	identity_ref_drop(a->identity); /* existing links keep theirs */
	a->identity = id;
	a->events.is_lab = identity_facts(id->id)->is_lab;
}

static int reload_identity(void *agent, struct err *e)
{
	struct agent *a = agent;
	struct identity_ref *id = NULL;

	if (identity_ref_load(&id, a->start, &a->cfg, e) < 0)
		return -1;
	set_identity(a, id);
	peers_judge_again(a);
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

/* ---- reload ---------------------------------------------------------------------------- */

static int check_restart(const struct agent *a, const struct config *c, struct err *e)
{
	const char *what = config_restart_member(&a->cfg, c);

	if (what == NULL)
		return 0;
	err_set(e, ERR_USAGE, "%s changed: that needs a restart; nothing was applied", what);
	return err_hint(e, "restart the agent, or restore the old value");
}

static const char hint_closed[] =
	"a running agent reads only in the folders whose files its config "
	"named at the start: restart it, or check who may read the file";

static bool is_same_identity(const struct identity_ref *x, const struct identity_ref *y)
{
	const struct cert_facts *a = identity_facts(x->id), *b = identity_facts(y->id);

	return bytes_equal(a->pin, b->pin, PIN_LEN) && a->not_after == b->not_after;
}

static int on_reload_request(struct agent *a, struct reload_result *r, struct err *e)
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
	if (peers_check(a, &c, e) < 0 || identity_ref_load(&id, a->start, &c, e) < 0 ||
	    ipsec_reload(a->db, e) < 0) {
		err_in(e, "reload: nothing was applied");
		if (e != NULL && e->os == EACCES)
			err_hint(e, hint_closed);
		identity_ref_drop(id);
		goto free_config;
	}
	r->identity_changed = !is_same_identity(id, a->identity);
	set_identity(a, id);
	peers_reload(a, &c, r);
	if (c.name[0] == '\0')
		memcpy(c.name, a->cfg.name, sizeof c.name);
	config_free(&a->cfg);
	a->cfg = c;
	fill_name(a);
	peers_judge_again(a);
	cert_reload_seen(process_of(a)->cert_reload);
	event_plain(&a->events, EVENT_RELOADED, NULL, "config and identity reloaded");
	return 0;
free_config:
	config_free(&c);
	return -1;
}

/* `up ADDRESS`. pin may be NULL. */
static int on_add_address(struct agent *a, const char *address, const char *pin, struct peer **p,
			  struct err *e)
{
	size_t before = a->cfg.n_peers;
	struct peer_config pc;

	if (a->start->privsep != NULL && !ipsec_sends(a->db)) {
		err_set(e, ERR_USAGE, "the privileged helper accepts peers from the config only");
		return err_hint(
			e, "add it to the config or to a file in peers.d, then run: sapair reload");
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
	if (config_check(&a->cfg, e) < 0 || policy_check(a, &pc, e) < 0) {
		a->cfg.n_peers = before;
		return -1;
	}
	a->cfg.n_peers = before; /* the config stays what the file says */
	return peer_add_temporary(a, &pc, p, e);
}

/* ---- stop ------------------------------------------------------------------------------ */

static void on_stop_timer(uv_timer_t *t)
{
	control_cut(t->data); /* links have a shorter limit of their own */
}

static void end_signals(struct process *s)
{
	os_unwatch_stop();
	for (size_t i = 0; i < OS_SIGNALS; i++)
		uv_close((uv_handle_t *)&s->signals[i], NULL);
}

/* Ends all that start_parts() began; the loop ends when their handles are closed. */
static void stop_parts(struct process *s)
{
	struct agent *a = &s->a;

	a->stopping = true;
	listen_close(a);
	os_addresses_close(a->addresses);
	a->addresses = NULL;
	peers_stop(a);
	control_close(a);
	end_signals(s);
	cert_reload_stop(s->cert_reload);
	s->cert_reload = NULL;
	if (a->db != NULL)
		ipsec_close(a->db);
	a->db = NULL;
}

static void stop(struct agent *a)
{
	struct process *s = process_of(a);

	if (a->stopping)
		return;
	os_notify("STOPPING=1");
	a->stopping = true;
	event_plain(&a->events, EVENT_STOPPING, NULL, "stopping");
	stop_parts(s);
	os_ignore_signals();
	uv_timer_start(&s->stop_timer, on_stop_timer, STOP_MS, 0);
	uv_unref((uv_handle_t *)&s->stop_timer); /* nothing is left: the loop ends at once */
}

/* agent_run() fails for this reason. */
static void give_up(struct process *s, const struct err *why)
{
	if (s->exit_reason.code == ERR_NONE)
		s->exit_reason = *why;
	event_fail(&s->a.events, EVENT_SYSTEM, NULL, why);
	stop(&s->a);
}

static void on_ipsec(void *process, const struct ipsec_event *ev)
{
	struct process *s = process;
	struct err why = {0};

	if (ev->kind != IPSEC_EV_LOST) {
		peer_on_ipsec(&s->a, ev);
		return;
	}
	err_set(&why, ERR_OS, "%s", ev->text);
	err_hint(&why, "start the agent again: it takes over what is in force");
	give_up(s, &why);
}

static void on_end(uv_signal_t *s, int number)
{
	(void)number;
	stop(s->data);
}

static void on_service_stop(void *arg)
{
	stop(arg);
}

static void on_reload(uv_signal_t *s, int number)
{
	struct agent *a = s->data;
	struct reload_result r;
	struct err e = {0};

	(void)number;
	os_notify("RELOADING=1");
	if (on_reload_request(a, &r, &e) < 0)
		event_fail(&a->events, EVENT_SYSTEM, NULL, &e);
	else
		reload_result_free(&r);
	os_notify("READY=1");
}

/* ---- start ----------------------------------------------------------------------------- */

/* An agent that cannot be stopped by a signal does not start. All handles are open in any case. */
static int start_signals(struct process *s, struct err *e)
{
	struct agent *a = &s->a;
	struct os_signal list[OS_SIGNALS];
	int rc = 0, one;

	os_signals(list);
	for (size_t i = 0; i < OS_SIGNALS; i++) {
		uv_signal_init(&a->loop, &s->signals[i]);
		s->signals[i].data = a;
		one = uv_signal_start(&s->signals[i], list[i].reload ? on_reload : on_end,
				      list[i].number);
		rc = one < 0 ? one : rc;
		uv_unref((uv_handle_t *)&s->signals[i]);
	}
	os_watch_stop(&a->loop, on_service_stop, a);
	uv_timer_init(&a->loop, &s->watchdog);
	uv_timer_init(&a->loop, &s->stop_timer);
	s->stop_timer.data = a;
	if (rc < 0)
		return err_set(e, ERR_OS, "cannot handle signals: %s", uv_strerror(rc));
	return 0;
}

/* A user who starts the agent by ssh from the peer's host would be cut off, and not know why. */
static void warn_session(const struct agent *a, const struct peer_config *p)
{
	const struct agent_start *s = a->start;
	char ssh[PROTECT_TEXT];

	snprintf(ssh, sizeof ssh, "tcp/%u", s->session_port);
	if (s->session_port == 0 || a->can.datagrams || !config_stops(&p->opt, ssh) ||
	    !addr_equal(&s->session_from, &p->remote.addr))
		return;
	log_line(
		LOG_WARN,
		"peer %s: your ssh session comes from this peer, and stalls until the pair is up%s%s%s",
		p->name, a->can.selectors ? "; \"exempt\": [\"icmp\", \"" : "",
		a->can.selectors ? ssh : "",
		a->can.selectors ? "\"] on both hosts keeps it open" : "");
}

static int open_ipsec(struct process *s, struct err *e)
{
	struct agent *a = &s->a;
	struct ipsec_env env = {.loop = &a->loop,
				.on_event = on_ipsec,
				.arg = s,
				.forward = privsep_backend(a->start->privsep),
				.privsep = a->start->privsep};

	if (ipsec_open(&a->db, a->cfg.backend, &env, e) < 0)
		return -1;
	ipsec_can(a->db, &a->can);
	for (size_t i = 0; i < a->cfg.n_peers; i++) {
		if (policy_check(a, &a->cfg.peers[i], e) < 0)
			return -1;
		warn_session(a, &a->cfg.peers[i]);
	}
	return 0;
}

static void drain_loop(struct process *s)
{
	uv_loop_t *loop = &s->a.loop;

	uv_run(loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&s->stop_timer, NULL);
	uv_close((uv_handle_t *)&s->watchdog, NULL);
	for (int i = 0; i < 100 && uv_loop_close(loop) == UV_EBUSY; i++)
		uv_run(loop, UV_RUN_NOWAIT);
}

/* All is open: drop privileges. What a reload reads can still be read. */
static int confine(struct agent *a, struct err *e)
{
	const char *const *usual = a->start->paths;
	char dir[OS_PATH_MAX];
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
	os_confine(&c, &a->confined);
	free(paths);
	if (a->confined.done[0] != '\0')
		log_line(LOG_INFO, "agent: confined: %s", a->confined.done);
	if (a->confined.failed[0] != '\0') {
		char text[sizeof a->confined.failed + 20];

		snprintf(text, sizeof text, "not confined: %s", a->confined.failed);
		event_plain(&a->events, EVENT_UNCONFINED, NULL, text);
	}
	return 0;
}

static const struct control_host control_host = {.reload = on_reload_request,
						 .add_address = on_add_address,
						 .stop = stop};

static void on_addresses(void *agent)
{
	peers_check_addresses(agent);
}

static int start_parts(struct process *s, struct err *e)
{
	struct err no_watch = {0};
	struct agent *a = &s->a;
	struct identity_ref *id = NULL;

	if (start_signals(s, e) < 0 || open_ipsec(s, e) < 0)
		return -1;
	/* Policies come first, before any socket is bound: whatever fails later leaves them in place. */
	for (size_t i = 0; i < a->cfg.n_peers; i++)
		if (peer_add(a, &a->cfg.peers[i], NULL, e) < 0)
			return -1;
	if (peers_check(a, &a->cfg, e) < 0 || identity_ref_load(&id, a->start, &a->cfg, e) < 0)
		return -1;
	set_identity(a, id);
	fill_name(a);
	s->cert_reload = cert_reload_start(a, reload_identity, a);
	if (control_open(a, &control_host, e) < 0 || listen_open(a, &peer_link_owner, e) < 0)
		return -1;
	/* Without it, a lost address is noticed when the link or the next rekey fails. */
	if (os_addresses_watch(&a->addresses, &a->loop, on_addresses, a, &no_watch) < 0)
		log_err(LOG_WARN, &no_watch, "agent");
	return confine(a, e);
}

static void on_watchdog(uv_timer_t *t)
{
	(void)t;
	os_notify("WATCHDOG=1");
}

/* The service manager restarts an agent whose loop hangs. */
static void start_watchdog(struct process *s)
{
	uint64_t ms = os_watchdog_ms();

	if (ms == 0)
		return;
	uv_timer_start(&s->watchdog, on_watchdog, 0, ms / 2);
	uv_unref((uv_handle_t *)&s->watchdog);
}

static void run(struct process *s)
{
	struct agent *a = &s->a;

	log_line(LOG_INFO, "agent: %s is running, back end %s, %zu peers", a->cfg.name,
		 a->db->ops->name, a->n_peers);
	os_notify("READY=1");
	start_watchdog(s);
	uv_run(&a->loop, UV_RUN_DEFAULT);
}

static void free_process(struct process *s)
{
	control_free(&s->a);
	identity_ref_drop(s->a.identity);
	config_free(&s->a.cfg);
	wipe(s, sizeof *s);
	free(s);
}

int agent_run(struct agent_start *start, struct err *e)
{
	struct process *s = calloc(1, sizeof *s);
	struct agent *a;
	int rc;

	if (s == NULL)
		return err_set(e, ERR_OS, "no memory for the agent");
	a = &s->a;
	a->start = start;
	a->cfg = start->cfg;
	memset(&start->cfg, 0, sizeof start->cfg);
	a->started_ms = loop_now_ms();
	random_bytes(a->instance, sizeof a->instance);
	os_confine_rings();
	rc = uv_loop_init(&a->loop);
	if (rc != 0) {
		err_set(e, ERR_OS, "no event loop: %s", uv_strerror(rc));
		free_process(s);
		return -1;
	}
	rc = start_parts(s, e);
	if (rc < 0)
		stop_parts(s);
	else
		run(s);
	drain_loop(s);
	if (s->exit_reason.code != ERR_NONE) {
		rc = -1;
		if (e != NULL)
			*e = s->exit_reason;
	}
	free_process(s);
	return rc;
}
