/*
 * tests/kernel/load.c - numbered traffic between two hosts, and a watch on the wire between them.
 *
 *     load udp LOCAL REMOTE PORT RATE LEAST  both ways: start one on each host
 *     load listen LOCAL PORT RATE            TCP, both ways
 *     load connect LOCAL REMOTE PORT RATE    its other end; RATE is bytes a second, 0 all it can
 *     load watch INTERFACE|any CONTROL_PORT  counts what passes
 *     load echo LOCAL PORT                   sends each datagram back
 *
 * Says "ready" (udp then waits for a byte or the end of its input), runs until SIGTERM (and LEAST
 * datagrams are sent), takes what is still under way, then prints one JSON object.
 */
#define _GNU_SOURCE /* for ppoll, recvmmsg. NOLINT */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/tcp.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NUMBERS (1u << 22) /* packets that one run can tell apart */
#define STALL_NS 50000000u
/* Behind the last packet: looks that found nothing, not time, which also passes while all stands. */
#define DRAIN_POLLS 25
#define DRAIN_POLL_NS 20000000u
#define GIVE_UP_NS 3000000000u
#define OTHERS 20
#define NATT 4500
#define FRAMES 64
#define FRAME 128

static volatile sig_atomic_t stop;

static void on_term(int number)
{
	(void)number;
	stop = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static socklen_t address(struct sockaddr_storage *ss, const char *text, const char *port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof *ss);
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)atoi(port));
		return sizeof *v4;
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
		die(text);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)atoi(port));
	return sizeof *v6;
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static void wait_for(int fd, short events, uint64_t ns)
{
	struct pollfd p = {.fd = fd, .events = events};
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u),
			     .tv_nsec = (long)(ns % 1000000000u)};

	ppoll(&p, 1, &t, NULL);
}

/* ---- UDP ------------------------------------------------------------------------------------ */

struct datagram {
	uint64_t number;
	char rest[56];
};

static int udp(char **arg)
{
	uint8_t *seen = calloc(NUMBERS / 8, 1);
	struct sockaddr_storage local, remote;
	socklen_t len = address(&local, arg[0], arg[2]);
	int fd = socket(local.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0), room = 4 << 20;
	uint64_t sent = 0, failed = 0, received = 0, twice = 0, gap = 0, last = 0, ended = 0;
	struct datagram d;
	uint64_t next, step = 1000000000u / (uint64_t)atoi(arg[3]);
	uint64_t least = (uint64_t)atoi(arg[4]);
	int why = 0, empty = 0;

	memset(&d, 0, sizeof d);
	address(&remote, arg[1], arg[2]);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
	if (seen == NULL || bind(fd, (struct sockaddr *)&local, len) < 0 ||
	    connect(fd, (struct sockaddr *)&remote, len) < 0)
		die("udp");
	ready();
	(void)!read(0, &d.rest, 1); /* the other end is bound as well */
	next = now();
	while (empty < DRAIN_POLLS) {
		uint64_t t = now();
		ssize_t n;

		if (stop && ended == 0 && sent + failed >= least)
			ended = t;
		/* After a stall of the machine no burst: it would fill a queue on the way. */
		if (t > next + STALL_NS)
			next = t;
		for (; ended == 0 && next <= t; next += step) {
			d.number = sent + failed;
			if (send(fd, &d, sizeof d, 0) == sizeof d)
				sent++;
			else
				failed++, why = errno;
		}
		if (ended != 0)
			empty++;
		while ((n = recv(fd, &d, sizeof d, 0)) == sizeof d) {
			uint8_t bit = (uint8_t)(1u << d.number % 8);
			uint8_t *at = &seen[d.number / 8 % (NUMBERS / 8)];

			empty = 0;
			t = now();
			if ((*at & bit) != 0)
				twice++;
			else
				received++;
			*at |= bit;
			if (last != 0 && t - last > gap)
				gap = t - last;
			last = t;
		}
		t = now();
		if (ended != 0)
			wait_for(fd, POLLIN, DRAIN_POLL_NS);
		else if (next > t)
			wait_for(fd, POLLIN, next - t);
	}
	printf("{\"sent\":%llu,\"failed\":%llu,\"why\":\"%s\",\"received\":%llu,\"twice\":%llu,"
	       "\"gap_ms\":%.1f,\"quiet_ms\":%.1f}\n",
	       (unsigned long long)sent, (unsigned long long)failed, strerror(why),
	       (unsigned long long)received, (unsigned long long)twice, (double)gap / 1e6,
	       last == 0 ? -1 : (double)(ended - (last < ended ? last : ended)) / 1e6);
	return 0;
}

