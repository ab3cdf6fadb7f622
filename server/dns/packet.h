/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the DNS (RFC 1035, 6891): a query in, an answer out. No sockets, no data. */
#pragma once

#include "server/dns/name.h"

enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_NS = 2,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_TXT = 16,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_SRV = 33,
    DNS_TYPE_OPT = 41,
    DNS_TYPE_IXFR = 251,
    DNS_TYPE_AXFR = 252,
    DNS_TYPE_ANY = 255,
};

enum { DNS_CLASS_IN = 1, DNS_CLASS_ANY = 255 };

enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16,
};

enum {
    DNS_FLAG_QR = 0x8000,
    DNS_FLAG_AA = 0x0400,
    DNS_FLAG_TC = 0x0200,
    DNS_FLAG_RD = 0x0100,
    DNS_FLAG_RA = 0x0080,
    DNS_FLAG_CD = 0x0010,
};

enum {
    DNS_HEAD_SIZE = 12,
    DNS_UDP_PLAIN_MAX = 512, /* of an answer, when the query has no EDNS */
    DNS_UDP_MAX = 4096,      /* of an answer, whatever the query offers */
    DNS_MESSAGE_MAX = 65535,
    DNS_QUERY_MAX = 4096, /* longer ones are refused unread */
    DNS_SUBNET_MAX = 20,  /* the option of RFC 7871 */
};

struct dns_query {
    uint16_t id, flags;
    uint16_t type, qclass;
    struct dns_name name;  /* as it was sent */
    uint16_t question_len; /* bytes behind the head, to be sent back as they are */
    int has_edns, is_dnssec_ok;
    uint16_t udp_size;   /* what the client can take by UDP; at least 512 */
    uint16_t size_at;    /* where that number stands in the packet; 0 = nowhere */
    struct slice subnet; /* value of the option of RFC 7871, at most DNS_SUBNET_MAX; borrowed */
};

/* 0: a query with one good question. -1: no answer at all (too short, or itself an answer). Else
 * the code of dns_rcode to answer with; `out` is filled as far as it was read (question_len 0: the
 * question was not). */
int dns_query_parse(struct slice packet, struct dns_query *out);

enum dns_section { DNS_QUESTION, DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL, DNS_SECTION_N };

enum { DNS_SUFFIX_SLOTS = 512, DNS_SUFFIXES_MAX = 384, DNS_POINTER_MAX = 0x3fff };

/* Suffixes of names that stand in a message, to be pointed at. Kept over messages: what an earlier
 * one left is told apart by its turn. */
struct dns_suffixes {
    uint32_t turn, n;
    struct {
        uint32_t hash, turn;
        uint16_t at;
    } slots[DNS_SUFFIX_SLOTS];
};

/* Writes into memory of the caller. A record that does not fit in `max` is not written at all and
 * leaves is_full. */
struct dns_writer {
    uint8_t *p;
    size_t len, max;
    size_t record_at, data_at; /* of the record that is being written */
    uint16_t counts[DNS_SECTION_N];
    uint8_t section, name_len; /* of the question */
    uint8_t is_compressed, is_full;
    uint8_t is_over; /* the record that is being written does not fit */
    struct dns_suffixes *suffixes;
};

/* Head and question. p has room for max, at least 512, at most 65,535 bytes. */
void dns_write_begin(struct dns_writer *w, const struct dns_query *q, struct slice packet,
                     uint8_t *p, size_t max);
/* One record: begin, data, end. Sections only go forward. owner NULL: the name of the question. */
void dns_record_begin(struct dns_writer *w, enum dns_section section, const struct dns_name *owner,
                      uint16_t type, uint32_t ttl);
void dns_put_u8(struct dns_writer *w, uint8_t v);
void dns_put_u16(struct dns_writer *w, uint16_t v);
void dns_put_u32(struct dns_writer *w, uint32_t v);
void dns_put_bytes(struct dns_writer *w, const void *p, size_t len);
/* may_shorten 0: written in full (SRV, RFC 2782), still pointed at by later ones. */
void dns_put_name(struct dns_writer *w, const struct dns_name *n, int may_shorten);
/* 0, or MU_E_TOO_LARGE: it did not fit and was taken back. */
int dns_record_end(struct dns_writer *w);
/* Take the record back that was ended last. */
void dns_record_undo(struct dns_writer *w);
/* What one would be long: owner is the name that stands at owner_at, or has owner_len bytes. */
size_t dns_record_size(const struct dns_writer *w, size_t owner_at, size_t owner_len, size_t data);
/* The OPT record, when the query had one; its room must have been kept free (dns_opt_size) by a
 * smaller max. Then the head: returns the length of the message. */
size_t dns_opt_size(const struct dns_query *q);
size_t dns_write_end(struct dns_writer *w, const struct dns_query *q, unsigned flags,
                     unsigned rcode, int is_subnet_scoped);
