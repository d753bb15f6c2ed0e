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

void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "CONTEXT: cause (hint)". */
void log_err(enum log_level level, const struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* For an event; number is its identifier in the Windows event log. limited_ms: 0, or now_ms of
 * log_limited(). */
void log_event(enum log_level level, unsigned number, uint64_t limited_ms, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* now_ms: monotonic. A burst of ten lines, then one each second; omitted lines are counted. */
void log_limited(uint64_t now_ms, enum log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
