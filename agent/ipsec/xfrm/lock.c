/*
 * agent/ipsec/xfrm/lock.c - one process at a time changes our policies and SAs in a network namespace.
 *
 * The lock is an abstract Unix socket: its name belongs to the network namespace, as policies and SAs do,
 * and the kernel frees it when the process ends, however it ends. An orphaned helper that has not run
 * since its agent was killed therefore still holds the lock, and `sapair clean` waits for it.
 */
#define _GNU_SOURCE /* struct ucred */

#include "agent/ipsec/xfrm/db.h"
#include "agent/os/log.h"
#include "agent/os/os.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCK_NAME "sapair-xfrm"
#define WAIT_MS 5000
#define RETRY_MS 50

static socklen_t set_name(struct sockaddr_un *name)
{
	memset(name, 0, sizeof *name);
	name->sun_family = AF_UNIX;
	memcpy(name->sun_path + 1, LOCK_NAME, sizeof LOCK_NAME - 1);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof LOCK_NAME);
}

/* The descriptor of the lock, or -1 and errno. */
static int bind_name(void)
{
	struct sockaddr_un name;
	socklen_t len = set_name(&name);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), saved;

	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&name, len) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* The process that holds the lock; pid 0: not known. */
static struct ucred find_holder(void)
{
	struct ucred holder = {.pid = 0};
	socklen_t size = sizeof holder;
	struct sockaddr_un name;
	socklen_t len = set_name(&name);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return holder;
	if (connect(fd, (struct sockaddr *)&name, len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &holder, &size) < 0)
		holder.pid = 0;
	close(fd);
	return holder;
}

/* Any user may bind an abstract name; the lock of a user without the right to change IPsec is ignored. */
static bool may_change_ipsec(const struct ucred *holder)
{
	return holder->pid == 0 || holder->uid == 0 || holder->uid == geteuid();
}

static int refuse(const struct ucred *holder, struct err *e)
{
	if (holder->pid != 0)
		err_set(e, ERR_USAGE, "process %ld of sapair still manages IPsec on this host",
			(long)holder->pid);
	else
		err_set(e, ERR_USAGE, "another process of sapair still manages IPsec on this host");
	return err_hint(
		e,
		"sapair stop ends an agent; a helper without an agent ends by itself, or by kill");
}

int xfrm_take_lock(struct xfrm *db, struct err *e)
{
	for (unsigned waited = 0;; waited += RETRY_MS) {
		struct ucred holder;

		if (db->lock >= 0)
			return 0;
		db->lock = bind_name();
		if (db->lock >= 0)
			return 0;
		if (errno != EADDRINUSE) {
			err_set(e, ERR_OS, "lock IPsec against other processes of sapair: %s",
				strerror(errno));
			return -1;
		}
		holder = find_holder();
		if (!may_change_ipsec(&holder)) {
			log_line(LOG_WARN,
				 "xfrm: process %ld of user %ld holds the name of sapair's lock: "
				 "continuing without the lock",
				 (long)holder.pid, (long)holder.uid);
			return 0;
		}
		if (waited >= WAIT_MS)
			return refuse(&holder, e);
		os_sleep_ms(RETRY_MS);
	}
}

void xfrm_drop_lock(struct xfrm *db)
{
	if (db->lock >= 0)
		close(db->lock);
	db->lock = -1;
}
