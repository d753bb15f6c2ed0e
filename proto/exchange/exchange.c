/*
 * proto/exchange/exchange.c - the protocol, whole: rows[] is what happens, undo[] is what an early end
 * leaves behind. What neither names changes nothing.
 */
#include "proto/exchange/exchange.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* FAULT_NONE: the row is taken. Else the run ends early with this fault, and x->why says why. */
typedef enum fault act_fn(struct exchange *x, const struct xevent *ev, struct xactions *out);

static act_fn ask_reserve, send_offer, take_answer, send_confirm, finish, step_back;
static act_fn take_offer, install_pair, send_answer, take_confirm, send_done;
static act_fn remove_refused;

/* Leader and follower share no state but IDLE: no row asks for the role. */
static const struct row {
	enum xstate in;
	enum xevent_kind on;
	act_fn *act;
	enum xstate next;
	const char *does; /* for people */
} rows[] = {
	/* clang-format off */
	{XS_IDLE,         XE_START,   ask_reserve,  XS_L_RESERVING,  "RESERVE"},
	{XS_L_RESERVING,  XE_IPSEC_OK, send_offer,   XS_L_OFFERED,    "SEND offer, TIMER"},
	{XS_L_OFFERED,    XE_ANSWER,  take_answer,  XS_L_INSTALLING, "NO_TIMER, INSTALL, ACTIVATE"},
	{XS_L_OFFERED,    XE_REJECT,  remove_refused, XS_IDLE,         "NO_TIMER, REMOVE, END"},
	{XS_L_INSTALLING, XE_IPSEC_OK, send_confirm, XS_L_CONFIRMED,  "COMMIT, SEND confirm, TIMER"},
	{XS_L_CONFIRMED,  XE_DONE,    finish,       XS_IDLE,         "NO_TIMER, RETIRE, END"},
	{XS_L_CONFIRMED,  XE_REJECT,  step_back,    XS_IDLE,         "NO_TIMER, UNCOMMIT, END"},

	{XS_IDLE,         XE_OFFER,   take_offer,   XS_F_RESERVING,  "RESERVE"},
	{XS_F_RESERVING,  XE_IPSEC_OK, install_pair,  XS_F_INSTALLING, "INSTALL"},
	{XS_F_INSTALLING, XE_IPSEC_OK, send_answer,  XS_F_ANSWERED,   "SEND answer, TIMER"},
	{XS_F_ANSWERED,   XE_CONFIRM, take_confirm, XS_F_ACTIVATING,    "NO_TIMER, ACTIVATE"},
	{XS_F_ANSWERED,   XE_REJECT,  remove_refused, XS_IDLE,         "NO_TIMER, REMOVE, END"},
	{XS_F_ACTIVATING,    XE_IPSEC_OK, send_done,    XS_IDLE,         "COMMIT, SEND done, RETIRE, END"},
	/* clang-format on */
};

/*
 * What a run that ends early does with its SAs. From F_ANSWERED on the leader may be sending on
 * our new inbound, so that stays (I6); from L_CONFIRMED on the follower may, and it holds our
 * outbound's other end whatever happens: the new pair stays in force (XA_END: nothing to undo).
 * A leader in L_CONFIRMED must not reject: the follower would drop what we send on.
 */
static const struct undo {
	enum xaction_kind with;
	bool tells; /* the peer knows the xid and waits: it gets a reject */
	bool timed;
} undo[XS_COUNT] = {
	/* clang-format off */
	[XS_IDLE]          = {XA_END,  false, false},
	[XS_L_RESERVING]   = {XA_REMOVE, false, false},
	[XS_L_OFFERED]     = {XA_REMOVE, true,  true},
	[XS_L_INSTALLING]  = {XA_REMOVE, true,  false},
	[XS_L_CONFIRMED]   = {XA_END,  false, true},
	[XS_F_RESERVING]   = {XA_REMOVE, true,  false},
	[XS_F_INSTALLING]  = {XA_REMOVE, true,  false},
	[XS_F_ANSWERED]    = {XA_HOLD, true,  true},
	[XS_F_ACTIVATING]     = {XA_HOLD, true,  false},
	/* clang-format on */
};

