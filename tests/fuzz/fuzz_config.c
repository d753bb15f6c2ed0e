/*
 * proto/config: any text gives a config that passes config_check(), or an error with a position.
 */
#include "proto/config/config.h"
#include "proto/json/decode.h"
#include "tests/fuzz/fuzz.h"

static void use(const struct config *c)
{
	struct err e = {0};

	MUST(c->listens <= CONFIG_LISTEN_MAX && c->n_peers <= CONFIG_PEERS_MAX);
	MUST(config_check(c, &e) == 0);
	for (size_t i = 0; i < c->n_peers; i++) {
		const struct peer_config *p = &c->peers[i];

		MUST(p->remote.addr.len == 4 || p->remote.addr.len == 16);
		MUST(p->name[0] != '\0' && p->opt.suites.n >= 1);
		MUST(p->opt.policy.protects <= PROTECT_MAX && p->opt.policy.exempts <= PROTECT_MAX);
		MUST(peer_config_change(p, p) == CHANGE_NONE);
		if (i > 0)
			MUST(peer_config_change(p, p - 1) != CHANGE_NONE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config c;
	struct err e = {0};
	char *text = copy_of(data, size);

	json_start();
	MUST(config_init(&c, NULL) == 0);
	if (config_parse(&c, text, size, &e) == 0) {
		use(&c);
		if (config_add_peer(&c, "192.0.2.77:99", &e) == 0)
			(void)config_check(&c, &e);
		config_free(&c);
	} else {
		MUST(e.code == ERR_USAGE && strncmp(e.cause, "line ", 5) == 0);
		MUST(text_printable(e.cause, strlen(e.cause)));
		MUST(c.peers == NULL && c.n_peers == 0);
	}
	free(text);
	return 0;
}
