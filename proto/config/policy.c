/*
 * proto/config/policy.c - the policy of a peer of the config.
 */
#include "proto/config/policy.h"

#include "proto/config/config.h"

#include <string.h>

void policy_of_peer(struct policy *p, const struct config *c, const struct peer_config *pc)
{
	memset(p, 0, sizeof *p);
	memcpy(p->peer, pc->name, sizeof p->peer);
	p->remote = pc->remote.addr;
	p->local = pc->local;
	for (size_t i = 0; p->local.len == 0 && i < c->listens; i++)
		if (c->listen[i].addr.len == p->remote.len && !addr_is_any(&c->listen[i].addr))
			p->local = c->listen[i].addr;
	p->control_port = c->listens > 0 ? c->listen[0].port : PROTO_PORT;
	p->peer_port = pc->remote.port;
	p->local_esp_port = c->esp_port;
	p->remote_esp_port = pc->esp_port;
	p->opt = pc->opt.policy;
	p->limits = pc->opt.limits;
}