/* ---- names ----------------------------------------------------------------------------- */

#define NAME(name) #name,

const char *xstate_name(enum xstate s)
{
	static const char *const names[] = {XSTATE_LIST(NAME)};

	return (unsigned)s < XS_COUNT ? names[s] : "?";
}

const char *xevent_name(enum xevent_kind k)
{
	static const char *const names[] = {XEVENT_LIST(NAME)};

	return (unsigned)k < XE_COUNT ? names[k] : "?";
}

const char *xaction_name(enum xaction_kind k)
{
	static const char *const names[] = {XACTION_LIST(NAME)};

	return (unsigned)k < COUNT(names) ? names[k] : "?";
}

bool exchange_row(size_t i, const char **in, const char **on, const char **does, const char **next,
		  const char **undo_)
{
	if (i >= COUNT(rows))
		return false;
	*in = xstate_name(rows[i].in);
	*on = xevent_name(rows[i].on);
	*does = rows[i].does;
	*next = xstate_name(rows[i].next);
	*undo_ = undo[rows[i].in].with == XA_END ? "nothing" : xaction_name(undo[rows[i].in].with);
	return true;
}

/* ---- actions --------------------------------------------------------------------------- */

void xactions_wipe(struct xactions *out)
{
	wipe(out, sizeof *out);
}

static void emit_full(struct xactions *out, struct xaction a)
{
	assert(out->n < XACTIONS_MAX);
	out->v[out->n++] = a;
}

static void emit(struct xactions *out, enum xaction_kind kind)
{
	emit_full(out, (struct xaction){.kind = kind});
}

static void emit_timer(struct xactions *out)
{
	emit_full(out, (struct xaction){.kind = XA_TIMER, .ms = EXCHANGE_REPLY_MS});
}

static void emit_end(struct xactions *out, enum fault fault)
{
	emit_full(out, (struct xaction){.kind = XA_END, .fault = fault});
}

/* Nothing more is taken from this link. */
static void emit_close(struct exchange *x, struct xactions *out, enum fault fault)
{
	emit_full(out, (struct xaction){.kind = XA_CLOSE, .fault = fault});
	x->linked_ = false;
}

/* XSEND_MAX is enough for all that is sent here. */
static void emit_send(struct xactions *out, const struct msg *m)
{
	assert(out->send_len == 0);
	out->send_len = msg_encode(m, out->send, sizeof out->send);
	assert(out->send_len > 0);
	emit(out, XA_SEND);
}

static void emit_reject(struct xactions *out, uint64_t xid, enum fault fault, const char *text,
			uint64_t epoch)
{
	struct msg m = {.type = MSG_REJECT};

	m.u.reject.xid = xid;
	m.u.reject.reason = (int)fault;
	m.u.reject.epoch = epoch;
	snprintf(m.u.reject.text, sizeof m.u.reject.text, "%.*s", MSG_TEXT_MAX, text);
	emit_send(out, &m);
}

/* ---- keys ------------------------------------------------------------------------------ */

static enum fault deny(struct exchange *x, enum fault f, const char *fmt, ...) PRINTF_LIKE(3, 4);

static enum fault deny(struct exchange *x, enum fault f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_setv(&x->why, fault_class(f), fmt, ap);
	va_end(ap);
	return f;
}

static enum fault no_memory(struct exchange *x)
{
	return deny(x, FAULT_SYSTEM, "no memory");
}

static struct key_context context_of(const struct exchange *x)
{
	struct key_context c = {
		.exporter = x->exporter_,
		.ppk = x->ppk_,
		.xid = x->xid_,
		.epoch = x->epoch_,
		.suite = x->suite_,
		.leader_spi = x->is_leader ? x->in_ : x->out_,
		.follower_spi = x->is_leader ? x->out_ : x->in_,
		.esn = x->esn_,
	};

	memcpy(c.leader_id, x->is_leader ? x->own_id_ : x->peer_id_, PIN_LEN);
	memcpy(c.follower_id, x->is_leader ? x->peer_id_ : x->own_id_, PIN_LEN);
	return c;
}

