/*
 * agent/cli/show.c - for people: short, aligned, the important thing first.
 */
#include "agent/cli/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/out.h"

/* ---- members --------------------------------------------------------------------------- */

static const struct cJSON *at(const struct cJSON *d, const char *path)
{
	char name[40];

	for (;;) {
		size_t n = strcspn(path, ".");

		snprintf(name, sizeof name, "%.*s", (int)n, path);
		d = json_member(d, name);
		if (path[n] == '\0')
			return d;
		path += n + 1;
	}
}

const char *show_text(const struct cJSON *d, const char *path, const char *otherwise)
{
	const char *s = json_string(at(d, path));

	return s != NULL ? s : otherwise;
}

bool show_number(const struct cJSON *d, const char *path, double *n)
{
	const struct cJSON *v = at(d, path);
	const char *s = json_string(v);
	char *end;

	if (s == NULL)
		return json_number(v, n);
	*n = strtod(s, &end);
	return end > s && *end == '\0';
}

bool show_is(const struct cJSON *d, const char *path)
{
	bool b = false;

	return json_boolean(at(d, path), &b) && b;
}

static bool has(const struct cJSON *d, const char *path)
{
	return at(d, path) != NULL;
}

/* Numbers as texts, "-" where there is none. */
static const char *count(char text[OUT_NUMBER], const struct cJSON *d, const char *path)
{
	double n;

	return show_number(d, path, &n) ? out_count(text, n) : "-";
}

static const char *ms(char text[OUT_NUMBER], const struct cJSON *d, const char *path)
{
	double n;

	return show_number(d, path, &n) ? out_ms(text, n) : "-";
}

static const char *span(char text[OUT_NUMBER], const struct cJSON *d, const char *path)
{
	double n;

	return show_number(d, path, &n) ? out_span(text, n) : "-";
}

static const char *date(const struct cJSON *d, const char *path)
{
	static char day[11];

	snprintf(day, sizeof day, "%s", show_text(d, path, "unknown"));
	return day;
}

/* ---- status ---------------------------------------------------------------------------- */

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
	out_text("  back end %s, running for %s, listens on", show_text(d, "backend", "?"),
		 span(text, d, "uptime_s"));
	if (l == NULL)
		out_text(" nothing");
	for (; l != NULL; l = json_next(l))
		out_text(" %s", json_string(l));
	out_text("\n");
	out_field("identity", "%s%s, valid until %s", show_text(d, "identity.pin", "none"),
		  show_is(d, "identity.lab") ? ", lab" : "", date(d, "identity.not_after"));
}

/* The next step is told where one peer is looked at. */
static void show_trouble(const struct cJSON *p, bool hint)
{
	if (!has(p, "error"))
		return;
	out_text("  ");
	out_painted(strcmp(show_text(p, "state", ""), "up") == 0 ? PAINT_WARN : PAINT_BAD, "%s",
		    show_text(p, "error.cause", ""));
	out_text(" (%s)\n", show_text(p, "error.class", ""));
	if (hint && has(p, "error.hint"))
		out_text("  %s\n", show_text(p, "error.hint", ""));
}

/* One column of the list of peers. */
#define CELL 80
static void cell(char text[CELL], const struct cJSON *p, int column)
{
	char number[OUT_NUMBER];
	const char *s;

	switch (column) {
	case 0:
		s = show_text(p, "name", "?");
		break;
	case 1:
		s = show_text(p, "address", "?");
		break;
	case 2:
		snprintf(text, CELL, "%s%s", show_text(p, "state", "?"),
			 is_permissive(p) ? ", permissive" : "");
		return;
	case 3:
		s = !has(p, "epoch") ? "-" : show_is(p, "verified") ? "yes" : "no";
		break;
	case 4:
		s = show_text(p, "epoch", "-");
		break;
	case 5:
		s = show_text(p, "in.spi", "-");
		break;
	case 6:
		s = show_text(p, "out.spi", "-");
		break;
	case 7:
		s = span(number, p, "age_s");
		break;
	default:
		s = span(number, p, "rekey_in_s");
		break;
	}
	snprintf(text, CELL, "%s", s);
}

