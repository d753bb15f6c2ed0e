/*
 * agent/cli/request.h - one request to a running agent: sends it and shows the documents of the
 * reply.
 */
#ifndef SAPAIR_AGENT_CLI_REQUEST_H
#define SAPAIR_AGENT_CLI_REQUEST_H

#include "agent/cli/args.h"
#include "agent/cli/client.h"
#include "agent/cli/show.h"
#include "proto/json/scan.h"

struct request {
	const struct args *args;
	struct ctl_request req;
	show_document *show; /* prints a document of the reply, unless --json was given */
	struct client *client;
	uint64_t deadline_ms;
	int status; /* exit status of sapair.end/1; -1 until it has arrived */
};

void request_init(struct request *q, const struct args *a, enum ctl_verb verb, show_document *show);

/* Takes PEER or --all from the command line. needed: one of them must be given. */
int request_take_peer(struct request *q, bool needed, struct err *e);
/* --wait (which sets wait to the given value), --no-wait, --no-verify */
int request_take_wait(struct request *q, int wait, struct err *e);
/* Copies the value of an option; ERR_USAGE if it has size bytes or more. */
int request_copy(char *to, size_t size, const char *what, const char *from, struct err *e);

/* Connects, sends the request, shows the reply. Returns the agent's exit status, or -1. */
int request_run(struct request *q, struct err *e);

/* The parts of request_run(), for verbs that do more. */
int request_take_timeout(struct request *q, struct err *e); /* --timeout */
int request_connect(struct request *q, struct err *e);      /* and sets the deadline */
int request_converse(struct request *q, struct err *e);     /* until sapair.end/1 */
void request_close(struct request *q);

/* The limits of a reply's JSON, for json_open(). */
#define REQUEST_DEPTH (SCAN_DEPTH_MAX | SCAN_DECIMALS)

#endif