/* Keys of our inbound or outbound SA; each is asked for once (I4). */
static bool make_sa(const struct exchange *x, struct sa_keys *sa, bool inbound)
{
	const struct key_context c = context_of(x);

	sa->spi = inbound ? x->in_ : x->out_;
	sa->suite = x->suite_;
	sa->epoch = x->epoch_;
	sa->lifetime_s = x->lifetime_s_;
	sa->window = x->window_;
	sa->esn = x->esn_;
	sa->qm_sa_id = x->qm_sa_id_;
	return keysched_sa(&c, &x->prk_,
			   inbound == x->is_leader ? FOLLOWER_TO_LEADER : LEADER_TO_FOLLOWER,
			   &sa->key);
}

/* From both shares: all that is needed more than once, and the probes' key. */
static bool make_keys(struct exchange *x, const struct secret *leaders,
		      const struct secret *followers)
{
	const struct key_context c = context_of(x);

	return keysched_extract(&c, leaders, followers, &x->prk_) &&
	       keysched_qm_sa_id(&c, &x->prk_, &x->qm_sa_id_) &&
	       keysched_tag_key(&c, &x->prk_, &x->tag_key_) &&
	       keysched_probe(&c, &x->prk_, &x->probe_key);
}

/* What an answer's tag covers ends before its own digits; that of confirm covers all of it. */
static bool make_answer_tag(struct exchange *x, const char *answer, size_t len,
			    uint8_t tag[TAG_LEN])
{
	const struct bytes head = {answer, len - ANSWER_TAIL};
	uint8_t hash[SHA256_LEN];

	return sha256(&head, 1, hash) &&
	       keysched_tag(&x->tag_key_, TAG_FOLLOWER, x->offer_hash_, hash, tag);
}

static bool make_confirm_tag(struct exchange *x, const char *answer, size_t len)
{
	const struct bytes whole = {answer, len};
	uint8_t hash[SHA256_LEN];

	return sha256(&whole, 1, hash) &&
	       keysched_tag(&x->tag_key_, TAG_LEADER, x->offer_hash_, hash, x->confirm_tag_);
}

static bool hash_offer(uint8_t hash[SHA256_LEN], const char *body, size_t len)
{
	const struct bytes part = {body, len};

	return sha256(&part, 1, hash);
}

/* What the running exchange knows that nobody needs any more. */
static void wipe_run_secrets(struct exchange *x)
{
	wipe(&x->offer_, sizeof x->offer_);
	secret_wipe(&x->share_);
	secret_wipe(&x->prk_);
	secret_wipe(&x->tag_key_);
	wipe(x->confirm_tag_, sizeof x->confirm_tag_);
}

/* ---- leader ---------------------------------------------------------------------------- */

