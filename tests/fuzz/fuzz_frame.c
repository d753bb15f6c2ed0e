/*
 * proto/wire/frame: any stream, split into any pieces, gives the same frames as byte by byte.
 *
 *     u8 piece | stream
 */
#include "crypto/random.h"
#include "proto/wire/frame.h"
#include "tests/fuzz/fuzz.h"

struct seen {
	size_t frames, bytes;
	uint32_t sum;
	bool lost;
};

static void take_frame(struct frame_reader *r, struct seen *seen)
{
	size_t len;
	const char *body = frame_body(r, &len);

	if (body == NULL)
		return;
	MUST(len >= 1 && len <= FRAME_MAX && body[len] == '\0');
	for (size_t i = 0; i < len; i++)
		seen->sum = seen->sum * 31 + (uint8_t)body[i];
	seen->frames++;
	seen->bytes += len;
	frame_done(r);
	MUST(r->head_have == 0 && frame_body(r, &len) == NULL);
}

static struct seen run(const uint8_t *data, size_t size, size_t piece)
{
	struct frame_reader r = {0};
	struct seen seen = {0};
	size_t took;

	while (size > 0 && !seen.lost) {
		struct err e = {0};
		size_t n = piece < size ? piece : size;

		if (frame_feed(&r, data, n, &took, &e) < 0) {
			MUST(e.code == ERR_REFUSED && e.cause[0] != '\0');
			seen.lost = true;
			break;
		}
		MUST(took <= n && took > 0);
		data += took;
		size -= took;
		take_frame(&r, &seen);
	}
	frame_done(&r);
	return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole, pieces, bytes;

	if (size < 1)
		return 0;
	whole = run(data + 1, size - 1, size);
	pieces = run(data + 1, size - 1, 1u + data[0]);
	bytes = run(data + 1, size - 1, 1);
	MUST(whole.frames == bytes.frames && whole.bytes == bytes.bytes);
	MUST(whole.sum == bytes.sum && whole.lost == bytes.lost);
	MUST(pieces.frames == bytes.frames && pieces.sum == bytes.sum);
	MUST(pieces.lost == bytes.lost);
	return 0;
}
