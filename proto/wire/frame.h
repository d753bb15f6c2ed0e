/*
 * proto/wire/frame.h - cuts a TLS byte stream into messages.
 *
 *     +-----------------+-----------------------------+
 *     | length: u32 BE  | length bytes of UTF-8 JSON  |     1 <= length <= FRAME_MAX
 *     +-----------------+-----------------------------+
 *
 * No I/O, no clock. Memory is taken only while a frame is incomplete: an idle link holds none.
 * Frames carry keys: what was taken is wiped by frame_done(), the rest by frame_free().
 */
#ifndef SAPAIR_PROTO_WIRE_FRAME_H
#define SAPAIR_PROTO_WIRE_FRAME_H

#include "proto/base/err.h"

#include <stdbool.h>

#define FRAME_HEAD 4
#define FRAME_MAX 16384

struct frame_reader {
	uint8_t head[FRAME_HEAD];
	uint8_t head_have;
	uint32_t len;  /* of the body, once the head is whole */
	uint32_t have; /* bytes of body in use */
	uint8_t *body; /* len + 1 bytes, NUL behind; NULL while idle */
};

/*
 * Takes up to n bytes of src, never past the end of the current frame; *took says how many (0 of
 * n > 0 only while a whole frame waits to be taken). -1 and ERR_REFUSED for a length of 0 or
 * over FRAME_MAX: the stream is lost, close the link.
 */
int frame_feed(struct frame_reader *r, const uint8_t *src, size_t n, size_t *took, struct err *e);

/* The waiting body, or NULL. Points into r, NUL behind it, valid until frame_done(). */
const char *frame_body(const struct frame_reader *r, size_t *len);
void frame_done(struct frame_reader *r);
/* True between frames: nothing half read. */
bool frame_idle(const struct frame_reader *r);
void frame_free(struct frame_reader *r);

/* Writes the head of a frame with len bytes of body. */
void frame_put_head(uint8_t head[FRAME_HEAD], uint32_t len);

#endif
