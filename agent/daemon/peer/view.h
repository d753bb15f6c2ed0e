/*
 * agent/daemon/peer/view.h - peers as others see them: found by name, described for documents.
 */
#ifndef SAPAIR_AGENT_DAEMON_PEER_VIEW_H
#define SAPAIR_AGENT_DAEMON_PEER_VIEW_H

#include "agent/daemon/state.h"

struct pair;
struct peer;

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
const struct sa_policy *peer_policy_of(const struct peer *p);

/* What status shows besides. Texts are borrowed from the peer. */
struct peer_view {
	const char *link; /* "up", "dialling", "none" */
	const char *role; /* "leader", "follower"; NULL: no link is up */
	/* Of the peer's certificate; pin is NULL while none is known. */
	const uint8_t *pin;
	const char *cert_name;
	int64_t not_after;
	/* Of the last run of probes, if it was about the pair in force. */
	bool verified;
	uint64_t verified_ms, rtt_us;
};
void peer_view(const struct peer *p, struct peer_view *v);

#endif