static uint64_t greatest(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* A new run's clean slate. */
static void begin(struct exchange *x, bool is_leader, enum rekey_reason reason)
{
	wipe_run_secrets(x);
	x->is_leader = is_leader;
	x->reason = reason;
	x->peer_fault = FAULT_NONE;
	x->peer_text[0] = '\0';
	memset(&x->why, 0, sizeof x->why);
}

static enum fault ask_reserve(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	uint64_t top = greatest(greatest(x->current.epoch, x->last), ev->peer_last);
	struct msg_offer *o = &x->offer_;

	begin(x, true, ev->reason);
	if (ev->xid == 0 || ev->share == NULL || secret_len(ev->share) != SHARE_LEN)
		return deny(x, FAULT_SYSTEM, "no fresh xid and share to start with");
	if (ev->held >= EXCHANGE_HELD_MAX)
		return deny(x, FAULT_LIMIT, "%u older pairs are held already", ev->held);
	if (top == UINT64_MAX)
		return deny(x, FAULT_EPOCH, "no epoch is left");
	x->xid_ = ev->xid;
	x->epoch_ = x->last = top + 1;
	o->xid = x->xid_;
	o->epoch = x->epoch_;
	o->reason = (int)ev->reason;
	o->suites = x->cfg.suites;
	o->share = *ev->share;
	o->lifetime_s = x->cfg.lifetime_s;
	o->esn = x->cfg.esn;
	o->window = x->cfg.window;
	emit(out, XA_RESERVE);
	return FAULT_NONE;
}

static enum fault send_offer(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	struct msg m = {.type = MSG_OFFER};
	bool ok;

	if (!spi_usable(ev->spi))
		return deny(x, FAULT_SYSTEM, "the system chose the reserved SPI %u", ev->spi.n);
	x->in_ = x->offer_.spi = ev->spi;
	m.u.offer = x->offer_;
	emit_send(out, &m);
	wipe(&m, sizeof m);
	ok = hash_offer(x->offer_hash_, out->send, out->send_len);
	emit_timer(out);
	return ok ? FAULT_NONE : no_memory(x);
}

/* Is what the follower chose within what we offered? */
static enum fault judge_answer(struct exchange *x, const struct xevent *ev)
{
	const struct msg_answer *m = &ev->msg->u.answer;
	const struct msg_offer *o = &x->offer_;

	if ((unsigned)m->suite >= SUITE_COUNT || !suite_list_has(&o->suites, (enum suite)m->suite))
		return deny(x, FAULT_SUITE, "the answer's suite was not offered");
	if (m->lifetime_s > o->lifetime_s || (m->esn && !o->esn))
		return deny(x, FAULT_PROTOCOL, "the answer's lifetime or ESN was not offered");
	if (!spi_usable(m->spi) || ev->spi_in_use || spi_equal(m->spi, x->in_))
		return deny(x, FAULT_SPI, "SPI %08x: reserved, in use, or our own", m->spi.n);
	if (secret_len(&m->share) != SHARE_LEN || secret_equal(&m->share, &o->share))
		return deny(x, FAULT_PROTOCOL, "the answer's share is our own");
	if (ev->body_len <= ANSWER_TAIL)
		return deny(x, FAULT_PROTOCOL, "the answer is too short");
	return FAULT_NONE;
}

static enum fault take_answer(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	const struct msg_answer *m = &ev->msg->u.answer;
	enum fault fault = judge_answer(x, ev);
	uint8_t tag[TAG_LEN];
	bool same;

	if (fault != FAULT_NONE)
		return fault;
	x->out_ = m->spi;
	x->suite_ = (enum suite)m->suite;
	x->lifetime_s_ = m->lifetime_s;
	x->esn_ = m->esn;
	x->window_ = x->offer_.window;
	if (!make_keys(x, &x->offer_.share, &m->share) ||
	    !make_answer_tag(x, ev->body, ev->body_len, tag))
		return no_memory(x);
	same = bytes_equal(tag, m->tag, TAG_LEN);
	wipe(tag, sizeof tag);
	if (!same)
		return deny(x, FAULT_TAG,
			    "wrong tag in the answer: the two hosts have derived "
			    "different keys");
	if (!make_confirm_tag(x, ev->body, ev->body_len) || !make_sa(x, &x->sa_in, true) ||
	    !make_sa(x, &x->sa_out, false))
		return no_memory(x);
	emit(out, XA_NO_TIMER);
	emit(out, XA_INSTALL);
	emit(out, XA_ACTIVATE);
	return FAULT_NONE;
}

static void commit(struct exchange *x, struct xactions *out)
{
	x->former = x->current;
	x->current = (struct pair_state){.epoch = x->epoch_, .in = x->in_, .out = x->out_};
	emit(out, XA_COMMIT);
}

static enum fault send_confirm(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	struct msg m = {.type = MSG_CONFIRMATION};

	(void)ev;
	commit(x, out);
	m.u.confirm.xid = x->xid_;
	memcpy(m.u.confirm.tag, x->confirm_tag_, TAG_LEN);
	emit_send(out, &m);
	emit_timer(out);
	wipe_run_secrets(x);
	return FAULT_NONE;
}

static enum fault finish(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	(void)x, (void)ev;
	emit(out, XA_NO_TIMER);
	emit(out, XA_RETIRE);
	emit_end(out, FAULT_NONE);
	return FAULT_NONE;
}

/* ---- follower -------------------------------------------------------------------------- */

static void list_suites(char *text, size_t size, const struct suite_list *l)
{
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < l->n && n < size; i++)
		n += (size_t)snprintf(text + n, size - n, "%s%s", i > 0 ? " " : "",
				      suite_info((enum suite)l->v[i])->name);
}

