/* crypto/judge: every reason for which a certificate is refused, with what was found and what is
 * needed. The certificates were made by OpenSSL. */
#include "crypto/judge.h"
#include "crypto/random.h"
#include "tests/t.h"

static const char ca_cert[] = "-----BEGIN CERTIFICATE-----\n"
			      "MIIBVTCB/aADAgECAgEBMAoGCCqGSM49BAMCMBIxEDAOBgNVBAMMB2NvcnAtY2Ew\n"
			      "IBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBIxEDAOBgNVBAMMB2Nv\n"
			      "cnAtY2EwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARk7JHuggLm1AlVypGhFq1p\n"
			      "zFy9Alp4QtjRcmFpYKu5cypkQkD+gBdYNiIegqc0pGYXusIPykkouB73tsFgE5Bd\n"
			      "o0IwQDAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIBBjAdBgNVHQ4EFgQU\n"
			      "4p6lRFr0trxs7HrapubDeLDQMhowCgYIKoZIzj0EAwIDRwAwRAIgQVFqbtNpmzlQ\n"
			      "akBLwfw3+4w9oPlR4iglABEjKsXUAa4CIAu8tcW1mElvWe51w7T7Pc2D+dApkwgR\n"
			      "umHenN2iD15X\n"
			      "-----END CERTIFICATE-----\n";
static const char good_cert[] = "-----BEGIN CERTIFICATE-----\n"
				"MIIBbzCCARWgAwIBAgIBAjAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdjb3JwLWNh\n"
				"MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAPMQ0wCwYDVQQDDARn\n"
				"b29kMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEN3cMFLnceQpLLoqX+t7y+YsH\n"
				"uiASDpO77kWknrWZfUWD+Klie8IVVu4ItO6dw1CnIl3CeaAgyGa+UPoPkz0PQqNd\n"
				"MFswGQYDVR0RBBIwEIYIc2FwYWlyOmKHBMAAAgIwHQYDVR0OBBYEFNugW5SgsQaf\n"
				"nOxBvRbqnSxAe4mcMB8GA1UdIwQYMBaAFOKepURa9La8bOx62qbmw3iw0DIaMAoG\n"
				"CCqGSM49BAMCA0gAMEUCIQDYYFN4eMBFJWxKyUf60kAavtn10ggHDt5moQaCbimY\n"
				"nQIgTXsZcHWGDbM9+O+BXE47hf68fRkwvixMN2EZ8b3S/d4=\n"
				"-----END CERTIFICATE-----\n";
static const char server_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBhzCCASygAwIBAgIBAzAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdjb3JwLWNh\n"
	"MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjARMQ8wDQYDVQQDDAZz\n"
	"ZXJ2ZXIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASr8JKJBsF6o8FPi/a/GBRK\n"
	"07KE+b7ZOJnNP6NOrQseQtos8zDn0fgA1mrT4b8Nc6fp3ULTsCZFxXf5EMqlHxd5\n"
	"o3IwcDAZBgNVHREEEjAQhghzYXBhaXI6YocEwAACAjATBgNVHSUEDDAKBggrBgEF\n"
	"BQcDATAdBgNVHQ4EFgQUTVYidACM1OGHW0jCyciMpoxyUmwwHwYDVR0jBBgwFoAU\n"
	"4p6lRFr0trxs7HrapubDeLDQMhowCgYIKoZIzj0EAwIDSQAwRgIhANan8MMlaZ1W\n"
	"O09qAUiElULvXKx0xfxh+m/qA/pJEgLmAiEA7lbzZqbODSLzEmWLKboyiNr9Sv6W\n"
	"noui3UNlrVrEADA=\n"
	"-----END CERTIFICATE-----\n";
