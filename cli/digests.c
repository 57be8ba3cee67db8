/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list is read once and sorted by name; a look-up is a binary search.  Names of files are made absolute
 * when they are read, so that one file has one name whatever directory it is seen from.
 */
#include "digests.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "session.h"

struct line {
	char *name; /* owned: the file, made absolute, then '#' and the tensor for ours */
	size_t len, file_len;
	uint8_t value[32];
	bool whole; /* a SHA-256 of the file */
	bool asked; /* somebody had such a tensor */
};

struct digests {
	struct line *lines; /* owned, sorted by name */
	size_t count;
};

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* How many bytes of hexadecimal digits stand here, up to 32. */
static size_t read_hex(const char *text, uint8_t out[32])
{
	size_t n = 0;

	for (; n < 32; n++) {
		int high = hex_digit(text[2 * n]), low = high < 0 ? -1 : hex_digit(text[2 * n + 1]);

		if (low < 0)
			break;
		out[n] = (uint8_t)(high * 16 + low);
	}
	return n;
}

/* In place. */
static size_t unescape(char *text, size_t len)
{
	size_t to = 0;

	for (size_t n = 0; n < len; n++) {
		char c = text[n];

		if (c == '\\' && n + 1 < len) {
			c = text[++n];
			c = c == 'n' ? '\n' : c == 'r' ? '\r' : c;
		}
		text[to++] = c;
	}
	text[to] = '\0';
	return to;
}

/* The one name of a file: its real path where it is there, beside `dir` otherwise; a URI as it is. */
static char *absolute(const char *uri, const char *dir)
{
	char *path = session_path(uri), *real = NULL, *beside = NULL;

	if (!path)
		return strdup(uri);
	real = realpath(path, NULL);
	if (!real && dir && path[0] != '/' && asprintf(&beside, "%s/%s", dir, path) >= 0)
		real = realpath(beside, NULL);
	free(beside);
	if (real) {
		free(path);
		return real;
	}
	return path;
}

/* "file#tensor": which '#' parts them?  The first behind which the file is there. */
static size_t split_tensor(const char *name, size_t len, const char *dir)
{
	for (size_t at = 0; at < len; at++) {
		char *file, *real;
		bool there;

		if (name[at] != '#')
			continue;
		file = strndup(name, at);
		real = file ? absolute(file, dir) : NULL;
		there = real && (real[0] == '/' || strstr(real, "://"));
		free(file);
		free(real);
		if (there)
			return at;
	}
	return strcspn(name, "#");
}

static int set_name(struct line *line, const char *name, size_t len, const char *dir)
{
	size_t at = line->whole ? len : split_tensor(name, len, dir);
	char *file = strndup(name, at), *real = file ? absolute(file, dir) : NULL;
	size_t real_len = real ? strlen(real) : 0;

	free(file);
	line->name = real ? malloc(real_len + (len - at) + 1) : NULL;
	if (line->name) {
		memcpy(line->name, real, real_len);
		memcpy(line->name + real_len, name + at, len - at);
		line->file_len = real_len;
		line->len = real_len + (len - at);
		line->name[line->len] = '\0';
	}
	free(real);
	return line->name ? 0 : WEIR_NOMEM;
}

/* 0: *line is filled; WEIR_ARG: this is no such line. */
static int parse_line(char *text, size_t len, const char *dir, struct line *line)
{
	bool escaped = text[0] == '\\';
	size_t bytes;

	*line = (struct line){0};
	text += escaped;
	len -= escaped;
	bytes = read_hex(text, line->value);
	if ((bytes != 8 && bytes != 32) || text[2 * bytes] != ' ' ||
	    (text[2 * bytes + 1] != ' ' && text[2 * bytes + 1] != '*'))
		return WEIR_ARG;
	text += 2 * bytes + 2;
	len -= 2 * bytes + 2;
	if (escaped)
		len = unescape(text, len);
	line->whole = bytes == 32;
	if (!len || (!line->whole && !memchr(text, '#', len)))
		return WEIR_ARG;
	return set_name(line, text, len, dir);
}

static int compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_lines(const void *a_, const void *b_)
{
	const struct line *a = a_, *b = b_;
	int order = compare_text(a->name, a->len, b->name, b->len);

	return order ? order : (int)a->whole - (int)b->whole;
}

static int add_line(struct digests *digests, char *text, size_t len, const char *path,
		    const char *dir, uint64_t number, struct weir_error *err)
{
	int ret;

	/* Grows by doubling: full where the count is a power of two. */
	if ((digests->count & (digests->count - 1)) == 0) {
		size_t room = digests->count ? digests->count * 2 : 1;
		struct line *lines = reallocarray(digests->lines, room, sizeof(*lines));

		if (!lines)
			return report_set(err, WEIR_NOMEM, path, "%s: out of memory", path);
		digests->lines = lines;
	}
	ret = parse_line(text, len, dir, &digests->lines[digests->count]);
	if (ret == WEIR_ARG)
		return report_set(err, WEIR_ARG, path,
				  "%s: line %" PRIu64 " is neither '16 digits  URI#tensor' nor as "
				  "sha256sum writes them",
				  path, number);
	if (ret)
		return report_set(err, ret, path, "%s: out of memory", path);
	digests->count++;
	return 0;
}

