/*
 * agent/os/windows/service.c - the service manager, and the event log of a service.
 *
 * A service has no stderr: a pipe takes its log lines to the event log. "<6,131>text" (log.h, LOG_EVENTS)
 * becomes event 131 with level 6. Other lines have the number of their level: 1 error, 2 warning,
 * 3 information. The program contains the message table for these numbers.
 */
#include <winsock2.h>
#include <windows.h>

#include <io.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "agent/os/os.h"
#include "agent/os/service.h"

#define NAME L"sapair"
#define SOURCE_KEY L"SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\sapair"
#define ABOUT L"Sets up and rekeys IPsec security associations with other hosts."
#define WAIT_MS 20000
#define RESTART_MS 5000
#define PATH_ROOM 4096
#define LINE_ROOM 2048

static int failed(struct err *e, DWORD code, const char *what)
{
	static const struct {
		DWORD code;
		enum err_code class;
		const char *why, *hint;
	} known[] = {
		{ERROR_ACCESS_DENIED, ERR_PERM, "access denied",
		 "run it elevated, as administrator"},
		{ERROR_SERVICE_DOES_NOT_EXIST, ERR_USAGE, "the service is not installed",
		 "sapair service install"},
		{ERROR_SERVICE_MARKED_FOR_DELETE, ERR_OS, "the service is being removed",
		 "close programs that show services, then try again"},
		{ERROR_FAILED_SERVICE_CONTROLLER_CONNECT, ERR_USAGE,
		 "not started by the service manager",
		 "in a console: sapair run; as a service: sapair service start"},
		{ERROR_SERVICE_DEPENDENCY_FAIL, ERR_OS, "a required service is not running",
		 "start the Base Filtering Engine: sc start bfe"},
	};

	err_set(e, ERR_OS, "%s: error %lu", what, (unsigned long)code);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (known[i].code == code) {
			err_set(e, known[i].class, "%s: %s", what, known[i].why);
			err_hint(e, known[i].hint);
		}
	if (e != NULL)
		e->os = code;
	return -1;
}

/* ---- install and remove ------------------------------------------------------------------ */

/* "C:\...\sapair.exe" service main --config "C:\..." */
static bool command_line(wchar_t out[PATH_ROOM], const char *config)
{
	wchar_t exe[PATH_ROOM / 2], file[PATH_ROOM / 2];
	DWORD n = GetModuleFileNameW(NULL, exe, PATH_ROOM / 2);

	if (n == 0 || n >= PATH_ROOM / 2 || strchr(config, '"') != NULL ||
	    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, config, -1, file, PATH_ROOM / 2) <=
		    0)
		return false;
	return swprintf(out, PATH_ROOM, L"\"%ls\" service main --config \"%ls\"", exe, file) > 0;
}

static DWORD add_source(void)
{
	const DWORD types = EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE;
	wchar_t exe[PATH_ROOM / 2];
	const DWORD n = GetModuleFileNameW(NULL, exe, PATH_ROOM / 2);
	HKEY key;
	LSTATUS code = RegCreateKeyExW(HKEY_LOCAL_MACHINE, SOURCE_KEY, 0, NULL, 0, KEY_SET_VALUE,
				       NULL, &key, NULL);

	if (code != ERROR_SUCCESS)
		return (DWORD)code;
	code = RegSetValueExW(key, L"EventMessageFile", 0, REG_EXPAND_SZ, (const BYTE *)exe,
			      (n + 1) * (DWORD)sizeof exe[0]);
	if (code == ERROR_SUCCESS)
		code = RegSetValueExW(key, L"TypesSupported", 0, REG_DWORD, (const BYTE *)&types,
				      sizeof types);
	RegCloseKey(key);
	return (DWORD)code;
}

/* A setting that this version of Windows does not support is skipped; a refused one is an error. */
static DWORD set_detail(SC_HANDLE service, DWORD what, void *value)
{
	DWORD code = ERROR_SUCCESS;

	if (!ChangeServiceConfig2W(service, what, value))
		code = GetLastError();
	return code == ERROR_INVALID_LEVEL || code == ERROR_CALL_NOT_IMPLEMENTED ? ERROR_SUCCESS
										 : code;
}

