/*
 * agent/cli/request.c - the conversation with a running agent.
 */
#include "agent/cli/request.h"

#include <string.h>

#define GRACE_MS 2000 /* beyond the agent's own time limit, which gives the better error */

/* ---- the reply ------------------------------------------------------------------------- */

int request_parse(struct json_doc **doc, const char *line, size_t len, struct err *e)
{
	if (json_open(doc, line, len, SCAN_DEPTH_MAX | SCAN_DECIMALS, e) == 0)
		return 0;
	err_in(e, "the agent's reply");
	if (e != NULL && e->code == ERR_REFUSED)
		e->code = ERR_BUG;
	return -1;
}

static void show_error(struct request *q, const struct cJSON *d)
{
	double status = err_exit_status(ERR_BUG);

	show_number(d, "exit", &status);
	out_error_text(q->req.all ? show_text(d, "peer", NULL) : NULL,
		       show_text(d, "cause", "unknown"), (int)status, show_text(d, "hint", NULL));
}

/* Documents of another version might be shown wrongly. */
static bool is_of_this_version(const char *schema)
{
	size_t n = strlen(schema);

	return n > 2 && strcmp(schema + n - 2, "/1") == 0;
}

/* Returns -1 for anything that is not a document of this version. */
static int take_document(struct request *q, const char *line, size_t len, const struct cJSON *d,
			 struct err *e)
{
	const char *schema = json_peek(d, "schema");
	double status;
	bool is_error;

