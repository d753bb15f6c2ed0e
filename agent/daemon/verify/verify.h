/*
 * agent/daemon/verify/verify.h - verifies a pair: probes through the SAs, echoes, counters compared.
 */
#ifndef SAPAIR_AGENT_DAEMON_VERIFY_VERIFY_H
#define SAPAIR_AGENT_DAEMON_VERIFY_VERIFY_H

#include "agent/daemon/state.h"
#include "proto/wire/msg.h"

struct prober; /* of one peer */
#define VERIFY_COUNT 3
#define VERIFY_ECHO_MS 300 /* no echo so long after the last probe of a round: another round */
#define VERIFY_ROUNDS 3
#define VERIFY_REPORT_MS 1000
#define VERIFY_SAMPLES 512

struct verify_result {
	bool verified;
	uint64_t epoch;
	uint32_t sent, echoed, arrived;
	bool arrived_known;
	uint64_t rtt_min_us, rtt_median_us, rtt_max_us;
	bool counts_known;
	uint64_t out_packets, in_packets, peer_in_packets, peer_out_packets;
	struct err why; /* when not verified */
};

struct verify;
typedef void verify_done(void *arg, const struct verify_result *r);

/* The pair in force. */
struct verify_pair {
	uint64_t epoch;
	struct spi in, out;
	struct ipsec_ctx ctx;
};

/* What a prober needs of its peer. */
struct verify_host {
	/* false: no pair is in force; *out is all zero then. */
	bool (*pair)(void *arg, struct verify_pair *out);
	/* The key of probes of this epoch, or NULL. */
	const struct secret *(*probe_key)(void *arg, uint64_t epoch);
	/* Sends a message on the link; false: none is up. */
	bool (*send)(void *arg, const struct msg *m);
	/* A run has failed. */
	void (*trouble)(void *arg, const struct err *e);
};

/* name and policy are borrowed. NULL: no memory. */
struct prober *prober_new(struct agent *a, const char *name, struct policy *policy,
			  const struct verify_host *host, void *host_arg);
void prober_free(struct prober *p); /* NULL allowed; no run is left */
/* The policy is installed: ready to receive probes; it is removed. */
int prober_open(struct prober *p, struct err *e);
void prober_close(struct prober *p);

/* What the last run said of the pair of this epoch. */
struct verify_state {
	bool verified;
	uint64_t at_ms, rtt_us;
};
void prober_state(const struct prober *p, uint64_t epoch, struct verify_state *s);

/* Starts a run; done is called later, never from within, exactly once unless cancelled. */
struct verify *verify_start(struct prober *p, uint32_t count, uint32_t interval_ms,
			    verify_done *done, void *arg);
void verify_cancel(struct verify *v);
void verify_cancel_all(struct prober *p);

/* A datagram came out of an inbound SA of this peer. */
void verify_on_datagram(struct prober *p, const uint8_t *data, size_t n);
/* The two messages of the link. */
void verify_on_probe(struct prober *p, const struct msg_probe *m);
void verify_on_report(struct prober *p, const struct msg_report *m);

#endif
