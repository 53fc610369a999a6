/* What the library of kernels exports. Every function keeps no state and may be called from any thread. */
#ifndef LLMASOS_KERNELS_H
#define LLMASOS_KERNELS_H

#include <stdint.h>

#define LLMASOS_API __attribute__((visibility("default")))

/* The highest level of this machine: 0 plain C alone, 1 SSE4.1, 2 AVX2 (with F16C and FMA), 3 AVX-512 (with BW, DQ and
 * VL), 4 NEON. An x86 machine has the levels below its highest too. */
LLMASOS_API int llmasos_best_level(void);

/* Quantizes `rows` rows of `width` values to the bytes that ggml_quantize_chunk gives on x86-64, on every machine.
 *
 * `type` is ggml's number of Q4_0, Q5_0, Q8_0, Q4_K, Q5_K or Q6_K, `source_type` that of F32, F16 or BF16. `importance`
 * is NULL, or says what errors in each of the `width` columns weigh (never negative; Q8_0 takes no account of it).
 * Nothing needs to be aligned.
 *
 * Returned is how many blocks fell back to plain C, at level 0 all. Every block is among them that holds NaN or
 * infinity, or whose scale is beyond float16, so after 0 nothing of that kind needs to be looked for. (In such blocks,
 * noise anyway, the sign of a NaN may differ from x86-64's elsewhere.) The others are blocks whose fit left the range
 * that the kernels vouch for. -1: no such type, width or level; then nothing was touched. */
LLMASOS_API int64_t llmasos_quantize(int level, int type, int source_type, const void *source, void *target,
                                     int64_t rows, int64_t width, const float *importance);

#endif
