/*
 * tests/sim/main.c - the simulation as a test program (TAP).
 *
 *     sim                      everything: all orders of events with up to three faults, 100,000
 *                              random runs, and a search for each of the built-in mistakes
 *     sim --short              the same with less of each
 *     sim --seed N [--trace]   one random run; --trace prints each event
 *     sim --depth N            all orders of N events only
 *     sim --runs N             N random runs, from --seed or 1
 *     sim --break NAME ...     with a mistake built in, which must be found (--list names them)
 */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
	const char *name;
	unsigned found_by;
	const char *text;
} mistakes[BREAK_COUNT] = {[BREAK_NONE] = {"none", 0, "no mistake"},
#define BREAK_ROW(n, name, invs, text) [BREAK_##n] = {name, invs, text},
			   BREAKS(BREAK_ROW)
#undef BREAK_ROW
};

static unsigned tests;
static bool all_ok = true;

static bool result(bool ok, const char *name)
{
	printf("%s %u - %s\n", ok ? "ok" : "not ok", ++tests, name);
	fflush(stdout);
	all_ok = all_ok && ok;
	return ok;
}

static void say_broken(void)
{
	printf("# %s: %s\n", inv_name(verdict.inv), verdict.text);
}

static double seconds(void)
{
	return (double)clock() / CLOCKS_PER_SEC;
}

/* ---- the tests ------------------------------------------------------------------------- */

static void every_order(unsigned depth)
{
	struct explored sum;
	double from = seconds();
	bool ok = explore(depth, &sum);
	char name[120];

	if (!ok)
		say_broken();
	printf("# %" PRIu64 " states, %" PRIu64 " events, %" PRIu64
	       " settled, longest path %u, %.1f s\n",
	       sum.states, sum.events, sum.settled, sum.deepest, seconds() - from);
	if (depth < DEPTH_MAX)
		snprintf(name, sizeof name, "every order of %u events keeps I1 to I7", depth);
	else
		snprintf(name, sizeof name,
			 "every order of events with up to three faults keeps I1 to I7");
	result(ok && (depth < DEPTH_MAX || sum.deepest < DEPTH_MAX), name);
}

static bool told_run(uint64_t seed)
{
	bool ok;

	tracing = true;
	ok = random_run(seed);
	tracing = false;
	return ok;
}

static void say_replay(uint64_t seed)
{
	say_broken();
	printf("# replay: build/linux/sim --seed %" PRIu64 " --trace", seed);
	if (breaks != BREAK_NONE)
		printf(" --break %s", mistakes[breaks].name);
	putchar('\n');
}

static void random_runs(uint64_t first, uint64_t runs)
{
	double from = seconds();
	uint64_t seed = first;
	char name[120];

	tally = (struct tally){0};
	while (seed < first + runs && random_run(seed))
		seed++;
	if (seed < first + runs) {
		say_replay(seed);
		told_run(seed);
	}
	printf("# %" PRIu64 " events, %" PRIu64 " letters, %" PRIu64 " exchanges, %" PRIu64
	       " that failed, %" PRIu64 " cuts, %" PRIu64 " crashes,\n",
	       tally.events, tally.letters, tally.exchanges, tally.failed, tally.cuts,
	       tally.crashes);
	printf("# %" PRIu64 " old messages, %" PRIu64 " expired lifetimes, %" PRIu64
	       " refused for held pairs, %.1f s\n",
	       tally.injected, tally.expired, tally.held_limit, seconds() - from);
	snprintf(name, sizeof name, "%" PRIu64 " random runs keep I1 to I7 and become idle", runs);
	result(seed == first + runs, name);
	if (runs >= 1000)
		result(steps_cover_table(), "every row of the table and every undo is taken");
}

static void rounds(void)
{
	unsigned leader, follower;
	bool ok = rounds_of_a_rekey(&leader, &follower);

	if (!ok)
		say_broken();
	printf("# half round trips: %u and %u\n", leader, follower);
	result(ok && leader == 2 && follower == 3,
	       "the leader sends on the new pair after 1 round trip, the follower after 1.5");
}

static void each_mistake_is_found(uint64_t patience)
{
	for (unsigned b = 1; b < BREAK_COUNT; b++) {
		uint64_t seed = 1;
		char name[160];
		bool ok;

		breaks = (enum brk)b;
		while (seed <= patience && random_run(seed))
			seed++;
		ok = seed <= patience && (mistakes[b].found_by >> verdict.inv & 1);
		if (!ok && seed <= patience)
			say_replay(seed);
		else if (ok)
			printf("# run %" PRIu64 ": %s: %s\n", seed, inv_name(verdict.inv),
			       verdict.text);
		snprintf(name, sizeof name, "a mistake is found by %s: %s",
			 ok ? inv_name(verdict.inv) : "nobody", mistakes[b].text);
		result(ok, name);
	}
	breaks = BREAK_NONE;
}

/* ---- options --------------------------------------------------------------------------- */

static int usage(void)
{
	puts("usage: sim [--short] [--depth N] [--runs N] [--seed N [--trace]] [--break NAME] "
	     "[--list]");
	return 2;
}

static int list(void)
{
	for (unsigned b = 1; b < BREAK_COUNT; b++)
		printf("%-14s%s\n", mistakes[b].name, mistakes[b].text);
	return 0;
}

static bool find_mistake(const char *name)
{
	for (unsigned b = 1; b < BREAK_COUNT; b++)
		if (strcmp(mistakes[b].name, name) == 0) {
			breaks = (enum brk)b;
			return true;
		}
	return false;
}

struct options {
	uint64_t seed, runs, depth;
	bool trace, brief, list;
};

static bool read_options(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		uint64_t *number = strcmp(argv[i], "--seed") == 0    ? &o->seed
				   : strcmp(argv[i], "--runs") == 0  ? &o->runs
				   : strcmp(argv[i], "--depth") == 0 ? &o->depth
								     : NULL;

		if (strcmp(argv[i], "--trace") == 0)
			o->trace = true;
		else if (strcmp(argv[i], "--short") == 0)
			o->brief = true;
		else if (strcmp(argv[i], "--list") == 0)
			o->list = true;
		else if (++i == argc)
			return false;
		else if (number != NULL)
			*number = strtoull(argv[i], NULL, 10);
		else if (strcmp(argv[i - 1], "--break") != 0 || !find_mistake(argv[i]))
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct options o = {0};

	if (!read_options(&o, argc, argv))
		return usage();
	if (o.list)
		return list();
	if (o.trace) {
		if (!told_run(o.seed))
			say_broken();
		return verdict.inv != INV_NONE;
	}
	if (o.seed != 0 || o.runs != 0) {
		random_runs(o.seed != 0 ? o.seed : 1, o.runs != 0 ? o.runs : 1);
	} else if (o.depth != 0 || breaks != BREAK_NONE) {
		every_order(o.depth != 0 ? (unsigned)o.depth : DEPTH_MAX);
	} else {
		rounds();
		every_order(o.brief ? 9 : DEPTH_MAX);
		random_runs(1, o.brief ? 2000 : 100000);
		each_mistake_is_found(o.brief ? 3000 : 20000);
	}
	printf("1..%u\n", tests);
	return all_ok ? 0 : 1;
}
