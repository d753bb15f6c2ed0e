/*
 * agent/ipsec/soft/db.h - what the files of the back end soft share.
 *
 *     soft ──┬─ sockets: one per local address and port, shared by policies
 *            ├─ policies ── pairs (contexts): inbound SA, outbound SA; one pair is selected
 *            └─ table: SPI -> pair
 */
#ifndef SAPAIR_AGENT_IPSEC_SOFT_DB_H
#define SAPAIR_AGENT_IPSEC_SOFT_DB_H

#include "agent/ipsec/ipsec.h"
#include "proto/esp/esp.h"

#include <uv.h>

#define PACKET_MAX 2048

struct inbound {
	struct esp_in esp;
	uint64_t packets, bytes, replay_dropped, integrity_failed;
	bool soft_told;
	uint32_t words[]; /* of esp.replay */
};

struct outbound {
	struct esp_out esp;
	uint64_t packets, bytes;
	uint64_t order; /* of activation; 0: not activated */
	bool soft_told;
};

/* One context. Its SPI is not given to another. */
struct pair {
	struct pair *next_in_bucket, *next_of_policy, *prev_of_policy;
	struct soft_policy *policy;
	uint64_t id; /* sequential number 32 bits, SPI 32 bits */
	struct spi spi;
	struct inbound *in;
	struct outbound *out;
};

struct chain {
	struct pair *first;
};

struct socket_ {
	uv_udp_t udp;
	unsigned burst; /* datagrams since the socket was last empty */
	struct soft *db;
	struct socket_ *next;
	struct endpoint at;
	unsigned policies;
};

struct soft_policy {
	struct soft_policy *next;
	struct policy *p;
	struct socket_ *socket;
	struct pair *pairs;    /* newest first */
	struct pair *selected; /* has an outbound; NULL: nothing to send on */
};

/* A deferred event: handlers are never called from within a call into the back end. */
struct waiting {
	struct waiting *next;
	struct soft_policy *policy;
	struct ipsec_event ev;
};

enum drop { DROP_UNKNOWN, DROP_SOURCE, DROP_REPLAYED, DROP_INTEGRITY, DROP_SHAPE, DROPS };

struct soft {
	struct ipsec db;
	struct ipsec_env env;
	unsigned handles; /* of the loop; the last one to close frees the rest */
	bool closing;

	struct socket_ *sockets;
	struct soft_policy *policies;
	struct chain *buckets; /* a power of two of them */
	size_t n_buckets, n_pairs;
	uint32_t reserved;  /* contexts so far */
	uint64_t activated; /* outbound SAs so far */

	struct waiting *waiting, **last_waiting;
	uv_timer_t wake;

	struct {
		unsigned n[DROPS], all;
		struct soft_policy *policy; /* that all of them belong to; NULL: none, or several */
		struct endpoint from;       /* of the last */
		struct spi spi;
		uint64_t told_ms;
	} dropped;
	uv_timer_t report;

	uint8_t received[PACKET_MAX], sent[PACKET_MAX]; /* one packet at a time, all sockets */
};

/* events.c: raises an event now, or later from the loop. */
void soft_raise(struct soft *db, const struct ipsec_event *ev);
void soft_raise_later(struct soft *db, struct pair *pair, enum ipsec_event_kind kind,
		      enum ipsec_part part, enum rekey_reason reason, const char *text);
/* Discards deferred events of removed SAs. parts 0: all of the policy. */
void soft_forget_events(struct soft *db, const struct soft_policy *pol, uint64_t id,
			unsigned parts);
/* Counts a dropped packet; they are reported together, once a second at most. pol: of its SA, or NULL. */
void soft_dropped(struct soft *db, enum drop why, struct soft_policy *pol,
		  const struct endpoint *from, struct spi spi);

/* wire.c: sockets and packets. Returns NULL with ERR_OS or ERR_PERM. */
struct socket_ *soft_socket_take(struct soft *db, const struct endpoint *at, struct err *e);
void soft_socket_drop(struct soft *db, struct socket_ *s);
/* Sends n bytes to the policy's peer, at once or later; drops them if the queue is full. */
int soft_transmit(struct socket_ *s, const struct policy *p, uint8_t *packet, size_t n,
		  struct err *e);
void soft_timer_closed(uv_handle_t *h);

/* state.c. Each pair is in the table by its SPI and in the list of its policy. */
void soft_insert_pair(struct soft *db, struct pair *pair);
struct pair *soft_pair_of_spi(struct soft *db, struct spi spi);
struct pair *soft_pair_of_ctx(struct soft *db, struct ipsec_ctx ctx);
/* Was this context ever returned by reserve()? */
bool soft_was_reserved(const struct soft *db, struct ipsec_ctx ctx);
/* Frees a pair and both of its SAs; nothing else is selected instead. */
void soft_free_pair(struct soft *db, struct pair *pair);
void soft_free_inbound(struct inbound *in); /* NULL allowed */
void soft_wipe_free(void *p, size_t n);     /* NULL allowed */
/* Selects the outbound SA that was activated last. */
void soft_select_newest(struct soft_policy *pol);
/* Frees parts of a pair, and the pair when it has none left; nothing else is selected instead. */
void soft_end_parts(struct soft *db, struct pair *pair, unsigned parts);
/* Would an SA of the policy exceed its hard limits with these counts? */
bool soft_over_hard(const struct policy *p, uint64_t packets, uint64_t bytes);
/* Raises IPSEC_EV_SOFT, once for an SA, when a soft limit is reached. */
void soft_warn(struct soft *db, struct pair *pair, enum ipsec_part part, bool *told,
	       uint64_t packets, uint64_t bytes, bool numbers_low);

#endif
