/*
 * agent/os/log.h - log lines on stderr.
 *
 * "2026-11-23T10:00:00.123Z info  peer beta: up, epoch 1". Under a service manager there is no time, and
 * the level is a prefix "<6>" as in sd-daemon(3). Texts are escaped. Lines that unauthenticated clients can
 * cause go through log_limited(), which omits lines above a rate and logs how many.
 */
#ifndef SAPAIR_AGENT_LOG_H
#define SAPAIR_AGENT_LOG_H

#include "proto/base/err.h"

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVELS };

/* LOG_EVENTS is for windows/service.c: "<6>text", and "<6,131>text" for event 131. */
enum log_style { LOG_PLAIN, LOG_JOURNAL, LOG_JSON, LOG_EVENTS };

/* Call it before the first line. Default: info, plain. */
void log_setup(enum log_level level, enum log_style style);
bool log_wants(enum log_level level);
enum log_level log_level_of(const char *word); /* LOG_LEVELS when unknown */

/* "CONTEXT: cause (hint)". */
void log_err(enum log_level level, const struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* number: the event in the Windows event log; 0: none. limited_ms: 0, or the monotonic time, for a line that is
 * omitted above a rate: a burst of ten, then one each second. Omitted lines are counted. */
void log_event(enum log_level level, unsigned number, uint64_t limited_ms, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
#define log_line(level, ...) log_event(level, 0, 0, __VA_ARGS__)
#define log_limited(now_ms, level, ...) log_event(level, 0, now_ms, __VA_ARGS__)

#endif