static const char mail_cert[] = "-----BEGIN CERTIFICATE-----\n"
				"MIIBiDCCAS+gAwIBAgIBBDAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdjb3JwLWNh\n"
				"MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAPMQ0wCwYDVQQDDARt\n"
				"YWlsMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEmSZ/Cd+RMzw4NSq8KQQGe6Eg\n"
				"B5SRFRnCBqhnTSPbLk4Rw6uemkiOLrA6NnKjYgzmjQDVrmYC9Gfwlb7CnKjQ96N3\n"
				"MHUwGQYDVR0RBBIwEIYIc2FwYWlyOmKHBMAAAgIwGAYDVR0lBBEwDwYIKwYBBQUH\n"
				"AwQGAyoDBDAdBgNVHQ4EFgQUqunsQC+g9PeXpSyz1v2jH21yjS0wHwYDVR0jBBgw\n"
				"FoAU4p6lRFr0trxs7HrapubDeLDQMhowCgYIKoZIzj0EAwIDRwAwRAIgKEPGEI6t\n"
				"FgYcsMSZ2CwSPmkOiiK2W327vsBpl/G3Pp4CIFELoBs8QbMwsbNeqfOyWFwTWqhi\n"
				"uf/HH0krbCnBlnke\n"
				"-----END CERTIFICATE-----\n";
static const char usage_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBgDCCASagAwIBAgIBBTAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdjb3JwLWNh\n"
	"MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAQMQ4wDAYDVQQDDAV1\n"
	"c2FnZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPQwLINbmaBQjx/E6lAvOXMg\n"
	"qlzefyQXDsCi3UTNaWBwb66t9ZRz903+7ndSV+bHASsIqAx2RJas3UHVT8Rtc+aj\n"
	"bTBrMBkGA1UdEQQSMBCGCHNhcGFpcjpihwTAAAICMA4GA1UdDwEB/wQEAwIDKDAd\n"
	"BgNVHQ4EFgQUUgmHLljzX3ee9OX+noZVmySIGtgwHwYDVR0jBBgwFoAU4p6lRFr0\n"
	"trxs7HrapubDeLDQMhowCgYIKoZIzj0EAwIDSAAwRQIhANChIX/ivYZ7hdhe8mKH\n"
	"WMfVvvsaHAZ4PXpfiLqYz9n+AiAGwyK+UbiHvpjl43ClJMrG9HsBcoUjc4Ik4X7r\n"
	"ONaUEA==\n"
	"-----END CERTIFICATE-----\n";
static const char dns_cert[] = "-----BEGIN CERTIFICATE-----\n"
			       "MIIBiTCCAS+gAwIBAgIBBjAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdjb3JwLWNh\n"
			       "MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAOMQwwCgYDVQQDDANk\n"
			       "bnMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASC3k6arTE6A9MZJ6zaP4hK2/Dj\n"
			       "3PM42LWcQNP6Sj0LVzovZ2/Vot0/VeJxGUbnfoRIpa16QFwV2THdRftyhghNo3gw\n"
			       "djA0BgNVHREELTArghJob3N0MS5jb3JwLmV4YW1wbGWBDmFAY29ycC5leGFtcGxl\n"
			       "ggVob3N0MTAdBgNVHQ4EFgQUd75kXTYL5uIOmv7P0s342mC6lI8wHwYDVR0jBBgw\n"
			       "FoAU4p6lRFr0trxs7HrapubDeLDQMhowCgYIKoZIzj0EAwIDSAAwRQIhANGYw5/h\n"
			       "cXAceta1w1dKEY9LZev4Kam3EFmLRAAWMMymAiBFYF8W6aBcEN/P3pxeNwWs9udO\n"
			       "abIan+wbR9CN0up29g==\n"
			       "-----END CERTIFICATE-----\n";