static enum fault no_common_suite(struct exchange *x, const struct suite_list *offered)
{
	char theirs[100], ours[100];

	list_suites(theirs, sizeof theirs, offered);
	list_suites(ours, sizeof ours, &x->cfg.suites);
	return deny(x, FAULT_SUITE, "no suite in common: %s offered, %s allowed", theirs, ours);
}

static enum fault take_offer(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	const struct msg_offer *m = &ev->msg->u.offer;

	begin(x, false, (enum rekey_reason)m->reason);
	x->xid_ = m->xid;
	x->epoch_ = m->epoch;
	if (!spi_usable(m->spi) || ev->spi_in_use)
		return deny(x, FAULT_SPI, "SPI %08x is reserved or in use", m->spi.n);
	x->suite_ = suite_choose(&m->suites, &x->cfg.suites);
	if (x->suite_ == SUITE_COUNT)
		return no_common_suite(x, &m->suites);
	if (ev->held >= EXCHANGE_HELD_MAX)
		return deny(x, FAULT_LIMIT, "%u older pairs are held already", ev->held);
	if (ev->share == NULL || secret_len(ev->share) != SHARE_LEN)
		return deny(x, FAULT_SYSTEM, "no fresh share to answer with");
	if (secret_len(&m->share) != SHARE_LEN || secret_equal(&m->share, ev->share))
		return deny(x, FAULT_PROTOCOL, "the offer's share is our own");
	if (!hash_offer(x->offer_hash_, ev->body, ev->body_len))
		return no_memory(x);
	x->offer_ = *m;
	x->share_ = *ev->share;
	x->out_ = m->spi;
	x->lifetime_s_ = m->lifetime_s < x->cfg.lifetime_s ? m->lifetime_s : x->cfg.lifetime_s;
	x->esn_ = m->esn && x->cfg.esn;
	x->window_ = x->cfg.window;
	emit(out, XA_RESERVE);
	return FAULT_NONE;
}

static enum fault install_pair(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	if (!spi_usable(ev->spi))
		return deny(x, FAULT_SYSTEM, "the system chose the reserved SPI %u", ev->spi.n);
	if (spi_equal(ev->spi, x->out_))
		return deny(x, FAULT_SPI, "both hosts chose SPI %08x", ev->spi.n);
	x->in_ = ev->spi;
	if (!make_keys(x, &x->offer_.share, &x->share_) || !make_sa(x, &x->sa_in, true) ||
	    !make_sa(x, &x->sa_out, false))
		return no_memory(x);
	emit(out, XA_INSTALL);
	return FAULT_NONE;
}

static enum fault send_answer(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	struct msg m = {.type = MSG_ANSWER};
	struct msg_answer *a = &m.u.answer;
	uint8_t tag[TAG_LEN];

	(void)ev;
	a->xid = x->xid_;
	a->suite = (int)x->suite_;
	a->spi = x->in_;
	a->share = x->share_;
	a->lifetime_s = x->lifetime_s_;
	a->esn = x->esn_;
	a->window = x->window_;
	emit_send(out, &m); /* with zeros for the tag, which covers what stands before it */
	wipe(&m, sizeof m);
	wipe(&x->offer_, sizeof x->offer_);
	secret_wipe(&x->share_);
	if (!make_answer_tag(x, out->send, out->send_len, tag))
		return no_memory(x);
	msg_answer_set_tag(out->send, out->send_len, tag);
	wipe(tag, sizeof tag);
	if (!make_confirm_tag(x, out->send, out->send_len))
		return no_memory(x);
	emit_timer(out);
	return FAULT_NONE;
}

static enum fault take_confirm(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	if (!bytes_equal(ev->msg->u.confirm.tag, x->confirm_tag_, TAG_LEN))
		return deny(x, FAULT_TAG,
			    "wrong tag in the confirmation: the two hosts have "
			    "seen different messages");
	if (!make_sa(x, &x->sa_out, false))
		return no_memory(x);
	emit(out, XA_NO_TIMER);
	emit(out, XA_ACTIVATE);
	return FAULT_NONE;
}

