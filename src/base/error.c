/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	int code;
	const char *name, *text;
} classes[] = {
	{WEIR_OK, "OK", "no error"},
	{WEIR_ARG, "ARG", "an argument is not valid"},
	{WEIR_NOMEM, "NOMEM", "out of memory"},
	{WEIR_IO, "IO", "a system call failed"},
	{WEIR_NOSPACE, "NOSPACE", "no space left"},
	{WEIR_NOTFOUND, "NOTFOUND", "no such object"},
	{WEIR_DENIED, "DENIED", "access denied"},
	{WEIR_LIMIT, "LIMIT", "above a limit of weir"},
	{WEIR_TIMEOUT, "TIMEOUT", "not done in time"},
	{WEIR_CANCELLED, "CANCELLED", "cancelled"},
	{WEIR_CLOSED, "CLOSED", "the handle is closed, or belongs to another process"},
	{WEIR_UNSUPPORTED, "UNSUPPORTED", "not supported here"},
	{WEIR_TRUNCATED, "TRUNCATED", "the source ends early"},
	{WEIR_CHANGED, "CHANGED", "the source changed while it was read"},
	{WEIR_INTEGRITY, "INTEGRITY", "a checksum differs"},
	{WEIR_PROTO, "PROTO", "the peer broke its protocol"},
	{WEIR_TLS, "TLS", "TLS failed"},
	{WEIR_REDIRECT, "REDIRECT", "a redirect that is not followed"},
	{WEIR_AUTH, "AUTH", "credentials are missing or refused"},
	{WEIR_THROTTLED, "THROTTLED", "the server asks to slow down"},
	{WEIR_PEER_GONE, "PEER_GONE", "the other side is gone"},
	{WEIR_CONFLICT, "CONFLICT", "the name is taken"},
	{WEIR_LENT, "LENT", "memory may still be written"},
	{WEIR_H_SHORT, "H_SHORT", "shorter than its size prefix"},
	{WEIR_H_LEN, "H_LEN", "the header reaches past the end of the file"},
	{WEIR_H_LIMIT, "H_LIMIT", "the header is above the limit"},
	{WEIR_H_UTF8, "H_UTF8", "the header is not UTF-8"},
	{WEIR_H_JSON, "H_JSON", "the header is not JSON"},
	{WEIR_H_DUP, "H_DUP", "a key stands twice"},
	{WEIR_H_SCHEMA, "H_SCHEMA", "a member is missing, unknown or of the wrong type"},
	{WEIR_H_NAME, "H_NAME", "a name is not allowed"},
	{WEIR_H_DTYPE, "H_DTYPE", "unknown data type"},
	{WEIR_H_SHAPE, "H_SHAPE", "not a shape"},
	{WEIR_H_OVERFLOW, "H_OVERFLOW", "the size of a tensor overflows"},
	{WEIR_H_SUBBYTE, "H_SUBBYTE", "sub-byte elements do not fill whole bytes"},
	{WEIR_H_OFFSET, "H_OFFSET", "tensors leave a hole, overlap, or end before they begin"},
	{WEIR_H_SIZE, "H_SIZE", "offsets and shape disagree"},
	{WEIR_H_COVER, "H_COVER", "the tensors do not cover the file exactly"},
	{WEIR_G_MAGIC, "G_MAGIC", "not a GGUF file"},
	{WEIR_G_VERSION, "G_VERSION", "unknown GGUF version"},
	{WEIR_G_COUNT, "G_COUNT", "a count exceeds the file"},
	{WEIR_G_STRING, "G_STRING", "a string is not valid"},
	{WEIR_G_TYPE, "G_TYPE", "unknown type"},
	{WEIR_G_DUP, "G_DUP", "a name stands twice"},
	{WEIR_G_ALIGN, "G_ALIGN", "the alignment is not valid"},
	{WEIR_G_DIMS, "G_DIMS", "the dimensions are not valid"},
	{WEIR_G_OVERFLOW, "G_OVERFLOW", "a size overflows"},
	{WEIR_G_BLOCK, "G_BLOCK", "a row does not fill whole blocks"},
	{WEIR_G_OFFSET, "G_OFFSET", "a tensor lies where it may not"},
	{WEIR_G_SHORT, "G_SHORT", "the file ends early"},
};

static const char *class_field(int code, int want_text)
{
	for (size_t i = 0; i < array_size(classes); i++)
		if (classes[i].code == code)
			return want_text ? classes[i].text : classes[i].name;
	return want_text ? "an unknown error" : "UNKNOWN";
}

const char *weir_code_name(int code)
{
	return class_field(code, 0);
}

const char *weir_code_text(int code)
{
	return class_field(code, 1);
}

int error_class(int os_errno)
{
	switch (os_errno) {
	case ENOMEM:
		return WEIR_NOMEM;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return WEIR_NOSPACE;
	case ENOENT:
	case ENOTDIR:
		return WEIR_NOTFOUND;
	case EACCES:
	case EPERM:
	case EROFS:
		return WEIR_DENIED;
	case ELOOP:
	case ENAMETOOLONG:
	case EISDIR:
	case EINVAL:
		return WEIR_ARG;
	case EEXIST:
		return WEIR_CONFLICT;
	case ESTALE:
		return WEIR_CHANGED;
	case EPROTO:
		return WEIR_PROTO;
	case ENOTCONN:
	case ECONNABORTED:
		return WEIR_PEER_GONE;
	case ECANCELED:
		return WEIR_CANCELLED;
	case ENOSYS:
	case EOPNOTSUPP:
		return WEIR_UNSUPPORTED;
	default:
		return WEIR_IO;
	}
}

/* The end of a long path tells more than its beginning. */
static void copy_object(char *to, size_t size, const char *object)
{
	size_t len = object ? strlen(object) : 0;

	if (len < size) {
		memcpy(to, object ? object : "", len + 1);
		return;
	}
	memcpy(to, "...", 3);
	memcpy(to + 3, object + len - (size - 4), size - 3);
}

static void fill(struct weir_error *err, int code, int os_errno, const char *object)
{
	err->code = code;
	err->os_errno = os_errno;
	err->offset_bytes = WEIR_NO_OFFSET;
	err->length_bytes = 0;
	err->request_id[0] = '\0';
	copy_object(err->object, sizeof(err->object), object);
}

int(error_set)(struct weir_error *err, int code, const char *object, const char *format, ...)
{
	va_list args;

	if (!err)
		return code;
	fill(err, code, 0, object);
	va_start(args, format);
	vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
	return code;
}

int(error_at)(struct weir_error *err, int code, const char *object, uint64_t offset_bytes,
	      uint64_t length_bytes, const char *format, ...)
{
	va_list args;

	if (!err)
		return code;
	fill(err, code, 0, object);
	err->offset_bytes = offset_bytes;
	err->length_bytes = length_bytes;
	va_start(args, format);
	vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
	return code;
}

int(error_sys)(struct weir_error *err, int os_errno, const char *object, const char *format, ...)
{
	int code = error_class(os_errno);
	va_list args;
	size_t len;

	if (!err)
		return code;
	fill(err, code, os_errno, object);
	va_start(args, format);
	vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
	len = strlen(err->message);
	snprintf(err->message + len, sizeof(err->message) - len, ": %s", strerrordesc_np(os_errno));
	return code;
}

int(error_nomem)(struct weir_error *err, const char *object, const char *what)
{
	return error_set(err, WEIR_NOMEM, object, "%s%s%s: out of memory", object ? object : "",
			 object ? ": " : "", what);
}
