// SPDX-License-Identifier: GPL-2.0
/*
 * json.c - names that are no UTF-8, in JSON
 */
#include "json.h"

#include <stdlib.h>
#include <string.h>

json_t *json_text(const char *bytes)
{
	json_t *text = json_string(bytes);
	char *utf8, *to;

	if (text)
		return text;
	/* Each byte as the character of that number: two bytes of UTF-8 at most */
	utf8 = to = malloc(2 * strlen(bytes) + 1);
	if (!utf8)
		return NULL;
	for (; *bytes; bytes++) {
		unsigned char c = *bytes;

		if (c < 0x80) {
			*to++ = c;
		} else {
			*to++ = 0xc0 | c >> 6;
			*to++ = 0x80 | (c & 0x3f);
		}
	}
	*to = 0;
	text = json_string(utf8);
	free(utf8);
	return text;
}
