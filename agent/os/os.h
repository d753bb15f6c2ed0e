/*
 * agent/os/os.h - what differs by system and is not IPsec.
 *
 * One implementation a system, in three files: os_* is the process, file_* files, control_* the control
 * socket or pipe. No other file outside agent/os and agent/ipsec includes system headers.
 */
#ifndef SAPAIR_AGENT_OS_H
#define SAPAIR_AGENT_OS_H

#include "proto/base/addr.h"
#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct sockaddr_storage;
struct uv_loop_s;
struct uv_pipe_s;
struct uv_udp_s;

#define OS_PATH_MAX 4096
#define OS_FILE_MAX (1024 * 1024)

/* First thing in main: no core dumps, not traceable, umask 077, a sane set of signals (SIGPIPE
 * ignored), descriptors 0 to 2 open. Raises the descriptor limit to what is allowed. */
void os_harden(void);
/* The command line in UTF-8, whatever the system made of it; lives as long as the process. */
char **os_args(int argc, char **argv);
/* From here on it is this one, for whoever starts the program again; it must live as long. */
void os_args_become(char **argv);
#ifdef __linux__
char **os_own_args(void); /* NULL behind the last one */
#endif
/* Locks the process's memory when that is allowed; false (and no error) otherwise. */
bool os_lock_memory(void);
/* Gives free heap pages back. */
void os_trim_memory(void);

/* What ends the agent, or makes it read its config anew; by the number that libuv knows it by. */
#define OS_SIGNALS 3
struct os_signal {
	int number;
	bool reload;
};
void os_signals(struct os_signal out[OS_SIGNALS]);
/* From the end of the handlers to that of the process: it ends by itself, with its own status. */
void os_ignore_signals(void);

/* Monotonic nanoseconds that go on during suspend where the system can (CLOCK_BOOTTIME). */
uint64_t os_now_ns(void);
/* Wall clock, seconds since 1970, and milliseconds of it. */
int64_t os_wall_ms(void);

enum os_trust {
	OS_ANYONE, /* certificates: others may read and even own the file */
	OS_CONFIG, /* nobody else may write it */
	OS_SECRET  /* nobody else may read or write it; owner is us or root */
};

/*
 * Reads a whole regular file (a link is followed, then judged) of at most OS_FILE_MAX bytes,
 * adds a NUL. *text is freed by os_free_text(), which wipes. ERR_PERM with a hint ("chmod 600")
 * when it is not as trusted as wanted or may not be read; ERR_USAGE when it is not there.
 */
int os_read_file(char **text, size_t *len, const char *path, enum os_trust trust, struct err *e);
void os_free_text(char *text, size_t len);

/* Writes a new file and renames it into place (fsync before); secret: mode 0600, else 0644.
 * exclusive: ERR_USAGE when it is there already. */
int os_write_file(const char *path, const char *text, size_t len, bool secret, bool exclusive,
		  struct err *e);
int os_remove_file(const char *path, struct err *e); /* not there is no error */
/* Makes a directory (mode 0700) and its parents (0755); there already is no error. */
int os_make_dir(const char *path, struct err *e);
bool os_exists(const char *path);

/* joins when rel is relative; result cut never: ERR_USAGE when too long. */
int os_path_join(char out[OS_PATH_MAX], const char *dir, const char *rel, struct err *e);
void os_dir_of(char out[OS_PATH_MAX], const char *path);

/* Defaults: "/etc/sapair" for root, else "$XDG_CONFIG_HOME/sapair" or "~/.config/sapair"; Windows:
 * "C:\\ProgramData\\sapair" for administrators, else "sapair" in the user's local data. */
void os_config_dir(char out[OS_PATH_MAX]);
/* "/run/sapair/control.sock" for root, else "$XDG_RUNTIME_DIR/sapair/control.sock", else
 * "/tmp/sapair-UID/control.sock" (the directory is checked to be ours, 0700); Windows: the pipe
 * "\\\\.\\pipe\\sapair", with the user's SID behind it when he is no administrator. */
void os_control_path(char out[OS_PATH_MAX]);
/*
 * The agent's end: a Unix socket whose directory only we (and root) can change, or a pipe that only
 * administrators and we can open. One that nobody serves any more is replaced; ERR_USAGE when an
 * agent answers there. on_client is called for each that knocks, and takes it by
 * os_control_accept() into a pipe that is initialised: 0, or a code of libuv (UV_EACCES: the client
 * of user *uid may not drive the agent), then the pipe is still to be closed.
 */
struct os_control;
typedef void os_control_knock(void *arg);
int os_control_listen(struct os_control **out, struct uv_loop_s *loop, const char *path,
		      os_control_knock *on_client, void *arg, struct err *e);
int os_control_accept(struct os_control *c, struct uv_pipe_s *client, unsigned *uid);
void os_control_unlisten(struct os_control *c); /* frees c when the loop has run; NULL allowed */
#ifdef __linux__
/* What os_control_listen() and _accept() check: the directory (made if needed), a socket that is
 * there already, the process at the other end of fd. */
int os_control_dir_check(const char *path, struct err *e);
int os_control_clear_stale(const char *path, struct err *e);
bool os_control_peer_ok(int fd, unsigned *uid);
#endif
/* Blocking client connection to the control socket; -1 with ERR_DOWN (nobody there) or PERM. */
int os_control_connect(const char *path, struct err *e);
/* Blocking, whole: send all; receive some (0 at the end); timeout_ms < 0 waits for ever
 * (ERR_TIMEOUT otherwise). */
int os_control_send(int fd, const char *data, size_t n, struct err *e);
long os_control_recv(int fd, char *data, size_t n, int timeout_ms, struct err *e);
void os_control_close(int fd);

/* libuv hands out this many datagrams of a socket in one turn of its loop, then it goes on to other
 * work. That starves a socket that many peers share while others shake hands: after so many, take
 * the rest by os_udp_more(). It gives the length of one that waits (cut at room), or -1 when none
 * does, or where the system hands out all that it has anyway. */
#define OS_UDP_BURST 32
long os_udp_more(struct uv_udp_s *udp, void *data, size_t room, struct sockaddr_storage *from);

/* Is the output a terminal that can do colour (and NO_COLOR is not set)? fd 1 or 2. */
bool os_is_terminal(int fd);
/* The host's name without domain, made fit for a sapair name. */
void os_host_name(char *out, size_t size);
void os_sleep_ms(unsigned ms);

/* Tells the service manager ("READY=1", "RELOADING=1", "STOPPING=1", "STATUS=..."), if any. */
void os_notify(const char *state);
/* The service manager wants "WATCHDOG=1" at least so often; 0: it does not. */
uint64_t os_watchdog_ms(void);
/* What reads stderr: a person, or a service manager's log. */
enum os_log { OS_LOG_PLAIN, OS_LOG_JOURNAL, OS_LOG_EVENTS };
enum os_log os_log_kind(void);

/*
 * Where a service manager ends a process by other means than a signal (Windows), stop(arg) is called
 * on the loop's thread then; elsewhere never. Unwatched before the loop ends.
 */
void os_watch_stop(struct uv_loop_s *loop, void (*stop)(void *arg), void *arg);
void os_unwatch_stop(void);

#endif
