/*
 * agent/cli/verbs/invite.c - invite and join: two hosts that share a token store each other's pin.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/client.h"
#include "agent/cli/conf.h"
#include "agent/cli/ident.h"
#include "agent/cli/rendezvous/rendezvous.h"
#include "agent/cli/out.h"
#include "agent/cli/show.h"
#include "agent/cli/verb.h"
#include "agent/os/creds.h"
#include "crypto/date.h"
#include "crypto/random.h"
#include "proto/json/scan.h"

#define TTL_MS 300000u
#define TTL_MIN_MS 1000u
#define TTL_MAX_MS 604800000u
#define JOIN_MS 30000u
#define RELOAD_MS 10000u
#define INVITE_PORT 4511

/* This host in a rendezvous, and what it writes. */
struct side {
	const struct args *args;
	struct rendezvous rendezvous;
	struct invite invite;
	char dir[OS_PATH_MAX];       /* config directory: identity, peers.d */
	char file[OS_PATH_MAX];      /* peers.d/NAME.json */
	char name[MSG_NAME_MAX + 1]; /* NAME of the peer */
	bool replaces;               /* an existing file of the peer */
	struct endpoint remote;      /* its agent */
	bool has_local;
	struct config cfg; /* of this host; defaults if there is no file */
};

/* ---- identity and config --------------------------------------------------------------- */

static bool name_fits(const char *s)
{
	return ident_name_fits(s) && strchr("._-", s[0]) == NULL;
}

/* Sets the default paths of the identity, and creates one if neither file exists. */
static int default_identity(struct side *s, struct err *e)
{
	char *cert = s->cfg.certificate, *key = s->cfg.key, host[CERT_NAME_MAX + 1];
	struct ident_wish w;
	struct pem_pair pair;
	int rc;

	memcpy(cert, CONF_CERT, sizeof CONF_CERT);
	memcpy(key, CONF_KEY, sizeof CONF_KEY);
	if (conf_resolve(cert, s->dir, e) < 0 || conf_resolve(key, s->dir, e) < 0)
		return -1;
	if (os_exists(cert) || os_exists(key))
		return 0;
	os_host_name(host, sizeof host);
	if (ident_wish(&w, s->args, host, IDENT_DAYS, e) < 0 || os_make_dir(s->dir, e) < 0)
		return -1;
	if (!cert_self(&pair, &w.wish))
		return err_set(e, ERR_USAGE, "cannot make a certificate for %s", host);
	rc = ident_write(&pair, cert, key, false, e);
	wipe(&pair, sizeof pair);
	if (rc == 0 && !s->args->json)
		out_note("created an identity for %s in %s", host, s->dir);
	return rc;
}

/* Loads the identity, and chooses the name of this host. */
static int find_identity(struct side *s, struct err *e)
{
	const char *name = s->cfg.name;

	if ((s->cfg.certificate[0] == '\0' || s->cfg.key[0] == '\0') && default_identity(s, e) < 0)
		return -1;
	s->cfg.ca[0] = '\0'; /* the token names the key of the other host */
	if (creds_identity(&s->rendezvous.id, &s->cfg, e) < 0)
		return -1;
	identity_set_alpn(s->rendezvous.id, INVITE_ALPN);
	if (!name_fits(name))
		name = identity_facts(s->rendezvous.id)->name;
	if (!name_fits(name))
		name = "host";
	memcpy(s->rendezvous.name, name, strlen(name) + 1);
	return 0;
}

/* Reads the config file, if there is one, for addresses and ports. */
static int find_config(struct side *s, struct err *e)
{
	char path[OS_PATH_MAX], dir[OS_PATH_MAX];

	if (ident_dir(dir, s->args, e) < 0 || conf_absolute(s->dir, NULL, dir, e) < 0 ||
	    os_path_join(path, s->dir, CONF_NAME, e) < 0)
		return -1;
	if (os_exists(path))
		return conf_read(&s->cfg, path, e);
	return config_init(&s->cfg, e);
}

