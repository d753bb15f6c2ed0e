/*
 * agent/daemon/peer/peer.c - one configured peer: connects its parts.
 */
#include "agent/daemon/peer/inner.h"

#include "agent/daemon/link/identity_ref.h"
#include "agent/daemon/peer/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLICY_RETRY_MS 1000
#define PROOF_MS 20000 /* a peer may show another certificate for so long, before its pair ends */

static void set_trouble(struct peer *p, const struct err *e)
{
	if (e == NULL) {
		free(p->trouble);
		p->trouble = NULL;
		return;
	}
	if (p->trouble == NULL)
		p->trouble = malloc(sizeof *p->trouble);
	if (p->trouble != NULL)
		*p->trouble = *e;
}

static void report_system_error(struct peer *p, const struct err *e)
{
	set_trouble(p, e);
	event_fail(&p->agent->events, EVENT_SYSTEM, p->cfg.name, e);
}

/* ---- links ----------------------------------------------------------------------------- */

static struct peer *on_find(const struct agent *a, const struct addr *local,
			    const struct addr *remote, const char **why)
{
	struct peer *p = peer_of_addresses(a, local, remote);

	if (p == NULL)
		*why = "no peer has this address";
	else if (!p->is_wanted)
		*why = "its pair was taken down";
	else if (p->cfg.opt.role == ROLE_DIAL)
		*why = "the config lets only us connect (role dial)";
	else if (a->stopping)
		*why = "the agent is stopping";
	else
		return p;
	return NULL;
}

static void on_accepted(struct peer *p, struct link *l)
{
	dialler_accept(&p->dialler, l);
}

static void on_answered(struct peer *p, struct link *l)
{
	dialler_on_answered(&p->dialler, l);
}

static void on_hello(struct peer *p, struct link *l, const struct msg_hello *h)
{
	enum hello_verdict verdict;

	if (!hello_take(p, l, h, &verdict))
		return;
	deadline_set(&p->proof_due, 0);
	if (verdict == HELLO_EQUAL)
		completions_on_agreed(&p->completions);
	pair_on_hello(p->pair, verdict == HELLO_EQUAL, hello_is_stale(p, l));
}

static void on_message(struct peer *p, struct link *l, const struct msg *m, const char *body,
		       size_t len)
{
	if (dialler_link(&p->dialler) != l)
		return;
	switch (m->type) {
	case MSG_OFFER:
	case MSG_ANSWER:
	case MSG_CONFIRMATION:
	case MSG_DONE:
	case MSG_REJECT:
		pair_on_message(p->pair, m, body, len);
		break;
	case MSG_REKEY:
		if (link_facts(l)->is_dialled)
			pair_want(p->pair, (enum rekey_reason)m->u.rekey.reason);
		break;
	case MSG_PROBE:
		verify_on_probe(p->prober, &m->u.probe);
		break;
	case MSG_REPORT:
		verify_on_report(p->prober, &m->u.report);
		break;
	default:
		break;
	}
}

static void report_lost(struct peer *p, const struct link *l)
{
	const struct err *why = &link_facts(l)->why;
	struct events *to = &p->agent->events;

	if (why->code == ERR_AUTH)
		event_fail(to, EVENT_AUTH_REFUSED, p->cfg.name, why);
	else if (link_facts(l)->state == LINK_UP)
		event_fail(to, EVENT_LINK_DOWN, p->cfg.name, why);
	else if (link_facts(l)->is_dialled && dialler_is_first_failure(&p->dialler))
		event_fail(to, EVENT_UNREACHABLE, p->cfg.name, why);
}

