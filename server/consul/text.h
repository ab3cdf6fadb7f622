/* SPDX-License-Identifier: Apache-2.0 */
/* Text as Go's libraries read and write it, and so Consul. */
#pragma once

#include "base/buf.h"

/* time.ParseDuration: "10s", "1m30s", "1.5h", "300ms"; 0 or MU_E_BAD_REQUEST. Nanoseconds, no
 * sign, at most what Go can hold. */
int consul_text_duration(struct slice s, uint64_t *out_ns);
/* strconv.ParseBool: 0 or MU_E_BAD_REQUEST. */
int consul_text_bool(struct slice s, int *out);
/* As Duration.String writes it: "1m30s", "250ms". */
void consul_text_put_duration(struct buf *out, uint64_t ns);
/* Percent-decoded into mem (s.len bytes): any bytes. A bad escape is BAD_REQUEST. */
int consul_text_decode(struct slice s, uint8_t *mem, struct slice *out);
/* Appends the path without empty and dotted segments; 1 when it had none. `path` begins with a
 * slash, `out` is empty. A slash at the end stays. */
int consul_text_clean(struct slice path, struct buf *out);
/* Standard base64 with its padding; mem holds at least 3 * (s.len / 4) bytes. BAD_REQUEST and the
 * place of the first wrong byte. */
int consul_text_base64(struct slice s, uint8_t *mem, struct slice *out, size_t *out_at);
/* Appends compact JSON as json.MarshalIndent with four spaces writes it, and a new line. */
void consul_text_indent(struct buf *out, struct slice json);
