/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INIT requests of six kernels, and what is answered to each.  That of 6.18 was recorded; the others
 * are laid out by what those kernels put there: 16 bytes before 5.17, 64 and a second word of flags
 * since.
 */
#include "mount/fuse_init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "lib/check.h"

#define BIT(n) (UINT64_C(1) << (n))

/* What all six offer: bits 0, 1 and 3 to 25. */
#define SINCE_5_10 UINT64_C(0x3fffffb)

struct kernel {
	const char *name;
	uint32_t minor;
	size_t bytes; /* of the request's body */
	uint64_t offered;
};

static const struct kernel kernels[] = {
	{"5.10", 32, 16, SINCE_5_10},
	{"5.15", 34, 16, SINCE_5_10 | BIT(28) | BIT(29)},
	{"6.1", 37, 64, SINCE_5_10 | BIT(28) | BIT(29) | BIT(30) | BIT(32)},
	{"6.6", 39, 64, SINCE_5_10 | UINT64_C(0x1d70000000)},
	{"6.12", 41, 64, SINCE_5_10 | UINT64_C(0x1fd70000000)},
	{"6.18", 45, 64, UINT64_C(0x5fd73fffffb)},
};

static const struct fuse_init_wish all = {
	.passthrough = true, .direct_io = true, .access_lists = true, .timeout_seconds = 150};

struct request {
	struct fuse_in_header header;
	struct fuse_init_in in;
};

static size_t make_request(const struct kernel *kernel, struct request *out)
{
	*out = (struct request){
		.header = {.opcode = FUSE_INIT, .unique = 2},
		.in = {7, kernel->minor, 131072, (uint32_t)kernel->offered},
	};
	if (kernel->bytes > 16)
		out->in.flags2 = (uint32_t)(kernel->offered >> 32);
	else /* What stands behind a short request is not part of it. */
		memset(&out->in.flags2, 0xff, sizeof(out->in) - 16);
	out->header.len = (uint32_t)(sizeof(out->header) + kernel->bytes);
	return out->header.len;
}

/* As libfuse 3.14 makes it. */
static struct fuse_init_out make_reply(void)
{
	return (struct fuse_init_out){.major = 7,
				      .minor = 31,
				      .max_readahead = 131072,
				      .flags = 0x4299b,
				      .max_background = 128,
				      .congestion_threshold = 96,
				      .max_write = 1 << 20,
				      .time_gran = 1,
				      .max_pages = 256};
}

static uint64_t answer(const struct kernel *kernel, const struct fuse_init_wish *wish,
		       struct fuse_init_out *out, struct fuse_init *init)
{
	struct request request;
	size_t bytes = make_request(kernel, &request);

	*init = (struct fuse_init){.wish = *wish};
	check(fuse_init_note(init, &request, bytes));
	*out = make_reply();
	check(fuse_init_answer(init, out, sizeof(*out)));
	check_int(init->flags, out->flags | (uint64_t)out->flags2 << 32);
	return init->flags;
}

static void MT_88_only_what_the_kernel_offered_is_answered(void)
{
	for (size_t n = 0; n < array_size(kernels); n++) {
		struct fuse_init_out out;
		struct fuse_init init;
		uint64_t flags = answer(&kernels[n], &all, &out, &init);

		check_int(flags & ~kernels[n].offered, 0);
		check_int(out.major, 7);
		check_int(out.minor, kernels[n].minor < 40 ? kernels[n].minor : 40);
		check_int(out.max_write, 1 << 20);
		check_int(out.max_pages, 256);
		check_int(out.max_background, 128);
		/* Parallel reads, lookups side by side, ioctls on directories: everywhere. */
		check(flags & BIT(0) && flags & BIT(18) && flags & BIT(11) && flags & BIT(22));
		/* Above 31 nothing without the flag that says there is something. */
		check((flags & BIT(30)) || flags >> 32 == 0);
	}
}

static void MT_88_what_is_never_answered(void)
{
	/* Locks of the kernel's own, no write-back, no splicing, no handles. */
	static const int never[] = {1, 3, 4, 7, 8, 9, 10, 16, 17, 19, 24, 28, 29, 31, 41};

	for (size_t n = 0; n < array_size(kernels); n++) {
		struct kernel kernel = kernels[n];
		struct fuse_init_out out;
		struct fuse_init init;
		uint64_t flags;

		if (kernel.bytes == 64)
			kernel.offered = UINT64_MAX;
		flags = answer(&kernel, &all, &out, &init);
		for (size_t bit = 0; bit < array_size(never); bit++)
			check_int(flags & BIT(never[bit]), 0);
	}
}

