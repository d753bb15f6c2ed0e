/*
 * agent/os/os_win.c - Windows: files and whom to trust with them, the control pipe, the process
 * itself.
 *
 * Trusted with what is ours: the user whom this process runs as, SYSTEM, Administrators; for what
 * is no secret, TrustedInstaller too. Names are UTF-8 here and UTF-16 in the calls.
 */
#include <winsock2.h>
#include <windows.h>

#include <aclapi.h>
#include <io.h>
#include <malloc.h>
#include <sddl.h>
#include <shlobj.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <fcntl.h>

#include "agent/os/os.h"
#include "agent/os/service.h"
#include "crypto/secret.h"

#define SID_TEXT 192
#define SDDL_MAX (2 * SID_TEXT + 128)
#define PIPE_PREFIX "\\\\.\\pipe\\"
#define PIPE_NAME_MAX 240 /* the system takes 256 */
#define PIPE_BUFFER 65536
#define PIPE_BUSY_MS 2000 /* all instances taken: for so long somebody else is being let in */

#ifndef FILE_READ_DATA
#define FILE_READ_DATA 1
#endif

static const char hint_rights[] = "run it elevated: as administrator";
static const char hint_trust[] =
	"take the others' rights away: icacls FILE /inheritance:r /grant:r *S-1-5-18:F "
	"*S-1-5-32-544:F";

/* A Win32 code as an error: the class by what the user can do about it. */
static int failed(struct err *e, DWORD code, const char *what, const char *path)
{
	enum err_code class = ERR_OS;
	const char *hint = NULL;
	wchar_t wide[256];
	char text[512] = "";
	DWORD n;

	switch (code) {
	case ERROR_ACCESS_DENIED:
	case ERROR_PRIVILEGE_NOT_HELD:
		class = ERR_PERM;
		hint = hint_rights;
		break;
	case ERROR_WRITE_PROTECT:
		class = ERR_PERM;
		break;
	case ERROR_FILE_NOT_FOUND:
	case ERROR_PATH_NOT_FOUND:
	case ERROR_INVALID_NAME:
	case ERROR_BAD_PATHNAME:
	case ERROR_DIRECTORY:
	case ERROR_FILENAME_EXCED_RANGE:
		class = ERR_USAGE;
		break;
	default:
		break;
	}
	n = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, code,
			   0, wide, sizeof wide / sizeof wide[0], NULL);
	while (n > 0 && (wide[n - 1] <= L' ' || wide[n - 1] == L'.'))
		n--;
	n = (DWORD)WideCharToMultiByte(CP_UTF8, 0, wide, (int)n, text, sizeof text - 1, NULL, NULL);
	text[n] = '\0';
	if (n == 0)
		snprintf(text, sizeof text, "error %lu", (unsigned long)code);
	err_set(e, class, "%s %s: %s", what, path, text);
	if (e != NULL) {
		e->os = code;
		e->hint = hint;
	}
	return -1;
}

/* ---- names ------------------------------------------------------------------------------- */

static bool to_wide(wchar_t out[OS_PATH_MAX], const char *path)
{
	return path[0] != '\0' &&
	       MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, out, OS_PATH_MAX) > 0;
}

static bool to_utf8(char *out, size_t size, const wchar_t *wide)
{
	if (WideCharToMultiByte(CP_UTF8, 0, wide, -1, out, (int)size, NULL, NULL) > 0)
		return true;
	out[0] = '\0';
	return false;
}

static bool is_slash(char c)
{
	return c == '/' || c == '\\';
}

/* "C:\x", "C:/x", "\x", "\\server\share". */
static bool is_absolute(const char *path)
{
	return is_slash(path[0]) || (path[0] != '\0' && path[1] == ':');
}

