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
	bool is_left; /* by the peer: its last hello, which came later, says that it sends on another */
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
	struct policy *policy;
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
	struct bucket offers; /* of the peer */
};

/* ---- generations: p->fresh is NEW, p->current is CURRENT, p->superseded is the list of HELD and
 * RETIRED ones, newest first ---- */
/* NULL: no memory. generation_free() wipes its keys. */
struct generation *generation_new(struct agent *a);
void generation_free(struct agent *a, struct generation *g);
/* Removes one SA or both. The first failure is an event. What is left is removed later, by
 * generations_remove_again(): generation_remove() keeps the generation in p->unremoved until then. */
void generation_remove(struct pair *p, struct generation *g);
void generation_remove_part(struct pair *p, struct generation *g, enum ipsec_part part);
void generations_remove_again(struct pair *p);
/* The peer's hello says on which SPI it sends. */
void generations_on_hello(struct pair *p, struct spi peer_out);
/* How many are HELD. If there are EXCHANGE_HELD_MAX, the oldest that the peer has left is removed. */
unsigned generations_held(struct pair *p);
/* The generation with this context, or NULL. */
struct generation *generation_find(struct pair *p, struct ipsec_ctx ctx);

void generation_view(const struct generation *g, struct pair_view *v);
/* Puts it at the front of the list, as HELD. */
void generation_supersede(struct pair *p, struct generation *g);
/* It leaves the list, or becomes RETIRED: updates the counters. */
void generation_uncount(struct pair *p, const struct generation *g);

/* The sooner of two times, 0 meaning never. */
uint64_t generation_sooner(uint64_t a, uint64_t b);
/* When the SAs of a superseded generation are removed; times of loop_now_ms(), 0: never. */
uint64_t generation_out_end(const struct generation *g);
uint64_t generation_in_end(const struct generation *g);
/* Sets the deadline of the next generation that ends or loses an SA. */
void generations_schedule(struct pair *p);
/* The peer is known to send on the pair in force: the older ones become RETIRED. */
void generations_retire(struct pair *p);
/* Sets the deadline of the next rekey by time. */
void generations_schedule_rekey(struct pair *p);
/* Sets the limits of the next SAs: without ESN, sequence numbers end at 2^32. */
void generations_set_limits(struct pair *p, bool esn);

/* ---- driver of the exchange machine ---- */
/* The outcome of one event. */
struct driver_result {
	bool acted;        /* the machine did something */
	struct err system; /* why an action of the back end failed */
	bool send_failed;  /* the send queue of the link is full */
	bool ended;        /* the exchange is over */
	enum fault result;
	bool close; /* the link is to be closed */
	enum fault close_fault;

	/* private */
	bool answer;    /* an action of the back end is to be answered */
	struct spi spi; /* of XA_RESERVE */
};

/* Feeds one event to the machine, performs the actions, and feeds the results of the back end, until the
 * machine waits for the peer or is idle. Closing the link and ending the exchange is the caller's. */
void driver_run(struct pair *p, const struct xevent *first, struct driver_result *r);

#endif
