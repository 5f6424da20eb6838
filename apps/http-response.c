// SPDX-License-Identifier: GPL-2.0
/*
 * http-response.c - HTTP/1.x for servers: what is sent. See http.h
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{ 200, "OK" }, { 206, "Partial Content" }, { 301, "Moved Permanently" },
		{ 304, "Not Modified" }, { 400, "Bad Request" }, { 403, "Forbidden" },
		{ 404, "Not Found" }, { 405, "Method Not Allowed" }, { 412, "Precondition Failed" },
		{ 413, "Payload Too Large" }, { 414, "URI Too Long" },
		{ 416, "Range Not Satisfiable" }, { 417, "Expectation Failed" },
		{ 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" },
		{ 501, "Not Implemented" }, { 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" }, { 100, "Continue" }, { 204, "No Content" },
	};
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}

/* Appends to out[*at]; past cap it only counts. */
static void put(char *out, size_t cap, size_t *at, const char *s)
{
	size_t len = strlen(s);

	if (*at <= cap && len <= cap - *at)
		memcpy(out + *at, s, len);
	*at += len;
}

static const char *decimal(char buf[static 21], uint64_t n)
{
	char *p = buf + 20;

	*p = '\0';
	do {
		*--p = '0' + n % 10;
	} while (n /= 10);
	return p;
}

size_t http_response_head(char *out, size_t cap, int status, uint64_t content_length,
			  const char *type, enum http_persist persist, const char *extra)
{
	char number[21];
	size_t at = 0;

	put(out, cap, &at, "HTTP/1.1 ");
	put(out, cap, &at, decimal(number, status));
	put(out, cap, &at, " ");
	put(out, cap, &at, http_reason(status));
	if (status != 304) {	/* (whose length would be another response's) */
		put(out, cap, &at, "\r\nContent-Length: ");
		put(out, cap, &at, decimal(number, content_length));
	}
	if (type) {
		put(out, cap, &at, "\r\nContent-Type: ");
		put(out, cap, &at, type);
	}
	put(out, cap, &at, "\r\nDate: ");
	put(out, cap, &at, http_date_now());
	put(out, cap, &at, "\r\n");
	if (extra)
		put(out, cap, &at, extra);
	if (persist == HTTP_CLOSE)
		put(out, cap, &at, "Connection: close\r\n");
	else if (persist == HTTP_KEEP_ALIVE_1_0)
		put(out, cap, &at, "Connection: keep-alive\r\n");
	put(out, cap, &at, "\r\n");
	if (at >= cap)
		return 0;
	out[at] = '\0';
	return at;
}

/* The bodies are left for the caller to fill. */
static int canned_alloc(struct http_canned *canned, int status, const char *type, size_t len)
{
	char heads[HTTP_PERSIST_COUNT][HTTP_HEAD_MAX];
	size_t total = 0;
	char *p;
	int i;

	for (i = 0; i < HTTP_PERSIST_COUNT; i++) {
		canned->head_len[i] = http_response_head(heads[i], sizeof(heads[i]), status, len,
							 type, i, NULL);
		if (!canned->head_len[i])
			return -ENOMEM;
		canned->date_at[i] = strstr(heads[i], "\r\nDate: ") + 8 - heads[i];
		canned->len[i] = canned->head_len[i] + len;
		total += canned->len[i];
	}
	canned->mem = p = malloc(total);
	if (!p)
		return -ENOMEM;
	for (i = 0; i < HTTP_PERSIST_COUNT; i++) {
		canned->at[i] = p;
		memcpy(p, heads[i], canned->head_len[i]);
		p += canned->len[i];
	}
	return 0;
}

int http_canned_init(struct http_canned *canned, int status, const char *type,
		     const void *body, size_t len)
{
	int err = canned_alloc(canned, status, type, len);
	int i;

	for (i = 0; !err && len && i < HTTP_PERSIST_COUNT; i++)
		memcpy((char *)canned->at[i] + canned->head_len[i], body, len);
	return err;
}

int http_canned_fill(struct http_canned *canned, int status, const char *type, char c, size_t len)
{
	int err = canned_alloc(canned, status, type, len);
	int i;

	for (i = 0; !err && i < HTTP_PERSIST_COUNT; i++)
		memset((char *)canned->at[i] + canned->head_len[i], c, len);
	return err;
}

void http_canned_date(struct http_canned *canned)
{
	int i;

	for (i = 0; i < HTTP_PERSIST_COUNT; i++)
		memcpy((char *)canned->at[i] + canned->date_at[i], http_date_now(), HTTP_DATE_LEN);
}

size_t http_canned_size(const struct http_canned *canned)
{
	size_t size = 0;
	int i;

	for (i = 0; i < HTTP_PERSIST_COUNT; i++) {
		size_t end = canned->at[i] + canned->len[i] - canned->mem;

		if (end > size)
			size = end;
	}
	return size;
}

void http_canned_free(struct http_canned *canned)
{
	free(canned->mem);
	memset(canned, 0, sizeof(*canned));
}

/*
 * Error responses, each in a place of its own: as the bytes are the same whenever it is written, but
 * for the date, what has not been sent yet stays what it was.
 */
static const char *error_reply(int status, bool files, bool is_head, size_t *len)
{
	static const int statuses[] = { 400, 405, 413, 414, 417, 431, 501, 505, 500 };
	enum { COUNT = sizeof(statuses) / sizeof(*statuses) };
	static _Thread_local char bytes[COUNT + 1][320];
	char body[64];
	const char *extra = NULL;
	size_t i, body_len = 0;

	for (i = 0; i < COUNT - 1 && statuses[i] != status;)
		i++;
	status = statuses[i];	/* the last: for any other */
	if (status == 405) {
		extra = files ? "Allow: GET, HEAD\r\n" : "Allow: GET, HEAD, POST\r\n";
		if (files)
			i = COUNT;
	}
	put(body, sizeof(body), &body_len, decimal((char[21]){ 0 }, status));
	put(body, sizeof(body), &body_len, " ");
	put(body, sizeof(body), &body_len, http_reason(status));
	put(body, sizeof(body), &body_len, "\n");
	*len = http_response_head(bytes[i], sizeof(bytes[i]) - sizeof(body), status, body_len,
				  "text/plain", HTTP_CLOSE, extra);
	memcpy(bytes[i] + *len, body, body_len);
	bytes[i][*len + body_len] = '\0';
	if (!is_head)
		*len += body_len;
	return bytes[i];
}

const char *http_reply(const struct http_canned *canned, const struct http_request *req,
		       size_t *len)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (!req->status) {
		*len = req->is_head ? canned->head_len[req->persist] : canned->len[req->persist];
		return canned->at[req->persist];
	}
	if (req->status == 100) {
		*len = sizeof(go_on) - 1;
		return go_on;
	}
	return error_reply(req->status, req->files, req->is_head, len);
}
