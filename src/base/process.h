/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which process this is, without a system call each time.
 *
 * What belongs to a process asks at every door whether it is still in it.  The answer stands in a page
 * that the kernel empties in every child, however it was made; where there is no such page, before
 * Linux 4.14, the kernel is asked.
 */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <sys/types.h>

/* As getpid().  Any thread. */
pid_t process_id(void);

#endif
