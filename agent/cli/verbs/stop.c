/*
 * agent/cli/verbs/stop.c - stop: stops the agent.
 */
#include "agent/cli/request.h"

static void show_stop(const struct cJSON *d, bool several)
{
	(void)several;
	out_text("%s\n", show_is(d, "changed") ? "the agent has stopped" : "no agent was running");
}

/* Returns when the agent has closed its control socket, so that another one can start. */
static int run_stop(const struct args *a, struct err *e)
{
	static const char already[] = "{\"schema\":\"sapair.stop/1\",\"changed\":false}";
	const char *line;
	struct request q;
	size_t len;
	int rc;

	request_init(&q, a, CTL_STOP);
	q.show = show_stop;
	if (args_ms(a, "timeout", &q.req.timeout_ms, e) < 0)
		return -1;
	if (request_connect(&q, args_text(a, "control"), e) < 0) {
		if (e->code != ERR_DOWN)
			return -1;
		if (a->json)
			out_document(already, sizeof already - 1);
		else
			show_stop(NULL, false);
		return 0;
	}
	rc = request_converse(&q, e);
	while (rc == 0 && client_line(q.client, q.deadline_ms, &line, &len, e) > 0)
		; /* until the agent closes the connection */
	request_close(&q);
	return rc < 0 ? -1 : q.status;
}

const struct verb verb_stop = {
	.name = "stop",
	.text = "stop the agent",
	.example = "sapair stop",
	.options = {verb_timeout},
	.run = run_stop,
};
