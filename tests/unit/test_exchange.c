/*
 * proto/exchange: each row of the table is taken; any other pair of state and event changes
 * nothing, or ends as the undo table says; invalid messages are refused.
 *
 * The tests drive two machines, `lead` and `follow`. The last message of each kind is kept: a test
 * can repeat it, change it, or give it to the wrong machine.
 */
#include "proto/exchange/exchange.h"
#include "crypto/random.h"
#include "tests/t.h"
#include "tests/suites.h"

#define LEADER_SPI 0x1001
#define FOLLOWER_SPI 0x2002
#define XID UINT64_C(0xabcdef)

static struct exchange lead, follow;
static struct secret exporter, lead_share, follow_share;
static uint8_t lead_id[PIN_LEN] = {1}, follow_id[PIN_LEN] = {2};
static struct xactions out;

struct sent {
	char body[XSEND_MAX];
	size_t len;
	struct msg msg;
};
static struct sent sent[MSG_COUNT];

/* ---- driving --------------------------------------------------------------------------- */

static struct exchange_config config(void)
{
	struct exchange_config c;

	memset(&c, 0, sizeof c); /* the padding too: tests compare with memcmp() */
	c.suites = DEFAULT_SUITES;
	c.lifetime_s = 3600;
	c.window = 64;
	c.esn = true;
	return c;
}

static void keep_sent(void)
{
	struct err e = {0};
	struct msg m;

	if (out.send_len == 0)
		return;
	if (!CHECK(msg_decode(&m, out.send, out.send_len, &e) == 0)) {
		NOTE("%s: %s", out.send, e.cause);
		return;
	}
	memcpy(sent[m.type].body, out.send, out.send_len + 1);
	sent[m.type].len = out.send_len;
	sent[m.type].msg = m;
}

static void step(struct exchange *x, const struct xevent *ev)
{
	exchange_step(x, ev, &out);
	keep_sent();
}

static void tell(struct exchange *x, enum xevent_kind kind)
{
	step(x, &(struct xevent){.kind = kind});
}

static void start(struct exchange *x, uint64_t peer_last)
{
	step(x, &(struct xevent){.kind = XE_START,
				 .xid = XID,
				 .share = &lead_share,
				 .peer_last = peer_last,
				 .reason = REASON_REQUEST});
}

static void ok_spi(struct exchange *x, uint32_t spi)
{
	step(x, &(struct xevent){.kind = XE_IPSEC_OK, .spi = {spi}});
}

static struct xevent event_of(const struct sent *s)
{
	static const enum xevent_kind kinds[MSG_COUNT] = {[MSG_OFFER] = XE_OFFER,
							  [MSG_ANSWER] = XE_ANSWER,
							  [MSG_CONFIRMATION] = XE_CONFIRM,
							  [MSG_DONE] = XE_DONE,
							  [MSG_REJECT] = XE_REJECT};

	return (struct xevent){.kind = kinds[s->msg.type],
			       .msg = &s->msg,
			       .body = s->body,
			       .body_len = s->len,
			       .share = &follow_share};
}

static void give(struct exchange *x, enum msg_type type)
{
	struct xevent ev = event_of(&sent[type]);

	step(x, &ev);
}

/* A message that neither machine has sent. */
static void write_message(const struct msg *m)
{
	struct sent *s = &sent[m->type];

	s->msg = *m;
	s->len = msg_encode(m, s->body, sizeof s->body);
	CHECK(s->len > 0);
}

static void write_reject(uint64_t xid, enum fault fault, const char *text, uint64_t epoch)
{
	struct msg m = {.type = MSG_REJECT};

	m.u.reject.xid = xid;
	m.u.reject.reason = (int)fault;
	m.u.reject.epoch = epoch;
	strcpy(m.u.reject.text, text);
	write_message(&m);
}

static void both_new(void)
{
	struct exchange_config c = config();

	crypto_start();
	memset(sent, 0, sizeof sent);
	memset(secret_room(&exporter, 32), 7, 32);
	memset(secret_room(&lead_share, SHARE_LEN), 8, SHARE_LEN);
	memset(secret_room(&follow_share, SHARE_LEN), 9, SHARE_LEN);
	exchange_init(&lead, &c);
	exchange_init(&follow, &c);
	exchange_link(&lead, true, &exporter, NULL, lead_id, follow_id);
	exchange_link(&follow, false, &exporter, NULL, follow_id, lead_id);
}

static bool follows(enum xstate s)
{
	return s >= XS_F_RESERVING;
}

/* Runs two new machines until one of them is in state s. Returns that one. */
static struct exchange *reach(enum xstate s)
{
	struct exchange *x = follows(s) ? &follow : &lead;

