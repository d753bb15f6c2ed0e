/*
 * agent/cli/lab/query.c - queries the agents of a lab, and reads their replies.
 */
#include "agent/cli/lab/query.h"

#include <stdio.h>
#include <string.h>

#include "agent/cli/lab/show.h"
#include "agent/cli/show.h"
#include "proto/json/scan.h"

#define GRACE_MS 5000u

uint64_t lab_query_limit_ms(uint32_t timeout_ms)
{
	return timeout_ms != 0 ? (uint64_t)timeout_ms + GRACE_MS : UINT64_MAX;
}

int lab_query_run(struct lab_session *r, const char *words, uint32_t timeout_ms, struct err *e)
{
	const struct lab_command c = {.args = words,
				      .selects = lab_session_is_running,
				      .on_line = lab_query_document,
				      .timeout_ms = lab_query_limit_ms(timeout_ms)};

	return lab_remote_run(r, &c, e);
}

void lab_query_mark_manual(struct lab_session *r)
{
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (r->where == LAB_SSH && r->lab.hosts[i].ssh[0] == '\0')
			r->hosts[i].state = HOST_MANUAL;
}

int lab_query_status(struct lab_session *r, struct err *e)
{
	static const struct lab_command c = {.args = "status --json --timeout 4",
					     .on_line = lab_query_document,
					     .must_succeed = true};

	lab_query_mark_manual(r);
	if (lab_remote_run(r, &c, e) < 0)
		return -1;
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (r->hosts[i].state == HOST_UNKNOWN)
			lab_session_fail(r, i, err_exit_status(ERR_DOWN),
					 "its agent is not running");
	return 0;
}

/* ---- replies --------------------------------------------------------------------------- */

void lab_query_word(struct parallel_command *j, char *line, size_t len)
{
	size_t host;
	struct lab_session *r = lab_remote_session(j, &host);

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

static struct lab_cell *cell_of(struct lab_session *r, size_t from, const char *peer)
{
	size_t to = peer != NULL ? lab_find_host(&r->lab, peer) : SIZE_MAX;

	if (to == SIZE_MAX || lab_find_pair(&r->lab, from, to) == NULL)
		return NULL;
	return &r->cells[from * r->lab.n_hosts + to];
}

static void take_pair(struct lab_cell *c, const struct cJSON *d, const char *rtt)
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
	if (show_has(d, "protected")) {
		c->is_judged = true;
		c->is_protected = show_is(d, "protected");
		c->is_exposed = show_is_exposed(d);
		c->is_carrying = show_is(d, "carrying");
		show_protected(c->protection, d);
	}
	c->has_rtt = show_number(d, rtt, &c->rtt_ms);
	c->exit = show_number(d, "exit", &exit_status) ? (int)exit_status : 0;
	if (c->verified)
		c->cause[0] = '\0';
}

static void take_document(struct lab_session *r, size_t host, const struct cJSON *d)
{
	const char *schema = show_text(d, "schema", "");
	const struct cJSON *peers = json_member(d, "peers");
	struct lab_cell *c;

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

void lab_query_document(struct parallel_command *j, char *line, size_t len)
{
	struct json_doc *doc;
	size_t host;
	struct lab_session *r = lab_remote_session(j, &host);

	if (json_open(&doc, line, len, SCAN_DEPTH_MAX | SCAN_DECIMALS, NULL) < 0)
		return;
	take_document(r, host, json_root(doc));
	json_close(doc);
	if (r->live)
		lab_show_live(r);
}
