/*
 * agent/cli/verbs/export.c - export esp-sa: keys of SAs in the form of Wireshark's table "esp_sa".
 *
 * The keys come over the control socket, which is its owner's alone, and only from an agent whose
 * config allows it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/conf.h"
#include "agent/cli/request.h"
#include "proto/base/suite.h"

#define LOOK_MS 250 /* for an interrupt */
#define LINE_ROOM 640
#define TABLE "esp_sa"

struct row {
	char line[LINE_ROOM];
	char peer[MSG_NAME_MAX + 1];
};

/* Lines of the table, without duplicates, in order of arrival. */
struct table {
	struct row *row;
	size_t n, room;
};

struct exporting {
	const struct args *args;
	struct table table;
	char path[OS_PATH_MAX]; /* of the file; empty: stdout */
	int status;             /* of an agent that refused while the table was followed */
};

static void table_clear(struct table *t)
{
	if (t->row != NULL)
		wipe(t->row, t->room * sizeof *t->row);
	t->n = 0;
}

static bool table_has(const struct table *t, const char *line)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->row[i].line, line) == 0)
			return true;
	return false;
}

/* realloc() would leave keys behind. */
static int table_add(struct table *t, const char *line, const char *peer, struct err *e)
{
	if (t->n == t->room) {
		size_t room = t->room > 0 ? 2 * t->room : 16;
		struct row *grown = calloc(room, sizeof *grown);

		if (grown == NULL)
			return err_set(e, ERR_BUG, "no memory for %zu keys", room);
		if (t->n > 0) {
			memcpy(grown, t->row, t->n * sizeof *grown);
			wipe(t->row, t->n * sizeof *grown);
		}
		free(t->row);
		t->row = grown;
		t->room = room;
	}
	memcpy(t->row[t->n].line, line, strlen(line) + 1);
	snprintf(t->row[t->n].peer, sizeof t->row[t->n].peer, "%s", peer);
	t->n++;
	return 0;
}

/* Removes the lines of a peer. Returns false if there were none. */
static bool table_drop(struct table *t, const char *peer)
{
	size_t kept = 0, before = t->n;

	for (size_t i = 0; i < t->n; i++) {
		if (strcmp(t->row[i].peer, peer) == 0)
			continue;
		if (kept != i)
			memcpy(&t->row[kept], &t->row[i], sizeof *t->row);
		kept++;
	}
	if (kept < before)
		wipe(&t->row[kept], (before - kept) * sizeof *t->row);
	t->n = kept;
	return kept < before;
}

/* ---- one SA ---------------------------------------------------------------------------- */

struct names {
	const char *cipher, *mac;
};

/* As spelled by Wireshark since 2.0; it does not accept the short names. */
static struct names names_of(enum suite s)
{
	switch (suite_info(s)->kind) {
	case SUITE_GCM:
		return (struct names){"AES-GCM with 16 octet ICV [RFC4106]", "NULL"};
	case SUITE_CBC:
		return (struct names){"AES-CBC [RFC3602]", suite_info(s)->mac_key_len == 20
								   ? "HMAC-SHA-1-96 [RFC2404]"
								   : "HMAC-SHA-256-128 [RFC4868]"};
	case SUITE_GMAC: /* the payload is in the clear; Wireshark has no matching ICV check */
		break;
	}
	return (struct names){"NULL", "ANY 128 bit authentication [no checking]"};
}

static int write_line(char line[LINE_ROOM], const struct cJSON *d, bool esn_field, struct err *e)
{
	enum suite s = suite_of_name(show_text(d, "suite", ""));
	const char *source = show_text(d, "source", ""), *mac = show_text(d, "mac_key", NULL);
	bool clear = s != SUITE_COUNT && suite_info(s)->kind == SUITE_GMAC;
	struct names n;
	int len;

	if (s == SUITE_COUNT)
		return err_set(e, ERR_BUG, "unknown suite");
	n = names_of(s);
	len = snprintf(line, LINE_ROOM,
		       "\"%s\",\"%s\",\"%s\",\"0x%s\",\"%s\",\"%s%s\",\"%s\",\"%s%s\"%s",
		       strchr(source, ':') != NULL ? "IPv6" : "IPv4", source,
		       show_text(d, "destination", ""), show_text(d, "spi", ""), n.cipher,
		       clear ? "" : "0x", clear ? "" : show_text(d, "key", ""), n.mac,
		       mac != NULL ? "0x" : "", mac != NULL ? mac : "",
		       !esn_field          ? ""
		       : show_is(d, "esn") ? ",\"64-bit\""
					   : ",\"32-bit\"");
	return len > 0 && len < LINE_ROOM ? 0 : err_set(e, ERR_BUG, "the line is too long");
}

static int take(struct request *q, const struct cJSON *d, const char *text, size_t len,
		struct err *e)
{
	struct exporting *x = q->arg;
	char line[LINE_ROOM];
	int rc;

	if (x->args->json && x->path[0] == '\0') {
		out_document(text, len);
		return 0;
	}
	rc = write_line(line, d, args_has(x->args, "esn-field"), e);
	if (rc == 0 && !table_has(&x->table, line))
		rc = table_add(&x->table, line, show_text(d, "peer", ""), e);
	wipe(line, sizeof line);
	return rc;
}

