/*
 * crypto/cert and crypto/identity: certificates of OpenSSL and of sapair are read and checked.
 */
#include "crypto/random.h"
#include "crypto/tls.h"
#include "tests/t.h"

/* clang-format off */

/*
 * Made with OpenSSL 3.0 ("openssl req", "openssl x509 -req -signkey"). Subject of each but the
 * last: C=DE, O=Example\, Inc, OU=sapair lab, CN=gamma.
 */

/* URI:sapair:gamma, URI:https://example.org/, IP:192.0.2.1, DNS, IP:2001:db8::1, email */
static const char good_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIICHTCCAcSgAwIBAgIUCkS/rffFdkgY6V3yOCcxQQmwQMIwCgYIKoZIzj0EAwIw\n"
	"STELMAkGA1UEBhMCREUxFTATBgNVBAoMDEV4YW1wbGUsIEluYzETMBEGA1UECwwK\n"
	"c2FwYWlyIGxhYjEOMAwGA1UEAwwFZ2FtbWEwIBcNMjYxMTIzMDI0OTE5WhgPMjA2\n"
	"MjA2MjcwMjQ5MTlaMEkxCzAJBgNVBAYTAkRFMRUwEwYDVQQKDAxFeGFtcGxlLCBJ\n"
	"bmMxEzARBgNVBAsMCnNhcGFpciBsYWIxDjAMBgNVBAMMBWdhbW1hMFkwEwYHKoZI\n"
	"zj0CAQYIKoZIzj0DAQcDQgAEgc3CQvXJNjnWPzT1YSwhPJBwr+WY9X/pLjHoasHF\n"
	"YX0OlMD0fDVoeqcWmwTlXoc733QmRZKkcJcUOMqU/gp9k6OBhzCBhDBjBgNVHREE\n"
	"XDBahgxzYXBhaXI6Z2FtbWGGFGh0dHBzOi8vZXhhbXBsZS5vcmcvhwTAAAIBgg1n\n"
	"YW1tYS5leGFtcGxlhxAgAQ24AAAAAAAAAAAAAAABgQ1hQGV4YW1wbGUub3JnMB0G\n"
	"A1UdDgQWBBRKm9IqybJX2jPxuzgvOpUN4hn+CzAKBggqhkjOPQQDAgNHADBEAiAY\n"
	"sR76VH4vU79h3K0YcS+8PuO090uqWkR+PA80nH0jKAIgafe+JsKc5ErRiVaInMmk\n"
	"YLHlADRDqBvXfTW8D3E1LGo=\n"
	"-----END CERTIFICATE-----\n";
static const char good_key[] =
	"-----BEGIN EC PRIVATE KEY-----\n"
	"MHcCAQEEIN95ER5Mldj2c4xRx2lUe9DUJvuMjF3yhN08azRIAbhkoAoGCCqGSM49\n"
	"AwEHoUQDQgAEgc3CQvXJNjnWPzT1YSwhPJBwr+WY9X/pLjHoasHFYX0OlMD0fDVo\n"
	"eqcWmwTlXoc733QmRZKkcJcUOMqU/gp9kw==\n"
	"-----END EC PRIVATE KEY-----\n";

/* "openssl pkey -pubin -outform DER | sha256sum" of its public key */
#define GOOD_PIN "1fbcffae09ae47fdcfa65037d3ef5acea0ada34b8d77248f7b55c14e2fbded0a"

/* the same key with AES-128 and a passphrase */
static const char encrypted_key[] =
	"-----BEGIN EC PRIVATE KEY-----\n"
	"Proc-Type: 4,ENCRYPTED\n"
	"DEK-Info: AES-128-CBC,6C444DC8B6955C49561239F6F6A044F6\n"
	"\n"
	"v1KHKU51y4MW8z4GaGOIu535r6clDuavoeaHODHsH2mXdroawpAEQtbwb5pFHkL0\n"
	"Q9s3AXbsqAH60gyALgyYSjG89Tv21H3h+94OTKxoy5ihKq/GdfnBeyAj+q3K/JlT\n"
	"lAfa0JhYTR/wJE12S0ZQ/U4QRlYN3DdYhmuAyU6b8Ow=\n"
	"-----END EC PRIVATE KEY-----\n";