static int find_port(struct side *s, struct err *e)
{
	uint32_t port = s->cfg.listens > 0 ? s->cfg.listen[0].port : PROTO_PORT;

	if (args_u32(s->args, "port", 1, UINT16_MAX, &port, e) < 0)
		return -1;
	s->rendezvous.port = (uint16_t)port;
	return 0;
}

/*
 * Sets the name and the file of the peer. ERR_USAGE if the file exists, unless --force was given and the name
 * was chosen here: the other host must not choose which peer is replaced.
 */
static int find_file(struct side *s, const char *name, bool is_own_choice, struct err *e)
{
	char dir[OS_PATH_MAX], file[MSG_NAME_MAX + 8];

	if (!name_fits(name))
		return err_set(
			e, ERR_USAGE,
			"\"%s\": a name consists of letters, digits and . _ -, and begins with "
			"a letter or a digit",
			name);
	memcpy(s->name, name, strlen(name) + 1);
	snprintf(file, sizeof file, "%s.json", name);
	if (os_path_join(dir, s->dir, CONF_PEERS, e) < 0 || os_path_join(s->file, dir, file, e) < 0)
		return -1;
	s->replaces = is_own_choice && args_has(s->args, "force");
	if (os_exists(s->file) && !s->replaces) {
		err_set(e, ERR_USAGE, "%s is already paired: %s", name, s->file);
		return err_hint(
			e, is_own_choice ? "--force replaces it, or choose another name"
					 : "the other host chose this name: replace the peer with "
					   "\"--force --name NAME\", or choose another name");
	}
	return os_make_dir(dir, e);
}

/* ---- the new peer ---------------------------------------------------------------------- */

/* Stores the pin of the peer in its file. */
static int keep(struct rendezvous *m, struct err *e)
{
	struct side *s = m->arg;
	char text[512], address[ENDPOINT_TEXT], pin[PIN_TEXT + 1];
	struct json_out o;
	size_t n;

	if (s->name[0] == '\0' && find_file(s, m->peer.name, false, e) < 0)
		return -1;
	s->remote = (struct endpoint){m->peer_addr, m->peer.port};
	endpoint_put(address, &s->remote);
	pin_put(pin, m->peer_pin);
	json_begin(&o, text, sizeof text);
	json_put_open(&o, NULL);
	json_put_text(&o, "name", s->name);
	json_put_text(&o, "address", address);
	if (s->has_local)
		json_put_addr(&o, "local", &m->own_addr);
	json_put_text(&o, "pin", pin);
	json_put_close(&o);
	n = json_end(&o);
	text[n++] = '\n';
	return os_write_file(s->file, text, n, true, !s->replaces, e);
}

/* Reloads the running agent. Returns 1; 0 if none is running; -1 with e filled if it refused. */
static int reload_agent(const struct side *s, struct err *e)
{
	const char *control = args_text(s->args, "control");
	struct err ignored = {0};
	struct ctl_request req;
	struct client *c;
	const char *line;
	size_t len;
	int rc = -1;

	if (control == NULL && s->cfg.control[0] != '\0')
		control = s->cfg.control;
	if (client_open(&c, control, &ignored) < 0)
		return 0;
	ctl_request_init(&req, CTL_RELOAD);
	if (client_send(c, &req, e) == 0 &&
	    client_line(c, client_now_ms() + RELOAD_MS, &line, &len, e) > 0) {
		struct json_doc *doc;

		if (json_open(&doc, line, len, SCAN_DEPTH_MAX, e) == 0) {
			rc = strcmp(show_text(json_root(doc), "schema", ""), "sapair.reload/1") == 0
				     ? 1
				     : -1;
			if (rc < 0)
				err_set(e, ERR_USAGE, "%s",
					show_text(json_root(doc), "cause", "?"));
			json_close(doc);
		}
	}
	client_close(c);
	return rc;
}

