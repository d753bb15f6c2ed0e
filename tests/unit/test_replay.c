/*
 * proto/esp/replay: the cases of RFC 4303 appendix A; any order of packets, compared with a plain set.
 */
#include "proto/esp/replay.h"
#include "tests/t.h"

#define HIGH(h) (UINT64_C(h) << 32)

static uint32_t words[REPLAY_WINDOW_MAX / 32];

static void windows_are_rounded_and_bounded(void)
{
	static const struct {
		uint32_t asked, words;
	} rows[] = {{0, 1},      {1, 1},      {32, 1},     {33, 2},
		    {64, 2},     {65, 3},     {1000, 32},  {1024, 32},
		    {4096, 128}, {4097, 128}, {5000, 128}, {UINT32_MAX, 128}};
	struct replay r;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK_U64(replay_words(rows[i].asked), rows[i].words);
		replay_init(&r, rows[i].asked, false, words);
		CHECK_U64(r.window, 32 * rows[i].words);
	}
}

/* A2.1 and A2.2: the high half is inferred from the low half and the position of the window. */
static void the_high_half_is_inferred(void)
{
	static const struct {
		uint64_t top;
		uint32_t window, low;
		bool accepted; /* only top was seen */
		uint64_t seq;
	} rows[] = {
		/* before the first packet */
		{0, 64, 0, false, 0},
		{0, 64, 1, true, 1},
		{0, 64, 1000, true, 1000},
		{0, 64, UINT32_MAX - 64, true, UINT32_MAX - 64},
		{0, 64, UINT32_MAX - 62, false, 0}, /* would be below 0 */
		{0, 64, UINT32_MAX, false, 0},
		/* case A: the window lies within one half */
		{HIGH(5) | 1000, 64, 1001, true, HIGH(5) | 1001},
		{HIGH(5) | 1000, 64, 1000, false, 0},
		{HIGH(5) | 1000, 64, 999, true, HIGH(5) | 999},
		{HIGH(5) | 1000, 64, 937, true, HIGH(5) | 937}, /* the oldest in the window */
		{HIGH(5) | 1000, 64, 936, true,
		 HIGH(6) | 936}, /* below the window: of the next half */
		{HIGH(5) | 1000, 64, 0, true, HIGH(6)},
		{HIGH(5) | 1000, 64, UINT32_MAX, true, HIGH(5) | UINT32_MAX},
		{HIGH(5) | UINT32_MAX, 64, 0, true, HIGH(6)},
		{HIGH(5) | UINT32_MAX, 64, UINT32_MAX - 63, true, HIGH(5) | (UINT32_MAX - 63)},
		{HIGH(5) | UINT32_MAX, 64, UINT32_MAX - 64, true, HIGH(6) | (UINT32_MAX - 64)},
		/* the boundary of both cases: top equals the size of the window less one */
		{HIGH(5) | 63, 64, 0, true, HIGH(5)},
		{HIGH(5) | 63, 64, UINT32_MAX, true, HIGH(5) | UINT32_MAX},
		{HIGH(5) | 62, 64, UINT32_MAX, true, HIGH(4) | UINT32_MAX},
		/* case B: the window spans two halves */
		{HIGH(5) | 10, 64, 11, true, HIGH(5) | 11},
		{HIGH(5) | 10, 64, 0, true, HIGH(5)},
		{HIGH(5) | 10, 64, UINT32_MAX, true, HIGH(4) | UINT32_MAX},
		{HIGH(5) | 10, 64, UINT32_MAX - 52, true, HIGH(4) | (UINT32_MAX - 52)},
		{HIGH(5) | 10, 64, UINT32_MAX - 53, true, HIGH(5) | (UINT32_MAX - 53)},
		{HIGH(5), 4096, UINT32_MAX - 4094, true, HIGH(4) | (UINT32_MAX - 4094)},
		{HIGH(5), 4096, UINT32_MAX - 4095, true, HIGH(5) | (UINT32_MAX - 4095)},
		/* the last numbers */
		{UINT64_MAX, 64, UINT32_MAX - 1, true, UINT64_MAX - 1},
		{UINT64_MAX, 64, UINT32_MAX, false, 0},
		{UINT64_MAX, 64, 0, false, 0}, /* would be above 2^64 - 1 */
		{UINT64_MAX - 1, 64, UINT32_MAX, true, UINT64_MAX},
	};
	struct replay r;
	uint64_t seq;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		replay_init(&r, rows[i].window, true, words);
		if (rows[i].top != 0)
			CHECK(replay_update(&r, rows[i].top));
		if (!CHECK(replay_check(&r, rows[i].low, &seq) == rows[i].accepted))
			NOTE("row %zu", i);
		if (rows[i].accepted && !CHECK_U64(seq, rows[i].seq))
			NOTE("row %zu", i);
	}
}

