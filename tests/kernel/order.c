/*
 * tests/kernel/order.c - orders rekeys at an agent's control socket, and costs next to nothing itself.
 *
 *     order SOCKET PEER COUNT AHEAD      AHEAD: requests that are sent before their turn; 0: none
 *
 * Prints one JSON object: "ms" of each receipt's own total, and how long all took, in seconds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ROOM 65536

static char have[ROOM];
static size_t n_have;
static double *took;

static void die(const char *what)
{
	fprintf(stderr, "order: %s: %s\n", what, errno != 0 ? strerror(errno) : have);
	exit(1);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int open_control(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (strlen(path) >= sizeof to.sun_path)
		die("the path is too long");
	strcpy(to.sun_path, path);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
		die(path);
	return fd;
}

static void order(int fd, const char *peer, size_t n)
{
	char request[256], all[8192];
	int len = snprintf(request, sizeof request,
			   "{\"verb\":\"rekey\",\"peer\":\"%s\",\"verify\":false}\n", peer);
	size_t at = 0;

	for (; n > 0 && at + (size_t)len <= sizeof all; n--, at += (size_t)len)
		memcpy(all + at, request, (size_t)len);
	if (write(fd, all, at) != (ssize_t)at)
		die("write");
}

/* Receipts that have come whole, from the first one that counts on. */
static size_t take(size_t done)
{
	char *line = have, *end;

	while ((end = strchr(line, '\n')) != NULL) {
		const char *total = strstr(line, "\"total\":");

		*end = '\0';
		errno = 0;
		if (strstr(line, "\"sapair.error/1\"") != NULL)
			die("refused");
		if (total != NULL && total < end)
			took[done] = strtod(total + 8, NULL);
		if (strstr(line, "\"sapair.end/1\"") != NULL)
			done++;
		line = end + 1;
	}
	n_have -= (size_t)(line - have);
	memmove(have, line, n_have + 1);
	return done;
}

int main(int argc, char **argv)
{
	size_t count = argc == 5 ? strtoul(argv[3], NULL, 10) : 0, ahead, sent, done = 0;
	double start;
	int fd;

	if (count == 0) {
		fprintf(stderr, "usage: order SOCKET PEER COUNT AHEAD\n");
		return 2;
	}
	ahead = strtoul(argv[4], NULL, 10) + 1;
	took = calloc(count + 1, sizeof *took);
	if (took == NULL)
		die("memory");
	fd = open_control(argv[1]);
	start = now_s();
	for (sent = 0; sent < count && sent < ahead; sent++)
		order(fd, argv[2], 1);
	while (done < count) {
		ssize_t n = read(fd, have + n_have, sizeof have - 1 - n_have);
		size_t more;

		if (n <= 0)
			die("read");
		n_have += (size_t)n;
		have[n_have] = '\0';
		done = take(done);
		more = ahead - (sent - done);
		if (more > count - sent)
			more = count - sent;
		if (more > 0 && (more > ahead / 2 || more == count - sent)) {
			order(fd, argv[2], more);
			sent += more;
		}
	}
	start = now_s() - start;
	printf("{\"seconds\":%.6f,\"ms\":[", start);
	for (size_t i = 0; i < count; i++)
		printf("%s%.4f", i > 0 ? "," : "", took[i]);
	printf("]}\n");
	return 0;
}
