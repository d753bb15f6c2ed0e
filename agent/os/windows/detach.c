/*
 * agent/os/windows/detach.c - processes that outlive the session that started them.
 */
#include "agent/os/windows/inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/os/detach.h"

#define KILLED 137 /* exit status of a killed process, as in a shell */

/* Quotes each word. */
static bool command_line(wchar_t *out, size_t room, const wchar_t *exe, const char *const *words)
{
	wchar_t word[OS_PATH_MAX];
	int n = swprintf(out, room, L"\"%ls\"", exe);

	for (; *words != NULL && n > 0; words++) {
		const int k = win_wide(word, *words)
				      ? swprintf(out + n, room - (size_t)n, L" \"%ls\"", word)
				      : -1;

		n = k > 0 ? n + k : -1;
	}
	return n > 0;
}

static HANDLE open_inherited(const wchar_t *name, DWORD access, DWORD how)
{
	SECURITY_ATTRIBUTES sa = {sizeof sa, NULL, TRUE};

	return CreateFileW(name, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
			   &sa, how, FILE_ATTRIBUTE_NORMAL, NULL);
}

/* Only these handles are inherited: a pipe of the session would keep the session open. */
static DWORD create(PROCESS_INFORMATION *p, const wchar_t *exe, wchar_t *line, HANDLE nothing,
		    HANDLE log)
{
	STARTUPINFOEXW s = {.StartupInfo = {.cb = sizeof s,
					    .dwFlags = STARTF_USESTDHANDLES,
					    .hStdInput = nothing,
					    .hStdOutput = log,
					    .hStdError = log}};
	const DWORD flags = DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP |
			    CREATE_BREAKAWAY_FROM_JOB | CREATE_UNICODE_ENVIRONMENT |
			    EXTENDED_STARTUPINFO_PRESENT;
	HANDLE handles[] = {nothing, log};
	DWORD code = ERROR_NOT_ENOUGH_MEMORY;
	SIZE_T size = 0;
	bool good = false;

	InitializeProcThreadAttributeList(NULL, 1, 0, &size);
	s.lpAttributeList = malloc(size);
	if (s.lpAttributeList != NULL &&
	    InitializeProcThreadAttributeList(s.lpAttributeList, 1, 0, &size)) {
		good = UpdateProcThreadAttribute(s.lpAttributeList, 0,
						 PROC_THREAD_ATTRIBUTE_HANDLE_LIST, handles,
						 sizeof handles, NULL, NULL) &&
		       CreateProcessW(exe, line, NULL, NULL, TRUE, flags, NULL, NULL,
				      &s.StartupInfo, p);
		code = GetLastError();
		DeleteProcThreadAttributeList(s.lpAttributeList);
	}
	free(s.lpAttributeList);
	return good ? ERROR_SUCCESS : code;
}

int detach_start(struct detached *d, const char *const *words, const char *log, struct err *e)
{
	static wchar_t exe[OS_PATH_MAX], name[OS_PATH_MAX], line[4 * OS_PATH_MAX];
	const DWORD n = GetModuleFileNameW(NULL, exe, OS_PATH_MAX);
	HANDLE nothing, file;
	PROCESS_INFORMATION p;
	int rc;

	memset(d, 0, sizeof *d);
	if (n == 0 || n >= OS_PATH_MAX || !win_wide(name, log) ||
	    !command_line(line, sizeof line / sizeof line[0], exe, words))
		return err_set(e, ERR_USAGE, "%s: path too long", log);
	file = open_inherited(name, GENERIC_WRITE, CREATE_ALWAYS);
	if (file == INVALID_HANDLE_VALUE)
		return win_failed(e, GetLastError(), "write", log);
	nothing = open_inherited(L"NUL", GENERIC_READ, OPEN_EXISTING);
	if (nothing == INVALID_HANDLE_VALUE) {
		rc = win_failed(e, GetLastError(), "open", "NUL");
	} else {
		const DWORD code = create(&p, exe, line, nothing, file);

		rc = code == ERROR_SUCCESS ? 0 : win_failed(e, code, "start", "the agent");
		CloseHandle(nothing);
	}
	CloseHandle(file);
	if (rc < 0)
		return -1;
	CloseHandle(p.hThread);
	d->process = p.hProcess;
	d->pid = p.dwProcessId;
	return 0;
}

bool detach_find(struct detached *d, unsigned long pid, const char *dir)
{
	wchar_t image[OS_PATH_MAX], wanted[OS_PATH_MAX];
	DWORD n = OS_PATH_MAX;
	size_t len;

	memset(d, 0, sizeof *d);
	if (!win_wide(wanted, dir))
		return false;
	len = wcslen(wanted);
	d->process =
		OpenProcess(SYNCHRONIZE | PROCESS_TERMINATE | PROCESS_QUERY_LIMITED_INFORMATION,
			    FALSE, (DWORD)pid);
	d->pid = pid;
	if (d->process != NULL && QueryFullProcessImageNameW(d->process, 0, image, &n) && n > len &&
	    _wcsnicmp(image, wanted, len) == 0 && (image[len] == L'\\' || image[len] == L'/') &&
	    WaitForSingleObject(d->process, 0) == WAIT_TIMEOUT)
		return true;
	detach_forget(d);
	return false;
}

bool detach_ended(const struct detached *d, unsigned ms, unsigned long *status)
{
	DWORD code = 0;

	if (WaitForSingleObject(d->process, ms) != WAIT_OBJECT_0 ||
	    !GetExitCodeProcess(d->process, &code))
		return false;
	*status = code;
	return true;
}

void detach_kill(const struct detached *d)
{
	if (TerminateProcess(d->process, KILLED))
		WaitForSingleObject(d->process, 5000);
}

void detach_forget(struct detached *d)
{
	if (d->process != NULL)
		CloseHandle(d->process);
	d->process = NULL;
}
