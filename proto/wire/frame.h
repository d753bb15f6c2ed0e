/*
 * proto/wire/frame.h - splits a TLS byte stream into messages.
 *
 *     +-----------------+-----------------------------+
 *     | length: u32 BE  | length bytes of UTF-8 JSON  |     1 <= length <= FRAME_MAX
 *     +-----------------+-----------------------------+
 *
 * No I/O, no clock. Memory is allocated only for a frame in progress, so an idle link has none.
 * Frames contain keys: frame_done() wipes them.
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
	uint32_t len;  /* of the body, once the head is complete */
	uint32_t have; /* bytes of body in use */
	uint8_t *body; /* len + 1 bytes, NUL-terminated; NULL while idle */
};

/*
 * Consumes up to n bytes of src, not beyond the end of the current frame; *took is their number (0 of
 * n > 0 only while a complete frame is waiting). -1 and ERR_REFUSED for a length of 0 or above
 * FRAME_MAX: close the link.
 */
int frame_feed(struct frame_reader *r, const uint8_t *src, size_t n, size_t *took, struct err *e);

/* The body of a complete frame, or NULL. NUL-terminated, valid until frame_done(). */
const char *frame_body(const struct frame_reader *r, size_t *len);
/* Wipes and frees the body; the reader is between frames then. */
void frame_done(struct frame_reader *r);

/* Writes the head of a frame with len bytes of body. */
void frame_put_head(uint8_t head[FRAME_HEAD], uint32_t len);

#endif
