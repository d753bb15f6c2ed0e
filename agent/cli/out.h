/*
 * agent/cli/out.h - results on stdout, everything else on stderr; text or JSON; colour.
 */
#ifndef SAPAIR_AGENT_OUT_H
#define SAPAIR_AGENT_OUT_H

#include "proto/base/err.h"
#include "proto/json/encode.h"

#include <stdbool.h>

enum paint { PAINT_NONE, PAINT_GOOD, PAINT_WARN, PAINT_BAD, PAINT_DIM, PAINT_HEAD };

/* Call once, before anything else: detects terminals. */
void out_setup(void);

/* Text on stdout; out_painted() in colour if stdout is a terminal that supports it. */
void out_text(const char *fmt, ...) PRINTF_LIKE(1, 2);
void out_painted(enum paint p, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "  label     value" and a newline; labels are aligned. */
void out_field(const char *label, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* One line on stderr. */
void out_note(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Text in memory. */
struct out_page {
	char *text;
	size_t n, size;
	bool full; /* something did not fit, and is left out */
};
void out_add(struct out_page *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* One document and its newline on stdout. */
void out_document(const char *json, size_t len);
/* Begins a document in a buffer; out_end() prints it. */
void out_begin(struct json_out *o, char *buf, size_t size, const char *schema);
void out_end(struct json_out *o);

/* "error: [peer: ]cause (exit N)" and the hint on stderr; json: a document on stdout. */
void out_error(bool json, const char *who, const struct err *e);
void out_error_text(const char *who, const char *cause, int status, const char *hint);

/* Returns false if not all output could be written. */
bool out_flush(void);

/* "8,123" into a buffer of OUT_NUMBER. */
#define OUT_NUMBER 32
const char *out_count(char text[OUT_NUMBER], double n);
/* "9.9 MB"; "0.7 ms", "1.24 s"; "5 min", "2 h 3 min". */
const char *out_bytes(char text[OUT_NUMBER], double n);
const char *out_ms(char text[OUT_NUMBER], double ms);
const char *out_span(char text[OUT_NUMBER], double s);

#endif
