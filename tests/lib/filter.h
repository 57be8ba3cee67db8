/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that the kernel refuses from now on, as a container's filter would: for this process and
 * its children, and for good, so call it in a case of its own.
 */
#ifndef TESTS_LIB_FILTER_H
#define TESTS_LIB_FILTER_H

/* Every call of that number answers os_errno. */
void filter_forbid(long number, int os_errno);

/* openat() with any of these flags answers os_errno. */
void filter_forbid_open_flags(unsigned flags, int os_errno);

#endif