static DWORD add_details(SC_HANDLE service)
{
	wchar_t text[] = ABOUT;
	/* The filter engine checks the account, not privileges: drop all of SYSTEM's privileges except the
	 * one that opening a file by its path needs. */
	wchar_t privileges[] = L"SeChangeNotifyPrivilege\0";
	SERVICE_DESCRIPTIONW about = {text};
	SERVICE_REQUIRED_PRIVILEGES_INFOW least = {privileges};
	SERVICE_SID_INFO sid = {SERVICE_SID_TYPE_UNRESTRICTED}; /* NT SERVICE\sapair */
	SC_ACTION actions[] = {{SC_ACTION_RESTART, RESTART_MS},
			       {SC_ACTION_RESTART, RESTART_MS},
			       {SC_ACTION_RESTART, 12 * RESTART_MS}};
	SERVICE_FAILURE_ACTIONSW failures = {.dwResetPeriod = 3600,
					     .cActions = 3,
					     .lpsaActions = actions};
	SERVICE_FAILURE_ACTIONS_FLAG also = {TRUE}; /* a non-zero exit status is a failure too */
	SERVICE_DELAYED_AUTO_START_INFO late = {FALSE};
	const struct {
		DWORD what;
		void *value;
	} details[] = {
		{SERVICE_CONFIG_DESCRIPTION, &about},
		{SERVICE_CONFIG_FAILURE_ACTIONS, &failures},
		{SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, &also},
		{SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO, &least},
		{SERVICE_CONFIG_SERVICE_SID_INFO, &sid},
		/* Until the service starts, the host is unprotected. */
		{SERVICE_CONFIG_DELAYED_AUTO_START_INFO, &late},
	};

	for (size_t i = 0; i < sizeof details / sizeof details[0]; i++) {
		const DWORD code = set_detail(service, details[i].what, details[i].value);

		if (code != ERROR_SUCCESS)
			return code;
	}
	return ERROR_SUCCESS;
}

/* True if the service exists with this command. */
static bool is_same(SC_HANDLE service, const wchar_t *command)
{
	union {
		QUERY_SERVICE_CONFIGW config;
		BYTE room[8192];
	} q;
	DWORD needed;

	return QueryServiceConfigW(service, &q.config, sizeof q, &needed) &&
	       q.config.dwStartType == SERVICE_AUTO_START &&
	       wcscmp(q.config.lpBinaryPathName, command) == 0;
}

int service_install(const char *config, bool *changed, struct err *e)
{
	static const wchar_t needs[] = L"BFE\0Tcpip\0";
	SC_HANDLE manager =
		OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT | SC_MANAGER_CREATE_SERVICE);
	wchar_t command[PATH_ROOM];
	SC_HANDLE service;
	DWORD code = ERROR_SUCCESS;

	*changed = true;
	if (manager == NULL)
		return failed(e, GetLastError(), "install the service");
	if (!command_line(command, config)) {
		CloseServiceHandle(manager);
		return err_set(e, ERR_USAGE,
			       "%s: the path of the config cannot be used in a service", config);
	}
	service = CreateServiceW(manager, NAME, L"sapair IPsec agent", SERVICE_ALL_ACCESS,
				 SERVICE_WIN32_OWN_PROCESS, SERVICE_AUTO_START,
				 SERVICE_ERROR_NORMAL, command, NULL, NULL, needs, NULL, NULL);
	if (service == NULL && GetLastError() == ERROR_SERVICE_EXISTS) {
		service = OpenServiceW(manager, NAME, SERVICE_ALL_ACCESS);
		if (service != NULL && is_same(service, command))
			*changed = false;
		else if (service != NULL &&
			 !ChangeServiceConfigW(service, SERVICE_NO_CHANGE, SERVICE_AUTO_START,
					       SERVICE_NO_CHANGE, command, NULL, NULL, needs, NULL,
					       NULL, NULL))
			code = GetLastError();
	}
	if (service == NULL)
		code = GetLastError();
	if (code == ERROR_SUCCESS) {
		code = add_details(service);
		if (code == ERROR_SUCCESS)
			code = add_source();
	}
	if (service != NULL)
		CloseServiceHandle(service);
	CloseServiceHandle(manager);
	return code == ERROR_SUCCESS ? 0 : failed(e, code, "install the service");
}

