/*
 * proto/wire/ctl.c - requests as JSON. Members that have their defaults are left out.
 */
#include "proto/wire/ctl.h"

#include <string.h>

#include "proto/json/decode.h"
#include "proto/json/encode.h"

#define DEPTH 1
#define TIMEOUT_MS 30000
#define PROBES 3
#define PROBES_MAX 1000000
#define INTERVAL_MAX_MS 60000
#define PARALLEL 16
#define PARALLEL_MAX 10000

#define NAME(upper, lower, members) #lower,
static const char *const verbs[] = {CTL_VERBS(NAME) NULL};
#define MEMBERS(upper, lower, members) members,
static const unsigned members_of[] = {CTL_VERBS(MEMBERS)};
static const char *const waits[] = {"none", "done", "drain", NULL};

const char *ctl_verb_name(enum ctl_verb v)
{
	return (unsigned)v < CTL_COUNT ? verbs[v] : "unknown";
}

void ctl_request_init(struct ctl_request *r, enum ctl_verb verb)
{
	*r = (struct ctl_request){
		.verb = (int)verb,
		.wait = CTL_WAIT_DONE,
		.timeout_ms = TIMEOUT_MS,
		.verify = true,
		.count = PROBES,
		.parallel = PARALLEL,
	};
}

static int get_pin_text(const struct cJSON *v, const struct json_field *f, void *to, struct err *e)
{
	const char *s = json_string(v);
	uint8_t pin[PIN_LEN];

	if (s == NULL || !pin_get(pin, s))
		return err_set(e, ERR_USAGE, "must be \"sha256:\" and 64 lower-case hex digits");
	return json_get_text(v, f, to, e);
}

/* clang-format off */
#define FIELD(at, getter, ...) \
	{.name = #at, .get = getter, .off = offsetof(struct ctl_request, at), __VA_ARGS__}
static const struct json_field fields[] = {
	FIELD(verb,        json_get_word, .more = verbs),
	FIELD(peer,        json_get_text, .min = 1, .max = MSG_NAME_MAX + 1, .optional = true),
	FIELD(all,         json_get_bool, .optional = true),
	FIELD(wait,        json_get_word, .more = waits, .optional = true),
	FIELD(timeout_ms,  json_get_u32,  .optional = true),
	FIELD(verify,      json_get_bool, .optional = true),
	FIELD(count,       json_get_u32,  .min = 1, .max = PROBES_MAX, .optional = true),
	FIELD(interval_ms, json_get_u32,  .max = INTERVAL_MAX_MS, .optional = true),
	FIELD(parallel,    json_get_u32,  .min = 1, .max = PARALLEL_MAX, .optional = true),
	FIELD(reason,      json_get_text, .max = MSG_TEXT_MAX + 1, .optional = true),
	FIELD(pin,         get_pin_text,  .max = PIN_TEXT + 1, .optional = true),
};
/* clang-format on */

/* Refuses members that the verb would ignore, and a verb for pairs that does not say which. */
static int check(const struct ctl_request *r, struct err *e)
{
	const char *verb = ctl_verb_name((enum ctl_verb)r->verb);
	const unsigned has = members_of[r->verb];
	struct ctl_request usual;

	ctl_request_init(&usual, (enum ctl_verb)r->verb);
	const struct {
		const char *name;
		unsigned member;
		bool given;
	} members[] = {
		{"peer", CTL_HAS_PEER, r->peer[0] != '\0'},
		{"all", CTL_HAS_ALL, r->all},
		{"wait", CTL_HAS_WAIT, r->wait != usual.wait},
		{"verify", CTL_HAS_VERIFY, r->verify != usual.verify},
		{"count", CTL_HAS_COUNT, r->count != usual.count},
		{"interval_ms", CTL_HAS_INTERVAL, r->interval_ms != usual.interval_ms},
		{"parallel", CTL_HAS_PARALLEL, r->parallel != usual.parallel},
		{"reason", CTL_HAS_REASON, r->reason[0] != '\0'},
		{"pin", CTL_HAS_PIN, r->pin[0] != '\0'},
	};

	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
		if (members[i].given && (has & members[i].member) == 0)
			return err_set(e, ERR_USAGE, "%s has no member \"%s\"", verb,
				       members[i].name);
	if (r->all && r->peer[0] != '\0')
		return err_set(e, ERR_USAGE, "\"peer\" and \"all\" are mutually exclusive");
	if ((has & CTL_NEEDS_PEER) != 0 && !r->all && r->peer[0] == '\0')
		return err_set(e, ERR_USAGE, "%s: \"peer\"%s is missing", verb,
			       (has & CTL_HAS_ALL) != 0 ? " or \"all\"" : "");
	return 0;
}

int ctl_decode(struct ctl_request *r, const char *line, size_t len, struct err *e)
{
	ctl_request_init(r, CTL_STATUS);
	if (json_decode_text(line, len, DEPTH, fields, sizeof fields / sizeof fields[0], r,
			     sizeof *r, e) == 0 &&
	    check(r, e) == 0)
		return 0;
	memset(r, 0, sizeof *r);
	if (e != NULL && e->code == ERR_REFUSED)
		e->code = ERR_USAGE; /* it comes from a local program, not from a peer */
	return err_in(e, "request");
}

static void put_text(struct json_out *o, const char *name, const char *text)
{
	if (text[0] != '\0')
		json_put_text(o, name, text);
}

static void put_u32(struct json_out *o, const char *name, uint32_t n, uint32_t usual)
{
	if (n != usual)
		json_put_u64(o, name, n);
}

size_t ctl_encode(const struct ctl_request *r, char *line, size_t size)
{
	struct ctl_request usual;
	struct json_out o;

	ctl_request_init(&usual, (enum ctl_verb)r->verb);
	json_begin(&o, line, size);
	json_put_open(&o, NULL);
	json_put_text(&o, "verb", ctl_verb_name((enum ctl_verb)r->verb));
	put_text(&o, "peer", r->peer);
	if (r->all)
		json_put_bool(&o, "all", true);
	if (r->wait != usual.wait)
		json_put_text(&o, "wait", waits[r->wait]);
	put_u32(&o, "timeout_ms", r->timeout_ms, usual.timeout_ms);
	if (r->verify != usual.verify)
		json_put_bool(&o, "verify", r->verify);
	put_u32(&o, "count", r->count, usual.count);
	put_u32(&o, "interval_ms", r->interval_ms, usual.interval_ms);
	put_u32(&o, "parallel", r->parallel, usual.parallel);
	put_text(&o, "reason", r->reason);
	put_text(&o, "pin", r->pin);
	json_put_close(&o);
	return json_end(&o);
}
