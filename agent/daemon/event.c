/*
 * agent/daemon/event.c - events: one line of the log, one JSON object for each client that watches.
 */
#include "agent/daemon/event.h"

#include "agent/daemon/loop.h"
#include "agent/os/os.h"
#include "crypto/date.h"

#include <stdio.h>

#define EVENT_ROW(n, id, w, l) {id, w, l},
static const struct {
	int id;
	const char *word;
	enum log_level level;
} kinds[] = {EVENT_LIST(EVENT_ROW)};
#undef EVENT_ROW

static void put_time(struct json_out *o)
{
	int64_t ms = os_wall_ms();
	char text[40];

	event_time(text, sizeof text, ms);
	json_put_text(o, "time", text);
}

void event_time(char *text, size_t size, int64_t ms)
{
	char date[DATE_TEXT];

	date_put(date, ms / 1000);
	snprintf(text, size, "%.19s.%03dZ", date, (int)(ms % 1000));
}

void event_begin(struct event_out *ev, struct events *to, enum event_kind kind, const char *peer)
{
	ev->events = to;
	ev->kind = kind;
	ev->peer = peer;
	ev->wanted = to->sink != NULL && to->sink->is_watched(to->sink_arg);
	if (!ev->wanted)
		return;
	json_begin(&ev->json, ev->text, sizeof ev->text);
	json_put_open(&ev->json, NULL);
	json_put_text(&ev->json, "schema", "sapair.event/1");
	put_time(&ev->json);
	json_put_u64(&ev->json, "id", (uint64_t)kinds[kind].id);
	json_put_text(&ev->json, "event", kinds[kind].word);
	if (peer != NULL)
		json_put_text(&ev->json, "peer", peer);
	if (to->is_lab)
		json_put_bool(&ev->json, "lab", true);
}

/* A thousand peers that rekey must not fill the disk: a hundred lines at once, then ten a second.
 * Warnings and errors are always written. */
static bool line_allowed(struct events *to, enum log_level level)
{
	uint64_t now = loop_now_ms();

	if (to->lines_ms == 0 || now - to->lines_ms >= 1000) {
		uint64_t more = to->lines_ms == 0 ? 100 : (now - to->lines_ms) / 1000 * 10;

		to->lines_left = to->lines_left + more > 100 ? 100
							     : to->lines_left + (uint32_t)more;
		to->lines_ms = now;
	}
	if (level != LOG_INFO)
		return true;
	if (to->lines_left == 0) {
		to->lines_dropped++;
		return false;
	}
	to->lines_left--;
	if (to->lines_dropped > 0)
		log_line(LOG_INFO, "agent: event log rate-limited: %llu lines omitted",
			 (unsigned long long)to->lines_dropped);
	to->lines_dropped = 0;
	return true;
}

void event_end(struct event_out *ev, const char *fmt, ...)
{
	enum log_level level = kinds[ev->kind].level;
	bool is_limited = ev->kind == EVENT_AUTH_REFUSED || ev->kind == EVENT_LIMIT;
	char text[640];
	va_list ap;

	if (ev->wanted) {
		size_t n;

		json_put_close(&ev->json);
		n = json_end(&ev->json);
		if (n > 0)
			ev->events->sink->broadcast(ev->events->sink_arg, ev->text, n);
	}
	if (fmt == NULL || !log_wants(level) || !line_allowed(ev->events, level))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	/* Unauthenticated clients can cause the one, a peer that floods us the other: limited. */
	log_event(level, (unsigned)kinds[ev->kind].id, is_limited ? loop_now_ms() : 0, "%s%s: %s",
		  ev->peer != NULL ? "peer " : "", ev->peer != NULL ? ev->peer : "agent", text);
}

void event_fail(struct events *to, enum event_kind kind, const char *peer, const struct err *e)
{
	struct event_out ev;

	event_begin(&ev, to, kind, peer);
	if (ev.wanted) {
		json_put_text(&ev.json, "class", err_word(e->code));
		json_put_text(&ev.json, "cause", e->cause);
		if (e->hint != NULL)
			json_put_text(&ev.json, "hint", e->hint);
	}
	event_end(&ev, "%s: %s%s%s", kinds[kind].word, e->cause, e->hint != NULL ? " - " : "",
		  e->hint != NULL ? e->hint : "");
}

void event_plain(struct events *to, enum event_kind kind, const char *peer, const char *text)
{
	struct event_out ev;

	event_begin(&ev, to, kind, peer);
	if (ev.wanted && text != NULL)
		json_put_text(&ev.json, "text", text);
	if (text != NULL)
		event_end(&ev, "%s", text);
	else
		event_end(&ev, NULL);
}
