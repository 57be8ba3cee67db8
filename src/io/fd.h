/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of ours never take the numbers 0, 1 and 2: where a program closed those, its next
 * printf() would land in a model file.
 */
#ifndef IO_FD_H
#define IO_FD_H

#include "base/sys.h"

/* The same open file under a number of 3 or more; closes the low one.  -1 and errno where it cannot. */
int fd_lift(const struct sys *sys, int fd);

#endif
