/*
 * proto/exchange/election.h - chooses between two links of a peer, and compares hellos.
 */
#ifndef SAPAIR_PROTO_EXCHANGE_ELECTION_H
#define SAPAIR_PROTO_EXCHANGE_ELECTION_H

#include "crypto/cert.h"
#include "proto/exchange/exchange.h"

enum election { ELECT_OLD, ELECT_NEW };

/*
 * Chooses the link to keep when a second one of the same peer is up. If the instance nonces differ,
 * the peer was restarted: the new one. Else the link dialled by the agent with the smaller identity
 * (as in RFC 4271 section 6.8); of two dialled by the same agent, the newer.
 */
enum election election_of(const uint8_t own_id[PIN_LEN], const uint8_t peer_id[PIN_LEN],
			  bool old_dialled_by_us, bool new_dialled_by_us, bool same_instance);

enum hello_verdict {
	HELLO_EQUAL,   /* both hosts have the same pair in force */
	HELLO_DIFFERS, /* a new exchange is needed */
	HELLO_REFUSED  /* *fault is the reason */
};

/* Our side of the comparison; addresses from the config and the socket. */
struct hello_own {
	struct msg_hello sent; /* as it would be sent now */
	bool has_ppk;
	uint8_t peer_check[TAG_LEN]; /* keysched_ppk_check() for the peer's role */
};

/*
 * current and own->sent.last are the present state of the exchange, not that of the last hello sent:
 * another link may have changed it since. HELLO_EQUAL means also that the peer sends on CURRENT only,
 * so that every HELD generation may be retired. On HELLO_REFUSED *fault and e are set.
 */
enum hello_verdict hello_compare(const struct hello_own *own, const struct pair_state *current,
				 const struct msg_hello *peer, enum fault *fault, struct err *e);

#endif