/* ---- control ----------------------------------------------------------------------------- */

/* NULL, with the error of failed(e, code, what), if it cannot be opened. */
static SC_HANDLE open_service(DWORD access, const char *what, struct err *e)
{
	SC_HANDLE manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT), service = NULL;

	if (manager != NULL)
		service = OpenServiceW(manager, NAME, access);
	if (service == NULL)
		failed(e, GetLastError(), what);
	if (manager != NULL)
		CloseServiceHandle(manager);
	return service;
}

static DWORD state_of(SC_HANDLE service, DWORD *exit_status)
{
	SERVICE_STATUS s;

	if (!QueryServiceStatus(service, &s))
		return 0;
	*exit_status = s.dwWin32ExitCode == ERROR_SERVICE_SPECIFIC_ERROR
			       ? s.dwServiceSpecificExitCode
			       : s.dwWin32ExitCode;
	return s.dwCurrentState;
}

/* Waits until the service has the wanted state; false if it cannot reach it. */
static bool wait_for(SC_HANDLE service, DWORD wanted, DWORD *exit_status)
{
	for (DWORD waited = 0; waited < WAIT_MS; waited += 50) {
		DWORD state = state_of(service, exit_status);

		if (state == wanted)
			return true;
		if (state == 0 || (state == SERVICE_STOPPED && wanted == SERVICE_RUNNING))
			return false;
		Sleep(50);
	}
	return false;
}

static int start_service(SC_HANDLE service, bool *changed, struct err *e)
{
	DWORD status = 0;

	*changed = StartServiceW(service, 0, NULL);
	if (!*changed && GetLastError() != ERROR_SERVICE_ALREADY_RUNNING)
		return failed(e, GetLastError(), "start the service");
	if (wait_for(service, SERVICE_RUNNING, &status))
		return 0;
	err_set(e, ERR_OS, "start the service: it ended with exit status %lu",
		(unsigned long)status);
	return err_hint(e, "see the event log: Get-WinEvent -ProviderName sapair -MaxEvents 5");
}

int service_start(bool *changed, struct err *e)
{
	SC_HANDLE service =
		open_service(SERVICE_START | SERVICE_QUERY_STATUS, "start the service", e);
	int rc;

	*changed = false;
	if (service == NULL)
		return -1;
	rc = start_service(service, changed, e);
	CloseServiceHandle(service);
	return rc;
}

static int stop_service(SC_HANDLE service, bool *changed, struct err *e)
{
	SERVICE_STATUS s;
	DWORD status = 0, code;

	*changed = state_of(service, &status) != SERVICE_STOPPED;
	if (!*changed)
		return 0;
	if (!ControlService(service, SERVICE_CONTROL_STOP, &s)) {
		code = GetLastError();
		if (code != ERROR_SERVICE_NOT_ACTIVE && code != ERROR_SERVICE_CANNOT_ACCEPT_CTRL)
			return failed(e, code, "stop the service");
	}
	if (wait_for(service, SERVICE_STOPPED, &status))
		return 0;
	return err_set(e, ERR_TIMEOUT, "stop the service: still running after %d s",
		       WAIT_MS / 1000);
}

int service_stop(bool *changed, struct err *e)
{
	SC_HANDLE service =
		open_service(SERVICE_STOP | SERVICE_QUERY_STATUS, "stop the service", e);
	int rc;

	*changed = false;
	if (service == NULL)
		return -1;
	rc = stop_service(service, changed, e);
	CloseServiceHandle(service);
	return rc;
}

