/* Vectors of floats, for the kernels that each instruction set's file instantiates.
 *
 * A file such as avx2.c defines one of VECTOR_SSE41, VECTOR_AVX2, VECTOR_AVX512 and VECTOR_NEON, turns its instructions
 * on, and includes this. A Vector is a pair of registers: sums that depend on their predecessors are bound by latency,
 * and two independent chains hide most of it. Every operation is one IEEE operation a lane, rounded to nearest.
 * v_ works on floats, i_ on 32-bit integers, m_ on masks.
 */
#ifndef LLMASOS_VECTOR_H
#define LLMASOS_VECTOR_H

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))

/* Before a loop: eight turns at a time. */
#ifdef __clang__
#define UNROLL _Pragma("unroll 8")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* ---- one register of each instruction set ------------------------------------------------------------------------ */

#if defined(VECTOR_NEON)

typedef float32x4_t Register;
typedef int32x4_t IntegerRegister;
typedef uint32x4_t MaskRegister;
#define REGISTER_LANES 4

#define R_LOAD vld1q_f32
#define R_STORE vst1q_f32
#define R_SET vdupq_n_f32
#define R_ADD vaddq_f32
#define R_SUB vsubq_f32
#define R_MUL vmulq_f32
#define R_DIV vdivq_f32
#define R_MIN vminq_f32
#define R_MAX vmaxq_f32
#define R_ABS vabsq_f32
#define R_SQRT vsqrtq_f32
#define R_LESS vcltq_f32
#define R_LESS_EQUAL vcleq_f32
#define R_EQUAL vceqq_f32
#define R_SELECT vbslq_f32
#define R_MASK_AND vandq_u32
#define R_MASK_OR vorrq_u32
#define R_FUSED(a, b, c) vfmaq_f32(c, a, b)
#define R_NEAREST vrndnq_f32
#define R_TRUNCATE vcvtq_s32_f32
#define R_ROUND vcvtnq_s32_f32
#define R_FLOATS vcvtq_f32_s32
#define R_AS_INTEGERS vreinterpretq_s32_f32
#define R_AS_FLOATS vreinterpretq_f32_s32
#define I_SET vdupq_n_s32
#define I_ADD vaddq_s32
#define I_AND vandq_s32
#define I_OR vorrq_s32
#define I_MIN vminq_s32
#define I_MAX vmaxq_s32
#define I_SHIFT vshlq_n_s32
#define I_SHIFT_RIGHT vshrq_n_s32

INLINE uint32_t mask_bits(MaskRegister mask) {
    const uint32x4_t weights = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(mask, weights));
}

INLINE int32_t largest_of(IntegerRegister a) { return vmaxvq_s32(a); }
INLINE float largest_float_of(Register a) { return vmaxvq_f32(a); }

INLINE void transpose_4x4(const float *source, int64_t stride, float *target, int64_t target_stride) {
    float32x4x2_t even = vtrnq_f32(vld1q_f32(source), vld1q_f32(source + stride));
    float32x4x2_t odd = vtrnq_f32(vld1q_f32(source + 2 * stride), vld1q_f32(source + 3 * stride));
    for (int half = 0; half < 2; ++half) {
        float *to = target + half * target_stride;
        vst1q_f32(to, vcombine_f32(vget_low_f32(even.val[half]), vget_low_f32(odd.val[half])));
        vst1q_f32(to + 2 * target_stride, vcombine_f32(vget_high_f32(even.val[half]), vget_high_f32(odd.val[half])));
    }
}

#else /* x86: the three widths share their mnemonics */

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define X86(operation) JOIN(X86_PREFIX, operation)
#define TO_NEAREST (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

#if defined(VECTOR_SSE41)

typedef __m128 Register;
typedef __m128i IntegerRegister;
typedef __m128 MaskRegister;
#define REGISTER_LANES 4
#define X86_PREFIX _mm_
#define R_LESS _mm_cmplt_ps
#define R_LESS_EQUAL _mm_cmple_ps
#define R_EQUAL _mm_cmpeq_ps
#define R_SELECT(mask, yes, no) _mm_blendv_ps(no, yes, mask)
#define R_MASK_AND _mm_and_ps
#define R_MASK_OR _mm_or_ps
#define R_AS_INTEGERS _mm_castps_si128
#define R_AS_FLOATS _mm_castsi128_ps
#define I_AND _mm_and_si128
#define I_OR _mm_or_si128
#define R_FUSED(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
#define R_NEAREST(a) _mm_round_ps(a, TO_NEAREST)

INLINE uint32_t mask_bits(MaskRegister mask) { return (uint32_t)_mm_movemask_ps(mask); }
INLINE __m128i fold(IntegerRegister a) { return a; }
INLINE __m128 fold_floats(Register a) { return a; }

#elif defined(VECTOR_AVX2)