/* URI:sapair:one, URI:sapair:two */
static const char two_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIB2TCCAYCgAwIBAgIUVHHyRMyCmVtzcnsat5/RDRfCMqQwCgYIKoZIzj0EAwIw\n"
	"STELMAkGA1UEBhMCREUxFTATBgNVBAoMDEV4YW1wbGUsIEluYzETMBEGA1UECwwK\n"
	"c2FwYWlyIGxhYjEOMAwGA1UEAwwFZ2FtbWEwIBcNMjYxMTIzMDI0OTE5WhgPMjA2\n"
	"MjA2MjcwMjQ5MTlaMEkxCzAJBgNVBAYTAkRFMRUwEwYDVQQKDAxFeGFtcGxlLCBJ\n"
	"bmMxEzARBgNVBAsMCnNhcGFpciBsYWIxDjAMBgNVBAMMBWdhbW1hMFkwEwYHKoZI\n"
	"zj0CAQYIKoZIzj0DAQcDQgAE+H7ByrO/8JixZI5LZd3DUEIWTax36SPqtx4N7+wV\n"
	"XQOLmjeVP7NnDamJx8wv9IeKzISOewXzVT+J00c6F02fPKNEMEIwIQYDVR0RBBow\n"
	"GIYKc2FwYWlyOm9uZYYKc2FwYWlyOnR3bzAdBgNVHQ4EFgQUfkWA3Li54ntNwTDC\n"
	"RLHx359nTSAwCgYIKoZIzj0EAwIDRwAwRAIgXgQGTagpMCJdqfRHuyQo2N1y1m/X\n"
	"+ZrtAZ+9JqiE9IgCICYJr5ltn9GDyZgnm3qUSuJw7XrF8RIju01mtkrrxYGk\n"
	"-----END CERTIFICATE-----\n";

/* 17 addresses 10.0.0.1 to 10.0.0.17, and URI:sapair:many */
static const char many_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIICODCCAd2gAwIBAgIUSZC4NpFgpZnh5olvbcXa0YuIvyowCgYIKoZIzj0EAwIw\n"
	"STELMAkGA1UEBhMCREUxFTATBgNVBAoMDEV4YW1wbGUsIEluYzETMBEGA1UECwwK\n"
	"c2FwYWlyIGxhYjEOMAwGA1UEAwwFZ2FtbWEwIBcNMjYxMTIzMDI0OTE5WhgPMjA2\n"
	"MjA2MjcwMjQ5MTlaMEkxCzAJBgNVBAYTAkRFMRUwEwYDVQQKDAxFeGFtcGxlLCBJ\n"
	"bmMxEzARBgNVBAsMCnNhcGFpciBsYWIxDjAMBgNVBAMMBWdhbW1hMFkwEwYHKoZI\n"
	"zj0CAQYIKoZIzj0DAQcDQgAEFZneuGx6XDfQ0oelAFbr8kxNrHPG2KIBxkVdfVR3\n"
	"AAMdc71gr9cKqL0Vhc78nrPCQ3NkRopMAgeTJJHSQDAv4aOBoDCBnTB8BgNVHREE\n"
	"dTBzhwQKAAABhwQKAAAChwQKAAADhwQKAAAEhwQKAAAFhwQKAAAGhwQKAAAHhwQK\n"
	"AAAIhwQKAAAJhwQKAAAKhwQKAAALhwQKAAAMhwQKAAANhwQKAAAOhwQKAAAPhwQK\n"
	"AAAQhwQKAAARhgtzYXBhaXI6bWFueTAdBgNVHQ4EFgQUaofJnv/XWnYgwX4ciYTS\n"
	"+1ZtjnQwCgYIKoZIzj0EAwIDSQAwRgIhAM3Tqev/f2jOfFFn6ozaswOS/eCnUHli\n"
	"TZ0iFIUPOZ8MAiEA8zn47Wpf/PzoXhfcyKaletEOT5k1thjmtzZijLZ64iE=\n"
	"-----END CERTIFICATE-----\n";

/* URI:sapair:a/b */
static const char slash_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBzjCCAXSgAwIBAgIUaBNeGPlo8eLUth2DzVFLXuaYOUswCgYIKoZIzj0EAwIw\n"
	"STELMAkGA1UEBhMCREUxFTATBgNVBAoMDEV4YW1wbGUsIEluYzETMBEGA1UECwwK\n"
	"c2FwYWlyIGxhYjEOMAwGA1UEAwwFZ2FtbWEwIBcNMjYxMTIzMDI0OTIwWhgPMjA2\n"
	"MjA2MjcwMjQ5MjBaMEkxCzAJBgNVBAYTAkRFMRUwEwYDVQQKDAxFeGFtcGxlLCBJ\n"
	"bmMxEzARBgNVBAsMCnNhcGFpciBsYWIxDjAMBgNVBAMMBWdhbW1hMFkwEwYHKoZI\n"
	"zj0CAQYIKoZIzj0DAQcDQgAEaB3eoy6i9S6gTiQRyHGGOZUkmuzvzRobrWGPT8HE\n"
	"KPXYsYOSUh+FvgF24IOWdLWUq3Ai9O6IZv/a4oyhqi+n0aM4MDYwFQYDVR0RBA4w\n"
	"DIYKc2FwYWlyOmEvYjAdBgNVHQ4EFgQUY4H7a0IWZ1G+nvOfZ3l/O3YBeN4wCgYI\n"
	"KoZIzj0EAwIDSAAwRQIgBxQy+VlKmsGAj0NbVc6pJDplh7uSahZrxzI+bKFlARMC\n"
	"IQDcMkPmbjFLVFBGbNvh/kxm5pq7NsGyJHF6xacJj9Ncog==\n"
	"-----END CERTIFICATE-----\n";

