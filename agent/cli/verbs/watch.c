/*
 * agent/cli/verbs/watch.c - watch: events as they happen.
 */
#include <stdio.h>
#include <string.h>

#include "agent/cli/request.h"

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

/* "epoch 7 -> 8", "probes.sent=3", "cause=\"no reply\"" */
static void show_member(const char *prefix, const struct cJSON *v)
{
	char name[80];

	snprintf(name, sizeof name, "%s%s%s", prefix, *prefix != '\0' ? "." : "",
		 json_name(v) != NULL ? json_name(v) : "");
	if (json_is_object(v) && show_has(v, "new")) {
		out_text("  %s ", name);
		if (show_has(v, "old")) {
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

static void show_event(const struct cJSON *d)
{
	static const char *const common[] = {"schema", "time", "id", "event", "peer"};
	const char *time = show_text(d, "time", ""), *t = strchr(time, 'T');
	const char *event = show_text(d, "event", "?");

	out_text("%.12s %s ", t != NULL ? t + 1 : time, show_text(d, "peer", "agent"));
	out_painted(paint_of_event(event), "%s", event);
	for (const struct cJSON *m = json_first(d); m != NULL; m = json_next(m)) {
		bool skip = false;

		for (size_t i = 0; i < sizeof common / sizeof common[0]; i++)
			skip = skip || strcmp(json_name(m), common[i]) == 0;
		if (!skip)
			show_member("", m);
	}
	out_text("\n");
	out_flush();
}

/* Prints an event of the peer. Returns 1 if it was one, else 0. */
static int watch_line(const struct request *q, const char *line, size_t len, struct err *e)
{
	const char *peer = args_word(q->args, 0);
	struct json_doc *doc;
	const struct cJSON *d;
	bool wanted;

	if (request_parse(&doc, line, len, e) < 0)
		return -1;
	d = json_root(doc);
	if (strcmp(show_text(d, "schema", ""), "sapair.event/1") != 0)
		wanted = true; /* an error document: the request was refused */
	else
		wanted = peer == NULL || strcmp(show_text(d, "peer", ""), peer) == 0;
	if (wanted && q->args->json)
		out_document(line, len);
	else if (wanted && json_member(d, "event") != NULL)
		show_event(d);
	json_close(doc);
	return wanted ? 1 : 0;
}

static int watch(struct request *q, uint32_t count, struct err *e)
{
	uint32_t seen = 0;
	const char *line;
	size_t len;
	int rc;

	if (client_send(q->client, &q->req, e) < 0)
		return -1;
	while (count == 0 || seen < count) {
		rc = client_line(q->client, q->deadline_ms, &line, &len, e);
		if (rc == 0)
			return err_set(e, ERR_DOWN, "the agent has stopped");
		if (rc < 0 && e->code == ERR_TIMEOUT && count == 0)
			return 0;
		if (rc < 0 && e->code == ERR_TIMEOUT)
			return err_set(e, ERR_TIMEOUT, "only %u of %u events", seen, count);
		if (rc > 0)
			rc = watch_line(q, line, len, e);
		if (rc < 0)
			return -1;
		seen += (uint32_t)rc;
		if (!out_flush())
			return 0; /* the reader of our output has gone */
	}
	return 0;
}

static int run_watch(const struct args *a, struct err *e)
{
	struct request q;
	uint32_t count = 0, ms = 0;
	int rc;

	request_init(&q, a, CTL_WATCH);
	q.req.timeout_ms = 0;
	if (args_u32(a, "count", 1, UINT32_MAX, &count, e) < 0 ||
	    args_ms(a, "timeout", &ms, e) < 0 ||
	    request_connect(&q, args_text(a, "control"), e) < 0)
		return -1;
	if (ms != 0)
		q.deadline_ms = client_now_ms() + ms;
	rc = watch(&q, count, e);
	request_close(&q);
	return rc;
}

static const struct option watch_options[] = {
	{"count", "N", "exit after N events", false},
	{"timeout", "SECONDS", "exit after that time (default: never)", false},
	OPTION_END,
};

const struct verb verb_watch = {
	.name = "watch",
	.words = "[PEER]",
	.text = "print events as they happen",
	.example = "sapair watch --json",
	.options = {watch_options, verb_control},
	.run = run_watch,
};
