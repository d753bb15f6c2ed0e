/*
 * agent/os/common.h - parts of agent/os that are the same on all systems; for the files of agent/os only.
 */
#ifndef SAPAIR_AGENT_OS_COMMON_H
#define SAPAIR_AGENT_OS_COMMON_H

#include "agent/os/os.h"

bool os_is_slash(char c);

/* Reads up to n bytes of file: their number, 0 at the end, or -1 with e set. */
typedef long os_reader(void *file, char *data, size_t n, const char *path, struct err *e);
/* Reads a file of expected bytes to its end and adds a NUL, as os_read_file() does. ERR_USAGE if it has grown. */
int os_read_whole(char **text, size_t *len, size_t expected, os_reader *read, void *file,
		  const char *path, struct err *e);

/* Creates one directory: only for its owner, or a parent. No error if it exists. */
typedef int os_dir_maker(const char *path, bool private, struct err *e);
/* Calls make for each parent of path, and for path itself. */
int os_make_dirs(const char *path, os_dir_maker *make, struct err *e);

/* Reduces a host name for os_host_name(). */
void os_reduce_host_name(char *out, size_t size, const char *raw);
bool os_no_color(void); /* the user has set NO_COLOR */

/* Set the error of a control connection. Return -1. */
int os_already_running(struct err *e, const char *path);
int os_not_running(struct err *e, const char *path, uint32_t code);
int os_control_closed(struct err *e);
int os_control_late(struct err *e, int timeout_ms);

#endif