static const char old_cert[] = "-----BEGIN CERTIFICATE-----\n"
			       "MIIBbDCCARKgAwIBAgIBBzAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdjb3JwLWNh\n"
			       "MB4XDTIwMDEwMTAwMDAwMFoXDTIxMDEwMTAwMDAwMFowDjEMMAoGA1UEAwwDb2xk\n"
			       "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqE9CweYJ9HkKa8jjxCiag6CWvYbb\n"
			       "QXFW2H7fnM7eXt5inetUA6bo2Vs3g8QVg5nJXtn8bJqhBn3PgbCtVPehLaNdMFsw\n"
			       "GQYDVR0RBBIwEIYIc2FwYWlyOmKHBMAAAgIwHQYDVR0OBBYEFJSUaTLrqjLn1YUV\n"
			       "jgZOsIqNFAoqMB8GA1UdIwQYMBaAFOKepURa9La8bOx62qbmw3iw0DIaMAoGCCqG\n"
			       "SM49BAMCA0gAMEUCIQCLuGF0jgrxxufXhqoQUWUoxq+p8nvkAoywOTDzNUHCTgIg\n"
			       "H7N5qkm6pTEsrEGX1frn8ZNMcq1Vzjt0a4mKSYlvx4s=\n"
			       "-----END CERTIFICATE-----\n";
static const char new_cert[] = "-----BEGIN CERTIFICATE-----\n"
			       "MIIBcDCCARagAwIBAgIBCDAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdjb3JwLWNh\n"
			       "MCIYDzIxMTAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMA4xDDAKBgNVBAMM\n"
			       "A25ldzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABH2uR6pUrRl2OY3e1RCqat7o\n"
			       "edEnGI37wAI1YuREt1B+ORifWUtZhgRkkExvsBEv5Z4eUwjxLjRWs/MK165qAKOj\n"
			       "XTBbMBkGA1UdEQQSMBCGCHNhcGFpcjpihwTAAAICMB0GA1UdDgQWBBTLvgotuyjZ\n"
			       "ZDnzU2FXhjzRpPXlljAfBgNVHSMEGDAWgBTinqVEWvS2vGzsetqm5sN4sNAyGjAK\n"
			       "BggqhkjOPQQDAgNIADBFAiAkpiGmeOuNjf5OoCLpYpyxtmnb7m4xuXHY+M94f35P\n"
			       "NgIhAK/Rs/mXGTObMXmg3oojrzVkNhesPxoQOIYr/ZEmSonJ\n"
			       "-----END CERTIFICATE-----\n";
static const char many_cert[] = "-----BEGIN CERTIFICATE-----\n"
				"MIIDDTCCArOgAwIBAgIBCTAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdjb3JwLWNh\n"
				"MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAPMQ0wCwYDVQQDDARt\n"
				"YW55MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfhBmC8ZnIGsTZR+cN2cKtjNa\n"
				"CkCtyoCY9FpxizmT1alEqyvodndUAOKA7W1whzr9E9tsF0e4Q716325sNhK8/qOC\n"
				"AfkwggH1MIIBsQYDVR0RBIIBqDCCAaSHBMAAAgGHBMAAAgKHBMAAAgOHBMAAAgSH\n"
				"BMAAAgWHBMAAAgaHBMAAAgeHBMAAAgiHBMAAAgmHBMAAAgqHBMAAAguHBMAAAgyH\n"
				"BMAAAg2HBMAAAg6HBMAAAg+HBMAAAhCHBMAAAhGHBMAAAhKHBMAAAhOHBMAAAhSH\n"
				"BMAAAhWHBMAAAhaHBMAAAheHBMAAAhiHBMAAAhmHBMAAAhqHBMAAAhuHBMAAAhyH\n"
				"BMAAAh2HBMAAAh6HBMAAAh+HBMAAAiCHBMAAAiGHBMAAAiKHBMAAAiOHBMAAAiSH\n"
				"BMAAAiWHBMAAAiaHBMAAAieHBMAAAiiHBMAAAimHBMAAAiqHBMAAAiuHBMAAAiyH\n"
				"BMAAAi2HBMAAAi6HBMAAAi+HBMAAAjCHBMAAAjGHBMAAAjKHBMAAAjOHBMAAAjSH\n"
				"BMAAAjWHBMAAAjaHBMAAAjeHBMAAAjiHBMAAAjmHBMAAAjqHBMAAAjuHBMAAAjyH\n"
				"BMAAAj2HBMAAAj6HBMAAAj+HBMAAAkCHBMAAAkGHBMAAAkKHBMAAAkOHBMAAAkSH\n"
				"BMAAAkWHBMAAAkYwHQYDVR0OBBYEFBpwxZpqi9JZ8OVKisURg2wkGtrwMB8GA1Ud\n"
				"IwQYMBaAFOKepURa9La8bOx62qbmw3iw0DIaMAoGCCqGSM49BAMCA0gAMEUCIQCh\n"
				"NnQY1S3pkMUOPCTGWDKrkwnfP6qvNkt9jWePxgjQxQIgKhHtUOA3Oe7QC9C2T2+Y\n"
				"UfjRYmC3uai40OG3EDZDkaE=\n"
				"-----END CERTIFICATE-----\n";
