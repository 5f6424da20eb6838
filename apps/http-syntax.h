/* SPDX-License-Identifier: GPL-2.0 */
/*
 * http-syntax.h - the parser of HTTP's syntax that http.c is built on: llhttp or http_parser
 *
 * http_parser is what Debian 12 has; its authors have ended it in favour of llhttp, which Debian 13
 * has besides. STACKMAP_LLHTTP chooses the latter (the Makefile does, where its header is installed).
 * Both have the same callbacks, methods and flags; here is what differs.
 *
 * Debian builds http_parser with HTTP_PARSER_STRICT=0. What that lets through and matters (a space
 * in a field name, HTTP/0.9) is refused in http.c. It does not compare the letters of "HTTP", nor the CR
 * LF after a chunk, and accepts lines that end with LF alone, as servers may: that is let through, for
 * we pass nothing on to anyone who might understand it differently. llhttp is strict, but for the
 * letters; it is told to accept all versions 1.x, as servers must.
 *
 * Neither is asked for the length of anything but what lies between two calls of
 * http_syntax_progress(): so much of a head, of trailers, or of what should be one, is an overflow.
 */
#ifndef STACKMAP_APPS_HTTP_SYNTAX_H
#define STACKMAP_APPS_HTTP_SYNTAX_H

#include <stddef.h>
#include <stdint.h>

enum http_syntax_result {
	HTTP_SYNTAX_OK,		/* all was read */
	HTTP_SYNTAX_PAUSED,	/* a callback said http_syntax_pause() */
	HTTP_SYNTAX_METHOD,	/* it knows no such method */
	HTTP_SYNTAX_VERSION,	/* nor such a version */
	HTTP_SYNTAX_CODING,	/* nor such a transfer coding */
	HTTP_SYNTAX_OVERFLOW,	/* too much that is no body */
	HTTP_SYNTAX_ERROR	/* what it cannot read, or a callback did not want */
};

#ifdef STACKMAP_LLHTTP

#include <llhttp.h>

#define HTTP_SYNTAX_MAX	81920u	/* as http_parser has it */

typedef llhttp_t http_parser_t;
typedef llhttp_settings_t http_parser_settings_t;

struct http_syntax {
	llhttp_t parser;	/* the first: http_syntax_progress() */
	uint32_t nread;		/* since the last progress */
	uint32_t trailers;	/* bytes of them */
};

static inline void http_syntax_init(struct http_syntax *syntax, const llhttp_settings_t *settings)
{
	llhttp_init(&syntax->parser, HTTP_REQUEST, settings);
	llhttp_set_lenient_version(&syntax->parser, 1);
	syntax->nread = 0;
	syntax->trailers = 0;
}

/* The method is that of HTTP/2's preface, or of another protocol's: 1.x has no such one */
static inline int http_syntax_foreign(const llhttp_t *parser)
{
	return parser->method == HTTP_PRI;
}

/* A message begins: its version is not known, then it is, or is 0.9 as there is none */
static inline void http_syntax_begin(llhttp_t *parser)
{
	parser->http_major = UINT8_MAX;
	parser->http_minor = 0;
}

static inline int http_syntax_versioned(const llhttp_t *parser)
{
	return parser->http_major != UINT8_MAX;
}

static inline void http_syntax_progress(llhttp_t *parser)
{
	((struct http_syntax *)parser)->nread = 0;
	((struct http_syntax *)parser)->trailers = 0;
}

/* Some more of the fields behind a chunked body: false if that is too much */
static inline int http_syntax_trailer(llhttp_t *parser, size_t len)
{
	struct http_syntax *syntax = (struct http_syntax *)parser;

	syntax->trailers += len < HTTP_SYNTAX_MAX ? len : HTTP_SYNTAX_MAX + 1;
	return syntax->trailers <= HTTP_SYNTAX_MAX;
}

static inline int http_syntax_pause(llhttp_t *parser)
{
	(void)parser;
	return HPE_PAUSED;
}

/* What Content-Length says, or 0 */
static inline uint64_t http_syntax_length(const llhttp_t *parser)
{
	return parser->flags & F_CONTENT_LENGTH ? parser->content_length : 0;
}

static inline int http_syntax_keeps_alive(const llhttp_t *parser)
{
	return llhttp_should_keep_alive(parser);
}

