/*
 * agent/os/windows/os.c - Windows: the process, clocks, default paths, terminal, host name.
 */
#include "agent/os/windows/inner.h"

#include <fcntl.h>
#include <io.h>
#include <malloc.h>
#include <shlobj.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "agent/os/common.h"
#include "agent/os/service.h"

char **os_args(int argc, char **argv)
{
	int n = 0;
	wchar_t **wide = CommandLineToArgvW(GetCommandLineW(), &n);
	char **out;

	if (wide == NULL || n != argc)
		return argv;
	out = calloc((size_t)n + 1, sizeof *out);
	for (int i = 0; out != NULL && i < n; i++) {
		size_t size = 3 * wcslen(wide[i]) + 1;

		out[i] = malloc(size);
		if (out[i] == NULL || !win_utf8(out[i], size, wide[i]))
			return argv;
	}
	LocalFree(wide);
	return out != NULL ? out : argv;
}

void os_args_become(char **argv)
{
	(void)argv; /* there is no re-exec on Windows */
}

/* ---- the process ------------------------------------------------------------------------- */

static UINT old_output, old_input; /* code pages of the console, which other programs share */

static void restore_console(void)
{
	SetConsoleOutputCP(old_output);
	SetConsoleCP(old_input);
}

static void setup_console(void)
{
	old_output = GetConsoleOutputCP();
	old_input = GetConsoleCP();
	if (old_output != 0 && old_output != CP_UTF8) {
		SetConsoleOutputCP(CP_UTF8);
		SetConsoleCP(CP_UTF8);
		atexit(restore_console);
	}
	_setmode(1, _O_BINARY); /* the same line ends on all systems */
	_setmode(2, _O_BINARY);
}

void os_harden(void)
{
	typedef HRESULT WINAPI set_flags(DWORD flags);
	HMODULE kernel = GetModuleHandleW(L"kernel32.dll");
	set_flags *wer = NULL;

	/* No DLL from the current folder or the PATH. */
	SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_SYSTEM32);
	HeapSetInformation(NULL, HeapEnableTerminationOnCorruption, NULL, 0);
	SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX);
	if (kernel != NULL)
		wer = (set_flags *)(uintptr_t)GetProcAddress(kernel, "WerSetFlags");
	if (wer != NULL)
		wer(1); /* WER_FAULT_REPORTING_FLAG_NOHEAP: no keys in crash reports */
	setup_console();
}

bool os_lock_memory(void)
{
	return false; /* VirtualLock() is limited to few pages */
}

void os_trim_memory(void)
{
	_heapmin();
}

void os_signals(struct os_signal out[OS_SIGNALS])
{
	out[0] = (struct os_signal){SIGINT, false};   /* Ctrl-C */
	out[1] = (struct os_signal){SIGBREAK, false}; /* Ctrl-Break */
	out[2] = (struct os_signal){SIGHUP, false};   /* the console window was closed */
}

void os_ignore_signals(void)
{
	/* libuv's console handler stays until the process ends. */
}

/* ---- clocks ------------------------------------------------------------------------------ */

uint64_t os_now_ns(void)
{
	static LARGE_INTEGER per_s; /* never changes while the system runs */
	LARGE_INTEGER t;

	if (per_s.QuadPart == 0)
		QueryPerformanceFrequency(&per_s);
	QueryPerformanceCounter(&t); /* includes time of sleep (documented) */
	return (uint64_t)(t.QuadPart / per_s.QuadPart) * 1000000000u +
	       (uint64_t)(t.QuadPart % per_s.QuadPart) * 1000000000u / (uint64_t)per_s.QuadPart;
}

int64_t os_wall_ms(void)
{
	FILETIME t;
	ULARGE_INTEGER n;

	GetSystemTimePreciseAsFileTime(&t);
	n.LowPart = t.dwLowDateTime;
	n.HighPart = t.dwHighDateTime;
	return (int64_t)(n.QuadPart / 10000) - INT64_C(11644473600000); /* from 1601 to 1970 */
}

void os_sleep_ms(unsigned ms)
{
	Sleep(ms);
}

/* ---- default paths ----------------------------------------------------------------------- */

void os_config_dir(char out[OS_PATH_MAX])
{
	const bool elevated = win_is_elevated();
	wchar_t *wide = NULL;
	char base[OS_PATH_MAX];

	snprintf(base, sizeof base, "%s", "C:\\ProgramData");
	if (SHGetKnownFolderPath(elevated ? &FOLDERID_ProgramData : &FOLDERID_LocalAppData, 0, NULL,
				 &wide) == S_OK)
		win_utf8(base, sizeof base, wide);
	CoTaskMemFree(wide);
	snprintf(out, OS_PATH_MAX, "%.*s\\sapair", OS_PATH_MAX - 16, base);
}

void os_control_path(char out[OS_PATH_MAX])
{
	char sid[SID_TEXT];

	win_user_sid(sid);
	if (win_is_elevated() || sid[0] == '\0')
		snprintf(out, OS_PATH_MAX, PIPE_PREFIX "sapair");
	else
		snprintf(out, OS_PATH_MAX, PIPE_PREFIX "sapair-%s", sid);
}

/* ---- terminal, host, service manager ----------------------------------------------------- */

long os_udp_more(struct uv_udp_s *udp, void *data, size_t room, struct sockaddr_storage *from)
{
	(void)udp, (void)data, (void)room, (void)from;
	return -1; /* libuv delivers each datagram as its read completes */
}

int os_udp_share(struct uv_udp_s *udp)
{
	(void)udp;
	return -1;
}

bool os_is_terminal(int fd)
{
	HANDLE h = (HANDLE)_get_osfhandle(fd);
	DWORD mode;

	if (os_no_color())
		return false;
	return h != INVALID_HANDLE_VALUE && GetConsoleMode(h, &mode) &&
	       SetConsoleMode(h,
			      mode | ENABLE_PROCESSED_OUTPUT | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
}

void os_host_name(char *out, size_t size)
{
	wchar_t wide[256];
	DWORD len = sizeof wide / sizeof wide[0];
	char raw[3 * 256] = "";

	if (GetComputerNameExW(ComputerNameDnsHostname, wide, &len))
		win_utf8(raw, sizeof raw, wide);
	os_reduce_host_name(out, size, raw);
}

uint64_t os_watchdog_ms(void)
{
	return 0;
}

void os_notify(const char *state)
{
	service_notify(state);
}

enum os_log os_log_kind(void)
{
	return service_notify("") ? OS_LOG_EVENTS : OS_LOG_PLAIN;
}
