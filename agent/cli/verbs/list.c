/*
 * agent/cli/verbs/list.c - the list of verbs as an array.
 */
#include "agent/cli/verbs/list.h"

#include <stddef.h>

#define DECLARE(name) extern const struct verb verb_##name;
VERB_LIST(DECLARE)

#define ADDRESS(name) &verb_##name,
const struct verb *const verb_list[] = {VERB_LIST(ADDRESS) NULL};
