/* ggml's blocks, and the steps that the scalar reference and the vector kernels share.
 *
 * The layouts, and the algorithms of all files here that name ggml, are those of ggml-quants.c (MIT licence, the ggml
 * authors), written anew. Everything is bytes, so that targets need no alignment.
 */
#ifndef LLMASOS_BLOCKS_H
#define LLMASOS_BLOCKS_H

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) || FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2
#error "the kernels promise ggml's bytes: float arithmetic has to be IEEE's, so no -ffast-math and no x87"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels write blocks as little-endian machines do"
#endif
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc has no such pragma: it gets -ffp-contract=off, which -std=c11 implies */
#endif

enum { Q4_0 = 2, Q5_0 = 6, Q8_0 = 8, Q4_K = 12, Q5_K = 13, Q6_K = 14 }; /* ggml's numbers */
enum { F32 = 0, F16 = 1, BF16 = 30 };

#define SIMPLE 32 /* values in a block of Q4_0, Q5_0 and Q8_0 */
#define SUPER 256 /* values in a super-block of the K types: 8 runs of 32, or 16 of 16 in Q6_K */
#define TILE 2048 /* values that a kernel is given at a time */
#define EPSILON 1e-15f /* ggml's GROUP_MAX_EPS: a run below it is all zero */

struct q4_0 { uint8_t d[2], levels[SIMPLE / 2]; };
struct q5_0 { uint8_t d[2], high[4], levels[SIMPLE / 2]; };
struct q8_0 { uint8_t d[2], levels[SIMPLE]; };
struct head { uint8_t d[2], d_min[2], scales[12]; }; /* units of scales and minima; both, 6 bits a run */
struct q4_k { struct head head; uint8_t levels[SUPER / 2]; };
struct q5_k { struct head head; uint8_t high[SUPER / 8], levels[SUPER / 2]; };
struct q6_k { uint8_t levels[SUPER / 2], high[SUPER / 4], scales[SUPER / 16], d[2]; };

struct format { int64_t block_values, block_bytes; };

/* All zero for types that there are no kernels for. */
static inline struct format format_of(int type) {
    switch (type) {
    case Q4_0: return (struct format){SIMPLE, sizeof(struct q4_0)};
    case Q5_0: return (struct format){SIMPLE, sizeof(struct q5_0)};
    case Q8_0: return (struct format){SIMPLE, sizeof(struct q8_0)};
    case Q4_K: return (struct format){SUPER, sizeof(struct q4_k)};
    case Q5_K: return (struct format){SUPER, sizeof(struct q5_k)};
    case Q6_K: return (struct format){SUPER, sizeof(struct q6_k)};
    default: return (struct format){0, 0};
    }
}

/* What errors weigh: an importance for each value, or NULL for ggml's own weights. */
struct weighting {
    const float *importance;
    float mean_square; /* of the row, where importance is given; Q4_0 and Q5_0 alone use it */
};

static inline const float *part(const float *importance, int64_t at) { return importance ? importance + at : NULL; }

static inline struct weighting weighting_at(struct weighting weighting, int64_t at) {
    return (struct weighting){part(weighting.importance, at), weighting.mean_square};
}

static inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ggml's rounding, half to even: added to 1.5 * 2^23, a number's last bits are its integer. Beyond +-4194303, where
 * that fails, what comes back is noise, but the same noise. */
#define ROUNDING 12582912.f

static inline int nearest_int(float value) { return (int)(bits_of(value + ROUNDING) & 0x007FFFFF) - 0x00400000; }

static inline int clamp(int value, int least, int most) { return value < least ? least : value > most ? most : value; }

/* float16, half to even; beyond its range infinite. */
static inline uint16_t half_bits(float value) {
#if defined(VECTOR_AVX2) || defined(VECTOR_AVX512)
    return _cvtss_sh(value, 0);
#else
    uint32_t sign = bits_of(value) >> 16 & 0x8000, size = bits_of(value) & 0x7FFFFFFF;
    if (size > 0x7F800000) return (uint16_t)(sign | 0x7E00);
    if (size >= 0x477FF000) return (uint16_t)(sign | 0x7C00);
    if (size < 0x38800000) /* subnormal: beside 0.5 a float's last bit is 2^-24, float16's smallest step */
        return (uint16_t)(sign | (bits_of(float_of(size) + 0.5f) - bits_of(0.5f)));
    return (uint16_t)(sign | (size - 0x38000000 + 0xFFF + (size >> 13 & 1)) >> 13);
#endif
}

static inline float half_value(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, size = half & 0x7FFF;
    uint32_t small = bits_of((float)size * 0x1p-24f);
    uint32_t large = (size << 13) + (size < 0x7C00 ? 0x38000000 : 0x70000000);
    return float_of(sign | (size < 0x400 ? small : large));
}

static inline void put_half(uint8_t *target, float value) {
    uint16_t half = half_bits(value);
    memcpy(target, &half, sizeof half);
}

static inline float get_half(const uint8_t *source) {
    uint16_t half;
    memcpy(&half, source, sizeof half);
    return half_value(half);
}

