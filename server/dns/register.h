/* SPDX-License-Identifier: Apache-2.0 */
/* What the store has no key for: names by their lower case, and who has an address. Made when it is
 * asked for, from all nodes and services, and used until the data changes; anew at most once a
 * second, and so that making it takes a small part of the time. */
#pragma once

#include "server/dns/zone.h"

struct view;
struct dns_register;

enum dns_register_kind { DNS_REGISTER_NODE, DNS_REGISTER_SERVICE };
enum { DNS_REGISTER_MAX = 262144 }; /* entries; what is beyond is not found */

struct dns_register *dns_register_new(int is_of_addresses);
void dns_register_free(struct dns_register *r);
/* key: a name in lower case, or an address (16 bytes, IPv4 mapped). 0 or NOT_FOUND; the name is
 * valid until the next call. */
int dns_register_find(struct dns_register *r, struct view *v, enum dns_register_kind kind,
                      struct slice key, struct slice *out_name);
