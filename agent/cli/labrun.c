/*
 * agent/cli/labrun.c - where the hosts of a lab are, and how they are asked.
 */
#include "agent/cli/labrun.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "agent/cli/client.h"
#include "agent/cli/conf.h"
#include "agent/cli/out.h"
#include "agent/cli/show.h"
#include "proto/scan.h"

#define COPY "lab.json" /* of the lab file, in its folder */
#define HOW "how"       /* where the hosts are: one of words[] */
#define SCRIPT_MAX 16384
#define ROOM_FOR_SOCKET 24
#define SUN_PATH_ROOM 108

static const char *const words[] = {"namespaces", "loopback", "ssh"};

/* ---- the folder ------------------------------------------------------------------------ */

static int find_dir(struct labrun *r, struct err *e)
{
	const char *dir = args_text(r->args, "dir");
	char usual[OS_PATH_MAX], parent[OS_PATH_MAX], name[LAB_NAME_MAX + 8];

	if (dir != NULL)
		return conf_absolute(r->dir, NULL, dir, e);
	os_control_path(usual);
	os_dir_of(parent, usual);
	snprintf(name, sizeof name, "labs/%s", r->lab.name);
	return os_path_join(r->dir, parent, name, e);
}

static int find_self(struct labrun *r, struct err *e)
{
	size_t size = sizeof r->self;
	int rc = uv_exepath(r->self, &size);

	if (rc != 0)
		return err_set(e, ERR_OS, "the program's own path: %s", uv_strerror(rc));
	return 0;
}

/* Labs of one name in two folders have different namespaces. */
static int name_spaces(struct labrun *r, struct err *e)
{
	uint8_t hash[SHA256_LEN];

	if (!sha256(&(struct bytes){r->dir, strlen(r->dir)}, 1, hash))
		return err_set(e, ERR_BUG, "no memory for a hash");
	snprintf(r->space, sizeof r->space, "sapair-%s-%02x%02x", r->lab.name, hash[0], hash[1]);
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		snprintf(r->hosts[i].space, sizeof r->hosts[i].space, "sapair-%s-%02x%02x.%s",
			 r->lab.name, hash[0], hash[1], r->lab.hosts[i].name);
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
	    labfile_read(&r->lab, r->source, r->file, e) < 0 || find_dir(r, e) < 0 ||
	    find_self(r, e) < 0)
		return -1;
	if (program != NULL && strlen(program) < sizeof r->program)
		memcpy(r->program, program, strlen(program) + 1);
	n = r->lab.n_hosts;
	r->hosts = calloc(n, sizeof *r->hosts);
	r->cells = calloc(n * n, sizeof *r->cells);
	r->jobs = calloc(n, sizeof *r->jobs);
	if (r->hosts == NULL || r->cells == NULL || r->jobs == NULL)
		return err_set(e, ERR_BUG, "no memory for %zu hosts", n);
	return name_spaces(r, e);
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

/* ---- where the hosts are --------------------------------------------------------------- */

static bool is_loopback(const struct addr *a)
{
	static const struct addr six = {.bytes = {[15] = 1}, .len = 16};

	return a->len == 4 ? a->bytes[0] == 127 : addr_equal(a, &six);
}

static bool has_loopback(const struct lab *lab)
{
	for (size_t i = 0; i < lab->n_hosts; i++)
		for (size_t k = 0; k < lab->hosts[i].ats; k++)
			if (is_loopback(&lab->hosts[i].at[k].addr))
				return true;
	return false;
}

/* Without namespaces every host gets a loopback address, by the folder's name: two labs side by
 * side have different ones. The bundles are of these, so the source is another one, too. */
static void map_to_loopback(struct labrun *r)
{
	static const char mark[] = "loopback";
	uint8_t hash[SHA256_LEN];

	if (strcmp(r->lab.backend, "auto") == 0)
		memcpy(r->lab.backend, "soft", sizeof "soft");
	if (has_loopback(&r->lab) || !sha256(&(struct bytes){r->dir, strlen(r->dir)}, 1, hash))
		return;
	for (size_t i = 0; i < r->lab.n_hosts; i++) {
		struct lab_host *h = &r->lab.hosts[i];

		h->ats = 1;
		h->at[0].addr = (struct addr){.len = 4};
		h->at[0].addr.bytes[0] = 127;
		h->at[0].addr.bytes[1] = (uint8_t)(128 + hash[0] % 64);
		h->at[0].addr.bytes[2] = hash[1];
		h->at[0].addr.bytes[3] = (uint8_t)(i + 1);
	}
	for (size_t i = 0; i < r->lab.n_pairs; i++)
		r->lab.pairs[i].at_a = r->lab.pairs[i].at_b = 0;
	sha256((struct bytes[]){{r->source, SHA256_LEN}, {mark, sizeof mark}}, 2, r->source);
}

