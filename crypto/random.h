/*
 * crypto/random.h - random bytes from PSA, which the kernel seeds.
 *
 * A failure aborts the process, so that no caller can ignore it.
 */
#ifndef SAPAIR_CRYPTO_RANDOM_H
#define SAPAIR_CRYPTO_RANDOM_H

#include "crypto/secret.h"

/* Must be the first call into crypto/ of a process, after any fork. False: PSA cannot start. */
bool crypto_start(void);

void random_bytes(void *dst, size_t n);
void random_secret(struct secret *s, size_t n);
uint32_t random_u32(void);
uint64_t random_u64(void);

/* mbedTLS 3.6's callback form of random_bytes(); for crypto/ only. */
int random_callback(void *unused, unsigned char *dst, size_t n);

#endif
