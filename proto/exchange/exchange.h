/*
 * proto/exchange/exchange.h - the exchange machine: events in, actions out.
 *
 * Pure: no I/O, no clock, no allocation, no random numbers; keys and numbers come in with events,
 * so that two machines can be run against each other under every interleaving (tests/sim).
 *
 * The caller keeps the SAs of a pair in generations:
 *
 *     NEW      of the exchange that is running; at most one
 *     CURRENT  in force: what this host sends on; at most one
 *     HELD     older ones whose inbound SA the peer may still be sending on (I5, I6)
 *     RETIRED  HELD ones with their clocks running: outbound away after `switch` grace,
 *              inbound away after `drain`
 *
 * and performs the actions of a step in order. A step with system actions (XA_RESERVE,
 * XA_INSTALL, XA_ACTIVATE) is answered by one XE_IPSEC_OK after the last, or, after the first that
 * was not done (the rest of the step is not tried), by one XE_IPSEC_FAILED, or XE_IPSEC_UNKNOWN if it
 * may have been done after all. The caller feeds no other event
 * between a system action and its answer, and none from within an action.
 */
#ifndef SAPAIR_PROTO_EXCHANGE_EXCHANGE_H
#define SAPAIR_PROTO_EXCHANGE_EXCHANGE_H

#include "proto/exchange/keysched.h"

/* A reply later than this ends the exchange and the link with it. */
#define EXCHANGE_REPLY_MS 10000
/*
 * The two ends of an SA are installed up to a reply's time apart, the receiving one first. The
 * caller lets an inbound SA live so much longer than its outbound, or its end would come before
 * that of the peer's sending one (I1).
 */
#define EXCHANGE_GRACE_S 30
/* A peer that makes us hold more generations than this gets no new offers taken, nor made. */
#define EXCHANGE_HELD_MAX 64
/* So many RETIRED generations stay until their clocks run out, the older ones go at once: as many whole
 * exchanges have gone to and fro since, so nothing sent on them is still under way. */
#define EXCHANGE_DRAIN_MAX 128
#define EXCHANGE_DRAIN_MORE 32 /* that may be more: they go together */

/* clang-format off */
#define XSTATE_LIST(X)                                                                            \
	X(IDLE)                                                                                   \
	X(L_RESERVING)  /* leader: waits for the system's SPI */                                  \
	X(L_OFFERED)    /* offer sent */                                                          \
	X(L_INSTALLING) /* answer accepted, SAs being installed and activated */                  \
	X(L_CONFIRMED)  /* sending on the new pair; confirm sent */                               \
	X(F_RESERVING)  /* follower: offer accepted */                                            \
	X(F_INSTALLING) /* SAs being installed */                                                 \
	X(F_ANSWERED)   /* answer sent: the peer may use our new inbound from now on (I6) */      \
	X(F_ACTIVATING) /* confirm accepted, outbound SA being activated */

#define XEVENT_LIST(X)                                                                            \
	X(START) /* the caller wants an exchange: xid, share, peer_last, reason, held. No action  \
		  * at all when none can begin: busy, no link, not the leader */                  \
	X(OFFER) /* from here to REJECT: from the peer, decoded */                                \
	X(ANSWER)                                                                                 \
	X(CONFIRM)                                                                                \
	X(DONE)                                                                                   \
	X(REJECT)                                                                                 \
	X(IPSEC_OK) /* spi when it answers XA_RESERVE */                                          \
	X(IPSEC_FAILED)                                                                           \
	X(IPSEC_UNKNOWN) /* no answer came: the action may have been done */                      \
	X(TIMEOUT)       /* of the timer that XA_TIMER set */                                     \
	X(LINK_LOST)     /* link gone, replaced or closing */

#define XACTION_LIST(X)                                                                           \
	X(RESERVE)  /* make NEW, ask the system for its SPI */                                    \
	X(INSTALL)  /* NEW's inbound SA from x->sa_in; the outbound one from x->sa_out too, where \
		     * it can be there without being sent on */                                   \
	X(ACTIVATE) /* send on NEW's outbound SA, x->sa_out, from now on */                       \
	X(COMMIT)   /* NEW becomes CURRENT; the former CURRENT becomes HELD */                    \
	X(UNCOMMIT) /* leader, the follower could not follow: CURRENT is removed (both SAs; the   \
		     * system falls back to the former outbound), and the HELD one of epoch       \
		     * x->current.epoch is CURRENT again (if it is gone: exchange_forget()) */    \
	X(RETIRE)   /* the peer is known to send on CURRENT: every HELD starts its clocks */      \
	X(REMOVE)   /* NEW is removed, both SAs: the peer never used it */                        \
	X(HOLD)     /* NEW becomes HELD: inbound stays, an outbound is removed, sent on or not */ \
	X(SEND)     /* out->send[0..send_len): one frame body */                                  \
	X(TIMER)    /* call with XE_TIMEOUT in ms; replaces an earlier one */                     \
	X(NO_TIMER)                                                                               \
	X(CLOSE)    /* close the link: fault */                                                   \
	X(END)      /* the exchange is over: result below */
/* clang-format on */

#define XS_ENUM(name) XS_##name,
enum xstate { XSTATE_LIST(XS_ENUM) XS_COUNT };
const char *xstate_name(enum xstate s);

