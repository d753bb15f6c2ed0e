/*
 * agent/cli/lab/result.c - reads what hosts print.
 */
#include "agent/cli/lab/result.h"

#include <stdio.h>
#include <string.h>

#include "agent/cli/lab/remote.h"
#include "agent/cli/lab/show.h"
#include "agent/cli/show.h"
#include "proto/json/scan.h"

/* What the scripts, and Windows hosts, say that they did. */
void lab_result_word(struct parallel_command *j, char *line, size_t len)
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
	c->has_rtt = show_number(d, rtt, &c->rtt_ms);
	if (show_number(d, "exit", &exit_status))
		c->exit = (int)exit_status;
	else
		c->exit = 0;
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

void lab_result_document(struct parallel_command *j, char *line, size_t len)
{
	struct json_doc *doc;
	size_t host;
	struct lab_session *r = lab_remote_session(j, &host);

	if (json_open(&doc, line, len, SCAN_DEPTH_MAX | SCAN_DECIMALS, NULL) < 0)
		return; /* of no use, and nobody's fault here */
	take_document(r, host, json_root(doc));
	json_close(doc);
	if (r->live)
		lab_show_live(r);
}
