/*
 * agent/cli/verbs/run.c - run: makes one config of config file and options, and runs the agent.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/conf.h"
#include "agent/cli/lab/labfile.h"
#include "agent/cli/out.h"
#include "agent/cli/verb.h"
#include "agent/daemon/agent.h"
#include "agent/os/creds.h"
#include "agent/os/log.h"
#include "agent/privsep/client.h"

/* ---- flags ----------------------------------------------------------------------------- */

static int copy(char *to, size_t size, const char *flag, const char *from, struct err *e)
{
	size_t n = strlen(from);

	if (n == 0 || n >= size || !text_printable(from, n))
		return err_set(e, ERR_USAGE, "--%s: must be 1 to %zu printable bytes", flag,
			       size - 1);
	memset(to, 0, size);
	memcpy(to, from, n);
	return 0;
}

static int flag_text(const struct args *a, const char *flag, char *to, size_t size, struct err *e)
{
	const char *text = args_text(a, flag);

	return text != NULL ? copy(to, size, flag, text, e) : 0;
}

/* Relative paths on the command line are relative to the working directory. */
static int flag_path(const struct args *a, const char *flag, char to[CONFIG_PATH_MAX],
		     struct err *e)
{
	if (!args_has(a, flag))
		return 0;
	return flag_text(a, flag, to, CONFIG_PATH_MAX, e) < 0 ? -1 : conf_resolve(to, NULL, e);
}

/* The peer of a --pin or --ppk: that of the preceding --peer, or the only one. */
static struct peer_config *peer_of_flag(struct config *c, size_t first, size_t so_far, size_t flags,
					const char *flag, struct err *e)
{
	if (flags == 1 && c->n_peers > first)
		return &c->peers[first];
	if (so_far > first)
		return &c->peers[so_far - 1];
	err_set(e, ERR_USAGE, "--%s must follow the --peer that it belongs to", flag);
	return NULL;
}

static int take_pin(struct peer_config *p, const char *pin, struct err *e)
{
	if (!pin_get(p->pin, pin)) {
		err_set(e, ERR_USAGE, "--pin: not \"sha256:\" and 64 lower-case hex digits");
		return err_hint(e, "\"sapair id\" prints it on the peer");
	}
	p->has_pin = true;
	return 0;
}

static int take_peers(const struct args *a, struct config *c, struct err *e)
{
	size_t first = c->n_peers, so_far = first, flags = 0;

	for (size_t i = 0; i < a->n_given; i++) {
		if (strcmp(a->given[i].option->name, "peer") != 0)
			continue;
		if (config_add_peer(c, a->given[i].value, e) < 0)
			return err_in(e, "--peer");
		flags++;
	}
	for (size_t i = 0; i < a->n_given; i++) {
		const struct given *g = &a->given[i];
		const char *flag = g->option->name;
		bool is_pin = strcmp(flag, "pin") == 0;
		struct peer_config *p;

		if (strcmp(flag, "peer") == 0)
			so_far++;
		if (!is_pin && strcmp(flag, "ppk") != 0)
			continue;
		p = peer_of_flag(c, first, so_far, flags, flag, e);
		if (p == NULL || (is_pin && take_pin(p, g->value, e) < 0))
			return -1;
		if (!is_pin && (copy(p->ppk, sizeof p->ppk, flag, g->value, e) < 0 ||
				conf_resolve(p->ppk, NULL, e) < 0))
			return -1;
	}
	return 0;
}

static int take_listen(const struct args *a, struct config *c, struct err *e)
{
	bool follows = c->listens > 0 ? c->esp_port == c->listen[0].port
				      : c->esp_port == PROTO_PORT;
	uint32_t port = 0;
	size_t n = 0;

	for (size_t i = 0; i < a->n_given; i++) {
		if (strcmp(a->given[i].option->name, "listen") != 0)
			continue;
		if (n == CONFIG_LISTEN_MAX)
			return err_set(e, ERR_USAGE, "--listen: more than %d addresses",
				       CONFIG_LISTEN_MAX);
		if (endpoint_parse(&c->listen[n++], a->given[i].value, PROTO_PORT, e) < 0)
			return err_in(e, "--listen");
	}
	if (n > 0) {
		c->listens = n;
		if (follows)
			c->esp_port = c->listen[0].port;
	}
	if (args_u32(a, "esp-port", 1, UINT16_MAX, &port, e) < 0)
		return -1;
	if (port != 0)
		c->esp_port = (uint16_t)port;
	return 0;
}

