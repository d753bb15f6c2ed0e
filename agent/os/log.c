/*
 * agent/os/log.c - log lines, each written with one call.
 */
#include "agent/os/log.h"
#include "agent/os/os.h"
#include "crypto/date.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MAX 1024                  /* bytes of a line, before and after escaping */
#define LINE_MAX_ (2 * TEXT_MAX + 128) /* JSON may double every byte */

#define BURST 10       /* log_limited(): lines of a burst */
#define REFILL_MS 1000 /* time for one more line */

static const struct {
	const char *word;
	char journal; /* sd-daemon's levels: 3 err, 4 warning, 6 info, 7 debug */
} levels[LOG_LEVELS] = {
	[LOG_ERROR] = {"error", '3'},
	[LOG_WARN] = {"warn", '4'},
	[LOG_INFO] = {"info", '6'},
	[LOG_DEBUG] = {"debug", '7'},
};

/* State of the process: it has one stderr. */
static struct {
	enum log_level level;
	enum log_style style;
	unsigned tokens;
	uint64_t refilled_ms; /* when the bucket was last filled; 0: never used */
	uint64_t omitted;
} state = {.level = LOG_INFO, .tokens = BURST};

void log_setup(enum log_level level, enum log_style style)
{
	state.level = level;
	state.style = style;
}

bool log_wants(enum log_level level)
{
	return level <= state.level;
}

enum log_level log_level_of(const char *word)
{
	enum log_level l = LOG_ERROR;

	while (l < LOG_LEVELS && strcmp(levels[l].word, word) != 0)
		l++;
	return l;
}

struct line {
	char text[LINE_MAX_];
	size_t n;
};

static void put(struct line *l, const char *s)
{
	size_t n = strlen(s), room = sizeof l->text - 1 - l->n; /* 1: the end of the line */

	if (n > room)
		n = room;
	memcpy(l->text + l->n, s, n);
	l->n += n;
}

/* s is escaped already; quotes and backslashes still need escapes of JSON. */
static void put_json(struct line *l, const char *s)
{
	char two[3] = "\\";

	for (; *s != '\0'; s++) {
		two[1] = *s;
		put(l, *s == '"' || *s == '\\' ? two : two + 1);
	}
}

static void put_time(struct line *l)
{
	const int64_t ms = os_wall_ms();
	char date[DATE_TEXT], text[40];

	date_put(date, ms / 1000);
	snprintf(text, sizeof text, "%.19s.%03dZ", date, (int)(ms % 1000));
	put(l, text);
}

/* text and hint are escaped. */
static void emit(enum log_level level, unsigned number, const char *text, const char *hint)
{
	struct line l;
	char head[16];

	l.n = 0;
	if (state.style == LOG_JSON) {
		put(&l, "{\"time\":\"");
		put_time(&l);
		put(&l, "\",\"level\":\"");
		put(&l, levels[level].word);
		put(&l, "\",\"text\":\"");
		put_json(&l, text);
		if (hint != NULL) {
			put(&l, "\",\"hint\":\"");
			put_json(&l, hint);
		}
		put(&l, "\"}");
	} else {
		if (state.style == LOG_PLAIN) {
			put_time(&l);
			snprintf(head, sizeof head, " %-5s ", levels[level].word);
		} else {
			snprintf(head, sizeof head,
				 state.style == LOG_EVENTS && number != 0 ? "<%c,%u>" : "<%c>",
				 levels[level].journal, number);
		}
		put(&l, head);
		put(&l, text);
		if (hint != NULL) {
			put(&l, " (");
			put(&l, hint);
			put(&l, ")");
		}
	}
	l.text[l.n++] = '\n';
	/* stderr is unbuffered: one write(2) for each line, so that lines never mix. */
	fwrite(l.text, 1, l.n, stderr);
	fflush(stderr);
}

static void format(char escaped[TEXT_MAX], const char *fmt, va_list ap) PRINTF_LIKE(2, 0);

static void format(char escaped[TEXT_MAX], const char *fmt, va_list ap)
{
	char raw[TEXT_MAX];

	if (vsnprintf(raw, sizeof raw, fmt, ap) < 0)
		raw[0] = '\0';
	text_escape(escaped, TEXT_MAX, raw, strlen(raw));
}

void log_err(enum log_level level, const struct err *e, const char *fmt, ...)
{
	char text[TEXT_MAX];
	size_t n;
	va_list ap;

	if (!log_wants(level))
		return;
	va_start(ap, fmt);
	format(text, fmt, ap);
	va_end(ap);
	n = strlen(text);
	/* err_set() has escaped the cause. */
	snprintf(text + n, sizeof text - n, "%s%s", n > 0 ? ": " : "", e->cause);
	emit(level, 0, text, e->hint);
}

/* True when a line may be written now. */
static bool take_token(uint64_t now_ms)
{
	uint64_t gained;

	if (state.refilled_ms == 0 || now_ms < state.refilled_ms)
		state.refilled_ms = now_ms;
	gained = (now_ms - state.refilled_ms) / REFILL_MS;
	if (gained > 0) {
		state.refilled_ms += gained * REFILL_MS;
		state.tokens = gained >= BURST - state.tokens ? BURST
							      : state.tokens + (unsigned)gained;
	}
	if (state.tokens == 0)
		return false;
	state.tokens--;
	return true;
}

/* Also logs how many lines were omitted before. */
static bool may_write(uint64_t now_ms, enum log_level level)
{
	if (!take_token(now_ms)) {
		state.omitted++;
		return false;
	}
	if (state.omitted > 0) {
		log_line(level, "%llu lines like the next were omitted",
			 (unsigned long long)state.omitted);
		state.omitted = 0;
	}
	return true;
}

void log_event(enum log_level level, unsigned number, uint64_t limited_ms, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	if (!log_wants(level) || (limited_ms != 0 && !may_write(limited_ms, level)))
		return;
	va_start(ap, fmt);
	format(text, fmt, ap);
	va_end(ap);
	emit(level, number, text, NULL);
}
