/* Q8_0, Q4_0 and Q5_0 without importance, in the order of memory; and what other types become float32 by. */

#define PARTS (SIMPLE / LANES)

static void widen(int source_type, const void *source, int64_t count, float *values) {
    const uint8_t *bytes = source;
    int64_t i = 0;
    if (source_type == F32) memcpy(values, source, (size_t)count * sizeof(float));
    if (source_type == BF16)
        for (; i < count; ++i) values[i] = get_bfloat16(bytes + 2 * i);
    if (source_type != F16) return;
#if defined(VECTOR_AVX2) || defined(VECTOR_AVX512)
    for (; i + 8 <= count; i += 8)
        _mm256_storeu_ps(values + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(bytes + 2 * i))));
#endif
    for (; i < count; ++i) values[i] = get_half(bytes + 2 * i);
}

/* The largest size in a block. */
INLINE float load_block(const float *values, Vector *x) {
    Integers largest = i_set(0);
    for (int part = 0; part < PARTS; ++part) {
        x[part] = v_load(values + part * LANES);
        largest = i_max(largest, i_size(x[part]));
    }
    return float_of((uint32_t)i_largest(largest));
}

/* What values are multiplied with for a scale that is not negative; false where the reference has to decide. */
INLINE bool invert(float d, float *inverse) {
    *inverse = d != 0 ? 1 / d : 0;
    return bits_of(d) <= MOST_FINITE && bits_of(*inverse) <= MOST_FINITE;
}

INLINE bool q8_0_block(const float *values, struct q8_0 *block) {
    Vector x[PARTS];
    float inverse, largest = load_block(values, x);
    if (!invert(largest / 127, &inverse)) return false;
    put_half(block->d, largest / 127);
    for (int part = 0; part < PARTS; ++part) {
        /* roundf, for all floats up to 2^22: the largest float below 0.5, with the value's sign, and cut off */
        Vector scaled = v_mul(x[part], v_set(inverse));
        Integers sign = i_and(v_as_integers(scaled), i_set(INT32_MIN));
        Vector half = i_as_floats(i_or(sign, v_as_integers(v_set(0x1.fffffep-2f))));
        i_store_bytes(block->levels + part * LANES, v_truncate(v_add(scaled, half)));
    }
    return half_is_finite(block->d);
}

/* The sign bit of ggml's scale: the opposite of that of the first value of that size, and set for zero. */
INLINE uint32_t sign_of_scale(const float *values, const Vector *x, float size) {
    uint32_t places = 0;
    for (int part = 0; part < PARTS; ++part)
        places |= m_bits(v_equal(v_abs(x[part]), v_set(size))) << (part * LANES % 32);
    return (~bits_of(values[__builtin_ctz(places)]) & 0x80000000) | (uint32_t)(size == 0) << 31;
}

/* Levels of Q4_0 (half = 8) and Q5_0 (half = 16), the fifth bits of which are gathered in `fifth`. Divisions are exact
 * to the sign, so they need not wait until it is found. */
INLINE bool symmetric_block(const float *values, int half, uint8_t *d, uint8_t *levels, uint32_t *fifth) {
    Vector x[PARTS];
    float inverse, largest = load_block(values, x);
    if (!invert(largest / (float)half, &inverse)) return false;
    uint32_t sign = sign_of_scale(values, x, largest);
    put_half(d, float_of(bits_of(largest / (float)half) ^ sign));
    inverse = float_of(bits_of(inverse) ^ sign);
    *fifth = 0;
    for (int part = 0; part < PARTS; ++part) {
        Vector shifted = v_add(v_mul(x[part], v_set(inverse)), v_set((float)half + 0.5f));
        i_store_bytes(levels + part * LANES, i_min(v_truncate(shifted), i_set(2 * half - 1)));
        if (half == 16) *fifth |= m_bits(v_less_equal(v_set(16), shifted)) << (part * LANES % 32);
    }
    return half_is_finite(d);
}

INLINE bool q4_0_block(const float *values, struct q4_0 *block) {
    uint8_t levels[SIMPLE];
    uint32_t none;
    if (!symmetric_block(values, 8, block->d, levels, &none)) return false;
    pack_q4_0(levels, block->levels);
    return true;
}

INLINE bool q5_0_block(const float *values, struct q5_0 *block) {
    uint8_t levels[SIMPLE];
    uint32_t fifth;
    if (!symmetric_block(values, 16, block->d, levels, &fifth)) return false;
    pack_q4_0(levels, block->levels);
    memcpy(block->high, &fifth, sizeof fifth);
    return true;
}

/* Makes each block by `call`, with its values as `from`; where that comes out false the reference does it. */
#define EACH_BLOCK(type, block_type, call)                                                        \
    int64_t fallbacks = 0;                                                                        \
    for (int64_t index = 0; index < blocks; ++index) {                                            \
        struct block_type *block = (struct block_type *)target + index;                           \
        const int64_t at = index * format_of(type).block_values;                                  \
        const float *from = values + at;                                                          \
        if (call) continue;                                                                       \
        llmasos_reference_block(type, from, weighting_at(weighting, at), (uint8_t *)block);       \
        ++fallbacks;                                                                              \
    }                                                                                             \
    return fallbacks;

static int64_t quantize_q8_0(const float *values, struct weighting weighting, int64_t blocks, uint8_t *target) {
    EACH_BLOCK(Q8_0, q8_0, q8_0_block(from, block))
}
