/*
 * agent/daemon/loop.c - the event loop: deferred calls and the clock.
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
