/*
 * proto/esp/replay.h - the anti-replay window and extended sequence numbers.
 *
 * RFC 4303 sections 2.2.1, 3.4.3 and appendix A. For each packet call replay_check() before the ICV is
 * computed (with ESN it infers the high half), and replay_update() only if the ICV is right.
 */
#ifndef SAPAIR_PROTO_ESP_REPLAY_H
#define SAPAIR_PROTO_ESP_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#define REPLAY_WINDOW_MAX 4096

struct replay {
	uint64_t top;    /* greatest sequence number seen; 0: none yet */
	uint32_t window; /* packets, a multiple of 32; 32 to REPLAY_WINDOW_MAX */
	bool esn;
	uint32_t *bits; /* window / 32 words, the caller's memory */
};

/* words has replay_words(window) elements and outlives r. */
void replay_init(struct replay *r, uint32_t window, bool esn, uint32_t *words);
/* Words needed for a window of that many packets. */
uint32_t replay_words(uint32_t window);

/* Whether a packet with this low half may be new; *seq is set to the number to authenticate. */
bool replay_check(const struct replay *r, uint32_t low, uint64_t *seq);
/* Marks seq, from replay_check(), as seen. False: it was seen meanwhile. */
bool replay_update(struct replay *r, uint64_t seq);

#endif
