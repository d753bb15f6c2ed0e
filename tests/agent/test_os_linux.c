/*
 * agent/os on Linux: trust in files, the control socket, and the environment of the process.
 */
#define _GNU_SOURCE /* for accept4. NOLINT */
#include "agent/os/os.h"
#include "tests/t.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

static char dir[64], path[OS_PATH_MAX];
static struct err e;

/* A directory for this program; every test leaves it empty. */
static void begin(void)
{
	memset(&e, 0, sizeof e);
	snprintf(dir, sizeof dir, "/tmp/sapair-os-XXXXXX");
	CHECK(mkdtemp(dir) != NULL);
}

static const char *in_dir(const char *name)
{
	CHECK(os_path_join(path, dir, name, &e) == 0);
	return path;
}

static void done(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -r %s", dir);
	CHECK(system(command) == 0);
}

static void put_file(const char *name, const char *text, mode_t mode)
{
	FILE *f;

	unlink(in_dir(name)); /* an older file may be read-only */
	f = fopen(path, "w");
	if (CHECK(f != NULL))
		CHECK(fputs(text, f) >= 0 && fclose(f) == 0 && chmod(path, mode) == 0);
}

/* Reads the file. Returns the class of the error, or ERR_NONE if its text is "text". */
static enum err_code read_as(const char *name, enum os_trust trust)
{
	size_t len;
	char *text;

	memset(&e, 0, sizeof e);
	if (os_read_file(&text, &len, in_dir(name), trust, &e) < 0) {
		CHECK(text == NULL && len == 0);
		return e.code;
	}
	CHECK_U64(len, 4);
	CHECK_STR(text, "text");
	os_free_text(text, len);
	return ERR_NONE;
}

static void files_are_as_trusted_as_their_mode(void)
{
	static const struct {
		mode_t mode;
		enum err_code anyone, config, secret;
	} rows[] = {
		{0600, ERR_NONE, ERR_NONE, ERR_NONE}, {0400, ERR_NONE, ERR_NONE, ERR_NONE},
		{0644, ERR_NONE, ERR_NONE, ERR_PERM}, {0640, ERR_NONE, ERR_NONE, ERR_PERM},
		{0604, ERR_NONE, ERR_NONE, ERR_PERM}, {0620, ERR_NONE, ERR_PERM, ERR_PERM},
		{0602, ERR_NONE, ERR_PERM, ERR_PERM}, {0666, ERR_NONE, ERR_PERM, ERR_PERM},
	};

	begin();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		put_file("f", "text", rows[i].mode);
		CHECK(read_as("f", OS_ANYONE) == rows[i].anyone);
		CHECK(read_as("f", OS_CONFIG) == rows[i].config);
		if (!CHECK(read_as("f", OS_SECRET) == rows[i].secret))
			NOTE("mode %o", rows[i].mode);
	}
	put_file("f", "text", 0644);
	CHECK(read_as("f", OS_SECRET) == ERR_PERM);
	CHECK(strstr(e.cause, "/f: mode 0644 lets others read or write a secret") != NULL);
	CHECK(e.hint != NULL && strncmp(e.hint, "chmod 600", 9) == 0);
	done();
}

static void a_user_who_can_replace_a_file_can_write_it(void)
{
	begin();
	put_file("f", "text", 0600);
	CHECK(chmod(dir, 0777) == 0);
	CHECK(read_as("f", OS_SECRET) == ERR_PERM);
	CHECK(strstr(e.cause, "lets everybody replace") != NULL);
	CHECK(read_as("f", OS_CONFIG) == ERR_PERM);
	CHECK(read_as("f", OS_ANYONE) == ERR_NONE);
	CHECK(chmod(dir, 01777) == 0);
	CHECK(read_as("f", OS_SECRET) == ERR_NONE);
	CHECK(chmod(dir, 0700) == 0);
	done();
}

static void a_file_of_another_user_is_refused(void)
{
	if (geteuid() != 0) {
		SKIP("needs root");
		return;
	}
	begin();
	put_file("f", "text", 0600);
	CHECK(chown(path, 12345, 12345) == 0);
	CHECK(read_as("f", OS_SECRET) == ERR_PERM);
	CHECK(strstr(e.cause, "owned by user 12345, must be 0 or root") != NULL);
	CHECK(read_as("f", OS_CONFIG) == ERR_PERM);
	CHECK(read_as("f", OS_ANYONE) == ERR_NONE);
	done();
}

