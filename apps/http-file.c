// SPDX-License-Identifier: GPL-2.0
/*
 * http-file.c - conditions and ranges of requests for files; see http-file.h
 *
 * The entity tag is made of size and time of modification. A file may be written twice within a
 * tick of the clock and keep both; so the tag of one that was modified a moment ago is a weak one, and its
 * date no strong validator either, and a range is not joined to bytes of another version.
 */
#include "http-file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SETTLED_S	2	/* so long unmodified: the times tell versions apart */
#define TAG_MAX		48

/* Some of a request's header */
struct text {
	const char *p, *end;
};

/* The next line of a field after *at (NULL at first) */
static bool next_field(const struct http_request *req, const char *name, const char **at,
		       struct text *value)
{
	const char *p = *at ? *at : req->fields, *end = req->fields + req->fields_len;
	size_t len = strlen(name);

	if (!req->fields)
		return false;
	while (p < end) {
		const char *lf = memchr(p, '\n', end - p);

		if (!lf)
			break;
		if ((size_t)(lf - p) > len && p[len] == ':' && !memcmp(p, name, len)) {
			value->p = p + len + 1;
			value->end = lf;
			while (value->end > value->p &&
			       (value->end[-1] == ' ' || value->end[-1] == '\t' || value->end[-1] == '\r'))
				value->end--;
			*at = lf + 1;
			return true;
		}
		p = lf + 1;
	}
	return false;
}

/* A field of which there may be only one */
static bool only_field(const struct http_request *req, const char *name, struct text *value)
{
	const char *at = NULL;
	struct text second;

	return next_field(req, name, &at, value) && !next_field(req, name, &at, &second);
}

static bool has_field(const struct http_request *req, const char *name)
{
	const char *at = NULL;
	struct text value;

	return next_field(req, name, &at, &value);
}

static bool settled(const struct http_file *file)
{
	return http_time_now() - file->modified >= SETTLED_S;
}

/* Not later than the response: RFC 9110, 8.8.2.1 */
static time_t last_modified(const struct http_file *file)
{
	time_t now = http_time_now();

	return file->modified < now ? file->modified : now;
}

/* The entity tag without W/ and quotes */
static size_t tag_of(const struct http_file *file, char out[static TAG_MAX])
{
	return snprintf(out, TAG_MAX, "%" PRIx64 "-%" PRIx64 ".%x", file->size,
			(uint64_t)file->modified, file->modified_ns);
}

/* Whether a list of tags has that of the file, which weak ones are only as far as weak_too says */
static bool in_tags(struct text list, const struct http_file *file, bool weak_too)
{
	char tag[TAG_MAX];
	size_t len = tag_of(file, tag);

	while (list.p < list.end) {
		const char *close;
		bool weak = false;

		if (*list.p == ' ' || *list.p == '\t' || *list.p == ',') {
			list.p++;
			continue;
		}
		if (list.end - list.p > 2 && list.p[0] == 'W' && list.p[1] == '/') {
			weak = true;
			list.p += 2;
		}
		if (*list.p != '"')
			return false;	/* no tag, nor what is behind it */
		list.p++;
		close = memchr(list.p, '"', list.end - list.p);
		if (!close)
			return false;
		if ((size_t)(close - list.p) == len && !memcmp(list.p, tag, len) &&
		    (weak_too || (!weak && settled(file))))
			return true;
		list.p = close + 1;
	}
	return false;
}

/* If-Match and If-None-Match: on any of their lines */
static bool matches(const struct http_request *req, const char *name, const struct http_file *file,
		    bool weak_too)
{
	const char *at = NULL;
	struct text value;

	while (next_field(req, name, &at, &value))
		if ((value.end - value.p == 1 && *value.p == '*') || in_tags(value, file, weak_too))
			return true;
	return false;
}

/* A field with a date; without a good one it is ignored */
static bool date_field(const struct http_request *req, const char *name, time_t *at)
{
	struct text value;

	return only_field(req, name, &value) && http_date_parse(value.p, value.end - value.p, at);
}

/* RFC 9110, 13.2.2, but for If-Range: 0, 304 or 412 */
static int precondition(const struct http_request *req, const struct http_file *file)
{
	time_t date;

	if (has_field(req, "if-match")) {
		if (!matches(req, "if-match", file, false))
			return 412;
	} else if (date_field(req, "if-unmodified-since", &date) && last_modified(file) > date) {
		return 412;
	}
	if (has_field(req, "if-none-match"))
		return matches(req, "if-none-match", file, true) ? 304 : 0;
	if (date_field(req, "if-modified-since", &date) && last_modified(file) <= date)
		return 304;
	return 0;
}