static int path_in(char out[OS_PATH_MAX], const struct labrun *r, const char *name, struct err *e)
{
	return os_path_join(out, r->dir, name, e);
}

static bool read_how(struct labrun *r)
{
	char path[OS_PATH_MAX], *text;
	bool found = false;
	size_t len;

	if (path_in(path, r, HOW, NULL) < 0 || os_read_file(&text, &len, path, OS_CONFIG, NULL) < 0)
		return false;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcmp(text, words[i]) != 0)
			continue;
		r->where = (enum lab_where)i;
		found = true;
	}
	os_free_text(text, len);
	return found;
}

bool labrun_is_up(struct labrun *r)
{
	if (!read_how(r))
		return false;
	if (r->where == LAB_LOOPBACK)
		map_to_loopback(r);
	return true;
}

/* Another lab in the folder keeps it: its hosts would be forgotten. */
int labrun_keep(const struct labrun *r, struct err *e)
{
	char path[OS_PATH_MAX], *text = NULL, *old = NULL;
	size_t len = 0, old_len = 0;
	int rc = -1;

	if (path_in(path, r, COPY, e) < 0 || os_read_file(&text, &len, r->file, OS_ANYONE, e) < 0)
		return -1;
	if (!os_exists(path)) {
		rc = os_write_file(path, text, len, true, true, e);
	} else if (os_read_file(&old, &old_len, path, OS_CONFIG, e) == 0) {
		rc = old_len == len && memcmp(old, text, len) == 0 ? 0 : -1;
		if (rc < 0) {
			err_set(e, ERR_USAGE, "lab %s is up by another file, %s", r->lab.name,
				path);
			err_hint(e,
				 "take it down first: sapair lab down with that file; or give this "
				 "one another name in \"lab\"");
		}
		os_free_text(old, old_len);
	}
	os_free_text(text, len);
	return rc;
}

static bool has_ssh(const struct lab *lab)
{
	for (size_t i = 0; i < lab->n_hosts; i++)
		if (lab->hosts[i].ssh[0] != '\0')
			return true;
	return false;
}

/* ---- namespaces ------------------------------------------------------------------------ */

/* Runs a script here, its text on stdin of a shell. */
static int run_here(const char *script, const char *what, struct err *e)
{
	struct fleet_job j = {.argv = {"sh", "-eu"}, .input = script, .input_len = strlen(script)};

	if (fleet_run(&j, 1, 1, 60000, e) < 0)
		return -1;
	if (j.status == 0)
		return 0;
	return err_set(e, ERR_OS, "%s: %s", what, fleet_last_line(&j));
}

struct text {
	char *buf;
	size_t size, n;
};

static void add(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->n, t->size - t->n, fmt, ap);
	va_end(ap);
	t->n = n < 0 || (size_t)n >= t->size - t->n ? t->size - 1 : t->n + (size_t)n;
}

static int spaces_script(struct labrun *r, void (*write)(struct text *t, const struct labrun *r),
			 const char *what, struct err *e)
{
	struct text t = {.size = 1024 + r->lab.n_hosts * 2048};
	int rc;

	t.buf = calloc(1, t.size);
	if (t.buf == NULL)
		return err_set(e, ERR_BUG, "no memory for a script");
	write(&t, r);
	rc = run_here(t.buf, what, e);
	free(t.buf);
	return rc;
}

