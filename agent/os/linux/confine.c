/*
 * agent/os/linux/confine.c - Linux: capabilities, no_new_privs, seccomp, Landlock.
 */
/* For O_PATH. NOLINTNEXTLINE(bugprone-reserved-identifier) */
#define _GNU_SOURCE
#include "agent/os/confine.h"
#include "agent/os/linux/inner.h"
#include "agent/os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<linux/landlock.h>)
#include <linux/landlock.h>
#define HAS_LANDLOCK 1
#endif
#endif

#ifndef IPV6_XFRM_POLICY
#define IPV6_XFRM_POLICY 35
#endif
#ifndef IP_XFRM_POLICY
#define IP_XFRM_POLICY 17
#endif

static void list(char text[200], const char *what)
{
	size_t n = strlen(text);

	snprintf(text + n, 200 - n, "%s%s", n > 0 ? ", " : "", what);
}

/* ---- capabilities ---------------------------------------------------------------------- */

/* Locking memory that is allocated later needs CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK. */
static bool may_lock_more(void)
{
	struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};

	return setrlimit(RLIMIT_MEMLOCK, &none) == 0;
}

static void list_capabilities(uint32_t kept, char text[200])
{
	char line[80];

	snprintf(line, sizeof line, "capabilities%s%s%s%s",
		 (kept & 1u << CAP_NET_ADMIN) != 0 ? " net_admin" : "",
		 (kept & 1u << CAP_NET_BIND_SERVICE) != 0 ? " net_bind_service" : "",
		 (kept & 1u << CAP_IPC_LOCK) != 0 ? " ipc_lock" : "", kept == 0 ? " none" : "");
	list(text, line);
}

static void keep_capabilities(const struct confinement *c, struct confined *result)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct caps[2];
	uint32_t keep = 0, had;

	memset(caps, 0, sizeof caps);
	if (syscall(SYS_capget, &head, caps) != 0) {
		list(result->failed, "capabilities");
		return;
	}
	had = caps[0].effective;
	if (c->role == CONFINE_HELPER)
		keep |= 1u << CAP_NET_ADMIN;
	if (c->low_ports)
		keep |= 1u << CAP_NET_BIND_SERVICE;
	if ((had & 1u << CAP_IPC_LOCK) != 0 && !may_lock_more())
		keep |= 1u << CAP_IPC_LOCK;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned long i = 0; i < 64 && prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		if (i >= 32 || (keep & 1u << i) == 0)
			prctl(PR_CAPBSET_DROP, i, 0, 0, 0); /* without CAP_SETPCAP: stays */
	memset(caps, 0, sizeof caps);
	caps[0].effective = caps[0].permitted = had & keep;
	if (syscall(SYS_capset, &head, caps) == 0)
		list_capabilities(had & keep, result->done);
	else
		list(result->failed, "capabilities");
}

/* ---- system calls ---------------------------------------------------------------------- */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* Since Linux 5.1; the same numbers on all architectures. */
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#define SYS_io_uring_enter 426
#define SYS_io_uring_register 427
#endif

#ifdef ARCH
/* Allowed when, for each test, the argument under the mask is the value. */
struct call {
	uint16_t nr;
	uint16_t tests;
	struct {
		uint32_t arg, mask, value;
	} test[3];
};

