/*
 * docs/protocol.md against the code: the table of states, and the messages of the worked example.
 *
 * scripts/print-exchange.sh prints the table as the document should have it (--print).
 */
#include <stdlib.h>

#include "crypto/hex.h"
#include "crypto/random.h"
#include "proto/exchange/exchange.h"
#include "proto/json/decode.h"
#include "tests/t.h"

#define DOCUMENT "docs/protocol.md"
#define BEGIN "<!-- exchange -->\n"
#define END "<!-- end of exchange -->"

static void put_table(char *to, size_t size)
{
	const char *in, *on, *does, *next, *undo;
	size_t n = (size_t)snprintf(to, size,
				    "| State | Event | Actions | Next | If it ends early |\n"
				    "|---|---|---|---|---|\n");

	for (size_t i = 0; n < size && exchange_row(i, &in, &on, &does, &next, &undo); i++)
		n += (size_t)snprintf(to + n, size - n, "| %s | %s | %s | %s | %s |\n", in, on,
				      does, next, undo);
}

static char *document(void)
{
	FILE *f = fopen(DOCUMENT, "r");
	char *text = calloc(1, 1 << 17);

	if (f != NULL) {
		if (text != NULL && fread(text, 1, (1 << 17) - 1, f) == 0)
			text[0] = '\0';
		fclose(f);
	}
	return text;
}

static void the_document_has_the_table_of_states(void)
{
	char *text = document(), want[4096], *is, *end;

	is = text != NULL ? strstr(text, BEGIN) : NULL;
	end = is != NULL ? strstr(is, END) : NULL;
	if (CHECK(is != NULL && end != NULL)) {
		is += sizeof BEGIN - 1;
		*end = '\0';
		put_table(want, sizeof want);
		CHECK_STR(is, want);
	}
	free(text);
}

/* Finds the line of the document that begins with this text. */
static bool find_line(const char *text, const char *begin, char *line, size_t size)
{
	const char *at = text != NULL ? strstr(text, begin) : NULL;
	size_t n = at != NULL ? strcspn(at, "\n") : 0;

	if (!CHECK(n > 0 && n < size))
		return false;
	memcpy(line, at, n);
	line[n] = '\0';
	return true;
}

static void count_up(uint8_t *p, unsigned first, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(first + i);
}

static void check_tag(const struct key_context *c, enum tag_role role, const char *offer,
		      const char *answer, size_t answer_len, const uint8_t want[TAG_LEN])
{
	struct bytes parts[] = {{offer, strlen(offer)}, {answer, answer_len}};
	uint8_t offer_hash[SHA256_LEN], answer_hash[SHA256_LEN], tag[TAG_LEN];
	uint8_t leader[SHARE_LEN], follower[SHARE_LEN];
	struct secret leader_share, follower_share, prk, key;

	count_up(leader, 0x20, SHARE_LEN);
	count_up(follower, 0x40, SHARE_LEN);
	secret_set(&leader_share, leader, SHARE_LEN);
	secret_set(&follower_share, follower, SHARE_LEN);
	CHECK(keysched_extract(c, &leader_share, &follower_share, &prk));
	CHECK(sha256(&parts[0], 1, offer_hash) && sha256(&parts[1], 1, answer_hash));
	CHECK(keysched_tag_key(c, &prk, &key));
	CHECK(keysched_tag(&key, role, offer_hash, answer_hash, tag));
	CHECK_MEM(tag, want, TAG_LEN);
}

/* Decoding and encoding a message of the document gives the same bytes, and the tags are correct. */
static void the_example_of_the_document_is_reproduced(void)
{
	static const char *const begins[] = {"{\"type\":\"offer\",\"xid\":\"01",
					     "{\"type\":\"answer\",\"xid\":\"01",
					     "{\"type\":\"confirm\",\"xid\":\"01",
					     "{\"type\":\"done\",\"xid\":\"01"};
	char line[4][1024], again[1024], *text = document();
	uint8_t bytes[32];
	struct secret exporter;
	struct key_context c = {.exporter = &exporter, .esn = true};
	struct msg m[4];

	crypto_start();
	json_start();
	count_up(bytes, 0, sizeof bytes);
	secret_set(&exporter, bytes, sizeof bytes);
	for (size_t i = 0; i < 4; i++) {
		if (!find_line(text, begins[i], line[i], sizeof line[i]) ||
		    !CHECK(msg_decode(&m[i], line[i], strlen(line[i]), NULL) == 0))
			goto free_text;
		CHECK(msg_encode(&m[i], again, sizeof again) > 0);
		CHECK_STR(again, line[i]);
	}
	c.xid = m[0].u.offer.xid;
	c.epoch = m[0].u.offer.epoch;
	c.suite = (enum suite)m[1].u.answer.suite;
	c.leader_spi = m[0].u.offer.spi;
	c.follower_spi = m[1].u.answer.spi;
	count_up(c.leader_id, 0x60, PIN_LEN);
	count_up(c.follower_id, 0x80, PIN_LEN);
	check_tag(&c, TAG_FOLLOWER, line[0], line[1], strlen(line[1]) - ANSWER_TAIL,
		  m[1].u.answer.tag);
	check_tag(&c, TAG_LEADER, line[0], line[1], strlen(line[1]), m[2].u.confirm.tag);
free_text:
	free(text);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {T(the_document_has_the_table_of_states),
					      T(the_example_of_the_document_is_reproduced)};
	char table[4096];

	if (argc > 1 && strcmp(argv[1], "--print") == 0) {
		put_table(table, sizeof table);
		fputs(table, stdout);
		return 0;
	}
	return t_run(cases, sizeof cases / sizeof cases[0], argc, argv);
}
