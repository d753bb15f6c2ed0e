/*
 * tests/support/ipsec_fault.c - a back end in front of another one, in which chosen calls fail.
 */
#include "tests/support/ipsec_fault.h"

#include <stdlib.h>
#include <string.h>

enum call {
	POLICY_ADD,
	POLICY_REMOVE,
	RESERVE,
	INSTALL,
	ACTIVATE,
	REMOVE,
	QUERY,
	RECOVER,
	SEND,
	CALLS
};
static const char *const call_names[CALLS] = {
	[POLICY_ADD] = "policy_add",
	[POLICY_REMOVE] = "policy_remove",
	[RESERVE] = "reserve",
	[INSTALL] = "install",
	[ACTIVATE] = "activate",
	[REMOVE] = "remove",
	[QUERY] = "query",
	[RECOVER] = "recover",
	[SEND] = "send",
};

#define PARTS_MAX 8
#define ALWAYS 0 /* in place of a call's number, which counts from 1 */

struct faulty {
	struct ipsec db;
	struct ipsec_ops ops; /* ours, with the name of the back end behind */
	struct ipsec *inner;
	struct {
		enum call call;
		unsigned number;
		bool unknown; /* it is done, and the answer is lost */
	} parts[PARTS_MAX];
	size_t n_parts;
	unsigned calls[CALLS]; /* so far */
};

static struct faulty *of(struct ipsec *db)
{
	return (struct faulty *)(void *)db;
}

/* Counts the call. 0: it is to be done; -1: it fails; IPSEC_UNKNOWN: it is to be done, and its answer
 * is lost. */
static int fails(struct ipsec *db, enum call c, struct err *e)
{
	struct faulty *f = of(db);

	f->calls[c]++;
	for (size_t i = 0; i < f->n_parts; i++)
		if (f->parts[i].call == c &&
		    (f->parts[i].number == ALWAYS || f->parts[i].number == f->calls[c])) {
			err_set(e, ERR_OS, "test fault: %s call %u", call_names[c], f->calls[c]);
			err_hint(e, "unset SAPAIR_TEST_FAULT");
			return f->parts[i].unknown ? IPSEC_UNKNOWN : -1;
		}
	return 0;
}

static void fault_close(struct ipsec *db)
{
	ipsec_close(of(db)->inner);
	free(of(db));
}

static void fault_can(struct ipsec *db, struct ipsec_can *can)
{
	ipsec_can(of(db)->inner, can);
}

static int fault_policy_add(struct ipsec *db, struct policy *p, struct err *e)
{
	if (fails(db, POLICY_ADD, e) < 0)
		return -1;
	return ipsec_policy_add(of(db)->inner, p, e);
}

static int fault_policy_remove(struct ipsec *db, struct policy *p, struct err *e)
{
	if (fails(db, POLICY_REMOVE, e) < 0)
		return -1;
	return ipsec_policy_remove(of(db)->inner, p, e);
}

static int fault_reserve(struct ipsec *db, struct policy *p, struct ipsec_ctx *ctx, struct spi *in,
			 struct err *e)
{
	if (fails(db, RESERVE, e) < 0)
		return -1;
	return ipsec_reserve(of(db)->inner, p, ctx, in, e);
}

static int fault_install(struct ipsec *db, struct ipsec_ctx ctx, const struct sa_keys *in,
			 const struct sa_keys *out, struct err *e)
{
	const int rc = fails(db, INSTALL, e);

	if (rc == IPSEC_UNKNOWN && ipsec_install(of(db)->inner, ctx, in, out, NULL) < 0)
		return -1;
	if (rc < 0)
		return rc;
	return ipsec_install(of(db)->inner, ctx, in, out, e);
}

static int fault_activate(struct ipsec *db, struct ipsec_ctx ctx, const struct sa_keys *out,
			  struct err *e)
{
	const int rc = fails(db, ACTIVATE, e);

	if (rc == IPSEC_UNKNOWN && ipsec_activate(of(db)->inner, ctx, out, NULL) < 0)
		return -1;
	if (rc < 0)
		return rc;
	return ipsec_activate(of(db)->inner, ctx, out, e);
}

static int fault_remove(struct ipsec *db, struct ipsec_ctx ctx, enum ipsec_part part, struct err *e)
{
	if (fails(db, REMOVE, e) < 0)
		return -1;
	return ipsec_remove(of(db)->inner, ctx, part, e);
}

