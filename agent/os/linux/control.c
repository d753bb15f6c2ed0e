/*
 * agent/os/linux/control.c - Linux: the control socket, server and client side.
 */
/* For struct ucred. NOLINTNEXTLINE(bugprone-reserved-identifier) */
#define _GNU_SOURCE
#include "agent/os/common.h"
#include "agent/os/linux/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#define START_WAIT_MS 2000 /* wait for another agent that starts at the same control socket */

static int socket_address(struct sockaddr_un *sa, const char *path, struct err *e)
{
	const size_t n = strlen(path);

	memset(sa, 0, sizeof *sa);
	sa->sun_family = AF_UNIX;
	if (n == 0 || n >= sizeof sa->sun_path) {
		err_set(e, ERR_USAGE,
			"control socket %s: the path has %zu bytes, must have 1 to %zu", path, n,
			sizeof sa->sun_path - 1);
		return err_hint(e, "choose a shorter one with --control");
	}
	memcpy(sa->sun_path, path, n + 1);
	return 0;
}

int os_control_dir_check(const char *path, struct err *e)
{
	char dir[OS_PATH_MAX];
	struct sockaddr_un sa;
	struct stat st;

	if (socket_address(&sa, path, e) < 0)
		return -1;
	os_dir_of(dir, path);
	if (lstat(dir, &st) != 0) {
		if (errno != ENOENT)
			return os_failed(e, errno, "stat", dir);
		if (os_make_dir(dir, e) < 0)
			return -1;
		if (lstat(dir, &st) != 0)
			return os_failed(e, errno, "stat", dir);
	}
	/* Another user may have made a symbolic link in /tmp: follow only links of root and our own. */
	if (S_ISLNK(st.st_mode) && (!os_is_ours(&st) || stat(dir, &st) != 0)) {
		err_set(e, ERR_PERM, "%s: a symbolic link of another user", dir);
		return err_hint(e, "remove it, or choose another path with --control");
	}
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_USAGE, "%s: not a directory", dir);
	if (!os_is_ours(&st)) {
		err_set(e, ERR_PERM, "%s: owned by user %u, must be %u or root", dir,
			(unsigned)st.st_uid, (unsigned)geteuid());
		return err_hint(e, "choose another path with --control");
	}
	/* In a sticky directory other users cannot replace our socket, whose mode is 0700. */
	if ((st.st_mode & 022) != 0 && (st.st_mode & S_ISVTX) == 0) {
		err_set(e, ERR_PERM, "%s: mode %04o lets others replace the control socket", dir,
			(unsigned)(st.st_mode & 07777));
		return err_hint(e, "chmod 700 the directory");
	}
	return 0;
}

static int connect_to(const struct sockaddr_un *sa, int flags)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	int no;

	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)sa, sizeof *sa) == 0)
		return fd;
	no = errno;
	close(fd);
	errno = no;
	return -1;
}

int os_control_clear_stale(const char *path, struct err *e)
{
	struct sockaddr_un sa;
	struct stat st;
	int fd;

	if (socket_address(&sa, path, e) < 0)
		return -1;
	if (lstat(path, &st) != 0)
		return errno == ENOENT ? 0 : os_failed(e, errno, "stat", path);
	if (!S_ISSOCK(st.st_mode)) {
		err_set(e, ERR_USAGE, "%s: exists and is not a socket", path);
		return err_hint(e, "remove it, or choose another path with --control");
	}
	fd = connect_to(&sa, SOCK_NONBLOCK);
	if (fd < 0 && errno == ECONNREFUSED)
		return os_remove_file(path, e);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 && errno != EAGAIN) /* EAGAIN: the agent is alive and busy */
		return os_failed(e, errno, "connect to", path);
	if (fd >= 0)
		close(fd);
	return os_already_running(e, path);
}

bool os_control_peer_ok(int fd, unsigned *uid)
{
	struct ucred cred;
	socklen_t n = sizeof cred;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) != 0 || n != sizeof cred)
		return false;
	*uid = cred.uid;
	return *uid == 0 || *uid == geteuid();
}

/* Takes a lock on a file beside the socket. It is held from the check of an existing socket until ours
 * listens, so that an agent that starts at the same time does not take our socket for a stale one. The file
 * is removed before the lock is released; an agent that then gets the lock of the removed file tries again. */
static int starting_lock(const char *path, char lock[OS_PATH_MAX], struct err *e)
{
	const uint64_t end_ns = os_now_ns() + START_WAIT_MS * UINT64_C(1000000);
	struct stat st;
	int fd, n = snprintf(lock, OS_PATH_MAX, "%s.lock", path);

	if (n < 0 || n >= OS_PATH_MAX)
		return os_failed(e, ENAMETOOLONG, "lock", path);
	for (;;) {
		fd = open(lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
		if (fd < 0)
			return os_failed(e, errno, "create the lock file", lock);
		if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
			close(fd);
			if (os_now_ns() >= end_ns) {
				err_set(e, ERR_USAGE,
					"%s: locked for %d s by another agent that is starting",
					lock, START_WAIT_MS / 1000);
				return err_hint(e,
						"stop it, or choose another path with --control");
			}
			os_sleep_ms(5);
			continue;
		}
		if (fstat(fd, &st) == 0 && st.st_nlink > 0)
			return fd;
		close(fd);
	}
}