static const char rsa_cert[] = "-----BEGIN CERTIFICATE-----\n"
			       "MIICOTCCAd+gAwIBAgIBCjAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdjb3JwLWNh\n"
			       "MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAOMQwwCgYDVQQDDANy\n"
			       "c2EwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQDDI1wbHHtqTnt5xceX\n"
			       "IZkHQjvd41VnMz3J2BwZkQmhk4S0Y5lPTLLIr95qgxwUVU9AUGhuVfUsuEjyFlFN\n"
			       "1wXh5n5L4kf303sdr+8OuzFkMB1c5K+61AOyMkrhDLRn6v/fwR+WC8WAai1gcCP9\n"
			       "znS75i8e3oFEwCS8qamVwMnaZyN7pQS3nlF6PTmuNXi9vlvcCWHd6XPRPFjQU8t/\n"
			       "f5gMziafbH6Q+Hy7e+NOXuJNVM6PsdH7JLSAjnpeCiOmNv/nt86IHnmhZz156GER\n"
			       "Zt7lTzM2B5Zmy1Th3ik7Ts55i5wpr7JpzLSrX4Kjv2C7/yS/m+sxAiQF63G+IG3C\n"
			       "d4IzAgMBAAGjXTBbMBkGA1UdEQQSMBCGCHNhcGFpcjpihwTAAAICMB0GA1UdDgQW\n"
			       "BBQmlLuTFORsN4w9nvuCbBSBJbi4wzAfBgNVHSMEGDAWgBTinqVEWvS2vGzsetqm\n"
			       "5sN4sNAyGjAKBggqhkjOPQQDAgNIADBFAiBhpVnK8nTIemuzhBbWAuRnoN00tqUA\n"
			       "5U7OdNHG2pNdEgIhAIxUVwBbHzupTlaus0oMPWXEgyqo6AtQb5DNgypYoYcE\n"
			       "-----END CERTIFICATE-----\n";
static const char sha1_cert[] = "-----BEGIN CERTIFICATE-----\n"
				"MIIBbDCCARSgAwIBAgIBDzAJBgcqhkjOPQQBMBIxEDAOBgNVBAMMB2NvcnAtY2Ew\n"
				"IBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMA8xDTALBgNVBAMMBGdv\n"
				"b2QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ3dwwUudx5Cksuipf63vL5iwe6\n"
				"IBIOk7vuRaSetZl9RYP4qWJ7whVW7gi07p3DUKciXcJ5oCDIZr5Q+g+TPQ9Co10w\n"
				"WzAZBgNVHREEEjAQhghzYXBhaXI6YocEwAACAjAdBgNVHQ4EFgQU26BblKCxBp+c\n"
				"7EG9FuqdLEB7iZwwHwYDVR0jBBgwFoAU4p6lRFr0trxs7HrapubDeLDQMhowCQYH\n"
				"KoZIzj0EAQNHADBEAiBwRlfza4asViWVYMjlNL50YFcqBCgI+7vwSBMaPFSE7QIg\n"
				"W2z5+pVXCZYoBuzr8ffzJplEaYlua7dHXwNF5jmSu3Q=\n"
				"-----END CERTIFICATE-----\n";

