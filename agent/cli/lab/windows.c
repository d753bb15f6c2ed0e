/*
 * agent/cli/lab/windows.c - Windows hosts of a lab, reached through ssh.
 *
 * OpenSSH for Windows has sftp, and cmd or PowerShell as shell. Files are copied by sftp; commands
 * are
 * plain words, which both shells read alike. "labhost" (verbs/labhost_win.c) does the work there,
 * in the
 * directory of its program.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/lab/windows.h"

#include "agent/cli/lab/program.h"
#include "agent/cli/lab/remote.h"
#include "agent/cli/lab/result.h"

#define BATCH_MAX (4u * OS_PATH_MAX + 16u * LAB_WINDOWS_PATH)

static bool to_be_asked(const struct lab_session *r, size_t host)
{
	return lab_session_is_windows(r, host) && lab_session_is_reachable(r, host) &&
	       r->hosts[host].state != HOST_GONE;
}

static bool is_any_to_be_asked(const struct lab_session *r)
{
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (to_be_asked(r, i))
			return true;
	return false;
}

/* ---- batches of sftp --------------------------------------------------------------------- */

struct batch {
	char *text;
	size_t n;
};

static bool begin(struct batch *b)
{
	b->text = calloc(1, BATCH_MAX);
	b->n = 0;
	return b->text != NULL;
}

