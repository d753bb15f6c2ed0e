/*
 * proto/wire/ctl: a request that is accepted is written back as the same request.
 */
#include "proto/wire/ctl.h"
#include "proto/json/decode.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ctl_request r, again;
	char line[CTL_LINE_MAX];
	struct err e = {0};
	char *text = copy_of(data, size);
	size_t len;
	int rc;

	json_start();
	memset(&r, 0xa5, sizeof r);
	rc = ctl_decode(&r, text, size, &e);
	free(text);
	if (rc < 0) {
		MUST(e.code == ERR_USAGE && text_printable(e.cause, strlen(e.cause)));
		return 0;
	}
	MUST((unsigned)r.verb < CTL_COUNT && !(r.all && r.peer[0] != '\0'));
	MUST(r.count >= 1 && r.count <= 1000000 && r.parallel >= 1);
	len = ctl_encode(&r, line, sizeof line);
	MUST(len > 0 && memchr(line, '\n', len) == NULL);
	MUST(ctl_decode(&again, line, len, &e) == 0);
	MUST(again.verb == r.verb && again.all == r.all && again.wait == r.wait);
	MUST(again.timeout_ms == r.timeout_ms && again.verify == r.verify);
	MUST(again.count == r.count && again.interval_ms == r.interval_ms);
	MUST(again.parallel == r.parallel && strcmp(again.peer, r.peer) == 0);
	MUST(strcmp(again.reason, r.reason) == 0 && strcmp(again.pin, r.pin) == 0);
	return 0;
}