static void show_list(const struct cJSON *peers)
{
	static const char *const heads[] = {"PEER", "ADDRESS", "STATE", "VERIFIED", "EPOCH",
					    "IN",   "OUT",     "AGE",   "REKEY IN"};
	enum { COLUMNS = sizeof heads / sizeof heads[0] };
	int widths[COLUMNS];
	char text[CELL];

	for (int c = 0; c < COLUMNS; c++) {
		widths[c] = (int)strlen(heads[c]);
		for (const struct cJSON *p = json_first(peers); p != NULL; p = json_next(p)) {
			cell(text, p, c);
			if ((int)strlen(text) > widths[c])
				widths[c] = (int)strlen(text);
		}
	}
	for (int c = 0; c < COLUMNS; c++)
		out_painted(PAINT_HEAD, "%-*s", c + 1 < COLUMNS ? widths[c] + 2 : 0, heads[c]);
	out_text("\n");
	for (const struct cJSON *p = json_first(peers); p != NULL; p = json_next(p)) {
		for (int c = 0; c < COLUMNS; c++) {
			cell(text, p, c);
			out_painted(c == 2 ? paint_of_state(p) : PAINT_NONE, "%-*s",
				    c + 1 < COLUMNS ? widths[c] + 2 : 0, text);
		}
		out_text("\n");
		show_trouble(p, false);
	}
}

/* "c8d1f02a  8,123 packets, 9.9 MB, 0 replayed, 0 broken": unknown numbers are left out. */
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
		len += (size_t)snprintf(line + len, sizeof line - len, ", %s replayed: dropped",
					out_count(n, v));
	if (show_number(sa, "integrity_failed", &v) && v > 0)
		snprintf(line + len, sizeof line - len, ", %s broken: dropped", out_count(n, v));
	out_field(name, "%s", line);
}

static void show_pair(const struct cJSON *p)
{
	char a[OUT_NUMBER], b[OUT_NUMBER], c[OUT_NUMBER];

	show_sa(p, "in");
	show_sa(p, "out");
	out_field("suite", "%s%s", show_text(p, "suite", "?"), show_is(p, "esn") ? ", ESN" : "");
	out_field("epoch", "%s, since %s; rekey in %s, hard end in %s", show_text(p, "epoch", "?"),
		  span(a, p, "age_s"), span(b, p, "rekey_in_s"), span(c, p, "hard_in_s"));
	if (show_is(p, "verified"))
		out_field("verified", "%s ago, %s there and back", span(a, p, "verify.age_s"),
			  ms(b, p, "verify.rtt_ms"));
	else
		out_field("verified", "no");
	out_field("rekeys", "%s, old pairs that drain: %s", count(a, p, "rekeys"),
		  count(b, p, "held"));
}

static void show_peer(const struct cJSON *p)
{
	out_painted(PAINT_HEAD, "%s", show_text(p, "name", "?"));
	out_text(" %s", show_text(p, "address", "?"));
	if (has(p, "local"))
		out_text(" from %s", show_text(p, "local", "?"));
	out_text(": ");
	out_painted(paint_of_state(p), "%s", show_text(p, "state", "?"));
	if (has(p, "epoch"))
		out_text(", %s", show_is(p, "verified") ? "verified" : "not verified");
	if (is_permissive(p)) {
		out_text(", ");
		out_painted(PAINT_WARN, "permissive: clear text is let through");
	}
	out_text("\n");
	if (has(p, "identity"))
		out_field("identity", "%s %s, valid until %s", show_text(p, "identity.name", "-"),
			  show_text(p, "identity.pin", ""), date(p, "identity.not_after"));
	out_field("link", "%s%s%s", show_text(p, "link", "?"),
		  has(p, "role") ? ", we are the " : "", show_text(p, "role", ""));
	if (has(p, "epoch"))
		show_pair(p);
	show_trouble(p, true);
}

void show_status(const struct cJSON *d, bool several)
{
	const struct cJSON *peers = json_member(d, "peers");

	if (!several && json_first(peers) != NULL) {
		show_peer(json_first(peers));
		return;
	}
	show_agent(d);
	out_text("\n");
	if (json_first(peers) == NULL)
		out_text("no peers: add one with \"sapair up ADDRESS\" or in the config\n");
	else
		show_list(peers);
}

/* ---- up, down -------------------------------------------------------------------------- */

