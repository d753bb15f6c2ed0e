/*
 * agent/cli/lab/show.c - a lab as a table, live on a terminal, or as a document.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/client.h"
#include "agent/cli/lab/location.h"
#include "agent/cli/lab/show.h"
#include "agent/cli/out.h"
#include "crypto/date.h"

#define TABLE_MAX 20 /* hosts; above that, only problems are shown */
#define COLUMN 7

/* by enum host_state */
static const char *const states[] = {"unknown", "running", "manual", "failed", "gone"};

/* ---- judging --------------------------------------------------------------------------- */

/* Is the pair up, as host `from` reports it? Hosts that are started by hand report nothing. */
static bool is_well(const struct lab_session *r, size_t from, size_t to, bool need_proof)
{
	const struct lab_cell *c = &r->cells[from * r->lab.n_hosts + to];

	if (r->hosts[from].state == HOST_MANUAL)
		return true;
	return c->seen && (need_proof ? c->verified : strcmp(c->state, "up") == 0);
}

static const char *why_not(const struct lab_session *r, size_t from, size_t to)
{
	const struct lab_cell *c = &r->cells[from * r->lab.n_hosts + to];

	if (r->hosts[from].state == HOST_FAILED)
		return r->hosts[from].cause;
	if (r->hosts[to].state == HOST_FAILED && c->cause[0] == '\0')
		return r->hosts[to].cause;
	if (c->cause[0] != '\0')
		return c->cause;
	if (!c->seen && r->hosts[from].cause[0] != '\0')
		return r->hosts[from].cause;
	return !c->seen                      ? "not reported"
	       : strcmp(c->state, "up") == 0 ? "up, but not verified"
					     : "not up";
}

/* Finds the next pair that is not well, at or after *cell of r->cells. */
static bool next_problem(const struct lab_session *r, bool need_proof, size_t *cell)
{
	const size_t n = r->lab.n_hosts;

	while (*cell < n * n && (lab_find_pair(&r->lab, *cell / n, *cell % n) == NULL ||
				 is_well(r, *cell / n, *cell % n, need_proof)))
		++*cell;
	return *cell < n * n;
}

/* The exit status of the first problem. */
static int worst(const struct lab_session *r, bool need_proof)
{
	size_t cell = 0;

	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (r->hosts[i].state == HOST_FAILED)
			return r->hosts[i].exit;
	if (!next_problem(r, need_proof, &cell))
		return 0;
	return r->cells[cell].exit != 0 ? r->cells[cell].exit : err_exit_status(ERR_DOWN);
}

/* ---- the table ------------------------------------------------------------------------- */

static void print_cell(const struct lab_session *r, size_t from, size_t to)
{
	const struct lab_cell *c = &r->cells[from * r->lab.n_hosts + to];
	const char *text = "...";
	enum paint p = PAINT_WARN;
	char rtt[16];

	if (from == to || lab_find_pair(&r->lab, from, to) == NULL) {
		text = "-";
		p = PAINT_DIM;
	} else if (r->hosts[from].state == HOST_MANUAL) {
		text = "?";
		p = PAINT_DIM;
	} else if (c->verified) {
		snprintf(rtt, sizeof rtt, "%.2f", c->rtt_ms < 9999 ? c->rtt_ms : 9999);
		text = c->has_rtt ? rtt : "ok";
		p = PAINT_GOOD;
	} else if (r->hosts[from].state == HOST_FAILED || c->cause[0] != '\0') {
		text = "FAIL";
		p = PAINT_BAD;
	} else if (c->seen) {
		text = c->state;
	}
	/* pad by hand: colour codes have no width */
	out_text(" %*s", COLUMN - (int)strnlen(text, COLUMN), "");
	out_painted(p, "%.*s", COLUMN, text);
}

static size_t print_table(const struct lab_session *r)
{
	size_t n = r->lab.n_hosts;

	if (n > TABLE_MAX)
		return 0;
	out_text("%-12s", "from \\ to");
	for (size_t k = 0; k < n; k++)
		out_text(" %*.*s", COLUMN, COLUMN, r->lab.hosts[k].name);
	out_text("\n");
	for (size_t i = 0; i < n; i++) {
		out_text("%-12.12s", r->lab.hosts[i].name);
		for (size_t k = 0; k < n; k++)
			print_cell(r, i, k);
		out_text("\n");
	}
	return n + 1;
}

void lab_show_live(struct lab_session *r)
{
	if (r->lines > 0)
		out_text("\033[%zuA\r\033[J", r->lines);
	r->lines = print_table(r);
	out_flush();
}

/* ---- all of it ------------------------------------------------------------------------- */

static size_t count_well(const struct lab_session *r, bool need_proof)
{
	size_t well = 0;

	for (size_t i = 0; i < r->lab.n_pairs; i++) {
		const struct lab_pair *p = &r->lab.pairs[i];

		if (is_well(r, p->a, p->b, need_proof) && is_well(r, p->b, p->a, need_proof))
			well++;
	}
	return well;
}