typedef __m256 Register;
typedef __m256i IntegerRegister;
typedef __m256 MaskRegister;
#define REGISTER_LANES 8
#define X86_PREFIX _mm256_
#define R_LESS(a, b) _mm256_cmp_ps(a, b, _CMP_LT_OQ)
#define R_LESS_EQUAL(a, b) _mm256_cmp_ps(a, b, _CMP_LE_OQ)
#define R_EQUAL(a, b) _mm256_cmp_ps(a, b, _CMP_EQ_OQ)
#define R_SELECT(mask, yes, no) _mm256_blendv_ps(no, yes, mask)
#define R_MASK_AND _mm256_and_ps
#define R_MASK_OR _mm256_or_ps
#define R_AS_INTEGERS _mm256_castps_si256
#define R_AS_FLOATS _mm256_castsi256_ps
#define I_AND _mm256_and_si256
#define I_OR _mm256_or_si256
#define R_FUSED _mm256_fmadd_ps
#define R_NEAREST(a) _mm256_round_ps(a, TO_NEAREST)

INLINE uint32_t mask_bits(MaskRegister mask) { return (uint32_t)_mm256_movemask_ps(mask); }
INLINE __m128i fold(IntegerRegister a) {
    return _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
}
INLINE __m128 fold_floats(Register a) { return _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)); }

#elif defined(VECTOR_AVX512)

typedef __m512 Register;
typedef __m512i IntegerRegister;
typedef __mmask16 MaskRegister;
#define REGISTER_LANES 16
#define X86_PREFIX _mm512_
#define R_LESS(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)
#define R_LESS_EQUAL(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ)
#define R_EQUAL(a, b) _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ)
#define R_SELECT(mask, yes, no) _mm512_mask_blend_ps(mask, no, yes)
#define R_MASK_AND(a, b) (__mmask16)((a) & (b))
#define R_MASK_OR(a, b) (__mmask16)((a) | (b))
#define R_AS_INTEGERS _mm512_castps_si512
#define R_AS_FLOATS _mm512_castsi512_ps
#define I_AND _mm512_and_si512
#define I_OR _mm512_or_si512
#define R_FUSED _mm512_fmadd_ps
#define R_NEAREST(a) _mm512_roundscale_ps(a, TO_NEAREST)

INLINE uint32_t mask_bits(MaskRegister mask) { return mask; }
INLINE __m128i fold(IntegerRegister a) {
    __m256i half = _mm256_max_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    return _mm_max_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}
INLINE __m128 fold_floats(Register a) {
    __m256 half = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    return _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

#endif

#define R_LOAD X86(loadu_ps)
#define R_STORE X86(storeu_ps)
#define R_SET X86(set1_ps)
#define R_ADD X86(add_ps)
#define R_SUB X86(sub_ps)
#define R_MUL X86(mul_ps)
#define R_DIV X86(div_ps)
#define R_MIN X86(min_ps)
#define R_MAX X86(max_ps)
#define R_ABS(a) R_AS_FLOATS(I_AND(R_AS_INTEGERS(a), I_SET(0x7FFFFFFF)))
#define R_SQRT X86(sqrt_ps)
#define R_TRUNCATE X86(cvttps_epi32)
#define R_ROUND X86(cvtps_epi32)
#define R_FLOATS X86(cvtepi32_ps)
#define I_SET X86(set1_epi32)
#define I_ADD X86(add_epi32)
#define I_MIN X86(min_epi32)
#define I_MAX X86(max_epi32)
#define I_SHIFT X86(slli_epi32)
#define I_SHIFT_RIGHT X86(srai_epi32)

INLINE int32_t largest_of(IntegerRegister a) {
    __m128i four = fold(a);
    __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x0E));
    return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 1)));
}

