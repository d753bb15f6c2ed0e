/*
 * agent/cli/lab/labfile.c - the files of labs: lab files, bundles, programs.
 */
#include "agent/cli/lab/labfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/os/creds.h"
#include "crypto/date.h"
#include "crypto/hex.h"
#include "crypto/hkdf.h"

#define SKEW_S 300 /* allowance for clocks that differ */
#define FRESH_S 60

int labfile_read(struct lab *lab, uint8_t source[SHA256_LEN], const char *path, struct err *e)
{
	char *text;
	size_t len;
	int rc;

	if (os_read_file(&text, &len, path, OS_ANYONE, e) < 0)
		return err_in(e, "lab file");
	rc = lab_parse(lab, text, len, e);
	if (rc == 0 && !sha256(&(struct bytes){text, len}, 1, source)) {
		lab_free(lab);
		rc = err_set(e, ERR_BUG, "no memory for a hash");
	}
	os_free_text(text, len);
	return rc < 0 ? err_in(e, "%s", path) : 0;
}

int labfile_bundle_path(char out[OS_PATH_MAX], const char *dir, const char *host, struct err *e)
{
	char name[LAB_NAME_MAX + sizeof BUNDLE_SUFFIX];

	snprintf(name, sizeof name, "%s%s", host, BUNDLE_SUFFIX);
	return os_path_join(out, dir, name, e);
}

/* Not with os_read_file(): a program is larger than OS_FILE_MAX, and binary. */
int labfile_program(char **image, size_t *len, char hash[2 * SHA256_LEN + 1], const char *path,
		    struct err *e)
{
	FILE *f = fopen(path, "rb");
	uint8_t sum[SHA256_LEN];
	long size = -1;

	*image = NULL;
	*len = 0;
	if (f != NULL) {
		if (fseek(f, 0, SEEK_END) == 0)
			size = ftell(f);
		if (size > 0 && fseek(f, 0, SEEK_SET) == 0)
			*image = malloc((size_t)size);
		if (*image != NULL)
			*len = fread(*image, 1, (size_t)size, f);
		fclose(f);
	}
	if (size <= 0 || *image == NULL || *len != (size_t)size)
		return err_set(e, ERR_OS, "cannot read %s, the program for the hosts", path);
	if (!sha256(&(struct bytes){*image, *len}, 1, sum))
		return err_set(e, ERR_BUG, "no memory for a hash");
	hex_put(hash, sum, sizeof sum);
	return 0;
}

/* ---- reading --------------------------------------------------------------------------- */

static int check_dates(const struct bundle *b, struct cert_facts *f, struct err *e)
{
	int64_t now = os_wall_ms() / 1000;
	char when[DATE_TEXT], today[DATE_TEXT];

	if (cert_read(b->cert, f) != IDENTITY_OK)
		return err_set(e, ERR_USAGE, "certificate: not a PEM certificate");
	date_put(today, now);
	if (now >= f->not_after) {
		date_put(when, f->not_after);
		err_set(e, ERR_USAGE, "the bundle expired at %s; this host's clock says %s", when,
			today);
		return err_hint(e, "make new ones with \"sapair lab init\"");
	}
	if (now < f->not_before) {
		date_put(when, f->not_before);
		err_set(e, ERR_USAGE,
			"the bundle is not valid before %s; this host's clock says %s", when,
			today);
		return err_hint(e, "correct this host's clock");
	}
	return 0;
}

static int read_bundle(struct bundle *b, struct cert_facts *f, const char *path, struct err *e)
{
	char *text;
	size_t len;
	int rc;

	if (os_read_file(&text, &len, path, OS_SECRET, e) < 0)
		return err_in(e, "bundle");
	rc = bundle_parse(b, text, len, e);
	os_free_text(text, len);
	if (rc == 0 && check_dates(b, f, e) < 0) {
		bundle_wipe(b);
		rc = -1;
	}
	return rc < 0 ? err_in(e, "%s", path) : 0;
}

int labfile_bundle(struct bundle **b, const char *path, struct err *e)
{
	struct cert_facts f;

	*b = calloc(1, sizeof **b);
	if (*b == NULL)
		return err_set(e, ERR_BUG, "no memory for a bundle");
	if (read_bundle(*b, &f, path, e) == 0)
		return 0;
	free(*b);
	*b = NULL;
	return -1;
}

void labfile_bundle_free(struct bundle *b)
{
	if (b == NULL)
		return;
	bundle_wipe(b);
	free(b);
}

