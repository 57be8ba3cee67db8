/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/export.h - what marks a function as part of the promise
 */
#ifndef WEIR_EXPORT_H
#define WEIR_EXPORT_H

#define WEIR_API __attribute__((visibility("default")))

/* A time-out that never passes.  All time-outs are nanoseconds from now. */
#define WEIR_FOREVER INT64_C(-1)

#define WEIR_KIB (UINT64_C(1) << 10)
#define WEIR_MIB (UINT64_C(1) << 20)
#define WEIR_GIB (UINT64_C(1) << 30)

#endif
