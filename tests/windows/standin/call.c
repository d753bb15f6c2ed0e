/* tests/windows/standin/call.c - the begin and end of every call */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/windows/standin/engine.h"

DWORD injected_failure(const char *call)
{
	char path[PATH_LEN], name[64] = "";
	unsigned n = 0;
	unsigned long code = 0;
	FILE *f;

	path_of(path, "fail");
	f = fopen(path, "rb");
	if (f == NULL)
		return 0;
	if (fscanf(f, "%63s %u %lx", name, &n, &code) != 3)
		name[0] = '\0';
	fclose(f);
	if (strcmp(name, call) != 0)
		return 0;
	if (n == 0)
		return code;
	if (n == 1) {
		DeleteFileA(path);
		return code;
	}
	f = fopen(path, "wb");
	if (f != NULL) {
		fprintf(f, "%s %u %lx\n", name, n - 1, code);
		fclose(f);
	}
	return 0;
}

static bool is_held(void)
{
	char path[PATH_LEN];

	path_of(path, "hold");
	return GetFileAttributesA(path) != INVALID_FILE_ATTRIBUTES;
}

bool has_access(const char *word)
{
	const char *access = getenv("SAPAIR_STANDIN_ACCESS");

	return access == NULL || strcmp(access, word) != 0;
}

DWORD begin_call(HANDLE h, const char *call)
{
	struct session *u = h;
	DWORD code, waited = 0;

	setup();
	if (u == NULL || u->magic != MAGIC)
		return ERROR_INVALID_HANDLE;
	if (!has_access("none"))
		return log_call(ERROR_ACCESS_DENIED, call, "");
	while (!u->in_txn && is_held()) {
		if (waited >= u->wait_ms)
			return log_call(E(FWP_E_TIMEOUT), call, "");
		Sleep(10);
		waited += 10;
	}
	if (WaitForSingleObject(mutex, u->wait_ms) == WAIT_TIMEOUT)
		return log_call(E(FWP_E_TIMEOUT), call, "");
	code = injected_failure(call);
	if (code != 0) {
		ReleaseMutex(mutex);
		return log_call(code, call, ",\"chosen\":true");
	}
	if (!u->in_txn)
		load();
	return 0;
}

void end_call(HANDLE h, DWORD code)
{
	struct session *u = h;

	if (code == 0 && !u->in_txn)
		save();
	ReleaseMutex(mutex);
}

DWORD begin_sa_call(HANDLE h, const char *call)
{
	struct session *u = h;
	DWORD code = begin_call(h, call);

	if (code != 0)
		return code;
	if (u->in_txn)
		code = E(FWP_E_TXN_IN_PROGRESS);
	else if (u->dynamic)
		code = E(FWP_E_DYNAMIC_SESSION_IN_PROGRESS);
	if (code == 0)
		return 0;
	end_call(h, code);
	return log_call(code, call, "");
}

DWORD begin_write(HANDLE h, const char *call)
{
	struct session *u = h;
	DWORD code = begin_call(h, call);

	if (code == 0 && u->in_txn && u->read_only) {
		end_call(h, 1);
		return log_call(E(FWP_E_INCOMPATIBLE_TXN), call, "");
	}
	return code;
}
