/*
 * agent/daemon/loop.c - the event loop: deferred calls, deadlines, the clock.
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

/* ---- deferred calls ---------------------------------------------------------------------- */

void loop_defer(struct loop *l, struct deferred *d)
{
	struct deferred **at = &l->first;

	if (d->is_queued)
		return;
	while (*at != NULL)
		at = &(*at)->next;
	d->is_queued = true;
	d->next = NULL;
	*at = d;
}

void loop_cancel(struct loop *l, struct deferred *d)
{
	struct deferred **at = &l->first;

	if (!d->is_queued)
		return;
	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	d->is_queued = false;
}

static void run_deferred(struct loop *l)
{
	struct deferred *d;

	while ((d = l->first) != NULL) {
		l->first = d->next;
		d->is_queued = false;
		d->run(d->arg);
	}
}

static void on_idle(uv_idle_t *h)
{
	(void)h;
}

/*
 * Before the loop waits. A deferred call may start handles of this kind, and libuv runs those in the
 * next iteration only: that must come at once.
 */
static void on_prepare(uv_prepare_t *h)
{
	struct loop *l = h->data;

	if (l->first != NULL)
		uv_idle_start(&l->idle, on_idle);
	run_deferred(l);
}

/* After the events. */
static void on_check(uv_check_t *h)
{
	struct loop *l = h->data;

	uv_idle_stop(&l->idle);
	run_deferred(l);
}

/* ---- deadlines --------------------------------------------------------------------------- */

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

void deadlines_open(struct deadlines *s, struct loop *l)
{
	uv_timer_init(&l->uv, &s->timer);
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

/* ---- the loop ------------------------------------------------------------------------------ */

int loop_open(struct loop *l)
{
	int rc = uv_loop_init(&l->uv);

	if (rc != 0)
		return rc;
	l->first = NULL;
	uv_prepare_init(&l->uv, &l->prepare);
	uv_check_init(&l->uv, &l->check);
	uv_idle_init(&l->uv, &l->idle);
	l->prepare.data = l->check.data = l;
	uv_prepare_start(&l->prepare, on_prepare);
	uv_check_start(&l->check, on_check);
	uv_unref((uv_handle_t *)&l->prepare);
	uv_unref((uv_handle_t *)&l->check);
	uv_unref((uv_handle_t *)&l->idle);
	return 0;
}

void loop_run(struct loop *l)
{
	uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_close(struct loop *l)
{
	uv_close((uv_handle_t *)&l->prepare, NULL);
	uv_close((uv_handle_t *)&l->check, NULL);
	uv_close((uv_handle_t *)&l->idle, NULL);
	for (int i = 0; i < 100 && uv_loop_close(&l->uv) == UV_EBUSY; i++)
		uv_run(&l->uv, UV_RUN_NOWAIT);
}
