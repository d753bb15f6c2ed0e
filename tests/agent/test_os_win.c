/*
 * tests/agent/test_os_win.c - what Windows alone has: the event log's texts, rights of files and of the
 * control pipe.
 */
#include <winsock2.h>
#include <windows.h>

#include "agent/daemon/event.h"
#include "tests/t.h"

/* The program that was built with us: build/win/sapair.exe, from build/win/tests/agent. */
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

T_MAIN(T(the_event_log_knows_every_number))
