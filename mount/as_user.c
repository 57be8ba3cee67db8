/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/as_user.h"

#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* All below 32. */
#define WANTED (1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH)

/* The kernel takes these away with the user's id, and gives them back with the old one. */
static void keep_rights(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data))
		return;
	data[0].effective |= WANTED & data[0].permitted;
	syscall(SYS_capset, &header, data);
}

/* The group first: without the user's rights it could not be changed any more. */
void as_user_begin(struct as_user *before, uid_t uid, gid_t gid)
{
	before->gid = (gid_t)setfsgid(gid);
	before->uid = (uid_t)setfsuid(uid);
	if (uid != before->uid)
		keep_rights();
}

void as_user_end(const struct as_user *before)
{
	setfsuid(before->uid);
	setfsgid(before->gid);
}
