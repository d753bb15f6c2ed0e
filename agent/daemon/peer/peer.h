/*
 * agent/daemon/peer/peer.h - one configured peer: its policy, link, exchange, SAs and timers.
 *
 * The only place where exchange, ipsec and link meet: peer.c feeds events into the exchange
 * machine and performs its actions. All on the loop's thread.
 */
#ifndef SAPAIR_AGENT_DAEMON_PEER_PEER_H
#define SAPAIR_AGENT_DAEMON_PEER_PEER_H

#include "agent/daemon/agent.h"
#include "agent/daemon/verify/verify.h"
#include "proto/exchange/election.h"

struct carrier;
struct link;

#define SEEN_RUNS 4 /* of the peer that may overlap: its users' and that of each new pair */

/* Keys that are kept only for `sapair export`, where the config allows it. */
struct gen_keys {
	struct secret in, out;
};

/* One generation: a pair of SAs (proto/exchange/exchange.h says what NEW, CURRENT, HELD, RETIRED mean). */
struct gen {
	struct gen *next;
	struct ipsec_ctx ctx;
	uint64_t epoch;
	struct spi in, out;
	enum suite suite;
	bool esn, has_in, has_out, retired;
	bool adopted; /* of an earlier run (one half), or made by hand: in force until a pair that was
	               * agreed is; not in n_held */
	struct secret probe_key;
	struct gen_keys *keys; /* NULL: not kept */
	uint64_t since_ms;     /* outbound installed */
	uint64_t hard_ms;      /* end of the outbound half; the inbound one lives a little longer */
	uint64_t out_ms, in_ms; /* when retired: the ends of its halves */
};

/* What one exchange did, for its receipt. Times in microseconds from its start. */
struct receipt {
	enum rekey_reason reason;
	uint64_t old_epoch, epoch;
	struct spi old_in, old_out, in, out;
	enum suite suite;
	uint64_t started_us; /* loop_now_us() */
	uint64_t inbound_us, switch_us, total_us;
	bool leader, limited;
};

enum waiter_kind { WAIT_UP, WAIT_REKEY, WAIT_VERIFY };
enum waiter_phase { PHASE_EXCHANGE, PHASE_VERIFY, PHASE_DRAIN, PHASE_OVER };

/* Somebody who waits for something of a peer; the memory is the waiter's. */
struct waiter {
	struct waiter *next;
	struct peer *peer; /* NULL when not queued */
	enum waiter_kind kind;
	enum waiter_phase phase;
	bool want_verify, want_drain;
	bool joined;  /* an exchange was running already */
	bool changed; /* up: it was not up before */
	uint64_t since_us;
	struct receipt receipt;
	bool has_result;
	struct verify_result result;
	struct verify *run; /* WAIT_VERIFY: its own */
	uint32_t count, interval_ms;
	/* Called once, at the end, from the loop. e is NULL on success. */
	void (*done)(struct waiter *w, const struct err *e);
	void *arg;
};

enum peer_timer { DUE_DIAL, DUE_EXCHANGE, DUE_START, DUE_REKEY, DUE_GENS, DUE_POLICY, DUE_COUNT };

struct peer {
	struct peer *next;
	struct agent *agent;
	struct peer_config cfg;
	struct sa_policy policy;
	bool has_policy;
	struct carrier *carrier; /* of its probes; NULL where the back end carries them */
	bool wanted;             /* false: taken down by the user */
	bool removed;            /* going away: freed when the timer is closed */
	bool temporary;          /* came by `up ADDRESS`: reload leaves it alone */

	uv_timer_t timer;
	uint64_t due[DUE_COUNT]; /* ms, 0 = off */
	uint64_t armed_ms;       /* when the timer goes off; 0: it does not */

	struct link *link; /* up: the one that stays */
	struct link *dialling;
	struct link *knocks; /* accepted from its address, not up yet (list by next) */
	struct peer *dial_next;
	bool dial_queued;
	bool dial_deferred; /* a knock was waited for once: it cannot hold us off for ever */
	unsigned dial_failures;
	bool has_instance;
	uint8_t instance[INSTANCE_LEN]; /* of the last hello */
	bool has_facts;
	uint8_t peer_pin[PIN_LEN];
	char peer_name[MSG_NAME_MAX + 1];
	int64_t peer_not_after;
	uint64_t cert_good_ms; /* when that was last compared with the wall clock */

