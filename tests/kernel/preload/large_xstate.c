/* Preloaded by tests: a host whose extended state is 8 KiB larger than it is, as with AMX.
 *
 * PTRACE_GETREGSET of NT_X86_XSTATE returns the larger area, PTRACE_SETREGSET refuses a shorter one
 * with EFAULT, as Linux does. Both ways into the kernel are covered: ptrace(), and syscall(), which
 * fpregs.so uses where it is loaded before this. */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

#define AREA_MAX 65536
#define MORE 8192 /* bytes beyond the real area */

long ptrace(enum __ptrace_request request, ...);
long syscall(long number, ...);

static long call_kernel(long n, const long *a)
{
	register long r10 __asm__("r10") = a[3];
	register long r8 __asm__("r8") = a[4];
	register long r9 __asm__("r9") = a[5];
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(n), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	if (result < 0 && result > -4096) {
		errno = (int)-result;
		return -1;
	}
	return result;
}

static long get_xstate(long pid, struct iovec *v, size_t *real)
{
	static unsigned char area[AREA_MAX] __attribute__((aligned(64)));
	struct iovec all = {area, sizeof(area) - MORE};
	long a[6] = {PTRACE_GETREGSET, pid, NT_X86_XSTATE, (long)&all};
	size_t copied;

	if (call_kernel(SYS_ptrace, a) != 0)
		return -1;
	*real = all.iov_len;
	if (v == NULL)
		return 0;
	memset(area + *real, 0, MORE);
	copied = *real + MORE < v->iov_len ? *real + MORE : v->iov_len;
	memcpy(v->iov_base, area, copied);
	v->iov_len = copied;
	return 0;
}

static long set_xstate(long pid, struct iovec *v)
{
	struct iovec shorter;
	long a[6] = {PTRACE_SETREGSET, pid, NT_X86_XSTATE, (long)&shorter};
	size_t real;

	if (get_xstate(pid, NULL, &real) != 0)
		return -1;
	if (v->iov_len < real + MORE) {
		errno = EFAULT;
		return -1;
	}
	shorter.iov_base = v->iov_base;
	shorter.iov_len = real;
	return call_kernel(SYS_ptrace, a);
}

long syscall(long number, ...)
{
	va_list ap;
	long a[6];
	size_t i, real;

	va_start(ap, number);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_ptrace && a[2] == NT_X86_XSTATE && a[0] == PTRACE_GETREGSET)
		return get_xstate(a[1], (struct iovec *)a[3], &real);
	if (number == SYS_ptrace && a[2] == NT_X86_XSTATE && a[0] == PTRACE_SETREGSET)
		return set_xstate(a[1], (struct iovec *)a[3]);
	return call_kernel(number, a);
}

long ptrace(enum __ptrace_request request, ...)
{
	void *found = dlsym(RTLD_NEXT, "ptrace");
	long (*next)(long, ...);
	va_list ap;
	long pid;
	void *addr, *data;
	size_t real;

	va_start(ap, request);
	pid = va_arg(ap, pid_t);
	addr = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	if (request == PTRACE_GETREGSET && (long)addr == NT_X86_XSTATE)
		return get_xstate(pid, data, &real);
	if (request == PTRACE_SETREGSET && (long)addr == NT_X86_XSTATE)
		return set_xstate(pid, data);
	memcpy(&next, &found, sizeof(next));
	return next(request, pid, addr, data);
}