static int take_words(const struct args *a, struct config *c, struct err *e)
{
	if (flag_text(a, "name", c->name, sizeof c->name, e) < 0 ||
	    flag_text(a, "backend", c->backend, sizeof c->backend, e) < 0 ||
	    flag_text(a, "log", c->log, sizeof c->log, e) < 0)
		return -1;
	if (args_has(a, "allow-lab"))
		c->allow_lab = true;
	if (log_level_of(c->log) == LOG_LEVELS)
		return err_set(e, ERR_USAGE, "--log: must be error, warn, info or debug");
	if (!ipsec_known(c->backend))
		return err_set(e, ERR_USAGE, "--backend \"%s\": not one of auto, %s", c->backend,
			       ipsec_names());
	return 0;
}

static int take_flags(const struct args *a, struct config *c, struct err *e)
{
	if (take_words(a, c, e) < 0 || take_listen(a, c, e) < 0 || take_peers(a, c, e) < 0)
		return -1;
	if (flag_path(a, "cert", c->certificate, e) < 0 || flag_path(a, "key", c->key, e) < 0 ||
	    flag_path(a, "ca", c->ca, e) < 0 || flag_path(a, "control", c->control, e) < 0)
		return -1;
	return 0;
}

/* ---- config ---------------------------------------------------------------------------- */

/* Where the config comes from, at the start and at each reload. */
struct source {
	const struct args *args;
	char path[OS_PATH_MAX]; /* of the config file; empty: only options */
	char dir[OS_PATH_MAX];  /* default directory of identity and CA */
	bool by_flags;          /* no config file: only the peers of the command line */
	bool is_bundle;         /* path is a lab bundle */
};

static int find_bundle(struct source *s, struct err *e)
{
	static const char *const others[] = {"config", "dir", "peer", "pin", "cert", "key", "ca"};

	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (args_has(s->args, others[i]))
			return err_set(e, ERR_USAGE, "--bundle and --%s are mutually exclusive",
				       others[i]);
	s->is_bundle = true;
	if (conf_absolute(s->path, NULL, args_text(s->args, "bundle"), e) < 0)
		return -1;
	os_dir_of(s->dir, s->path);
	return 0;
}

static int find_source(struct source *s, const struct args *a, struct err *e)
{
	const char *config = args_text(a, "config");

	memset(s, 0, sizeof *s);
	s->args = a;
	if (args_has(a, "bundle"))
		return find_bundle(s, e);
	if (config != NULL && args_has(a, "dir"))
		return err_set(e, ERR_USAGE, "--config and --dir are mutually exclusive");
	if (config != NULL) {
		if (conf_absolute(s->path, NULL, config, e) < 0)
			return -1;
		os_dir_of(s->dir, s->path);
		return 0;
	}
	os_config_dir(s->dir);
	if ((args_has(a, "dir") && conf_absolute(s->dir, NULL, args_text(a, "dir"), e) < 0) ||
	    os_path_join(s->path, s->dir, CONF_NAME, e) < 0)
		return -1;
	if (os_exists(s->path))
		return 0;
	if (!args_has(a, "peer") && !conf_has_peers(s->dir)) {
		err_set(e, ERR_USAGE, "no peer, and no config file %s", s->path);
		return err_hint(e,
				"give a peer: sapair run --peer ADDRESS; or use \"sapair invite\"");
	}
	s->path[0] = '\0';
	s->by_flags = args_has(a, "peer");
	return 0;
}

static int take_bundle(const struct source *s, struct config *c, struct err *e)
{
	struct bundle *b;

	if (labfile_bundle(&b, s->path, e) < 0)
		return -1;
	*c = b->cfg;
	memset(&b->cfg, 0, sizeof b->cfg);
	labfile_bundle_free(b);
	return 0;
}

/* struct agent_start: the identity of a bundle. */
static int bundle_identity(void *arg, const struct config *c, struct identity **out, struct err *e)
{
	const struct source *s = arg;
	struct bundle *b;
	int rc;

	(void)c;
	if (labfile_bundle(&b, s->path, e) < 0)
		return -1;
	rc = creds_fault(identity_load(out, b->cert, b->key, b->ca), s->path, s->path, s->path, e);
	labfile_bundle_free(b);
	return rc;
}

static int build(const struct source *s, struct config *c, struct err *e)
{
	if ((s->is_bundle  ? take_bundle(s, c, e)
	     : s->by_flags ? config_init(c, e)
			   : conf_load(c, s->path[0] != '\0' ? s->path : NULL, s->dir, e)) < 0)
		return -1;
	if (take_flags(s->args, c, e) < 0 || config_check(c, e) < 0 ||
	    (!s->is_bundle && conf_identity(c, s->dir, e) < 0)) {
		config_free(c);
		return -1;
	}
	return 0;
}

static void setup_log(const struct args *a, const struct config *c)
{
	static const enum log_style usual[] = {[OS_LOG_PLAIN] = LOG_PLAIN,
					       [OS_LOG_JOURNAL] = LOG_JOURNAL,
					       [OS_LOG_EVENTS] = LOG_EVENTS};

	log_setup(log_level_of(c->log), a->json ? LOG_JSON : usual[os_log_kind()]);
}

