/*
 * agent/ipsec/wfp/engine.c - the thread that calls the filter engine, one job after the other.
 *
 * The loop's thread appends jobs to a queue. It may wait for one for a limited time; then the job is
 * abandoned, and so are jobs queued after it that would have to wait. The engine's thread undoes
 * abandoned jobs that succeed. Since the queue is in order, later removals need no special care.
 */
#include "agent/ipsec/wfp/db.h"
#include "crypto/secret.h"

#include <stdlib.h>
#include <uv.h>

#define WAIT_MS 500   /* of the loop for a job; a call takes less than 10 ms */
#define OPEN_MS 5000  /* of the loop at start */
#define CLOSE_MS 5000 /* of the loop at exit */
#define EVENTS 32     /* stored for the loop */
#define NS_PER_MS 1000000u

struct wfp_work {
	struct wfp_engine engine;
	void *db;
	uv_thread_t thread;
	uv_mutex_t lock;
	uv_cond_t wake;  /* signals the engine's thread */
	uv_cond_t ended; /* a job or the thread has ended */
	uv_async_t async;
	struct wfp_job *first, **last;     /* queue */
	struct wfp_job *done, **last_done; /* posted jobs whose done() is to be called */
	struct wfp_job *late;              /* abandoned, but still running */
	wfp_on_event *on_event;
	struct wfp_event news[EVENTS];
	size_t n_events; /* EVENTS + 1: some were lost */
	uint64_t wait_ms;
	bool stop, stopped;
};

struct wfp_job *wfp_job_new(int (*run)(struct wfp_engine *, struct wfp_job *), struct err *e)
{
	struct wfp_job *j = calloc(1, sizeof *j);

	if (j == NULL) {
		err_set(e, ERR_OS, "no memory for a call of the filter engine");
		return NULL;
	}
	j->run = run;
	return j;
}

void wfp_job_free(struct wfp_job *j)
{
	if (j == NULL)
		return;
	free(j->found);
	free(j->ids);
	free(j->objects);
	wipe(j, sizeof *j);
	free(j);
}

int wfp_result(struct wfp_job *j, struct err *e)
{
	const int rc = j == NULL ? -1 : j->rc;

	if (j != NULL && rc < 0 && e != NULL)
		*e = j->e;
	wfp_job_free(j);
	return rc;
}

/* ---- the engine's thread ----------------------------------------------------------------- */

static void run_job(struct wfp_engine *g, struct wfp_job *j)
{
	j->rc = wfp_engine_open(g, &j->e);
	if (j->rc == 0)
		j->rc = j->run(g, j);
	if (j->rc < 0 && wfp_is_dead(j->e.os)) {
		wfp_engine_close(g);
		/* The engine was restarted since the last call: retry in a new session. */
		if (wfp_engine_open(g, NULL) == 0) {
			memset(&j->e, 0, sizeof j->e);
			j->rc = j->run(g, j);
		}
	}
	wipe(&j->keys, sizeof j->keys);
}

static void finish(struct wfp_work *w, struct wfp_job *j)
{
	if (j->given_up_) {
		w->late = NULL;
		uv_mutex_unlock(&w->lock);
		if (j->rc == 0 && j->undo != NULL)
			j->undo(&w->engine, j);
		wfp_job_free(j);
		uv_mutex_lock(&w->lock);
	} else if (j->waited_) {
		j->finished_ = true;
		uv_cond_broadcast(&w->ended);
	} else {
		*w->last_done = j;
		w->last_done = &j->next_;
		uv_async_send(&w->async);
	}
}

static void work(void *arg)
{
	struct wfp_work *w = arg;

	uv_mutex_lock(&w->lock);
	for (;;) {
		struct wfp_job *j = w->first;

		if (j == NULL && w->stop)
			break;
		if (j == NULL) {
			uv_cond_wait(&w->wake, &w->lock);
			continue;
		}
		w->first = j->next_;
		if (w->first == NULL)
			w->last = &w->first;
		j->next_ = NULL;
		uv_mutex_unlock(&w->lock);
		run_job(&w->engine, j);
		uv_mutex_lock(&w->lock);
		finish(w, j);
	}
	uv_mutex_unlock(&w->lock);
	wfp_engine_close(&w->engine);
	uv_mutex_lock(&w->lock);
	w->stopped = true;
	uv_cond_broadcast(&w->ended);
	uv_mutex_unlock(&w->lock);
}

/* ---- the loop's thread ------------------------------------------------------------------- */

static void put(struct wfp_work *w, struct wfp_job *j)
{
	*w->last = j;
	w->last = &j->next_;
	uv_cond_signal(&w->wake);
}

static struct wfp_job *do_within(struct wfp_work *w, struct wfp_job *j, uint64_t ms, struct err *e)
{
	const uint64_t end = uv_hrtime() + ms * NS_PER_MS;

	if (j == NULL)
		return NULL;
	uv_mutex_lock(&w->lock);
	j->waited_ = true;
	if (w->late == NULL) {
		put(w, j);
		while (!j->finished_ && uv_hrtime() < end)
			uv_cond_timedwait(&w->ended, &w->lock, end - uv_hrtime());
		if (!j->finished_) {
			j->given_up_ = true;
			w->late = j;
			j = NULL;
		}
	} else {
		wfp_job_free(j);
		j = NULL;
	}
	uv_mutex_unlock(&w->lock);
	if (j == NULL) {
		err_set(e, ERR_OS,
			"the filter engine does not answer: its lock is held, or it hangs");
		err_hint(e, "it is tried again; netsh wfp show state names the sessions");
	}
	return j;
}