INLINE float largest_float_of(Register a) {
    __m128 four = fold_floats(a), two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

INLINE void transpose_4x4(const float *source, int64_t stride, float *target, int64_t target_stride) {
    __m128 a = _mm_loadu_ps(source), b = _mm_loadu_ps(source + stride);
    __m128 c = _mm_loadu_ps(source + 2 * stride), d = _mm_loadu_ps(source + 3 * stride);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(target, a);
    _mm_storeu_ps(target + target_stride, b);
    _mm_storeu_ps(target + 2 * target_stride, c);
    _mm_storeu_ps(target + 3 * target_stride, d);
}

#endif

/* ---- pairs of registers ------------------------------------------------------------------------------------------ */

#define LANES (2 * REGISTER_LANES)

typedef struct { Register low, high; } Vector;
typedef struct { IntegerRegister low, high; } Integers;
typedef struct { MaskRegister low, high; } Mask;

#define ONE(Result, name, Operand, operation) \
    INLINE Result name(Operand a) { return (Result){operation(a.low), operation(a.high)}; }
#define TWO(Result, name, Operand, operation) \
    INLINE Result name(Operand a, Operand b) { return (Result){operation(a.low, b.low), operation(a.high, b.high)}; }

TWO(Vector, v_add, Vector, R_ADD)
TWO(Vector, v_sub, Vector, R_SUB)
TWO(Vector, v_mul, Vector, R_MUL)
TWO(Vector, v_div, Vector, R_DIV)
TWO(Vector, v_min, Vector, R_MIN) /* zeros of either sign count as equal, and which of them comes back differs */
TWO(Vector, v_max, Vector, R_MAX)
ONE(Vector, v_abs, Vector, R_ABS)
ONE(Vector, v_sqrt, Vector, R_SQRT)
ONE(Vector, v_nearest, Vector, R_NEAREST) /* integers, half to even */
TWO(Mask, v_less, Vector, R_LESS) /* comparisons with NaN are false */
TWO(Mask, v_less_equal, Vector, R_LESS_EQUAL)
TWO(Mask, v_equal, Vector, R_EQUAL)
TWO(Mask, m_and, Mask, R_MASK_AND)
TWO(Mask, m_or, Mask, R_MASK_OR)
ONE(Integers, v_truncate, Vector, R_TRUNCATE) /* to integers; out of range it depends on the instruction set */
ONE(Integers, v_round, Vector, R_ROUND) /* to the nearest integers, half to even */
ONE(Integers, v_as_integers, Vector, R_AS_INTEGERS) /* the bits */
ONE(Vector, i_floats, Integers, R_FLOATS)
ONE(Vector, i_as_floats, Integers, R_AS_FLOATS)
TWO(Integers, i_add, Integers, I_ADD)
TWO(Integers, i_and, Integers, I_AND)
TWO(Integers, i_or, Integers, I_OR)
TWO(Integers, i_min, Integers, I_MIN)
TWO(Integers, i_max, Integers, I_MAX)

/* a * b + c, rounded once where the instruction set can: not for quantizers. A macro, because with AVX2 it needs FMA
 * turned on where it is used. */
#define v_fused(a, b, c) ((Vector){R_FUSED((a).low, (b).low, (c).low), R_FUSED((a).high, (b).high, (c).high)})

/* By a constant number of bits; to the right the sign is kept. */
#define i_shift_left(a, bits) ((Integers){I_SHIFT((a).low, bits), I_SHIFT((a).high, bits)})
#define i_shift_right(a, bits) ((Integers){I_SHIFT_RIGHT((a).low, bits), I_SHIFT_RIGHT((a).high, bits)})

INLINE Vector v_set(float value) { return (Vector){R_SET(value), R_SET(value)}; }
INLINE Integers i_set(int32_t value) { return (Integers){I_SET(value), I_SET(value)}; }
INLINE Vector v_load(const float *source) { return (Vector){R_LOAD(source), R_LOAD(source + REGISTER_LANES)}; }

INLINE void v_store(float *target, Vector a) {
    R_STORE(target, a.low);
    R_STORE(target + REGISTER_LANES, a.high);
}

/* One value for each register. */
INLINE Vector v_set_two(float low, float high) { return (Vector){R_SET(low), R_SET(high)}; }

INLINE Vector v_select(Mask mask, Vector yes, Vector no) {
    return (Vector){R_SELECT(mask.low, yes.low, no.low), R_SELECT(mask.high, yes.high, no.high)};
}

/* A bit for each lane, the first lane's lowest. */
INLINE uint32_t m_bits(Mask mask) { return mask_bits(mask.low) | mask_bits(mask.high) << REGISTER_LANES; }

/* The largest lane; where one is NaN, any. */
INLINE float v_largest(Vector a) { return largest_float_of(R_MAX(a.low, a.high)); }

INLINE int32_t i_largest(Integers a) { return largest_of(I_MAX(a.low, a.high)); }

/* Lane j of columns[i] = source[j * length + i]: LANES runs of `length` floats (a multiple of 4), side by side. */
INLINE void v_load_columns(const float *source, int length, Vector *columns) {
    for (int i = 0; i < length; i += 4)
        for (int lane = 0; lane < LANES; lane += 4)
            transpose_4x4(source + lane * length + i, length, (float *)(columns + i) + lane, LANES);
}

/* Integers of -128 to 127, a byte each. */
INLINE void i_store_bytes(uint8_t *target, Integers a) {
#if defined(VECTOR_NEON)
    vst1_u8(target, vreinterpret_u8_s8(vmovn_s16(vcombine_s16(vmovn_s32(a.low), vmovn_s32(a.high)))));
#elif defined(VECTOR_AVX512)
    _mm_storeu_si128((__m128i *)target, _mm512_cvtepi32_epi8(a.low));
    _mm_storeu_si128((__m128i *)(target + 16), _mm512_cvtepi32_epi8(a.high));
#elif defined(VECTOR_AVX2)
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.low, a.high), 0xD8);
    __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)target, bytes);
#else
    __m128i words = _mm_packs_epi32(a.low, a.high);
    _mm_storel_epi64((__m128i *)target, _mm_packs_epi16(words, words));
#endif
}

#endif