	both_new();
	if (x->state == s)
		return x;
	start(&lead, 0);
	if (x->state == s)
		return x;
	ok_spi(&lead, LEADER_SPI);
	if (x->state == s)
		return x;
	give(&follow, MSG_OFFER);
	if (x->state == s)
		return x;
	ok_spi(&follow, FOLLOWER_SPI);
	if (x->state == s)
		return x;
	ok_spi(&follow, 0);
	if (x->state == s)
		return x;
	give(&lead, MSG_ANSWER);
	if (x->state == s)
		return x;
	ok_spi(&lead, 0);
	if (x->state == s)
		return x;
	give(&follow, MSG_CONFIRMATION);
	CHECK(x->state == s);
	return x;
}

/* Runs a complete exchange. */
static void pair_up(void)
{
	reach(XS_F_ACTIVATING);
	ok_spi(&follow, 0);
	give(&lead, MSG_DONE);
	CHECK(lead.state == XS_IDLE && follow.state == XS_IDLE);
}

/* The actions of the last step: "REMOVE, SEND reject(tag), END(tag)". */
static const char *actions(void)
{
	static char text[400];
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < out.n; i++) {
		const struct xaction *a = &out.v[i];
		const char *comma = i > 0 ? ", " : "", *name = xaction_name(a->kind);
		struct msg m = {.type = MSG_COUNT};

		if (a->kind == XA_SEND)
			msg_decode(&m, out.send, out.send_len, NULL);
		if (a->kind == XA_SEND && m.type == MSG_REJECT)
			n += (size_t)snprintf(text + n, sizeof text - n, "%sSEND reject(%s)", comma,
					      fault_word((enum fault)m.u.reject.reason));
		else if (a->kind == XA_SEND)
			n += (size_t)snprintf(text + n, sizeof text - n, "%sSEND %s", comma,
					      msg_name(m.type));
		else if (a->fault != FAULT_NONE)
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%s(%s)", comma, name,
					      fault_word(a->fault));
		else
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", comma, name);
	}
	return text;
}

/* ---- the table ------------------------------------------------------------------------- */

/* Feeds a well-formed event of this kind that fits the running exchange of the machine. */
static void feed(struct exchange *x, enum xevent_kind kind)
{
	struct msg m = {.type = MSG_DONE};
	struct exchange keep_lead = lead, keep_follow = follow;

	switch (kind) {
	case XE_START:
		start(x, 0);
		return;
	case XE_ANSWER:
	case XE_CONFIRM:
	case XE_OFFER:
		/* a message of a real exchange; the machines are restored afterwards */
		if (kind != XE_OFFER || x->state == XS_IDLE) {
			struct sent keep = sent[MSG_ANSWER];

			if (sent[MSG_ANSWER].len == 0 || kind == XE_OFFER)
				reach(kind == XE_OFFER ? XS_L_OFFERED : XS_F_ACTIVATING);
			else if (sent[MSG_CONFIRMATION].len == 0)
				reach(XS_L_CONFIRMED);
			if (keep.len > 0)
				sent[MSG_ANSWER] = keep;
			lead = keep_lead;
			follow = keep_follow;
		}
		give(x, kind == XE_OFFER    ? MSG_OFFER
			: kind == XE_ANSWER ? MSG_ANSWER
					    : MSG_CONFIRMATION);
		return;
	case XE_DONE:
		m.u.done.xid = XID;
		write_message(&m);
		give(x, MSG_DONE);
		return;
	case XE_REJECT:
		write_reject(XID, FAULT_SYSTEM, "no", 0);
		give(x, MSG_REJECT);
		return;
	case XE_IPSEC_OK:
		ok_spi(x, follows(x->state) ? FOLLOWER_SPI : LEADER_SPI);
		return;
	default:
		tell(x, kind);
	}
}

static enum xstate state_named(const char *name)
{
	unsigned s = 0;

	while (s < XS_COUNT && strcmp(xstate_name((enum xstate)s), name) != 0)
		s++;
	return (enum xstate)s;
}

static enum xevent_kind event_named(const char *name)
{
	unsigned k = 0;

	while (k < XE_COUNT && strcmp(xevent_name((enum xevent_kind)k), name) != 0)
		k++;
	return (enum xevent_kind)k;
}

static bool in_table(enum xstate s, enum xevent_kind k)
{
	const char *in, *on, *does, *next, *undo;

	for (size_t i = 0; exchange_row(i, &in, &on, &does, &next, &undo); i++)
		if (strcmp(in, xstate_name(s)) == 0 && strcmp(on, xevent_name(k)) == 0)
			return true;
	return false;
}