int service_remove(bool *changed, struct err *e)
{
	SC_HANDLE service =
		open_service(SERVICE_STOP | SERVICE_QUERY_STATUS | DELETE, "remove the service", e);
	bool stopped;
	int rc;

	RegDeleteTreeW(HKEY_LOCAL_MACHINE, SOURCE_KEY);
	*changed = service != NULL;
	if (service == NULL)
		return e->os == ERROR_SERVICE_DOES_NOT_EXIST ? 0 : -1;
	rc = stop_service(service, &stopped, e);
	if (rc == 0 && !DeleteService(service))
		rc = failed(e, GetLastError(), "remove the service");
	CloseServiceHandle(service);
	return rc;
}

/* ---- in the service ---------------------------------------------------------------------- */

/* Global, because a process has one service, and the service manager passes no argument. */
static struct {
	int (*body)(void *arg);
	void *arg;
	SERVICE_STATUS_HANDLE handle;
	HANDLE log_thread;
	int status;
} current;

/* The request to stop, which arrives on a thread of the service manager. */
static struct {
	SRWLOCK lock;
	uv_async_t woken;
	void (*stop)(void *arg);
	void *arg;
	bool watched, asked;
} ending = {.lock = SRWLOCK_INIT};

static void on_woken(uv_async_t *h)
{
	(void)h;
	ending.stop(ending.arg);
}

void os_watch_stop(struct uv_loop_s *loop, void (*stop)(void *arg), void *arg)
{
	if (current.body == NULL || uv_async_init(loop, &ending.woken, on_woken) != 0)
		return;
	uv_unref((uv_handle_t *)&ending.woken);
	AcquireSRWLockExclusive(&ending.lock);
	ending.stop = stop;
	ending.arg = arg;
	ending.watched = true;
	if (ending.asked)
		uv_async_send(&ending.woken);
	ReleaseSRWLockExclusive(&ending.lock);
}

void os_unwatch_stop(void)
{
	bool watched;

	AcquireSRWLockExclusive(&ending.lock);
	watched = ending.watched;
	ending.watched = false;
	ReleaseSRWLockExclusive(&ending.lock);
	if (watched)
		uv_close((uv_handle_t *)&ending.woken, NULL);
}

static void ask_to_end(void)
{
	AcquireSRWLockExclusive(&ending.lock);
	ending.asked = true;
	if (ending.watched)
		uv_async_send(&ending.woken);
	ReleaseSRWLockExclusive(&ending.lock);
}

static void report(DWORD state, int exit_status)
{
	SERVICE_STATUS s = {.dwServiceType = SERVICE_WIN32_OWN_PROCESS, .dwCurrentState = state};

	if (state == SERVICE_RUNNING)
		s.dwControlsAccepted = SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN;
	if (state == SERVICE_START_PENDING || state == SERVICE_STOP_PENDING)
		s.dwWaitHint = WAIT_MS;
	if (exit_status != 0) {
		s.dwWin32ExitCode = ERROR_SERVICE_SPECIFIC_ERROR;
		s.dwServiceSpecificExitCode = (DWORD)exit_status;
	}
	SetServiceStatus(current.handle, &s);
}

bool service_notify(const char *state)
{
	if (current.body == NULL)
		return false;
	if (strncmp(state, "READY=1", 7) == 0)
		report(SERVICE_RUNNING, 0);
	else if (strncmp(state, "STOPPING=1", 10) == 0)
		report(SERVICE_STOP_PENDING, 0);
	return true;
}

static DWORD WINAPI on_control(DWORD control, DWORD type, void *data, void *arg)
{
	(void)type, (void)data, (void)arg;
	switch (control) {
	case SERVICE_CONTROL_STOP:
	case SERVICE_CONTROL_SHUTDOWN:
		report(SERVICE_STOP_PENDING, 0);
		ask_to_end();
		return NO_ERROR;
	case SERVICE_CONTROL_INTERROGATE:
		return NO_ERROR;
	default:
		return ERROR_CALL_NOT_IMPLEMENTED;
	}
}

