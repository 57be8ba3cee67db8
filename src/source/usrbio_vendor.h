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
 * No ring is driven by way of it: doctor tells what is there, and reading is the native client's.
 */
#ifndef SOURCE_USRBIO_VENDOR_H
#define SOURCE_USRBIO_VENDOR_H

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

/*
 * Loads it for the rest of the process's life, since it has threads, and sees that it has every
 * function of the interface.  `descriptors` is the hard limit of RLIMIT_NOFILE: above the one here,
 * WEIR_LIMIT.
 */
must_use int usrbio_vendor_load(const struct usrbio_vendor *vendor, uint64_t descriptors,
				struct weir_error *err);

#endif