static void each_row_is_taken_and_does_what_it_says(void)
{
	const char *in, *on, *does, *next, *undo;
	size_t rows = 0;

	for (; exchange_row(rows, &in, &on, &does, &next, &undo); rows++) {
		enum xstate s = state_named(in);
		struct exchange *x;
		char want[200];
		bool ok;

		/* an offer is for the follower */
		x = strcmp(on, "OFFER") == 0 ? (both_new(), &follow) : reach(s);
		feed(x, event_named(on));
		snprintf(want, sizeof want, strcmp(on, "REJECT") == 0 ? "%s(system)" : "%s", does);
		ok = CHECK_STR(actions(), want);
		ok = CHECK_STR(xstate_name(x->state), next) && ok;
		if (!ok)
			NOTE("%s + %s", in, on);
	}
	CHECK_U64(rows, 13);
}

/* The expected undo table. */
static const struct {
	const char *lost, *late, *failed, *unknown;
} ends[XS_COUNT] = {
	[XS_IDLE] = {"", "", "", ""},
	[XS_L_RESERVING] = {"REMOVE, END(link)", "", "REMOVE, END(system)",
			    "REMOVE, CLOSE(system), END(system)"},
	[XS_L_OFFERED] = {"NO_TIMER, REMOVE, END(link)",
			  "NO_TIMER, REMOVE, CLOSE(timeout), END(timeout)", "", ""},
	[XS_L_INSTALLING] = {"REMOVE, END(link)", "", "REMOVE, SEND reject(system), END(system)",
			     "REMOVE, CLOSE(system), END(system)"},
	[XS_L_CONFIRMED] = {"NO_TIMER, END(link)", "NO_TIMER, CLOSE(timeout), END(timeout)", "",
			    ""},
	[XS_F_RESERVING] = {"REMOVE, END(link)", "", "REMOVE, SEND reject(system), END(system)",
			    "REMOVE, CLOSE(system), END(system)"},
	[XS_F_INSTALLING] = {"REMOVE, END(link)", "", "REMOVE, SEND reject(system), END(system)",
			     "REMOVE, CLOSE(system), END(system)"},
	[XS_F_ANSWERED] = {"NO_TIMER, HOLD, END(link)",
			   "NO_TIMER, HOLD, CLOSE(timeout), END(timeout)", "", ""},
	[XS_F_ACTIVATING] = {"HOLD, END(link)", "", "HOLD, SEND reject(system), END(system)",
			     "HOLD, CLOSE(system), END(system)"},
};

static void forget_scratch(struct exchange *x)
{
	wipe(&x->sa_in, sizeof x->sa_in);
	wipe(&x->sa_out, sizeof x->sa_out);
	secret_wipe(&x->probe_key);
}

static void any_other_event_changes_nothing_or_ends_as_undo_says(void)
{
	for (unsigned s = 0; s < XS_COUNT; s++)
		for (unsigned k = 0; k < XE_COUNT; k++) {
			enum xevent_kind kind = (enum xevent_kind)k;
			struct exchange *x, before;
			const char *want = "";
			bool ok;

			if (in_table((enum xstate)s, kind))
				continue;
			x = reach((enum xstate)s);
			forget_scratch(x);
			before = *x;
			feed(x, kind);
			if (kind == XE_LINK_LOST)
				want = ends[s].lost;
			else if (kind == XE_TIMEOUT)
				want = ends[s].late;
			else if (kind == XE_IPSEC_FAILED)
				want = ends[s].failed;
			else if (kind == XE_IPSEC_UNKNOWN)
				want = ends[s].unknown;
			ok = CHECK_STR(actions(), want);
			if (want[0] != '\0')
				ok = CHECK(x->state == XS_IDLE) && ok;
			else if (kind != XE_LINK_LOST)
				ok = CHECK(memcmp(x, &before, sizeof before) == 0) && ok;
			if (!ok)
				NOTE("%s + %s", xstate_name((enum xstate)s), xevent_name(kind));
		}
}

static void another_xid_changes_nothing_in_any_state(void)
{
	static const enum msg_type types[] = {MSG_ANSWER, MSG_CONFIRMATION, MSG_DONE, MSG_REJECT};

	for (unsigned s = 0; s < XS_COUNT; s++)
		for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
			struct exchange *x, before;
			struct msg m;

			pair_up(); /* fills in the messages */
			write_reject(XID, FAULT_SYSTEM, "no", 0);
			m = sent[types[i]].msg;
			x = reach((enum xstate)s);
			forget_scratch(x);
			before = *x;
			switch (m.type) {
			case MSG_ANSWER:
				m.u.answer.xid = XID + 1;
				break;
			case MSG_CONFIRMATION:
				m.u.confirm.xid = XID + 1;
				break;
			case MSG_DONE:
				m.u.done.xid = XID + 1;
				break;
			default:
				m.u.reject.xid = XID + 1;
				break;
			}
			write_message(&m);
			give(x, m.type);
			if (!CHECK(out.n == 0) || !CHECK(memcmp(x, &before, sizeof before) == 0))
				NOTE("%s, %s", xstate_name((enum xstate)s), msg_name(m.type));
		}
}

/* ---- results of an exchange -------------------------------------------------------- */