	if (schema == NULL)
		return err_set(e, ERR_BUG, "the agent sent a document without a schema");
	if (!is_of_this_version(schema)) {
		err_set(e, ERR_USAGE, "the agent sent %s: its version differs from this program's",
			schema);
		return err_hint(e, "use the sapair program that the agent was started with");
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
	is_error = strcmp(schema, "sapair.error/1") == 0;
	if (q->take != NULL && !is_error)
		return q->take(q, d, line, len, e);
	if (q->args->json)
		out_document(line, len);
	else if (is_error)
		show_error(q, d);
	else if (strcmp(schema, "sapair.started/1") == 0)
		out_text("%s: %s started\n", show_text(d, "peer", ""), show_text(d, "verb", ""));
	else
		q->show(d, q->req.all || q->req.peer[0] == '\0');
	return 0;
}

/* Returns 1 for a document, 0 when the agent has closed the connection. */
static int next_document(struct request *q, struct err *e)
{
	struct json_doc *doc;
	const char *line;
	size_t len;
	int rc = client_line(q->client, q->deadline_ms, &line, &len, e);

	if (rc <= 0)
		return rc;
	if (request_parse(&doc, line, len, e) < 0)
		return -1;
	rc = take_document(q, line, len, json_root(doc), e);
	json_close(doc);
	wipe((char *)(uintptr_t)line, len); /* there may be keys in it */
	return rc < 0 ? -1 : 1;
}

int request_converse(struct request *q, struct err *e)
{
	if (client_send(q->client, &q->req, e) < 0)
		return -1;
	while (q->status < 0) {
		int rc = next_document(q, e);

		if (rc < 0 && e->code == ERR_TIMEOUT) {
			err_set(e, ERR_TIMEOUT, "the agent did not answer in %u s",
				(q->req.timeout_ms + GRACE_MS) / 1000);
			return err_hint(e, "it may be suspended or busy; --timeout waits longer");
		}
		if (rc < 0)
			return -1;
		if (rc == 0) {
			err_set(e, ERR_DOWN, "the agent exited before it answered");
			return err_hint(e, "see its log");
		}
	}
	return 0;
}

/* ---- the request ----------------------------------------------------------------------- */

void request_init(struct request *q, const struct args *a, enum ctl_verb verb)
{
	memset(q, 0, sizeof *q);
	q->args = a;
	q->status = -1;
	ctl_request_init(&q->req, verb);
}

static int copy(char *to, size_t size, const char *what, const char *from, struct err *e)
{
	if (strlen(from) >= size)
		return err_set(e, ERR_USAGE, "%s: more than %zu bytes", what, size - 1);
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

/* The argument PEER, or --all; one of them is required where the usage begins with PEER. */
static int take_peer(struct request *q, struct err *e)
{
	const struct verb *v = q->args->verb;
	const char *peer = args_word(q->args, 0);

	q->req.all = args_has(q->args, "all");
	if (peer != NULL && q->req.all)
		return err_set(e, ERR_USAGE, "a peer and --all are mutually exclusive");
	if (peer == NULL && !q->req.all && v->words != NULL && v->words[0] == 'P') {
		err_set(e, ERR_USAGE, "%s: give a peer or --all", v->name);
		return err_hint(e, "sapair status lists the peers");
	}
	if (peer == NULL)
		return 0;
	if (*peer == '\0')
		return err_set(e, ERR_USAGE, "%s: empty peer name", v->name);
	return copy(q->req.peer, sizeof q->req.peer, "peer", peer, e);
}

static int take_wait(struct request *q, struct err *e)
{
	if (args_has(q->args, "wait") && args_has(q->args, "no-wait"))
		return err_set(e, ERR_USAGE, "--wait and --no-wait are mutually exclusive");
	if (args_has(q->args, "wait") && q->req.verb == CTL_REKEY)
		q->req.wait = CTL_WAIT_DRAIN;
	if (args_has(q->args, "no-wait"))
		q->req.wait = CTL_WAIT_NONE;
	q->req.verify = !args_has(q->args, "no-verify");
	return 0;
}

static int take_texts(struct request *q, struct err *e)
{
	const char *pin = args_text(q->args, "pin"), *reason = args_text(q->args, "reason");
	uint8_t bytes[PIN_LEN];

	if (pin != NULL && !pin_get(bytes, pin))
		return err_set(e, ERR_USAGE, "--pin: not \"sha256:\" and 64 lower-case hex digits");
	if (pin != NULL && q->req.all)
		return err_set(e, ERR_USAGE, "--pin and --all are mutually exclusive");
	if (pin != NULL)
		memcpy(q->req.pin, pin, sizeof q->req.pin);
	if (reason == NULL)
		return 0;
	if (!text_printable(reason, strlen(reason)))
		return err_set(e, ERR_USAGE, "--reason: must not contain control characters");
	return copy(q->req.reason, sizeof q->req.reason, "--reason", reason, e);
}

/* All members whose options the verb has. */
static int take_args(struct request *q, struct err *e)
{
	const struct args *a = q->args;
	struct ctl_request *r = &q->req;
	uint64_t intervals_ms;

	if (take_peer(q, e) < 0 || take_wait(q, e) < 0 || take_texts(q, e) < 0 ||
	    args_u32(a, "count", 1, 1000000, &r->count, e) < 0 ||
	    args_u32(a, "interval", 0, 60000, &r->interval_ms, e) < 0 ||
	    args_u32(a, "parallel", 1, 10000, &r->parallel, e) < 0)
		return -1;
	/* The default time limit does not include the intervals between probes. */
	intervals_ms = (uint64_t)r->count * r->interval_ms;
	if (intervals_ms < UINT32_MAX - r->timeout_ms)
		r->timeout_ms += (uint32_t)intervals_ms;
	return args_ms(a, "timeout", &r->timeout_ms, e);
}

/* ---- both ------------------------------------------------------------------------------ */

int request_connect(struct request *q, const char *control, struct err *e)
{
	if (client_open(&q->client, control, e) < 0)
		return -1;
	if (q->req.timeout_ms != 0)
		q->deadline_ms = client_now_ms() + q->req.timeout_ms + GRACE_MS;
	return 0;
}

void request_close(struct request *q)
{
	client_close(q->client);
	q->client = NULL;
}

static int run(struct request *q, struct err *e)
{
	int rc;

	if (take_args(q, e) < 0 || request_connect(q, args_text(q->args, "control"), e) < 0)
		return -1;
	rc = request_converse(q, e);
	request_close(q);
	return rc < 0 ? -1 : q->status;
}

int request_run(const struct args *a, enum ctl_verb verb, show_document *show, struct err *e)
{
	struct request q;

	request_init(&q, a, verb);
	q.show = show;
	return run(&q, e);
}

int request_ask(const struct args *a, enum ctl_verb verb, request_take *take, void *arg,
		struct err *e)
{
	struct request q;

	request_init(&q, a, verb);
	q.take = take;
	q.arg = arg;
	return run(&q, e);
}
