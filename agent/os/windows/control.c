/*
 * agent/os/windows/control.c - Windows: the control pipe, server and client side.
 */
#include "agent/os/common.h"
#include "agent/os/windows/inner.h"

#include <aclapi.h>
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define PIPE_NAME_MAX 240 /* the system's limit is 256 */
#define PIPE_BUFFER 65536
#define PIPE_BUSY_MS 2000 /* wait while the agent accepts another client */

/* ---- client --------------------------------------------------------------------------- */

/* Makes the name of a pipe from a path like "C:\lab\a.sock", so that the same commands work on all systems. */
static int pipe_name(wchar_t out[OS_PATH_MAX], const char *path, struct err *e)
{
	char name[OS_PATH_MAX + sizeof PIPE_PREFIX + 16];
	size_t from = sizeof PIPE_PREFIX - 1;

	if (strncmp(path, PIPE_PREFIX, from) == 0) {
		snprintf(name, sizeof name, "%s", path);
	} else {
		snprintf(name, sizeof name, PIPE_PREFIX "sapair-%s", path);
		for (char *c = name + from; *c != '\0'; c++)
			if (os_is_slash(*c) || *c == ':')
				*c = '_';
	}
	if (path[0] == '\0' || strlen(name) <= from || strlen(name) > PIPE_NAME_MAX ||
	    !win_wide(out, name)) {
		err_set(e, ERR_USAGE, "control pipe %s: the name has %zu bytes, must have 1 to %d",
			path, strlen(path), PIPE_NAME_MAX - 20);
		return err_hint(e, "choose a shorter one with --control");
	}
	return 0;
}

static HANDLE open_pipe(const wchar_t *name)
{
	const uint64_t end_ns = os_now_ns() + (uint64_t)PIPE_BUSY_MS * 1000000;
	HANDLE h;

	for (;;) {
		h = CreateFileW(name, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING,
				FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT |
					SECURITY_IDENTIFICATION,
				NULL);
		if (h != INVALID_HANDLE_VALUE || GetLastError() != ERROR_PIPE_BUSY ||
		    os_now_ns() >= end_ns)
			return h;
		Sleep(2); /* the agent is accepting another client */
	}
}

/* The pipe must have been created by the process's user, SYSTEM or an administrator. */
static int judge_pipe(HANDLE h, const char *path, struct err *e)
{
	PSECURITY_DESCRIPTOR sd = NULL;
	TOKEN_USER *us = win_token_user();
	TOKEN_OWNER *usual = win_token_part(TokenOwner); /* default owner of our own objects */
	PSID owner = NULL;
	char who[SID_TEXT];
	int rc = 0;

	if (GetSecurityInfo(h, SE_KERNEL_OBJECT, OWNER_SECURITY_INFORMATION, &owner, NULL, NULL,
			    NULL, &sd) == ERROR_SUCCESS &&
	    owner != NULL && !win_is_trusted(owner, us, true) &&
	    (usual == NULL || !EqualSid(owner, usual->Owner))) {
		win_name_of(who, owner);
		rc = err_set(e, ERR_PERM, "%s: belongs to a process of %s", path, who);
	}
	if (sd != NULL)
		LocalFree(sd);
	free(usual);
	free(us);
	return rc;
}

int os_control_connect(const char *path, struct err *e)
{
	wchar_t name[OS_PATH_MAX];
	DWORD code;
	HANDLE h;
	int fd;

	if (pipe_name(name, path, e) < 0)
		return -1;
	h = open_pipe(name);
	if (h == INVALID_HANDLE_VALUE) {
		code = GetLastError();
		if (code != ERROR_FILE_NOT_FOUND && code != ERROR_PATH_NOT_FOUND)
			return win_failed(e, code, "connect to the agent at", path);
		return os_not_running(e, path, code);
	}
	if (judge_pipe(h, path, e) < 0) {
		CloseHandle(h);
		return -1;
	}
	fd = _open_osfhandle((intptr_t)h, _O_RDWR | _O_BINARY);
	if (fd < 0) {
		CloseHandle(h);
		return err_set(e, ERR_OS, "connect to the agent at %s: no free descriptor", path);
	}
	return fd;
}

