/*
 * crypto/secret: the tests look for wiped secrets in memory.
 */
#include "crypto/secret.h"
#include "tests/t.h"

static bool all_zero(const volatile uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

static void wipe_clears_exactly_its_bytes(void)
{
	uint8_t mem[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

	wipe(mem + 2, 6);
	CHECK(mem[1] == 2 && mem[8] == 9 && all_zero(mem + 2, 6));
	wipe(mem, 0);
	wipe(NULL, 0);
	CHECK(mem[0] == 1);
}

static void secret_wipe_clears_length_and_bytes(void)
{
	struct secret s;

	CHECK(secret_set(&s, (const uint8_t *)"hunter2", 7) && secret_len(&s) == 7);
	secret_wipe(&s);
	CHECK(secret_len(&s) == 0 && all_zero((const uint8_t *)&s, sizeof s));
	secret_wipe(NULL);
}

/*
 * A function that returns leaves its locals on the stack, and a compiler may omit stores to memory
 * that is not read again. So the test runs it on a separate stack and searches that afterwards.
 */
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#if !defined(__has_feature)
#define __has_feature(x) 0
#endif
#if !__has_feature(address_sanitizer)
#define CAN_LOOK 1
#include <ucontext.h>
#endif
#endif

#ifdef CAN_LOOK
static uint8_t stack[65536];
static ucontext_t here, there;
static volatile uint8_t first = 0xa0; /* the compiler must not know the bytes */

static void fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(first + i);
	__asm__ __volatile__("" : : "r"(p) : "memory");
}

static void forgets(void)
{
	uint8_t key[32];

	fill(key, sizeof key);
}

static void wipes(void)
{
	uint8_t key[32];

	fill(key, sizeof key);
	wipe(key, sizeof key);
}

static void leaves_a_scope(void)
{
	SECRET(s);

	fill(secret_room(&s, 32), 32);
	if (first != 0)
		return;
	fill(secret_room(&s, 64), 64);
}

static bool remains(void (*run)(void))
{
	uint8_t key[16];

	memset(stack, 0, sizeof stack);
	getcontext(&there);
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = sizeof stack;
	there.uc_link = &here;
	makecontext(&there, run, 0);
	swapcontext(&here, &there);

	fill(key, sizeof key);
	for (size_t i = 0; i + sizeof key <= sizeof stack; i++)
		if (memcmp(stack + i, key, sizeof key) == 0)
			return true;
	return false;
}

static void nothing_remains_on_the_stack(void)
{
	if (t_memory_is_checked()) {
		SKIP("this tool reports reads of an unused stack");
		return;
	}
	CHECK(remains(forgets)); /* otherwise this test could not detect anything */
	CHECK(!remains(wipes));
	CHECK(!remains(leaves_a_scope));
}
#else
static void nothing_remains_on_the_stack(void)
{
	SKIP("no separate stack to search");
}
#endif

static void set_copies_and_refuses_what_is_too_long(void)
{
	uint8_t src[SECRET_MAX + 1];
	struct secret s;
	size_t len;

	memset(src, 7, sizeof src);
	CHECK(secret_set(&s, src, SECRET_MAX));
	CHECK(secret_bytes(&s, &len) != NULL && len == SECRET_MAX);
	CHECK_MEM(secret_bytes(&s, NULL), src, SECRET_MAX);
	CHECK(!secret_set(&s, src, SECRET_MAX + 1));
	CHECK(secret_len(&s) == 0 && all_zero(s.bytes_, SECRET_MAX));
	CHECK(secret_set(&s, NULL, 0) && secret_len(&s) == 0);
}

static void set_accepts_a_part_of_itself(void)
{
	struct secret s;

	secret_set(&s, (const uint8_t *)"abcdef", 6);
	CHECK(secret_set(&s, secret_bytes(&s, NULL) + 2, 3));
	CHECK(secret_len(&s) == 3 && memcmp(secret_bytes(&s, NULL), "cde", 3) == 0);
	CHECK(all_zero(s.bytes_ + 3, SECRET_MAX - 3));
}

static void room_is_zeroed(void)
{
	struct secret s;
	uint8_t *p;

	secret_set(&s, (const uint8_t *)"old bytes", 9);
	p = secret_room(&s, 20);
	CHECK(p != NULL && secret_len(&s) == 20 && all_zero(p, 20));
	CHECK(secret_room(&s, SECRET_MAX + 1) == NULL && secret_len(&s) == 0);
}

static void empty_secrets_are_never_equal(void)
{
	SECRET(a);
	SECRET(b);

	CHECK(!secret_equal(&a, &b)); /* two empty secrets must not match */
	secret_set(&a, (const uint8_t *)"12345678", 8);
	secret_set(&b, (const uint8_t *)"12345678", 8);
	CHECK(secret_equal(&a, &b));
	secret_set(&b, (const uint8_t *)"12345679", 8);
	CHECK(!secret_equal(&a, &b));
	secret_set(&b, (const uint8_t *)"1234567", 7);
	CHECK(!secret_equal(&a, &b) && !secret_equal(&b, &a));
}

static void bytes_equal_compares_every_byte(void)
{
	uint8_t a[33] = {0}, b[33] = {0};

	CHECK(bytes_equal(a, b, sizeof a) && bytes_equal(a, b, 0));
	for (size_t i = 0; i < sizeof a; i++) {
		b[i] = 0x80;
		CHECK(!bytes_equal(a, b, sizeof a));
		b[i] = 0;
	}
}

T_MAIN(T(wipe_clears_exactly_its_bytes), T(secret_wipe_clears_length_and_bytes),
       T(nothing_remains_on_the_stack), T(set_copies_and_refuses_what_is_too_long),
       T(set_accepts_a_part_of_itself), T(room_is_zeroed), T(empty_secrets_are_never_equal),
       T(bytes_equal_compares_every_byte))
