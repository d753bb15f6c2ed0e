/*
 * tests/t.h - a test program in one page: prints TAP, exits 1 when a test failed.
 *
 *     static void zero_length_is_refused(void)
 *     {
 *             CHECK(frame_len(head) == 0);
 *     }
 *
 *     T_MAIN(T(zero_length_is_refused), T(done_wipes_the_body))
 *
 * A test's name is its function's, with spaces. A check that fails tells where and what, marks its
 * test failed and goes on; each is an expression that is true when it held, so that a test can stop:
 * `if (!CHECK(p != NULL)) return;`. With an argument, only the tests whose name has it are run.
 */
#ifndef SAPAIR_TESTS_T_H
#define SAPAIR_TESTS_T_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
#define T(fn) {#fn, fn}
/* clang-format on */
#define T_MAIN(...)                                                              \
	int main(int argc, char **argv)                                          \
	{                                                                        \
		static const struct t_case cases[] = {__VA_ARGS__};              \
                                                                                 \
		return t_run(cases, sizeof cases / sizeof cases[0], argc, argv); \
	}

#define CHECK(cond) t_check((cond) ? true : false, __FILE__, __LINE__, #cond)
#define CHECK_STR(is, want) t_check_str((is), (want), __FILE__, __LINE__, #is)
#define CHECK_U64(is, want) t_check_u64((is), (want), __FILE__, __LINE__, #is)
#define CHECK_MEM(is, want, n) t_check_mem((is), (want), (n), __FILE__, __LINE__, #is)

/* A line of explanation in the output, for tests that walk a table: which row was it? */
#define NOTE(...) (printf("# " __VA_ARGS__), putchar('\n'))

/* Ends nothing: the test returns itself after saying why it cannot be run here. */
#define SKIP(why) (t_skipped = (why))

#if defined(__SANITIZE_ADDRESS__)
#define T_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define T_SANITIZED true
#endif
#endif
#ifndef T_SANITIZED
#define T_SANITIZED false
#endif

/* True if a tool reports reads of freed memory and of unused stack: AddressSanitizer, or valgrind, for
 * which `make valgrind` sets SAPAIR_MEMCHECK. */
static inline bool t_memory_is_checked(void)
{
	return T_SANITIZED || getenv("SAPAIR_MEMCHECK") != NULL;
}

struct t_case {
	const char *name;
	void (*run)(void);
};

static bool t_failed;
static const char *t_skipped;

static inline bool t_check(bool ok, const char *file, int line, const char *what)
{
	if (!ok) {
		t_failed = true;
		printf("# %s:%d: failed: %s\n", file, line, what);
	}
	return ok;
}

static inline bool t_check_str(const char *is, const char *want, const char *file, int line,
			       const char *what)
{
	bool ok = is == want || (is != NULL && want != NULL && strcmp(is, want) == 0);

	if (!t_check(ok, file, line, what))
		printf("#   is:   %s\n#   want: %s\n", is != NULL ? is : "(null)",
		       want != NULL ? want : "(null)");
	return ok;
}

static inline bool t_check_u64(uint64_t is, uint64_t want, const char *file, int line,
			       const char *what)
{
	if (!t_check(is == want, file, line, what))
		printf("#   is:   %" PRIu64 " (0x%" PRIx64 ")\n#   want: %" PRIu64 " (0x%" PRIx64
		       ")\n",
		       is, is, want, want);
	return is == want;
}

static inline void t_hex(const char *label, const void *p, size_t n)
{
	const unsigned char *b = p;

	printf("#   %s", label);
	for (size_t i = 0; i < n; i++)
		printf("%02x", b[i]);
	putchar('\n');
}

static inline bool t_check_mem(const void *is, const void *want, size_t n, const char *file,
			       int line, const char *what)
{
	bool ok = n == 0 || memcmp(is, want, n) == 0;

	if (!t_check(ok, file, line, what)) {
		t_hex("is:   ", is, n);
		t_hex("want: ", want, n);
	}
	return ok;
}

static inline void t_print_name(const char *name)
{
	for (; *name != '\0'; name++)
		putchar(*name == '_' ? ' ' : *name);
}

static inline int t_run(const struct t_case *cases, size_t n, int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : "";
	unsigned count = 0;
	int status = 0;

	for (size_t i = 0; i < n; i++) {
		if (strstr(cases[i].name, only) == NULL)
			continue;
		t_failed = false;
		t_skipped = NULL;
		cases[i].run();
		printf("%s %u - ", t_failed ? "not ok" : "ok", ++count);
		t_print_name(cases[i].name);
		if (t_skipped != NULL && !t_failed)
			printf(" # SKIP %s", t_skipped);
		putchar('\n');
		fflush(stdout); /* a crash of the next one must not lose it */
		if (t_failed)
			status = 1;
	}
	printf("1..%u\n", count);
	return status;
}

#endif
