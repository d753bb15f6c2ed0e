/*
 * agent/cli/verbs/labhost_win.c - labhost: the part of `sapair lab` that runs on a Windows host.
 *
 * All files are in the directory of the program. On other systems, shell scripts do the same
 * (lab_up.c, lab_down.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "agent/cli/client.h"
#include "agent/cli/lab/labfile.h"
#include "agent/cli/lab/parallel.h"
#include "agent/cli/out.h"
#include "agent/cli/verb.h"
#include "agent/os/detach.h"
#include "agent/os/os.h"

#define START_MS 20000u
#define STOP_MS 2000u
#define LAB_STEP_MS 20000u
#define POLL_MS 50u

/*
 * bundle.new  copied by sftp
 * was-clean   exists if the host had no SAs and policies of sapair before the lab
 * sapair.old  the program before it was replaced
 */
enum file { F_BUNDLE, F_FRESH, F_LOG, F_PID, F_CLEAN, F_OLD, N_FILES };
static const char *const names[N_FILES] = {"bundle", "bundle.new", "log",
					   "pid",    "was-clean",  "sapair.old"};

struct place {
	const char *control;
	char exe[OS_PATH_MAX], dir[OS_PATH_MAX];
	char files[N_FILES][OS_PATH_MAX];
};

static int find_place(struct place *p, const struct args *a, struct err *e)
{
	size_t size = sizeof p->exe;
	int rc = uv_exepath(p->exe, &size);

	p->control = args_text(a, "control");
	if (rc != 0)
		return err_set(e, ERR_OS, "cannot find this program's path: %s", uv_strerror(rc));
	if (p->control == NULL)
		return err_set(e, ERR_USAGE, "--control is missing");
	os_dir_of(p->dir, p->exe);
	for (size_t i = 0; i < N_FILES; i++)
		if (os_path_join(p->files[i], p->dir, names[i], e) < 0)
			return -1;
	return 0;
}

static bool answers(const char *control)
{
	struct client *c = NULL;
	bool good = client_open(&c, control, NULL) == 0;

	client_close(c);
	return good;
}

/* Runs the program. Returns its exit status, or -1; its stderr is in j. */
static int run(const struct place *p, struct parallel_command *j, const char *const *words)
{
	memset(j, 0, sizeof *j);
	PARALLEL_ADD(j, p->exe);
	parallel_add_words(j, words);
	PARALLEL_ADD(j, "--control", p->control);
	if (parallel_run(j, 1, 1, LAB_STEP_MS, NULL) < 0 || !j->started || j->timed_out)
		return -1;
	return j->status;
}

static const char *const check[] = {"clean", "--check", NULL};

static unsigned long read_pid(const char *dir)
{
	char path[OS_PATH_MAX], *text;
	unsigned long pid = 0;
	size_t len;

	if (os_path_join(path, dir, "pid", NULL) < 0 ||
	    os_read_file(&text, &len, path, OS_CONFIG, NULL) < 0)
		return 0;
	pid = strtoul(text, NULL, 10);
	os_free_text(text, len);
	return pid;
}

/* Is an agent of another lab host running in a subdirectory of dir? */
static bool has_agent(const struct place *p, const char *dir, bool of_labs)
{
	char path[OS_PATH_MAX];
	struct detached d;
	uv_dirent_t entry;
	bool found = false;
	uv_fs_t fs;

	if (uv_fs_scandir(NULL, &fs, dir, 0, NULL) >= 0)
		while (!found && uv_fs_scandir_next(&fs, &entry) == 0) {
			if (os_path_join(path, dir, entry.name, NULL) < 0 ||
			    strcmp(path, p->dir) == 0)
				continue;
			if (of_labs) {
				found = has_agent(p, path, false);
			} else {
				const unsigned long pid = read_pid(path);

				found = pid != 0 && detach_find(&d, pid, path);
				if (found)
					detach_forget(&d);
			}
		}
	uv_fs_req_cleanup(&fs);
	return found;
}

