/*
 * tests/sim/sim.h - two hosts with one exchange machine each, in a simulated world.
 *
 *     world ── host A, host B ── exchange     the real machine (proto/exchange/exchange.c)
 *           │                 ├─ generations  the agent's record of its SAs (host.c)
 *           │                 └─ database     the SAs of the system, which survive the agent (db.c)
 *           ├─ links          queues of messages, lossless until they are cut (link.c)
 *           ├─ clock          moves only from event to event
 *           └─ keys           every key that was ever installed
 *
 * An event (world.c): a message arrives, a link is cut, an agent dies, a timer expires. After each
 * event invariants.c checks both hosts. explore.c visits every order of events, random.c long random
 * ones.
 *
 * A world is plain data without pointers into itself, so that explore.c can copy it and go back.
 */
#ifndef SAPAIR_SIM_H
#define SAPAIR_SIM_H

#include "proto/exchange/election.h"
#include "proto/exchange/exchange.h"

#define CTXS 32       /* SA contexts of a host's system */
#define GENS CTXS     /* generations of an agent */
#define LINKS 3       /* at one time */
#define QUEUE 10      /* messages in flight on one link, one direction */
#define KEYS 700      /* installed in one run */
#define HELD_LIMIT 10 /* instead of EXCHANGE_HELD_MAX, which no run would reach */

#define DRAIN_MS 5000  /* the old inbound SA is kept after the peer's switch */
#define SWITCH_MS 1000 /* the old outbound SA is kept after the own switch */
#define FLIGHT_MS 2000 /* maximum time of a data packet in flight */
#define RETRY_MS 250   /* back-off of a leader, and of a removal that failed */
#define QUIET_MS 10000 /* a dead link is detected */
#define LIFETIME_S 3600
#define BODY_MAX 640 /* of a message of the exchange */

enum { A, B };
#define OTHER(h) (1 - (h))

/* ---- SAs of the system --------------------------------------------------------------- */

struct sim_ctx {
	uint32_t id;   /* 0: unused */
	uint8_t parts; /* enum: IPSEC_INBOUND 1, IPSEC_OUTBOUND 2; 0: an SPI is reserved */
	uint8_t suite;
	bool esn;
	bool exposed; /* the peer may be sending to the inbound SA: I6 */
	bool refused; /* the peer has refused the pair */
	uint32_t spi_in, spi_out;
	uint64_t key_in, key_out;
	uint64_t xid;             /* of its exchange; greater is newer */
	uint32_t order;           /* of the outbound SA's installation */
	uint64_t in_end, out_end; /* hard lifetime */
};

struct sim_db {
	struct sim_ctx ctx[CTXS];
	uint32_t last_id, last_order;
	uint32_t selected; /* id of the context for outbound packets; 0: none */
	uint8_t fail_in;   /* the n-th next call fails; 0: none does */
	uint8_t fail_how;  /* enum db_fault */
	bool is_dead;      /* until the end of the event every call fails */
};

/* How an IPsec call fails. */
enum db_fault {
	DB_REFUSES, /* not performed, and an error is returned */
	DB_UNSENT,  /* not performed, and no answer arrives */
	DB_DIES,    /* performed, but no answer arrives, and later calls of this event fail */
	DB_FAULTS
};
/* Results of a call, as IPSEC_UNKNOWN of agent/ipsec/ipsec.h. */
enum { DB_OK = 0, DB_FAILED = -1, DB_UNKNOWN = -3 };

enum part { PART_IN = 1, PART_OUT = 2, PART_BOTH = 3 };

struct world;
struct sim_ctx *db_find(struct sim_db *db, uint32_t id);
struct sim_ctx *db_by_spi_in(struct sim_db *db, uint32_t spi);
/* Return DB_OK, DB_FAILED (nothing has changed) or DB_UNKNOWN. */
int db_reserve(struct world *w, int h, uint32_t *id, uint32_t *spi);
int db_add(struct world *w, int h, uint32_t id, const struct sa_keys *k, enum part part);
int db_remove(struct world *w, int h, uint32_t id, enum part part);
/* Removes all SAs, as if their process had ended. */
void db_lose(struct world *w, int h);

/* ---- state of an agent --------------------------------------------------------------- */

enum gen_state { GEN_FREE, GEN_NEW, GEN_CURRENT, GEN_HELD, GEN_RETIRED, GEN_DYING };

struct gen {
	enum gen_state state;
	uint32_t ctx;
	uint64_t epoch; /* 0: of an earlier run, unknown */
	uint32_t spi_out;
	bool has_in, has_out;
	bool out_unknown;         /* the outbound SA may exist */
	uint64_t switched;        /* time of the first packet on it */
	uint64_t in_end, out_end; /* time of removal: hard lifetime, or the end of retirement */
};

