/*
 * proto/base/err.h - errors: class, cause, next step.
 *
 * The function that detects an error fills struct err; callers prepend context; the top level prints
 * it. The class alone decides the exit status, and callers branch on nothing else.
 */
#ifndef SAPAIR_PROTO_BASE_ERR_H
#define SAPAIR_PROTO_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__MINGW32__) /* built with __USE_MINGW_ANSI_STDIO, so that %zu is known */
#define PRINTF_LIKE(fmt, args) __attribute__((format(gnu_printf, fmt, args)))
#else
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#endif

/* X(class, exit status, word in JSON, one line of meaning): docs and tests come from here. */
#define ERR_LIST(X)                                                                     \
	X(NONE, 0, "none", "done, or already so")                                       \
	X(BUG, 1, "bug", "unexpected failure")                                          \
	X(USAGE, 2, "usage", "wrong usage or configuration")                            \
	X(DOWN, 3, "down", "no agent is running, or the pair is not up")                \
	X(TIMEOUT, 4, "timeout", "the peer was not reached in time")                    \
	X(AUTH, 5, "auth", "authentication was refused")                                \
	X(REFUSED, 6, "refused", "the peer refused: version, suite or policy")          \
	X(OS, 7, "os", "the operating system refused; everything was rolled back")      \
	X(VERIFY, 8, "verify", "the SAs do not carry traffic, or it can pass in clear") \
	X(PERM, 9, "permission", "permission denied")                                   \
	X(DIFFERS, 10, "differs", "plan or clean --check found differences")

#define ERR_ENUM(name, status, word, text) ERR_##name,
enum err_code { ERR_LIST(ERR_ENUM) ERR_COUNT };
#undef ERR_ENUM

#define ERR_CAUSE 320 /* with the NUL */

struct err {
	enum err_code code;
	uint32_t os;           /* errno, Win32 or FWP_E_* as the system gave it; 0 = none */
	char cause[ERR_CAUSE]; /* "peer beta: offer: suites[1]: unknown suite"; never a secret;
			   * escaped, so that no peer can send control codes to a terminal */
	uint16_t path;         /* bytes of cause that are a path in a document; 0 = none */
	const char *hint;      /* static text: what to do next, or NULL */
};

/* All return -1. e may be NULL. The text is escaped and truncated. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
int err_setv(struct err *e, enum err_code code, const char *fmt, va_list ap) PRINTF_LIKE(3, 0);
/* Prepends "fmt: " to the cause. */
int err_in(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/*
 * Prepends an element of a path: "[1]", then "peers", prepended to "address: missing" give
 * "peers[1].address: missing". Called from the innermost element outwards, before err_in().
 */
int err_at(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* err_set(ERR_USAGE) and err_at() in one, for the value at that path. */
int err_value(struct err *e, const char *path, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Sets the hint (static text). */
int err_hint(struct err *e, const char *hint);

int err_exit_status(enum err_code code);
const char *err_word(enum err_code code);
const char *err_meaning(enum err_code code);
/* The class with this word; ERR_COUNT: unknown. */
enum err_code err_of_word(const char *word);

/*
 * Copies text to dst (size bytes, always NUL-terminated) with every byte outside printable ASCII
 * and valid UTF-8 as \xNN, and a backslash doubled: safe for terminals and logs. Characters that
 * control or reorder the line (C1, bidi, zero width) are not printable. Truncated between
 * characters.
 */
void text_escape(char *dst, size_t size, const char *src, size_t n);
/* Whether text_escape() would change nothing but backslashes. */
bool text_printable(const char *src, size_t n);
/* Whether every byte is an ASCII letter, a digit or in more. */
bool text_alnum(const char *src, const char *more);
/* Length of the UTF-8 character (RFC 3629) at src, of n > 0 bytes; 0: not UTF-8. */
size_t text_char(const char *src, size_t n, uint32_t *code);

#ifdef __clang_analyzer__
/* Tells the analyzer, which reads one file at a time, that these never return 0. err.c defines the
 * functions with their names in parentheses because of these macros. */
#define err_set(...) ((void)err_set(__VA_ARGS__), -1)
#define err_in(...) ((void)err_in(__VA_ARGS__), -1)
#define err_at(...) ((void)err_at(__VA_ARGS__), -1)
#define err_value(...) ((void)err_value(__VA_ARGS__), -1)
#define err_hint(...) ((void)err_hint(__VA_ARGS__), -1)
#endif

#endif