static enum fault send_done(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	struct msg m = {.type = MSG_DONE};

	(void)ev;
	commit(x, out);
	m.u.done.xid = x->xid_;
	emit_send(out, &m);
	emit(out, XA_RETIRE); /* the leader switched before it sent its confirm */
	emit_end(out, FAULT_NONE);
	return FAULT_NONE;
}

/* ---- the peer says no ------------------------------------------------------------------ */

static enum fault note_reject(struct exchange *x, const struct msg_reject *m)
{
	enum fault fault = (enum fault)m->reason;

	x->peer_fault = fault;
	memcpy(x->peer_text, m->text, sizeof x->peer_text);
	if (fault == FAULT_EPOCH)
		x->last = greatest(x->last, m->epoch); /* the next one will be newer */
	if (m->text[0] != '\0')
		deny(x, fault, "the peer refused: %s", m->text);
	else
		deny(x, fault, "the peer refused: %s", fault_text(fault));
	return fault;
}

/* It was refused before either could send on it: the leader never will, or the follower did not
 * take it. */
static enum fault remove_refused(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	emit(out, XA_NO_TIMER);
	emit(out, XA_REMOVE);
	emit_end(out, note_reject(x, &ev->msg->u.reject));
	return FAULT_NONE;
}

/* The follower has not activated its outbound SA, and holds the inbound that we send on. */
static enum fault step_back(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	x->current = x->former;
	x->former = (struct pair_state){0};
	emit(out, XA_NO_TIMER);
	emit(out, XA_UNCOMMIT);
	emit_end(out, note_reject(x, &ev->msg->u.reject));
	return FAULT_NONE;
}

/* ---- the machine ----------------------------------------------------------------------- */

/* The only place where the state changes. */
static void enter(struct exchange *x, enum xstate next)
{
	x->state = next;
	if (next != XS_IDLE)
		return;
	wipe_run_secrets(x);
	wipe(x->offer_hash_, sizeof x->offer_hash_);
	x->xid_ = 0;
	x->epoch_ = 0;
	x->qm_sa_id_ = 0;
	x->in_ = x->out_ = (struct spi){0};
}

/* What a step set for its actions, once they are done. */
static void forget_step(struct exchange *x)
{
	wipe(&x->sa_in, sizeof x->sa_in);
	wipe(&x->sa_out, sizeof x->sa_out);
	secret_wipe(&x->probe_key);
}

/* Replaces what the failed step has emitted. */
static void end_early(struct exchange *x, const struct xevent *ev, struct xactions *out,
		      enum fault fault)
{
	const struct undo *u = &undo[x->state];
	/* A reject says that the new pair is not used: not true for sure when the outcome is unknown. */
	bool closes = ev->kind == XE_TIMEOUT || ev->kind == XE_IPSEC_UNKNOWN;
	bool tells = (u->tells || ev->kind == XE_OFFER) && !closes && ev->kind != XE_LINK_LOST;

	xactions_wipe(out);
	if (u->timed)
		emit(out, XA_NO_TIMER);
	if (u->with != XA_END)
		emit(out, u->with);
	if (tells)
		emit_reject(out, x->xid_, fault, x->why.cause, 0);
	if (closes)
		emit_close(x, out, fault);
	emit_end(out, fault);
	enter(x, XS_IDLE);
	forget_step(x);
}

/* An offer is judged once: whether taken or not, its epoch is used. */
static bool offer_is_due(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	const struct msg_offer *m = &ev->msg->u.offer;
	uint64_t newest = greatest(x->last, x->current.epoch);
	uint8_t hash[SHA256_LEN];

	if (x->state != XS_IDLE && hash_offer(hash, ev->body, ev->body_len) &&
	    bytes_equal(hash, x->offer_hash_, SHA256_LEN))
		return false; /* the running one again, or our own come back */
	if (x->link_leads_) {
		emit_close(x, out, FAULT_PROTOCOL);
		return false;
	}
	if (m->epoch <= newest) {
		emit_reject(out, m->xid, FAULT_EPOCH, fault_text(FAULT_EPOCH), newest);
		return false;
	}
	x->last = m->epoch;
	if (x->state != XS_IDLE) {
		emit_reject(out, m->xid, FAULT_BUSY, fault_text(FAULT_BUSY), 0);
		return false;
	}
	return true;
}

