/*
 * tests/agent/test_os_win.c - Windows only: the texts of the event log, rights of files and of the control
 * pipe.
 */
#include <winsock2.h>
#include <windows.h>

#include <aclapi.h>
#include <sddl.h>
#include <uv.h>

#include "agent/daemon/event.h"
#include "agent/os/os.h"
#include "agent/ipsec/wfp/db.h"
#include "tests/t.h"

/* The program of the same build: build/win/sapair.exe, from build/win/tests/agent. */
static HMODULE open_program(void)
{
	wchar_t path[MAX_PATH + 32];
	DWORD n = GetModuleFileNameW(NULL, path, MAX_PATH);

	for (int up = 0; up < 3; up++)
		while (n > 0 && path[--n] != L'\\')
			;
	wcscpy(path + n, L"\\sapair.exe");
	return LoadLibraryExW(path, NULL, LOAD_LIBRARY_AS_DATAFILE);
}

static bool has_text(HMODULE program, DWORD number)
{
	wchar_t line[] = L"peer beta: 100% up", text[64];
	DWORD_PTR inserts[] = {(DWORD_PTR)line};
	DWORD n = FormatMessageW(FORMAT_MESSAGE_FROM_HMODULE | FORMAT_MESSAGE_ARGUMENT_ARRAY,
				 program, number, 0, text, 64, (va_list *)inserts);

	while (n > 0 && text[n - 1] <= L' ')
		text[--n] = L'\0';
	return n > 0 && wcscmp(text, line) == 0;
}

#define EVENT_NUMBER(n, id, w, l) id,
static void the_event_log_knows_every_number(void)
{
	static const DWORD numbers[] = {1, 2, 3, EVENT_LIST(EVENT_NUMBER)};
	HMODULE program = open_program();

	if (!CHECK(program != NULL))
		return;
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (!CHECK(has_text(program, numbers[i])))
			NOTE("number %lu", (unsigned long)numbers[i]);
	CHECK(!has_text(program, 99));
	FreeLibrary(program);
}

/* ---- codes of the filter engine ---------------------------------------------------------- */

static void every_code_of_the_engine_has_a_name_and_a_meaning(void)
{
	static const struct {
		uint32_t code;
		enum err_code class;
		const char *name, *hint;
	} some[] = {
		{ERROR_ACCESS_DENIED, ERR_PERM, "ERROR_ACCESS_DENIED", "elevated"},
		{1722, ERR_OS, "RPC_S_SERVER_UNAVAILABLE", "sc start bfe"},
		{1726, ERR_OS, "RPC_S_CALL_FAILED", "sc start bfe"},
		{1753, ERR_OS, "EPT_S_NOT_REGISTERED", "sc start bfe"},
		{0x80320012, ERR_OS, "FWP_E_TIMEOUT", "netsh wfp show state"},
		{0x8032001b, ERR_BUG, "FWP_E_INCOMPATIBLE_SA_STATE", "report"},
	};
	struct err e;

	for (uint32_t code = 0x80320001; code <= 0x8032003c; code++) {
		memset(&e, 0, sizeof e);
		CHECK(wfp_failed(&e, code, "Call") == -1);
		if (!CHECK(strstr(e.cause, "FWP_E_") != NULL))
			NOTE("%08lx: %s", (unsigned long)code, e.cause);
		CHECK(e.code != ERR_BUG || e.hint != NULL);
	}
	for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
		memset(&e, 0, sizeof e);
		wfp_failed(&e, some[i].code, "Call");
		CHECK(e.code == some[i].class);
		CHECK(strstr(e.cause, some[i].name) != NULL);
		if (!CHECK(e.hint != NULL && strstr(e.hint, some[i].hint) != NULL))
			NOTE("%s: %s", some[i].name, e.hint != NULL ? e.hint : "no next step");
	}
}

/* ---- rights ------------------------------------------------------------------------------ */

static char folder[OS_PATH_MAX];

static void in_folder(char path[OS_PATH_MAX], const char *name)
{
	if (folder[0] == '\0') {
		char base[MAX_PATH];

		GetTempPathA(sizeof base, base);
		snprintf(folder, sizeof folder, "%ssapair-test-%lu", base,
			 (unsigned long)GetCurrentProcessId());
		CHECK(os_make_dir(folder, NULL) == 0);
	}
	CHECK(os_path_join(path, folder, name, NULL) == 0);
}

/* Sets full rights for the user, SYSTEM and Administrators, and the entries of also, in SDDL. */
static void set_rights(const char *path, const char *also)
{
	PSECURITY_DESCRIPTOR sd = NULL;
	char sddl[256];
	BOOL there, usual;
	PACL acl = NULL;

	snprintf(sddl, sizeof sddl, "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;OW)%s", also);
	CHECK(ConvertStringSecurityDescriptorToSecurityDescriptorA(sddl, SDDL_REVISION_1, &sd,
								   NULL));
	CHECK(GetSecurityDescriptorDacl(sd, &there, &acl, &usual));
	CHECK(SetNamedSecurityInfoA((char *)(uintptr_t)path, SE_FILE_OBJECT,
				    DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION,
				    NULL, NULL, acl, NULL) == ERROR_SUCCESS);
	LocalFree(sd);
}

