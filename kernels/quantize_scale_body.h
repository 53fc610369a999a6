/* A scale for each run, searched for: Q6_K, and Q4_0 and Q5_0 with importance. A lane is a run. */

#define SCALES (TILE / 16 + LANES) /* so that LANES can be loaded from any */

struct scales { float scale[SCALES], inverse[SCALES]; bool finite[SCALES]; }; /* inverse 0: all zero */

/* The values of LANES runs, their weights, and the products of both. */
struct lanes { Vector x[SIMPLE], w[SIMPLE], wx[SIMPLE]; };

struct extremes { Vector value, size; Mask finite; };

/* The first of several of a size wins. */
INLINE struct extremes load_lanes(const float *values, struct weighting weighting, int count, struct lanes *lanes) {
    v_load_columns(values, count, lanes->x);
    if (weighting.importance) v_load_columns(weighting.importance, count, lanes->w);
    Vector size = v_set(0), largest = v_set(0);
    Integers bits = i_set(0);
    for (int i = 0; i < count; ++i) {
        Vector x = lanes->x[i], square = v_mul(x, x), w = square;
        if (weighting.importance) w = lanes->w[i];
        if (weighting.importance && count == SIMPLE) w = v_mul(w, v_sqrt(v_add(v_set(weighting.mean_square), square)));
        lanes->w[i] = w;
        lanes->wx[i] = v_mul(w, x);
        Mask larger = v_less(size, v_abs(x));
        largest = v_select(larger, x, largest);
        size = v_select(larger, v_abs(x), size);
        bits = i_max(bits, i_size(x));
    }
    return (struct extremes){largest, size, v_is_finite(i_as_floats(bits))};
}

struct lane_sums { Vector product, square; };

/* w * x is rounded before it is multiplied with the level, so it may be had once for all steps. */
INLINE struct lane_sums sums_for(const struct lanes *lanes, int count, Vector inverse, int least, int most) {
    struct lane_sums sums = {v_set(0), v_set(0)};
    UNROLL for (int i = 0; i < count; ++i) {
        Vector level = v_level(v_mul(inverse, lanes->x[i]), least, most);
        sums.product = v_add(sums.product, v_mul(lanes->wx[i], level));
        sums.square = v_add(sums.square, v_mul(v_mul(lanes->w[i], level), level));
    }
    return sums;
}

/* Of LANES runs of `count` values; half is the number of negative levels. No inverse * x is beyond +-(half + 1), and
 * none rounds to less than -half before the inverse is made half a level larger, in step 5. */
INLINE void fit_scales(const float *values, struct weighting weighting, int count, int half, struct scales *scales,
                       int run) {
    struct lanes lanes;
    struct extremes extremes = load_lanes(values, weighting, count, &lanes);
    Vector zero = v_set(0), best_inverse = v_div(v_set((float)-half), extremes.value);
    struct lane_sums sums = sums_for(&lanes, count, best_inverse, UNBOUNDED, half - 1);
    Vector scale = v_select(v_equal(sums.square, zero), zero, v_div(sums.product, sums.square));
    Vector best = v_mul(scale, sums.product);
    for (int step = -9; step <= 9; ++step) {
        if (step == 0) continue;
        Vector inverse = v_div(v_set(-((float)half + 0.1f * (float)step)), extremes.value);
        sums = step < 5 ? sums_for(&lanes, count, inverse, UNBOUNDED, half - 1)
                        : sums_for(&lanes, count, inverse, -half, half - 1);
        Mask better = m_and(v_less(zero, sums.square),
                            v_less(v_mul(best, sums.square), v_mul(sums.product, sums.product)));
        Vector new_scale = v_div(sums.product, sums.square);
        best_inverse = v_select(better, inverse, best_inverse);
        scale = v_select(better, new_scale, scale);
        best = v_select(better, v_mul(new_scale, sums.product), best);
    }
    Mask none = v_less(extremes.size, v_set(EPSILON));
    scale = v_select(none, zero, scale);
    v_store(scales->scale + run, scale);
    v_store(scales->inverse + run, v_select(none, zero, best_inverse));
    uint32_t finite = m_bits(m_and(extremes.finite, v_is_finite(scale)));
    for (int lane = 0; lane < LANES; ++lane) scales->finite[run + lane] = finite >> lane & 1;
}

/* Q6_K's levels once d is known for each run. Where that is 0 the fit's stay. */
INLINE void q6_k_levels(const float *values, const float *d, const float *inverse, uint8_t *levels) {
    for (int i = 0; i < SUPER; i += LANES) {
        Vector of_lane = v_set_two(d[i / 16], d[(i + REGISTER_LANES) / 16]);
        Integers level = i_nearest(v_div(v_load(values + i), of_lane));
        i_store_bytes(levels + i, i_add(i_clamp(level, -32, 31), i_set(32)));
    }
    for (int run = 0; run < 16; ++run)
        for (int i = 16 * run; i < 16 * run + 16 && d[run] == 0; ++i)
            levels[i] = inverse[run] == 0 ? 0 : (uint8_t)(32 + clamp(nearest_int(inverse[run] * values[i]), -32, 31));
}

