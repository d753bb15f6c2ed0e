/*
 * agent/cli/verbs/version.c - version: of the program and its libraries.
 */
#include <stdio.h>
#include <string.h>

#include <uv.h>

#include "agent/cli/out.h"
#include "agent/cli/verb.h"
#include "agent/ipsec/ipsec.h"
#include "crypto/tls.h"
#include "proto/json/decode.h"

/* "soft, xfrm" as an array. */
static void put_backends(struct json_out *o)
{
	char name[32];

	json_put_array(o, "backends");
	for (const char *p = ipsec_names(); *p != '\0'; p += strspn(p, ", ")) {
		size_t n = strcspn(p, ",");

		snprintf(name, sizeof name, "%.*s", (int)n, p);
		json_put_text(o, NULL, name);
		p += n;
	}
	json_put_array_end(o);
}

static int run_version(const struct args *a, struct err *e)
{
	char buf[1024];
	struct json_out o;

	(void)e;
	if (!a->json) {
		out_text("sapair %s\n", SAPAIR_VERSION);
		out_text("back ends: %s\n", ipsec_names());
		out_text("libraries: mbedTLS %s, libuv %s, cJSON %s\n", tls_library_version(),
			 uv_version_string(), json_library_version());
		return 0;
	}
	out_begin(&o, buf, sizeof buf, "sapair.version/1");
	json_put_text(&o, "version", SAPAIR_VERSION);
	json_put_text(&o, "protocol", TLS_ALPN);
	put_backends(&o);
	json_put_open(&o, "libraries");
	json_put_text(&o, "mbedtls", tls_library_version());
	json_put_text(&o, "libuv", uv_version_string());
	json_put_text(&o, "cjson", json_library_version());
	json_put_close(&o);
	out_end(&o);
	return 0;
}

const struct verb verb_version = {
	.name = "version",
	.text = "show the versions of program and libraries, and the back ends",
	.example = "sapair version",
	.run = run_version,
};
