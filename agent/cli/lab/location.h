/*
 * agent/cli/lab/location.h - where a lab is: its directory, the names that this machine sees of it, its addresses.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_LOCATION_H
#define SAPAIR_AGENT_CLI_LAB_LOCATION_H

#include "agent/cli/lab/session.h"

/* Its folder, and the tag that is in there, if any. */
int lab_location_find_dir(struct lab_session *r, struct err *e);
bool lab_location_read_tag(struct lab_session *r);
/* Was it brought up, by what its folder says? Sets where and the addresses. */
bool lab_location_is_up(struct lab_session *r);
/* Settles where the hosts of a lab that is not up shall be, and writes it down. */
int lab_location_create(struct lab_session *r, struct err *e);
/* An `up` got as far as names, and no further: they may be in use. */
bool lab_location_is_partial(struct lab_session *r);
/* Are its namespaces there? Else lab_location_repair() makes all anew. */
bool lab_location_is_complete(const struct lab_session *r);
int lab_location_repair(struct lab_session *r, struct err *e);
/* The file is the one by which the lab is up. */
int lab_location_keep_file(const struct lab_session *r, struct err *e);
/* The last traces on this machine: namespaces, files. */
int lab_location_remove(struct lab_session *r, struct err *e);
/* Removes what a killed `up` had not finished to write, and the folder if it is empty then. */
void lab_location_sweep(const struct lab_session *r);

#endif
