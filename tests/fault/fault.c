/*
 * tests/fault/fault.c - preloaded into an agent: lets the n-th allocation or system call fail, once.
 *
 * FAULT_FILE names a file of one struct board, which the test maps as well: it says what is to
 * fail, and sees what was counted. Nothing is counted while `armed` is 0. Live allocations are
 * always counted: what is not freed after a failure shows.
 *
 * GRAVE_FILE names a file to which every block is written as it is when it is freed: a test looks
 * there for secrets (tests/soft/test_secrets.py).
 *
 * getrandom() and epoll are left out: sapair and libuv end the process when these fail.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ALLOC = 1, CALL = 2 };

static struct board {
	volatile int32_t armed;   /* 0, ALLOC or CALL: what is counted and fails */
	volatile int32_t fail_at; /* from 1; 0: only count */
	volatile int32_t count;
	volatile int32_t failed; /* how often */
	volatile int64_t live;   /* allocations that were not freed */
	char name[16];           /* of the call that failed */
} nothing, *board = &nothing;

static int grave = -1;

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("FAULT_FILE");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (getenv("GRAVE_FILE") != NULL)
		grave = openat(AT_FDCWD, getenv("GRAVE_FILE"), O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return;
	p = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		board = p;
	close(fd);
}

static int fails(int kind, const char *name)
{
	if (board->armed != kind || ++board->count != board->fail_at)
		return 0;
	board->failed++;
	for (size_t i = 0; i + 1 < sizeof board->name && (i == 0 || name[i - 1] != '\0'); i++)
		board->name[i] = name[i];
	return 1;
}

static void bury(void *p)
{
	if (p != NULL && grave >= 0)
		syscall(SYS_write, grave, p, malloc_usable_size(p));
}

static void *counted(void *p)
{
	board->live += p != NULL;
	return p;
}

void *malloc(size_t n)
{
	if (fails(ALLOC, "malloc")) {
		errno = ENOMEM;
		return NULL;
	}
	return counted(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
	if (fails(ALLOC, "calloc")) {
		errno = ENOMEM;
		return NULL;
	}
	return counted(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
	if (fails(ALLOC, "realloc")) {
		errno = ENOMEM;
		return NULL;
	}
	if (p == NULL)
		return counted(__libc_realloc(p, n));
	if (grave >= 0 && n > 0) { /* always to another place, so that the old one is seen */
		size_t had = malloc_usable_size(p);
		void *q = __libc_malloc(n);

		if (q == NULL)
			return NULL;
		memcpy(q, p, n < had ? n : had);
		bury(p);
		__libc_free(p);
		return q;
	}
	if (n == 0)
		board->live--;
	return __libc_realloc(p, n);
}

void free(void *p)
{
	board->live -= p != NULL;
	bury(p);
	__libc_free(p);
}

/* CALL(result, name, errno, (parameters), (arguments)) */
#define CALL(type, name, error, params, args)                      \
	type name params                                           \
	{                                                          \
		static type(*next) params;                         \
                                                                   \
		if (fails(CALL, #name)) {                          \
			errno = error;                             \
			return -1;                                 \
		}                                                  \
		if (next == NULL)                                  \
			*(void **)&next = dlsym(RTLD_NEXT, #name); \
		return next args;                                  \
	}

CALL(int, socket, EMFILE, (int d, int t, int p), (d, t, p))
CALL(int, accept4, EMFILE, (int s, struct sockaddr *a, socklen_t *n, int f), (s, a, n, f))
CALL(int, bind, EADDRINUSE, (int s, const struct sockaddr *a, socklen_t n), (s, a, n))
CALL(int, listen, ENOBUFS, (int s, int n), (s, n))
CALL(int, connect, ENETUNREACH, (int s, const struct sockaddr *a, socklen_t n), (s, a, n))
CALL(int, getsockname, ENOBUFS, (int s, struct sockaddr *a, socklen_t *n), (s, a, n))
CALL(int, getpeername, ENOBUFS, (int s, struct sockaddr *a, socklen_t *n), (s, a, n))
CALL(int, getsockopt, ENOBUFS, (int s, int l, int o, void *v, socklen_t *n), (s, l, o, v, n))
CALL(int, setsockopt, ENOBUFS, (int s, int l, int o, const void *v, socklen_t n), (s, l, o, v, n))
CALL(int, shutdown, ENOTCONN, (int s, int how), (s, how))
CALL(ssize_t, read, EIO, (int fd, void *p, size_t n), (fd, p, n))
CALL(ssize_t, write, EIO, (int fd, const void *p, size_t n), (fd, p, n))
CALL(ssize_t, readv, EIO, (int fd, const struct iovec *v, int n), (fd, v, n))
CALL(ssize_t, writev, EIO, (int fd, const struct iovec *v, int n), (fd, v, n))
CALL(ssize_t, recv, EIO, (int s, void *p, size_t n, int f), (s, p, n, f))
CALL(ssize_t, send, EIO, (int s, const void *p, size_t n, int f), (s, p, n, f))
CALL(ssize_t, recvmsg, ENOMEM, (int s, struct msghdr *m, int f), (s, m, f))
CALL(ssize_t, sendmsg, ENOBUFS, (int s, const struct msghdr *m, int f), (s, m, f))
CALL(ssize_t, recvfrom, ENOMEM, (int s, void *p, size_t n, int f, struct sockaddr *a, socklen_t *l),
     (s, p, n, f, a, l))
CALL(ssize_t, sendto, ENOBUFS,
     (int s, const void *p, size_t n, int f, const struct sockaddr *a, socklen_t l),
     (s, p, n, f, a, l))

int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (fails(CALL, "open")) {
		errno = EMFILE;
		return -1;
	}
	return openat(AT_FDCWD, path, flags, mode);
}
