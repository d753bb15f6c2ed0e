/*
 * proto/exchange: two machines and an attacker between them that keeps every message, delivers it to
 * either machine at any time, changes messages, forges others, cuts links, makes IPsec calls fail, and
 * changes the configs. In all cases each machine keeps its contract, no key is used twice, no host
 * sends with a key that the other never installed, and afterwards an exchange without attacks works.
 */
#include "crypto/random.h"
#include "proto/exchange/exchange.h"
#include "proto/json/decode.h"
#include "tests/fuzz/fuzz.h"
#include "tests/suites.h"

#define KEPT 64
#define KEYS 512

struct sent {
	char body[XSEND_MAX + 1];
	size_t len;
	struct msg msg;
};

struct side {
	struct exchange x;
	uint8_t id[PIN_LEN];
	bool waits; /* for the result of an IPsec call */
	bool asked_spi;
	bool has_new, new_in, new_out;
	bool may_uncommit;
	struct pair_state current; /* according to the actions */
	uint64_t key_in[KEYS], key_out[KEYS];
	uint32_t spi_in[KEYS];
	size_t ins, outs;
};

static struct side side[2];
static struct sent kept[KEPT];
static size_t have;
static struct xactions acts;
static struct secret exporter, ppk;
static uint64_t counter; /* source of new xids, shares and SPIs */

static uint64_t print_of(const struct secret *s)
{
	size_t n;
	const uint8_t *p = secret_bytes(s, &n);
	uint64_t f = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < n; i++)
		f = (f ^ p[i]) * UINT64_C(0x100000001b3);
	return f;
}

static void fresh_secret(struct secret *s)
{
	uint8_t *p = secret_room(s, SHARE_LEN);

	counter++;
	for (size_t i = 0; i < SHARE_LEN; i++)
		p[i] = (uint8_t)(counter >> i % 4 * 8);
}

/* ---- actions of a machine --------------------------------------------------------------- */

static void keep(const struct xactions *out)
{
	struct sent *s = &kept[have % KEPT];
	struct err e = {0};

	MUST(out->send_len > 0 && out->send_len < XSEND_MAX);
	memcpy(s->body, out->send, out->send_len);
	s->body[out->send_len] = '\0';
	s->len = out->send_len;
	MUST(msg_decode(&s->msg, s->body, s->len, &e) == 0);
	have++;
}

static void install(struct side *s)
{
	const struct sa_keys *k = &s->x.sa_in;
	uint64_t f = print_of(&k->key);

	MUST(s->has_new && !s->new_in && spi_usable(k->spi));
	MUST(secret_len(&k->key) == suite_key_len(k->suite) && k->epoch > s->current.epoch);
	for (size_t i = 0; i < s->ins; i++)
		MUST(s->key_in[i] != f);
	s->key_in[s->ins] = f;
	s->spi_in[s->ins++] = k->spi.n;
	s->new_in = true;
	MUST(secret_len(&s->x.probe_key) > 0);
}

/* S4, I1: a host sends only if the other has the same key for that SPI. */
static void activate(struct side *s, const struct side *peer)
{
	const struct sa_keys *k = &s->x.sa_out;
	uint64_t f = print_of(&k->key);
	bool found = false;

	MUST(s->has_new && s->new_in && !s->new_out && spi_usable(k->spi));
	MUST(secret_len(&k->key) == suite_key_len(k->suite));
	for (size_t i = 0; i < s->outs; i++)
		MUST(s->key_out[i] != f);
	for (size_t i = 0; i < s->ins; i++)
		MUST(s->key_in[i] != f);
	for (size_t i = 0; i < peer->ins; i++)
		found = found || (peer->key_in[i] == f && peer->spi_in[i] == k->spi.n);
	MUST(found);
	s->key_out[s->outs++] = f;
	s->new_out = true;
}

static void new_gone(struct side *s)
{
	MUST(s->has_new);
	s->has_new = s->new_in = s->new_out = false;
}

static void perform(struct side *s, const struct side *peer, const struct xaction *a)
{
	switch (a->kind) {
	case XA_RESERVE:
		MUST(!s->has_new);
		s->has_new = s->waits = s->asked_spi = true;
		break;
	case XA_INSTALL:
		install(s);
		s->waits = true;
		break;
	case XA_ACTIVATE:
		activate(s, peer);
		s->waits = true;
		break;
	case XA_COMMIT:
		MUST(s->new_in && s->new_out && s->x.current.epoch > s->current.epoch);
		s->current = s->x.current;
		s->may_uncommit = s->x.is_leader;
		new_gone(s);
		break;
	case XA_UNCOMMIT:
		MUST(s->may_uncommit && s->x.current.epoch < s->current.epoch);
		s->current = s->x.current;
		break;
	case XA_REMOVE:
	case XA_HOLD:
		new_gone(s);
		break;
	case XA_SEND:
		keep(&acts);
		break;
	case XA_END:
		MUST(!s->has_new && s->x.state == XS_IDLE);
		MUST(a->fault == FAULT_NONE || s->x.why.code != ERR_NONE || s->x.why.cause[0]);
		s->may_uncommit = false;
		break;
	default:
		break;
	}
}

