/*
 * agent/os/windows/file.c - Windows: files and their permissions.
 *
 * Trusted are the user of this process, SYSTEM, Administrators, and, except with secrets, TrustedInstaller.
 * Names are UTF-8 here and UTF-16 in the system's calls.
 */
#include "agent/os/windows/inner.h"

#include <aclapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/os/common.h"

#ifndef FILE_READ_DATA
#define FILE_READ_DATA 1
#endif

static const char hint_trust[] =
	"remove the permissions of others: icacls FILE /inheritance:r /grant:r *S-1-5-18:F "
	"*S-1-5-32-544:F";

/* ---- permissions ----------------------------------------------------------------------- */

#define RIGHTS_WRITE                                                                             \
	(FILE_WRITE_DATA | FILE_APPEND_DATA | FILE_WRITE_EA | DELETE | WRITE_DAC | WRITE_OWNER | \
	 GENERIC_WRITE | GENERIC_ALL)
#define RIGHTS_READ (FILE_READ_DATA | GENERIC_READ | MAXIMUM_ALLOWED)
#define RIGHTS_REPLACE (FILE_DELETE_CHILD | WRITE_DAC | WRITE_OWNER | GENERIC_ALL)

/* True if an entry gives one of the rights to an untrusted account; who is its name. */
static bool others_may(PACL acl, DWORD rights, const TOKEN_USER *us, bool secret,
		       char who[SID_TEXT])
{
	if (acl == NULL) { /* no list: everybody has every right */
		snprintf(who, SID_TEXT, "everybody");
		return true;
	}
	for (DWORD i = 0; i < acl->AceCount; i++) {
		ACCESS_ALLOWED_ACE *ace;
		PSID sid;

		if (!GetAce(acl, i, (void **)&ace) || (ace->Header.AceFlags & INHERIT_ONLY_ACE) ||
		    (ace->Mask & rights) == 0)
			continue;
		/* Denials only remove rights: ignoring them is safe. */
		if (ace->Header.AceType == ACCESS_DENIED_ACE_TYPE ||
		    ace->Header.AceType == ACCESS_DENIED_OBJECT_ACE_TYPE ||
		    ace->Header.AceType == ACCESS_DENIED_CALLBACK_ACE_TYPE)
			continue;
		sid = (PSID)&ace->SidStart;
		if (ace->Header.AceType == ACCESS_ALLOWED_ACE_TYPE &&
		    win_is_trusted(sid, us, secret))
			continue;
		if (ace->Header.AceType == ACCESS_ALLOWED_ACE_TYPE)
			win_name_of(who, sid);
		else
			snprintf(who, SID_TEXT, "an entry of an unsupported type");
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
	TOKEN_USER *us = win_token_user();
	char who[SID_TEXT];
	PSID owner = NULL;
	PACL acl = NULL;
	DWORD code;
	int rc = 0;

	code = GetSecurityInfo(h, SE_FILE_OBJECT,
			       OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION, &owner, NULL,
			       &acl, NULL, &sd);
	if (code != ERROR_SUCCESS) {
		rc = win_failed(e, code, "read the permissions of", path);
	} else if (owner == NULL || !win_is_trusted(owner, us, secret)) {
		win_name_of(who, owner);
		err_set(e, ERR_PERM, "%s: owned by %s, must be the agent's user or Administrators",
			path, who);
		rc = err_hint(e, "takeown /a /f FILE");
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

/* Permission to replace the file is as good as permission to write it. */
static int judge_dir_of(const char *path, enum os_trust trust, struct err *e)
{
	char dir[OS_PATH_MAX];
	wchar_t wide[OS_PATH_MAX];
	HANDLE h;
	int rc;

	os_dir_of(dir, path);
	if (!win_wide(wide, dir))
		return win_failed(e, ERROR_INVALID_NAME, "open", dir);
	h = CreateFileW(wide, READ_CONTROL, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
			NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
	if (h == INVALID_HANDLE_VALUE)
		return win_failed(e, GetLastError(), "open", dir);
	rc = judge_security(h, dir, true, trust == OS_SECRET ? OS_CONFIG : trust, e);
	CloseHandle(h);
	return rc;
}

/* ---- files ---------------------------------------------------------------------------- */

static bool is_dir(const char *path)
{
	wchar_t wide[OS_PATH_MAX];
	DWORD a = win_wide(wide, path) ? GetFileAttributesW(wide) : INVALID_FILE_ATTRIBUTES;

	return a != INVALID_FILE_ATTRIBUTES && (a & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

bool os_exists(const char *path)
{
	wchar_t wide[OS_PATH_MAX];

	return win_wide(wide, path) && GetFileAttributesW(wide) != INVALID_FILE_ATTRIBUTES;
}

static long read_some(void *file, char *data, size_t n, const char *path, struct err *e)
{
	DWORD got = 0;

	if (!ReadFile((HANDLE)file, data, (DWORD)n, &got, NULL))
		return win_failed(e, GetLastError(), "read", path);
	return (long)got;
}

static int read_open(char **text, size_t *len, HANDLE h, const char *path, enum os_trust trust,
		     struct err *e)
{
	LARGE_INTEGER size;

	if (GetFileType(h) != FILE_TYPE_DISK)
		return err_set(e, ERR_USAGE, "%s: not a regular file", path);
	if (!GetFileSizeEx(h, &size))
		return win_failed(e, GetLastError(), "get the size of", path);
	if (size.QuadPart > OS_FILE_MAX)
		return err_set(e, ERR_USAGE, "%s: longer than %d bytes", path, OS_FILE_MAX);
	if (trust != OS_ANYONE &&
	    (judge_security(h, path, false, trust, e) < 0 || judge_dir_of(path, trust, e) < 0))
		return -1;
	return os_read_whole(text, len, (size_t)size.QuadPart, read_some, h, path, e);
}

int os_read_file(char **text, size_t *len, const char *path, enum os_trust trust, struct err *e)
{
	wchar_t wide[OS_PATH_MAX];
	HANDLE h;
	int rc;

	*text = NULL;
	*len = 0;
	if (!win_wide(wide, path))
		return win_failed(e, ERROR_INVALID_NAME, "open", path);
	if (is_dir(path))
		return err_set(e, ERR_USAGE, "%s: not a regular file", path);
	/* If the name is that of a pipe, its server can identify but not impersonate us. */
	h = CreateFileW(wide, GENERIC_READ | READ_CONTROL, FILE_SHARE_READ | FILE_SHARE_DELETE,
			NULL, OPEN_EXISTING, SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, NULL);
	if (h == INVALID_HANDLE_VALUE)
		return win_failed(e, GetLastError(), "open", path);
	rc = read_open(text, len, h, path, trust, e);
	CloseHandle(h);
	return rc;
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

/* Creates a new file beside path; a secret one has its permissions from the start. */
static HANDLE make_beside(wchar_t tmp[OS_PATH_MAX], const char *path, bool secret)
{
	PSECURITY_DESCRIPTOR sd = secret ? win_ours_alone("FA") : NULL;
	SECURITY_ATTRIBUTES sa = {sizeof sa, sd, FALSE};
	HANDLE h = INVALID_HANDLE_VALUE;
	char name[OS_PATH_MAX];
	DWORD code;

	if (secret && sd == NULL)
		return h;
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "%s.%lx%02u", path,
			 (unsigned long)GetCurrentProcessId(), i);
		if (!win_wide(tmp, name)) {
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

	if (strlen(path) + 16 > OS_PATH_MAX || !win_wide(to, path))
		return win_failed(e, ERROR_INVALID_NAME, "write", path);
	if (exclusive && os_exists(path))
		return err_set(e, ERR_USAGE, "%s: already exists", path);
	if (is_dir(path))
		return err_set(e, ERR_USAGE, "%s: not a regular file", path);
	h = make_beside(tmp, path, secret);
	if (h == INVALID_HANDLE_VALUE)
		return win_failed(e, GetLastError(), "write", path);
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
		return err_set(e, ERR_USAGE, "%s: already exists", path);
	return win_failed(e, code, "write", path);
}

int os_remove_file(const char *path, struct err *e)
{
	wchar_t wide[OS_PATH_MAX];
	DWORD code;

	if (!win_wide(wide, path))
		return win_failed(e, ERROR_INVALID_NAME, "remove", path);
	if (DeleteFileW(wide))
		return 0;
	code = GetLastError();
	if (code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND)
		return 0;
	return win_failed(e, code, "remove", path);
}

/* Creates one directory, private or with inherited permissions. */
static int make_one(const char *path, bool private, struct err *e)
{
	PSECURITY_DESCRIPTOR sd = NULL;
	SECURITY_ATTRIBUTES sa = {sizeof sa, NULL, FALSE};
	wchar_t wide[OS_PATH_MAX];
	DWORD code = ERROR_SUCCESS;

	if (is_dir(path))
		return 0;
	if (!win_wide(wide, path))
		return win_failed(e, ERROR_INVALID_NAME, "create the directory", path);
	if (private) {
		/* OI, CI: files and directories in it inherit. */
		sd = win_ours_alone("FA");
		sa.lpSecurityDescriptor = sd;
	}
	if (!CreateDirectoryW(wide, private && sd != NULL ? &sa : NULL))
		code = GetLastError();
	if (sd != NULL)
		LocalFree(sd);
	if (code == ERROR_SUCCESS || is_dir(path))
		return 0;
	if (code == ERROR_ALREADY_EXISTS)
		return err_set(e, ERR_USAGE, "%s: exists and is not a directory", path);
	return win_failed(e, code, "create the directory", path);
}

int os_make_dir(const char *path, struct err *e)
{
	return os_make_dirs(path, make_one, e);
}
