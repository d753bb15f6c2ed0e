/*
 * agent/os/common.c - parts of agent/os that are the same on all systems.
 */
#include "agent/os/common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"

#ifdef _WIN32
#define SLASHES "\\/" /* the first one joins */
#define HAS_DRIVES true
#else
#define SLASHES "/"
#define HAS_DRIVES false
#endif

/* ---- paths ----------------------------------------------------------------------------- */

bool os_is_slash(char c)
{
	return c != '\0' && strchr(SLASHES, c) != NULL;
}

/* The number of bytes of "C:" at the beginning of path. */
static size_t drive_of(const char *path)
{
	return HAS_DRIVES && path[0] != '\0' && path[1] == ':' ? 2 : 0;
}

int os_path_join(char out[OS_PATH_MAX], const char *dir, const char *rel, struct err *e)
{
	const size_t d = strlen(dir);
	int n;

	if (os_is_slash(rel[0]) || drive_of(rel) > 0 || d == 0)
		n = snprintf(out, OS_PATH_MAX, "%s", rel);
	else
		n = snprintf(out, OS_PATH_MAX, "%s%.*s%s", dir, os_is_slash(dir[d - 1]) ? 0 : 1,
			     SLASHES, rel);
	if (n < 0 || n >= OS_PATH_MAX) {
		out[0] = '\0';
		return err_set(e, ERR_USAGE, "path too long: %.64s...", rel);
	}
	return 0;
}

void os_dir_of(char out[OS_PATH_MAX], const char *path)
{
	const size_t root = drive_of(path) + 1; /* "/" and "C:\" keep their slash */
	size_t n = strlen(path);

	while (n > 0 && !os_is_slash(path[n - 1]))
		n--;
	if (n == 0) {
		snprintf(out, OS_PATH_MAX, ".");
		return;
	}
	if (n > root)
		n--;
	if (n >= OS_PATH_MAX)
		n = OS_PATH_MAX - 1; /* such a path cannot be opened */
	memcpy(out, path, n);
	out[n] = '\0';
}

int os_make_dirs(const char *path, os_dir_maker *make, struct err *e)
{
	const size_t root = drive_of(path) + 1;
	char part[OS_PATH_MAX];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof part)
		return err_set(e, ERR_USAGE, "create the directory %.64s: the path has %zu bytes",
			       path, n);
	memcpy(part, path, n + 1);
	while (n > root && os_is_slash(part[n - 1]))
		part[--n] = '\0';
	for (size_t i = root; i < n; i++) {
		const char slash = part[i];
		int made;

		if (!os_is_slash(slash) || os_is_slash(part[i - 1]))
			continue;
		part[i] = '\0';
		made = make(part, false, e);
		part[i] = slash;
		if (made < 0)
			return -1;
	}
	return make(part, true, e);
}

/* ---- files ----------------------------------------------------------------------------- */

/* One byte more than expected shows that the file has grown; one is for the NUL. */
int os_read_whole(char **text, size_t *len, size_t expected, os_reader *read, void *file,
		  const char *path, struct err *e)
{
	const size_t size = expected + 2;
	size_t have = 0;
	long n = 1;
	char *buf = malloc(size);

	if (buf == NULL)
		return err_set(e, ERR_OS, "read %s: no memory", path);
	while (n > 0 && have <= expected) {
		n = read(file, buf + have, size - 1 - have, path, e);
		have += n > 0 ? (size_t)n : 0;
	}
	if (n >= 0 && have > expected)
		n = err_set(e, ERR_USAGE, "%s: changed while it was read", path);
	if (n < 0) {
		os_free_text(buf, size);
		return -1;
	}
	buf[have] = '\0';
	*text = buf;
	*len = have;
	return 0;
}

void os_free_text(char *text, size_t len)
{
	if (text == NULL)
		return;
	wipe(text, len);
	free(text);
}

/* ---- terminal and host ------------------------------------------------------------------ */

void os_reduce_host_name(char *out, size_t size, const char *raw)
{
	size_t n = 0;

	if (size == 0)
		return;
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

bool os_no_color(void)
{
	const char *no_color = getenv("NO_COLOR");

	return no_color != NULL && no_color[0] != '\0';
}

/* ---- the control connection -------------------------------------------------------------- */

int os_already_running(struct err *e, const char *path)
{
	err_set(e, ERR_USAGE, "an agent is already running at %s", path);
	return err_hint(e, "stop it, or choose another path with --control");
}

int os_not_running(struct err *e, const char *path, uint32_t code)
{
	err_set(e, ERR_DOWN, "no agent is running at %s", path);
	if (e != NULL)
		e->os = code;
	return err_hint(e, "start it with \"sapair run\", or give its path with --control");
}

int os_control_closed(struct err *e)
{
	return err_set(e, ERR_DOWN, "the agent closed the control connection");
}

int os_control_late(struct err *e, int timeout_ms)
{
	return err_set(e, ERR_TIMEOUT, "no reply from the agent in %d ms", timeout_ms);
}
