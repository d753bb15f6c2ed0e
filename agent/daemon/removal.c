/*
 * agent/daemon/removal.c - a removal that failed and is tried again.
 */
#include "agent/daemon/removal.h"

#include <string.h>

bool removal_failed(struct removal *r, const struct err *e)
{
	uint64_t wait_ms = (uint64_t)REMOVAL_FIRST_MS << (r->failures < 4 ? r->failures : 4);
	const bool is_first = r->failures == 0;

	r->why = *e;
	if (r->due.at_ms != 0)
		return is_first;
	r->failures++;
	deadline_set(&r->due,
		     loop_now_ms() + (wait_ms < REMOVAL_MAX_MS ? wait_ms : REMOVAL_MAX_MS));
	return is_first;
}

void removal_done(struct removal *r)
{
	r->failures = 0;
	memset(&r->why, 0, sizeof r->why);
	deadline_set(&r->due, 0);
}