static uint64_t xid_of(const struct msg *m)
{
	switch (m->type) {
	case MSG_ANSWER:
		return m->u.answer.xid;
	case MSG_CONFIRMATION:
		return m->u.confirm.xid;
	case MSG_DONE:
		return m->u.done.xid;
	case MSG_REJECT:
		return m->u.reject.xid;
	default:
		return 0; /* never that of a run */
	}
}

/* I7: does the event belong to what is going on? */
static bool is_due(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	switch (ev->kind) {
	case XE_START:
		return x->state == XS_IDLE && x->linked_ && x->link_leads_;
	case XE_OFFER:
		return x->linked_ && offer_is_due(x, ev, out);
	case XE_ANSWER:
	case XE_CONFIRM:
	case XE_DONE:
	case XE_REJECT:
		return x->state != XS_IDLE && x->linked_ && xid_of(ev->msg) == x->xid_;
	default:
		return true;
	}
}

static const struct row *row_of(enum xstate in, enum xevent_kind on)
{
	for (size_t i = 0; i < COUNT(rows); i++)
		if (rows[i].in == in && rows[i].on == on)
			return &rows[i];
	return NULL;
}

/* The events that end any run, and the fault that they stand for. */
static enum fault ends_with(struct exchange *x, const struct xevent *ev)
{
	switch (ev->kind) {
	case XE_LINK_LOST:
		return deny(x, FAULT_LINK, "%s", fault_text(FAULT_LINK));
	case XE_TIMEOUT:
		if (undo[x->state].timed)
			return deny(x, FAULT_TIMEOUT, "%s", fault_text(FAULT_TIMEOUT));
		return FAULT_NONE;
	case XE_IPSEC_FAILED:
	case XE_IPSEC_UNKNOWN:
		if (row_of(x->state, XE_IPSEC_OK) != NULL)
			return deny(x, FAULT_SYSTEM, "%s", fault_text(FAULT_SYSTEM));
		return FAULT_NONE;
	default:
		return FAULT_NONE;
	}
}

static void take(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	const struct row *r = row_of(x->state, ev->kind);
	enum fault fault;

	if (r != NULL) {
		fault = r->act(x, ev, out);
		if (fault == FAULT_NONE)
			enter(x, r->next);
	} else {
		fault = x->state == XS_IDLE ? FAULT_NONE : ends_with(x, ev);
	}
	if (fault != FAULT_NONE)
		end_early(x, ev, out, fault);
}

void exchange_step(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	xactions_wipe(out);
	forget_step(x);
	if (is_due(x, ev, out))
		take(x, ev, out);
	if (ev->kind == XE_LINK_LOST) {
		x->linked_ = false;
		x->exporter_ = x->ppk_ = NULL;
	}
}

/* ---- life ------------------------------------------------------------------------------ */

void exchange_init(struct exchange *x, const struct exchange_config *cfg)
{
	memset(x, 0, sizeof *x);
	x->cfg = *cfg;
}

void exchange_configure(struct exchange *x, const struct exchange_config *cfg)
{
	x->cfg = *cfg;
}

void exchange_link(struct exchange *x, bool we_lead, const struct secret *exporter,
		   const struct secret *ppk, const uint8_t own_id[PIN_LEN],
		   const uint8_t peer_id[PIN_LEN])
{
	assert(x->state == XS_IDLE);
	x->link_leads_ = we_lead;
	x->exporter_ = exporter;
	x->ppk_ = ppk;
	memcpy(x->own_id_, own_id, PIN_LEN);
	memcpy(x->peer_id_, peer_id, PIN_LEN);
	x->linked_ = true;
}

void exchange_forget(struct exchange *x)
{
	x->current = x->former = (struct pair_state){0};
}

void exchange_wipe(struct exchange *x)
{
	wipe(x, sizeof *x);
}