static void without_esn_numbers_never_wrap(void)
{
	struct replay r;
	uint64_t seq;

	replay_init(&r, 64, false, words);
	CHECK(!replay_check(&r, 0, &seq));
	CHECK(replay_check(&r, UINT32_MAX, &seq) && seq == UINT32_MAX);
	CHECK(replay_update(&r, UINT32_MAX));
	CHECK(!replay_check(&r, 0, &seq));
	CHECK(!replay_check(&r, 1, &seq));
	CHECK(!replay_check(&r, UINT32_MAX, &seq));
	CHECK(!replay_check(&r, UINT32_MAX - 64, &seq));
	CHECK(replay_check(&r, UINT32_MAX - 63, &seq) && seq == UINT32_MAX - 63);
}

static void a_check_alone_changes_nothing(void)
{
	struct replay r;
	uint64_t seq;

	replay_init(&r, 64, true, words);
	for (int i = 0; i < 3; i++) /* forged packets with a far number */
		CHECK(replay_check(&r, 1000000, &seq));
	CHECK_U64(r.top, 0);
	CHECK(replay_check(&r, 1, &seq) && replay_update(&r, seq));
	CHECK_U64(r.top, 1);
}

static void a_number_is_accepted_once(void)
{
	struct replay r;
	uint64_t seq = 0, again = 0;

	replay_init(&r, 32, false, words);
	CHECK(replay_check(&r, 7, &seq) && replay_check(&r, 7, &again));
	CHECK(replay_update(&r, seq));
	CHECK(!replay_update(&r, again)); /* both were checked before one was marked */
	CHECK(!replay_check(&r, 7, &seq));
}

/* A generator with the same numbers on all systems. */
static uint64_t state;

static uint32_t draw(uint32_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((state >> 33) % below);
}

/*
 * The model: a set of the packets that were seen, from base on. The window must accept exactly the
 * packets that were not seen and are not older than the window.
 */
#define STRETCH 20000

static bool seen[STRETCH];

static void run_against_the_model(uint32_t window, bool esn, uint64_t base)
{
	uint64_t next = 0, top = 0; /* offsets from base; top: of the greatest accepted */
	struct replay r;
	bool any = false;

	memset(seen, 0, sizeof seen);
	replay_init(&r, window, esn, words);
	r.top = base; /* as if base, the number before offset 0, had been accepted */
	for (int i = 0; i < 60000 && next < STRETCH - 6000; i++) {
		uint64_t off, seq = 0, whole;
		bool wanted, taken;

		switch (draw(8)) {
		case 0: /* a jump forward, sometimes beyond the window */
			next += draw(draw(40) == 0 ? 5000 : 50);
			off = next++;
			break;
		case 1:
		case 2: /* a late packet, sometimes too late */
			off = next - draw((uint32_t)(next < 2 * window ? next : 2 * window) + 1);
			break;
		default:
			off = next++;
			break;
		}
		whole = base + 1 + off;
		wanted = !seen[off] && (!any || off + r.window > top);
		taken = replay_check(&r, (uint32_t)whole, &seq) && seq == whole &&
			replay_update(&r, seq);
		if (!CHECK(taken == wanted)) {
			NOTE("window %u, esn %d, base %" PRIu64 ", offset %" PRIu64, window, esn,
			     base, off);
			return;
		}
		if (taken) {
			seen[off] = true;
			if (!any || off > top)
				top = off;
			any = true;
		}
		if (next <= off)
			next = off + 1;
	}
}

static void any_order_gives_the_result_of_a_plain_set(void)
{
	static const uint32_t windows[] = {32, 64, 96, 128, 1000, 1024, 2048, 4096};
	static const uint64_t esn_bases[] = {0,
					     31,
					     HIGH(1) - 9000,
					     HIGH(1) - 1,
					     HIGH(7) - 3000,
					     HIGH(0xffffffff) - 5000,
					     UINT64_MAX - STRETCH};

	for (size_t w = 0; w < sizeof windows / sizeof windows[0]; w++) {
		state = windows[w];
		run_against_the_model(windows[w], false, 0);
		run_against_the_model(windows[w], false, UINT32_MAX - STRETCH);
		for (size_t b = 0; b < sizeof esn_bases / sizeof esn_bases[0]; b++)
			run_against_the_model(windows[w], true, esn_bases[b]);
	}
}

static void nothing_is_written_beyond_the_bits(void)
{
	uint32_t guarded[4] = {0, 0, 0xa5a5a5a5, 0x5a5a5a5a};
	struct replay r;
	uint64_t seq;

	replay_init(&r, 64, true, guarded);
	for (uint32_t low = 1; low < 5000; low += 1 + low % 70)
		CHECK(replay_check(&r, low, &seq) && replay_update(&r, seq));
	CHECK(guarded[2] == 0xa5a5a5a5 && guarded[3] == 0x5a5a5a5a);
}

T_MAIN(T(windows_are_rounded_and_bounded), T(the_high_half_is_inferred),
       T(without_esn_numbers_never_wrap), T(a_check_alone_changes_nothing),
       T(a_number_is_accepted_once), T(any_order_gives_the_result_of_a_plain_set),
       T(nothing_is_written_beyond_the_bits))
