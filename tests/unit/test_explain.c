/* crypto/explain: the cause and the place of what is wrong in a PEM text. Made by OpenSSL. */
#include "crypto/explain.h"
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
static const char curve_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBbTCCAROgAwIBAgIBCzAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdjb3JwLWNh\n"
	"MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAQMQ4wDAYDVQQDDAVj\n"
	"dXJ2ZTBWMBAGByqGSM49AgEGBSuBBAAKA0IABLkFYZlYurj8B7oua0CavwUc5/B/\n"
	"prVQiCi69FT1AKm/8vMLXIspUsd+hhmPT3uxo+cps7fcybCA9UQLHrrUGw+jXTBb\n"
	"MBkGA1UdEQQSMBCGCHNhcGFpcjpihwTAAAICMB0GA1UdDgQWBBQtMYejuNDzIbdf\n"
	"BEeGVcQE7d5zFzAfBgNVHSMEGDAWgBTinqVEWvS2vGzsetqm5sN4sNAyGjAKBggq\n"
	"hkjOPQQDAgNIADBFAiBgMte8FZkaM8YVGp8g1hTTPwXAT6cxBIRlJEJVvtHk8AIh\n"
	"AJHRgMe0jCMCPXldWSedGoEO52aYY2DZkNiQRIwHf9P4\n"
	"-----END CERTIFICATE-----\n";
static const char ed_cert[] = "-----BEGIN CERTIFICATE-----\n"
			      "MIIBPTCB5KADAgECAgEMMAoGCCqGSM49BAMCMBIxEDAOBgNVBAMMB2NvcnAtY2Ew\n"
			      "IBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMA0xCzAJBgNVBAMMAmVk\n"
			      "MCowBQYDK2VwAyEA8zcIKL+bllnJfhZnvIzflmvoaMQBa5AaZFV0/h1VqSajXTBb\n"
			      "MBkGA1UdEQQSMBCGCHNhcGFpcjpihwTAAAICMB0GA1UdDgQWBBTVYfoSd/VY/3SM\n"
			      "zf4IxDo5xH8BvDAfBgNVHSMEGDAWgBTinqVEWvS2vGzsetqm5sN4sNAyGjAKBggq\n"
			      "hkjOPQQDAgNIADBFAiBLsjH+oNKTU2nODz8PxSNIcQFy6DPcfhYu5iBq6U+YTgIh\n"
			      "ANS49yHWJos2V4LqZR1V//aJjtbMmiS5G5U+/OKMnb9y\n"
			      "-----END CERTIFICATE-----\n";
static const char explicit_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIICaDCCAg2gAwIBAgIBDjAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdjb3JwLWNh\n"
	"MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjATMREwDwYDVQQDDAhl\n"
	"eHBsaWNpdDCCAUswggEDBgcqhkjOPQIBMIH3AgEBMCwGByqGSM49AQECIQD/////\n"
	"AAAAAQAAAAAAAAAAAAAAAP///////////////zBbBCD/////AAAAAQAAAAAAAAAA\n"
	"AAAAAP///////////////AQgWsY12Ko6k+ez671VdpiGvGUdBrDMU7D2O848PifS\n"
	"YEsDFQDEnTYIhucEk2pmeOETnSa3gZ9+kARBBGsX0fLhLEJH+Lzm5WOkQPJ3A32B\n"
	"LeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfUCIQD/\n"
	"////AAAAAP//////////vOb6racXnoTzucrC/GMlUQIBAQNCAATwVhDMC0DpjvWO\n"
	"LjGeV7NjyG0D9J9fajfekP2eeSsRv10XqBEBPmZ7w9HUT2GZuIVlt5TcACMQoGeB\n"
	"rd6RF1+9o10wWzAZBgNVHREEEjAQhghzYXBhaXI6YocEwAACAjAdBgNVHQ4EFgQU\n"
	"LcgGlxTJkOhsmLXFM6psa3k07uUwHwYDVR0jBBgwFoAU4p6lRFr0trxs7HrapubD\n"
	"eLDQMhowCgYIKoZIzj0EAwIDSQAwRgIhAJjo2MzCBnKjhIq67avq8MOaEmDLpaC2\n"
	"C2MeuH92yJetAiEA+I0/FQpvy81vXMUn4MZ93b+OMt3uKL5OFViCcOkfU1o=\n"
	"-----END CERTIFICATE-----\n";
