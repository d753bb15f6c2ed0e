/*
 * agent/cli/lab/fleet.c - processes on a loop of their own.
 */
#include "agent/cli/lab/fleet.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#define LINE_MAX_ (4u * 1024u * 1024u) /* status of a lab host's peers is far less */
#define FIRST_ROOM 4096

struct fleet;

/* What one running command needs beside its job. */
struct run {
	struct fleet *fleet;
	struct fleet_job *job;
	uv_process_t process;
	uv_pipe_t in, out, err;
	uv_timer_t timer;
	uv_write_t write;
	unsigned handles; /* that are not closed yet */
	char *buf;        /* of stdout: what is no whole line yet */
	size_t have, size;
};

struct fleet {
	uv_loop_t loop;
	struct fleet_job *jobs;
	size_t n, next, running;
	unsigned parallel;
	uint64_t timeout_ms;
};

static void begin_next(struct fleet *f);

/* ---- the end of one -------------------------------------------------------------------- */

static void on_closed(uv_handle_t *h)
{
	struct run *r = h->data;
	struct fleet *f = r->fleet;

	if (--r->handles > 0)
		return;
	r->job->over = true;
	free(r->buf);
	free(r);
	f->running--;
	begin_next(f);
}

static void close_one(void *h)
{
	if (!uv_is_closing(h))
		uv_close(h, on_closed);
}

static void on_exit_(uv_process_t *p, int64_t status, int signal_number)
{
	struct run *r = p->data;

	r->job->status = signal_number != 0 ? 128 + signal_number : (int)status;
	close_one(&r->process);
	close_one(&r->timer);
	close_one(&r->in);
	/* The output pipes are closed at their ends: a child in the background must not hold us. */
	if (r->job->late) {
		close_one(&r->out);
		close_one(&r->err);
	}
}

static void on_late(uv_timer_t *t)
{
	struct run *r = t->data;

	r->job->late = true;
	uv_process_kill(&r->process, SIGTERM);
}

/* ---- output ---------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *h, size_t wish, uv_buf_t *buf)
{
	static char room[65536]; /* used up before the next read */

	(void)h;
	(void)wish;
	*buf = uv_buf_init(room, sizeof room);
}

static bool keep(struct run *r, const char *data, size_t n)
{
	if (r->have + n + 1 > r->size) {
		size_t size = r->size == 0 ? FIRST_ROOM : r->size;
		char *grown;

		while (size < r->have + n + 1)
			size *= 2;
		grown = size <= LINE_MAX_ ? realloc(r->buf, size) : NULL;
		if (grown == NULL)
			return false;
		r->buf = grown;
		r->size = size;
	}
	memcpy(r->buf + r->have, data, n);
	r->have += n;
	return true;
}

static void take_lines(struct run *r)
{
	size_t start = 0;
	char *nl;

	while (r->have > start && (nl = memchr(r->buf + start, '\n', r->have - start)) != NULL) {
		*nl = '\0';
		r->job->line(r->job, r->buf + start, (size_t)(nl - r->buf) - start);
		start = (size_t)(nl - r->buf) + 1;
	}
	r->have -= start;
	if (start > 0)
		memmove(r->buf, r->buf + start, r->have);
}

static void on_out(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct run *r = s->data;

	if (n > 0 && r->job->line != NULL && keep(r, buf->base, (size_t)n))
		take_lines(r);
	if (n < 0)
		close_one(s);
}

static void on_err(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct run *r = s->data;
	struct fleet_job *j = r->job;

	for (ssize_t i = 0; i < n && j->err_len + 1 < sizeof j->err; i++)
		j->err[j->err_len++] = buf->base[i];
	j->err[j->err_len] = '\0';
	if (n < 0)
		close_one(s);
}

static void on_written(uv_write_t *w, int status)
{
	struct run *r = w->data;

	(void)status; /* who does not read says why by its exit status */
	close_one(&r->in);
}

/* ---- the beginning of one -------------------------------------------------------------- */

