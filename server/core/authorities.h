/* SPDX-License-Identifier: Apache-2.0 */
/* The authorities that certificates of checked services are verified against: the system's, or
 * those of SSL_CERT_FILE and SSL_CERT_DIR, as in Go. Read once: reading them for each request, as
 * curl does by itself, costs 20 ms of the core's thread. */
#pragma once

struct authorities;
struct authorities *authorities_new(void);
void authorities_free(struct authorities *a);
/* curl's easy handle verifies against them, and reads none of its own. */
void authorities_use(struct authorities *a, void *easy);