void show_up(const struct cJSON *d, bool several)
{
	const char *state = show_text(d, "state", "?");
	bool is_up = strcmp(state, "up") == 0;
	char a[OUT_NUMBER], b[OUT_NUMBER];

	out_painted(PAINT_HEAD, "%s", show_text(d, "peer", "?"));
	out_text(" ");
	out_painted(is_up ? PAINT_GOOD : PAINT_WARN, "%s", state);
	if (is_up && !show_is(d, "changed"))
		out_text(" already");
	if (!several && is_up) {
		out_text("\n");
		out_field("in", "%s", show_text(d, "in.spi", "?"));
		out_field("out", "%s", show_text(d, "out.spi", "?"));
		out_field("suite", "%s, epoch %s", show_text(d, "suite", "?"),
			  show_text(d, "epoch", "?"));
		if (has(d, "verified"))
			out_field("verified", "%s, %s there and back",
				  show_is(d, "verified") ? "yes" : "NO", ms(a, d, "rtt_ms"));
		out_text("done in %s\n", ms(b, d, "ms"));
		return;
	}
	if (is_up)
		out_text("  in %s  out %s%s", show_text(d, "in.spi", "?"),
			 show_text(d, "out.spi", "?"),
			 !has(d, "verified")      ? ""
			 : show_is(d, "verified") ? "  verified"
						  : "  NOT verified");
	out_text("\n");
}

void show_down(const struct cJSON *d, bool several)
{
	(void)several;
	out_text("%s is down%s\n", show_text(d, "peer", "?"),
		 show_is(d, "changed") ? ": no SA and no policy is left" : " already");
}

/* ---- rekey ----------------------------------------------------------------------------- */

static void show_epoch(const struct cJSON *d)
{
	out_painted(PAINT_HEAD, "%s", show_text(d, "peer", "?"));
	if (has(d, "epoch.old"))
		out_text(" epoch %s -> %s", show_text(d, "epoch.old", ""),
			 show_text(d, "epoch.new", "?"));
	else
		out_text(" epoch %s", show_text(d, "epoch.new", "?"));
}

static void show_probes(const struct cJSON *d)
{
	char a[OUT_NUMBER], b[OUT_NUMBER], c[OUT_NUMBER];

	if (!has(d, "verified"))
		return;
	if (show_is(d, "verified"))
		out_painted(PAINT_GOOD, "verified");
	else
		out_painted(PAINT_BAD, "NOT verified");
	out_text(": %s of %s probes lost, %s there and back", count(a, d, "probes.lost"),
		 count(b, d, "probes.sent"), ms(c, d, "rtt_ms"));
}

static void show_spis(const struct cJSON *d, const char *name)
{
	out_text("%s ", name);
	if (has(json_member(d, name), "old"))
		out_text("%s -> ", show_text(json_member(d, name), "old", ""));
	out_text("%s", show_text(json_member(d, name), "new", "?"));
}

void show_rekey(const struct cJSON *d, bool several)
{
	char a[OUT_NUMBER], b[OUT_NUMBER];
	double waited = 0;

	show_epoch(d);
	if (several) {
		out_text("  ");
		show_spis(d, "in");
		out_text("  ");
		show_spis(d, "out");
		out_text("  %s  ", ms(a, d, "ms.total"));
		show_probes(d);
		out_text("\n");
		return;
	}
	out_text("\n  ");
	show_spis(d, "in");
	out_text("     ");
	show_spis(d, "out");
	out_text("\n  inbound ready after %s, outbound switched after %s\n", ms(a, d, "ms.inbound"),
		 ms(b, d, "ms.switch"));
	if (show_is(d, "joined"))
		out_text("  joined a rekey that was running already\n");
	if (show_number(d, "ms.waited", &waited) && waited >= 1)
		out_text("  begun after %s%s\n", out_ms(a, waited),
			 show_is(d, "limited") ? ": the rate limit (rekey.min_interval_ms)" : "");
	if (has(d, "epoch.old") && show_is(d, "drained"))
		out_text("  the old SAs are gone\n");
	else if (has(d, "epoch.old"))
		out_text("  the old SAs stay for %s (out) and %s (in)\n",
			 ms(a, d, "overlap_ms.out"), ms(b, d, "overlap_ms.in"));
	if (has(d, "verified")) {
		out_text("  ");
		show_probes(d);
		out_text("\n");
	}
	out_text("done in %s\n", ms(a, d, "ms.total"));
}

/* ---- verify ---------------------------------------------------------------------------- */

