/*
 * agent/ipsec/wfp/errors.c - error codes of the filter engine.
 */
#include "agent/ipsec/wfp/api.h"

#include "agent/ipsec/wfp/db.h"

#define ADMIN_HINT "run it as administrator (elevated), or as the service: sapair service install"
#define START_BFE "start the service: sc start bfe"
#define EXISTS_HINT "is another agent running? if not: sapair clean"
#define IN_USE_HINT "if this persists, restart the service BFE or the machine"
#define LOCK_HINT "sapair retries; netsh wfp show state names the sessions"
#define REMOVED_HINT "another program removed it; the next attempt restores it"
#define SUITE_HINT "choose another suite"
#define BUG_HINT "this is a defect of sapair: report it with the log"

/* clang-format off */
static const struct code {
	uint32_t code;
	const char *name, *meaning, *hint;
} codes[] = {
	{ERROR_ACCESS_DENIED, "ERROR_ACCESS_DENIED",
		"no right to change the filter engine", ADMIN_HINT},
	{ERROR_INVALID_HANDLE, "ERROR_INVALID_HANDLE",
		"the session with the engine has ended", NULL},
	{ERROR_NOT_ENOUGH_MEMORY, "ERROR_NOT_ENOUGH_MEMORY", "out of memory", NULL},
	{RPC_S_SERVER_UNAVAILABLE, "RPC_S_SERVER_UNAVAILABLE",
		"the Base Filtering Engine does not answer", START_BFE},
	{RPC_S_CALL_FAILED, "RPC_S_CALL_FAILED",
		"the Base Filtering Engine stopped during the call", START_BFE},
	{1753, "EPT_S_NOT_REGISTERED", "the Base Filtering Engine is not running", START_BFE},
	{0x80320001, "FWP_E_CALLOUT_NOT_FOUND", "this Windows has no IPsec callout", NULL},
	{0x80320003, "FWP_E_FILTER_NOT_FOUND", "the filter is gone", REMOVED_HINT},
	{0x80320005, "FWP_E_PROVIDER_NOT_FOUND", "our provider is gone", REMOVED_HINT},
	{0x80320007, "FWP_E_SUBLAYER_NOT_FOUND", "the sublayer is gone", REMOVED_HINT},
	{0x80320008, "FWP_E_NOT_FOUND", "the SA context is gone", NULL},
	{0x80320009, "FWP_E_ALREADY_EXISTS", "an object with this key exists already", EXISTS_HINT},
	{0x8032000A, "FWP_E_IN_USE", "another object still refers to it", IN_USE_HINT},
	{0x8032000C, "FWP_E_WRONG_SESSION", "the object belongs to another session", NULL},
	{0x8032000F, "FWP_E_TXN_ABORTED", "the engine aborted the transaction", "sapair retries"},
	{0x80320010, "FWP_E_SESSION_ABORTED", "the engine ended the session", "sapair retries"},
	{0x80320012, "FWP_E_TIMEOUT",
		"another program holds the lock of the filter engine", LOCK_HINT},
	{0x80320013, "FWP_E_NET_EVENTS_DISABLED", "the engine collects no events", NULL},
	{0x80320018, "FWP_E_TOO_MANY_CALLOUTS", "the engine has no room for callouts", NULL},
	{0x80320019, "FWP_E_NOTIFICATION_DROPPED", "the engine dropped an event", NULL},
	{0x80320036, "FWP_E_TOO_MANY_SUBLAYERS", "the engine has no room for sublayers", NULL},
	{0x80320037, "FWP_E_CALLOUT_NOTIFICATION_FAILED",
		"the IPsec callout refused the filter", NULL},
	{0x80320038, "FWP_E_INVALID_AUTH_TRANSFORM",
		"this Windows lacks the algorithm", SUITE_HINT},
	{0x80320039, "FWP_E_INVALID_CIPHER_TRANSFORM",
		"this Windows lacks the algorithm", SUITE_HINT},
	{0x8032003A, "FWP_E_INCOMPATIBLE_CIPHER_TRANSFORM", "incompatible algorithms", SUITE_HINT},
	{0x8032003B, "FWP_E_INVALID_TRANSFORM_COMBINATION", "incompatible algorithms", SUITE_HINT},
};

