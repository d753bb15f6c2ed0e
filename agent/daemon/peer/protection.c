/*
 * agent/daemon/peer/protection.c - whether a peer's traffic can pass in clear.
 */
#include "agent/daemon/peer/protection.h"

#include "agent/daemon/peer/inner.h"

#include <stdio.h>
#include <string.h>

const char *protection_word(unsigned bit)
{
#define PROTECTION_WORD(name, word) word,
	static const char *const words[] = {PROTECTION_LIST(PROTECTION_WORD)};
#undef PROTECTION_WORD

	return words[bit];
}

void protection_put_words(struct json_out *o, uint32_t reasons)
{
	json_put_array(o, "protected_reasons");
	for (unsigned i = 0; i < PROTECTION_COUNT; i++)
		if ((reasons >> i & 1) != 0)
			json_put_text(o, NULL, protection_word(i));
	json_put_array_end(o);
}

uint32_t protection_reasons(const struct peer *p)
{
	const struct ipsec_can *can = &p->agent->can;
	uint32_t reasons = 0;

	if (can->datagrams)
		reasons |= UNPROTECTED_SOFT_BACKEND;
	if (p->cfg.opt.policy.mode == MODE_PERMISSIVE)
		reasons |= UNPROTECTED_PERMISSIVE;
	if (!p->is_wanted)
		return reasons | UNPROTECTED_DOWN;
	if (p->cfg.opt.policy.start == START_SEAMLESS && pair_rekeys(p->pair) == 0)
		reasons |= UNPROTECTED_SEAMLESS;
	if (!policy_is_installed(&p->policy))
		reasons |= UNPROTECTED_POLICY_MISSING;
	else if (can->judges)
		reasons |= p->protection.is_judged ? p->protection.by_backend : UNPROTECTED_UNKNOWN;
	return reasons;
}

static void list_words(char *text, size_t size, uint32_t reasons)
{
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < PROTECTION_COUNT && n < size; i++)
		if ((reasons >> i & 1) != 0)
			n += (size_t)snprintf(text + n, size - n, "%s%s", n > 0 ? ", " : "",
					      protection_word(i));
}

static const char *hint_of(uint32_t reasons)
{
	if ((reasons & UNPROTECTED_SYSCTL) != 0)
		return "set it to 0 with sysctl -w; sysctl -a | grep disable_ shows all of them";
	if ((reasons & UNPROTECTED_FOREIGN_POLICY) != 0)
		return "ip xfrm policy shows it; remove it, or end the program that made it";
	if ((reasons & UNPROTECTED_POLICY_MISSING) != 0)
		return "ip xfrm policy shows what is there; the log shows why ours are not";
	if ((reasons & (UNPROTECTED_ADDRESS_GONE | UNPROTECTED_ROUTE)) != 0)
		return "ip route get ADDRESS shows the address that this host sends from; see "
		       "\"local\" in the config";
	return "sapair status shows the reasons";
}

int protection_check(const struct peer *p, struct err *e)
{
	const uint32_t reasons = protection_reasons(p);
	const char *text = p->protection.text;
	char words[128];

	if (reasons == 0 || (reasons & (UNPROTECTED_SOFT_BACKEND | UNPROTECTED_PERMISSIVE)) != 0)
		return 0;
	list_words(words, sizeof words, reasons);
	err_set(e, ERR_VERIFY, "traffic to %s can pass in clear: %s%s%s%s", p->cfg.name, words,
		text[0] != '\0' ? " (" : "", text, text[0] != '\0' ? ")" : "");
	return err_hint(e, hint_of(reasons));
}

static void put_event(struct peer *p, uint32_t reasons)
{
	const struct protection *s = &p->protection;
	struct event_out ev;
	char words[128];

	list_words(words, sizeof words, reasons);
	event_begin(&ev, &p->agent->events, reasons == 0 ? EVENT_PROTECTED : EVENT_UNPROTECTED,
		    p->cfg.name);
	if (ev.wanted) {
		json_put_bool(&ev.json, "protected", reasons == 0);
		protection_put_words(&ev.json, reasons);
		json_put_bool(&ev.json, "carrying", pair_is_up(p->pair));
	}
	if (reasons == 0)
		event_end(&ev, "protected: traffic cannot pass in clear");
	else
		event_end(&ev, "not protected: %s%s%s", words, s->text[0] != '\0' ? ": " : "",
			  s->text);
}

/* What the config chose is no event at the start, and neither is that all is well. */
void protection_update(struct peer *p)
{
	const uint32_t chosen = UNPROTECTED_SOFT_BACKEND | UNPROTECTED_PERMISSIVE;
	struct protection *s = &p->protection;
	const uint32_t reasons = protection_reasons(p);

	if ((reasons & UNPROTECTED_UNKNOWN) != 0 && !s->is_judged)
		return;
	if (s->is_told ? reasons == s->told : (reasons & ~chosen) == 0) {
		s->is_told = true;
		s->told = reasons;
		return;
	}
	s->is_told = true;
	s->told = reasons;
	put_event(p, reasons);
}

void protection_on_judged(struct peer *p, const struct ipsec_event *ev)
{
	struct protection *s = &p->protection;

	if (!policy_is_installed(&p->policy))
		return;
	s->is_judged = true;
	s->by_backend = ev->reasons;
	snprintf(s->text, sizeof s->text, "%s", ev->text != NULL ? ev->text : "");
	protection_update(p);
}

void protection_forget(struct peer *p)
{
	p->protection.is_judged = false;
	p->protection.by_backend = 0;
	p->protection.text[0] = '\0';
}
