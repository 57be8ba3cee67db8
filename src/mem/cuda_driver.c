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

static const struct cuda_loader real_loader = {real_open, dlsym, real_why};

static const struct {
	const char *symbol;
	size_t at; /* in the table */
} functions[] = {
#define CUDA_ENTRY(name, symbol, arguments) {symbol, offsetof(struct cuda_driver, name)},
	CUDA_FUNCTIONS(CUDA_ENTRY)
#undef CUDA_ENTRY
};

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
	const char *why;
	void *library;

	if (!loader && getauxval(AT_SECURE))
		return error_set(err, WEIR_UNSUPPORTED, NULL,
				 "CUDA: " LIBRARY " is not opened in a process with raised "
				 "privileges");
	loader = loader ? loader : &real_loader;
	library = loader->open(LIBRARY);
	if (!library) {
		why = loader->why ? loader->why() : NULL;
		return error_set(err, WEIR_UNSUPPORTED, NULL,
				 "CUDA is not there: %s; install the driver of the GPU, or load "
				 "into host memory",
				 why ? why : LIBRARY " cannot be opened");
	}
	for (size_t i = 0; i < array_size(functions); i++) {
		void *function = loader->symbol(library, functions[i].symbol);

		if (!function)
			return error_set(err, WEIR_UNSUPPORTED, NULL,
					 "CUDA: " LIBRARY " has no %s: the driver of the GPU is "
					 "too old (CUDA %d.%d is the oldest that is used)",
					 functions[i].symbol, CUDA_DRIVER_MIN / 1000,
					 CUDA_DRIVER_MIN % 1000 / 10);
		/* A function's address is data to the linker, and memcpy() minds that least. */
		memcpy((char *)out + functions[i].at, &function, sizeof(function));
	}
	return 0;
}