static const uint8_t address[] = {192, 0, 2, 2};
static const struct cert_wanted b_or_address = {.name = "b", .addr = address, .addr_len = 4};

/* All reasons in the role, in one text; the words of the faults in front. */
static const char *judge(const char *pem, const char *ca, enum tls_role role,
			 const struct cert_wanted *wanted)
{
	static char text[2000];
	struct cert_reasons r;
	size_t n = 0;

	CHECK_U64(cert_judge(pem, ca, role, wanted, &r), IDENTITY_OK);
	text[0] = '\0';
	for (size_t i = 0; i < r.n; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "%s%s%s: %s", i > 0 ? "; " : "",
				      cert_fault_word(r.v[i].fault), r.v[i].pin_helps ? "*" : "",
				      r.v[i].text);
	return text;
}

static void crypto_starts(void)
{
	CHECK(crypto_start());
}

static void each_reason_has_what_was_found_and_what_is_needed(void)
{
	static const struct {
		const char *pem;
		enum tls_role role;
		const char *reasons;
	} rows[] = {
		{good_cert, TLS_CLIENT, ""},
		{good_cert, TLS_SERVER, ""},
		{server_cert, TLS_SERVER, ""},
		{server_cert, TLS_CLIENT,
		 "wrong-purpose: the certificate's extended key usage is serverAuth; a host that "
		 "connects needs clientAuth"},
		{mail_cert, TLS_SERVER,
		 "wrong-purpose: the certificate's extended key usage is emailProtection, 1.2.3.4; a "
		 "host that accepts connections needs serverAuth"},
		{usage_cert, TLS_SERVER,
		 "wrong-purpose: the certificate's key usage is keyEncipherment, keyAgreement; "
		 "digitalSignature is needed"},
		{rsa_cert, TLS_CLIENT,
		 "weak: the certificate has a key of type RSA, 2048 bits; EC on P-256, P-384 or P-521 "
		 "is needed"},
		{sha1_cert, TLS_CLIENT,
		 "weak: the certificate is signed with ECDSA with SHA1; SHA-256, SHA-384 or SHA-512 is "
		 "needed"},
		{dns_cert, TLS_CLIENT,
		 "wrong-peer*: the certificate has no name (URI sapair:NAME), no IP address, DNS "
		 "host1.corp.example, email a@corp.example, DNS host1 (not used); needed is the name b "
		 "or the address 192.0.2.2"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		NOTE("row %zu", i);
		CHECK_STR(judge(rows[i].pem, ca_cert, rows[i].role, &b_or_address),
			  rows[i].reasons);
	}
}

static void dates_are_shown_with_the_clock(void)
{
	const char *text = judge(old_cert, ca_cert, TLS_CLIENT, &b_or_address);

	CHECK(strstr(text, "expired: the certificate has expired: it ended at "
			   "2021-01-01T00:00:00Z, the clock here says 20") == text);
	text = judge(new_cert, ca_cert, TLS_CLIENT, &b_or_address);
	CHECK(strstr(text, "not-yet-valid: the certificate is not valid yet: it begins at "
			   "2110-01-01T00:00:00Z, the clock here says 20") == text);
}

static void names_are_matched_as_by_a_peer(void)
{
	static const uint8_t seventieth[] = {192, 0, 2, 70}, last[] = {192, 0, 2, 64},
			     other[16] = {0xfe};
	const struct cert_wanted rows[] = {
		{.name = "b"},
		{.name = "x", .addr = address, .addr_len = 4},
		{.identity = "b", .name = "x"},
	};
	const struct cert_wanted by_identity = {"c", "b", address, 4}, v6 = {"", "c", other, 16},
				 beyond = {.addr = seventieth, .addr_len = 4},
				 within = {.addr = last, .addr_len = 4};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK_STR(judge(good_cert, ca_cert, TLS_CLIENT, &rows[i]), "");
	CHECK_STR(judge(good_cert, ca_cert, TLS_CLIENT, NULL), "");
	CHECK_STR(
		judge(good_cert, ca_cert, TLS_CLIENT, &by_identity),
		"wrong-peer*: the certificate has name b, address 192.0.2.2; needed is the name c "
		"(identity)");
	CHECK_STR(
		judge(good_cert, ca_cert, TLS_CLIENT, &v6),
		"wrong-peer*: the certificate has name b, address 192.0.2.2; needed is the name c or "
		"the address fe00:0:0:0:0:0:0:0");
	CHECK_STR(
		judge(dns_cert, ca_cert, TLS_SERVER, NULL),
		"wrong-peer*: the certificate has no name (URI sapair:NAME), no IP address, DNS "
		"host1.corp.example, email a@corp.example, DNS host1 (not used); needed is a name or "
		"an IP address");
	CHECK_STR(judge(many_cert, ca_cert, TLS_SERVER, &within), "");
	CHECK_STR(
		judge(many_cert, ca_cert, TLS_SERVER, &beyond),
		"wrong-peer*: the certificate has no name (URI sapair:NAME), address 192.0.2.1, "
		"192.0.2.2, 192.0.2.3, 192.0.2.4, 66 more; needed is the address 192.0.2.70; only "
		"its first 64 addresses are looked at");
}

static void the_chain_is_judged_by_the_given_cas(void)
{
	static struct pem_pair other, lab;
	const struct cert_params w = {.name = "other",
				      .not_after = INT64_C(4000000000),
				      .is_ca = true};
	const struct cert_params l = {.name = "b",
				      .not_after = INT64_C(4000000000),
				      .is_lab = true};

	CHECK(cert_self(&other, &w) && cert_self(&lab, &l));
	CHECK_STR(
		judge(good_cert, other.cert, TLS_CLIENT, &b_or_address),
		"untrusted*: the certificate is issued by \"CN=corp-ca\", not signed by a trusted CA, "
		"and no pin matches it");
	CHECK_STR(judge(good_cert, NULL, TLS_CLIENT, &b_or_address), "");
	CHECK_STR(
		judge(lab.cert, NULL, TLS_SERVER, &b_or_address),
		"lab*: it is a lab identity (organisational unit \"sapair lab\"), and allow_lab is "
		"not set");
	CHECK_STR(judge(server_cert, other.cert, TLS_CLIENT, &(struct cert_wanted){.name = "x"}),
		  "wrong-purpose: the certificate's extended key usage is serverAuth; a host that "
		  "connects needs clientAuth; wrong-peer*: the certificate has name b, address "
		  "192.0.2.2; needed is the name x; untrusted*: the certificate is issued by "
		  "\"CN=corp-ca\", not signed by a trusted CA, and no pin matches it");
}

static void reasons_beyond_the_maximum_are_left_out(void)
{
	struct cert_reasons r = {.n = 0}, twice = {.n = 0};
	char text[20];

	for (int i = 0; i < CERT_REASONS_MAX + 2; i++)
		cert_reason_add(&r, CERT_WEAK, false, "%d", i);
	cert_reason_add(NULL, CERT_WEAK, false, "nowhere");
	CHECK_U64(r.n, CERT_REASONS_MAX);
	cert_reasons_add(&twice, &r);
	cert_reasons_add(&twice, &r);
	CHECK_U64(twice.n, CERT_REASONS_MAX);
	cert_reasons_put(text, sizeof text, &r);
	CHECK_STR(text, "0; 1; 2; 3; 4; 5; 6");
}

T_MAIN(T(crypto_starts), T(each_reason_has_what_was_found_and_what_is_needed),
       T(dates_are_shown_with_the_clock), T(names_are_matched_as_by_a_peer),
       T(the_chain_is_judged_by_the_given_cas), T(reasons_beyond_the_maximum_are_left_out))
