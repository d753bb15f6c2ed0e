/*
 * agent/privsep/policy.h - which requests the helper grants.
 *
 * The helper judges each request by the peers of the config, which it reads by itself, and by what it
 * granted before. It accepts from the network process which configured peer is meant, SPIs of outbound
 * SAs, keys and epochs. Everything else must be as configured, or stricter. No I/O.
 */
#ifndef SAPAIR_AGENT_PRIVSEP_POLICY_H
#define SAPAIR_AGENT_PRIVSEP_POLICY_H

#include "agent/privsep/record.h"
#include "proto/config/config.h"

#define PRIVSEP_LIFETIME_MAX_S (7 * 86400)      /* where the config has no limit of time */
#define PRIVSEP_PACKETS_MAX (UINT64_C(1) << 32) /* the hard limit must be lower without ESN */

/* A configured peer. */
struct privsep_peer {
	struct policy policy; /* its limits are upper bounds; 0: none */
	bool is_granted;      /* its policy is in force */
	struct suite_list suites;
	bool esn;
	uint32_t window, lifetime_s; /* upper bounds */
	uint32_t contexts_max;       /* at once, beside those of an earlier run */
};

/* A context that is in force. */
struct privsep_context {
	uint64_t inner;     /* its id in the back end */
	uint32_t reuse;     /* part of its number: reuse counter of this entry, against ABA */
	struct spi in, out; /* reserved; installed */
	bool used, reserved;
	bool recovered; /* from an earlier run */
	uint8_t parts;  /* enum ipsec_part */
};

/* A policy that is in force. */
struct privsep_grant {
	bool used;
	size_t peer; /* index; PRIVSEP_NO_PEER: no longer in the config as it was */
	char name[MSG_NAME_MAX + 1];
	struct addr local;
	struct privsep_context *contexts;
	uint32_t n_contexts, used_contexts, own_contexts; /* own: not recovered */
	uint32_t reuses;
	void *owner; /* the caller's */
};
#define PRIVSEP_NO_PEER SIZE_MAX

struct privsep_grants {
	struct privsep_peer *peers;
	size_t n_peers;
	struct privsep_grant *list;
	size_t n_grants, used_grants;
	size_t next; /* where the search for a free entry starts */
};

/* Replaces the peers. -1: no memory, nothing was changed. */
int privsep_grants_configure(struct privsep_grants *g, const struct config *c, struct err *e);
void privsep_grants_free(struct privsep_grants *g); /* owners are freed by the caller before */

/* The address from which this host sends to the remote one. */
typedef int privsep_route(void *arg, const struct addr *remote, struct addr *local, struct err *e);

/*
 * Is the request granted? ERR_PERM when the config or earlier grants forbid it, ERR_BUG when it makes
 * no sense, ERR_DOWN for a context that is gone. Sets the grant and the context of the request, or
 * NULL. POLICY_ADD: *grant is a free one, for privsep_grant_add(). REMOVE of a context that is gone:
 * 0, and *context is NULL. Changes nothing.
 */
int privsep_check(struct privsep_grants *g, const struct privsep_request *r, privsep_route *route,
		  void *arg, struct privsep_grant **grant, struct privsep_context **context,
		  struct err *e);

/* The functions below record what was carried out. */

/* Returns the number of the policy. */
uint32_t privsep_grant_add(struct privsep_grants *g, struct privsep_grant *grant,
			   const struct privsep_request *r);
void privsep_grant_remove(struct privsep_grants *g, struct privsep_grant *grant);
/* A reserved context (parts 0), or a recovered one with its parts. Returns its number; 0: no memory. */
uint64_t privsep_context_add(struct privsep_grants *g, struct privsep_grant *grant, uint64_t inner,
			     struct spi in, uint8_t parts);
void privsep_context_installed(struct privsep_context *context, struct spi out);
void privsep_context_activated(struct privsep_context *context);
/* Parts were removed; a context without parts is freed. */
void privsep_context_removed(struct privsep_grant *grant, struct privsep_context *context,
			     uint8_t parts);
/* By the back end's id; NULL: none. */
struct privsep_context *privsep_context_find(const struct privsep_grant *grant, uint64_t inner);
uint64_t privsep_context_number(const struct privsep_grants *g, const struct privsep_grant *grant,
				const struct privsep_context *context);

#endif
