/*
 * agent/daemon/peer/completion.h - waiting for a pair to be up, rekeyed, verified, drained.
 */
#ifndef SAPAIR_AGENT_DAEMON_PEER_COMPLETION_H
#define SAPAIR_AGENT_DAEMON_PEER_COMPLETION_H

#include "agent/daemon/pair/pair.h"
#include "agent/daemon/verify/verify.h"

struct peer;

enum completion_kind { COMPLETE_UP, COMPLETE_REKEY, COMPLETE_VERIFY };
enum completion_phase { PHASE_EXCHANGE, PHASE_VERIFY, PHASE_DRAIN, PHASE_OVER };

/* One wish of a user. The caller owns the storage, and fills in what is marked. */
struct completion {
	struct completion *next;
	struct peer *peer;         /* NULL when not queued */
	enum completion_kind kind; /* by the caller */
	enum completion_phase phase;
	bool want_verify, want_drain; /* by the caller: also wait for these */
	uint32_t count, interval_ms;  /* by the caller, COMPLETE_VERIFY: of the probes */
	bool joined;                  /* an exchange was running already */
	bool changed;                 /* up: it was not up before */
	uint64_t since_us;
	struct receipt receipt;
	bool has_result;
	struct verify_result result;
	struct verify *run; /* COMPLETE_VERIFY: its own */
	/* By the caller. Called once, at the end; e is NULL on success. */
	void (*done)(struct completion *c, const struct err *e);
	void *arg;
};

/* Queues c; c->done() is called in any case, possibly from within. */
void completion_start(struct peer *p, struct completion *c);
/* c->done() is not called any more. No effect if it is over. */
void completion_cancel(struct completion *c);
/* What stands in the way, for the error of one whose time is over. */
void completion_why(const struct completion *c, struct err *e);

/* Of one peer; part of struct peer, private to completion.c. */
struct completions {
	struct peer *peer;
	struct completion *first;
	struct verify *auto_run; /* the run that every new pair gets */
};

void completions_init(struct completions *s, struct peer *p);
/* An exchange is over: e is NULL when there is a new pair. Starts probes where they are wanted. */
void completions_on_exchange(struct completions *s, const struct err *e);
/* A new link found that both hosts have the same pair. Verifies it where an exchange that was cut off
 * at its very end left it unverified, and where a run failed before. */
void completions_on_agreed(struct completions *s);
/* No older generation is left. */
void completions_on_drained(struct completions *s);
/* The pair cannot come up (refused, taken down, agent stopping): ends them all. */
void completions_fail(struct completions *s, const struct err *e);
/* Ends the run of the pair in force. */
void completions_stop_run(struct completions *s);

#endif