static HANDLE handle_of(int fd)
{
	return (HANDLE)_get_osfhandle(fd);
}

/* Waits for the operation on h. ERROR_TIMEOUT: it was cancelled. */
static DWORD finish(HANDLE h, OVERLAPPED *o, BOOL begun, DWORD *n, DWORD timeout_ms)
{
	DWORD code = begun ? ERROR_SUCCESS : GetLastError();
	bool late = false;

	if (!begun && code != ERROR_IO_PENDING)
		return code;
	if (!begun && WaitForSingleObject(o->hEvent, timeout_ms) == WAIT_TIMEOUT) {
		CancelIoEx(h, o);
		late = true;
	}
	/* If the cancellation came too late, there is a result. */
	if (GetOverlappedResult(h, o, n, TRUE))
		return ERROR_SUCCESS;
	code = GetLastError();
	return late && code == ERROR_OPERATION_ABORTED ? ERROR_TIMEOUT : code;
}

static bool is_end(DWORD code)
{
	return code == ERROR_BROKEN_PIPE || code == ERROR_PIPE_NOT_CONNECTED ||
	       code == ERROR_NO_DATA || code == ERROR_HANDLE_EOF;
}

int os_control_send(int fd, const char *data, size_t n, struct err *e)
{
	OVERLAPPED o = {.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL)};
	DWORD code = ERROR_SUCCESS;

	if (o.hEvent == NULL)
		return win_failed(e, GetLastError(), "send to", "the agent");
	while (n > 0 && code == ERROR_SUCCESS) {
		DWORD sent = 0;
		BOOL begun =
			WriteFile(handle_of(fd), data, (DWORD)(n < 65536 ? n : 65536), NULL, &o);

		code = finish(handle_of(fd), &o, begun, &sent, INFINITE);
		data += sent;
		n -= sent;
	}
	CloseHandle(o.hEvent);
	if (code == ERROR_SUCCESS)
		return 0;
	if (is_end(code))
		return os_control_closed(e);
	return win_failed(e, code, "send to", "the agent");
}

long os_control_recv(int fd, char *data, size_t n, int timeout_ms, struct err *e)
{
	OVERLAPPED o = {.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL)};
	DWORD code, got = 0;
	BOOL begun;

	if (o.hEvent == NULL)
		return win_failed(e, GetLastError(), "receive from", "the agent");
	begun = ReadFile(handle_of(fd), data, (DWORD)(n < 65536 ? n : 65536), NULL, &o);
	code = finish(handle_of(fd), &o, begun, &got,
		      timeout_ms < 0 ? INFINITE : (DWORD)timeout_ms);
	CloseHandle(o.hEvent);
	if (code == ERROR_SUCCESS)
		return (long)got;
	if (code == ERROR_TIMEOUT)
		return os_control_late(e, timeout_ms);
	if (is_end(code))
		return 0;
	return win_failed(e, code, "receive from", "the agent");
}

void os_control_close(int fd)
{
	if (fd >= 0)
		_close(fd);
}

/* ---- server --------------------------------------------------------------------------- */

/*
 * One instance of the pipe waits for a client at any time. It is not created by libuv, whose pipes every
 * user may open. A thread of the system's pool notices the client and wakes the loop; everything else runs on
 * the loop's thread.
 */
struct os_control {
	uv_async_t woken;
	os_control_knock *on_client;
	void *arg;
	wchar_t name[OS_PATH_MAX];
	PSECURITY_DESCRIPTOR sd;
	HANDLE waiting; /* the instance; connected when o is signalled */
	HANDLE watch;   /* registered wait of the pool */
	OVERLAPPED o;
	bool closing;
};

static void CALLBACK on_pool(void *arg, BOOLEAN timed_out)
{
	struct os_control *c = arg;

	(void)timed_out;
	uv_async_send(&c->woken);
}

static HANDLE make_instance(struct os_control *c, bool first)
{
	SECURITY_ATTRIBUTES sa = {sizeof sa, c->sd, FALSE};

	return CreateNamedPipeW(c->name,
				PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED |
					(first ? FILE_FLAG_FIRST_PIPE_INSTANCE : 0),
				PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT |
					PIPE_REJECT_REMOTE_CLIENTS,
				PIPE_UNLIMITED_INSTANCES, PIPE_BUFFER, PIPE_BUFFER, 0, &sa);
}

