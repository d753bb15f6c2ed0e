/*
 * agent/cli/verbs/pair.c - verbs that ask a running agent.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/client.h"
#include "agent/cli/out.h"
#include "agent/cli/show.h"
#include "agent/cli/verb.h"
#include "proto/json/json.h"
#include "proto/json/scan.h"

#define GRACE_MS 2000 /* the agent keeps the time itself: it knows what was waited for */
#define DEPTH (SCAN_DEPTH_MAX | SCAN_DECIMALS)

/* ---- the conversation ------------------------------------------------------------------ */

/* One request and what comes back. */
struct asking {
	const struct args *args;
	struct ctl_request req;
	show_document *show;
	struct client *client;
	uint64_t deadline_ms;
	int status; /* of sapair.end/1; -1 before it came */
};

static void show_error(struct asking *q, const struct cJSON *d)
{
	double status = err_exit_status(ERR_BUG);

	show_number(d, "exit", &status);
	if (!q->args->json)
		out_error_text(q->req.all ? show_text(d, "peer", NULL) : NULL,
			       show_text(d, "cause", "unknown"), (int)status,
			       show_text(d, "hint", NULL));
}

/* An agent that is newer than this program may say what would be shown wrongly. */
static bool is_of_this_version(const char *schema)
{
	size_t n = strlen(schema);

	return n > 2 && strcmp(schema + n - 2, "/1") == 0;
}

/* 0, or -1 when it is no document of ours. */
static int take_document(struct asking *q, const char *line, size_t len, const struct cJSON *d,
			 struct err *e)
{
	const char *schema = json_peek(d, "schema");
	double status;

	if (schema == NULL)
		return err_set(e, ERR_BUG, "the agent sent a document without a schema");
	if (!is_of_this_version(schema)) {
		err_set(e, ERR_USAGE, "the agent answers with %s: it is of another version",
			schema);
		return err_hint(e, "use the sapair program that the agent was started from");
	}
	if (strcmp(schema, "sapair.end/1") == 0) {
		if (!show_number(d, "exit", &status))
			return err_set(e, ERR_BUG, "the agent's last document has no exit status");
		q->status = (int)status;
		return 0;
	}
	if (strcmp(schema, "sapair.progress/1") == 0) {
		if (!q->args->json)
			out_note("%s", show_text(d, "text", ""));
		return 0;
	}
	if (q->args->json)
		out_document(line, len);
	if (strcmp(schema, "sapair.error/1") == 0) {
		show_error(q, d);
		return 0;
	}
	if (strcmp(schema, "sapair.started/1") == 0) {
		if (!q->args->json)
			out_text("%s: %s started\n", show_text(d, "peer", ""),
				 show_text(d, "verb", ""));
		return 0;
	}
	if (!q->args->json)
		q->show(d, q->req.all || q->req.peer[0] == '\0');
	return 0;
}

/* 1: a document was taken, 0: the agent is gone. */
static int next_document(struct asking *q, struct err *e)
{
	struct json_doc *doc;
	const char *line;
	size_t len;
	int rc = client_line(q->client, q->deadline_ms, &line, &len, e);

	if (rc <= 0)
		return rc;
	if (json_open(&doc, line, len, DEPTH, false, e) < 0) {
		err_in(e, "the agent's reply");
		if (e->code == ERR_REFUSED)
			e->code = ERR_BUG;
		return -1;
	}
	rc = take_document(q, line, len, json_root(doc), e);
	json_close(doc);
	return rc < 0 ? -1 : 1;
}

static int converse(struct asking *q, struct err *e)
{
	if (client_send(q->client, &q->req, e) < 0)
		return -1;
	while (q->status < 0) {
		int rc = next_document(q, e);

		if (rc < 0 && e->code == ERR_TIMEOUT) {
			err_set(e, ERR_TIMEOUT, "the agent did not answer in %u s",
				(q->req.timeout_ms + GRACE_MS) / 1000);
			return err_hint(e,
					"it may be stopped or very busy; --timeout waits longer");
		}
		if (rc < 0)
			return -1;
		if (rc == 0) {
			err_set(e, ERR_DOWN, "the agent ended before it had answered");
			return err_hint(e, "its log tells why");
		}
	}
	return 0;
}