int os_path_join(char out[OS_PATH_MAX], const char *dir, const char *rel, struct err *e)
{
	const size_t d = strlen(dir);
	int n;

	if (is_absolute(rel) || d == 0)
		n = snprintf(out, OS_PATH_MAX, "%s", rel);
	else
		n = snprintf(out, OS_PATH_MAX, "%s%s%s", dir, is_slash(dir[d - 1]) ? "" : "\\",
			     rel);
	if (n < 0 || n >= OS_PATH_MAX) {
		out[0] = '\0';
		return err_set(e, ERR_USAGE, "path too long: %.64s...", rel);
	}
	return 0;
}

void os_dir_of(char out[OS_PATH_MAX], const char *path)
{
	size_t n = strlen(path);

	while (n > 0 && !is_slash(path[n - 1]))
		n--;
	if (n == 0) {
		snprintf(out, OS_PATH_MAX, ".");
		return;
	}
	if (n > 1 && path[n - 2] != ':') /* "C:\" keeps its own */
		n--;
	if (n >= OS_PATH_MAX)
		n = OS_PATH_MAX - 1; /* such a path opens nowhere */
	memcpy(out, path, n);
	out[n] = '\0';
}

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
		if (out[i] == NULL || !to_utf8(out[i], size, wide[i]))
			return argv;
	}
	LocalFree(wide);
	return out != NULL ? out : argv;
}

void os_args_become(char **argv)
{
	(void)argv; /* nobody starts it again */
}

/* ---- who we are -------------------------------------------------------------------------- */

static bool is_elevated(void)
{
	SID_IDENTIFIER_AUTHORITY nt = {SECURITY_NT_AUTHORITY};
	BOOL member = FALSE;
	PSID admins;

	if (!AllocateAndInitializeSid(&nt, 2, SECURITY_BUILTIN_DOMAIN_RID, DOMAIN_ALIAS_RID_ADMINS,
				      0, 0, 0, 0, 0, 0, &admins))
		return false;
	if (!CheckTokenMembership(NULL, admins, &member))
		member = FALSE;
	FreeSid(admins);
	return member;
}

/* A part of this process's token; freed by free(). */
static void *token_part(TOKEN_INFORMATION_CLASS class)
{
	void *part = NULL;
	HANDLE token;
	DWORD size = 0;

	if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token))
		return NULL;
	GetTokenInformation(token, class, NULL, 0, &size);
	if (size > 0)
		part = malloc(size);
	if (part != NULL && !GetTokenInformation(token, class, part, size, &size)) {
		free(part);
		part = NULL;
	}
	CloseHandle(token);
	return part;
}

static TOKEN_USER *token_user(void)
{
	return token_part(TokenUser);
}

static void user_sid(char text[SID_TEXT])
{
	TOKEN_USER *user = token_user();
	char *s = NULL;

	text[0] = '\0';
	if (user != NULL && ConvertSidToStringSidA(user->User.Sid, &s)) {
		snprintf(text, SID_TEXT, "%s", s);
		LocalFree(s);
	}
	free(user);
}

/* Rights of SYSTEM, Administrators and us, and of nobody else: "FA" for files, "GA" for pipes. Freed
 * by LocalFree(). Logons of the kind "network" are not denied: those by ssh are such, and clients on
 * other machines are refused by the pipe itself. */
static PSECURITY_DESCRIPTOR ours_alone(const char *rights)
{
	PSECURITY_DESCRIPTOR sd = NULL;
	char sddl[SDDL_MAX], sid[SID_TEXT], user[SID_TEXT + 16] = "";

	user_sid(sid);
	if (sid[0] != '\0')
		snprintf(user, sizeof user, "(A;;%s;;;%s)", rights, sid);
	snprintf(sddl, sizeof sddl, "D:P(A;;%s;;;SY)(A;;%s;;;BA)%s", rights, rights, user);
	if (!ConvertStringSecurityDescriptorToSecurityDescriptorA(sddl, SDDL_REVISION_1, &sd, NULL))
		return NULL;
	return sd;
}

/* ---- the process ------------------------------------------------------------------------- */

