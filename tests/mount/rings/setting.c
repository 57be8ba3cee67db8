/* SPDX-License-Identifier: Apache-2.0 */
#include "setting.h"

#include <fcntl.h>
#include <unistd.h>

#include "lib/check.h"

void setting_make(struct setting *setting, const struct virt_opts *opts, uint32_t entries)
{
	static const struct usrbio_key reads = {.for_read = true}, writes;
	uid_t uid = geteuid() ? geteuid() : USER_A;
	struct rig *rig = &setting->rig;

	rig_start(rig, opts);
	files_add(rig, FILE_1, FILE_BYTES);
	files_open(rig, FILE_1, uid, O_RDWR);
	iov_make(rig, &setting->iov, uid, 4 * MIB, 0);
	ring_make(rig, &setting->reads, uid, entries, &reads);
	ring_make(rig, &setting->writes, uid, entries, &writes);
}

void setting_close(struct setting *setting)
{
	rig_settle(&setting->rig, 0, 0);
	ring_close(&setting->rig, &setting->reads);
	ring_close(&setting->rig, &setting->writes);
	shared_close(&setting->rig, &setting->iov);
	rig_end(&setting->rig);
}

void setting_end(struct setting *setting)
{
	uid_t uid = setting->iov.uid;

	check_int(rig_unlink(&setting->rig, uid, setting->iov.name), 0);
	check_int(rig_unlink(&setting->rig, uid, setting->reads.shared.name), 0);
	check_int(rig_unlink(&setting->rig, uid, setting->writes.shared.name), 0);
	setting_close(setting);
}
