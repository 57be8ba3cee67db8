/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a URI means: which source, and which path within it.
 *
 * A text is a URI where it begins with a scheme and "://"; everything else is a plain path of the
 * file source, taken as it stands.  In a URI %XX means a byte; of file:// only this machine's
 * ("file:///a", "file://localhost/a") can be opened.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "source/source.h"

struct scheme {
	const char *name; /* as source_ops.scheme */
	bool has_host;
};

static const struct scheme schemes[] = {
	{"file", true},
	{"memory", false},
	{"3fs", true},
};

/* Length of "scheme" in "scheme://...", or 0. */
static size_t scheme_length(const char *uri)
{
	size_t len = 0;

	if (!isalnum((unsigned char)uri[0])) /* a digit is against the rules, and "3fs" has one */
		return 0;
	while (isalnum((unsigned char)uri[len]) || (uri[len] && strchr("+-.", uri[len])))
		len++;
	return strncmp(uri + len, "://", 3) == 0 ? len : 0;
}

static const struct scheme *find_scheme(const char *uri, size_t len)
{
	for (size_t i = 0; i < array_size(schemes); i++)
		if (strlen(schemes[i].name) == len && strncasecmp(schemes[i].name, uri, len) == 0)
			return &schemes[i];
	return NULL;
}

static int refuse(int code, const char *uri, const char *why, struct weir_error *err)
{
	struct quoted name;

	return error_set(err, code, uri, "%s: %s", quote(&name, (struct bytes){uri, strlen(uri)}),
			 why);
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; false where a '%' is not followed by two digits, or means the end of a C string. */
static bool decode(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		int high, low;

		if (*from != '%') {
			*to++ = *from;
			continue;
		}
		high = hex(from[1]);
		low = high < 0 ? -1 : hex(from[2]);
		if (low < 0 || (high == 0 && low == 0))
			return false;
		*to++ = (char)(high << 4 | low);
		from += 2;
	}
	*to = '\0';
	return true;
}

static int copy_path(const char *from, char **path, struct weir_error *err)
{
	*path = strdup(from);
	return *path ? 0 : error_nomem(err, from, "the path");
}

int source_split_uri(const char *uri, const char **scheme, char **path, struct weir_error *err)
{
	size_t len = scheme_length(uri);
	const struct scheme *found;
	const char *rest;
	int ret;

	if (uri[0] == '\0')
		return error_set(err, WEIR_ARG, uri, "an empty path");
	if (len == 0) {
		*scheme = schemes[0].name;
		return copy_path(uri, path, err);
	}
	found = find_scheme(uri, len);
	if (!found)
		return refuse(WEIR_UNSUPPORTED, uri, "weir does not know this scheme", err);
	rest = uri + len + strlen("://");
	if (found->has_host && strncmp(rest, "localhost/", strlen("localhost/")) == 0)
		rest += strlen("localhost");
	if (found->has_host && rest[0] != '/')
		return refuse(WEIR_UNSUPPORTED, uri, "names a file of another machine", err);
	if (rest[0] == '\0')
		return refuse(WEIR_ARG, uri, "names nothing", err);
	ret = copy_path(rest, path, err);
	if (ret)
		return ret;
	if (!decode(*path)) {
		free(*path);
		*path = NULL;
		return refuse(WEIR_ARG, uri, "a '%' that means no byte", err);
	}
	*scheme = found->name;
	return 0;
}