/* Is another agent running on this host? Then leftovers cannot be attributed to the lab. */
static bool others(const struct place *p)
{
	char usual[OS_PATH_MAX], lab[OS_PATH_MAX], labs[OS_PATH_MAX];

	os_control_path(usual);
	os_dir_of(lab, p->dir);
	os_dir_of(labs, lab);
	return (strcmp(usual, p->control) != 0 && answers(usual)) || has_agent(p, labs, true);
}

/* ---- hash -------------------------------------------------------------------------------- */

static int run_hash(const struct args *a, struct err *e)
{
	char hex[2 * SHA256_LEN + 1], *image;
	struct place p;
	size_t len;
	int rc;

	if (find_place(&p, a, e) < 0)
		return -1;
	rc = labfile_program(&image, &len, hex, p.exe, e);
	free(image);
	if (rc == 0)
		out_text("%s\n", hex);
	return rc;
}

/* ---- stop -------------------------------------------------------------------------------- */

/* Stops the agent, or kills it. all: takes its pairs down first. Returns false if it did not
 * stop by itself: its SAs and policies may be left. */
static bool end_agent(const struct place *p, bool all)
{
	static const char *const down[] = {"down", "--all", "--timeout", "2", NULL};
	static const char *const stop[] = {"stop", "--timeout", "2", NULL};
	const unsigned long pid = read_pid(p->dir);
	unsigned long status;
	struct parallel_command *j = calloc(1, sizeof *j);
	struct detached d;
	bool asked = false;

	if (j != NULL && answers(p->control)) {
		if (all)
			run(p, j, down);
		asked = run(p, j, stop) == 0;
	}
	free(j);
	if (pid == 0 || !detach_find(&d, pid, p->dir))
		return asked;
	if (!detach_ended(&d, asked ? STOP_MS : 0, &status)) {
		detach_kill(&d);
		asked = false;
	}
	detach_forget(&d);
	return asked;
}

/* Removes and reports leftovers of the lab, if the host had none before it. Returns the exit
 * status of clean --check. */
static int look_for_rests(const struct place *p, bool ended)
{
	static const char *const clean[] = {"clean", NULL};
	struct parallel_command *j;
	int status;

	if (!os_exists(p->files[F_CLEAN]) || others(p))
		return 0;
	j = calloc(1, sizeof *j);
	if (j == NULL)
		return err_exit_status(ERR_BUG);
	if (!ended)
		run(p, j, clean);
	status = run(p, j, check);
	if (status != 0)
		out_note("clean --check: %s", parallel_last_line(j));
	free(j);
	return status < 0 ? err_exit_status(ERR_TIMEOUT) : status;
}

static int run_stop(const struct args *a, struct err *e)
{
	struct place p;
	int status;

	if (find_place(&p, a, e) < 0)
		return -1;
	status = look_for_rests(&p, end_agent(&p, true));
	for (size_t i = 0; i < N_FILES; i++)
		if (os_remove_file(p.files[i], e) < 0)
			return -1;
	if (status == 0)
		out_text("stopped\n");
	return status;
}

/* ---- start ------------------------------------------------------------------------------- */

/* Copies the bundle to a file that only its owner can read. */
static int take_bundle(const struct place *p, bool *same, struct err *e)
{
	char *text = NULL, *old = NULL;
	size_t len = 0, old_len = 0;
	int rc;

	*same = false;
	if (os_read_file(&text, &len, p->files[F_FRESH], OS_ANYONE, e) < 0)
		return -1;
	if (os_exists(p->files[F_BUNDLE]) &&
	    os_read_file(&old, &old_len, p->files[F_BUNDLE], OS_SECRET, NULL) == 0)
		*same = old_len == len && memcmp(old, text, len) == 0;
	os_free_text(old, old_len);
	rc = *same && answers(p->control) ? 1 : 0;
	if (rc == 0 && !*same)
		rc = os_write_file(p->files[F_BUNDLE], text, len, true, false, e);
	os_free_text(text, len);
	return rc < 0 || os_remove_file(p->files[F_FRESH], e) < 0 ? -1 : rc;
}

