/*
 * agent/os/os_linux.c - Linux: files and whom to trust with them, the control socket, the process
 * itself, the service manager.
 */
/* For renameat2, mkostemp, struct ucred. NOLINTNEXTLINE(bugprone-reserved-identifier) */
#define _GNU_SOURCE
#include "agent/os/os.h"
#include "crypto/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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
#define START_WAIT_MS 2000     /* for another agent that is about to take the same control socket */
#define HEAP_KEEP (128 * 1024) /* bytes: larger blocks are mapped, a longer free end is returned */

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

static const char hint_rights[] = "use sudo, or run as the user who owns it";

/* errno as an error: the class by what the user can do about it. */
static int failed(struct err *e, int no, const char *what, const char *path)
{
	enum err_code code = ERR_OS;
	const char *hint = NULL;

	switch (no) {
	case EACCES:
	case EPERM:
		code = ERR_PERM;
		hint = hint_rights;
		break;
	case EROFS:
		code = ERR_PERM;
		break;
	case ENOENT:
	case ENOTDIR:
	case EISDIR:
	case ELOOP:
	case ENAMETOOLONG:
		code = ERR_USAGE;
		break;
	default:
		break;
	}
	err_set(e, code, "%s %s: %s", what, path, strerror(no));
	if (e != NULL) {
		e->os = (uint32_t)no;
		e->hint = hint;
	}
	return -1;
}

/* The process. */