struct host {
	bool alive;
	bool soft;    /* SAs end with the agent's process */
	uint8_t life; /* counts starts: the instance of hello */
	struct exchange x;
	struct gen gen[GENS];
	int8_t link;       /* the link of the exchange; -1: none */
	uint8_t peer_life; /* of the last accepted hello; 0: none */
	uint64_t peer_last;
	bool retry;                    /* at retry_at, if we lead */
	bool is_over;                  /* the exchange of this event has ended */
	uint64_t retry_at, timeout_at; /* 0: none */
	uint64_t rekey_at;
	struct sim_db db;
	uint64_t committed; /* greatest xid whose pair was in force on this host */
	struct {
		uint32_t ctx; /* selected before the event; 0: none */
		uint64_t xid;
	} was;
	bool excused; /* this event may end the selected SA (hard lifetime, ...) */
};

/* ---- links ----------------------------------------------------------------------------- */

/* A message that was sent; messages are numbered in a pool that only grows (link.c). */
struct letter {
	enum msg_type type;
	uint16_t len;
	uint8_t from, from_life;
	uint8_t judged_life; /* run of the receiver in which its exchange has handled it */
	char body[BODY_MAX];
	struct msg msg;
};

struct link_end {
	bool open;    /* this end considers the link open */
	bool greeted; /* the peer's hello was accepted */
	uint8_t n;
	uint16_t queue[QUEUE]; /* towards this end: numbers of messages */
};

struct sim_link {
	uint32_t id;     /* 0: unused */
	uint8_t dialler; /* its TLS client: leads */
	bool dead;       /* all further messages are lost */
	uint64_t notice_at;
	struct link_end end[2];
};

struct letter *letter_at(unsigned number);
unsigned letter_count(void);
void letters_keep(unsigned n); /* forgets all but the first n */
/* Returns -1 if there is no room. */
int link_open(struct world *w, int dialler);
void link_send(struct world *w, int link, int from, const struct msg *m, const char *body,
	       size_t len);
/* This end closes; the other end detects it later. */
void link_close_end(struct world *w, int link, int h);

/* ---- the world ------------------------------------------------------------------------- */

struct sim_key {
	uint64_t key;
	uint64_t sent;   /* time of its last packet, +1; 0: never */
	uint8_t in, out; /* number of installations in each direction */
	bool lost;       /* the receiving end has lost it with its process */
};

struct world {
	uint64_t now; /* ms */
	struct host host[2];
	struct sim_link link[LINKS];
	uint32_t last_link;
	uint64_t last_xid, last_share;
	unsigned spi_space; /* number of possible SPIs; 0: never the same twice */
	uint32_t last_spi;
	uint64_t dice; /* for SPIs and choices within an event */
	unsigned letters;
	unsigned keys;
	struct sim_key key[KEYS]; /* last: only those in use are copied */
};

void world_start(struct world *w, bool soft_a, bool soft_b, uint64_t dice);
void world_copy(struct world *to, const struct world *from);
uint64_t world_hash(const struct world *w);

enum event_kind {
	EV_DELIVER, /* the next letter of a link reaches host */
	EV_NOTICE,  /* host detects that its link is dead */
	EV_CUT,     /* a link dies: messages that have arrived can still be read */
	EV_DIAL,    /* host opens a link */
	EV_TICK,    /* time passes until the next timer expires */
	EV_REKEY,   /* the user of host requests a rekey */
	EV_FAIL,    /* an IPsec call of host will fail */
	EV_CRASH,   /* host's agent dies */
	EV_RESTART,
	EV_INJECT, /* host receives message arg, which it or its peer has sent before */
	EV_COUNT
};
struct event {
	enum event_kind kind;
	uint8_t host, link;
	uint8_t fail; /* explore.c: an IPsec call fails: how << 4 | n << 1 | host */
	uint16_t arg; /* EV_FAIL: how << 4 | n */
};
bool event_possible(const struct world *w, const struct event *ev);
/* Performs the event and checks the invariants. Returns false if one is broken. */
bool event_apply(struct world *w, const struct event *ev);
void event_print(const struct world *w, const struct event *ev);
/* Runs without further faults until both hosts are idle, then checks the invariants of that state. */
bool world_settle(struct world *w);
/* The time of the next timer; 0: none. */
uint64_t world_next_timer(const struct world *w);

/* host.c: the agent */
void host_start(struct world *w, int h);
void host_crash(struct world *w, int h);
/* Sends hello on a new link. */
void host_greet(struct world *w, int h, int link);
void host_take_letter(struct world *w, int h, int link, unsigned letter);
void host_link_lost(struct world *w, int h, int link);
void host_rekey(struct world *w, int h);
uint64_t host_next_timer(const struct world *w, int h);
void host_timer(struct world *w, int h);
/* Gives the message to the exchange alone, as if it had arrived on its link. */
void host_exchange_letter(struct world *w, int h, const struct letter *t);
const uint8_t *host_id(int h);

/* ---- judgement ------------------------------------------------------------------------- */

