/*
 * agent/os/os.h - the operating system, without IPsec.
 *
 * linux/ and windows/ implement it, with the same file names: os.c the process, file.c files, control.c the
 * control socket or pipe, confine.c dropping privileges. Windows also has detach.c and service.c, for what
 * shells and systemd do on Linux, and inner.c. Outside of agent/os, agent/ipsec and agent/privsep no file includes system headers.
 */
#ifndef SAPAIR_AGENT_OS_H
#define SAPAIR_AGENT_OS_H

#include "proto/base/addr.h"
#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct sockaddr;
struct sockaddr_storage;
struct uv_loop_s;
struct uv_pipe_s;
struct uv_udp_s;

#define OS_PATH_MAX 4096
#define OS_FILE_MAX (1024 * 1024)

/* Call it first in main(). Disables core dumps and tracing by other processes of the user, sets umask 077,
 * ignores SIGPIPE, opens descriptors 0 to 2, and raises the limit of descriptors. */
void os_harden(void);
/* The command line in UTF-8; valid as long as the process. */
char **os_args(int argc, char **argv);
/* Sets argv for the re-exec; must stay valid as long as the process. */
void os_args_become(char **argv);
#ifdef __linux__
char **os_own_args(void); /* argv for the re-exec, NULL-terminated */
#endif
/* Locks the memory of the process; false if that is not allowed. */
bool os_lock_memory(void);
/* Returns free heap pages to the system. */
void os_trim_memory(void);

/* Signals that end the agent or reload its config, by libuv's numbers. */
#define OS_SIGNALS 3
struct os_signal {
	int number;
	bool reload;
};
void os_signals(struct os_signal out[OS_SIGNALS]);
/* Ignores these signals, after the handlers are closed: the process ends with its own exit status. */
void os_ignore_signals(void);

/* Monotonic nanoseconds, including time of suspend (CLOCK_BOOTTIME). */
uint64_t os_now_ns(void);
/* Wall clock, milliseconds since 1970. */
int64_t os_wall_ms(void);

enum os_trust {
	OS_ANYONE, /* no check: certificates */
	OS_CONFIG, /* owned by the process's user or root, not writable by others */
	OS_SECRET  /* and not readable by others */
};

/*
 * Reads a regular file of at most OS_FILE_MAX bytes and adds a NUL. Follows a symbolic link and checks its
 * target. The caller frees *text with os_free_text(), which wipes it. ERR_PERM with a hint ("chmod 600") if
 * the permissions do not match trust or the file cannot be read; ERR_USAGE if it does not exist.
 */
int os_read_file(char **text, size_t *len, const char *path, enum os_trust trust, struct err *e);
void os_free_text(char *text, size_t len);

/* Writes a new file, calls fsync() and renames it to path. Mode 0600 if secret, else 0644. exclusive:
 * ERR_USAGE if path exists. */
int os_write_file(const char *path, const char *text, size_t len, bool secret, bool exclusive,
		  struct err *e);
int os_remove_file(const char *path, struct err *e); /* no error if it does not exist */
/* Creates a directory (mode 0700) and its parents (0755); no error if it exists. */
int os_make_dir(const char *path, struct err *e);
bool os_exists(const char *path);

/* Joins dir and rel if rel is relative. ERR_USAGE if the result is too long; it is never truncated. */
int os_path_join(char out[OS_PATH_MAX], const char *dir, const char *rel, struct err *e);
void os_dir_of(char out[OS_PATH_MAX], const char *path);

/* Defaults: "/etc/sapair" for root, else "$XDG_CONFIG_HOME/sapair" or "~/.config/sapair"; Windows:
 * "C:\\ProgramData\\sapair" for administrators, else "sapair" in the user's local data. */
void os_config_dir(char out[OS_PATH_MAX]);
/* "/run/sapair/control.sock" for root, else "$XDG_RUNTIME_DIR/sapair/control.sock", else
 * "/tmp/sapair-UID/control.sock" (the directory must belong to the user); Windows: the pipe
 * "\\\\.\\pipe\\sapair", with the user's SID appended unless the user is an administrator. */
