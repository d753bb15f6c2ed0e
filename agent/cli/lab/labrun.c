/*
 * agent/cli/lab/labrun.c - how the hosts of a lab are asked, and what they say.
 */
#include "agent/cli/lab/labrun.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "agent/cli/client.h"
#include "agent/cli/conf.h"
#include "agent/cli/show.h"
#include "proto/json/scan.h"

#define SCRIPT_MAX 16384

/* ---- open and close -------------------------------------------------------------------- */

static int find_self(struct labrun *r, struct err *e)
{
	size_t size = sizeof r->self;
	int rc = uv_exepath(r->self, &size);

	if (rc != 0)
		return err_set(e, ERR_OS, "the program's own path: %s", uv_strerror(rc));
	return 0;
}

/* For Windows hosts: what is named, else what lies beside us. */
static int find_exe(struct labrun *r, struct err *e)
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

int labrun_open(struct labrun *r, const struct args *a, struct err *e)
{
	const char *program = args_text(a, "program");
	size_t n;

	memset(r, 0, sizeof *r);
	r->args = a;
	r->started_ms = client_now_ms();
	if (conf_absolute(r->file, NULL, args_word(a, 0), e) < 0 ||
	    labfile_read(&r->lab, r->source, r->file, e) < 0 || labrun_find_dir(r, e) < 0 ||
	    find_self(r, e) < 0)
		return -1;
	if (program != NULL && strlen(program) < sizeof r->program)
		memcpy(r->program, program, strlen(program) + 1);
	if (find_exe(r, e) < 0)
		return -1;
	n = r->lab.n_hosts;
	r->hosts = calloc(n, sizeof *r->hosts);
	r->cells = calloc(n * n, sizeof *r->cells);
	r->jobs = calloc(n, sizeof *r->jobs);
	if (r->hosts == NULL || r->cells == NULL || r->jobs == NULL)
		return err_set(e, ERR_BUG, "no memory for %zu hosts", n);
	labrun_read_tag(r);
	return 0;
}

void labrun_close(struct labrun *r)
{
	lab_free(&r->lab);
	free(r->hosts);
	free(r->cells);
	free(r->jobs);
	free(r->image);
	memset(r, 0, sizeof *r);
}

/* ---- asking ---------------------------------------------------------------------------- */

bool labrun_reachable(const struct labrun *r, size_t host)
{
	return r->hosts[host].state != HOST_FAILED && r->hosts[host].state != HOST_MANUAL;
}

bool labrun_alive(const struct labrun *r, size_t host)
{
	return r->hosts[host].state == HOST_RUNNING;
}

struct labrun *labrun_of(const struct fleet_job *j, size_t *host)
{
	struct labrun *r = j->arg;

	*host = (size_t)(j - r->jobs);
	return r;
}

static const char *partner_of(const struct labrun *r, size_t host)
{
	const size_t partner = r->hosts[host].partner;

	return partner < r->lab.n_hosts ? r->lab.hosts[partner].name : NULL;
}

/* Words need no quotes, nor do names of hosts. */
static bool write_script(char out[SCRIPT_MAX], const struct labrun *r, size_t host,
			 const struct lab_ask *ask)
{
	const char *peer = ask->partners ? partner_of(r, host) : NULL;
	char dir[OS_PATH_MAX + 64], quoted[OS_PATH_MAX + 128], program[OS_PATH_MAX + 128];
	const char *own = r->program[0] != '\0' ? r->program : r->self;
	int n;

	if (r->where == LAB_SSH) {
		snprintf(quoted, sizeof quoted, "\"$HOME/.sapair-lab/%s-%s/%s\"", r->lab.name,
			 r->tag, r->lab.hosts[host].name);
	} else {
		snprintf(dir, sizeof dir, "%s/%s", r->dir, r->lab.hosts[host].name);
		if (!fleet_quote(quoted, sizeof quoted, dir))
			return false;
	}
	if (r->where == LAB_SSH && r->program[0] == '\0')
		snprintf(program, sizeof program, "\"$d/sapair\"");
	else if (!fleet_quote(program, sizeof program, own))
		return false;
	n = snprintf(out, SCRIPT_MAX,
		     "umask 077\nd=%s\nc=\"$d/control.sock\"\np=%s\nalone=%d\nsoft=%d\n", quoted,
		     program, labrun_has_space(r, host), strcmp(r->lab.backend, "soft") == 0);
	if (n < 0 || n >= SCRIPT_MAX)
		return false;
	out += n;
	n = ask->script != NULL
		    ? snprintf(out, SCRIPT_MAX - (size_t)n, "%s", ask->script)
		    : snprintf(out, SCRIPT_MAX - (size_t)n, "exec \"$p\" %s %s --control \"$c\"\n",
			       ask->words, peer != NULL ? peer : "");
	return n > 0 && n < SCRIPT_MAX;
}

