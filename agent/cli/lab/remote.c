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

/* The arguments and the names of hosts need no quoting. */
static bool write_script(char out[SCRIPT_MAX], const struct lab_session *r, size_t host,
			 const struct lab_command *ask)
{
	const char *peer = ask->with_partner ? partner_of(r, host) : NULL;
	char dir[OS_PATH_MAX + 64], quoted[OS_PATH_MAX + 128], program[OS_PATH_MAX + 128];
	const char *own = r->program[0] != '\0' ? r->program : r->self;
	int n;

	if (r->where == LAB_SSH) {
		snprintf(quoted, sizeof quoted, "\"$HOME/.sapair-lab/%s-%s/%s\"", r->lab.name,
			 r->tag, r->lab.hosts[host].name);
	} else {
		snprintf(dir, sizeof dir, "%s/%s", r->dir, r->lab.hosts[host].name);
		if (!parallel_quote(quoted, sizeof quoted, dir))
			return false;
	}
	if (r->where == LAB_SSH && r->program[0] == '\0')
		snprintf(program, sizeof program, "\"$d/sapair\"");
	else if (!parallel_quote(program, sizeof program, own))
		return false;
	n = snprintf(out, SCRIPT_MAX,
		     "umask 077\nd=%s\nc=\"$d/control.sock\"\np=%s\nalone=%d\nsoft=%d\n", quoted,
		     program, netns_exists(r, host), strcmp(r->lab.backend, "soft") == 0);
	if (n < 0 || n >= SCRIPT_MAX)
		return false;
	out += n;
	n = ask->script != NULL
		    ? snprintf(out, SCRIPT_MAX - (size_t)n, "%s", ask->script)
		    : snprintf(out, SCRIPT_MAX - (size_t)n, "exec \"$p\" %s %s --control \"$c\"\n",
			       ask->args, peer != NULL ? peer : "");
	return n > 0 && n < SCRIPT_MAX;
}

/* The same for a Windows host. The command line reads the same in cmd and PowerShell. */
static void write_words(char out[SCRIPT_MAX], const struct lab_session *r, size_t host,
			const struct lab_command *ask)
{
	const char *peer = ask->with_partner ? partner_of(r, host) : NULL;
	char dir[LAB_WINDOWS_PATH], pipe[LAB_WINDOWS_PATH];

	lab_session_windows_dir(dir, r, host, '\\');
	lab_session_windows_pipe(pipe, r, host);
	snprintf(out, SCRIPT_MAX, "%s\\sapair.exe %s %s --control %s", dir, ask->args,
		 peer != NULL ? peer : "", pipe);
}

/* A target with a port is "ssh://..." for ssh and "sftp://..." for sftp. */
static const char *sftp_target(char *out, size_t size, const char *ssh)
{
	const bool url = strncmp(ssh, "ssh://", 6) == 0;

	snprintf(out, size, "%s%s", url ? "sftp://" : "", ssh + (url ? 6 : 0));
	return out;
}

static void far_job(struct lab_session *r, size_t host, const struct lab_command *ask)
{
	struct parallel_command *j = &r->commands[host];
	struct lab_host_state *h = &r->hosts[host];
	const char *config = args_text(r->args, "ssh-config");
	size_t n = 0;

	j->argv[n++] = ask->batch ? "sftp" : "ssh";
	j->argv[n++] = "-oBatchMode=yes";
	j->argv[n++] = "-oConnectTimeout=10";
	if (config != NULL) {
		j->argv[n++] = "-F";
		j->argv[n++] = config;
	}
	if (ask->batch) {
		j->argv[n++] = "-q";
		j->argv[n++] = "-b";
		j->argv[n++] = "-";
	}
	j->argv[n++] = "--";
	j->argv[n++] = ask->batch ? sftp_target(h->quoted, SCRIPT_MAX, r->lab.hosts[host].ssh)
				  : r->lab.hosts[host].ssh;
	if (!ask->batch)
		j->argv[n++] = h->quoted;
	j->argv[n] = NULL;
}

/* Builds the command line: ip netns exec, sh, ssh or sftp. */
static int address_job(struct lab_session *r, size_t host, const struct lab_command *ask,
		       struct err *e)
{
	struct parallel_command *j = &r->commands[host];
	struct lab_host_state *h = &r->hosts[host];
	size_t n = 0;

	h->script = calloc(1, SCRIPT_MAX);
	h->quoted = calloc(1, 2 * SCRIPT_MAX);
	if (h->script == NULL || h->quoted == NULL)
		return err_set(e, ERR_BUG, "no memory for a script");
	if (lab_session_is_windows(r, host)) {
		if (!ask->batch)
			write_words(h->quoted, r, host, ask);
		far_job(r, host, ask);
		return 0;
	}
	if (!write_script(h->script, r, host, ask))
		return err_set(e, ERR_USAGE, "%s: path too long", r->dir);
	if (netns_exists(r, host)) {
		static const char *const enter[] = {"ip", "netns", "exec"};

		for (; n < 3; n++)
			j->argv[n] = enter[n];
		j->argv[n++] = h->netns;
	}
	if (r->where != LAB_SSH) {
		j->argv[n++] = "sh";
		j->argv[n++] = "-c";
		j->argv[n++] = h->script;
		j->argv[n] = NULL;
		return 0;
	}
	memcpy(h->quoted, "sh -c ", 6); /* the user's login shell may be another one */
	if (!parallel_quote(h->quoted + 6, 2 * SCRIPT_MAX - 6, h->script))
		return err_set(e, ERR_BUG, "the script is too long");
	far_job(r, host, ask);
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

static bool is_asked(const struct lab_session *r, const struct lab_command *ask, size_t host)
{
	const bool windows = lab_session_is_windows(r, host);

	if ((ask->with_partner && partner_of(r, host) == NULL) ||
	    (windows && ask->script != NULL) || (!windows && ask->batch))
		return false;
	return ask->selects == NULL || ask->selects(r, host);
}

int lab_remote_run(struct lab_session *r, const struct lab_command *command, struct err *e)
{
	size_t n = r->lab.n_hosts, k = 0;
	int rc = -1;

	/* Commands are indexed by host: a host that is not selected runs `true`. */
	for (size_t i = 0; i < n; i++) {
		struct parallel_command *j = &r->commands[i];

		memset(j, 0, sizeof *j);
		j->arg = r;
		j->on_line = command->on_line;
		if (!is_asked(r, command, i)) {
			j->argv[0] = "true";
			continue;
		}
		if (address_job(r, i, command, e) < 0)
			goto out;
		if (command->input != NULL) {
			j->input = command->input(r, i, &j->input_len);
			if (j->input == NULL) {
				err_set(e, ERR_BUG, "no bundle for %s", r->lab.hosts[i].name);
				goto out;
			}
		}
		k++;
	}
	if (k > 0)
		rc = parallel_run(r->commands, n, command->parallel != 0 ? command->parallel : 16,
				  command->timeout_ms, e);
	else
		rc = 0;
	for (size_t i = 0; rc == 0 && (command->must_succeed || command->must_be_reached) && i < n;
	     i++)
		if (is_asked(r, command, i))
			judge(r, i, !command->must_succeed);
out:
	for (size_t i = 0; i < n; i++) {
		struct parallel_command *j = &r->commands[i];

		if (j->input != NULL) {
			wipe((char *)(uintptr_t)j->input, j->input_len);
			free((char *)(uintptr_t)j->input);
			j->input = NULL;
		}
		free(r->hosts[i].script);
		free(r->hosts[i].quoted);
		r->hosts[i].script = r->hosts[i].quoted = NULL;
	}
	return rc;
}