/* clang-format off */
#define ANY(nr) {SYS_##nr, 0, {{0, 0, 0}}}
#define ONE(nr, arg, mask, value) {SYS_##nr, 1, {{arg, mask, value}}}
#define TWO(nr, arg, mask, value, arg2, mask2, value2) \
	{SYS_##nr, 2, {{arg, mask, value}, {arg2, mask2, value2}}}
/* clang-format on */
#define SOCKET(family, type)                              \
	{                                                 \
		SYS_socket, 3,                            \
		{                                         \
			{0, ALL, family}, {1, 0xf, type}, \
			{                                 \
				2, ALL, 0                 \
			}                                 \
		}                                         \
	}
#define OPTION(level, name) TWO(setsockopt, 1, ALL, level, 2, ALL, name)
#define ALL 0xffffffffu
#define WRITES (O_ACCMODE | O_CREAT | O_TRUNC) /* O_RDONLY under this mask: read only */

/* clang-format off */
/* Calls of libc and libuv in a process that has a loop, reads files and logs. */
static const struct call common[] = {
	/* files */
	ONE(openat, 2, WRITES, O_RDONLY), ANY(read), ANY(write), ANY(writev), ANY(close), ANY(lseek),
	ANY(fstat), ANY(newfstatat), ANY(statx), ANY(faccessat), ANY(faccessat2), ANY(readlinkat),
	ANY(getdents64), ANY(getcwd), ONE(ioctl, 1, ALL, FIONBIO),
	ONE(fcntl, 1, ALL, F_GETFL), ONE(fcntl, 1, ALL, F_SETFL),
	ONE(fcntl, 1, ALL, F_GETFD), ONE(fcntl, 1, ALL, F_SETFD),
	/* sockets */
	ANY(recvmsg), ANY(recvmmsg), ANY(recvfrom), ANY(sendmsg), ANY(sendto), ANY(connect),
	ANY(getsockname), ANY(getsockopt),
	/* the loop, clocks, random numbers, threads */
	ANY(epoll_ctl), ANY(epoll_pwait), ANY(ppoll), ANY(clock_gettime), ANY(clock_nanosleep),
	ANY(gettimeofday), ANY(getrandom), ANY(futex), ANY(sched_yield),
	/* memory that is not executable */
	ANY(brk), ONE(mmap, 2, PROT_EXEC, 0), ONE(mprotect, 2, PROT_EXEC, 0), ANY(munmap),
	ANY(mremap), ANY(madvise), ANY(mlockall), ANY(munlockall),
	/* the process */
	ANY(rt_sigaction), ANY(rt_sigprocmask), ANY(rt_sigreturn), ANY(restart_syscall),
	ANY(getpid), ANY(gettid), ANY(getuid), ANY(geteuid), ANY(getgid), ANY(getegid),
	ANY(exit), ANY(exit_group),
#ifdef __x86_64__
	ONE(open, 1, WRITES, O_RDONLY), ANY(stat), ANY(lstat), ANY(access), ANY(readlink), ANY(poll),
	ANY(epoll_wait), ANY(time),
#endif
};

/* The agent: sockets to its peers, and none of another family. */
static const struct call agent_only[] = {
	SOCKET(AF_INET, SOCK_STREAM), SOCKET(AF_INET, SOCK_DGRAM),
	SOCKET(AF_INET6, SOCK_STREAM), SOCKET(AF_INET6, SOCK_DGRAM),
	SOCKET(AF_UNIX, SOCK_DGRAM), /* to the service manager */
	ANY(bind), ANY(listen), ANY(accept), ANY(accept4), ANY(getpeername), ANY(shutdown),
	OPTION(SOL_SOCKET, SO_REUSEADDR), OPTION(SOL_SOCKET, SO_LINGER),
	OPTION(SOL_SOCKET, SO_RCVBUF), OPTION(SOL_SOCKET, SO_SNDBUF),
	OPTION(IPPROTO_TCP, TCP_NODELAY), OPTION(IPPROTO_IPV6, IPV6_V6ONLY),
	ANY(sendmmsg), ANY(readv), ANY(eventfd2), ONE(ioctl, 1, ALL, FIONREAD),
	ANY(unlinkat), ANY(wait4), ANY(getrusage), ANY(sysinfo), ANY(uname),
	ONE(prlimit64, 0, ALL, 0), /* its own limits */
#ifdef __x86_64__
	ANY(unlink),
#endif
};
/* clang-format on */

/* The helper: encapsulation sockets with their options, and the option that exempts a socket from IPsec. */
static const struct call helper_only[] = {
	SOCKET(AF_INET, SOCK_DGRAM),
	SOCKET(AF_INET6, SOCK_DGRAM),
	ANY(bind),
	OPTION(SOL_SOCKET, SO_RCVBUF),
	OPTION(IPPROTO_IPV6, IPV6_V6ONLY),
	OPTION(IPPROTO_UDP, UDP_ENCAP),
	OPTION(IPPROTO_IP, IP_XFRM_POLICY),
	OPTION(IPPROTO_IPV6, IPV6_XFRM_POLICY),
};

#define LENGTH(list) (sizeof(list) / sizeof(list)[0])
#define CODE_MAX 1024

#define LOAD(field)          \
	(struct sock_filter) \
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define AND(mask) (struct sock_filter) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask)
#define IS(value, yes, no)   \
	(struct sock_filter) \
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, (uint8_t)(yes), (uint8_t)(no))
#define RETURN(value) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, value)

static bool install(struct sock_filter *code, size_t n)
{
	struct sock_fprog prog = {.len = (unsigned short)n, .filter = code};

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) == 0;
}

/* libuv may have a ring already, and aborts if io_uring is forbidden afterwards. */
static bool rings_open;

/* The calls fail with ENOSYS, which callers handle. */
bool os_confine_rings(void)
{
	struct sock_filter code[] = {
		LOAD(arch),
		IS(ARCH, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),
		IS(SYS_io_uring_setup, 3, 0),
		IS(SYS_io_uring_enter, 2, 0),
		IS(SYS_io_uring_register, 1, 0),
		RETURN(SECCOMP_RET_ALLOW),
		RETURN(SECCOMP_RET_ERRNO | ENOSYS),
	};

	rings_open = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !install(code, LENGTH(code));
	return !rings_open;
}

