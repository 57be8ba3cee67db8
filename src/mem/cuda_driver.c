/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/cuda_driver.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/error.h"
#include "base/size.h"

#define LIBRARY "libcuda.so.1"

static void *real_open(const char *name)
{
	return dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

static const char *real_why(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): glibc has one answer per thread */
	return dlerror();
}

const struct cuda_loader cuda_loader_real = {real_open, dlsym, real_why};

static const struct cuda_symbol functions[] = {
#define CUDA_ENTRY(name, symbol, arguments) {symbol, offsetof(struct cuda_driver, name)},
	CUDA_FUNCTIONS(CUDA_ENTRY)
#undef CUDA_ENTRY
};

/* A function's address is data to the linker, and memcpy() minds that least. */
void cuda_put(void *table, size_t at, void *function)
{
	memcpy((char *)table + at, &function, sizeof(function));
}

const char *cuda_fill(const struct cuda_loader *loader, void *library,
		      const struct cuda_symbol *symbols, size_t count, void *table)
{
	for (size_t i = 0; i < count; i++) {
		void *function = loader->symbol(library, symbols[i].name);

		if (!function)
			return symbols[i].name;
		cuda_put(table, symbols[i].at, function);
	}
	return NULL;
}

bool cuda_driver_found(void)
{
	void *library = getauxval(AT_SECURE) ? NULL : dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);
	bool found = library;

	if (found)
		dlclose(library);
	return found;
}

bool cuda_driver_is_open(void)
{
	void *library = dlopen(LIBRARY, RTLD_LAZY | RTLD_NOLOAD);

	if (library)
		dlclose(library);
	return library != NULL;
}

int cuda_driver_load(const struct cuda_loader *loader, struct cuda_driver *out,
		     struct weir_error *err)
{
	const char *why, *missing;
	void *library;

	if (!loader && getauxval(AT_SECURE))
		return error_set(err, WEIR_UNSUPPORTED, NULL,
				 "CUDA: " LIBRARY " is not opened in a process with raised "
				 "privileges");
	loader = loader ? loader : &cuda_loader_real;
	library = loader->open(LIBRARY);
	if (!library) {
		why = loader->why ? loader->why() : NULL;
		return error_set(err, WEIR_UNSUPPORTED, NULL,
				 "CUDA is not there: %s; install the driver of the GPU, or load "
				 "into host memory",
				 why ? why : LIBRARY " cannot be opened");
	}
	missing = cuda_fill(loader, library, functions, array_size(functions), out);
	if (missing)
		return error_set(err, WEIR_UNSUPPORTED, NULL,
				 "CUDA: " LIBRARY " has no %s: the driver of the GPU is too old "
				 "(CUDA %d.%d is the oldest that is used)",
				 missing, CUDA_DRIVER_MIN / 1000, CUDA_DRIVER_MIN % 1000 / 10);
	return 0;
}