/* ---- TCP ------------------------------------------------------------------------------------ */

/* Every byte tells its place, modulo 251. */
static void fill(uint8_t *to, size_t n, uint64_t at)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)((at + i) % 251);
}

static int stream(int fd, uint64_t rate)
{
	static uint8_t out[65536], in[65536];
	uint64_t sent = 0, received = 0, wrong = 0, start = now(), gap = 0, last = start;
	uint64_t ended = 0;
	bool open = true, shut = false;
	struct tcp_info info = {0};
	socklen_t len = sizeof info;
	int why = 0;

	ready();
	while (open) {
		uint64_t t = now(),
			 due = rate == 0 ? UINT64_MAX : (t - start) / 1000 * rate / 1000000;
		ssize_t n;

		if (stop && !shut) {
			shutdown(fd, SHUT_WR);
			shut = true;
			ended = t;
		}
		if (shut && t > ended + GIVE_UP_NS)
			open = false, why = ETIMEDOUT;
		if (!shut && sent < due) {
			size_t want = due - sent < sizeof out ? (size_t)(due - sent) : sizeof out;

			fill(out, want, sent);
			n = send(fd, out, want, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n > 0)
				sent += (uint64_t)n;
			else if (errno != EAGAIN)
				why = errno, open = false;
		}
		n = recv(fd, in, sizeof in, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			why = n < 0 ? errno : why;
			open = false;
		}
		for (ssize_t i = 0; i < n; i++)
			wrong += in[i] != (received + (uint64_t)i) % 251;
		if (n > 0) {
			t = now();
			received += (uint64_t)n;
			if (t - last > gap)
				gap = t - last;
			last = t;
		} else if (open) {
			wait_for(fd, POLLIN | (rate == 0 && !shut ? POLLOUT : 0), 5000000);
		}
	}
	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	printf("{\"sent\":%llu,\"received\":%llu,\"wrong\":%llu,\"again\":%u,\"segments_out\":%u,"
	       "\"segments_in\":%u,\"mss\":%u,\"gap_ms\":%.1f,\"why\":\"%s\"}\n",
	       (unsigned long long)sent, (unsigned long long)received, (unsigned long long)wrong,
	       info.tcpi_total_retrans, info.tcpi_data_segs_out, info.tcpi_data_segs_in,
	       info.tcpi_snd_mss, (double)gap / 1e6, strerror(why));
	return 0;
}

static int tcp(char **arg, bool dials)
{
	struct sockaddr_storage local, remote;
	socklen_t len = address(&local, arg[0], dials ? "0" : arg[1]);
	int fd = socket(local.ss_family, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&local, len) < 0)
		die("bind");
	if (dials) {
		address(&remote, arg[1], arg[2]);
		if (connect(fd, (struct sockaddr *)&remote, len) < 0)
			die("connect");
		return stream(fd, (uint64_t)atoll(arg[3]));
	}
	if (listen(fd, 1) < 0)
		die("listen");
	ready();
	fd = accept(fd, NULL, NULL);
	if (fd < 0)
		die("accept");
	return stream(fd, (uint64_t)atoll(arg[2]));
}

/* ---- the wire ------------------------------------------------------------------------------- */

struct counts {
	uint64_t esp, esp_udp, icmp, icmp6, control, arp, others;
	char other[OTHERS][96];
};

