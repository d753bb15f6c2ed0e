/*
 * agent/privsep/record.h - requests of the network process to the helper, the answers, and events, as bytes.
 *
 * Each is one record of fixed size on a SOCK_SEQPACKET socket. Both ends are the same program; any
 * other bytes are an error of the sender. No I/O. agent/privsep/policy.h decides which requests are
 * granted.
 */
#ifndef SAPAIR_AGENT_PRIVSEP_RECORD_H
#define SAPAIR_AGENT_PRIVSEP_RECORD_H

#include "agent/ipsec/ipsec.h"

#define PRIVSEP_VERSION 2
#define PRIVSEP_LEN 768 /* of every record; unused bytes are zero */
#define PRIVSEP_HINT 256

/* Fields of a request. */
enum {
	PRIVSEP_HAS_ADD = 1,
	PRIVSEP_HAS_POLICY = 2,
	PRIVSEP_HAS_CTX = 4,
	PRIVSEP_HAS_PART = 8,
	PRIVSEP_HAS_IN = 16,
	PRIVSEP_HAS_OUT = 32,
	PRIVSEP_HAS_IPV6 = 64
};

/*
 * The requests: name, function that carries it out (do_NAME in helper.c), fields, condition (check_NAME in
 * policy.c).
 */
#define PRIVSEP_REQUESTS(X)                                                               \
	X(POLICY_ADD, policy_add, PRIVSEP_HAS_ADD, configured)                            \
	X(POLICY_REMOVE, policy_remove, PRIVSEP_HAS_POLICY, nothing)                      \
	X(RESERVE, reserve, PRIVSEP_HAS_POLICY, room)                                     \
	X(INSTALL, install, PRIVSEP_HAS_CTX | PRIVSEP_HAS_IN | PRIVSEP_HAS_OUT, reserved) \
	X(ACTIVATE, activate, PRIVSEP_HAS_CTX | PRIVSEP_HAS_OUT, installed)               \
	X(REMOVE, remove, PRIVSEP_HAS_CTX | PRIVSEP_HAS_PART, any_part)                   \
	X(QUERY, query, PRIVSEP_HAS_CTX | PRIVSEP_HAS_PART, one_part)                     \
	X(RECOVER, recover, 0, nothing)              /* the next SA of an earlier run */  \
	X(EXEMPT, exempt, PRIVSEP_HAS_IPV6, nothing) /* with a socket */                  \
	X(RELOAD, reload, 0, nothing)                /* read the config again */

enum privsep_op {
	PRIVSEP_READY = 1, /* sent once by the helper at its start: what the back end can do */
#define PRIVSEP_OP(name, fn, fields, condition) PRIVSEP_##name,
	PRIVSEP_REQUESTS(PRIVSEP_OP)
#undef PRIVSEP_OP
		PRIVSEP_EVENT, /* sent by the helper without a request */
	PRIVSEP_OPS
};

struct privsep_sa {
	struct sa_keys keys;
	struct sa_limits limits;
};

struct privsep_request {
	enum privsep_op op;
	uint32_t seq;
	struct policy add; /* without limits, owner and ref */
	uint32_t policy;   /* number of a policy */
	uint64_t ctx;
	uint8_t part; /* enum ipsec_part */
	struct privsep_sa in, out;
	bool ipv6;
};

/* An answer or an event. */
struct privsep_answer {
	enum privsep_op op;
	uint32_t seq; /* that of the request; 0: READY and EVENT */
	uint8_t code; /* enum err_code */
	bool unknown; /* of an error: the request may have been carried out */
	uint32_t os;
	char cause[ERR_CAUSE];   /* of an error; EVENT: its text */
	char hint[PRIVSEP_HINT]; /* empty: none */
	uint32_t policy;         /* POLICY_ADD, RECOVER, EVENT; 0: none */
	uint64_t ctx;            /* RESERVE, RECOVER, EVENT; 0: none */
	uint8_t part;            /* RECOVER, EVENT */
	struct spi spi;          /* RESERVE, RECOVER, EVENT */
	struct addr local, remote;
	uint32_t left_s;
	uint8_t kind, reason;    /* EVENT: enum ipsec_event_kind, enum rekey_reason */
	struct sa_counts counts; /* QUERY */
	struct ipsec_can can;    /* READY */
};

/* The fields of a request; 0 for any other number. */
unsigned privsep_has(unsigned op);
void privsep_put_request(uint8_t out[PRIVSEP_LEN], const struct privsep_request *r);
/* Accepts only the bytes that privsep_put_request() makes of the result. -1: *r is wiped, and e has the
 * cause. The same holds for answers. */
int privsep_get_request(struct privsep_request *r, const uint8_t *in, size_t n, struct err *e);
void privsep_put_answer(uint8_t out[PRIVSEP_LEN], const struct privsep_answer *a);
int privsep_get_answer(struct privsep_answer *a, const uint8_t *in, size_t n, struct err *e);

#endif