/* Reports why the agent exited: the first error in its log, or the last line. */
static int tell_end(const struct place *p, unsigned long status)
{
	char *text = NULL, *told = NULL, *next;
	size_t len = 0;

	if (os_read_file(&text, &len, p->files[F_LOG], OS_ANYONE, NULL) == 0)
		for (char *line = text; *line != '\0'; line = next) {
			next = line + strcspn(line, "\r\n");
			if (*next != '\0')
				*next++ = '\0';
			if (*line != '\0' && (told == NULL || strstr(told, "error") == NULL))
				told = line;
		}
	out_note("%s", told != NULL ? told : "the agent exited without an error message");
	os_free_text(text, len);
	return status > 0 && status < 11 ? (int)status : err_exit_status(ERR_BUG);
}

/* An agent that fails later in its start has a pipe, but no loop that replies. */
static bool replies(const struct place *p)
{
	static const char *const status[] = {"status", NULL};
	struct parallel_command *j = malloc(sizeof *j);
	const bool good = j != NULL && answers(p->control) && run(p, j, status) == 0;

	free(j);
	return good;
}

static int await_agent(const struct place *p, const struct detached *d, struct err *e)
{
	unsigned long status;

	for (unsigned waited = 0; waited < START_MS; waited += POLL_MS) {
		if (replies(p)) {
			out_text("started\n");
			return 0;
		}
		if (detach_ended(d, POLL_MS, &status))
			return tell_end(p, status);
	}
	return err_set(e, ERR_TIMEOUT, "the agent did not start in %u s", START_MS / 1000);
}

static int write_mark(const char *path, const char *text, struct err *e)
{
	return os_write_file(path, text, strlen(text), true, false, e);
}

static int start(const struct place *p, struct err *e)
{
	const char *const words[] = {"run",       "--bundle", p->files[F_BUNDLE],
				     "--control", p->control, NULL};
	struct detached d;
	char pid[24];
	int rc;

	if (detach_start(&d, words, p->files[F_LOG], e) < 0)
		return -1;
	snprintf(pid, sizeof pid, "%lu", d.pid);
	rc = write_mark(p->files[F_PID], pid, e);
	if (rc == 0)
		rc = await_agent(p, &d, e);
	else
		detach_kill(&d);
	detach_forget(&d);
	return rc;
}

static int run_start(const struct args *a, struct err *e)
{
	bool first, same;
	struct parallel_command *j;
	struct place p;
	int rc;

	if (find_place(&p, a, e) < 0)
		return -1;
	first = !os_exists(p.files[F_BUNDLE]);
	rc = take_bundle(&p, &same, e);
	if (rc < 0)
		return -1;
	if (rc > 0) {
		out_text("same\n");
		return 0;
	}
	end_agent(&p, false);
	j = calloc(1, sizeof *j);
	if (j == NULL)
		return err_set(e, ERR_BUG, "no memory");
	rc = first && !others(&p) && run(&p, j, check) == 0 ? write_mark(p.files[F_CLEAN], "", e)
							    : 0;
	free(j);
	return rc < 0 ? -1 : start(&p, e);
}

const struct verb verb_labhost_hash = {
	.name = "labhost hash",
	.text = "print the hash of the program (for sapair lab up)",
	.example = "sapair labhost hash",
	.options = {verb_control},
	.run = run_hash,
};

const struct verb verb_labhost_start = {
	.name = "labhost start",
	.text = "start a lab's agent in the background (for sapair lab up)",
	.more = "Uses the bundle in the program's directory. An agent that already runs with\n"
		"it is left running.",
	.example = "sapair labhost start --control \\\\.\\pipe\\sapair-lab",
	.options = {verb_control},
	.run = run_start,
};

const struct verb verb_labhost_stop = {
	.name = "labhost stop",
	.text = "stop a lab's agent and remove its files (for sapair lab down)",
	.example = "sapair labhost stop --control \\\\.\\pipe\\sapair-lab",
	.options = {verb_control},
	.run = run_stop,
};
