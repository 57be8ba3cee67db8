/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One user with one file, one iov and a ring for each direction: where most cases begin.
 */
#ifndef TESTS_MOUNT_RINGS_SETTING_H
#define TESTS_MOUNT_RINGS_SETTING_H

#include "base/size.h"
#include "client.h"

#define FILE_1     UINT64_C(11)
#define FILE_BYTES (3 * MIB + 1000)

struct setting {
	struct rig rig;
	struct shared iov;
	struct ring_client reads, writes;
};

void setting_make(struct setting *setting, const struct virt_opts *opts, uint32_t entries);
/* Unlinks all three; checks that nothing is left. */
void setting_end(struct setting *setting);
/* The same where the names have gone already. */
void setting_close(struct setting *setting);

#endif
