/*
 * tests/sim/sim.h - two hosts with an exchange machine each, in a world that is simulated whole.
 *
 *     world ── host A, host B ── exchange     the real machine (proto/exchange/exchange.c)
 *           │                 ├─ generations  what the agent knows of its SAs (host.c)
 *           │                 └─ database     what the system has: survives the agent (db.c)
 *           ├─ links          queues of letters, lossless until they are cut (link.c)
 *           ├─ clock          moves only from event to event
 *           └─ keys           every key that was ever installed
 *
 * An event (world.c) is one thing that happens: a letter arrives, a link is cut, an agent dies, a
 * timer ends. After each one invariants.c looks at everything, as nobody in the world could.
 * explore.c takes every order of events, random.c long random ones.
 *
 * A world is plain data without pointers into itself: copying it is how explore.c goes back.
 */
#ifndef SAPAIR_SIM_H
#define SAPAIR_SIM_H

#include "proto/exchange/election.h"
#include "proto/exchange/exchange.h"

#define CTXS 32       /* SA contexts of a host's system */
#define GENS CTXS     /* generations that an agent knows */
#define LINKS 3       /* at one time */
#define QUEUE 10      /* letters under way on one link, one direction */
#define KEYS 700      /* installed in one run */
#define HELD_LIMIT 10 /* stands for EXCHANGE_HELD_MAX, which no run would reach */

#define DRAIN_MS 5000  /* old inbound stays after the peer's switch */
#define SWITCH_MS 1000 /* old outbound stays after the own switch */
#define FLIGHT_MS 2000 /* the longest that a data packet is under way */
#define RETRY_MS 250   /* back-off of a leader, and of a removal that failed */
#define QUIET_MS 10000 /* a dead link is noticed */
#define LIFETIME_S 3600
#define BODY_MAX 640 /* of what the exchange sends */

enum { A, B };
#define OTHER(h) (1 - (h))

/* ---- what the system has --------------------------------------------------------------- */

struct sim_ctx {
	uint32_t id;   /* 0: the place is free */
	uint8_t parts; /* enum: IPSEC_INBOUND 1, IPSEC_OUTBOUND 2; 0: an SPI is reserved */
	uint8_t suite;
	bool esn;
	bool exposed; /* the peer may be sending to the inbound: I6 */
	bool refused; /* the peer said that it does not */
	uint32_t spi_in, spi_out;
	uint64_t key_in, key_out;
	uint64_t xid;             /* of the exchange that made it; greater is newer */
	uint32_t order;           /* of the outbound's installation */
	uint64_t in_end, out_end; /* hard lifetime */
};

struct sim_db {
	struct sim_ctx ctx[CTXS];
	uint32_t last_id, last_order;
	uint32_t selected; /* id of the context that packets leave on; 0: none */
	uint8_t fail_in;   /* the n-th next call fails; 0: none does */
	uint8_t fail_how;  /* enum db_fault */
	bool is_dead;      /* until the end of the event every call fails */
};

/* How a call into the system fails. */
enum db_fault {
	DB_REFUSES, /* it is not done, and the answer says so */
	DB_UNSENT,  /* it is not done, and no answer comes */
	DB_DIES,    /* it is done, no answer comes, and the later calls of this event fail */
	DB_FAULTS
};
/* Results of a call, as IPSEC_UNKNOWN of agent/ipsec/ipsec.h. */
enum { DB_OK = 0, DB_FAILED = -1, DB_UNKNOWN = -3 };

enum part { PART_IN = 1, PART_OUT = 2, PART_BOTH = 3 };

struct world;
struct sim_ctx *db_find(struct sim_db *db, uint32_t id);
struct sim_ctx *db_by_spi_in(struct sim_db *db, uint32_t spi);
/* DB_OK, DB_FAILED: nothing has changed, or DB_UNKNOWN. */
int db_reserve(struct world *w, int h, uint32_t *id, uint32_t *spi);
int db_add(struct world *w, int h, uint32_t id, const struct sa_keys *k, enum part part);
int db_remove(struct world *w, int h, uint32_t id, enum part part);
/* Everything goes, as with a process. */
void db_lose(struct world *w, int h);

/* ---- what an agent knows --------------------------------------------------------------- */

enum gen_state { GEN_FREE, GEN_NEW, GEN_CURRENT, GEN_HELD, GEN_RETIRED, GEN_DYING };

struct gen {
	enum gen_state state;
	uint32_t ctx;
	uint64_t epoch; /* 0: of an earlier life, unknown */
	uint32_t spi_out;
	bool has_in, has_out;
	bool out_unknown;         /* the outbound may be there */
	uint64_t switched;        /* when we began to send on it */
	uint64_t in_end, out_end; /* removal: hard lifetime, or the retired one's clocks */
};

