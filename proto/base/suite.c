/*
 * proto/base/suite.c - the transforms, and lists of them.
 */
#include "proto/base/suite.h"

#include <string.h>

static const struct suite_info suites[SUITE_COUNT] = {
	/* name, kind, AES key, salt, MAC key, IV, ICV, RFC */
	[SUITE_AES256GCM16] = {"aes256gcm16", SUITE_GCM, 32, 4, 0, 8, 16, "RFC 4106"},
	[SUITE_AES128GCM16] = {"aes128gcm16", SUITE_GCM, 16, 4, 0, 8, 16, "RFC 4106"},
	[SUITE_AES192GCM16] = {"aes192gcm16", SUITE_GCM, 24, 4, 0, 8, 16, "RFC 4106"},
	[SUITE_AES256_SHA256] = {"aes256-sha256", SUITE_CBC, 32, 0, 32, 16, 16, "RFC 4868"},
	[SUITE_AES128_SHA256] = {"aes128-sha256", SUITE_CBC, 16, 0, 32, 16, 16, "RFC 4868"},
	[SUITE_AES128_SHA1] = {"aes128-sha1", SUITE_CBC, 16, 0, 20, 16, 12, "RFC 2404"},
	[SUITE_AES256GMAC] = {"aes256gmac", SUITE_GMAC, 32, 4, 0, 8, 16, "RFC 4543"},
	[SUITE_AES128GMAC] = {"aes128gmac", SUITE_GMAC, 16, 4, 0, 8, 16, "RFC 4543"},
	[SUITE_AES192GMAC] = {"aes192gmac", SUITE_GMAC, 24, 4, 0, 8, 16, "RFC 4543"},
};

const struct suite_info *suite_info(enum suite s)
{
	return (unsigned)s < SUITE_COUNT ? &suites[s] : NULL;
}

size_t suite_key_len(enum suite s)
{
	const struct suite_info *i = suite_info(s);

	return i == NULL ? 0 : (size_t)i->enc_key_len + i->salt_len + i->mac_key_len;
}

enum suite suite_of_name(const char *name)
{
	unsigned i = 0;

	while (i < SUITE_COUNT && strcmp(suites[i].name, name) != 0)
		i++;
	return (enum suite)i;
}

bool suite_list_has(const struct suite_list *l, enum suite s)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i] == s)
			return true;
	return false;
}

bool suite_list_add(struct suite_list *l, enum suite s)
{
	if ((unsigned)s >= SUITE_COUNT || suite_list_has(l, s))
		return false;
	l->v[l->n++] = (uint8_t)s; /* fits: no element is repeated */
	return true;
}

enum suite suite_choose(const struct suite_list *offered, const struct suite_list *allowed)
{
	for (size_t i = 0; i < offered->n; i++)
		if (suite_list_has(allowed, (enum suite)offered->v[i]))
			return (enum suite)offered->v[i];
	return SUITE_COUNT;
}
