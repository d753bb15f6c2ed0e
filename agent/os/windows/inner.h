/*
 * agent/os/windows/inner.h - what the files of agent/os for Windows share.
 */
#ifndef SAPAIR_AGENT_OS_WINDOWS_INNER_H
#define SAPAIR_AGENT_OS_WINDOWS_INNER_H

#include <winsock2.h>
#include <windows.h>

#include "agent/os/os.h"

#define SID_TEXT 192
#define PIPE_PREFIX "\\\\.\\pipe\\"

/* "WHAT PATH: what the code says", its class by what the user can do about it. -1. */
int win_failed(struct err *e, DWORD code, const char *what, const char *path);

/* UTF-8 to UTF-16 and back; false when it does not fit or is none. */
bool win_wide(wchar_t out[OS_PATH_MAX], const char *path);
bool win_utf8(char *out, size_t size, const wchar_t *wide);
bool win_is_slash(char c);

/* Who we are. A part of our token, freed by free(); NULL: no memory. */
bool win_is_elevated(void);
void *win_token_part(TOKEN_INFORMATION_CLASS class);
TOKEN_USER *win_token_user(void);
void win_user_sid(char text[SID_TEXT]); /* empty: not known */

/*
 * Rights of SYSTEM, Administrators and us, and of nobody else: "FA" for files, "GA" for pipes. Freed
 * by LocalFree(). Logons of the kind "network" are not denied: those by ssh are such, and clients on
 * other machines are refused by the pipe itself.
 */
PSECURITY_DESCRIPTOR win_ours_alone(const char *rights);
/* Those three; for what is no secret, TrustedInstaller too. */
bool win_is_trusted(PSID sid, const TOKEN_USER *us, bool secret);
/* "Everyone", or the SID when it has no name. */
void win_name_of(char out[SID_TEXT], PSID sid);

#endif
