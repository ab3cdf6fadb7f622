/* SPDX-License-Identifier: Apache-2.0 */
/* Time and random, the only door to both. The simulator links other bodies for all of these names.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* CLOCK_BOOTTIME, asked anew at each call (never a loop's cached time). */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* Unix time; goes into commands on the proposing leader, never read by apply. */
int64_t clock_wall_ms(void);
void rnd_bytes(void *out, size_t len);
uint64_t rnd_u64(void);
uint64_t rnd_below(uint64_t n); /* 0..n-1, n > 0 */