	struct secret ppk;
	struct exchange x;
	struct gen *fresh, *current, *held; /* NEW, CURRENT, HELD and RETIRED */
	unsigned n_held, n_retired;
	bool want_exchange; /* an exchange is to be started, or asked for */
	bool asked;         /* we sent `rekey` on this link and wait for the offer */
	bool limited;       /* its start was delayed by the rate limit */
	uint64_t peer_last; /* greatest epoch that the peer's hello told */
	enum rekey_reason want_reason;
	uint64_t last_start_ms;
	unsigned failures;    /* of exchanges in a row */
	uint32_t offers_left; /* token bucket for the peer's offers */
	uint64_t offers_ms;

	struct receipt receipt; /* of the running or last exchange */
	struct waiter *waiters;
	struct verify *verifies; /* running runs */
	struct verify *auto_run; /* the one that every new pair gets */
	bool verified;
	uint64_t verified_ms, verified_rtt_us;
	uint64_t verify_epoch; /* the epoch that was last judged */
	struct {
		uint64_t id;
		uint32_t count;
	} seen[SEEN_RUNS]; /* probe datagrams of the peer that arrived, by run: last one first */
	uint64_t rekeys;
	bool was_up;         /* the event "up" was told for the pair in force */
	struct err *trouble; /* last one, or NULL */
};

/* The policy that a peer's config asks for; its address here may be what routing picks. */
int peer_fill_policy(struct sa_policy *s, const struct config *c, const struct peer_config *pc,
		     uv_loop_t *loop, struct err *e);
/* A new peer of this config; policy and dialling begin at once unless the agent stops. */
int peer_add(struct agent *a, const struct peer_config *cfg, struct peer **out, struct err *e);
/* Takes SAs and policy away, tells the peer, frees it later. */
void peer_remove(struct peer *p);
/* Its key came onto the deny list: links and SAs go, the policy stays closed. */
void peer_drop_denied(struct peer *p);
/* The agent ends: links are closed, policy and SAs stay where the system keeps them. */
void peer_stop(struct peer *p);
/* New options (lifetimes, suites, ...) that need no new policy. */
void peer_options_set(struct peer *p, const struct peer_config *cfg);

struct peer *peer_find(struct agent *a, const char *name_or_address);
/* The peer that connections from remote to local belong to, or NULL. */
struct peer *peer_of_addresses(struct agent *a, const struct addr *local,
			       const struct addr *remote);

/* ---- what the user asks ---- */
bool peer_is_up(const struct peer *p); /* a pair is in force */
const char *peer_state_word(const struct peer *p);
/* Both: false when it was so before. */
bool peer_up(struct peer *p);
bool peer_down(struct peer *p);
/* Queues w (kind, wishes, done filled in); w->done is called later in any case. */
void peer_wait(struct peer *p, struct waiter *w);
/* Asks for an exchange, by ourselves or through the leader. */
void peer_want_exchange(struct peer *p, enum rekey_reason reason);
void waiter_cancel(struct waiter *w);

/* ---- what links tell ---- */
/* Judge of the TLS engine: is this leaf the peer's? */
enum cert_fault peer_judge(const struct peer *p, const struct cert_facts *leaf,
			   enum cert_fault chain);
/* Fills our hello for this link. */
void peer_fill_hello(struct peer *p, const struct link *l, struct msg_hello *h);
/* The peer's hello: the link is up, or loses an election. */
void peer_on_hello(struct peer *p, struct link *l, const struct msg_hello *h);
void peer_on_message(struct peer *p, struct link *l, const struct msg *m, const char *body,
		     size_t len);
/* Beside those that knock: up, or with our hello on its way. The peer then gives up its own dial
 * in the middle of the handshake, which looks like a refusal. */
bool peer_has_other_link(const struct peer *p);
/* The link is closing for a reason of its own (not by link_close() of the peer). */
void peer_on_link_lost(struct peer *p, struct link *l);

/* ---- what the back end tells ---- */
void peer_on_ipsec(void *agent, const struct ipsec_event *ev);

/* A probe key for an epoch that we know of, or NULL. */
const struct secret *peer_probe_key(const struct peer *p, uint64_t epoch);

/* Sets or (0) clears one of the peer's clocks. */
void peer_due(struct peer *p, enum peer_timer which, uint64_t at_ms);
/* Remembers the last trouble for status and waiters; NULL forgets it. */
void peer_trouble(struct peer *p, const struct err *e);

/* Places to dial: next one in the queue. */
void peer_dial_place_free(struct agent *a);

#endif
