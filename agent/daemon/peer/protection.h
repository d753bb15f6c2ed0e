/*
 * agent/daemon/peer/protection.h - whether traffic that a peer's policy declares can pass in clear on
 * this host, as far as the system can be asked.
 */
#ifndef SAPAIR_AGENT_DAEMON_PEER_PROTECTION_H
#define SAPAIR_AGENT_DAEMON_PEER_PROTECTION_H

#include "agent/daemon/state.h"

struct peer;

/* Part of struct peer, private to protection.c. */
struct protection {
	bool is_judged, is_told;
	uint32_t by_backend; /* UNPROTECTED_..., of the last IPSEC_EV_JUDGED */
	uint32_t told;       /* as the last event said */
	char text[256];      /* what the back end found */
};

/* UNPROTECTED_...; 0: protected. */
uint32_t protection_reasons(const struct peer *p);
/* "sysctl", by the number of the bit. */
const char *protection_word(unsigned bit);
/* The words of a set, as the member "protected_reasons". */
void protection_put_words(struct json_out *o, uint32_t reasons);
/* ERR_VERIFY if the traffic can pass in clear although it must not: a back end of the system, mode
 * required. */
int protection_check(const struct peer *p, struct err *e);

/* The back end has judged the peer's policy. */
void protection_on_judged(struct peer *p, const struct ipsec_event *ev);
/* The policy is removed: what the back end said of it no longer holds. */
void protection_forget(struct peer *p);
/* A fact has changed: sends an event if the reasons did. */
void protection_update(struct peer *p);

#endif