static UINT old_output, old_input; /* of the console, which is not ours alone */

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
	_setmode(1, _O_BINARY); /* a line ends the same on every system */
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
	return false; /* a page at a time, and few of them: VirtualLock() does not hold what we need */
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
	/* The console's handler of libuv goes with the process. */
}

/* ---- clocks ------------------------------------------------------------------------------ */

uint64_t os_now_ns(void)
{
	static LARGE_INTEGER per_s; /* never changes while the system runs */
	LARGE_INTEGER t;

	if (per_s.QuadPart == 0)
		QueryPerformanceFrequency(&per_s);
	QueryPerformanceCounter(&t); /* goes on during sleep (documented) */
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

/* ---- whom to trust with a file ----------------------------------------------------------- */

#define RIGHTS_WRITE                                                                             \
	(FILE_WRITE_DATA | FILE_APPEND_DATA | FILE_WRITE_EA | DELETE | WRITE_DAC | WRITE_OWNER | \
	 GENERIC_WRITE | GENERIC_ALL)
#define RIGHTS_READ (FILE_READ_DATA | GENERIC_READ | MAXIMUM_ALLOWED)
#define RIGHTS_REPLACE (FILE_DELETE_CHILD | WRITE_DAC | WRITE_OWNER | GENERIC_ALL)

static bool is_trusted(PSID sid, const TOKEN_USER *us, bool secret)
{
	static const struct {
		const char *sid;
		bool only_read; /* trusted with what is no secret */
	} known[] = {
		{"S-1-5-18", false},     /* SYSTEM */
		{"S-1-5-32-544", false}, /* Administrators */
		{"S-1-3-4", false},      /* OWNER RIGHTS: the owner is judged by himself */
		{"S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464", true},
	};
	char *text = NULL;
	bool found = false;

	if (us != NULL && EqualSid(sid, us->User.Sid))
		return true;
	if (!ConvertSidToStringSidA(sid, &text))
		return false;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		found = found ||
			(strcmp(text, known[i].sid) == 0 && !(secret && known[i].only_read));
	LocalFree(text);
	return found;
}

/* "Everyone", or the SID when it has no name. */
static void name_of(char out[SID_TEXT], PSID sid)
{
	wchar_t name[128], domain[128];
	DWORD n = 128, d = 128;
	SID_NAME_USE use;
	char *text = NULL;

	if (LookupAccountSidW(NULL, sid, name, &n, domain, &d, &use) &&
	    to_utf8(out, SID_TEXT, name))
		return;
	snprintf(out, SID_TEXT, "somebody");
	if (ConvertSidToStringSidA(sid, &text)) {
		snprintf(out, SID_TEXT, "%s", text);
		LocalFree(text);
	}
}

/* Looks for an entry that gives one of the rights to somebody else: its name, and true. */
static bool others_may(PACL acl, DWORD rights, const TOKEN_USER *us, bool secret,
		       char who[SID_TEXT])
{
	if (acl == NULL) { /* no list at all: everybody may everything */
		snprintf(who, SID_TEXT, "everybody");
		return true;
	}
	for (DWORD i = 0; i < acl->AceCount; i++) {
		ACCESS_ALLOWED_ACE *ace;
		PSID sid;

		if (!GetAce(acl, i, (void **)&ace) || (ace->Header.AceFlags & INHERIT_ONLY_ACE) ||
		    (ace->Mask & rights) == 0)
			continue;
		/* Denials only take away: what they leave is judged as if they were not there. */
		if (ace->Header.AceType == ACCESS_DENIED_ACE_TYPE ||
		    ace->Header.AceType == ACCESS_DENIED_OBJECT_ACE_TYPE ||
		    ace->Header.AceType == ACCESS_DENIED_CALLBACK_ACE_TYPE)
			continue;
		sid = (PSID)&ace->SidStart;
		if (ace->Header.AceType == ACCESS_ALLOWED_ACE_TYPE && is_trusted(sid, us, secret))
			continue;
		if (ace->Header.AceType == ACCESS_ALLOWED_ACE_TYPE)
			name_of(who, sid);
		else
			snprintf(who, SID_TEXT, "an entry of a kind that is not judged here");
		return true;
	}
	return false;
}

static int judge_security(HANDLE h, const char *path, bool is_dir, enum os_trust trust,
			  struct err *e)
{
	const bool secret = trust == OS_SECRET;
	const DWORD rights = is_dir   ? RIGHTS_REPLACE
			     : secret ? RIGHTS_READ | RIGHTS_WRITE
				      : RIGHTS_WRITE;
	PSECURITY_DESCRIPTOR sd = NULL;
	TOKEN_USER *us = token_user();
	char who[SID_TEXT];
	PSID owner = NULL;
	PACL acl = NULL;
	DWORD code;
	int rc = 0;

	code = GetSecurityInfo(h, SE_FILE_OBJECT,
			       OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION, &owner, NULL,
			       &acl, NULL, &sd);
	if (code != ERROR_SUCCESS) {
		rc = failed(e, code, "look at the rights of", path);
	} else if (owner == NULL || !is_trusted(owner, us, secret)) {
		name_of(who, owner);
		err_set(e, ERR_PERM, "%s: owned by %s, wanted us or Administrators", path, who);
		rc = err_hint(e, "take it over: takeown /a /f FILE");
	} else if (others_may(acl, rights, us, secret, who)) {
		err_set(e, ERR_PERM, "%s: %s may %s", path, who,
			is_dir   ? "replace files in it"
			: secret ? "read or write a secret"
				 : "write it");
		rc = err_hint(e, hint_trust);
	}
	if (sd != NULL)
		LocalFree(sd);
	free(us);
	return rc;
}

/* Who can replace the file decides as much as who can write it. */
static int judge_dir_of(const char *path, enum os_trust trust, struct err *e)
{
	char dir[OS_PATH_MAX];
	wchar_t wide[OS_PATH_MAX];
	HANDLE h;
	int rc;

	os_dir_of(dir, path);
	if (!to_wide(wide, dir))
		return failed(e, ERROR_INVALID_NAME, "look at", dir);
	h = CreateFileW(wide, READ_CONTROL, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
			NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
	if (h == INVALID_HANDLE_VALUE)
		return failed(e, GetLastError(), "look at", dir);
	rc = judge_security(h, dir, true, trust == OS_SECRET ? OS_CONFIG : trust, e);
	CloseHandle(h);
	return rc;
}

/* ---- files ------------------------------------------------------------------------------- */

static bool is_dir(const char *path)
{
	wchar_t wide[OS_PATH_MAX];
	DWORD a = to_wide(wide, path) ? GetFileAttributesW(wide) : INVALID_FILE_ATTRIBUTES;

	return a != INVALID_FILE_ATTRIBUTES && (a & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

bool os_exists(const char *path)
{
	wchar_t wide[OS_PATH_MAX];

	return to_wide(wide, path) && GetFileAttributesW(wide) != INVALID_FILE_ATTRIBUTES;
}

/* Reads to the end; room for one byte too many shows a file that grew, one for the NUL. */
static int slurp(char **text, size_t *len, HANDLE h, size_t expected, const char *path,
		 struct err *e)
{
	const size_t size = expected + 2;
	size_t have = 0;
	char *buf = malloc(size);

	if (buf == NULL)
		return err_set(e, ERR_OS, "read %s: no memory", path);
	while (have <= expected) {
		DWORD n = 0;

		if (!ReadFile(h, buf + have, (DWORD)(size - 1 - have), &n, NULL)) {
			failed(e, GetLastError(), "read", path);
			goto free_buf;
		}
		if (n == 0)
			break;
		have += n;
	}
	if (have > expected) {
		err_set(e, ERR_USAGE, "%s: changes while it is read", path);
		goto free_buf;
	}
	buf[have] = '\0';
	*text = buf;
	*len = have;
	return 0;

free_buf:
	os_free_text(buf, size);
	return -1;
}

static int read_open(char **text, size_t *len, HANDLE h, const char *path, enum os_trust trust,
		     struct err *e)
{
	LARGE_INTEGER size;

	if (GetFileType(h) != FILE_TYPE_DISK)
		return err_set(e, ERR_USAGE, "%s: not a regular file", path);
	if (!GetFileSizeEx(h, &size))
		return failed(e, GetLastError(), "look at", path);
	if (size.QuadPart > OS_FILE_MAX)
		return err_set(e, ERR_USAGE, "%s: longer than %d bytes", path, OS_FILE_MAX);
	if (trust != OS_ANYONE &&
	    (judge_security(h, path, false, trust, e) < 0 || judge_dir_of(path, trust, e) < 0))
		return -1;
	return slurp(text, len, h, (size_t)size.QuadPart, path, e);
}

int os_read_file(char **text, size_t *len, const char *path, enum os_trust trust, struct err *e)
{
	wchar_t wide[OS_PATH_MAX];
	HANDLE h;
	int rc;

	*text = NULL;
	*len = 0;
	if (!to_wide(wide, path))
		return failed(e, ERROR_INVALID_NAME, "open", path);
	if (is_dir(path))
		return err_set(e, ERR_USAGE, "%s: not a regular file", path);
	/* Who sits behind a pipe of that name learns who we are, but cannot act as us. */
	h = CreateFileW(wide, GENERIC_READ | READ_CONTROL, FILE_SHARE_READ | FILE_SHARE_DELETE,
			NULL, OPEN_EXISTING, SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, NULL);
	if (h == INVALID_HANDLE_VALUE)
		return failed(e, GetLastError(), "open", path);
	rc = read_open(text, len, h, path, trust, e);
	CloseHandle(h);
	return rc;
}

void os_free_text(char *text, size_t len)
{
	if (text == NULL)
		return;
	wipe(text, len);
	free(text);
}

static DWORD write_whole(HANDLE h, const char *text, size_t len)
{
	while (len > 0) {
		DWORD n = 0;

		if (!WriteFile(h, text, (DWORD)(len < 65536 ? len : 65536), &n, NULL))
			return GetLastError();
		text += n;
		len -= n;
	}
	return FlushFileBuffers(h) ? ERROR_SUCCESS : GetLastError();
}

/* A new file beside path; a secret one is nobody else's from the first moment on. */
static HANDLE make_beside(wchar_t tmp[OS_PATH_MAX], const char *path, bool secret)
{
	PSECURITY_DESCRIPTOR sd = secret ? ours_alone("FA") : NULL;
	SECURITY_ATTRIBUTES sa = {sizeof sa, sd, FALSE};
	HANDLE h = INVALID_HANDLE_VALUE;
	char name[OS_PATH_MAX];
	DWORD code;

	if (secret && sd == NULL)
		return h;
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "%s.%lx%02u", path,
			 (unsigned long)GetCurrentProcessId(), i);
		if (!to_wide(tmp, name)) {
			SetLastError(ERROR_INVALID_NAME);
			break;
		}
		h = CreateFileW(tmp, GENERIC_WRITE | DELETE, 0, secret ? &sa : NULL, CREATE_NEW,
				FILE_ATTRIBUTE_NORMAL, NULL);
		if (h != INVALID_HANDLE_VALUE || GetLastError() != ERROR_FILE_EXISTS)
			break;
	}
	code = GetLastError();
	if (sd != NULL)
		LocalFree(sd);
	SetLastError(code);
	return h;
}

int os_write_file(const char *path, const char *text, size_t len, bool secret, bool exclusive,
		  struct err *e)
{
	wchar_t to[OS_PATH_MAX], tmp[OS_PATH_MAX];
	DWORD code;
	HANDLE h;

	if (strlen(path) + 16 > OS_PATH_MAX || !to_wide(to, path))
		return failed(e, ERROR_INVALID_NAME, "write", path);
	if (exclusive && os_exists(path))
		return err_set(e, ERR_USAGE, "%s: is there already", path);
	if (is_dir(path))
		return err_set(e, ERR_USAGE, "%s: not a regular file", path);
	h = make_beside(tmp, path, secret);
	if (h == INVALID_HANDLE_VALUE)
		return failed(e, GetLastError(), "write", path);
	code = write_whole(h, text, len);
	CloseHandle(h);
	if (code == ERROR_SUCCESS &&
	    !MoveFileExW(tmp, to,
			 MOVEFILE_WRITE_THROUGH | (exclusive ? 0 : MOVEFILE_REPLACE_EXISTING)))
		code = GetLastError();
	if (code == ERROR_SUCCESS)
		return 0;
	DeleteFileW(tmp);
	if (code == ERROR_ALREADY_EXISTS || code == ERROR_FILE_EXISTS)
		return err_set(e, ERR_USAGE, "%s: is there already", path);
	return failed(e, code, "write", path);
}

int os_remove_file(const char *path, struct err *e)
{
	wchar_t wide[OS_PATH_MAX];
	DWORD code;

	if (!to_wide(wide, path))
		return failed(e, ERROR_INVALID_NAME, "remove", path);
	if (DeleteFileW(wide))
		return 0;
	code = GetLastError();
	if (code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND)
		return 0;
	return failed(e, code, "remove", path);
}

/* One level; ours alone, or with the rights of what it stands in. */
static int make_one(const char *path, bool private, struct err *e)
{
	PSECURITY_DESCRIPTOR sd = NULL;
	SECURITY_ATTRIBUTES sa = {sizeof sa, NULL, FALSE};
	wchar_t wide[OS_PATH_MAX];
	DWORD code = ERROR_SUCCESS;

	if (!to_wide(wide, path))
		return failed(e, ERROR_INVALID_NAME, "make the directory", path);
	if (private) {
		/* OI, CI: what is made in it inherits. */
		sd = ours_alone("FA");
		sa.lpSecurityDescriptor = sd;
	}
	if (!CreateDirectoryW(wide, private && sd != NULL ? &sa : NULL))
		code = GetLastError();
	if (sd != NULL)
		LocalFree(sd);
	if (code == ERROR_SUCCESS || is_dir(path))
		return 0;
	if (code == ERROR_ALREADY_EXISTS)
		return err_set(e, ERR_USAGE, "%s: is there, but is not a directory", path);
	return failed(e, code, "make the directory", path);
}

int os_make_dir(const char *path, struct err *e)
{
	char part[OS_PATH_MAX];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof part)
		return failed(e, ERROR_INVALID_NAME, "make the directory", path);
	memcpy(part, path, n + 1);
	while (n > 1 && is_slash(part[n - 1]) && part[n - 2] != ':')
		part[--n] = '\0';
	for (size_t i = 1; i < n; i++) {
		char c = part[i];
		int made;

		if (!is_slash(c) || part[i - 1] == ':' || is_slash(part[i - 1]))
			continue;
		part[i] = '\0';
		made = is_dir(part) ? 0 : make_one(part, false, e);
		part[i] = c;
		if (made < 0)
			return -1;
	}
	return make_one(part, true, e);
}

/* ---- where things are -------------------------------------------------------------------- */

void os_config_dir(char out[OS_PATH_MAX])
{
	const bool elevated = is_elevated();
	wchar_t *wide = NULL;
	char base[OS_PATH_MAX];

	snprintf(base, sizeof base, "%s", "C:\\ProgramData");
	if (SHGetKnownFolderPath(elevated ? &FOLDERID_ProgramData : &FOLDERID_LocalAppData, 0, NULL,
				 &wide) == S_OK)
		to_utf8(base, sizeof base, wide);
	CoTaskMemFree(wide);
	snprintf(out, OS_PATH_MAX, "%.*s\\sapair", OS_PATH_MAX - 16, base);
}

void os_control_path(char out[OS_PATH_MAX])
{
	char sid[SID_TEXT];

	user_sid(sid);
	if (is_elevated() || sid[0] == '\0')
		snprintf(out, OS_PATH_MAX, PIPE_PREFIX "sapair");
	else
		snprintf(out, OS_PATH_MAX, PIPE_PREFIX "sapair-%s", sid);
}

/* ---- the control pipe: client ------------------------------------------------------------ */

/* A path that is no pipe's name ("C:\lab\a.sock") stands for one that is made of it, so that the
 * same commands work on every system. */
static int pipe_name(wchar_t out[OS_PATH_MAX], const char *path, struct err *e)
{
	char name[OS_PATH_MAX + sizeof PIPE_PREFIX + 16];
	size_t from = sizeof PIPE_PREFIX - 1;

	if (strncmp(path, PIPE_PREFIX, from) == 0) {
		snprintf(name, sizeof name, "%s", path);
	} else {
		snprintf(name, sizeof name, PIPE_PREFIX "sapair-%s", path);
		for (char *c = name + from; *c != '\0'; c++)
			if (is_slash(*c) || *c == ':')
				*c = '_';
	}
	if (path[0] == '\0' || strlen(name) <= from || strlen(name) > PIPE_NAME_MAX ||
	    !to_wide(out, name)) {
		err_set(e, ERR_USAGE, "control pipe %s: a name of %zu bytes; 1 to %d can be used",
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
		Sleep(2); /* the agent is letting somebody else in */
	}
}

/* Nobody but us, SYSTEM and administrators may have made the pipe that we talk to. */
static int judge_pipe(HANDLE h, const char *path, struct err *e)
{
	PSECURITY_DESCRIPTOR sd = NULL;
	TOKEN_USER *us = token_user();
	TOKEN_OWNER *usual = token_part(TokenOwner); /* of what we make ourselves */
	PSID owner = NULL;
	char who[SID_TEXT];
	int rc = 0;

	if (GetSecurityInfo(h, SE_KERNEL_OBJECT, OWNER_SECURITY_INFORMATION, &owner, NULL, NULL,
			    NULL, &sd) == ERROR_SUCCESS &&
	    owner != NULL && !is_trusted(owner, us, true) &&
	    (usual == NULL || !EqualSid(owner, usual->Owner))) {
		name_of(who, owner);
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
			return failed(e, code, "connect to the agent at", path);
		err_set(e, ERR_DOWN, "no agent is running: nobody answers at %s", path);
		if (e != NULL)
			e->os = code;
		return err_hint(e, "start it with \"sapair run\", or say where it is: --control");
	}
	if (judge_pipe(h, path, e) < 0) {
		CloseHandle(h);
		return -1;
	}
	fd = _open_osfhandle((intptr_t)h, _O_RDWR | _O_BINARY);
	if (fd < 0) {
		CloseHandle(h);
		return err_set(e, ERR_OS, "connect to the agent at %s: no descriptor left", path);
	}
	return fd;
}

static HANDLE handle_of(int fd)
{
	return (HANDLE)_get_osfhandle(fd);
}

/* Waits for what was begun on h. ERROR_TIMEOUT: it was called off. */
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
	/* Cancelling may have come too late: then there is a result. */
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
		return failed(e, GetLastError(), "send to", "the agent");
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
		return err_set(e, ERR_DOWN, "the agent closed the control connection");
	return failed(e, code, "send to", "the agent");
}

long os_control_recv(int fd, char *data, size_t n, int timeout_ms, struct err *e)
{
	OVERLAPPED o = {.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL)};
	DWORD code, got = 0;
	BOOL begun;

	if (o.hEvent == NULL)
		return failed(e, GetLastError(), "receive from", "the agent");
	begun = ReadFile(handle_of(fd), data, (DWORD)(n < 65536 ? n : 65536), NULL, &o);
	code = finish(handle_of(fd), &o, begun, &got,
		      timeout_ms < 0 ? INFINITE : (DWORD)timeout_ms);
	CloseHandle(o.hEvent);
	if (code == ERROR_SUCCESS)
		return (long)got;
	if (code == ERROR_TIMEOUT)
		return err_set(e, ERR_TIMEOUT, "no reply from the agent in %d ms", timeout_ms);
	if (is_end(code))
		return 0;
	return failed(e, code, "receive from", "the agent");
}

