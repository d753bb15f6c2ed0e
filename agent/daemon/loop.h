/*
 * agent/daemon/loop.h - the event loop: deferred calls and the clock.
 */
#ifndef SAPAIR_AGENT_DAEMON_LOOP_H
#define SAPAIR_AGENT_DAEMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Deferred call. The caller owns the storage, and fills in run and arg. */
struct deferred {
	struct deferred *next;
	void (*run)(void *arg);
	void *arg;
	bool is_queued;
};

/* One for each agent. All calls on the loop's thread. */
struct loop {
	uv_loop_t uv;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle; /* active: the loop does not wait for events */
	struct deferred *first;
};

/* 0, or libuv's error: then nothing is open. The handles do not keep the loop alive. */
int loop_open(struct loop *l);
/* Runs until no handle is active. */
void loop_run(struct loop *l);
/* Runs the close callbacks that are due; whatever is still open afterwards is leaked. */
void loop_close(struct loop *l);

/*
 * Calls d->run once: after the events of this iteration, in the order of the calls of loop_defer().
 * No effect on a call that is queued already.
 */
void loop_defer(struct loop *l, struct deferred *d);
/* Takes it out of the queue; no effect if it is not in it. */
void loop_cancel(struct loop *l, struct deferred *d);

/*
 * A clock that never steps back and, where the system can, goes on during suspend. Each call reads
 * the system's clock (os_now_ns()): microseconds are exact, two calls in one callback may differ.
 * Not that of libuv's timers: a timer may expire up to a millisecond early by this clock.
 */
uint64_t loop_now_us(void);
uint64_t loop_now_ms(void);

#endif