#define XE_ENUM(name) XE_##name,
enum xevent_kind { XEVENT_LIST(XE_ENUM) XE_COUNT };
const char *xevent_name(enum xevent_kind k);

struct xevent {
	enum xevent_kind kind;
	const struct msg *msg; /* the five messages */
	const char *body;      /* their exact bytes */
	size_t body_len;
	struct spi spi;             /* XE_IPSEC_OK after XA_RESERVE */
	uint64_t xid;               /* XE_START: random, not 0 */
	const struct secret *share; /* XE_START, XE_OFFER: SHARE_LEN fresh bytes; borrowed */
	uint64_t peer_last;         /* XE_START: greatest epoch that the peer's hello told */
	enum rekey_reason reason;   /* XE_START */
	unsigned held;              /* XE_START, XE_OFFER: generations held now */
	bool spi_in_use;            /* XE_OFFER, XE_ANSWER: the peer's SPI is that of one of its
				      * other SAs with us, as far as the caller knows */
};

#define XA_ENUM(name) XA_##name,
enum xaction_kind { XACTION_LIST(XA_ENUM) };
const char *xaction_name(enum xaction_kind k);

struct xaction {
	enum xaction_kind kind;
	uint32_t ms;      /* XA_TIMER */
	enum fault fault; /* XA_CLOSE, XA_END: FAULT_NONE is success */
};

#define XACTIONS_MAX 8
#define XSEND_MAX 2048
/* Scratch of one step, the caller's: xactions_wipe() it when the actions are done. */
struct xactions {
	struct xaction v[XACTIONS_MAX];
	size_t n;
	char send[XSEND_MAX]; /* holds key material */
	size_t send_len;
};
void xactions_wipe(struct xactions *out);

/* What a back end needs to install one SA; key is suite_key_len() bytes. */
struct sa_keys {
	struct spi spi;
	enum suite suite;
	struct secret key;
	uint64_t epoch;
	uint32_t qm_sa_id;   /* WFP's qmSaId */
	uint32_t lifetime_s; /* hard lifetime, agreed */
	uint32_t window;     /* our replay window, packets (inbound) */
	bool esn;
};

/* What both sides must say in hello. All zero: nothing in force. */
struct pair_state {
	uint64_t epoch;
	struct spi in, out;
};

struct exchange_config {
	struct suite_list suites; /* allowed and offered, in order */
	uint32_t lifetime_s;      /* hard lifetime wanted */
	uint32_t window;
	bool esn; /* wanted, and the back end can */
};

struct exchange {
	/* read by the caller */
	enum xstate state;
	struct pair_state current;    /* in force */
	uint64_t last;                /* greatest epoch seen in any exchange, refused ones too */
	struct sa_keys sa_in, sa_out; /* for XA_INSTALL and XA_ACTIVATE; wiped by the next step */
	struct secret probe_key;      /* of the new pair, valid at XA_INSTALL: take and wipe it */
	bool is_leader;               /* of the running exchange */
	enum rekey_reason reason;     /* of the running or last exchange */
	struct pair_state former;     /* before the last XA_COMMIT */
	enum fault peer_fault;        /* of the last reject received; its text: */
	char peer_text[MSG_TEXT_MAX + 1];
	struct err why; /* of the last exchange that failed */

	/* private */
	struct exchange_config cfg;
	const struct secret *exporter_, *ppk_;
	uint8_t own_id_[PIN_LEN], peer_id_[PIN_LEN];
	bool link_leads_, linked_;
	uint64_t xid_, epoch_;
	struct spi in_, out_;
	enum suite suite_;
	uint32_t lifetime_s_, window_;
	bool esn_;
	struct msg_offer offer_; /* of the running exchange, ours or the peer's */
	struct secret share_;    /* the follower's own; the leader's is in offer_ */
	struct secret prk_, tag_key_;
	uint32_t qm_sa_id_;
	uint8_t offer_hash_[SHA256_LEN];
	uint8_t confirm_tag_[TAG_LEN];
};

void exchange_init(struct exchange *x, const struct exchange_config *cfg);
/* Options of the next exchange; the running one keeps its own. */
void exchange_configure(struct exchange *x, const struct exchange_config *cfg);
/*
 * A link is up: what keys are bound to. exporter and ppk (may be NULL) are borrowed until
 * XE_LINK_LOST. Only in XS_IDLE.
 */
void exchange_link(struct exchange *x, bool we_lead, const struct secret *exporter,
		   const struct secret *ppk, const uint8_t own_id[PIN_LEN],
		   const uint8_t peer_id[PIN_LEN]);
/* The pair is gone (down, hard lifetime of what we send on): nothing is in force. Any state. */
void exchange_forget(struct exchange *x);
void exchange_wipe(struct exchange *x);

/*
 * Runs one event to its end; cannot fail: an abort is a transition like any other. out is filled
 * from the start. Stale, foreign, repeated and unexpected input changes nothing (I7): an offer of
 * an old epoch, or one while an exchange runs, is only told so.
 */
void exchange_step(struct exchange *x, const struct xevent *ev, struct xactions *out);

/*
 * The table of transitions as text, for docs and tests: one row at a time; false at the end.
 * undo is what a run that ends early in state `in` does, but for the peer's reject: see the rows
 * that have REJECT as event.
 */
bool exchange_row(size_t i, const char **in, const char **on, const char **does, const char **next,
		  const char **undo);

#endif
