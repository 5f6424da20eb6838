// SPDX-License-Identifier: GPL-2.0
/*
 * http.c - HTTP/1.x for servers, without sockets: requests. See http.h.
 *
 * llhttp or http_parser does the syntax (http-syntax.h). What they leave to their user is here:
 * limits (a coarser one for everything up to the body is http-syntax.h's, as the backstop), which
 * requests are answered at all, 100 Continue, and keeping a request's target across feeds.
 */
#include "http.h"

#include <stdlib.h>
#include <string.h>

enum phase {
	PHASE_IDLE,		/* between requests */
	PHASE_HEAD,		/* request line and header section */
	PHASE_BODY,
	PHASE_JUDGE_METHOD,	/* the parser gave up on the method: is it a well-formed ... */
	PHASE_JUDGE_TARGET,	/* ... request line all the same? */
	PHASE_JUDGE_VERSION,
	PHASE_DONE,		/* the last request was handed over */
};

/* NAME_GATHER: may be one of gathered[]. Those before it are matched letter by letter */
enum name { NAME_OTHER, NAME_HOST, NAME_EXPECT, NAME_CODING, NAME_GATHER };

static const char *const names[] = {
	[NAME_HOST] = "host", [NAME_EXPECT] = "expect", [NAME_CODING] = "transfer-encoding",
};

/* The only values that are understood */
static const char *const values[] = {
	[NAME_EXPECT] = "100-continue", [NAME_CODING] = "chunked",
};

static const char *const gathered[] = {
	"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range",
};

/* One call of http_feed(), where the parser's callbacks find it. */
struct feed {
	struct http_conn *conn;
	http_handler *handler;
	void *arg;
	const char *mark;	/* from where to count the head's bytes in this buffer */
	const char *start;	/* of the buffer */
	bool begun;		/* a request has begun in it */
	bool body;		/* with something of a body, and no target behind it */
	const char *target;	/* where the target of the last one began, or NULL */
};

static int lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static bool is_token(unsigned char c)
{
	return c > ' ' && c < 127 && !strchr("()<>@,;:\\\"/[]?={}", c);
}

/* Stops the parser; finish() then reports status. */
static int refuse(struct http_conn *conn, int status)
{
	conn->status = status;
	return -1;
}

/* Counts the head to end, which lies in this feed; true while it is within bounds. */
static bool head_fits(const struct feed *feed, const char *end)
{
	const struct http_conn *conn = feed->conn;

	return conn->head_len + (size_t)(end - feed->mark) <=
		(size_t)HTTP_FIELDS_MAX + conn->target_len;
}

static void drop_target(struct http_conn *conn)
{
	if (conn->spill) {
		free(conn->spill);
		conn->spill = NULL;
		conn->target_cap = 0;
	}
	conn->target = NULL;
	conn->target_len = 0;
}

/* Adds to a target that is not, or cannot stay, in the caller's buffer. */
static int keep_target(struct http_conn *conn, const char *at, size_t len, size_t have)
{
	char *to = conn->spill ? conn->spill : conn->kept;
	size_t cap = conn->spill ? conn->target_cap : sizeof(conn->kept);

	if (have + len > cap) {
		/* Doubled, so that a target sent byte by byte costs no more than twice its size. */
		cap = 2 * (have + len);
		if (cap > HTTP_TARGET_MAX)
			cap = HTTP_TARGET_MAX;
		to = realloc(conn->spill, cap);
		if (!to)
			return -1;
		if (!conn->spill)
			memcpy(to, conn->kept, have);
		conn->spill = to;
		conn->target_cap = cap;
	}
	memcpy(to + have, at, len);
	conn->target = to;
	conn->target_len = have + len;
	return 0;
}

static int on_message_begin(http_parser_t *parser)
{
	struct http_conn *conn = ((struct feed *)parser->data)->conn;

	http_syntax_progress(parser);
	((struct feed *)parser->data)->begun = true;
	((struct feed *)parser->data)->target = NULL;
	conn->phase = PHASE_HEAD;
	conn->name = NAME_OTHER;
	conn->body_len = 0;
	conn->head_len = 0;
	conn->in_name = false;
	conn->found = 0;
	http_syntax_begin(parser);
	return 0;
}

