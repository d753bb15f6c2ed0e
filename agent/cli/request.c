/*
 * agent/cli/request.c - the conversation with a running agent.
 */
#include "agent/cli/request.h"

#include <string.h>

#include "agent/cli/out.h"
#include "agent/cli/verb.h"

#define GRACE_MS 2000 /* beyond the agent's own time limit, which gives the better error */

/* ---- the reply ------------------------------------------------------------------------- */

static void show_error(struct request *q, const struct cJSON *d)
{
	double status = err_exit_status(ERR_BUG);

	show_number(d, "exit", &status);
	if (!q->args->json)
		out_error_text(q->req.all ? show_text(d, "peer", NULL) : NULL,
			       show_text(d, "cause", "unknown"), (int)status,
			       show_text(d, "hint", NULL));
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

/* Returns 1 for a document, 0 when the agent has closed the connection. */
static int next_document(struct request *q, struct err *e)
{
	struct json_doc *doc;
	const char *line;
	size_t len;
	int rc = client_line(q->client, q->deadline_ms, &line, &len, e);

	if (rc <= 0)
		return rc;
	if (json_open(&doc, line, len, REQUEST_DEPTH, e) < 0) {
		err_in(e, "the agent's reply");
		if (e->code == ERR_REFUSED)
			e->code = ERR_BUG;
		return -1;
	}
	rc = take_document(q, line, len, json_root(doc), e);
	json_close(doc);
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

void request_init(struct request *q, const struct args *a, enum ctl_verb verb, show_document *show)
{
	memset(q, 0, sizeof *q);
	q->args = a;
	q->show = show;
	q->status = -1;
	ctl_request_init(&q->req, verb);
}

int request_copy(char *to, size_t size, const char *what, const char *from, struct err *e)
{
	if (strlen(from) >= size)
		return err_set(e, ERR_USAGE, "%s: more than %zu bytes", what, size - 1);
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

int request_take_peer(struct request *q, bool needed, struct err *e)
{
	const char *peer = args_word(q->args, 0);

	q->req.all = args_has(q->args, "all");
	if (peer != NULL && q->req.all)
		return err_set(e, ERR_USAGE, "a peer and --all are mutually exclusive");
	if (peer == NULL && !q->req.all && needed) {
		err_set(e, ERR_USAGE, "%s: give a peer or --all", q->args->verb->name);
		return err_hint(e, "sapair status lists the peers");
	}
	if (peer == NULL)
		return 0;
	if (*peer == '\0')
		return err_set(e, ERR_USAGE, "%s: empty peer name", q->args->verb->name);
	return request_copy(q->req.peer, sizeof q->req.peer, "peer", peer, e);
}

int request_take_wait(struct request *q, int wait, struct err *e)
{
	if (args_has(q->args, "wait") && args_has(q->args, "no-wait"))
		return err_set(e, ERR_USAGE, "--wait and --no-wait are mutually exclusive");
	if (args_has(q->args, "wait"))
		q->req.wait = wait;
	if (args_has(q->args, "no-wait"))
		q->req.wait = CTL_WAIT_NONE;
	q->req.verify = !args_has(q->args, "no-verify");
	return 0;
}

int request_take_timeout(struct request *q, struct err *e)
{
	return args_ms(q->args, "timeout", &q->req.timeout_ms, e);
}

/* ---- both ------------------------------------------------------------------------------ */

int request_connect(struct request *q, struct err *e)
{
	if (client_open(&q->client, args_text(q->args, "control"), e) < 0)
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

int request_run(struct request *q, struct err *e)
{
	int rc;

	if (request_take_timeout(q, e) < 0 || request_connect(q, e) < 0)
		return -1;
	rc = request_converse(q, e);
	request_close(q);
	return rc < 0 ? -1 : q->status;
}
