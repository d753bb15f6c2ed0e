/*
 * agent/cli/verbs/metrics.c - metrics: the status in Prometheus' text format.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/client.h"
#include "agent/cli/conf.h"
#include "agent/cli/date.h"
#include "agent/cli/out.h"
#include "agent/cli/show.h"
#include "agent/cli/verb.h"
#include "proto/json/scan.h"

#define ANSWER_MS 10000

struct page {
	char *text;
	size_t n, size;
	bool full;
};

static void add(struct page *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add(struct page *p, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(p->text + p->n, p->size - p->n, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= p->size - p->n)
		p->full = true;
	else
		p->n += (size_t)n;
}

static void head(struct page *p, const char *name, const char *type, const char *help)
{
	add(p, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A number of each peer that has it, at path, multiplied by factor. */
struct metric {
	const char *name, *type, *help;
	const char *label; /* an additional label and its value, or NULL */
	const char *path;
	double factor;
	bool same; /* same metric as the one before: no HELP line */
};

static const struct metric metrics[] = {
	{"sapair_sa_age_seconds", "gauge", "Age of the current pair.", NULL, "age_s", 1, false},
	{"sapair_rekey_in_seconds", "gauge", "Seconds until the next rekey by time.", NULL,
	 "rekey_in_s", 1, false},
	{"sapair_verify_rtt_seconds", "gauge", "Round-trip time of the last verification.", NULL,
	 "verify.rtt_ms", 0.001, false},
	{"sapair_verify_age_seconds", "gauge", "Age of the last verification.", NULL,
	 "verify.age_s", 1, false},
	{"sapair_exchanges_total", "counter", "Successful exchanges, including the first.", NULL,
	 "rekeys", 1, false},
	{"sapair_held_pairs", "gauge", "Superseded pairs that are still draining.", NULL, "held", 1,
	 false},
	{"sapair_sa_packets", "gauge", "Packets on the current SA.", "direction=\"in\"",
	 "in.packets", 1, false},
	{"sapair_sa_packets", "gauge", "", "direction=\"out\"", "out.packets", 1, true},
	{"sapair_sa_bytes", "gauge", "Payload bytes on the current SA.", "direction=\"in\"",
	 "in.bytes", 1, false},
	{"sapair_sa_bytes", "gauge", "", "direction=\"out\"", "out.bytes", 1, true},
	{"sapair_sa_dropped", "gauge", "Packets dropped by the current inbound SA.",
	 "cause=\"replay\"", "in.replay_dropped", 1, false},
	{"sapair_sa_dropped", "gauge", "", "cause=\"integrity\"", "in.integrity_failed", 1, true},
};

/* Names of peers need no escaping: they consist of letters, digits and . _ : - */
static void put_peers(struct page *p, const struct cJSON *peers, const struct metric *m)
{
	double n;

	if (!m->same)
		head(p, m->name, m->type, m->help);
	for (const struct cJSON *d = json_first(peers); d != NULL; d = json_next(d))
		if (show_number(d, m->path, &n))
			add(p, "%s{peer=\"%s\"%s%s} %.9g\n", m->name, show_text(d, "name", ""),
			    m->label != NULL ? "," : "", m->label != NULL ? m->label : "",
			    n * m->factor);
}

static void put_flag(struct page *p, const struct cJSON *peers, const char *name, const char *help,
		     bool (*is)(const struct cJSON *d))
{
	head(p, name, "gauge", help);
	for (const struct cJSON *d = json_first(peers); d != NULL; d = json_next(d))
		add(p, "%s{peer=\"%s\"} %d\n", name, show_text(d, "name", ""), is(d) ? 1 : 0);
}

static bool is_up(const struct cJSON *d)
{
	return strcmp(show_text(d, "state", ""), "up") == 0;
}

static bool is_verified(const struct cJSON *d)
{
	return show_is(d, "verified");
}

static bool is_linked(const struct cJSON *d)
{
	return strcmp(show_text(d, "link", ""), "up") == 0;
}

static bool is_in_trouble(const struct cJSON *d)
{
	return json_member(d, "error") != NULL;
}

