/*
 * tests/kernel/floor.c - the least that a rekey costs: its netlink requests, and nothing else.
 *
 *     floor ALPHA BETA COUNT          two network namespaces, by name
 *
 * One rekey is, on each of two hosts: reserve, inbound, outbound, select, and the old two away; one
 * request at a time, each acknowledged. Prints one JSON object, in microseconds for both hosts.
 */
#define _GNU_SOURCE /* for setns. NOLINT */
#include "agent/ipsec/xfrm/message.h"
#include "crypto/random.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct host {
	struct mnl_socket *nl;
	struct addr own, peer;
	struct spi in, out, old_in, old_out;
	struct xfrm_rule rule;
};

static uint32_t seq;

static void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void enter(struct host *h, const char *name, const char *own, const char *peer)
{
	char path[128];
	int fd;

	snprintf(path, sizeof path, "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		die(path);
	close(fd);
	h->nl = mnl_socket_open(NETLINK_XFRM);
	if (h->nl == NULL || mnl_socket_bind(h->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		die("netlink");
	addr_parse(&h->own, own, NULL);
	addr_parse(&h->peer, peer, NULL);
	h->rule = (struct xfrm_rule){.src = h->own,
				     .dst = h->peer,
				     .dir = XFRM_OUT,
				     .priority = 2000,
				     .allows = true,
				     .protects = true,
				     .reqid = 99};
}

static struct spi ask(struct host *h, union xfrm_msg *m)
{
	static uint32_t room[4096];
	struct nlmsghdr *head = (void *)room;
	struct xfrm_sa sa;
	char text[80];
	int os = 0;

	if (mnl_socket_sendto(h->nl, m, m->head.nlmsg_len) < 0 ||
	    mnl_socket_recvfrom(h->nl, room, sizeof room) < 0)
		die("request");
	if (xfrm_get_error(head, &os, text, sizeof text)) {
		errno = os;
		if (os != 0)
			die(text);
		return (struct spi){0};
	}
	xfrm_get_sa(head, &sa);
	return sa.spi;
}

static void inbound(struct host *h, const struct sa_keys *k)
{
	struct xfrm_sa sa = {.src = h->peer, .dst = h->own, .reqid = 99};
	union xfrm_msg m;

	xfrm_put_allocspi(&m, ++seq, &sa, 256);
	sa.spi = h->in = ask(h, &m);
	xfrm_put_sa(&m, ++seq, XFRM_MSG_UPDSA, &sa, k, true);
	ask(h, &m);
}

static void outbound(struct host *h, const struct sa_keys *k, struct spi spi)
{
	struct xfrm_sa sa = {.src = h->own, .dst = h->peer, .spi = spi, .reqid = 99};
	union xfrm_msg m;

	h->out = spi;
	xfrm_put_sa(&m, ++seq, XFRM_MSG_NEWSA, &sa, k, false);
	ask(h, &m);
	h->rule.pin = spi;
	xfrm_put_rule(&m, ++seq, XFRM_MSG_UPDPOLICY, &h->rule);
	ask(h, &m);
}

static void remove_old(struct host *h, bool is_out)
{
	struct xfrm_sa out = {.src = h->own, .dst = h->peer, .spi = h->old_out};
	struct xfrm_sa in = {.src = h->peer, .dst = h->own, .spi = h->old_in};
	union xfrm_msg m;

	if (h->old_in.n != 0) {
		xfrm_put_sa_id(&m, ++seq, XFRM_MSG_DELSA, is_out ? &out : &in);
		ask(h, &m);
	}
	if (is_out)
		return;
	h->old_in = h->in;
	h->old_out = h->out;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	struct sa_keys k = {.suite = SUITE_AES256GCM16, .window = 1024, .esn = true};
	struct host a = {0}, b = {0};
	size_t n = argc == 4 ? (size_t)atoi(argv[3]) : 0;
	double *took = calloc(n + 1, sizeof *took), start;

	if (n == 0 || took == NULL) {
		fprintf(stderr, "usage: floor ALPHA BETA COUNT\n");
		return 2;
	}
	enter(&a, argv[1], "10.9.5.1", "10.9.5.2");
	enter(&b, argv[2], "10.9.5.2", "10.9.5.1");
	crypto_start();
	random_secret(&k.key, suite_key_len(k.suite));
	start = now_us();
	for (size_t i = 0; i < n; i++) {
		double t = now_us();

		inbound(&a, &k);
		inbound(&b, &k);
		outbound(&b, &k, a.in);
		outbound(&a, &k, b.in);
		remove_old(&a, true);
		remove_old(&b, true);
		took[i] = now_us() - t;
		remove_old(&a, false);
		remove_old(&b, false);
	}
	start = now_us() - start;
	qsort(took, n, sizeof *took, by_size);
	printf("{\"count\":%zu,\"per_s\":%.0f,\"median_us\":%.0f,\"p99_us\":%.0f}\n", n,
	       (double)n / start * 1e6, took[n / 2], took[n * 99 / 100]);
	return 0;
}
