/*
 * agent/daemon/event.c - events: one log line, one JSON object for each that watches.
 */
#include "agent/daemon/event.h"

#include "agent/daemon/control/server.h"

#include <stdio.h>
#include <string.h>

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
	/* Civil date from days since 1970: gmtime is not reentrant everywhere. */
	int64_t days = ms / 86400000, rest = ms % 86400000;
	int64_t z = days + 719468, era = z / 146097, doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	int64_t day = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9;
	int64_t year = yoe + era * 400 + (month <= 2 ? 1 : 0);

	snprintf(text, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (int)year, (int)month, (int)day,
		 (int)(rest / 3600000), (int)(rest / 60000 % 60), (int)(rest / 1000 % 60),
		 (int)(rest % 1000));
}

void event_begin(struct event_out *ev, struct agent *a, enum event_kind kind, const char *peer)
{
	ev->agent = a;
	ev->kind = kind;
	ev->peer = peer;
	ev->wanted = control_is_watched(a);
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
	if (a->identity != NULL && identity_facts(a->identity->id)->is_lab)
		json_put_bool(&ev->json, "lab", true);
}

/* A thousand peers that rekey must not fill the disk: a hundred lines at once, then ten a second;
 * warnings and errors are always written. */
static bool line_allowed(struct agent *a, enum log_level level)
{
	uint64_t now = loop_now_ms();

	if (a->lines_ms == 0 || now - a->lines_ms >= 1000) {
		uint64_t more = a->lines_ms == 0 ? 100 : (now - a->lines_ms) / 1000 * 10;

		a->lines_left = a->lines_left + more > 100 ? 100 : a->lines_left + (uint32_t)more;
		a->lines_ms = now;
	}
	if (level != LOG_INFO)
		return true;
	if (a->lines_left == 0) {
		a->lines_dropped++;
		return false;
	}
	a->lines_left--;
	if (a->lines_dropped > 0)
		log_line(LOG_INFO, "agent: %llu lines about events were left out",
			 (unsigned long long)a->lines_dropped);
	a->lines_dropped = 0;
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
			control_broadcast(ev->agent, ev->text, n);
	}
	if (fmt == NULL || !log_wants(level) || !line_allowed(ev->agent, level))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	/* Strangers can cause the one, a peer that floods us the other: they are limited. */
	log_event(level, (unsigned)kinds[ev->kind].id, is_limited ? loop_now_ms() : 0, "%s%s: %s",
		  ev->peer != NULL ? "peer " : "", ev->peer != NULL ? ev->peer : "agent", text);
}

void event_fail(struct agent *a, enum event_kind kind, const char *peer, const struct err *e)
{
	struct event_out ev;

	event_begin(&ev, a, kind, peer);
	if (ev.wanted) {
		json_put_text(&ev.json, "class", err_word(e->code));
		json_put_text(&ev.json, "cause", e->cause);
		if (e->hint != NULL)
			json_put_text(&ev.json, "hint", e->hint);
	}
	event_end(&ev, "%s: %s%s%s", kinds[kind].word, e->cause, e->hint != NULL ? " - " : "",
		  e->hint != NULL ? e->hint : "");
}

void event_plain(struct agent *a, enum event_kind kind, const char *peer, const char *text)
{
	struct event_out ev;

	event_begin(&ev, a, kind, peer);
	if (ev.wanted && text != NULL)
		json_put_text(&ev.json, "text", text);
	if (text != NULL)
		event_end(&ev, "%s", text);
	else
		event_end(&ev, NULL);
}
