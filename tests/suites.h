/* The suites that a config without "suites" offers, in this order. */
#ifndef SAPAIR_TESTS_SUITES_H
#define SAPAIR_TESTS_SUITES_H

#include "proto/base/suite.h"

#define DEFAULT_SUITES                                                            \
	((struct suite_list){                                                     \
		.n = 3,                                                           \
		.v = {SUITE_AES256GCM16, SUITE_AES128GCM16, SUITE_AES256_SHA256}, \
	})

#endif
