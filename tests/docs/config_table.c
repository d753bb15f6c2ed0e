/* Prints the members of the config file as JSON, for scripts/make-schemas.py: one object a line. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/config/table.h"
#include "proto/json/encode.h"

static const char *const changes[] = {"none", "apply", "link", "rekey", "peer", "restart"};

static void print_table(const char *table, const char *prefix, const struct config_table *t);

static void print_key(const char *table, const char *prefix, const struct config_key *k)
{
	static char buf[4096];
	char name[64];
	struct json_out o;

	snprintf(name, sizeof name, "%s%s", prefix, k->name);
	json_begin(&o, buf, sizeof buf);
	json_put_open(&o, NULL);
	json_put_text(&o, "table", table);
	json_put_text(&o, "name", name);
	json_put_text(&o, "kind", k->kind->name);
	json_put_u64(&o, "min", k->min);
	json_put_u64(&o, "max", k->max);
	json_put_bool(&o, "required", k->required);
	json_put_text(&o, "change", changes[k->change]);
	if (strcmp(k->kind->name, "word") == 0) {
		json_put_array(&o, "words");
		for (const char *const *w = k->more; *w != NULL; w++)
			json_put_text(&o, NULL, *w);
		json_put_array_end(&o);
	}
	if (k->preset != NULL)
		json_put_raw(&o, "default", k->preset, strlen(k->preset));
	json_put_text(&o, "absent", k->absent);
	json_put_text(&o, "range", k->range);
	json_put_text(&o, "text", k->text);
	json_put_close(&o);
	if (json_end(&o) > 0)
		puts(buf);
}

static void print_table(const char *table, const char *prefix, const struct config_table *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct config_key *k = &t->keys[i];
		char inner[64];

		if (k->kind == &config_include)
			continue;
		if (k->kind != &config_group || k->more == &config_option_table) {
			print_key(table, prefix, k);
			continue;
		}
		snprintf(inner, sizeof inner, "%s%s.", prefix, k->name);
		print_table(table, inner, k->more);
	}
}

int main(void)
{
	print_table("agent", "", &config_agent_table);
	print_table("peer", "", &config_peer_table);
	print_table("option", "", &config_option_table);
	for (int i = 0; i < SUITE_COUNT; i++)
		printf("{\"table\":\"suite\",\"name\":\"%s\"}\n", suite_info((enum suite)i)->name);
	return 0;
}