static void both_ends_get_the_same_keys_in_opposite_directions(void)
{
	struct sa_keys lead_in, lead_out, follow_in, follow_out;
	struct secret lead_probe, follow_probe;

	reach(XS_F_INSTALLING);
	follow_in = follow.sa_in;
	follow_probe = follow.probe_key;
	ok_spi(&follow, 0);
	give(&lead, MSG_ANSWER);
	lead_in = lead.sa_in;
	lead_out = lead.sa_out;
	lead_probe = lead.probe_key;
	ok_spi(&lead, 0);
	give(&follow, MSG_CONFIRMATION);
	follow_out = follow.sa_out;
	ok_spi(&follow, 0);
	give(&lead, MSG_DONE);

	CHECK(secret_equal(&lead_out.key, &follow_in.key));
	CHECK(secret_equal(&follow_out.key, &lead_in.key));
	CHECK(!secret_equal(&lead_in.key, &lead_out.key));
	CHECK(secret_equal(&lead_probe, &follow_probe));
	CHECK(spi_equal(lead_in.spi, follow_out.spi) && lead_in.spi.n == LEADER_SPI);
	CHECK(spi_equal(lead_out.spi, follow_in.spi) && lead_out.spi.n == FOLLOWER_SPI);
	CHECK(lead_in.qm_sa_id == follow_out.qm_sa_id && lead_in.qm_sa_id != 0);
	CHECK(lead_in.lifetime_s == 3600 && follow_in.lifetime_s == 3600);
	CHECK(lead_in.esn && follow_in.esn && lead_in.epoch == 1 && follow_out.epoch == 1);
	CHECK(lead_in.suite == SUITE_AES256GCM16 && follow_in.suite == SUITE_AES256GCM16);

	CHECK(lead.current.epoch == 1 && follow.current.epoch == 1);
	CHECK(spi_equal(lead.current.in, follow.current.out));
	CHECK(spi_equal(lead.current.out, follow.current.in));
	CHECK(lead.last == 1 && follow.last == 1);
	CHECK(lead.is_leader && !follow.is_leader);
	CHECK(lead.reason == REASON_REQUEST && follow.reason == REASON_REQUEST);
}

/* The machine passes the inputs of docs/protocol.md to the key schedule. */
static void the_keys_are_those_of_the_key_schedule(void)
{
	struct key_context c = {.exporter = &exporter,
				.xid = XID,
				.epoch = 1,
				.suite = SUITE_AES256GCM16,
				.leader_spi = {LEADER_SPI},
				.follower_spi = {FOLLOWER_SPI},
				.esn = true};
	struct secret prk, down, up;
	uint32_t qm_sa_id;

	memcpy(c.leader_id, lead_id, PIN_LEN);
	memcpy(c.follower_id, follow_id, PIN_LEN);
	reach(XS_L_INSTALLING);
	CHECK(keysched_extract(&c, &lead_share, &follow_share, &prk));
	CHECK(keysched_sa(&c, &prk, LEADER_TO_FOLLOWER, &down));
	CHECK(keysched_sa(&c, &prk, FOLLOWER_TO_LEADER, &up));
	CHECK(keysched_qm_sa_id(&c, &prk, &qm_sa_id));
	CHECK(secret_equal(&lead.sa_out.key, &down) && secret_equal(&lead.sa_in.key, &up));
	CHECK_U64(lead.sa_out.qm_sa_id, qm_sa_id);
	reach(XS_F_ACTIVATING);
	CHECK(secret_equal(&follow.sa_out.key, &up));
}

static bool all_zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		if (b[i] != 0)
			return false;
	return true;
}

static bool holds_no_secret(const struct exchange *x)
{
	return all_zero(&x->sa_in, sizeof x->sa_in) && all_zero(&x->sa_out, sizeof x->sa_out) &&
	       all_zero(&x->probe_key, sizeof x->probe_key) &&
	       all_zero(&x->share_, sizeof x->share_) && all_zero(&x->prk_, sizeof x->prk_) &&
	       all_zero(&x->offer_, sizeof x->offer_) &&
	       all_zero(x->confirm_tag_, sizeof x->confirm_tag_);
}

static void no_secret_is_left_after_any_end(void)
{
	static const enum xevent_kind enders[] = {XE_LINK_LOST, XE_TIMEOUT, XE_IPSEC_FAILED,
						  XE_IPSEC_UNKNOWN, XE_REJECT};

	pair_up();
	CHECK(holds_no_secret(&lead));
	CHECK(holds_no_secret(&follow));
	for (unsigned s = 1; s < XS_COUNT; s++)
		for (size_t i = 0; i < sizeof enders / sizeof enders[0]; i++) {
			struct exchange *x = reach((enum xstate)s);

			feed(x, enders[i]);
			if (x->state == XS_IDLE && !CHECK(holds_no_secret(x)))
				NOTE("%s + %s", xstate_name((enum xstate)s),
				     xevent_name(enders[i]));
		}
	reach(XS_L_CONFIRMED);
	CHECK(holds_no_secret(&lead)); /* from here on, no key is derived */
	xactions_wipe(&out);
	CHECK(all_zero(&out, sizeof out));
}

