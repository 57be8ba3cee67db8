/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcufile as it is found on machines: not at all, without each symbol in turn, old, and unwilling.
 */
#include "mem/cufile.h"

#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "lib/check.h"
#include "lib/fake_cuda.h"
#include "lib/fake_cufile.h"
#include "mem/cuda_driver.h"

static struct weir_error err = WEIR_ERROR_INIT;
static struct cufile cufile;

/* ---- A library that is none ---- */

static const char *missing; /* a symbol */
static const char *present; /* the library's only name; NULL: there is none */
static char tried[200];

static void *fake_open(const char *name)
{
	snprintf(tried + strlen(tried), sizeof(tried) - strlen(tried), "%s ", name);
	return present && strcmp(name, present) == 0 ? &tried : NULL;
}

static void *fake_symbol(void *library, const char *name)
{
	static char functions[64] = "";

	check(library == &tried);
	if (missing && strcmp(name, missing) == 0)
		return NULL;
	return functions + strlen(name);
}

static const struct cuda_loader loader = {fake_open, fake_symbol, NULL};

static int load(struct cufile_driver *out)
{
	tried[0] = '\0';
	memset(out, 0, sizeof(*out));
	return cufile_load(&loader, out, &err);
}

static void PR_23_the_library_is_absent(void)
{
	struct cufile_driver driver;

	present = NULL;
	check_int(load(&driver), WEIR_UNSUPPORTED);
	check_str(tried, "libcufile.so.0 libcufile.so ");
	check_has(err.message, "cuFile is not there");
	present = "libcufile.so";
	check_int(load(&driver), 0);
	present = "libcufile.so.0";
	check_int(load(&driver), 0);
	check_str(tried, "libcufile.so.0 ");
}

static void PR_23_each_symbol_is_absent_in_turn(void)
{
	static const char *const symbols[] = {
#define NAME(answer, name, symbol, arguments) symbol,
		CUFILE_FUNCTIONS(NAME)
#undef NAME
	};
	struct cufile_driver driver;

	present = "libcufile.so.0";
	for (size_t i = 0; i < array_size(symbols); i++) {
		missing = symbols[i];
		check_int(load(&driver), WEIR_UNSUPPORTED);
		check_has(err.message, symbols[i]);
	}
	missing = NULL;
}

/* The later of two functions that close is taken where it is there; what only informs may be missing. */
static void PR_23_old_libraries(void)
{
	struct cufile_driver driver;
	void *function;

	present = "libcufile.so.0";
	check_int(load(&driver), 0);
	memcpy(&function, &driver.driver_close, sizeof(function));
	check(function == fake_symbol(&tried, "cuFileDriverClose_v2"));
	missing = "cuFileDriverClose_v2";
	check_int(load(&driver), 0);
	memcpy(&function, &driver.driver_close, sizeof(function));
	check(function == fake_symbol(&tried, "cuFileDriverClose"));
	missing = "cuFileGetVersion";
	check_int(load(&driver), 0);
	check(!driver.version);
	missing = NULL;
}

/* ---- The driver ---- */

static int open_with(const struct fake_cufile_how *how)
{
	const struct cufile_driver *table = fake_cufile_start(how);

	fake_cuda_start(NULL);
	fake_cuda_use(0);
	return cufile_open(table, &cufile, &err);
}

static void check_balance(uint64_t opens)
{
	struct fake_cufile_counts counts;

	fake_cufile_counts(&counts);
	check_int(counts.opens, opens);
	check_int(counts.closes, opens);
}

static void it_opens_and_closes(void)
{
	check_int(open_with(NULL), 0);
	check_int(cufile.version, 1140);
	check(cufile_is_direct(&cufile));
	cufile_close(&cufile);
	cufile_close(&cufile);
	check_balance(1);
	check_int(open_with(&(struct fake_cufile_how){.old = true}), 0);
	check_int(cufile.version, 0);
	cufile_close(&cufile);
	check_int(open_with(&(struct fake_cufile_how){.open_already = true}), 0);
	cufile_close(&cufile);
	check_balance(0);
}

static void PR_23_it_does_not_start(void)
{
	const struct cufile_driver *table = fake_cufile_start(NULL);

	fake_cuda_start(NULL);
	fake_cuda_use(0);
	fake_cufile_fail("driver_open", 1, 1, CUFILE_NOT_INITIALIZED);
	check_int(cufile_open(table, &cufile, &err), WEIR_UNSUPPORTED);
	check_has(err.message, "cuFile does not start: cuFile error 5001: the kernel module");
	cufile_close(&cufile);
	check_balance(0);
	fake_cufile_fail("driver_properties", 1, 1, CUFILE_CUDA);
	check_int(cufile_open(table, &cufile, &err), WEIR_UNSUPPORTED);
	check_has(err.message, "5011");
	check_balance(1);
}

static void what_it_serves(void)
{
	static const int64_t ext4 = 0xEF53, xfs = 0x58465342, lustre = 0x0BD00BD0,
			     tmpfs = 0x01021994;

	check_int(open_with(&(struct fake_cufile_how){.status = 1u << CUFILE_NVME}), 0);
	check(cufile_serves(&cufile, ext4));
	check(cufile_serves(&cufile, xfs));
	check(!cufile_serves(&cufile, lustre));
	check(!cufile_serves(&cufile, tmpfs));
	cufile_close(&cufile);
	check_int(open_with(&(struct fake_cufile_how){.status = 1u << CUFILE_LUSTRE}), 0);
	check(!cufile_serves(&cufile, ext4));
	check(cufile_serves(&cufile, lustre));
	cufile_close(&cufile);
	check_int(open_with(&(struct fake_cufile_how){.compat = true}), 0);
	check(!cufile_is_direct(&cufile));
	check(!cufile_serves(&cufile, ext4));
	/* Peer-to-peer by the kernel itself needs no nvidia-fs. */
	cufile.properties.status = 1u << CUFILE_NVME_PEER;
	check(cufile_is_direct(&cufile));
	check(cufile_serves(&cufile, ext4));
	cufile_close(&cufile);
}

static void errors_have_words(void)
{
	char text[CUFILE_TEXT_MAX];

	check_str(cufile_text(CUFILE_KERNEL, text),
		  "cuFile error 5010: the kernel module nvidia-fs failed");
	check_str(cufile_text(-CUFILE_KERNEL, text),
		  "cuFile error 5010: the kernel module nvidia-fs failed");
	check_str(cufile_text(-5099, text), "cuFile error 5099");
	check_str(cufile_text(-1, text), "cuFile: an error of the file system");
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(PR_23_the_library_is_absent), TEST(PR_23_each_symbol_is_absent_in_turn),
		TEST(PR_23_old_libraries),         TEST(PR_23_it_does_not_start),
		TEST(it_opens_and_closes),         TEST(what_it_serves),
		TEST(errors_have_words),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
