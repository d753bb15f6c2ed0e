/*
 * agent/os/linux/inner.h - shared by the files of agent/os/linux.
 */
#ifndef SAPAIR_AGENT_OS_LINUX_INNER_H
#define SAPAIR_AGENT_OS_LINUX_INNER_H

#include "proto/base/err.h"

#include <stdbool.h>

/* The leak check of a sanitizer attaches as a tracer. */
#if defined(__SANITIZE_ADDRESS__)
#define TRACED_BY_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TRACED_BY_SANITIZER 1
#endif
#endif
#ifndef TRACED_BY_SANITIZER
#define TRACED_BY_SANITIZER 0
#endif

struct stat;

/* Sets "WHAT PATH: strerror(no)", with a class and, if permissions are missing, a hint. Returns -1. */
int os_failed(struct err *e, int no, const char *what, const char *path);
/* True if the owner is the process's user or root. */
bool os_is_ours(const struct stat *st);

#endif
