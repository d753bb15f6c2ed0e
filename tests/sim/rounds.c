/*
 * tests/sim/rounds.c - the number of half round trips until each host sends on the new pair.
 */
#include "tests/sim/sim.h"

/* Delivers all messages that are in flight now, but not the replies to them. */
static bool flight(struct world *w)
{
	unsigned n[LINKS][2];

	for (int i = 0; i < LINKS; i++)
		for (int h = A; h <= B; h++)
			n[i][h] = w->link[i].id != 0 ? w->link[i].end[h].n : 0;
	for (int i = 0; i < LINKS; i++)
		for (int h = A; h <= B; h++)
			for (; n[i][h] > 0; n[i][h]--) {
				struct event ev = {.kind = EV_DELIVER,
						   .host = (uint8_t)h,
						   .link = (uint8_t)i};

				if (!event_apply(w, &ev))
					return false;
			}
	return true;
}

bool rounds_of_a_rekey(unsigned *leader, unsigned *follower)
{
	static struct world w;
	struct event dial = {.kind = EV_DIAL, .host = A}, ask = {.kind = EV_REKEY, .host = A};
	uint32_t old[2];

	*leader = *follower = 0;
	verdict.inv = INV_NONE;
	world_start(&w, false, false, 1);
	if (!event_apply(&w, &dial) || !world_settle(&w))
		return false;
	for (int h = A; h <= B; h++)
		old[h] = w.host[h].db.selected;
	if (old[A] == 0 || old[B] == 0 || !event_apply(&w, &ask))
		return false;
	for (unsigned n = 1; n < 10; n++) {
		if (!flight(&w))
			return false;
		if (*leader == 0 && w.host[A].db.selected != old[A])
			*leader = n;
		if (*follower == 0 && w.host[B].db.selected != old[B])
			*follower = n;
	}
	return true;
}
