/*
 * agent/daemon/loop.c - turns of the loop.
 */
#include "agent/daemon/loop.h"

#include "agent/daemon/link/link.h"
#include "agent/os/os.h"

/*
 * One reading of the clock serves a whole turn of the loop: not everywhere is it free (no vDSO in
 * user-mode Linux and in some virtual machines), and a rekey asks for the time thirty times.
 */
static _Thread_local struct {
	bool turns;  /* this thread's loop marks its turns */
	bool looked; /* in this turn, or since the message that was near */
	uint64_t now_ns;
} reading;

uint64_t agent_now_us(void)
{
	reading.now_ns = os_now_ns();
	reading.looked = true;
	return reading.now_ns / 1000;
}

uint64_t agent_turn_us(void)
{
	return reading.turns && reading.looked ? reading.now_ns / 1000 : agent_now_us();
}

uint64_t agent_now_ms(void)
{
	return (reading.turns && reading.now_ns != 0 ? reading.now_ns / 1000 : agent_now_us()) /
	       1000;
}

/* ---- later ------------------------------------------------------------------------------- */

void turn_later(struct turn *t, struct later *l)
{
	struct later **at = &t->first;

	if (l->waits)
		return;
	while (*at != NULL)
		at = &(*at)->next;
	l->waits = true;
	l->next = NULL;
	*at = l;
}

void turn_forget(struct turn *t, struct later *l)
{
	struct later **at = &t->first;

	if (!l->waits)
		return;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	l->waits = false;
}

static void run_later(struct turn *t)
{
	struct later *l;

	while ((l = t->first) != NULL) {
		t->first = l->next;
		l->waits = false;
		l->run(l->arg);
	}
}

/* ---- near -------------------------------------------------------------------------------- */

void turn_expects(struct turn *t, struct link *l)
{
	t->awaited = l;
}

void turn_expects_no_more(struct turn *t, const struct link *l)
{
	if (t->awaited == l)
		t->awaited = NULL;
}

/* Until the loop has something to do, or nothing came. Who is handled says whether more is near. */
static void serve_near(struct turn *t, uv_loop_t *loop)
{
	uint64_t since_ns = reading.now_ns; /* 0: nobody has looked yet */

	for (int i = 0; i < NEAR_MESSAGES && t->awaited != NULL; i++) {
		struct link *l = t->awaited;

		t->awaited = NULL;
		reading.looked = false;
		if (uv_backend_timeout(loop) == 0 || !link_take_near(l))
			return;
		run_later(t);
		if (since_ns == 0)
			since_ns = reading.now_ns;
		if (reading.now_ns > since_ns + NEAR_ALL_MS * UINT64_C(1000000))
			return; /* timers may be due: they are counted from the turn's begin */
	}
}

/* ---- the loop's turn --------------------------------------------------------------------- */

static void on_idle(uv_idle_t *h)
{
	(void)h;
}

/* Before the loop waits: not now, if something was done here. What that put off in its turn, to a handle
 * like this one, comes with the next turn only. */
static void on_prepare(uv_prepare_t *h)
{
	struct turn *t = h->data;

	if (t->first != NULL)
		uv_idle_start(&t->idle, on_idle);
	run_later(t);
	reading.turns = true;
	reading.looked = false;
	reading.now_ns = 0;
}

/* Behind its events. */
static void on_check(uv_check_t *h)
{
	struct turn *t = h->data;

	uv_idle_stop(&t->idle);
	run_later(t);
	serve_near(t, h->loop);
}

void turn_start(struct turn *t, uv_loop_t *loop)
{
	uv_prepare_init(loop, &t->prepare);
	uv_check_init(loop, &t->check);
	uv_idle_init(loop, &t->idle);
	t->prepare.data = t->check.data = t;
	uv_prepare_start(&t->prepare, on_prepare);
	uv_check_start(&t->check, on_check);
	uv_unref((uv_handle_t *)&t->prepare);
	uv_unref((uv_handle_t *)&t->check);
	uv_unref((uv_handle_t *)&t->idle);
}

void turn_end(struct turn *t)
{
	uv_close((uv_handle_t *)&t->prepare, NULL);
	uv_close((uv_handle_t *)&t->check, NULL);
	uv_close((uv_handle_t *)&t->idle, NULL);
	reading.turns = false;
}
