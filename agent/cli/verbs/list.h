/*
 * agent/cli/verbs/list.h - all verbs, in the order of `sapair help`: X(name) for each "verb_name".
 */
#ifndef SAPAIR_AGENT_CLI_VERBS_LIST_H
#define SAPAIR_AGENT_CLI_VERBS_LIST_H

#include "agent/cli/verb.h"

#ifdef _WIN32
#define VERB_LIST_WINDOWS(X) \
	X(service_install)   \
	X(service_remove)    \
	X(service_start)     \
	X(service_stop)      \
	X(service_main)      \
	X(labhost_hash)      \
	X(labhost_start)     \
	X(labhost_stop)
#else
#define VERB_LIST_WINDOWS(X)
#endif

/* clang-format off */
#define VERB_LIST(X) \
	X(run) \
	X(status) \
	X(up) \
	X(down) \
	X(rekey) \
	X(verify) \
	X(watch) \
	X(reload) \
	X(stop) \
	X(check) \
	X(plan) \
	X(clean) \
	VERB_LIST_WINDOWS(X) \
	X(id_show) \
	X(id_new) \
	X(ca_new) \
	X(ca_issue) \
	X(ca_sign) \
	X(ca_renew) \
	X(ca_show) \
	X(invite) \
	X(join) \
	X(export_esp_sa) \
	X(export_script) \
	X(lab_init) \
	X(lab_up) \
	X(lab_status) \
	X(lab_verify) \
	X(lab_rekey) \
	X(lab_down) \
	X(doctor) \
	X(metrics) \
	X(completion) \
	X(version) \
	X(help)
/* clang-format on */

/* Ended by NULL. */
extern const struct verb *const verb_list[];

#endif
