/*
 * agent/cli/verbs/metrics.c - metrics: the status in Prometheus' text format.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/conf.h"
#include "agent/cli/request.h"
#include "crypto/date.h"

static void head(struct out_page *p, const char *name, const char *type, const char *help)
{
	out_add(p, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
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
static void put_peers(struct out_page *p, const struct cJSON *peers, const struct metric *m)
{
	double n;

	if (!m->same)
		head(p, m->name, m->type, m->help);
	for (const struct cJSON *d = json_first(peers); d != NULL; d = json_next(d))
		if (show_number(d, m->path, &n))
			out_add(p, "%s{peer=\"%s\"%s%s} %.9g\n", m->name, show_text(d, "name", ""),
				m->label != NULL ? "," : "", m->label != NULL ? m->label : "",
				n * m->factor);
}

static void put_flag(struct out_page *p, const struct cJSON *peers, const char *name,
		     const char *help, bool (*is)(const struct cJSON *d))
{
	head(p, name, "gauge", help);
	for (const struct cJSON *d = json_first(peers); d != NULL; d = json_next(d))
		out_add(p, "%s{peer=\"%s\"} %d\n", name, show_text(d, "name", ""), is(d) ? 1 : 0);
}

static bool is_up(const struct cJSON *d)
{
	return strcmp(show_text(d, "state", ""), "up") == 0;
}

static bool is_verified(const struct cJSON *d)
{
	return show_is(d, "verified");
}

static bool is_protected(const struct cJSON *d)
{
	return show_is(d, "protected");
}

static bool is_carrying(const struct cJSON *d)
{
	return show_is(d, "carrying");
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
static void put_expiry(struct out_page *p, const struct cJSON *d, const char *role, const char *who)
{
	const char *date = show_text(d, "identity.not_after", "");
	char text[DATE_TEXT];
	int64_t s;

	if (strlen(date) < 19)
		return;
	snprintf(text, sizeof text, "%.19sZ", date);
	if (date_get(&s, text))
		out_add(p,
			"sapair_cert_expiry_timestamp_seconds{role=\"%s\",name=\"%s\"} %" PRId64
			"\n",
			role, who, s);
}

static void put_all(struct out_page *p, const struct cJSON *d)
{
	const struct cJSON *peers = json_member(d, "peers");
	double uptime = 0;

	head(p, "sapair_build_info", "gauge", "Version and back end; the value is 1.");
	out_add(p, "sapair_build_info{version=\"%s\",backend=\"%s\",lab=\"%s\"} 1\n",
		show_text(d, "version", ""), show_text(d, "backend", ""),
		show_is(d, "identity.lab") ? "true" : "false");
	show_number(d, "uptime_s", &uptime);
	head(p, "sapair_uptime_seconds", "gauge", "Time since the agent started.");
	out_add(p, "sapair_uptime_seconds %.0f\n", uptime);
	head(p, "sapair_cert_expiry_timestamp_seconds", "gauge", "Expiry of a certificate.");
	put_expiry(p, d, "own", show_text(d, "name", ""));
	for (const struct cJSON *o = json_first(peers); o != NULL; o = json_next(o))
		put_expiry(p, o, "peer", show_text(o, "name", ""));
	put_flag(p, peers, "sapair_peer_up", "Whether the pair is up.", is_up);
	put_flag(p, peers, "sapair_peer_verified", "Whether the current pair is verified.",
		 is_verified);
	put_flag(p, peers, "sapair_peer_protected",
		 "Whether the pair's traffic cannot pass in clear on this host.", is_protected);
	put_flag(p, peers, "sapair_peer_carrying", "Whether SAs are in force.", is_carrying);
	put_flag(p, peers, "sapair_peer_link_up", "Whether the agents are connected.", is_linked);
	put_flag(p, peers, "sapair_peer_error",
		 "Whether there was an error since the last success.", is_in_trouble);
	for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++)
		put_peers(p, peers, &metrics[i]);
}

static int print_page(struct request *q, const struct cJSON *d, const char *line, size_t len,
		      struct err *e)
{
	const char *file = args_text(q->args, "file");
	struct out_page p = {.size = 16384 + 8 * len};
	char path[OS_PATH_MAX];
	int rc = 0;

	if (q->args->json) {
		out_document(line, len);
		return 0;
	}
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
	return request_ask(a, CTL_STATUS, print_page, NULL, e);
}

static const struct option metrics_options[] = {
	{"file", "FILE", "write to FILE atomically, for a textfile collector", false},
	OPTION_END,
};

const struct verb verb_metrics = {
	.name = "metrics",
	.text = "print metrics of the agent and its pairs for Prometheus",
	.more = "With --json, prints the status document that they are derived from.",
	.example = "sapair metrics --file /var/lib/node_exporter/sapair.prom",
	.options = {metrics_options, verb_control},
	.run = run_metrics,
};