static int read_lines(struct digests *digests, FILE *file, const char *path, struct weir_error *err)
{
	char *line = NULL, *dir = strdup(path), *slash = dir ? strrchr(dir, '/') : NULL;
	size_t size = 0;
	uint64_t number = 0;
	ssize_t len;
	int ret = 0;

	if (slash)
		slash[slash == dir] = '\0';
	while (!ret && (len = getline(&line, &size, file)) >= 0) {
		number++;
		while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			line[--len] = '\0';
		if (len && line[0] != '#')
			ret = add_line(digests, line, (size_t)len, path, slash ? dir : ".", number,
				       err);
	}
	if (!ret && ferror(file))
		ret = report_set(err, WEIR_IO, path, "%s: cannot read: %s", path, strerror(errno));
	free(line);
	free(dir);
	return ret;
}

int digests_read(const char *path, struct digests **out, struct weir_error *err)
{
	struct digests *digests = calloc(1, sizeof(*digests));
	FILE *file = fopen(path, "re");
	int ret = 0;

	if (!file)
		ret = report_set(err, errno == ENOENT ? WEIR_NOTFOUND : WEIR_IO, path,
				 "%s: cannot open the list of digests: %s", path, strerror(errno));
	else if (!digests)
		ret = report_set(err, WEIR_NOMEM, path, "%s: out of memory", path);
	if (!ret)
		ret = read_lines(digests, file, path, err);
	if (file)
		fclose(file);
	if (ret) {
		digests_free(digests);
		return ret;
	}
	if (digests->count)
		qsort(digests->lines, digests->count, sizeof(*digests->lines), compare_lines);
	*out = digests;
	return 0;
}

void digests_free(struct digests *digests)
{
	for (size_t n = 0; digests && n < digests->count; n++)
		free(digests->lines[n].name);
	if (digests)
		free(digests->lines);
	free(digests);
}

static struct line *find(const struct digests *digests, const char *name, size_t len, bool whole)
{
	const struct line key = {.name = (char *)(uintptr_t)name, .len = len, .whole = whole};

	if (!digests->count)
		return NULL;
	return bsearch(&key, digests->lines, digests->count, sizeof(key), compare_lines);
}

bool digests_tensor(struct digests *digests, const char *uri, const char *name, uint64_t name_len,
		    uint64_t *out)
{
	char *file = absolute(uri, NULL);
	size_t len = file ? strlen(file) : 0;
	char *key = file ? malloc(len + name_len + 2) : NULL;
	struct line *line = NULL;

	if (key) {
		memcpy(key, file, len);
		key[len] = '#';
		memcpy(key + len + 1, name, name_len);
		line = find(digests, key, len + 1 + name_len, false);
	}
	*out = 0;
	for (unsigned n = 0; line && n < 8; n++)
		*out = *out << 8 | line->value[n];
	if (line)
		line->asked = true;
	free(key);
	free(file);
	return line != NULL;
}

/* Where the lines of a file begin: they are neighbours. */
static size_t first_of(const struct digests *digests, const char *file, size_t len)
{
	size_t low = 0, high = digests->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct line *line = &digests->lines[middle];

		if (compare_text(line->name, line->len, file, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const char *digests_unasked(const struct digests *digests, const char *uri)
{
	char *file = absolute(uri, NULL);
	size_t len = file ? strlen(file) : 0;
	const char *found = NULL;

	for (size_t n = file ? first_of(digests, file, len) : digests->count;
	     n < digests->count && !found; n++) {
		const struct line *line = &digests->lines[n];

		if (line->len < len || memcmp(line->name, file, len) != 0)
			break;
		if (!line->whole && !line->asked && line->file_len == len)
			found = line->name + len + 1;
	}
	free(file);
	return found;
}

bool digests_file(const struct digests *digests, const char *uri, uint8_t out[32])
{
	char *file = absolute(uri, NULL);
	const struct line *line = file ? find(digests, file, strlen(file), true) : NULL;

	if (line)
		memcpy(out, line->value, 32);
	free(file);
	return line != NULL;
}

static void write_name(FILE *to, const char *text, size_t len)
{
	for (size_t n = 0; n < len; n++) {
		if (text[n] == '\n')
			fputs("\\n", to);
		else if (text[n] == '\r')
			fputs("\\r", to);
		else if (text[n] == '\\')
			fputs("\\\\", to);
		else
			putc(text[n], to);
	}
}

void digests_write(FILE *to, uint64_t digest, const char *uri, const char *name, uint64_t name_len)
{
	bool escape = strpbrk(uri, "\\\n\r") || memchr(name, '\\', name_len) ||
		      memchr(name, '\n', name_len) || memchr(name, '\r', name_len);

	fprintf(to, "%s%016" PRIx64 "  ", escape ? "\\" : "", digest);
	if (escape)
		write_name(to, uri, strlen(uri));
	else
		fputs(uri, to);
	putc('#', to);
	if (escape)
		write_name(to, name, name_len);
	else
		fwrite(name, 1, name_len, to);
	putc('\n', to);
}
