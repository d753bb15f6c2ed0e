/*
 * agent/ipsec/ipsec.h - the interface to the IPsec implementation of a system.
 *
 * A context is one pair of SAs, inbound and outbound, as in the Manual SA calls of Windows, the
 * strictest of the systems. Back ends: "soft" (in this process, on every system), "xfrm" (Linux
 * kernel), "wfp" (Windows). A program has the back ends of its system only.
 *
 * Every call is synchronous, runs on the thread of the loop, and is all or nothing: after -1 the
 * system is as it was before the call. After IPSEC_UNKNOWN, which reserve, install and activate may
 * return, no answer came, and the call may have been done. Keys are borrowed for the call. The order for one context is
 * policy_add, reserve, install, activate, remove. The back end soft answers any other order with
 * ERR_BUG, so that a unit test finds the mistake.
 */
#ifndef SAPAIR_AGENT_IPSEC_IPSEC_H
#define SAPAIR_AGENT_IPSEC_IPSEC_H

#include "proto/base/addr.h"
#include "proto/base/err.h"
#include "proto/config/policy.h"
#include "proto/exchange/exchange.h"
#include "proto/base/spi.h"
#include "proto/base/suite.h"

struct ipsec; /* an open back end */
struct ipsec_ops;
struct privsep;
struct uv_loop_s;

/* One pair, chosen by the back end: a WFP context, an XFRM reqid, a soft slot. 0: none. */
struct ipsec_ctx {
	uint64_t id;
};
enum ipsec_part { IPSEC_INBOUND = 1, IPSEC_OUTBOUND = 2, IPSEC_BOTH = 3 };

enum ipsec_event_kind {
	IPSEC_EV_SOFT,     /* a soft byte or packet limit was passed: rekey */
	IPSEC_EV_HARD,     /* an SA was ended by the system */
	IPSEC_EV_ACQUIRE,  /* traffic wants an SA that is not there */
	IPSEC_EV_REMOVED,  /* somebody else removed an SA or a policy of ours */
	IPSEC_EV_DATAGRAM, /* soft: a payload came out of an inbound SA */
	IPSEC_EV_DROPPED,  /* soft, rate-limited: packets that no SA took; count in n */
	IPSEC_EV_LOST      /* the back end has ended: every call fails from now on */
};

struct ipsec_event {
	enum ipsec_event_kind kind;
	void *owner; /* of the policy; NULL when unknown */
	struct ipsec_ctx ctx;
	enum ipsec_part part;
	enum rekey_reason reason; /* IPSEC_EV_SOFT: bytes or packets */
	struct spi spi;
	const uint8_t *data; /* IPSEC_EV_DATAGRAM: borrowed for the call */
	size_t n;
	const char *text; /* details for the log, or NULL */
};

/* Never called from within a call into the back end. */
typedef void ipsec_on_event(void *arg, const struct ipsec_event *ev);

struct ipsec_env {
	struct uv_loop_s *loop;
	ipsec_on_event *on_event;
	void *arg;
	bool looks_only; /* for plan and clean: open() tries nothing out, no event comes */
	bool tries_only; /* open() and close(), to see if it works: beside an agent, too */
	/* Opened in the place of the system's own back end: the one that forwards each call to the helper,
	 * and the helper. NULL: this process calls the system itself. */
	const struct ipsec_ops *forward;
	struct privsep *privsep;
};

/* Numbers that a system cannot give are absent (their bit in known is 0), never 0. */
#define IPSEC_KNOWS_PACKETS 1u
#define IPSEC_KNOWS_BYTES 2u
#define IPSEC_KNOWS_REPLAY 4u
#define IPSEC_KNOWS_INTEGRITY 8u
struct sa_counts {
	unsigned known;
	uint64_t packets, bytes;
	uint64_t replay_dropped, integrity_failed;
};

/* One SA that an earlier run left in force. */
struct ipsec_leftover {
	struct ipsec_ctx ctx; /* to remove it by; has this part only */
	enum ipsec_part part;
	struct addr local, remote;
	struct spi spi;
	void *owner;     /* of the policy that it belongs to */
	uint32_t left_s; /* what is left of its lifetime */
};
typedef int ipsec_found(void *arg, const struct ipsec_leftover *l, struct err *e);