bool labfile_fresh(const struct lab *lab, const uint8_t source[SHA256_LEN], const char *dir,
		   int64_t *until)
{
	struct bundle *b = calloc(1, sizeof *b);
	bool fresh = b != NULL;

	*until = INT64_MAX;
	for (size_t i = 0; fresh && i < lab->n_hosts; i++) {
		char path[OS_PATH_MAX];
		struct err ignored = {0};
		struct cert_facts f = {.not_after = 0};

		fresh = labfile_bundle_path(path, dir, lab->hosts[i].name, &ignored) == 0 &&
			read_bundle(b, &f, path, &ignored) == 0;
		if (!fresh)
			break;
		fresh = bytes_equal(b->source, source, SHA256_LEN) &&
			f.not_after > os_wall_ms() / 1000 + FRESH_S;
		if (f.not_after < *until)
			*until = f.not_after;
		bundle_wipe(b);
	}
	free(b);
	return fresh;
}

/* ---- making ---------------------------------------------------------------------------- */

/* The common parts of a lab's certificates and bundles. */
struct making {
	const struct lab *lab;
	const uint8_t *source;
	const char *dir;
	bool force;
	struct cert_params wish; /* dates, and the mark of a lab */
	struct pem_pair ca;
};

static int write_bundle(struct making *m, size_t host, const struct pem_pair *own, struct err *e)
{
	size_t size = bundle_room(m->lab, host), n;
	char *text = malloc(size), path[OS_PATH_MAX];
	int rc = -1;

	if (text == NULL)
		return err_set(e, ERR_BUG, "no memory for a bundle");
	n = bundle_write(text, size, m->lab, host, m->source, own, m->ca.cert);
	if (n == 0) {
		err_set(e, ERR_BUG, "the bundle of %s does not fit", m->lab->hosts[host].name);
	} else if (labfile_bundle_path(path, m->dir, m->lab->hosts[host].name, e) == 0) {
		rc = os_write_file(path, text, n, true, !m->force, e);
		if (rc < 0 && os_exists(path))
			err_hint(
				e,
				"they belong to another lab file, or have expired: --renew replaces them, --out writes elsewhere");
	}
	wipe(text, size);
	free(text);
	return rc;
}

static int make_host(struct making *m, size_t host, struct err *e)
{
	const struct lab_host *h = &m->lab->hosts[host];
	uint8_t addr[LAB_ADDRS_MAX][17];
	struct cert_params wish = m->wish;
	struct pem_pair own;
	int rc;

	for (size_t i = 0; i < h->ats; i++) {
		addr[i][0] = h->at[i].addr.len;
		memcpy(addr[i] + 1, h->at[i].addr.bytes, h->at[i].addr.len);
	}
	wish.name = h->name;
	wish.addr = (const uint8_t(*)[17])addr;
	wish.addrs = h->ats;
	rc = creds_fault(cert_issue(&own, &wish, m->ca.cert, m->ca.key), h->name, "lab", "lab", e);
	if (rc == 0)
		rc = write_bundle(m, host, &own, e);
	wipe(&own, sizeof own);
	return rc;
}

int labfile_make(const struct lab *lab, const uint8_t source[SHA256_LEN], const char *dir,
		 uint64_t ttl_ms, bool force, int64_t *until, struct err *e)
{
	int64_t now = os_wall_ms() / 1000;
	struct making *m = calloc(1, sizeof *m);
	char name[LAB_NAME_MAX + 8];
	int rc = -1;

	if (m == NULL)
		return err_set(e, ERR_BUG, "no memory for a CA");
	m->lab = lab;
	m->source = source;
	m->dir = dir;
	m->force = force;
	m->wish.not_before = now - SKEW_S;
	m->wish.not_after = now + (int64_t)(ttl_ms / 1000);
	m->wish.is_lab = true;
	*until = m->wish.not_after;
	snprintf(name, sizeof name, "%s-ca", lab->name);
	struct cert_params ca = m->wish;

	ca.name = name;
	ca.is_ca = true;
	if (!cert_self(&m->ca, &ca)) {
		err_set(e, ERR_USAGE, "no certificate can be valid that long (see --ttl)");
		goto out;
	}
	if (os_make_dir(dir, e) < 0)
		goto out;
	for (size_t i = 0; i < lab->n_hosts; i++)
		if (make_host(m, i, e) < 0)
			goto out;
	rc = 0;
out:
	wipe(m, sizeof *m);
	free(m);
	return rc;
}
