/*
 * agent/ipsec/wfp/db.h - the parts of the Windows back end.
 *
 *     ipsec_wfp.c   the operations, on the loop's thread: who has which filters and contexts
 *     work_wfp.c   the one thread that calls the engine, and what waits for it
 *     rule_wfp.c   filters: in one transaction in, in one out
 *     pair_wfp.c   SA contexts
 *     old_wfp.c    what an earlier run left
 *     event_wfp.c  what the engine tells by itself
 *     plan_wfp.c   what a config would change; how all goes
 *     err_wfp.c    the engine's codes, by name and meaning
 *
 * Every call of the engine is a remote procedure call that may wait for a lock which any program
 * can hold: none is made on the loop's thread. The loop waits WAIT_MS for a result, then goes on;
 * what comes later is undone.
 */
#ifndef SAPAIR_AGENT_IPSEC_WFP_DB_H
#define SAPAIR_AGENT_IPSEC_WFP_DB_H

#include "agent/ipsec/ipsec.h"

#include <stddef.h>

#define WFP_FILTERS 8
#define WFP_LIFE_MIN_S 300 /* what is known to be taken for the lifetime of a bundle */
#define WFP_LIFE_MAX_S 172799
#define WFP_PACKETS 0x7fffffffu /* 0 would also switch the replay check off */

/* What the filters of one pair of hosts are made of, and their run-time numbers. */
struct wfp_rules {
	struct addr local, remote;
	uint16_t control_port, peer_port;
	uint64_t id[WFP_FILTERS]; /* order of enum wfp_role */
};
enum wfp_role {
	WFP_IN,
	WFP_OUT,
	WFP_IN_ICMP,
	WFP_OUT_ICMP,
	WFP_IN_LISTEN, /* our port here */
	WFP_OUT_LISTEN,
	WFP_IN_DIAL, /* the peer's port there */
	WFP_OUT_DIAL
};

/* An SA context that is there. */
struct wfp_found {
	uint64_t context, in_filter, out_filter;
	struct spi in, out; /* 0: no such part */
	uint32_t lifetime_s;
};

/* A filter, or one half of a context, as plan and clean show it. */
struct wfp_object {
	struct ipsec_object o;
	uint8_t guid[16]; /* of a filter: its key */
	uint64_t filter;  /* of an SA: the one that it stands on */
	bool taken;
};

/* What the engine tells by itself. */
enum wfp_news_kind { WFP_CONTEXT_GONE, WFP_FILTER_GONE, WFP_DROP, WFP_NEWS_KINDS };
struct wfp_news {
	enum wfp_news_kind kind;
	uint64_t id; /* of what is gone */
	/* of a packet that was dropped */
	struct addr remote;
	struct spi spi;
	uint32_t status; /* the kernel's reason, an NTSTATUS */
};
/* On the loop's thread; n 0: more was told than could be kept, look at all. */
typedef void wfp_on_news(void *db, const struct wfp_news *news, size_t n);

/* Words of the environment variable SAPAIR_WFP, for what Windows does not document. */
struct wfp_switches {
	bool ipv6_network; /* addresses of SAs in network order, not turned round */
	bool own_deletion; /* lets the kernel delete older SAs of the pair by itself */
};

/* One piece of work for the engine's thread: what goes in and what comes out. */
struct wfp_engine;
struct wfp_job {
	/* On the engine's thread. 0, or -1 with e set and everything as it was. */
	int (*run)(struct wfp_engine *g, struct wfp_job *j);
	/* Nobody waited for the good result of run: take it back. May be NULL. */
	void (*undo)(struct wfp_engine *g, struct wfp_job *j);
	/* On the loop's thread, of a posted one; may be NULL. */
	void (*done)(void *db, struct wfp_job *j);
	struct err e;
	int rc;

	struct wfp_rules rules;
	uint64_t context, policy;
	struct spi spi;
	struct sa_keys keys; /* wiped behind run */
	bool outbound, changed, met, any;
	struct wfp_found *found; /* freed with the job */
	size_t n_found;
	uint64_t *ids; /* likewise */
	size_t n_ids;

	char text[256];

	struct wfp_object *objects; /* likewise */
	size_t n_objects;

	struct wfp_job *next_; /* of work_wfp.c */
	bool finished_, waited_, given_up_;
};

/* ---- work_wfp.c -------------------------------------------------------------------------- */

