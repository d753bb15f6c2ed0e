/*
 * agent/ipsec/xfrm/db.h - what the files of the Linux back end share.
 */
#ifndef SAPAIR_AGENT_IPSEC_XFRM_DB_H
#define SAPAIR_AGENT_IPSEC_XFRM_DB_H

#include "agent/ipsec/xfrm/message.h"

#include <libmnl/libmnl.h>
#include <uv.h>

#define TAG 0x5a5au /* upper half of our reqids; the lower half is the number of the policy */
/* Upper half for reserved SPIs: the kernel walks all SAs of a reqid to insert one, and a pair has many
 * while old SAs drain. */
#define TAG_RESERVED 0x5a5bu
#define INDEX_TAG 0x2du /* policy index: tag 7 bits, number 16, which 6, direction 3 */
#define NUMBERS 65536u

#define PRIORITY_PROBE 900 /* the lowest number takes precedence */
#define PRIORITY_EXEMPT 1000
#define PRIORITY_PROTECT 2000

/* Added to the lifetime that the kernel enforces, for SAs whose agent never returns. The kernel counts
 * by the wall clock, so a clock that is set forward must not expire SAs. */
#define SAFETY_S 86400

#define ANSWER_ROOM 16384
#define RULES_MAX 72

/* One context. */
struct xfrm_pair {
	struct xfrm_pair *next_in_bucket, *next_of_policy, *prev_of_policy;
	struct xfrm_policy *policy;
	uint64_t id;
	uint64_t order; /* of activation */
	struct spi in, out;
	uint32_t left_s; /* recovered: the rest of its lifetime */
	bool is_reserved, has_in, has_out;
	bool out_waits;         /* the outbound SA is installed, but not activated */
	bool in_seen, out_seen; /* in the dump that finds removed SAs */
	bool is_old;            /* recovered, not reported yet */
};

/* An encapsulation socket: the kernel decapsulates the ESP in UDP that arrives there. */
struct xfrm_encap {
	struct xfrm_encap *next;
	struct addr addr;
	uint16_t port;
	unsigned policies;
	int fd;
};

struct xfrm_policy {
	struct xfrm_policy *next;
	struct policy *p;
	struct xfrm_encap *encap; /* NULL: plain ESP */
	uint16_t number;
	struct xfrm_pair *pairs;    /* newest first */
	struct xfrm_pair *selected; /* whose SPI the out policies name; NULL: none */
	bool is_pin_unknown;        /* a change of that SPI failed, perhaps halfway */
	bool removing;              /* nothing of it is restored any more */
	size_t n_rules;
	struct xfrm_rule rules[];
};

struct xfrm {
	struct ipsec db;
	struct ipsec_env env;
	struct mnl_socket *ask, *events;
	uv_poll_t poll;
	bool closing, has_ipv6;
	int lock;     /* against other processes of sapair; -1: not held */
	uint32_t seq; /* of requests */

	struct xfrm_policy *policies;
	struct xfrm_encap *encaps;
	uint8_t taken[NUMBERS / 8]; /* numbers of our policies */
	struct xfrm_pair **buckets; /* a power of two of them */
	size_t n_buckets, n_pairs;
	uint64_t reserved, activated; /* so far */
	struct suite_list suites;

	/* Objects of an earlier run, by number. */
	struct xfrm_rule *old_rules;
	struct xfrm_sa *old_sas;
	size_t n_old_rules, n_old_sas;

	uint32_t answer[ANSWER_ROOM / 4]; /* aligned */
	uint32_t event[ANSWER_ROOM / 4];
};

static inline struct xfrm *xfrm_of(struct ipsec *db)
{
	return (struct xfrm *)(void *)db;
}

static inline bool xfrm_is_taken(const struct xfrm *db, uint16_t number)
{
	return (db->taken[number / 8] >> number % 8 & 1) != 0;
}

static inline void xfrm_take_number(struct xfrm *db, uint16_t number)
{
	db->taken[number / 8] |= (uint8_t)(1u << number % 8);
}

static inline uint32_t xfrm_reqid(uint16_t number)
{
	return TAG << 16 | number;
}

static inline uint32_t xfrm_index(uint16_t number, unsigned which, uint8_t dir)
{
	return INDEX_TAG << 25 | (uint32_t)number << 9 | which << 3 | dir;
}

static inline uint16_t xfrm_number(const struct xfrm_rule *r)
{
	return (uint16_t)(r->index >> 9);
}

static inline bool xfrm_is_our_rule(const struct xfrm_rule *r)
{
	if (r->index >> 25 != INDEX_TAG)
		return false;
	if (r->protects)
		return r->reqid == xfrm_reqid(xfrm_number(r));
	return r->allows && r->priority == PRIORITY_EXEMPT;
}

static inline bool xfrm_is_our_sa(const struct xfrm_sa *sa)
{
	return sa->reqid >> 16 == TAG || (sa->reqid >> 16 == TAG_RESERVED && !sa->has_key);
}

static inline uint16_t xfrm_sa_number(const struct xfrm_sa *sa)
{
	return (uint16_t)sa->reqid;
}

/* ---- netlink.c: requests to the kernel ----------------------------------------------------- */

