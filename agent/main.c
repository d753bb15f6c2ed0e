/*
 * agent/main.c - hardens the process, then does what the first word says.
 */
#include <stdio.h>

#include "agent/cli/verbs/list.h"
#include "agent/os/os.h"
#include "crypto/random.h"
#include "proto/json/decode.h"

int main(int argc, char **argv)
{
	os_harden();
	json_start();
	if (!crypto_start()) {
		fputs("error: the random number generator does not start (exit 1)\n", stderr);
		return err_exit_status(ERR_BUG);
	}
	return verb_dispatch(argc, os_args(argc, argv), verb_list);
}
