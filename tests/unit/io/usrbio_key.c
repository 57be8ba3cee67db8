/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes, places and names of the ring protocol: the numbers here are those of the protocol's description,
 * written out, not computed by what is tested.
 */
#include "io/usrbio/key.h"

#include <errno.h>
#include <string.h>

#include "base/compiler.h"
#include "io/usrbio/layout.h"
#include "lib/check.h"

#define ID "765768c3-1ec0-4494-9d80-d0e2f4bef484"

/* ---- Layout ---- */

static void UB_01_sizes_of_rings_and_back(void)
{
	static const struct {
		uint32_t entries;
		uint64_t bytes;
	} known[] = {{1, 4336},    {4, 4624},    {16, 5776},     {64, 10384},
		     {128, 16528}, {256, 28816}, {1024, 102544}, {4096, 397456}};

	for (size_t i = 0; i < array_size(known); i++) {
		check_int(usrbio_ring_bytes(known[i].entries), known[i].bytes);
		check_int(usrbio_ring_entries(known[i].bytes), known[i].entries);
	}
	check_int(usrbio_ring_entries(65536), 638);
	check_int(usrbio_ring_entries(8192), 41);
}

static void UB_07_sizes_that_are_no_ring(void)
{
	static const uint64_t sizes[] = {0, 1, 4095, 4143, 4144, 4239, 4240, 4335};

	for (size_t i = 0; i < array_size(sizes); i++)
		check_int(usrbio_ring_entries(sizes[i]), 0);
	check_int(usrbio_ring_entries(UINT64_MAX), INT32_MAX - 1);
}

static void UB_01_places_of_the_parts(void)
{
	static _Alignas(8) char memory[4624];
	struct usrbio_view view = usrbio_view_of(memory, 4);

	check_int(view.places, 5);
	check_int((char *)view.sq_tail - memory, 4);
	check_int((char *)view.cq_head - memory, 8);
	check_int((char *)view.cq_tail - memory, 12);
	check_int((char *)view.args - memory, 16);
	check_int((char *)view.cqe - memory, 296);
	check_int((char *)view.sqe - memory, 416);
	check_int((char *)view.done - memory, 496);
}

static void distances_go_round(void)
{
	check_int(usrbio_next(3, 5), 4);
	check_int(usrbio_next(4, 5), 0);
	check_int(usrbio_distance(1, 4, 5), 3);
	check_int(usrbio_distance(4, 1, 5), 2);
	check_int(usrbio_distance(2, 2, 5), 0);
}

/* ---- Writing names ---- */

static struct usrbio_key ring_key(void)
{
	struct usrbio_key key = {.ring = true, .for_read = true};

	check(usrbio_uuid_parse(ID, key.id));
	return key;
}

static void check_format(const struct usrbio_key *key, const char *text)
{
	char out[USRBIO_KEY_MAX];
	struct usrbio_key back;

	usrbio_key_format(key, out);
	check_str(out, text);
	check_int(usrbio_key_parse(out, &back), 0);
	check(memcmp(back.id, key->id, 16) == 0);
	check(back.ring == key->ring && back.for_read == key->for_read);
	check_int(back.depth, key->depth);
	check_int(back.priority, key->priority);
	check_int(back.timeout_ms, key->timeout_ms);
	check_int(back.flags, key->flags);
	check_int(back.block_bytes, key->block_bytes);
}

static void UB_03_names_of_rings(void)
{
	struct usrbio_key key = ring_key();

	check_format(&key, ID ".r0.t0");
	key.for_read = false;
	key.depth = -2;
	key.priority = 1;
	check_format(&key, ID ".w-2.pl.t0");
	key = ring_key();
	key.priority = -1;
	key.depth = INT32_MIN;
	key.timeout_ms = INT32_MAX;
	key.flags = UINT64_MAX;
	key.block_bytes = INT64_MAX;
	check_format(&key, ID ".b9223372036854775807.r-2147483648.ph.t2147483647."
			      "f1111111111111111111111111111111111111111111111111111111111111111");
}

