/*
 * proto/config/policy.h - what is protected between two hosts: for the config, the helper and the back ends.
 */
#ifndef SAPAIR_PROTO_CONFIG_POLICY_H
#define SAPAIR_PROTO_CONFIG_POLICY_H

#include "proto/wire/msg.h"

struct config;
struct peer_config;

enum start_mode { START_CLOSED, START_SEAMLESS };

/* The options of a policy, as "defaults" and each peer of a config set them. */
struct policy_options {
	int mode;                                /* "mode": enum policy_mode */
	int start;                               /* "start": enum start_mode */
	int encap;                               /* "encap": enum encap_mode */
	bool udp;                                /* "udp": ESP in UDP, RFC 3948 */
	uint8_t protects, exempts;               /* "protect", "exempt": default all; icmp */
	char protect[PROTECT_MAX][PROTECT_TEXT]; /* "all", "tcp/445"; zero behind each text */
	char exempt[PROTECT_MAX][PROTECT_TEXT];
};

/* Bytes and packets of one SA; 0: no limit. */
struct sa_limits {
	uint64_t soft_bytes, soft_packets; /* then it is rekeyed */
	uint64_t hard_bytes, hard_packets; /* then it expires */
};

/*
 * A policy between two hosts. The last three members are used while it is installed: the caller sets
 * limits and owner; ref belongs to the back end and is 0 before ipsec_policy_add() and after
 * ipsec_policy_remove(). The limits may change at any time; they apply to the SAs installed next.
 */
struct policy {
	char peer[MSG_NAME_MAX + 1];
	struct addr local; /* of a config: len 0 if the routing table selects it */
	struct addr remote;
	uint16_t control_port;   /* the agent's own TCP port on both hosts: always exempt */
	uint16_t peer_port;      /* that of the peer, when it differs; else equal */
	uint16_t local_esp_port; /* UDP port of soft, and of ESP in UDP */
	uint16_t remote_esp_port;
	struct policy_options opt;
	struct sa_limits limits;
	void *owner; /* reported in events */
	uint64_t ref;
};

/* The policy of a peer of the config, without owner. */
void policy_of_peer(struct policy *p, const struct config *c, const struct peer_config *pc);

#endif