static void show_text_(struct lab_session *r, bool need_proof)
{
	size_t n = r->lab.n_hosts, well = count_well(r, need_proof);
	char span[OUT_NUMBER];

	if (r->live)
		lab_show_live(r);
	else
		print_table(r);
	for (size_t i = 0; i < n; i++) {
		if (r->hosts[i].state == HOST_FAILED)
			out_note("host %s: %s", r->lab.hosts[i].name, r->hosts[i].cause);
		if (r->hosts[i].state == HOST_MANUAL)
			out_note(
				"host %s: no ssh: run \"sapair run --bundle\" there by hand, with %s/%s%s",
				r->lab.hosts[i].name, r->dir, r->lab.hosts[i].name, BUNDLE_SUFFIX);
	}
	for (size_t cell = 0; next_problem(r, need_proof, &cell); cell++)
		if (r->hosts[cell / n].state != HOST_FAILED)
			out_note("%s -> %s: %s", r->lab.hosts[cell / n].name,
				 r->lab.hosts[cell % n].name, why_not(r, cell / n, cell % n));
	if (r->where == LAB_NETNS)
		out_note("to run a command on a host: ip netns exec %s.HOST COMMAND", r->netns);
	out_ms(span, (double)(client_now_ms() - r->started_ms));
	out_painted(well == r->lab.n_pairs ? PAINT_GOOD : PAINT_BAD, "%zu of %zu pair%s %s", well,
		    r->lab.n_pairs, r->lab.n_pairs == 1 ? "" : "s",
		    need_proof ? "verified in both directions" : "up in both directions");
	out_text(", %s\n", span);
}

static void put_cell(struct json_out *o, const struct lab_session *r, size_t from, size_t to,
		     bool need_proof)
{
	const struct lab_cell *c = &r->cells[from * r->lab.n_hosts + to];

	json_put_open(o, NULL);
	json_put_text(o, "from", r->lab.hosts[from].name);
	json_put_text(o, "to", r->lab.hosts[to].name);
	json_put_bool(o, "ok", is_well(r, from, to, need_proof));
	if (c->state[0] != '\0')
		json_put_text(o, "state", c->state);
	if (c->suite[0] != '\0')
		json_put_text(o, "suite", c->suite);
	if (c->epoch[0] != '\0')
		json_put_text(o, "epoch", c->epoch);
	json_put_bool(o, "verified", c->verified);
	if (c->verified && c->has_rtt)
		json_put_ms(o, "rtt_ms", (uint64_t)(c->rtt_ms * 1000));
	if (!is_well(r, from, to, need_proof))
		json_put_text(o, "cause", why_not(r, from, to));
	json_put_close(o);
}

static void show_json(const struct lab_session *r, const char *verb, int status, bool need_proof)
{
	bool is_down = strcmp(verb, "down") == 0;
	size_t n = r->lab.n_hosts, size = 2048 + OS_PATH_MAX + n * 1024 + 2 * r->lab.n_pairs * 1024;
	char *buf = malloc(size), when[DATE_TEXT], at[ENDPOINT_TEXT];
	struct json_out o;

	if (buf == NULL)
		return;
	out_begin(&o, buf, size, "sapair.lab/1");
	json_put_text(&o, "lab", r->lab.name);
	json_put_text(&o, "verb", verb);
	json_put_bool(&o, "ok", status == 0);
	json_put_bool(&o, "changed", r->changed);
	json_put_text(&o, "where", lab_location_words[r->where]);
	json_put_text(&o, "dir", r->dir);
	if (r->until != 0) {
		date_put(when, r->until);
		json_put_text(&o, "not_after", when);
	}
	json_put_array(&o, "hosts");
	for (size_t i = 0; i < n; i++) {
		json_put_open(&o, NULL);
		json_put_text(&o, "name", r->lab.hosts[i].name);
		endpoint_put(at, &r->lab.hosts[i].at[0]);
		json_put_text(&o, "address", at);
		if (r->where == LAB_NETNS && !is_down)
			json_put_text(&o, "netns", r->hosts[i].netns);
		json_put_text(&o, "state", states[r->hosts[i].state]);
		json_put_bool(&o, "changed", r->hosts[i].changed);
		if (r->hosts[i].state == HOST_FAILED) {
			json_put_u64(&o, "exit", (uint64_t)r->hosts[i].exit);
			json_put_text(&o, "cause", r->hosts[i].cause);
		}
		json_put_close(&o);
	}
	json_put_array_end(&o);
	json_put_array(&o, "pairs");
	for (size_t i = 0; !is_down && i < n; i++)
		for (size_t k = 0; k < n; k++)
			if (lab_find_pair(&r->lab, i, k) != NULL)
				put_cell(&o, r, i, k, need_proof);
	json_put_array_end(&o);
	if (!is_down)
		json_put_u64(&o, "well", count_well(r, need_proof));
	json_put_ms(&o, "ms", (client_now_ms() - r->started_ms) * 1000);
	out_end(&o);
	free(buf);
}

int lab_show(struct lab_session *r, const char *verb, bool need_proof)
{
	int status = worst(r, need_proof);

	if (r->args->json)
		show_json(r, verb, status, need_proof);
	else
		show_text_(r, need_proof);
	return status;
}

int lab_show_down(struct lab_session *r)
{
	size_t gone = 0;
	int status = 0;

	for (size_t i = 0; i < r->lab.n_hosts; i++) {
		const struct lab_host_state *h = &r->hosts[i];

		if (h->state != HOST_FAILED) {
			gone++;
			continue;
		}
		status = status != 0 ? status : h->exit;
		if (!r->args->json)
			out_note("host %s: %s", r->lab.hosts[i].name, h->cause);
	}
	if (r->args->json)
		show_json(r, "down", status, false);
	else if (status != 0)
		out_text("%zu of %zu hosts are stopped; run it again for the others\n", gone,
			 r->lab.n_hosts);
	else
		out_text("lab %s is down%s: everything is removed\n", r->lab.name,
			 r->changed ? "" : " already");
	return status;
}