/* What a back end can; the words of policy options that it lacks are a config error. */
struct ipsec_can {
	bool esn, tunnel, udp, seamless, permissive, counts, datagrams, survives;
	bool selectors; /* protects and exempts other than "all" and "icmp" */
	uint32_t window_max;
	uint32_t lifetime_max_s; /* 0: none */
	struct suite_list suites;
};

/* One object of the system: what there is, or what a policy needs. */
enum ipsec_change {
	IPSEC_KEEP,   /* there, and as wanted */
	IPSEC_ADD,    /* not there */
	IPSEC_CHANGE, /* there, but not as wanted */
	IPSEC_REMOVE, /* there, of the policy, not wanted */
	IPSEC_STALE   /* there, of no policy */
};
struct ipsec_object {
	enum ipsec_change change;
	bool is_policy, is_out;
	bool tunnel;                      /* else transport mode */
	uint16_t from_esp_port, esp_port; /* of an SA: ESP in UDP; 0: plain ESP */
	struct addr src, dst;
	struct spi spi; /* of an SA; 0: the system will choose it */
	uint32_t tag;   /* the system's word for it: XFRM reqid */
	uint64_t id;    /* Windows' number of the filter or SA context; 0: none (yet) */
	/* of a policy */
	uint8_t proto; /* 0: all */
	bool has_sport, has_dport, protects, optional;
	uint16_t sport, dport;
	uint32_t priority;
};
typedef void ipsec_told(void *arg, const struct ipsec_object *o);

#define IPSEC_UNKNOWN (-3) /* failed, or done without an answer */

struct ipsec_ops {
	const char *name; /* the word of the config file */

	int (*open)(struct ipsec **db, const struct ipsec_env *env, struct err *e);
	void (*close)(struct ipsec *db); /* leaves policy and SAs where they survive: fail closed.
					 * Handles of the loop are closed; run the loop after. */
	void (*can)(struct ipsec *db, struct ipsec_can *can);

	int (*policy_add)(struct ipsec *db, struct policy *p, struct err *e);
	/* Removes what contexts it still has, too. No event names its owner any more. After -1 the
	 * policy is still there, perhaps without some of its parts, and is only good for another
	 * policy_remove(), which removes the rest. */
	int (*policy_remove)(struct ipsec *db, struct policy *p, struct err *e);

	/* A new context and the SPI of its inbound SA, both chosen by the system: the SPI is never
	 * 0 to 255 and never one in use. */
	int (*reserve)(struct ipsec *db, struct policy *p, struct ipsec_ctx *ctx, struct spi *in,
		       struct err *e);
	/* Installs the inbound SA, and the outbound SA too where it can be there without being sent
	 * on. A back end that cannot do that installs the outbound SA in activate(). */
	int (*install)(struct ipsec *db, struct ipsec_ctx ctx, const struct sa_keys *in,
		       const struct sa_keys *out, struct err *e);
	/* The policy's traffic uses the outbound SA from now on; out is the same as for install(). */
	int (*activate)(struct ipsec *db, struct ipsec_ctx ctx, const struct sa_keys *out,
			struct err *e);
	/* Before the active outbound SA is removed, the newest other one of the policy becomes
	 * active. A part that is not there is no error. After -1 what could not be removed is still
	 * there, and the call may be repeated. A context without parts is gone, and so is
	 * one that was only reserved. */
	int (*remove)(struct ipsec *db, struct ipsec_ctx ctx, enum ipsec_part part, struct err *e);

	/* One part. ERR_DOWN when it is not there (any more). */
	int (*query)(struct ipsec *db, struct ipsec_ctx ctx, enum ipsec_part part,
		     struct sa_counts *counts, struct err *e);
	/* Calls found once for each SA that an earlier run left to a policy that was added. The
	 * SA is the caller's from then on. */
	int (*recover)(struct ipsec *db, ipsec_found *found, void *arg, struct err *e);
	/* Keeps the agent's own TCP socket out of all policies, before it connects or listens (what
	 * it accepts inherits it). NULL where the policy itself has a hole for it, or none is. */
	int (*exempt_socket)(struct ipsec *db, intptr_t fd, bool ipv6, struct err *e);

