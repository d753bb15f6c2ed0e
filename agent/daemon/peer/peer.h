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

struct deny;
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
/* Drops links and SAs of peers with a key on the list; their policies stay. */
void peers_drop_denied(struct agent *a, const struct deny *deny);
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
 * Makes a pair by hand (pair/manual.h), in labs only (ERR_PERM). The keys in *v are there until
 * peer_forget_manual_keys().
 */
int peer_make_manual(struct peer *p, struct pair_view *v, struct err *e);
void peer_forget_manual_keys(struct peer *p, const struct pair_view *v);

/* ---- events ---- */
/* Of links that listen_open() accepts: arg is the agent. */
extern const struct link_owner peer_link_owner;
/* Of the back end; but IPSEC_EV_LOST, which is agent.c's. */
void peer_on_ipsec(struct agent *a, const struct ipsec_event *ev);

#endif