static void check_idle(const struct exchange *x)
{
	MUST(is_zero(&x->sa_in, sizeof x->sa_in) || x->state != XS_IDLE);
	if (x->state != XS_IDLE)
		return;
	MUST(is_zero(&x->offer_, sizeof x->offer_) && is_zero(&x->prk_, sizeof x->prk_));
	MUST(is_zero(&x->share_, sizeof x->share_) && is_zero(&x->sa_out, sizeof x->sa_out));
	MUST(is_zero(x->confirm_tag_, sizeof x->confirm_tag_));
	MUST(is_zero(&x->probe_key, sizeof x->probe_key));
}

static void step(struct side *s, const struct xevent *ev)
{
	const struct side *peer = s == &side[0] ? &side[1] : &side[0];
	uint64_t last = s->x.last;
	unsigned sends = 0;

	if (s->ins + 1 >= KEYS || s->outs + 1 >= KEYS)
		return;
	s->waits = s->asked_spi = false;
	exchange_step(&s->x, ev, &acts);
	MUST(acts.n <= XACTIONS_MAX);
	for (size_t i = 0; i < acts.n; i++) {
		sends += acts.v[i].kind == XA_SEND;
		perform(s, peer, &acts.v[i]);
	}
	MUST(sends <= 1 && (sends == 1) == (acts.send_len > 0));
	MUST(memcmp(&s->x.current, &s->current, sizeof s->current) == 0);
	MUST(s->x.last >= last && (s->x.state == XS_IDLE) == !(s->has_new || s->may_uncommit));
	xactions_wipe(&acts);
	check_idle(&s->x);
}

/* ---- events ---------------------------------------------------------------------- */

static void give(struct side *s, const struct msg *m, const char *body, size_t len, bool in_use)
{
	static const enum xevent_kind kinds[MSG_COUNT] = {
		[MSG_OFFER] = XE_OFFER, [MSG_ANSWER] = XE_ANSWER, [MSG_CONFIRMATION] = XE_CONFIRM,
		[MSG_DONE] = XE_DONE,   [MSG_REJECT] = XE_REJECT,
	};
	SECRET(share);
	struct xevent ev = {.kind = kinds[m->type], .msg = m, .body = body, .body_len = len};

	if (ev.kind == XE_START)
		return; /* not a message of the exchange */
	fresh_secret(&share);
	ev.share = &share;
	ev.spi_in_use = in_use;
	step(s, &ev);
}

static void start(struct side *s)
{
	SECRET(share);
	struct xevent ev = {.kind = XE_START, .reason = REASON_REQUEST};

	fresh_secret(&share);
	ev.share = &share;
	ev.xid = ++counter;
	step(s, &ev);
}

static void system_answers(struct side *s, uint8_t how)
{
	struct xevent ev = {.kind = how % 8 != 7    ? XE_IPSEC_OK
				    : how % 16 == 7 ? XE_IPSEC_FAILED
						    : XE_IPSEC_UNKNOWN};

	if (s->asked_spi)
		ev.spi.n = how % 8 == 6 ? how % 3 * 0x80u : 0x1000u + (uint32_t)++counter;
	step(s, &ev);
}

static void link_up(unsigned leader, bool with_ppk)
{
	for (unsigned i = 0; i < 2; i++) {
		struct side *s = &side[i];

		while (s->waits)
			system_answers(s, 0);
		step(s, &(struct xevent){.kind = XE_LINK_LOST});
	}
	fresh_secret(&exporter);
	for (unsigned i = 0; i < 2; i++)
		exchange_link(&side[i].x, i == leader, &exporter, with_ppk ? &ppk : NULL,
			      side[i].id, side[1 - i].id);
}

static struct exchange_config config(uint8_t how)
{
	struct exchange_config c = {.suites = DEFAULT_SUITES, .window = 64};

	c.lifetime_s = how & 1 ? 30 : 3600;
	c.esn = (how & 2) != 0;
	if (how & 4) {
		c.suites = (struct suite_list){0};
		suite_list_add(&c.suites, (enum suite)((how >> 3) % SUITE_COUNT));
	}
	return c;
}

static void give_changed(struct side *s, const struct sent *from, struct tape *t)
{
	static char body[XSEND_MAX + 1];
	struct msg m;
	size_t at;

	memcpy(body, from->body, from->len + 1);
	at = (size_t)(tape_byte(t) << 8 | tape_byte(t)) % from->len;
	body[at] = (char)tape_byte(t);
	if (msg_decode(&m, body, from->len, NULL) == 0)
		give(s, &m, body, from->len, false);
}

