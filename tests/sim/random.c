/*
 * tests/sim/random.c - long runs. The number of a run determines the rate of faults, the hosts that keep
 * their SAs when the agent dies, the size of the SPI space, and every event.
 */
#include "tests/sim/sim.h"

#include <stdio.h>

struct dice {
	uint64_t state;
};

static uint64_t throw(struct dice * d)
{
	uint64_t z = d->state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static unsigned below(struct dice *d, unsigned n)
{
	return (unsigned)((throw(d) >> 32) * n >> 32);
}

/* The weight of each event in one run. */
struct weather {
	unsigned weight[EV_COUNT], sum;
	unsigned pause_ms; /* between events, at most */
};

static struct weather make_weather(struct dice *d)
{
	struct weather a = {.weight = {[EV_DELIVER] = 700, [EV_NOTICE] = 40, [EV_DIAL] = 80}};

	a.weight[EV_CUT] = below(d, 4) * 8;
	a.weight[EV_TICK] = 2 + below(d, 4) * 12;
	a.weight[EV_REKEY] = 5 + below(d, 4) * 30;
	a.weight[EV_FAIL] = below(d, 3) * 10;
	a.weight[EV_CRASH] = below(d, 3) * 4;
	a.weight[EV_RESTART] = 60;
	a.weight[EV_INJECT] = below(d, 3) * 30;
	a.pause_ms = below(d, 3) * 150;
	for (unsigned k = 0; k < EV_COUNT; k++)
		a.sum += a.weight[k];
	return a;
}

static bool draw(const struct world *w, struct dice *d, const struct weather *a, struct event *ev)
{
	unsigned n = below(d, a->sum), kind = 0;

	while (n >= a->weight[kind])
		n -= a->weight[kind++];
	*ev = (struct event){.kind = (enum event_kind)kind,
			     .host = (uint8_t)below(d, 2),
			     .link = (uint8_t)below(d, LINKS)};
	if (kind == EV_FAIL)
		ev->arg = (uint16_t)(below(d, DB_FAULTS) << 4 | (1 + below(d, 4)));
	if (kind == EV_INJECT && letter_count() > 0)
		ev->arg = (uint16_t)below(d, letter_count());
	return event_possible(w, ev);
}

/* A short time passes, but no timer expires: that is an event. */
static void pause(struct world *w, struct dice *d, const struct weather *a)
{
	uint64_t to = w->now + (a->pause_ms > 0 ? below(d, a->pause_ms) : 0);
	uint64_t timer = world_next_timer(w);

	if (timer == 0 || to < timer)
		w->now = to;
}

bool random_run(uint64_t seed)
{
	static struct world w;
	struct dice d = {seed * UINT64_C(0xd1342543de82ef95)};
	unsigned soft = below(&d, 4), events = 60 + below(&d, 90), tries = 0;
	struct weather a = make_weather(&d);
	struct event ev;

	verdict.inv = INV_NONE;
	world_start(&w, soft & 1, soft & 2, throw(&d));
	w.spi_space = below(&d, 2) ? 24 + below(&d, 100) : 0;
	for (unsigned n = 0; n < events && tries < 20 * events; tries++) {
		if (!draw(&w, &d, &a, &ev))
			continue;
		pause(&w, &d, &a);
		n++;
		if (!event_apply(&w, &ev))
			return false;
	}
	return world_settle(&w);
}