/* The same for a Windows host, whatever its user's shell is. */
static void write_words(char out[SCRIPT_MAX], const struct labrun *r, size_t host,
			const struct lab_ask *ask)
{
	const char *peer = ask->partners ? partner_of(r, host) : NULL;
	char dir[LABWIN_PATH], pipe[LABWIN_PATH];

	labwin_dir(dir, r, host, '\\');
	labwin_pipe(pipe, r, host);
	snprintf(out, SCRIPT_MAX, "%s\\sapair.exe %s %s --control %s", dir, ask->words,
		 peer != NULL ? peer : "", pipe);
}

/* "ssh://" is what ssh calls a target with a port, sftp says "sftp://". */
static const char *sftp_target(char *out, size_t size, const char *ssh)
{
	const bool url = strncmp(ssh, "ssh://", 6) == 0;

	snprintf(out, size, "%s%s", url ? "sftp://" : "", ssh + (url ? 6 : 0));
	return out;
}

static void far_job(struct labrun *r, size_t host, const struct lab_ask *ask)
{
	struct fleet_job *j = &r->jobs[host];
	struct host_run *h = &r->hosts[host];
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

/* The words in front of the script. */
static int address_job(struct labrun *r, size_t host, const struct lab_ask *ask, struct err *e)
{
	struct fleet_job *j = &r->jobs[host];
	struct host_run *h = &r->hosts[host];
	size_t n = 0;

	h->script = calloc(1, SCRIPT_MAX);
	h->quoted = calloc(1, 2 * SCRIPT_MAX);
	if (h->script == NULL || h->quoted == NULL)
		return err_set(e, ERR_BUG, "no memory for a script");
	if (labwin_is(r, host)) {
		if (!ask->batch)
			write_words(h->quoted, r, host, ask);
		far_job(r, host, ask);
		return 0;
	}
	if (!write_script(h->script, r, host, ask))
		return err_set(e, ERR_USAGE, "%s: a path that is too long", r->dir);
	if (labrun_has_space(r, host)) {
		static const char *const enter[] = {"ip", "netns", "exec"};

		for (; n < 3; n++)
			j->argv[n] = enter[n];
		j->argv[n++] = h->space;
	}
	if (r->where != LAB_SSH) {
		j->argv[n++] = "sh";
		j->argv[n++] = "-c";
		j->argv[n++] = h->script;
		j->argv[n] = NULL;
		return 0;
	}
	memcpy(h->quoted, "sh -c ", 6); /* whatever the user's own shell is */
	if (!fleet_quote(h->quoted + 6, 2 * SCRIPT_MAX - 6, h->script))
		return err_set(e, ERR_BUG, "a script that is too long");
	far_job(r, host, ask);
	return 0;
}

void labrun_fail(struct labrun *r, size_t host, int status, const char *cause)
{
	struct host_run *h = &r->hosts[host];

	h->state = HOST_FAILED;
	h->exit = status;
	text_escape(h->cause, sizeof h->cause, cause, strlen(cause));
}

static void judge(struct labrun *r, size_t host, bool only_reached)
{
	struct fleet_job *j = &r->jobs[host];
	const char *last = fleet_last_line(j), *said = r->hosts[host].cause;
	char text[ERR_CAUSE];

	if (j->late) {
		labrun_fail(r, host, err_exit_status(ERR_TIMEOUT), "it did not answer in time");
	} else if (!j->started) {
		labrun_fail(r, host, err_exit_status(ERR_OS), last);
	} else if (r->where == LAB_SSH && j->status == 255) {
		bool auth = strstr(j->err, "Permission denied") != NULL ||
			    strstr(j->err, "Host key verification") != NULL;

		snprintf(text, sizeof text, "ssh: %s", last);
		labrun_fail(r, host, err_exit_status(auth ? ERR_AUTH : ERR_TIMEOUT), text);
	} else if (j->status != 0 && !only_reached) {
		snprintf(text, sizeof text, "%s",
			 *last != '\0'   ? last
			 : *said != '\0' ? said
					 : "it failed and said nothing");
		labrun_fail(r, host, j->status < 11 ? j->status : err_exit_status(ERR_BUG), text);
	}
}

static bool is_asked(const struct labrun *r, const struct lab_ask *ask, size_t host)
{
	const bool windows = labwin_is(r, host);

	if ((ask->partners && partner_of(r, host) == NULL) || (windows && ask->script != NULL) ||
	    (!windows && ask->batch))
		return false;
	return ask->wanted == NULL || ask->wanted(r, host);
}

int labrun_ask(struct labrun *r, const struct lab_ask *ask, struct err *e)
{
	size_t n = r->lab.n_hosts, k = 0;
	int rc = -1;

	/* Each job's place says whose it is: who is not asked has one that does nothing. */
	for (size_t i = 0; i < n; i++) {
		struct fleet_job *j = &r->jobs[i];

		memset(j, 0, sizeof *j);
		j->arg = r;
		j->line = ask->line;
		if (!is_asked(r, ask, i)) {
			j->argv[0] = "true";
			continue;
		}
		if (address_job(r, i, ask, e) < 0)
			goto out;
		if (ask->input != NULL) {
			j->input = ask->input(r, i, &j->input_len);
			if (j->input == NULL) {
				err_set(e, ERR_BUG, "no bundle for %s", r->lab.hosts[i].name);
				goto out;
			}
		}
		k++;
	}
	if (k > 0)
		rc = fleet_run(r->jobs, n, ask->parallel != 0 ? ask->parallel : 16, ask->timeout_ms,
			       e);
	else
		rc = 0;
	for (size_t i = 0; rc == 0 && (ask->judged || ask->tried) && i < n; i++)
		if (is_asked(r, ask, i))
			judge(r, i, !ask->judged);
out:
	for (size_t i = 0; i < n; i++) {
		struct fleet_job *j = &r->jobs[i];

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

/* ---- answers --------------------------------------------------------------------------- */

/* What the scripts, and Windows hosts, say that they did. */
void labrun_word(struct fleet_job *j, char *line, size_t len)
{
	size_t host;
	struct labrun *r = labrun_of(j, &host);

	(void)len;
	if (strcmp(line, "same") == 0 || strcmp(line, "started") == 0) {
		r->hosts[host].state = HOST_RUNNING;
		r->hosts[host].changed = line[1] == 't';
	} else if (strcmp(line, "stopped") == 0 || strcmp(line, "gone") == 0) {
		r->hosts[host].state = HOST_GONE;
		r->hosts[host].changed = line[0] == 's';
	}
	r->changed = r->changed || r->hosts[host].changed;
}

static void copy_text(char *to, size_t size, const struct cJSON *d, const char *path)
{
	const char *s = show_text(d, path, NULL);

	if (s != NULL)
		snprintf(to, size, "%s", s);
}

static struct cell *cell_of(struct labrun *r, size_t from, const char *peer)
{
	size_t to = peer != NULL ? lab_find_host(&r->lab, peer) : SIZE_MAX;

	if (to == SIZE_MAX || lab_find_pair(&r->lab, from, to) == NULL)
		return NULL;
	return &r->cells[from * r->lab.n_hosts + to];
}

static void take_pair(struct cell *c, const struct cJSON *d, const char *rtt)
{
	double exit_status;

	c->seen = true;
	copy_text(c->state, sizeof c->state, d, "state");
	copy_text(c->suite, sizeof c->suite, d, "suite");
	copy_text(c->epoch, sizeof c->epoch, d, "epoch");
	copy_text(c->epoch, sizeof c->epoch, d, "epoch.new");
	copy_text(c->cause, sizeof c->cause, d, "cause");
	copy_text(c->cause, sizeof c->cause, d, "error.cause");
	c->verified = show_is(d, "verified");
	if (c->verified)
		memcpy(c->state, "up", sizeof "up");
	c->has_rtt = show_number(d, rtt, &c->rtt_ms);
	if (show_number(d, "exit", &exit_status))
		c->exit = (int)exit_status;
	else
		c->exit = 0;
	if (c->verified)
		c->cause[0] = '\0';
}

static void take_document(struct labrun *r, size_t host, const struct cJSON *d)
{
	const char *schema = show_text(d, "schema", "");
	const struct cJSON *peers = json_member(d, "peers");
	struct cell *c;

	if (strcmp(schema, "sapair.status/1") == 0 && peers != NULL) {
		r->hosts[host].state = HOST_RUNNING;
		for (const struct cJSON *p = json_first(peers); p != NULL; p = json_next(p)) {
			c = cell_of(r, host, show_text(p, "name", NULL));
			if (c != NULL)
				take_pair(c, p, "verify.rtt_ms");
		}
		return;
	}
	c = cell_of(r, host, show_text(d, "peer", NULL));
	if (c == NULL && strcmp(schema, "sapair.error/1") == 0)
		copy_text(r->hosts[host].cause, sizeof r->hosts[host].cause, d, "cause");
	if (c != NULL)
		take_pair(c, d,
			  json_member(d, "rtt_ms") != NULL && strcmp(schema, "sapair.verify/1") == 0
				  ? "rtt_ms.median"
				  : "rtt_ms");
}

void labrun_document(struct fleet_job *j, char *line, size_t len)
{
	struct json_doc *doc;
	size_t host;
	struct labrun *r = labrun_of(j, &host);

	if (json_open(&doc, line, len, SCAN_DEPTH_MAX | SCAN_DECIMALS, false, NULL) < 0)
		return; /* of no use, and nobody's fault here */
	take_document(r, host, json_root(doc));
	json_close(doc);
	if (r->live)
		labrun_live(r);
}