static void print_paired(const struct side *s, int reloaded, const struct err *why)
{
	char pin[PIN_TEXT + 1], address[ENDPOINT_TEXT], buf[2 * OS_PATH_MAX];
	struct json_out o;

	pin_put(pin, s->rendezvous.peer_pin);
	endpoint_put(address, &s->remote);
	if (s->args->json) {
		out_begin(&o, buf, sizeof buf, "sapair.paired/1");
		json_put_text(&o, "peer", s->name);
		json_put_bool(&o, "changed", true);
		json_put_text(&o, "address", address);
		json_put_text(&o, "pin", pin);
		json_put_text(&o, "file", s->file);
		json_put_bool(&o, "reloaded", reloaded > 0);
		out_end(&o);
	} else {
		out_painted(PAINT_GOOD, "paired with %s", s->name);
		out_text(" at %s\n", address);
		out_field("pin", "%s", pin);
		out_field("file", "%s", s->file);
		if (reloaded > 0)
			out_field("agent", "reloaded");
	}
	if (reloaded < 0)
		out_note("the running agent did not reload: %s", why->cause);
	else if (reloaded == 0 && !s->args->json && !args_has(s->args, "run"))
		out_note("next: sapair run");
}

/* --run: this process becomes the agent, as by `sapair run`. */
static int run_agent(const struct side *s)
{
	static char self[] = "sapair", run[] = "run", dir[] = "--dir", control[] = "--control",
		    json[] = "--json", listen[] = "--listen";
	const char *socket = args_text(s->args, "control");
	char where[OS_PATH_MAX], path[OS_PATH_MAX], four[32], six[32], *argv[12] = {self, run};
	int n = 2;

	if (args_has(s->args, "dir")) {
		memcpy(where, s->dir, sizeof where);
		argv[n++] = dir;
		argv[n++] = where;
	}
	if (socket != NULL && strlen(socket) < sizeof path) {
		memcpy(path, socket, strlen(socket) + 1);
		argv[n++] = control;
		argv[n++] = path;
	}
	if (args_has(s->args, "port") && s->cfg.listens == 0) {
		snprintf(four, sizeof four, "0.0.0.0:%u", s->rendezvous.port);
		snprintf(six, sizeof six, "[::]:%u", s->rendezvous.port);
		argv[n++] = listen;
		argv[n++] = four;
		argv[n++] = listen;
		argv[n++] = six;
	}
	if (s->args->json)
		argv[n++] = json;
	out_flush();
	os_args_become(argv);
	return verb_dispatch(n, argv, s->args->verbs);
}

/*
 * The part that both verbs share: prepare() reads the rest of the command line, meet() is the
 * rendezvous. Then reloads or runs the agent. Returns the exit status.
 */
static int pair_hosts(const struct args *a, int (*prepare)(struct side *s, struct err *e),
		      int (*meet)(struct rendezvous *m, struct err *e), struct err *e)
{
	struct side *s = calloc(1, sizeof *s);
	struct err why = {0};
	int rc = -1, reloaded;

	if (s == NULL)
		return err_set(e, ERR_BUG, "no memory");
	s->args = a;
	s->rendezvous.invite = &s->invite;
	s->rendezvous.keep = keep;
	s->rendezvous.arg = s;
	if (find_config(s, e) == 0 && find_port(s, e) == 0 && find_identity(s, e) == 0 &&
	    prepare(s, e) == 0)
		rc = meet(&s->rendezvous, e);
	if (rc == 0) {
		reloaded = reload_agent(s, &why);
		print_paired(s, reloaded, &why);
		if (reloaded == 0 && args_has(a, "run"))
			rc = run_agent(s);
	}
	identity_free(s->rendezvous.id);
	config_free(&s->cfg);
	wipe(s, sizeof *s);
	free(s);
	return rc;
}

/* ---- invite ---------------------------------------------------------------------------- */

