/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding, looking at and loading the vendor's library.  See usrbio_vendor.h.
 */
#include "source/usrbio_vendor.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/size.h"

#define NAME "libhf3fs_api_shared.so"

/* Of a name in a directory, with its end. */
#define NAME_BYTES 256

/* Of our drop-in's note; its terminating zero is part of the name. */
#define OWNER "weir"

/* Libraries have about ten program headers, and notes of some hundred bytes. */
#define HEADERS_MAX    256u
#define NOTE_BYTES_MAX (UINT64_C(64) * KIB)

static const struct {
	const char *name;
	size_t at;
} functions[] = {
#define FUNCTION(name) {"hf3fs_" #name, offsetof(struct usrbio_vendor_calls, name)},
	VENDOR_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

/* ---- Whose it is: the notes of an ELF file ---- */

struct image {
	const struct sys *sys;
	const char *path;
	int fd;
	uint64_t bytes;
};

static int no_library(const struct image *image, const char *why, struct weir_error *err)
{
	return error_set(err, WEIR_UNSUPPORTED, image->path,
			 "%s: not a library that can be loaded: %s", image->path, why);
}

static int read_part(const struct image *image, void *to, uint64_t offset, uint64_t length,
		     struct weir_error *err)
{
	ssize_t got;

	if (!size_inside(offset, length, image->bytes))
		return no_library(image, "its headers reach past its end", err);
	got = image->sys->pread(image->fd, to, length, (off_t)offset);
	if (got < 0)
		return error_sys(err, errno, image->path, "%s: reading", image->path);
	if ((uint64_t)got != length)
		return no_library(image, "it was cut while it was read", err);
	return 0;
}

/* 1: one of them is ours; 0: none is; -1: they reach past their end. */
static int find_ours(const char *notes, uint64_t bytes, uint64_t align)
{
	uint64_t at = 0;

	while (size_inside(at, sizeof(Elf64_Nhdr), bytes)) {
		uint64_t name = at + sizeof(Elf64_Nhdr), text;
		Elf64_Nhdr note;

		memcpy(&note, notes + at, sizeof(note));
		text = round_up(name + note.n_namesz, align); /* 32-bit sizes: it does not wrap */
		if (!size_inside(name, note.n_namesz, bytes) ||
		    !size_inside(text, note.n_descsz, bytes))
			return -1;
		if (note.n_namesz == sizeof(OWNER) &&
		    memcmp(notes + name, OWNER, sizeof(OWNER)) == 0)
			return 1;
		at = round_up(text + note.n_descsz, align);
	}
	return 0;
}

static int look_at_notes(const struct image *image, const Elf64_Phdr *header,
			 struct weir_error *err)
{
	char *notes;
	int ret;

	if (header->p_filesz > NOTE_BYTES_MAX)
		return no_library(image, "its notes are too long", err);
	notes = malloc(header->p_filesz + 1);
	if (!notes)
		return error_nomem(err, image->path, "notes of a library");
	ret = read_part(image, notes, header->p_offset, header->p_filesz, err);
	if (ret == 0)
		ret = find_ours(notes, header->p_filesz, header->p_align == 8 ? 8 : 4);
	free(notes);
	if (ret == 1)
		return error_set(err, WEIR_UNSUPPORTED, image->path,
				 "%s: weir's own library of that name, not the vendor's: set "
				 "HF3FS_LIB_DIR to the directory of theirs",
				 image->path);
	return ret == -1 ? no_library(image, "its notes reach past their end", err) : ret;
}

static int look_at_part(const struct image *image, uint64_t at, struct weir_error *err)
{
	Elf64_Phdr part;
	int ret = read_part(image, &part, at, sizeof(part), err);

	if (ret)
		return ret;
	/* The loader maps what is not there, and dies of it. */
	if (!size_inside(part.p_offset, part.p_filesz, image->bytes))
		return no_library(image, "it is cut short, or its headers are wrong", err);
	return part.p_type == PT_NOTE ? look_at_notes(image, &part, err) : 0;
}

static int look_at_image(const struct image *image, struct weir_error *err)
{
	Elf64_Ehdr elf;
	int ret = read_part(image, &elf, 0, sizeof(elf), err);

	if (ret)
		return ret;
	if (memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 || elf.e_ident[EI_CLASS] != ELFCLASS64 ||
	    elf.e_ident[EI_DATA] != ELFDATA2LSB || elf.e_type != ET_DYN ||
	    elf.e_phentsize != sizeof(Elf64_Phdr) || elf.e_phnum > HEADERS_MAX)
		return no_library(image, "not a 64-bit ELF file of that kind", err);
	for (unsigned i = 0; i < elf.e_phnum && ret == 0; i++) {
		uint64_t at;

		if (!size_add(elf.e_phoff, i * sizeof(Elf64_Phdr), &at))
			return no_library(image, "its headers reach past its end", err);
		ret = look_at_part(image, at, err);
	}
	return ret;
}

int usrbio_vendor_look(const struct sys *sys, const char *path, struct weir_error *err)
{
	struct image image = {.sys = sys, .path = path};
	struct stat status;
	int ret;

	/* Without waiting: a pipe of that name has no other end. */
	image.fd = sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	if (image.fd < 0)
		return error_sys(err, errno, path, "%s: opening", path);
	if (sys->fstat(image.fd, &status) < 0) {
		ret = error_sys(err, errno, path, "%s: looking at it", path);
	} else if (!S_ISREG(status.st_mode)) {
		ret = no_library(&image, "not a regular file", err);
	} else {
		image.bytes = (uint64_t)status.st_size;
		ret = look_at_image(&image, err);
	}
	sys->close(image.fd);
	return ret;
}

/* ---- Where it is ---- */

struct search {
	const struct sys *sys;
	struct usrbio_vendor *out;
	struct weir_error first; /* what is wrong with the first that was passed over */
	bool passed_over;
};

/* Is DIRECTORY/NAME the one?  It is left in `path`. */
static bool suits(struct search *search, char path[VENDOR_PATH_MAX], const char *directory,
		  size_t length, const char *name)
{
	struct weir_error err = WEIR_ERROR_INIT;
	int written = snprintf(path, VENDOR_PATH_MAX, "%.*s/%s", (int)length, directory, name);

	if (written >= VENDOR_PATH_MAX)
		return false;
	if (usrbio_vendor_look(search->sys, path, &err) == 0)
		return true;
	if (err.os_errno != ENOENT && err.os_errno != ENOTDIR && !search->passed_over) {
		search->first = err;
		search->passed_over = true;
	}
	return false;
}

static bool after(const char *name, const char *last)
{
	return strncmp(name, NAME ".", strlen(NAME ".")) == 0 && strcmp(name, last) > 0;
}

/* The first name behind `last`, in order; false: there is none. */
static bool next_name(DIR *entries, char last[NAME_BYTES])
{
	char best[NAME_BYTES] = "";
	struct dirent *entry;

	rewinddir(entries);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone */
	while ((entry = readdir(entries)))
		if (after(entry->d_name, last) && (!*best || strcmp(entry->d_name, best) < 0))
			snprintf(best, sizeof(best), "%s", entry->d_name);
	memcpy(last, best, sizeof(best));
	return *best != '\0';
}

static bool search_names(struct search *search, const char *directory, size_t length)
{
	char path[VENDOR_PATH_MAX], name[NAME_BYTES] = "";
	bool found = false;
	DIR *entries;

	if (snprintf(path, sizeof(path), "%.*s", (int)length, directory) >= (int)sizeof(path))
		return false;
	entries = opendir(path);
	if (!entries)
		return false;
	while (!found && next_name(entries, name))
		found = suits(search, search->out->path, directory, length, name);
	closedir(entries);
	return found;
}

static bool search_directory(struct search *search, const char *directory, size_t length,
			     const char *named_by)
{
	while (length > 0 && strchr(" \t\n", *directory))
		directory++, length--;
	while (length > 0 && strchr(" \t\n", directory[length - 1]))
		length--;
	if (length == 0 || length >= VENDOR_PATH_MAX)
		return false;
	search->out->named_by = named_by;
	return suits(search, search->out->path, directory, length, NAME) ||
	       search_names(search, directory, length);
}

static bool search_list(struct search *search, const char *list, const char *named_by)
{
	while (*list) {
		size_t length = strcspn(list, ":");

		if (search_directory(search, list, length, named_by))
			return true;
		list += length + (list[length] == ':');
	}
	return false;
}

int usrbio_vendor_find(const struct sys *sys, const struct usrbio_vendor_places *places,
		       struct usrbio_vendor *out, struct weir_error *err)
{
	struct search search = {.sys = sys, .out = out, .first = WEIR_ERROR_INIT};
	const char *directory = places->directory ? places->directory : "";

	if (search_directory(&search, directory, strlen(directory), "HF3FS_LIB_DIR") ||
	    search_list(&search, places->directories ? places->directories : "", "LD_LIBRARY_PATH"))
		return 0;
	if (!search.passed_over)
		return error_set(err, WEIR_NOTFOUND, NULL,
				 "no " NAME
				 " in HF3FS_LIB_DIR or LD_LIBRARY_PATH: set HF3FS_LIB_DIR "
				 "to its directory (of the Python package: hf3fs_py_usrbio.libs)");
	if (err)
		*err = search.first;
	return search.first.code;
}

/* ---- Loading it ---- */

/* It may have a table with a place for each descriptor that there can ever be. */
static int check_table(const struct sys *sys, const struct usrbio_vendor *vendor,
		       struct weir_error *err)
{
	struct rlimit limit;
	uint64_t most = sys->getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : RLIM_INFINITY;

	if (most <= VENDOR_DESCRIPTORS_MAX)
		return 0;
	return error_set(err, WEIR_LIMIT, vendor->path,
			 "%s: not loaded: it may size a table by the hard limit of "
			 "descriptors, %llu (ulimit -Hn 1048576)",
			 vendor->path, (unsigned long long)most);
}

int usrbio_vendor_load(const struct sys *sys, const struct usrbio_vendor *vendor,
		       struct usrbio_vendor_calls *out, struct weir_error *err)
{
	int ret = check_table(sys, vendor, err);
	void *handle;

	if (ret)
		return ret;
	handle = dlopen(vendor->path, RTLD_NOW | RTLD_LOCAL);
	if (!handle) /* NOLINTNEXTLINE(concurrency-mt-unsafe): glibc has one answer per thread */
		return error_set(err, WEIR_UNSUPPORTED, vendor->path, "%s", dlerror());
	for (size_t i = 0; i < array_size(functions); i++) {
		void *function = dlsym(handle, functions[i].name);

		if (!function)
			return error_set(err, WEIR_UNSUPPORTED, vendor->path, "%s: has no %s",
					 vendor->path, functions[i].name);
		memcpy((char *)out + functions[i].at, &function, sizeof(function));
	}
	return 0;
}
