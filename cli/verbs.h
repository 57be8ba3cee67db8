/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One verb each: cmd_inspect.c defines verb_inspect, and so on.
 */
#ifndef CLI_VERBS_H
#define CLI_VERBS_H

#include "command.h"

extern const struct verb verb_inspect;
extern const struct verb verb_verify;
extern const struct verb verb_load;
extern const struct verb verb_make_model;
extern const struct verb verb_doctor;
extern const struct verb verb_bench_load;
extern const struct verb verb_bench_reader;
extern const struct verb verb_bench_ring;
extern const struct verb verb_ls;
extern const struct verb verb_cat;
extern const struct verb verb_cp;
extern const struct verb verb_mount;
extern const struct verb verb_umount;
extern const struct verb verb_status;

#endif