/* Only a defect of this program causes these. */
static const struct {
	uint32_t code;
	const char *name;
} bugs[] = {
	{ERROR_INVALID_PARAMETER, "ERROR_INVALID_PARAMETER"},
	{0x80320002, "FWP_E_CONDITION_NOT_FOUND"}, {0x80320004, "FWP_E_LAYER_NOT_FOUND"},
	{0x80320006, "FWP_E_PROVIDER_CONTEXT_NOT_FOUND"},
	{0x8032000B, "FWP_E_DYNAMIC_SESSION_IN_PROGRESS"},
	{0x8032000D, "FWP_E_NO_TXN_IN_PROGRESS"}, {0x8032000E, "FWP_E_TXN_IN_PROGRESS"},
	{0x80320011, "FWP_E_INCOMPATIBLE_TXN"}, {0x80320014, "FWP_E_INCOMPATIBLE_LAYER"},
	{0x80320015, "FWP_E_KM_CLIENTS_ONLY"}, {0x80320016, "FWP_E_LIFETIME_MISMATCH"},
	{0x80320017, "FWP_E_BUILTIN_OBJECT"}, {0x8032001A, "FWP_E_TRAFFIC_MISMATCH"},
	{0x8032001B, "FWP_E_INCOMPATIBLE_SA_STATE"}, {0x8032001C, "FWP_E_NULL_POINTER"},
	{0x8032001D, "FWP_E_INVALID_ENUMERATOR"}, {0x8032001E, "FWP_E_INVALID_FLAGS"},
	{0x8032001F, "FWP_E_INVALID_NET_MASK"}, {0x80320020, "FWP_E_INVALID_RANGE"},
	{0x80320021, "FWP_E_INVALID_INTERVAL"}, {0x80320022, "FWP_E_ZERO_LENGTH_ARRAY"},
	{0x80320023, "FWP_E_NULL_DISPLAY_NAME"}, {0x80320024, "FWP_E_INVALID_ACTION_TYPE"},
	{0x80320025, "FWP_E_INVALID_WEIGHT"}, {0x80320026, "FWP_E_MATCH_TYPE_MISMATCH"},
	{0x80320027, "FWP_E_TYPE_MISMATCH"}, {0x80320028, "FWP_E_OUT_OF_BOUNDS"},
	{0x80320029, "FWP_E_RESERVED"}, {0x8032002A, "FWP_E_DUPLICATE_CONDITION"},
	{0x8032002B, "FWP_E_DUPLICATE_KEYMOD"},
	{0x8032002C, "FWP_E_ACTION_INCOMPATIBLE_WITH_LAYER"},
	{0x8032002D, "FWP_E_ACTION_INCOMPATIBLE_WITH_SUBLAYER"},
	{0x8032002E, "FWP_E_CONTEXT_INCOMPATIBLE_WITH_LAYER"},
	{0x8032002F, "FWP_E_CONTEXT_INCOMPATIBLE_WITH_CALLOUT"},
	{0x80320030, "FWP_E_INCOMPATIBLE_AUTH_METHOD"},
	{0x80320031, "FWP_E_INCOMPATIBLE_DH_GROUP"}, {0x80320032, "FWP_E_EM_NOT_SUPPORTED"},
	{0x80320033, "FWP_E_NEVER_MATCH"}, {0x80320034, "FWP_E_PROVIDER_CONTEXT_MISMATCH"},
	{0x80320035, "FWP_E_INVALID_PARAMETER"}, {0x8032003C, "FWP_E_DUPLICATE_AUTH_METHOD"},
};
/* clang-format on */

int wfp_failed(struct err *e, uint32_t code, const char *call)
{
	const enum err_code class = code == ERROR_ACCESS_DENIED ? ERR_PERM : ERR_OS;
	const char *hint = NULL;

	err_set(e, ERR_OS, "%s: error 0x%08x", call, (unsigned)code);
	for (size_t i = 0; i < sizeof bugs / sizeof bugs[0]; i++)
		if (bugs[i].code == code) {
			err_set(e, ERR_BUG, "%s: %s 0x%08x", call, bugs[i].name, (unsigned)code);
			hint = BUG_HINT;
		}
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (codes[i].code == code) {
			err_set(e, class, "%s: %s (%s 0x%08x)", call, codes[i].meaning,
				codes[i].name, (unsigned)code);
			hint = codes[i].hint;
		}
	if (e != NULL) {
		e->os = code;
		e->hint = hint;
	}
	return -1;
}

bool wfp_is_dead(uint32_t code)
{
	return code == ERROR_INVALID_HANDLE || code == 0x80320010 ||
	       (code >= RPC_S_SERVER_UNAVAILABLE && code <= RPC_S_CALL_FAILED_DNE) || code == 1753;
}
