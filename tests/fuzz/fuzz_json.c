/*
 * proto/scan and proto/json: what the scanner lets through, cJSON reads, with the same members;
 * what it refuses has a place. Paths lead to places.
 *
 *     u8 depth | u8 length of a path | path | text
 */
#include "proto/json/decode.h"
#include "proto/json/scan.h"
#include "tests/fuzz/fuzz.h"

static void walk(const struct cJSON *v, unsigned depth)
{
	const struct cJSON *m;
	double number;

	MUST(depth <= SCAN_DEPTH_MAX + 1);
	if (json_number(v, &number))
		MUST(number >= -9007199254740991.0 && number <= 9007199254740991.0);
	if (json_is_string(v))
		MUST(json_string(v) != NULL);
	for (m = json_first(v); m != NULL; m = json_next(m)) {
		if (json_is_object(v))
			MUST(json_member(v, json_name(m)) == m);
		walk(m, depth + 1);
	}
}

static void find_places(const char *text, size_t size, const char *path)
{
	struct scan_where where = {0};
	struct err e = {0};

	MUST(scan_find(text, size, "", false, &where) && where.line >= 1 && where.column >= 1);
	if (scan_find(text, size, path, false, &where))
		MUST(where.line >= 1 && where.column >= 1);
	scan_find(text, size, path, true, &where);
	err_set(&e, ERR_USAGE, "wrong");
	err_at(&e, "%s", path);
	MUST(json_place(text, size, &e) == -1);
	MUST(strncmp(e.cause, "line ", 5) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape t = {data, size};
	unsigned depth = tape_byte(&t);
	size_t len = tape_byte(&t) % 64, got;
	const uint8_t *p = tape_take(&t, len, &got);
	struct json_doc *doc = NULL;
	struct scan_where where = {0};
	struct err scan = {0}, open = {0};
	char *path = copy_of(p, got), *text = copy_of(t.at, t.left);

	json_start();
	depth = 1 + depth % SCAN_DEPTH_MAX + (depth & 0x80 ? SCAN_DECIMALS : 0);
	if (scan_json(text, t.left, depth, &where, &scan) < 0) {
		MUST(scan.code == ERR_REFUSED && where.line >= 1 && where.column >= 1);
		MUST(json_open(&doc, text, t.left, depth, true, &open) == -1);
		MUST(doc == NULL);
	} else {
		MUST(json_open(&doc, text, t.left, depth, false, &open) == 0);
		walk(json_root(doc), 0);
		find_places(text, t.left, path);
		json_close(doc);
	}
	free(path);
	free(text);
	return 0;
}