static void on_lost(struct peer *p, struct link *l)
{
	struct dialler *d = &p->dialler;
	const struct err *why = &link_facts(l)->why;
	bool was_up = dialler_link(d) == l;
	bool is_up = dialler_link(d) != NULL;
	bool was_refused = why->code == ERR_AUTH || why->code == ERR_REFUSED;

	if (was_up)
		pair_link_lost(p->pair);
	if (link_facts(l)->bye == FAULT_DUPLICATE) { /* another link replaces it */
		if (was_up)
			dialler_retry(d);
		return;
	}
	if (link_facts(l)->has_refused && link_facts(l)->is_dialled && p->proof_due.at_ms != 0)
		deadline_set(&p->proof_due, loop_now_ms());
	dialler_on_lost(d, l);
	report_lost(p, l);
	if (was_up || (!is_up && (link_facts(l)->is_dialled || was_refused)))
		set_trouble(p, why);
	if (was_up && link_facts(l)->bye == FAULT_REMOVED) {
		/* The peer has removed its SAs: packets on ours are lost. The policy stays. */
		pair_clear(p->pair);
		dialler_retry_slowly(d);
		return;
	}
	if (was_refused && !is_up && (link_facts(l)->is_dialled || p->cfg.opt.role == ROLE_LISTEN))
		completions_on_exchange(&p->completions, why);
	/* An accepted connection that fails does not delay our own dialling. */
	if (was_up || (!is_up && (link_facts(l)->is_dialled || !dialler_is_waiting(d))))
		dialler_retry(d);
}

static void on_gone(struct peer *p, struct link *l)
{
	dialler_on_gone(&p->dialler, l);
}

static bool on_has_other(const struct peer *p)
{
	return dialler_has_other(&p->dialler);
}

static bool on_is_idle(const struct peer *p)
{
	return !pair_is_exchanging(p->pair);
}

const struct link_owner peer_link_owner = {.find = on_find,
					   .accepted = on_accepted,
					   .answered = on_answered,
					   .judge = hello_judge,
					   .fill_hello = hello_fill,
					   .hello = on_hello,
					   .message = on_message,
					   .lost = on_lost,
					   .gone = on_gone,
					   .has_other = on_has_other,
					   .is_idle = on_is_idle};

/* ---- pair ------------------------------------------------------------------------------ */

static bool on_pair_send(struct peer *p, const char *body, size_t len)
{
	struct link *l = dialler_link(&p->dialler);

	return l != NULL && link_send_body(l, body, len);
}

static void on_pair_close_link(struct peer *p, enum fault fault, const struct err *why)
{
	if (dialler_link(&p->dialler) != NULL)
		link_abort(dialler_link(&p->dialler), fault, why);
}

static bool on_pair_may_rekey(struct peer *p)
{
	struct err why = {0};

	if (!hello_cert_expired(p))
		return true;
	err_set(&why, ERR_AUTH, "the peer's certificate has expired: no new keys for it");
	err_hint(&why, "renew it there: sapair ca issue, or sapair id new");
	event_fail(&p->agent->events, EVENT_EXPIRED, p->cfg.name, &why);
	on_pair_close_link(p, FAULT_EXPIRED, &why);
	return false;
}

static void on_pair_ended(struct peer *p, const struct err *e)
{
	completions_on_exchange(&p->completions, e);
}

static void on_pair_drained(struct peer *p)
{
	completions_on_drained(&p->completions);
}

static const struct pair_host pair_host = {.send = on_pair_send,
					   .close_link = on_pair_close_link,
					   .may_rekey = on_pair_may_rekey,
					   .ended = on_pair_ended,
					   .drained = on_pair_drained,
					   .trouble = set_trouble};

/* ---- probes ---------------------------------------------------------------------------- */

static bool on_verify_pair(void *peer, struct verify_pair *out)
{
	const struct peer *p = peer;
	struct pair_view v;

	if (!pair_in_force(p->pair, &v))
		return false;
	*out = (struct verify_pair){.epoch = v.epoch, .in = v.in, .out = v.out, .ctx = v.ctx};
	return true;
}

static const struct secret *on_verify_key(void *peer, uint64_t epoch)
{
	const struct peer *p = peer;

	return pair_probe_key(p->pair, epoch);
}

static bool on_verify_send(void *peer, const struct msg *m)
{
	const struct peer *p = peer;
	struct link *l = dialler_link(&p->dialler);

	return l != NULL && link_send(l, m);
}

static void on_verify_trouble(void *peer, const struct err *e)
{
	set_trouble(peer, e);
}

static const struct verify_host verify_host = {.pair = on_verify_pair,
					       .probe_key = on_verify_key,
					       .send = on_verify_send,
					       .trouble = on_verify_trouble};

/* ---- policy ---------------------------------------------------------------------------- */

static int recover(void *count, const struct ipsec_leftover *l, struct err *e)
{
	const struct peer *p = l->owner;

	++*(unsigned *)count;
	return pair_recover(p->pair, l, e);
}

