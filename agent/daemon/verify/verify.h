/*
 * agent/daemon/verify/verify.h - proves a pair: probes through the SAs, echoes back, counters compared.
 */
#ifndef SAPAIR_AGENT_DAEMON_VERIFY_VERIFY_H
#define SAPAIR_AGENT_DAEMON_VERIFY_VERIFY_H

#include "agent/daemon/agent.h"
#include "proto/wire/msg.h"

struct peer;

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

/* Starts a run; done is called later, never from within, exactly once unless cancelled. */
struct verify *verify_start(struct peer *p, uint32_t count, uint32_t interval_ms, verify_done *done,
			    void *arg);
void verify_cancel(struct verify *v);

/* A payload came out of an inbound SA of this peer. */
void verify_on_datagram(struct peer *p, const uint8_t *data, size_t n);
/* The two messages of the link. */
void verify_on_probe(struct peer *p, const struct msg_probe *m);
void verify_on_report(struct peer *p, const struct msg_report *m);

#endif