static void give_made_up(struct side *s, struct tape *t)
{
	static char body[XSEND_MAX + 1];
	static const enum msg_type types[] = {MSG_OFFER, MSG_ANSWER, MSG_CONFIRMATION, MSG_DONE,
					      MSG_REJECT};
	struct msg m = {.type = types[tape_byte(t) % 5]}, back;
	uint64_t xid = tape_byte(t) & 1 ? s->x.xid_ : counter + 1;
	size_t len;

	if (xid == 0)
		xid = 1;
	switch (m.type) {
	case MSG_OFFER:
		m.u.offer.xid = xid;
		m.u.offer.epoch = s->x.last + tape_byte(t) % 4;
		m.u.offer.suites = config(tape_byte(t)).suites;
		m.u.offer.spi.n = 256u + tape_byte(t);
		m.u.offer.lifetime_s = 30u + tape_byte(t);
		m.u.offer.esn = tape_byte(t) & 1;
		fresh_secret(&m.u.offer.share);
		break;
	case MSG_ANSWER:
		m.u.answer.xid = xid;
		m.u.answer.suite = tape_byte(t) % SUITE_COUNT;
		m.u.answer.spi.n = 256u + tape_byte(t);
		m.u.answer.lifetime_s = 30u + tape_byte(t);
		m.u.answer.esn = tape_byte(t) & 1;
		fresh_secret(&m.u.answer.share);
		break;
	case MSG_CONFIRMATION:
		m.u.confirm.xid = xid;
		m.u.confirm.tag[0] = tape_byte(t);
		break;
	case MSG_DONE:
		m.u.done.xid = xid;
		break;
	default:
		m.u.reject.xid = xid;
		m.u.reject.reason = 1 + tape_byte(t) % (FAULT_COUNT - 1);
		m.u.reject.epoch = tape_byte(t) & 1 ? s->x.last + tape_byte(t) : 0;
		break;
	}
	len = msg_encode(&m, body, sizeof body);
	if (len > 0 && msg_decode(&back, body, len, NULL) == 0)
		give(s, &back, body, len, tape_byte(t) == 1);
}

static void happen(struct tape *t)
{
	uint8_t what = tape_byte(t);
	struct side *s = &side[what & 1];

	if (s->waits) { /* the result of the IPsec call is delivered first */
		system_answers(s, what >> 1);
		return;
	}
	switch (what / 2 % 9) {
	case 0:
		start(s);
		break;
	case 1: /* normal delivery: the newest message to its receiver */
	case 2: {
		const struct sent *m = &kept[(have + KEPT - 1 - tape_byte(t) % 3) % KEPT];

		if (m->len > 0)
			give(s, &m->msg, m->body, m->len, false);
		break;
	}
	case 3: {
		const struct sent *m = &kept[tape_byte(t) % KEPT];

		if (m->len > 0)
			give(s, &m->msg, m->body, m->len, tape_byte(t) == 1);
		break;
	}
	case 4:
		if (have > 0)
			give_changed(s, &kept[(have - 1 - tape_byte(t) % 4 % have) % KEPT], t);
		break;
	case 5:
		give_made_up(s, t);
		break;
	case 6:
		link_up(tape_byte(t) & 1, tape_byte(t) & 1);
		break;
	case 7:
		step(s, &(struct xevent){.kind = XE_TIMEOUT});
		break;
	default: {
		struct exchange_config c = config(tape_byte(t));

		exchange_configure(&s->x, &c);
		break;
	}
	}
}

/* ---- final exchange ------------------------------------------------------------------------ */

static void post(unsigned from)
{
	const struct sent *m = &kept[(have - 1) % KEPT];

	give(&side[1 - from], &m->msg, m->body, m->len, false);
}

static void honest_exchange(void)
{
	struct exchange_config c = config(2);
	uint64_t top = side[0].x.last > side[1].x.last ? side[0].x.last : side[1].x.last;

	if (top > UINT64_MAX - 2 || side[0].ins + 4 > KEYS || side[1].ins + 4 > KEYS)
		return;
	link_up(0, true);
	exchange_configure(&side[0].x, &c);
	exchange_configure(&side[1].x, &c);
	side[0].x.last = top; /* as from a hello */
	start(&side[0]);
	system_answers(&side[0], 0);
	post(0);
	system_answers(&side[1], 0);
	system_answers(&side[1], 0);
	post(1);
	system_answers(&side[0], 0);
	post(0);
	system_answers(&side[1], 0);
	post(1);
	MUST(side[0].x.state == XS_IDLE && side[1].x.state == XS_IDLE);
	MUST(side[0].current.epoch == top + 1 && side[1].current.epoch == top + 1);
	MUST(spi_equal(side[0].current.in, side[1].current.out));
	MUST(spi_equal(side[0].current.out, side[1].current.in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape t = {data, size};
	struct exchange_config c = config(0);

	MUST(crypto_start());
	json_start();
	memset(side, 0, sizeof side);
	memset(kept, 0, sizeof kept);
	have = 0;
	counter = 0;
	fresh_secret(&ppk);
	for (unsigned i = 0; i < 2; i++) {
		exchange_init(&side[i].x, &c);
		side[i].id[0] = (uint8_t)(1 + i);
	}
	link_up(0, false);
	for (unsigned n = 0; t.left > 0 && n < 300; n++)
		happen(&t);
	honest_exchange();
	for (unsigned i = 0; i < 2; i++)
		exchange_wipe(&side[i].x);
	return 0;
}
