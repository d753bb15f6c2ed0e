/* proto/base/addr: literals are parsed strictly and printed in the form of RFC 5952. */
#include "proto/base/addr.h"
#include "tests/t.h"

static struct err e;

static struct addr parsed(const char *text)
{
	struct addr a;

	if (!CHECK(addr_parse(&a, text, &e) == 0))
		NOTE("%s: %s", text, e.cause);
	return a;
}

static void good_addresses_are_printed_in_one_form(void)
{
	static const struct {
		const char *text, *shown;
	} rows[] = {
		{"0.0.0.0", "0.0.0.0"},
		{"192.0.2.1", "192.0.2.1"},
		{"255.255.255.255", "255.255.255.255"},
		{"::", "::"},
		{"::1", "::1"},
		{"1::", "1::"},
		{"0:0:0:0:0:0:0:0", "::"},
		{"2001:db8::1", "2001:db8::1"},
		{"2001:DB8:0:0:0:0:0:0001", "2001:db8::1"},
		{"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
		{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
		{"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		/* RFC 5952: sections 1, 2.1, 2.2, 4.1, 4.2.2, 4.2.3, 4.3 */
		{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
		{"2001:0db8::1:0:0:1", "2001:db8::1:0:0:1"},
		{"2001:db8::0:1:0:0:1", "2001:db8::1:0:0:1"},
		{"2001:db8:aaaa:bbbb:cccc:dddd:0:1", "2001:db8:aaaa:bbbb:cccc:dddd:0:1"},
		{"2001:db8:aaaa:bbbb:cccc:dddd::1", "2001:db8:aaaa:bbbb:cccc:dddd:0:1"},
		{"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
		{"2001:db8:0:0:1::", "2001:db8:0:0:1::"},
		{"2001:DB8:AAAA::Ff", "2001:db8:aaaa::ff"},
		{"1:0:0:2:0:0:3:4", "1::2:0:0:3:4"},
		{"0:0:1::", "0:0:1::"},
		{"::1:0:0", "::1:0:0"},
		/* an IPv4 suffix; mapped addresses become IPv4 */
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"::FFFF:c000:0201", "192.0.2.1"},
		{"0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"},
		{"::192.0.2.1", "::c000:201"},
		{"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
		{"1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:c000:201"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct addr a = parsed(rows[i].text), b;
		char shown[ADDR_TEXT];

		addr_put(shown, &a);
		CHECK_STR(shown, rows[i].shown);
		b = parsed(shown);
		CHECK(addr_equal(&a, &b));
	}
}

static void bad_addresses_are_refused(void)
{
	/* clang-format off */
	static const char *const rows[] = {
		"", " ", "x", "1", "1.2", "1.2.3", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.4.5", "1.2.3.4.",
		"01.2.3.4", "1.2.3.04", "00.0.0.0", "1.2.3.256", "1.2.3.1000", "1.2.3.-4", "+1.2.3.4",
		" 1.2.3.4", "1.2.3.4 ", "1.2.3.4x", "0x1.2.3.4", "1.2.3.4/32", "1.2.3.4:80",
		":", ":::", "::::", "1:", ":1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:",
		":2:3:4:5:6:7:8", "1::2::3", "::1::", "1:::2", "1:2:3:4::5:6:7:8", "1:2:3:4:5:6:7:8::",
		"::1:2:3:4:5:6:7:8", "12345::", "::00001", "::g", "::1x", "::1 ", " ::1", "::1/128",
		"[::1]", "::1.2.3", "::01.2.3.4", "::1.2.3.4.5", "::1.2.3.4:5", "1.2.3.4::",
		"1:2:3:4:5:6:7:1.2.3.4", "1:2:3:4:5:1.2.3.4", "1:2:3:4:5:6::1.2.3.4", "::ffff:1.2.3.256",
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		static const struct addr none;
		char want[100];
		struct addr a;

		memset(&a, 0xff, sizeof a);
		CHECK(addr_parse(&a, rows[i], &e) == -1);
		CHECK_MEM(&a, &none, sizeof a);
		snprintf(want, sizeof want, "\"%s\" is not an IPv4 or IPv6 address", rows[i]);
		CHECK_STR(e.cause, want);
		CHECK(e.code == ERR_USAGE);
	}
}

static void zones_are_refused_by_name(void)
{
	struct addr a;

	CHECK(addr_parse(&a, "fe80::1%eth0", &e) == -1);
	CHECK_STR(e.cause, "\"fe80::1%eth0\": IPv6 zones are not supported");
}

static void endpoints_have_a_port(void)
{
	static const struct {
		const char *text, *shown;
	} rows[] = {
		{"192.0.2.1", "192.0.2.1:4510"},
		{"192.0.2.1:1", "192.0.2.1:1"},
		{"2001:db8::1", "[2001:db8::1]:4510"},
		{"[2001:db8::1]", "[2001:db8::1]:4510"},
		{"[2001:db8::1]:65535", "[2001:db8::1]:65535"},
		{"[::ffff:192.0.2.1]:80", "192.0.2.1:80"},
		{"1::80", "[1::80]:4510"},
		{"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:12345",
		 "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:12345"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char shown[ENDPOINT_TEXT];
		struct endpoint ep;

		if (!CHECK(endpoint_parse(&ep, rows[i].text, 4510, &e) == 0))
			NOTE("%s: %s", rows[i].text, e.cause);
		endpoint_put(shown, &ep);
		CHECK_STR(shown, rows[i].shown);
	}
}

static void bad_endpoints_are_refused_with_a_reason(void)
{
	static const struct {
		const char *text, *cause;
	} rows[] = {
		{"", "\"\" is not an IPv4 or IPv6 address"},
		{":80", "\"\" is not an IPv4 or IPv6 address"},
		{"host:80", "\"host\" is not an IPv4 or IPv6 address"},
		{"192.0.2.1:", "\"192.0.2.1:\": the port must be 1 to 65535"},
		{"192.0.2.1:0", "\"192.0.2.1:0\": the port must be 1 to 65535"},
		{"192.0.2.1:65536", "\"192.0.2.1:65536\": the port must be 1 to 65535"},
		{"192.0.2.1:080", "\"192.0.2.1:080\": the port must be 1 to 65535"},
		{"192.0.2.1:+80", "\"192.0.2.1:+80\": the port must be 1 to 65535"},
		{"192.0.2.1:80 ", "\"192.0.2.1:80 \": the port must be 1 to 65535"},
		{"192.0.2.1:99999999999", "\"192.0.2.1:99999999999\": the port must be 1 to 65535"},
		{"[::1", "\"[::1\": missing ']'"},
		{"[::1]80", "\"[::1]80\": unexpected text after ']'"},
		{"[::1]:", "\"[::1]:\": the port must be 1 to 65535"},
		{"[192.0.2.1]:80", "\"[192.0.2.1]:80\": only an IPv6 address may be in brackets"},
		{"[]:80", "\"[]:80\": only an IPv6 address may be in brackets"},
		{"[fe80::1%1]:80", "\"fe80::1%1\": IPv6 zones are not supported"},
		{"::1]:80", "\"::1]:80\" is not an IPv4 or IPv6 address"},
		{"[::1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1]:80",
		 "\"::1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1]:8\" is not an "
		 "IPv4 or IPv6 address"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct endpoint ep;

		CHECK(endpoint_parse(&ep, rows[i].text, 4510, &e) == -1);
		CHECK_STR(e.cause, rows[i].cause);
	}
}

static void order_is_by_family_then_by_bytes(void)
{
	static const char *const rows[] = {"0.0.0.0", "9.0.0.0", "10.0.0.0", "200.0.0.1",
					   "::",      "::2",     "2::",      "fe80::"};

	for (size_t i = 0; i < 8; i++)
		for (size_t k = 0; k < 8; k++) {
			struct addr a = parsed(rows[i]), b = parsed(rows[k]);
			int order = addr_compare(&a, &b);

			CHECK(i < k ? order < 0 : i > k ? order > 0 : order == 0);
			CHECK(addr_equal(&a, &b) == (i == k));
		}
}

static void kinds_of_addresses_are_distinguished(void)
{
	static const struct {
		const char *text;
		bool any, unicast, host;
	} rows[] = {
		{"0.0.0.0", true, false, false},    {"::", true, false, false},
		{"0.0.0.1", false, true, true},     {"::1", false, true, true},
		{"169.254.1.1", false, true, true}, {"223.255.255.255", false, true, true},
		{"224.0.0.1", false, false, false}, {"239.255.255.255", false, false, false},
		{"240.0.0.1", false, true, true},   {"255.255.255.255", false, false, false},
		{"ff02::1", false, false, false},   {"fe80::1", false, true, false},
		{"febf::1", false, true, false},    {"fec0::1", false, true, true},
		{"fe7f::1", false, true, true},
	};
	static const struct addr none;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct addr a = parsed(rows[i].text);

		CHECK(addr_is_any(&a) == rows[i].any);
		CHECK(addr_is_unicast(&a) == rows[i].unicast);
		CHECK((addr_check_host(&a, NULL) == 0) == rows[i].host);
	}
	CHECK(!addr_is_any(&none) && !addr_is_unicast(&none));
}

static void odd_values_can_be_printed(void)
{
	static const struct addr none, mapped = {{[10] = 255, 255, 192, 0, 2, 1}, 16};
	char shown[ADDR_TEXT];

	addr_put(shown, &none);
	CHECK_STR(shown, "none");
	addr_put(shown, &mapped); /* as returned by a socket */
	CHECK_STR(shown, "::ffff:192.0.2.1");
}

T_MAIN(T(good_addresses_are_printed_in_one_form), T(bad_addresses_are_refused),
       T(zones_are_refused_by_name), T(endpoints_have_a_port),
       T(bad_endpoints_are_refused_with_a_reason), T(order_is_by_family_then_by_bytes),
       T(kinds_of_addresses_are_distinguished), T(odd_values_can_be_printed))