/* Connects, asks, shows; the exit status is the agent's. */
static int ask(struct asking *q, struct err *e)
{
	int rc;

	q->status = -1;
	if (args_ms(q->args, "timeout", &q->req.timeout_ms, e) < 0 ||
	    client_open(&q->client, args_text(q->args, "control"), e) < 0)
		return -1;
	if (q->req.timeout_ms != 0)
		q->deadline_ms = client_now_ms() + q->req.timeout_ms + GRACE_MS;
	rc = converse(q, e);
	client_close(q->client);
	return rc < 0 ? -1 : q->status;
}

static void begin(struct asking *q, const struct args *a, enum ctl_verb verb, show_document *show)
{
	memset(q, 0, sizeof *q);
	q->args = a;
	q->show = show;
	ctl_request_init(&q->req, verb);
}

static int copy(char *to, size_t size, const char *what, const char *from, struct err *e)
{
	if (strlen(from) >= size)
		return err_set(e, ERR_USAGE, "%s: longer than %zu bytes", what, size - 1);
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

/* PEER or --all, where one of them is needed. */
static int take_peer(struct asking *q, bool needed, struct err *e)
{
	const char *peer = args_word(q->args, 0);

	q->req.all = args_has(q->args, "all");
	if (peer != NULL && q->req.all)
		return err_set(e, ERR_USAGE, "a peer and --all exclude each other");
	if (peer == NULL && !q->req.all && needed) {
		err_set(e, ERR_USAGE, "%s: name a peer, or say --all", q->args->verb->name);
		return err_hint(e, "sapair status lists the peers");
	}
	if (peer == NULL)
		return 0;
	if (*peer == '\0')
		return err_set(e, ERR_USAGE, "%s: an empty name", q->args->verb->name);
	return copy(q->req.peer, sizeof q->req.peer, "peer", peer, e);
}

static int take_wait(struct asking *q, int wait, struct err *e)
{
	if (args_has(q->args, "wait") && args_has(q->args, "no-wait"))
		return err_set(e, ERR_USAGE, "--wait and --no-wait exclude each other");
	if (args_has(q->args, "wait"))
		q->req.wait = wait;
	if (args_has(q->args, "no-wait"))
		q->req.wait = CTL_WAIT_NONE;
	q->req.verify = !args_has(q->args, "no-verify");
	return 0;
}

/* ---- verbs ----------------------------------------------------------------------------- */

int v_status(const struct args *a, struct err *e)
{
	struct asking q;

	begin(&q, a, CTL_STATUS, show_status);
	return take_peer(&q, false, e) < 0 ? -1 : ask(&q, e);
}

int v_up(const struct args *a, struct err *e)
{
	const char *pin = args_text(a, "pin");
	uint8_t bytes[PIN_LEN];
	struct asking q;

	begin(&q, a, CTL_UP, show_up);
	if (take_peer(&q, true, e) < 0 || take_wait(&q, CTL_WAIT_DONE, e) < 0)
		return -1;
	if (pin != NULL && !pin_get(bytes, pin))
		return err_set(e, ERR_USAGE, "--pin: must be sha256: and 64 lower-case hex digits");
	if (pin != NULL && q.req.all)
		return err_set(e, ERR_USAGE, "--pin is of one peer, not of --all");
	if (pin != NULL)
		memcpy(q.req.pin, pin, sizeof q.req.pin);
	return ask(&q, e);
}

int v_down(const struct args *a, struct err *e)
{
	struct asking q;

	begin(&q, a, CTL_DOWN, show_down);
	return take_peer(&q, true, e) < 0 ? -1 : ask(&q, e);
}

int v_rekey(const struct args *a, struct err *e)
{
	const char *reason = args_text(a, "reason");
	struct asking q;

	begin(&q, a, CTL_REKEY, show_rekey);
	if (take_peer(&q, true, e) < 0 || take_wait(&q, CTL_WAIT_DRAIN, e) < 0 ||
	    args_u32(a, "parallel", 1, 10000, &q.req.parallel, e) < 0)
		return -1;
	if (reason != NULL && !text_printable(reason, strlen(reason)))
		return err_set(e, ERR_USAGE, "--reason: must not contain control characters");
	if (reason != NULL && copy(q.req.reason, sizeof q.req.reason, "--reason", reason, e) < 0)
		return -1;
	return ask(&q, e);
}

int v_verify(const struct args *a, struct err *e)
{
	struct asking q;
	uint64_t asked_ms;

	begin(&q, a, CTL_VERIFY, show_verify);
	if (take_peer(&q, true, e) < 0 || args_u32(a, "count", 1, 1000000, &q.req.count, e) < 0 ||
	    args_u32(a, "interval", 0, 60000, &q.req.interval_ms, e) < 0 ||
	    args_u32(a, "parallel", 1, 10000, &q.req.parallel, e) < 0)
		return -1;
	/* The time that was asked for does not count as waiting. */
	asked_ms = (uint64_t)q.req.count * q.req.interval_ms;
	if (asked_ms < UINT32_MAX - q.req.timeout_ms)
		q.req.timeout_ms += (uint32_t)asked_ms;
	return ask(&q, e);
}

int v_reload(const struct args *a, struct err *e)
{
	struct asking q;

	begin(&q, a, CTL_RELOAD, show_reload);
	return ask(&q, e);
}

/* Returns when the agent has let go of its socket: another one can start then. */
int v_stop(const struct args *a, struct err *e)
{
	static const char already[] = "{\"schema\":\"sapair.stop/1\",\"changed\":false}";
	const char *line;
	struct asking q;
	size_t len;
	int rc;

	begin(&q, a, CTL_STOP, show_stop);
	q.status = -1;
	if (args_ms(a, "timeout", &q.req.timeout_ms, e) < 0)
		return -1;
	if (client_open(&q.client, args_text(a, "control"), e) < 0) {
		if (e->code != ERR_DOWN)
			return -1;
		if (a->json)
			out_document(already, sizeof already - 1);
		else
			show_stop(NULL, false);
		return 0;
	}
	if (q.req.timeout_ms != 0)
		q.deadline_ms = client_now_ms() + q.req.timeout_ms + GRACE_MS;
	rc = converse(&q, e);
	while (rc == 0 && client_line(q.client, q.deadline_ms, &line, &len, e) > 0)
		;
	client_close(q.client);
	return rc < 0 ? -1 : q.status;
}

/* ---- watch ----------------------------------------------------------------------------- */

/* 1 when this event was wanted and printed. */
static int watch_line(const struct asking *q, const char *line, size_t len, struct err *e)
{
	const char *peer = args_word(q->args, 0);
	struct json_doc *doc;
	const struct cJSON *d;
	bool wanted;

	if (json_open(&doc, line, len, DEPTH, false, e) < 0)
		return err_in(e, "the agent's event");
	d = json_root(doc);
	if (strcmp(show_text(d, "schema", ""), "sapair.event/1") != 0)
		wanted = true; /* an error: the request was refused */
	else
		wanted = peer == NULL || strcmp(show_text(d, "peer", ""), peer) == 0;
	if (wanted && q->args->json)
		out_document(line, len);
	else if (wanted && json_member(d, "event") != NULL)
		show_event(d, true);
	json_close(doc);
	return wanted ? 1 : 0;
}

static int watch(struct asking *q, uint32_t count, struct err *e)
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
			return err_set(e, ERR_DOWN, "the agent has ended");
		if (rc < 0 && e->code == ERR_TIMEOUT && count == 0)
			return 0; /* the time to watch is over */
		if (rc < 0 && e->code == ERR_TIMEOUT)
			return err_set(e, ERR_TIMEOUT, "%u of %u events in that time", seen, count);
		if (rc > 0)
			rc = watch_line(q, line, len, e);
		if (rc < 0)
			return -1;
		seen += (uint32_t)rc;
		if (!out_flush())
			return 0; /* whoever read us has gone */
	}
	return 0;
}

int v_watch(const struct args *a, struct err *e)
{
	struct asking q;
	uint32_t count = 0, ms = 0;
	int rc;

	begin(&q, a, CTL_WATCH, show_event);
	q.req.timeout_ms = 0;
	if (args_u32(a, "count", 1, UINT32_MAX, &count, e) < 0 ||
	    args_ms(a, "timeout", &ms, e) < 0 ||
	    client_open(&q.client, args_text(a, "control"), e) < 0)
		return -1;
	if (ms != 0)
		q.deadline_ms = client_now_ms() + ms;
	rc = watch(&q, count, e);
	client_close(q.client);
	return rc;
}