struct wfp_job *wfp_do(struct wfp_work *w, struct wfp_job *j, struct err *e)
{
	return do_within(w, j, w->wait_ms, e);
}

void wfp_work_set_wait(struct wfp_work *w, unsigned ms)
{
	w->wait_ms = ms;
}

void wfp_post(struct wfp_work *w, struct wfp_job *j)
{
	uv_mutex_lock(&w->lock);
	put(w, j);
	uv_mutex_unlock(&w->lock);
}

/* On one of the engine's threads. */
static void keep_news(void *arg, const struct wfp_event *n)
{
	struct wfp_work *w = arg;

	uv_mutex_lock(&w->lock);
	if (w->n_events < EVENTS)
		w->news[w->n_events++] = *n;
	else
		w->n_events = EVENTS + 1;
	if (!w->stop)
		uv_async_send(&w->async);
	uv_mutex_unlock(&w->lock);
}

static void report_events(struct wfp_work *w)
{
	struct wfp_event news[EVENTS];
	size_t n;

	uv_mutex_lock(&w->lock);
	n = w->n_events;
	w->n_events = 0;
	memcpy(news, w->news, sizeof news);
	uv_mutex_unlock(&w->lock);
	if (n > 0 && w->on_event != NULL)
		w->on_event(w->db, news, n <= EVENTS ? n : 0);
}

static void on_async(uv_async_t *a)
{
	struct wfp_work *w = a->data;

	report_events(w);
	for (;;) {
		struct wfp_job *j;

		uv_mutex_lock(&w->lock);
		j = w->done;
		if (j != NULL)
			w->done = j->next_;
		if (w->done == NULL)
			w->last_done = &w->done;
		uv_mutex_unlock(&w->lock);
		if (j == NULL)
			return;
		if (j->done != NULL)
			j->done(w->db, j);
		wfp_job_free(j);
	}
}

static void on_closed(uv_handle_t *h)
{
	struct wfp_work *w = h->data;

	uv_cond_destroy(&w->ended);
	uv_cond_destroy(&w->wake);
	uv_mutex_destroy(&w->lock);
	free(w);
}

static int nothing(struct wfp_engine *g, struct wfp_job *j)
{
	(void)g, (void)j;
	return 0; /* wfp_engine_open() has checked that we may write */
}

static void read_switches(struct wfp_work *w)
{
	const char *words = getenv("SAPAIR_WFP");
	const char *wait = words != NULL ? strstr(words, "wait-ms=") : NULL;

	w->wait_ms = WAIT_MS;
	if (words == NULL)
		return;
	w->engine.sw.ipv6_network = strstr(words, "ipv6-network") != NULL;
	w->engine.sw.own_deletion = strstr(words, "own-deletion") != NULL;
	if (wait != NULL && strtoul(wait + 8, NULL, 10) > 0)
		w->wait_ms = strtoul(wait + 8, NULL, 10);
}

int wfp_work_open(struct wfp_work **out, struct uv_loop_s *loop, void *db, wfp_on_event *on_event,
		  struct err *e)
{
	struct wfp_work *w = calloc(1, sizeof *w);
	int rc;

	*out = NULL;
	if (w == NULL)
		return err_set(e, ERR_OS, "no memory for the filter engine");
	w->db = db;
	w->on_event = on_event;
	w->engine.news = on_event != NULL ? keep_news : NULL;
	w->engine.on_event_arg = w;
	w->last = &w->first;
	w->last_done = &w->done;
	read_switches(w);
	uv_mutex_init(&w->lock);
	uv_cond_init(&w->wake);
	uv_cond_init(&w->ended);
	uv_async_init(loop, &w->async, on_async);
	w->async.data = w;
	uv_unref((uv_handle_t *)&w->async);
	if (uv_thread_create(&w->thread, work, w) != 0) {
		uv_close((uv_handle_t *)&w->async, on_closed);
		return err_set(e, ERR_OS, "no thread for the filter engine");
	}
	rc = wfp_result(do_within(w, wfp_job_new(nothing, e), OPEN_MS, e), e);
	if (rc < 0)
		wfp_work_close(w);
	else
		*out = w;
	return rc;
}

void wfp_work_close(struct wfp_work *w)
{
	const uint64_t end = uv_hrtime() + (uint64_t)CLOSE_MS * NS_PER_MS;
	bool stopped;

	uv_mutex_lock(&w->lock);
	w->stop = true;
	uv_cond_signal(&w->wake);
	while (!w->stopped && uv_hrtime() < end)
		uv_cond_timedwait(&w->ended, &w->lock, end - uv_hrtime());
	stopped = w->stopped;
	uv_mutex_unlock(&w->lock);
	if (!stopped) { /* the thread hangs in the engine until the process ends, and uses w */
		uv_close((uv_handle_t *)&w->async, NULL);
		return;
	}
	uv_thread_join(&w->thread);
	while (w->done != NULL) {
		struct wfp_job *j = w->done;

		w->done = j->next_;
		wfp_job_free(j);
	}
	uv_close((uv_handle_t *)&w->async, on_closed);
}