/* Whether the range is wanted of this version of the file */
static bool if_range(const struct http_request *req, const struct http_file *file)
{
	struct text value;
	time_t date;

	if (!has_field(req, "if-range"))
		return true;
	if (!only_field(req, "if-range", &value) || value.p == value.end)
		return false;
	if (*value.p == '"')
		return in_tags(value, file, false);
	return http_date_parse(value.p, value.end - value.p, &date) && date == file->modified &&
		settled(file);
}

static bool number(struct text *t, uint64_t *n)
{
	const char *start = t->p;

	for (*n = 0; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++)
		*n = *n > (UINT64_MAX - 9) / 10 ? UINT64_MAX / 10 : 10 * *n + (*t->p - '0');
	return t->p > start;
}

/* Reads one range of a list. 1: it is in the file; 0: it is not; -1: it is no range */
static int read_range(struct text *t, uint64_t size, struct http_range *range)
{
	uint64_t first, last;

	if (t->p < t->end && *t->p == '-') {
		t->p++;
		if (!number(t, &last))
			return -1;
		if (!last)
			return 0;
		range->len = last < size ? last : size;
		range->first = size - range->len;
		return 1;
	}
	if (!number(t, &first) || t->p == t->end || *t->p++ != '-')
		return -1;
	if (!number(t, &last))
		last = UINT64_MAX;
	if (last < first)
		return -1;
	if (first >= size)
		return 0;
	range->first = first;
	range->len = last < size ? last - first + 1 : size - first;
	return 1;
}

static void skip(struct text *t, const char *what)
{
	while (t->p < t->end && strchr(what, *t->p) && *t->p)
		t->p++;
}

/*
 * RFC 9110, 14.2: a list that cannot be read is ignored, as is one of bytes many times over, with
 * which a client could ask for more than there is.
 */
static void read_ranges(struct text t, uint64_t size, struct http_want *want)
{
	uint64_t sum = 0;
	unsigned int count = 0, all = 0;

	if (!size || t.end - t.p < 6 || strncasecmp(t.p, "bytes=", 6))
		return;
	t.p += 6;
	skip(&t, " \t,");
	while (t.p < t.end) {
		struct http_range range;
		int in = read_range(&t, size, &range);

		if (in < 0 || ++all > HTTP_RANGES_MAX)
			return;
		if (in) {
			want->ranges[count++] = range;
			sum += range.len;
		}
		skip(&t, " \t");
		if (t.p < t.end && *t.p != ',')
			return;
		skip(&t, " \t,");
	}
	if (!all || sum > size)
		return;
	want->status = count ? 206 : 416;
	want->count = count;
}

void http_file_want(const struct http_request *req, const struct http_file *file,
		    struct http_want *want)
{
	struct text value;

	want->status = 200;
	want->count = 0;
	if (__builtin_expect(!req->fields_len, 1))
		return;
	want->status = precondition(req, file);
	if (want->status)
		return;
	want->status = 200;
	if (!req->is_head && only_field(req, "range", &value) && if_range(req, file))
		read_ranges(value, file->size, want);
}

size_t http_file_fields(const struct http_file *file, char out[static HTTP_FILE_FIELDS_MAX])
{
	char tag[TAG_MAX], date[HTTP_DATE_LEN + 1];

	tag_of(file, tag);
	http_date(date, last_modified(file));
	return snprintf(out, HTTP_FILE_FIELDS_MAX,
			"Last-Modified: %s\r\nETag: %s\"%s\"\r\nAccept-Ranges: bytes\r\n", date,
			settled(file) ? "" : "W/", tag);
}

size_t http_part_head(char out[static HTTP_PART_MAX], const char *boundary, const char *type,
		      const struct http_range *range, uint64_t size)
{
	if (!range)
		return snprintf(out, HTTP_PART_MAX, "\r\n--%s--\r\n", boundary);
	return snprintf(out, HTTP_PART_MAX,
			"\r\n--%s\r\nContent-Type: %s\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64
			"/%" PRIu64 "\r\n\r\n", boundary, type, range->first,
			range->first + range->len - 1, size);
}