static inline float get_bfloat16(const uint8_t *source) {
    uint16_t upper;
    memcpy(&upper, source, sizeof upper);
    return float_of((uint32_t)upper << 16);
}

static inline bool half_is_finite(const uint8_t *half) { return (half[1] & 0x7C) != 0x7C; }

/* How Q4_K and Q5_K look for the scale of a run: levels are 0 to top, and candidates (most - least) / (top + first +
 * step * n) for n from 0 to steps. */
struct search { int top; float first, step; int steps; };

static inline struct search search_of(int type, const float *importance) {
    const struct search plain_4 = {15, -1.f, 0.1f, 20}, plain_5 = {31, -0.5f, 0.1f, 15};
    const struct search weighted_4 = {15, -0.9f, 0.05f, 36}, weighted_5 = {31, -0.9f, 0.05f, 36};
    if (type == Q4_K) return importance ? weighted_4 : plain_4;
    return importance ? weighted_5 : plain_5;
}

static inline uint8_t at_most_63(uint8_t level) { return level < 63 ? level : 63; }

static inline void cut_to_63(uint8_t *scales, uint8_t *minima) {
    for (int run = 0; run < 8; ++run) {
        scales[run] = at_most_63(scales[run]);
        minima[run] = at_most_63(minima[run]);
    }
}

/* Eight scales or minima as levels of 0 to 63, and their unit. A negative one wraps round to 63, as ggml's does. */
static inline float round_to_63rds(const float *values, uint8_t *levels) {
    float largest = 0;
    for (int run = 0; run < 8; ++run)
        if (values[run] > largest) largest = values[run];
    float inverse = largest > 0 ? 63.f / largest : 0.f;
    for (int run = 0; run < 8; ++run) levels[run] = at_most_63((uint8_t)nearest_int(inverse * values[run]));
    return largest / 63.f;
}

/* The scales and minima of a super-block's eight runs, 6 bits each, into 12 bytes. ggml does not cut what is more than
 * 6 bits (a negative scale wrapped round) for Q4_K with importance: the excess spoils its neighbours alike here. */
static inline void pack_scales(const uint8_t *scales, const uint8_t *minima, uint8_t *packed) {
    for (int run = 0; run < 4; ++run) {
        packed[run] = (uint8_t)(scales[run] | scales[run + 4] >> 4 << 6);
        packed[run + 4] = (uint8_t)(minima[run] | minima[run + 4] >> 4 << 6);
        packed[run + 8] = (uint8_t)((scales[run + 4] & 15) | minima[run + 4] << 4);
    }
}

static inline void unpack_scales(const uint8_t *packed, uint8_t *scales, uint8_t *minima) {
    for (int run = 0; run < 4; ++run) {
        scales[run] = packed[run] & 63;
        minima[run] = packed[run + 4] & 63;
        scales[run + 4] = (uint8_t)((packed[run + 8] & 15) | packed[run] >> 6 << 4);
        minima[run + 4] = (uint8_t)(packed[run + 8] >> 4 | packed[run + 4] >> 6 << 4);
    }
}

/* ---- 256 levels, a byte each, into the places that the types give them ------------------------------------------- */

static inline void pack_q4_k(const uint8_t *levels, uint8_t *low) {
    for (int part = 0; part < 4; ++part)
        for (int i = 0; i < 32; ++i)
            low[32 * part + i] = (uint8_t)((levels[64 * part + i] & 15) | levels[64 * part + 32 + i] << 4);
}

static inline void pack_q5_k(const uint8_t *levels, uint8_t *low, uint8_t *high) {
    pack_q4_k(levels, low);
    for (int i = 0; i < 32; ++i) high[i] = 0;
    for (int run = 0; run < 8; ++run)
        for (int i = 0; i < 32; ++i) high[i] |= (uint8_t)(levels[32 * run + i] >> 4 << run);
}

static inline void pack_q6_k(const uint8_t *levels, uint8_t *low, uint8_t *high) {
    for (int part = 0; part < 2; ++part, levels += 128, low += 64, high += 32)
        for (int i = 0; i < 32; ++i) {
            uint8_t a = levels[i], b = levels[i + 32], c = levels[i + 64], d = levels[i + 96];
            low[i] = (uint8_t)((a & 15) | c << 4);
            low[i + 32] = (uint8_t)((b & 15) | d << 4);
            high[i] = (uint8_t)(a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6);
        }
}

static inline void pack_q4_0(const uint8_t *levels, uint8_t *low) {
    for (int i = 0; i < 16; ++i) low[i] = (uint8_t)((levels[i] & 15) | levels[i + 16] << 4);
}

static inline void pack_q5_0(const uint8_t *levels, uint8_t *low, uint8_t *high) {
    uint32_t fifth = 0;
    pack_q4_0(levels, low);
    for (int i = 0; i < 32; ++i) fifth |= (uint32_t)(levels[i] >> 4 & 1) << i;
    memcpy(high, &fifth, sizeof fifth);
}

/* One block of a type, by the scalar code that defines the bytes. */
void llmasos_reference_block(int type, const float *values, struct weighting weighting, uint8_t *target);

#endif
