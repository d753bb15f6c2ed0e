/*
 * agent/ipsec/xfrm/message.h - netlink messages of the Linux kernel's XFRM, built and read.
 *
 * No I/O, no allocation. Only this file converts addresses, ports and SPIs to and from the kernel's byte
 * order. A built message may contain keys: wipe the buffer after use.
 */
#ifndef SAPAIR_AGENT_IPSEC_XFRM_MESSAGE_H
#define SAPAIR_AGENT_IPSEC_XFRM_MESSAGE_H

#include "agent/ipsec/ipsec.h"

#include <linux/netlink.h>
#include <linux/xfrm.h>

#define XFRM_ROOM 2048 /* any message that is built here fits in */
#define XFRM_WINDOW_MAX 4096

/* Room for one message, aligned as netlink wants it. */
union xfrm_msg {
	struct nlmsghdr head;
	uint8_t bytes[XFRM_ROOM];
};

/* One SA, to install or as reported by the kernel. */
struct xfrm_sa {
	struct addr src, dst;
	struct spi spi;
	uint32_t reqid, seq;
	bool tunnel;
	uint16_t from_port, to_port; /* ESP in UDP (RFC 3948); 0: plain ESP */
	struct sa_limits limits;
	uint64_t hard_s; /* since added; 0: none */

	/* of the kernel's answers */
	bool has_key; /* false: larval */
	bool expired; /* XFRM_MSG_EXPIRE: the hard limit, the SA is gone */
	uint64_t bytes, packets, replay_dropped, integrity_failed;
	uint64_t added_s; /* wall clock, seconds since 1970 */
};

enum { XFRM_IN = XFRM_POLICY_IN, XFRM_OUT = XFRM_POLICY_OUT };

/* One policy of the kernel; src is the sender's address: ours outbound, the peer's inbound. */
struct xfrm_rule {
	struct addr src, dst;
	uint8_t dir;   /* XFRM_IN, XFRM_OUT */
	uint8_t proto; /* 0: every */
	bool has_sport, has_dport;
	uint16_t sport, dport; /* ICMP: type and code */
	uint32_t index, priority;
	bool protects; /* by ESP; false: let pass in clear */
	bool allows;   /* false: a blocking policy, of another program */
	bool optional; /* permissive: clear while there is no SA */
	bool tunnel;
	uint32_t reqid;
	struct spi pin; /* outbound: this SA and no other; 0: any of the reqid */
};

/* ---- requests; type is one of the kernel's XFRM_MSG_, seq comes back in the answer ---- */

/* Reserves an SPI of lowest or more. The answer is an SA without a key. */
void xfrm_put_allocspi(union xfrm_msg *m, uint32_t seq, const struct xfrm_sa *sa, uint32_t lowest);
/* XFRM_MSG_NEWSA or XFRM_MSG_UPDSA; inbound: with k's replay window. */
void xfrm_put_sa(union xfrm_msg *m, uint32_t seq, uint16_t type, const struct xfrm_sa *sa,
		 const struct sa_keys *k, bool inbound);
/* XFRM_MSG_DELSA or XFRM_MSG_GETSA. */
void xfrm_put_sa_id(union xfrm_msg *m, uint32_t seq, uint16_t type, const struct xfrm_sa *sa);
/* All SAs of ESP; with src and dst (NULL: any) those between the two. */
void xfrm_put_dump_sas(union xfrm_msg *m, uint32_t seq, const struct addr *src,
		       const struct addr *dst);
/* XFRM_MSG_NEWPOLICY or XFRM_MSG_UPDPOLICY. */
void xfrm_put_rule(union xfrm_msg *m, uint32_t seq, uint16_t type, const struct xfrm_rule *r);
/* XFRM_MSG_DELPOLICY or XFRM_MSG_GETPOLICY, by selector. */
void xfrm_put_rule_id(union xfrm_msg *m, uint32_t seq, uint16_t type, const struct xfrm_rule *r);
void xfrm_put_dump_rules(union xfrm_msg *m, uint32_t seq);
/* A socket policy that bypasses IPsec, for IP_XFRM_POLICY and IPV6_XFRM_POLICY. */
void xfrm_fill_bypass(struct xfrm_userpolicy_info *p, bool ipv6, uint8_t dir);

/* ---- answers and events: false for another type, or one that is too short ---- */

/* XFRM_MSG_NEWSA, _UPDSA, _DELSA, _EXPIRE. */
bool xfrm_get_sa(const struct nlmsghdr *h, struct xfrm_sa *sa);
/* XFRM_MSG_NEWPOLICY, _UPDPOLICY, _DELPOLICY, _ACQUIRE. */
bool xfrm_get_rule(const struct nlmsghdr *h, struct xfrm_rule *r);
/* NLMSG_ERROR: errno (0: success) and the kernel's text, or "", truncated to size. */
bool xfrm_get_error(const struct nlmsghdr *h, int *os, char *text, size_t size);

/* Equal selectors and directions. */
bool xfrm_rule_same_selector(const struct xfrm_rule *a, const struct xfrm_rule *b);

#endif
