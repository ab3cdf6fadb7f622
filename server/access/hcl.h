/* SPDX-License-Identifier: Apache-2.0 */
/* The part of HCL 1 that access rules are written in (https://github.com/hashicorp/hcl, "HCL 1"):
 * keys with labels, blocks, strings, heredocs, numbers, booleans, lists and comments; no
 * interpolation, which HCL 1 leaves to others, too. */
#pragma once

#include "base/err.h"

struct json_t;

/* An object; a name that comes again becomes an array of its values, and a label is an object with
 * one member: `key "a" {}` is {"key": [{"a": {}}]}. JSON text is taken as well, as it is. 0, or
 * BAD_REQUEST with the line. Free with jr_free. The depth is bounded. */
int hcl_parse(struct slice text, struct json_t **out, struct err *e);
