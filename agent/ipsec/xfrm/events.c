/*
 * agent/ipsec/xfrm/events.c - events of the kernel: limits, acquires, removals by others.
 */
#include "agent/ipsec/xfrm/db.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static void raise_event(struct xfrm *db, const struct ipsec_event *ev)
{
	db->env.on_event(db->env.arg, ev);
}

static struct xfrm_policy *policy_of_number(struct xfrm *db, uint16_t number)
{
	struct xfrm_policy *pol = db->policies;

	while (pol != NULL && pol->number != number)
		pol = pol->next;
	return pol;
}

/* The pair of an SA in an event or a dump; NULL: not one of ours. */
static struct xfrm_pair *pair_of_sa(struct xfrm *db, const struct xfrm_sa *sa,
				    enum ipsec_part *part)
{
	struct xfrm_policy *pol = xfrm_is_our_sa(sa) ? policy_of_number(db, xfrm_sa_number(sa))
						     : NULL;
	struct xfrm_pair *q;

	if (pol == NULL)
		return NULL;
	*part = addr_equal(&sa->dst, &pol->p->local) ? IPSEC_INBOUND : IPSEC_OUTBOUND;
	for (q = pol->pairs; q != NULL; q = q->next_of_policy)
		if (*part == IPSEC_INBOUND ? q->has_in && spi_equal(q->in, sa->spi)
					   : q->has_out && spi_equal(q->out, sa->spi))
			break;
	return q;
}

/* An SA is gone from the kernel: updates our state, then raises the event. */
static void lost(struct xfrm *db, struct xfrm_pair *pair, enum ipsec_part part,
		 enum ipsec_event_kind kind, const char *what)
{
	struct xfrm_policy *pol = pair->policy;
	char text[96];
	struct ipsec_event ev = {.kind = kind,
				 .owner = pol->p->owner,
				 .ctx = {pair->id},
				 .part = part,
				 .spi = part == IPSEC_INBOUND ? pair->in : pair->out,
				 .text = text};

	snprintf(text, sizeof text, "%s SA %08" PRIx32 " %s",
		 part == IPSEC_INBOUND ? "inbound" : "outbound", ev.spi.n, what);
	if (part == IPSEC_INBOUND)
		pair->has_in = false;
	else
		pair->has_out = pair->out_waits = false;
	if (part == IPSEC_OUTBOUND && pol->selected == pair)
		xfrm_pin(db, pol, xfrm_newest_but(pol, pair), NULL);
	if (!pair->has_in && !pair->has_out)
		xfrm_free_pair(db, pair);
	raise_event(db, &ev);
}

static void on_expire(struct xfrm *db, const struct xfrm_sa *sa)
{
	struct ipsec_event ev = {.kind = IPSEC_EV_SOFT, .spi = sa->spi};
	enum ipsec_part part;
	struct xfrm_pair *pair = pair_of_sa(db, sa, &part);

	if (pair == NULL)
		return;
	if (sa->expired) {
		lost(db, pair, part, IPSEC_EV_HARD, "has passed a hard limit");
		return;
	}
	ev.owner = pair->policy->p->owner;
	ev.ctx.id = pair->id;
	ev.part = part;
	ev.reason = sa->limits.soft_bytes != 0 && sa->bytes >= sa->limits.soft_bytes
			    ? REASON_BYTES
			    : REASON_PACKETS;
	raise_event(db, &ev);
}

static int see_sa(struct xfrm *db, const struct nlmsghdr *h, void *arg)
{
	enum ipsec_part part;
	struct xfrm_sa sa;
	struct xfrm_pair *pair;

	(void)arg;
	if (!xfrm_get_sa(h, &sa) || (pair = pair_of_sa(db, &sa, &part)) == NULL)
		return 0;
	if (part == IPSEC_INBOUND)
		pair->in_seen = true;
	else
		pair->out_seen = true;
	return 0;
}

static struct xfrm_pair *first_unseen(struct xfrm *db, enum ipsec_part *part)
{
	for (struct xfrm_policy *pol = db->policies; pol != NULL; pol = pol->next) {
		for (struct xfrm_pair *q = pol->pairs; q != NULL; q = q->next_of_policy) {
			*part = q->has_out && !q->out_seen ? IPSEC_OUTBOUND : IPSEC_INBOUND;
			if (*part == IPSEC_OUTBOUND || (q->has_in && !q->in_seen))
				return q;
		}
	}
	return NULL;
}

/* After a flush or lost events: finds the SAs that are gone. */
static void check_sas(struct xfrm *db)
{
	enum ipsec_part part;
	struct xfrm_pair *pair;
	union xfrm_msg m;

	for (struct xfrm_policy *pol = db->policies; pol != NULL; pol = pol->next)
		for (struct xfrm_pair *q = pol->pairs; q != NULL; q = q->next_of_policy)
			q->in_seen = q->out_seen = false;
	xfrm_put_dump_sas(&m, ++db->seq, NULL, NULL);
	if (xfrm_dump(db, &m, see_sa, NULL, NULL) < 0)
		return; /* verify and counters will show the loss */
	while (!db->closing && (pair = first_unseen(db, &part)) != NULL)
		lost(db, pair, part, IPSEC_EV_REMOVED, "was removed by somebody else");
}

