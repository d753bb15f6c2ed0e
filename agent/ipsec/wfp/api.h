/*
 * agent/ipsec/wfp/api.h - identifiers and constants of the Windows Filtering Platform that MinGW's
 * headers lack, under names of our own, and checks of structure sizes.
 *
 * Values are those of the SDK. GUIDs are static, since no import library has them.
 */
#ifndef SAPAIR_AGENT_IPSEC_WFP_API_H
#define SAPAIR_AGENT_IPSEC_WFP_API_H

#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>

#include <fwpmu.h>
#include <nldef.h>

/* clang-format off */
#define WFP_GUID(name, ...) static const GUID name __attribute__((unused)) = __VA_ARGS__

/* FWPM_LAYER_INBOUND_TRANSPORT_V4, _OUTBOUND_TRANSPORT_V4, and of V6 */
WFP_GUID(wfp_layer_in_v4, {0x5926dfc8, 0xe3cf, 0x4426, {0xa2, 0x83, 0xdc, 0x39, 0x3f, 0x5d, 0x0f, 0x9d}});
WFP_GUID(wfp_layer_out_v4, {0x09e61aea, 0xd214, 0x46e2, {0x9b, 0x21, 0xb2, 0x6b, 0x0b, 0x2f, 0x28, 0xc8}});
WFP_GUID(wfp_layer_in_v6, {0x634a869f, 0xfc23, 0x4b90, {0xb0, 0xc1, 0xbf, 0x62, 0x0a, 0x36, 0xae, 0x6f}});
WFP_GUID(wfp_layer_out_v6, {0xe1735bde, 0x013f, 0x4655, {0xb3, 0x51, 0xa4, 0x9e, 0x15, 0x76, 0x2d, 0xf0}});
/* FWPM_CALLOUT_IPSEC_INBOUND_TRANSPORT_V4, _OUTBOUND_TRANSPORT_V4, and of V6 */
WFP_GUID(wfp_callout_in_v4, {0x5132900d, 0x5e84, 0x4b5f, {0x80, 0xe4, 0x01, 0x74, 0x1e, 0x81, 0xff, 0x10}});
WFP_GUID(wfp_callout_out_v4, {0x4b46bf0a, 0x4523, 0x4e57, {0xaa, 0x38, 0xa8, 0x79, 0x87, 0xc9, 0x10, 0xd9}});
WFP_GUID(wfp_callout_in_v6, {0x49d3ac92, 0x2a6c, 0x4dcf, {0x95, 0x5f, 0x1c, 0x3b, 0xe0, 0x09, 0xdd, 0x99}});
WFP_GUID(wfp_callout_out_v6, {0x38d87722, 0xad83, 0x4f11, {0xa9, 0x1f, 0xdf, 0x0f, 0xb0, 0x77, 0x22, 0x5b}});
/* FWPM_CONDITION_IP_LOCAL_ADDRESS_TYPE, _LOCAL_ADDRESS, _REMOTE_ADDRESS, _PROTOCOL, ports */
WFP_GUID(wfp_cond_local_type, {0x6ec7f6c4, 0x376b, 0x45d7, {0x9e, 0x9c, 0xd3, 0x37, 0xce, 0xdc, 0xd2, 0x37}});
WFP_GUID(wfp_cond_local, {0xd9ee00de, 0xc1ef, 0x4617, {0xbf, 0xe3, 0xff, 0xd8, 0xf5, 0xa0, 0x89, 0x57}});
WFP_GUID(wfp_cond_remote, {0xb235ae9a, 0x1d64, 0x49b8, {0xa4, 0x4c, 0x5f, 0xf3, 0xd9, 0x09, 0x50, 0x45}});
WFP_GUID(wfp_cond_protocol, {0x3971ef2b, 0x623e, 0x4f9a, {0x8c, 0xb1, 0x6e, 0x79, 0xb8, 0x06, 0xb9, 0xa7}});
WFP_GUID(wfp_cond_local_port, {0x0c1ba1af, 0x5765, 0x453f, {0xaf, 0x22, 0xa8, 0xf7, 0x91, 0xac, 0x77, 0x5b}});
WFP_GUID(wfp_cond_remote_port, {0xc35a604d, 0xd22b, 0x4e1a, {0x91, 0xb4, 0x68, 0xf6, 0x74, 0xee, 0x67, 0x4b}});
/* Our provider, which every object of this program names. */
WFP_GUID(wfp_provider, {0x7a1f3c52, 0x5d0b, 0x4b8e, {0x9c, 0x41, 0x53, 0x41, 0x50, 0x41, 0x49, 0x52}});
/* clang-format on */

#define WFP_BUNDLE_NO_DUP_DELETION 0x2000u /* IPSEC_SA_BUNDLE_FLAG_SUPPRESS_DUPLICATE_DELETION */

/* IPSEC_AUTH_CONFIG_*, IPSEC_CIPHER_CONFIG_* */
enum {
	WFP_AUTHCFG_SHA1_96 = 1,
	WFP_AUTHCFG_SHA256_128 = 2,
	WFP_AUTHCFG_GCM_128 = 3,
	WFP_AUTHCFG_GCM_192 = 4,
	WFP_AUTHCFG_GCM_256 = 5
};
enum {
	WFP_CIPHCFG_CBC_128 = 3,
	WFP_CIPHCFG_CBC_256 = 5,
	WFP_CIPHCFG_GCM_128 = 6,
	WFP_CIPHCFG_GCM_192 = 7,
	WFP_CIPHCFG_GCM_256 = 8
};

#ifdef _WIN64
_Static_assert(sizeof(FWPM_FILTER0) == 200, "as in the SDK");
_Static_assert(sizeof(IPSEC_TRAFFIC0) == 56, "as in the SDK");
_Static_assert(sizeof(IPSEC_GETSPI0) == 80, "as in the SDK");
_Static_assert(sizeof(IPSEC_SA0) == 16, "as in the SDK");
_Static_assert(sizeof(IPSEC_SA_AUTH_INFORMATION0) == 32, "as in the SDK");
_Static_assert(sizeof(IPSEC_SA_AUTH_AND_CIPHER_INFORMATION0) == 64, "as in the SDK");
_Static_assert(sizeof(IPSEC_SA_BUNDLE0) == 88, "as in the SDK");
_Static_assert(sizeof(IPSEC_SA_DETAILS0) == 168, "as in the SDK");
#endif

#endif
