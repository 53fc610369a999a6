/* Which instructions this machine has and its system saves.
 *
 * Asked of the processor itself: __builtin_cpu_supports is always false under compilers that don't bring its data.
 */
#include <stdatomic.h>

#include "kernels.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdbool.h>

enum { SSE_STATE = 2, AVX_STATE = 4, AVX512_STATES = 0xE0 };

static uint32_t saved_states(void) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool has(uint32_t bits, uint32_t wanted) { return (bits & wanted) == wanted; }

static int ask(void) {
    uint32_t a, b = 0, c, d, ignored;
    if (!__get_cpuid(1, &a, &ignored, &c, &d) || !has(c, bit_SSE4_1)) return 0;
    if (!has(c, bit_OSXSAVE | bit_AVX | bit_F16C | bit_FMA)) return 1;
    uint32_t states = saved_states();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 1;
    if (!has(states, SSE_STATE | AVX_STATE) || !has(b, bit_AVX2)) return 1;
    if (!has(states, AVX512_STATES) || !has(b, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL)) return 2;
    return 3;
}

/* Asked once: in a virtual machine each question takes as long as a thousand values do. */
int llmasos_best_level(void) {
    static _Atomic int level = -1;
    int known = atomic_load_explicit(&level, memory_order_relaxed);
    if (known < 0) atomic_store_explicit(&level, known = ask(), memory_order_relaxed);
    return known;
}

#elif defined(__aarch64__)

int llmasos_best_level(void) { return 4; } /* NEON is part of the architecture */

#else

int llmasos_best_level(void) { return 0; }

#endif