static int on_url(http_parser_t *parser, const char *at, size_t len)
{
	struct feed *feed = parser->data;
	struct http_conn *conn = feed->conn;

	if (http_syntax_foreign(parser)) {
		feed->mark = at;
		conn->phase = PHASE_JUDGE_TARGET;
		conn->head_len = 0;
		return -1;
	}
	if (conn->target_len + len > HTTP_TARGET_MAX)
		return refuse(conn, 414);
	if (!conn->target) {
		conn->target = at;
		conn->target_len = len;
		conn->head_len = 0;
		feed->mark = at;
		feed->target = at;
		feed->body = false;
	} else if (keep_target(conn, at, len, conn->target_len)) {
		return refuse(conn, 500);
	}
	/* A line without a version: no header section will follow, so do not wait for one. */
	if (parser->http_major == 0 && parser->http_minor == 9)
		return refuse(conn, 505);
	return 0;
}

/* Adds to what is gathered of a request's fields */
static void gather(struct http_conn *conn, const char *at, size_t len, bool is_name)
{
	size_t need = conn->fields_len + len, cap, i;

	if (need > conn->fields_cap) {
		char *fields;

		/* (head_fits() keeps it within bounds; twice of them fit in 16 bits) */
		cap = need < 128 ? 256 : 2 * need;
		fields = cap <= UINT16_MAX ? realloc(conn->fields, cap) : NULL;
		if (!fields) {
			conn->broken = true;
			return;
		}
		conn->fields = fields;
		conn->fields_cap = cap;
	}
	for (i = 0; i < len; i++)
		conn->fields[conn->fields_len + i] = is_name ? lower(at[i]) : at[i];
	conn->fields_len = need;
}

/* A name has ended: true if it is one to be kept. Else it is dropped */
static bool gather_name(struct http_conn *conn)
{
	size_t len = conn->fields_len - conn->field_at, i;

	for (i = 0; i < sizeof(gathered) / sizeof(*gathered); i++)
		if (strlen(gathered[i]) == len &&
		    !memcmp(conn->fields + conn->field_at, gathered[i], len)) {
			gather(conn, ":", 1, false);
			return !conn->broken;
		}
	conn->fields_len = conn->field_at;
	return false;
}

/* What is gathered ends with a line feed, that of each field */
static void gather_end(struct http_conn *conn)
{
	if (conn->name == NAME_GATHER && !conn->in_name && conn->fields_len > conn->field_at)
		gather(conn, "\n", 1, false);
	conn->name = NAME_OTHER;
}

static void drop_fields(struct http_conn *conn)
{
	if (conn->fields) {
		free(conn->fields);
		conn->fields = NULL;
		conn->fields_len = 0;
		conn->fields_cap = 0;
	}
}

/* By its first letter */
static enum name name_of(struct http_conn *conn, char first)
{
	static const uint8_t first_letters[256] = {
		['h'] = NAME_HOST, ['H'] = NAME_HOST, ['e'] = NAME_EXPECT, ['E'] = NAME_EXPECT,
		['t'] = NAME_CODING, ['T'] = NAME_CODING, ['i'] = NAME_GATHER, ['I'] = NAME_GATHER,
		['r'] = NAME_GATHER, ['R'] = NAME_GATHER,
	};
	enum name name = first_letters[(unsigned char)first];

	if (name == NAME_GATHER) {
		if (!conn->files)
			return NAME_OTHER;
		conn->field_at = conn->fields_len;
	}
	return name;
}

/* A name of ours is whole, its value begins */
static void name_ends(struct http_conn *conn)
{
	if (conn->name == NAME_GATHER) {
		if (!gather_name(conn))
			conn->name = NAME_OTHER;
		return;
	}
	if (names[conn->name][conn->pos]) {
		conn->name = NAME_OTHER;	/* no more than its beginning */
		return;
	}
	if (conn->name == NAME_HOST) {
		if (conn->hosts < 2)
			conn->hosts++;
		return;
	}
	conn->pos = 0;
	conn->mismatch = false;
	if (conn->name == NAME_EXPECT) {
		conn->expects = true;
	} else {
		conn->coded_other |= conn->coded;	/* chunked and chunked again is neither */
		conn->coded = true;
	}
}