struct wfp_work;
/* on_news NULL: nothing is to be told. */
int wfp_work_open(struct wfp_work **w, struct uv_loop_s *loop, void *db, wfp_on_news *on_news,
		  struct err *e);
/* Ends what is queued, closes the engine. Handles of the loop are closed: run it after. */
void wfp_work_close(struct wfp_work *w);
struct wfp_job *wfp_job_new(int (*run)(struct wfp_engine *, struct wfp_job *), struct err *e);
void wfp_job_free(struct wfp_job *j);
/* Takes j over and gives it back when it was done in time (with any result), else NULL and e. */
struct wfp_job *wfp_do(struct wfp_work *w, struct wfp_job *j, struct err *e);
/* For a program that has nothing else to do. */
void wfp_work_patience(struct wfp_work *w, unsigned ms);
/* Takes j over; its done() is called later. */
void wfp_post(struct wfp_work *w, struct wfp_job *j);

/* ---- on the engine's thread -------------------------------------------------------------- */

struct wfp_engine {
	void *handle; /* NULL: to be opened */
	/* Called on any thread. NULL: nothing is subscribed to. */
	void (*news)(void *arg, const struct wfp_news *n);
	void *news_arg;
	void *subscribed[WFP_NEWS_KINDS];
	struct wfp_switches sw;
};
int wfp_engine_open(struct wfp_engine *g, struct err *e);
void wfp_engine_close(struct wfp_engine *g);

/* Of event_wfp.c, with the engine's handle; what cannot be had is left out. */
void wfp_subscribe(struct wfp_engine *g);
/* Waits for callbacks that run: no lock that they take may be held. */
void wfp_unsubscribe(struct wfp_engine *g);

/* A code of the engine as an error: class, name, meaning, next step. Always -1. */
int wfp_failed(struct err *e, uint32_t code, const char *call);
/* Whether the engine's handle is of no more use after this code. */
bool wfp_is_dead(uint32_t code);

/* Filters of j->rules: finds those that are there with this content, adds the others; their numbers
 * stand in j->rules.id then. changed: some had to be added; met: some were there, and the contexts
 * on them are in j->found. */
int wfp_rules_add(struct wfp_engine *g, struct wfp_job *j);
void wfp_rules_undo(struct wfp_engine *g, struct wfp_job *j);
/* The contexts of j->ids and the filters of j->rules, then the provider if it was the last. */
int wfp_rules_remove(struct wfp_engine *g, struct wfp_job *j);

/* A context on the filters of j->rules, and its SPI. */
int wfp_pair_reserve(struct wfp_engine *g, struct wfp_job *j);
void wfp_pair_unreserve(struct wfp_engine *g, struct wfp_job *j);
/* One half from j->keys. */
int wfp_pair_add(struct wfp_engine *g, struct wfp_job *j);
void wfp_pair_unadd(struct wfp_engine *g, struct wfp_job *j);
/* Outbound at once, inbound about a minute later. Not there (any more) is no error. */
int wfp_pair_expire(struct wfp_engine *g, struct wfp_job *j);
int wfp_pair_delete(struct wfp_engine *g, struct wfp_job *j);
int wfp_delete_context(struct wfp_engine *g, uint64_t context, struct err *e);

/* Which of j->ids are gone (they stay in ids; the others are taken out), and whether a protecting
 * filter of j->rules is (changed), or an exemption (met). */
int wfp_look(struct wfp_engine *g, struct wfp_job *j);
/* The contexts on the filters of j->rules (any: all there are), in j->found. */
int wfp_find_old(struct wfp_engine *g, struct wfp_job *j);

/* What the kernel counts for the whole machine, in j->text. */
int wfp_statistics(struct wfp_engine *g, struct wfp_job *j);
/* All that is ours, in j->objects; clean takes it away. */
int wfp_list(struct wfp_engine *g, struct wfp_job *j);
int wfp_clean(struct wfp_engine *g, struct wfp_job *j);

/* ---- on any thread ----------------------------------------------------------------------- */

bool wfp_filter_key(const struct wfp_rules *r, enum wfp_role role, uint8_t key[16]);
/* What is wanted for r beside what list has, which is marked taken; then what nobody took. */
void wfp_plan_policy(struct wfp_job *list, const struct wfp_rules *r, ipsec_told *told, void *arg);
void wfp_plan_rest(const struct wfp_job *list, enum ipsec_change change, ipsec_told *told,
		   void *arg);

#endif
