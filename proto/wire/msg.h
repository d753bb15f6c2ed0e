/*
 * proto/wire/msg.h - the messages of protocol sapair/1.
 *
 * A message is one JSON object in one frame; we write the member "type" first. Decoding accepts exactly
 * the members of the type, each within its range; anything else is ERR_REFUSED. docs/protocol.md has
 * the type, range and unit of every field.
 */
#ifndef SAPAIR_PROTO_WIRE_MSG_H
#define SAPAIR_PROTO_WIRE_MSG_H

#include "crypto/secret.h"
#include "proto/base/addr.h"
#include "proto/base/err.h"
#include "proto/json/field.h"
#include "proto/wire/frame.h"
#include "proto/base/spi.h"
#include "proto/base/suite.h"

#define PROTO_VERSION 1
#define PROTO_PORT 4510
#define SHARE_LEN 32 /* fresh key material of one side */
#define TAG_LEN 32
#define INSTANCE_LEN 16
#define MSG_DEPTH 4
#define MSG_NAME_MAX 64
#define MSG_TEXT_MAX 160
#define PROTECT_MAX 8 /* selectors of a policy */
#define PROTECT_TEXT 32

/* Constant and name. Linux's sys/socket.h defines MSG_CONFIRM. */
#define MSG_LIST(X)              \
	X(HELLO, hello)          \
	X(OFFER, offer)          \
	X(ANSWER, answer)        \
	X(CONFIRMATION, confirm) \
	X(DONE, done)            \
	X(REJECT, reject)        \
	X(REKEY, rekey)          \
	X(PROBE, probe)          \
	X(REPORT, report)        \
	X(PING, ping)            \
	X(PONG, pong)            \
	X(BYE, bye)              \
	X(ERROR, error)
#define MSG_ENUM(constant, name) MSG_##constant,
enum msg_type { MSG_LIST(MSG_ENUM) MSG_COUNT };
#undef MSG_ENUM
const char *msg_name(enum msg_type t);

/* The reason of an exchange; also in receipts and events. */
#define REASON_LIST(X)          \
	X(START, "start")       \
	X(MISMATCH, "mismatch") \
	X(REQUEST, "request")   \
	X(TIME, "time") X(BYTES, "bytes") X(PACKETS, "packets") X(REPAIR, "repair")
#define REASON_ENUM(n, w) REASON_##n,
enum rekey_reason { REASON_LIST(REASON_ENUM) REASON_COUNT };
#undef REASON_ENUM
const char *reason_word(enum rekey_reason r);

/* Why an offer, answer or confirm is rejected, or a link closed (bye, error). */
#define FAULT_LIST(X) /* name, word, error class, sentence */                               \
	X(NONE, "none", NONE, "no fault")                                                   \
	X(EPOCH, "epoch", REFUSED, "the epoch is not newer than the one in force")          \
	X(SUITE, "suite", REFUSED, "no suite in common")                                    \
	X(SPI, "spi", REFUSED, "the SPI is reserved, in use, or our own")                   \
	X(TAG, "tag", AUTH, "wrong tag: the keys differ")                                   \
	X(PPK, "ppk", AUTH, "the pre-shared PPK differs, or only one side has one")         \
	X(POLICY, "policy", REFUSED, "the policies of the two hosts differ")                \
	X(ADDRESS, "address", REFUSED, "the address pair differs from the configured one")  \
	X(BUSY, "busy", REFUSED, "another exchange is running")                             \
	X(LIMIT, "limit", REFUSED, "too many exchanges in a short time")                    \
	X(SYSTEM, "system", OS, "the operating system refused the SA")                      \
	X(TIMEOUT, "timeout", TIMEOUT, "no reply in time")                                  \
	X(VERSION, "version", REFUSED, "no protocol version in common")                     \
	X(PROTOCOL, "protocol", REFUSED, "a message that the protocol does not allow here") \
	X(MALFORMED, "malformed", REFUSED, "a message that does not decode")                \
	X(DUPLICATE, "duplicate", NONE, "another link of the same pair is kept")            \
	X(REPLACED, "replaced", NONE, "the peer was restarted, a newer link is kept")       \
	X(SHUTDOWN, "shutdown", DOWN, "the agent is stopping")                              \
	X(REMOVED, "removed", DOWN, "the pair was taken down or removed from the config")   \
	X(EXPIRED, "expired", AUTH, "a certificate is no longer valid")                     \
	X(QUIET, "quiet", TIMEOUT, "the link was silent for too long")                      \
	X(LINK, "link", TIMEOUT, "the link was lost before the exchange ended")
#define FAULT_ENUM(n, w, c, t) FAULT_##n,
enum fault { FAULT_LIST(FAULT_ENUM) FAULT_COUNT };
#undef FAULT_ENUM
const char *fault_word(enum fault f);
const char *fault_text(enum fault f);
enum err_code fault_class(enum fault f);