static DWORD await_client(struct os_control *c)
{
	DWORD code;

	ResetEvent(c->o.hEvent);
	if (!ConnectNamedPipe(c->waiting, &c->o)) {
		code = GetLastError();
		if (code == ERROR_PIPE_CONNECTED) /* a client connected already */
			SetEvent(c->o.hEvent);
		else if (code != ERROR_IO_PENDING)
			return code;
	}
	if (!RegisterWaitForSingleObject(&c->watch, c->o.hEvent, on_pool, c, INFINITE,
					 WT_EXECUTEONLYONCE))
		return GetLastError();
	return ERROR_SUCCESS;
}

static void stop_watching(struct os_control *c)
{
	if (c->watch != NULL)
		UnregisterWaitEx(c->watch, INVALID_HANDLE_VALUE);
	c->watch = NULL;
}

static void on_woken(uv_async_t *h)
{
	struct os_control *c = h->data;

	if (c->closing || c->watch == NULL || WaitForSingleObject(c->o.hEvent, 0) != WAIT_OBJECT_0)
		return;
	stop_watching(c);
	c->on_client(c->arg); /* calls os_control_accept() */
	if (c->closing || c->watch != NULL)
		return;
	/* Not accepted. */
	DisconnectNamedPipe(c->waiting);
	await_client(c);
}

int os_control_accept(struct os_control *c, struct uv_pipe_s *client, unsigned *uid)
{
	HANDLE h = c->waiting;
	int fd;

	*uid = 0;
	c->waiting = make_instance(c, false);
	if (c->waiting == INVALID_HANDLE_VALUE) {
		c->waiting = h; /* on_woken() disconnects it and waits again */
		return UV_ENOMEM;
	}
	await_client(c);
	fd = _open_osfhandle((intptr_t)h, _O_RDWR | _O_BINARY);
	if (fd < 0) {
		CloseHandle(h);
		return UV_EMFILE;
	}
	return uv_pipe_open(client, fd);
}

static void on_control_closed(uv_handle_t *h)
{
	struct os_control *c = h->data;

	if (c->o.hEvent != NULL)
		CloseHandle(c->o.hEvent);
	LocalFree(c->sd);
	free(c);
}

int os_control_listen(struct os_control **out, struct uv_loop_s *loop, const char *path,
		      os_control_knock *on_client, void *arg, struct err *e)
{
	struct os_control *c;
	int fd;

	*out = NULL;
	/* FILE_FLAG_FIRST_PIPE_INSTANCE would fail too, but with "access denied". */
	fd = os_control_connect(path, NULL);
	if (fd >= 0) {
		os_control_close(fd);
		return os_already_running(e, path);
	}
	c = calloc(1, sizeof *c);
	if (c == NULL)
		return err_set(e, ERR_OS, "no memory for the control pipe");
	c->on_client = on_client;
	c->arg = arg;
	c->waiting = INVALID_HANDLE_VALUE;
	c->woken.data = c;
	if (pipe_name(c->name, path, e) < 0 || uv_async_init(loop, &c->woken, on_woken) != 0) {
		free(c);
		return -1;
	}
	c->sd = win_ours_alone("GA");
	c->o.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
	if (c->sd != NULL && c->o.hEvent != NULL)
		c->waiting = make_instance(c, true);
	if (c->waiting == INVALID_HANDLE_VALUE || await_client(c) != ERROR_SUCCESS) {
		win_failed(e, GetLastError(), "control pipe", path);
		os_control_unlisten(c);
		return -1;
	}
	*out = c;
	return 0;
}

void os_control_unlisten(struct os_control *c)
{
	if (c == NULL || c->closing)
		return;
	c->closing = true;
	if (c->waiting != INVALID_HANDLE_VALUE) {
		DWORD n;

		CancelIoEx(c->waiting, &c->o);
		stop_watching(c);
		GetOverlappedResult(c->waiting, &c->o, &n, TRUE); /* the system uses o until then */
		CloseHandle(c->waiting);
	}
	uv_close((uv_handle_t *)&c->woken, on_control_closed);
}