static void names_of_buffers(void)
{
	struct usrbio_key key = ring_key();

	key.ring = key.for_read = false;
	check_format(&key, ID);
	key.block_bytes = 65536;
	check_format(&key, ID ".b65536");
}

static void UB_04_RG_52_flags_are_binary(void)
{
	static const char *const texts[] = {ID ".r0.t0.f1", ID ".r0.t0.f10", ID ".r0.t0.f11"};
	struct usrbio_key key = ring_key();

	for (key.flags = 1; key.flags <= 3; key.flags++)
		check_format(&key, texts[key.flags - 1]);
}

/* ---- Reading names ---- */

static struct usrbio_key parsed(const char *text)
{
	struct usrbio_key key;

	check_int(usrbio_key_parse(text, &key), 0);
	return key;
}

static void UB_08_RG_19_defaults_repeats_unknown_letters(void)
{
	struct usrbio_key key = parsed(ID ".r0");

	check(key.ring && key.for_read && key.depth == 0 && key.timeout_ms == 0 && key.flags == 0);
	key = parsed(ID "..x7.zzz.t5.r3.w8.t9.ph.pl.p.f1.f101.b7.b4096.");
	check(key.ring && !key.for_read);
	check_int(key.depth, 8);
	check_int(key.timeout_ms, 9);
	check_int(key.priority, 0);
	check_int(key.flags, 5);
	check_int(key.block_bytes, 4096);
	key = parsed(ID ".r-2147483648");
	check_int(key.depth, INT32_MIN);
}

static void UB_08_numbers_as_atoi_reads_them(void)
{
	check_int(parsed(ID ".r12junk").depth, 12);
	check_int(parsed(ID ".r").depth, 0);
	check_int(parsed(ID ".rx").depth, 0);
	check_int(parsed(ID ".r+4").depth, 4);
	check_int(parsed(ID ".r99999999999999999999").depth, INT32_MAX);
	check_int(parsed(ID ".w-99999999999999999999").depth, INT32_MIN);
	check_int(parsed(ID ".r0.t99999999999999999999").timeout_ms, INT32_MAX);
	check_int(parsed(ID ".b9223372036854775807").block_bytes, INT64_MAX);
	check_int(parsed(ID ".b9223372036854775808").block_bytes, INT64_MAX);
	check_int(parsed(ID ".r0.f").flags, 0);
}

static void UB_09_either_case(void)
{
	struct usrbio_key lower = parsed(ID),
			  upper = parsed("765768C3-1EC0-4494-9D80-D0E2F4BEF484");

	check(memcmp(lower.id, upper.id, 16) == 0);
	check_int(lower.id[0], 0x76);
	check_int(lower.id[15], 0x84);
}

static void UB_06_RG_19_names_that_are_refused(void)
{
	static const struct {
		const char *text;
		int error;
	} refused[] = {
		{"", -EIO},
		{"765768c3", -EIO},
		{"765768c3-1ec0-4494-9d80-d0e2f4bef48", -EIO},
		{"{765768c3-1ec0-4494-9d80-d0e2f4bef484}", -EIO},
		{"765768c31ec044949d80d0e2f4bef484", -EIO},
		{"765768c3-1ec0-4494-9d80-d0e2f4bef48g", -EIO},
		{"765768c3-1ec0-4494-9d80_d0e2f4bef484", -EIO},
		{ID "0", -EIO},
		{ID "-r0", -EIO},
		{ID ".b0", -EINVAL},
		{ID ".b-1", -EINVAL},
		{ID ".bx", -EINVAL},
		{ID ".b", -EINVAL},
		{ID ".r0.px", -EINVAL},
		{ID ".r0.phh", -EINVAL},
		{ID ".r0.t-1", -EINVAL},
		{ID ".r0.f2", -EINVAL},
		{ID ".r0.f1x", -EINVAL},
		{ID ".t0", -EINVAL},
		{ID ".p", -EINVAL},
		{ID ".f1", -EINVAL},
	};
	struct usrbio_key key;

	for (size_t i = 0; i < array_size(refused); i++)
		if (usrbio_key_parse(refused[i].text, &key) != refused[i].error)
			check_failed(__FILE__, __LINE__, "\"%s\"", refused[i].text);
}

