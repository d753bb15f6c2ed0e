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

#include "agent/cli/client.h"
#include "agent/cli/conf.h"
#include "agent/cli/out.h"
#include "agent/cli/show.h"
#include "agent/cli/verb.h"
#include "proto/json/scan.h"
#include "proto/base/suite.h"

#define ANSWER_MS 10000
#define LOOK_MS 250 /* for an interrupt */
#define DEPTH (SCAN_DEPTH_MAX | SCAN_DECIMALS)
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
	int status;             /* of the agent's reply */
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

static int take(struct exporting *x, const char *text, size_t len, const struct cJSON *d,
		struct err *e)
{
	const char *schema = show_text(d, "schema", "");
	char line[LINE_ROOM];
	double status;
	int rc = 0;

	if (strcmp(schema, "sapair.end/1") == 0) {
		x->status = show_number(d, "exit", &status) ? (int)status : 1;
		return 0;
	}
	if (strcmp(schema, "sapair.error/1") == 0) {
		enum err_code code = err_of_word(show_text(d, "class", ""));

		err_set(e, code < ERR_COUNT ? code : ERR_BUG, "%s", show_text(d, "cause", "?"));
		if (code == ERR_PERM)
			err_hint(
				e,
				"set \"export_keys\": true in the config; it applies to pairs that come up later");
		return -1;
	}
	if (strcmp(schema, "sapair.key/1") != 0)
		return 0;
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

/* Adds all keys that the agent has now. */
static int ask(struct exporting *x, struct err *e)
{
	const char *peer = args_word(x->args, 0), *line;
	struct ctl_request req;
	struct client *c;
	size_t len;
	int rc;

	ctl_request_init(&req, CTL_EXPORT);
	if (peer != NULL && strlen(peer) < sizeof req.peer)
		memcpy(req.peer, peer, strlen(peer) + 1);
	if (client_open(&c, args_text(x->args, "control"), e) < 0)
		return -1;
	x->status = -1;
	rc = client_send(c, &req, e);
	while (rc == 0 && x->status < 0) {
		struct json_doc *doc;

		rc = client_line(c, client_now_ms() + ANSWER_MS, &line, &len, e);
		if (rc == 0)
			rc = err_set(e, ERR_DOWN, "the agent has stopped");
		if (rc < 0 || json_open(&doc, line, len, DEPTH, e) < 0) {
			rc = -1;
			break;
		}
		rc = take(x, line, len, json_root(doc), e);
		json_close(doc);
		wipe((char *)(uintptr_t)line, len);
	}
	client_close(c);
	return rc;
}

/* ---- file ------------------------------------------------------------------------------ */

static int write_table(struct exporting *x, struct err *e)
{
	size_t size = x->table.n * (LINE_ROOM + 1) + 128, n;
	char *text = calloc(1, size);
	int rc;

	if (text == NULL)
		return err_set(e, ERR_BUG, "no memory for the table");
	n = (size_t)snprintf(text, size,
			     "# Keys of IPsec SAs, from sapair export: remove when done.\n");
	for (size_t i = 0; i < x->table.n; i++)
		n += (size_t)snprintf(text + n, size - n, "%s\n", x->table.row[i].line);
	rc = os_write_file(x->path, text, n, true, false, e);
	wipe(text, size);
	free(text);
	return rc;
}

/* Is any pair of the table still up? */
static bool is_over(const struct cJSON *d, const char *peer)
{
	const char *event = show_text(d, "event", "");

	if (strcmp(event, "stopping") == 0)
		return true;
	return peer != NULL && strcmp(event, "down") == 0 &&
	       strcmp(show_text(d, "peer", ""), peer) == 0;
}

/* A pair was taken down, or has expired: removes its keys from the table. */
static bool is_taken_down(const struct cJSON *d)
{
	return strcmp(show_text(d, "event", ""), "down") == 0 &&
	       show_text(d, "cause", NULL) == NULL;
}

static bool is_new_key(const struct cJSON *d)
{
	const char *event = show_text(d, "event", "");

	return strcmp(event, "up") == 0 || strcmp(event, "rekey-done") == 0;
}

/* On a signal, the file is removed, too. */
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

static void guard(void)
{
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
}

static void end_as_interrupted(void)
{
	if (interrupted == 0)
		return;
	signal(interrupted, SIG_DFL);
	raise(interrupted);
}

/* Updates the table after an event. Returns 1 if it was the last one. */
static int take_event(struct exporting *x, const char *line, size_t len, struct err *e)
{
	size_t before = x->table.n;
	struct json_doc *doc;
	bool over, more, less;

	if (json_open(&doc, line, len, DEPTH, e) < 0)
		return -1;
	over = is_over(json_root(doc), args_word(x->args, 0));
	more = is_new_key(json_root(doc));
	less = is_taken_down(json_root(doc)) &&
	       table_drop(&x->table, show_text(json_root(doc), "peer", ""));
	json_close(doc);
	if (over || (less && x->table.n == 0))
		return 1;
	if (less && write_table(x, e) < 0)
		return -1;
	if (more && (ask(x, e) < 0 || (x->table.n > before && write_table(x, e) < 0)))
		return e->code == ERR_DOWN ? 1 : -1;
	return 0;
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
	guard();
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
	return rc < 0 ? -1 : x.status > 0 ? x.status : 0;
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
	.most = 1,
	.run = run_export,
};
