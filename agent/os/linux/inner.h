/*
 * agent/os/linux/inner.h - what the files of agent/os for Linux share.
 */
#ifndef SAPAIR_AGENT_OS_LINUX_INNER_H
#define SAPAIR_AGENT_OS_LINUX_INNER_H

#include "proto/base/err.h"

#include <stdbool.h>

struct stat;

/* "WHAT PATH: strerror(no)", its class by what the user can do about it, with a hint where rights are
 * missing. -1. */
int os_failed(struct err *e, int no, const char *what, const char *path);
/* Nobody but us and root could have put it there. */
bool os_is_ours(const struct stat *st);

#endif
