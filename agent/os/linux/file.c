/*
 * agent/os/linux/file.c - Linux: files and their permissions.
 */
/* For renameat2, mkostemp. NOLINTNEXTLINE(bugprone-reserved-identifier) */
#define _GNU_SOURCE
#include "agent/os/common.h"
#include "agent/os/linux/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char hint_rights[] = "use sudo, or run as the user who owns it";

int os_failed(struct err *e, int no, const char *what, const char *path)
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

bool os_is_ours(const struct stat *st)
{
	return st->st_uid == 0 || st->st_uid == geteuid();
}

/* Permission to replace the file is as good as permission to write it. */
static int judge_dir_of(const char *path, struct err *e)
{
	char dir[OS_PATH_MAX];
	struct stat st;

	os_dir_of(dir, path);
	if (stat(dir, &st) != 0)
		return os_failed(e, errno, "stat", dir);
	if ((st.st_mode & S_IWOTH) != 0 && (st.st_mode & S_ISVTX) == 0) {
		err_set(e, ERR_PERM, "%s: mode %04o of the directory lets everybody replace %s",
			dir, (unsigned)(st.st_mode & 07777), path);
		return err_hint(e, "chmod o-w the directory");
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
	if (!os_is_ours(st)) {
		err_set(e, ERR_PERM, "%s: owned by user %u, must be %u or root", path,
			(unsigned)st->st_uid, (unsigned)geteuid());
		return err_hint(e, "chown the file to the user that the agent runs as");
	}
	if (trust == OS_SECRET && (mode & 077) != 0) {
		err_set(e, ERR_PERM, "%s: mode %04o lets others read or write a secret", path,
			mode);
		return err_hint(e, "chmod 600 the file; if others may have read it, replace it");
	}
	if ((mode & 022) != 0) {
		err_set(e, ERR_PERM, "%s: mode %04o lets others write it", path, mode);
		return err_hint(e, "chmod go-w the file");
	}
	return judge_dir_of(path, e);
}

static long read_some(void *file, char *data, size_t n, const char *path, struct err *e)
{
	const int fd = *(const int *)file;
	ssize_t got;

	do {
		got = read(fd, data, n);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? os_failed(e, errno, "read", path) : (long)got;
}

int os_read_file(char **text, size_t *len, const char *path, enum os_trust trust, struct err *e)
{
	struct stat st;
	int fd, result = -1;

	*text = NULL;
	*len = 0;
	/* Non-blocking: a FIFO must not block the agent. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return os_failed(e, errno, "open", path);
	if (fstat(fd, &st) != 0)
		os_failed(e, errno, "stat", path);
	else if (judge(&st, path, trust, e) == 0)
		result = os_read_whole(text, len, (size_t)st.st_size, read_some, &fd, path, e);
	close(fd);
	return result;
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

/* Renames tmp to path unless path exists. Old file systems support only link(). */
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
	fsync(fd); /* some file systems do not support it; the file itself is synced */
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
		return os_failed(e, ENAMETOOLONG, "write", path);
	if (stat(path, &st) == 0) {
		if (exclusive)
			return err_set(e, ERR_USAGE, "%s: already exists", path);
		if (!S_ISREG(st.st_mode)) /* never rename over /dev/null */
			return err_set(e, ERR_USAGE, "%s: not a regular file", path);
	}
	snprintf(tmp, sizeof tmp, "%s%s", path, suffix);
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return os_failed(e, errno, "write", path);

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
		return err_set(e, ERR_USAGE, "%s: already exists", path);
	return os_failed(e, no, "write", path);
}

int os_remove_file(const char *path, struct err *e)
{
	if (unlink(path) != 0 && errno != ENOENT)
		return os_failed(e, errno, "remove", path);
	return 0;
}

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Exactly this mode, regardless of the umask. */
static int make_one(const char *path, bool private, struct err *e)
{
	const mode_t mode = private ? 0700 : 0755;

	if (is_dir(path)) /* where mkdir() could fail with EACCES */
		return 0;
	if (mkdir(path, mode) == 0)
		return chmod(path, mode) == 0 ? 0 : os_failed(e, errno, "set the mode of", path);
	if (errno != EEXIST)
		return os_failed(e, errno, "create the directory", path);
	if (is_dir(path))
		return 0;
	return err_set(e, ERR_USAGE, "%s: exists and is not a directory", path);
}

int os_make_dir(const char *path, struct err *e)
{
	return os_make_dirs(path, make_one, e);
}

bool os_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}
