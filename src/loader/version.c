/* SPDX-License-Identifier: Apache-2.0 */
#include <xxhash.h>

#include "mem/cuda_driver.h"
#include "weir/weir.h"

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

const char *weir_version(void)
{
	return TEXT(WEIR_VERSION_MAJOR) "." TEXT(WEIR_VERSION_MINOR) "." TEXT(WEIR_VERSION_PATCH);
}

#define BUILT_WITH                                                                                 \
	"liburing " LIBURING_VERSION ", xxhash " TEXT(XXH_VERSION_MAJOR) "." TEXT(                 \
		XXH_VERSION_MINOR) "." TEXT(XXH_VERSION_RELEASE)

/* LIBURING_VERSION comes from the build: the header of the oldest version that we take has none. */
const char *weir_features(void)
{
	return cuda_driver_found() ? BUILT_WITH ", CUDA found" : BUILT_WITH ", CUDA not found";
}
