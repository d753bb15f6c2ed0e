/*
 * proto/apart.h - what the process that talks to the network asks of the helper that has the rights.
 *
 * Fixed-size requests and answers over a socket that keeps records apart, some requests in one record
 * and their answers in one; and the helper's own
 * judgement of each request: against the peers of the config, which it read by itself, and against
 * its book of what is in force. Bytes in, a decision out: no I/O in here. Both ends are one program
 * of one version; whatever else arrives is a fault of the sender.
 *
 * The helper takes from the other side which configured peer is meant, SPIs of outbound SAs, keys, and
 * epochs. Everything else has to be what the config says, or stricter.
 */
#ifndef SAPAIR_PROTO_APART_H
#define SAPAIR_PROTO_APART_H

#include "proto/config.h"
#include "proto/exchange.h"

#define APART_VERSION 1
#define APART_LEN 768 /* of every request, answer and event; what is not used is zero */
#define APART_RECORD \
	16 /* requests in one record, at most; what is behind one that fails is not done */
#define APART_HINT 256
#define APART_LIFETIME_MAX_S (7 * 86400)      /* where the config sets no time */
#define APART_PACKETS_MAX (UINT64_C(1) << 32) /* without ESN: a limit below it must be set */

enum apart_op {
	APART_READY = 1, /* the helper's first word: what the back end can; no request */
	APART_POLICY_ADD,
	APART_POLICY_REMOVE,
	APART_RESERVE,
	APART_ADD_INBOUND,
	APART_ADD_OUTBOUND,
	APART_REMOVE,
	APART_QUERY,
	APART_LEFTOVER, /* the next one */
	APART_EXEMPT,   /* the socket comes with it */
	APART_RELOAD,   /* read the config again */
	APART_OPEN_PAIR, /* RESERVE and ADD_INBOUND in one, for an SPI that the other side drew; the outbound
	                  * SA may wait there for ADD_OUTBOUND */
	APART_ADD_BOTH, /* ADD_INBOUND and ADD_OUTBOUND; and, if the config allows one more, RESERVE */
	APART_EVENT,    /* no request, and nobody asked */
	APART_OPS
};
#define APART_IN 1u
#define APART_OUT 2u

/* What is protected between two hosts, as in sadb.h. */
struct apart_policy {
	char peer[MSG_NAME_MAX + 1];
	struct addr local, remote; /* local.len 0, in the helper's list: what the routes say */
	uint16_t control_port, peer_port, local_esp_port, remote_esp_port;
	uint8_t mode, encap, start; /* enum policy_mode, encap_mode, start_mode */
	bool udp;
	uint8_t protects, exempts;
	char protect[PROTECT_MAX][PROTECT_TEXT], exempt[PROTECT_MAX][PROTECT_TEXT];
};

struct apart_sa {
	struct sa_keys keys;
	uint64_t soft_bytes, soft_packets, hard_bytes, hard_packets;
};

struct apart_request {
	enum apart_op op;
	uint32_t seq;    /* REMOVE with 0: no answer is wanted */
	uint32_t policy; /* number of the policy: POLICY_REMOVE, RESERVE, OPEN_PAIR */
	uint64_t ctx;    /* ADD_INBOUND, ADD_OUTBOUND, ADD_BOTH, REMOVE, QUERY */
	uint8_t part;    /* REMOVE: APART_IN, APART_OUT or both; QUERY: one of them */
	bool ipv6;       /* EXEMPT */
	bool next;       /* ADD_BOTH: one more pair is to be reserved */
	struct apart_policy add;
	struct apart_sa sa;  /* of OPEN_PAIR and ADD_BOTH: the inbound one */
	struct apart_sa out; /* OPEN_PAIR, ADD_BOTH */
};

/* Answer or event. The reader checks sizes, ranges and texts, as with requests. */
struct apart_answer {
	enum apart_op op;
	uint32_t seq; /* that of the request; 0: READY and EVENT */
	enum err_code code;
	bool absent; /* READY: this system has no IPsec */
	uint32_t os;
	char cause[ERR_CAUSE]; /* of an error; EVENT: its text */
	char hint[APART_HINT]; /* empty: none */
	uint32_t policy;       /* POLICY_ADD, LEFTOVER, EVENT; 0: none */
	uint64_t ctx;   /* RESERVE, OPEN_PAIR, LEFTOVER, EVENT; ADD_BOTH: the next; 0: none */
	uint8_t part;   /* LEFTOVER, EVENT; OPEN_PAIR and ADD_BOTH that failed: which */
	struct spi spi; /* RESERVE, LEFTOVER, EVENT; ADD_BOTH: of the next */
	struct addr local, remote;
	uint32_t left_s;
	uint8_t kind, reason; /* EVENT: enum sadb_event_kind, enum rekey_reason */
	uint8_t known;        /* QUERY: which counts there are */
	uint64_t counts[4];
	uint32_t can; /* READY: one bit for each ability, by the two sides' own agreement */
	uint32_t window_max, lifetime_max_s;
	struct suite_list suites;
};

