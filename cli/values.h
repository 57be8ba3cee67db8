/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as people write them, and as they like to read them.
 *
 * Sizes: "64KiB", "16MiB", "1.5GB" (powers of ten), plain numbers are bytes.  Times: "250ms", "10s",
 * plain numbers are seconds.  All arithmetic is on integers: no locale and no rounding gets in.
 */
#ifndef CLI_VALUES_H
#define CLI_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False where the text is not one, or where it does not fit: nothing is written then. */
bool value_count(const char *text, uint64_t *out);
bool value_size(const char *text, uint64_t *out);
bool value_time(const char *text, int64_t *out_ns);

#define VALUE_MAX 32 /* room that every text below fits in */

/* "1.50 GiB", "17 bytes"; "2.45 GB/s"; "1.234 s", "250 ms".  They return `to`. */
const char *value_print_size(char to[VALUE_MAX], uint64_t bytes);
const char *value_print_rate(char to[VALUE_MAX], double bytes_per_second);
const char *value_print_seconds(char to[VALUE_MAX], double seconds);

/* Exactly, in the largest unit that divides it, as value_size() reads it: "512KiB". */
const char *value_print_exact(char to[VALUE_MAX], uint64_t bytes);

/* "2026-11-21T15:42:30.123456789Z"; needs 32 bytes. */
const char *value_print_date(char to[VALUE_MAX], int64_t since_1970_ns);

/* Of a monotonic clock; and of the processor time of this process, user and system. */
int64_t value_now_ns(void);
int64_t value_cpu_ns(void);

#endif