/* secp256k1 */
static const char k1_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIICGzCCAcGgAwIBAgIUDDlLjBZkoJANX+VGlCUMCiemRtMwCgYIKoZIzj0EAwIw\n"
	"STELMAkGA1UEBhMCREUxFTATBgNVBAoMDEV4YW1wbGUsIEluYzETMBEGA1UECwwK\n"
	"c2FwYWlyIGxhYjEOMAwGA1UEAwwFZ2FtbWEwIBcNMjYxMTIzMDI0OTIwWhgPMjA2\n"
	"MjA2MjcwMjQ5MjBaMEkxCzAJBgNVBAYTAkRFMRUwEwYDVQQKDAxFeGFtcGxlLCBJ\n"
	"bmMxEzARBgNVBAsMCnNhcGFpciBsYWIxDjAMBgNVBAMMBWdhbW1hMFYwEAYHKoZI\n"
	"zj0CAQYFK4EEAAoDQgAEXIyFuWOISsjpNXIv3uu1lckRPmwC8jpJpSwC744xql1E\n"
	"9oXw/RaDi8Ye4bVOYNJfWVzq5pnUOYR0uiOMIzDWCKOBhzCBhDBjBgNVHREEXDBa\n"
	"hgxzYXBhaXI6Z2FtbWGGFGh0dHBzOi8vZXhhbXBsZS5vcmcvhwTAAAIBgg1nYW1t\n"
	"YS5leGFtcGxlhxAgAQ24AAAAAAAAAAAAAAABgQ1hQGV4YW1wbGUub3JnMB0GA1Ud\n"
	"DgQWBBQ9V2p/2KFSn65yK+3GJl/YWBKXPjAKBggqhkjOPQQDAgNIADBFAiEAtmT8\n"
	"viPZFUjHoqdC+wdGKZgA+vLpAtF2cRUG3aqK87oCIGSlXLtTT1KoM0YPPxwG67Uf\n"
	"zr/I/PSOCIiD4Qx1+SMf\n"
	"-----END CERTIFICATE-----\n";
static const char k1_key[] =
	"-----BEGIN EC PRIVATE KEY-----\n"
	"MHQCAQEEIJX0tto4ding5JW8V2w3bnqNHaS2wQmDlzVyZRhi4cSzoAcGBSuBBAAK\n"
	"oUQDQgAEXIyFuWOISsjpNXIv3uu1lckRPmwC8jpJpSwC744xql1E9oXw/RaDi8Ye\n"
	"4bVOYNJfWVzq5pnUOYR0uiOMIzDWCA==\n"
	"-----END EC PRIVATE KEY-----\n";

/* RSA, 1024 bits */
static const char rsa_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIICpTCCAg6gAwIBAgIUCe12p1fjrvS3cncZgf/DLDlu7MAwDQYJKoZIhvcNAQEL\n"
	"BQAwSTELMAkGA1UEBhMCREUxFTATBgNVBAoMDEV4YW1wbGUsIEluYzETMBEGA1UE\n"
	"CwwKc2FwYWlyIGxhYjEOMAwGA1UEAwwFZ2FtbWEwIBcNMjYxMTIzMDI0OTIwWhgP\n"
	"MjA2MjA2MjcwMjQ5MjBaMEkxCzAJBgNVBAYTAkRFMRUwEwYDVQQKDAxFeGFtcGxl\n"
	"LCBJbmMxEzARBgNVBAsMCnNhcGFpciBsYWIxDjAMBgNVBAMMBWdhbW1hMIGfMA0G\n"
	"CSqGSIb3DQEBAQUAA4GNADCBiQKBgQDFPOwP8BxUMPw8pyr9d9WTqKKvhLqJzKey\n"
	"aUNDlV2lRVp59IbzjJieTweXKPHY1Hl+OQh7gGhG3V3BiFRUV7obt7tbMMr6mUVT\n"
	"X+hQR3jTBAi/qC7d4QFCEIQDi+pmdRZgxMfQc80QjIGkvx4ge9LayER1w6dWSZrQ\n"
	"/TNkTomiJQIDAQABo4GHMIGEMGMGA1UdEQRcMFqGDHNhcGFpcjpnYW1tYYYUaHR0\n"
	"cHM6Ly9leGFtcGxlLm9yZy+HBMAAAgGCDWdhbW1hLmV4YW1wbGWHECABDbgAAAAA\n"
	"AAAAAAAAAAGBDWFAZXhhbXBsZS5vcmcwHQYDVR0OBBYEFMU6sfwtRmfOLaJpqfzV\n"
	"YDt4dRljMA0GCSqGSIb3DQEBCwUAA4GBALWFHoX/r6j3NmclUFO+CaETRutJdDfA\n"
	"R5Ft9GOGc4/XzhsVi5zdclVERpD9yje4rS2FD7TZhP4bJIN25RfK2NURAh8QjtNd\n"
	"0VGI2X9EEtTaxZRY7h+Idh139Doo1D5aQ17cSPZ8GbbZP86IFIPMBPCIXml2yIdz\n"
	"wAzcvKYGOJaY\n"
	"-----END CERTIFICATE-----\n";