/* Restores removed policies. True if any was missing. */
static bool restore_rules(struct xfrm *db, struct xfrm_policy *pol)
{
	bool missing = false;

	if (pol->removing)
		return false;
	for (size_t i = 0; i < pol->n_rules; i++)
		if (xfrm_set_rule(db, XFRM_MSG_NEWPOLICY, &pol->rules[i], NULL) == 0)
			missing = true;
	return missing;
}

static void restore_and_tell(struct xfrm *db, struct xfrm_policy *pol)
{
	struct ipsec_event ev = {.kind = IPSEC_EV_REMOVED,
				 .owner = pol->p->owner,
				 .text = "somebody else removed a policy of ours: it is put back"};

	if (restore_rules(db, pol))
		raise_event(db, &ev);
}

/* Another program replaced a policy of ours, which may let clear text pass. */
static void on_rule_changed(struct xfrm *db, const struct xfrm_rule *is)
{
	struct xfrm_policy *pol =
		is->index >> 25 == INDEX_TAG ? policy_of_number(db, xfrm_number(is)) : NULL;
	struct ipsec_event ev = {.kind = IPSEC_EV_REMOVED,
				 .text = "somebody else changed a policy of ours: it is put back"};

	for (size_t i = 0; pol != NULL && !pol->removing && i < pol->n_rules; i++) {
		const struct xfrm_rule *r = &pol->rules[i];

		if (!xfrm_rule_same_selector(r, is) ||
		    (xfrm_same_rule(r, is) && is->allows && spi_equal(r->pin, is->pin)))
			continue;
		xfrm_set_rule(db, XFRM_MSG_UPDPOLICY, r, NULL);
		ev.owner = pol->p->owner;
		raise_event(db, &ev);
		return;
	}
}

static void on_rule_gone(struct xfrm *db, const struct xfrm_rule *r)
{
	struct xfrm_policy *pol = r->index >> 25 == INDEX_TAG ? policy_of_number(db, xfrm_number(r))
							      : NULL;

	if (pol != NULL)
		restore_and_tell(db, pol);
}

static void check_rules(struct xfrm *db)
{
	uint16_t numbers[256];
	size_t n = 0;

	/* Restore all before any event, since handlers may change the list. */
	for (struct xfrm_policy *pol = db->policies; pol != NULL; pol = pol->next) {
		if (n == sizeof numbers / sizeof numbers[0])
			restore_rules(db, pol);
		else if (restore_rules(db, pol))
			numbers[n++] = pol->number;
	}
	for (size_t i = 0; i < n && !db->closing; i++) {
		struct xfrm_policy *pol = policy_of_number(db, numbers[i]);
		struct ipsec_event ev = {
			.kind = IPSEC_EV_REMOVED,
			.text = "somebody else removed our policies: they are put back"};

		if (pol == NULL)
			continue;
		ev.owner = pol->p->owner;
		raise_event(db, &ev);
	}
}

static void on_message(struct xfrm *db, const struct nlmsghdr *h)
{
	struct ipsec_event ev = {.kind = IPSEC_EV_ACQUIRE};
	enum ipsec_part part;
	struct xfrm_policy *pol;
	struct xfrm_rule r;
	struct xfrm_pair *pair;
	struct xfrm_sa sa;

	switch (h->nlmsg_type) {
	case XFRM_MSG_EXPIRE:
		if (xfrm_get_sa(h, &sa))
			on_expire(db, &sa);
		break;
	case XFRM_MSG_DELSA:
		if (xfrm_get_sa(h, &sa) && (pair = pair_of_sa(db, &sa, &part)) != NULL)
			lost(db, pair, part, IPSEC_EV_REMOVED, "was removed by somebody else");
		break;
	case XFRM_MSG_FLUSHSA:
		check_sas(db);
		break;
	case XFRM_MSG_DELPOLICY:
		if (xfrm_get_rule(h, &r))
			on_rule_gone(db, &r);
		break;
	case XFRM_MSG_UPDPOLICY:
		if (xfrm_get_rule(h, &r))
			on_rule_changed(db, &r);
		break;
	case XFRM_MSG_FLUSHPOLICY:
		check_rules(db);
		break;
	case XFRM_MSG_ACQUIRE:
		if (!xfrm_get_rule(h, &r) || r.index >> 25 != INDEX_TAG)
			break;
		pol = policy_of_number(db, xfrm_number(&r));
		if (pol == NULL)
			break;
		ev.owner = pol->p->owner;
		raise_event(db, &ev);
		break;
	default:
		break;
	}
}

void xfrm_on_readable(uv_poll_t *poll, int status, int events)
{
	struct xfrm *db = poll->data;

	(void)status, (void)events;
	while (!db->closing) {
		ssize_t n = mnl_socket_recvfrom(db->events, db->event, sizeof db->event);
		const struct nlmsghdr *h = (const void *)db->event;
		int left = (int)n;

		if (n < 0 && errno == ENOBUFS) { /* some were lost */
			check_rules(db);
			check_sas(db);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		for (; !db->closing && mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
			on_message(db, h);
		if (!db->closing)
			wipe(db->event, (size_t)n);
	}
}
