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
#define HAS(upper, lower, members) members,
static const unsigned members_of[] = {CTL_VERBS(HAS)};
static const char *const waits[] = {"none", "done", "drain", NULL};

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

#define REQUIRED (1u << 31)
/* X(member, how it is read, how it is written, the verbs that have it, limits); 0: all verbs have it. */
/* clang-format off */
#define MEMBERS(X)                                                                             \
	X(verb,        json_get_word, word, REQUIRED,         .more = verbs)                   \
	X(peer,        json_get_text, text, CTL_HAS_PEER,     .min = 1, .max = MSG_NAME_MAX + 1) \
	X(all,         json_get_bool, bool, CTL_HAS_ALL,      .min = 0)                        \
	X(wait,        json_get_word, word, CTL_HAS_WAIT,     .more = waits)                   \
	X(timeout_ms,  json_get_u32,  u32,  0,                .min = 0)                        \
	X(verify,      json_get_bool, bool, CTL_HAS_VERIFY,   .min = 0)                        \
	X(count,       json_get_u32,  u32,  CTL_HAS_COUNT,    .min = 1, .max = PROBES_MAX)     \
	X(interval_ms, json_get_u32,  u32,  CTL_HAS_INTERVAL, .max = INTERVAL_MAX_MS)          \
	X(parallel,    json_get_u32,  u32,  CTL_HAS_PARALLEL, .min = 1, .max = PARALLEL_MAX)   \
	X(reason,      json_get_text, text, CTL_HAS_REASON,   .max = MSG_TEXT_MAX + 1)         \
	X(pin,         get_pin_text,  text, CTL_HAS_PIN,      .max = PIN_TEXT + 1)
#define FIELD(at, get_, type, has, ...)                                                       \
	{.name = #at, .get = get_, .put = json_put_field_##type, .optional = (has) != REQUIRED, \
	 .off = offsetof(struct ctl_request, at), __VA_ARGS__},
#define RULE(at, get_, type, has, ...) {has, sizeof(((struct ctl_request *)NULL)->at)},
/* clang-format on */
static const struct json_field fields[] = {MEMBERS(FIELD)};
static const struct {
	unsigned has;
	size_t size;
} rules[] = {MEMBERS(RULE)};
#define FIELDS (sizeof fields / sizeof fields[0])

/* Whether a member differs from its default. */
static bool is_given(const struct ctl_request *r, const struct ctl_request *usual, size_t i)
{
	const size_t off = fields[i].off;

	return memcmp((const char *)r + off, (const char *)usual + off, rules[i].size) != 0;
}

/* Refuses members that the verb would ignore, and a verb for pairs that does not say which. */
static int check(const struct ctl_request *r, struct err *e)
{
	const unsigned has = members_of[r->verb];
	struct ctl_request usual;

	ctl_request_init(&usual, (enum ctl_verb)r->verb);
	for (size_t i = 0; i < FIELDS; i++)
		if (rules[i].has != 0 && (has & rules[i].has) == 0 && is_given(r, &usual, i))
			return err_set(e, ERR_USAGE, "%s has no member \"%s\"", verbs[r->verb],
				       fields[i].name);
	if (r->all && r->peer[0] != '\0')
		return err_set(e, ERR_USAGE, "\"peer\" and \"all\" are mutually exclusive");
	if ((has & CTL_NEEDS_PEER) != 0 && !r->all && r->peer[0] == '\0')
		return err_set(e, ERR_USAGE, "%s: \"peer\"%s is missing", verbs[r->verb],
			       (has & CTL_HAS_ALL) != 0 ? " or \"all\"" : "");
	return 0;
}

int ctl_decode(struct ctl_request *r, const char *line, size_t len, struct err *e)
{
	ctl_request_init(r, CTL_STATUS);
	if (json_decode_text(line, len, DEPTH, fields, FIELDS, r, sizeof *r, e) == 0 &&
	    check(r, e) == 0)
		return 0;
	memset(r, 0, sizeof *r);
	if (e != NULL && e->code == ERR_REFUSED)
		e->code = ERR_USAGE; /* it comes from a local program, not from a peer */
	return err_in(e, "request");
}

size_t ctl_encode(const struct ctl_request *r, char *line, size_t size)
{
	struct ctl_request usual;
	struct json_out o;

	ctl_request_init(&usual, (enum ctl_verb)r->verb);
	json_begin(&o, line, size);
	json_put_open(&o, NULL);
	for (size_t i = 0; i < FIELDS; i++)
		if (!fields[i].optional || is_given(r, &usual, i))
			json_put_fields(&o, &fields[i], 1, r);
	json_put_close(&o);
	return json_end(&o);
}