static void MT_88_passthrough_from_6_9(void)
{
	struct fuse_init_wish wish = all;
	struct fuse_init_out out;
	struct fuse_init init;
	uint32_t depth;

	for (size_t n = 0; n < array_size(kernels); n++) {
		answer(&kernels[n], &all, &out, &init);
		memcpy(&depth, (const char *)&out + 36, sizeof(depth));
		check_int(init.passthrough, n >= 4);
		check_int(depth, n >= 4);
		check_int(init.direct_mmap, n >= 3);
	}
	wish.passthrough = false;
	answer(&kernels[5], &wish, &out, &init);
	memcpy(&depth, (const char *)&out + 36, sizeof(depth));
	check_int(init.flags & BIT(37), 0);
	check_int(depth, 0);
}

static void MT_88_a_request_timeout_from_6_15(void)
{
	struct fuse_init_wish wish = all;
	struct fuse_init_out out;
	struct fuse_init init;
	uint16_t seconds;

	answer(&kernels[4], &wish, &out, &init);
	memcpy(&seconds, (const char *)&out + 40, sizeof(seconds));
	check_int(seconds, 0);
	answer(&kernels[5], &wish, &out, &init);
	memcpy(&seconds, (const char *)&out + 40, sizeof(seconds));
	check_int(seconds, 150);
	wish.timeout_seconds = 100000;
	answer(&kernels[5], &wish, &out, &init);
	memcpy(&seconds, (const char *)&out + 40, sizeof(seconds));
	check_int(seconds, UINT16_MAX);
	wish.timeout_seconds = 0;
	check_int(answer(&kernels[5], &wish, &out, &init) & BIT(42), 0);
}

/* The first bytes of a mount on 6.18, as /dev/fuse gave them. */
static void MT_88_as_recorded(void)
{
	static const unsigned char head[60] = {
		0x68, 0, 0, 0, 0x1a, 0, 0,    0,    0x02, [40] = 0x07, 0,    0,    0, 0x2d, 0,
		0,    0, 0, 0, 0x02, 0, 0xfb, 0xff, 0xff, 0x73,        0xfd, 0x05, 0, 0};
	unsigned char request[104] = {0};
	struct fuse_init init = {.wish = all};

	memcpy(request, head, sizeof(head));
	check(fuse_init_note(&init, request, sizeof(request)));
	check_int(init.unique, 2);
	check_int(init.minor, 45);
	check_int(init.offered, UINT64_C(0x5fd73fffffb));
}

static void what_is_no_init_is_left_alone(void)
{
	struct request request;
	struct fuse_init init = {.wish = all};
	struct fuse_init_out out = make_reply(), before = out;
	size_t bytes = make_request(&kernels[5], &request);

	check(!fuse_init_note(&init, &request, sizeof(request.header) - 1));
	check(!fuse_init_note(&init, &request, sizeof(request.header) + 15));
	request.header.opcode = FUSE_LOOKUP;
	check(!fuse_init_note(&init, &request, bytes));
	check(!fuse_init_answer(&init, &out, sizeof(out))); /* nobody asked */
	request.header.opcode = FUSE_INIT;
	check(fuse_init_note(&init, &request, bytes));
	check(!fuse_init_answer(&init, &out, 24)); /* too short to hold a depth */
	out.major = before.major = 8;
	check(!fuse_init_answer(&init, &out, sizeof(out)));
	check_int(memcmp(&out, &before, sizeof(out)), 0);
	out.major = 7;
	check(fuse_init_answer(&init, &out, sizeof(out)));
	check(!fuse_init_answer(&init, &out, sizeof(out))); /* once */
}

static void an_open_reply_gets_its_backing_id(void)
{
	unsigned char arg[FUSE_INIT_OPEN_MAX], reply[FUSE_INIT_OPEN_MAX];
	static const size_t sizes[] = {16, FUSE_INIT_OPEN_MAX};

	for (size_t n = 0; n < array_size(sizes); n++) {
		struct fuse_open_out out;
		size_t at = sizes[n] - sizeof(out);

		memset(arg, 0x11, sizeof(arg));
		check(fuse_init_back_open(&(struct iovec){arg, sizes[n]}, 77, reply));
		check_int(memcmp(reply, arg, at + 8), 0);
		memcpy(&out, reply + at, sizeof(out));
		check_int(out.open_flags, 0x11111111 | FUSE_INIT_PASSTHROUGH);
		check_int(out.padding, 77);
	}
	check(!fuse_init_back_open(&(struct iovec){arg, 128}, 77, reply));
}

static void no_backing_without_a_connection(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	check(fuse_init_backing_open(fd, fd) < 0);
	fuse_init_backing_close(fd, 1);
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(MT_88_only_what_the_kernel_offered_is_answered),
		TEST(MT_88_what_is_never_answered),
		TEST(MT_88_passthrough_from_6_9),
		TEST(MT_88_a_request_timeout_from_6_15),
		TEST(MT_88_as_recorded),
		TEST(what_is_no_init_is_left_alone),
		TEST(an_open_reply_gets_its_backing_id),
		TEST(no_backing_without_a_connection),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
