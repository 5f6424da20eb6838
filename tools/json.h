/* SPDX-License-Identifier: GPL-2.0 */
/* json.h - what the kernel calls by any bytes, as text of a JSON document */
#ifndef STACKMAP_TOOLS_JSON_H
#define STACKMAP_TOOLS_JSON_H

#include <jansson.h>

/* @bytes are shown one by one where they are no UTF-8. NULL: out of memory */
json_t *json_text(const char *bytes);

#endif