static const char rsa_key[] =
	"-----BEGIN RSA PRIVATE KEY-----\n"
	"MIICWwIBAAKBgQDFPOwP8BxUMPw8pyr9d9WTqKKvhLqJzKeyaUNDlV2lRVp59Ibz\n"
	"jJieTweXKPHY1Hl+OQh7gGhG3V3BiFRUV7obt7tbMMr6mUVTX+hQR3jTBAi/qC7d\n"
	"4QFCEIQDi+pmdRZgxMfQc80QjIGkvx4ge9LayER1w6dWSZrQ/TNkTomiJQIDAQAB\n"
	"AoGALC+7ys5F6m6W85eXv/UKueu7loqrp5dbslJ2qTtbIV1qKYwod4N15XFbB/g6\n"
	"RhNDrI1mYxSfR9Dr4iGCkuqcXJgAA+V/kgmgW/zjI1wkeu9wtpyICY7oknOX9aVT\n"
	"SjJPfvQGJBOdt6tPmcNXdEEnBYNYYYGeWtESHGcLGkXXn0ECQQD618UfWuiUj4Hw\n"
	"NBpNZ/f3Uae3v/XdPE5/AMmgfLtPbjHfpmBiXePjjQVP9YiH5ls1ssvpdnxXAcnh\n"
	"8SKPT0rtAkEAyUsFLklnnB7KnUw3Yl9nqFKxvZzMELRu1xx4SM0NtEGrpI/yh+Zz\n"
	"icHdSCZVeZpucZTSca4SRudTdRlu0iF1GQJAde3ZK+uWarmpMh+cugWGK40FF7s0\n"
	"wOUoVkctg7kAatB4vBfBOp2/lOxosfXSUWn4OZ+shD8DJ/icTBAM2mlB5QJAKQ2J\n"
	"0vTZkrec7xO6P+/hPi0PXvJ5k/aYnHqL9Z0MbHTwQrGw7xKLAc9uB+b5i8F5QOTv\n"
	"PowX4ioPlVRIi8aTEQJAEAqHmW27zETKyvRprgBfus0HcKzALMb6ZkxUoP06NCkU\n"
	"02OSt7e5yOKK6pKntuqRE6kX6cT2Ib9lNRWk4bsKPg==\n"
	"-----END RSA PRIVATE KEY-----\n";

/* Ed25519, which mbedTLS does not support */
static const char ed_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIB3jCCAZCgAwIBAgIUHKmOpVSykdsICHknPHxHGggGY1UwBQYDK2VwMEkxCzAJ\n"
	"BgNVBAYTAkRFMRUwEwYDVQQKDAxFeGFtcGxlLCBJbmMxEzARBgNVBAsMCnNhcGFp\n"
	"ciBsYWIxDjAMBgNVBAMMBWdhbW1hMCAXDTI2MTEyMzAyNDkyMFoYDzIwNjIwNjI3\n"
	"MDI0OTIwWjBJMQswCQYDVQQGEwJERTEVMBMGA1UECgwMRXhhbXBsZSwgSW5jMRMw\n"
	"EQYDVQQLDApzYXBhaXIgbGFiMQ4wDAYDVQQDDAVnYW1tYTAqMAUGAytlcAMhAIc8\n"
	"5JAk8QJ3ggDdxuz6SgGLDXij+YQEFrQ/C/yNu/ijo4GHMIGEMGMGA1UdEQRcMFqG\n"
	"DHNhcGFpcjpnYW1tYYYUaHR0cHM6Ly9leGFtcGxlLm9yZy+HBMAAAgGCDWdhbW1h\n"
	"LmV4YW1wbGWHECABDbgAAAAAAAAAAAAAAAGBDWFAZXhhbXBsZS5vcmcwHQYDVR0O\n"
	"BBYEFAXST1jo7u0Z+pP6hl+ujzJbqmXrMAUGAytlcANBAO9aDsF4JgaeWU7xep4V\n"
	"lT1oPQDdRP5bcOoghgIzwe+iwJj51U0s5smikPXOC3AWAHMzxBez3bb68X6/1zLf\n"
	"8QE=\n"
	"-----END CERTIFICATE-----\n";

