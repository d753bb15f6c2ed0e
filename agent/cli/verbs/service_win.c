/*
 * agent/cli/verbs/service_win.c - service install, remove, start, stop; service main for its
 * manager.
 */
#include "agent/cli/conf.h"
#include "agent/cli/out.h"
#include "agent/cli/verbs/list.h"
#include "agent/os/service.h"

extern const struct verb verb_run; /* run.c */

static int say(const struct args *a, const char *action, bool changed)
{
	char buf[256];
	struct json_out j;

	if (a->json) {
		out_begin(&j, buf, sizeof buf, "sapair.service/1");
		json_put_text(&j, "action", action);
		json_put_bool(&j, "changed", changed);
		out_end(&j);
	} else {
		out_text("service %s: %s\n", action, changed ? "done" : "no change");
	}
	return 0;
}

static int run_install(const struct args *a, struct err *e)
{
	char path[OS_PATH_MAX];
	struct config c;
	bool changed;
	int rc;

	/* The standard error of a service is lost: errors go to the event log. */
	if (conf_find(path, args_text(a, "config"), e) < 0 || conf_read(&c, path, e) < 0)
		return -1;
	rc = config_check(&c, e);
	config_free(&c);
	if (rc < 0 || service_install(path, &changed, e) < 0)
		return -1;
	return say(a, "install", changed);
}

static int run_remove(const struct args *a, struct err *e)
{
	bool changed;

	return service_remove(&changed, e) < 0 ? -1 : say(a, "remove", changed);
}

static int run_start(const struct args *a, struct err *e)
{
	bool changed;

	return service_start(&changed, e) < 0 ? -1 : say(a, "start", changed);
}

static int run_stop(const struct args *a, struct err *e)
{
	bool changed;

	return service_stop(&changed, e) < 0 ? -1 : say(a, "stop", changed);
}

/* ---- the service itself ------------------------------------------------------------------ */

static int body(void *arg)
{
	const struct args *a = arg;
	struct err e = {0};
	int rc = verb_run.run(a, &e);

	if (rc >= 0)
		return rc;
	out_error(false, NULL, &e);
	out_flush();
	return err_exit_status(e.code);
}

static int run_main(const struct args *a, struct err *e)
{
	struct args copy = *a;

	return service_main(body, &copy, e);
}

static const struct option service_options[] = {
	{"config", "FILE", "config file of the agent (default: the usual sapair.json)", false},
	OPTION_END,
};

const struct verb verb_service_install = {
	.name = "service install",
	.text = "install or update the service",
	.more = "The service starts with Windows, and restarts after a failure. It logs to\n"
		"the event log.",
	.example = "sapair service install",
	.options = {service_options},
	.run = run_install,
};

const struct verb verb_service_remove = {
	.name = "service remove",
	.text = "stop and remove the service",
	.more = "Filters and SAs stay; use sapair down or sapair clean to remove them.",
	.example = "sapair service remove",
	.run = run_remove,
};

const struct verb verb_service_start = {
	.name = "service start",
	.text = "start the service",
	.example = "sapair service start",
	.run = run_start,
};

const struct verb verb_service_stop = {
	.name = "service stop",
	.text = "stop the service",
	.example = "sapair service stop",
	.run = run_stop,
};

const struct verb verb_service_main = {
	.name = "service main",
	.text = "run the agent as a service (for the service manager)",
	.example = "sapair service main",
	.options = {service_options},
	.run = run_main,
};
