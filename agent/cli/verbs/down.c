/*
 * agent/cli/verbs/down.c - down: removes pairs.
 */
#include <stdio.h>
#include <string.h>

#include "agent/cli/out.h"
#include "agent/cli/request.h"
#include "agent/cli/verb.h"

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
	struct request q;

	request_init(&q, a, CTL_DOWN, show_down);
	return request_take_peer(&q, true, e) < 0 ? -1 : request_run(&q, e);
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
	.most = 1,
	.run = run_down,
};
