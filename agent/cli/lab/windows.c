/*
 * agent/cli/lab/windows.c - Windows hosts of a lab, reached through ssh.
 *
 * OpenSSH for Windows has sftp, and cmd or PowerShell as shell. Files are copied by sftp; commands
 * are plain words, which both shells read alike. "labhost" (verbs/labhost_win.c) runs on the host,
 * in the directory of its program.
 */
#include "agent/cli/lab/windows.h"

#include <stdlib.h>
#include <string.h>

#include "agent/cli/lab/query.h"
#include "agent/cli/lab/remote.h"

#define BATCH_MAX (4u * OS_PATH_MAX + 16u * LAB_WINDOWS_PATH)

/* ---- batches of sftp: a "-" before a command ignores its failure ------------------------- */

static char *end_batch(struct parallel_text *t, size_t *len)
{
	*len = t->n;
	return t->buf;
}

/* put "FILE HERE" TO */
static void add_put(struct parallel_text *t, const char *file, const char *dir, const char *to)
{
	parallel_text_add(t, "put \"");
	for (; *file != '\0'; file++)
		parallel_text_add(t, *file == '"' || *file == '\\' ? "\\%c" : "%c", *file);
	parallel_text_add(t, "\" %s/%s\n", dir, to);
}

/* Windows cannot replace a running program, but can rename it. */
static char *write_copy(struct lab_session *r, size_t host, size_t *len)
{
	char dir[LAB_WINDOWS_PATH], bundle[OS_PATH_MAX];
	struct parallel_text t;

	lab_session_windows_dir(dir, r, host, '/');
	if (labfile_bundle_path(bundle, r->dir, r->lab.hosts[host].name, NULL) < 0 ||
	    !parallel_text_init(&t, BATCH_MAX))
		return NULL;
	parallel_text_add(&t,
			  "-mkdir " LAB_WINDOWS_DIR "\n-mkdir " LAB_WINDOWS_DIR
			  "/%s-%s\n-mkdir %s\n",
			  r->lab.name, r->tag, dir);
	if (!r->hosts[host].has_program) {
		add_put(&t, r->exe, dir, "sapair.new");
		parallel_text_add(&t,
				  "-rename %s/sapair.exe %s/sapair.old\n"
				  "rename %s/sapair.new %s/sapair.exe\n",
				  dir, dir, dir, dir);
	}
	add_put(&t, bundle, dir, "bundle.new");
	return end_batch(&t, len);
}

static char *write_list(struct lab_session *r, size_t host, size_t *len)
{
	char dir[LAB_WINDOWS_PATH];
	struct parallel_text t;

	lab_session_windows_dir(dir, r, host, '/');
	if (!parallel_text_init(&t, BATCH_MAX))
		return NULL;
	parallel_text_add(&t, "ls -1a %s\n", dir); /* one path per line */
	return end_batch(&t, len);
}

/* "labhost stop" cannot remove its own program. */
static char *write_removal(struct lab_session *r, size_t host, size_t *len)
{
	static const char *const files[] = {"bundle.new", "sapair.new", "sapair.old", "sapair.exe"};
	char dir[LAB_WINDOWS_PATH];
	struct parallel_text t;

	lab_session_windows_dir(dir, r, host, '/');
	if (!parallel_text_init(&t, BATCH_MAX))
		return NULL;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		parallel_text_add(&t, "-rm %s/%s\n", dir, files[i]);
	parallel_text_add(&t,
			  "rmdir %s\n-rmdir " LAB_WINDOWS_DIR "/%s-%s\n-rmdir " LAB_WINDOWS_DIR
			  "\n",
			  dir, r->lab.name, r->tag);
	return end_batch(&t, len);
}

/* ---- up ---------------------------------------------------------------------------------- */

static void take_hash(struct parallel_command *j, char *line, size_t len)
{
	size_t host;
	struct lab_session *r = lab_remote_session(j, &host);

	if (len == 2 * SHA256_LEN)
		r->hosts[host].has_program = memcmp(line, r->exe_hash, len) == 0;
}

static bool is_asked(const struct lab_session *r, size_t host)
{
	return lab_session_is_windows(r, host) && lab_session_is_reachable(r, host);
}

int lab_windows_copy(struct lab_session *r, struct err *e)
{
	/* Fails on hosts that have no program yet. */
	static const struct lab_command hash = {.args = "labhost hash",
						.windows = true,
						.on_line = take_hash,
						.must_be_reached = true};
	static const struct lab_command copy = {.batch = true,
						.input = write_copy,
						.must_succeed = true,
						.parallel = 4,
						.timeout_ms = 4 * LAB_STEP_MS};
	bool any = false;
	char *image;
	size_t len;
	int rc;

	for (size_t i = 0; i < r->lab.n_hosts; i++) {
		any = any || is_asked(r, i);
		if (is_asked(r, i) && r->exe[0] == '\0')
			lab_session_fail(
				r, i, err_exit_status(ERR_USAGE),
				"a Windows host, and there is no sapair.exe to copy: give one with --exe");
	}
	if (!any || r->exe[0] == '\0')
		return 0;
	rc = labfile_program(&image, &len, r->exe_hash, r->exe, e);
	free(image);
	if (rc < 0 || lab_remote_run(r, &hash, e) < 0)
		return -1;
	return lab_remote_run(r, &copy, e);
}

int lab_windows_start(struct lab_session *r, struct err *e)
{
	static const struct lab_command start = {.args = "labhost start",
						 .windows = true,
						 .on_line = lab_query_word,
						 .must_succeed = true};

	return lab_remote_run(r, &start, e);
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
	return r->hosts[host].has_program;
}

static bool has_dir(const struct lab_session *r, size_t host)
{
	return r->hosts[host].has_dir;
}

int lab_windows_stop(struct lab_session *r, struct err *e)
{
	static const struct lab_command list = {.batch = true,
						.input = write_list,
						.on_line = take_name,
						.must_be_reached = true};
	static const struct lab_command stop = {.args = "labhost stop",
						.windows = true,
						.selects = has_program,
						.on_line = lab_query_word,
						.must_succeed = true};
	static const struct lab_command removal = {.batch = true,
						   .selects = has_dir,
						   .input = write_removal,
						   .must_succeed = true,
						   .parallel = 4};

	if (lab_remote_run(r, &list, e) < 0 || lab_remote_run(r, &stop, e) < 0 ||
	    lab_remote_run(r, &removal, e) < 0)
		return -1;
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (is_asked(r, i))
			r->hosts[i].state = HOST_GONE;
	return 0;
}
