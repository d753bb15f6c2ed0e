/*
 * agent/cli/verbs/reload.c - reload: applies changes of config and certificates.
 */
#include "agent/cli/request.h"

static void show_names(const struct cJSON *d, const char *name)
{
	const struct cJSON *n = json_first(json_member(d, name));

	if (n == NULL)
		return;
	out_text("  %-8s", name);
	for (; n != NULL; n = json_next(n))
		out_text(" %s", json_string(n));
	out_text("\n");
}

static void show_reload(const struct cJSON *d, bool several)
{
	char a[OUT_NUMBER];

	(void)several;
	out_text("%s, %s peers unchanged\n", show_is(d, "changed") ? "reloaded" : "nothing changed",
		 show_count(a, d, "same"));
	show_names(d, "added");
	show_names(d, "removed");
	show_names(d, "updated");
	show_names(d, "removing");
	if (show_is(d, "identity_changed"))
		out_text("  identity changed: new links use it, existing links keep the old one\n");
}

static int run_reload(const struct args *a, struct err *e)
{
	return request_run(a, CTL_RELOAD, show_reload, e);
}

const struct verb verb_reload = {
	.name = "reload",
	.text = "apply changes to the config and certificates",
	.more = "Only what differs is changed. On an error, nothing is. Exits with status 7 if the policy of a "
		"peer could not be removed; the agent tries again.",
	.example = "sapair reload",
	.options = {verb_timeout},
	.run = run_reload,
};