static void only_regular_files_of_a_sane_size_are_read(void)
{
	char *text, *big = calloc(1, OS_FILE_MAX + 2);
	size_t len;

	begin();
	CHECK(read_as("none", OS_ANYONE) == ERR_USAGE);
	CHECK(strstr(e.cause, "No such file") != NULL && e.os == ENOENT);
	CHECK(mkfifo(in_dir("fifo"), 0600) == 0); /* without a writer: must not block */
	CHECK(read_as("fifo", OS_ANYONE) == ERR_USAGE);
	CHECK(read_as(".", OS_ANYONE) == ERR_USAGE);
	CHECK(symlink("f", in_dir("link")) == 0);
	put_file("f", "text", 0600);
	CHECK(read_as("link", OS_SECRET) == ERR_NONE);
	put_file("f", "text", 0644);
	CHECK(read_as("link", OS_SECRET) == ERR_PERM); /* the target of the link is checked */
	put_file("f", "", 0600);
	CHECK(os_read_file(&text, &len, in_dir("f"), OS_SECRET, &e) == 0 && len == 0);
	CHECK_STR(text, "");
	os_free_text(text, len);

	memset(big, 'x', OS_FILE_MAX + 1);
	put_file("f", big, 0600);
	CHECK(os_read_file(&text, &len, in_dir("f"), OS_SECRET, &e) < 0 && e.code == ERR_USAGE);
	big[OS_FILE_MAX] = '\0';
	put_file("f", big, 0600);
	CHECK(os_read_file(&text, &len, in_dir("f"), OS_SECRET, &e) == 0 && len == OS_FILE_MAX);
	os_free_text(text, len);
	free(big);
	done();
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	return CHECK(stat(in_dir(name), &st) == 0) ? st.st_mode & 07777 : 0;
}

static size_t files_in_dir(void)
{
	glob_t found;
	size_t n;

	if (glob(in_dir("*"), 0, NULL, &found) != 0)
		return 0;
	n = found.gl_pathc;
	globfree(&found);
	return n;
}

static void a_file_is_written_whole_or_not_at_all(void)
{
	mode_t was = umask(077);

	begin();
	CHECK(os_write_file(in_dir("f"), "text", 4, true, true, &e) == 0);
	CHECK(read_as("f", OS_SECRET) == ERR_NONE && mode_of("f") == 0600);
	CHECK(os_write_file(in_dir("f"), "else", 4, false, true, &e) < 0 && e.code == ERR_USAGE);
	CHECK(strstr(e.cause, "already exists") != NULL);
	CHECK(read_as("f", OS_SECRET) == ERR_NONE);
	CHECK(os_write_file(in_dir("f"), "text", 4, false, false, &e) == 0);
	CHECK(mode_of("f") == 0644); /* regardless of the umask */
	CHECK(os_write_file(in_dir("no/f"), "text", 4, false, false, &e) < 0);
	CHECK(e.code == ERR_USAGE);
	CHECK(os_write_file("/dev/null", "text", 4, false, false, &e) < 0 && e.code == ERR_USAGE);
	CHECK(os_write_file(dir, "text", 4, false, false, &e) < 0);
	CHECK_U64(files_in_dir(), 1); /* no temporary file is left */
	CHECK(os_remove_file(in_dir("f"), &e) == 0 && os_remove_file(in_dir("f"), &e) == 0);
	CHECK(!os_exists(in_dir("f")) && os_exists(dir));
	umask(was);
	done();
}

