/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of verbs, in the order in which people meet them.
 */
#include "verbs.h"

#include <stddef.h>

const struct verb *const verbs[] = {
	&verb_inspect,    &verb_verify,       &verb_load,       &verb_make_model, &verb_doctor,
	&verb_bench_load, &verb_bench_reader, &verb_bench_ring, &verb_ls,         &verb_cat,
	&verb_cp,         &verb_mount,        &verb_umount,     &verb_status,     NULL,
};
