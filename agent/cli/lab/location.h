/*
 * agent/cli/lab/location.h - where a lab is: its directory, the names that this machine sees of
 * it, its addresses.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_LOCATION_H
#define SAPAIR_AGENT_CLI_LAB_LOCATION_H

#include "agent/cli/lab/session.h"

extern const char *const lab_location_words[]; /* by enum lab_where */

/* Sets the directory; reads its tag, if there is one. */
int lab_location_find_dir(struct lab_session *r, struct err *e);
bool lab_location_read_tag(struct lab_session *r);
/* Is the lab up, according to its directory? Sets where and the addresses. */
bool lab_location_is_up(struct lab_session *r);
/* Decides where the hosts of a new lab are, creates its directory and namespaces, and records
 * it. */
int lab_location_create(struct lab_session *r, struct err *e);
/* Was an `up` interrupted before it started agents? Its namespaces may exist. */
bool lab_location_is_partial(struct lab_session *r);
/* Do all its namespaces exist? If not, netns_make() makes all of them again. */
bool lab_location_is_complete(const struct lab_session *r);
/* Stores a copy of the lab file. ERR_USAGE if the directory belongs to another lab file. */
int lab_location_keep_file(const struct lab_session *r, struct err *e);
/* Removes namespaces and files. */
int lab_location_remove(struct lab_session *r, struct err *e);
/* Removes temporary files of a killed `up`, and the directory if it is empty then. */
void lab_location_sweep(const struct lab_session *r);

#endif