/* What an earlier run left for this policy carries traffic until the new pair does (I5). */
static void recover_pairs(struct peer *p)
{
	struct events *to = &p->agent->events;
	struct err e = {0};
	unsigned n = 0;
	char text[96];

	if (ipsec_recover(p->agent->db, recover, &n, &e) < 0)
		event_fail(to, EVENT_SYSTEM, p->cfg.name, &e);
	if (n == 0)
		return;
	snprintf(text, sizeof text, "%u SAs of an earlier run stay in force until a new pair is",
		 n);
	event_plain(to, EVENT_ADOPTED, p->cfg.name, text);
}

/* Removes the policy and all SAs. What is left after -1 is tried again while the peer is down. */
static int remove_all(struct peer *p, struct err *e)
{
	protection_forget(p);
	if (policy_remove(&p->policy, p->agent, e) == 0) {
		pair_forget_unremoved(p->pair);
		removal_done(&p->removal);
		return 0;
	}
	if (removal_failed(&p->removal, e))
		event_fail(&p->agent->events, EVENT_SYSTEM, p->cfg.name, e);
	return -1;
}

/* A peer that is leaving still has a policy for the same addresses. */
static bool waits_for_former(const struct peer *p, struct err *e)
{
	for (const struct peer *other = p->agent->peers; other != NULL; other = other->next) {
		struct policy want;

		if (!other->is_leaving || !addr_equal(&other->cfg.remote.addr, &p->cfg.remote.addr))
			continue;
		if (policy_fill(&want, &p->agent->cfg, &p->cfg, &p->agent->loop, e) == 0) {
			if (!addr_equal(&other->policy.sa.local, &want.local))
				continue;
			*e = other->removal.why;
			err_in(e, "the former policy of %s is still there", other->cfg.name);
		}
		return true;
	}
	return false;
}

/* Failures are reported and tried again. */
static bool retry_start(struct peer *p, const struct err *e)
{
	report_system_error(p, e);
	protection_update(p);
	deadline_set(&p->start_due, loop_now_ms() + POLICY_RETRY_MS);
	return false;
}

/* From here on the pair is closed, unless this fails. */
static bool install_policy(struct peer *p)
{
	struct err e = {0};

	if (policy_is_current(&p->policy) ||
	    ((policy_is_installed(&p->policy) || remove_all(p, &e) == 0) &&
	     !waits_for_former(p, &e) && policy_install(&p->policy, p->agent, &p->cfg, p, &e) == 0))
		return true;
	return retry_start(p, &e);
}

static int read_ppk(struct peer *p, struct err *e)
{
	if (secret_len(&p->ppk) > 0 || creds_ppk(&p->ppk, p->cfg.ppk, e) == 0)
		return 0;
	return err_in(e, "peer %s", p->cfg.name);
}

static void check_address(struct peer *p);

static void on_start_due(void *peer)
{
	struct peer *p = peer;
	struct err e = {0};

	if (p->lacks_address)
		check_address(p);
	if (p->is_started || !p->is_wanted || p->agent->stopping || !install_policy(p))
		return;
	if (read_ppk(p, &e) < 0) { /* never without the PPK that is configured */
		retry_start(p, &e);
		return;
	}
	p->is_started = true;
	/* A pair that cannot be verified protects all the same. */
	if (prober_open(p->prober, &e) < 0)
		event_fail(&p->agent->events, EVENT_SYSTEM, p->cfg.name, &e);
	protection_update(p);
	recover_pairs(p);
	dialler_enable(&p->dialler);
}

/* Installs the policy now; the rest follows from the loop. */
static void start(struct peer *p)
{
	p->is_wanted = true;
	if (install_policy(p))
		deadline_set(&p->start_due, loop_now_ms());
}

/* Links and probes end; the policy stays. */
static void end_start(struct peer *p)
{
	p->is_started = false;
	prober_close(p->prober);
}

/* ---- coming and going ------------------------------------------------------------------ */

static void free_peer(struct peer *p)
{
	set_trouble(p, NULL);
	pair_free(p->pair);
	prober_free(p->prober);
	wipe(p, sizeof *p);
	free(p);
}

static void on_closed(uv_handle_t *h)
{
	free_peer(h->data);
}

static void on_removal_due(void *peer);
static void on_proof_due(void *peer);

