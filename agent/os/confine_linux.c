/*
 * agent/os/confine_linux.c - Linux: capabilities, no_new_privs, seccomp, Landlock.
 */
/* For O_PATH. NOLINTNEXTLINE(bugprone-reserved-identifier) */
#define _GNU_SOURCE
#include "agent/os/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
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

#if defined(__SANITIZE_ADDRESS__)
#define TRACED_BY_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TRACED_BY_SANITIZER 1
#endif
#endif
#ifndef TRACED_BY_SANITIZER
#define TRACED_BY_SANITIZER 0
#endif

static void say(char *text, size_t size, const char *what)
{
	size_t n = strlen(text);

	snprintf(text + n, size - n, "%s%s", n > 0 ? ", " : "", what);
}

/* ---- capabilities ---------------------------------------------------------------------- */

/* Locked memory that is still to come needs the right to lock, or no limit to it. */
static bool may_lock_more(void)
{
	struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};

	return setrlimit(RLIMIT_MEMLOCK, &none) == 0;
}

static void say_capabilities(uint32_t kept, char *text, size_t size)
{
	char line[80];

	snprintf(line, sizeof line, "capabilities%s%s%s%s",
		 (kept & 1u << CAP_NET_ADMIN) != 0 ? " net_admin" : "",
		 (kept & 1u << CAP_NET_BIND_SERVICE) != 0 ? " net_bind_service" : "",
		 (kept & 1u << CAP_IPC_LOCK) != 0 ? " ipc_lock" : "", kept == 0 ? " none" : "");
	say(text, size, line);
}

static void keep_capabilities(const struct confinement *c, char *text, size_t size)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct caps[2];
	uint32_t keep = 0, had;

	memset(caps, 0, sizeof caps);
	if (syscall(SYS_capget, &head, caps) != 0)
		return;
	had = caps[0].effective;
	if (c->net_admin)
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
		say_capabilities(had & keep, text, size);
}

/* ---- system calls ---------------------------------------------------------------------- */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* As old as Linux 5.1; the numbers are those of every architecture. */
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#define SYS_io_uring_enter 426
#define SYS_io_uring_register 427
#endif

#ifdef ARCH
/* What turns a hijacked agent into more: other programs, other processes, other name spaces, the
 * kernel itself. What libraries may come to need some day is not here. */
static const uint16_t forbidden[] = {
	SYS_execve,
	SYS_execveat,
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_mount,
	SYS_umount2,
	SYS_pivot_root,
	SYS_chroot,
	SYS_setns,
	SYS_unshare,
	SYS_init_module,
	SYS_finit_module,
	SYS_delete_module,
	SYS_kexec_load,
	SYS_bpf,
	SYS_perf_event_open,
	SYS_userfaultfd,
	SYS_add_key,
	SYS_request_key,
	SYS_keyctl,
	SYS_reboot,
	SYS_swapon,
	SYS_swapoff,
	SYS_acct,
	SYS_settimeofday,
	SYS_clock_settime,
	SYS_adjtimex,
	SYS_setuid,
	SYS_setgid,
	SYS_setreuid,
	SYS_setregid,
	SYS_setresuid,
	SYS_setresgid,
	SYS_setgroups,
	SYS_sethostname,
	SYS_setdomainname,
	SYS_syslog,
	SYS_quotactl,
	SYS_personality,
#ifdef __x86_64__
	SYS_iopl,
	SYS_ioperm,
	SYS_modify_ldt,
	SYS_kexec_file_load,
#endif
};
#define N_FORBIDDEN (sizeof forbidden / sizeof forbidden[0])

static const uint16_t families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
#define N_FAMILIES (sizeof families / sizeof families[0])

#define LOAD(field)          \
	(struct sock_filter) \
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IS(value, yes, no)   \
	(struct sock_filter) \
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, (uint8_t)(yes), (uint8_t)(no))
#define RETURN(value) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, value)

static bool install(struct sock_filter *code, size_t n)
{
	struct sock_fprog prog = {.len = (unsigned short)n, .filter = code};

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) == 0;
}

/* "Not there", which is what callers are ready for. */
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

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       install(code, sizeof code / sizeof code[0]);
}

static bool filter_calls(void)
{
	struct sock_filter code[N_FORBIDDEN + N_FAMILIES + 12];
	size_t n = 0;

	code[n++] = LOAD(arch);
	code[n++] = IS(ARCH, 1, 0);
	code[n++] = RETURN(SECCOMP_RET_KILL_PROCESS);
	code[n++] = LOAD(nr);
#ifdef __x86_64__
	/* Numbers of the x32 way in would pass by all that follows. */
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1);
	code[n++] = RETURN(SECCOMP_RET_KILL_PROCESS);
#endif
	for (size_t i = 0; i < N_FORBIDDEN; i++)
		code[n++] = IS(forbidden[i], N_FORBIDDEN - i + N_FAMILIES + 2, 0);
	code[n++] = IS(SYS_socket, 1, 0);
	code[n++] = RETURN(SECCOMP_RET_ALLOW);
	code[n++] = LOAD(args[0]);
	for (size_t i = 0; i < N_FAMILIES; i++)
		code[n++] = IS(families[i], N_FAMILIES - i, 0);
	code[n++] = RETURN(SECCOMP_RET_ERRNO | EPERM);
	code[n++] = RETURN(SECCOMP_RET_ALLOW);
	return install(code, n);
}
#else
bool os_confine_rings(void)
{
	return false;
}

static bool filter_calls(void)
{
	return false;
}
#endif

/* ---- the file system ------------------------------------------------------------------- */

#if defined(HAS_LANDLOCK) && defined(SYS_landlock_create_ruleset)
/* Reading stays: reload takes config and identity from where the config says. */
static bool close_files(const char *control_dir)
{
	const struct landlock_ruleset_attr attr = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
				     LANDLOCK_ACCESS_FS_REMOVE_DIR |
				     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
				     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
				     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
				     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM,
	};
	struct landlock_path_beneath_attr socket = {.allowed_access =
							    LANDLOCK_ACCESS_FS_REMOVE_FILE};
	int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	bool done;

	if (rules < 0)
		return false;
	if (control_dir != NULL) {
		socket.parent_fd = open(control_dir, O_PATH | O_CLOEXEC);
		if (socket.parent_fd >= 0) {
			syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &socket,
				0);
			close(socket.parent_fd);
		}
	}
	done = syscall(SYS_landlock_restrict_self, rules, 0) == 0;
	close(rules);
	return done;
}
#else
static bool close_files(const char *control_dir)
{
	(void)control_dir;
	return false;
}
#endif

void os_confine(const struct confinement *c, char *text, size_t size)
{
	text[0] = '\0';
	keep_capabilities(c, text, size);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return; /* what follows needs it */
	say(text, size, "no new privileges");
	if (TRACED_BY_SANITIZER)
		return; /* its leak check is a tracer */
	if (close_files(c->control_dir))
		say(text, size, "files read-only");
	if (filter_calls())
		say(text, size, "system calls filtered");
}