static void keys_exist_during_one_step_only(void)
{
	SECRET(waits);

	reach(XS_L_INSTALLING);
	CHECK(secret_len(&lead.sa_in.key) > 0 && secret_len(&lead.sa_out.key) > 0);
	ok_spi(&lead, 0);
	CHECK(all_zero(&lead.sa_in, sizeof lead.sa_in));
	reach(XS_F_INSTALLING);
	CHECK(secret_len(&follow.sa_in.key) > 0 && secret_len(&follow.sa_out.key) > 0);
	waits = follow.sa_out.key;
	ok_spi(&follow, 0);
	CHECK(all_zero(&follow.sa_in, sizeof follow.sa_in));
	CHECK(all_zero(&follow.sa_out, sizeof follow.sa_out));
	reach(XS_F_ACTIVATING);
	CHECK(secret_len(&follow.sa_out.key) > 0 && secret_len(&follow.sa_in.key) == 0);
	CHECK(secret_equal(&follow.sa_out.key, &waits)); /* one SA, one key */
}

static void the_follower_takes_the_smaller_values(void)
{
	struct exchange_config c = config();

	both_new();
	c.lifetime_s = 600;
	c.esn = false;
	c.suites = (struct suite_list){0};
	suite_list_add(&c.suites, SUITE_AES256_SHA256);
	suite_list_add(&c.suites, SUITE_AES128GCM16);
	exchange_configure(&follow, &c);
	start(&lead, 0);
	ok_spi(&lead, LEADER_SPI);
	give(&follow, MSG_OFFER);
	ok_spi(&follow, FOLLOWER_SPI);
	CHECK(follow.sa_in.suite == SUITE_AES128GCM16); /* the order of the leader decides */
	CHECK(follow.sa_in.lifetime_s == 600 && !follow.sa_in.esn);
	ok_spi(&follow, 0);
	give(&lead, MSG_ANSWER);
	CHECK(lead.state == XS_L_INSTALLING);
	CHECK(lead.sa_out.suite == SUITE_AES128GCM16 && lead.sa_out.lifetime_s == 600);
	CHECK(!lead.sa_in.esn);
}

static void new_options_do_not_touch_the_running_exchange(void)
{
	struct exchange_config c = config();

	c.lifetime_s = 31;
	c.window = 1;
	c.suites = (struct suite_list){.n = 1, .v = {SUITE_AES128_SHA1}};
	reach(XS_L_OFFERED);
	exchange_configure(&lead, &c);
	give(&follow, MSG_OFFER);
	exchange_configure(&follow, &c);
	ok_spi(&follow, FOLLOWER_SPI);
	CHECK(follow.sa_in.lifetime_s == 3600 && follow.sa_in.window == 64);
	ok_spi(&follow, 0);
	give(&lead, MSG_ANSWER);
	CHECK(lead.sa_in.lifetime_s == 3600 && lead.sa_in.window == 64);
}

static void a_ppk_that_differs_ends_with_a_wrong_tag(void)
{
	struct secret ppk;

	both_new();
	memset(secret_room(&ppk, 32), 3, 32);
	exchange_link(&follow, false, &exporter, &ppk, follow_id, lead_id);
	start(&lead, 0);
	ok_spi(&lead, LEADER_SPI);
	give(&follow, MSG_OFFER);
	ok_spi(&follow, FOLLOWER_SPI);
	ok_spi(&follow, 0);
	give(&lead, MSG_ANSWER);
	CHECK_STR(actions(), "NO_TIMER, REMOVE, SEND reject(tag), END(tag)");
	CHECK(lead.why.code == ERR_AUTH);
	give(&follow, MSG_REJECT);
	CHECK_STR(actions(), "NO_TIMER, REMOVE, END(tag)");
}

/* ---- epochs ---------------------------------------------------------------------------- */

static void a_new_epoch_exceeds_all_epochs_of_both_hosts(void)
{
	both_new();
	start(&lead, 41);
	CHECK_U64(lead.last, 42);
	ok_spi(&lead, LEADER_SPI);
	CHECK_U64(sent[MSG_OFFER].msg.u.offer.epoch, 42);
	tell(&lead, XE_LINK_LOST);
	exchange_link(&lead, true, &exporter, NULL, lead_id, follow_id);
	start(&lead, 0);
	CHECK_U64(lead.last, 43); /* a retry takes a new one (I4) */
	CHECK(lead.current.epoch == 0);
}

