/*
 * tests/agent/test_confine.c - dropped rights are gone, and needed rights are kept.
 */
#ifdef __linux__
#define _GNU_SOURCE /* NOLINT */
#include "agent/os/confine.h"
#include "tests/t.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

static char dir[] = "/tmp/sapair-confine-XXXXXX", other[] = "/tmp/sapair-confine-XXXXXX";
static int before_udp, before_tcp; /* opened before */
static bool is_filtered, has_landlock;
static int amiss;

/* In the child: counts failures, for its exit status. */
static void want(bool ok, const char *what)
{
	if (ok)
		return;
	printf("# not so: %s (%s)\n", what, strerror(errno));
	amiss++;
}

/* Expects that the call failed because of a missing right. */
static void refused(long rc, const char *what)
{
	want(rc < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS), what);
	errno = 0;
}

static int opened(const char *folder, const char *name, int flags)
{
	char path[160];
	int fd;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	return fd;
}

static void no_other_process(void)
{
	char *const argv[] = {(char *)(uintptr_t) "true", NULL};

	refused(execve("/bin/true", argv, NULL), "execve");
	refused(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), "clone, as fork does");
	refused(syscall(SYS_clone3, NULL, 0), "clone3");
	refused(kill(getppid(), 0), "kill of another process");
	refused(syscall(SYS_tgkill, getppid(), getppid(), 0), "tgkill of another process");
	refused(ptrace(PTRACE_TRACEME, 0, 0, 0), "ptrace");
	refused(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0), "process_vm_readv");
	refused(syscall(SYS_pidfd_open, getppid(), 0), "pidfd_open");
	want(syscall(SYS_tgkill, getpid(), getpid(), 0) == 0, "tgkill of itself");
}

static void no_more_rights(void)
{
	refused(setuid(getuid()), "setuid");
	refused(unshare(CLONE_NEWUSER), "unshare");
	refused(mount("none", dir, "tmpfs", 0, NULL), "mount");
	refused(chroot(dir), "chroot");
	refused(syscall(SYS_bpf, 0, NULL, 0), "bpf");
	refused(syscall(SYS_io_uring_setup, 1, NULL), "io_uring_setup");
	refused(syscall(SYS_io_uring_enter, 0, 0, 0, 0, NULL, 0), "io_uring_enter");
	refused(syscall(SYS_init_module, NULL, 0, ""), "init_module");
	refused(syscall(SYS_keyctl, 0, 0, 0, 0, 0), "keyctl");
	refused(prctl(PR_SET_DUMPABLE, 1), "prctl");
	want(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		     MAP_FAILED,
	     "memory to execute");
}

static void no_foreign_files(void)
{
	char path[128];

	refused(opened(dir, "there", O_RDWR), "a file, to write");
	refused(opened(dir, "new", O_CREAT | O_WRONLY), "a new file");
	refused(opened("/proc", "self/mem", O_RDWR), "its own memory");
	refused(chmod(dir, 0777), "chmod");
	refused(mkdir("/tmp/sapair-confine-never", 0700), "mkdir");
	snprintf(path, sizeof path, "%s/there", dir);
	refused(rename(path, "/tmp/sapair-confine-never"), "rename");
	refused(link(path, "/tmp/sapair-confine-never"), "link");
	want(opened(dir, "there", O_RDONLY) >= 0, "a file that it reads again");
	want(opened(dir, "below/there", O_RDONLY) >= 0, "a file below");
	if (!has_landlock)
		return;
	refused(opened(other, "there", O_RDONLY), "a file of another folder");
	refused(opened("/etc", "passwd", O_RDONLY), "/etc/passwd");
	refused(opened("/proc", "self/status", O_RDONLY), "/proc");
	refused(opened("/", "dev/null", O_RDONLY), "/dev/null");
	refused(open("/", O_RDONLY | O_DIRECTORY), "the root");
}

static void no_foreign_sockets(void)
{
	refused(socket(AF_NETLINK, SOCK_RAW, NETLINK_XFRM), "netlink, of IPsec");
	refused(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), "netlink, of routes");
	refused(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_XFRM), "netlink, otherwise");
	refused(socket(15, SOCK_RAW, 2), "PF_KEY");
	refused(socket(AF_PACKET, SOCK_RAW, 0), "packets");
	refused(socket(AF_INET, SOCK_RAW, IPPROTO_ESP), "raw IPv4");
	refused(socket(AF_INET6, SOCK_RAW, IPPROTO_ESP), "raw IPv6");
	refused(socket(AF_UNIX, SOCK_STREAM, 0), "local stream");
	refused(socket(AF_UNIX, SOCK_SEQPACKET, 0), "local records");
	refused(socket(38, SOCK_SEQPACKET, 0), "ciphers of the kernel");
	refused(socket(AF_INET, SOCK_STREAM, 262), "MPTCP");
	refused(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), "ping");
	refused(socket(AF_INET, SOCK_DGRAM, 136), "UDP-Lite");
	refused(socketpair(AF_UNIX, SOCK_STREAM, 0, (int[2]){0}), "a pair of sockets");
}