struct host {
	bool alive;
	bool soft;    /* SAs live in the agent's process */
	uint8_t life; /* counts starts: the instance of hello */
	struct exchange x;
	struct gen gen[GENS];
	int8_t link;       /* the one that the exchange is bound to; -1: none */
	uint8_t peer_life; /* of the last hello taken; 0: none */
	uint64_t peer_last;
	bool retry;                    /* at retry_at, if we lead */
	bool is_over;                  /* the exchange of this event has ended */
	uint64_t retry_at, timeout_at; /* 0: none */
	uint64_t rekey_at;
	struct sim_db db;
	uint64_t committed; /* greatest xid whose pair this host has put in force */
	struct {
		uint32_t ctx; /* selected before the event; 0: none */
		uint64_t xid;
	} was;
	bool excused; /* this event ends what was selected, and may (hard lifetime, ...) */
};

/* ---- links ----------------------------------------------------------------------------- */

/* What was sent, for good; letters are numbered in a pool that only grows (letter.c). */
struct letter {
	enum msg_type type;
	uint16_t len;
	uint8_t from, from_life;
	uint8_t judged_life; /* life of the receiver that its exchange has judged it in */
	char body[BODY_MAX];
	struct msg msg;
};

struct link_end {
	bool open;    /* this end believes in the link */
	bool greeted; /* the peer's hello was taken */
	uint8_t n;
	uint16_t queue[QUEUE]; /* towards this end: numbers of letters */
};

struct sim_link {
	uint32_t id;     /* 0: the place is free */
	uint8_t dialler; /* its TLS client: leads */
	bool dead;       /* what is sent from now on is lost */
	uint64_t notice_at;
	struct link_end end[2];
};

struct letter *letter_at(unsigned number);
unsigned letter_count(void);
void letters_keep(unsigned n); /* forgets those behind the first n */
/* -1: no place */
int link_open(struct world *w, int dialler);
void link_send(struct world *w, int link, int from, const struct msg *m, const char *body,
	       size_t len);
/* This end believes in it no more; the other one will notice. */
void link_close_end(struct world *w, int link, int h);

/* ---- the world ------------------------------------------------------------------------- */

struct sim_key {
	uint64_t key;
	uint64_t sent;   /* when it last carried a packet, +1; 0: never */
	uint8_t in, out; /* how often it was installed so */
	bool lost;       /* the receiving end went with its process */
};

struct world {
	uint64_t now; /* ms */
	struct host host[2];
	struct sim_link link[LINKS];
	uint32_t last_link;
	uint64_t last_xid, last_share;
	unsigned spi_space; /* SPIs are drawn from so many; 0: never the same twice */
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
	EV_NOTICE,  /* host learns that its link is dead */
	EV_CUT,     /* a link dies: letters that have arrived can still be read */
	EV_DIAL,    /* host opens a link */
	EV_TICK,    /* time passes until the next timer, which ends */
	EV_REKEY,   /* the user of host asks for it */
	EV_FAIL,    /* a call into host's system will fail */
	EV_CRASH,   /* host's agent dies */
	EV_RESTART,
	EV_INJECT, /* host is given letter arg, which it or its peer has sent before */
	EV_COUNT
};
struct event {
	enum event_kind kind;
	uint8_t host, link;
	uint8_t fail; /* explore.c: a call into a system fails: how << 4 | n << 1 | host */
	uint16_t arg; /* EV_FAIL: how << 4 | n */
};
bool event_possible(const struct world *w, const struct event *ev);
/* Makes it happen and checks everything. False: an invariant is broken. */
bool event_apply(struct world *w, const struct event *ev);
void event_print(const struct world *w, const struct event *ev);
/* No more faults: runs until nothing moves, then checks what must be true at rest. */
bool world_settle(struct world *w);
/* Timers that would end next; 0: none. */
uint64_t world_next_timer(const struct world *w);

/* host.c: the agent */
void host_start(struct world *w, int h);
void host_crash(struct world *w, int h);
/* Says hello on a new link. */
void host_greet(struct world *w, int h, int link);
void host_take_letter(struct world *w, int h, int link, unsigned letter);
void host_link_lost(struct world *w, int h, int link);
void host_rekey(struct world *w, int h);
uint64_t host_next_timer(const struct world *w, int h);
void host_timer(struct world *w, int h);
/* Letter as if it came over the bound link; nothing else than the exchange sees it. */
void host_exchange_letter(struct world *w, int h, const struct letter *t);
const uint8_t *host_id(int h);

/* ---- judgement ------------------------------------------------------------------------- */

enum inv { INV_NONE, I1, I2, I3, I4, I5, I6, I7, INV_BUG, INV_COUNT };
extern struct verdict {
	enum inv inv;
	char text[256];
} verdict;
const char *inv_name(enum inv i);
/* Notes the first thing that is wrong. */
void broken(enum inv i, const char *fmt, ...) PRINTF_LIKE(2, 3);

