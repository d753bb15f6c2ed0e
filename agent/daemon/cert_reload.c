/*
 * agent/daemon/cert_reload.c - reloads certificate files that have changed.
 *
 * Polls them: that works on every system and file system, and notices a rename, a symbolic link to
 * another file, and a file that was absent for a while.
 */
#include "agent/daemon/cert_reload.h"

#include "agent/daemon/link/identity_ref.h"
#include "crypto/date.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S 86400
#define FILES 4

/* What differs when a file was replaced or written. */
struct stamp {
	uint64_t inode, size;
	int64_t s;
	long ns;
};

struct cert_reload {
	struct agent *agent;
	cert_reload_fn *reload;
	void *arg;
	uv_timer_t timer;
	struct stamp read[FILES]; /* when the identity was read */
	struct stamp last[FILES]; /* at the last poll */
	int warned_days;          /* the smallest number of days that was warned of */
	bool warned_early;        /* not valid yet */
};

static const char *path_of(const struct agent *a, int i)
{
	if (a->start->identity != NULL) /* a bundle has all in one */
		return i == 0 ? a->start->config_path : "";
	return i == 0 ? a->cfg.certificate : i == 1 ? a->cfg.key : i == 2 ? a->cfg.ca : a->cfg.deny;
}

static void read_stamps(const struct agent *a, struct stamp stamps[FILES])
{
	memset(stamps, 0, FILES * sizeof *stamps);
	for (int i = 0; i < FILES; i++) {
		const char *path = path_of(a, i);
		uv_fs_t fs;

		if (path[0] == '\0')
			continue;
		if (uv_fs_stat(NULL, &fs, path, NULL) == 0)
			stamps[i] = (struct stamp){fs.statbuf.st_ino, fs.statbuf.st_size,
						   fs.statbuf.st_mtim.tv_sec,
						   fs.statbuf.st_mtim.tv_nsec};
		uv_fs_req_cleanup(&fs);
	}
}

static bool are_equal(const struct stamp a[FILES], const struct stamp b[FILES])
{
	for (int i = 0; i < FILES; i++)
		if (a[i].inode != b[i].inode || a[i].size != b[i].size || a[i].s != b[i].s ||
		    a[i].ns != b[i].ns)
			return false;
	return true;
}

/* The clock may be wrong: a host without one starts in the past. */
static void warn_of_start(struct cert_reload *r)
{
	const int64_t start = identity_facts(r->agent->identity->id)->not_before;
	const int64_t now = os_wall_ms() / 1000;
	char text[160], from[DATE_TEXT], today[DATE_TEXT];

	if (now >= start || r->warned_early)
		return;
	r->warned_early = true;
	date_put(from, start);
	date_put(today, now);
	snprintf(text, sizeof text,
		 "our certificate is not valid before %s, and the clock says %s: peers will refuse "
		 "it until then",
		 from, today);
	event_plain(&r->agent->events, EVENT_NOT_YET_VALID, NULL, text);
}

static void warn_of_end(struct cert_reload *r)
{
	static const int steps[] = {1, 7, 30};
	struct agent *a = r->agent;
	int64_t left = identity_facts(a->identity->id)->not_after - os_wall_ms() / 1000;
	char text[96];
	int step = 0;

	for (size_t i = 0; left > 0 && step == 0 && i < sizeof steps / sizeof steps[0]; i++)
		if (left <= (int64_t)steps[i] * DAY_S)
			step = steps[i];
	if (left > 0 && step == 0)
		return;
	if (r->warned_days <= step)
		return;
	r->warned_days = step;
	if (left <= 0) {
		event_plain(&a->events, EVENT_EXPIRED, NULL,
			    "our certificate has expired: no peer will accept it");
		return;
	}
	if (left > 2 * DAY_S)
		snprintf(text, sizeof text, "our certificate expires in %lld days",
			 (long long)(left / DAY_S));
	else
		snprintf(text, sizeof text, "our certificate expires in %lld hours",
			 (long long)(left / 3600));
	event_plain(&a->events, EVENT_CERT_EXPIRES, NULL, text);
}

void cert_reload_seen(struct cert_reload *r)
{
	if (r == NULL)
		return;
	read_stamps(r->agent, r->read);
	memcpy(r->last, r->read, sizeof r->last);
	r->warned_days = INT32_MAX;
	r->warned_early = false;
	warn_of_start(r);
	warn_of_end(r);
}

static void on_poll(uv_timer_t *t)
{
	struct cert_reload *r = t->data;
	struct stamp now[FILES];
	struct err e = {0};
	bool is_stable;

	read_stamps(r->agent, now);
	is_stable = are_equal(now, r->last); /* not in the middle of being written */
	memcpy(r->last, now, sizeof now);
	if (is_stable && !are_equal(now, r->read)) {
		memcpy(r->read, now, sizeof now);
		if (r->reload(r->arg, &e) < 0) {
			err_in(&e, "cannot use the new certificate");
			event_fail(&r->agent->events, EVENT_SYSTEM, NULL, &e);
		} else {
			event_plain(&r->agent->events, EVENT_RELOADED, NULL, "identity reloaded");
			cert_reload_seen(r);
		}
	}
	warn_of_end(r);
}

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

struct cert_reload *cert_reload_start(struct agent *a, cert_reload_fn *reload, void *arg)
{
	struct cert_reload *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->agent = a;
	r->reload = reload;
	r->arg = arg;
	uv_timer_init(&a->loop, &r->timer);
	r->timer.data = r;
	uv_timer_start(&r->timer, on_poll, CERT_RELOAD_MS, CERT_RELOAD_MS);
	uv_unref((uv_handle_t *)&r->timer);
	cert_reload_seen(r);
	return r;
}

void cert_reload_stop(struct cert_reload *r)
{
	if (r != NULL)
		uv_close((uv_handle_t *)&r->timer, on_closed);
}