/* Finds the address to listen on, and the one to put into the token. */
static int find_listen(struct side *s, struct err *e)
{
	const char *listen = args_text(s->args, "listen"), *address = args_text(s->args, "address");
	const struct cert_facts *f = identity_facts(s->rendezvous.id);
	struct endpoint ep = {.addr = {.len = 0}, .port = INVITE_PORT};

	if (listen != NULL && endpoint_parse(&ep, listen, INVITE_PORT, e) < 0)
		return err_in(e, "--listen");
	s->invite.at = ep;
	if (address != NULL) {
		if (addr_parse(&s->invite.at.addr, address, e) < 0)
			return err_in(e, "--address");
	} else if (ep.addr.len == 0 || addr_is_any(&ep.addr)) {
		s->invite.at.addr.len = 0;
		for (size_t i = 0; i < s->cfg.listens && s->invite.at.addr.len == 0; i++)
			if (addr_is_unicast(&s->cfg.listen[i].addr))
				s->invite.at.addr = s->cfg.listen[i].addr;
		if (s->invite.at.addr.len == 0 && f->addrs > 0) {
			s->invite.at.addr.len = f->addr[0].len;
			memcpy(s->invite.at.addr.bytes, f->addr[0].bytes, f->addr[0].len);
		}
	}
	if (!addr_is_unicast(&s->invite.at.addr)) {
		err_set(e, ERR_USAGE,
			"cannot tell which address of this host the other one can reach");
		return err_hint(e, "give it: --address 192.0.2.1");
	}
	if (ep.addr.len == 0) /* all addresses of the family of the token's */
		ep.addr.len = s->invite.at.addr.len;
	s->rendezvous.listen = ep;
	return 0;
}

static void print_token(struct rendezvous *m)
{
	struct side *s = m->arg;
	char token[INVITE_TOKEN_TEXT], buf[INVITE_TOKEN_TEXT + 256], when[DATE_TEXT];
	struct json_out o;

	invite_put(token, &s->invite);
	date_put(when, s->invite.until);
	if (s->args->json) {
		out_begin(&o, buf, sizeof buf, "sapair.invite/1");
		json_put_text(&o, "peer", s->name);
		json_put_text(&o, "token", token);
		json_put_text(&o, "not_after", when);
		out_end(&o);
	} else {
		out_note("run this on %s, once, before %s:", s->name, when);
		out_text("sapair join %s\n", token);
		out_flush();
		out_note("waiting; whoever uses this token first is paired as %s", s->name);
	}
	wipe(token, sizeof token);
	wipe(buf, sizeof buf);
}

static int prepare_invite(struct side *s, struct err *e)
{
	uint64_t ttl_ms = TTL_MS;

	if (find_file(s, args_word(s->args, 0), true, e) < 0 || find_listen(s, e) < 0 ||
	    args_span(s->args, "ttl", TTL_MIN_MS, TTL_MAX_MS, &ttl_ms, e) < 0)
		return -1;
	memcpy(s->invite.pin, identity_facts(s->rendezvous.id)->pin, PIN_LEN);
	random_secret(&s->invite.secret, INVITE_SECRET);
	s->invite.until = (os_wall_ms() + (int64_t)ttl_ms) / 1000;
	s->rendezvous.limit_ms = ttl_ms;
	s->rendezvous.ready = print_token;
	return 0;
}

static int run_invite(const struct args *a, struct err *e)
{
	return pair_hosts(a, prepare_invite, rendezvous_invite, e);
}

/* ---- join ------------------------------------------------------------------------------ */

/*
 * The token is a word of the text: with it, people paste the command that `sapair invite` printed,
 * its JSON, or a prompt. The error is that of the last word that could be a token.
 */
static int find_token(struct invite *i, const char *text, size_t len, struct err *e)
{
	static const char between[] = " \t\r\n\"',";
	const char *end = text + len;
	int rc = -1;

	while (rc < 0 && text < end) {
		size_t n = 0;

		while (text + n < end && strchr(between, text[n]) == NULL)
			n++;
		if (memchr(text, '/', n) != NULL)
			rc = invite_get(i, text, n, e);
		text += n + 1;
	}
	return rc < 0 && e->code == ERR_NONE ? invite_get(i, "", 0, e) : rc;
}

