/*
 * agent/cli/verbs/rekey.c - rekey: new SPIs and keys, and the receipt.
 */
#include "agent/cli/request.h"

static void show_epoch(const struct cJSON *d)
{
	out_painted(PAINT_HEAD, "%s", show_text(d, "peer", "?"));
	if (show_has(d, "epoch.old"))
		out_text(" epoch %s -> %s", show_text(d, "epoch.old", ""),
			 show_text(d, "epoch.new", "?"));
	else
		out_text(" epoch %s", show_text(d, "epoch.new", "?"));
}

static void show_probes(const struct cJSON *d)
{
	char a[OUT_NUMBER], b[OUT_NUMBER], c[OUT_NUMBER];

	if (!show_has(d, "verified"))
		return;
	if (show_is(d, "verified"))
		out_painted(PAINT_GOOD, "verified");
	else
		out_painted(PAINT_BAD, "NOT verified");
	out_text(": %s of %s probes lost, round trip %s", show_count(a, d, "probes.lost"),
		 show_count(b, d, "probes.sent"), show_ms(c, d, "rtt_ms"));
}

static void show_spis(const struct cJSON *d, const char *name)
{
	out_text("%s ", name);
	if (show_has(json_member(d, name), "old"))
		out_text("%s -> ", show_text(json_member(d, name), "old", ""));
	out_text("%s", show_text(json_member(d, name), "new", "?"));
}

static void show_rekey(const struct cJSON *d, bool several)
{
	char a[OUT_NUMBER], b[OUT_NUMBER];
	double waited = 0;

	show_epoch(d);
	if (several) {
		out_text("  ");
		show_spis(d, "in");
		out_text("  ");
		show_spis(d, "out");
		out_text("  %s  ", show_ms(a, d, "ms.total"));
		show_probes(d);
		out_text("\n");
		return;
	}
	out_text("\n  ");
	show_spis(d, "in");
	out_text("     ");
	show_spis(d, "out");
	out_text("\n  inbound ready after %s, outbound switched after %s\n",
		 show_ms(a, d, "ms.inbound"), show_ms(b, d, "ms.switch"));
	if (show_is(d, "joined"))
		out_text("  joined a rekey that was already running\n");
	if (show_number(d, "ms.waited", &waited) && waited >= 1)
		out_text("  started after %s%s\n", out_ms(a, waited),
			 show_is(d, "limited") ? ": the rate limit (rekey.min_interval_ms)" : "");
	if (show_has(d, "epoch.old") && show_is(d, "drained"))
		out_text("  the old SAs are removed\n");
	else if (show_has(d, "epoch.old"))
		out_text("  the old SAs remain for %s (out) and %s (in)\n",
			 show_ms(a, d, "overlap_ms.out"), show_ms(b, d, "overlap_ms.in"));
	if (show_has(d, "verified")) {
		out_text("  ");
		show_probes(d);
		out_text("\n");
	}
	out_text("took %s\n", show_ms(a, d, "ms.total"));
}

static int run_rekey(const struct args *a, struct err *e)
{
	return request_run(a, CTL_REKEY, show_rekey, e);
}

static const struct option rekey_options[] = {
	{"all", NULL, "every peer", false},
	{"wait", NULL, "also wait until the old SAs are removed", false},
	{"no-wait", NULL, "return once the rekey has started", false},
	{"no-verify", NULL, "do not verify the new pair", false},
	{"parallel", "N", "with --all: rekey N peers in parallel (default 16)", false},
	{"reason", "TEXT", "reason to record in events", false},
	OPTION_END,
};

const struct verb verb_rekey = {
	.name = "rekey",
	.words = "PEER|--all",
	.text = "replace SPIs and keys now, without packet loss",
	.more = "Returns when both hosts use the new SAs and the new pair is verified, and\n"
		"prints a receipt. If the rekey fails, the old pair stays in use.",
	.example = "sapair rekey --all --json",
	.options = {rekey_options, verb_timeout},
	.run = run_rekey,
};
