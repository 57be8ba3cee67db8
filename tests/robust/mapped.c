/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views of a file that is cut while they are out.  Whoever reads one then dies, as the manual says; weir
 * itself reads none, so everything else goes on.  (Where the kernel does not tell what the page cache
 * holds, nothing is mapped, and the cut is one of a file that was read.)
 */
#include <unistd.h>

#include "base/size.h"
#include "lib/check.h"
#include "lib/models.h"
#include "weir/weir.h"

static struct weir_error err = WEIR_ERROR_INIT;

static void ST_10_a_file_is_cut_while_it_is_mapped(void)
{
	struct weir_transfer *load;
	struct weir_model *model;
	struct weir_buffer *kept[2] = {NULL};
	struct weir_done done;
	struct weir_ctx *ctx;
	unsigned n = 0;

	st_begin();
	st_tensor("a", "U8", "[1048576]", MIB);
	st_tensor("b", "U8", "[1048576]", MIB);
	st_save("m.safetensors");
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	check_int(weir_model_open(ctx, in_folder("m.safetensors"), NULL, &model, &err), 0);
	check_int(weir_load_start(model, WEIR_LOAD_OPTS(.flags = WEIR_LOAD_MAP), &load, &err), 0);
	while (weir_transfer_wait(load, &done, 1, WEIR_FOREVER, &err) == 1) {
		check_int(done.status, 0);
		if (weir_buffer_is_mapped(done.buffer))
			kept[n++] = done.buffer;
		else
			weir_buffer_unref(done.buffer);
	}
	check_int(truncate(in_folder("m.safetensors"), 0), 0);
	check_int(weir_transfer_finish(load, WEIR_FOREVER, &err), 0);
	for (unsigned i = 0; i < n; i++)
		weir_buffer_unref(kept[i]);
	weir_model_close(model);
	weir_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {TEST(ST_10_a_file_is_cut_while_it_is_mapped)};

	return tests_run(argc, argv, tests, array_size(tests));
}