enum inv { INV_NONE, I1, I2, I3, I4, I5, I6, I7, INV_BUG, INV_COUNT };
extern struct verdict {
	enum inv inv;
	char text[256];
} verdict;
const char *inv_name(enum inv i);
/* Records the first violation. */
void broken(enum inv i, const char *fmt, ...) PRINTF_LIKE(2, 3);

void note_before(struct world *w); /* before an event */
void note_sending(struct world *w);
void note_key(struct world *w, int h, uint64_t key, enum part part);
void note_key_lost(struct world *w, uint64_t key);
void note_inbound_gone(struct world *w, int h, const struct sim_ctx *c);
void check_event(struct world *w);
/* Counts the steps of all exchanges by state and event; has every row and every undo been taken? */
void note_step(enum xstate s, enum xevent_kind k);
bool steps_cover_table(void);
void check_rest(struct world *w);
uint64_t fingerprint(const struct secret *s);

/* ---- built-in mistakes --------------------------------------------------------- */

/* X(name, invariants that may detect it, its effect) */
/* clang-format off */
#define BREAKS(X)                                                                             \
	X(EARLY_ANSWER, "early-answer", 1u << I1,                                             \
	  "the answer is sent before the inbound SA is installed")                                  \
	X(WRONG_KEY, "wrong-key", 1u << I1,                                                   \
	  "the leader installs another outbound key than the agreed one")                         \
	X(NO_DRAIN, "no-drain", 1u << I1,                                                     \
	  "the old inbound SA is removed while packets are in flight")                          \
	X(NO_GRACE, "no-grace", 1u << I1 | 1u << I5,                                          \
	  "an inbound SA does not outlive its outbound SA")                               \
	X(TRUST_HELLO, "trust-hello", 1u << I1 | 1u << I3 | 1u << I6,                         \
	  "an exchange that began after a hello is ignored")                      \
	X(NO_REPAIR, "no-repair", 1u << I2 | 1u << I3, "different hellos have no effect")  \
	X(HALF_COMMIT, "half-commit", 1u << I2, "the follower forgets the agreed pair")     \
	X(NO_RETIRE, "no-retire", 1u << I3, "old SAs are never removed")                      \
	X(KEEP_HELD, "keep-held", 1u << I3, "equal hellos do not retire superseded SAs")        \
	X(NO_RETRY, "no-retry", 1u << I2 | 1u << I3,                                          \
	  "a failed exchange is not retried on an open link")                        \
	X(LEAK_DROP, "leak-drop", 1u << I3, "a dropped SA is forgotten, not removed") \
	X(LEAK_FAILED, "leak-failed", 1u << I3, "a failed removal is not retried")   \
	X(LEAK_SECRET, "leak-secret", 1u << I3, "a share is not wiped from the machine")               \
	X(SAME_KEY, "same-key", 1u << I4, "every SA of a direction gets the same key")        \
	X(BREAK_FIRST, "break-first", 1u << I5,                                               \
	  "the old outbound SA is removed before the new one is installed")                             \
	X(DROP_LOST, "drop-lost", 1u << I1 | 1u << I5 | 1u << I6,                             \
	  "a leader drops its SAs if the link is lost after its confirm")               \
	X(DROP_HELD, "drop-held", 1u << I1 | 1u << I6,                                        \
	  "a follower drops an SA that it must keep")                                             \
	X(EARLY_RETIRE, "early-retire", 1u << I1 | 1u << I6,                                  \
	  "the leader retires the old pair at its own switch")                                \
	X(OLD_EPOCH, "old-epoch", 1u << I7, "the epoch of an offer is not checked")               \
	X(UNKNOWN_IS_NO, "unknown-is-no", 1u << I1 | 1u << I6,                                \
	  "a missing answer is treated as a failure")                               \
	X(ANY_XID, "any-xid", 1u << I1 | 1u << I6 | 1u << I7, "xids are not checked")
/* clang-format on */

#define BREAK_ENUM(n, name, invs, text) BREAK_##n,
enum brk { BREAK_NONE, BREAKS(BREAK_ENUM) BREAK_COUNT };
#undef BREAK_ENUM
extern enum brk breaks;
extern bool tracing;
void trace(const struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- search ------------------------------------------------------------ */

struct explored {
	uint64_t states, events, settled;
	unsigned deepest;
};
/* All paths are shorter: the number of faults bounds them. */
#define DEPTH_MAX 60
/*
 * Every order of events, with at most two dials and three faults, up to a depth. Returns false if an
 * invariant is broken: the verdict names it, and the events up to it are printed.
 */
bool explore(unsigned depth, struct explored *sum);
/* One random run by its number; returns false as above. */
bool random_run(uint64_t seed);
/* Half round trips from the offer until leader and follower send on the new pair. */
bool rounds_of_a_rekey(unsigned *leader, unsigned *follower);
/* Totals over all runs since the start. */
extern struct tally {
	uint64_t events, letters, exchanges, failed, cuts, crashes, injected, expired, held_limit;
} tally;

#endif