/* Of many processes that write a new file at once, one succeeds. */
static void an_exclusive_write_has_one_winner(void)
{
	int winners = 0;

	begin();
	in_dir("f");
	fflush(stdout);
	for (int i = 0; i < 8; i++)
		if (fork() == 0)
			_exit(os_write_file(path, "text", 4, true, true, NULL) == 0 ? 0 : 1);
	for (int i = 0, status; i < 8; i++)
		if (wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
			winners++;
	CHECK_U64((uint64_t)winners, 1);
	CHECK(read_as("f", OS_SECRET) == ERR_NONE);
	CHECK_U64(files_in_dir(), 1);
	done();
}

static void directories_are_made_with_their_parents(void)
{
	mode_t was = umask(077);

	begin();
	CHECK(os_make_dir(in_dir("a/b/c/"), &e) == 0);
	CHECK(mode_of("a") == 0755 && mode_of("a/b") == 0755 && mode_of("a/b/c") == 0700);
	CHECK(os_make_dir(in_dir("a/b"), &e) == 0 && mode_of("a/b") == 0755);
	put_file("f", "text", 0600);
	CHECK(os_make_dir(in_dir("f"), &e) < 0 && e.code == ERR_USAGE);
	CHECK(os_make_dir(in_dir("f/g"), &e) < 0 && e.code == ERR_USAGE);
	CHECK(os_make_dir("", &e) < 0 && e.code == ERR_USAGE);
	umask(was);
	done();
}

static void paths_are_joined_and_split(void)
{
	static const struct {
		const char *base, *rel, *joined;
	} rows[] = {{"/etc", "x", "/etc/x"}, {"/etc/", "x", "/etc/x"}, {"/etc", "/x", "/x"},
		    {"", "x", "x"},          {"/", "x", "/x"},         {".", "../x", "./../x"}};
	static const struct {
		const char *path, *dir;
	} dirs[] = {{"/etc/x", "/etc"}, {"/x", "/"}, {"x", "."}, {"a/b/c", "a/b"}, {"/", "/"}};
	static char long_[OS_PATH_MAX];
	char out[OS_PATH_MAX];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK(os_path_join(out, rows[i].base, rows[i].rel, &e) == 0);
		CHECK_STR(out, rows[i].joined);
	}
	for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
		os_dir_of(out, dirs[i].path);
		CHECK_STR(out, dirs[i].dir);
	}
	memset(long_, 'x', sizeof long_ - 1);
	CHECK(os_path_join(out, "", long_, &e) == 0);
	CHECK(os_path_join(out, "d", long_, &e) < 0 && e.code == ERR_USAGE && out[0] == '\0');
}

static void default_paths_depend_on_user_and_environment(void)
{
	char out[OS_PATH_MAX], want[64];

	os_config_dir(out);
	if (geteuid() == 0)
		CHECK_STR(out, "/etc/sapair");
	os_control_path(out);
	if (geteuid() == 0)
		CHECK_STR(out, "/run/sapair/control.sock");
	fflush(stdout);
	if (fork() == 0) { /* as another user */
		t_failed = false;
		if (geteuid() == 0)
			CHECK(setuid(12345) == 0);
		setenv("XDG_CONFIG_HOME", "/c", 1);
		setenv("XDG_RUNTIME_DIR", "/r", 1);
		os_config_dir(out);
		CHECK_STR(out, "/c/sapair");
		os_control_path(out);
		CHECK_STR(out, "/r/sapair/control.sock");
		setenv("XDG_CONFIG_HOME", "relative",
		       1); /* ignored, as its specification requires */
		setenv("HOME", "/h", 1);
		unsetenv("XDG_RUNTIME_DIR");
		os_config_dir(out);
		CHECK_STR(out, "/h/.config/sapair");
		os_control_path(out);
		snprintf(want, sizeof want, "/tmp/sapair-%u/control.sock", (unsigned)geteuid());
		CHECK_STR(out, want);
		fflush(stdout);
		_exit(t_failed ? 1 : 0);
	} else {
		int status = 1;

		CHECK(wait(&status) > 0 && status == 0);
	}
}

/* ---- the control socket ------------------------------------------------------------------ */

static int listen_at(const char *where)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", where);
	CHECK(bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0 && listen(fd, 4) == 0);
	return fd;
}

static void the_socket_directory_is_private(void)
{
	begin();
	CHECK(os_control_dir_check(in_dir("new/c.sock"), &e) == 0);
	CHECK(mode_of("new") == 0700);
	CHECK(chmod(in_dir("new"), 0755) == 0);
	CHECK(os_control_dir_check(in_dir("new/c.sock"), &e) == 0);
	CHECK(chmod(in_dir("new"), 0770) == 0);
	CHECK(os_control_dir_check(in_dir("new/c.sock"), &e) < 0 && e.code == ERR_PERM);
	CHECK(strstr(e.cause, "mode 0770") != NULL);
	CHECK(chmod(in_dir("new"), 01777) == 0); /* as /tmp */
	CHECK(os_control_dir_check(in_dir("new/c.sock"), &e) == 0);
	put_file("f", "text", 0600);
	CHECK(os_control_dir_check(in_dir("f/c.sock"), &e) < 0 && e.code == ERR_USAGE);
	if (geteuid() == 0) {
		CHECK(chown(in_dir("new"), 12345, 12345) == 0);
		CHECK(os_control_dir_check(in_dir("new/c.sock"), &e) < 0 && e.code == ERR_PERM);
		CHECK(symlink("/tmp", in_dir("trap")) == 0);
		CHECK(lchown(path, 12345, 12345) == 0);
		CHECK(os_control_dir_check(in_dir("trap/c.sock"), &e) < 0 && e.code == ERR_PERM);
	}
	CHECK(os_control_dir_check(in_dir("a-name-that-is-too-long-for-a-socket-address-in-the-unix-"
					  "domain-which-has-only-one-hundred-and-eight-bytes"),
				   &e) < 0 &&
	      e.code == ERR_USAGE);
	done();
}

