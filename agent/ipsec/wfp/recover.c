/*
 * agent/ipsec/wfp/recover.c - finds SA contexts of an earlier run, and objects that were removed.
 */
#include "agent/ipsec/wfp/api.h"

#include "agent/ipsec/wfp/db.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCH 64

/* The engine may return keys (not documented): wipe them. */
static void wipe_keys(IPSEC_SA_DETAILS0 *d)
{
	if (d == NULL)
		return;
	for (UINT32 i = 0; i < d->saBundle.numSAs; i++) {
		IPSEC_SA0 *sa = &d->saBundle.saList[i];
		IPSEC_SA_AUTH_INFORMATION0 *auth = NULL;
		IPSEC_SA_CIPHER_INFORMATION0 *cipher = NULL;

		if (sa->saTransformType == IPSEC_TRANSFORM_ESP_AUTH) {
			auth = sa->espAuthInformation;
		} else if (sa->saTransformType == IPSEC_TRANSFORM_ESP_AUTH_AND_CIPHER &&
			   sa->espAuthAndCipherInformation != NULL) {
			auth = &sa->espAuthAndCipherInformation->saAuthInformation;
			cipher = &sa->espAuthAndCipherInformation->saCipherInformation;
		}
		if (auth != NULL && auth->authKey.data != NULL)
			SecureZeroMemory(auth->authKey.data, auth->authKey.size);
		if (cipher != NULL && cipher->cipherKey.data != NULL)
			SecureZeroMemory(cipher->cipherKey.data, cipher->cipherKey.size);
	}
}

static struct spi spi_of(const IPSEC_SA_DETAILS0 *d)
{
	return (struct spi){d != NULL && d->saBundle.numSAs > 0 ? d->saBundle.saList[0].spi : 0};
}

static bool uses_filters(const IPSEC_SA_CONTEXT0 *c, const struct wfp_filters *r)
{
	return (c->inboundSa != NULL && c->inboundSa->traffic.ipsecFilterId == r->id[WFP_IN]) ||
	       (c->outboundSa != NULL && c->outboundSa->traffic.ipsecFilterId == r->id[WFP_OUT]);
}

static bool is_any(const IPSEC_SA_CONTEXT0 *c)
{
	return c->inboundSa != NULL || c->outboundSa != NULL;
}

static int add_found(struct wfp_job *j, const IPSEC_SA_CONTEXT0 *c)
{
	const IPSEC_SA_DETAILS0 *any = c->inboundSa != NULL ? c->inboundSa : c->outboundSa;
	struct wfp_found *grown = realloc(j->found, (j->n_found + 1) * sizeof *grown);

	if (grown == NULL)
		return err_set(&j->e, ERR_OS, "no memory for the SAs of an earlier run");
	j->found = grown;
	grown[j->n_found++] = (struct wfp_found){
		.context = c->saContextId,
		.in_filter = c->inboundSa != NULL ? c->inboundSa->traffic.ipsecFilterId : 0,
		.out_filter = c->outboundSa != NULL ? c->outboundSa->traffic.ipsecFilterId : 0,
		.in = spi_of(c->inboundSa),
		.out = spi_of(c->outboundSa),
		.lifetime_s = any->saBundle.lifetime.lifetimeSeconds,
	};
	return 0;
}

int wfp_find_contexts(struct wfp_engine *g, struct wfp_job *j)
{
	HANDLE list = NULL;
	UINT32 n = BATCH;
	int rc = 0;
	DWORD code = IPsecSaContextCreateEnumHandle0(g->handle, NULL, &list);

	free(j->found);
	j->found = NULL;
	j->n_found = 0;
	if (code != ERROR_SUCCESS)
		return wfp_failed(&j->e, code, "IPsecSaContextCreateEnumHandle0");
	while (rc == 0 && n == BATCH) {
		IPSEC_SA_CONTEXT0 **entries = NULL;

		code = IPsecSaContextEnum0(g->handle, list, BATCH, &entries, &n);
		if (code != ERROR_SUCCESS) {
			rc = wfp_failed(&j->e, code, "IPsecSaContextEnum0");
			break;
		}
		for (UINT32 i = 0; i < n; i++) {
			if (rc == 0 &&
			    (j->any ? is_any(entries[i]) : uses_filters(entries[i], &j->filters)))
				rc = add_found(j, entries[i]);
			wipe_keys(entries[i]->inboundSa);
			wipe_keys(entries[i]->outboundSa);
		}
		if (entries != NULL)
			FwpmFreeMemory0((void **)&entries);
	}
	IPsecSaContextDestroyEnumHandle0(g->handle, list);
	return rc;
}

int wfp_check(struct wfp_engine *g, struct wfp_job *j)
{
	size_t kept = 0;
	DWORD code;

	j->changed = j->existed = false;
	for (int i = 0; i < WFP_FILTERS; i++) {
		FWPM_FILTER0 *f = NULL;

		code = FwpmFilterGetById0(g->handle, j->filters.id[i], &f);
		if (code == (DWORD)FWP_E_FILTER_NOT_FOUND && (i == WFP_IN || i == WFP_OUT))
			j->changed = true;
		else if (code == (DWORD)FWP_E_FILTER_NOT_FOUND)
			j->existed = true;
		else if (code != ERROR_SUCCESS)
			return wfp_failed(&j->e, code, "FwpmFilterGetById0");
		if (f != NULL)
			FwpmFreeMemory0((void **)&f);
	}
	for (size_t i = 0; i < j->n_ids; i++) {
		IPSEC_SA_CONTEXT0 *c = NULL;

		code = IPsecSaContextGetById0(g->handle, j->ids[i], &c);
		if (code == (DWORD)FWP_E_NOT_FOUND)
			j->ids[kept++] = j->ids[i];
		else if (code != ERROR_SUCCESS)
			return wfp_failed(&j->e, code, "IPsecSaContextGetById0");
		if (c != NULL) {
			wipe_keys(c->inboundSa);
			wipe_keys(c->outboundSa);
			FwpmFreeMemory0((void **)&c);
		}
	}
	j->n_ids = kept;
	return 0;
}

int wfp_statistics(struct wfp_engine *g, struct wfp_job *j)
{
	IPSEC_STATISTICS0 n;
	const IPSEC_AGGREGATE_DROP_PACKET_STATISTICS0 *drops = &n.aggregateDropPacketStatistics;
	DWORD code;

	memset(&n, 0, sizeof n);
	code = IPsecGetStatistics0(g->handle, &n);
	if (code != ERROR_SUCCESS)
		return wfp_failed(&j->e, code, "IPsecGetStatistics0");
	snprintf(j->text, sizeof j->text,
		 "%u SAs active on the whole machine; dropped so far: %u unknown SPI, %u "
		 "integrity, %u decryption, %u replay, %u in clear",
		 n.aggregateSaStatistics.activeSas, drops->invalidSpisOnInbound,
		 drops->authenticationFailuresOnInbound, drops->decryptionFailuresOnInbound,
		 drops->replayCheckFailuresOnInbound, drops->invalidClearTextInbound);
	return 0;
}
