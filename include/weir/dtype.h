/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/dtype.h - types of tensor elements
 */
#ifndef WEIR_DTYPE_H
#define WEIR_DTYPE_H

#include <stdint.h>

#include "weir/export.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_dtype {
	WEIR_DTYPE_OTHER = 0, /* a type that only its name tells: GGUF's block types */
	WEIR_DTYPE_BOOL,
	WEIR_DTYPE_F4,      /* 4 bits */
	WEIR_DTYPE_F6_E2M3, /* 6 bits */
	WEIR_DTYPE_F6_E3M2,
	WEIR_DTYPE_U8,
	WEIR_DTYPE_I8,
	WEIR_DTYPE_F8_E5M2,
	WEIR_DTYPE_F8_E4M3,
	WEIR_DTYPE_F8_E8M0,
	WEIR_DTYPE_F8_E4M3FNUZ,
	WEIR_DTYPE_F8_E5M2FNUZ,
	WEIR_DTYPE_I16,
	WEIR_DTYPE_U16,
	WEIR_DTYPE_F16,
	WEIR_DTYPE_BF16,
	WEIR_DTYPE_I32,
	WEIR_DTYPE_U32,
	WEIR_DTYPE_F32,
	WEIR_DTYPE_C64,
	WEIR_DTYPE_F64,
	WEIR_DTYPE_I64,
	WEIR_DTYPE_U64,
	WEIR_DTYPE_COUNT
};

/* As safetensors spells it; "?" for OTHER and for any other number. */
WEIR_API const char *weir_dtype_name(int dtype);

/* Bits of one element; 0 likewise. */
WEIR_API unsigned weir_dtype_bits(int dtype);

/* WEIR_DTYPE_OTHER where there is no such type. */
WEIR_API int weir_dtype_find(const char *name);

#ifdef __cplusplus
}
#endif
#endif
