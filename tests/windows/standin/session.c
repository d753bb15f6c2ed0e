/* tests/windows/standin/session.c - sessions and transactions */
#include <stdlib.h>

#include "tests/windows/standin/engine.h"

API FwpmEngineOpen0(const wchar_t *server, UINT32 authn, SEC_WINNT_AUTH_IDENTITY_W *identity,
		    const FWPM_SESSION0 *session, HANDLE *engine)
{
	struct session *u;
	DWORD code = 0;

	setup();
	if (server != NULL || identity != NULL ||
	    (authn != RPC_C_AUTHN_WINNT && authn != RPC_C_AUTHN_DEFAULT) || engine == NULL)
		code = E(FWP_E_INVALID_PARAMETER);
	else if (session != NULL && (session->flags & ~1u) != 0)
		code = E(FWP_E_INVALID_FLAGS);
	else if (!has_access("nobfe"))
		code = 1753;
	if (code == 0)
		code = injected_failure("FwpmEngineOpen0");
	if (code != 0)
		return log_call(code, "FwpmEngineOpen0", "");
	u = calloc(1, sizeof *u);
	u->magic = MAGIC;
	u->dynamic = session != NULL && (session->flags & 1) != 0;
	u->wait_ms = session != NULL && session->txnWaitTimeoutInMSec != 0
			     ? session->txnWaitTimeoutInMSec
			     : 15000;
	*engine = u;
	return log_call(0, "FwpmEngineOpen0", ",\"dynamic\":%s", u->dynamic ? "true" : "false");
}

API FwpmEngineClose0(HANDLE h)
{
	struct session *u = h;

	if (u == NULL || u->magic != MAGIC)
		return ERROR_INVALID_HANDLE;
	if (u->in_txn)
		ReleaseMutex(mutex);
	log_call(0, "FwpmEngineClose0", ",\"unfreed\":%ld,\"enums\":%u,\"in_txn\":%s", unfreed,
		 u->enums, u->in_txn ? "true" : "false");
	u->magic = 0;
	free(u);
	return 0;
}

__declspec(dllexport) void WINAPI FwpmFreeMemory0(void **p)
{
	if (p == NULL || *p == NULL)
		return;
	free(*p);
	*p = NULL;
	InterlockedDecrement(&unfreed);
}

API FwpmTransactionBegin0(HANDLE h, UINT32 flags)
{
	struct session *u = h;
	DWORD code = begin_call(h, "FwpmTransactionBegin0");

	if (code != 0)
		return code;
	if (u->in_txn)
		code = E(FWP_E_TXN_IN_PROGRESS);
	else if ((flags & ~1u) != 0)
		code = E(FWP_E_INVALID_FLAGS);
	if (code != 0) {
		end_call(h, code);
		return log_call(code, "FwpmTransactionBegin0", "");
	}
	u->in_txn = true; /* keeps the lock */
	u->read_only = (flags & 1) != 0;
	return log_call(0, "FwpmTransactionBegin0", "");
}

static DWORD end_txn(HANDLE h, bool commit, const char *call)
{
	struct session *u = h;
	unsigned left = 0; /* providers and filters after it */
	DWORD code;

	setup();
	if (u == NULL || u->magic != MAGIC)
		return ERROR_INVALID_HANDLE;
	if (!u->in_txn)
		return log_call(E(FWP_E_NO_TXN_IN_PROGRESS), call, "");
	code = injected_failure(call);
	if (code != 0 && !commit) /* an abort cannot fail */
		code = 0;
	if (code == 0 && commit)
		save();
	else
		load();
	for (int i = 0; i < FILTERS; i++)
		left += s.filters[i].used;
	for (int i = 0; i < PROVIDERS; i++)
		left += s.providers[i].used;
	u->in_txn = false;
	ReleaseMutex(mutex);
	return log_call(code, call, ",\"left\":%u", left);
}

API FwpmTransactionCommit0(HANDLE h)
{
	return end_txn(h, true, "FwpmTransactionCommit0");
}

API FwpmTransactionAbort0(HANDLE h)
{
	return end_txn(h, false, "FwpmTransactionAbort0");
}
