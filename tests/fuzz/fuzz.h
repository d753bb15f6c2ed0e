/*
 * tests/fuzz/fuzz.h - shared by the fuzz targets: the input as a tape, and MUST().
 *
 * A target is one file with LLVMFuzzerTestOneInput(), linked with proto/ and crypto/ alone. It
 * looks for more than crashes: MUST() states conditions that hold for any input.
 */
#ifndef SAPAIR_TESTS_FUZZ_H
#define SAPAIR_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(cond)                                                                         \
	do {                                                                               \
		if (!(cond)) {                                                             \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                           \
		}                                                                          \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input, read sequentially; zeros after its end. */
struct tape {
	const uint8_t *at;
	size_t left;
};

static inline uint8_t tape_byte(struct tape *t)
{
	if (t->left == 0)
		return 0;
	t->left--;
	return *t->at++;
}

static inline uint32_t tape_u32(struct tape *t)
{
	uint32_t n = 0;

	for (int i = 0; i < 4; i++)
		n = n << 8 | tape_byte(t);
	return n;
}

/* Returns at most n bytes; *got is their number. */
static inline const uint8_t *tape_take(struct tape *t, size_t n, size_t *got)
{
	const uint8_t *p = t->at;

	*got = n < t->left ? n : t->left;
	t->at += *got;
	t->left -= *got;
	return p;
}

/* A copy with a NUL at its end, so that a sanitizer detects a read past the end. */
static inline char *copy_of(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);

	if (copy == NULL)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}

static inline bool is_zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n-- > 0)
		if (*b++ != 0)
			return false;
	return true;
}

#endif
