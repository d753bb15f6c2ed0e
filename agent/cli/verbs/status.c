/*
 * agent/cli/verbs/status.c - status: the agent and its peers.
 */
#include <stdio.h>
#include <string.h>

#include "agent/cli/request.h"

static enum paint paint_of_state(const struct cJSON *p)
{
	const char *state = show_text(p, "state", "");

	if (strcmp(state, "up") == 0)
		return show_is(p, "verified") ? PAINT_GOOD : PAINT_WARN;
	return strcmp(state, "down") == 0 ? PAINT_DIM : PAINT_WARN;
}

static bool is_permissive(const struct cJSON *p)
{
	return strcmp(show_text(p, "mode", ""), "permissive") == 0;
}

static void show_agent(const struct cJSON *d)
{
	char text[OUT_NUMBER];
	const struct cJSON *l = json_first(json_member(d, "listen"));

	out_painted(PAINT_HEAD, "%s", show_text(d, "name", "agent"));
	out_text("  back end %s, up for %s, listening on", show_text(d, "backend", "?"),
		 show_span(text, d, "uptime_s"));
	if (l == NULL)
		out_text(" nothing");
	for (; l != NULL; l = json_next(l))
		out_text(" %s", json_string(l));
	out_text("\n");
	out_field("identity", "%s%s, valid until %s", show_text(d, "identity.pin", "none"),
		  show_is(d, "identity.lab") ? ", lab" : "", show_date(d, "identity.not_after"));
}

/* hint: also show the remedy. */
static void show_trouble(const struct cJSON *p, bool hint)
{
	if (!show_has(p, "error"))
		return;
	out_text("  ");
	out_painted(strcmp(show_text(p, "state", ""), "up") == 0 ? PAINT_WARN : PAINT_BAD, "%s",
		    show_text(p, "error.cause", ""));
	out_text(" (%s)\n", show_text(p, "error.class", ""));
	if (hint && show_has(p, "error.hint"))
		out_text("  %s\n", show_text(p, "error.hint", ""));
}

static void show_left(const struct cJSON *p)
{
	if (show_has(p, "removing"))
		out_text("  ");
	show_removing(p);
}