static int fault_query(struct ipsec *db, struct ipsec_ctx ctx, enum ipsec_part part,
		       struct sa_counts *counts, struct err *e)
{
	if (fails(db, QUERY, e) < 0)
		return -1;
	return ipsec_query(of(db)->inner, ctx, part, counts, e);
}

static int fault_recover(struct ipsec *db, ipsec_found *found, void *arg, struct err *e)
{
	if (fails(db, RECOVER, e) < 0)
		return -1;
	return ipsec_recover(of(db)->inner, found, arg, e);
}

static int fault_exempt_socket(struct ipsec *db, intptr_t fd, bool ipv6, struct err *e)
{
	return ipsec_exempt_socket(of(db)->inner, fd, ipv6, e);
}

static int fault_reload(struct ipsec *db, struct err *e)
{
	return ipsec_reload(of(db)->inner, e);
}

static int fault_send(struct ipsec *db, struct policy *p, const uint8_t *data, size_t n,
		      struct err *e)
{
	if (fails(db, SEND, e) < 0)
		return -1;
	return ipsec_send(of(db)->inner, p, data, n, e);
}

/* One part at *rule, which moves behind it. */
static bool take_part(struct faulty *f, const char **rule)
{
	const char *colon = strchr(*rule, ':'), *c;
	enum call call = POLICY_ADD;
	unsigned number = 0;
	size_t len;

	if (colon == NULL || f->n_parts == PARTS_MAX)
		return false;
	len = (size_t)(colon - *rule);
	while (call < CALLS &&
	       (strlen(call_names[call]) != len || strncmp(call_names[call], *rule, len) != 0))
		call++;
	if (call == CALLS)
		return false;
	c = colon + 1;
	if (*c == '*') {
		number = ALWAYS;
		c++;
	} else {
		for (; *c >= '0' && *c <= '9' && number < 100000000; c++)
			number = number * 10 + (unsigned)(*c - '0');
		if (number == 0)
			return false;
	}
	f->parts[f->n_parts].call = call;
	f->parts[f->n_parts].number = number;
	f->parts[f->n_parts].unknown = *c == '?';
	if (*c == '?' && call != INSTALL && call != ACTIVATE)
		return false;
	c += *c == '?';
	f->n_parts++;
	*rule = c;
	return true;
}

static bool parse(struct faulty *f, const char *rule)
{
	for (;;) {
		if (!take_part(f, &rule))
			return false;
		if (*rule == '\0')
			return true;
		if (*rule++ != ',')
			return false;
	}
}

struct ipsec *ipsec_fault_wrap(struct ipsec *inner, const char *rule)
{
	static const struct ipsec_ops ops = {
		.close = fault_close,
		.can = fault_can,
		.policy_add = fault_policy_add,
		.policy_remove = fault_policy_remove,
		.reserve = fault_reserve,
		.install = fault_install,
		.activate = fault_activate,
		.remove = fault_remove,
		.query = fault_query,
		.recover = fault_recover,
		.exempt_socket = fault_exempt_socket,
		.reload = fault_reload,
		.send = fault_send,
	};
	struct faulty *f = calloc(1, sizeof *f);

	if (f == NULL || !parse(f, rule)) {
		free(f);
		return NULL;
	}
	f->inner = inner;
	f->ops = ops;
	f->ops.name = inner->ops->name;
	if (!ipsec_sends(inner))
		f->ops.send = NULL;
	f->db.ops = &f->ops;
	return &f->db;
}

/* build/TARGET-test/sapair is linked with --wrap=ipsec_open: its calls of ipsec_open() come here. */
int __real_ipsec_open(struct ipsec **db, const char *name, const struct ipsec_env *env,
		      struct err *e);
int __wrap_ipsec_open(struct ipsec **db, const char *name, const struct ipsec_env *env,
		      struct err *e);

int __wrap_ipsec_open(struct ipsec **db, const char *name, const struct ipsec_env *env,
		      struct err *e)
{
	const char *rule = getenv("SAPAIR_TEST_FAULT");
	struct ipsec *wrapped;

	if (__real_ipsec_open(db, name, env, e) < 0)
		return -1;
	if (rule == NULL)
		return 0;
	wrapped = ipsec_fault_wrap(*db, rule);
	if (wrapped == NULL) {
		ipsec_close(*db);
		return err_set(e, ERR_USAGE, "SAPAIR_TEST_FAULT: %s is no rule", rule);
	}
	*db = wrapped;
	return 0;
}
