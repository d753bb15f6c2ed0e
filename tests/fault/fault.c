/*
 * tests/fault/fault.c - preloaded into an agent: makes the n-th allocation or system call fail, once.
 *
 * FAULT_FILE names a file with one struct board, which the test also maps: the test chooses the
 * call that fails, and reads the counters. Calls are counted only while `armed` is not 0. Live
 * allocations are always counted, to detect leaks after a failure.
 *
 * GRAVE_FILE names a file that receives the content of every block when it is freed: a test searches
 * it for secrets (tests/soft/test_secrets.py).
 *
 * getrandom() and epoll never fail here: sapair and libuv end the process in that case. Calls within
 * libc and mapped memory are not covered either.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ALLOC = 1, CALL = 2, KERNEL = 3 }; /* KERNEL: netlink messages */

static struct board {
	volatile int32_t armed;   /* 0, or the kind that is counted and fails */
	volatile int32_t fail_at; /* from 1; 0: only count */
	volatile int32_t count;
	volatile int32_t failed; /* number of failures */
	volatile int64_t live;   /* allocations that are not freed yet */
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

static long real_syscall(long n, long a, long b, long c, long d, long e, long f)
{
	static long (*next)(long, ...);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "syscall");
	return next(n, a, b, c, d, e, f);
}

static void bury(void *p)
{
	if (p != NULL && grave >= 0)
		real_syscall(SYS_write, grave, (long)p, (long)malloc_usable_size(p), 0, 0, 0);
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
	if (grave >= 0 && n > 0) { /* always moves the block, so that the old one is recorded */
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

/* Does this call on the socket s fail? Only calls on netlink sockets do; s is -1 without a socket. */
static int on_netlink(int s, const char *name)
{
	int domain = 0;
	socklen_t n = sizeof domain;

	return board->armed == KERNEL && s >= 0 &&
	       real_syscall(SYS_getsockopt, s, SOL_SOCKET, SO_DOMAIN, (long)&domain, (long)&n, 0) ==
		       0 &&
	       domain == AF_NETLINK && fails(KERNEL, name);
}

/* CALL(result, name, errno, (parameters), (arguments)); TALK has the socket as well. */
#define CALL(type, name, error, params, args) TALK(type, name, error, params, args, -1)
#define TALK(type, name, error, params, args, s)                   \
	type name params                                           \
	{                                                          \
		static type(*next) params;                         \
                                                                   \
		if (fails(CALL, #name) || on_netlink(s, #name)) {  \
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
TALK(ssize_t, recvmsg, ENOMEM, (int s, struct msghdr *m, int f), (s, m, f), s)
TALK(int, recvmmsg, ENOMEM, (int s, struct mmsghdr *m, unsigned n, int f, struct timespec *t),
     (s, m, n, f, t), s)
TALK(ssize_t, sendmsg, ENOBUFS, (int s, const struct msghdr *m, int f), (s, m, f), s)
TALK(ssize_t, recvfrom, ENOMEM, (int s, void *p, size_t n, int f, struct sockaddr *a, socklen_t *l),
     (s, p, n, f, a, l), s)
TALK(ssize_t, sendto, ENOBUFS,
     (int s, const void *p, size_t n, int f, const struct sockaddr *a, socklen_t l),
     (s, p, n, f, a, l), s)
CALL(int, stat, EIO, (const char *path, struct stat *st), (path, st))
CALL(int, lstat, EIO, (const char *path, struct stat *st), (path, st))
CALL(int, fstat, EIO, (int fd, struct stat *st), (fd, st))
CALL(int, statx, EIO, (int fd, const char *path, int f, unsigned m, struct statx *st),
     (fd, path, f, m, st))
CALL(int, unlink, EACCES, (const char *path), (path))
CALL(int, mkdir, EROFS, (const char *path, mode_t mode), (path, mode))
CALL(int, chmod, EROFS, (const char *path, mode_t mode), (path, mode))
CALL(int, flock, ENOLCK, (int fd, int how), (fd, how))
CALL(int, pipe2, EMFILE, (int fds[2], int f), (fds, f))
CALL(int, eventfd, EMFILE, (unsigned n, int f), (n, f))
CALL(int, socketpair, EMFILE, (int d, int t, int p, int fds[2]), (d, t, p, fds))
CALL(int, mlockall, ENOMEM, (int f), (f))
CALL(int, munlockall, EPERM, (void), ())
CALL(int, getrlimit, EINVAL, (__rlimit_resource_t what, struct rlimit *r), (what, r))
CALL(int, setrlimit, EPERM, (__rlimit_resource_t what, const struct rlimit *r), (what, r))
CALL(int, prctl, EINVAL,
     (int what, unsigned long a, unsigned long b, unsigned long c, unsigned long d),
     (what, a, b, c, d))
CALL(int, sigaction, EINVAL, (int n, const struct sigaction *a, struct sigaction *old), (n, a, old))
/* Random numbers never fail: that would end the process. close() closes even if it reports an error. */
long syscall(long n, ...)
{
	va_list ap;
	long v[6];

	va_start(ap, n);
	for (int i = 0; i < 6; i++)
		v[i] = va_arg(ap, long);
	va_end(ap);
	if (n != SYS_getrandom && fails(CALL, n == SYS_close ? "close" : "syscall")) {
		if (n == SYS_close)
			real_syscall(n, v[0], 0, 0, 0, 0, 0);
		errno = n == SYS_close ? EIO : ENOSYS;
		return -1;
	}
	return real_syscall(n, v[0], v[1], v[2], v[3], v[4], v[5]);
}

static int two(const char *name, int fd, int what, long arg)
{
	static int (*next_fcntl)(int, int, long), (*next_ioctl)(int, unsigned long, long);

	if (fails(CALL, name)) {
		errno = EIO;
		return -1;
	}
	if (next_fcntl == NULL) {
		*(void **)&next_fcntl = dlsym(RTLD_NEXT, "fcntl64");
		*(void **)&next_ioctl = dlsym(RTLD_NEXT, "ioctl");
	}
	return name[0] == 'f' ? next_fcntl(fd, what, arg) : next_ioctl(fd, (unsigned)what, arg);
}

#define TWO(name, type)                                \
	int name(int fd, type what, ...)               \
	{                                              \
		va_list ap;                            \
		long arg;                              \
                                                       \
		va_start(ap, what);                    \
		arg = va_arg(ap, long);                \
		va_end(ap);                            \
		return two(#name, fd, (int)what, arg); \
	}

TWO(fcntl, int)
TWO(fcntl64, int)
TWO(ioctl, unsigned long)

int close(int fd)
{
	long rc = real_syscall(SYS_close, fd, 0, 0, 0, 0, 0);

	if (fails(CALL, "close")) {
		errno = EIO;
		return -1;
	}
	return (int)rc;
}

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