void apart_put_request(uint8_t out[APART_LEN], const struct apart_request *r);
/* Refuses every byte string that apart_put_request() does not make of what it would return. -1: *r is
 * wiped, and e says what was wrong. */
int apart_get_request(struct apart_request *r, const uint8_t *in, size_t n, struct err *e);
void apart_put_answer(uint8_t out[APART_LEN], const struct apart_answer *a);
int apart_get_answer(struct apart_answer *a, const uint8_t *in, size_t n, struct err *e);

/* ---- the helper's book ------------------------------------------------------------------- */

/* One configured peer, as far as the helper must know it. */
struct apart_peer {
	struct apart_policy policy;
	bool held; /* its policy is in force */
	struct suite_list suites;
	bool esn;
	uint32_t window;
	uint32_t lifetime_s;               /* at most */
	uint64_t soft_bytes, soft_packets; /* at most; 0: none need be */
	uint64_t hard_bytes, hard_packets;
	uint32_t pairs_max; /* that may be there at once, beside those of an earlier run */
};

/* What the config says about a peer. */
void apart_peer_of(struct apart_peer *p, const struct config *c, const struct peer_config *pc);

/* One context that is in force. */
struct apart_slot {
	uint64_t inner; /* the back end's own number of it */
	uint32_t turn;  /* part of its number: another one for who has the place next */
	struct spi in;
	bool used, reserved, old;
	uint8_t parts; /* APART_IN, APART_OUT */
};

/* One policy that is in force. */
struct apart_held {
	bool used;
	size_t peer; /* of the list; APART_NO_PEER: the config has it no more, or another one */
	char name[MSG_NAME_MAX + 1];
	struct addr local;
	struct apart_slot *slots;
	uint32_t n_slots, used_slots, own_slots;
	uint32_t turns; /* so far, that no number comes twice */
	void *owner;    /* the helper's */
};
#define APART_NO_PEER SIZE_MAX

struct apart_book {
	struct apart_peer *peers;
	size_t n_peers;
	struct apart_held *held;
	size_t n_held, used_held;
	size_t next; /* where to look for a free one */
};

/* Takes the peers of a config in place of those before. -1: no memory, and all is as it was. */
int apart_book_config(struct apart_book *b, const struct config *c, struct err *e);
void apart_book_free(struct apart_book *b); /* owners are the helper's to free before */

/* The address that this host sends to the remote one from. */
typedef int apart_route(void *arg, const struct addr *remote, struct addr *local, struct err *e);

/*
 * May it be done? ERR_PERM when config or book forbid it, ERR_BUG when it makes no sense, ERR_DOWN
 * for what is gone. *held and *slot (either may stay NULL) are what it is about; REMOVE of a context
 * that is gone is 0 with a NULL slot. POLICY_ADD: *held is a free one, for apart_book_add(). Changes
 * nothing but the room in the book.
 */
int apart_check(struct apart_book *b, const struct apart_request *r, apart_route *route, void *arg,
		struct apart_held **held, struct apart_slot **slot, struct err *e);

/* May the policy have one more pair? ERR_PERM if not. */
int apart_check_more(const struct apart_book *b, const struct apart_held *h, struct err *e);

/* What was done. */
uint32_t apart_book_add(struct apart_book *b, struct apart_held *h, const struct apart_request *r);
void apart_book_remove(struct apart_book *b, struct apart_held *h);
/* A context of its own (RESERVE) or of an earlier run (with the parts that it has); its number on the
 * wire. 0: no memory. */
uint64_t apart_book_reserve(struct apart_book *b, struct apart_held *h, uint64_t inner,
			    struct spi in, uint8_t old_parts);
/* The same for OPEN_PAIR: the inbound SA is there already. */
uint64_t apart_book_new(struct apart_book *b, struct apart_held *h, uint64_t inner, struct spi in);
/* What a request of ADD_ has added. */
void apart_book_added(struct apart_slot *s, enum apart_op op);
/* So many parts are no more; a context without parts is gone. */
void apart_book_lost(struct apart_held *h, struct apart_slot *s, uint8_t parts);
/* The slot of the back end's number, or NULL; the number on the wire of a slot. */
struct apart_slot *apart_book_find(const struct apart_held *h, uint64_t inner);
uint64_t apart_book_ctx(const struct apart_book *b, const struct apart_held *h,
			const struct apart_slot *s);

#endif
