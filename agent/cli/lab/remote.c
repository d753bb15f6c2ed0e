/*
 * agent/cli/lab/remote.c - builds the commands for the hosts of a lab and runs them.
 */
#include "agent/cli/lab/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/lab/netns.h"

#define SCRIPT_MAX 16384

struct lab_session *lab_remote_session(const struct parallel_command *c, size_t *host)
{
	struct lab_session *r = c->arg;

	*host = (size_t)(c - r->commands);
	return r;
}

static const char *partner_of(const struct lab_session *r, size_t host)
{
	const size_t partner = r->hosts[host].partner;

	return partner < r->lab.n_hosts ? r->lab.hosts[partner].name : NULL;
}

/* The verb and its arguments, which need no quoting. */
static void add_args(struct parallel_text *t, const struct lab_session *r, size_t host,
		     const struct lab_command *c)
{
	parallel_text_add(t, " %s", c->args);
	if (c->with_partner)
		parallel_text_add(t, " %s", partner_of(r, host));
	parallel_text_add(t, " --control ");
}

static bool has_netns(const struct lab_session *r, size_t host)
{
	return r->where == LAB_NETNS && netns_exists(r->hosts[host].netns);
}

static void write_script(struct parallel_text *t, const struct lab_session *r, size_t host,
			 const struct lab_command *c)
{
	const char *name = r->lab.hosts[host].name;
	char dir[OS_PATH_MAX + LAB_NAME_MAX + 2];

	parallel_text_add(t, "umask 077\nd=");
	if (r->where == LAB_SSH) {
		parallel_text_add(t, "\"$HOME/.sapair-lab/%s-%s/%s\"", r->lab.name, r->tag, name);
	} else {
		snprintf(dir, sizeof dir, "%s/%s", r->dir, name);
		parallel_text_quote(t, dir);
	}
	parallel_text_add(t, "\nc=\"$d/control.sock\"\np=");
	if (r->where == LAB_SSH && r->program[0] == '\0')
		parallel_text_add(t, "\"$d/sapair\"");
	else
		parallel_text_quote(t, r->program[0] != '\0' ? r->program : r->self);
	parallel_text_add(t, "\nalone=%d\nsoft=%d\n", has_netns(r, host),
			  strcmp(r->lab.backend, "soft") == 0);
	if (c->script != NULL) {
		parallel_text_add(t, "%s", c->script);
		return;
	}
	parallel_text_add(t, "exec \"$p\"");
	add_args(t, r, host, c);
	parallel_text_add(t, "\"$c\"\n");
}

/* The same for a Windows host. The command line reads the same in cmd and PowerShell. */
static void write_words(struct parallel_text *t, const struct lab_session *r, size_t host,
			const struct lab_command *c)
{
	char dir[LAB_WINDOWS_PATH], pipe[LAB_WINDOWS_PATH];

	lab_session_windows_dir(dir, r, host, '\\');
	lab_session_windows_pipe(pipe, r, host);
	parallel_text_add(t, "%s\\sapair.exe", dir);
	add_args(t, r, host, c);
	parallel_text_add(t, "%s", pipe);
}

/* The command line of ssh, which runs h->line on the host, or of sftp. */
static void address_far(struct lab_session *r, size_t host, const struct lab_command *c)
{
	struct parallel_command *j = &r->commands[host];
	struct parallel_text *line = &r->hosts[host].line;
	const char *config = args_text(r->args, "ssh-config"), *ssh = r->lab.hosts[host].ssh;

	PARALLEL_ADD(j, c->batch ? "sftp" : "ssh", "-oBatchMode=yes", "-oConnectTimeout=10");
	if (config != NULL)
		PARALLEL_ADD(j, "-F", config);
	if (!c->batch) {
		PARALLEL_ADD(j, "--", ssh, line->buf);
		return;
	}
	/* A destination with a port is "ssh://..." for ssh and "sftp://..." for sftp. */
	if (strncmp(ssh, "ssh://", 6) == 0)
		parallel_text_add(line, "sftp://%s", ssh + 6);
	else
		parallel_text_add(line, "%s", ssh);
	PARALLEL_ADD(j, "-q", "-b", "-", "--", line->buf);
}

/* Builds the command line: ip netns exec, sh, ssh or sftp. */
static int address_host(struct lab_session *r, size_t host, const struct lab_command *c,
			struct err *e)
{
	struct parallel_command *j = &r->commands[host];
	struct lab_host_state *h = &r->hosts[host];

