/*
 * agent/ipsec/wfp/errors.c - error codes of the filter engine.
 */
#include "agent/ipsec/wfp/api.h"

#include "agent/ipsec/wfp/db.h"

#define BUG_HINT "this is a defect of sapair: report it with the log"
#define START_BFE "start the service: sc start bfe"
#define REMOVED_HINT "another program removed it; the next attempt restores it"

static const struct code {
	uint32_t code;
	enum err_code class;
	const char *name, *meaning, *hint;
} codes[] = {
	{ERROR_ACCESS_DENIED, ERR_PERM, "ERROR_ACCESS_DENIED",
	 "no right to change the filter engine",
	 "run it as administrator (elevated), or as the service: sapair service install"},
	{ERROR_INVALID_HANDLE, ERR_OS, "ERROR_INVALID_HANDLE",
	 "the session with the engine has ended", NULL},
	{ERROR_NOT_ENOUGH_MEMORY, ERR_OS, "ERROR_NOT_ENOUGH_MEMORY", "out of memory", NULL},
	{ERROR_INVALID_PARAMETER, ERR_BUG, "ERROR_INVALID_PARAMETER", "an argument was refused",
	 BUG_HINT},
	{RPC_S_SERVER_UNAVAILABLE, ERR_OS, "RPC_S_SERVER_UNAVAILABLE",
	 "the Base Filtering Engine does not answer", START_BFE},
	{RPC_S_CALL_FAILED, ERR_OS, "RPC_S_CALL_FAILED",
	 "the Base Filtering Engine stopped during the call", START_BFE},
	{1753, ERR_OS, "EPT_S_NOT_REGISTERED", "the Base Filtering Engine is not running",
	 START_BFE},
	{0x80320001, ERR_OS, "FWP_E_CALLOUT_NOT_FOUND", "this Windows has no IPsec callout", NULL},
	{0x80320002, ERR_BUG, "FWP_E_CONDITION_NOT_FOUND", "the layer does not have this condition",
	 BUG_HINT},
	{0x80320003, ERR_OS, "FWP_E_FILTER_NOT_FOUND", "the filter is gone", REMOVED_HINT},
	{0x80320004, ERR_BUG, "FWP_E_LAYER_NOT_FOUND", "no such layer", BUG_HINT},
	{0x80320005, ERR_OS, "FWP_E_PROVIDER_NOT_FOUND", "our provider is gone", REMOVED_HINT},
	{0x80320006, ERR_BUG, "FWP_E_PROVIDER_CONTEXT_NOT_FOUND", "no such provider context",
	 BUG_HINT},
	{0x80320007, ERR_OS, "FWP_E_SUBLAYER_NOT_FOUND", "the sublayer is gone", REMOVED_HINT},
	{0x80320008, ERR_OS, "FWP_E_NOT_FOUND", "the SA context is gone", NULL},
	{0x80320009, ERR_OS, "FWP_E_ALREADY_EXISTS", "an object with this key exists already",
	 "is another agent running? if not: sapair clean"},
	{0x8032000A, ERR_OS, "FWP_E_IN_USE", "another object still refers to it",
	 "if this persists, restart the service BFE or the machine"},
	{0x8032000B, ERR_BUG, "FWP_E_DYNAMIC_SESSION_IN_PROGRESS", "not in a dynamic session",
	 BUG_HINT},
	{0x8032000C, ERR_OS, "FWP_E_WRONG_SESSION", "the object belongs to another session", NULL},
	{0x8032000D, ERR_BUG, "FWP_E_NO_TXN_IN_PROGRESS", "no transaction is open", BUG_HINT},
	{0x8032000E, ERR_BUG, "FWP_E_TXN_IN_PROGRESS", "not inside a transaction", BUG_HINT},
	{0x8032000F, ERR_OS, "FWP_E_TXN_ABORTED", "the engine aborted the transaction",
	 "sapair retries"},
	{0x80320010, ERR_OS, "FWP_E_SESSION_ABORTED", "the engine ended the session",
	 "sapair retries"},
	{0x80320011, ERR_BUG, "FWP_E_INCOMPATIBLE_TXN", "a write in a read-only transaction",
	 BUG_HINT},
	{0x80320012, ERR_OS, "FWP_E_TIMEOUT", "another program holds the lock of the filter engine",
	 "sapair retries; netsh wfp show state names the sessions"},
	{0x80320013, ERR_OS, "FWP_E_NET_EVENTS_DISABLED", "the engine collects no events", NULL},
	{0x80320014, ERR_BUG, "FWP_E_INCOMPATIBLE_LAYER", "not in this layer", BUG_HINT},
	{0x80320015, ERR_BUG, "FWP_E_KM_CLIENTS_ONLY", "for keying modules only", BUG_HINT},
	{0x80320016, ERR_BUG, "FWP_E_LIFETIME_MISMATCH",
	 "an object would outlive what it refers to", BUG_HINT},
	{0x80320017, ERR_BUG, "FWP_E_BUILTIN_OBJECT", "a built-in object of Windows", BUG_HINT},
	{0x80320018, ERR_OS, "FWP_E_TOO_MANY_CALLOUTS", "the engine has no room for callouts",
	 NULL},
	{0x80320019, ERR_OS, "FWP_E_NOTIFICATION_DROPPED", "the engine dropped an event", NULL},
	{0x8032001A, ERR_BUG, "FWP_E_TRAFFIC_MISMATCH", "inbound and outbound traffic differ",
	 BUG_HINT},
	{0x8032001B, ERR_BUG, "FWP_E_INCOMPATIBLE_SA_STATE", "the SA calls are out of order",
	 BUG_HINT},
	{0x8032001C, ERR_BUG, "FWP_E_NULL_POINTER", "a pointer is missing", BUG_HINT},
	{0x8032001D, ERR_BUG, "FWP_E_INVALID_ENUMERATOR", "the enumeration has ended", BUG_HINT},
	{0x8032001E, ERR_BUG, "FWP_E_INVALID_FLAGS", "a flag was refused", BUG_HINT},
	{0x8032001F, ERR_BUG, "FWP_E_INVALID_NET_MASK", "a mask was refused", BUG_HINT},
	{0x80320020, ERR_BUG, "FWP_E_INVALID_RANGE", "a range was refused", BUG_HINT},
	{0x80320021, ERR_BUG, "FWP_E_INVALID_INTERVAL", "an interval was refused", BUG_HINT},
	{0x80320022, ERR_BUG, "FWP_E_ZERO_LENGTH_ARRAY", "a list is empty", BUG_HINT},
	{0x80320023, ERR_BUG, "FWP_E_NULL_DISPLAY_NAME", "a display name is missing", BUG_HINT},
	{0x80320024, ERR_BUG, "FWP_E_INVALID_ACTION_TYPE", "the action was refused", BUG_HINT},
	{0x80320025, ERR_BUG, "FWP_E_INVALID_WEIGHT", "the weight was refused", BUG_HINT},
	{0x80320026, ERR_BUG, "FWP_E_MATCH_TYPE_MISMATCH", "wrong kind of match in a condition",
	 BUG_HINT},
	{0x80320027, ERR_BUG, "FWP_E_TYPE_MISMATCH", "a condition has a value of the wrong type",
	 BUG_HINT},
	{0x80320028, ERR_BUG, "FWP_E_OUT_OF_BOUNDS", "a number is out of bounds", BUG_HINT},
	{0x80320029, ERR_BUG, "FWP_E_RESERVED", "a reserved field is not zero", BUG_HINT},
	{0x8032002A, ERR_BUG, "FWP_E_DUPLICATE_CONDITION", "a condition is given twice", BUG_HINT},
	{0x8032002B, ERR_BUG, "FWP_E_DUPLICATE_KEYMOD", "a keying module is given twice", BUG_HINT},
	{0x8032002C, ERR_BUG, "FWP_E_ACTION_INCOMPATIBLE_WITH_LAYER",
	 "the action is not for this layer", BUG_HINT},
	{0x8032002D, ERR_BUG, "FWP_E_ACTION_INCOMPATIBLE_WITH_SUBLAYER",
	 "the action is not for this sublayer", BUG_HINT},
	{0x8032002E, ERR_BUG, "FWP_E_CONTEXT_INCOMPATIBLE_WITH_LAYER",
	 "the context is not for this layer", BUG_HINT},
	{0x8032002F, ERR_BUG, "FWP_E_CONTEXT_INCOMPATIBLE_WITH_CALLOUT",
	 "the context is not for this callout", BUG_HINT},
	{0x80320030, ERR_BUG, "FWP_E_INCOMPATIBLE_AUTH_METHOD",
	 "incompatible authentication method", BUG_HINT},
	{0x80320031, ERR_BUG, "FWP_E_INCOMPATIBLE_DH_GROUP", "incompatible group", BUG_HINT},
	{0x80320032, ERR_BUG, "FWP_E_EM_NOT_SUPPORTED", "extended mode is not supported here",
	 BUG_HINT},
	{0x80320033, ERR_BUG, "FWP_E_NEVER_MATCH", "the search cannot match anything", BUG_HINT},
	{0x80320034, ERR_BUG, "FWP_E_PROVIDER_CONTEXT_MISMATCH", "wrong provider context",
	 BUG_HINT},
	{0x80320035, ERR_BUG, "FWP_E_INVALID_PARAMETER", "an argument was refused", BUG_HINT},
	{0x80320036, ERR_OS, "FWP_E_TOO_MANY_SUBLAYERS", "the engine has no room for sublayers",
	 NULL},
	{0x80320037, ERR_OS, "FWP_E_CALLOUT_NOTIFICATION_FAILED",
	 "the IPsec callout refused the filter", NULL},
	{0x80320038, ERR_OS, "FWP_E_INVALID_AUTH_TRANSFORM", "this Windows lacks the algorithm",
	 "choose another suite"},
	{0x80320039, ERR_OS, "FWP_E_INVALID_CIPHER_TRANSFORM", "this Windows lacks the algorithm",
	 "choose another suite"},
	{0x8032003A, ERR_OS, "FWP_E_INCOMPATIBLE_CIPHER_TRANSFORM", "incompatible algorithms",
	 "choose another suite"},
	{0x8032003B, ERR_OS, "FWP_E_INVALID_TRANSFORM_COMBINATION", "incompatible algorithms",
	 "choose another suite"},
	{0x8032003C, ERR_BUG, "FWP_E_DUPLICATE_AUTH_METHOD", "a method is given twice", BUG_HINT},
};

int wfp_failed(struct err *e, uint32_t code, const char *call)
{
	const struct code *known = NULL;

	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (codes[i].code == code)
			known = &codes[i];
	if (known == NULL)
		err_set(e, ERR_OS, "%s: error 0x%08x", call, (unsigned)code);
	else
		err_set(e, known->class, "%s: %s (%s 0x%08x)", call, known->meaning, known->name,
			(unsigned)code);
	if (e != NULL) {
		e->os = code;
		if (known != NULL)
			e->hint = known->hint;
	}
	return -1;
}

bool wfp_is_dead(uint32_t code)
{
	return code == ERROR_INVALID_HANDLE || code == 0x80320010 ||
	       (code >= RPC_S_SERVER_UNAVAILABLE && code <= RPC_S_CALL_FAILED_DNE) || code == 1753;
}