/* Allocates the parts; no handle of the loop is open yet. */
static int make_parts(struct peer *p, struct err *e)
{
	struct pair_env env = {.agent = p->agent,
			       .name = p->cfg.name,
			       .opt = &p->cfg.opt,
			       .policy = &p->policy.sa,
			       .ppk = &p->ppk,
			       .deadlines = &p->deadlines,
			       .host = &pair_host,
			       .peer = p};

	dialler_init(&p->dialler, p->agent, &p->cfg, &p->policy.sa, &p->deadlines, &peer_link_owner,
		     p, report_system_error);
	completions_init(&p->completions, p);
	p->prober = prober_new(p->agent, p->cfg.name, &p->policy.sa, &verify_host, p);
	p->pair = pair_new(&env);
	deadlines_add(&p->deadlines, &p->start_due, on_start_due, p);
	deadlines_add(&p->deadlines, &p->removal.due, on_removal_due, p);
	deadlines_add(&p->deadlines, &p->proof_due, on_proof_due, p);
	if (p->prober == NULL || p->pair == NULL)
		return err_set(e, ERR_OS, "no memory for a peer");
	return 0;
}

int peer_add(struct agent *a, const struct peer_config *cfg, struct peer **out, struct err *e)
{
	struct peer *p = calloc(1, sizeof *p), **at = &a->peers;

	if (p == NULL)
		return err_set(e, ERR_OS, "no memory for a peer");
	p->agent = a;
	p->cfg = *cfg;
	if (make_parts(p, e) < 0) {
		free_peer(p);
		return -1;
	}
	deadlines_open(&p->deadlines, &a->loop);
	while (*at != NULL)
		at = &(*at)->next;
	*at = p;
	a->n_peers++;
	start(p);
	if (out != NULL)
		*out = p;
	return 0;
}

int peer_add_temporary(struct agent *a, const struct peer_config *cfg, struct peer **out,
		       struct err *e)
{
	if (peer_add(a, cfg, out, e) < 0)
		return -1;
	(*out)->is_temporary = true;
	return 0;
}

/* Neither links, exchanges nor probes: nothing happens by itself any more. */
static void rest(struct peer *p)
{
	dialler_disable(&p->dialler);
	deadlines_clear(&p->deadlines);
	completions_stop_run(&p->completions);
	verify_cancel_all(p->prober);
}

static void close_links(struct peer *p, enum fault fault)
{
	if (dialler_link(&p->dialler) != NULL)
		pair_link_lost(p->pair);
	dialler_close_links(&p->dialler, fault);
}

/* Its secrets are wiped now, the storage is freed when the loop has closed the timer. */
static void discard(struct peer *p)
{
	struct peer **at = &p->agent->peers;

	p->is_removed = true;
	rest(p);
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->agent->n_peers--;
	pair_leave(p->pair);
	secret_wipe(&p->ppk);
	deadlines_close(&p->deadlines, on_closed, p);
}

/* Removes what there is of the peer on this host, and reports that. */
static int go_down(struct peer *p, struct err *e)
{
	if (remove_all(p, e) < 0)
		return -1;
	event_plain(&p->agent->events, EVENT_DOWN, p->cfg.name,
		    p->is_leaving ? "removed: no SA and no policy is left"
				  : "down: no SA and no policy is left");
	if (p->is_leaving)
		discard(p);
	return 0;
}

static void on_removal_due(void *peer)
{
	struct peer *p = peer;
	struct err e = {0};

	if (!p->is_wanted && !p->is_removed)
		(void)go_down(p, &e); /* a failure sets the time of the next try */
}

/* Ends all that there is of a pair on this host but the policy. */
static void drop_pair(struct peer *p, const struct err *why)
{
	completions_fail(&p->completions, why);
	close_links(p, FAULT_REMOVED);
	pair_clear(p->pair);
}

int peer_remove(struct peer *p, struct err *e)
{
	struct err gone = {0};

	if (p->is_removed)
		return 0;
	p->is_wanted = false;
	p->is_leaving = true;
	err_set(&gone, ERR_DOWN, "%s was removed", p->cfg.name);
	drop_pair(p, &gone);
	end_start(p);
	rest(p);
	return go_down(p, e);
}

