/*
 * agent/cli/verbs/down.c - down: removes pairs.
 */
#include "agent/cli/request.h"

static void show_down(const struct cJSON *d, bool several)
{
	(void)several;
	if (show_has(d, "removing")) {
		out_painted(PAINT_BAD, "%s is not down yet: ", show_text(d, "peer", "?"));
		show_removing(d);
		return;
	}
	out_text("%s is down%s\n", show_text(d, "peer", "?"),
		 show_is(d, "changed") ? ": all SAs and policies are removed" : " already");
}

static int run_down(const struct args *a, struct err *e)
{
	return request_run(a, CTL_DOWN, show_down, e);
}

static const struct option down_options[] = {
	{"all", NULL, "every peer", false},
	OPTION_END,
};

const struct verb verb_down = {
	.name = "down",
	.words = "PEER|--all",
	.text = "remove a pair's SAs and policy",
	.more = "Exits with status 7 if something could not be removed; the agent tries again until it is "
		"gone, and status shows what is left.",
	.example = "sapair down beta",
	.options = {down_options, verb_timeout},
	.run = run_down,
};
