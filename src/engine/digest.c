/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XXH3 by its own library.  SHA-256 by OpenSSL's, opened when somebody asks for it: loading that library
 * costs more than most commands take, and only lists made by sha256sum need it.
 */
#include "weir/digest.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/error.h"

#define CRYPTO_LIBRARY "libcrypto.so.3"

struct crypto {
	void *library;
	void *(*context_new)(void);
	void (*context_free)(void *context);
	int (*context_copy)(void *to, const void *from);
	const void *(*sha256)(void);
	int (*init)(void *context, const void *type, void *engine);
	int (*update)(void *context, const void *data, size_t len);
	int (*final)(void *context, unsigned char *out, unsigned *len);
};

struct weir_digest {
	int kind;
	XXH3_state_t *xxh3;
	struct crypto crypto;
	void *context;
};

static int crypto_open(struct crypto *crypto)
{
	static const char *const names[] = {
		"EVP_MD_CTX_new",    "EVP_MD_CTX_free",  "EVP_MD_CTX_copy_ex", "EVP_sha256",
		"EVP_DigestInit_ex", "EVP_DigestUpdate", "EVP_DigestFinal_ex",
	};
	void *where[] = {
		&crypto->context_new, &crypto->context_free, &crypto->context_copy, &crypto->sha256,
		&crypto->init,        &crypto->update,       &crypto->final,
	};

	crypto->library = dlopen(CRYPTO_LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!crypto->library)
		return -1;
	for (size_t i = 0; i < array_size(names); i++) {
		void *symbol = dlsym(crypto->library, names[i]);

		if (!symbol)
			return -1;
		memcpy(where[i], &symbol, sizeof(symbol));
	}
	return 0;
}

static int create_sha256(struct weir_digest *digest, struct weir_error *err)
{
	if (crypto_open(&digest->crypto) < 0)
		return error_set(err, WEIR_UNSUPPORTED, NULL,
				 "SHA-256 needs %s, which is not here (package libssl3)",
				 CRYPTO_LIBRARY);
	digest->context = digest->crypto.context_new();
	if (!digest->context)
		return error_nomem(err, NULL, "a digest");
	return 0;
}

int weir_digest_create(int kind, struct weir_digest **out, struct weir_error *err)
{
	struct weir_digest *digest;
	int ret = 0;

	if (kind != WEIR_DIGEST_XXH3_64 && kind != WEIR_DIGEST_SHA256)
		return error_set(err, WEIR_ARG, NULL, "%d is not a kind of digest", kind);
	digest = calloc(1, sizeof(*digest));
	if (!digest)
		return error_nomem(err, NULL, "a digest");
	digest->kind = kind;
	if (kind == WEIR_DIGEST_SHA256)
		ret = create_sha256(digest, err);
	else if (!(digest->xxh3 = XXH3_createState()))
		ret = error_nomem(err, NULL, "a digest");
	if (ret < 0) {
		weir_digest_destroy(digest);
		return ret;
	}
	weir_digest_reset(digest);
	*out = digest;
	return 0;
}

void weir_digest_destroy(struct weir_digest *digest)
{
	if (!digest)
		return;
	if (digest->context)
		digest->crypto.context_free(digest->context);
	if (digest->crypto.library)
		dlclose(digest->crypto.library);
	XXH3_freeState(digest->xxh3);
	free(digest);
}

void weir_digest_reset(struct weir_digest *digest)
{
	if (digest->kind == WEIR_DIGEST_SHA256)
		digest->crypto.init(digest->context, digest->crypto.sha256(), NULL);
	else
		XXH3_64bits_reset(digest->xxh3);
}

void weir_digest_update(struct weir_digest *digest, const void *data, size_t len)
{
	if (digest->kind == WEIR_DIGEST_SHA256)
		digest->crypto.update(digest->context, data, len);
	else
		XXH3_64bits_update(digest->xxh3, data, len);
}

static size_t value_sha256(const struct weir_digest *digest, uint8_t out[WEIR_DIGEST_MAX])
{
	const struct crypto *crypto = &digest->crypto;
	void *copy = crypto->context_new();
	unsigned len = 0;

	if (copy && crypto->context_copy(copy, digest->context))
		crypto->final(copy, out, &len);
	if (copy)
		crypto->context_free(copy);
	return len;
}

size_t weir_digest_value(const struct weir_digest *digest, uint8_t out[WEIR_DIGEST_MAX])
{
	XXH64_canonical_t canonical;

	if (digest->kind == WEIR_DIGEST_SHA256)
		return value_sha256(digest, out);
	XXH64_canonicalFromHash(&canonical, XXH3_64bits_digest(digest->xxh3));
	memcpy(out, canonical.digest, sizeof(canonical.digest));
	return sizeof(canonical.digest);
}

uint64_t weir_xxh3_64(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}
