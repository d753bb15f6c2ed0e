/*
 * agent/cli/request.h - one request to a running agent, and the documents of its reply. With it come
 * verb.h, show.h and out.h, which every verb that asks the agent needs.
 */
#ifndef SAPAIR_AGENT_CLI_REQUEST_H
#define SAPAIR_AGENT_CLI_REQUEST_H

#include "agent/cli/client.h"
#include "agent/cli/show.h"
#include "agent/cli/verb.h"
#include "proto/json/scan.h"

struct request;

/* Takes a document of the reply, in place of printing it; line is its text. -1 ends the request. */
typedef int request_take(struct request *q, const struct cJSON *d, const char *line, size_t len,
			 struct err *e);

struct request {
	const struct args *args;
	struct ctl_request req;
	show_document *show; /* prints a document of the reply, unless --json was given */
	request_take *take;  /* or takes it; NULL: show */
	void *arg;           /* of take */
	struct client *client;
	uint64_t deadline_ms;
	int status; /* exit status of sapair.end/1; -1 until it has arrived */
};

/*
 * Sends a request with all members that are on the command line, and prints the reply: by show, or
 * each document as it is with --json. Returns the agent's exit status, or -1.
 */
int request_run(const struct args *a, enum ctl_verb verb, show_document *show, struct err *e);
/* The same, but the documents go to take; errors that the agent reports are printed. */
int request_ask(const struct args *a, enum ctl_verb verb, request_take *take, void *arg,
		struct err *e);

/* The parts of both, for verbs that do more. */
void request_init(struct request *q, const struct args *a, enum ctl_verb verb);
int request_connect(struct request *q, const char *control, struct err *e); /* sets the deadline */
int request_converse(struct request *q, struct err *e);                     /* until sapair.end/1 */
void request_close(struct request *q);

/* Parses a document of the agent; json_close() it. */
int request_parse(struct json_doc **doc, const char *line, size_t len, struct err *e);

#endif
