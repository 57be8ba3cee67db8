/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that uses weir as an outsider does: compiled as C99 and as C++ against the installed tree.
 * Ends with 0 when a context could be made and a missing model is reported as missing.
 */
#include <stdio.h>
#include <string.h>

#include <weir/weir.h>

int main(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_ctx *ctx = NULL;
	struct weir_model *model = NULL;
	int ret;

	if (weir_ctx_create(NULL, &ctx, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	ret = weir_model_open(ctx, "no-such-model.safetensors", NULL, &model, &err);
	weir_model_close(model);
	weir_ctx_destroy(ctx);
	printf("weir %s: %s: %s\n", weir_version(), weir_code_name(ret), err.message);
	return ret == WEIR_NOTFOUND && strstr(err.message, "no-such-model") ? 0 : 1;
}