static uint16_t two(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void judge(struct counts *c, const uint8_t *f, size_t n, uint16_t control)
{
	uint16_t type = n >= 14 ? two(f + 12) : 0, from = 0, to = 0;
	unsigned proto = 0;
	size_t head = 0;

	if (type == ETHERTYPE_ARP) {
		c->arp++;
		return;
	}
	if (type == ETHERTYPE_IP && n >= 34) {
		proto = f[23];
		head = 14 + 4 * (size_t)(f[14] & 15);
	} else if (type == ETHERTYPE_IPV6 && n >= 54) {
		proto = f[20];
		head = 54;
		if (proto == 0 && n > 54) { /* hop by hop: multicast listeners */
			proto = f[54];
			head += 8;
		}
	}
	if (n >= head + 4) {
		from = two(f + head);
		to = two(f + head + 2);
	}
	if (proto == IPPROTO_ESP) {
		c->esp++;
	} else if (proto == IPPROTO_UDP && (from == NATT || to == NATT) && n >= head + 12 &&
		   (two(f + head + 8) != 0 || two(f + head + 10) != 0)) {
		c->esp_udp++; /* with an SPI, RFC 3948 2.1 */
	} else if (proto == IPPROTO_ICMP) {
		c->icmp++;
	} else if (proto == IPPROTO_ICMPV6) {
		c->icmp6++;
	} else if (proto == IPPROTO_TCP && (from == control || to == control)) {
		c->control++;
	} else {
		if (c->others < OTHERS)
			snprintf(c->other[c->others], sizeof c->other[0],
				 "type %04x proto %u ports %u %u, %zu bytes", type, proto, from, to,
				 n);
		c->others++;
	}
}

static int watch(char **arg)
{
	static uint8_t frames[FRAMES][FRAME];
	static struct mmsghdr head[FRAMES];
	static struct iovec io[FRAMES];
	struct counts c = {0};
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex(arg[0])};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0), room = 64 << 20;
	struct tpacket_stats stats = {0};
	socklen_t len = sizeof stats;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
	if ((at.sll_ifindex == 0 && strcmp(arg[0], "any") != 0) ||
	    bind(fd, (struct sockaddr *)&at, sizeof at) < 0)
		die(arg[0]);
	for (size_t i = 0; i < FRAMES; i++) {
		io[i] = (struct iovec){frames[i], FRAME};
		head[i].msg_hdr.msg_iov = &io[i];
		head[i].msg_hdr.msg_iovlen = 1;
	}
	ready();
	for (;;) {
		bool last = stop != 0;
		int n = recvmmsg(fd, head, FRAMES, 0, NULL);

		for (int i = 0; i < n; i++)
			judge(&c, frames[i], head[i].msg_len, (uint16_t)atoi(arg[1]));
		if (n <= 0 && last)
			break;
		if (n < FRAMES && !last)
			wait_for(fd, POLLIN, 20000000);
	}
	getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len);
	printf("{\"esp\":%llu,\"esp_udp\":%llu,\"icmp\":%llu,\"icmp6\":%llu,\"control\":%llu,\"arp\":%llu,"
	       "\"missed\":%u,\"others\":%llu,\"other\":[",
	       (unsigned long long)c.esp, (unsigned long long)c.esp_udp, (unsigned long long)c.icmp,
	       (unsigned long long)c.icmp6, (unsigned long long)c.control,
	       (unsigned long long)c.arp, stats.tp_drops, (unsigned long long)c.others);
	for (uint64_t i = 0; i < c.others && i < OTHERS; i++)
		printf("%s\"%s\"", i > 0 ? "," : "", c.other[i]);
	puts("]}");
	return 0;
}

static int echo(char **arg)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arg[1]))};
	struct sockaddr_in from;
	char data[2048];
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, arg[0], &at.sin_addr) != 1 ||
	    bind(s, (struct sockaddr *)&at, sizeof at) < 0)
		die("echo");
	puts("ready");
	fflush(stdout);
	while (!stop) {
		socklen_t len = sizeof from;
		ssize_t n = recvfrom(s, data, sizeof data, 0, (struct sockaddr *)&from, &len);

		if (n > 0)
			sendto(s, data, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction term = {.sa_handler = on_term};
	const char *mode = argc > 1 ? argv[1] : "";

	sigaction(SIGTERM, &term, NULL);
	if (strcmp(mode, "udp") == 0 && argc == 7)
		return udp(argv + 2);
	if (strcmp(mode, "listen") == 0 && argc == 5)
		return tcp(argv + 2, false);
	if (strcmp(mode, "connect") == 0 && argc == 6)
		return tcp(argv + 2, true);
	if (strcmp(mode, "watch") == 0 && argc == 4)
		return watch(argv + 2);
	if (strcmp(mode, "echo") == 0 && argc == 4)
		return echo(argv + 2);
	fprintf(stderr, "usage: load udp|listen|connect|watch|echo ...\n");
	return 2;
}