static void a_stale_socket_is_removed_and_a_live_one_is_not(void)
{
	int fd;

	begin();
	CHECK(os_control_clear_stale(in_dir("c"), &e) == 0); /* no socket */
	fd = listen_at(path);
	CHECK(os_control_clear_stale(path, &e) < 0 && e.code == ERR_USAGE);
	CHECK(strncmp(e.cause, "an agent is already running at /tmp/", 36) == 0);
	CHECK(os_exists(path));
	close(fd); /* as after a killed agent */
	CHECK(os_exists(path));
	CHECK(os_control_clear_stale(path, &e) == 0 && !os_exists(path));
	put_file("c", "text", 0600);
	CHECK(os_control_clear_stale(path, &e) < 0 && e.code == ERR_USAGE && os_exists(path));
	done();
}

static void on_nobody(void *arg)
{
	(void)arg;
}

static unsigned slow_us;

/* Replaces that of libc: adds a delay between the check of a socket and its removal. */
int unlink(const char *name)
{
	if (slow_us > 0)
		usleep(slow_us);
	return unlinkat(AT_FDCWD, name, 0);
}

/* A process that listens at the control socket on a signal: 0 on success, 3 if an agent already runs.
 * A process that succeeds keeps the socket until all have reported their result. */
static void start_when_told(int go, int said, int end)
{
	struct os_control *c;
	uv_loop_t loop;
	char byte;

	slow_us = 300 * (unsigned)(getpid() % 7);
	uv_loop_init(&loop);
	byte = (char)read(go, &byte, 1);
	byte = os_control_listen(&c, &loop, path, on_nobody, NULL, &e) == 0   ? 0
	       : e.code == ERR_USAGE && strstr(e.cause, "already running at") ? 3
									      : 4;
	if (byte == 4)
		fprintf(stderr, "# %s\n", e.cause);
	if (write(said, &byte, 1) != 1)
		_exit(5);
	_exit(read(end, &byte, 1) == 0 ? 0 : 6);
}

static void of_agents_that_start_at_once_one_has_the_socket(void)
{
	enum { STARTS = 6, ROUNDS = 30 };

	begin();
	in_dir("c");
	for (unsigned round = 0; round < ROUNDS; round++) {
		int go[2], said[2], end[2], status;
		unsigned how[8] = {0};
		char byte;

		if (round % 3 != 0) { /* a socket as after a killed agent, or none */
			unlink(path);
			close(listen_at(path));
		} else {
			unlink(path);
		}
		CHECK(pipe(go) == 0 && pipe(said) == 0 && pipe(end) == 0);
		fflush(stdout);
		for (unsigned i = 0; i < STARTS; i++)
			if (fork() == 0) {
				close(go[1]);
				close(end[1]);
				start_when_told(go[0], said[1], end[0]);
			}
		close(go[1]); /* start all */
		for (unsigned i = 0; i < STARTS; i++)
			if (CHECK(read(said[0], &byte, 1) == 1))
				how[byte & 7]++;
		close(end[1]);
		for (unsigned i = 0; i < STARTS; i++)
			CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
		for (unsigned i = 0; i < 2; i++) {
			close(i == 0 ? go[0] : said[1]);
			close(i == 0 ? said[0] : end[0]);
		}
		CHECK_U64(how[0], 1);
		CHECK_U64(how[3], STARTS - 1);
		CHECK(!os_exists(in_dir("c.lock"))); /* no lock file is left */
		in_dir("c");
	}
	done();
}

