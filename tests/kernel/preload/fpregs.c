/* Preloaded into user-mode Linux before 6.13: writes the whole extended state of a process.
 *
 * These kernels restore the floating-point registers of a process with PTRACE_SETREGSET of
 * NT_X86_XSTATE, from a buffer of a fixed size. Where the host's area is larger (a processor with
 * AMX), the host refuses a shorter one with EFAULT and the kernel panics during boot. Here the area
 * is padded with zeros to the host's size. The state header in the first 576 bytes tells which
 * components are present, so the padding is never read as one. Other requests pass unchanged. */
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

#define AREA_MAX 65536 /* bytes; AMX needs 11,008 */

long ptrace(enum __ptrace_request request, ...);

static long call_ptrace(long request, long pid, void *addr, void *data)
{
	return syscall(SYS_ptrace, request, pid, addr, data);
}

/* The size in bytes of the host's area, or 0 if the process cannot be read. */
static size_t read_host_size(long pid, unsigned char *area)
{
	struct iovec v = {area, AREA_MAX};

	return call_ptrace(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &v) == 0 ? v.iov_len : 0;
}

static long set_xstate(long pid, struct iovec *given)
{
	static unsigned char area[AREA_MAX] __attribute__((aligned(64)));
	static size_t host_size;
	struct iovec v = {area, 0};

	if (host_size == 0)
		host_size = read_host_size(pid, area);
	if (given->iov_len >= host_size)
		return call_ptrace(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, given);
	memcpy(area, given->iov_base, given->iov_len);
	memset(area + given->iov_len, 0, host_size - given->iov_len);
	v.iov_len = host_size;
	return call_ptrace(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, &v);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list ap;
	long pid, result, word;
	void *addr, *data;

	va_start(ap, request);
	pid = va_arg(ap, pid_t);
	addr = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	if (request == PTRACE_SETREGSET && (long)addr == NT_X86_XSTATE)
		return set_xstate(pid, data);
	if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
		return call_ptrace(request, pid, addr, data);
	/* The system call stores the word that it read; the library function returns it. */
	result = call_ptrace(request, pid, addr, &word);
	if (result < 0)
		return result;
	errno = 0;
	return word;
}