static const char enc_key[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
			      "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjMHFtgwjKOsQICCAAw\n"
			      "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEEKzOtcgmAGDAl1EWTd3UL8EgZAe\n"
			      "JBUhXxmE14cTeDqe58DWK2gp18Wxu/YoVl/CLPaQtYBmYks6OWceM6fHghLDzZ13\n"
			      "cjowwY7ccP+wPzbA+v9uXnD/OvaJAmh0wGgNioQwkL9WGL7ffjUj25B5iJTfkAa4\n"
			      "/MJ3EQK5jbgdM+/zpOcJ8hLAZ5ZG1Wc/z+icltOoXCp7qdOu0/NjuPzyVddFEfE=\n"
			      "-----END ENCRYPTED PRIVATE KEY-----\n";
static const char pub_key[] = "-----BEGIN PUBLIC KEY-----\n"
			      "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEN3cMFLnceQpLLoqX+t7y+YsHuiAS\n"
			      "DpO77kWknrWZfUWD+Klie8IVVu4ItO6dw1CnIl3CeaAgyGa+UPoPkz0PQg==\n"
			      "-----END PUBLIC KEY-----\n";
static const char ed_key[] = "-----BEGIN PRIVATE KEY-----\n"
			     "MC4CAQAwBQYDK2VwBCIEID4h7Dlkx7kc8zcOFzZopX/sxITWFbe2c1viqF5fzRj6\n"
			     "-----END PRIVATE KEY-----\n";

static const char *explain(const char *text, enum pem_use use)
{
	static char cause[PEM_CAUSE];

	return pem_explain(cause, text, use) ? cause : NULL;
}

static void crypto_starts(void)
{
	CHECK(crypto_start());
}

static void each_fault_has_its_cause_and_place(void)
{
	static const struct {
		const char *text;
		enum pem_use use;
		const char *cause;
	} rows[] = {
		{good_cert, PEM_CERT, NULL},
		{ca_cert, PEM_CA, NULL},
		{rsa_cert, PEM_CERT,
		 "the certificate in line 1: its key is of type RSA, 2048 bits; EC on P-256, P-384 or "
		 "P-521 is needed"},
		{curve_cert, PEM_CERT,
		 "the certificate in line 1: its key is of type EC secp k1, 256 bits; EC on P-256, "
		 "P-384 or P-521 is needed"},
		{ed_cert, PEM_CERT,
		 "the certificate in line 1: its key, at byte 96, is of type Ed25519; EC on P-256, "
		 "P-384 or P-521 is needed"},
		{explicit_cert, PEM_CERT,
		 "the certificate in line 1: its EC key, at byte 103, has explicit curve parameters "
		 "instead of the name of a curve; make it with -param_enc named_curve, on P-256, P-384 "
		 "or P-521"},
		{good_cert, PEM_CA,
		 "the certificate in line 1: \"CN=good\" is not a CA: basicConstraints CA:TRUE and key "
		 "usage keyCertSign are needed"},
		{enc_key, PEM_KEY,
		 "the private key in line 1 is encrypted, which is not supported"},
		{pub_key, PEM_KEY, "line 1: PUBLIC KEY, not a private key"},
		{pub_key, PEM_CERT, "line 1: PUBLIC KEY, not a certificate"},
		{good_cert, PEM_KEY, "line 1: CERTIFICATE, not a private key"},
		{ed_key, PEM_KEY,
		 "the private key in line 1 is of a type that is not supported; EC on P-256, P-384 or "
		 "P-521 is needed"},
		{"", PEM_CERT, "the file is empty"},
		{"hello", PEM_KEY, "no line -----BEGIN PRIVATE KEY-----"},
		{"0\x82\x01", PEM_CERT,
		 "the file is DER, not PEM; convert it with openssl x509 -inform DER"},
		{"\xff\xfe-", PEM_CERT, "the file is UTF-16; save it as ASCII"},
		{"\n-----BEGIN CERTIFICATE-----\nMIIB\n", PEM_CERT,
		 "line 2: BEGIN CERTIFICATE without its END"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK_STR(explain(rows[i].text, rows[i].use), rows[i].cause);
}

static void a_changed_text_is_placed(void)
{
	char text[4000];

	snprintf(text, sizeof text, "%s%s", ca_cert, good_cert);
	memcpy(strstr(text + sizeof ca_cert, "-----\n") + 6, "MIA", 3);
	CHECK_STR(explain(text, PEM_CA),
		  "the certificate in line 11: its DER is cut or wrong at byte 0 of 371");
	strcpy(text, good_cert);
	text[250] = '!';
	CHECK(strstr(explain(text, PEM_CERT), " is not base64") != NULL);
}

/* No text is read beyond its end. */
static void any_byte_may_be_wrong(void)
{
	char text[sizeof good_cert], cause[PEM_CAUSE];

	for (size_t i = 0; i < sizeof good_cert - 1; i++) {
		memcpy(text, good_cert, sizeof text);
		text[i] ^= 1;
		pem_explain(cause, text, PEM_CERT);
		text[i] = '\0';
		CHECK(pem_explain(cause, text, PEM_CERT) || i > 400);
	}
}

T_MAIN(T(crypto_starts), T(each_fault_has_its_cause_and_place), T(a_changed_text_is_placed),
       T(any_byte_may_be_wrong))
