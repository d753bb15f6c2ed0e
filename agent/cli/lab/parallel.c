/*
 * agent/cli/lab/parallel.c - runs child processes on an event loop of its own.
 */
#include "agent/cli/lab/parallel.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#define LINE_SIZE_MAX (4u * 1024u * 1024u)
#define FIRST_SIZE 4096

struct pool;

/* A running command. */
struct child {
	struct pool *pool;
	struct parallel_command *command;
	uv_process_t process;
	uv_pipe_t in, out, err;
	uv_timer_t timer;
	uv_write_t write;
	unsigned handles; /* not closed yet */
	char *buf;        /* an incomplete line of stdout */
	size_t have, size;
};

struct pool {
	uv_loop_t loop;
	struct parallel_command *commands;
	size_t n, next, running;
	unsigned parallel;
	uint64_t timeout_ms;
};

static void start_next(struct pool *p);

/* ---- end of a child -------------------------------------------------------------------- */

static void on_closed(uv_handle_t *h)
{
	struct child *r = h->data;
	struct pool *p = r->pool;

	if (--r->handles > 0)
		return;
	free(r->buf);
	free(r);
	p->running--;
	start_next(p);
}

static void close_one(void *h)
{
	if (!uv_is_closing(h))
		uv_close(h, on_closed);
}

static void close_output(struct child *r)
{
	close_one(&r->out);
	close_one(&r->err);
}

static void end_child(struct child *r, int status)
{
	r->command->status = status;
	close_one(&r->process);
	close_one(&r->timer);
	close_one(&r->in);
}

static void on_exit_(uv_process_t *p, int64_t status, int signal_number)
{
	struct child *r = p->data;

	end_child(r, signal_number != 0 ? 128 + signal_number : (int)status);
	/* The output pipes close at end of file, except after a kill: a grandchild may keep them
	 * open. */
	if (r->command->timed_out)
		close_output(r);
}

static void on_timeout(uv_timer_t *t)
{
	struct child *r = t->data;

	r->command->timed_out = true;
	uv_process_kill(&r->process, SIGTERM);
}

/* ---- output ---------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *h, size_t wish, uv_buf_t *buf)
{
	static char room[65536]; /* consumed before the next read */

	(void)h;
	(void)wish;
	*buf = uv_buf_init(room, sizeof room);
}

static bool append(struct child *r, const char *data, size_t n)
{
	if (r->have + n + 1 > r->size) {
		size_t size = r->size == 0 ? FIRST_SIZE : r->size;
		char *grown;

		while (size < r->have + n + 1)
			size *= 2;
		grown = size <= LINE_SIZE_MAX ? realloc(r->buf, size) : NULL;
		if (grown == NULL)
			return false;
		r->buf = grown;
		r->size = size;
	}
	memcpy(r->buf + r->have, data, n);
	r->have += n;
	return true;
}

static void read_lines(struct child *r)
{
	size_t start = 0;
	char *nl;

	while (r->have > start && (nl = memchr(r->buf + start, '\n', r->have - start)) != NULL) {
		*nl = '\0';
		r->command->on_line(r->command, r->buf + start, (size_t)(nl - r->buf) - start);
		start = (size_t)(nl - r->buf) + 1;
	}
	r->have -= start;
	if (start > 0)
		memmove(r->buf, r->buf + start, r->have);
}

static void on_out(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct child *r = s->data;

	if (n > 0 && r->command->on_line != NULL && append(r, buf->base, (size_t)n))
		read_lines(r);
	if (n < 0)
		close_one(s);
}

static void on_err(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct child *r = s->data;
	struct parallel_command *c = r->command;

	for (ssize_t i = 0; i < n && c->err_len + 1 < sizeof c->err; i++)
		c->err[c->err_len++] = buf->base[i];
	c->err[c->err_len] = '\0';
	if (n < 0)
		close_one(s);
}

static void on_written(uv_write_t *w, int status)
{
	struct child *r = w->data;

	(void)status; /* a command that does not read its stdin fails by its exit status */
	close_one(&r->in);
}

/* ---- start of a child ------------------------------------------------------------------ */

