/* tests/windows/standin/sa_check.c - keys and transforms of SAs */
#include <string.h>

#include "agent/ipsec/wfp/api.h"
#include "tests/windows/standin/engine.h"

#define E_INCOMPATIBLE_CIPHER E(0x8032003A)
#define E_COMBINATION E(0x8032003B)

/* Length of key and salt, or 0 for a transform other than AES-GCM. */
static uint32_t gcm_len(uint32_t type)
{
	switch (type) {
	case IPSEC_AUTH_AES_128:
		return 20;
	case IPSEC_AUTH_AES_192:
		return 28;
	case IPSEC_AUTH_AES_256:
		return 36;
	default:
		return 0;
	}
}

static DWORD check_auth(const struct sa *k)
{
	const uint32_t gcm = gcm_len(k->auth_type);

	if (gcm != 0)
		return k->auth_config == k->auth_type && k->auth_len == gcm
			       ? 0
			       : E(FWP_E_INVALID_PARAMETER);
	if (k->auth_type == IPSEC_AUTH_SHA_1)
		return k->auth_config == 1 && k->auth_len == 20 ? 0 : E(FWP_E_INVALID_PARAMETER);
	if (k->auth_type == IPSEC_AUTH_SHA_256)
		return k->auth_config == 2 && k->auth_len == 32 ? 0 : E(FWP_E_INVALID_PARAMETER);
	return E(FWP_E_INVALID_AUTH_TRANSFORM);
}

static DWORD check_cipher(const struct sa *k)
{
	const uint32_t gcm = gcm_len(k->auth_type), aes = k->cipher_type;
	/* IPSEC_CIPHER_TYPE_AES_128, 192, 256 are 3, 4, 5, as the types of authentication. */
	if (aes < 3 || aes > 5)
		return E(FWP_E_INVALID_CIPHER_TRANSFORM);
	if (gcm == 0) /* CBC: 3, 4, 5 */
		return k->cipher_config == aes && k->cipher_len == 16 + 8 * (aes - 3)
			       ? 0
			       : E_INCOMPATIBLE_CIPHER;
	if (k->cipher_config != aes + 3 || aes != k->auth_type)
		return E_COMBINATION;
	return k->cipher_len == gcm && memcmp(k->cipher, k->auth, gcm) == 0
		       ? 0
		       : E(FWP_E_INVALID_PARAMETER);
}

static DWORD take_key(uint8_t *to, uint32_t *len, const FWP_BYTE_BLOB *from)
{
	if (from->size == 0 || from->size > KEY_MAX || from->data == NULL)
		return E(FWP_E_INVALID_PARAMETER);
	memcpy(to, from->data, from->size);
	*len = from->size;
	return 0;
}

static DWORD take_sa(struct sa *k, const IPSEC_SA0 *sa)
{
	const IPSEC_SA_AUTH_INFORMATION0 *auth;
	const IPSEC_SA_CIPHER_INFORMATION0 *cipher = NULL;
	DWORD code;

	k->spi = sa->spi;
	k->transform = (uint32_t)sa->saTransformType;
	if (sa->saTransformType == IPSEC_TRANSFORM_ESP_AUTH) {
		auth = sa->espAuthInformation;
	} else if (sa->saTransformType == IPSEC_TRANSFORM_ESP_AUTH_AND_CIPHER) {
		if (sa->espAuthAndCipherInformation == NULL)
			return E(FWP_E_NULL_POINTER);
		auth = &sa->espAuthAndCipherInformation->saAuthInformation;
		cipher = &sa->espAuthAndCipherInformation->saCipherInformation;
	} else {
		return E_COMBINATION;
	}
	if (auth == NULL)
		return E(FWP_E_NULL_POINTER);
	k->auth_type = (uint32_t)auth->authTransform.authTransformId.authType;
	k->auth_config = auth->authTransform.authTransformId.authConfig;
	code = take_key(k->auth, &k->auth_len, &auth->authKey);
	if (code == 0)
		code = check_auth(k);
	if (code != 0 || cipher == NULL) {
		if (code == 0 && gcm_len(k->auth_type) == 0)
			code = E_COMBINATION;
		return code;
	}
	k->cipher_type = (uint32_t)cipher->cipherTransform.cipherTransformId.cipherType;
	k->cipher_config = cipher->cipherTransform.cipherTransformId.cipherConfig;
	code = take_key(k->cipher, &k->cipher_len, &cipher->cipherKey);
	return code != 0 ? code : check_cipher(k);
}

/* No two SAs may have the same key, not even one that was deleted. */
static bool is_new_key(const struct sa *k)
{
	const uint64_t h = hash(k->auth, k->auth_len) ^ hash(k->cipher, k->cipher_len) * 3;
	const uint64_t n = s.n_used_keys < USED_KEYS ? s.n_used_keys : USED_KEYS;

	for (uint64_t i = 0; i < n; i++)
		if (s.used_keys[i] == h)
			return false;
	s.used_keys[s.n_used_keys++ % USED_KEYS] = h;
	return true;
}

DWORD take_bundle(struct sa *k, const struct context *c, const IPSEC_SA_BUNDLE0 *b)
{
	DWORD code;

	if (b->numSAs != 1 || b->saList == NULL || b->ipVersion != c->in_traffic.ipVersion ||
	    (b->flags & ~WFP_BUNDLE_NO_DUP_DELETION) != 0 || b->ipsecId != NULL ||
	    b->keyModuleState != NULL || b->napContext != 0 || b->mmSaId != 0 ||
	    b->pfsGroup != IPSEC_PFS_NONE || b->idleTimeoutSeconds != 0 ||
	    b->ndAllowClearTimeoutSeconds != 0 || b->peerV4PrivateAddress != 0)
		return E(FWP_E_INVALID_PARAMETER);
	if (b->lifetime.lifetimePackets == 0 || b->lifetime.lifetimeSeconds < 300 ||
	    b->lifetime.lifetimeSeconds > 172799 ||
	    (b->lifetime.lifetimeKilobytes != 0 &&
	     (b->lifetime.lifetimeKilobytes < 20480 || b->lifetime.lifetimeKilobytes > 2147483647)))
		return E(FWP_E_OUT_OF_BOUNDS);
	if (b->qmSaId == 0)
		return E(FWP_E_INVALID_PARAMETER);
	code = take_sa(k, &b->saList[0]);
	if (code != 0)
		return code;
	if (k->spi < 256)
		return E(FWP_E_INVALID_PARAMETER);
	k->present = true;
	k->seconds = b->lifetime.lifetimeSeconds;
	k->packets = b->lifetime.lifetimePackets;
	k->kilobytes = b->lifetime.lifetimeKilobytes;
	k->qm_id = b->qmSaId;
	k->flags = b->flags;
	for (int i = 0; i < CONTEXTS; i++)
		if (s.contexts[i].used && s.contexts[i].id != c->id && s.contexts[i].in.present &&
		    s.contexts[i].in.qm_id == k->qm_id)
			return E(FWP_E_INVALID_PARAMETER);
	if (c->in.present && c->in.qm_id != k->qm_id)
		return E(FWP_E_INVALID_PARAMETER);
	return is_new_key(k) ? 0 : E(FWP_E_INVALID_PARAMETER);
}