/* A value is whole. (What a coding's is not until then: its pieces are no codings) */
static void value_ends(struct http_conn *conn)
{
	if (conn->name == NAME_CODING)
		conn->coded_other |= conn->mismatch || values[NAME_CODING][conn->pos];
	else if (conn->name == NAME_GATHER)
		gather_end(conn);
}

static int on_header_field(http_parser_t *parser, const char *at, size_t len)
{
	struct feed *feed = parser->data;
	struct http_conn *conn = feed->conn;
	const char *name;
	size_t i;

	if (memchr(at, ' ', len))
		return refuse(conn, 400);
	if (conn->phase != PHASE_HEAD)
		return http_syntax_trailer(parser, len) ? 0 : refuse(conn, 431);
	if (!head_fits(feed, at + len))
		return refuse(conn, 431);
	if (!conn->in_name && len) {
		if (conn->name >= NAME_CODING)
			value_ends(conn);
		conn->in_name = true;
		conn->pos = 0;
		conn->name = name_of(conn, *at);
	}
	if (conn->name == NAME_OTHER)
		return 0;
	if (conn->name == NAME_GATHER) {
		gather(conn, at, len, true);
		return 0;
	}
	name = names[conn->name];
	for (i = 0; i < len; i++) {
		/* Past its end this compares with the NUL, and so fails. */
		if (lower(at[i]) != name[conn->pos]) {
			conn->name = NAME_OTHER;
			break;
		}
		conn->pos++;
	}
	return 0;
}

static int on_header_value(http_parser_t *parser, const char *at, size_t len)
{
	struct feed *feed = parser->data;
	struct http_conn *conn = feed->conn;
	const char *value;
	size_t i;

	/* The parser checks all bytes of a value but the first. */
	if (len && *at != '\t' && ((unsigned char)*at < ' ' || *at == 127))
		return refuse(conn, 400);
	if (conn->phase != PHASE_HEAD)
		return http_syntax_trailer(parser, len) ? 0 : refuse(conn, 431);
	if (!head_fits(feed, at + len))
		return refuse(conn, 431);
	if (conn->in_name) {
		conn->in_name = false;
		if (conn->name != NAME_OTHER)
			name_ends(conn);
	}
	if (__builtin_expect(conn->name <= NAME_HOST, 1))
		return 0;
	if (conn->name == NAME_GATHER) {
		gather(conn, at, len, false);
		return 0;
	}
	value = values[conn->name];
	for (i = 0; i < len; i++) {
		if (value[conn->pos] && lower(at[i]) == value[conn->pos])
			conn->pos++;
		else if (at[i] != ' ' && at[i] != '\t')
			conn->mismatch = true;
	}
	if (conn->name == NAME_EXPECT)
		conn->expects_other = conn->mismatch || value[conn->pos];
	return 0;
}

static int on_headers_complete(http_parser_t *parser)
{
	struct http_conn *conn = ((struct feed *)parser->data)->conn;
	uint64_t length = http_syntax_length(parser);

	http_syntax_progress(parser);
	if (conn->name >= NAME_CODING)
		value_ends(conn);
	if (parser->http_major != 1)
		return refuse(conn, 505);
	if (parser->method != HTTP_GET && parser->method != HTTP_HEAD &&
	    (parser->method != HTTP_POST || conn->files))
		return refuse(conn, 405);
	if (conn->hosts > 1 || (parser->http_minor >= 1 && !conn->hosts))
		return refuse(conn, 400);	/* RFC 9112, 3.2 */
	if (__builtin_expect(conn->coded, 0)) {
		/* RFC 9112, 6.1: a coding that is not understood, and one in a version without any */
		if (conn->coded_other)
			return refuse(conn, 501);
		if (!parser->http_minor)
			return refuse(conn, 400);
	}
	if (__builtin_expect(conn->broken, 0))
		return refuse(conn, 500);
	if (length > conn->body_max)
		return refuse(conn, 413);
	if (conn->expects && parser->http_minor >= 1) {
		if (conn->expects_other)
			return refuse(conn, 417);
		conn->awaits = conn->coded || length;
	}
	/* An offer to change protocols is declined by ignoring it. */
	parser->upgrade = 0;
	conn->phase = PHASE_BODY;
	return 0;
}

