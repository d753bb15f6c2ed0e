/*
 * agent/daemon/peer/reload.c - applies a new config to the peers.
 */
#include "agent/daemon/peer/peer.h"

#include "agent/daemon/peer/policy.h"
#include "agent/os/creds.h"

#include <stdlib.h>
#include <string.h>

static const struct peer_config *find_config(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_peers; i++)
		if (strcmp(c->peers[i].name, name) == 0)
			return &c->peers[i];
	return NULL;
}

static int add_name(char ***list, size_t *n, const char *name)
{
	char **grown = realloc(*list, (*n + 1) * sizeof *grown);

	if (grown == NULL)
		return -1;
	*list = grown;
	grown[*n] = strdup(name);
	if (grown[*n] == NULL)
		return -1;
	(*n)++;
	return 0;
}

static void free_names(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

void reload_result_free(struct reload_result *r)
{
	free_names(r->added, r->n_added);
	free_names(r->removed, r->n_removed);
	free_names(r->updated, r->n_updated);
	free_names(r->removing, r->n_removing);
	memset(r, 0, sizeof *r);
}

static void reload_old_peers(struct agent *a, const struct config *c, struct reload_result *r)
{
	struct peer *p, *next;
	struct err e = {0};

	for (p = a->peers; p != NULL; p = next) {
		const struct peer_config *is = peer_config_of(p);
		const struct peer_config *pc = find_config(c, is->name);
		enum config_change change = pc != NULL ? peer_config_change(is, pc) : CHANGE_PEER;

		next = peer_next(p);
		if (peer_is_leaving(p))
			continue;
		if (pc == NULL ? peer_is_temporary(p) : change == CHANGE_NONE) {
			r->same++;
			continue;
		}
		if (pc != NULL)
			add_name(&r->updated, &r->n_updated, is->name);
		else
			add_name(&r->removed, &r->n_removed, is->name);
		if (change <= CHANGE_REKEY)
			peer_set_options(p, pc);
		else if (peer_remove(p, &e) < 0)
			add_name(&r->removing, &r->n_removing, is->name);
	}
}

static bool is_among(char *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
}

static bool has_peer(const struct agent *a, const char *name)
{
	for (const struct peer *p = a->peers; p != NULL; p = peer_next(p))
		if (!peer_is_leaving(p) && strcmp(peer_name(p), name) == 0)
			return true;
	return false;
}

static void reload_new_peers(struct agent *a, const struct config *c, struct reload_result *r)
{
	for (size_t i = 0; i < c->n_peers; i++) {
		const struct peer_config *pc = &c->peers[i];
		struct err e = {0};

		if (has_peer(a, pc->name))
			continue;
		if (peer_add(a, pc, NULL, &e) < 0)
			event_fail(&a->events, EVENT_SYSTEM, pc->name, &e);
		else if (!is_among(r->updated, r->n_updated, pc->name))
			add_name(&r->added, &r->n_added, pc->name);
	}
}

int peers_check(const struct agent *a, const struct config *c, struct err *e)
{
	for (size_t i = 0; i < c->n_peers; i++) {
		SECRET(ppk);

		if (policy_check(a, &c->peers[i], e) < 0)
			return -1;
		if (creds_ppk(&ppk, c->peers[i].ppk, e) < 0)
			return err_in(e, "peer %s: ppk", c->peers[i].name);
	}
	return 0;
}

void peers_reload(struct agent *a, const struct config *c, struct reload_result *r)
{
	reload_old_peers(a, c, r);
	reload_new_peers(a, c, r);
}
