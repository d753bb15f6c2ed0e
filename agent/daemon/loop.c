/*
 * agent/daemon/loop.c - deadlines of the event loop, the clock, token buckets.
 */
#include "agent/daemon/loop.h"

#include "agent/os/os.h"

uint64_t loop_now_us(void)
{
	return os_now_ns() / 1000;
}

uint64_t loop_now_ms(void)
{
	return os_now_ns() / 1000000;
}

static void on_timer(uv_timer_t *t);

/* A timer that goes off too early is started again then, which costs less than moving it each time. */
static void arm(struct deadlines *s)
{
	uint64_t now, at = 0;

	if (uv_is_closing((uv_handle_t *)&s->timer))
		return;
	for (const struct deadline *d = s->first; d != NULL; d = d->next)
		if (d->at_ms != 0 && (at == 0 || d->at_ms < at))
			at = d->at_ms;
	if (at == 0 || (s->armed_ms != 0 && s->armed_ms <= at))
		return;
	s->armed_ms = at;
	now = loop_now_ms();
	uv_timer_start(&s->timer, on_timer, at > now ? at - now : 0, 0);
}

static void on_timer(uv_timer_t *t)
{
	struct deadlines *s = t->data;
	uint64_t now = loop_now_ms();

	s->armed_ms = 0;
	for (struct deadline *d = s->first; d != NULL; d = d->next) {
		if (d->at_ms == 0 || d->at_ms > now)
			continue;
		d->at_ms = 0;
		d->expired(d->arg);
	}
	arm(s);
}

void deadlines_open(struct deadlines *s, uv_loop_t *loop)
{
	uv_timer_init(loop, &s->timer);
	s->timer.data = s;
}

void deadlines_add(struct deadlines *s, struct deadline *d, void (*expired)(void *arg), void *arg)
{
	struct deadline **at = &s->first;

	while (*at != NULL)
		at = &(*at)->next;
	*d = (struct deadline){.set = s, .expired = expired, .arg = arg};
	*at = d;
}

void deadline_set(struct deadline *d, uint64_t at_ms)
{
	if (d->at_ms == at_ms)
		return;
	d->at_ms = at_ms;
	arm(d->set);
}

void deadline_set_by(struct deadline *d, uint64_t at_ms)
{
	if (d->at_ms == 0 || at_ms < d->at_ms)
		deadline_set(d, at_ms);
}

void deadlines_clear(struct deadlines *s)
{
	for (struct deadline *d = s->first; d != NULL; d = d->next)
		d->at_ms = 0;
	s->armed_ms = 0;
	if (!uv_is_closing((uv_handle_t *)&s->timer))
		uv_timer_stop(&s->timer);
}

void deadlines_close(struct deadlines *s, uv_close_cb closed, void *arg)
{
	deadlines_clear(s);
	s->timer.data = arg;
	uv_close((uv_handle_t *)&s->timer, closed);
}

uint64_t bucket_take(struct bucket *b, uint32_t burst, uint64_t every_us)
{
	const uint64_t now = loop_now_us();

	if (b->paid_us < now)
		b->paid_us = now;
	b->paid_us += every_us;
	return b->paid_us - now > burst * every_us ? b->paid_us - now - burst * every_us : 0;
}

bool bucket_try(struct bucket *b, uint32_t burst, uint64_t every_us)
{
	if (bucket_take(b, burst, every_us) == 0)
		return true;
	b->paid_us -= every_us;
	return false;
}