/* A switch in a namespace of its own, each host on it; whatever address is there is reached. */
static void write_spaces(struct text *t, const struct labrun *r)
{
	char addr[ADDR_TEXT];

	add(t,
	    "s=%s\nip netns add $s\nip -n $s link add br0 type bridge\n"
	    "ip -n $s link set br0 up\n",
	    r->space);
	for (size_t i = 0; i < r->lab.n_hosts; i++) {
		const struct lab_host *h = &r->lab.hosts[i];

		add(t,
		    "n=%s\nip netns add $n\nip -n $s link add p%zu type veth peer name eth0 netns "
		    "$n\nip -n $s link set p%zu master br0 up\nip -n $n -batch - <<'END'\n"
		    "link set lo up\nlink set eth0 up\n",
		    r->hosts[i].space, i, i);
		for (size_t k = 0; k < h->ats; k++) {
			bool six = h->at[k].addr.len == 16;

			addr_put(addr, &h->at[k].addr);
			add(t, "addr add %s/%s dev eth0\n", addr, six ? "128 nodad" : "32");
			add(t, "route replace %s\n",
			    six ? "::/0 dev eth0" : "0.0.0.0/0 dev eth0 scope link");
		}
		add(t, "END\n");
	}
}

static void write_no_spaces(struct text *t, const struct labrun *r)
{
	for (size_t i = 0; i <= r->lab.n_hosts; i++) {
		const char *name = i < r->lab.n_hosts ? r->hosts[i].space : r->space;

		add(t,
		    "if ip netns pids %s >/dev/null 2>&1; then\n"
		    "for p in $(ip netns pids %s); do kill -9 $p; done\nip netns del %s\nfi\n",
		    name, name, name);
	}
}

static bool spaces_work(void)
{
	struct err ignored = {0};

	return run_here(
		       "n=sapair-try-$$\nip netns add $n\nip -n $n link add br0 type bridge && rc=0 "
		       "|| rc=1\nip netns del $n\nexit $rc\n",
		       "namespaces", &ignored) == 0;
}

/* ---- settling -------------------------------------------------------------------------- */

static int write_how(const struct labrun *r, struct err *e)
{
	char path[OS_PATH_MAX];

	if (path_in(path, r, HOW, e) < 0)
		return -1;
	return os_write_file(path, words[r->where], strlen(words[r->where]), true, false, e);
}

int labrun_settle(struct labrun *r, struct err *e)
{
	bool here = args_has(r->args, "here");

	if (!here && !has_ssh(&r->lab)) {
		err_set(e, ERR_USAGE, "no host of the lab has \"ssh\": nobody could log in");
		return err_hint(e,
				"--here makes the hosts on this machine; \"sapair lab init\" makes "
				"bundles to be copied by hand");
	}
	if (strlen(r->dir) + LAB_NAME_MAX + ROOM_FOR_SOCKET > SUN_PATH_ROOM)
		return err_set(e, ERR_USAGE, "%s: too long for the control sockets in it: --dir",
			       r->dir);
	if (!here)
		r->where = LAB_SSH;
	else if (args_has(r->args, "loopback") || has_loopback(&r->lab) || !spaces_work())
		r->where = LAB_LOOPBACK;
	else
		r->where = LAB_SPACES;
	if (os_make_dir(r->dir, e) < 0 || labrun_keep(r, e) < 0)
		return -1;
	if (r->where == LAB_LOOPBACK)
		map_to_loopback(r);
	if (r->where == LAB_SPACES) {
		struct err ignored = {0};

		/* what an interrupted `up` left */
		spaces_script(r, write_no_spaces, "namespaces", &ignored);
		if (spaces_script(r, write_spaces, "namespaces", e) < 0) {
			spaces_script(r, write_no_spaces, "namespaces", &ignored);
			return -1;
		}
	}
	return write_how(r, e);
}

