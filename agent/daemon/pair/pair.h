/*
 * agent/daemon/pair/pair.h - the SAs of one peer, and the exchanges that make them.
 *
 * rekey.c decides when an exchange begins, driver.c performs the actions of the exchange machine,
 * generation.c keeps the SAs until their ends, manual.c makes pairs with hosts that have no agent.
 */
#ifndef SAPAIR_AGENT_DAEMON_PAIR_PAIR_H
#define SAPAIR_AGENT_DAEMON_PAIR_PAIR_H

#include "agent/daemon/state.h"
#include "proto/wire/msg.h"

struct pair;

/* What a pair needs of the peer that it belongs to. */
struct pair_host {
	/* Sends the body of one frame on the link; false: the link takes no more. */
	bool (*send)(struct peer *p, const char *body, size_t len);
	/* Closes the link for this reason; the peer is told the fault, if it is not FAULT_NONE. */
	void (*close_link)(struct peer *p, enum fault fault, const struct err *why);
	/* May the peer have new keys? If not (its certificate has expired), the link is closed then. */
	bool (*may_rekey)(struct peer *p);
	/* An exchange is over. e NULL: a new pair is in force. Not called for a failure that is
	 * repeated at once. */
	void (*ended)(struct peer *p, const struct err *e);
	/* Only the pair in force is left. */
	void (*drained)(struct peer *p);
	/* The last trouble, for status; NULL: there is none any more. */
	void (*trouble)(struct peer *p, const struct err *e);
};

/* All but peer is borrowed for as long as the pair lives; the name and options may change. */
struct pair_env {
	struct agent *agent;
	const char *name; /* of the peer */
	const struct peer_options *opt;
	struct policy *policy;
	const struct secret *ppk;
	struct deadlines *deadlines;
	const struct pair_host *host;
	struct peer *peer;
};

/* NULL: no memory. pair_free() does pair_leave(), if that is still to be done; NULL allowed. */
struct pair *pair_new(const struct pair_env *env);
void pair_free(struct pair *p);
/* The options have changed: for the exchanges to come. */
void pair_configure(struct pair *p);

/* ---- the link ---- */
struct pair_link {
	bool leads;                    /* we lead exchanges on it */
	const struct secret *exporter; /* borrowed until pair_link_lost() */
	const uint8_t *own_pin, *peer_pin;
	uint64_t peer_last;  /* of the peer's hello: greatest epoch; */
	struct spi peer_out; /* the SPI that it sends on, 0: none */
};
void pair_link_up(struct pair *p, const struct pair_link *l);
/* The hellos were compared. is_equal: both hosts have the same pair in force. is_stale: ours was no
 * longer true when the peer read it. */
void pair_on_hello(struct pair *p, bool is_equal, bool is_stale);
void pair_link_lost(struct pair *p);
/* One of offer, answer, confirm, done, reject. */
void pair_on_message(struct pair *p, const struct msg *m, const char *body, size_t len);

/* ---- exchanges ---- */
/* Asks for an exchange: begins it if we lead and the pace allows it, else later, or asks the leader. */
void pair_want(struct pair *p, enum rekey_reason reason);
/* The same for a user who waits: a delay after failures is cut short. */
void pair_demand(struct pair *p);
bool pair_is_exchanging(const struct pair *p);
bool pair_has_demand(const struct pair *p); /* an exchange runs, or is wanted */
/* No exchange is wanted any more, and no failure is remembered. */
void pair_calm(struct pair *p);

/* ---- what the system says ---- */
/* Takes over half a pair of an earlier run: in force until a new pair is, or its lifetime ends. */
int pair_recover(struct pair *p, const struct ipsec_leftover *l, struct err *e);
/* A soft limit of this context was passed. */
void pair_on_soft_limit(struct pair *p, struct ipsec_ctx ctx, enum rekey_reason reason);
/* The system has no SA for a packet. It may say so late, about a pair that has been replaced. */
void pair_on_acquire(struct pair *p);
/* The system ended an SA of this context (hard limit, removal by others). */
void pair_on_sa_lost(struct pair *p, struct ipsec_ctx ctx);

/* Removes every SA of the peer; nothing is in force then. Those that could not be removed are tried
 * again, as they are after a rekey. */
void pair_clear(struct pair *p);
/* The policy was removed, and all SAs with it. */
void pair_forget_unremoved(struct pair *p);
/* The peer goes: leaves the SAs to the system, and wipes all keys. */
void pair_leave(struct pair *p);

/* ---- views ---- */
/* What one exchange did. Times in microseconds from its start. */
struct receipt {
	enum rekey_reason reason;
	uint64_t old_epoch, epoch;
	struct spi old_in, old_out, in, out;
	enum suite suite;
	uint64_t started_us; /* loop_now_us() */
	uint64_t inbound_us, switch_us, total_us;
	bool leader, limited;
};
/* Of the running or last exchange. */
const struct receipt *pair_receipt(const struct pair *p);

/* One generation. The keys are NULL unless the config allows that they are exported. */
struct pair_view {
	uint64_t epoch;
	enum suite suite;
	bool esn, has_in, has_out;
	struct spi in, out;
	struct ipsec_ctx ctx;
	const struct secret *key_in, *key_out;
	uint64_t since_ms; /* outbound installed */
	uint64_t hard_ms;  /* end of the outbound SA */
	uint64_t rekey_ms; /* of the pair in force: next rekey by time; 0: none */
};
/* The pair in force; false: there is none. */
bool pair_in_force(const struct pair *p, struct pair_view *v);
bool pair_is_up(const struct pair *p);
/* The i-th generation: the one that is being made, the one in force, older ones; false: no more. */
bool pair_generation(const struct pair *p, size_t i, struct pair_view *v);
/* Generations with SAs that could not be removed: how many, the i-th (has_in and has_out say which SAs),
 * and the error of the last try. */
unsigned pair_n_unremoved(const struct pair *p);
bool pair_unremoved(const struct pair *p, size_t i, struct pair_view *v);
const struct err *pair_removal_error(const struct pair *p);
bool pair_is_drained(const struct pair *p);       /* no older generation is left */
unsigned pair_n_superseded(const struct pair *p); /* how many are */
uint64_t pair_rekeys(const struct pair *p);
/* What our hello says. */
const struct pair_state *pair_state(const struct pair *p);
uint64_t pair_last_epoch(const struct pair *p);
/* The key of probes of this epoch, or NULL. */
const struct secret *pair_probe_key(const struct pair *p, uint64_t epoch);

/* ---- a pair with a host that has no agent: its half is carried there by hand (manual.c) ---- */
/*
 * Chooses SPIs and keys of both halves, and installs ours until the certificate ends at the latest
 * (not_after: seconds since 1970). ERR_USAGE while the peer is paired. The keys of *out are there
 * until manual_forget_keys().
 */
int manual_pair(struct pair *p, int64_t not_after, struct pair_view *out, struct err *e);
void manual_forget_keys(struct pair *p, struct ipsec_ctx ctx);

#endif