static inline const char *http_syntax_method(unsigned int method)
{
	return llhttp_method_name((llhttp_method_t)method);
}

static inline enum http_syntax_result http_syntax_execute(struct http_syntax *syntax,
							  const llhttp_settings_t *settings, void *data,
							  const char *at, size_t len, size_t *used)
{
	llhttp_t *parser = &syntax->parser;
	llhttp_errno_t err;

	(void)settings;
	parser->data = data;
	/* Before: what is read up to the next progress is in this piece, too */
	syntax->nread += len < HTTP_SYNTAX_MAX ? len : HTTP_SYNTAX_MAX + 1;
	err = llhttp_execute(parser, at, len);
	parser->data = NULL;
	if (__builtin_expect(err == HPE_OK, 1)) {
		*used = len;
		/* A request line of 0.9: it would wait for a header */
		if (__builtin_expect(!parser->http_major && parser->http_minor == 9, 0))
			return HTTP_SYNTAX_VERSION;
		return syntax->nread > HTTP_SYNTAX_MAX ? HTTP_SYNTAX_OVERFLOW : HTTP_SYNTAX_OK;
	}
	*used = llhttp_get_error_pos(parser) - at;
	switch (err) {
	case HPE_PAUSED:
		llhttp_resume(parser);
		return HTTP_SYNTAX_PAUSED;
	case HPE_INVALID_METHOD:
		return HTTP_SYNTAX_METHOD;
	case HPE_INVALID_TRANSFER_ENCODING:
		/* (with a length as well it is not the coding that is wrong) */
		return parser->flags & F_CONTENT_LENGTH ? HTTP_SYNTAX_ERROR : HTTP_SYNTAX_CODING;
	default:
		return !parser->http_major && parser->http_minor == 9 ? HTTP_SYNTAX_VERSION :
									HTTP_SYNTAX_ERROR;
	}
}

#else /* http_parser */

#include <http_parser.h>

typedef struct http_parser http_parser_t;
typedef struct http_parser_settings http_parser_settings_t;

struct http_syntax {
	struct http_parser parser;
};

static inline void http_syntax_init(struct http_syntax *syntax, const http_parser_settings_t *settings)
{
	(void)settings;
	http_parser_init(&syntax->parser, HTTP_REQUEST);
}

static inline int http_syntax_foreign(const struct http_parser *parser)
{
	(void)parser;
	return 0;
}

/* 0.9 is what it decides on before on_url(), when there is no version */
static inline void http_syntax_begin(struct http_parser *parser)
{
	parser->http_major = 0;
	parser->http_minor = 0;
}

static inline int http_syntax_versioned(const struct http_parser *parser)
{
	(void)parser;
	return 1;
}

/* It counts by itself */
static inline void http_syntax_progress(struct http_parser *parser)
{
	(void)parser;
}

static inline int http_syntax_trailer(struct http_parser *parser, size_t len)
{
	(void)parser;
	(void)len;
	return 1;
}

static inline int http_syntax_pause(struct http_parser *parser)
{
	http_parser_pause(parser, 1);
	return 0;
}

static inline uint64_t http_syntax_length(const struct http_parser *parser)
{
	return parser->content_length != UINT64_MAX ? parser->content_length : 0;
}

static inline int http_syntax_keeps_alive(const struct http_parser *parser)
{
	return http_should_keep_alive(parser);
}

static inline const char *http_syntax_method(unsigned int method)
{
	return http_method_str((enum http_method)method);
}

static inline enum http_syntax_result http_syntax_execute(struct http_syntax *syntax,
							  const http_parser_settings_t *settings, void *data,
							  const char *at, size_t len, size_t *used)
{
	struct http_parser *parser = &syntax->parser;

	parser->data = data;
	*used = http_parser_execute(parser, settings, at, len);
	parser->data = NULL;
	switch (HTTP_PARSER_ERRNO(parser)) {
	case HPE_OK:
		return HTTP_SYNTAX_OK;
	case HPE_PAUSED:
		http_parser_pause(parser, 0);
		return HTTP_SYNTAX_PAUSED;
	case HPE_INVALID_METHOD:
		return HTTP_SYNTAX_METHOD;
	case HPE_HEADER_OVERFLOW:
		return HTTP_SYNTAX_OVERFLOW;
	default:
		return HTTP_SYNTAX_ERROR;
	}
}

#endif

#endif
