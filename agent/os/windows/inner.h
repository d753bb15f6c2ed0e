/*
 * agent/os/windows/inner.h - shared by the files of agent/os/windows.
 */
#ifndef SAPAIR_AGENT_OS_WINDOWS_INNER_H
#define SAPAIR_AGENT_OS_WINDOWS_INNER_H

#include <winsock2.h>
#include <windows.h>

#include "agent/os/os.h"

#define SID_TEXT 192
#define PIPE_PREFIX "\\\\.\\pipe\\"

/* Sets "WHAT PATH: text of the code", with a class. Returns -1. */
int win_failed(struct err *e, DWORD code, const char *what, const char *path);

/* UTF-8 to UTF-16 and back; false if the result does not fit or the input is invalid. */
bool win_wide(wchar_t out[OS_PATH_MAX], const char *path);
bool win_utf8(char *out, size_t size, const wchar_t *wide);

/* The user of this process. Parts of its token, which the caller frees with free(); NULL: no memory. */
bool win_is_elevated(void);
void *win_token_part(TOKEN_INFORMATION_CLASS class);
TOKEN_USER *win_token_user(void);
void win_user_sid(char text[SID_TEXT]); /* empty: unknown */

/*
 * Access for SYSTEM, Administrators and the process's user only: "FA" for files, "GA" for pipes. The caller
 * frees it with LocalFree(). Network logons are not denied: ssh sessions are network logons, and the pipe
 * itself refuses clients on other machines.
 */
PSECURITY_DESCRIPTOR win_ours_alone(const char *rights);
/* True for these three, and for TrustedInstaller unless secret. */
bool win_is_trusted(PSID sid, const TOKEN_USER *us, bool secret);
/* The name of the SID ("Everyone"), or the SID itself if it has no name. */
void win_name_of(char out[SID_TEXT], PSID sid);

#endif
