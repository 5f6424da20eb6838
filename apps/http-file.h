/* SPDX-License-Identifier: GPL-2.0 */
/*
 * http-file.h - what a request wants of a file: conditions and ranges, RFC 9110, 13 and 14
 *
 * No file is touched here: bytes in, decisions out.
 */
#ifndef STACKMAP_APPS_HTTP_FILE_H
#define STACKMAP_APPS_HTTP_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "http.h"

#define HTTP_RANGES_MAX		16	/* a request for more gets all */
#define HTTP_FILE_FIELDS_MAX	160
#define HTTP_PART_MAX		256	/* of http_part_head() */

struct http_file {
	uint64_t size;
	time_t modified;
	uint32_t modified_ns;
};

struct http_range {
	uint64_t first;
	uint64_t len;
};

/**
 * struct http_want - how to answer
 * @status: 200: the file; 206: @count ranges of it; 304: it is as the client has it;
 *	412: it is not as the client thinks; 416: it has no such range
 */
struct http_want {
	int status;
	unsigned int count;
	struct http_range ranges[HTTP_RANGES_MAX];
};

/* Decides; req is a GET or a HEAD of a connection with files set */
void http_file_want(const struct http_request *req, const struct http_file *file,
		    struct http_want *want);

/* Writes the file's validators as header lines, and a NUL: what all but errors have. Returns the length */
size_t http_file_fields(const struct http_file *file, char out[static HTTP_FILE_FIELDS_MAX]);

/*
 * Writes what stands before a part of multipart/byteranges, the first included; without range, what
 * ends it. boundary is at most 40 bytes, type 60. Returns the length
 */
size_t http_part_head(char out[static HTTP_PART_MAX], const char *boundary, const char *type,
		      const struct http_range *range, uint64_t size);

#endif