int xfrm_open_sockets(struct xfrm *db, struct err *e);

/* lock.c. Waits up to 5 seconds for another process of sapair that changes IPsec in this network
 * namespace; ERR_USAGE if it does not end. Held until xfrm_drop_lock() or the end of the process. */
int xfrm_take_lock(struct xfrm *db, struct err *e);
void xfrm_drop_lock(struct xfrm *db);
/* Fills e with errno os and the kernel's text. Returns -1. */
int xfrm_said(struct err *e, int os, const char *text);
/*
 * Sends one request and waits for its answer: an acknowledgement, an error, or (has_answer) a
 * message, which stays in db->answer: wipe it when it is an SA. Wipes m in any case.
 */
int xfrm_ask(struct xfrm *db, union xfrm_msg *m, bool has_answer, struct err *e);
typedef int on_dumped(struct xfrm *db, const struct nlmsghdr *h, void *arg);
/* Calls each for every message of a dump; each must not send requests. */
int xfrm_dump(struct xfrm *db, union xfrm_msg *m, on_dumped *each, void *arg, struct err *e);
/* An SA that does not exist is no error. */
int xfrm_delete_sa(struct xfrm *db, const struct xfrm_sa *sa, struct err *e);
/* Only if it is still ours: another program may have replaced it. One that is gone is no error. */
int xfrm_delete_rule(struct xfrm *db, const struct xfrm_rule *r, struct err *e);
/* XFRM_MSG_NEWPOLICY or XFRM_MSG_UPDPOLICY. */
int xfrm_set_rule(struct xfrm *db, uint16_t type, const struct xfrm_rule *r, struct err *e);

/* ---- state.c: the SAs of this process ------------------------------------------------------ */

struct xfrm_pair *xfrm_pair(struct xfrm *db, struct ipsec_ctx ctx);
struct xfrm_pair *xfrm_new_pair(struct xfrm *db, struct xfrm_policy *pol);
void xfrm_free_pair(struct xfrm *db, struct xfrm_pair *pair);
/* The members by which the kernel identifies the SA. */
struct xfrm_sa xfrm_sa_of(const struct xfrm_pair *pair, enum ipsec_part part);
/* The newest pair with an activated outbound SA, except one; NULL: none. */
struct xfrm_pair *xfrm_newest_but(const struct xfrm_policy *pol, const struct xfrm_pair *not_this);

/* ---- policy.c: policies -------------------------------------------------------------------- */

/* The number that this pair of hosts had in an earlier run, else a free one. */
bool xfrm_choose_number(struct xfrm *db, const struct policy *p, uint16_t *number);
/* Fills pol->rules, in the order in which they are installed. */
void xfrm_make_rules(struct xfrm_policy *pol);
/* Policies of an earlier run are kept, with the SPIs that they name. On -1, those that were installed
 * stay: they protect, and the next attempt takes them over. */
int xfrm_install_rules(struct xfrm *db, struct xfrm_policy *pol, struct err *e);
/* Removes policies of an earlier run between these hosts that are no longer wanted. */
void xfrm_remove_old_rules(struct xfrm *db, const struct xfrm_policy *pol);
/* The policy of an earlier run with the same selector, or NULL. */
const struct xfrm_rule *xfrm_old_like(struct xfrm *db, const struct xfrm_rule *r, uint16_t number);
bool xfrm_same_rule(const struct xfrm_rule *a, const struct xfrm_rule *b);
bool xfrm_wants(const struct xfrm_policy *pol, const struct xfrm_rule *r);
/* Sets the SPI of this pair's outbound SA in the out policies; NULL: any SA of the reqid. */
int xfrm_pin(struct xfrm *db, struct xfrm_policy *pol, struct xfrm_pair *pair, struct err *e);

/* ---- encap.c: ESP in UDP ------------------------------------------------------------------- */

/* For a policy with udp: opens the socket of its address and port, or shares it. No effect if it has one. */
int xfrm_encap_open(struct xfrm *db, struct xfrm_policy *pol, struct err *e);
void xfrm_encap_close(struct xfrm *db, struct xfrm_policy *pol);

/* ---- recover.c: objects of an earlier run -------------------------------------------------- */

int xfrm_find_old(struct xfrm *db, struct err *e);
/* The first policy with that number, or NULL. The list is sorted by number. */
struct xfrm_rule *xfrm_old_rules(struct xfrm *db, uint16_t number);
bool xfrm_is_old_rule(const struct xfrm *db, const struct xfrm_rule *r, uint16_t number);
/* Takes over the SAs between the policy's hosts; xfrm_recover() reports them. */
void xfrm_adopt_sas(struct xfrm *db, struct xfrm_policy *pol);
void xfrm_forget_old(struct xfrm *db, uint16_t number);

/* ---- plan.c: objects wanted and present ---------------------------------------------------- */

int xfrm_plan(struct ipsec *ipsec, const struct policy *p, ipsec_told *told, void *arg,
	      struct err *e);
int xfrm_clean(struct ipsec *ipsec, ipsec_told *told, void *arg, struct err *e);

/* ---- events.c: events of the kernel -------------------------------------------------------- */

void xfrm_on_readable(uv_poll_t *poll, int status, int events);

#endif
