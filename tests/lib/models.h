/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small models on disk, put together by hand: what a header says is exactly what a test wrote.
 *
 *	st_begin();
 *	st_tensor("a", "F32", "[2, 3]", 24);
 *	st_save("one.safetensors");
 *
 * Every case has a folder of its own, which goes when the case ends.  The data of a file are the
 * pattern (lib/pattern.h) of its name, counted from the start of the file.
 */
#ifndef TESTS_LIB_MODELS_H
#define TESTS_LIB_MODELS_H

#include <stddef.h>
#include <stdint.h>

/* The case's folder, and a path in it; paths are never freed. */
const char *folder(void);
const char *in_folder(const char *name);

void write_file(const char *name, const void *bytes, size_t len);
void write_text(const char *name, const char *text);

/* ---- safetensors ---- */

void st_begin(void);
/* shape: as JSON has it.  Data follow one another. */
void st_tensor(const char *name, const char *dtype, const char *shape, uint64_t bytes);
void st_save(const char *name);

/* Just one tensor of 4 F32. */
void st_one(const char *name, const char *tensor);

/* ---- GGUF ---- */

void gguf_begin(void);
void gguf_u16(const char *key, uint16_t value);
void gguf_u32(const char *key, uint32_t value);
void gguf_text(const char *key, const char *value);
/* A vector of F32. */
void gguf_vector(const char *name, uint64_t count);
void gguf_save(const char *name);

/* The seed of a file's pattern. */
uint64_t name_seed(const char *name);

#endif
