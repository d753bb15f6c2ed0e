/*
 * agent/ipsec/backends.c - the back ends of this program: found by name, or by what the system has.
 */
#include "agent/ipsec/ipsec.h"

#include <stdio.h>
#include <string.h>

/* The back ends of this program; "auto" is the first, unless that is soft. */
static const struct ipsec_ops *const table[] = {
#ifdef __linux__
	&ipsec_xfrm,
#endif
#ifdef _WIN32
	&ipsec_wfp,
#endif
	&ipsec_soft,
};
#define TABLE_LEN (sizeof table / sizeof table[0])

/* In process: carries the probes, but does not protect the host's traffic. */
static bool is_systems_own(const struct ipsec_ops *ops)
{
	return ops != &ipsec_soft;
}

const char *ipsec_names(void)
{
	static char names[16 * TABLE_LEN];

	if (names[0] == '\0')
		for (size_t i = 0, n = 0; i < TABLE_LEN; i++)
			n += (size_t)snprintf(names + n, sizeof names - n, "%s%s",
					      i > 0 ? ", " : "", table[i]->name);
	return names;
}

static const struct ipsec_ops *find(const char *name)
{
	for (size_t i = 0; i < TABLE_LEN; i++)
		if (strcmp(table[i]->name, name) == 0)
			return table[i];
	return NULL;
}

bool ipsec_known(const char *name)
{
	return strcmp(name, "auto") == 0 || find(name) != NULL;
}

static int open_one(struct ipsec **db, const struct ipsec_ops *ops, const struct ipsec_env *env,
		    struct err *e)
{
	if (env->forward != NULL && is_systems_own(ops))
		ops = env->forward;
	return ops->open(db, env, e);
}

/* Never falls back to soft: the configuration declares the host's traffic protected, and soft does not
 * protect it (D9). */
static int open_auto(struct ipsec **db, const struct ipsec_env *env, struct err *e)
{
	const struct ipsec_ops *own = table[0];

	if (!is_systems_own(own)) {
		err_set(e, ERR_OS, "this system has no IPsec that sapair can use");
		return err_hint(e, "--backend soft pairs without IPsec, for tests: it does not "
				   "protect the host's traffic");
	}
	return open_one(db, own, env, e) == 0 ? 0 : err_in(e, "back end %s", own->name);
}

int ipsec_open(struct ipsec **db, const char *name, const struct ipsec_env *env, struct err *e)
{
	const struct ipsec_ops *ops;

	*db = NULL;
	if (strcmp(name, "auto") == 0)
		return open_auto(db, env, e);
	ops = find(name);
	if (ops == NULL)
		return err_set(e, ERR_USAGE, "back end \"%s\": this program has auto, %s", name,
			       ipsec_names());
	if (open_one(db, ops, env, e) < 0)
		return err_in(e, "back end %s", name);
	return 0;
}
