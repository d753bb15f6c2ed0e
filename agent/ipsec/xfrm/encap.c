/*
 * agent/ipsec/xfrm/encap.c - ESP in UDP (RFC 3948): the sockets that hand it to the kernel.
 *
 * The kernel takes ESP out of UDP only where a program holds a socket for it, so this option, unlike
 * the rest, needs the agent to run. The port cannot be that of the probes: what comes there would be
 * taken for ESP.
 */
#include "agent/ipsec/xfrm/db.h"
#include "agent/os/os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM (1 << 14) /* of what is no ESP, and nobody reads */

/* The datagram itself is in clear to the policy that looks at what comes in. */
static int open_socket(struct xfrm *db, const struct addr *a, uint16_t port, struct err *e)
{
	const bool ipv6 = a->len == 16;
	int type = UDP_ENCAP_ESPINUDP, room = ROOM, on = 1, saved;
	struct sockaddr_storage ss;
	socklen_t len = os_sockaddr(&ss, a, port);
	int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char text[ADDR_TEXT];

	if (fd < 0)
		goto failed;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	if ((ipv6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) ||
	    bind(fd, (struct sockaddr *)&ss, len) < 0 ||
	    setsockopt(fd, IPPROTO_UDP, UDP_ENCAP, &type, sizeof type) < 0)
		goto failed;
	if (ipsec_exempt_socket(&db->db, fd, ipv6, e) == 0)
		return fd;
	close(fd);
	return -1;

failed:
	saved = errno;
	if (fd >= 0)
		close(fd);
	addr_put(text, a);
	err_set(e, saved == EACCES ? ERR_PERM : ERR_OS, "UDP port %u of %s for ESP: %s",
		(unsigned)port, text, strerror(saved));
	if (e != NULL)
		e->os = (uint32_t)saved;
	return saved == EADDRINUSE
		       ? err_hint(e,
				  "another key manager has it: choose one with \"esp_port\", and "
				  "tell the peer")
		       : -1;
}

int xfrm_open_door(struct xfrm *db, struct xfrm_policy *pol, struct err *e)
{
	const struct addr *a = &pol->p->local;
	const uint16_t port = ipsec_udp_port(pol->p, true);
	struct xfrm_door *d = db->doors;

	if (port == 0)
		return 0;
	while (d != NULL && (d->port != port || !addr_equal(&d->addr, a)))
		d = d->next;
	if (d == NULL) {
		d = calloc(1, sizeof *d);
		if (d == NULL)
			return err_set(e, ERR_OS, "no memory");
		d->addr = *a;
		d->port = port;
		d->fd = open_socket(db, a, port, e);
		if (d->fd < 0) {
			free(d);
			return err_in(e, "peer %s", pol->p->peer);
		}
		d->next = db->doors;
		db->doors = d;
	}
	d->policies++;
	pol->door = d;
	return 0;
}

void xfrm_close_door(struct xfrm *db, struct xfrm_policy *pol)
{
	struct xfrm_door *d = pol->door, **at = &db->doors;

	pol->door = NULL;
	if (d == NULL || --d->policies > 0)
		return;
	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	close(d->fd);
	free(d);
}
