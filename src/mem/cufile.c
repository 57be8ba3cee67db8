/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/cufile.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/error.h"
#include "base/size.h"
#include "mem/cuda_driver.h"

#define KERNEL_SAYS "/proc/driver/nvidia-fs/version"

/* ---- The library ---- */

static const struct cuda_symbol functions[] = {
#define CUFILE_ENTRY(answer, name, symbol, arguments)                                              \
	{symbol, offsetof(struct cufile_driver, name)},
	CUFILE_FUNCTIONS(CUFILE_ENTRY)
#undef CUFILE_ENTRY
};

int cufile_load(const struct cuda_loader *loader, struct cufile_driver *out, struct weir_error *err)
{
	const char *why, *missing;
	void *library, *better;

	if (!loader && getauxval(AT_SECURE))
		return error_set(err, WEIR_UNSUPPORTED, NULL,
				 "cuFile: its library is not opened in a process with raised "
				 "privileges");
	loader = loader ? loader : &cuda_loader_real;
	library = loader->open("libcufile.so.0");
	if (!library)
		library = loader->open("libcufile.so");
	if (!library) {
		why = loader->why ? loader->why() : NULL;
		return error_set(err, WEIR_UNSUPPORTED, NULL, "cuFile is not there: %s",
				 why ? why : "libcufile.so.0 cannot be opened");
	}
	missing = cuda_fill(loader, library, functions, array_size(functions), out);
	if (missing)
		return error_set(err, WEIR_UNSUPPORTED, NULL,
				 "cuFile: the library has no %s: it is none, or too old", missing);
	/* The later of two that close: it counts who opened. */
	better = loader->symbol(library, "cuFileDriverClose_v2");
	if (better)
		cuda_put(out, offsetof(struct cufile_driver, driver_close), better);
	cuda_put(out, offsetof(struct cufile_driver, version),
		 loader->symbol(library, "cuFileGetVersion"));
	return 0;
}

/* ---- Failures ---- */

static const struct {
	int code;
	const char *text;
} texts[] = {
	{CUFILE_NOT_INITIALIZED, "the kernel module nvidia-fs is not loaded"},
	{CUFILE_VERSION_MISMATCH, "the kernel module nvidia-fs is of another version"},
	{CUFILE_CLOSING, "it is being closed"},
	{CUFILE_PLATFORM, "not on this platform"},
	{CUFILE_FILE_NOT_SUPPORTED, "not with this file"},
	{CUFILE_DEVICE_NOT_SUPPORTED, "not with this device"},
	{CUFILE_KERNEL, "the kernel module nvidia-fs failed"},
	{CUFILE_CUDA, "the CUDA driver failed"},
	{CUFILE_OPEN_FLAGS, "the file was not opened for direct I/O"},
	{CUFILE_INVALID, "invalid arguments"},
	{CUFILE_PERMISSION, "no permission"},
	{CUFILE_ALREADY_REGISTERED, "the file is registered already"},
	{CUFILE_INTERNAL, "internal error"},
	{CUFILE_SETUP, "it could not be set up; its log says more"},
	{CUFILE_DISABLED, "disabled for this file by its configuration"},
	{CUFILE_PINNING, "device memory could not be pinned"},
};

const char *cufile_text(int code, char to[CUFILE_TEXT_MAX])
{
	const char *text = NULL;

	code = abs(code);
	for (size_t i = 0; i < array_size(texts); i++)
		if (texts[i].code == code)
			text = texts[i].text;
	if (code == 1)
		snprintf(to, CUFILE_TEXT_MAX, "cuFile: an error of the file system");
	else
		snprintf(to, CUFILE_TEXT_MAX, "cuFile error %d%s%s", code, text ? ": " : "",
			 text ? text : "");
	return to;
}

static int failed(struct cufile_status status, const char *what, struct weir_error *err)
{
	char text[CUFILE_TEXT_MAX];

	return error_set(err, WEIR_UNSUPPORTED, NULL, "%s: %s%s", what,
			 cufile_text(status.code, text),
			 status.code == CUFILE_CUDA ? ", see the driver of the GPU" : "");
}

/* ---- The driver ---- */

bool cufile_kernel_found(const struct sys *sys)
{
	int fd = sys->openat(AT_FDCWD, KERNEL_SAYS, O_RDONLY | O_CLOEXEC, 0);

	if (fd >= 0)
		sys->close(fd);
	return fd >= 0;
}

int cufile_open(const struct cufile_driver *table, struct cufile *out, struct weir_error *err)
{
	struct cufile_status status;
	int ret;

	*out = (struct cufile){.version = 0};
	if (table) {
		out->driver = *table;
	} else if ((ret = cufile_load(NULL, &out->driver, err)) < 0) {
		return ret;
	}
	status = out->driver.driver_open();
	if (status.code != CUFILE_OK && status.code != CUFILE_ALREADY_OPEN)
		return failed(status, "cuFile does not start", err);
	out->opened = status.code == CUFILE_OK;
	if (out->driver.version && out->driver.version(&out->version).code != CUFILE_OK)
		out->version = 0;
	status = out->driver.driver_properties(&out->properties);
	if (status.code == CUFILE_OK)
		return 0;
	cufile_close(out);
	return failed(status, "cuFile does not say what it can do", err);
}

void cufile_close(struct cufile *cufile)
{
	if (cufile->opened)
		cufile->driver.driver_close();
	cufile->opened = false;
}

bool cufile_is_direct(const struct cufile *cufile)
{
	const struct cufile_properties *says = &cufile->properties;

	return says->kernel_major || says->kernel_minor || says->status & (1u << CUFILE_NVME_PEER);
}

#define LOCAL                                                                                      \
	(1u << CUFILE_NVME | 1u << CUFILE_NVME_FABRIC | 1u << CUFILE_SCSI |                        \
	 1u << CUFILE_SCALEFLUX | 1u << CUFILE_NVMESH | 1u << CUFILE_NVME_PEER)

static const struct {
	int64_t file_system; /* as statfs(2) has it */
	unsigned storage;
} served[] = {
	{0xEF53, LOCAL},     /* ext4 */
	{0x58465342, LOCAL}, /* XFS */
	{0x0BD00BD0, 1u << CUFILE_LUSTRE},
	{0x6969, 1u << CUFILE_NFS},
	{0x47504653, 1u << CUFILE_GPFS},
	{0x19830326, 1u << CUFILE_BEEGFS},
};

bool cufile_serves(const struct cufile *cufile, int64_t file_system)
{
	if (!cufile_is_direct(cufile))
		return false;
	for (size_t i = 0; i < array_size(served); i++)
		if (served[i].file_system == file_system)
			return cufile->properties.status & served[i].storage;
	return false;
}