/* The block's scales as multiples of its unit, and what they come to. */
INLINE void q6_k_scales(const float *scales, float inverse, float unit, uint8_t *bytes, float *d) {
    for (int run = 0; run < 16; run += LANES) {
        Integers level = i_min(i_nearest(v_mul(v_load(scales + run), v_set(inverse))), i_set(127));
        level = i_low_bytes(level);
        i_store_bytes(bytes + run, level);
        v_store(d + run, v_mul(v_set(unit), i_floats(level)));
    }
}

static bool q6_k_block(const float *values, const struct scales *scales, int64_t index, struct q6_k *block) {
    const float *of_block = scales->scale + 16 * index;
    uint8_t levels[SUPER], bytes[16 + LANES];
    float size = 0, largest = 0, d[16 + LANES];
    bool finite = true;
    for (int run = 0; run < 16; ++run) {
        float size_here = __builtin_fabsf(of_block[run]);
        finite &= scales->finite[16 * index + run];
        largest = size_here > size ? of_block[run] : largest;
        size = size_here > size ? size_here : size;
    }
    if (!finite) return false;
    if (size < EPSILON) {
        memset(block, 0, sizeof *block);
        return true;
    }
    float inverse = -128.f / largest;
    put_half(block->d, 1 / inverse);
    q6_k_scales(of_block, inverse, get_half(block->d), bytes, d);
    memcpy(block->scales, bytes, 16);
    q6_k_levels(values, d, scales->inverse + 16 * index, levels);
    pack_q6_k(levels, block->levels, block->high);
    return half_is_finite(block->d);
}

static int64_t quantize_q6_k(const float *values, struct weighting weighting, int64_t blocks, uint8_t *target) {
    struct scales scales;
    for (int run = 0; run < 16 * blocks; run += LANES)
        fit_scales(values + 16 * run, weighting_at(weighting, 16 * run), 16, 32, &scales, run);
    EACH_BLOCK(Q6_K, q6_k, q6_k_block(from, &scales, index, block))
}

/* Q4_0 and Q5_0 with importance: the levels of the fit itself. */
INLINE bool fitted_block(const float *values, const struct scales *scales, int64_t index, int half, uint8_t *d,
                         uint8_t *levels) {
    float inverse = scales->inverse[index];
    put_half(d, scales->scale[index]);
    for (int i = 0; i < SIMPLE; i += LANES) {
        Integers level = i_clamp(i_nearest(v_mul(v_load(values + i), v_set(inverse))), -half, half - 1);
        i_store_bytes(levels + i, i_add(level, i_set(inverse == 0 ? 0 : half)));
    }
    return scales->finite[index] && half_is_finite(d);
}

INLINE bool fitted_q4_0_block(const float *values, const struct scales *scales, int64_t index, struct q4_0 *block) {
    uint8_t levels[SIMPLE];
    bool fine = fitted_block(values, scales, index, 8, block->d, levels);
    pack_q4_0(levels, block->levels);
    return fine;
}

INLINE bool fitted_q5_0_block(const float *values, const struct scales *scales, int64_t index, struct q5_0 *block) {
    uint8_t levels[SIMPLE];
    bool fine = fitted_block(values, scales, index, 16, block->d, levels);
    pack_q5_0(levels, block->levels, block->high);
    return fine;
}

static int64_t quantize_q4_0(const float *values, struct weighting weighting, int64_t blocks, uint8_t *target) {
    if (weighting.importance) {
        struct scales scales;
        for (int run = 0; run < blocks; run += LANES)
            fit_scales(values + SIMPLE * run, weighting_at(weighting, SIMPLE * run), SIMPLE, 8, &scales, run);
        EACH_BLOCK(Q4_0, q4_0, fitted_q4_0_block(from, &scales, index, block))
    }
    EACH_BLOCK(Q4_0, q4_0, q4_0_block(from, block))
}

static int64_t quantize_q5_0(const float *values, struct weighting weighting, int64_t blocks, uint8_t *target) {
    if (weighting.importance) {
        struct scales scales;
        for (int run = 0; run < blocks; run += LANES)
            fit_scales(values + SIMPLE * run, weighting_at(weighting, SIMPLE * run), SIMPLE, 16, &scales, run);
        EACH_BLOCK(Q5_0, q5_0, fitted_q5_0_block(from, &scales, index, block))
    }
    EACH_BLOCK(Q5_0, q5_0, q5_0_block(from, block))
}