static int spawn(struct run *r)
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
		.file = r->job->argv[0],
		.args = (char **)(uintptr_t)r->job->argv, /* which libuv does not change */
		.stdio = stdio,
		.stdio_count = 3,
		.exit_cb = on_exit_,
	};

	return uv_spawn(&r->fleet->loop, &r->process, &o);
}

static void begin(struct fleet *f, struct fleet_job *j)
{
	struct run *r = calloc(1, sizeof *r);
	uv_buf_t input = uv_buf_init((char *)(uintptr_t)(j->input != NULL ? j->input : ""),
				     (unsigned)j->input_len);
	int rc;

	if (r == NULL) {
		snprintf(j->err, sizeof j->err, "no memory");
		j->over = true;
		return;
	}
	f->running++;
	r->fleet = f;
	r->job = j;
	uv_pipe_init(&f->loop, &r->in, 0);
	uv_pipe_init(&f->loop, &r->out, 0);
	uv_pipe_init(&f->loop, &r->err, 0);
	uv_timer_init(&f->loop, &r->timer);
	r->process.data = r->in.data = r->out.data = r->err.data = r->timer.data = r->write.data =
		r;
	r->handles = 5;
	rc = spawn(r);
	if (rc != 0) {
		snprintf(j->err, sizeof j->err, "%s: %s", j->argv[0], uv_strerror(rc));
		j->status = 127;
		close_one(&r->process);
		close_one(&r->in);
		close_one(&r->out);
		close_one(&r->err);
		close_one(&r->timer);
		return;
	}
	j->started = true;
	uv_read_start((uv_stream_t *)&r->out, on_alloc, on_out);
	uv_read_start((uv_stream_t *)&r->err, on_alloc, on_err);
	if (f->timeout_ms != 0)
		uv_timer_start(&r->timer, on_late, f->timeout_ms, 0);
	if (j->input == NULL ||
	    uv_write(&r->write, (uv_stream_t *)&r->in, &input, 1, on_written) != 0)
		close_one(&r->in);
}

static void begin_next(struct fleet *f)
{
	while (f->running < f->parallel && f->next < f->n)
		begin(f, &f->jobs[f->next++]);
}

int fleet_run(struct fleet_job *jobs, size_t n, unsigned parallel, uint64_t timeout_ms,
	      struct err *e)
{
	struct fleet *f = calloc(1, sizeof *f);
	int rc;

	if (f == NULL)
		return err_set(e, ERR_BUG, "no memory for %zu commands", n);
	rc = uv_loop_init(&f->loop);
	if (rc != 0) {
		free(f);
		return err_set(e, ERR_OS, "an event loop: %s", uv_strerror(rc));
	}
	f->jobs = jobs;
	f->n = n;
	f->parallel = parallel > 0 ? parallel : 1;
	f->timeout_ms = timeout_ms;
	for (size_t i = 0; i < n; i++) {
		jobs[i].started = jobs[i].over = jobs[i].late = false;
		jobs[i].status = 0;
		jobs[i].err[0] = '\0';
		jobs[i].err_len = 0;
	}
	begin_next(f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	uv_loop_close(&f->loop);
	free(f);
	return 0;
}

const char *fleet_last_line(struct fleet_job *j)
{
	char *last;

	while (j->err_len > 0 && strchr("\r\n ", j->err[j->err_len - 1]) != NULL)
		j->err[--j->err_len] = '\0';
	last = strrchr(j->err, '\n');
	return last != NULL ? last + 1 : j->err;
}

bool fleet_quote(char *out, size_t size, const char *text)
{
	size_t n = 0;

	if (size < 3)
		return false;
	out[n++] = '\'';
	for (; *text != '\0'; text++) {
		size_t need = *text == '\'' ? 4 : 1;

		if (n + need + 2 > size)
			return false;
		if (*text == '\'')
			memcpy(out + n, "'\\''", 4);
		else
			out[n] = *text;
		n += need;
	}
	out[n++] = '\'';
	out[n] = '\0';
	return true;
}