static void a_start_waits_for_another_but_not_for_ever(void)
{
	struct os_control *c = NULL;
	uv_loop_t loop;
	int lock;

	begin();
	uv_loop_init(&loop);
	lock = open(in_dir("c.lock"), O_RDWR | O_CREAT, 0600);
	CHECK(lock >= 0 && flock(lock, LOCK_EX) == 0);
	CHECK(os_control_listen(&c, &loop, in_dir("c"), on_nobody, NULL, &e) < 0 && c == NULL);
	CHECK(e.code == ERR_USAGE && strstr(e.cause, "another agent") != NULL && e.hint != NULL);
	CHECK(!os_exists(path));
	close(lock); /* as after a start that was killed: the lock is released, the file exists */
	CHECK(os_control_listen(&c, &loop, path, on_nobody, NULL, &e) == 0 && os_exists(path));
	CHECK(!os_exists(in_dir("c.lock")));
	os_control_unlisten(c);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&loop) == 0);
	CHECK(symlink("/etc/passwd", in_dir("c.lock")) ==
	      0); /* a symbolic link made by another user */
	CHECK(os_control_listen(&c, &loop, in_dir("c"), on_nobody, NULL, &e) < 0);
	done();
}

static void a_client_talks_to_the_agent(void)
{
	unsigned uid = 77777;
	char text[16];
	int listener, client, server;

	begin();
	CHECK(os_control_connect(in_dir("c"), &e) < 0 && e.code == ERR_DOWN);
	CHECK(strstr(e.cause, "no agent is running") != NULL && e.hint != NULL);
	listener = listen_at(path);
	client = os_control_connect(path, &e);
	server = accept(listener, NULL, NULL);
	if (!CHECK(client >= 0 && server >= 0))
		return;
	CHECK(os_control_peer_ok(server, &uid) && uid == geteuid());
	CHECK(os_control_send(client, "ask\n", 4, &e) == 0);
	CHECK(os_control_recv(server, text, sizeof text, 1000, &e) == 4);
	CHECK(os_control_recv(client, text, sizeof text, 20, &e) == -1 && e.code == ERR_TIMEOUT);
	CHECK(os_control_recv(client, text, sizeof text, 0, &e) == -1 && e.code == ERR_TIMEOUT);
	CHECK(write(server, "reply", 5) == 5);
	CHECK(os_control_recv(client, text, sizeof text, -1, &e) == 5);
	close(server);
	CHECK(os_control_recv(client, text, sizeof text, 1000, &e) == 0);
	while (os_control_send(client, "ask\n", 4, &e) == 0)
		;
	CHECK(e.code == ERR_DOWN); /* and no SIGPIPE */
	os_control_close(client);
	os_control_close(-1);
	close(listener);
	CHECK(os_control_connect(path, &e) < 0 && e.code == ERR_DOWN); /* stale */
	done();
}

static void another_user_cannot_control_the_agent(void)
{
	int listener, server, status = 0;
	unsigned uid = 0;

	if (geteuid() != 0) {
		SKIP("needs root");
		return;
	}
	begin();
	CHECK(chmod(dir, 0755) == 0);
	listener = listen_at(in_dir("c"));
	CHECK(chmod(path, 0777) == 0);
	fflush(stdout);
	if (fork() == 0) {
		bool refused;
		int fd;

		if (setuid(12345) != 0)
			_exit(2);
		fd = os_control_connect(path, &e); /* root's agent: the client trusts it */
		refused = os_control_clear_stale("/root/none", &e) < 0 && e.code == ERR_PERM;
		_exit(fd >= 0 && refused ? 0 : 1);
	}
	server = accept(listener, NULL, NULL);
	CHECK(!os_control_peer_ok(server, &uid));
	CHECK_U64(uid, 12345);
	CHECK(wait(&status) > 0 && WIFEXITED(status));
	CHECK_U64((uint64_t)WEXITSTATUS(status), 0);
	close(server);
	close(listener);
	done();
}

/* ---- the process ------------------------------------------------------------------------- */

