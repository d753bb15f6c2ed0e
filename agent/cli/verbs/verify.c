/*
 * agent/cli/verbs/verify.c - verify: probes through the SAs.
 */
#include <string.h>

#include "agent/cli/request.h"

static void show_verify(const struct cJSON *d, bool several)
{
	char a[OUT_NUMBER], b[OUT_NUMBER], c[OUT_NUMBER], text[SHOW_PROTECTED];

	out_painted(PAINT_HEAD, "%s", show_text(d, "peer", "?"));
	out_text(" ");
	if (show_is(d, "verified"))
		out_painted(PAINT_GOOD, "verified");
	else
		out_painted(PAINT_BAD, "NOT verified");
	out_text(": %s of %s probes returned", show_count(a, d, "probes.echoed"),
		 show_count(b, d, "probes.sent"));
	if (show_has(d, "probes.arrived"))
		out_text(", %s arrived", show_count(c, d, "probes.arrived"));
	if (show_has(d, "rtt_ms"))
		out_text(", %s (%s to %s)", show_ms(a, d, "rtt_ms.median"),
			 show_ms(b, d, "rtt_ms.min"), show_ms(c, d, "rtt_ms.max"));
	out_text(", epoch %s", show_text(d, "epoch", "?"));
	if (!show_is(d, "protected")) {
		out_text(", ");
		out_painted(PAINT_BAD, "NOT protected");
		out_text("%s", show_protected(text, d) + strlen("NO"));
	}
	out_text("\n");
	if (!several && show_has(d, "counts")) {
		out_text("  out   we sent %s packets, the peer received %s\n",
			 show_count(a, d, "counts.out"), show_count(b, d, "counts.peer_in"));
		out_text("  in    the peer sent %s packets, we received %s\n",
			 show_count(a, d, "counts.peer_out"), show_count(b, d, "counts.in"));
	}
}

static int run_verify(const struct args *a, struct err *e)
{
	return request_run(a, CTL_VERIFY, show_verify, e);
}

static const struct option verify_options[] = {
	{"all", NULL, "every peer", false},
	{"count", "N", "number of probes (default 3)", false},
	{"interval", "MS", "milliseconds between probes (default 0)", false},
	{"parallel", "N", "with --all: verify N peers in parallel (default 16)", false},
	OPTION_END,
};

const struct verb verb_verify = {
	.name = "verify",
	.words = "PEER|--all",
	.text = "prove that a pair carries traffic",
	.more = "Sends probes through the SAs to the peer's agent and back. Exits with status\n"
		"8 if they are lost.",
	.example = "sapair verify beta --count 100",
	.options = {verify_options, verb_timeout},
	.run = run_verify,
};