static int on_body(http_parser_t *parser, const char *at, size_t len)
{
	struct http_conn *conn = ((struct feed *)parser->data)->conn;

	(void)at;
	http_syntax_progress(parser);
	((struct feed *)parser->data)->body = true;
	conn->awaits = false;
	if (len > conn->body_max - conn->body_len)	/* chunked: not known before */
		return refuse(conn, 413);
	conn->body_len += len;
	return 0;
}

static int on_message_complete(http_parser_t *parser)
{
	struct feed *feed = parser->data;
	struct http_conn *conn = feed->conn;
	struct http_request req = {
		.target = conn->target,
		.target_len = conn->target_len,
		.body_len = conn->body_len,
		.method = parser->method,
		.is_head = parser->method == HTTP_HEAD,
		.files = conn->files,
		.fields = conn->fields,
		.fields_len = conn->fields_len,
	};
	int stop;

	http_syntax_progress(parser);
	conn->awaits = false;
	if (!http_syntax_keeps_alive(parser))
		req.persist = HTTP_CLOSE;
	else if (parser->http_minor == 0)
		req.persist = HTTP_KEEP_ALIVE_1_0;
	else
		req.persist = HTTP_KEEP_ALIVE;

	stop = feed->handler(feed->arg, &req);

	drop_target(conn);
	if (__builtin_expect(conn->fields != NULL, 0))
		drop_fields(conn);
	conn->phase = PHASE_IDLE;
	if (req.persist == HTTP_CLOSE) {
		conn->phase = PHASE_DONE;
		stop = 1;
	}
	return stop ? http_syntax_pause(parser) : 0;
}