static bool is_read(const char *path, enum os_trust trust, struct err *e)
{
	char *text;
	size_t n;

	memset(e, 0, sizeof *e);
	if (os_read_file(&text, &n, path, trust, e) < 0)
		return false;
	os_free_text(text, n);
	return true;
}

static void a_key_that_everyone_can_read_is_refused(void)
{
	char path[OS_PATH_MAX];
	struct err e;

	in_folder(path, "a.key");
	CHECK(os_write_file(path, "secret", 6, true, false, NULL) == 0);
	CHECK(is_read(path, OS_SECRET, &e));
	set_rights(path, "(A;;FR;;;WD)");
	CHECK(!is_read(path, OS_SECRET, &e));
	CHECK(e.code == ERR_PERM);
	CHECK(strstr(e.cause, "a.key: Everyone may read or write a secret") != NULL);
	CHECK(e.hint != NULL && strstr(e.hint, "icacls FILE /inheritance:r") != NULL);
	CHECK(is_read(path, OS_CONFIG, &e)); /* a file without secrets may be read */
	set_rights(path, "(A;;FRFW;;;WD)");
	CHECK(!is_read(path, OS_CONFIG, &e));
	CHECK(strstr(e.cause, "Everyone may write it") != NULL);
	CHECK(is_read(path, OS_ANYONE, &e));
	set_rights(path, "");
	CHECK(is_read(path, OS_SECRET, &e));
	CHECK(os_remove_file(path, NULL) == 0);
}

static void a_folder_where_everyone_may_replace_files_is_refused(void)
{
	char path[OS_PATH_MAX];
	struct err e;

	in_folder(path, "b.key");
	CHECK(os_write_file(path, "secret", 6, true, false, NULL) == 0);
	set_rights(folder, "(A;;FA;;;WD)");
	CHECK(!is_read(path, OS_SECRET, &e));
	CHECK(strstr(e.cause, "Everyone may replace files in it") != NULL);
	set_rights(folder, "");
	CHECK(is_read(path, OS_SECRET, &e));
	CHECK(os_remove_file(path, NULL) == 0);
	RemoveDirectoryA(folder);
}

static void nobody(void *arg)
{
	(void)arg;
}

static void our_sid(char out[192])
{
	union {
		TOKEN_USER user;
		BYTE room[256];
	} t;
	char *text = NULL;
	HANDLE token;
	DWORD n;

	out[0] = '\0';
	if (!CHECK(OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token)))
		return;
	CHECK(GetTokenInformation(token, TokenUser, &t, sizeof t, &n));
	CHECK(ConvertSidToStringSidA(t.user.User.Sid, &text));
	snprintf(out, 192, "%s", text);
	LocalFree(text);
	CloseHandle(token);
}

/* The rights of an open pipe in SDDL. */
static void rights_of(HANDLE h, char *out, size_t size)
{
	PSECURITY_DESCRIPTOR sd = NULL;
	char *text = NULL;

	out[0] = '\0';
	if (!CHECK(GetSecurityInfo(h, SE_KERNEL_OBJECT, DACL_SECURITY_INFORMATION, NULL, NULL, NULL,
				   NULL, &sd) == ERROR_SUCCESS))
		return;
	if (CHECK(ConvertSecurityDescriptorToStringSecurityDescriptorA(
		    sd, SDDL_REVISION_1, DACL_SECURITY_INFORMATION, &text, NULL)))
		snprintf(out, size, "%s", text);
	LocalFree(text);
	LocalFree(sd);
}

static void the_control_pipe_is_for_administrators_and_us(void)
{
	char path[64], rights[512], wanted[512], us[192];
	struct os_control *c = NULL;
	uv_loop_t loop;
	HANDLE h;

	snprintf(path, sizeof path, "\\\\.\\pipe\\sapair-test-%lu",
		 (unsigned long)GetCurrentProcessId());
	uv_loop_init(&loop);
	if (!CHECK(os_control_listen(&c, &loop, path, nobody, NULL, NULL) == 0))
		return;
	h = CreateFileA(path, GENERIC_READ | READ_CONTROL, 0, NULL, OPEN_EXISTING, 0, NULL);
	if (CHECK(h != INVALID_HANDLE_VALUE)) {
		rights_of(h, rights, sizeof rights);
		CloseHandle(h);
		our_sid(us);
		snprintf(wanted, sizeof wanted, "D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;%s)", us);
		CHECK_STR(rights, wanted); /* a real Windows says FA for GA */
	}
	os_control_unlisten(c);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&loop) == 0);
}

T_MAIN(T(the_event_log_knows_every_number), T(every_code_of_the_engine_has_a_name_and_a_meaning),
       T(a_key_that_everyone_can_read_is_refused),
       T(a_folder_where_everyone_may_replace_files_is_refused),
       T(the_control_pipe_is_for_administrators_and_us))
