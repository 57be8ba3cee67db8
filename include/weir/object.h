/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/object.h - something opened by URI: to read, to write, to list
 *
 * URIs are `file:///path`, a plain path, or `memory://name`.  An object is pinned to the version that
 * was opened (device, inode, size and times of a file): bytes of two versions never meet in one
 * extent, and a change is WEIR_CHANGED.
 *
 * Opening, describing and listing run on a helper thread, since a dead file server hangs them too:
 * they end by their time-out.  Any thread may call anything here.
 */
#ifndef WEIR_OBJECT_H
#define WEIR_OBJECT_H

#include <stddef.h>
#include <stdint.h>

#include "weir/context.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_object;

enum weir_direct {
	WEIR_DIRECT_AUTO = 0, /* past the page cache, except for what is cached already */
	WEIR_DIRECT_ON = 1,   /* always past the page cache; an error where that is impossible */
	WEIR_DIRECT_OFF = 2,  /* never */
};

enum weir_cache {
	WEIR_CACHE_LEAVE = 0, /* what is not in the page cache stays out of it */
	WEIR_CACHE_FILL = 1,  /* reads go through it: for restarts and several readers on a host */
};

enum weir_object_flags {
	WEIR_OBJECT_LIVE = 1u << 0,     /* written while it is read: never WEIR_CHANGED */
	WEIR_OBJECT_NOFOLLOW = 1u << 1, /* WEIR_DENIED where the last component is a link */
	WEIR_OBJECT_RINGS = 1u << 2, /* on a mount of 3FS by rings, or an error that says why not:
					 * never quietly as a file */
	WEIR_OBJECT_NO_CACHED = 1u << 3, /* weir_stat() leaves cached_bytes unknown: it would have
					 * to open the file, which a file server is asked for */
	WEIR_OBJECT_SPARSE = 1u << 4,    /* weir_object_create() reserves no room: what
					  * nobody writes stays a hole, where it can */
};

struct weir_object_opts {
	size_t size;
	int direct; /* enum weir_direct */
	int cache;  /* enum weir_cache */
	uint32_t flags;
	int64_t timeout_ns;         /* 0: 60 s; WEIR_FOREVER */
	struct weir_cancel *cancel; /* borrowed; NULL: none */
	uint32_t mode;              /* rights of a file that is made, less the umask; 0: 0666 */
};
#define WEIR_OBJECT_OPTS(...)                                                                      \
	(&(struct weir_object_opts){.size = sizeof(struct weir_object_opts), __VA_ARGS__})

/* Only regular files: a FIFO, a socket, a device or a directory is WEIR_ARG, without blocking. */
WEIR_API int weir_object_open(struct weir_ctx *ctx, const char *uri,
			      const struct weir_object_opts *opts, struct weir_object **out,
			      struct weir_error *err);

/* Objects are counted; plans hold a reference.  unref(NULL) is fine. */
WEIR_API struct weir_object *weir_object_ref(struct weir_object *object);
WEIR_API void weir_object_unref(struct weir_object *object);

/* As it was opened; borrowed until the last unref. */
WEIR_API const char *weir_object_uri(const struct weir_object *object);

/* Its size then; nobody is asked. */
WEIR_API uint64_t weir_object_size(const struct weir_object *object);

/* Whose it is: "file", "memory", or "3fs", also for a plain path on a mount that is read by rings. */
WEIR_API const char *weir_object_scheme(const struct weir_object *object);

/*
 * Does the URI by which it was opened still lead to it, as far as the kernel knows by itself?  1:
 * it does, and nothing is known of a change; 0: it does not, or a disk or a server would have to be
 * asked.  Never blocks.  What a server alone knows of a change is seen when the object is read
 * (WEIR_CHANGED, WEIR_TRUNCATED).
 */
WEIR_API int weir_object_in_place(const struct weir_object *object);

enum weir_kind {
	WEIR_KIND_FILE = 1,
	WEIR_KIND_DIRECTORY = 2,
	WEIR_KIND_OTHER = 3,
};

struct weir_stat {
	int kind; /* enum weir_kind */
	uint64_t size_bytes;
	int64_t modified_ns; /* since 1970 */
	uint32_t
		direct_align; /* file offsets of direct reads are multiples of it; 0: not possible */
	uint32_t memory_align; /* and so are their addresses of this */
	uint64_t cached_bytes; /* in the page cache, where the kernel tells; else UINT64_MAX */
	char version[96];      /* changes when the content does */
};

WEIR_API int weir_object_stat(struct weir_object *object, struct weir_stat *out,
			      struct weir_error *err);

/* The same without keeping it open; also of directories and of what cannot be opened. */
WEIR_API int weir_stat(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
		       struct weir_stat *out, struct weir_error *err);

/*
 * weir_object_read() - read a range, blocking
 *
 * Exactly length bytes arrive at `to`, or an error.  A convenience over a plan of one extent.
 */
WEIR_API int weir_object_read(struct weir_object *object, uint64_t offset, uint64_t length,
			      void *to, int64_t timeout_ns, struct weir_error *err);

/* ---- Listing ---- */

struct weir_listing;

struct weir_entry {
	const char *name; /* within the directory; borrowed until the next call on the listing */
	struct weir_stat stat;
};

/* What stands directly inside, sorted by name. */
WEIR_API int weir_list_open(struct weir_ctx *ctx, const char *uri,
			    const struct weir_object_opts *opts, struct weir_listing **out,
			    struct weir_error *err);
/* 1: *out is filled; 0: no more; negative: an error. */
WEIR_API int weir_list_next(struct weir_listing *listing, struct weir_entry *out,
			    struct weir_error *err);
WEIR_API void weir_list_close(struct weir_listing *listing);

/* ---- Writing ---- */

enum weir_durability {
	WEIR_DURABLE_NO = 0,   /* visible whole, or not at all */
	WEIR_DURABLE_DATA = 1, /* and survives a power cut once commit has returned */
};

/*
 * weir_object_create() - start writing an object
 *
 * The bytes go to a temporary name beside the final one (mode 0600 & ~umask until the commit gives it
 * that of the options & ~umask); the object appears under its name, whole, at the commit.
 * size_bytes is what it will hold.  Directories above are not made.  Write with weir_plan_write()
 * (weir/plan.h).
 */
WEIR_API int weir_object_create(struct weir_ctx *ctx, const char *uri, uint64_t size_bytes,
				const struct weir_object_opts *opts, struct weir_object **out,
				struct weir_error *err);

/*
 * Fills a new object with another's content without moving bytes through memory, where the two share
 * a file system that can (reflink, else copy_file_range).  WEIR_UNSUPPORTED: do it by hand.  The cancel
 * token (NULL: none) is looked at between pieces, so that nothing is written after the return.
 */
WEIR_API int weir_object_clone(struct weir_object *to, struct weir_object *from,
			       struct weir_cancel *cancel, struct weir_error *err);

/* Gives it its name, replacing what had it; transfers into it have finished before. */
WEIR_API int weir_object_commit(struct weir_object *object, int durability, struct weir_error *err);

/* Removes what was written.  The last unref of an object that was not committed does the same. */
WEIR_API int weir_object_abort(struct weir_object *object, struct weir_error *err);

WEIR_API int weir_mkdir(struct weir_ctx *ctx, const char *uri, struct weir_error *err);

#ifdef __cplusplus
}
#endif
#endif