static void fill_std_descriptors(void)
{
	int fd;

	do { /* else the first socket becomes "stderr" and log lines go to a peer */
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

/* Nothing of ours into a core, should somebody make one after all. */
static void leave_out_of_cores(void)
{
	int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* no /proc: none is made anyway */
	if (write(fd, "0", 1) < 0)
		errno = 0; /* likewise */
	close(fd);
}

void os_harden(void)
{
	static const struct rlimit no_core = {0, 0};
	struct sigaction ignore = {0};

	fill_std_descriptors();
	setrlimit(RLIMIT_CORE, &no_core);
	leave_out_of_cores();
	if (!TRACED_BY_SANITIZER) /* the leak check attaches to us as a tracer */
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	umask(077);
	ignore.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &ignore, NULL);
	raise_descriptor_limit();
#if defined(__GLIBC__)
	/* One arena, and fixed thresholds (glibc raises them by itself): the record buffers of
	 * closed links go back to the system. */
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

/* On fault: a reserved page that nobody touched stays unbacked (thread stacks: 8 MiB). */
static bool lock_all(void)
{
	return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

bool os_lock_memory(void)
{
	/* Under a limit, locking what is to come turns a later malloc into a failure. */
	if (!may_lock_without_limit())
		return false;
	is_locked = lock_all();
	return is_locked;
}

void os_trim_memory(void)
{
#if defined(__GLIBC__)
	/* Free pages amid the heap that are locked cannot be given back. They are unlocked for
	 * the moment of it only, in which nothing has a reason to be swapped out. */
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

/* Files. */

static bool owned_by_us_or_root(const struct stat *st)
{
	return st->st_uid == 0 || st->st_uid == geteuid();
}

/* Who can replace the file decides as much as who can write it. */
static int judge_dir_of(const char *path, struct err *e)
{
	char dir[OS_PATH_MAX];
	struct stat st;

	os_dir_of(dir, path);
	if (stat(dir, &st) != 0)
		return failed(e, errno, "look at", dir);
	if ((st.st_mode & S_IWOTH) != 0 && (st.st_mode & S_ISVTX) == 0) {
		err_set(e, ERR_PERM, "%s: mode %04o of the directory lets everybody replace %s",
			dir, (unsigned)(st.st_mode & 07777), path);
		return err_hint(e, "take that right away: chmod o-w on the directory");
	}
	return 0;
}

static int judge(const struct stat *st, const char *path, enum os_trust trust, struct err *e)
{
	const unsigned mode = st->st_mode & 07777;

	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_USAGE, "%s: not a regular file", path);
	if (st->st_size > OS_FILE_MAX)
		return err_set(e, ERR_USAGE, "%s: longer than %d bytes", path, OS_FILE_MAX);
	if (trust == OS_ANYONE)
		return 0;
	if (!owned_by_us_or_root(st)) {
		err_set(e, ERR_PERM, "%s: owned by user %u, wanted %u or root", path,
			(unsigned)st->st_uid, (unsigned)geteuid());
		return err_hint(e, "chown the file to the user that the agent runs as");
	}
	if (trust == OS_SECRET && (mode & 077) != 0) {
		err_set(e, ERR_PERM, "%s: mode %04o lets others read or write a secret", path,
			mode);
		return err_hint(e, "chmod 600 the file; if others saw it, make a new one");
	}
	if ((mode & 022) != 0) {
		err_set(e, ERR_PERM, "%s: mode %04o lets others write it", path, mode);
		return err_hint(e, "chmod go-w the file");
	}
	return judge_dir_of(path, e);
}

/* Reads to the end; room for one byte too many shows a file that grew, one for the NUL. */
static int slurp(char **text, size_t *len, int fd, size_t expected, const char *path, struct err *e)
{
	const size_t size = expected + 2;
	size_t have = 0;
	char *buf = malloc(size);

	if (buf == NULL)
		return err_set(e, ERR_OS, "read %s: no memory", path);
	while (have <= expected) {
		ssize_t n = read(fd, buf + have, size - 1 - have);

		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			failed(e, errno, "read", path);
			goto free_buf;
		}
		have += (size_t)n;
	}
	if (have > expected) {
		err_set(e, ERR_USAGE, "%s: changes while it is read", path);
		goto free_buf;
	}
	buf[have] = '\0';
	*text = buf;
	*len = have;
	return 0;

free_buf:
	os_free_text(buf, size);
	return -1;
}

int os_read_file(char **text, size_t *len, const char *path, enum os_trust trust, struct err *e)
{
	struct stat st;
	int fd, result = -1;

	*text = NULL;
	*len = 0;
	/* Not blocking: a FIFO in the place of a file must not hold the agent. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return failed(e, errno, "open", path);
	if (fstat(fd, &st) != 0)
		failed(e, errno, "look at", path);
	else if (judge(&st, path, trust, e) == 0)
		result = slurp(text, len, fd, (size_t)st.st_size, path, e);
	close(fd);
	return result;
}

void os_free_text(char *text, size_t len)
{
	if (text == NULL)
		return;
	wipe(text, len);
	free(text);
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Moves tmp to path unless something is there. Old file systems know only link(). */
static int place_new(const char *tmp, const char *path)
{
	if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (link(tmp, path) != 0)
		return -1;
	unlink(tmp);
	return 0;
}

static void sync_dir_of(const char *path)
{
	char dir[OS_PATH_MAX];
	int fd;

	os_dir_of(dir, path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	fsync(fd); /* some file systems can't: the file's own fsync has said what matters */
	close(fd);
}

int os_write_file(const char *path, const char *text, size_t len, bool secret, bool exclusive,
		  struct err *e)
{
	static const char suffix[] = ".XXXXXX";
	char tmp[OS_PATH_MAX];
	struct stat st;
	int fd, no;

	if (strlen(path) + sizeof suffix > sizeof tmp)
		return failed(e, ENAMETOOLONG, "write", path);
	if (stat(path, &st) == 0) {
		if (exclusive)
			return err_set(e, ERR_USAGE, "%s: is there already", path);
		if (!S_ISREG(st.st_mode)) /* never rename over /dev/null */
			return err_set(e, ERR_USAGE, "%s: not a regular file", path);
	}
	snprintf(tmp, sizeof tmp, "%s%s", path, suffix);
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return failed(e, errno, "write", path);

	if (fchmod(fd, secret ? 0600 : 0644) != 0 || write_all(fd, text, len) != 0 ||
	    fsync(fd) != 0) {
		no = errno;
		close(fd);
		goto remove_tmp;
	}
	if (close(fd) != 0) {
		no = errno;
		goto remove_tmp;
	}
	if ((exclusive ? place_new(tmp, path) : rename(tmp, path)) != 0) {
		no = errno;
		goto remove_tmp;
	}
	sync_dir_of(path);
	return 0;

remove_tmp:
	unlink(tmp);
	if (no == EEXIST)
		return err_set(e, ERR_USAGE, "%s: is there already", path);
	return failed(e, no, "write", path);
}

int os_remove_file(const char *path, struct err *e)
{
	if (unlink(path) != 0 && errno != ENOENT)
		return failed(e, errno, "remove", path);
	return 0;
}

/* One level. What we make has exactly that mode, whatever the umask. */
static int make_one(const char *path, mode_t mode, struct err *e)
{
	struct stat st;

	if (mkdir(path, mode) == 0) {
		if (chmod(path, mode) != 0)
			return failed(e, errno, "set the mode of", path);
		return 0;
	}
	if (errno != EEXIST)
		return failed(e, errno, "make the directory", path);
	if (stat(path, &st) != 0)
		return failed(e, errno, "look at", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_USAGE, "%s: is there, but is not a directory", path);
	return 0;
}

int os_make_dir(const char *path, struct err *e)
{
	char part[OS_PATH_MAX];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof part)
		return failed(e, n == 0 ? ENOENT : ENAMETOOLONG, "make the directory", path);
	memcpy(part, path, n + 1);
	while (n > 1 && part[n - 1] == '/')
		part[--n] = '\0';
	for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		struct stat st;
		int made;

		*slash = '\0';
		/* An existing parent may be one that we could not make: look first. */
		made = stat(part, &st) == 0 && S_ISDIR(st.st_mode) ? 0 : make_one(part, 0755, e);
		*slash = '/';
		if (made < 0)
			return -1;
	}
	return make_one(part, 0700, e);
}

bool os_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

/* Paths. */

int os_path_join(char out[OS_PATH_MAX], const char *dir, const char *rel, struct err *e)
{
	const size_t d = strlen(dir);
	int n;

	if (rel[0] == '/' || d == 0)
		n = snprintf(out, OS_PATH_MAX, "%s", rel);
	else
		n = snprintf(out, OS_PATH_MAX, "%s%s%s", dir, dir[d - 1] == '/' ? "" : "/", rel);
	if (n < 0 || n >= OS_PATH_MAX) {
		out[0] = '\0';
		return err_set(e, ERR_USAGE, "path too long: %.64s...", rel);
	}
	return 0;
}

void os_dir_of(char out[OS_PATH_MAX], const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t n;

	if (slash == NULL) {
		snprintf(out, OS_PATH_MAX, ".");
		return;
	}
	n = slash == path ? 1 : (size_t)(slash - path);
	if (n >= OS_PATH_MAX)
		n = OS_PATH_MAX - 1; /* such a path opens nowhere */
	memcpy(out, path, n);
	out[n] = '\0';
}

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

/* The control socket. */

static int socket_address(struct sockaddr_un *sa, const char *path, struct err *e)
{
	const size_t n = strlen(path);

	memset(sa, 0, sizeof *sa);
	sa->sun_family = AF_UNIX;
	if (n == 0 || n >= sizeof sa->sun_path) {
		err_set(e, ERR_USAGE,
			"control socket %s: a path of %zu bytes; 1 to %zu can be used", path, n,
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
			return failed(e, errno, "look at", dir);
		if (os_make_dir(dir, e) < 0)
			return -1;
		if (lstat(dir, &st) != 0)
			return failed(e, errno, "look at", dir);
	}
	/* A link in /tmp is somebody's trap; one that root or we made is ours to follow. */
	if (S_ISLNK(st.st_mode) && (!owned_by_us_or_root(&st) || stat(dir, &st) != 0)) {
		err_set(e, ERR_PERM, "%s: a link that another user made", dir);
		return err_hint(e, "remove it, or choose another place with --control");
	}
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_USAGE, "%s: not a directory", dir);
	if (!owned_by_us_or_root(&st)) {
		err_set(e, ERR_PERM, "%s: owned by user %u, wanted %u or root", dir,
			(unsigned)st.st_uid, (unsigned)geteuid());
		return err_hint(e, "choose another place with --control");
	}
	/* In a sticky directory nobody else can replace our socket, whose own mode is 0700. */
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
		return errno == ENOENT ? 0 : failed(e, errno, "look at", path);
	if (!S_ISSOCK(st.st_mode)) {
		err_set(e, ERR_USAGE, "%s: is there, but is not a socket", path);
		return err_hint(e, "remove it, or choose another place with --control");
	}
	fd = connect_to(&sa, SOCK_NONBLOCK);
	if (fd < 0 && errno == ECONNREFUSED)
		return os_remove_file(path, e);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 && errno != EAGAIN) /* EAGAIN: alive, and busy */
		return failed(e, errno, "connect to", path);
	if (fd >= 0)
		close(fd);
	err_set(e, ERR_USAGE, "an agent is running already: it answers at %s", path);
	return err_hint(e, "stop it first, or give this one another --control");
}

static bool peer_of(int fd, unsigned *uid)
{
	struct ucred cred;
	socklen_t n = sizeof cred;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) != 0 || n != sizeof cred)
		return false;
	*uid = cred.uid;
	return true;
}

