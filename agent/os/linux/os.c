/*
 * agent/os/linux/os.c - Linux: the process, clocks, default paths, the service manager.
 */
#include "agent/os/common.h"
#include "agent/os/linux/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define DESCRIPTORS_MAX 65536
#define HEAP_KEEP (128 * 1024) /* bytes: larger blocks are mapped, a longer free end is returned */

/* The process. */

static void fill_std_descriptors(void)
{
	int fd;

	do { /* or the first socket would become stderr, and log lines would go to a peer */
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

static void raise_descriptor_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return;
	if (r.rlim_max > DESCRIPTORS_MAX && r.rlim_cur < DESCRIPTORS_MAX)
		r.rlim_cur = DESCRIPTORS_MAX;
	else if (r.rlim_cur < r.rlim_max && r.rlim_max <= DESCRIPTORS_MAX)
		r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

/* No memory of this process in a core dump, in case one is made anyway. */
static void leave_out_of_cores(void)
{
	int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* no /proc: RLIMIT_CORE has to do */
	if (write(fd, "0", 1) < 0)
		errno = 0;
	close(fd);
}

void os_harden(void)
{
	static const struct rlimit no_core = {0, 0};
	struct sigaction ignore = {0};

	fill_std_descriptors();
	setrlimit(RLIMIT_CORE, &no_core);
	leave_out_of_cores();
	if (!TRACED_BY_SANITIZER) /* the leak check attaches as a tracer */
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	umask(077);
	ignore.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &ignore, NULL);
	raise_descriptor_limit();
#if defined(__GLIBC__)
	/* One arena, and fixed thresholds, which glibc would raise: record buffers of closed links
	 * are returned to the system. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, HEAP_KEEP);
	mallopt(M_TRIM_THRESHOLD, HEAP_KEEP);
#endif
}

static bool may_lock_without_limit(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct caps[2] = {{0, 0, 0}, {0, 0, 0}};
	struct rlimit r;

	if (syscall(SYS_capget, &head, caps) == 0 && (caps[0].effective & 1u << CAP_IPC_LOCK) != 0)
		return true;
	if (getrlimit(RLIMIT_MEMLOCK, &r) != 0 || r.rlim_max != RLIM_INFINITY)
		return false;
	r.rlim_cur = RLIM_INFINITY;
	return setrlimit(RLIMIT_MEMLOCK, &r) == 0;
}

static bool is_locked;

/* MCL_ONFAULT: untouched pages of thread stacks (8 MiB) stay unbacked. */
static bool lock_all(void)
{
	return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

bool os_lock_memory(void)
{
	/* With a limit, MCL_FUTURE would make later allocations fail. */
	if (!may_lock_without_limit())
		return false;
	is_locked = lock_all();
	return is_locked;
}

void os_trim_memory(void)
{
#if defined(__GLIBC__)
	/* Locked pages cannot be returned: unlock them during the call only. */
	if (is_locked && munlockall() != 0)
		return;
	malloc_trim(0);
	if (is_locked)
		is_locked = lock_all();
#endif
}

/* Clocks. */

uint64_t os_now_ns(void)
{
	struct timespec t = {0, 0};

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int64_t os_wall_ms(void)
{
	struct timespec t = {0, 0};

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static char **own_args;

char **os_args(int argc, char **argv)
{
	(void)argc;
	own_args = argv;
	return argv;
}

void os_args_become(char **argv)
{
	own_args = argv;
}

char **os_own_args(void)
{
	static char name[] = "sapair";
	static char *unknown[] = {name, NULL};

	return own_args != NULL ? own_args : unknown;
}

void os_signals(struct os_signal out[OS_SIGNALS])
{
	out[0] = (struct os_signal){SIGTERM, false};
	out[1] = (struct os_signal){SIGINT, false};
	out[2] = (struct os_signal){SIGHUP, true};
}

void os_ignore_signals(void)
{
	struct sigaction ignore = {0};

	ignore.sa_handler = SIG_IGN;
	sigaction(SIGTERM, &ignore, NULL);
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
}

void os_sleep_ms(unsigned ms)
{
	struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

/* Default paths. */

/* An absolute path from the environment, or NULL. */
static const char *env_dir(const char *name)
{
	const char *v = getenv(name);

	return v != NULL && v[0] == '/' && strlen(v) < OS_PATH_MAX - 64 ? v : NULL;
}

void os_config_dir(char out[OS_PATH_MAX])
{
	const char *xdg = env_dir("XDG_CONFIG_HOME"), *home = env_dir("HOME");

	if (geteuid() == 0 || (xdg == NULL && home == NULL))
		snprintf(out, OS_PATH_MAX, "/etc/sapair");
	else if (xdg != NULL)
		snprintf(out, OS_PATH_MAX, "%s/sapair", xdg);
	else
		snprintf(out, OS_PATH_MAX, "%s/.config/sapair", home);
}

void os_control_path(char out[OS_PATH_MAX])
{
	const char *xdg = env_dir("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		snprintf(out, OS_PATH_MAX, "/run/sapair/control.sock");
	else if (xdg != NULL)
		snprintf(out, OS_PATH_MAX, "%s/sapair/control.sock", xdg);
	else
		snprintf(out, OS_PATH_MAX, "/tmp/sapair-%u/control.sock", (unsigned)geteuid());
}

/* Terminal, host, service manager. */

long os_udp_more(struct uv_udp_s *udp, void *data, size_t room, struct sockaddr_storage *from)
{
	socklen_t len = sizeof *from;
	uv_os_fd_t fd;

	if (uv_fileno((uv_handle_t *)udp, &fd) != 0)
		return -1;
	return recvfrom(fd, data, room, MSG_DONTWAIT, (struct sockaddr *)from, &len);
}

int os_udp_share(struct uv_udp_s *udp)
{
	uv_os_fd_t fd;
	int on = 1;

	if (uv_fileno((uv_handle_t *)udp, &fd) != 0)
		return -1;
	return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
}

bool os_is_terminal(int fd)
{
	const char *term = getenv("TERM");

	return !os_no_color() && isatty(fd) && term != NULL && strcmp(term, "dumb") != 0;
}

void os_host_name(char *out, size_t size)
{
	char raw[256] = "";

	gethostname(raw, sizeof raw - 1);
	os_reduce_host_name(out, size, raw);
}

uint64_t os_watchdog_ms(void)
{
	const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (us == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
		return 0;
	return strtoull(us, NULL, 10) / 1000;
}

void os_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char text[512];
	size_t n;
	int fd, len;

	if (path == NULL || (path[0] != '/' && path[0] != '@') || path[1] == '\0')
		return;
	n = strlen(path);
	if (n >= sizeof sa.sun_path)
		return;
	memcpy(sa.sun_path, path, n);
	if (path[0] == '@')
		sa.sun_path[0] = '\0'; /* abstract: the length counts, there is no final NUL */

	/* systemd's Type=notify-reload requires the time of the reload. */
	if (strcmp(state, "RELOADING=1") == 0) {
		struct timespec t = {0, 0};

		clock_gettime(CLOCK_MONOTONIC, &t);
		len = snprintf(text, sizeof text, "%s\nMONOTONIC_USEC=%llu", state,
			       (unsigned long long)t.tv_sec * 1000000u +
				       (unsigned long long)t.tv_nsec / 1000u);
	} else {
		len = snprintf(text, sizeof text, "%s", state);
	}
	if (len < 0 || (size_t)len >= sizeof text)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&sa,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	close(fd);
}

enum os_log os_log_kind(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[48];
	struct stat st;

	if (stream == NULL || fstat(2, &st) != 0)
		return OS_LOG_PLAIN;
	snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, ours) == 0 ? OS_LOG_JOURNAL : OS_LOG_PLAIN;
}

void os_watch_stop(struct uv_loop_s *loop, void (*stop)(void *arg), void *arg)
{
	(void)loop, (void)stop, (void)arg;
}

void os_unwatch_stop(void)
{
}