void note_before(struct world *w); /* at the begin of an event */
void note_sending(struct world *w);
void note_key(struct world *w, int h, uint64_t key, enum part part);
void note_key_lost(struct world *w, uint64_t key);
void note_inbound_gone(struct world *w, int h, const struct sim_ctx *c);
void check_event(struct world *w);
/* Steps of all exchanges by state and event; has every row of the table and every undo its? */
void note_step(enum xstate s, enum xevent_kind k);
bool steps_cover_table(void);
void check_rest(struct world *w);
uint64_t fingerprint(const struct secret *s);

/* ---- what is broken on purpose --------------------------------------------------------- */

/* X(name, invariants that may notice, what it does) */
/* clang-format off */
#define BREAKS(X)                                                                             \
	X(EARLY_ANSWER, "early-answer", 1u << I1,                                             \
	  "the answer goes out before the inbound SA is in")                                  \
	X(WRONG_KEY, "wrong-key", 1u << I1,                                                   \
	  "the leader installs another outbound key than was agreed")                         \
	X(NO_DRAIN, "no-drain", 1u << I1,                                                     \
	  "the old inbound SA goes at once, with packets under way")                          \
	X(NO_GRACE, "no-grace", 1u << I1 | 1u << I5,                                          \
	  "an inbound SA lives no longer than an outbound one")                               \
	X(TRUST_HELLO, "trust-hello", 1u << I1 | 1u << I3 | 1u << I6,                         \
	  "hellos with equal pairs are equal, whatever was begun since")                      \
	X(NO_REPAIR, "no-repair", 1u << I2 | 1u << I3, "hellos that differ lead to nothing")  \
	X(HALF_COMMIT, "half-commit", 1u << I2, "the follower forgets what it agreed to")     \
	X(NO_RETIRE, "no-retire", 1u << I3, "old SAs are never removed")                      \
	X(KEEP_HELD, "keep-held", 1u << I3, "equal hellos do not retire what is held")        \
	X(NO_RETRY, "no-retry", 1u << I2 | 1u << I3,                                          \
	  "an exchange that failed on a good link is not tried again")                        \
	X(LEAK_DROP, "leak-drop", 1u << I3, "an SA that is dropped is forgotten, not removed") \
	X(LEAK_FAILED, "leak-failed", 1u << I3, "a removal that failed is not tried again")   \
	X(LEAK_SECRET, "leak-secret", 1u << I3, "a share stays in the machine")               \
	X(SAME_KEY, "same-key", 1u << I4, "every SA of a direction gets the same key")        \
	X(BREAK_FIRST, "break-first", 1u << I5,                                               \
	  "the old outbound SA goes before the new one is there")                             \
	X(DROP_LOST, "drop-lost", 1u << I1 | 1u << I5 | 1u << I6,                             \
	  "a leader that has sent its confirm drops all when the link is lost")               \
	X(DROP_HELD, "drop-held", 1u << I1 | 1u << I6,                                        \
	  "a follower drops what it should hold")                                             \
	X(EARLY_RETIRE, "early-retire", 1u << I1 | 1u << I6,                                  \
	  "the leader retires the old pair at its own switch")                                \
	X(OLD_EPOCH, "old-epoch", 1u << I7, "nobody looks at an offer's epoch")               \
	X(UNKNOWN_IS_NO, "unknown-is-no", 1u << I1 | 1u << I6,                                \
	  "an answer that did not come is taken for a failure")                               \
	X(ANY_XID, "any-xid", 1u << I1 | 1u << I6 | 1u << I7, "nobody looks at an xid")
/* clang-format on */

#define BREAK_ENUM(n, name, invs, text) BREAK_##n,
enum brk { BREAK_NONE, BREAKS(BREAK_ENUM) BREAK_COUNT };
#undef BREAK_ENUM
extern enum brk breaks;
extern bool tracing;
void trace(const struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- ways through the world ------------------------------------------------------------ */

struct explored {
	uint64_t states, events, settled;
	unsigned deepest;
};
/* Longer paths there are not: with so few faults every one ends before. */
#define DEPTH_MAX 60
/*
 * Every order of events, with at most two dials and three faults, up to a depth. False: the
 * verdict says what is broken, and the events that led there were printed.
 */
bool explore(unsigned depth, struct explored *sum);
/* One run by its number; false as above. */
bool random_run(uint64_t seed);
/* After how many half round trips leader and follower send on the new pair, from the offer. */
bool rounds_of_a_rekey(unsigned *leader, unsigned *follower);
/* Totals over all runs since the start. */
extern struct tally {
	uint64_t events, letters, exchanges, failed, cuts, crashes, injected, expired, held_limit;
} tally;

#endif
