/*
 * tests/sim/link.c - messages, and the links that carry them in order until they are cut.
 */
#include "tests/sim/sim.h"

#include <string.h>

#define LETTERS 4096

static struct letter pool[LETTERS];
static unsigned count;

struct letter *letter_at(unsigned number)
{
	return &pool[number];
}

unsigned letter_count(void)
{
	return count;
}

void letters_keep(unsigned n)
{
	count = n;
}

/* ---- messages --------------------------------------------------------------------------- */

/* Messages that were decoded before: explore.c decodes the same ones many times. */
#define MEMORY 512
static struct memory {
	uint16_t len;
	char body[BODY_MAX];
	struct msg msg;
} memory[MEMORY];

static bool decode(struct msg *m, const char *body, size_t len, int from)
{
	uint64_t h = len;
	struct memory *known;
	struct err e = {0};

	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t word;

		memcpy(&word, body + i, 8);
		h = (h ^ word) * UINT64_C(0xd6e8feb86659fd93);
	}
	known = &memory[h >> 40 & (MEMORY - 1)];
	if (known->len != len || memcmp(known->body, body, len) != 0) {
		if (msg_decode(&known->msg, body, len, &e) < 0) {
			broken(INV_BUG, "%c sent an invalid message: %s", 'A' + from, e.cause);
			known->len = 0;
			return false;
		}
		known->len = (uint16_t)len;
		memcpy(known->body, body, len);
	}
	*m = known->msg;
	return true;
}

/* Returns its number, or -1. */
static int write_letter(struct world *w, int from, const struct msg *m, const char *body,
			size_t len)
{
	struct letter *t = &pool[count];

	if (count == LETTERS || len >= sizeof t->body) {
		broken(INV_BUG, "no room for a message of %zu bytes", len);
		return -1;
	}
	t->len = (uint16_t)len;
	t->from = (uint8_t)from;
	t->from_life = w->host[from].life;
	t->judged_life = 0;
	if (m != NULL) {
		t->msg = *m;
	} else {
		memcpy(t->body, body, len + 1);
		if (!decode(&t->msg, t->body, len, from))
			return -1;
	}
	t->type = t->msg.type;
	tally.letters++;
	w->letters = count + 1;
	return (int)count++;
}

/* ---- links ----------------------------------------------------------------------------- */

int link_open(struct world *w, int dialler)
{
	for (int i = 0; i < LINKS; i++) {
		struct sim_link *l = &w->link[i];

		if (l->id != 0)
			continue;
		memset(l, 0, sizeof *l);
		l->id = ++w->last_link;
		l->dialler = (uint8_t)dialler;
		l->end[A].open = l->end[B].open = true;
		return i;
	}
	return -1;
}

void link_send(struct world *w, int link, int from, const struct msg *m, const char *body,
	       size_t len)
{
	struct sim_link *l = &w->link[link];
	struct link_end *to = &l->end[OTHER(from)];
	int number = write_letter(w, from, m, body, len);

	if (number < 0 || l->dead || !to->open)
		return; /* sent and lost */
	if (to->n == QUEUE) {
		broken(INV_BUG, "more than %d messages in flight", QUEUE);
		return;
	}
	to->queue[to->n++] = (uint16_t)number;
}

void link_close_end(struct world *w, int link, int h)
{
	struct sim_link *l = &w->link[link];

	l->end[h].open = false;
	l->end[h].n = 0;
	if (!l->dead) {
		l->dead = true;
		l->notice_at = w->now + QUIET_MS;
	}
	if (!l->end[OTHER(h)].open)
		l->id = 0;
}