static void as_agent(void)
{
	char path[128], room[256] = "";
	struct rlimit limit;
	int on = 1;

	want(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) >= 0, "TCP");
	want(socket(AF_INET6, SOCK_STREAM, 0) >= 0 || errno == EAFNOSUPPORT, "TCP, IPv6");
	want(socket(AF_INET, SOCK_DGRAM, 0) >= 0, "UDP");
	want(socket(AF_UNIX, SOCK_DGRAM, 0) >= 0, "the service manager's");
	want(setsockopt(before_tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0, "SO_REUSEADDR");
	refused(setsockopt(before_tcp, SOL_SOCKET, SO_MARK, &on, sizeof on), "SO_MARK");
	refused(setsockopt(before_tcp, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), "SO_BINDTODEVICE");
	refused(setsockopt(before_udp, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on),
		"IP_TRANSPARENT");
	refused(setsockopt(before_udp, IPPROTO_IP, 17, room, sizeof room), "IP_XFRM_POLICY");
	refused(setsockopt(before_tcp, IPPROTO_TCP, TCP_ULP, "tls", 3), "TCP_ULP");
	want(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) == 0, "its own limits");
	refused(syscall(SYS_prlimit64, getppid(), RLIMIT_NOFILE, NULL, &limit),
		"limits of another process");
	refused(ioctl(before_udp, SIOCSIFFLAGS, room), "ioctl of an interface");
	refused(fcntl(before_udp, F_SETOWN, getppid()), "signals to another process");
	snprintf(path, sizeof path, "%s/there", dir);
	want(unlink(path) == 0, "unlink, as of the control socket");
}

static void as_helper(void)
{
	const struct sockaddr_in to = {.sin_family = AF_INET,
				       .sin_port = htons(9),
				       .sin_addr = {htonl(INADDR_LOOPBACK)}};
	char path[128];
	int on = 1;

	if (access("/proc/sys/net/ipv4/conf/all/disable_policy", F_OK) == 0)
		want(opened("/proc/sys/net/ipv4/conf/all", "disable_policy", O_RDONLY) >= 0,
		     "the sysctls that switch IPsec off");
	refused(socket(AF_INET, SOCK_STREAM, 0), "TCP");
	want(socket(AF_INET, SOCK_DGRAM, 0) >= 0, "UDP, for ESP in it");
	refused(socket(AF_INET6, SOCK_STREAM, 0), "TCP, IPv6");
	refused(socket(AF_UNIX, SOCK_DGRAM, 0), "the service manager's");
	refused(listen(before_tcp, 1), "listen");
	refused(accept(before_tcp, NULL, NULL), "accept");
	refused(setsockopt(before_tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "another option");
	refused(setsockopt(before_tcp, SOL_SOCKET, SO_MARK, &on, sizeof on), "SO_MARK");
	snprintf(path, sizeof path, "%s/there", dir);
	refused(unlink(path), "unlink");
	want(connect(before_udp, (const struct sockaddr *)&to, sizeof to) == 0, "a route");
}

static bool has_right(unsigned cap)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct caps[2];

	return syscall(SYS_capget, &head, caps) == 0 && (caps[0].permitted & 1u << cap) != 0;
}

/* The number after a word in /proc/PID/status. */
static uint64_t status_of(pid_t pid, const char *word)
{
	char path[64], line[256];
	uint64_t value = UINT64_MAX;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (strncmp(line, word, strlen(word)) == 0)
			value = strtoull(line + strlen(word), NULL, 16);
	if (f != NULL)
		fclose(f);
	return value;
}

static void child(const struct confinement *c, int told, int heard)
{
	struct confined result;
	char byte;

	before_udp = socket(AF_INET, SOCK_DGRAM, 0);
	before_tcp = socket(AF_INET, SOCK_STREAM, 0);
	os_confine(c, &result);
	printf("# %s; not: %s\n", result.done, result.failed);
	is_filtered = strstr(result.done, "filtered") != NULL;
	has_landlock = strstr(result.done, "file access") != NULL;
	want(strstr(result.failed, "filtered") == NULL || !is_filtered, "done or failed, not both");
	want(write(told, is_filtered ? "f" : "-", 1) == 1, "write to what is open");
	want(read(heard, &byte, 1) == 1, "read from it");
	if (!is_filtered)
		return; /* the program has a sanitizer */
	no_other_process();
	no_more_rights();
	no_foreign_files();
	no_foreign_sockets();
	if (c->role == CONFINE_HELPER)
		as_helper();
	else
		as_agent();
}

