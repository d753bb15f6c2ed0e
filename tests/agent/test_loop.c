/* agent/daemon/loop: deadlines expire once, in order, and not too early. */
#include "agent/daemon/loop.h"
#include "tests/t.h"

#include <string.h>

static uv_loop_t loop;
static uint64_t first_ms;
static uv_timer_t keep; /* a loop without an active handle does not iterate */
static char order[16];

static void run(void *arg)
{
	strncat(order, arg, 1);
}

static void on_keep(uv_timer_t *t)
{
	(void)t;
}

static void begin(void)
{
	order[0] = '\0';
	CHECK(uv_loop_init(&loop) == 0);
	uv_timer_init(&loop, &keep);
	uv_timer_start(&keep, on_keep, 60000, 0);
}

static void end(void)
{
	uv_close((uv_handle_t *)&keep, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&loop) == 0);
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
	char a[] = "a", b[] = "b";

	begin();
	memset(&set, 0, sizeof set);
	deadlines_add(&set, &first, on_first, a);
	deadlines_add(&set, &second, on_second, b);
	deadlines_open(&set, &loop);
	first_ms = loop_now_ms() + 20;
	deadline_set(&second, first_ms + 60000);
	deadline_set(&first, first_ms + 60000);
	deadline_set_by(&first, first_ms);
	deadline_set_by(&first, first_ms + 1000); /* later: no effect */
	deadline_set(&second, first_ms);
	while (strlen(order) < 4)
		uv_run(&loop, UV_RUN_ONCE);
	CHECK_STR(order, "abbb");
	CHECK_U64(second.at_ms, 0);
	deadline_set(&first, loop_now_ms());
	deadlines_clear(&set);
	uv_run(&loop, UV_RUN_NOWAIT);
	CHECK_STR(order, "abbb");
	deadline_set(&first, loop_now_ms());
	deadlines_close(&set, on_set_closed, &set);
	uv_run(&loop, UV_RUN_NOWAIT);
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

static void a_bucket_gives_its_burst_and_then_one_token_in_each_interval(void)
{
	struct bucket b = {0};
	uint64_t wait;

	for (unsigned i = 0; i < 5; i++)
		CHECK(bucket_try(&b, 5, 50000));
	CHECK(!bucket_try(&b, 5, 50000));
	uv_sleep(55);
	CHECK(bucket_try(&b, 5, 50000));
	CHECK(!bucket_try(&b, 5, 50000));
	wait = bucket_take(&b, 5, 50000); /* on credit */
	CHECK(wait > 0 && wait <= 50000);
	wait = bucket_take(&b, 5, 50000);
	CHECK(wait > 50000 && wait <= 100000);
	CHECK(!bucket_try(&b, 5, 50000));
}

T_MAIN(T(deadlines_expire_once_and_those_that_are_due_together_in_order),
       T(the_clock_advances_and_has_one_origin_for_both_units),
       T(a_bucket_gives_its_burst_and_then_one_token_in_each_interval))
