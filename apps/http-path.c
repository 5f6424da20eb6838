// SPDX-License-Identifier: GPL-2.0
/*
 * http-path.c - which file a request's target names, and of which type it is
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "http.h"

static int hex(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int http_target_path(const char *target, size_t len, char *out, size_t cap)
{
	const char *p = target, *end = target + len;
	size_t at = 0, segment = 0;	/* written; where the last segment starts */

	if (len > 7 && !strncasecmp(p, "http://", 7)) {	/* as sent to a proxy; RFC 9112, 3.2.2 */
		p = memchr(p + 7, '/', len - 7);
		if (!p)
			return -EINVAL;
	}
	if (p == end || *p != '/')
		return -EINVAL;
	if (!cap)
		return -ENAMETOOLONG;
	/* Decoded first and taken apart afterwards, so that %2e and %2f get nothing past it. */
	for (;;) {
		int c = '/';	/* the end closes the last segment, as a slash does */
		bool last = p == end || *p == '?' || *p == '#';

		if (!last) {
			c = (unsigned char)*p++;
			if (c == '%') {
				int high, low;

				if (end - p < 2)
					return -EINVAL;
				high = hex(p[0]);
				low = hex(p[1]);
				if (high < 0 || low < 0)
					return -EINVAL;
				c = high << 4 | low;
				p += 2;
			}
			if (!c)
				return -EINVAL;
		}
		if (c == '/') {
			size_t n = at - segment;

			if (n == 2 && out[segment] == '.' && out[segment + 1] == '.')
				return -EINVAL;
			if (n == 1 && out[segment] == '.')
				at = segment;
			if (last)
				break;
			if (at == segment)	/* empty */
				continue;
		}
		if (at + 1 >= cap)
			return -ENAMETOOLONG;
		out[at++] = c;
		if (c == '/')
			segment = at;
	}
	out[at] = '\0';
	return at;
}

const char *http_content_type(const char *path)
{
	static const struct {
		const char *extension, *type;
	} types[] = {
		{ "html", "text/html" }, { "htm", "text/html" }, { "txt", "text/plain" },
		{ "md", "text/plain" }, { "css", "text/css" }, { "csv", "text/csv" },
		{ "js", "text/javascript" }, { "mjs", "text/javascript" },
		{ "json", "application/json" }, { "xml", "application/xml" },
		{ "wasm", "application/wasm" }, { "pdf", "application/pdf" },
		{ "gz", "application/gzip" }, { "zip", "application/zip" },
		{ "png", "image/png" }, { "jpg", "image/jpeg" }, { "jpeg", "image/jpeg" },
		{ "gif", "image/gif" }, { "svg", "image/svg+xml" }, { "webp", "image/webp" },
		{ "ico", "image/vnd.microsoft.icon" }, { "woff2", "font/woff2" },
		{ "mp4", "video/mp4" }, { "webm", "video/webm" }, { "mp3", "audio/mpeg" },
	};
	const char *name = strrchr(path, '/');
	const char *dot = strrchr(name ? name : path, '.');
	size_t i;

	for (i = 0; dot && i < sizeof(types) / sizeof(*types); i++)
		if (!strcasecmp(dot + 1, types[i].extension))
			return types[i].type;
	return "application/octet-stream";
}
