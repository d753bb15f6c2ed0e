/*
 * proto/base/err.h - what failed, why, and what to do next.
 *
 * The function that knows most fills a struct err once, callers put context in front, the top
 * prints it once. The class alone decides the exit status and what a caller may branch on.
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
#define ERR_LIST(X)                                                                \
	X(NONE, 0, "none", "done, or already so")                                  \
	X(BUG, 1, "bug", "unexpected failure")                                     \
	X(USAGE, 2, "usage", "wrong usage or configuration")                       \
	X(DOWN, 3, "down", "no agent is running, or the pair is not up")           \
	X(TIMEOUT, 4, "timeout", "the peer was not reached in time")               \
	X(AUTH, 5, "auth", "authentication was refused")                           \
	X(REFUSED, 6, "refused", "the peer refused: version, suite or policy")     \
	X(OS, 7, "os", "the operating system refused; everything was rolled back") \
	X(VERIFY, 8, "verify", "the SAs are installed, but do not carry traffic")  \
	X(PERM, 9, "permission", "permission denied")                              \
	X(DIFFERS, 10, "differs", "plan or clean --check found differences")

#define ERR_ENUM(name, status, word, text) ERR_##name,
enum err_code { ERR_LIST(ERR_ENUM) ERR_COUNT };
#undef ERR_ENUM

#define ERR_CAUSE 320 /* with the NUL */

struct err {
	enum err_code code;
	uint32_t os;           /* errno, Win32 or FWP_E_* as the system gave it; 0 = none */
	char cause[ERR_CAUSE]; /* "peer beta: offer: suites[1]: unknown suite"; never a secret;
			   * escaped: no peer writes terminal codes into our logs */
	uint16_t path;         /* bytes of cause that name a place in a document; 0 = none */
	const char *hint;      /* static text: the next step, or NULL */
};

/* All return -1, so that a failure is one line. e may be NULL. The text is escaped and cut. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
int err_setv(struct err *e, enum err_code code, const char *fmt, va_list ap) PRINTF_LIKE(3, 0);
/* Puts "fmt: " in front of the cause. */
int err_in(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/*
 * Puts a step of a path in front: "[1]" and then "peers", before "address: missing", gives
 * "peers[1].address: missing". For documents, from the inside out; what err_in() adds comes last.
 */
int err_at(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Adds the next step (static text) to what is already there. */
int err_hint(struct err *e, const char *hint);

int err_exit_status(enum err_code code);
const char *err_word(enum err_code code);
const char *err_meaning(enum err_code code);
/* The class of a word; ERR_COUNT when unknown. */
enum err_code err_of_word(const char *word);

/*
 * Copies text to dst (size bytes, always NUL-terminated) with every byte outside printable ASCII
 * and valid UTF-8 as \xNN, and a backslash doubled: safe for terminals and logs. Characters that
 * control or reorder the line (C1, bidi, zero width) are not printable. Cut between characters.
 */
void text_escape(char *dst, size_t size, const char *src, size_t n);
/* Would text_escape() leave it as it is, but for backslashes? */
bool text_printable(const char *src, size_t n);
/* Bytes of the UTF-8 character that the n > 0 bytes at src begin with (RFC 3629), 0 for none. */
size_t text_char(const char *src, size_t n, uint32_t *code);

#ifdef __clang_analyzer__
/* The analyzer cannot see into another file: told that these never return 0, it follows the
 * failure paths as they are. err.c writes the names in parentheses for this. */
#define err_set(...) ((void)err_set(__VA_ARGS__), -1)
#define err_in(...) ((void)err_in(__VA_ARGS__), -1)
#define err_at(...) ((void)err_at(__VA_ARGS__), -1)
#define err_hint(...) ((void)err_hint(__VA_ARGS__), -1)
#endif

#endif
