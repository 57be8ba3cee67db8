/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/error.h - how a call says what went wrong
 *
 * A function that can fail returns 0 or a negative code of enum weir_code, and takes a
 * struct weir_error last (NULL is fine).  The deepest place that knows the reason fills it, once;
 * nobody above rewrites it.  The code tells a program what kind of failure it was, the message tells
 * a person, and the fields tell both where.
 */
#ifndef WEIR_ERROR_H
#define WEIR_ERROR_H

#include <stdint.h>

#include "weir/export.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_code {
	WEIR_OK = 0,

	/* General. */
	WEIR_ARG = -1,          /* misuse by the caller */
	WEIR_NOMEM = -2,        /* no memory */
	WEIR_IO = -3,           /* system error, errno in os_errno */
	WEIR_NOSPACE = -4,      /* disk, quota or file-size limit */
	WEIR_NOTFOUND = -5,     /* no such object */
	WEIR_DENIED = -6,       /* no right to it */
	WEIR_LIMIT = -7,        /* one of weir's own caps */
	WEIR_TIMEOUT = -8,      /* deadline passed, or no progress for the transfer's limit */
	WEIR_CANCELLED = -9,    /* the caller asked */
	WEIR_CLOSED = -10,      /* handle closed, or used in a forked child */
	WEIR_UNSUPPORTED = -11, /* not possible here */
	WEIR_TRUNCATED = -12,   /* the source ends early */
	WEIR_CHANGED = -13,     /* the source is no longer the version that was opened */
	WEIR_INTEGRITY = -14,   /* a checksum differs */
	WEIR_PROTO = -15,       /* the peer broke its protocol */
	WEIR_TLS = -16,         /* certificate or TLS failure */
	WEIR_REDIRECT = -17,    /* a redirect that is not followed */
	WEIR_AUTH = -18,        /* credentials missing or refused */
	WEIR_THROTTLED = -19,   /* the server asks for less */
	WEIR_PEER_GONE = -20,   /* daemon or client died */
	WEIR_CONFLICT = -21,    /* lost a race for a name */
	WEIR_LENT = -22,        /* not a failure: memory may still be written (finish only) */

	/* Headers of safetensors files and shard indexes. */
	WEIR_H_SHORT = -40,    /* shorter than the size prefix */
	WEIR_H_LEN = -41,      /* the size prefix reaches past the end of the file */
	WEIR_H_LIMIT = -42,    /* the size prefix is above the cap */
	WEIR_H_UTF8 = -43,     /* not UTF-8 */
	WEIR_H_JSON = -44,     /* not JSON */
	WEIR_H_DUP = -45,      /* a key repeats */
	WEIR_H_SCHEMA = -46,   /* a member is missing, unknown or of the wrong type */
	WEIR_H_NAME = -47,     /* a name that is not allowed */
	WEIR_H_DTYPE = -48,    /* unknown data type */
	WEIR_H_SHAPE = -49,    /* not a shape */
	WEIR_H_OVERFLOW = -50, /* the size of a tensor overflows */
	WEIR_H_SUBBYTE = -51,  /* a tensor of sub-byte elements does not fill whole bytes */
	WEIR_H_OFFSET = -52,   /* a hole, an overlap, or an end before its begin */
	WEIR_H_SIZE = -53,     /* offsets and shape disagree */
	WEIR_H_COVER = -54,    /* the tensors do not cover the file exactly */

	/* Headers of GGUF files. */
	WEIR_G_MAGIC = -60,
	WEIR_G_VERSION = -61,
	WEIR_G_COUNT = -62,
	WEIR_G_STRING = -63,
	WEIR_G_TYPE = -64,
	WEIR_G_DUP = -65,
	WEIR_G_ALIGN = -66,
	WEIR_G_DIMS = -67,
	WEIR_G_OVERFLOW = -68,
	WEIR_G_BLOCK = -69,
	WEIR_G_OFFSET = -70,
	WEIR_G_SHORT = -71,
};

#define WEIR_NO_OFFSET UINT64_MAX

/* One failure.  Plain memory: copy it, keep it, no need to free it. */
struct weir_error {
	int code;              /* enum weir_code */
	int os_errno;          /* errno, or 0 */
	uint64_t offset_bytes; /* where in the object, or WEIR_NO_OFFSET */
	uint64_t length_bytes; /* how much was asked for there; 0: not about a range */
	char object[256];      /* its URI or path; cut at the front with "..." where longer */
	char request_id[64];   /* what a server calls the request, or "" */
	char message[512];     /* one line for people; names the object itself */
};

#define WEIR_ERROR_INIT                                                                            \
	{                                                                                          \
		0, 0, WEIR_NO_OFFSET, 0, "", "", ""                                                \
	}

/* The class as the documentation spells it: "H_DUP", "TIMEOUT"; "UNKNOWN" for any other number. */
WEIR_API const char *weir_code_name(int code);

/* What the class means, in a few words; never NULL. */
WEIR_API const char *weir_code_text(int code);

#ifdef __cplusplus
}
#endif
#endif