	if (!parallel_text_init(&h->script, SCRIPT_MAX) ||
	    !parallel_text_init(&h->line, 2 * SCRIPT_MAX))
		return err_set(e, ERR_BUG, "no memory for a script");
	if (lab_session_is_windows(r, host)) {
		if (!c->batch)
			write_words(&h->line, r, host, c);
		address_far(r, host, c);
		return 0;
	}
	write_script(&h->script, r, host, c);
	if (r->where == LAB_SSH) {
		parallel_text_add(&h->line, "sh -c "); /* the login shell may be another one */
		parallel_text_quote(&h->line, h->script.buf);
		address_far(r, host, c);
	} else {
		if (has_netns(r, host))
			PARALLEL_ADD(j, "ip", "netns", "exec", h->netns);
		PARALLEL_ADD(j, "sh", "-c", h->script.buf);
	}
	if (h->script.truncated || h->line.truncated)
		return err_set(e, ERR_USAGE, "%s: path too long", r->dir);
	return 0;
}

static void judge(struct lab_session *r, size_t host, bool only_reached)
{
	struct parallel_command *j = &r->commands[host];
	const char *last = parallel_last_line(j), *said = r->hosts[host].cause;
	char text[ERR_CAUSE];

	if (j->timed_out) {
		lab_session_fail(r, host, err_exit_status(ERR_TIMEOUT),
				 "no answer within the time limit");
	} else if (!j->started) {
		lab_session_fail(r, host, err_exit_status(ERR_OS), last);
	} else if (r->where == LAB_SSH && j->status == 255) {
		bool auth = strstr(j->err, "Permission denied") != NULL ||
			    strstr(j->err, "Host key verification") != NULL;

		snprintf(text, sizeof text, "ssh: %s", last);
		lab_session_fail(r, host, err_exit_status(auth ? ERR_AUTH : ERR_TIMEOUT), text);
	} else if (j->status != 0 && !only_reached) {
		snprintf(text, sizeof text, "%s",
			 *last != '\0'   ? last
			 : *said != '\0' ? said
					 : "failed without an error message");
		lab_session_fail(r, host, j->status < 11 ? j->status : err_exit_status(ERR_BUG),
				 text);
	}
}

static bool is_asked(const struct lab_session *r, const struct lab_command *c, size_t host)
{
	const bool windows = lab_session_is_windows(r, host);

	if (!lab_session_is_reachable(r, host) ||
	    (c->with_partner && partner_of(r, host) == NULL) || (windows && c->script != NULL) ||
	    (!windows && (c->batch || c->windows)))
		return false;
	return c->selects == NULL || c->selects(r, host);
}

static int prepare(struct lab_session *r, size_t host, const struct lab_command *c, struct err *e)
{
	struct parallel_command *j = &r->commands[host];

	j->arg = r;
	j->on_line = c->on_line;
	if (address_host(r, host, c, e) < 0)
		return -1;
	if (c->input == NULL)
		return 0;
	j->input = c->input(r, host, &j->input_len);
	if (j->input == NULL)
		return err_set(e, ERR_BUG, "no input for %s", r->lab.hosts[host].name);
	return 0;
}

static void release(struct lab_session *r, size_t host)
{
	struct parallel_command *j = &r->commands[host];
	struct lab_host_state *h = &r->hosts[host];

	if (j->input != NULL)
		wipe((char *)(uintptr_t)j->input, j->input_len);
	free((char *)(uintptr_t)j->input);
	j->input = NULL;
	free(h->script.buf);
	free(h->line.buf);
	h->script.buf = h->line.buf = NULL;
}

int lab_remote_run(struct lab_session *r, const struct lab_command *c, struct err *e)
{
	const unsigned parallel = c->parallel != 0 ? c->parallel : r->where == LAB_SSH ? 8 : 32;
	const size_t n = r->lab.n_hosts;
	int rc = 0;

	memset(r->commands, 0, n * sizeof *r->commands);
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (is_asked(r, c, i))
			rc = prepare(r, i, c, e);
	if (rc == 0)
		rc = parallel_run(r->commands, n, parallel,
				  c->timeout_ms != 0 ? c->timeout_ms : LAB_STEP_MS, e);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0 && (c->must_succeed || c->must_be_reached) &&
		    r->commands[i].argv[0] != NULL)
			judge(r, i, !c->must_succeed);
		release(r, i);
	}
	return rc;
}
