/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vendor's client library: where it is, whether it is theirs, and whether it can be loaded.
 *
 * It is looked for as its other users look for it: in HF3FS_LIB_DIR, then in each directory of
 * LD_LIBRARY_PATH; the exact name first, then those with something behind it, sorted.  Where a
 * Python package keeps it is not known here: HF3FS_LIB_DIR names that directory.
 *
 * Our drop-in has the same name and the same symbols.  It says by an ELF note that it is ours, and
 * is passed over: our client by way of a library would be no other client.  Notes are read from the
 * file, for loading runs what is inside.
 *
 * Rings are driven by way of it in usrbio_foreign.c.
 */
#ifndef SOURCE_USRBIO_VENDOR_H
#define SOURCE_USRBIO_VENDOR_H

#include <hf3fs_usrbio.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "weir/error.h"

#define VENDOR_PATH_MAX 4096

/* Above that hard limit of descriptors it is not loaded: it has a table with a place for each. */
#define VENDOR_DESCRIPTORS_MAX (UINT64_C(1) << 24)

struct usrbio_vendor_places {
	const char *directory;   /* HF3FS_LIB_DIR; NULL or empty: none */
	const char *directories; /* LD_LIBRARY_PATH, likewise */
};

struct usrbio_vendor {
	char path[VENDOR_PATH_MAX];
	const char *named_by; /* the variable that led there */
};

/*
 * WEIR_NOTFOUND where no file has that name.  Files that are not what they are named after are
 * passed over; where there are only such, the error is what is wrong with the first.
 */
must_use int usrbio_vendor_find(const struct sys *sys, const struct usrbio_vendor_places *places,
				struct usrbio_vendor *out, struct weir_error *err);

/* Is that file a shared library, and not ours?  Nothing of it is run. */
must_use int usrbio_vendor_look(const struct sys *sys, const char *path, struct weir_error *err);

/* Every function of the interface, by its name without "hf3fs_". */
#define VENDOR_FUNCTIONS(F)                                                                        \
	F(is_hf3fs)                                                                                \
	F(extract_mount_point)                                                                     \
	F(iovcreate)                                                                               \
	F(iovopen)                                                                                 \
	F(iovunlink)                                                                               \
	F(iovdestroy)                                                                              \
	F(iovwrap)                                                                                 \
	F(ior_size)                                                                                \
	F(iorcreate)                                                                               \
	F(iorcreate2)                                                                              \
	F(iorcreate3)                                                                              \
	F(iorcreate4)                                                                              \
	F(iordestroy)                                                                              \
	F(reg_fd)                                                                                  \
	F(dereg_fd)                                                                                \
	F(io_entries)                                                                              \
	F(prep_io)                                                                                 \
	F(submit_ios)                                                                              \
	F(wait_for_ios)                                                                            \
	F(hardlink)                                                                                \
	F(punchhole)

#define VENDOR_MEMBER(name) __typeof__(&hf3fs_##name) name;
struct usrbio_vendor_calls {
	VENDOR_FUNCTIONS(VENDOR_MEMBER)
};

/*
 * Loads it for the rest of the process's life, since it has threads, and takes every function of the
 * interface, or none.  WEIR_LIMIT where the hard limit of descriptors is above the one here.
 */
must_use int usrbio_vendor_load(const struct sys *sys, const struct usrbio_vendor *vendor,
				struct usrbio_vendor_calls *out, struct weir_error *err);

#endif
