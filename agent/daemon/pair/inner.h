/*
 * agent/daemon/pair/inner.h - what the files of this folder share.
 */
#ifndef SAPAIR_AGENT_DAEMON_PAIR_INNER_H
#define SAPAIR_AGENT_DAEMON_PAIR_INNER_H

#include "agent/daemon/pair/pair.h"
#include "agent/daemon/removal.h"

/* Keys that are kept only for `sapair export`, where the config allows it. */
struct generation_keys {
	struct secret in, out;
};

/* One generation: a pair of SAs (proto/exchange/exchange.h: NEW, CURRENT, HELD, RETIRED). */
struct generation {
	struct generation *next;
	struct ipsec_ctx ctx;
	uint64_t epoch;
	struct spi in, out;
	enum suite suite;
	bool esn, has_in, has_out, retired;
	/* Of an earlier run (one SA), or manual: in force until an agreed pair is. Not counted. */
	bool recovered;
	unsigned unremoved; /* parts (enum ipsec_part) whose removal failed */
	struct secret probe_key;
	struct generation_keys *keys; /* NULL: not kept */
	uint64_t since_ms;            /* outbound installed */
	uint64_t hard_ms;       /* end of the outbound SA; the inbound one lives a little longer */
	uint64_t out_ms, in_ms; /* retired: the ends of the two SAs */
};

struct pair {
	struct agent *agent;
	const char *name;
	const struct peer_options *opt;
	struct sa_policy *policy;
	const struct secret *ppk;
	const struct pair_host *host;
	struct peer *peer;
	struct deadline exchange_due, start_due, rekey_due, generations_due;

	bool is_linked, leads;
	uint64_t peer_last;

	struct exchange x;
	struct receipt receipt;
	struct generation *fresh, *current, *superseded; /* NEW, CURRENT, HELD and RETIRED */
	unsigned n_superseded, n_retired;
	struct generation *unremoved; /* of no use any more, but still in the system */
	struct removal removal;       /* of these, and of parts of superseded ones */
	uint64_t rekeys;

	bool want_exchange; /* an exchange is to be started, or asked for */
	enum rekey_reason want_reason;
	bool asked;   /* we sent `rekey` on this link and wait for the offer */
	bool limited; /* its start was delayed by the rate limit */
	uint64_t last_start_ms;
	unsigned failures;    /* of exchanges in a row */
	uint32_t offers_left; /* token bucket for the peer's offers */
	uint64_t offers_ms;
};

#endif
