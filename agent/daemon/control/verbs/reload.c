/*
 * agent/daemon/control/verbs/reload.c - reload: applies changes to the config and certificates.
 */
#include <stdlib.h>

#include "agent/daemon/control/doc.h"
#include "agent/daemon/control/verbs.h"
#include "agent/daemon/peer/reload.h"

static void put_names(struct json_out *o, const char *name, char *const *list, size_t n)
{
	json_put_array(o, name);
	for (size_t i = 0; i < n; i++)
		json_put_text(o, NULL, list[i]);
	json_put_array_end(o);
}

static size_t reload_document(char *buf, size_t size, const struct reload_result *r)
{
	struct json_out o;

	doc_begin(&o, buf, size, "sapair.reload/1");
	json_put_bool(&o, "changed",
		      r->n_added + r->n_removed + r->n_updated > 0 || r->identity_changed);
	put_names(&o, "added", r->added, r->n_added);
	put_names(&o, "removed", r->removed, r->n_removed);
	put_names(&o, "updated", r->updated, r->n_updated);
	put_names(&o, "removing", r->removing, r->n_removing);
	json_put_u64(&o, "same", r->same);
	json_put_bool(&o, "identity_changed", r->identity_changed);
	return doc_finish(&o);
}

static void run_reload(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	struct reload_result r;
	struct err e = {0};
	size_t size;
	char *doc;

	(void)req;
	(void)p;
	if (c->control->host->reload(c->control->agent, &r, &e) < 0) {
		control_refuse(c, NULL, &e);
		return;
	}
	size = 1024 +
	       (r.n_added + r.n_removed + r.n_updated + r.n_removing) * 2 * (MSG_NAME_MAX + 3);
	doc = malloc(size);
	if (doc != NULL)
		control_reply(c, doc, reload_document(doc, size, &r));
	free(doc);
	control_reply_end(c, r.n_removing > 0 ? err_exit_status(ERR_OS) : 0);
	reload_result_free(&r);
}

const struct control_verb control_verb_reload = {
	.run = run_reload,
};