static const http_parser_settings_t settings = {
	.on_message_begin = on_message_begin,
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* The connection's last words: one request with a status. */
static void finish(struct feed *feed, int status)
{
	struct http_conn *conn = feed->conn;
	struct http_request req = {
		.target = conn->target,
		.target_len = conn->target_len,
		.body_len = conn->body_len,
		.status = status,
		.persist = HTTP_CLOSE,
		.files = conn->files,
	};

	/* Before its head is complete the parser's method may be a guess, or an earlier one. */
	if (conn->target) {
		req.method = conn->syntax.parser.method;
		req.is_head = req.method == HTTP_HEAD;
	}
	conn->phase = PHASE_DONE;
	feed->handler(feed->arg, &req);
	drop_target(conn);
	drop_fields(conn);
}

/*
 * The parser knows a list of methods and stops at anything else. Only the rest of the line tells
 * a method that nobody knows (501) from what is not HTTP (400). What was read until here is a
 * prefix of a method. Returns the status, or 0 while the line has not ended.
 */
static int judge(struct http_conn *conn, const char *buf, size_t len)
{
	static const char version[] = "HTTP/#.#";
	size_t i;

	for (i = 0; i < len; i++) {
		unsigned char c = buf[i];

		if (++conn->head_len > HTTP_TARGET_MAX)
			return conn->phase == PHASE_JUDGE_TARGET ? 414 : 400;
		switch (conn->phase) {
		case PHASE_JUDGE_METHOD:
			if (c == ' ')
				conn->phase = PHASE_JUDGE_TARGET;
			else if (!is_token(c))
				return 400;
			break;
		case PHASE_JUDGE_TARGET:
			if (c < ' ' || c == 127)
				return 400;
			if (c == ' ') {
				conn->phase = PHASE_JUDGE_VERSION;
				conn->pos = 0;
			}
			break;
		default:
			if (conn->pos == sizeof(version) - 1)
				return c != '\r' && c != '\n' ? 400 :
					conn->syntax.parser.http_major == 1 ? 501 : 505;
			if (version[conn->pos] == '#' ? c < '0' || c > '9' :
							c != version[conn->pos])
				return 400;
			if (conn->pos == 5)
				conn->syntax.parser.http_major = c - '0';
			conn->pos++;
		}
	}
	return 0;
}

/* Where the request begins whose target does so in this buffer; NULL: before it, or not as one has it */
static const char *request_line(const struct feed *feed)
{
	const char *method = http_syntax_method(feed->conn->syntax.parser.method), *at = feed->target;
	size_t len = strlen(method);

	if (!at || (size_t)(at - feed->start) < len + 1 || at[-1] != ' ' || memcmp(at - len - 1, method, len))
		return NULL;
	return at - len - 1;
}

/* The same, where not even the target has begun: no line has ended since. A body may end with no line's end */
static const char *method_only(const struct feed *feed, size_t len)
{
	const char *end = feed->start + len, *at = end;

	if (feed->body)
		return NULL;
	while (at > feed->start && at[-1] != '\r' && at[-1] != '\n')
		at--;
	return at < end ? at : NULL;
}

/* How much of what was fed is of a request whose end has not come */
static void count_unfinished(struct http_conn *conn, const struct feed *feed, size_t len)
{
	const char *begin = feed->target ? request_line(feed) : method_only(feed, len);

	if (conn->phase == PHASE_IDLE || conn->phase == PHASE_DONE)
		conn->unfinished = 0;
	else if (feed->begun)
		conn->unfinished = begin ? feed->start + len - begin : UINT32_MAX;
	else if (conn->unfinished && conn->unfinished < UINT32_MAX - len)
		conn->unfinished += len;
	else
		conn->unfinished = UINT32_MAX;
}

void http_conn_end(struct http_conn *conn)
{
	conn->phase = PHASE_DONE;
}

void http_conn_init(struct http_conn *conn)
{
	memset(conn, 0, offsetof(struct http_conn, kept));
	http_syntax_init(&conn->syntax, &settings);
	conn->body_max = HTTP_BODY_MAX;
}

void http_conn_free(struct http_conn *conn)
{
	drop_target(conn);
	drop_fields(conn);
	conn->phase = PHASE_DONE;
}

bool http_conn_done(const struct http_conn *conn)
{
	return conn->phase == PHASE_DONE;
}

size_t http_feed(struct http_conn *conn, const void *buf, size_t len,
		 http_handler *handler, void *arg)
{
	struct feed feed = { .conn = conn, .handler = handler, .arg = arg, .mark = buf, .start = buf };
	const char *start = buf;
	const char *end = start + len;
	size_t used = 0;
	int status = 0;

	/* No bytes would tell the parser that the connection has ended. */
	if (!len || conn->phase == PHASE_DONE)
		return len;

	if (conn->phase < PHASE_JUDGE_METHOD) {
		switch (http_syntax_execute(&conn->syntax, &settings, &feed, start, len, &used)) {
		case HTTP_SYNTAX_OK:
			break;
		case HTTP_SYNTAX_PAUSED:
			conn->unfinished = 0;
			return conn->phase == PHASE_DONE ? len : used;
		case HTTP_SYNTAX_METHOD:
			conn->phase = PHASE_JUDGE_METHOD;
			conn->head_len = 0;
			break;
		case HTTP_SYNTAX_OVERFLOW:
			/* Before on_url() it is the target that has no end. */
			status = conn->phase == PHASE_HEAD && !conn->target ? 414 : 431;
			break;
		case HTTP_SYNTAX_VERSION:
			status = 505;
			break;
		case HTTP_SYNTAX_CODING:
			status = conn->status ? conn->status : 501;
			break;
		default:
			if (conn->phase == PHASE_JUDGE_TARGET)	/* on_url() says so */
				used = feed.mark - start;
			else
				status = conn->status ? conn->status : 400;
		}
	}
	if (conn->phase >= PHASE_JUDGE_METHOD)
		status = judge(conn, start + used, len - used);

	if (!status && conn->phase == PHASE_HEAD && conn->target) {
		if (!head_fits(&feed, end))
			status = 431;
		else if (!http_syntax_versioned(&conn->syntax.parser) && end[-1] == '\n')
			status = 505;	/* a line without a version: no header section will follow */
		else
			conn->head_len += end - feed.mark;
	}
	/* The caller's buffer is about to go; the target has to outlive it. */
	if (!status && conn->target && conn->target >= start && conn->target < end &&
	    keep_target(conn, conn->target, conn->target_len, 0))
		status = 500;
	if (status) {
		finish(&feed, status);
		conn->unfinished = 0;
		return len;
	}
	if (__builtin_expect(conn->phase != PHASE_IDLE || conn->unfinished, 0))
		count_unfinished(conn, &feed, len);
	/* Only if the body was not on its way already. */
	if (conn->awaits) {
		struct http_request req = {
			.target = conn->target,
			.target_len = conn->target_len,
			.status = 100,
			.method = conn->syntax.parser.method,
			.persist = HTTP_KEEP_ALIVE,
		};

		conn->awaits = false;
		handler(arg, &req);
	}
	return len;
}
