/*
 * agent/daemon/loop.h - deadlines of the event loop, the clock, token buckets.
 */
#ifndef SAPAIR_AGENT_DAEMON_LOOP_H
#define SAPAIR_AGENT_DAEMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Deadline: a call at a time of loop_now_ms(). The caller owns the storage. */
struct deadline {
	struct deadline *next;
	struct deadlines *set;
	uint64_t at_ms; /* 0: not set */
	void (*expired)(void *arg);
	void *arg;
};

/* Deadlines that share one timer of libuv, since most are moved before they come. */
struct deadlines {
	uv_timer_t timer;
	struct deadline *first;
	uint64_t armed_ms; /* when the timer goes off; 0: it is stopped */
};

/* The storage is all zero; deadlines may have been added before, but none may be set. */
void deadlines_open(struct deadlines *s, uv_loop_t *loop);
/* Those that are due at once are called in the order of the calls of deadlines_add(). */
void deadlines_add(struct deadlines *s, struct deadline *d, void (*expired)(void *arg), void *arg);
/* at_ms 0 clears it. It is cleared before expired() is called. */
void deadline_set(struct deadline *d, uint64_t at_ms);
/* Sets it, unless it comes sooner anyway. */
void deadline_set_by(struct deadline *d, uint64_t at_ms);
void deadlines_clear(struct deadlines *s);
/* No deadline comes any more; closed(arg) is called when the storage may be freed. */
void deadlines_close(struct deadlines *s, uv_close_cb closed, void *arg);

/*
 * A clock that never steps back and, where the system can, goes on during suspend. Each call reads
 * the system's clock (os_now_ns()): microseconds are exact, two calls in one callback may differ.
 * Not that of libuv's timers: a timer may expire up to a millisecond early by this clock.
 */
uint64_t loop_now_us(void);
uint64_t loop_now_ms(void);

/*
 * Token bucket: burst at once, then one in every_us. All zero at the start: it is full.
 *
 * bucket_take() takes a token, on credit if there is none: returns how many microseconds to wait before
 * the next, or 0. bucket_try() gives no credit: false, and nothing is taken.
 */
struct bucket {
	uint64_t paid_us; /* time at which all tokens that were taken have been refilled */
};
uint64_t bucket_take(struct bucket *b, uint32_t burst, uint64_t every_us);
bool bucket_try(struct bucket *b, uint32_t burst, uint64_t every_us);

#endif
