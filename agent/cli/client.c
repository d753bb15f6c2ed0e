/*
 * agent/cli/client.c - connects to the control socket and reads lines.
 */
#include "agent/cli/client.h"

#include <stdlib.h>
#include <string.h>

#include "agent/os/os.h"

#define FIRST_ROOM 16384
#define ROOM_MAX (256u * 1024 * 1024) /* the status of 10,000 peers is 7 MB */

struct client {
	int fd;
	char *buf;
	size_t size, have;
	size_t start,
		seen; /* start of the current line; bytes of it that were searched for a newline */
};

uint64_t client_now_ms(void)
{
	return os_now_ns() / 1000000;
}

int client_open(struct client **c, const char *path, struct err *e)
{
	char usual[OS_PATH_MAX];
	struct client *made = calloc(1, sizeof *made);

	*c = NULL;
	if (made == NULL)
		return err_set(e, ERR_BUG, "no memory");
	if (path == NULL) {
		os_control_path(usual);
		path = usual;
	}
	made->fd = os_control_connect(path, e);
	if (made->fd < 0) {
		free(made);
		return -1;
	}
	*c = made;
	return 0;
}

void client_close(struct client *c)
{
	if (c == NULL)
		return;
	os_control_close(c->fd);
	free(c->buf);
	free(c);
}

int client_send(struct client *c, const struct ctl_request *r, struct err *e)
{
	char line[CTL_LINE_MAX];
	size_t n = ctl_encode(r, line, sizeof line);

	if (n == 0)
		return err_set(e, ERR_BUG, "the request does not fit into %d bytes", CTL_LINE_MAX);
	line[n] = '\n'; /* in the place of the NUL of ctl_encode() */
	return os_control_send(c->fd, line, n + 1, e);
}

static int grow(struct client *c, struct err *e)
{
	size_t size = c->size == 0 ? FIRST_ROOM : 2 * c->size;
	char *buf;

	if (c->start > 0) {
		memmove(c->buf, c->buf + c->start, c->have - c->start);
		c->have -= c->start;
		c->start = 0;
	}
	if (c->have < c->size)
		return 0;
	buf = size <= ROOM_MAX ? realloc(c->buf, size) : NULL;
	if (buf == NULL)
		return err_set(e, ERR_BUG, "the reply has more than %zu bytes", c->have);
	c->buf = buf;
	c->size = size;
	return 0;
}

static int wait_ms(uint64_t deadline_ms)
{
	uint64_t now = client_now_ms();

	if (deadline_ms == 0)
		return -1;
	if (now >= deadline_ms)
		return 0;
	return deadline_ms - now < INT32_MAX ? (int)(deadline_ms - now) : INT32_MAX;
}

int client_line(struct client *c, uint64_t deadline_ms, const char **line, size_t *len,
		struct err *e)
{
	for (;;) {
		size_t unseen = c->have - c->start - c->seen;
		char *from, *nl;
		long n;

		if (unseen > 0) {
			from = c->buf + c->start;
			nl = memchr(from + c->seen, '\n', unseen);
		} else {
			from = nl = NULL;
		}
		if (nl != NULL) {
			*nl = '\0';
			*line = from;
			*len = (size_t)(nl - from);
			c->start += *len + 1;
			c->seen = 0;
			return 1;
		}
		c->seen = c->have - c->start;
		if (c->have == c->size && grow(c, e) < 0)
			return -1;
		n = os_control_recv(c->fd, c->buf + c->have, c->size - c->have,
				    wait_ms(deadline_ms), e);
		if (n <= 0)
			return (int)n;
		c->have += (size_t)n;
	}
}
