/* proto/wire/frame: any split of the stream gives the same frames; bad lengths are refused at once. */
#include "proto/wire/frame.h"
#include "tests/t.h"

static struct err e;

/* Feeds all bytes, as the link does, and checks each frame. */
static bool feed_all(struct frame_reader *r, const uint8_t *p, size_t n, char *seen)
{
	while (n > 0) {
		const char *body;
		size_t took, len;

		if (frame_feed(r, p, n, &took, &e) < 0)
			return false;
		p += took;
		n -= took;
		body = frame_body(r, &len);
		if (body != NULL) {
			CHECK_U64(strlen(body), len); /* followed by a NUL */
			strcat(strcat(seen, body), "|");
			frame_done(r);
		} else if (!CHECK(took > 0)) {
			return false;
		}
	}
	return true;
}

static void frames_do_not_depend_on_how_the_stream_is_split(void)
{
	static const uint8_t wire[] = "\0\0\0\5hello\0\0\0\1x\0\0\0\3end";
	size_t n = sizeof wire - 1;

	for (size_t a = 0; a <= n; a++)
		for (size_t b = a; b <= n; b++) {
			struct frame_reader r = {0};
			char seen[64] = "";

			CHECK(feed_all(&r, wire, a, seen));
			CHECK(feed_all(&r, wire + a, b - a, seen));
			CHECK(feed_all(&r, wire + b, n - b, seen));
			CHECK_STR(seen, "hello|x|end|");
			CHECK(r.head_have == 0);
			frame_done(&r);
		}
}

static void nothing_is_read_beyond_a_complete_frame(void)
{
	static const uint8_t wire[] = "\0\0\0\2{}\0\0\0\1x";
	struct frame_reader r = {0};
	size_t took, len;

	CHECK(frame_feed(&r, wire, sizeof wire - 1, &took, &e) == 0);
	CHECK_U64(took, 6);
	CHECK_STR(frame_body(&r, &len), "{}");
	CHECK(frame_feed(&r, wire + 6, 5, &took, &e) == 0);
	CHECK_U64(took, 0);
	CHECK(r.head_have > 0);
	frame_done(&r);
	CHECK(r.head_have == 0 && frame_body(&r, &len) == NULL);
	CHECK(frame_feed(&r, wire + 6, 5, &took, &e) == 0);
	CHECK_U64(took, 5);
	CHECK_STR(frame_body(&r, &len), "x");
	frame_done(&r);
}

static void bad_lengths_are_refused_and_stay_refused(void)
{
	static const struct {
		const char *head, *cause;
	} rows[] = {
		{"\0\0\0\0", "a frame of 0 bytes; 1 to 16384 are allowed"},
		{"\0\0\x40\1", "a frame of 16385 bytes; 1 to 16384 are allowed"},
		{"\0\1\0\0", "a frame of 65536 bytes; 1 to 16384 are allowed"},
		{"\xff\xff\xff\xff", "a frame of 4294967295 bytes; 1 to 16384 are allowed"},
		{"GET ", "a frame of 1195725856 bytes; 1 to 16384 are allowed"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const uint8_t *head = (const uint8_t *)rows[i].head;
		struct frame_reader r = {0};
		size_t took, len;

		CHECK(frame_feed(&r, head, 3, &took, &e) == 0);
		CHECK(frame_feed(&r, head + 3, 1, &took, &e) == -1);
		CHECK(e.code == ERR_REFUSED);
		CHECK_STR(e.cause, rows[i].cause);
		CHECK(r.body == NULL && frame_body(&r, &len) == NULL);
		CHECK(frame_feed(&r, (const uint8_t *)"\0\0\0\1x", 5, &took, &e) == -1);
		frame_done(&r);
	}
}

static void the_longest_frame_is_accepted(void)
{
	static uint8_t wire[FRAME_HEAD + FRAME_MAX];
	struct frame_reader r = {0};
	size_t took, len;

	frame_put_head(wire, FRAME_MAX);
	CHECK_MEM(wire, "\0\0\x40\0", 4);
	memset(wire + FRAME_HEAD, 'x', FRAME_MAX);
	CHECK(frame_feed(&r, wire, sizeof wire, &took, &e) == 0);
	CHECK_U64(took, sizeof wire);
	CHECK(frame_body(&r, &len) != NULL);
	CHECK_U64(len, FRAME_MAX);
	CHECK_U64(strlen(frame_body(&r, &len)), FRAME_MAX);
	frame_done(&r);
}

static void an_idle_reader_holds_no_memory(void)
{
	struct frame_reader r = {0};
	size_t took;

	CHECK(r.head_have == 0 && r.body == NULL);
	frame_feed(&r, (const uint8_t *)"\0\0\0", 3, &took, &e);
	CHECK(r.head_have > 0 && r.body == NULL);
	frame_feed(&r, (const uint8_t *)"\2{}", 3, &took, &e);
	CHECK(r.body != NULL);
	frame_done(&r);
	CHECK(r.head_have == 0 && r.body == NULL);
	CHECK(frame_feed(&r, NULL, 0, &took, &e) == 0 && took == 0);
	frame_done(&r);
	frame_done(&r);
}

static void done_and_free_wipe_the_body(void)
{
	if (t_memory_is_checked()) {
		SKIP("this tool reports reads of freed memory");
		return;
	}
	for (int half = 0; half < 2; half++) {
		uint8_t wire[FRAME_HEAD + 100];
		struct frame_reader r = {0};
		const volatile uint8_t *p;
		size_t took;

		frame_put_head(wire, 100);
		memset(wire + FRAME_HEAD, 'k', 100);
		frame_feed(&r, wire, half ? 80 : 104, &took, &e);
		p = r.body;
		CHECK(p[50] == 'k');
		if (half)
			frame_done(&r);
		else
			frame_done(&r);
		for (size_t i = 16; i < 100; i++) /* the allocator overwrites the first bytes */
			CHECK(p[i] == 0);
	}
}

T_MAIN(T(frames_do_not_depend_on_how_the_stream_is_split),
       T(nothing_is_read_beyond_a_complete_frame), T(bad_lengths_are_refused_and_stay_refused),
       T(the_longest_frame_is_accepted), T(an_idle_reader_holds_no_memory),
       T(done_and_free_wipe_the_body))