/* The accumulator holds the number of the call before this code, and after it if nothing matched. */
static unsigned put_call(struct sock_filter *code, const struct call *c)
{
	unsigned n = 0, left = c->tests > 0 ? 3u * c->tests + 2 : 1;

	code[n++] = IS(c->nr, 0, left);
	for (unsigned i = 0; i < c->tests; i++) {
		/* These arguments have 32 bits; the kernel ignores the upper half too. */
		code[n++] = LOAD(args[0]);
		code[n - 1].k += 8 * c->test[i].arg;
		code[n++] = AND(c->test[i].mask);
		code[n++] = IS(c->test[i].value, 0, 3 * (c->tests - i - 1u) + 1);
	}
	code[n++] = RETURN(SECCOMP_RET_ALLOW);
	if (c->tests > 0)
		code[n++] = LOAD(nr);
	return n;
}

static unsigned put_calls(struct sock_filter *code, const struct call *list, size_t n_list)
{
	unsigned n = 0;

	for (size_t i = 0; i < n_list; i++)
		n += put_call(code + n, &list[i]);
	return n;
}

static bool filter_calls(enum confine_role role)
{
	const struct call to_itself = ONE(tgkill, 0, ALL, (uint32_t)getpid()); /* abort() */
	struct sock_filter code[CODE_MAX];
	size_t n = 0;

	if (rings_open)
		return false;
	code[n++] = LOAD(arch);
	code[n++] = IS(ARCH, 1, 0);
	code[n++] = RETURN(SECCOMP_RET_KILL_PROCESS);
	code[n++] = LOAD(nr);
	n += put_calls(code + n, common, LENGTH(common));
	if (role == CONFINE_HELPER)
		n += put_calls(code + n, helper_only, LENGTH(helper_only));
	else
		n += put_calls(code + n, agent_only, LENGTH(agent_only));
	n += put_call(code + n, &to_itself);
	code[n++] = RETURN(SECCOMP_RET_ERRNO | EPERM);
	return install(code, n);
}
#else
bool os_confine_rings(void)
{
	return false;
}

static bool filter_calls(enum confine_role role)
{
	(void)role;
	return false;
}
#endif

/* ---- the file system ------------------------------------------------------------------- */

#if defined(HAS_LANDLOCK) && defined(SYS_landlock_create_ruleset)

#define TO_READ_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

/* Access rights that Landlock got after its first version. */
static uint64_t newer_accesses(void)
{
	int version =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t more = 0;

#ifdef LANDLOCK_ACCESS_FS_REFER
	if (version >= 2)
		more |= LANDLOCK_ACCESS_FS_REFER;
#endif
#ifdef LANDLOCK_ACCESS_FS_TRUNCATE
	if (version >= 3)
		more |= LANDLOCK_ACCESS_FS_TRUNCATE;
#endif
	(void)version;
	return more;
}

static void allow_folder(int rules, const char *path, uint64_t accesses)
{
	struct landlock_path_beneath_attr below = {.allowed_access = accesses};

	below.parent_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (below.parent_fd < 0)
		return;
	syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0);
	close(below.parent_fd);
}

static void allow_folder_of(int rules, const char *path)
{
	char dir[OS_PATH_MAX];

	os_dir_of(dir, path);
	if (path[0] == '/')
		allow_folder(rules, dir, TO_READ_FILES);
}

static void allow_to_read(int rules, const char *path)
{
	char whole[PATH_MAX];

	allow_folder_of(rules, path);
	if (realpath(path, whole) != NULL && strcmp(whole, path) != 0)
		allow_folder_of(rules, whole);
}

static bool close_files(const struct confinement *c)
{
	const struct landlock_ruleset_attr attr = {
		.handled_access_fs = newer_accesses() | TO_READ_FILES | LANDLOCK_ACCESS_FS_EXECUTE |
				     LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
				     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
				     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
				     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
				     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM,
	};
	int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	bool done;

	if (rules < 0)
		return false;
	if (c->control_dir != NULL)
		allow_folder(rules, c->control_dir, LANDLOCK_ACCESS_FS_REMOVE_FILE);
	for (const char *const *path = c->paths; path != NULL && *path != NULL; path++)
		allow_to_read(rules, *path);
	done = syscall(SYS_landlock_restrict_self, rules, 0) == 0;
	close(rules);
	return done;
}
#else
static bool close_files(const struct confinement *c)
{
	(void)c;
	return false;
}
#endif

static void note(struct confined *result, bool done, const char *what)
{
	list(done ? result->done : result->failed, what);
}

void os_confine(const struct confinement *c, struct confined *result)
{
	*result = (struct confined){.done = ""};
	keep_capabilities(c, result);
	note(result, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
	if (TRACED_BY_SANITIZER)
		return; /* the leak check is a tracer */
	note(result, close_files(c), "file access restricted");
	note(result, filter_calls(c->role), "system calls filtered");
}