/* Ends the pair for that reason, and forgets failures; the policy stays. */
static void end_pair(struct peer *p, const struct err *why)
{
	drop_pair(p, why);
	end_start(p);
	rest(p);
	pair_calm(p->pair);
	dialler_reset_failures(&p->dialler);
	set_trouble(p, NULL);
}

int peer_change(struct peer *p, const struct config *c, const struct peer_config *pc, struct err *e)
{
	struct err gone = {0};

	if (!policy_outdate(&p->policy, c, pc)) /* the new policy comes first here, too */
		return peer_add(p->agent, pc, NULL, e) < 0 ? -1 : peer_remove(p, e);
	err_set(&gone, ERR_DOWN, "%s was changed by a reload", p->cfg.name);
	end_pair(p, &gone);
	secret_wipe(&p->ppk);
	p->cfg = *pc;
	p->is_temporary = false;
	pair_configure(p->pair);
	start(p);
	if (policy_is_current(&p->policy))
		return 0;
	if (e != NULL && p->trouble != NULL)
		*e = *p->trouble;
	return -1;
}

/* ---- the own address ------------------------------------------------------------------- */

static void lose_address(struct peer *p)
{
	char text[ADDR_TEXT];
	struct err e = {0};

	p->lacks_address = true;
	addr_put(text, &p->policy.sa.local);
	err_set(&e, ERR_DOWN, "the own address %s is not on this host any more", text);
	err_hint(&e, "the agent pairs again when the host has an address that the config allows");
	drop_pair(p, &e);
	set_trouble(p, &e);
	event_fail(&p->agent->events, EVENT_DOWN, p->cfg.name, &e);
	protection_update(p);
}

/* Whether the routes give the peer another own address. */
static bool has_other_address(const struct peer *p)
{
	struct agent *a = p->agent;
	struct policy want;

	return policy_fill(&want, &a->cfg, &p->cfg, &a->loop, NULL) == 0 &&
	       !addr_equal(&want.local, &p->policy.sa.local) &&
	       os_addresses_has(a->addresses, &want.local);
}

/* A new peer in the place of p, which leaves when the policy from the new address is in force. */
static void move_to_other_address(struct peer *p)
{
	struct agent *a = p->agent;
	struct err e = {0};
	struct peer *moved;

	if (peer_add(a, &p->cfg, &moved, &e) < 0) {
		report_system_error(p, &e);
		return;
	}
	moved->is_temporary = p->is_temporary;
	if (install_policy(moved))
		(void)peer_remove(p, &e); /* reported, and tried again */
	else
		(void)peer_remove(moved, &e);
}

static void check_address(struct peer *p)
{
	if (!p->is_wanted || p->is_removed || !policy_is_installed(&p->policy))
		return;
	if (os_addresses_has(p->agent->addresses, &p->policy.sa.local)) {
		if (p->lacks_address) {
			p->lacks_address = false;
			dialler_hurry(&p->dialler);
		}
		return;
	}
	if (!p->lacks_address)
		lose_address(p);
	deadline_set(&p->start_due, loop_now_ms() + POLICY_RETRY_MS); /* checks again */
	if (has_other_address(p))
		move_to_other_address(p);
}

void peers_check_addresses(struct agent *a)
{
	for (struct peer *p = a->peers, *next; p != NULL && !a->stopping; p = next) {
		next = p->next;
		check_address(p);
	}
}

static enum cert_fault judge_again(const struct peer *p)
{
	struct link *l = dialler_link(&p->dialler);

	if (l != NULL)
		return link_judge_again(l);
	return hello_is_denied(p, &p->agent->identity->deny) ? CERT_DENIED : CERT_OK;
}

/* Its certificate is refused: ends all but the policy. */
static void end_trust(struct peer *p, enum cert_fault fault)
{
	struct err e = {0};

	deadline_set(&p->proof_due, 0);
	err_set(&e, ERR_AUTH, "%s", cert_fault_text(fault));
	drop_pair(p, &e);
	set_trouble(p, &e);
	event_fail(&p->agent->events, EVENT_AUTH_REFUSED, p->cfg.name, &e);
	dialler_retry_slowly(&p->dialler);
}

static void on_proof_due(void *peer)
{
	end_trust(peer, CERT_UNTRUSTED);
}

