/*
 * crypto/random.h - fresh bytes from the system's generator (PSA, seeded by the kernel).
 *
 * There is no way to go on without random numbers: a failure ends the process (abort), so no
 * caller can forget to look.
 */
#ifndef SAPAIR_CRYPTO_RANDOM_H
#define SAPAIR_CRYPTO_RANDOM_H

#include "crypto/secret.h"

/* First call into crypto/ of every process, after any fork. False when PSA cannot start. */
bool crypto_start(void);

void random_bytes(void *dst, size_t n);
void random_secret(struct secret *s, size_t n);
uint32_t random_u32(void);
uint64_t random_u64(void);

/* mbedTLS 3.6's callback form of random_bytes(); for crypto/ only. */
int random_callback(void *unused, unsigned char *dst, size_t n);

#endif
