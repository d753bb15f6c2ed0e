/*
 * proto/esp/replay.c - the anti-replay window: a ring of bits.
 *
 * The ring is indexed by seq modulo its size and has the bits of (top - window, top]. When top advances,
 * the bits of the numbers passed are cleared.
 */
#include "proto/esp/replay.h"

#include <string.h>

#define WORD 32u

uint32_t replay_words(uint32_t window)
{
	if (window < WORD)
		return 1;
	if (window > REPLAY_WINDOW_MAX)
		window = REPLAY_WINDOW_MAX;
	return (window + WORD - 1) / WORD;
}

void replay_init(struct replay *r, uint32_t window, bool esn, uint32_t *words)
{
	r->top = 0;
	r->window = replay_words(window) * WORD;
	r->esn = esn;
	r->bits = words;
	memset(words, 0, replay_words(window) * sizeof *words);
}

static uint32_t *word_of(const struct replay *r, uint64_t seq)
{
	return &r->bits[seq % r->window / WORD];
}

static uint32_t mask_of(const struct replay *r, uint64_t seq)
{
	return UINT32_C(1) << seq % r->window % WORD;
}

static bool is_new(const struct replay *r, uint64_t seq)
{
	if (seq == 0)
		return false; /* the first packet has number 1 */
	if (seq > r->top)
		return true;
	return r->top - seq < r->window && (*word_of(r, seq) & mask_of(r, seq)) == 0;
}

/*
 * RFC 4303 appendix A2.2: infers the high half from the window. Unlike there, a number below 0 or above
 * 2^64 - 1 is refused before the ICV is checked.
 */
static bool infer(const struct replay *r, uint32_t low, uint64_t *seq)
{
	const uint32_t top_low = (uint32_t)r->top;
	const uint32_t bottom = top_low - (r->window - 1); /* modulo 2^32 */
	uint64_t high = r->top >> 32;

	if (top_low >= r->window - 1) { /* case A: the window lies within one half */
		if (low < bottom) {
			if (high == UINT32_MAX)
				return false;
			high++;
		}
	} else if (low >= bottom) { /* case B: it spans two, and low is in the first */
		if (high == 0)
			return false;
		high--;
	}
	*seq = high << 32 | low;
	return true;
}

bool replay_check(const struct replay *r, uint32_t low, uint64_t *seq)
{
	*seq = low;
	if (r->esn && !infer(r, low, seq))
		return false;
	return is_new(r, *seq);
}

bool replay_update(struct replay *r, uint64_t seq)
{
	if (!is_new(r, seq))
		return false;
	if (seq > r->top) {
		if (seq - r->top >= r->window)
			memset(r->bits, 0, r->window / WORD * sizeof *r->bits);
		else
			for (uint64_t passed = r->top + 1; passed != seq; passed++)
				*word_of(r, passed) &= ~mask_of(r, passed);
		r->top = seq;
	}
	*word_of(r, seq) |= mask_of(r, seq);
	return true;
}
