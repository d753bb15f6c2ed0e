/*
 * agent/privsep/record.h - what the process that talks to the network asks of the helper that has the rights.
 *
 * Fixed-size records over a socket that keeps records apart: a request or its answer each; as bytes
 * and back, without I/O. Both ends are one program of one version; whatever else arrives is a fault of
 * the sender. Which requests the helper grants: agent/privsep/policy.h.
 */
#ifndef SAPAIR_AGENT_PRIVSEP_RECORD_H
#define SAPAIR_AGENT_PRIVSEP_RECORD_H

#include "proto/config/config.h"
#include "proto/exchange/exchange.h"

#define PRIVSEP_VERSION 1
#define PRIVSEP_LEN 768 /* of every request, answer and event; what is not used is zero */
#define PRIVSEP_HINT 256

enum privsep_op {
	PRIVSEP_READY = 1, /* the helper's first word: what the back end can; no request */
	PRIVSEP_POLICY_ADD,
	PRIVSEP_POLICY_REMOVE,
	PRIVSEP_RESERVE,
	PRIVSEP_INSTALL,
	PRIVSEP_ACTIVATE,
	PRIVSEP_REMOVE,
	PRIVSEP_QUERY,
	PRIVSEP_RECOVER, /* the next SA of an earlier run */
	PRIVSEP_EXEMPT,  /* the socket comes with it */
	PRIVSEP_RELOAD,  /* read the config again */
	PRIVSEP_EVENT,   /* no request: the helper sends it by itself */
	PRIVSEP_OPS
};
#define PRIVSEP_IN 1u
#define PRIVSEP_OUT 2u

/* What is protected between two hosts, as in ipsec.h. */
struct privsep_policy {
	char peer[MSG_NAME_MAX + 1];
	struct addr local, remote; /* local.len 0, in the helper's list: what the routes say */
	uint16_t control_port, peer_port, local_esp_port, remote_esp_port;
	uint8_t mode, encap, start; /* enum policy_mode, encap_mode, start_mode */
	bool udp;
	uint8_t protects, exempts;
	char protect[PROTECT_MAX][PROTECT_TEXT], exempt[PROTECT_MAX][PROTECT_TEXT];
};

struct privsep_sa {
	struct sa_keys keys;
	uint64_t soft_bytes, soft_packets, hard_bytes, hard_packets;
};

struct privsep_request {
	enum privsep_op op;
	uint32_t seq;
	uint32_t policy; /* number of the policy: POLICY_REMOVE, RESERVE */
	uint64_t ctx;    /* INSTALL, ACTIVATE, REMOVE, QUERY */
	uint8_t part;    /* REMOVE: PRIVSEP_IN, PRIVSEP_OUT or both; QUERY: one of them */
	bool ipv6;       /* EXEMPT */
	struct privsep_policy add;
	struct privsep_sa in;  /* INSTALL */
	struct privsep_sa out; /* INSTALL, ACTIVATE */
};

/* Answer or event. The reader checks sizes, ranges and texts, as with requests. */
struct privsep_answer {
	enum privsep_op op;
	uint32_t seq; /* that of the request; 0: READY and EVENT */
	enum err_code code;
	bool absent;  /* READY: this system has no IPsec */
	bool unknown; /* of an error: the request may have been done */
	uint32_t os;
	char cause[ERR_CAUSE];   /* of an error; EVENT: its text */
	char hint[PRIVSEP_HINT]; /* empty: none */
	uint32_t policy;         /* POLICY_ADD, RECOVER, EVENT; 0: none */
	uint64_t ctx;            /* RESERVE, RECOVER, EVENT; 0: none */
	uint8_t part;            /* RECOVER, EVENT */
	struct spi spi;          /* RESERVE, RECOVER, EVENT */
	struct addr local, remote;
	uint32_t left_s;
	uint8_t kind, reason; /* EVENT: enum ipsec_event_kind, enum rekey_reason */
	uint32_t reasons;     /* EVENT: of IPSEC_EV_JUDGED */
	uint8_t known;        /* QUERY: which counts there are */
	uint64_t counts[4];
	uint32_t can; /* READY: one bit for each ability, by the two sides' own agreement */
	uint32_t window_max, lifetime_max_s;
	struct suite_list suites;
};

void privsep_put_request(uint8_t out[PRIVSEP_LEN], const struct privsep_request *r);
/* Refuses every byte string that privsep_put_request() does not make of what it would return. -1: *r is
 * wiped, and e says what was wrong. */
int privsep_get_request(struct privsep_request *r, const uint8_t *in, size_t n, struct err *e);
void privsep_put_answer(uint8_t out[PRIVSEP_LEN], const struct privsep_answer *a);
int privsep_get_answer(struct privsep_answer *a, const uint8_t *in, size_t n, struct err *e);

#endif
