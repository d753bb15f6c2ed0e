/*
 * agent/os/interface.h - which interface of this host has an address, and whether the address can be used.
 */
#ifndef SAPAIR_AGENT_OS_INTERFACE_H
#define SAPAIR_AGENT_OS_INTERFACE_H

#include "proto/base/addr.h"

#define INTERFACE_NAME 64
#define INTERFACE_VRF (INTERFACE_NAME + 8)
#define INTERFACE_VRF_HINT "start the agent in the VRF: ip vrf exec VRF sapair run"

/* False: no interface has it. All of 127.0.0.0/8 is on the loopback interface. Where interfaces cannot
 * be listed, any address is on "lo". */
bool interface_of(const struct addr *a, char name[INTERFACE_NAME]);

enum interface_use {
	INTERFACE_ABSENT, /* no interface has the address */
	INTERFACE_USABLE,
	INTERFACE_IN_VRF,   /* only for programs in the VRF that its interface belongs to */
	INTERFACE_NOT_READY /* an interface has it, but no socket can be bound to it (yet) */
};
/* Binds a socket to the address. name is that of its interface, vrf "the VRF NAME", or "a VRF" where /sys does
 * not tell; both may be empty. */
enum interface_use interface_use(const struct addr *a, char name[INTERFACE_NAME],
				 char vrf[INTERFACE_VRF]);

#endif
