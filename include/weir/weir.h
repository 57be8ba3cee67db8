/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/weir.h - all of weir
 *
 * Moves tensors from where they are kept to where they are needed.  Start with weir/context.h, then
 * weir/model.h and weir/load.h; weir/plan.h and weir/transfer.h are below those.
 */
#ifndef WEIR_WEIR_H
#define WEIR_WEIR_H

#include "weir/buffer.h"
#include "weir/context.h"
#include "weir/dest.h"
#include "weir/digest.h"
#include "weir/dtype.h"
#include "weir/error.h"
#include "weir/feed.h"
#include "weir/load.h"
#include "weir/log.h"
#include "weir/memory.h"
#include "weir/model.h"
#include "weir/object.h"
#include "weir/plan.h"
#include "weir/probe.h"
#include "weir/queue.h"
#include "weir/request.h"
#include "weir/transfer.h"

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* Of the library that runs: "0.1.0". */
WEIR_API const char *weir_version(void);

/* Which optional parts it was built with or can find: "liburing 2.3, xxhash 0.8.1". */
WEIR_API const char *weir_features(void);

#ifdef __cplusplus
}
#endif
#endif
