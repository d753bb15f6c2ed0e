/*
 * agent/daemon/control/server.c - opens and closes the control socket; sends events to watchers.
 */
#include "agent/daemon/control/server.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/daemon/control/request.h"
#include "agent/daemon/control/verbs.h"

static const struct control_client_ops client_ops = {
	.line = control_verb_run,
	.cancel = control_request_cancel,
};

static void on_connection(void *control)
{
	control_client_accept(control);
}

static bool is_watched(void *control)
{
	const struct control *k = control;

	return k->n_watching > 0;
}

static void broadcast(void *control, const char *json, size_t n)
{
	struct control *k = control;
	struct control_client *next;

	for (struct control_client *c = k->clients; c != NULL; c = next) {
		next = c->next;
		if (c->watching)
			control_send_event(c, json, n);
	}
}

static const struct event_sink sink = {.is_watched = is_watched, .broadcast = broadcast};

int control_open(struct agent *a, const struct control_host *host, struct err *e)
{
	struct control *k = calloc(1, sizeof *k);
	char path[OS_PATH_MAX];

	if (k == NULL)
		return err_set(e, ERR_OS, "no memory for the control socket");
	k->agent = a;
	k->host = host;
	k->ops = &client_ops;
	if (a->cfg.control[0] != '\0')
		snprintf(path, sizeof path, "%s", a->cfg.control);
	else
		os_control_path(path);
	if (os_control_listen(&k->socket, &a->loop, path, on_connection, k, e) < 0) {
		free(k);
		return err_in(e, "control socket");
	}
	a->control = k;
	a->events.sink = &sink;
	a->events.sink_arg = k;
	return 0;
}

void control_close(struct agent *a)
{
	struct control *k = a->control;
	struct control_client *c, *next;

	if (k == NULL || k->closed)
		return;
	k->closed = true;
	os_control_unlisten(k->socket);
	for (c = k->clients; c != NULL; c = next) {
		next = c->next;
		c->ending = true;
		if (c->request != NULL)
			control_request_abandon(c);
		control_client_end(c);
	}
}

void control_cut(struct agent *a)
{
	while (a->control != NULL && a->control->clients != NULL)
		control_client_close(a->control->clients);
}

void control_free(struct agent *a)
{
	a->events.sink = NULL;
	free(a->control);
	a->control = NULL;
}