/* struct agent_start: reads the same file and options again. */
static int reload(void *arg, struct config *out, struct err *e)
{
	const struct source *s = arg;

	if (build(s, out, e) < 0)
		return -1;
	setup_log(s->args, out);
	return 0;
}

/* Directories of config and peers.d, also of a future reload. */
static void fill_paths(const struct source *s, char usual[OS_PATH_MAX],
		       const char *paths[AGENT_PATHS_MAX + 1])
{
	size_t n = 0;

	if (s->path[0] != '\0')
		paths[n++] = s->path;
	if (os_path_join(usual, s->dir, CONF_NAME, NULL) == 0)
		paths[n++] = usual;
}

/* SSH_CONNECTION: "FROM PORT TO PORT". Used for a warning only. */
static void find_session(struct agent_start *start)
{
	const char *session = getenv("SSH_CONNECTION");
	char from[ADDR_TEXT], port[6];
	unsigned long n;

	if (session == NULL || sscanf(session, "%45s %*s %*s %5s", from, port) != 2 ||
	    addr_parse(&start->session_from, from, NULL) < 0)
		return;
	n = strtoul(port, NULL, 10);
	start->session_port = n <= UINT16_MAX ? (uint16_t)n : 0;
}

/* Runs as the helper of an agent with the same command line. */
static int help_agent(struct source *s, struct err *e)
{
	const char *paths[AGENT_PATHS_MAX + 1] = {NULL};
	const struct privsep_source source = {.read = reload, .arg = s, .paths = paths};
	char usual[OS_PATH_MAX];

	fill_paths(s, usual, paths);
	return privsep_serve(&source, e);
}

static int run_foreground(const struct args *a, struct err *e)
{
	struct agent_start *start = calloc(1, sizeof *start);
	struct source *s = calloc(1, sizeof *s);
	struct privsep *privsep = NULL;
	char usual[OS_PATH_MAX];
	int rc = -1;

	if (start == NULL || s == NULL) {
		err_set(e, ERR_BUG, "no memory");
		goto free_both;
	}
	if (find_source(s, a, e) < 0)
		goto free_both;
	if (privsep_is_helper()) {
		rc = help_agent(s, e);
		goto free_both;
	}
	if (build(s, &start->cfg, e) < 0)
		goto free_both;
	setup_log(a, &start->cfg);
	/* Before any secret is read. */
	if (strcmp(start->cfg.backend, "soft") != 0 && privsep_start(&privsep, e) < 0) {
		config_free(&start->cfg);
		goto free_both;
	}
	start->privsep = privsep;
	fill_paths(s, usual, start->paths);
	memcpy(start->config_path, s->path, sizeof start->config_path);
	start->reload = reload;
	start->reload_arg = s;
	if (s->is_bundle)
		start->identity = bundle_identity;
	find_session(start);
	if (!os_lock_memory())
		log_line(LOG_DEBUG, "agent: cannot lock memory: keys may be swapped out");
	rc = agent_run(start, e);
	privsep_end(privsep);
free_both:
	free(start);
	free(s);
	return rc;
}

static const struct option run_options[] = {
	{"config", "FILE", "config file (default: sapair.json in the config directory)", false},
	{"dir", "DIR", "use DIR instead of the config directory", false},
	{"bundle", "FILE", "lab bundle: identity, CA and config of one host in one file", false},
	{"peer", "ADDRESS[:PORT]", "pair with this host; may be repeated", true},
	{"pin", "sha256:HEX", "pin for the preceding --peer", true},
	{"ppk", "FILE", "file with the PPK for the preceding --peer", true},
	{"listen", "ADDRESS[:PORT]", "address to listen on (default: all, port 4510)", true},
	{"name", "NAME", "name of this host (default: that in the certificate)", false},
	{"cert", "FILE", "certificate (default: sapair.crt)", false},
	{"key", "FILE", "private key (default: sapair.key)", false},
	{"ca", "FILE", "CA certificates to verify peers against (default: ca.crt)", false},
	{"backend", "NAME", "auto, or a back end listed by sapair version", false},
	{"control", "PATH", "path of the control socket to create", false},
	{"log", "LEVEL", "error, warn, info or debug", false},
	{"esp-port", "PORT", "local UDP port for ESP (back end soft)", false},
	{"allow-lab", NULL, "accept lab identities", false},
	OPTION_END,
};

const struct verb verb_run = {
	.name = "run",
	.text = "run the agent in the foreground",
	.more = "Without --config or --peer, sapair.json in the config directory is read.\n"
		"Relative paths in a config file are resolved against its directory, where\n"
		"certificate, key and CA are by default.",
	.example = "sapair run --peer 192.0.2.2",
	.options = {run_options},
	.run = run_foreground,
};
