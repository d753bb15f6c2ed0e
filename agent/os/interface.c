/*
 * agent/os/interface.c - addresses of this host, by libuv and, for VRFs, by Linux' /sys.
 */
#include "agent/os/interface.h"

#include <stdio.h>
#include <string.h>

#include <uv.h>

#include "agent/os/os.h"

bool interface_of(const struct addr *a, char name[INTERFACE_NAME])
{
	uv_interface_address_t *list;
	bool found = a->len == 4 && a->bytes[0] == 127;
	int n;

	snprintf(name, INTERFACE_NAME, "lo");
	if (uv_interface_addresses(&list, &n) != 0)
		return true;
	for (int i = 0; i < n && !found; i++) {
		const struct endpoint at = os_endpoint((const struct sockaddr *)&list[i].address);

		found = addr_equal(&at.addr, a);
		if (found)
			snprintf(name, INTERFACE_NAME, "%s", list[i].name);
	}
	uv_free_interface_addresses(list, n);
	return found;
}

/* The master of an interface, in whose VRF it is: "the VRF blue". */
static void find_vrf(const char *name, char vrf[INTERFACE_VRF])
{
	char path[INTERFACE_NAME + 32];
	const char *slash;
	uv_fs_t fs;

	snprintf(path, sizeof path, "/sys/class/net/%s/master", name);
	if (uv_fs_readlink(NULL, &fs, path, NULL) == 0) {
		slash = strrchr(fs.ptr, '/');
		snprintf(vrf, INTERFACE_VRF, "the VRF %s",
			 slash != NULL ? slash + 1 : (const char *)fs.ptr);
	}
	uv_fs_req_cleanup(&fs);
}

static int try_bind(const struct addr *a)
{
	struct sockaddr_storage ss;
	uv_loop_t loop;
	uv_udp_t udp;
	int rc;

	if (uv_loop_init(&loop) != 0)
		return 0;
	os_sockaddr(&ss, a, 0);
	uv_udp_init(&loop, &udp);
	rc = uv_udp_bind(&udp, (const struct sockaddr *)&ss, 0);
	uv_close((uv_handle_t *)&udp, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	return rc;
}

enum interface_use interface_use(const struct addr *a, char name[INTERFACE_NAME],
				 char vrf[INTERFACE_VRF])
{
	name[0] = vrf[0] = '\0';
	if (!interface_of(a, name))
		return INTERFACE_ABSENT;
	if (try_bind(a) != UV_EADDRNOTAVAIL)
		return INTERFACE_USABLE;
	find_vrf(name, vrf);
	if (vrf[0] == '\0' && a->len == 4) /* an IPv6 address may be tentative instead */
		snprintf(vrf, INTERFACE_VRF, "a VRF");
	return vrf[0] != '\0' ? INTERFACE_IN_VRF : INTERFACE_NOT_READY;
}