/* Parses "<6,131>text" and "<6>text". Any other line is an error of a library. */
static const char *split_line(const char *line, unsigned *level, unsigned *number)
{
	int n = 0;

	*level = 3;
	*number = 0;
	if (sscanf(line, "<%1u,%5u>%n", level, number, &n) == 2 && n > 0)
		return line + n;
	*number = 0;
	if (sscanf(line, "<%1u>%n", level, &n) == 1 && n > 0)
		return line + n;
	*level = 3;
	return line;
}

static void put_line(HANDLE source, const char *line)
{
	unsigned level, number;
	const char *text = split_line(line, &level, &number);
	const WORD type = level <= 3   ? EVENTLOG_ERROR_TYPE
			  : level == 4 ? EVENTLOG_WARNING_TYPE
				       : EVENTLOG_INFORMATION_TYPE;
	wchar_t wide[LINE_ROOM];
	const wchar_t *texts[] = {wide};

	if (number == 0)
		number = level <= 3 ? 1 : level == 4 ? 2 : 3;
	if (level > 6 || MultiByteToWideChar(CP_UTF8, 0, text, -1, wide, LINE_ROOM) <= 0)
		return; /* debug lines would fill a log that all programs share */
	ReportEventW(source, type, 0, number, NULL, 1, 0, texts, NULL);
}

/* Uses ReadFile(): the C library locks a descriptor during a read, and all descriptors to allocate one. */
static DWORD WINAPI log_lines(void *arg)
{
	HANDLE source = RegisterEventSourceW(NULL, NAME), from = arg;
	char line[LINE_ROOM];
	DWORD have = 0, n;

	while (ReadFile(from, line + have, (DWORD)sizeof line - 1 - have, &n, NULL) && n > 0) {
		char *end;

		have += n;
		line[have] = '\0';
		while ((end = strchr(line, '\n')) != NULL || have == sizeof line - 1) {
			const size_t length = end != NULL ? (size_t)(end - line) + 1 : have;

			line[length - 1] = '\0';
			if (source != NULL && line[0] != '\0')
				put_line(source, line);
			have -= (DWORD)length;
			memmove(line, line + length, have);
			line[have] = '\0';
		}
	}
	CloseHandle(from);
	if (source != NULL)
		DeregisterEventSource(source);
	return 0;
}

static void log_to_events(void)
{
	HANDLE from, to;
	int fd;

	if (!CreatePipe(&from, &to, NULL, 65536))
		return;
	fd = _open_osfhandle((intptr_t)to, _O_BINARY);
	if (fd < 0 || _dup2(fd, 2) != 0) {
		CloseHandle(from);
		return;
	}
	_dup2(fd, 1); /* stdout too */
	_close(fd);
	current.log_thread = CreateThread(NULL, 0, log_lines, from, 0, NULL);
}

static void WINAPI on_start(DWORD argc, wchar_t **argv)
{
	(void)argc, (void)argv;
	current.handle = RegisterServiceCtrlHandlerExW(NAME, on_control, NULL);
	if (current.handle == NULL)
		return;
	report(SERVICE_START_PENDING, 0);
	log_to_events();
	current.status = current.body(current.arg);
	fflush(stderr);
	_close(1);
	_close(2); /* ends the log thread */
	if (current.log_thread != NULL) {
		WaitForSingleObject(current.log_thread, 2000);
		CloseHandle(current.log_thread);
	}
	report(SERVICE_STOPPED, current.status);
}

int service_main(int (*body)(void *arg), void *arg, struct err *e)
{
	wchar_t name[] = NAME;
	const SERVICE_TABLE_ENTRYW table[] = {{name, on_start}, {NULL, NULL}};

	current.body = body;
	current.arg = arg;
	if (StartServiceCtrlDispatcherW(table))
		return current.status;
	current.body = NULL;
	return failed(e, GetLastError(), "service main");
}