static void no_epoch_follows_the_greatest(void)
{
	both_new();
	start(&lead, UINT64_MAX);
	CHECK_STR(actions(), "END(epoch)");
	CHECK(lead.state == XS_IDLE && lead.last == 0);
}

static void an_old_epoch_is_rejected_and_changes_nothing(void)
{
	struct exchange before;

	pair_up();
	forget_scratch(&follow);
	before = follow;
	give(&follow, MSG_OFFER); /* repeated after its end */
	CHECK_STR(actions(), "SEND reject(epoch)");
	CHECK_U64(sent[MSG_REJECT].msg.u.reject.epoch, 1);
	CHECK(memcmp(&before, &follow, sizeof before) == 0);
}

static void a_leader_learns_the_epoch_from_a_reject(void)
{
	reach(XS_L_OFFERED);
	write_reject(XID, FAULT_EPOCH, "", 99);
	give(&lead, MSG_REJECT);
	CHECK_STR(actions(), "NO_TIMER, REMOVE, END(epoch)");
	CHECK_U64(lead.last, 99);
	start(&lead, 0);
	CHECK_U64(lead.last, 100);
}

static void a_refused_offer_cannot_be_replayed(void)
{
	struct xevent ev;

	reach(XS_L_OFFERED);
	ev = event_of(&sent[MSG_OFFER]);
	ev.spi_in_use = true;
	step(&follow, &ev);
	CHECK_STR(actions(), "SEND reject(spi), END(spi)");
	ev.spi_in_use = false; /* the old SA has been removed since */
	step(&follow, &ev);
	CHECK_STR(actions(), "SEND reject(epoch)");
	CHECK(follow.state == XS_IDLE);
}

/* ---- offers that are refused ----------------------------------------------------------- */

static void an_offer_while_busy_is_rejected(void)
{
	struct msg m;

	for (unsigned s = XS_F_RESERVING; s < XS_COUNT; s++) {
		enum xstate state = (enum xstate)s;

		reach(state);
		m = sent[MSG_OFFER].msg;
		give(&follow, MSG_OFFER); /* identical to that of the running exchange */
		CHECK_STR(actions(), "");
		m.u.offer.xid++;
		m.u.offer.epoch++;
		write_message(&m);
		give(&follow, MSG_OFFER);
		CHECK_STR(actions(), "SEND reject(busy)");
		CHECK(follow.state == state);
		give(&follow, MSG_OFFER);
		CHECK_STR(actions(), "SEND reject(epoch)"); /* rejected once */
		CHECK(follow.state == state);
	}
}

static void an_offer_to_the_leader_closes_the_link_and_changes_no_sa(void)
{
	struct msg m;

	pair_up();
	m = sent[MSG_OFFER].msg;
	m.u.offer.epoch = 50;
	write_message(&m);
	give(&lead, MSG_OFFER);
	CHECK_STR(actions(), "CLOSE(protocol)");
	CHECK(lead.state == XS_IDLE && lead.current.epoch == 1 && lead.last == 1);
	start(&lead, 0);
	CHECK_STR(actions(), ""); /* nothing more on this link */
	tell(&lead, XE_LINK_LOST);
	exchange_link(&lead, true, &exporter, NULL, lead_id, follow_id);
	start(&lead, 0);
	CHECK_STR(actions(), "RESERVE");
}

static void our_own_offer_reflected_changes_nothing(void)
{
	for (unsigned s = XS_L_OFFERED; s <= XS_L_CONFIRMED; s++) {
		reach((enum xstate)s);
		give(&lead, MSG_OFFER);
		CHECK_STR(actions(), "");
		CHECK(lead.state == (enum xstate)s);
	}
}

static void unacceptable_offers_are_refused_with_the_reason(void)
{
	struct exchange_config none = config();
	struct xevent ev;

	none.suites = (struct suite_list){.n = 1, .v = {SUITE_AES192GMAC}};
	reach(XS_L_OFFERED);
	exchange_configure(&follow, &none);
	give(&follow, MSG_OFFER);
	CHECK_STR(actions(), "SEND reject(suite), END(suite)");
	CHECK_STR(follow.why.cause, "no suite in common: aes256gcm16 aes128gcm16 aes256-sha256 "
				    "offered, aes192gmac allowed");
	CHECK_STR(sent[MSG_REJECT].msg.u.reject.text, follow.why.cause);
	give(&lead, MSG_REJECT);
	CHECK_STR(actions(), "NO_TIMER, REMOVE, END(suite)");
	CHECK(lead.peer_fault == FAULT_SUITE && lead.why.code == ERR_REFUSED);
	CHECK_STR(lead.peer_text, follow.why.cause);

	reach(XS_L_OFFERED);
	ev = event_of(&sent[MSG_OFFER]);
	ev.held = EXCHANGE_HELD_MAX;
	step(&follow, &ev);
	CHECK_STR(actions(), "SEND reject(limit), END(limit)");

	reach(XS_L_OFFERED);
	ev = event_of(&sent[MSG_OFFER]);
	ev.share = &lead_share; /* our own: a reflection, or a broken random generator */
	step(&follow, &ev);
	CHECK_STR(actions(), "SEND reject(protocol), END(protocol)");

	reach(XS_L_OFFERED);
	ev = event_of(&sent[MSG_OFFER]);
	ev.share = NULL;
	step(&follow, &ev);
	CHECK_STR(actions(), "SEND reject(system), END(system)");

	both_new();
	step(&lead, &(struct xevent){.kind = XE_START,
				     .xid = XID,
				     .share = &lead_share,
				     .held = EXCHANGE_HELD_MAX});
	CHECK_STR(actions(), "END(limit)");
}