/* CN=evil, with an escape sequence, longer than the buffer of cert_facts */
static const char escape_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIDNTCCAtygAwIBAgIUBbNYNuxoFVKo7plVvjjtctwLkzswCgYIKoZIzj0EAwIw\n"
	"gdQxRDBCBgNVBAMMO2V2aWwbWzMxbXh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4\n"
	"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4MUUwQwYDVQQKDDx5eXl5eXl5eXl5eXl5\n"
	"eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXkx\n"
	"RTBDBgNVBAsMPHp6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6\n"
	"enp6enp6enp6enp6enp6enp6enp6ejAgFw0yNjExMjMwMjUyMThaGA8yMDYyMDYy\n"
	"NzAyNTIxOFowgdQxRDBCBgNVBAMMO2V2aWwbWzMxbXh4eHh4eHh4eHh4eHh4eHh4\n"
	"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4MUUwQwYDVQQKDDx5eXl5\n"
	"eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5\n"
	"eXl5eXl5eXkxRTBDBgNVBAsMPHp6enp6enp6enp6enp6enp6enp6enp6enp6enp6\n"
	"enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6ejBZMBMGByqGSM49AgEGCCqG\n"
	"SM49AwEHA0IABIHNwkL1yTY51j809WEsITyQcK/lmPV/6S4x6GrBxWF9DpTA9Hw1\n"
	"aHqnFpsE5V6HO990JkWSpHCXFDjKlP4KfZOjgYcwgYQwYwYDVR0RBFwwWoYMc2Fw\n"
	"YWlyOmdhbW1hhhRodHRwczovL2V4YW1wbGUub3JnL4cEwAACAYINZ2FtbWEuZXhh\n"
	"bXBsZYcQIAENuAAAAAAAAAAAAAAAAYENYUBleGFtcGxlLm9yZzAdBgNVHQ4EFgQU\n"
	"SpvSKsmyV9oz8bs4LzqVDeIZ/gswCgYIKoZIzj0EAwIDRwAwRAIgA4VDg/CuO6dS\n"
	"z2VnQldWBu73pBqSqnSNDnST7pmWvxICIG9nv0X1d9czcKnkJGSu701ilBd+0upW\n"
	"tPbYzLIbdwiP\n"
	"-----END CERTIFICATE-----\n";

/* clang-format on */

#define NOW INT64_C(1800000000)

static const uint8_t addrs[2][17] = {{4, 192, 0, 2, 7}, {16, 0x20, 0x01, 0x0d, 0xb8, [16] = 7}};

static struct pem_pair ca, other_ca, leaf;

static struct cert_params wish(const char *name)
{
	struct cert_params w = {.name = name, .addr = addrs, .addrs = 2};

	w.not_before = NOW;
	w.not_after = NOW + 86400;
	return w;
}

static struct cert_facts facts_of(const char *pem)
{
	struct cert_facts f;

	CHECK_U64(cert_read(pem, &f), IDENTITY_OK);
	return f;
}

static void a_certificate_of_OpenSSL_is_read(void)
{
	static const uint8_t v4[] = {192, 0, 2, 1};
	static const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
	struct cert_facts f = facts_of(good_cert);
	char pin[PIN_TEXT + 1];

	pin_put(pin, f.pin);
	CHECK_STR(pin, "sha256:" GOOD_PIN);
	CHECK_STR(f.name, "gamma");
	CHECK_U64(f.addrs, 2);
	CHECK(f.addr[0].len == 4 && memcmp(f.addr[0].bytes, v4, 4) == 0);
	CHECK(f.addr[1].len == 16 && memcmp(f.addr[1].bytes, v6, 16) == 0);
	CHECK_U64((uint64_t)f.not_before, 1795402159); /* UTCTime */
	CHECK_U64((uint64_t)f.not_after, 2918602159);  /* GeneralizedTime */
	CHECK(!f.is_ca && f.is_lab && f.self_signed);
	CHECK_STR(f.subject, "C=DE, O=Example\\, Inc, OU=sapair lab, CN=gamma");
	CHECK_STR(f.issuer, f.subject);
}

static void ambiguous_or_invalid_names_are_ignored(void)
{
	struct cert_facts f = facts_of(two_cert);

	CHECK_STR(f.name, "");
	f = facts_of(slash_cert);
	CHECK_STR(f.name, "");
}

static void addresses_beyond_the_maximum_are_ignored(void)
{
	struct cert_facts f = facts_of(many_cert);

	CHECK_U64(f.addrs, CERT_ADDRS_MAX);
	CHECK(f.addr[15].bytes[3] == 16);
	CHECK_STR(f.name, "many");
}