void os_control_close(int fd)
{
	if (fd >= 0)
		_close(fd);
}

/* ---- the control pipe: server ------------------------------------------------------------ */

/*
 * One instance waits for a client at any time: we make it ourselves, since the loop's library makes
 * pipes that everybody may open. A thread of the system's pool sees the client come and wakes the
 * loop; all else happens on the loop's thread.
 */
struct os_control {
	uv_async_t woken;
	os_control_knock *on_client;
	void *arg;
	wchar_t name[OS_PATH_MAX];
	PSECURITY_DESCRIPTOR sd;
	HANDLE waiting; /* the instance; connected when o says so */
	HANDLE watch;   /* of the pool */
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
		if (code == ERROR_PIPE_CONNECTED) /* between making and waiting */
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
	c->on_client(c->arg); /* takes it by os_control_accept() */
	if (c->closing || c->watch != NULL)
		return;
	/* Not taken. */
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
		c->waiting = h; /* lets this one go, then waits on it again */
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
	/* The first-instance flag would say so, too, but as "access denied". */
	fd = os_control_connect(path, NULL);
	if (fd >= 0) {
		os_control_close(fd);
		err_set(e, ERR_USAGE, "an agent is running already: it answers at %s", path);
		return err_hint(e, "stop it first, or give this one another --control");
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
	c->sd = ours_alone("GA");
	c->o.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
	if (c->sd != NULL && c->o.hEvent != NULL)
		c->waiting = make_instance(c, true);
	if (c->waiting == INVALID_HANDLE_VALUE || await_client(c) != ERROR_SUCCESS) {
		failed(e, GetLastError(), "control pipe", path);
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
		GetOverlappedResult(c->waiting, &c->o, &n, TRUE); /* o is the system's until then */
		CloseHandle(c->waiting);
	}
	uv_close((uv_handle_t *)&c->woken, on_control_closed);
}

long os_udp_more(struct uv_udp_s *udp, void *data, size_t room, struct sockaddr_storage *from)
{
	(void)udp, (void)data, (void)room, (void)from;
	return -1; /* reads are begun ahead here, one at a time: they are handed out as they end */
}

/* ---- terminal, host, service manager ----------------------------------------------------- */

bool os_is_terminal(int fd)
{
	const char *no_color = getenv("NO_COLOR");
	HANDLE h = (HANDLE)_get_osfhandle(fd);
	DWORD mode;

	if (no_color != NULL && no_color[0] != '\0')
		return false;
	return h != INVALID_HANDLE_VALUE && GetConsoleMode(h, &mode) &&
	       SetConsoleMode(h,
			      mode | ENABLE_PROCESSED_OUTPUT | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
}

void os_host_name(char *out, size_t size)
{
	wchar_t wide[256];
	DWORD len = sizeof wide / sizeof wide[0];
	size_t n = 0;

	if (size == 0)
		return;
	if (!GetComputerNameExW(ComputerNameDnsHostname, wide, &len))
		wide[0] = L'\0';
	for (const wchar_t *c = wide; *c != L'\0' && *c != L'.' && n + 1 < size; c++) {
		wchar_t low = *c >= L'A' && *c <= L'Z' ? (wchar_t)(*c - L'A' + L'a') : *c;
		bool fits = (low >= L'a' && low <= L'z') || (low >= L'0' && low <= L'9');

		if (fits || (n > 0 && (low == L'-' || low == L'_')))
			out[n++] = (char)low;
	}
	out[n] = '\0';
	if (n == 0)
		snprintf(out, size, "host");
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
