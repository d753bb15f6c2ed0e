/*
 * proto/config/lab and bundle: for any lab file that is accepted, the bundle of each host can be
 * written and read back; any text is read as a bundle.
 */
#include "proto/config/bundle.h"
#include "proto/json/decode.h"
#include "tests/fuzz/fuzz.h"

#define HOSTS 4 /* hosts for which bundles are written */

static void write_bundle(const struct lab *lab, size_t host)
{
	static const uint8_t source[SHA256_LEN] = {1};
	static struct pem_pair own;
	static struct bundle b;
	size_t room = bundle_room(lab, host), len;
	struct err e = {0};
	char *text = malloc(room + 1);

	MUST(text != NULL);
	strcpy(own.cert, "-----BEGIN CERTIFICATE-----\n");
	strcpy(own.key, "-----BEGIN PRIVATE KEY-----\n");
	len = bundle_write(text, room, lab, host, source, &own, own.cert);
	MUST(len > 0 && len < room);
	MUST(bundle_parse(&b, text, len, &e) == 0);
	MUST(strcmp(b.cert, own.cert) == 0 && memcmp(b.source, source, sizeof source) == 0);
	MUST(config_check(&b.cfg, &e) == 0);
	bundle_wipe(&b);
	free(text);
}

static void read_lab(const char *text, size_t size)
{
	struct lab lab;
	struct err e = {0};

	if (lab_parse(&lab, text, size, &e) < 0) {
		MUST(e.code == ERR_USAGE && text_printable(e.cause, strlen(e.cause)));
		return;
	}
	for (size_t i = 0; i < HOSTS && i < lab.n_hosts; i++) {
		MUST(lab_find_host(&lab, lab.hosts[i].name) == i);
		write_bundle(&lab, i);
	}
	lab_free(&lab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bundle b;
	struct err e = {0};
	char *text = copy_of(data, size);

	json_start();
	if (bundle_parse(&b, text, size, &e) == 0)
		bundle_wipe(&b);
	else
		MUST(e.code == ERR_USAGE && is_zero(b.key, sizeof b.key));
	read_lab(text, size);
	free(text);
	return 0;
}
