/*
 * agent/ipsec/xfrm/encap.c - encapsulation sockets for ESP in UDP (RFC 3948).
 *
 * The kernel decapsulates ESP in UDP only while a program holds a socket for it, so this option needs
 * a running agent. The port cannot be that of the probes, since the kernel would take them for ESP.
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

#define RECEIVE_BUFFER (1 << 14) /* anything but ESP is discarded unread */

/* Exempt from IPsec: the inbound policy would drop the UDP datagram itself. */
static int open_socket(struct xfrm *db, const struct addr *a, uint16_t port, struct err *e)
{
	const bool ipv6 = a->len == 16;
	int type = UDP_ENCAP_ESPINUDP, room = RECEIVE_BUFFER, on = 1, saved;
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

int xfrm_encap_open(struct xfrm *db, struct xfrm_policy *pol, struct err *e)
{
	const struct addr *a = &pol->p->local;
	const uint16_t port = ipsec_udp_port(pol->p, true);
	struct xfrm_encap *d = db->encaps;

	if (port == 0 || pol->encap != NULL)
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
		d->next = db->encaps;
		db->encaps = d;
	}
	d->policies++;
	pol->encap = d;
	return 0;
}

void xfrm_encap_close(struct xfrm *db, struct xfrm_policy *pol)
{
	struct xfrm_encap *d = pol->encap, **at = &db->encaps;

	pol->encap = NULL;
	if (d == NULL || --d->policies > 0)
		return;
	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	close(d->fd);
	free(d);
}
