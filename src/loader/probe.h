/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two probes have in common.
 */
#ifndef LOADER_PROBE_H
#define LOADER_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/sys.h"
#include "weir/probe.h"

/* Who is told. */
struct probe {
	struct weir_ctx *ctx;
	weir_probe_fn *fn;
	void *arg;
};

/* The advice is for those who need it: with WEIR_PROBE_OK it is left out. */
void probe_say(const struct probe *probe, const char *name, int status, const char *advice,
	       const char *format, ...) __attribute__((format(printf, 5, 6)));

/* 3FS: mounts, registrations, shared memory. */
void probe_3fs(const struct probe *probe);

/* GPUs: driver, devices, pinning. */
void probe_cuda(const struct probe *probe);

/* What mounting needs. */
void probe_mount(const struct probe *probe);

#define PROBE_SIZE_MAX 32
const char *probe_size(char to[PROBE_SIZE_MAX], uint64_t bytes);

/* The beginning of a small file, as text. */
bool probe_read(const struct sys *sys, const char *path, char *to, size_t size);

#endif
