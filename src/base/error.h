/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling in a struct weir_error.
 *
 * Every function here returns the code it was given, so a failing path reads
 *
 *	return error_at(err, WEIR_H_SIZE, path, offset, length, "%s: tensor '%s': ...", ...);
 *
 * and every one accepts err == NULL.  The message must name the object itself; untrusted text in it
 * goes through quote() (base/text.h).  errno is read by nobody here: it is an argument.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <assert.h>
#include <stdint.h>

#include "base/compiler.h"
#include "weir/error.h"

/* A failure about an object as a whole, or about none (object NULL). */
int error_set(struct weir_error *err, int code, const char *object, const char *format, ...)
	__attribute__((format(printf, 4, 5), cold));

/* A failure at a place in an object. */
int error_at(struct weir_error *err, int code, const char *object, uint64_t offset_bytes,
	     uint64_t length_bytes, const char *format, ...)
	__attribute__((format(printf, 6, 7), cold));

/*
 * A failed system call: the class follows from the number (see error_class), and ": " plus the
 * system's text is appended to the message.
 */
int error_sys(struct weir_error *err, int os_errno, const char *object, const char *format, ...)
	__attribute__((format(printf, 4, 5), cold));

/* Out of memory, while doing what is said: "model.safetensors: the tensor table". */
int error_nomem(struct weir_error *err, const char *object, const char *what) __attribute__((cold));

/*
 * A code of failure is negative.  Said where the caller is compiled, too: an analyser that reads one
 * file at a time would else follow paths on which a failed call returned 0.
 */
static inline int failure(int code)
{
	assert(code < 0);
	return code;
}
#define error_set(...)   failure(error_set(__VA_ARGS__))
#define error_at(...)    failure(error_at(__VA_ARGS__))
#define error_sys(...)   failure(error_sys(__VA_ARGS__))
#define error_nomem(...) failure(error_nomem(__VA_ARGS__))

/* The class of an errno: ENOENT is NOTFOUND, EDQUOT is NOSPACE, and what has none of its own is IO. */
int error_class(int os_errno);

#endif
