/*
 * agent/daemon/loop.h - turns of the loop: their clock, what is put off to their end, and messages
 * that are so near that the loop is not asked for them.
 *
 * A turn of libuv's loop asks for the time twice, and waits for events before it reads any. In the
 * middle of an exchange the peer's next message is a round trip away: it is waited for and read by
 * one system call, still within the turn. All else has to wait meanwhile: for NEAR_MS at most where the
 * peer is slow, and for NEAR_ALL_MS where it is quick and has more and more to say.
 */
#ifndef SAPAIR_AGENT_DAEMON_LOOP_H
#define SAPAIR_AGENT_DAEMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define NEAR_MS 4
#define NEAR_ALL_MS 50   /* as far as somebody looked at the clock meanwhile, */
#define NEAR_MESSAGES 64 /* and anyway */

struct link;

/* Something to do when what runs now has come to its end; its owner's memory. */
struct later {
	struct later *next;
	void (*run)(void *arg);
	void *arg;
	bool waits;
};

/* The agent's; all on the loop's thread. */
struct turn {
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle; /* while it is there, the loop does not wait */
	struct later *first;
	struct link *awaited; /* whose next message is awaited; NULL: none is near */
};

/* The handles do not keep the loop alive. turn_end() closes them: the loop has to run after it. */
void turn_start(struct turn *t, uv_loop_t *loop);
void turn_end(struct turn *t);

/* Once, at the end of the turn or of the message; again before that changes nothing. */
void turn_later(struct turn *t, struct later *l);
/* Not any more; its owner goes. */
void turn_forget(struct turn *t, struct later *l);

/* The peer will say more on this link at once; NULL: no link stands out. */
void turn_expects(struct turn *t, struct link *l);
/* ... or never again: the link closes. */
void turn_expects_no_more(struct turn *t, const struct link *l);

/*
 * A clock that never steps back and goes on while the machine sleeps. agent_now_us() really looks.
 * agent_turn_us() is the last look in this turn, or since the message that was near came.
 * agent_now_ms() is the last look of the turn, however many messages ago: for what counts seconds.
 */
uint64_t agent_now_ms(void);
uint64_t agent_turn_us(void);
uint64_t agent_now_us(void);

#endif