void os_control_path(char out[OS_PATH_MAX]);
/*
 * Listens at path: a Unix socket in a directory that only the process's user and root can change, or a pipe
 * that only this user and administrators can open. Replaces a socket without a process; ERR_USAGE if an agent
 * answers there. on_client is called for each connection and accepts it with os_control_accept() into an
 * initialised pipe: 0, or a code of libuv (UV_EACCES: user *uid is not allowed). The caller closes the pipe in
 * both cases.
 */
struct os_control;
typedef void os_control_knock(void *arg);
int os_control_listen(struct os_control **out, struct uv_loop_s *loop, const char *path,
		      os_control_knock *on_client, void *arg, struct err *e);
int os_control_accept(struct os_control *c, struct uv_pipe_s *client, unsigned *uid);
void os_control_unlisten(
	struct os_control *c); /* frees c in the loop's close callback; NULL allowed */
#ifdef __linux__
/* The checks of os_control_listen() and os_control_accept(): the directory, which is created if needed, an
 * existing socket, and the user at the other end of fd. */
int os_control_dir_check(const char *path, struct err *e);
int os_control_clear_stale(const char *path, struct err *e);
bool os_control_peer_ok(int fd, unsigned *uid);
#endif
/* Connects to the control socket, blocking; -1 with ERR_DOWN (no agent) or ERR_PERM. */
int os_control_connect(const char *path, struct err *e);
/* Blocking. Sends all bytes; receives some, 0 at the end of the stream. ERR_TIMEOUT after timeout_ms; a
 * negative timeout_ms means none. */
int os_control_send(int fd, const char *data, size_t n, struct err *e);
long os_control_recv(int fd, char *data, size_t n, int timeout_ms, struct err *e);
void os_control_close(int fd);

/* Sets *ss and returns its length. */
unsigned os_sockaddr(struct sockaddr_storage *ss, const struct addr *a, uint16_t port);
/* The reverse; an IPv4-mapped address becomes IPv4. addr.len is 0 for another family. */
struct endpoint os_endpoint(const struct sockaddr *sa);

/* libuv delivers at most this many datagrams of a socket in one loop iteration, which starves a socket that
 * many peers share during many TLS handshakes. After so many, read the rest with os_udp_more(). It returns
 * the length of a queued datagram, truncated to room, or -1 if there is none; always -1 on systems where
 * libuv has no such limit. */
#define OS_UDP_BURST 32
long os_udp_more(struct uv_udp_s *udp, void *data, size_t room, struct sockaddr_storage *from);

/* Lets several sockets of this user be bound to one address and port, before bind. -1 where the system has
 * nothing of the kind. */
int os_udp_share(struct uv_udp_s *udp);

/*
 * Addresses of this host. changed(arg) is called on the loop's thread within a second after one came or went;
 * it may be called when none did. Open it before os_confine().
 */
struct os_addresses;
int os_addresses_watch(struct os_addresses **out, struct uv_loop_s *loop, void (*changed)(void *),
		       void *arg, struct err *e);
/* Whether a is an address of this host; true also if that cannot be found out, and for w NULL. */
bool os_addresses_has(struct os_addresses *w, const struct addr *a);
void os_addresses_close(struct os_addresses *w); /* frees w when the loop runs; NULL allowed */

/* True if fd (1 or 2) is a terminal with colour and NO_COLOR is not set. */
bool os_is_terminal(int fd);
/* The host's name without its domain, reduced to the characters of a sapair name. */
void os_host_name(char *out, size_t size);
void os_sleep_ms(unsigned ms);

/* Notifies the service manager, if there is one: "READY=1", "RELOADING=1", "STOPPING=1", "STATUS=...". */
void os_notify(const char *state);
/* Maximum interval at which the service manager expects "WATCHDOG=1"; 0: never. */
uint64_t os_watchdog_ms(void);
/* The reader of stderr: a user, the journal, or the Windows event log. */
enum os_log { OS_LOG_PLAIN, OS_LOG_JOURNAL, OS_LOG_EVENTS };
enum os_log os_log_kind(void);

/*
 * Windows: the service manager stops a process without a signal; stop(arg) is then called on the loop's
 * thread. Does nothing elsewhere. Call os_unwatch_stop() before the loop ends.
 */
void os_watch_stop(struct uv_loop_s *loop, void (*stop)(void *arg), void *arg);
void os_unwatch_stop(void);

#endif
