/*
 * proto/esp: a sender, a receiver, and an attacker on the path that keeps, changes, repeats and forges
 * packets. Each sent packet is accepted at most once, and no other packet is accepted.
 *
 *     u8 suite | u8 bits | u16 window | u32 first number | orders
 */
#include "crypto/random.h"
#include "proto/esp/esp.h"
#include "tests/fuzz/fuzz.h"

#define KEPT 16
#define ROOM 512

struct packet {
	uint8_t bytes[ROOM], payload[ROOM - ESP_OVERHEAD_MAX];
	size_t n, payload_len;
	uint64_t seq;
	uint8_t next;
	bool taken;
};

static struct packet kept[KEPT];
static size_t have;
static struct esp_out out;
static struct esp_in in;

static void send_one(struct tape *t)
{
	struct packet *p = &kept[have++ % KEPT];
	size_t got;
	const uint8_t *payload = tape_take(t, tape_byte(t), &got);

	memcpy(p->payload, payload, got);
	p->payload_len = got;
	p->next = tape_byte(t);
	p->taken = false;
	if (esp_seal(&out, p->next, p->payload, got, p->bytes, sizeof p->bytes, &p->n) != ESP_OK) {
		p->n = 0;
		return;
	}
	p->seq = out.seq;
	MUST(p->n > got && p->n <= got + ESP_OVERHEAD_MAX);
}

static enum esp_fault open_copy(const uint8_t *bytes, size_t n, uint8_t *next, uint8_t **payload,
				size_t *len, uint8_t room[ROOM])
{
	memcpy(room, bytes, n);
	return esp_open(&in, room, n, next, payload, len);
}

static void deliver(struct packet *p)
{
	uint8_t room[ROOM], next, *payload;
	uint64_t top = in.replay.top;
	size_t len;

	if (p->n == 0 || open_copy(p->bytes, p->n, &next, &payload, &len, room) != ESP_OK) {
		/* only old, missing, or (with ESN) far newer packets may be refused */
		MUST(p->n == 0 || p->taken || p->seq <= top || in.replay.esn);
		return;
	}
	MUST(!p->taken && next == p->next && len == p->payload_len);
	MUST(memcmp(payload, p->payload, len) == 0 && in.replay.top >= top);
	p->taken = true;
}

static void deliver_changed(const struct packet *p, struct tape *t)
{
	uint8_t changed[ROOM], room[ROOM], next, *payload;
	struct replay before = in.replay;
	size_t n = p->n, at, len;

	if (n == 0)
		return;
	memcpy(changed, p->bytes, n);
	if (tape_byte(t) & 1) {
		n -= 1 + tape_byte(t) % n;
	} else {
		at = tape_byte(t) % n;
		if (at < 4)
			return; /* the SPI selects the SA; only the ICV authenticates */
		changed[at] ^= (uint8_t)(1u << tape_byte(t) % 8);
	}
	MUST(open_copy(changed, n, &next, &payload, &len, room) != ESP_OK);
	MUST(in.replay.top == before.top);
}

static void deliver_made_up(struct tape *t)
{
	uint8_t room[ROOM], next, *payload;
	struct spi spi;
	size_t got, len;
	const uint8_t *p = tape_take(t, tape_byte(t), &got);

	(void)esp_peek(p, got, &spi);
	MUST(open_copy(p, got, &next, &payload, &len, room) != ESP_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint32_t words[REPLAY_WINDOW_MAX / 32];
	struct tape t = {data, size};
	uint8_t bits, *key;
	size_t key_len;

	MUST(crypto_start());
	memset(kept, 0, sizeof kept);
	memset(&out, 0, sizeof out);
	memset(&in, 0, sizeof in);
	have = 0;
	out.suite = in.suite = (enum suite)(tape_byte(&t) % SUITE_COUNT);
	out.spi = in.spi = (struct spi){0x1234};
	key_len = suite_key_len(out.suite);
	key = secret_room(&out.key, key_len);
	for (size_t i = 0; i < key_len; i++)
		key[i] = (uint8_t)i;
	in.key = out.key;
	bits = tape_byte(&t);
	out.esn = bits & 1;
	replay_init(&in.replay, (uint32_t)tape_byte(&t) << 8 | tape_byte(&t), out.esn, words);
	out.seq = tape_u32(&t);
	if (bits & 2) /* both start near the end of a half */
		in.replay.top = out.seq |= UINT64_C(0xfffffff0) | (out.esn ? UINT64_C(3) << 32 : 0);
	while (t.left > 0) {
		struct packet *p;

		switch (tape_byte(&t) % 5) {
		case 0:
			send_one(&t);
			break;
		case 1:
			deliver(&kept[tape_byte(&t) % KEPT]);
			break;
		case 2:
			send_one(&t);
			p = &kept[(have - 1) % KEPT];
			if (p->n > 0) {
				deliver(p);
				MUST(p->taken || in.replay.esn);
			}
			break;
		case 3:
			deliver_changed(&kept[tape_byte(&t) % KEPT], &t);
			break;
		default:
			deliver_made_up(&t);
			break;
		}
	}
	return 0;
}
