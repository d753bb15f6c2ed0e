/*
 * proto/json: a text that the scanner accepts is read by cJSON, with the same members; a refused text
 * has a position. Each path has a position.
 *
 *     u8 depth | u8 length of a path | path | text
 */
#include "proto/json/decode.h"
#include "proto/json/scan.h"
#include "tests/fuzz/fuzz.h"

/* Returns the number of values. */
static size_t walk(const struct cJSON *v, unsigned depth)
{
	const struct cJSON *m;
	size_t n = 1;
	double number;

	MUST(depth <= SCAN_DEPTH_MAX + 1);
	if (json_number(v, &number))
		MUST(number >= -9007199254740991.0 && number <= 9007199254740991.0);
	if (json_is_string(v))
		MUST(json_string(v) != NULL);
	for (m = json_first(v); m != NULL; m = json_next(m)) {
		if (json_is_object(v))
			MUST(json_member(v, json_name(m)) == m);
		n += walk(m, depth + 1);
	}
	return n;
}

/* Fails with an error whose path comes from the input. */
static int read_wrong(const struct cJSON *root, void *to, struct err *e)
{
	(void)root;
	err_set(e, ERR_USAGE, "wrong");
	return err_at(e, "%s", (const char *)to);
}

static void find_places(const char *text, size_t size, size_t values)
{
	struct scan_where where = {0};

	for (size_t n = 0; n < values && n < 64; n++)
		for (int named = 0; named < 2; named++) {
			MUST(scan_find(text, size, n, named, &where));
			MUST(where.line >= 1 && where.column >= 1);
		}
	MUST(!scan_find(text, size, values, false, &where));
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
		MUST(json_open(&doc, text, t.left, depth, &open) == -1);
		MUST(doc == NULL);
	} else {
		MUST(json_open(&doc, text, t.left, depth, &open) == 0);
		find_places(text, t.left, walk(json_root(doc), 0));
		MUST(json_read_file(text, t.left, depth, read_wrong, path, &scan) == -1);
		MUST(strncmp(scan.cause, "line ", 5) == 0);
		json_close(doc);
	}
	free(path);
	free(text);
	return 0;
}
