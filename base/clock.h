/* SPDX-License-Identifier: Apache-2.0 */
/* Time and random, the only door to both. The simulator links other bodies for these names. */
#pragma once

#include <stdint.h>
#include <stddef.h>

int64_t clock_mono_ms(void);   /* CLOCK_BOOTTIME, asked anew at each call (never a loop's cached time) */
int64_t clock_mono_us(void);
int64_t clock_wall_ms(void);   /* Unix time; goes into commands on the proposing leader, never read by apply */
void rnd_bytes(void *out, size_t len);
uint64_t rnd_u64(void);
uint64_t rnd_below(uint64_t n); /* 0..n-1, n > 0 */