static void a_subject_is_printable_and_truncated(void)
{
	struct cert_facts f = facts_of(escape_cert);

	CHECK(strncmp(f.subject, "CN=evil\\1B[31mxxx", 17) == 0);
	CHECK_U64(strlen(f.subject), sizeof f.subject - 1);
	CHECK_STR(f.subject + sizeof f.subject - 5, "y..."); /* " z" would be next */
	for (size_t i = 0; f.subject[i] != '\0'; i++)
		CHECK(f.subject[i] >= ' ' && f.subject[i] <= '~');
}

static void texts_without_a_certificate_are_refused(void)
{
	char cut[sizeof good_cert];
	static char huge[CERT_PEM_MAX + sizeof good_cert];
	struct cert_facts f;

	CHECK(cert_read("", &f) == IDENTITY_BAD_CERT);
	CHECK(cert_read("hello", &f) == IDENTITY_BAD_CERT);
	CHECK(cert_read(good_key, &f) == IDENTITY_BAD_CERT);
	CHECK(cert_read(ed_cert, &f) == IDENTITY_WEAK);
	for (size_t n = 0; n < sizeof good_cert - 2; n += 11) {
		memcpy(cut, good_cert, n);
		cut[n] = '\0';
		CHECK(cert_read(cut, &f) == IDENTITY_BAD_CERT);
		CHECK(f.name[0] == '\0' && f.not_after == 0);
	}
	memset(huge, '\n', CERT_PEM_MAX);
	strcpy(huge + CERT_PEM_MAX, good_cert);
	CHECK(cert_read(huge, &f) == IDENTITY_BAD_CERT);
}

/* Any flipped bit is detected or has no effect: no crash, no overrun (sanitizers). */
static void damaged_certificates_are_handled_safely(void)
{
	char text[sizeof good_cert];
	struct cert_facts f;

	for (size_t i = 28; i < sizeof good_cert - 28; i++) {
		memcpy(text, good_cert, sizeof text);
		text[i] = text[i] == 'A' ? 'q' : 'A';
		if (cert_read(text, &f) == IDENTITY_OK)
			CHECK(f.addrs <= CERT_ADDRS_MAX && strlen(f.name) <= CERT_NAME_MAX);
	}
}

static enum identity_fault load(const char *cert, const char *key, const char *trusted)
{
	struct identity *id;
	enum identity_fault fault = identity_load(&id, cert, key, trusted);

	CHECK((fault == IDENTITY_OK) == (id != NULL));
	identity_free(id);
	return fault;
}

static void a_wrong_identity_is_refused_with_its_fault(void)
{
	CHECK_U64(load(good_cert, good_key, NULL), IDENTITY_OK);
	CHECK_U64(load(good_cert, good_key, ca.cert), IDENTITY_OK);
	CHECK_U64(load(leaf.cert, leaf.key, ca.cert), IDENTITY_OK);
	CHECK_U64(load("", good_key, NULL), IDENTITY_BAD_CERT);
	CHECK_U64(load(good_key, good_key, NULL), IDENTITY_BAD_CERT);
	CHECK_U64(load(good_cert, "", NULL), IDENTITY_BAD_KEY);
	CHECK_U64(load(good_cert, good_cert, NULL), IDENTITY_BAD_KEY);
	CHECK_U64(load(good_cert, encrypted_key, NULL), IDENTITY_BAD_KEY);
	CHECK_U64(load(good_cert, leaf.key, NULL), IDENTITY_WRONG_KEY);
	CHECK_U64(load(good_cert, good_key, ""), IDENTITY_BAD_CA);
	CHECK_U64(load(good_cert, good_key, good_cert),
		  IDENTITY_BAD_CA); /* it is not allowed to sign */
	CHECK_U64(load(rsa_cert, rsa_key, NULL), IDENTITY_WEAK);
	CHECK_U64(load(k1_cert, k1_key, NULL), IDENTITY_WEAK);
	CHECK_U64(load(ed_cert, good_key, NULL), IDENTITY_WEAK);
	identity_free(NULL);
}

static void several_CAs_may_be_trusted(void)
{
	static char both[2 * CERT_PEM_MAX];

	snprintf(both, sizeof both, "%s%s", ca.cert, other_ca.cert);
	CHECK_U64(load(good_cert, good_key, both), IDENTITY_OK);
	snprintf(both, sizeof both, "%s%s", ca.cert, good_cert);
	CHECK_U64(load(good_cert, good_key, both), IDENTITY_BAD_CA);
}

static void an_identity_has_the_facts_of_its_certificate(void)
{
	struct identity *id;

	if (!CHECK(identity_load(&id, good_cert, good_key, NULL) == IDENTITY_OK))
		return;
	CHECK_STR(identity_facts(id)->name, "gamma");
	identity_free(id);
}