static void starting_unlock(int fd, const char *lock)
{
	unlink(lock);
	close(fd);
}

struct os_control {
	uv_pipe_t pipe;
	os_control_knock *on_client;
	void *arg;
	char path[OS_PATH_MAX];
};

static void on_knock(uv_stream_t *server, int status)
{
	struct os_control *c = server->data;

	if (status == 0)
		c->on_client(c->arg);
}

static void on_unlistened(uv_handle_t *h)
{
	free(h->data);
}

/* Called with the lock: no other agent starts at this path. */
static int take_path(struct os_control **out, struct uv_loop_s *loop, const char *path,
		     os_control_knock *on_client, void *arg, struct err *e)
{
	struct os_control *c;
	int rc;

	if (os_control_clear_stale(path, e) < 0)
		return -1;
	c = calloc(1, sizeof *c);
	if (c == NULL)
		return err_set(e, ERR_OS, "no memory for %s", path);
	snprintf(c->path, sizeof c->path, "%s", path);
	c->on_client = on_client;
	c->arg = arg;
	uv_pipe_init(loop, &c->pipe, 0);
	c->pipe.data = c;
	rc = uv_pipe_bind2(&c->pipe, path, strlen(path), UV_PIPE_NO_TRUNCATE);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&c->pipe, 64, on_knock);
	if (rc != 0) {
		uv_close((uv_handle_t *)&c->pipe, on_unlistened);
		return err_set(e, rc == UV_EACCES ? ERR_PERM : ERR_OS, "%s: %s", path,
			       uv_strerror(rc));
	}
	*out = c;
	return 0;
}

int os_control_listen(struct os_control **out, struct uv_loop_s *loop, const char *path,
		      os_control_knock *on_client, void *arg, struct err *e)
{
	char lock[OS_PATH_MAX];
	int fd, rc;

	*out = NULL;
	if (os_control_dir_check(path, e) < 0)
		return -1;
	fd = starting_lock(path, lock, e);
	if (fd < 0)
		return -1;
	rc = take_path(out, loop, path, on_client, arg, e);
	starting_unlock(fd, lock);
	return rc;
}

int os_control_accept(struct os_control *c, struct uv_pipe_s *client, unsigned *uid)
{
	uv_os_fd_t fd;
	int rc = uv_accept((uv_stream_t *)&c->pipe, (uv_stream_t *)client);

	*uid = 0;
	if (rc == 0)
		rc = uv_fileno((uv_handle_t *)client, &fd);
	if (rc == 0 && !os_control_peer_ok(fd, uid))
		rc = UV_EACCES;
	return rc;
}

void os_control_unlisten(struct os_control *c)
{
	if (c == NULL)
		return;
	os_remove_file(c->path, NULL);
	uv_close((uv_handle_t *)&c->pipe, on_unlistened);
}

int os_control_connect(const char *path, struct err *e)
{
	struct sockaddr_un sa;
	unsigned uid = 0;
	int fd;

	if (socket_address(&sa, path, e) < 0)
		return -1;
	fd = connect_to(&sa, 0);
	if (fd < 0) {
		if (errno != ENOENT && errno != ECONNREFUSED && errno != ENOTDIR)
			return os_failed(e, errno, "connect to the agent at", path);
		return os_not_running(e, path, (uint32_t)errno);
	}
	/* Another user may have created the socket. Root may use the agent of any user. */
	if (geteuid() != 0 && !os_control_peer_ok(fd, &uid)) {
		close(fd);
		return err_set(e, ERR_PERM, "%s: belongs to a process of user %u", path, uid);
	}
	return fd;
}

int os_control_send(int fd, const char *data, size_t n, struct err *e)
{
	while (n > 0) {
		ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
			return os_control_closed(e);
		if (sent < 0)
			return os_failed(e, errno, "send to", "the agent");
		data += sent;
		n -= (size_t)sent;
	}
	return 0;
}

long os_control_recv(int fd, char *data, size_t n, int timeout_ms, struct err *e)
{
	const uint64_t end_ns =
		os_now_ns() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000000u;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t got;

	for (;;) {
		int left_ms = -1, ready;

		if (timeout_ms >= 0) {
			uint64_t now_ns = os_now_ns();

			left_ms = now_ns >= end_ns ? 0
						   : (int)((end_ns - now_ns + 999999) / 1000000);
		}
		ready = poll(&p, 1, left_ms);
		if (ready == 0)
			return os_control_late(e, timeout_ms);
		if (ready < 0 && errno != EINTR)
			return os_failed(e, errno, "wait for", "the agent");
		if (ready < 0)
			continue;
		got = recv(fd, data, n, 0);
		if (got >= 0)
			return (long)got;
		if (errno == ECONNRESET)
			return 0;
		if (errno != EINTR && errno != EAGAIN)
			return os_failed(e, errno, "receive from", "the agent");
	}
}

void os_control_close(int fd)
{
	if (fd >= 0)
		close(fd);
}
