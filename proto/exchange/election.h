/*
 * proto/exchange/election.h - which of two links stays, and what two hellos mean. Pure.
 */
#ifndef SAPAIR_PROTO_EXCHANGE_ELECTION_H
#define SAPAIR_PROTO_EXCHANGE_ELECTION_H

#include "crypto/cert.h"
#include "proto/exchange/exchange.h"

enum election { ELECT_OLD, ELECT_NEW };

/*
 * A second link of one peer is up. Another instance nonce than the old link's: the peer was
 * restarted, the new one stays. Else the link that was dialled by the agent with the smaller
 * identity stays (RFC 4271 6.8 does alike); of two dialled by the same one, the newer.
 */
enum election election_of(const uint8_t own_id[PIN_LEN], const uint8_t peer_id[PIN_LEN],
			  bool old_dialled_by_us, bool new_dialled_by_us, bool same_instance);

enum hello_verdict {
	HELLO_EQUAL,   /* both hosts have the same pair in force: nothing to do */
	HELLO_DIFFERS, /* a new exchange is needed */
	HELLO_REFUSED  /* fault says why: address, policy, PPK, version */
};

/* What our side compares with; addresses from the config and the socket. */
struct hello_own {
	struct msg_hello sent; /* as it would be sent now */
	bool has_ppk;
	uint8_t peer_check[TAG_LEN]; /* keysched_ppk_check() for the peer's role */
};

/*
 * current and own->sent.last are what the exchange has now, not when a hello was sent: another
 * link may have gone on since. HELLO_EQUAL also says that the peer sends on CURRENT and on nothing
 * older: every HELD generation may be retired. On HELLO_REFUSED *fault and e (with what differs on
 * which side) are filled.
 */
enum hello_verdict hello_compare(const struct hello_own *own, const struct pair_state *current,
				 const struct msg_hello *peer, enum fault *fault, struct err *e);

#endif
