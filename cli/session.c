/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"
#include "signals.h"

int session_open(struct session *session, const struct weir_ctx_opts *opts, struct weir_error *err)
{
	struct weir_ctx_opts mine = {.size = sizeof(mine)};
	int ret;

	*session = (struct session){0};
	if (opts)
		mine = *opts;
	mine.log = report_log;
	ret = weir_ctx_create(&mine, &session->ctx, err);
	if (ret)
		return ret;
	ret = weir_cancel_create(session->ctx, &session->cancel, err);
	if (ret)
		session_close(session);
	else
		signals_cancel(session->cancel);
	return ret;
}

void session_close(struct session *session)
{
	signals_cancel(NULL);
	weir_cancel_destroy(session->cancel);
	weir_ctx_destroy(session->ctx);
	*session = (struct session){0};
}

struct weir_model_opts session_model(const struct session *session,
				     const struct model_options *options)
{
	return (struct weir_model_opts){
		.size = sizeof(struct weir_model_opts),
		.flags = (options->lenient ? (uint32_t)WEIR_MODEL_LENIENT : 0u) |
			 (options->beneath ? (uint32_t)WEIR_MODEL_BENEATH : 0u),
		.cancel = session->cancel,
	};
}

static int open_model(const struct session *session, const char *const *uris, uint64_t count,
		      const struct weir_model_opts *how, struct weir_model **out,
		      struct weir_error *err)
{
	if (count == 1)
		return weir_model_open(session->ctx, uris[0], how, out, err);
	return weir_model_open_list(session->ctx, uris, count, how, out, err);
}

/* Of a header it depends on much: so it is tried. */
static bool lenient_helps(const struct session *session, const char *const *uris, uint64_t count,
			  const struct weir_model_opts *how, int code)
{
	struct weir_model_opts lenient = *how;
	struct weir_model *model = NULL;

	if (code > WEIR_H_SHORT || code < WEIR_H_COVER || how->flags & WEIR_MODEL_LENIENT)
		return false;
	lenient.flags |= WEIR_MODEL_LENIENT;
	if (open_model(session, uris, count, &lenient, &model, NULL))
		return false;
	weir_model_close(model);
	return true;
}

int session_open_model(const struct session *session, const char *const *uris, uint64_t count,
		       const struct weir_model_opts *how, struct weir_model **out,
		       struct weir_error *err)
{
	int ret = open_model(session, uris, count, how, out, err);

	if (ret && lenient_helps(session, uris, count, how, ret))
		report_suggest("--lenient reads it, as the reference library does");
	return ret;
}

void session_warn(const struct weir_model *model)
{
	const char *warning;

	for (uint64_t n = 0; (warning = weir_model_warning(model, n)); n++)
		report_warning("%s", warning);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char *decode(const char *text)
{
	char *path = malloc(strlen(text) + 1), *to = path;

	for (; path && *text; text++) {
		int high = *text == '%' ? hex_digit(text[1]) : -1;
		int low = high >= 0 ? hex_digit(text[2]) : -1;

		if (low >= 0)
			text += 2;
		*to++ = low >= 0 ? (char)(high * 16 + low) : *text;
	}
	if (path)
		*to = '\0';
	return path;
}

/* As the library tells them: a scheme and "://"; all else is a plain path. */
static bool is_uri(const char *text)
{
	size_t len = 0;

	while (isalnum((unsigned char)text[len]) || (len && text[len] && strchr("+-.", text[len])))
		len++;
	return len && strncmp(text + len, "://", 3) == 0;
}

char *session_path(const char *uri)
{
	const char *path = uri + strlen("file://");

	if (!is_uri(uri))
		return strdup(uri);
	if (strncasecmp(uri, "file://", strlen("file://")) != 0)
		return NULL;
	if (strncmp(path, "localhost/", strlen("localhost/")) == 0)
		path += strlen("localhost");
	return path[0] == '/' ? decode(path) : NULL;
}

char *session_name(const char *uri)
{
	char *text = is_uri(uri) ? decode(uri) : strdup(uri), *name = NULL;
	size_t end = text ? strlen(text) : 0, at;

	while (end > 1 && text[end - 1] == '/')
		end--;
	for (at = end; at > 0 && text[at - 1] != '/';)
		at--;
	if (text)
		name = strndup(text + at, end - at);
	free(text);
	return name;
}

char *session_join(const char *dir, const char *name)
{
	bool escape = is_uri(dir);
	size_t len = strlen(dir);
	char *path = malloc(len + 3 * strlen(name) + 2), *to = path;

	if (!path)
		return NULL;
	to = stpcpy(to, dir);
	if (!len || dir[len - 1] != '/')
		*to++ = '/';
	for (; *name; name++) {
		*to++ = *name;
		if (escape && *name == '%')
			to = stpcpy(to, "25");
	}
	*to = '\0';
	return path;
}

unsigned session_mode(const char *uri)
{
	char *path = session_path(uri);
	struct stat st;
	bool known = path && stat(path, &st) == 0;

	free(path);
	return known ? (st.st_mode & 0777) | S_IRUSR : 0;
}

int session_open_sparse(const char *uri)
{
	char *path = session_path(uri);
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
	struct stat st;

	free(path);
	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
			st.st_blocks >= (st.st_size + 511) / 512)) {
		close(fd);
		return -1;
	}
	return fd;
}

