/*
 * agent/privsep/client_win.c - Windows: no helper; the service's account is what limits the agent.
 */
#include "agent/privsep/client.h"

int privsep_start(struct privsep **out, struct err *e)
{
	(void)e;
	*out = NULL;
	return 0;
}

intptr_t privsep_socket(const struct privsep *a)
{
	(void)a;
	return -1;
}

void privsep_hang_up(struct privsep *a)
{
	(void)a;
}

void privsep_end(struct privsep *a)
{
	(void)a;
}

const struct ipsec_ops *privsep_backend(const struct privsep *a)
{
	(void)a;
	return NULL;
}

bool privsep_is_helper(void)
{
	return false;
}

int privsep_serve(const struct privsep_source *source, struct err *e)
{
	(void)source;
	return err_set(e, ERR_BUG, "no helper on this system");
}
