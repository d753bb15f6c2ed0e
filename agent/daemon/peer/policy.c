/*
 * agent/daemon/peer/policy.c - policy of a peer.
 */
#include "agent/daemon/peer/policy.h"

#include "agent/daemon/link/link.h"

#include <stdlib.h>
#include <string.h>

/* The address from which this host sends to the peer, as the routing table says. */
static int route_source(uv_loop_t *loop, const struct endpoint *to, struct addr *from,
			struct err *e)
{
	uv_udp_t *udp = malloc(sizeof *udp);
	struct sockaddr_storage ss;
	char dst[ADDR_TEXT];
	int len = sizeof ss, rc;

	if (udp == NULL)
		return err_set(e, ERR_OS, "no memory");
	uv_udp_init(loop, udp);
	addr_put(dst, &to->addr);
	os_sockaddr(&ss, &to->addr, to->port);
	rc = uv_udp_connect(udp, (const struct sockaddr *)&ss);
	if (rc == 0)
		rc = uv_udp_getsockname(udp, (struct sockaddr *)&ss, &len);
	uv_close((uv_handle_t *)udp, (uv_close_cb)(void (*)(void))free);
	if (rc != 0) {
		err_set(e, ERR_OS, "no route to %s: %s", dst, uv_strerror(rc));
		return err_hint(e, "is the network up? the agent retries");
	}
	*from = os_endpoint((const struct sockaddr *)&ss).addr;
	return 0;
}

int policy_fill(struct policy *sa, const struct config *c, const struct peer_config *pc,
		uv_loop_t *loop, struct err *e)
{
	policy_of_peer(sa, c, pc);
	return sa->local.len != 0 ? 0 : route_source(loop, &pc->remote, &sa->local, e);
}

int policy_install(struct peer_policy *p, struct agent *a, const struct peer_config *pc,
		   void *owner, struct err *e)
{
	if (policy_fill(&p->sa, &a->cfg, pc, &a->loop, e) < 0)
		return -1;
	p->sa.owner = owner;
	if (ipsec_policy_add(a->db, &p->sa, e) < 0)
		return err_in(e, "policy for %s", pc->name);
	p->is_installed = true;
	return 0;
}

int policy_remove(struct peer_policy *p, struct agent *a, struct err *e)
{
	p->is_left = p->is_left || p->is_installed;
	p->is_installed = false;
	if (!p->is_left)
		return 0;
	if (ipsec_policy_remove(a->db, &p->sa, e) < 0)
		return err_in(e, "remove the policy");
	p->is_left = false;
	return 0;
}

bool policy_is_installed(const struct peer_policy *p)
{
	return p->is_installed;
}

int policy_check(const struct agent *a, const struct peer_config *pc, struct err *e)
{
	const struct policy_options *o = &pc->opt.policy;
	const struct suite_list *suites = &pc->opt.suites;
	const struct ipsec_can *can = &a->can;
	const char *lacks = NULL;
	bool suite = false;

	for (uint8_t i = 0; i < suites->n; i++)
		suite = suite || suite_list_has(&can->suites, (enum suite)suites->v[i]);
	if (o->encap == ENCAP_TUNNEL && !can->tunnel)
		lacks = "encap tunnel";
	else if (o->udp && !can->udp)
		lacks = "udp encapsulation";
	else if (o->start == START_SEAMLESS && !can->seamless)
		lacks = "start seamless";
	else if (o->mode == MODE_PERMISSIVE && !can->permissive)
		lacks = "mode permissive";
	else if (!suite)
		lacks = "any of the peer's suites";
	else if (!can->selectors && (o->protects != 1 || strcmp(o->protect[0], "all") != 0))
		lacks = "protect other than all";
	else if (!can->selectors && !can->datagrams &&
		 (o->exempts != 1 || strcmp(o->exempt[0], "icmp") != 0))
		lacks = "exempt other than icmp"; /* what protects nothing exempts all */
	if (lacks == NULL)
		return 0;
	return err_set(e, ERR_USAGE, "peer %s: the back end %s cannot do %s", pc->name,
		       a->db->ops->name, lacks);
}
