/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How this library is told from the vendor's, which has the same name and the same symbols: by an
 * ELF note of owner "weir".  Who looks for the vendor's library reads the file's notes before it
 * loads anything.
 */
#include <stdint.h>

struct note {
	uint32_t name_bytes, text_bytes, type;
	char name[8];
	char text[8];
};

__attribute__((used, section(".note.weir.hf3fs"), aligned(4))) static const struct note note = {
	.name_bytes = 5, .text_bytes = 8, .type = 1, .name = "weir", .text = "drop-in"};