void peers_judge_again(struct agent *a)
{
	for (struct peer *p = a->peers; p != NULL; p = p->next) {
		const enum cert_fault fault = judge_again(p);

		if (fault == CERT_OK || (dialler_link(&p->dialler) == NULL &&
					 !pair_is_up(p->pair) && pair_is_drained(p->pair)))
			continue;
		if (fault == CERT_DENIED) {
			end_trust(p, fault);
			continue;
		}
		/* The peer may have a new certificate that its old link does not show. */
		close_links(p, FAULT_REPLACED);
		deadline_set(&p->proof_due, loop_now_ms() + PROOF_MS);
		dialler_retry(&p->dialler);
	}
}

void peers_stop(struct agent *a)
{
	struct err gone = {0};

	err_set(&gone, ERR_DOWN, "the agent is stopping");
	while (a->peers != NULL) {
		struct peer *p = a->peers;

		completions_fail(&p->completions, &gone);
		close_links(p, FAULT_SHUTDOWN);
		prober_close(p->prober);
		discard(p);
	}
}

void peer_set_options(struct peer *p, const struct peer_config *cfg)
{
	p->cfg.opt = cfg->opt;
	pair_configure(p->pair);
	protection_update(p);
}

/* ---- the user's wishes ----------------------------------------------------------------- */

int peer_down(struct peer *p, bool *changed, struct err *e)
{
	struct err gone = {0};

	*changed = p->is_wanted;
	if (!p->is_wanted)
		return p->removal.failures > 0 ? go_down(p, e) : 0;
	p->is_wanted = false;
	err_set(&gone, ERR_DOWN, "%s was taken down", p->cfg.name);
	end_pair(p, &gone);
	protection_update(p);
	return go_down(p, e);
}

bool peer_up(struct peer *p)
{
	if (p->is_leaving)
		return false;
	if (p->is_wanted) {
		dialler_hurry(&p->dialler);
		return false;
	}
	start(p);
	return true;
}

void peer_rekey(struct peer *p)
{
	if (p->is_wanted)
		pair_want(p->pair, REASON_REQUEST);
}

int peer_make_manual(struct peer *p, struct pair_view *v, struct err *e)
{
	const struct cert_facts *own = identity_facts(p->agent->identity->id);

	if (!own->is_lab) {
		err_set(e, ERR_PERM,
			"this agent has no lab identity: keys of a pair are exported in labs only");
		return err_hint(
			e, "sapair lab init makes lab identities; or run sapair on that host, too");
	}
	if (!policy_is_installed(&p->policy))
		return err_set(e, ERR_DOWN, "%s is %s: nothing is protected towards it",
			       p->cfg.name, peer_state_word(p));
	return manual_pair(p->pair, own->not_after, v, e);
}

void peer_forget_manual_keys(struct peer *p, const struct pair_view *v)
{
	manual_forget_keys(p->pair, v->ctx);
}

/* ---- the back end ---------------------------------------------------------------------- */

void peer_on_ipsec(struct agent *a, const struct ipsec_event *ev)
{
	struct peer *p = ev->owner;

	if (p == NULL || p->is_removed) {
		if (ev->kind == IPSEC_EV_DROPPED)
			event_plain(&a->events, EVENT_DROPS, NULL,
				    ev->text != NULL ? ev->text : "packets without an SA");
		return;
	}
	switch (ev->kind) {
	case IPSEC_EV_DATAGRAM:
		verify_on_datagram(p->prober, ev->data, ev->n);
		break;
	case IPSEC_EV_SOFT:
		pair_on_soft_limit(p->pair, ev->ctx, ev->reason);
		break;
	case IPSEC_EV_HARD:
		pair_on_sa_lost(p->pair, ev->ctx);
		break;
	case IPSEC_EV_ACQUIRE:
		if (p->is_wanted)
			pair_on_acquire(p->pair);
		break;
	case IPSEC_EV_REMOVED:
		event_plain(&a->events, EVENT_FOREIGN, p->cfg.name,
			    ev->text != NULL ? ev->text
					     : "another program removed an SA or policy of ours");
		pair_on_sa_lost(p->pair, ev->ctx);
		break;
	case IPSEC_EV_JUDGED:
		protection_on_judged(p, ev);
		break;
	case IPSEC_EV_DROPPED:
		event_plain(&a->events, EVENT_DROPS, p->cfg.name,
			    ev->text != NULL ? ev->text : "packets dropped");
		break;
	case IPSEC_EV_LOST:
		break;
	}
}