/* Reads lines until one has a token. Windows PowerShell writes UTF-16LE: a token has no byte 0. */
static int read_stdin(struct invite *i, struct err *e)
{
	char line[8 * INVITE_TOKEN_TEXT];
	size_t n = 0;
	int c, rc = -1;

	do {
		c = getchar();
		if (c != EOF && c != '\0' && n < sizeof line)
			line[n++] = (char)c;
		if ((c == '\n' || c == EOF) && n > 0) {
			*e = (struct err){0};
			rc = find_token(i, line, n, e);
			n = 0;
		}
	} while (c != EOF && rc < 0);
	wipe(line, sizeof line);
	return rc < 0 && e->code == ERR_NONE ? err_set(e, ERR_USAGE, "no token on stdin") : rc;
}

/* Reads the token from the argument, or for "-" from stdin. */
static int read_token(struct side *s, struct err *e)
{
	const char *word = args_word(s->args, 0);
	char when[DATE_TEXT];
	int rc;

	rc = strcmp(word, "-") != 0 ? find_token(&s->invite, word, strlen(word), e)
				    : read_stdin(&s->invite, e);
	if (rc < 0)
		return -1;
	if (os_wall_ms() / 1000 <= s->invite.until)
		return 0;
	date_put(when, s->invite.until);
	err_set(e, ERR_AUTH, "the token expired at %s", when);
	return err_hint(e, "make a new one with \"sapair invite\"; if it is new, check the clocks");
}

static int find_local(struct side *s, struct err *e)
{
	const char *local = args_text(s->args, "local");

	if (local == NULL)
		return 0;
	if (addr_parse(&s->rendezvous.own_addr, local, e) < 0)
		return err_in(e, "--local");
	s->has_local = true;
	return 0;
}

static int prepare_join(struct side *s, struct err *e)
{
	const char *name = args_text(s->args, "name");
	uint32_t timeout_ms = JOIN_MS;

	if (read_token(s, e) < 0 || find_local(s, e) < 0 ||
	    args_ms(s->args, "timeout", &timeout_ms, e) < 0 ||
	    (name != NULL && find_file(s, name, true, e) < 0))
		return -1;
	if (bytes_equal(s->invite.pin, identity_facts(s->rendezvous.id)->pin, PIN_LEN)) {
		err_set(e, ERR_USAGE, "the token was made on this host");
		return err_hint(e, "use it on the other host");
	}
	s->rendezvous.limit_ms = timeout_ms != 0 ? timeout_ms : JOIN_MS;
	return 0;
}

static int run_join(const struct args *a, struct err *e)
{
	return pair_hosts(a, prepare_join, rendezvous_join, e);
}

/* ---- verbs ----------------------------------------------------------------------------- */

static const struct option pair_options[] = {
	{"port", "PORT", "TCP port of our agent (default: from the config, or 4510)", false},
	{"dir", "DIR", "use DIR instead of the config directory", false},
	{"force", NULL, "replace an existing peer of that name", false},
	{"run", NULL, "then run the agent, if none is running", false},
	OPTION_END,
};

static const struct option invite_options[] = {
	{"ttl", "TIME", "validity of the token: 90s, 5m, 1h (default 5m)", false},
	{"address", "ADDRESS", "address of this host, as seen from the other", false},
	{"listen", "ADDRESS[:PORT]", "address to wait on (default: all, port 4511)", false},
	OPTION_END,
};

const struct verb verb_invite = {
	.name = "invite",
	.words = "NAME",
	.text = "invite another host to pair, with a one-time token",
	.more = "Prints the command to run on the other host, and waits for it. The token is\n"
		"good for one attempt before it expires. Both hosts then store the other's\n"
		"pin in peers.d/NAME.json.",
	.example = "sapair invite beta --ttl 5m --address 192.0.2.1",
	.options = {invite_options, pair_options, verb_control},
	.run = run_invite,
};

static const struct option join_options[] = {
	{"name", "NAME", "name for the inviter (default: the one that it sends)", false},
	{"local", "ADDRESS", "local address of the pair, used to connect", false},
	OPTION_END,
};

const struct verb verb_join = {
	.name = "join",
	.words = "TOKEN|-",
	.text = "pair with the host that issued the token",
	.more = "- reads the token from stdin, which keeps it out of process listings.",
	.example = "sapair join 192.0.2.1:4511/5f0c...",
	.options = {join_options, pair_options, verb_timeout},
	.run = run_join,
};
