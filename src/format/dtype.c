/* SPDX-License-Identifier: Apache-2.0 */
#include "format/dtype.h"

#include "weir/dtype.h"

const struct dtype_info dtype_infos[DTYPE_COUNT + 1] = {
	[DTYPE_BOOL] = {"BOOL", 8, 1, 1},
	[DTYPE_F4] = {"F4", 4, 2, 1},
	[DTYPE_F6_E2M3] = {"F6_E2M3", 6, 4, 3},
	[DTYPE_F6_E3M2] = {"F6_E3M2", 6, 4, 3},
	[DTYPE_U8] = {"U8", 8, 1, 1},
	[DTYPE_I8] = {"I8", 8, 1, 1},
	[DTYPE_F8_E5M2] = {"F8_E5M2", 8, 1, 1},
	[DTYPE_F8_E4M3] = {"F8_E4M3", 8, 1, 1},
	[DTYPE_F8_E8M0] = {"F8_E8M0", 8, 1, 1},
	[DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8, 1, 1},
	[DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8, 1, 1},
	[DTYPE_I16] = {"I16", 16, 1, 2},
	[DTYPE_U16] = {"U16", 16, 1, 2},
	[DTYPE_F16] = {"F16", 16, 1, 2},
	[DTYPE_BF16] = {"BF16", 16, 1, 2},
	[DTYPE_I32] = {"I32", 32, 1, 4},
	[DTYPE_U32] = {"U32", 32, 1, 4},
	[DTYPE_F32] = {"F32", 32, 1, 4},
	[DTYPE_C64] = {"C64", 64, 1, 8},
	[DTYPE_F64] = {"F64", 64, 1, 8},
	[DTYPE_I64] = {"I64", 64, 1, 8},
	[DTYPE_U64] = {"U64", 64, 1, 8},

	[DTYPE_Q4_0] = {"Q4_0", 0, 32, 18},
	[DTYPE_Q4_1] = {"Q4_1", 0, 32, 20},
	[DTYPE_Q5_0] = {"Q5_0", 0, 32, 22},
	[DTYPE_Q5_1] = {"Q5_1", 0, 32, 24},
	[DTYPE_Q8_0] = {"Q8_0", 0, 32, 34},
	[DTYPE_Q8_1] = {"Q8_1", 0, 32, 36},
	[DTYPE_Q2_K] = {"Q2_K", 0, 256, 84},
	[DTYPE_Q3_K] = {"Q3_K", 0, 256, 110},
	[DTYPE_Q4_K] = {"Q4_K", 0, 256, 144},
	[DTYPE_Q5_K] = {"Q5_K", 0, 256, 176},
	[DTYPE_Q6_K] = {"Q6_K", 0, 256, 210},
	[DTYPE_Q8_K] = {"Q8_K", 0, 256, 292},
	[DTYPE_IQ2_XXS] = {"IQ2_XXS", 0, 256, 66},
	[DTYPE_IQ2_XS] = {"IQ2_XS", 0, 256, 74},
	[DTYPE_IQ3_XXS] = {"IQ3_XXS", 0, 256, 98},
	[DTYPE_IQ1_S] = {"IQ1_S", 0, 256, 50},
	[DTYPE_IQ4_NL] = {"IQ4_NL", 0, 32, 18},
	[DTYPE_IQ3_S] = {"IQ3_S", 0, 256, 110},
	[DTYPE_IQ2_S] = {"IQ2_S", 0, 256, 82},
	[DTYPE_IQ4_XS] = {"IQ4_XS", 0, 256, 136},
	[DTYPE_IQ1_M] = {"IQ1_M", 0, 256, 56},
	[DTYPE_TQ1_0] = {"TQ1_0", 0, 256, 54},
	[DTYPE_TQ2_0] = {"TQ2_0", 0, 256, 66},
	[DTYPE_MXFP4] = {"MXFP4", 0, 32, 17},
	[DTYPE_NVFP4] = {"NVFP4", 0, 64, 36},
	[DTYPE_Q1_0] = {"Q1_0", 0, 128, 18},
	[DTYPE_Q2_0] = {"Q2_0", 0, 64, 18},

	[DTYPE_COUNT] = {"?", 0, 1, 0},
};

int dtype_find(struct bytes name)
{
	/* The first character tells most of them apart. */
	for (int i = 0; name.len && i < DTYPE_SAFETENSORS_COUNT; i++)
		if (dtype_infos[i].name[0] == name.at[0] &&
		    name.len == strlen(dtype_infos[i].name) &&
		    memcmp(name.at, dtype_infos[i].name, name.len) == 0)
			return i;
	return -1;
}

const struct dtype_info *dtype_named(const char *name)
{
	unsigned i = 0;

	while (i < DTYPE_COUNT && strcmp(dtype_infos[i].name, name) != 0)
		i++;
	return &dtype_infos[i];
}

/* The public numbers are ours plus one: 0 is what only a name tells. */
_Static_assert(WEIR_DTYPE_BOOL == DTYPE_BOOL + 1 && WEIR_DTYPE_F4 == DTYPE_F4 + 1 &&
		       WEIR_DTYPE_BF16 == DTYPE_BF16 + 1 && WEIR_DTYPE_U64 == DTYPE_U64 + 1 &&
		       WEIR_DTYPE_COUNT == DTYPE_SAFETENSORS_COUNT + 1,
	       "two lists of types that no longer agree");

int dtype_public(unsigned dtype)
{
	return dtype < DTYPE_SAFETENSORS_COUNT ? (int)dtype + 1 : WEIR_DTYPE_OTHER;
}

static const struct dtype_info *public_info(int dtype)
{
	bool known = dtype > WEIR_DTYPE_OTHER && dtype < WEIR_DTYPE_COUNT;

	return &dtype_infos[known ? dtype - 1 : DTYPE_COUNT];
}

const char *weir_dtype_name(int dtype)
{
	return public_info(dtype)->name;
}

unsigned weir_dtype_bits(int dtype)
{
	return public_info(dtype)->bits;
}

int weir_dtype_find(const char *name)
{
	return dtype_find((struct bytes){name, strlen(name)}) + 1;
}