/* Columns of the list of peers: the text at a path, or what the kind of the cell says. */
#define CELL 80
enum cell { CELL_TEXT, CELL_SPAN, CELL_STATE, CELL_VERIFIED };
static const struct {
	const char *head, *path;
	enum cell cell;
} columns[] = {
	{"PEER", "name", CELL_TEXT},           {"ADDRESS", "address", CELL_TEXT},
	{"STATE", "state", CELL_STATE},        {"VERIFIED", "verified", CELL_VERIFIED},
	{"EPOCH", "epoch", CELL_TEXT},         {"IN", "in.spi", CELL_TEXT},
	{"OUT", "out.spi", CELL_TEXT},         {"AGE", "age_s", CELL_SPAN},
	{"REKEY IN", "rekey_in_s", CELL_SPAN},
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

static void put_cell(char text[CELL], const struct cJSON *p, int column)
{
	char number[OUT_NUMBER];
	const char *s = show_text(p, columns[column].path, "-");

	if (columns[column].cell == CELL_SPAN)
		s = show_span(number, p, columns[column].path);
	else if (columns[column].cell == CELL_VERIFIED)
		s = !show_has(p, "epoch") ? "-" : show_is(p, "verified") ? "yes" : "no";
	snprintf(text, CELL, "%s%s", s,
		 columns[column].cell == CELL_STATE && is_permissive(p) ? ", permissive" : "");
}

static void show_list(const struct cJSON *peers)
{
	int widths[COLUMNS];
	char text[CELL];

	for (int c = 0; c < COLUMNS; c++) {
		widths[c] = (int)strlen(columns[c].head);
		for (const struct cJSON *p = json_first(peers); p != NULL; p = json_next(p)) {
			put_cell(text, p, c);
			if ((int)strlen(text) > widths[c])
				widths[c] = (int)strlen(text);
		}
	}
	for (int c = 0; c < COLUMNS; c++)
		out_painted(PAINT_HEAD, "%-*s", c + 1 < COLUMNS ? widths[c] + 2 : 0,
			    columns[c].head);
	out_text("\n");
	for (const struct cJSON *p = json_first(peers); p != NULL; p = json_next(p)) {
		for (int c = 0; c < COLUMNS; c++) {
			put_cell(text, p, c);
			out_painted(columns[c].cell == CELL_STATE ? paint_of_state(p) : PAINT_NONE,
				    "%-*s", c + 1 < COLUMNS ? widths[c] + 2 : 0, text);
		}
		out_text("\n");
		show_trouble(p, false);
		show_left(p);
	}
}

/* "c8d1f02a  8,123 packets, 9.9 MB, 2 replays dropped"; unknown numbers are left out. */
static void show_sa(const struct cJSON *p, const char *name)
{
	char line[160], n[OUT_NUMBER];
	const struct cJSON *sa = json_member(p, name);
	size_t len;
	double v;

	len = (size_t)snprintf(line, sizeof line, "%s", show_text(sa, "spi", "?"));
	if (show_number(sa, "packets", &v))
		len += (size_t)snprintf(line + len, sizeof line - len, "  %s packets",
					out_count(n, v));
	if (show_number(sa, "bytes", &v))
		len += (size_t)snprintf(line + len, sizeof line - len, ", %s", out_bytes(n, v));
	if (show_number(sa, "replay_dropped", &v) && v > 0)
		len += (size_t)snprintf(line + len, sizeof line - len, ", %s replays dropped",
					out_count(n, v));
	if (show_number(sa, "integrity_failed", &v) && v > 0)
		snprintf(line + len, sizeof line - len, ", %s failed integrity", out_count(n, v));
	out_field(name, "%s", line);
}

static void show_pair(const struct cJSON *p)
{
	char a[OUT_NUMBER], b[OUT_NUMBER], c[OUT_NUMBER];

	show_sa(p, "in");
	show_sa(p, "out");
	out_field("suite", "%s%s", show_text(p, "suite", "?"), show_is(p, "esn") ? ", ESN" : "");
	out_field("epoch", "%s, since %s; rekey in %s, expires in %s", show_text(p, "epoch", "?"),
		  show_span(a, p, "age_s"), show_span(b, p, "rekey_in_s"),
		  show_span(c, p, "hard_in_s"));
	if (show_is(p, "verified"))
		out_field("verified", "%s ago, round trip %s", show_span(a, p, "verify.age_s"),
			  show_ms(b, p, "verify.rtt_ms"));
	else
		out_field("verified", "no");
	out_field("rekeys", "%s, old pairs still draining: %s", show_count(a, p, "rekeys"),
		  show_count(b, p, "held"));
}

static void show_peer(const struct cJSON *p)
{
	out_painted(PAINT_HEAD, "%s", show_text(p, "name", "?"));
	out_text(" %s", show_text(p, "address", "?"));
	if (show_has(p, "local"))
		out_text(" from %s", show_text(p, "local", "?"));
	out_text(": ");
	out_painted(paint_of_state(p), "%s", show_text(p, "state", "?"));
	if (show_has(p, "epoch"))
		out_text(", %s", show_is(p, "verified") ? "verified" : "not verified");
	if (is_permissive(p)) {
		out_text(", ");
		out_painted(PAINT_WARN, "permissive: clear text is allowed");
	}
	out_text("\n");
	if (show_has(p, "identity"))
		out_field("identity", "%s %s, valid until %s", show_text(p, "identity.name", "-"),
			  show_text(p, "identity.pin", ""), show_date(p, "identity.not_after"));
	out_field("link", "%s%s%s", show_text(p, "link", "?"),
		  show_has(p, "role") ? ", we are the " : "", show_text(p, "role", ""));
	if (show_has(p, "epoch"))
		show_pair(p);
	show_trouble(p, true);
	show_left(p);
}

static void show_status(const struct cJSON *d, bool several)
{
	const struct cJSON *peers = json_member(d, "peers");

	if (!several && json_first(peers) != NULL) {
		show_peer(json_first(peers));
		return;
	}
	show_agent(d);
	out_text("\n");
	if (json_first(peers) == NULL)
		out_text("no peers; add one with \"sapair up ADDRESS\" or in the config\n");
	else
		show_list(peers);
}

static int run_status(const struct args *a, struct err *e)
{
	return request_run(a, CTL_STATUS, show_status, e);
}

const struct verb verb_status = {
	.name = "status",
	.words = "[PEER]",
	.text = "show the state of the agent and its peers",
	.more = "Exits with status 3 if PEER is not up.",
	.example = "sapair status --json",
	.options = {verb_timeout},
	.run = run_status,
};
