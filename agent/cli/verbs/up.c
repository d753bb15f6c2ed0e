/*
 * agent/cli/verbs/up.c - up: brings pairs up.
 */
#include <string.h>

#include "agent/cli/request.h"

static void show_up(const struct cJSON *d, bool several)
{
	const char *state = show_text(d, "state", "?");
	bool is_up = strcmp(state, "up") == 0;
	char a[OUT_NUMBER], b[OUT_NUMBER], text[SHOW_PROTECTED];

	out_painted(PAINT_HEAD, "%s", show_text(d, "peer", "?"));
	out_text(" ");
	out_painted(is_up ? PAINT_GOOD : PAINT_WARN, "%s", state);
	if (is_up && !show_is(d, "changed"))
		out_text(" already");
	if (is_up && !show_is(d, "protected")) {
		out_text(", ");
		out_painted(PAINT_BAD, "NOT protected");
		out_text("%s", show_protected(text, d) + strlen("NO"));
	}
	if (!several && is_up) {
		out_text("\n");
		out_field("in", "%s", show_text(d, "in.spi", "?"));
		out_field("out", "%s", show_text(d, "out.spi", "?"));
		out_field("suite", "%s, epoch %s", show_text(d, "suite", "?"),
			  show_text(d, "epoch", "?"));
		if (show_has(d, "verified"))
			out_field("verified", "%s, round trip %s",
				  show_is(d, "verified") ? "yes" : "NO", show_ms(a, d, "rtt_ms"));
		out_text("took %s\n", show_ms(b, d, "ms"));
		return;
	}
	if (is_up)
		out_text("  in %s  out %s%s", show_text(d, "in.spi", "?"),
			 show_text(d, "out.spi", "?"),
			 !show_has(d, "verified") ? ""
			 : show_is(d, "verified") ? "  verified"
						  : "  NOT verified");
	out_text("\n");
}

static int run_up(const struct args *a, struct err *e)
{
	return request_run(a, CTL_UP, show_up, e);
}

static const struct option up_options[] = {
	{"all", NULL, "every peer", false},
	{"pin", "sha256:HEX", "pin of a peer that is not in the config", false},
	{"no-wait", NULL, "return without waiting for the pair", false},
	{"wait", NULL, "wait until the pair is up and verified (the default)", false},
	{"no-verify", NULL, "do not verify the pair", false},
	OPTION_END,
};

const struct verb verb_up = {
	.name = "up",
	.words = "PEER|ADDRESS|--all",
	.text = "bring a pair up and wait until it is verified",
	.more = "An ADDRESS that is not in the config becomes a peer until the agent exits.",
	.example = "sapair up beta --timeout 60",
	.options = {up_options, verb_timeout},
	.run = run_up,
};
