/*
 * agent/os/windows/inner.c - Windows: shared by the files of this folder.
 */
#include "agent/os/windows/inner.h"

#include <sddl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SDDL_MAX (2 * SID_TEXT + 128)

static const char hint_rights[] = "run it elevated, as administrator";

int win_failed(struct err *e, DWORD code, const char *what, const char *path)
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

bool win_wide(wchar_t out[OS_PATH_MAX], const char *path)
{
	return path[0] != '\0' &&
	       MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, out, OS_PATH_MAX) > 0;
}

bool win_utf8(char *out, size_t size, const wchar_t *wide)
{
	if (WideCharToMultiByte(CP_UTF8, 0, wide, -1, out, (int)size, NULL, NULL) > 0)
		return true;
	out[0] = '\0';
	return false;
}

/* ---- the user of this process ---------------------------------------------------------- */

bool win_is_elevated(void)
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

void *win_token_part(TOKEN_INFORMATION_CLASS class)
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

TOKEN_USER *win_token_user(void)
{
	return win_token_part(TokenUser);
}

void win_user_sid(char text[SID_TEXT])
{
	TOKEN_USER *user = win_token_user();
	char *s = NULL;

	text[0] = '\0';
	if (user != NULL && ConvertSidToStringSidA(user->User.Sid, &s)) {
		snprintf(text, SID_TEXT, "%s", s);
		LocalFree(s);
	}
	free(user);
}

PSECURITY_DESCRIPTOR win_ours_alone(const char *rights)
{
	PSECURITY_DESCRIPTOR sd = NULL;
	char sddl[SDDL_MAX], sid[SID_TEXT], user[SID_TEXT + 16] = "";

	win_user_sid(sid);
	if (sid[0] != '\0')
		snprintf(user, sizeof user, "(A;;%s;;;%s)", rights, sid);
	snprintf(sddl, sizeof sddl, "D:P(A;;%s;;;SY)(A;;%s;;;BA)%s", rights, rights, user);
	if (!ConvertStringSecurityDescriptorToSecurityDescriptorA(sddl, SDDL_REVISION_1, &sd, NULL))
		return NULL;
	return sd;
}

/* ---- trusted accounts ------------------------------------------------------------------ */

bool win_is_trusted(PSID sid, const TOKEN_USER *us, bool secret)
{
	static const struct {
		const char *sid;
		bool only_read; /* not trusted with secrets */
	} known[] = {
		{"S-1-5-18", false},     /* SYSTEM */
		{"S-1-5-32-544", false}, /* Administrators */
		{"S-1-3-4", false},      /* OWNER RIGHTS: the owner is checked separately */
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

void win_name_of(char out[SID_TEXT], PSID sid)
{
	wchar_t name[128], domain[128];
	DWORD n = 128, d = 128;
	SID_NAME_USE use;
	char *text = NULL;

	if (LookupAccountSidW(NULL, sid, name, &n, domain, &d, &use) &&
	    win_utf8(out, SID_TEXT, name))
		return;
	snprintf(out, SID_TEXT, "an unknown account");
	if (ConvertSidToStringSidA(sid, &text)) {
		snprintf(out, SID_TEXT, "%s", text);
		LocalFree(text);
	}
}
