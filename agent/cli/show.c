/*
 * agent/cli/show.c - reads members of documents and formats them.
 */
#include "agent/cli/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cJSON *at(const struct cJSON *d, const char *path)
{
	char name[40];

	for (;;) {
		size_t n = strcspn(path, ".");

		snprintf(name, sizeof name, "%.*s", (int)n, path);
		d = json_member(d, name);
		if (path[n] == '\0')
			return d;
		path += n + 1;
	}
}

const char *show_text(const struct cJSON *d, const char *path, const char *otherwise)
{
	const char *s = json_string(at(d, path));

	return s != NULL ? s : otherwise;
}

bool show_number(const struct cJSON *d, const char *path, double *n)
{
	const struct cJSON *v = at(d, path);
	const char *s = json_string(v);
	char *end;

	if (s == NULL)
		return json_number(v, n);
	*n = strtod(s, &end);
	return end > s && *end == '\0';
}

bool show_is(const struct cJSON *d, const char *path)
{
	bool b = false;

	return json_boolean(at(d, path), &b) && b;
}

bool show_has(const struct cJSON *d, const char *path)
{
	return at(d, path) != NULL;
}

const char *show_count(char text[OUT_NUMBER], const struct cJSON *d, const char *path)
{
	double n;

	return show_number(d, path, &n) ? out_count(text, n) : "-";
}

const char *show_ms(char text[OUT_NUMBER], const struct cJSON *d, const char *path)
{
	double n;

	return show_number(d, path, &n) ? out_ms(text, n) : "-";
}

const char *show_span(char text[OUT_NUMBER], const struct cJSON *d, const char *path)
{
	double n;

	return show_number(d, path, &n) ? out_span(text, n) : "-";
}

const char *show_date(const struct cJSON *d, const char *path)
{
	static char day[11];

	snprintf(day, sizeof day, "%s", show_text(d, path, "unknown"));
	return day;
}

void show_removing(const struct cJSON *d)
{
	const struct cJSON *sa = json_first(json_member(json_member(d, "removing"), "sas"));
	const bool has_policy = show_is(d, "removing.policy");

	if (!show_has(d, "removing"))
		return;
	out_text("still there:%s%s%s", has_policy ? " the policy" : "",
		 has_policy && sa != NULL ? "," : "", sa != NULL ? " SAs" : "");
	for (; sa != NULL; sa = json_next(sa))
		out_text(" %s", json_string(sa));
	out_text(" (%s); the agent tries again\n", show_text(d, "removing.error.cause", "?"));
}
