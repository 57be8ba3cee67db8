/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuFile (GPUDirect Storage) as a table of functions: storage that writes to a device's memory by itself.
 *
 * libcufile comes with CUDA and is opened at run time, by fixed names; nothing of it is needed to build, so
 * the few types and numbers that we use are declared here, as the library's binary interface has had them
 * since its version 1.0.  A library that is opened is never closed: it has threads of its own.
 *
 * What the library says of itself may be less than it sounds: where the kernel's half (nvidia-fs) is not
 * loaded, or a file system is none of those it knows, it reads into memory of the host and copies,
 * and calls that its compatibility mode.  cufile_is_direct() and cufile_serves() tell that apart.
 *
 * Its calls block, and cannot be called back; who makes them, and when, is the engine's (engine/canal.h).
 */
#ifndef MEM_CUFILE_H
#define MEM_CUFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "weir/error.h"

/* ---- Types ---- */

typedef void *cufile_handle; /* a file, registered */

/* What calls answer: a status of its own, and the CUDA driver's where that is what failed. */
struct cufile_status {
	int code; /* enum cufile_code */
	int cuda; /* enum cu_result */
};

enum cufile_code {
	CUFILE_OK = 0,
	CUFILE_BASE = 5000, /* the others are above */
	CUFILE_NOT_INITIALIZED = 5001,
	CUFILE_VERSION_MISMATCH = 5004,
	CUFILE_CLOSING = 5006,
	CUFILE_PLATFORM = 5007,
	CUFILE_FILE_NOT_SUPPORTED = 5008,
	CUFILE_DEVICE_NOT_SUPPORTED = 5009,
	CUFILE_KERNEL = 5010,
	CUFILE_CUDA = 5011,
	CUFILE_OPEN_FLAGS = 5019,
	CUFILE_INVALID = 5022,
	CUFILE_PERMISSION = 5025,
	CUFILE_ALREADY_OPEN = 5026,
	CUFILE_ALREADY_REGISTERED = 5028,
	CUFILE_INTERNAL = 5030,
	CUFILE_SETUP = 5033,
	CUFILE_DISABLED = 5034,
	CUFILE_PINNING = 5036,
};

#define CUFILE_DESCRIPTOR 1 /* the kind of file that we name: a descriptor */

struct cufile_file {
	int kind;
	union {
		int fd;
		void *pointer;
	} of;
	const void *operations; /* of file systems in user space; NULL */
};
_Static_assert(sizeof(struct cufile_file) == 3 * sizeof(void *), "as libcufile has it");
_Static_assert(offsetof(struct cufile_file, of) == sizeof(void *), "as libcufile has it");

struct cufile_properties {
	unsigned kernel_major, kernel_minor; /* of nvidia-fs; 0.0: it is not loaded */
	size_t poll_kib, direct_kib;
	unsigned status;  /* which storage it serves: a bit for each enum cufile_storage */
	unsigned control; /* CUFILE_CONTROL_COMPAT */
	unsigned features;
	unsigned device_cache_kib, buffer_cache_kib, pinned_kib;
	unsigned batch_most, batch_timeout_ms;
	unsigned char later[200]; /* room for what newer libraries may fill */
};
_Static_assert(offsetof(struct cufile_properties, status) == 24, "as libcufile has it");
_Static_assert(offsetof(struct cufile_properties, later) == 56, "as libcufile has it");

#define CUFILE_CONTROL_COMPAT (1u << 1) /* its compatibility mode is allowed */

enum cufile_storage {
	CUFILE_LUSTRE = 0,
	CUFILE_NFS = 2,
	CUFILE_GPFS = 3,
	CUFILE_NVME = 4, /* from here on: under a local file system */
	CUFILE_NVME_FABRIC = 5,
	CUFILE_SCSI = 6,
	CUFILE_SCALEFLUX = 7,
	CUFILE_NVMESH = 8,
	CUFILE_BEEGFS = 9,
	CUFILE_NVME_PEER = 11, /* by the kernel's own peer-to-peer, without nvidia-fs */
};

/* ---- The table ---- */

/* Each function with its answer and the name of its symbol. */
#define CUFILE_FUNCTIONS(X)                                                                        \
	X(struct cufile_status, driver_open, "cuFileDriverOpen", (void))                           \
	X(struct cufile_status, driver_close, "cuFileDriverClose", (void))                         \
	X(struct cufile_status, driver_properties, "cuFileDriverGetProperties",                    \
	  (struct cufile_properties * out))                                                        \
	X(struct cufile_status, file_register, "cuFileHandleRegister",                             \
	  (cufile_handle * out, struct cufile_file * file))                                        \
	X(void, file_deregister, "cuFileHandleDeregister", (cufile_handle file))                   \
	X(ssize_t, read, "cuFileRead",                                                             \
	  (cufile_handle file, void *device_base, size_t bytes, off_t file_offset,                 \
	   off_t device_offset))

struct cufile_driver {
#define CUFILE_FIELD(answer, name, symbol, arguments) answer(*name) arguments;
	CUFILE_FUNCTIONS(CUFILE_FIELD)
#undef CUFILE_FIELD
	struct cufile_status (*version)(int *out); /* NULL in old libraries */
};

struct cuda_loader;

/*
 * Fills the table.  loader NULL: the dynamic linker, and not at all in a process with raised privileges.
 * WEIR_UNSUPPORTED, with what to do about it.
 */
must_use int cufile_load(const struct cuda_loader *loader, struct cufile_driver *out,
			 struct weir_error *err);

/* ---- As a context uses it ---- */

struct cufile {
	struct cufile_driver driver; /* a copy */
	bool opened; /* by us; else somebody else in the process did, and closes it */
	int version; /* 1140 is 1.14; 0: it does not say */
	struct cufile_properties properties;
};

/*
 * Opens the driver, which may take long; in the context of a device.  table NULL: the real one.
 * WEIR_UNSUPPORTED where there is none to be used.
 */
must_use int cufile_open(const struct cufile_driver *table, struct cufile *out,
			 struct weir_error *err);
void cufile_close(struct cufile *cufile);

/* Is the kernel's half loaded?  Opens no library, which would write a log where the program stands. */
bool cufile_kernel_found(const struct sys *sys);

/* Does storage write to devices at all, and under that file system (f_type of statfs)? */
bool cufile_is_direct(const struct cufile *cufile);
bool cufile_serves(const struct cufile *cufile, int64_t file_system);

#define CUFILE_TEXT_MAX 96
/* "cuFile error 5010: the kernel module nvidia-fs failed"; of a negative answer of read, too. */
const char *cufile_text(int code, char to[CUFILE_TEXT_MAX]);

#endif
