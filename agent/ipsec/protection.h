/*
 * agent/ipsec/protection.h - why traffic that a pair declares could pass in clear on this host.
 */
#ifndef SAPAIR_AGENT_IPSEC_PROTECTION_H
#define SAPAIR_AGENT_IPSEC_PROTECTION_H

#include <stdint.h>

/* Name, word in documents (protected_reasons). */
#define PROTECTION_LIST(X)                                                                 \
	X(SOFT_BACKEND, "soft-backend")     /* packets of other programs pass in clear */  \
	X(PERMISSIVE, "permissive")         /* clear text is allowed without an SA */      \
	X(DOWN, "down")                     /* the user took the pair down */              \
	X(SEAMLESS, "seamless")             /* clear text is allowed until the first SA */ \
	X(POLICY_MISSING, "policy-missing") /* a policy of ours is not in force */         \
	X(FOREIGN_POLICY, "foreign-policy") /* a policy of another program goes first */   \
	X(SYSCTL, "sysctl")                 /* disable_xfrm or disable_policy is set */    \
	X(ADDRESS_GONE, "address-gone")     /* the local address is not on this host */    \
	X(ROUTE, "route")                   /* routing takes another local address */      \
	X(PEER_IS_LOCAL, "peer-is-local")   /* the peer's address is on this host */       \
	X(UNKNOWN, "unknown")               /* the system did not answer (yet) */
#define PROTECTION_BIT(name, word) PROTECTION_BIT_##name,
enum { PROTECTION_LIST(PROTECTION_BIT) PROTECTION_COUNT };
#undef PROTECTION_BIT

/* Sets of reasons; 0: protected. */
#define PROTECTION_ENUM(name, word) UNPROTECTED_##name = 1u << PROTECTION_BIT_##name,
enum { PROTECTION_LIST(PROTECTION_ENUM) UNPROTECTED_ALL = (1u << PROTECTION_COUNT) - 1 };
#undef PROTECTION_ENUM

#endif