/* Expiry of a certificate. */
static void put_expiry(struct page *p, const struct cJSON *d, const char *role, const char *who)
{
	const char *date = show_text(d, "identity.not_after", "");
	char text[DATE_TEXT];
	int64_t s;

	if (strlen(date) < 19)
		return;
	snprintf(text, sizeof text, "%.19sZ", date);
	if (date_get(&s, text))
		add(p,
		    "sapair_cert_expiry_timestamp_seconds{role=\"%s\",name=\"%s\"} %" PRId64 "\n",
		    role, who, s);
}

static void put_all(struct page *p, const struct cJSON *d)
{
	const struct cJSON *peers = json_member(d, "peers");
	double uptime = 0;

	head(p, "sapair_build_info", "gauge", "Version and back end; the value is 1.");
	add(p, "sapair_build_info{version=\"%s\",backend=\"%s\",lab=\"%s\"} 1\n",
	    show_text(d, "version", ""), show_text(d, "backend", ""),
	    show_is(d, "identity.lab") ? "true" : "false");
	show_number(d, "uptime_s", &uptime);
	head(p, "sapair_uptime_seconds", "gauge", "Time since the agent started.");
	add(p, "sapair_uptime_seconds %.0f\n", uptime);
	head(p, "sapair_cert_expiry_timestamp_seconds", "gauge", "Expiry of a certificate.");
	put_expiry(p, d, "own", show_text(d, "name", ""));
	for (const struct cJSON *o = json_first(peers); o != NULL; o = json_next(o))
		put_expiry(p, o, "peer", show_text(o, "name", ""));
	put_flag(p, peers, "sapair_peer_up", "Whether the pair is up.", is_up);
	put_flag(p, peers, "sapair_peer_verified", "Whether the current pair is verified.",
		 is_verified);
	put_flag(p, peers, "sapair_peer_link_up", "Whether the agents are connected.", is_linked);
	put_flag(p, peers, "sapair_peer_error",
		 "Whether there was an error since the last success.", is_in_trouble);
	for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++)
		put_peers(p, peers, &metrics[i]);
}

static int print_page(const struct args *a, const struct cJSON *d, size_t doc_len, struct err *e)
{
	const char *file = args_text(a, "file");
	struct page p = {.size = 16384 + 8 * doc_len};
	char path[OS_PATH_MAX];
	int rc = 0;

	p.text = malloc(p.size);
	if (p.text == NULL)
		return err_set(e, ERR_BUG, "no memory for %zu bytes", p.size);
	put_all(&p, d);
	if (p.full)
		rc = err_set(e, ERR_BUG, "the metrics do not fit into %zu bytes", p.size);
	else if (file == NULL)
		fwrite(p.text, 1, p.n, stdout);
	else if (conf_absolute(path, NULL, file, e) < 0)
		rc = -1;
	else
		rc = os_write_file(path, p.text, p.n, false, false, e);
	free(p.text);
	return rc;
}

static int run_metrics(const struct args *a, struct err *e)
{
	struct ctl_request req;
	struct json_doc *doc;
	struct client *c;
	const char *line = NULL;
	size_t len = 0;
	int rc;

	ctl_request_init(&req, CTL_STATUS);
	if (client_open(&c, args_text(a, "control"), e) < 0)
		return -1;
	rc = client_send(c, &req, e);
	if (rc == 0)
		rc = client_line(c, client_now_ms() + ANSWER_MS, &line, &len, e);
	if (rc == 0)
		rc = err_set(e, ERR_DOWN, "the agent has stopped");
	if (rc > 0)
		rc = json_open(&doc, line, len, SCAN_DEPTH_MAX | SCAN_DECIMALS, e);
	if (rc == 0) {
		if (a->json)
			out_document(line, len);
		else
			rc = print_page(a, json_root(doc), len, e);
		json_close(doc);
	}
	client_close(c);
	return rc;
}

static const struct option metrics_options[] = {
	{"file", "FILE", "write to FILE atomically, for a textfile collector", false},
	OPTION_END,
};

const struct verb verb_metrics = {
	.name = "metrics",
	.words = "",
	.text = "print metrics of the agent and its pairs for Prometheus",
	.more = "With --json, prints the status document that they are derived from.",
	.example = "sapair metrics --file /var/lib/node_exporter/sapair.prom",
	.options = {metrics_options, verb_control},
	.run = run_metrics,
};