bool os_control_peer_ok(int fd, unsigned *uid)
{
	return peer_of(fd, uid) && (*uid == 0 || *uid == geteuid());
}

/* A lock file beside the socket, held from the look at what is there until we answer: of agents
 * that start at once, none takes the socket of another for a stale one. It goes before the lock
 * does, so that nothing is left; who then gets the lock of a file that is gone tries again. Where
 * files cannot be locked, only one start at a time is safe. */
static int starting_lock(const char *path, char lock[OS_PATH_MAX], struct err *e)
{
	const uint64_t end_ns = os_now_ns() + START_WAIT_MS * UINT64_C(1000000);
	struct stat st;
	int fd, n = snprintf(lock, OS_PATH_MAX, "%s.lock", path);

	if (n < 0 || n >= OS_PATH_MAX)
		return failed(e, ENAMETOOLONG, "lock", path);
	for (;;) {
		fd = open(lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
		if (fd < 0)
			return failed(e, errno, "make the lock", lock);
		if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
			close(fd);
			if (os_now_ns() >= end_ns) {
				err_set(e, ERR_USAGE,
					"%s: another agent has been starting there for %d s", lock,
					START_WAIT_MS / 1000);
				return err_hint(
					e, "stop it first, or give this one another --control");
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

/* What is at the path is ours to replace: nobody else starts there now. */
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
		int no = errno;

		if (no != ENOENT && no != ECONNREFUSED && no != ENOTDIR)
			return failed(e, no, "connect to the agent at", path);
		err_set(e, ERR_DOWN, "no agent is running: nobody answers at %s", path);
		if (e != NULL)
			e->os = (uint32_t)no;
		return err_hint(e, "start it with \"sapair run\", or say where it is: --control");
	}
	/* The socket may stand in a directory where others could have been first; root may also
	 * drive the agent of a user. */
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
			return err_set(e, ERR_DOWN, "the agent closed the control connection");
		if (sent < 0)
			return failed(e, errno, "send to", "the agent");
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
			return err_set(e, ERR_TIMEOUT, "no reply from the agent in %d ms",
				       timeout_ms);
		if (ready < 0 && errno != EINTR)
			return failed(e, errno, "wait for", "the agent");
		if (ready < 0)
			continue;
		got = recv(fd, data, n, 0);
		if (got >= 0)
			return (long)got;
		if (errno == ECONNRESET)
			return 0;
		if (errno != EINTR && errno != EAGAIN)
			return failed(e, errno, "receive from", "the agent");
	}
}

void os_control_close(int fd)
{
	if (fd >= 0)
		close(fd);
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

bool os_is_terminal(int fd)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (no_color != NULL && no_color[0] != '\0')
		return false;
	return isatty(fd) && term != NULL && strcmp(term, "dumb") != 0;
}

void os_host_name(char *out, size_t size)
{
	char raw[256] = "";
	size_t n = 0;

	if (size == 0)
		return;
	gethostname(raw, sizeof raw - 1);
	for (const char *c = raw; *c != '\0' && *c != '.' && n + 1 < size; c++) {
		char low = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
		bool fits = (low >= 'a' && low <= 'z') || (low >= '0' && low <= '9');

		if (fits || (n > 0 && (low == '-' || low == '_')))
			out[n++] = low;
	}
	out[n] = '\0';
	if (n == 0)
		snprintf(out, size, "host");
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
		sa.sun_path[0] = '\0'; /* abstract: no NUL at the end, so the length counts */

	/* systemd's Type=notify-reload wants the moment of the reload with it. */
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