static void the_service_manager_is_notified(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	const struct timeval patience = {2, 0};
	char text[128];
	ssize_t n;
	int fd;

	begin();
	unsetenv("NOTIFY_SOCKET");
	os_notify("READY=1"); /* no service manager: does nothing */
	for (int abstract = 0; abstract < 2; abstract++) {
		char name[80];

		snprintf(name, sizeof name, "%s%s/n", abstract != 0 ? "@" : "", dir);
		memset(sa.sun_path, 0, sizeof sa.sun_path);
		memcpy(sa.sun_path, name, strlen(name));
		if (abstract != 0)
			sa.sun_path[0] = '\0';
		fd = socket(AF_UNIX, SOCK_DGRAM, 0);
		CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
		CHECK(bind(fd, (struct sockaddr *)&sa,
			   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))) ==
		      0);
		setenv("NOTIFY_SOCKET", name, 1);
		os_notify("READY=1");
		n = recv(fd, text, sizeof text - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		CHECK_STR(text, "READY=1");
		os_notify("RELOADING=1");
		n = recv(fd, text, sizeof text - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		CHECK(strncmp(text, "RELOADING=1\nMONOTONIC_USEC=", 27) == 0);
		close(fd);
	}
	setenv("NOTIFY_SOCKET", "/nowhere/n", 1);
	os_notify("READY=1");
	unsetenv("NOTIFY_SOCKET");
	done();
}

static void the_journal_is_recognised(void)
{
	struct stat st;
	char text[64];

	unsetenv("JOURNAL_STREAM");
	CHECK(os_log_kind() == OS_LOG_PLAIN);
	CHECK(fstat(2, &st) == 0);
	snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", text, 1);
	CHECK(os_log_kind() == OS_LOG_JOURNAL);
	setenv("JOURNAL_STREAM", "1:2", 1);
	CHECK(os_log_kind() == OS_LOG_PLAIN);
	unsetenv("JOURNAL_STREAM");
}

static void clocks_advance(void)
{
	uint64_t then_ns = os_now_ns();

	os_sleep_ms(3);
	CHECK(os_now_ns() >= then_ns + 3000000);
	CHECK(os_wall_ms() > INT64_C(1700000000000));
}

static void the_host_name_fits(void)
{
	char name[65], tiny[4];

	os_host_name(name, sizeof name);
	CHECK(name[0] != '\0' && strchr(name, '.') == NULL);
	for (const char *c = name; *c != '\0'; c++)
		CHECK((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-' ||
		      *c == '_');
	os_host_name(tiny, sizeof tiny);
	CHECK(strlen(tiny) <= 3);
}

static void colour_is_for_terminals(void)
{
	int ends[2];

	CHECK(pipe(ends) == 0);
	CHECK(!os_is_terminal(ends[1]));
	close(ends[0]);
	close(ends[1]);
}

static bool first_line(const char *name, char *line, int size)
{
	FILE *f = fopen(name, "r");
	bool got = f != NULL && fgets(line, size, f) != NULL;

	if (f != NULL)
		fclose(f);
	return got;
}

/* The last test, because it changes this process. */
static void a_hardened_process_has_its_restrictions(void)
{
	struct rlimit r;
	char line[32];
	mode_t mask;

	close(0);
	os_harden();
	CHECK(fcntl(0, F_GETFD) >= 0);
	CHECK(getrlimit(RLIMIT_CORE, &r) == 0 && r.rlim_cur == 0 && r.rlim_max == 0);
	if (first_line("/proc/self/coredump_filter", line, sizeof line))
		CHECK(strtoul(line, NULL, 16) == 0);
	CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
	CHECK(r.rlim_cur == r.rlim_max || r.rlim_cur >= 65536);
	mask = umask(022);
	CHECK_U64(mask, 077);
	CHECK(raise(SIGPIPE) == 0); /* ignored */
	os_trim_memory();
	if (os_lock_memory()) {
		void *p = malloc(1 << 20);

		CHECK(p != NULL);
		free(p);
	}
}

T_MAIN(T(files_are_as_trusted_as_their_mode), T(a_user_who_can_replace_a_file_can_write_it),
       T(a_file_of_another_user_is_refused), T(only_regular_files_of_a_sane_size_are_read),
       T(a_file_is_written_whole_or_not_at_all), T(an_exclusive_write_has_one_winner),
       T(directories_are_made_with_their_parents), T(paths_are_joined_and_split),
       T(default_paths_depend_on_user_and_environment), T(the_socket_directory_is_private),
       T(a_stale_socket_is_removed_and_a_live_one_is_not),
       T(of_agents_that_start_at_once_one_has_the_socket),
       T(a_start_waits_for_another_but_not_for_ever), T(a_client_talks_to_the_agent),
       T(another_user_cannot_control_the_agent), T(the_service_manager_is_notified),
       T(the_journal_is_recognised), T(clocks_advance), T(the_host_name_fits),
       T(colour_is_for_terminals), T(a_hardened_process_has_its_restrictions))
