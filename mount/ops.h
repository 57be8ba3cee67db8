/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations that the kernel asks for, by libfuse's names (fuse_lowlevel.h says what each means).
 */
#ifndef MOUNT_OPS_H
#define MOUNT_OPS_H

#include "mount/front.h"

extern const struct fuse_lowlevel_ops ops_table;

/* ops_name.c */
void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_forget(fuse_req_t req, fuse_ino_t node, uint64_t lookups);
void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void ops_readlink(fuse_req_t req, fuse_ino_t node);

/* ops_make.c */
void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device);
void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void ops_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char *name);
/* The mode of what is made in a directory that is open: less the caller's umask, unless it has a default list. */
mode_t ops_made_mode(fuse_req_t req, int dir, mode_t mode);

/* ops_remove.c */
void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to,
		const char *to_name, unsigned flags);

/* The same for a name in a directory that is open, or two of them: 0 or an errno. */
int ops_remove_at(struct front *front, int dir, const char *name, int flags);
int ops_move_at(struct front *front, const struct reached *from, const char *name,
		const struct reached *to, const char *to_name);

/* ops_attr.c */
void ops_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info);
void ops_setattr(fuse_req_t req, fuse_ino_t node, struct stat *attr, int what,
		 struct fuse_file_info *info);
void ops_statfs(fuse_req_t req, fuse_ino_t node);

/* ops_xattr.c */
void ops_setxattr(fuse_req_t req, fuse_ino_t node, const char *name, const char *value, size_t size,
		  int flags);
void ops_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size);
void ops_listxattr(fuse_req_t req, fuse_ino_t node, size_t size);
void ops_removexattr(fuse_req_t req, fuse_ino_t node, const char *name);

/* ops_dir.c */
void ops_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info);
void ops_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
		 struct fuse_file_info *info);
void ops_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
		     struct fuse_file_info *info);
void ops_releasedir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info);
void ops_fsyncdir(fuse_req_t req, fuse_ino_t node, int data_only, struct fuse_file_info *info);
/* The directory's descriptor; -1: it is virtual. */
int ops_dir_fd(const struct fuse_file_info *info);

/* ops_open.c */
void ops_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info);
void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		struct fuse_file_info *info);
void ops_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info);

/* ops_io.c */
void ops_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
	      struct fuse_file_info *info);
void ops_write(fuse_req_t req, fuse_ino_t node, const char *data, size_t size, off_t offset,
	       struct fuse_file_info *info);
void ops_fsync(fuse_req_t req, fuse_ino_t node, int data_only, struct fuse_file_info *info);
void ops_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t offset, off_t length,
		   struct fuse_file_info *info);
void ops_lseek(fuse_req_t req, fuse_ino_t node, off_t offset, int whence,
	       struct fuse_file_info *info);
void ops_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset,
			 struct fuse_file_info *from_info, fuse_ino_t to, off_t to_offset,
			 struct fuse_file_info *to_info, size_t length, int flags);

/* ops_ioctl.c */
void ops_ioctl(fuse_req_t req, fuse_ino_t node, unsigned command, void *arg,
	       struct fuse_file_info *info, unsigned flags, const void *in, size_t in_bytes,
	       size_t out_bytes);

/*
 * ops_ioctl_names.c: ioctls that change names, by the caller's own rights: 0 or an errno.  in: as
 * many bytes as the command's number says.
 */
int ops_ioctl_names(fuse_req_t req, fuse_ino_t node, unsigned command, const void *in);

/* ops_ioctl_tree.c: a name and all that is beneath it, by the rights that this thread has now. */
int ops_remove_tree(struct front *front, int dir, const char *name);

#endif
