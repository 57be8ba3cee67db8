/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Element types: those of safetensors and those of GGUF in one list.
 *
 * A type is known by its block: so many elements in so many bytes.  A plain type has blocks of one
 * element, a type below eight bits the smallest block that fills whole bytes (F4: two elements in one
 * byte), a quantised type what its format says.  The numbers are ours alone: files carry names
 * (safetensors) or ids (GGUF), and the parsers translate.
 */
#ifndef FORMAT_DTYPE_H
#define FORMAT_DTYPE_H

#include <stdint.h>

#include "base/bytes.h"

enum format_dtype {
	/* safetensors, in the rank order of its writer. */
	DTYPE_BOOL,
	DTYPE_F4,
	DTYPE_F6_E2M3,
	DTYPE_F6_E3M2,
	DTYPE_U8,
	DTYPE_I8,
	DTYPE_F8_E5M2,
	DTYPE_F8_E4M3,
	DTYPE_F8_E8M0,
	DTYPE_F8_E4M3FNUZ,
	DTYPE_F8_E5M2FNUZ,
	DTYPE_I16,
	DTYPE_U16,
	DTYPE_F16,
	DTYPE_BF16,
	DTYPE_I32,
	DTYPE_U32,
	DTYPE_F32,
	DTYPE_C64,
	DTYPE_F64,
	DTYPE_I64,
	DTYPE_U64,

	/* GGUF only; its F32, F16, BF16, F64 and integers are those above. */
	DTYPE_Q4_0,
	DTYPE_Q4_1,
	DTYPE_Q5_0,
	DTYPE_Q5_1,
	DTYPE_Q8_0,
	DTYPE_Q8_1,
	DTYPE_Q2_K,
	DTYPE_Q3_K,
	DTYPE_Q4_K,
	DTYPE_Q5_K,
	DTYPE_Q6_K,
	DTYPE_Q8_K,
	DTYPE_IQ2_XXS,
	DTYPE_IQ2_XS,
	DTYPE_IQ3_XXS,
	DTYPE_IQ1_S,
	DTYPE_IQ4_NL,
	DTYPE_IQ3_S,
	DTYPE_IQ2_S,
	DTYPE_IQ4_XS,
	DTYPE_IQ1_M,
	DTYPE_TQ1_0,
	DTYPE_TQ2_0,
	DTYPE_MXFP4,
	DTYPE_NVFP4,
	DTYPE_Q1_0,
	DTYPE_Q2_0,

	DTYPE_COUNT,
	DTYPE_SAFETENSORS_COUNT = DTYPE_U64 + 1,
};

struct dtype_info {
	const char *name; /* as the format spells it: "BF16", "Q4_K" */
	uint16_t bits;    /* of one element; 0 for quantised types: only their blocks have a size */
	uint16_t block_elements;
	uint16_t block_bytes;
};

extern const struct dtype_info dtype_infos[DTYPE_COUNT + 1];

/* Never NULL for a value of the enum; "?" for any other number. */
static inline const struct dtype_info *dtype_info(unsigned dtype)
{
	return &dtype_infos[dtype < DTYPE_COUNT ? dtype : DTYPE_COUNT];
}

/* The type that safetensors calls so, or -1. */
int dtype_find(struct bytes name);

/* By the name of any type, also of GGUF's; never NULL. */
const struct dtype_info *dtype_named(const char *name);

/* What the public API calls it (enum weir_dtype): WEIR_DTYPE_OTHER for quantised types. */
int dtype_public(unsigned dtype);

#endif