int session_restrict(const char *uri, unsigned mode, struct weir_error *err)
{
	char *path = session_path(uri);
	struct stat st;
	bool fine = !path || !mode || stat(path, &st) != 0 ||
		    chmod(path, st.st_mode & (mode | S_IRWXU)) == 0;

	if (!fine)
		report_set(err, WEIR_IO, uri, "%s: setting its mode: %s", uri, strerror(errno));
	free(path);
	return fine ? 0 : WEIR_IO;
}

bool session_loops(const char *uri)
{
	char *path = session_path(uri), *slash;
	char *real = path ? realpath(path, NULL) : NULL;
	struct stat st;
	bool found = false, link = real && lstat(path, &st) == 0 && S_ISLNK(st.st_mode);

	while (link && !found && (slash = strrchr(path, '/'))) {
		char *above;

		*slash = '\0';
		above = realpath(slash == path ? "/" : path, NULL);
		found = above && strcmp(above, real) == 0;
		free(above);
	}
	free(path);
	free(real);
	return found;
}

bool session_same(const char *a, const char *b)
{
	char *a_path = session_path(a), *b_path = session_path(b);
	char *a_real = a_path ? realpath(a_path, NULL) : NULL;
	char *b_real = b_path ? realpath(b_path, NULL) : NULL;
	bool same = strcmp(a, b) == 0 || (a_real && b_real && strcmp(a_real, b_real) == 0);

	free(a_path);
	free(b_path);
	free(a_real);
	free(b_real);
	return same;
}

bool session_inside(const char *uri, const char *directory)
{
	char *path = session_path(uri), *top = session_path(directory);
	char *real_top = top ? realpath(top, NULL) : NULL,
	     *real = path ? realpath(path, NULL) : NULL;
	bool inside;

	/* What is not there yet lies in the nearest directory above it that is. */
	while (path && !real) {
		char *slash = strrchr(path, '/');

		if (!slash)
			real = realpath(".", NULL);
		else
			*slash = '\0';
		if (!slash)
			break;
		real = realpath(slash == path ? "/" : path, NULL);
	}
	inside = real && real_top && strncmp(real, real_top, strlen(real_top)) == 0 &&
		 (real[strlen(real_top)] == '/' || real[strlen(real_top)] == '\0');
	free(path);
	free(top);
	free(real_top);
	free(real);
	return inside;
}

/* Writes out what is dirty and drops a local file from the page cache. */
static int drop(const char *uri, struct weir_error *err)
{
	char *path = session_path(uri);
	int fd, number;

	if (!path)
		return report_set(err, WEIR_UNSUPPORTED, uri,
				  "%s: only local files can be dropped from the page cache", uri);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	free(path);
	if (fd < 0)
		return report_set(err, errno == ENOENT ? WEIR_NOTFOUND : WEIR_IO, uri,
				  "%s: cannot open: %s", uri, strerror(errno));
	/* Dirty pages stay, so they are written out first; a file system that cannot is none of
	 * our business. */
	(void)fdatasync(fd);
	number = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	if (number)
		return report_set(err, WEIR_IO, uri, "%s: cannot drop it from the page cache: %s",
				  uri, strerror(number));
	return 0;
}

int session_drop_model(const struct weir_model *model, struct weir_error *err)
{
	for (uint64_t n = 0; n < weir_model_shard_count(model); n++) {
		int ret = drop(weir_model_shard(model, n)->uri, err);

		if (ret)
			return ret;
	}
	return 0;
}
