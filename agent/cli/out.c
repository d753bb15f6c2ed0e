/*
 * agent/cli/out.c - prints.
 */
#include "agent/cli/out.h"

#include <stdio.h>

#include "agent/os/os.h"

#define LABEL_WIDTH 10

static bool paint_out, paint_err; /* of the process */

void out_setup(void)
{
	paint_out = os_is_terminal(1);
	paint_err = os_is_terminal(2);
}

static const char *code_of(enum paint p)
{
	static const char *const codes[] = {"",         "\033[32m", "\033[33m",
					    "\033[31m", "\033[2m",  "\033[1m"};

	return codes[p];
}

void out_text(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
}

void out_painted(enum paint p, const char *fmt, ...)
{
	bool paint = paint_out && p != PAINT_NONE;
	va_list ap;

	if (paint)
		fputs(code_of(p), stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	if (paint)
		fputs("\033[0m", stdout);
}

void out_field(const char *label, const char *fmt, ...)
{
	va_list ap;

	printf("  %-*s", LABEL_WIDTH, label);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void out_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void out_add(struct out_page *p, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(p->text + p->n, p->size - p->n, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= p->size - p->n)
		p->full = true;
	else
		p->n += (size_t)n;
}

void out_document(const char *json, size_t len)
{
	fwrite(json, 1, len, stdout);
	putchar('\n');
	fflush(stdout); /* watchers read line by line */
}

void out_begin(struct json_out *o, char *buf, size_t size, const char *schema)
{
	json_begin(o, buf, size);
	json_put_open(o, NULL);
	json_put_text(o, "schema", schema);
}

void out_end(struct json_out *o)
{
	size_t n;

	json_put_close(o);
	n = json_end(o);
	out_document(o->buf, n);
}

void out_error_text(const char *who, const char *cause, int status, const char *hint)
{
	fflush(stdout);
	fprintf(stderr, "%serror:%s %s%s%s (exit %d)\n", paint_err ? code_of(PAINT_BAD) : "",
		paint_err ? "\033[0m" : "", who != NULL ? who : "", who != NULL ? ": " : "", cause,
		status);
	if (hint != NULL)
		fprintf(stderr, "%s\n", hint);
}

void out_error(bool json, const char *who, const struct err *e)
{
	char buf[2048];
	struct json_out o;

	if (!json) {
		out_error_text(who, e->cause, err_exit_status(e->code), e->hint);
		return;
	}
	out_begin(&o, buf, sizeof buf, "sapair.error/1");
	if (who != NULL)
		json_put_text(&o, "peer", who);
	json_put_text(&o, "class", err_word(e->code));
	json_put_u64(&o, "exit", (uint64_t)err_exit_status(e->code));
	json_put_text(&o, "cause", e->cause);
	if (e->hint != NULL)
		json_put_text(&o, "hint", e->hint);
	if (e->os != 0)
		json_put_u64(&o, "os", e->os);
	out_end(&o);
}

bool out_flush(void)
{
	return fflush(stdout) == 0 && !ferror(stdout);
}

/* ---- numbers for people ------------------------------------------------------------------ */

const char *out_count(char text[OUT_NUMBER], double n)
{
	char digits[OUT_NUMBER];
	size_t len, at = 0;

	len = (size_t)snprintf(digits, sizeof digits, "%.0f", n < 1e15 ? n : 1e15);
	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			text[at++] = ',';
		text[at++] = digits[i];
	}
	text[at] = '\0';
	return text;
}

const char *out_bytes(char text[OUT_NUMBER], double n)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	size_t i = 0;

	for (; n >= 999.5 && i + 1 < sizeof units / sizeof units[0]; i++)
		n /= 1000;
	snprintf(text, OUT_NUMBER, i > 0 && n < 99.95 ? "%.1f %s" : "%.0f %s", n, units[i]);
	return text;
}

const char *out_ms(char text[OUT_NUMBER], double ms)
{
	if (ms < 9.95)
		snprintf(text, OUT_NUMBER, "%.2g ms", ms);
	else if (ms < 999.5)
		snprintf(text, OUT_NUMBER, "%.0f ms", ms);
	else
		snprintf(text, OUT_NUMBER, "%.2f s", ms / 1000);
	return text;
}

const char *out_span(char text[OUT_NUMBER], double seconds)
{
	unsigned long long s = seconds > 0 ? (unsigned long long)seconds : 0;

	if (s < 120)
		snprintf(text, OUT_NUMBER, "%llu s", s);
	else if (s < 7200)
		snprintf(text, OUT_NUMBER, "%llu min", s / 60);
	else if (s < 2 * 86400)
		snprintf(text, OUT_NUMBER, "%llu h %llu min", s / 3600, s / 60 % 60);
	else
		snprintf(text, OUT_NUMBER, "%llu d %llu h", s / 86400, s / 3600 % 24);
	return text;
}