static void a_certificate_has_the_parameters_given(void)
{
	struct cert_facts f = facts_of(leaf.cert);

	CHECK_STR(f.name, "alpha.example_1-x");
	CHECK_STR(f.subject, "CN=alpha.example_1-x, O=sapair");
	CHECK_STR(f.issuer, "CN=lab-ca, O=sapair, OU=sapair lab");
	CHECK_U64(f.addrs, 2);
	for (size_t i = 0; i < f.addrs; i++) {
		CHECK_U64(f.addr[i].len, addrs[i][0]);
		CHECK_MEM(f.addr[i].bytes, addrs[i] + 1, f.addr[i].len);
	}
	CHECK(f.not_before == NOW && f.not_after == NOW + 86400);
	CHECK(!f.is_ca && !f.is_lab && !f.self_signed);

	f = facts_of(ca.cert);
	CHECK(f.is_ca && f.is_lab && f.self_signed);
	CHECK_STR(f.name, "lab-ca");
}

static void every_date_is_kept(void)
{
	static const int64_t rows[] = {
		0,          951782399,    951782400,  951868799, 951868800, /* 2000-02-29 */
		1709164800, 1709251199,   1709251200,                       /* 2024-02-29 */
		2147483647, 2147483648,                                     /* 32-bit time_t ends */
		2524607999, 2524608000,                                     /* UTCTime ends */
		4107542399, 4107542400, /* 2100 is not a leap year */
		4294967296, 253402300799,
	};
	struct pem_pair p;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct cert_params w = wish("dates");
		struct cert_facts f;

		NOTE("row %d", (int)i);
		w.not_before = i == 0 ? 0 : rows[i - 1];
		w.not_after = rows[i];
		CHECK(cert_self(&p, &w));
		f = facts_of(p.cert);
		CHECK_U64((uint64_t)f.not_before, (uint64_t)w.not_before);
		CHECK_U64((uint64_t)f.not_after, (uint64_t)w.not_after);
	}
}

static void impossible_parameters_are_refused(void)
{
	static const char *const names[] = {"",    "a b",      "a/b",  "a,b",
					    "a=b", "\xc3\xa4", "a\nb", NULL};
	static const uint8_t odd[1][17] = {{5, 1, 2, 3, 4, 5}};
	char longest[CERT_NAME_MAX + 2];
	struct cert_params w;
	struct pem_pair p;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		w = wish(names[i]);
		CHECK(!cert_self(&p, &w));
		CHECK(cert_issue(&p, &w, ca.cert, ca.key) == IDENTITY_BAD_CERT);
		CHECK(p.cert[0] == '\0' && p.key[0] == '\0');
	}
	memset(longest, 'n', sizeof longest);
	longest[CERT_NAME_MAX + 1] = '\0';
	w = wish(longest);
	CHECK(!cert_self(&p, &w));
	longest[CERT_NAME_MAX] = '\0';
	CHECK(cert_self(&p, &w));
	CHECK_STR(facts_of(p.cert).name, longest);

	w = wish("x");
	w.not_after = w.not_before - 1;
	CHECK(!cert_self(&p, &w));
	w = wish("x");
	w.not_before = -1;
	CHECK(!cert_self(&p, &w));
	w = wish("x");
	w.not_after = INT64_C(253402300800);
	CHECK(!cert_self(&p, &w));
	w = wish("x");
	w.addr = odd;
	w.addrs = 1;
	CHECK(!cert_self(&p, &w));
	w = wish("x");
	w.addrs = CERT_ADDRS_MAX + 1;
	CHECK(!cert_self(&p, &w));
	w = wish("x");
	w.is_ca = true;
	CHECK(cert_issue(&p, &w, ca.cert, ca.key) == IDENTITY_BAD_CERT);
}

static void all_addresses_fit(void)
{
	uint8_t many[CERT_ADDRS_MAX][17];
	struct cert_params w = wish("many");
	struct cert_facts f;
	struct pem_pair p;

	for (uint8_t i = 0; i < CERT_ADDRS_MAX; i++) {
		memset(many[i], i, 17);
		many[i][0] = 16;
	}
	w.addr = (const uint8_t(*)[17])many;
	w.addrs = CERT_ADDRS_MAX;
	CHECK(cert_self(&p, &w));
	f = facts_of(p.cert);
	CHECK(f.addrs == CERT_ADDRS_MAX && f.addr[15].bytes[0] == 15);
	w.addrs = 0;
	w.addr = NULL;
	CHECK(cert_self(&p, &w));
	CHECK(facts_of(p.cert).addrs == 0);
}

