/*
 * tests/agent/test_confine.c - what is given up is gone, and what an agent needs is still there.
 */
#ifdef __linux__
#define _GNU_SOURCE /* NOLINT */
#include "agent/os/confine.h"
#include "tests/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

static char dir[] = "/tmp/sapair-confine-XXXXXX";

/* Whether a call failed for want of the right. */
static bool refused(int rc)
{
	return rc < 0 && (errno == EPERM || errno == EACCES);
}

static bool opens(const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* In a child: what it gives up it never gets back. Bits tell what was not so. */
static int after(bool is_filtered, bool is_read_only)
{
	char *const argv[] = {(char *)(uintptr_t) "true", NULL};
	char path[128];
	int wrong = 0;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		wrong |= 1;
	if (is_filtered && !refused(execve("/bin/true", argv, NULL)))
		wrong |= 2;
	if (is_filtered && !refused(socket(AF_PACKET, SOCK_RAW, 0)))
		wrong |= 4;
	if (socket(AF_INET, SOCK_STREAM, 0) < 0 || socket(AF_UNIX, SOCK_STREAM, 0) < 0)
		wrong |= 8;
	if (is_filtered && !refused(setuid(getuid())))
		wrong |= 16;
	if (!opens("there", O_RDONLY))
		wrong |= 32;
	if (is_read_only && (opens("there", O_RDWR) || opens("new", O_CREAT | O_WRONLY)))
		wrong |= 64;
	snprintf(path, sizeof path, "%s/there", dir);
	if (unlink(path) != 0) /* as the control socket */
		wrong |= 128;
	return wrong;
}

static void what_is_given_up_is_gone(void)
{
	struct confinement c = {.control_dir = dir};
	int status = 0;
	pid_t child;

	CHECK(mkdtemp(dir) != NULL && opens("there", O_CREAT | O_WRONLY));
	child = fork();
	if (child == 0) {
		char text[200];

		os_confine(&c, text, sizeof text);
		printf("# %s\n", text);
		fflush(stdout);
		_exit(after(strstr(text, "filtered") != NULL, strstr(text, "read-only") != NULL));
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status));
	CHECK_U64((uint64_t)WEXITSTATUS(status), 0);
	rmdir(dir);
}

/* The rings of libuv would go round the filter: it must not get any. */
static void an_event_loop_has_no_ring(void)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		uint32_t params[30] = {0};
		uv_loop_t loop;
		char to[64];
		int wrong = 0;

		if (!os_confine_rings())
			_exit(100);
		if (syscall(SYS_io_uring_setup, 8, params) >= 0 || errno != ENOSYS)
			wrong |= 1;
		if (uv_loop_init(&loop) != 0 || uv_run(&loop, UV_RUN_DEFAULT) != 0)
			wrong |= 2;
		for (int fd = 3; fd < 64; fd++) {
			char path[32];
			ssize_t n;

			snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
			n = readlink(path, to, sizeof to - 1);
			if (n > 0 && memcmp(to, "anon_inode:[io_uring]", (size_t)n) == 0)
				wrong |= 4;
		}
		_exit(wrong);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
	if (WEXITSTATUS(status) == 100)
		SKIP("no filter for system calls here");
	else
		CHECK_U64((uint64_t)WEXITSTATUS(status), 0);
}

#else
#include "agent/os/confine.h"
#include "tests/t.h"

static void what_is_given_up_is_gone(void)
{
	const struct confinement c = {.net_admin = false};
	char text[80] = "x";

	os_confine(&c, text, sizeof text);
	CHECK_STR(text, ""); /* nothing here yet */
}

static void an_event_loop_has_no_ring(void)
{
	CHECK(!os_confine_rings()); /* nothing here has any */
}
#endif

T_MAIN(T(what_is_given_up_is_gone), T(an_event_loop_has_no_ring))
