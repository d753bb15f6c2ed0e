/*
 * tests/support/ipsec_fault.h - a back end that passes calls to another one, except chosen calls, which fail.
 *
 *     rule  = part *( "," part )
 *     part  = call ":" ( number / "*" ) [ "?" ]
 *
 * "reserve:3,activate:*" is the third reserve, and every activate. A call that fails returns ERR_OS
 * and never reaches the other back end. With "?", for install and activate, the call is
 * performed and returns IPSEC_UNKNOWN. The program build/TARGET-test/sapair reads the rule from the
 * environment variable SAPAIR_TEST_FAULT; the released program does not have this file.
 */
#ifndef SAPAIR_TESTS_SUPPORT_IPSEC_FAULT_H
#define SAPAIR_TESTS_SUPPORT_IPSEC_FAULT_H

#include "agent/ipsec/ipsec.h"

/* Takes ownership of inner. Returns NULL, with inner unchanged, for an invalid rule or without memory. */
struct ipsec *ipsec_fault_wrap(struct ipsec *inner, const char *rule);

#endif
