/*
 * agent/os/sockaddr.c - addresses of the proto layer as socket addresses, and back.
 */
#include <string.h>

#include <uv.h>

#include "agent/os/os.h"

unsigned os_sockaddr(struct sockaddr_storage *ss, const struct addr *a, uint16_t port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)ss;

	memset(ss, 0, sizeof *ss);
	if (a->len == 16) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		memcpy(&v6->sin6_addr, a->bytes, 16);
		return sizeof *v6;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(port);
	memcpy(&v4->sin_addr, a->bytes, 4);
	return sizeof *v4;
}

struct endpoint os_endpoint(const struct sockaddr *sa)
{
	struct endpoint ep = {.port = 0};
	char text[ADDR_TEXT];

	if (uv_ip_name(sa, text, sizeof text) != 0 || addr_parse(&ep.addr, text, NULL) < 0)
		return ep;
	ep.port = ntohs(sa->sa_family == AF_INET
				? ((const struct sockaddr_in *)(const void *)sa)->sin_port
				: ((const struct sockaddr_in6 *)(const void *)sa)->sin6_port);
	return ep;
}
