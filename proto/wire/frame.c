/*
 * proto/wire/frame.c - frames: a length, and that many bytes.
 */
#include "proto/wire/frame.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/bytes.h"
#include "crypto/secret.h"

/* Allocates the body by the length in the head; NULL and e on failure. */
static uint8_t *new_body(struct frame_reader *r, struct err *e)
{
	r->len = (uint32_t)be_get(r->head, FRAME_HEAD);
	r->have = 0;
	if (r->len == 0 || r->len > FRAME_MAX) {
		err_set(e, ERR_REFUSED, "a frame of %u bytes; 1 to %u are allowed",
			(unsigned)r->len, FRAME_MAX);
		return NULL;
	}
	r->body = malloc(r->len + 1);
	if (r->body == NULL)
		err_set(e, ERR_BUG, "no memory for a frame");
	return r->body;
}

int frame_feed(struct frame_reader *r, const uint8_t *src, size_t n, size_t *took, struct err *e)
{
	size_t i = 0, part;

	*took = 0;
	while (r->head_have < FRAME_HEAD && i < n)
		r->head[r->head_have++] = src[i++];
	*took = i;
	if (r->head_have < FRAME_HEAD)
		return 0;
	/* An invalid head is kept, so that later calls fail as well. */
	if (r->body == NULL && new_body(r, e) == NULL)
		return -1;

	part = r->len - r->have < n - i ? r->len - r->have : n - i;
	if (part > 0)
		memcpy(r->body + r->have, src + i, part);
	r->have += (uint32_t)part;
	r->body[r->have] = '\0';
	*took = i + part;
	return 0;
}

const char *frame_body(const struct frame_reader *r, size_t *len)
{
	if (r->body == NULL || r->have < r->len)
		return NULL;
	*len = r->len;
	return (const char *)r->body;
}

void frame_done(struct frame_reader *r)
{
	if (r->body != NULL)
		wipe(r->body, r->len + 1);
	free(r->body);
	memset(r, 0, sizeof *r);
}

void frame_put_head(uint8_t head[FRAME_HEAD], uint32_t len)
{
	be_put(head, len, FRAME_HEAD);
}
