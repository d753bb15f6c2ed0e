/* agent/daemon/loop: deferred calls run once and in order; deadlines expire once, and not too early. */
#include "agent/daemon/loop.h"
#include "tests/t.h"

#include <string.h>

static struct loop loop;
static uint64_t first_ms;
static uv_timer_t keep; /* a loop without an active handle does not iterate */
static char order[16];

struct task {
	struct deferred deferred;
	char name;
	struct task *next; /* deferred by this one */
};

static void run(void *arg)
{
	struct task *t = arg;
	size_t n = strlen(order);

	order[n] = t->name;
	order[n + 1] = '\0';
	if (t->next != NULL)
		loop_defer(&loop, &t->next->deferred);
}

static void on_keep(uv_timer_t *t)
{
	(void)t;
}

static void begin(void)
{
	order[0] = '\0';
	CHECK(loop_open(&loop) == 0);
	uv_timer_init(&loop.uv, &keep);
	uv_timer_start(&keep, on_keep, 60000, 0);
}

static void end(void)
{
	uv_close((uv_handle_t *)&keep, NULL);
	loop_run(&loop);
	loop_close(&loop);
}

static void deferred_calls_run_once_in_order_and_with_those_that_they_defer(void)
{
	struct task c = {{.run = run, .arg = &c}, 'c', NULL},
		    a = {{.run = run, .arg = &a}, 'a', &c},
		    b = {{.run = run, .arg = &b}, 'b', NULL};

	begin();
	loop_defer(&loop, &a.deferred);
	loop_defer(&loop, &b.deferred);
	loop_defer(&loop, &a.deferred);
	CHECK_STR(order, "");
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	CHECK_STR(order, "abc");
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	CHECK_STR(order, "abc");
	loop_defer(&loop, &a.deferred); /* again, after it has run */
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	CHECK_STR(order, "abcac");
	end();
}

static void a_cancelled_call_does_not_run(void)
{
	struct task a = {{.run = run, .arg = &a}, 'a', NULL},
		    b = {{.run = run, .arg = &b}, 'b', NULL},
		    c = {{.run = run, .arg = &c}, 'c', NULL};

	begin();
	loop_cancel(&loop, &a.deferred); /* was not deferred at all */
	loop_defer(&loop, &a.deferred);
	loop_defer(&loop, &b.deferred);
	loop_defer(&loop, &c.deferred);
	loop_cancel(&loop, &b.deferred);
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	CHECK_STR(order, "ac");
	loop_defer(&loop, &c.deferred);
	loop_cancel(&loop, &c.deferred);
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	CHECK_STR(order, "ac");
	end();
}

static struct task from_timer = {{.run = run, .arg = &from_timer}, 't', NULL};

static void on_timer(uv_timer_t *t)
{
	loop_defer(&loop, &from_timer.deferred);
	uv_close((uv_handle_t *)t, NULL);
	uv_stop(&loop.uv);
}

static void a_call_that_a_timer_defers_runs_in_the_same_iteration(void)
{
	uv_timer_t t;

	begin();
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	uv_timer_init(&loop.uv, &t);
	uv_timer_start(&t, on_timer, 1, 0);
	loop_run(&loop);
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	CHECK_STR(order, "t");
	end();
}

static struct deadlines set;
static struct deadline first, second;

static void on_first(void *arg)
{
	CHECK_U64(first.at_ms, 0); /* cleared before the call */
	CHECK(loop_now_ms() >= first_ms);
	run(arg);
}

static void on_second(void *arg)
{
	run(arg);
	deadline_set(&second, strlen(order) < 4 ? loop_now_ms() : 0);
}

static void on_set_closed(uv_handle_t *h)
{
	strcat(order, h->data == &set ? "." : "?");
}

static void deadlines_expire_once_and_those_that_are_due_together_in_order(void)
{
	struct task a = {.name = 'a'}, b = {.name = 'b'};

	begin();
	memset(&set, 0, sizeof set);
	deadlines_add(&set, &first, on_first, &a);
	deadlines_add(&set, &second, on_second, &b);
	deadlines_open(&set, &loop);
	first_ms = loop_now_ms() + 20;
	deadline_set(&second, first_ms + 60000);
	deadline_set(&first, first_ms + 60000);
	deadline_set_by(&first, first_ms);
	deadline_set_by(&first, first_ms + 1000); /* later: no effect */
	deadline_set(&second, first_ms);
	while (strlen(order) < 4)
		uv_run(&loop.uv, UV_RUN_ONCE);
	CHECK_STR(order, "abbb");
	CHECK_U64(second.at_ms, 0);
	deadline_set(&first, loop_now_ms());
	deadlines_clear(&set);
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	CHECK_STR(order, "abbb");
	deadline_set(&first, loop_now_ms());
	deadlines_close(&set, on_set_closed, &set);
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	CHECK_STR(order, "abbb.");
	end();
}

static void the_clock_advances_and_has_one_origin_for_both_units(void)
{
	uint64_t us = loop_now_us(), ms = loop_now_ms();

	CHECK(ms >= us / 1000 && ms < us / 1000 + 1000);
	uv_sleep(2);
	CHECK(loop_now_us() >= us + 1000);
}

T_MAIN(T(deferred_calls_run_once_in_order_and_with_those_that_they_defer),
       T(a_cancelled_call_does_not_run), T(a_call_that_a_timer_defers_runs_in_the_same_iteration),
       T(deadlines_expire_once_and_those_that_are_due_together_in_order),
       T(the_clock_advances_and_has_one_origin_for_both_units))