/* Adds all keys that the agent has now. Returns the agent's exit status, or -1. */
static int ask(struct exporting *x, struct err *e)
{
	return request_ask(x->args, CTL_EXPORT, take, x, e);
}

/* ---- file ------------------------------------------------------------------------------ */

static int write_table(struct exporting *x, struct err *e)
{
	struct out_page p = {.size = x->table.n * (LINE_ROOM + 1) + 128};
	int rc;

	p.text = calloc(1, p.size);
	if (p.text == NULL)
		return err_set(e, ERR_BUG, "no memory for the table");
	out_add(&p, "# Keys of IPsec SAs, from sapair export: remove when done.\n");
	for (size_t i = 0; i < x->table.n; i++)
		out_add(&p, "%s\n", x->table.row[i].line);
	rc = os_write_file(x->path, p.text, p.n, true, false, e);
	wipe(p.text, p.size);
	free(p.text);
	return rc;
}

/* On a signal, the file is removed, too. */
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

static void end_as_interrupted(void)
{
	if (interrupted == 0)
		return;
	signal(interrupted, SIG_DFL);
	raise(interrupted);
}

/*
 * Updates the table after an event: a pair that was taken down, or has expired, takes its keys with
 * it. Returns 1 if it was the last event of interest.
 */
static int take_event(struct exporting *x, const char *line, size_t len, struct err *e)
{
	const char *only = args_word(x->args, 0), *event, *peer;
	bool is_down, is_last, has_less, has_more;
	size_t before = x->table.n;
	struct json_doc *doc;
	int rc;

	if (request_parse(&doc, line, len, e) < 0)
		return -1;
	event = show_text(json_root(doc), "event", "");
	peer = show_text(json_root(doc), "peer", "");
	is_down = strcmp(event, "down") == 0;
	is_last = strcmp(event, "stopping") == 0 ||
		  (is_down && only != NULL && strcmp(peer, only) == 0);
	has_less = is_down && !show_has(json_root(doc), "cause") && table_drop(&x->table, peer);
	has_more = strcmp(event, "up") == 0 || strcmp(event, "rekey-done") == 0;
	json_close(doc);
	if (is_last || (has_less && x->table.n == 0))
		return 1;
	rc = has_more ? ask(x, e) : 0;
	if (rc > 0)
		x->status = rc;
	if (rc == 0 && (has_less || x->table.n > before))
		rc = write_table(x, e);
	return rc < 0 && e->code == ERR_DOWN ? 1 : rc;
}

static int follow_events(struct exporting *x, struct client *c, struct err *e)
{
	const char *line;
	size_t len;
	int rc;

	while (interrupted == 0) {
		rc = client_line(c, client_now_ms() + LOOK_MS, &line, &len, e);
		if (rc < 0 && e->code == ERR_TIMEOUT)
			continue;
		if (rc > 0)
			rc = take_event(x, line, len, e);
		else if (rc == 0)
			return 0; /* the agent has ended */
		if (rc != 0)
			return rc < 0 ? -1 : 0;
	}
	return 0;
}

/* Watches before asking, so that no pair is missed in between. */
static int follow(struct exporting *x, struct err *e)
{
	const char *dir = args_text(x->args, "follow");
	struct ctl_request req;
	char whole[OS_PATH_MAX];
	struct client *c;
	int rc;

	if (conf_absolute(whole, NULL, dir, e) < 0 || os_path_join(x->path, whole, TABLE, e) < 0)
		return -1;
	if (os_exists(x->path)) {
		err_set(e, ERR_USAGE, "%s: already exists", x->path);
		return err_hint(e, "remove it, or use another directory");
	}
	if (os_make_dir(whole, e) < 0 || client_open(&c, args_text(x->args, "control"), e) < 0)
		return -1;
	ctl_request_init(&req, CTL_WATCH);
	rc = client_send(c, &req, e);
	if (rc == 0)
		rc = ask(x, e);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	if (rc == 0)
		rc = write_table(x, e);
	if (rc == 0) {
		out_note("writing %s; in Wireshark, enable decryption: Preferences, Protocols, ESP",
			 x->path);
		rc = follow_events(x, c, e);
		os_remove_file(x->path, NULL);
	}
	client_close(c);
	end_as_interrupted();
	return rc;
}

static int run_export(const struct args *a, struct err *e)
{
	struct exporting x = {.args = a};
	int rc;

	if (args_has(a, "follow")) {
		rc = follow(&x, e);
	} else {
		rc = ask(&x, e);
		for (size_t i = 0; rc == 0 && i < x.table.n; i++)
			out_text("%s\n", x.table.row[i].line);
	}
	table_clear(&x.table);
	free(x.table.row);
	return rc == 0 ? x.status : rc;
}

static const struct option export_options[] = {
	{"follow", "DIR", "keep DIR/esp_sa up to date until the pair goes down", false},
	{"esn-field", NULL, "write a ninth field, for newer Wireshark versions", false},
	OPTION_END,
};

const struct verb verb_export_esp_sa = {
	.name = "export esp-sa",
	.words = "[PEER]",
	.text = "export SA keys as Wireshark's ESP SA table",
	.more = "Requires export_keys in the config. With --follow, the table is updated at\n"
		"each rekey. The file has mode 0600, and is removed when the pair goes down\n"
		"or the agent exits.",
	.example = "sapair export esp-sa --follow ~/.config/wireshark",
	.options = {export_options, verb_control},
	.run = run_export,
};