static void make_files(void)
{
	char path[128];

	CHECK(opened(dir, "there", O_CREAT | O_WRONLY) >= 0);
	CHECK(opened(other, "there", O_CREAT | O_WRONLY) >= 0);
	snprintf(path, sizeof path, "%s/below", dir);
	mkdir(path, 0700);
	CHECK(opened(path, "there", O_CREAT | O_WRONLY) >= 0);
}

static void in_a_child(enum confine_role role)
{
	char path[128];
	const char *const paths[] = {path, "/nowhere/at/all", NULL};
	const struct confinement c = {.role = role, .control_dir = dir, .paths = paths};
	const bool keeps = role == CONFINE_HELPER && has_right(CAP_NET_ADMIN);
	const uint64_t lock = 1u << CAP_IPC_LOCK;
	int status = 0, to[2], from[2];
	char filtered = ' ';
	pid_t pid;

	snprintf(path, sizeof path, "%s/sapair.json", dir);
	make_files();
	CHECK(pipe(to) == 0 && pipe(from) == 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		child(&c, from[1], to[0]);
		fflush(stdout);
		_exit(amiss);
	}
	CHECK(read(from[0], &filtered, 1) == 1);
	CHECK_U64(status_of(pid, "NoNewPrivs:"), 1);
	CHECK_U64(status_of(pid, "CapEff:") & ~lock, keeps ? 1u << CAP_NET_ADMIN : 0);
	CHECK_U64(status_of(pid, "CapPrm:") & ~lock, keeps ? 1u << CAP_NET_ADMIN : 0);
	if (filtered == 'f')
		CHECK_U64(status_of(pid, "Seccomp:"), 2);
	CHECK(write(to[1], "x", 1) == 1);
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status));
	CHECK_U64((uint64_t)WEXITSTATUS(status), 0);
}

/* An io_uring would bypass the filter: libuv must not get one. */
static void an_event_loop_has_no_ring(void)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		uint32_t params[30] = {0};
		uv_loop_t loop;
		char to[64];
		int bad = 0;

		if (!os_confine_rings())
			_exit(100);
		if (syscall(SYS_io_uring_setup, 8, params) >= 0 || errno != ENOSYS)
			bad |= 1;
		if (uv_loop_init(&loop) != 0 || uv_run(&loop, UV_RUN_DEFAULT) != 0)
			bad |= 2;
		for (int fd = 3; fd < 64; fd++) {
			char path[32];
			ssize_t n;

			snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
			n = readlink(path, to, sizeof to - 1);
			if (n > 0 && memcmp(to, "anon_inode:[io_uring]", (size_t)n) == 0)
				bad |= 4;
		}
		_exit(bad);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
	if (WEXITSTATUS(status) == 100)
		SKIP("no filter for system calls on this system");
	else
		CHECK_U64((uint64_t)WEXITSTATUS(status), 0);
}

static void the_agent_opens_sockets_to_peers_and_files_of_its_config_and_no_more(void)
{
	CHECK(mkdtemp(dir) != NULL && mkdtemp(other) != NULL);
	in_a_child(CONFINE_AGENT);
}

static void the_helper_opens_udp_sockets_and_files_of_its_config_and_no_more(void)
{
	in_a_child(CONFINE_HELPER);
}

static void folders_become_inaccessible(void)
{
	static const char *const files[] = {"there", "below/there", "below"};
	char path[128];

	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, files[i]);
		remove(path);
	}
	snprintf(path, sizeof path, "%s/there", other);
	remove(path);
	CHECK(rmdir(dir) == 0 && rmdir(other) == 0);
}

T_MAIN(T(the_agent_opens_sockets_to_peers_and_files_of_its_config_and_no_more),
       T(the_helper_opens_udp_sockets_and_files_of_its_config_and_no_more),
       T(an_event_loop_has_no_ring), T(folders_become_inaccessible))

#else
#include "agent/os/confine.h"
#include "tests/t.h"

static void privileges_that_were_given_up_cannot_be_regained(void)
{
	const struct confinement c = {.role = CONFINE_AGENT};
	struct confined result = {.done = "x", .failed = "x"};

	os_confine(&c, &result);
	CHECK_STR(result.done, ""); /* no restriction yet */
	CHECK_STR(result.failed, "");
}

static void an_event_loop_has_no_ring(void)
{
	CHECK(!os_confine_rings()); /* this process has no io_uring */
}

T_MAIN(T(privileges_that_were_given_up_cannot_be_regained), T(an_event_loop_has_no_ring))
#endif