static void an_existing_key_is_certified(void)
{
	struct cert_params w = wish("gamma");
	char signed_cert[CERT_PEM_MAX];
	struct cert_facts before = facts_of(good_cert), after;

	CHECK_U64(cert_sign(signed_cert, &w, good_cert, ca.cert, ca.key), IDENTITY_OK);
	after = facts_of(signed_cert);
	CHECK_MEM(after.pin, before.pin, PIN_LEN);
	CHECK_STR(after.issuer, "CN=lab-ca, O=sapair, OU=sapair lab");
	CHECK_U64(load(signed_cert, good_key, ca.cert), IDENTITY_OK);

	CHECK_U64(cert_sign(signed_cert, &w, rsa_cert, ca.cert, ca.key), IDENTITY_WEAK);
	CHECK_U64(cert_sign(signed_cert, &w, k1_cert, ca.cert, ca.key), IDENTITY_WEAK);
	CHECK_U64(cert_sign(signed_cert, &w, "x", ca.cert, ca.key), IDENTITY_BAD_CERT);
	CHECK(signed_cert[0] == '\0');
}

static void a_CA_must_be_one_and_fit_its_key(void)
{
	struct cert_params w = wish("x");
	struct pem_pair p;

	CHECK_U64(cert_issue(&p, &w, leaf.cert, leaf.key), IDENTITY_BAD_CA);
	CHECK_U64(cert_issue(&p, &w, "x", ca.key), IDENTITY_BAD_CA);
	CHECK_U64(cert_issue(&p, &w, ca.cert, "x"), IDENTITY_BAD_KEY);
	CHECK_U64(cert_issue(&p, &w, ca.cert, other_ca.key), IDENTITY_WRONG_KEY);
	CHECK(p.cert[0] == '\0' && p.key[0] == '\0');
}

static void no_two_keys_or_serials_are_the_same(void)
{
	struct cert_params w = wish("twin");
	struct pem_pair a, b;

	CHECK(cert_self(&a, &w) && cert_self(&b, &w));
	CHECK(strcmp(a.key, b.key) != 0 && strcmp(a.cert, b.cert) != 0);
	CHECK(memcmp(facts_of(a.cert).pin, facts_of(b.cert).pin, PIN_LEN) != 0);
}

static void pins_are_read_strictly(void)
{
	static const char *const bad[] = {
		"",
		"sha256:",
		GOOD_PIN,
		"sha1:" GOOD_PIN,
		"Sha256:" GOOD_PIN,
		" sha256:" GOOD_PIN,
		"sha256:" GOOD_PIN "0",
		"sha256:" GOOD_PIN " ",
		"sha256:1FBCFFAE09AE47FDCFA65037D3EF5ACEA0ADA34B8D77248F7B55C14E2FBDED0A",
	};
	uint8_t pin[PIN_LEN];
	char text[PIN_TEXT + 1];

	CHECK(pin_get(pin, "sha256:" GOOD_PIN));
	CHECK(pin_get(pin, "SHA256:" GOOD_PIN));
	pin_put(text, pin);
	CHECK_STR(text, "sha256:" GOOD_PIN);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK(!pin_get(pin, bad[i]));
}

static void every_fault_has_a_word_and_a_text(void)
{
	for (int f = CERT_OK; f <= CERT_WEAK; f++) {
		CHECK(strlen(cert_fault_word((enum cert_fault)f)) > 1);
		CHECK(strlen(cert_fault_text((enum cert_fault)f)) > 10);
		CHECK(strchr(cert_fault_word((enum cert_fault)f), ' ') == NULL);
	}
	CHECK_STR(cert_fault_word(CERT_EXPIRED), "expired");
	CHECK_STR(cert_fault_text(CERT_EXPIRED), "the certificate has expired");
	CHECK_STR(cert_fault_word((enum cert_fault)99), "unknown");
}

static void make_world(void)
{
	struct cert_params w = wish("lab-ca");

	CHECK(crypto_start());
	w.is_ca = w.is_lab = true;
	CHECK(cert_self(&ca, &w) && cert_self(&other_ca, &w));
	w = wish("alpha.example_1-x");
	CHECK_U64(cert_issue(&leaf, &w, ca.cert, ca.key), IDENTITY_OK);
}

T_MAIN(T(make_world), T(a_certificate_of_OpenSSL_is_read),
       T(ambiguous_or_invalid_names_are_ignored), T(addresses_beyond_the_maximum_are_ignored),
       T(a_subject_is_printable_and_truncated), T(texts_without_a_certificate_are_refused),
       T(damaged_certificates_are_handled_safely), T(a_wrong_identity_is_refused_with_its_fault),
       T(several_CAs_may_be_trusted), T(an_identity_has_the_facts_of_its_certificate),
       T(a_certificate_has_the_parameters_given), T(every_date_is_kept),
       T(impossible_parameters_are_refused), T(all_addresses_fit), T(an_existing_key_is_certified),
       T(a_CA_must_be_one_and_fit_its_key), T(no_two_keys_or_serials_are_the_same),
       T(pins_are_read_strictly), T(every_fault_has_a_word_and_a_text))
