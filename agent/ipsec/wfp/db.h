/*
 * agent/ipsec/wfp/db.h - the parts of the Windows back end.
 *
 *     backend.c   the operations, on the loop's thread, and the state of filters and contexts
 *     engine.c    the thread that calls the engine, and its queue of jobs
 *     policy.c    filters, added and removed in one transaction
 *     state.c     SA contexts
 *     recover.c   SA contexts of an earlier run, objects that were removed
 *     events.c    notifications of the engine
 *     plan.c      the changes that a config needs; removing everything
 *     errors.c    the engine's error codes
 *
 * Every call of the engine is a remote procedure call that may wait for a lock that any program can
 * hold, so the loop's thread makes none. The loop waits for a result for WAIT_MS; a later success is
 * undone.
 */
#ifndef SAPAIR_AGENT_IPSEC_WFP_DB_H
#define SAPAIR_AGENT_IPSEC_WFP_DB_H

#include "agent/ipsec/ipsec.h"

#include <stddef.h>

#define WFP_FILTERS 8
#define WFP_LIFE_MIN_S 300 /* limits of the lifetime of a bundle that are known to work */
#define WFP_LIFE_MAX_S 172799
#define WFP_PACKETS 0x7fffffffu /* 0 would also switch the replay check off */

/* The filters of a pair of hosts: their contents and run-time ids. */
struct wfp_filters {
	struct addr local, remote;
	uint16_t control_port, peer_port;
	uint64_t id[WFP_FILTERS]; /* order of enum wfp_role */
};
/* Two of each kind: inbound (even), then outbound (odd). The numbers are part of the filters' keys. */
enum wfp_role {
	WFP_IN, /* protect */
	WFP_OUT,
	WFP_IN_ICMP, /* the others permit, in clear */
	WFP_OUT_ICMP,
	WFP_IN_LISTEN, /* TCP of our port */
	WFP_OUT_LISTEN,
	WFP_IN_DIAL, /* TCP of the peer's port */
	WFP_OUT_DIAL
};
static inline bool wfp_is_out(enum wfp_role role)
{
	return role % 2 == 1;
}
static inline bool wfp_protects(enum wfp_role role)
{
	return role <= WFP_OUT;
}

/* An existing SA context. */
struct wfp_found {
	uint64_t context, in_filter, out_filter;
	struct spi in, out; /* 0: no SA in this direction */
	uint32_t lifetime_s;
};

/* A filter, or one half of a context, as plan and clean show it. */
struct wfp_object {
	struct ipsec_object o;
	uint8_t guid[16]; /* of a filter: its key */
	uint64_t filter;  /* of an SA: its filter */
	bool matched;
};

/* Notifications of the engine. */
enum wfp_event_kind { WFP_CONTEXT_GONE, WFP_FILTER_GONE, WFP_DROP, WFP_EVENT_KINDS };
struct wfp_event {
	enum wfp_event_kind kind;
	uint64_t id; /* of the context or filter */
	/* of a dropped packet */
	struct addr remote;
	struct spi spi;
	uint32_t status; /* the kernel's reason, an NTSTATUS */
};
/* On the loop's thread. n 0: notifications were lost, check everything. */
typedef void wfp_on_event(void *db, const struct wfp_event *news, size_t n);

/* Words of the environment variable SAPAIR_WFP, for behaviour that Windows does not document. */
struct wfp_switches {
	bool ipv6_network; /* addresses of SAs in network byte order, not reversed */
	bool own_deletion; /* the kernel deletes older SAs of the pair */
};

/* A job for the engine's thread, with arguments and results. */
struct wfp_engine;
struct wfp_job {
	/* On the engine's thread. 0, or -1 with e set and nothing changed. */
	int (*run)(struct wfp_engine *g, struct wfp_job *j);
	/* Undoes a success of run that came too late. May be NULL. */
	void (*undo)(struct wfp_engine *g, struct wfp_job *j);
	/* On the loop's thread, for a job of wfp_post(); may be NULL. */
	void (*done)(void *db, struct wfp_job *j);
	struct err e;
	int rc;

	struct wfp_filters filters;
	uint64_t context, policy;
	struct spi spi;
	struct sa_keys keys; /* wiped after run */
	bool outbound, changed, existed, any;
	struct wfp_found *found; /* freed with the job */
	size_t n_found;
	uint64_t *ids; /* likewise */
	size_t n_ids;

	char text[256];

	struct wfp_object *objects; /* likewise */
	size_t n_objects;

	struct wfp_job *next_; /* of engine.c */
	bool finished_, waited_, given_up_;
};

/* ---- engine.c ---------------------------------------------------------------------------- */

struct wfp_work;
/* on_event NULL: no notifications. */
int wfp_work_open(struct wfp_work **w, struct uv_loop_s *loop, void *db, wfp_on_event *on_event,
		  struct err *e);
