/*
 * proto/exchange/probe.c - probe datagrams.
 */
#include "proto/exchange/probe.h"
#include "crypto/bytes.h"
#include "crypto/hkdf.h"

#include <string.h>

#define VERSION 1
#define MAC_LEN 16
#define BODY_LEN (PROBE_LEN - MAC_LEN)

static const uint8_t magic[4] = {'S', 'A', 'P', 'P'};

static bool mac_of(const uint8_t *body, const struct secret *key, uint8_t mac[SHA256_LEN])
{
	const struct bytes part = {body, BODY_LEN};

	return hmac_sha256(key, &part, 1, mac);
}

bool probe_make(uint8_t out[PROBE_LEN], const struct probe *p, const struct secret *key)
{
	uint8_t mac[SHA256_LEN];
	bool made;

	memcpy(out, magic, sizeof magic);
	out[4] = VERSION;
	out[5] = (uint8_t)p->kind;
	out[6] = out[7] = 0;
	be_put(out + 8, p->id, 8);
	be_put(out + 16, p->number, 4);
	be_put(out + 20, p->epoch, 8);
	made = mac_of(out, key, mac);
	memcpy(out + BODY_LEN, mac, MAC_LEN);
	wipe(mac, sizeof mac);
	return made;
}

bool probe_peek(const uint8_t *in, size_t n, struct probe *p)
{
	if (n != PROBE_LEN || memcmp(in, magic, sizeof magic) != 0 || in[4] != VERSION)
		return false;
	if ((in[5] != PROBE_ASK && in[5] != PROBE_ECHO) || in[6] != 0 || in[7] != 0)
		return false;
	p->kind = (enum probe_kind)in[5];
	p->id = be_get(in + 8, 8);
	p->number = (uint32_t)be_get(in + 16, 4);
	p->epoch = be_get(in + 20, 8);
	return true;
}

bool probe_check(const uint8_t in[PROBE_LEN], const struct secret *key)
{
	uint8_t mac[SHA256_LEN];
	bool good = mac_of(in, key, mac) && bytes_equal(mac, in + BODY_LEN, MAC_LEN);

	wipe(mac, sizeof mac);
	return good;
}
