/*
 * agent/daemon/peer/peer.h - one configured peer: a policy, a dialler, a pair, a prober.
 *
 * peer.c connects these parts: what a link, an exchange, a run of probes or the back end reports is
 * passed on to the others. All on the loop's thread.
 */
#ifndef SAPAIR_AGENT_DAEMON_PEER_PEER_H
#define SAPAIR_AGENT_DAEMON_PEER_PEER_H

#include "agent/daemon/link/link.h"
#include "agent/daemon/pair/pair.h"
#include "agent/daemon/verify/verify.h"

struct peer;

/* ---- coming and going ---- */
/* A new peer of this config; its policy is installed and it is dialled when the loop runs. out may be
 * NULL. */
int peer_add(struct agent *a, const struct peer_config *cfg, struct peer **out, struct err *e);
/* ... of `up ADDRESS`: a reload keeps it. */
int peer_add_temporary(struct agent *a, const struct peer_config *cfg, struct peer **out,
		       struct err *e);
/* Removes SAs and policy, tells the peer; the storage is freed later. -1 if something is left: the peer
 * stays in the list, is removing (peer_is_removing()), and is freed when a later try succeeds. */
int peer_remove(struct peer *p, struct err *e);
/* Applies a change that ends the pair. The policy is changed in place, or the new one is installed before
 * the former one is removed. -1: the former policy stays for now, and the peer tries again. */
int peer_change(struct peer *p, const struct config *c, const struct peer_config *pc,
		struct err *e);
/*
 * The addresses of this host may have changed. A pair whose own address is gone is taken down; where the
 * config leaves the own address to the routes, the peer gets a policy from the new one, then loses the old.
 */
void peers_check_addresses(struct agent *a);
/* The CAs, the denied keys or the config have changed: judges the certificate of each peer again, and
 * drops links and SAs of those that are refused now. Their policies stay. */
void peers_judge_again(struct agent *a);
/* The agent stops: closes the links of all peers. Policies and SAs stay where the system keeps them. */
void peers_stop(struct agent *a);
/* New options (lifetimes, suites, ...) that need no new policy. */
void peer_set_options(struct peer *p, const struct peer_config *cfg);

/* ---- the user's wishes ---- */
/* False when it was so before. */
bool peer_up(struct peer *p);
/* Removes SAs and policy. -1 if something is left, which is tried again until it succeeds; another call
 * tries at once. *changed: it was not down before. p may be freed. */
int peer_down(struct peer *p, bool *changed, struct err *e);
/* An exchange on demand; nobody waits for it. No effect on a peer that is down. */
void peer_rekey(struct peer *p);
/*
 * Makes a pair by hand (pair/pair.h), in labs only (ERR_PERM). The keys in *v are there until
 * peer_forget_manual_keys().
 */
int peer_make_manual(struct peer *p, struct pair_view *v, struct err *e);
void peer_forget_manual_keys(struct peer *p, const struct pair_view *v);

/* ---- events ---- */
/* Of links that listen_open() accepts. */
extern const struct link_owner peer_link_owner;
/* Of the back end; but IPSEC_EV_LOST, which is agent.c's. */
void peer_on_ipsec(struct agent *a, const struct ipsec_event *ev);

/* ---- peers as others see them (view.c) ---- */
struct peer *peer_find(const struct agent *a, const char *name_or_address);
/* The peer of connections from remote to local, or NULL. */
struct peer *peer_of_addresses(const struct agent *a, const struct addr *local,
			       const struct addr *remote);
struct peer *peer_next(const struct peer *p); /* in the order of the config; the first is a->peers */

const char *peer_name(const struct peer *p);
const struct peer_config *peer_config_of(const struct peer *p);
bool peer_is_temporary(const struct peer *p);
bool peer_is_up(const struct peer *p); /* a pair is in force */
const char *peer_state_word(
	const struct peer *p); /* "down", "removing", "waiting", "pairing", "up" */
/* The config does not have it any more; it is freed when nothing of it is left. */
bool peer_is_leaving(const struct peer *p);
/* Something could not be removed and is tried again: the policy, or SAs (pair_unremoved()). The error is
 * that of the last try. */
bool peer_is_removing(const struct peer *p);
bool peer_has_policy_left(const struct peer *p);
const struct err *peer_removal_error(const struct peer *p);
const struct err *peer_trouble(const struct peer *p); /* the last one, or NULL */
const struct pair *peer_pair(const struct peer *p);
const struct policy *peer_policy_of(const struct peer *p);

/* What status shows besides. Texts are borrowed from the peer. */
struct peer_view {
	const char *link; /* "up", "dialling", "none" */
	const char *role; /* "leader", "follower"; NULL: no link is up */
	/* Of the peer's certificate; pin is NULL while none is known. */
	const uint8_t *pin;
	const char *cert_name;
	int64_t not_after;
	uint32_t unprotected; /* agent/ipsec/protection.h; 0: protected */
	bool carrying;        /* SAs are in force */
	/* Of the last run of probes, if it was about the pair in force. */
	bool verified;
	unsigned shown; /* SHOWN_... */
	uint64_t verified_ms, rtt_us;
};
void peer_view(const struct peer *p, struct peer_view *v);

/* ---- a new config (reload.c) ---- */
/* What a reload did; the names are freed by reload_result_free(). */
struct reload_result {
	char **added, **removed, **updated;
	char **removing; /* those of removed and updated whose policy could not be removed yet */
	size_t n_added, n_removed, n_updated, n_removing, same;
	bool identity_changed;
};
void reload_result_free(struct reload_result *r);

/* Is everything there that the peers of a new config need? None is removed for one that cannot begin. */
int peers_check(const struct agent *a, const struct config *c, struct err *e);
/* Removes, changes and adds peers. One that cannot be added is an event. */
void peers_reload(struct agent *a, const struct config *c, struct reload_result *r);

#endif
