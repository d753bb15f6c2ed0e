/*
 * agent/os/windows/confine.c - Windows: does nothing; the account of the service limits the agent.
 */
#include "agent/os/confine.h"

bool os_confine_rings(void)
{
	return false;
}

void os_confine(const struct confinement *c, struct confined *result)
{
	(void)c;
	*result = (struct confined){.done = ""};
}
