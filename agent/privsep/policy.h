/*
 * agent/privsep/policy.h - the helper's own judgement of each request: against the peers of the config, which it
 * read by itself, and against its grants of what is in force. A decision out: no I/O in here.
 *
 * It takes from the other side which configured peer is meant, SPIs of outbound SAs, keys, and epochs.
 * Everything else has to be what the config says, or stricter.
 */
#ifndef SAPAIR_AGENT_PRIVSEP_POLICY_H
#define SAPAIR_AGENT_PRIVSEP_POLICY_H

#include "agent/privsep/record.h"

#define PRIVSEP_LIFETIME_MAX_S (7 * 86400)      /* where the config sets no time */
#define PRIVSEP_PACKETS_MAX (UINT64_C(1) << 32) /* without ESN: a limit below it must be set */

/* One configured peer, as far as the helper must know it. */
struct privsep_peer {
	struct privsep_policy policy;
	bool grant; /* its policy is in force */
	struct suite_list suites;
	bool esn;
	uint32_t window;
	uint32_t lifetime_s;               /* at most */
	uint64_t soft_bytes, soft_packets; /* at most; 0: none need be */
	uint64_t hard_bytes, hard_packets;
	uint32_t pairs_max; /* that may be there at once, beside those of an earlier run */
};

/* What the config says about a peer. */
void privsep_peer_of(struct privsep_peer *p, const struct config *c, const struct peer_config *pc);

/* One context that is in force. */
struct privsep_context {
	uint64_t inner;     /* the back end's own number of it */
	uint32_t reuse;      /* part of its number: another one for who has the place next */
	struct spi in, out; /* reserved; installed */
	bool used, reserved, old;
	uint8_t parts; /* IPSEC_INBOUND, IPSEC_OUTBOUND */
};

/* One policy that is in force. */
struct privsep_grant {
	bool used;
	size_t peer; /* of the list; PRIVSEP_NO_PEER: the config has it no more, or another one */
	char name[MSG_NAME_MAX + 1];
	struct addr local;
	struct privsep_context *contexts;
	uint32_t n_contexts, used_contexts, own_contexts;
	uint32_t reuses; /* so far, that no number comes twice */
	void *owner;    /* the helper's */
};
#define PRIVSEP_NO_PEER SIZE_MAX

struct privsep_grants {
	struct privsep_peer *peers;
	size_t n_peers;
	struct privsep_grant *grant;
	size_t n_grants, used_grants;
	size_t next; /* where to look for a free one */
};

/* Takes the peers of a config in place of those before. -1: no memory, and all is as it was. */
int privsep_grants_configure(struct privsep_grants *g, const struct config *c, struct err *e);
void privsep_grants_free(struct privsep_grants *g); /* owners are the helper's to free before */

/* The address that this host sends to the remote one from. */
typedef int privsep_route(void *arg, const struct addr *remote, struct addr *local, struct err *e);

/*
 * May it be done? ERR_PERM when config or grants forbid it, ERR_BUG when it makes no sense, ERR_DOWN
 * for what is gone. *grant and *context (either may stay NULL) are what it is about; REMOVE of a context
 * that is gone is 0 with a NULL context. POLICY_ADD: *grant is a free one, for privsep_grant_add(). Changes
 * nothing but the room in the grants.
 */
int privsep_check(struct privsep_grants *g, const struct privsep_request *r, privsep_route *route,
		  void *arg, struct privsep_grant **grant, struct privsep_context **context, struct err *e);

/* What was done. */
uint32_t privsep_grant_add(struct privsep_grants *g, struct privsep_grant *h,
			  const struct privsep_request *r);
void privsep_grant_remove(struct privsep_grants *g, struct privsep_grant *h);
/* A context of its own (RESERVE) or of an earlier run (with the parts that it has); its number on the
 * wire. 0: no memory. */
uint64_t privsep_context_add(struct privsep_grants *g, struct privsep_grant *h, uint64_t inner,
			      struct spi in, uint8_t old_parts);
void privsep_context_installed(struct privsep_context *s, struct spi out);
void privsep_context_activated(struct privsep_context *s);
/* So many parts are no more; a context without parts is gone. */
void privsep_context_removed(struct privsep_grant *h, struct privsep_context *s, uint8_t parts);
/* The context of the back end's number, or NULL; the number on the wire of a context. */
struct privsep_context *privsep_context_find(const struct privsep_grant *h, uint64_t inner);
uint64_t privsep_context_number(const struct privsep_grants *g, const struct privsep_grant *h,
			  const struct privsep_context *s);

#endif
