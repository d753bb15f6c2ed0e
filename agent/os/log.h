/*
 * agent/os/log.h - one line per event on stderr, or nothing.
 *
 * "2026-11-23T10:00:00.123Z info  peer beta: up, epoch 1" (no time stamp when the service manager
 * adds its own; levels as sd-daemon prefixes "<6>" then). Texts are escaped. Lines that strangers
 * can cause go through log_limited(): at most a few a second, the rest is counted and told.
 */
#ifndef SAPAIR_AGENT_LOG_H
#define SAPAIR_AGENT_LOG_H

#include "proto/base/err.h"

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVELS };

/* LOG_EVENTS: for service_win.c, "<6>text", with the number of an event "<6,131>text". */
enum log_style { LOG_PLAIN, LOG_JOURNAL, LOG_JSON, LOG_EVENTS };

/* Before the first line; default: info, plain, stderr. */
void log_setup(enum log_level level, enum log_style style);
bool log_wants(enum log_level level);
enum log_level log_level_of(const char *word); /* LOG_LEVELS when unknown */

void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "CONTEXT: cause" and the hint behind it. */
void log_err(enum log_level level, const struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Of an event that has a number, which Windows' event log keeps. limited_ms: 0, or as log_limited()'s. */
void log_event(enum log_level level, unsigned number, uint64_t limited_ms, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* now_ms: monotonic. Ten lines at once, then one a second; suppressed ones are counted. */
void log_limited(uint64_t now_ms, enum log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
