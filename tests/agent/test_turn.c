/* agent/daemon/turn: what is put off comes at the end, once; the clock stands still within a turn. */
#include "agent/daemon/loop.h"
#include "tests/t.h"

#include <string.h>

static struct turn turn;
static uv_loop_t loop;
static uv_timer_t keep; /* a loop without anything to wait for does not turn */
static char order[16];

struct job {
	struct later later;
	char name;
	struct job *next; /* that it puts off in turn */
};

static void run(void *arg)
{
	struct job *j = arg;
	size_t n = strlen(order);

	order[n] = j->name;
	order[n + 1] = '\0';
	if (j->next != NULL)
		turn_later(&turn, &j->next->later);
}

static void on_keep(uv_timer_t *t)
{
	(void)t;
}

static void begin(void)
{
	order[0] = '\0';
	memset(&turn, 0, sizeof turn);
	CHECK(uv_loop_init(&loop) == 0);
	turn_start(&turn, &loop);
	uv_timer_init(&loop, &keep);
	uv_timer_start(&keep, on_keep, 60000, 0);
}

static void end(void)
{
	turn_end(&turn);
	uv_close((uv_handle_t *)&keep, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&loop) == 0);
}

static void what_is_put_off_comes_once_in_order_and_with_what_it_puts_off(void)
{
	struct job c = {{.run = run, .arg = &c}, 'c', NULL}, a = {{.run = run, .arg = &a}, 'a', &c},
		   b = {{.run = run, .arg = &b}, 'b', NULL};

	begin();
	turn_later(&turn, &a.later);
	turn_later(&turn, &b.later);
	turn_later(&turn, &a.later);
	CHECK_STR(order, "");
	uv_run(&loop, UV_RUN_NOWAIT);
	CHECK_STR(order, "abc");
	uv_run(&loop, UV_RUN_NOWAIT);
	CHECK_STR(order, "abc");
	turn_later(&turn, &a.later); /* again, when it has run */
	uv_run(&loop, UV_RUN_NOWAIT);
	CHECK_STR(order, "abcac");
	end();
}

static void what_is_forgotten_does_not_come(void)
{
	struct job a = {{.run = run, .arg = &a}, 'a', NULL},
		   b = {{.run = run, .arg = &b}, 'b', NULL},
		   c = {{.run = run, .arg = &c}, 'c', NULL};

	begin();
	turn_forget(&turn, &a.later); /* was not put off at all */
	turn_later(&turn, &a.later);
	turn_later(&turn, &b.later);
	turn_later(&turn, &c.later);
	turn_forget(&turn, &b.later);
	uv_run(&loop, UV_RUN_NOWAIT);
	CHECK_STR(order, "ac");
	turn_later(&turn, &c.later);
	turn_forget(&turn, &c.later);
	uv_run(&loop, UV_RUN_NOWAIT);
	CHECK_STR(order, "ac");
	end();
}

static uint64_t first_us, second_us, looked_us, last_us;

static void on_timer(uv_timer_t *t)
{
	(void)t;
	first_us = agent_turn_us();
	uv_sleep(3);
	second_us = agent_turn_us();
	looked_us = agent_now_us();
	last_us = agent_turn_us();
	uv_close((uv_handle_t *)t, NULL);
	uv_stop(&loop);
}

static void the_clock_stands_still_within_a_turn_unless_somebody_looks(void)
{
	uint64_t outside;
	uv_timer_t t;

	begin();
	uv_run(&loop, UV_RUN_NOWAIT); /* before its first turn a loop may already run timers */
	uv_timer_init(&loop, &t);
	uv_timer_start(&t, on_timer, 1, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(first_us != 0);
	CHECK_U64(second_us, first_us);
	CHECK(looked_us >= first_us + 2000);
	CHECK_U64(last_us, looked_us);
	end();
	outside = agent_turn_us(); /* no loop: each call looks */
	uv_sleep(2);
	CHECK(agent_turn_us() > outside);
}

T_MAIN(T(what_is_put_off_comes_once_in_order_and_with_what_it_puts_off),
       T(what_is_forgotten_does_not_come),
       T(the_clock_stands_still_within_a_turn_unless_somebody_looks))
