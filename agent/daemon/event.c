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

/* FNV-1a. Digits do not count: times, ports and counters do not make another failure. */
static uint32_t hash_text(uint32_t h, const char *text)
{
	for (; *text != '\0'; text++)
		if (*text < '0' || *text > '9')
			h = (h ^ (uint8_t)*text) * 16777619u;
	return h | 1;
}

static uint32_t hash_peer(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h | 1;
}

static struct event_failure *failures_of(struct events *to, uint32_t peer)
{
	const uint32_t sets = EVENT_FAILURES / EVENT_FAILURES_OF_PEER;

	return to->failures + (size_t)((peer >> 1) % sets) * EVENT_FAILURES_OF_PEER;
}

/* Is this failure to be logged now? *omitted: how many of its kind were not. */
static bool failure_is_due(struct events *to, enum event_kind kind, const char *peer,
			   const char *cause, unsigned *omitted)
{
	const uint32_t now = (uint32_t)(loop_now_ms() / 1000) + 1, who = hash_peer(peer);
	const uint32_t what = hash_text(2166136261u ^ (uint32_t)kind, cause);
	struct event_failure *f = failures_of(to, who), *oldest = f;

	*omitted = 0;
	for (size_t i = 0; i < EVENT_FAILURES_OF_PEER; i++) {
		if (f[i].peer == who && f[i].what == what) {
			if (now < f[i].next_s) {
				f[i].omitted =
					(uint16_t)(f[i].omitted + (f[i].omitted < UINT16_MAX));
				return false;
			}
			*omitted = f[i].omitted;
			f[i].omitted = 0;
			f[i].wait_s = f[i].wait_s < 1800 ? f[i].wait_s * 2 : 3600;
			f[i].next_s = now + f[i].wait_s;
			return true;
		}
		if (f[i].next_s < oldest->next_s)
			oldest = &f[i];
	}
	*oldest = (struct event_failure){who, what, now + 60, 60, 0};
	return true;
}

/* The peer is well: its next failure is logged at once. */
static void forget_failures(struct events *to, const char *peer)
{
	struct event_failure *f = failures_of(to, hash_peer(peer));

	for (size_t i = 0; i < EVENT_FAILURES_OF_PEER; i++)
		if (f[i].peer == hash_peer(peer))
			f[i] = (struct event_failure){0};
}

void event_begin(struct event_out *ev, struct events *to, enum event_kind kind, const char *peer)
{
	if (kind == EVENT_UP || kind == EVENT_LINK_UP || kind == EVENT_REKEY_DONE)
		forget_failures(to, peer);
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
	char again[48] = "";
	unsigned omitted = 0;
	struct event_out ev;

	event_begin(&ev, to, kind, peer);
	if (ev.wanted) {
		json_put_text(&ev.json, "class", err_word(e->code));
		json_put_text(&ev.json, "cause", e->cause);
		if (e->hint != NULL)
			json_put_text(&ev.json, "hint", e->hint);
	}
	if (peer != NULL && !failure_is_due(to, kind, peer, e->cause, &omitted)) {
		event_end(&ev, NULL);
		return;
	}
	if (omitted > 0)
		snprintf(again, sizeof again, " (%u times since it was last logged)", omitted + 1);
	event_end(&ev, "%s: %s%s%s%s", kinds[kind].word, e->cause, e->hint != NULL ? " - " : "",
		  e->hint != NULL ? e->hint : "", again);
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