void show_verify(const struct cJSON *d, bool several)
{
	char a[OUT_NUMBER], b[OUT_NUMBER], c[OUT_NUMBER];

	out_painted(PAINT_HEAD, "%s", show_text(d, "peer", "?"));
	out_text(" ");
	if (show_is(d, "verified"))
		out_painted(PAINT_GOOD, "verified");
	else
		out_painted(PAINT_BAD, "NOT verified");
	out_text(": %s of %s probes came back", count(a, d, "probes.echoed"),
		 count(b, d, "probes.sent"));
	if (has(d, "probes.arrived"))
		out_text(", %s arrived", count(c, d, "probes.arrived"));
	if (has(d, "rtt_ms"))
		out_text(", %s (%s to %s)", ms(a, d, "rtt_ms.median"), ms(b, d, "rtt_ms.min"),
			 ms(c, d, "rtt_ms.max"));
	out_text(", epoch %s\n", show_text(d, "epoch", "?"));
	if (!several && has(d, "counts")) {
		out_text("  out   we sent %s packets, the peer took %s\n",
			 count(a, d, "counts.out"), count(b, d, "counts.peer_in"));
		out_text("  in    the peer sent %s packets, we took %s\n",
			 count(a, d, "counts.peer_out"), count(b, d, "counts.in"));
	}
}

/* ---- reload, stop ------------------------------------------------------------------------ */

static void show_names(const struct cJSON *d, const char *name)
{
	const struct cJSON *n = json_first(json_member(d, name));

	if (n == NULL)
		return;
	out_text("  %-8s", name);
	for (; n != NULL; n = json_next(n))
		out_text(" %s", json_string(n));
	out_text("\n");
}

void show_reload(const struct cJSON *d, bool several)
{
	char a[OUT_NUMBER];

	(void)several;
	out_text("%s, %s peers as before\n",
		 show_is(d, "changed") ? "reloaded" : "nothing had changed", count(a, d, "same"));
	show_names(d, "added");
	show_names(d, "removed");
	show_names(d, "updated");
	if (show_is(d, "identity_changed"))
		out_text("  the identity is new: links take it when they are made anew\n");
}

void show_stop(const struct cJSON *d, bool several)
{
	(void)several;
	out_text("%s\n", show_is(d, "changed") ? "the agent has ended" : "no agent was running");
}

/* ---- events ---------------------------------------------------------------------------- */

static void show_value(const struct cJSON *v)
{
	const char *s = json_string(v);
	double n;
	bool b;

	if (s != NULL)
		out_text(strpbrk(s, " \"=") != NULL || *s == '\0' ? "\"%s\"" : "%s", s);
	else if (json_number(v, &n))
		out_text("%.10g", n);
	else if (json_boolean(v, &b))
		out_text("%s", b ? "true" : "false");
	else
		out_text("-");
}

/* "epoch 7 -> 8", "probes.sent=3", "cause=\"no reply\"": whatever an event has. */
static void show_member(const char *prefix, const struct cJSON *v)
{
	char name[80];

	snprintf(name, sizeof name, "%s%s%s", prefix, *prefix != '\0' ? "." : "",
		 json_name(v) != NULL ? json_name(v) : "");
	if (json_is_object(v) && has(v, "new")) {
		out_text("  %s ", name);
		if (has(v, "old")) {
			show_value(json_member(v, "old"));
			out_text(" -> ");
		}
		show_value(json_member(v, "new"));
	} else if (json_is_object(v)) {
		for (const struct cJSON *m = json_first(v); m != NULL; m = json_next(m))
			show_member(name, m);
	} else if (json_is_array(v)) {
		out_text("  %s=", name);
		for (const struct cJSON *m = json_first(v); m != NULL; m = json_next(m)) {
			show_value(m);
			out_text("%s", json_next(m) != NULL ? "," : "");
		}
	} else {
		out_text("  %s=", name);
		show_value(v);
	}
}

static enum paint paint_of_event(const char *event)
{
	static const char *const good[] = {"up", "verified", "rekey-done", "link-up"};
	static const char *const bad[] = {"rekey-failed", "verify-failed", "auth-refused",
					  "expired",      "system-error",  "foreign-change"};

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		if (strcmp(event, good[i]) == 0)
			return PAINT_GOOD;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (strcmp(event, bad[i]) == 0)
			return PAINT_BAD;
	return PAINT_NONE;
}

void show_event(const struct cJSON *d, bool several)
{
	static const char *const told[] = {"schema", "time", "id", "event", "peer"};
	const char *time = show_text(d, "time", ""), *t = strchr(time, 'T');
	const char *event = show_text(d, "event", "?");

	(void)several;
	out_text("%.12s %s ", t != NULL ? t + 1 : time, show_text(d, "peer", "agent"));
	out_painted(paint_of_event(event), "%s", event);
	for (const struct cJSON *m = json_first(d); m != NULL; m = json_next(m)) {
		bool skip = false;

		for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
			skip = skip || strcmp(json_name(m), told[i]) == 0;
		if (!skip)
			show_member("", m);
	}
	out_text("\n");
	out_flush();
}