/* Finishes queued jobs and closes the engine. Run the loop afterwards, to close its handles. */
void wfp_work_close(struct wfp_work *w);
struct wfp_job *wfp_job_new(int (*run)(struct wfp_engine *, struct wfp_job *), struct err *e);
void wfp_job_free(struct wfp_job *j);
/* Runs j and returns it, whatever its result; NULL and e: not in time. Owns j meanwhile. NULL for NULL. */
struct wfp_job *wfp_do(struct wfp_work *w, struct wfp_job *j, struct err *e);
/* The result of a job of wfp_do(), and its error; frees it. -1 for NULL. */
int wfp_result(struct wfp_job *j, struct err *e);
/* Sets how long wfp_do() waits. */
void wfp_work_set_wait(struct wfp_work *w, unsigned ms);
/* Queues and owns j; its done() is called later. */
void wfp_post(struct wfp_work *w, struct wfp_job *j);

/* ---- on the engine's thread -------------------------------------------------------------- */

struct wfp_engine {
	void *handle; /* NULL: to be opened */
	/* Called on any thread. NULL: no subscriptions. */
	void (*news)(void *arg, const struct wfp_event *n);
	void *on_event_arg;
	void *subscribed[WFP_EVENT_KINDS];
	struct wfp_switches sw;
};
int wfp_engine_open(struct wfp_engine *g, struct err *e);
void wfp_engine_close(struct wfp_engine *g);

/* Subscribes to notifications; those that fail are left out. */
void wfp_subscribe(struct wfp_engine *g);
/* Waits for running callbacks: do not hold a lock that they take. */
void wfp_unsubscribe(struct wfp_engine *g);

/* Sets the error for a code of the engine. Returns -1. */
int wfp_failed(struct err *e, uint32_t code, const char *call);
/* Whether the engine's handle is unusable after this code. */
bool wfp_is_dead(uint32_t code);

/* A transaction of step(g, j), which returns a code of the engine and sets *call to the name of the call. */
typedef uint32_t wfp_step(struct wfp_engine *g, struct wfp_job *j, const char **call);
int wfp_transaction(struct wfp_engine *g, struct wfp_job *j, wfp_step *step);

/* Adds those of j->filters that do not exist, and sets j->filters.id. changed: some were added.
 * existed: some existed, and j->found has the contexts that use them. */
int wfp_filters_add(struct wfp_engine *g, struct wfp_job *j);
void wfp_filters_undo(struct wfp_engine *g, struct wfp_job *j);
/* Removes the contexts of j->ids, j->filters, and the provider if nothing uses it any more. */
int wfp_filters_remove(struct wfp_engine *g, struct wfp_job *j);

/* Creates a context that uses j->filters, and its SPI. */
int wfp_pair_reserve(struct wfp_engine *g, struct wfp_job *j);
void wfp_pair_unreserve(struct wfp_engine *g, struct wfp_job *j);
/* Adds one SA from j->keys. */
int wfp_pair_add(struct wfp_engine *g, struct wfp_job *j);
void wfp_pair_unadd(struct wfp_engine *g, struct wfp_job *j);
/* Expires the outbound SA at once, the inbound about a minute later. No error if it is gone. */
int wfp_pair_expire(struct wfp_engine *g, struct wfp_job *j);
int wfp_pair_delete(struct wfp_engine *g, struct wfp_job *j);
int wfp_delete_context(struct wfp_engine *g, uint64_t context, struct err *e);

/* Reduces j->ids to the contexts that are gone. changed: a protecting filter is gone. existed: an
 * exemption is gone. */
int wfp_check(struct wfp_engine *g, struct wfp_job *j);
/* Stores the contexts that use j->filters (any: all contexts) in j->found. */
int wfp_find_contexts(struct wfp_engine *g, struct wfp_job *j);

/* Stores counters of the whole machine in j->text. */
int wfp_statistics(struct wfp_engine *g, struct wfp_job *j);
/* Stores all objects of this program in j->objects; wfp_clean() removes them. */
int wfp_list(struct wfp_engine *g, struct wfp_job *j);
int wfp_clean(struct wfp_engine *g, struct wfp_job *j);

/* ---- on any thread ----------------------------------------------------------------------- */

/* IPv4 addresses are numbers in the engine, IPv6 addresses 16 bytes. */
static inline uint32_t wfp_v4_of(const struct addr *a)
{
	return (uint32_t)a->bytes[0] << 24 | (uint32_t)a->bytes[1] << 16 |
	       (uint32_t)a->bytes[2] << 8 | a->bytes[3];
}
static inline struct addr wfp_addr_of_v4(uint32_t n)
{
	return (struct addr){{(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
			      (uint8_t)n},
			     4};
}

bool wfp_filter_key(const struct wfp_filters *r, enum wfp_role role, uint8_t key[16]);
/* Reports the objects that r needs, and marks those of list that match; wfp_plan_rest() reports the
 * others of list. */
void wfp_plan_policy(struct wfp_job *list, const struct wfp_filters *r, ipsec_told *told,
		     void *arg);
void wfp_plan_rest(const struct wfp_job *list, enum ipsec_change change, ipsec_told *told,
		   void *arg);

#endif
