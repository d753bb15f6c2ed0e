/*
 * tests/support/ipsec_fault.h - a back end in front of another one, in which chosen calls fail.
 *
 *     rule  = part *( "," part )
 *     part  = call ":" ( number / "*" ) [ "?" ]
 *
 * "reserve:3,activate:*" is the third reserve, and every activate. A call that fails returns ERR_OS
 * and never reaches the other back end. With "?", for install and activate, it is done and returns
 * IPSEC_UNKNOWN. The program build/TARGET-test/sapair reads the rule from the
 * environment variable SAPAIR_TEST_FAULT; the released program does not have this file.
 */
#ifndef SAPAIR_TESTS_SUPPORT_IPSEC_FAULT_H
#define SAPAIR_TESTS_SUPPORT_IPSEC_FAULT_H

#include "agent/ipsec/ipsec.h"

/* Owns inner from then on. NULL, and inner is as it was, when the rule is none or there is no memory. */
struct ipsec *ipsec_fault_wrap(struct ipsec *inner, const char *rule);

#endif