static void reserved_and_equal_spis_are_refused(void)
{
	reach(XS_L_RESERVING);
	ok_spi(&lead, 255);
	CHECK_STR(actions(), "REMOVE, END(system)");
	reach(XS_F_RESERVING);
	ok_spi(&follow, 0);
	CHECK_STR(actions(), "REMOVE, SEND reject(system), END(system)");
	reach(XS_F_RESERVING);
	ok_spi(&follow, LEADER_SPI);
	CHECK_STR(actions(), "REMOVE, SEND reject(spi), END(spi)");
}

/* ---- answers and confirms that are refused --------------------------------------------- */

static void change_suite(struct msg_answer *a)
{
	a->suite = SUITE_AES192GMAC;
}
static void change_lifetime(struct msg_answer *a)
{
	a->lifetime_s = 3601;
}
static void change_spi(struct msg_answer *a)
{
	a->spi.n++;
}
static void reflect_spi(struct msg_answer *a)
{
	a->spi.n = LEADER_SPI;
}
static void reflect_share(struct msg_answer *a)
{
	a->share = lead_share;
}
static void change_share(struct msg_answer *a)
{
	a->share = exporter;
}
static void change_esn(struct msg_answer *a)
{
	a->esn = false;
}
static void change_window(struct msg_answer *a)
{
	a->window++;
}
static void change_tag(struct msg_answer *a)
{
	a->tag[0] ^= 1;
}

static void an_answer_must_keep_to_the_offer_and_have_the_right_tag(void)
{
	static const struct {
		const char *name, *fault;
		void (*change)(struct msg_answer *a);
	} rows[] = {
		{"another suite", "suite", change_suite},
		{"longer lifetime", "protocol", change_lifetime},
		{"our SPI", "spi", reflect_spi},
		{"our share", "protocol", reflect_share},
		{"another SPI", "tag", change_spi},
		{"another share", "tag", change_share},
		{"no ESN", "tag", change_esn},
		{"another window", "tag", change_window},
		{"another tag", "tag", change_tag},
	};
	struct xevent ev;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char want[80];
		struct msg m;

		reach(XS_F_ANSWERED);
		m = sent[MSG_ANSWER].msg;
		rows[i].change(&m.u.answer);
		write_message(&m);
		give(&lead, MSG_ANSWER);
		snprintf(want, sizeof want, "NO_TIMER, REMOVE, SEND reject(%s), END(%s)",
			 rows[i].fault, rows[i].fault);
		if (!CHECK_STR(actions(), want))
			NOTE("%s", rows[i].name);
		give(&follow, MSG_REJECT);
		CHECK(follow.state == XS_IDLE && out.n == 3 && out.v[1].kind == XA_REMOVE);
	}
	reach(XS_F_ANSWERED);
	ev = event_of(&sent[MSG_ANSWER]);
	ev.spi_in_use = true;
	step(&lead, &ev);
	CHECK_STR(actions(), "NO_TIMER, REMOVE, SEND reject(spi), END(spi)");
}

static void esn_is_not_accepted_unless_it_was_offered(void)
{
	struct exchange_config c = config();
	struct msg m;

	both_new();
	c.esn = false;
	exchange_configure(&lead, &c);
	start(&lead, 0);
	ok_spi(&lead, LEADER_SPI);
	give(&follow, MSG_OFFER);
	ok_spi(&follow, FOLLOWER_SPI);
	ok_spi(&follow, 0);
	m = sent[MSG_ANSWER].msg;
	CHECK(!m.u.answer.esn);
	m.u.answer.esn = true;
	write_message(&m);
	give(&lead, MSG_ANSWER);
	CHECK_STR(actions(), "NO_TIMER, REMOVE, SEND reject(protocol), END(protocol)");
}

