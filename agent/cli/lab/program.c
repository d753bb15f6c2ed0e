/*
 * agent/cli/lab/program.c - reads a program file and hashes it.
 */
#include "agent/cli/lab/program.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/hex.h"

int lab_program_read(char **image, size_t *len, char hash[2 * SHA256_LEN + 1], const char *path,
		     struct err *e)
{
	FILE *f = fopen(path, "rb");
	uint8_t bytes[SHA256_LEN];
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
	if (!sha256(&(struct bytes){*image, *len}, 1, bytes))
		return err_set(e, ERR_BUG, "no memory for a hash");
	hex_put(hash, bytes, sizeof bytes);
	return 0;
}
