/*
 * proto/exchange/election.c - comparing links and hellos.
 */
#include "proto/exchange/election.h"

#include <string.h>

enum election election_of(const uint8_t own_id[PIN_LEN], const uint8_t peer_id[PIN_LEN],
			  bool old_dialled_by_us, bool new_dialled_by_us, bool same_instance)
{
	bool we_are_smaller = memcmp(own_id, peer_id, PIN_LEN) < 0; /* not secret */

	if (!same_instance || old_dialled_by_us == new_dialled_by_us)
		return ELECT_NEW;
	return new_dialled_by_us == we_are_smaller ? ELECT_NEW : ELECT_OLD;
}

/* ---- hello ----------------------------------------------------------------------------- */

static enum hello_verdict refuse(enum fault *fault, enum fault f)
{
	*fault = f;
	return HELLO_REFUSED;
}

static bool covers(const struct msg_hello *a, const struct msg_hello *b, const char **missing)
{
	for (size_t i = 0; i < b->protects; i++) {
		size_t k = 0;

		while (k < a->protects && strcmp(a->protect[k], b->protect[i]) != 0)
			k++;
		if (k == a->protects) {
			*missing = b->protect[i];
			return false;
		}
	}
	return true;
}

static enum hello_verdict compare_addresses(const struct msg_hello *own,
					    const struct msg_hello *peer, enum fault *fault,
					    struct err *e)
{
	bool is_own = addr_equal(&peer->local, &own->remote); /* then the error is about ours */
	const struct addr *here = is_own ? &own->local : &own->remote;
	const struct addr *there = is_own ? &peer->remote : &peer->local;
	char ours[ADDR_TEXT], theirs[ADDR_TEXT];

	if (addr_equal(here, there))
		return HELLO_EQUAL;
	addr_put(ours, here);
	addr_put(theirs, there);
	err_set(e, ERR_REFUSED,
		"%s address is %s according to the peer, but %s according to our config",
		is_own ? "our" : "the peer's", theirs, ours);
	return refuse(fault, FAULT_ADDRESS);
}

static enum hello_verdict compare_policies(const struct msg_hello *own,
					   const struct msg_hello *peer, enum fault *fault,
					   struct err *e)
{
	static const char *const modes[] = {"transport", "tunnel"};
	const char *missing;

	if (peer->encap != own->encap)
		err_set(e, ERR_REFUSED, "encap: %s here, %s at the peer",
			modes[own->encap == ENCAP_TUNNEL], modes[peer->encap == ENCAP_TUNNEL]);
	else if (peer->udp != own->udp)
		err_set(e, ERR_REFUSED, "ESP in UDP: %s here, %s at the peer",
			own->udp ? "on" : "off", peer->udp ? "on" : "off");
	else if (!covers(own, peer, &missing))
		err_set(e, ERR_REFUSED, "protect: \"%s\" at the peer, but not here", missing);
	else if (!covers(peer, own, &missing))
		err_set(e, ERR_REFUSED, "protect: \"%s\" here, but not at the peer", missing);
	else
		return HELLO_EQUAL;
	err_hint(e, "make encap, udp and protect of this peer equal in both configs");
	return refuse(fault, FAULT_POLICY);
}

static enum hello_verdict compare_ppk(const struct hello_own *own, const struct msg_hello *peer,
				      enum fault *fault, struct err *e)
{
	if (own->has_ppk != peer->has_ppk)
		err_set(e, ERR_AUTH, "a PPK is configured %s",
			own->has_ppk ? "here, but not at the peer" : "at the peer, but not here");
	else if (own->has_ppk && !bytes_equal(own->peer_check, peer->ppk_check, TAG_LEN))
		err_set(e, ERR_AUTH, "the two hosts have different PPKs");
	else
		return HELLO_EQUAL;
	return refuse(fault, FAULT_PPK);
}

/*
 * If `last` is greater than the epoch in force, an exchange ended early: either side may have an
 * inbound SA of it (I6), which only a newer epoch removes (I3). This also makes an old hello harmless:
 * had its sender completed an exchange on another link since, so had we.
 */
static bool same_pair(const struct pair_state *own, uint64_t own_last, const struct msg_hello *peer)
{
	return own->epoch != 0 && own->epoch == peer->epoch && own_last == own->epoch &&
	       peer->last == peer->epoch && spi_equal(own->in, peer->out) &&
	       spi_equal(own->out, peer->in);
}

enum hello_verdict hello_compare(const struct hello_own *own, const struct pair_state *current,
				 const struct msg_hello *peer, enum fault *fault, struct err *e)
{
	*fault = FAULT_NONE;
	if (peer->version != own->sent.version) {
		err_set(e, ERR_REFUSED, "protocol version %u here, %u at the peer",
			own->sent.version, peer->version);
		return refuse(fault, FAULT_VERSION);
	}
	if (memcmp(peer->instance, own->sent.instance, INSTANCE_LEN) == 0) {
		err_set(e, ERR_REFUSED, "received our own hello");
		return refuse(fault, FAULT_PROTOCOL);
	}
	if (compare_addresses(&own->sent, peer, fault, e) != HELLO_EQUAL ||
	    compare_policies(&own->sent, peer, fault, e) != HELLO_EQUAL ||
	    compare_ppk(own, peer, fault, e) != HELLO_EQUAL)
		return HELLO_REFUSED;
	return same_pair(current, own->sent.last, peer) ? HELLO_EQUAL : HELLO_DIFFERS;
}