static void a_wrong_confirm_keeps_the_inbound_sa(void)
{
	struct msg m;

	pair_up(); /* epoch 1 is in force */
	memset(secret_room(&lead_share, SHARE_LEN), 10, SHARE_LEN);
	memset(secret_room(&follow_share, SHARE_LEN), 11, SHARE_LEN);
	start(&lead, 0);
	ok_spi(&lead, LEADER_SPI + 1);
	give(&follow, MSG_OFFER);
	ok_spi(&follow, FOLLOWER_SPI + 1);
	ok_spi(&follow, 0);
	give(&lead, MSG_ANSWER);
	ok_spi(&lead, 0);
	CHECK(lead.current.epoch == 2 && lead.former.epoch == 1);
	m = sent[MSG_CONFIRMATION].msg;
	m.u.confirm.tag[31] ^= 0x80;
	write_message(&m);
	give(&follow, MSG_CONFIRMATION);
	CHECK_STR(actions(), "NO_TIMER, HOLD, SEND reject(tag), END(tag)");
	CHECK(follow.current.epoch == 1 && follow.last == 2);
	give(&lead, MSG_REJECT);
	CHECK_STR(actions(), "NO_TIMER, UNCOMMIT, END(tag)");
	CHECK(lead.current.epoch == 1 && lead.current.in.n == LEADER_SPI);
	CHECK(lead.former.epoch == 0 && lead.last == 2);
}

static void a_lost_confirm_leaves_the_new_pair_in_force(void)
{
	reach(XS_L_CONFIRMED);
	tell(&lead, XE_LINK_LOST);
	CHECK(lead.current.epoch == 1 && lead.current.in.n == LEADER_SPI);
	reach(XS_L_CONFIRMED);
	tell(&lead, XE_TIMEOUT);
	CHECK(lead.current.epoch == 1);
	CHECK(lead.why.code == ERR_TIMEOUT);
}

static void forgetting_leaves_nothing_in_force_but_the_last_epoch(void)
{
	pair_up();
	exchange_forget(&lead);
	CHECK(lead.current.epoch == 0 && lead.current.in.n == 0 && lead.former.epoch == 0);
	CHECK_U64(lead.last, 1);
	exchange_wipe(&lead);
	CHECK(all_zero(&lead, sizeof lead));
}

static void without_a_link_or_as_follower_nothing_begins(void)
{
	struct exchange_config c = config();

	both_new();
	start(&follow, 0);
	CHECK_STR(actions(), "");
	exchange_init(&lead, &c);
	start(&lead, 0);
	CHECK_STR(actions(), "");
	reach(XS_L_OFFERED);
	start(&lead, 0);
	CHECK_STR(actions(), "");
	step(&follow, &(struct xevent){.kind = XE_LINK_LOST});
	give(&follow, MSG_OFFER);
	CHECK_STR(actions(), "");
	CHECK(follow.state == XS_IDLE && follow.last == 0);
}

static void every_state_event_and_action_has_a_name(void)
{
	for (int i = 0; i < XS_COUNT; i++)
		CHECK(strcmp(xstate_name((enum xstate)i), "?") != 0);
	for (int i = 0; i < XE_COUNT; i++)
		CHECK(strcmp(xevent_name((enum xevent_kind)i), "?") != 0);
	for (int i = 0; i <= XA_END; i++)
		CHECK(strcmp(xaction_name((enum xaction_kind)i), "?") != 0);
	CHECK_STR(xstate_name(XS_COUNT), "?");
	CHECK_STR(xevent_name(XE_COUNT), "?");
}

T_MAIN(T(each_row_is_taken_and_does_what_it_says),
       T(any_other_event_changes_nothing_or_ends_as_undo_says),
       T(another_xid_changes_nothing_in_any_state),
       T(both_ends_get_the_same_keys_in_opposite_directions),
       T(the_keys_are_those_of_the_key_schedule), T(no_secret_is_left_after_any_end),
       T(keys_exist_during_one_step_only), T(the_follower_takes_the_smaller_values),
       T(new_options_do_not_touch_the_running_exchange),
       T(a_ppk_that_differs_ends_with_a_wrong_tag), T(a_new_epoch_exceeds_all_epochs_of_both_hosts),
       T(no_epoch_follows_the_greatest), T(an_old_epoch_is_rejected_and_changes_nothing),
       T(a_leader_learns_the_epoch_from_a_reject), T(a_refused_offer_cannot_be_replayed),
       T(an_offer_while_busy_is_rejected),
       T(an_offer_to_the_leader_closes_the_link_and_changes_no_sa),
       T(our_own_offer_reflected_changes_nothing),
       T(unacceptable_offers_are_refused_with_the_reason), T(reserved_and_equal_spis_are_refused),
       T(an_answer_must_keep_to_the_offer_and_have_the_right_tag),
       T(esn_is_not_accepted_unless_it_was_offered), T(a_wrong_confirm_keeps_the_inbound_sa),
       T(a_lost_confirm_leaves_the_new_pair_in_force),
       T(forgetting_leaves_nothing_in_force_but_the_last_epoch),
       T(without_a_link_or_as_follower_nothing_begins), T(every_state_event_and_action_has_a_name))