int labrun_forget(struct labrun *r, struct err *e)
{
	char path[OS_PATH_MAX];
	uv_fs_t fs;

	if (r->where == LAB_SPACES &&
	    spaces_script(r, write_no_spaces, "removing namespaces", e) < 0)
		return -1;
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (labfile_bundle_path(path, r->dir, r->lab.hosts[i].name, e) < 0 ||
		    os_remove_file(path, e) < 0)
			return -1;
	if (path_in(path, r, COPY, e) < 0 || os_remove_file(path, e) < 0 ||
	    path_in(path, r, HOW, e) < 0 || os_remove_file(path, e) < 0)
		return -1;
	uv_fs_rmdir(NULL, &fs, r->dir, NULL); /* what else is there is not ours */
	uv_fs_req_cleanup(&fs);
	return 0;
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

static bool write_script(char out[SCRIPT_MAX], const struct labrun *r, size_t host,
			 const char *script)
{
	char dir[OS_PATH_MAX + 64], quoted[OS_PATH_MAX + 128], program[OS_PATH_MAX + 128];
	const char *own = r->program[0] != '\0' ? r->program : r->self;
	int n;

	if (r->where == LAB_SSH) {
		snprintf(quoted, sizeof quoted, "\"$HOME/.sapair-lab/%s/%s\"", r->lab.name,
			 r->lab.hosts[host].name);
	} else {
		snprintf(dir, sizeof dir, "%s/%s", r->dir, r->lab.hosts[host].name);
		if (!fleet_quote(quoted, sizeof quoted, dir))
			return false;
	}
	if (r->where == LAB_SSH && r->program[0] == '\0')
		snprintf(program, sizeof program, "\"$d/sapair\"");
	else if (!fleet_quote(program, sizeof program, own))
		return false;
	/* names of hosts need no quotes */
	n = snprintf(out, SCRIPT_MAX, "umask 077\nd=%s\nc=\"$d/control.sock\"\np=%s\npeer=%s\n%s",
		     quoted, program,
		     r->hosts[host].partner < r->lab.n_hosts
			     ? r->lab.hosts[r->hosts[host].partner].name
			     : "",
		     script);
	return n > 0 && n < SCRIPT_MAX;
}

/* The words in front of the script. */
static int address_job(struct labrun *r, size_t host, const char *script, struct err *e)
{
	struct fleet_job *j = &r->jobs[host];
	struct host_run *h = &r->hosts[host];
	const char *config = args_text(r->args, "ssh-config");
	size_t n = 0;

	h->script = calloc(1, SCRIPT_MAX);
	h->quoted = calloc(1, 2 * SCRIPT_MAX);
	if (h->script == NULL || h->quoted == NULL)
		return err_set(e, ERR_BUG, "no memory for a script");
	if (!write_script(h->script, r, host, script))
		return err_set(e, ERR_USAGE, "%s: a path that is too long", r->dir);
	if (r->where == LAB_SPACES) {
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
	j->argv[n++] = "ssh";
	j->argv[n++] = "-oBatchMode=yes";
	j->argv[n++] = "-oConnectTimeout=10";
	if (config != NULL) {
		j->argv[n++] = "-F";
		j->argv[n++] = config;
	}
	j->argv[n++] = "--";
	j->argv[n++] = r->lab.hosts[host].ssh;
	memcpy(h->quoted, "sh -c ", 6); /* whatever the user's own shell is */
	if (!fleet_quote(h->quoted + 6, 2 * SCRIPT_MAX - 6, h->script))
		return err_set(e, ERR_BUG, "a script that is too long");
	j->argv[n++] = h->quoted;
	j->argv[n] = NULL;
	return 0;
}

static void fail_host(struct host_run *h, int status, const char *cause)
{
	h->state = HOST_FAILED;
	h->exit = status;
	text_escape(h->cause, sizeof h->cause, cause, strlen(cause));
}

static void judge(struct labrun *r, size_t host)
{
	struct fleet_job *j = &r->jobs[host];
	const char *last = fleet_last_line(j);
	char text[ERR_CAUSE];

	if (j->late) {
		fail_host(&r->hosts[host], err_exit_status(ERR_TIMEOUT),
			  "it did not answer in time");
	} else if (!j->started) {
		fail_host(&r->hosts[host], err_exit_status(ERR_OS), last);
	} else if (r->where == LAB_SSH && j->status == 255) {
		bool auth = strstr(j->err, "Permission denied") != NULL ||
			    strstr(j->err, "Host key verification") != NULL;

		snprintf(text, sizeof text, "ssh: %s", last);
		fail_host(&r->hosts[host], err_exit_status(auth ? ERR_AUTH : ERR_TIMEOUT), text);
	} else if (j->status != 0) {
		snprintf(text, sizeof text, "%s",
			 *last != '\0' ? last : "it failed and said nothing");
		fail_host(&r->hosts[host], j->status < 11 ? j->status : err_exit_status(ERR_BUG),
			  text);
	}
}

static bool is_asked(const struct labrun *r, const struct lab_ask *ask, size_t host)
{
	if (ask->partners && r->hosts[host].partner >= r->lab.n_hosts)
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
		if (address_job(r, i, ask->script, e) < 0)
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
	for (size_t i = 0; rc == 0 && ask->judged && i < n; i++)
		if (is_asked(r, ask, i))
			judge(r, i);
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
