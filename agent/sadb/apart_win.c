/*
 * agent/sadb/apart_win.c - Windows: no helper; the service's account is what limits the agent.
 */
#include "agent/sadb/apart.h"

int apart_start(struct apart **out, struct err *e)
{
	(void)e;
	*out = NULL;
	return 0;
}

intptr_t apart_socket(const struct apart *a)
{
	(void)a;
	return -1;
}

void apart_hang_up(struct apart *a)
{
	(void)a;
}

void apart_end(struct apart *a)
{
	(void)a;
}

bool apart_is_helper(void)
{
	return false;
}

int apart_serve(const struct apart_source *source, struct err *e)
{
	(void)source;
	return err_set(e, ERR_BUG, "no helper on this system");
}
