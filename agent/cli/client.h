/*
 * agent/cli/client.h - the control socket, client side: one request, a reply of documents.
 */
#ifndef SAPAIR_AGENT_CLIENT_H
#define SAPAIR_AGENT_CLIENT_H

#include "proto/wire/ctl.h"

struct client;

/* Connects to path; NULL: the default path. ERR_DOWN if no agent is running. */
int client_open(struct client **c, const char *path, struct err *e);
void client_close(struct client *c); /* NULL allowed */

int client_send(struct client *c, const struct ctl_request *r, struct err *e);

/*
 * Waits for the next line, of any length. Returns 1 and *line (NUL-terminated, without its
 * newline, valid
 * until the next call), 0 if the agent has closed the connection, or -1. deadline_ms is by
 * client_now_ms(); 0: none.
 */
int client_line(struct client *c, uint64_t deadline_ms, const char **line, size_t *len,
		struct err *e);
uint64_t client_now_ms(void);

#endif
