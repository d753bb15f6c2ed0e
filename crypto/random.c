/*
 * crypto/random.c - random bytes; the process is aborted on failure.
 */
#include <stdlib.h>

#include "crypto/mbed.h"
#include "crypto/random.h"

bool crypto_start(void)
{
	return psa_crypto_init() == PSA_SUCCESS;
}

/* PSA allocates a buffer: a single failed allocation must not end the process. */
#define TRIES 3

void random_bytes(void *dst, size_t n)
{
	psa_status_t status = n > 0 ? psa_generate_random(dst, n) : PSA_SUCCESS;

	for (int i = 1; status == PSA_ERROR_INSUFFICIENT_MEMORY && i < TRIES; i++)
		status = psa_generate_random(dst, n);
	if (status != PSA_SUCCESS)
		abort();
}

void random_secret(struct secret *s, size_t n)
{
	uint8_t *p = secret_room(s, n);

	if (p == NULL)
		abort(); /* a bug of the caller: an empty secret would be used as a key */
	random_bytes(p, n);
}

uint32_t random_u32(void)
{
	uint32_t v;

	random_bytes(&v, sizeof v);
	return v;
}

uint64_t random_u64(void)
{
	uint64_t v;

	random_bytes(&v, sizeof v);
	return v;
}

int random_callback(void *unused, unsigned char *dst, size_t n)
{
	(void)unused;
	random_bytes(dst, n);
	return 0;
}