	/* The config may have changed: read it, where the back end judges by it (NULL: none does). On
	 * -1 it goes on with what it knew. */
	int (*reload)(struct ipsec *db, struct err *e);

	/* What policy_add(p) would do, and what SAs p has; p NULL, behind all others: what belongs to
	 * none of them. Changes nothing. NULL: nothing of this back end outlives its process. */
	int (*plan)(struct ipsec *db, const struct policy *p, ipsec_told *told, void *arg,
		    struct err *e);
	/* Removes all that any run left (IPSEC_REMOVE each); only for who has added no policy. */
	int (*clean)(struct ipsec *db, ipsec_told *told, void *arg, struct err *e);

	/* What the system counts for all of its IPsec since it was started, as one line; NULL where
	 * it is had otherwise. */
	int (*statistics)(struct ipsec *db, char *text, size_t size, struct err *e);

	/* Sends one probe payload through the policy's selected outbound SA; NULL where the system
	 * itself routes (the caller uses a UDP socket then). ERR_DOWN when there is no SA. */
	int (*send)(struct ipsec *db, struct policy *p, const uint8_t *data, size_t n,
		    struct err *e);
};

/* First member of every back end's own struct. */
struct ipsec {
	const struct ipsec_ops *ops;
};

/*
 * Opens a back end by name. "auto": the system's own, never soft. ERR_OS if the system has no
 * IPsec, ERR_PERM if a privilege is missing. The calls below check arguments that all back ends share,
 * then forward.
 */
int ipsec_open(struct ipsec **db, const char *name, const struct ipsec_env *env, struct err *e);
void ipsec_close(struct ipsec *db);
/* Names of the back ends in this program, as "soft, xfrm". */
const char *ipsec_names(void);
bool ipsec_known(const char *name);

void ipsec_can(struct ipsec *db, struct ipsec_can *can);
int ipsec_policy_add(struct ipsec *db, struct policy *p, struct err *e);
int ipsec_policy_remove(struct ipsec *db, struct policy *p, struct err *e);
int ipsec_reserve(struct ipsec *db, struct policy *p, struct ipsec_ctx *ctx, struct spi *in,
		  struct err *e);
int ipsec_install(struct ipsec *db, struct ipsec_ctx ctx, const struct sa_keys *in,
		  const struct sa_keys *out, struct err *e);
int ipsec_activate(struct ipsec *db, struct ipsec_ctx ctx, const struct sa_keys *out,
		   struct err *e);
int ipsec_remove(struct ipsec *db, struct ipsec_ctx ctx, enum ipsec_part part, struct err *e);
int ipsec_query(struct ipsec *db, struct ipsec_ctx ctx, enum ipsec_part part,
		struct sa_counts *counts, struct err *e);
int ipsec_recover(struct ipsec *db, ipsec_found *found, void *arg, struct err *e);
int ipsec_exempt_socket(struct ipsec *db, intptr_t fd, bool ipv6, struct err *e);
int ipsec_reload(struct ipsec *db, struct err *e);
int ipsec_plan(struct ipsec *db, const struct policy *p, ipsec_told *told, void *arg,
	       struct err *e);
int ipsec_clean(struct ipsec *db, ipsec_told *told, void *arg, struct err *e);
/* Where the kernel takes ESP out of UDP: our port, or the peer's; 0 where ESP is plain. That of RFC 3948
 * in the place of the one that probes come to. */
uint16_t ipsec_udp_port(const struct policy *p, bool local);
bool ipsec_counts_all(const struct ipsec *db); /* has statistics */
int ipsec_statistics(struct ipsec *db, char *text, size_t size, struct err *e);
bool ipsec_sends(const struct ipsec *db); /* has a send of its own */
int ipsec_send(struct ipsec *db, struct policy *p, const uint8_t *data, size_t n, struct err *e);

extern const struct ipsec_ops ipsec_soft;
extern const struct ipsec_ops ipsec_xfrm; /* Linux only */
extern const struct ipsec_ops ipsec_wfp;  /* Windows only */

#endif