enum policy_mode { MODE_REQUIRED, MODE_PERMISSIVE };
enum encap_mode { ENCAP_TRANSPORT, ENCAP_TUNNEL };

/* The first message on a link, in both directions, sent without waiting. */
struct msg_hello {
	uint32_t version;               /* 1 */
	uint8_t instance[INSTANCE_LEN]; /* random at each start of the agent */
	char agent[MSG_NAME_MAX + 1];   /* "sapair/0.1.0", for the log */
	char name[MSG_NAME_MAX + 1];    /* the sender's own name, for the log */
	struct addr local, remote;      /* the sender's address pair, to be compared */
	int mode;                       /* enum policy_mode: informative */
	int encap;                      /* enum encap_mode: must be equal */
	bool udp;                       /* ESP in UDP (RFC 3948): must be equal */
	uint8_t protects;               /* selectors: must be equal as a set */
	char protect[PROTECT_MAX][PROTECT_TEXT];
	uint64_t epoch;     /* in force; 0: none */
	uint64_t last;      /* greatest epoch ever used in an exchange, >= epoch */
	struct spi in, out; /* in force; both 0 when epoch is 0 */
	bool has_ppk;
	uint8_t ppk_check[TAG_LEN]; /* keysched_ppk_check() when has_ppk */
};

struct msg_offer {
	uint64_t xid;             /* random, not 0 */
	uint64_t epoch;           /* > 0 */
	int reason;               /* enum rekey_reason */
	struct suite_list suites; /* 1 or more, in order of preference */
	struct spi spi;           /* the leader's inbound; >= 256 */
	struct secret share;      /* SHARE_LEN fresh bytes */
	uint32_t lifetime_s;      /* hard lifetime wanted: 30 to 604800 */
	bool esn;                 /* the leader supports and wants ESN */
	uint32_t window;          /* the leader's replay window, packets, 0 to 4096 */
};

struct msg_answer {
	uint64_t xid;
	int suite;      /* enum suite: one of those offered */
	struct spi spi; /* the follower's inbound; >= 256 */
	struct secret share;
	uint32_t lifetime_s; /* agreed: at most the offered one */
	bool esn;            /* agreed: only if offered */
	uint32_t window;
	uint8_t tag[TAG_LEN]; /* last member; see ANSWER_TAIL */
};

/*
 * The last 74 bytes of an answer are ,"tag":"(64 digits)"} and the tag covers the bytes before them.
 * msg_decode() checks that.
 */
#define ANSWER_TAIL 74

struct msg_confirm {
	uint64_t xid;
	uint8_t tag[TAG_LEN];
};
struct msg_done {
	uint64_t xid;
};
struct msg_reject {
	uint64_t xid;
	int reason;                  /* enum fault */
	char text[MSG_TEXT_MAX + 1]; /* for people; escape it before printing */
	uint64_t epoch;              /* the sender's greatest epoch; 0: absent */
};
/* The follower asks the leader for an exchange. */
struct msg_rekey {
	int reason; /* enum rekey_reason */
};
/* Before the first probe datagram of a run (sent 0) and after the last: asks how many have arrived, and for
 * the counters of the SAs. */
struct msg_probe {
	uint64_t id;
	uint64_t epoch; /* the sender's */
	uint32_t sent;
};
struct msg_report {
	uint64_t id;
	uint64_t epoch;                   /* the sender's */
	uint32_t sent;                    /* as in the probe message that it answers */
	bool closed;                      /* the receiver takes datagrams from its SAs only */
	uint32_t received;                /* probe datagrams of this run */
	struct spi in, out;               /* the sender's SAs in force; 0: none */
	bool has_counts;                  /* false: the sender's system has no counters */
	uint64_t in_packets, out_packets; /* of those SAs */
};
struct msg_ping {
	uint64_t id;
};
struct msg_pong {
	uint64_t id;
};
struct msg_bye {
	int reason; /* enum fault */
};
struct msg_error {
	int reason;
	char text[MSG_TEXT_MAX + 1];
};

#define MSG_MEMBER(constant, name) struct msg_##name name;
struct msg {
	enum msg_type type;
	union {
		MSG_LIST(MSG_MEMBER)
	} u;
};
#undef MSG_MEMBER

/* body is the body of a frame, NUL-terminated. The caller wipes *m. */
int msg_decode(struct msg *m, const char *body, size_t len, struct err *e);

/*
 * Writes the body into buf (FRAME_MAX + 1 bytes are always enough, 2,048 for all but hello) and
 * returns its length; 0: it does not fit. The caller wipes buf.
 */
size_t msg_encode(const struct msg *m, char *buf, size_t size);

/* Writes a struct suite_list as an array of names. */
json_put msg_put_suites;

/* Overwrites the tag at the end of an encoded answer of len bytes. */
void msg_answer_set_tag(char *body, size_t len, const uint8_t tag[TAG_LEN]);

#endif