static int spawn(struct child *r)
{
	uv_stdio_container_t stdio[3] = {
		{.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_READABLE_PIPE),
		 .data.stream = (uv_stream_t *)&r->in},
		{.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_WRITABLE_PIPE),
		 .data.stream = (uv_stream_t *)&r->out},
		{.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_WRITABLE_PIPE),
		 .data.stream = (uv_stream_t *)&r->err},
	};
	uv_process_options_t o = {
		.file = r->command->argv[0],
		.args = (char **)(uintptr_t)r->command->argv, /* which libuv does not change */
		.stdio = stdio,
		.stdio_count = 3,
		.exit_cb = on_exit_,
	};

	return uv_spawn(&r->pool->loop, &r->process, &o);
}

static void start(struct pool *p, struct parallel_command *c)
{
	struct child *r = calloc(1, sizeof *r);
	uv_buf_t input = uv_buf_init((char *)(uintptr_t)(c->input != NULL ? c->input : ""),
				     (unsigned)c->input_len);
	int rc;

	if (r == NULL) {
		snprintf(c->err, sizeof c->err, "no memory");
		return;
	}
	p->running++;
	r->pool = p;
	r->command = c;
	uv_pipe_init(&p->loop, &r->in, 0);
	uv_pipe_init(&p->loop, &r->out, 0);
	uv_pipe_init(&p->loop, &r->err, 0);
	uv_timer_init(&p->loop, &r->timer);
	r->process.data = r->in.data = r->out.data = r->err.data = r->timer.data = r->write.data =
		r;
	r->handles = 5;
	rc = spawn(r);
	if (rc != 0) {
		snprintf(c->err, sizeof c->err, "%s: %s", c->argv[0], uv_strerror(rc));
		end_child(r, 127);
		close_output(r);
		return;
	}
	c->started = true;
	uv_read_start((uv_stream_t *)&r->out, on_alloc, on_out);
	uv_read_start((uv_stream_t *)&r->err, on_alloc, on_err);
	if (p->timeout_ms != 0)
		uv_timer_start(&r->timer, on_timeout, p->timeout_ms, 0);
	if (c->input == NULL ||
	    uv_write(&r->write, (uv_stream_t *)&r->in, &input, 1, on_written) != 0)
		close_one(&r->in);
}

static void start_next(struct pool *p)
{
	while (p->running < p->parallel && p->next < p->n) {
		struct parallel_command *c = &p->commands[p->next++];

		if (c->argv[0] != NULL)
			start(p, c);
	}
}

int parallel_run(struct parallel_command *commands, size_t n, unsigned parallel,
		 uint64_t timeout_ms, struct err *e)
{
	struct pool *p = calloc(1, sizeof *p);
	int rc;

	if (p == NULL)
		return err_set(e, ERR_BUG, "no memory for %zu commands", n);
	rc = uv_loop_init(&p->loop);
	if (rc != 0) {
		free(p);
		return err_set(e, ERR_OS, "an event loop: %s", uv_strerror(rc));
	}
	p->commands = commands;
	p->n = n;
	p->parallel = parallel > 0 ? parallel : 1;
	p->timeout_ms = timeout_ms;
	for (size_t i = 0; i < n; i++) {
		commands[i].started = commands[i].timed_out = false;
		commands[i].status = 0;
		commands[i].err[0] = '\0';
		commands[i].err_len = 0;
	}
	start_next(p);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	uv_loop_close(&p->loop);
	free(p);
	return 0;
}

void parallel_add_words(struct parallel_command *c, const char *const *words)
{
	size_t n = 0;

	while (c->argv[n] != NULL)
		n++;
	for (; *words != NULL; words++)
		c->argv[n++] = *words;
}

const char *parallel_last_line(struct parallel_command *c)
{
	char *last;

	while (c->err_len > 0 && strchr("\r\n ", c->err[c->err_len - 1]) != NULL)
		c->err[--c->err_len] = '\0';
	last = strrchr(c->err, '\n');
	return last != NULL ? last + 1 : c->err;
}

/* ---- text ------------------------------------------------------------------------------ */

bool parallel_text_init(struct parallel_text *t, size_t size)
{
	*t = (struct parallel_text){.buf = calloc(1, size), .size = size};
	return t->buf != NULL;
}

void parallel_text_add(struct parallel_text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->n, t->size - t->n, fmt, ap);
	va_end(ap);
	t->truncated = t->truncated || n < 0 || (size_t)n >= t->size - t->n;
	if (!t->truncated)
		t->n += (size_t)n;
}

void parallel_text_quote(struct parallel_text *t, const char *text)
{
	parallel_text_add(t, "'");
	for (; *text != '\0'; text++)
		parallel_text_add(t, *text == '\'' ? "'\\%c'" : "%c", *text);
	parallel_text_add(t, "'");
}
