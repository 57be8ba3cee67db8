/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver that is none as a library of the name that programs open: what stands between them and a GPU
 * can be tried from outside, with LD_LIBRARY_PATH, where there is no GPU.
 */
#include "lib/fake_cuda_inside.h"

/* The symbol of each function jumps to where the table says, whatever its arguments. */
#define EXPORT(name, symbol, arguments)                                                            \
	int export_##name arguments __asm__(symbol)                                                \
		__attribute__((ifunc("find_" #name), visibility("default")));                      \
	static __typeof__(export_##name) *find_##name(void) __attribute__((used));                 \
	static __typeof__(export_##name) *find_##name(void)                                        \
	{                                                                                          \
		return fake_table.name;                                                            \
	}
CUDA_FUNCTIONS(EXPORT)

__attribute__((constructor)) static void start(void)
{
	fake_cuda_start(&(struct fake_cuda_how){.latency_ns = 20000, .jitter_ns = 200000});
}
