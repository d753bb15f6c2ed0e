/*
 * agent/cli/lab/program.h - a program file and its hash.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_PROGRAM_H
#define SAPAIR_AGENT_CLI_LAB_PROGRAM_H

#include "crypto/hkdf.h"
#include "proto/base/err.h"

/* Reads the whole file into allocated memory; hash: SHA-256 in hex. */
int lab_program_read(char **image, size_t *len, char hash[2 * SHA256_LEN + 1], const char *path,
		     struct err *e);

#endif
