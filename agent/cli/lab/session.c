/*
 * agent/cli/lab/session.c - opens and frees the state of a running lab.
 */
#include "agent/cli/lab/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "agent/cli/client.h"
#include "agent/cli/conf.h"
#include "agent/cli/lab/location.h"

static int find_self(struct lab_session *r, struct err *e)
{
	size_t size = sizeof r->self;
	int rc = uv_exepath(r->self, &size);

	if (rc != 0)
		return err_set(e, ERR_OS, "cannot find this program's path: %s", uv_strerror(rc));
	return 0;
}

/* For Windows hosts: --exe, or sapair.exe next to this program. */
static int find_exe(struct lab_session *r, struct err *e)
{
	const char *exe = args_text(r->args, "exe");
	char dir[OS_PATH_MAX];

	if (exe != NULL)
		return conf_absolute(r->exe, NULL, exe, e);
	os_dir_of(dir, r->self);
	if (os_path_join(r->exe, dir, "sapair.exe", e) < 0)
		return -1;
	if (!os_exists(r->exe))
		r->exe[0] = '\0';
	return 0;
}

int lab_session_open(struct lab_session *r, const struct args *a, struct err *e)
{
	const char *program = args_text(a, "program");
	size_t n;

	memset(r, 0, sizeof *r);
	r->args = a;
	r->started_ms = client_now_ms();
	if (conf_absolute(r->file, NULL, args_word(a, 0), e) < 0 ||
	    labfile_read(&r->lab, r->source, r->file, e) < 0 || lab_location_find_dir(r, e) < 0 ||
	    find_self(r, e) < 0)
		return -1;
	if (program != NULL && strlen(program) < sizeof r->program)
		memcpy(r->program, program, strlen(program) + 1);
	if (find_exe(r, e) < 0)
		return -1;
	n = r->lab.n_hosts;
	r->hosts = calloc(n, sizeof *r->hosts);
	r->cells = calloc(n * n, sizeof *r->cells);
	r->commands = calloc(n, sizeof *r->commands);
	if (r->hosts == NULL || r->cells == NULL || r->commands == NULL)
		return err_set(e, ERR_BUG, "no memory for %zu hosts", n);
	lab_location_read_tag(r);
	return 0;
}

void lab_session_close(struct lab_session *r)
{
	lab_free(&r->lab);
	free(r->hosts);
	free(r->cells);
	free(r->commands);
	free(r->image);
	memset(r, 0, sizeof *r);
}

bool lab_session_is_reachable(const struct lab_session *r, size_t host)
{
	return r->hosts[host].state != HOST_FAILED && r->hosts[host].state != HOST_MANUAL;
}

bool lab_session_is_running(const struct lab_session *r, size_t host)
{
	return r->hosts[host].state == HOST_RUNNING;
}

void lab_session_fail(struct lab_session *r, size_t host, int status, const char *cause)
{
	struct lab_host_state *h = &r->hosts[host];

	h->state = HOST_FAILED;
	h->exit = status;
	text_escape(h->cause, sizeof h->cause, cause, strlen(cause));
}

/* ---- Windows hosts --------------------------------------------------------------------- */

bool lab_session_is_windows(const struct lab_session *r, size_t host)
{
	return r->where == LAB_SSH && r->lab.hosts[host].system == LAB_WINDOWS &&
	       r->lab.hosts[host].ssh[0] != '\0';
}

void lab_session_windows_dir(char out[LAB_WINDOWS_PATH], const struct lab_session *r, size_t host,
			     char separator)
{
	snprintf(out, LAB_WINDOWS_PATH, LAB_WINDOWS_DIR "%c%s-%s%c%s", separator, r->lab.name,
		 r->tag, separator, r->lab.hosts[host].name);
}

void lab_session_windows_pipe(char out[LAB_WINDOWS_PATH], const struct lab_session *r, size_t host)
{
	snprintf(out, LAB_WINDOWS_PATH, "\\\\.\\pipe\\sapair-%s-%s-%s", r->lab.name, r->tag,
		 r->lab.hosts[host].name);
}
