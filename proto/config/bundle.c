/*
 * proto/config/bundle.c - bundles of lab hosts.
 */
#include "proto/config/bundle.h"

#include <string.h>

#include "proto/json/decode.h"
#include "proto/json/encode.h"

#define DEPTH 7
#define SCHEMA "sapair.bundle/1"
#define COUNT(table) (sizeof(table) / sizeof(table)[0])

struct reading {
	struct bundle *b;
	char schema[24];
	char lab[LAB_NAME_MAX + 1], host[LAB_NAME_MAX + 1];
	uint8_t source[SHA256_LEN];
	const struct cJSON *config;
	const char *certificate, *key, *ca;
};

static int get_config(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	(void)f;
	if (!json_is_object(v))
		return err_set(e, ERR_USAGE, "must be an object");
	*(const struct cJSON **)to = v;
	return 0;
}

/* Text with line breaks, which identity_load() parses. */
static int get_pem(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	const char *s = json_string(v);

	(void)f;
	if (s == NULL || strlen(s) >= CERT_PEM_MAX || strncmp(s, "-----BEGIN ", 11) != 0)
		return err_set(e, ERR_USAGE, "must be a PEM text of less than %d bytes",
			       CERT_PEM_MAX);
	*(const char **)to = s;
	return 0;
}

#define FIELD(member, get, min_, max_) \
	JSON_FIELD(struct reading, member, get, .min = min_, .max = max_)
static const struct json_field fields[] = {
	FIELD(schema, json_get_text, 1, sizeof(((struct reading *)NULL)->schema)),
	FIELD(lab, json_get_text, 1, LAB_NAME_MAX + 1),
	FIELD(host, json_get_text, 1, LAB_NAME_MAX + 1),
	FIELD(source, json_get_hexbytes, 0, SHA256_LEN),
	FIELD(config, get_config, 0, 0),
	FIELD(certificate, get_pem, 0, 0),
	FIELD(key, get_pem, 0, 0),
	FIELD(ca, get_pem, 0, 0),
};

static int read_bundle(const struct cJSON *root, void *to, struct err *e)
{
	struct bundle *b = to;
	const char *schema = json_is_object(root) ? json_peek(root, "schema") : NULL;
	struct reading r;

	if (schema == NULL || strcmp(schema, SCHEMA) != 0)
		return err_set(e, ERR_USAGE, "not a lab bundle (no schema " SCHEMA ")");
	memset(&r, 0, sizeof r);
	if (json_decode(root, fields, COUNT(fields), &r, sizeof r, e) < 0)
		return -1;
	if (config_decode(&b->cfg, r.config, e) < 0)
		return err_at(e, "config");
	memcpy(b->lab, r.lab, sizeof b->lab);
	memcpy(b->host, r.host, sizeof b->host);
	memcpy(b->source, r.source, sizeof b->source);
	memcpy(b->cert, r.certificate, strlen(r.certificate) + 1);
	memcpy(b->key, r.key, strlen(r.key) + 1);
	memcpy(b->ca, r.ca, strlen(r.ca) + 1);
	return 0;
}

int bundle_parse(struct bundle *b, const char *text, size_t len, struct err *e)
{
	memset(b, 0, sizeof *b);
	return json_read_file(text, len, DEPTH, read_bundle, b, e);
}

void bundle_wipe(struct bundle *b)
{
	config_free(&b->cfg);
	wipe(b, sizeof *b);
}

size_t bundle_room(const struct lab *lab, size_t host)
{
	/* a line break takes two bytes in JSON: PEM has one in 65 bytes */
	return lab_config_room(lab, host) + 3 * CERT_PEM_MAX + CERT_PEM_MAX / 8 + 512;
}

size_t bundle_write(char *buf, size_t size, const struct lab *lab, size_t host,
		    const uint8_t source[SHA256_LEN], const struct pem_pair *own, const char *ca)
{
	struct json_out o;

	json_begin(&o, buf, size);
	json_put_open(&o, NULL);
	json_put_text(&o, "schema", SCHEMA);
	json_put_text(&o, "lab", lab->name);
	json_put_text(&o, "host", lab->hosts[host].name);
	json_put_hexbytes(&o, "source", source, SHA256_LEN);
	lab_put_config(&o, "config", lab, host);
	json_put_text(&o, "certificate", own->cert);
	json_put_text(&o, "key", own->key);
	json_put_text(&o, "ca", ca);
	json_put_close(&o);
	return json_end(&o);
}