/* A "-" before a command: failure is ignored. */
static void add(struct batch *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add(struct batch *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(b->text + b->n, BATCH_MAX - b->n, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < BATCH_MAX - b->n)
		b->n += (size_t)n;
}

/* put "FILE HERE" TO */
static void add_put(struct batch *b, const char *file, const char *dir, const char *to)
{
	add(b, "put \"");
	for (; *file != '\0'; file++)
		add(b, *file == '"' || *file == '\\' ? "\\%c" : "%c", *file);
	add(b, "\" %s/%s\n", dir, to);
}

/* Windows cannot replace a running program, but can rename it. */
static char *files_for(struct lab_session *r, size_t host, size_t *len)
{
	char dir[LAB_WINDOWS_PATH], bundle[OS_PATH_MAX];
	struct batch b;

	lab_session_windows_dir(dir, r, host, '/');
	if (labfile_bundle_path(bundle, r->dir, r->lab.hosts[host].name, NULL) < 0 || !begin(&b))
		return NULL;
	add(&b, "-mkdir " LAB_WINDOWS_DIR "\n-mkdir " LAB_WINDOWS_DIR "/%s-%s\n-mkdir %s\n",
	    r->lab.name, r->tag, dir);
	if (!r->hosts[host].has_program) {
		add_put(&b, r->exe, dir, "sapair.new");
		add(&b, "-rename %s/sapair.exe %s/sapair.old\n", dir, dir);
		add(&b, "rename %s/sapair.new %s/sapair.exe\n", dir, dir);
	}
	add_put(&b, bundle, dir, "bundle.new");
	*len = b.n;
	return b.text;
}

static char *look_for(struct lab_session *r, size_t host, size_t *len)
{
	char dir[LAB_WINDOWS_PATH];
	struct batch b;

	lab_session_windows_dir(dir, r, host, '/');
	if (!begin(&b))
		return NULL;
	add(&b, "ls -1a %s\n", dir); /* one path per line */
	*len = b.n;
	return b.text;
}

/* "labhost stop" cannot remove its own program. */
static char *removal_of(struct lab_session *r, size_t host, size_t *len)
{
	char dir[LAB_WINDOWS_PATH];
	struct batch b;

	lab_session_windows_dir(dir, r, host, '/');
	if (!begin(&b))
		return NULL;
	for (size_t i = 0; i < 4; i++) {
		static const char *const files[] = {"bundle.new", "sapair.new", "sapair.old",
						    "sapair.exe"};

		add(&b, "-rm %s/%s\n", dir, files[i]);
	}
	add(&b, "rmdir %s\n-rmdir " LAB_WINDOWS_DIR "/%s-%s\n-rmdir " LAB_WINDOWS_DIR "\n", dir,
	    r->lab.name, r->tag);
	*len = b.n;
	return b.text;
}

static int transfer(struct lab_session *r,
		    char *(*batch)(struct lab_session *r, size_t host, size_t *len),
		    bool (*wanted)(const struct lab_session *r, size_t host), uint64_t timeout_ms,
		    struct err *e)
{
	return lab_remote_run(r,
			      &(struct lab_command){.batch = true,
						    .selects = wanted,
						    .input = batch,
						    .must_succeed = true,
						    .parallel = 4,
						    .timeout_ms = timeout_ms},
			      e);
}

/* ---- up ---------------------------------------------------------------------------------- */

static void take_hash(struct parallel_command *j, char *line, size_t len)
{
	size_t host;
	struct lab_session *r = lab_remote_session(j, &host);

	if (len == 2 * SHA256_LEN)
		r->hosts[host].has_program = memcmp(line, r->exe_hash, len) == 0;
}

int lab_windows_copy(struct lab_session *r, uint64_t timeout_ms, struct err *e)
{
	char *image;
	size_t len;
	int rc;

	if (!is_any_to_be_asked(r))
		return 0;
	if (r->exe[0] == '\0') {
		for (size_t i = 0; i < r->lab.n_hosts; i++)
			if (to_be_asked(r, i))
				lab_session_fail(
					r, i, err_exit_status(ERR_USAGE),
					"a Windows host, and there is no sapair.exe to copy: give one with --exe");
		return 0;
	}
	rc = lab_program_read(&image, &len, r->exe_hash, r->exe, e);
	free(image);
	if (rc < 0)
		return -1;
	/* Fails on hosts that have no program yet. */
	if (lab_remote_run(r,
			   &(struct lab_command){.args = "labhost hash",
						 .selects = to_be_asked,
						 .on_line = take_hash,
						 .must_be_reached = true,
						 .parallel = 8,
						 .timeout_ms = timeout_ms},
			   e) < 0)
		return -1;
	return transfer(r, files_for, to_be_asked, 4 * timeout_ms, e);
}

int lab_windows_start(struct lab_session *r, uint64_t timeout_ms, struct err *e)
{
	return lab_remote_run(r,
			      &(struct lab_command){.args = "labhost start",
						    .selects = to_be_asked,
						    .on_line = lab_result_word,
						    .must_succeed = true,
						    .parallel = 8,
						    .timeout_ms = timeout_ms},
			      e);
}

/* ---- down -------------------------------------------------------------------------------- */

static void take_name(struct parallel_command *j, char *line, size_t len)
{
	static const char program[] = "/sapair.exe";
	const size_t n = sizeof program - 1;
	size_t host;
	struct lab_session *r = lab_remote_session(j, &host);

	if (len >= n && memcmp(line + len - n, program, n) == 0)
		r->hosts[host].has_program = true;
	r->hosts[host].has_dir = r->hosts[host].has_dir ||
				 (len > 0 && line[0] == LAB_WINDOWS_DIR[0]);
}

static bool has_program(const struct lab_session *r, size_t host)
{
	return to_be_asked(r, host) && r->hosts[host].has_program;
}

static bool has_dir(const struct lab_session *r, size_t host)
{
	return lab_session_is_windows(r, host) && lab_session_is_reachable(r, host) &&
	       r->hosts[host].has_dir;
}

static int stop_agents(struct lab_session *r, uint64_t timeout_ms, struct err *e)
{
	return lab_remote_run(r,
			      &(struct lab_command){.args = "labhost stop",
						    .selects = has_program,
						    .on_line = lab_result_word,
						    .must_succeed = true,
						    .parallel = 8,
						    .timeout_ms = timeout_ms},
			      e);
}

int lab_windows_stop(struct lab_session *r, uint64_t timeout_ms, struct err *e)
{
	if (!is_any_to_be_asked(r))
		return 0;
	if (lab_remote_run(r,
			   &(struct lab_command){.batch = true,
						 .selects = to_be_asked,
						 .input = look_for,
						 .on_line = take_name,
						 .must_be_reached = true,
						 .parallel = 8,
						 .timeout_ms = timeout_ms},
			   e) < 0 ||
	    stop_agents(r, timeout_ms, e) < 0 ||
	    transfer(r, removal_of, has_dir, timeout_ms, e) < 0)
		return -1;
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (to_be_asked(r, i))
			r->hosts[i].state = HOST_GONE;
	return 0;
}
