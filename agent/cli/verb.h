/*
 * agent/cli/verb.h - the verbs: one table that is parsed by, and that prints help.
 */
#ifndef SAPAIR_AGENT_VERB_H
#define SAPAIR_AGENT_VERB_H

#include "agent/cli/args.h"

struct verb {
	const char *name;  /* "rekey", "id new" */
	const char *words; /* behind it in the usage: "PEER|--all" */
	const char *text;  /* one line of help */
	const char *more;  /* further lines of help, or NULL */
	const char *example;
	const struct option *lists[OPTION_LISTS_MAX]; /* beside --json, which every verb has */
	size_t least, most;                           /* words behind the name */
	/* The exit status, or -1 with e filled. */
	int (*run)(const struct args *a, struct err *e);
};

/* The whole program but for what main() prepares: the exit status. */
int verb_run(int argc, char **argv);

/* The table, for help and its tests; ends with a nameless one. */
extern const struct verb verbs[];
/* The verb that argv begins with; *took is how many of its words that is. NULL: none. */
const struct verb *verb_find(char **argv, size_t n, size_t *took);
/* The nearest name, or NULL. */
const char *verb_near(const char *name);

/* Options of the verbs that talk to a running agent. */
extern const struct option verb_control[], verb_timeout[];

int v_run(const struct args *a, struct err *e);
int v_status(const struct args *a, struct err *e);
int v_up(const struct args *a, struct err *e);
int v_down(const struct args *a, struct err *e);
int v_rekey(const struct args *a, struct err *e);
int v_verify(const struct args *a, struct err *e);
int v_watch(const struct args *a, struct err *e);
int v_reload(const struct args *a, struct err *e);
int v_stop(const struct args *a, struct err *e);
int v_check(const struct args *a, struct err *e);
int v_plan(const struct args *a, struct err *e);
int v_clean(const struct args *a, struct err *e);
int v_id_show(const struct args *a, struct err *e);
int v_id_new(const struct args *a, struct err *e);
int v_ca_new(const struct args *a, struct err *e);
int v_ca_issue(const struct args *a, struct err *e);
int v_ca_sign(const struct args *a, struct err *e);
int v_ca_renew(const struct args *a, struct err *e);
int v_ca_show(const struct args *a, struct err *e);
int v_export_esp_sa(const struct args *a, struct err *e);
int v_export_script(const struct args *a, struct err *e);
int v_doctor(const struct args *a, struct err *e);
int v_metrics(const struct args *a, struct err *e);
int v_completion(const struct args *a, struct err *e);
int v_invite(const struct args *a, struct err *e);
int v_join(const struct args *a, struct err *e);
int v_lab_init(const struct args *a, struct err *e);
int v_lab_up(const struct args *a, struct err *e);
int v_lab_status(const struct args *a, struct err *e);
int v_lab_verify(const struct args *a, struct err *e);
int v_lab_rekey(const struct args *a, struct err *e);
int v_lab_down(const struct args *a, struct err *e);
#ifdef _WIN32
int v_service_install(const struct args *a, struct err *e);
int v_service_remove(const struct args *a, struct err *e);
int v_service_start(const struct args *a, struct err *e);
int v_service_stop(const struct args *a, struct err *e);
int v_service_main(const struct args *a, struct err *e);
int v_labhost_hash(const struct args *a, struct err *e);
int v_labhost_start(const struct args *a, struct err *e);
int v_labhost_stop(const struct args *a, struct err *e);
#endif
int v_version(const struct args *a, struct err *e);
int v_help(const struct args *a, struct err *e);

#endif