static void UB_08_RG_19_long_names(void)
{
	char text[4097];
	struct usrbio_key key;

	memset(text, '.', sizeof(text));
	memcpy(text, ID, sizeof(ID) - 1);
	text[4096] = '\0';
	check_int(usrbio_key_parse(text, &key), -ENAMETOOLONG);
	text[1025] = '\0';
	check_int(usrbio_key_parse(text, &key), -ENAMETOOLONG);
	text[1024] = '\0';
	check_int(usrbio_key_parse(text, &key), 0);
}

static void UB_05_the_name_of_the_vendors_destroy(void)
{
	struct usrbio_key key = ring_key(), other;

	key.flags = 3;
	check(usrbio_key_is_alias(ID ".r0.t0.f3", &key));
	check(!usrbio_key_is_alias(ID ".r0.t0.f11", &key)); /* eleven, as that call reads */
	check(!usrbio_key_is_alias(ID ".r0.t0.f2", &key));
	check(!usrbio_key_is_alias(ID ".r0.t0", &key));
	check(!usrbio_key_is_alias(ID ".r1.t0.f3", &key));
	check(!usrbio_key_is_alias(ID ".w0.t0.f3", &key));
	check(!usrbio_key_is_alias(ID ".r0.t1.f3", &key));
	check(!usrbio_key_is_alias(ID ".r0.ph.t0.f3", &key));
	check(!usrbio_key_is_alias(ID ".r0.t0.f3x", &key));
	check(!usrbio_key_is_alias(ID ".f3", &key));
	check(!usrbio_key_is_alias("x.r0.t0.f3", &key));
	check(!usrbio_key_is_alias("", &key));
	key.flags = 2;
	check(usrbio_key_is_alias(ID ".r0.t0.f2", &key));
	key.flags = UINT64_MAX;
	check(usrbio_key_is_alias(ID ".r0.t0.f18446744073709551615", &key));
	check(!usrbio_key_is_alias(ID ".r0.t0.f18446744073709551616", &key));
	other = key;
	other.ring = false;
	check(!usrbio_key_is_alias(ID ".r0.t0.f18446744073709551615", &other));
}

static void random_ids_differ(void)
{
	uint8_t a[16], b[16];
	char text[USRBIO_UUID_MAX];

	check_int(usrbio_uuid_random(sys_real(), a), 0);
	check_int(usrbio_uuid_random(sys_real(), b), 0);
	check(memcmp(a, b, 16) != 0);
	usrbio_uuid_format(a, text);
	check_int(strlen(text), 36);
	check_int(text[14], '4');
}

static void names_of_the_bells(void)
{
	check_str(usrbio_bell_link(usrbio_bell_of(-3)), "submit-ios.ph");
	check_str(usrbio_bell_link(usrbio_bell_of(0)), "submit-ios");
	check_str(usrbio_bell_link(usrbio_bell_of(9)), "submit-ios.pl");
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_01_sizes_of_rings_and_back),
		TEST(UB_07_sizes_that_are_no_ring),
		TEST(UB_01_places_of_the_parts),
		TEST(distances_go_round),
		TEST(UB_03_names_of_rings),
		TEST(names_of_buffers),
		TEST(UB_04_RG_52_flags_are_binary),
		TEST(UB_08_RG_19_defaults_repeats_unknown_letters),
		TEST(UB_08_numbers_as_atoi_reads_them),
		TEST(UB_09_either_case),
		TEST(UB_06_RG_19_names_that_are_refused),
		TEST(UB_08_RG_19_long_names),
		TEST(UB_05_the_name_of_the_vendors_destroy),
		TEST(random_ids_differ),
		TEST(names_of_the_bells),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
