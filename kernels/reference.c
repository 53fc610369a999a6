/* The truth: one block at a time, in plain C, every operation in ggml's order.
 *
 * It gives the bytes of ggml as compiled for x86-64's baseline, without fused multiply-adds, on every machine. The
 * vector kernels hand it the blocks that they can't vouch for. A level is the small integer that is stored for a value,
 * a run a part of a super-block with a scale of its own; scales are searched for the least weighted square error.
 */
#include "quantizers.h"

#include <math.h>


/* The value of largest size, the first of several, with its sign; `size` gets its size. */
static float extreme(const float *values, int count, float *size) {
    float largest = 0, found = 0;
    for (int i = 0; i < count; ++i)
        if (fabsf(values[i]) > largest) {
            largest = fabsf(values[i]);
            found = values[i];
        }
    *size = largest;
    return found;
}

/* The low byte of a float's integer part as x86 converts it: 0 for NaN and what no int32 holds. */
static uint8_t low_byte(float value) { return fabsf(value) < 2147483648.f ? (uint8_t)(int32_t)value : 0; }

static void quantize_q8_0(const float *values, struct q8_0 *block) {
    float largest = 0;
    for (int i = 0; i < SIMPLE; ++i) largest = largest > fabsf(values[i]) ? largest : fabsf(values[i]);
    float d = largest / 127, inverse = d != 0 ? 1 / d : 0;
    put_half(block->d, d);
    for (int i = 0; i < SIMPLE; ++i) block->levels[i] = low_byte(roundf(values[i] * inverse));
}

/* The levels of Q4_0 (half = 8) and Q5_0 (half = 16), and their unit. */
static float round_symmetric(const float *values, int half, uint8_t *levels) {
    float size, d = extreme(values, SIMPLE, &size) / (float)-half, inverse = d != 0 ? 1 / d : 0;
    for (int i = 0; i < SIMPLE; ++i) {
        int8_t level = (int8_t)low_byte(values[i] * inverse + ((float)half + 0.5f));
        levels[i] = (uint8_t)(level < 2 * half - 1 ? level : 2 * half - 1);
    }
    return d;
}

/* ---- scales alone: Q6_K, and Q4_0 and Q5_0 with importance ------------------------------------------------------- */

struct sums { float product, square; };

/* Sums of w * x * level and w * level^2 for levels -half to half - 1. */
static struct sums sums_for(const float *values, const float *weights, int count, int half, float inverse) {
    struct sums sums = {0, 0};
    for (int i = 0; i < count; ++i) {
        float level = (float)clamp(nearest_int(inverse * values[i]), -half, half - 1);
        float weight = weights ? weights[i] : values[i] * values[i];
        sums.product += weight * values[i] * level;
        sums.square += weight * level * level;
    }
    return sums;
}

/* ggml's make_qx_quants: tries 19 scales for the least weighted square error. `levels` get half added. */
static float fit_scale(const float *values, const float *weights, int count, int half, uint8_t *levels) {
    float size, largest = extreme(values, count, &size);
    if (size < EPSILON) {
        memset(levels, 0, (size_t)count);
        return 0;
    }
    float best_inverse = (float)-half / largest;
    struct sums sums = sums_for(values, weights, count, half, best_inverse);
    float scale = sums.square != 0 ? sums.product / sums.square : 0, best = scale * sums.product;
    for (int step = -9; step <= 9; ++step) {
        if (step == 0) continue;
        float inverse = -((float)half + 0.1f * (float)step) / largest;
        sums = sums_for(values, weights, count, half, inverse);
        if (sums.square > 0 && sums.product * sums.product > best * sums.square) {
            best_inverse = inverse;
            scale = sums.product / sums.square;
            best = scale * sums.product;
        }
    }
    for (int i = 0; i < count; ++i)
        levels[i] = (uint8_t)(half + clamp(nearest_int(best_inverse * values[i]), -half, half - 1));
    return scale;
}

/* Q4_0's and Q5_0's levels with importance; the weights take the row's mean square into account. */
static float fit_symmetric(const float *values, struct weighting weighting, int half, uint8_t *levels) {
    float weights[SIMPLE];
    for (int i = 0; i < SIMPLE; ++i)
        weights[i] = weighting.importance[i] * sqrtf(weighting.mean_square + values[i] * values[i]);
    return fit_scale(values, weights, SIMPLE, half, levels);
}

static void quantize_q4_0(const float *values, struct weighting weighting, struct q4_0 *block) {
    uint8_t levels[SIMPLE];
    put_half(block->d, weighting.importance ? fit_symmetric(values, weighting, 8, levels)
                                            : round_symmetric(values, 8, levels));
    pack_q4_0(levels, block->levels);
}

static void quantize_q5_0(const float *values, struct weighting weighting, struct q5_0 *block) {
    uint8_t levels[SIMPLE];
    put_half(block->d, weighting.importance ? fit_symmetric(values, weighting, 16, levels)
                                            : round_symmetric(values, 16, levels));
    pack_q5_0(levels, block->levels, block->high);
}

static void quantize_q6_k(const float *values, const float *importance, struct q6_k *block) {
    uint8_t levels[SUPER];
    float scales[16], size;
    for (int run = 0; run < 16; ++run)
        scales[run] = fit_scale(values + 16 * run, part(importance, 16 * run), 16, 32, levels + 16 * run);
    float largest = extreme(scales, 16, &size);
    if (size < EPSILON) {
        memset(block, 0, sizeof *block);
        return;
    }
    float inverse = -128.f / largest;
    put_half(block->d, 1 / inverse);
    for (int run = 0; run < 16; ++run) {
        int scale = nearest_int(inverse * scales[run]);
        block->scales[run] = (uint8_t)(scale < 127 ? scale : 127);
        float d = get_half(block->d) * (float)(int8_t)block->scales[run];
        if (d == 0) continue; /* the fit's levels stay, though nothing will be seen of them */
        for (int i = 16 * run; i < 16 * run + 16; ++i)
            levels[i] = (uint8_t)(32 + clamp(nearest_int(values[i] / d), -32, 31));
    }
    pack_q6_k(levels, block->levels, block->high);
}

/* ---- scales and minima: Q4_K and Q5_K ---------------------------------------------------------------------------- */

struct fit { float scale, minimum, weight; }; /* weight: the sum of the weights */

static float squared_error(const float *values, const float *weights, const uint8_t *levels, float scale, float least) {
    float error = 0;
    for (int i = 0; i < 32; ++i) {
        float difference = scale * (float)levels[i] + least - values[i];
        error += weights[i] * (difference * difference);
    }
    return error;
}

static void round_from(const float *values, float inverse, float least, int top, uint8_t *levels) {
    for (int i = 0; i < 32; ++i) levels[i] = (uint8_t)clamp(nearest_int(inverse * (values[i] - least)), 0, top);
}

/* ggml's make_qkx2_quants and make_qkx3_quants, which differ in nothing that matters here. */
static struct fit fit_affine(const float *values, const float *weights, struct search search, uint8_t *levels) {
    float least = values[0], most = values[0], weight = weights[0], moment = weight * values[0];
    for (int i = 1; i < 32; ++i) {
        if (values[i] < least) least = values[i];
        if (values[i] > most) most = values[i];
        weight += weights[i];
        moment += weights[i] * values[i];
    }
    if (least > 0) least = 0;
    memset(levels, 0, 32);
    if (most == least) return (struct fit){0, -least, weight};

    float inverse = (float)search.top / (most - least), scale = 1 / inverse;
    round_from(values, inverse, least, search.top, levels);
    float best = squared_error(values, weights, levels, scale, least);
    for (int n = 0; n <= search.steps; ++n) {
        uint8_t tried[32];
        float l = 0, l2 = 0, xl = 0; /* weighted sums of levels, their squares, their products with values */
        inverse = (search.first + search.step * (float)n + (float)search.top) / (most - least);
        round_from(values, inverse, least, search.top, tried);
        for (int i = 0; i < 32; ++i) {
            float level = (float)tried[i];
            l += weights[i] * level;
            l2 += weights[i] * level * level;
            xl += weights[i] * level * values[i];
        }
        float determinant = weight * l2 - l * l;
        if (!(determinant > 0)) continue;
        float tried_scale = (weight * xl - moment * l) / determinant;
        float tried_least = (l2 * moment - l * xl) / determinant;
        if (tried_least > 0) {
            tried_least = 0;
            tried_scale = xl / l2;
        }
        float error = squared_error(values, weights, tried, tried_scale, tried_least);
        if (error < best) {
            memcpy(levels, tried, sizeof tried);
            best = error;
            scale = tried_scale;
            least = tried_least; /* the next candidates start from here */
        }
    }
    return (struct fit){scale, -least, weight};
}

static float error_of_positive(const float *values, const float *weights, float inverse, const int *levels) {
    float error = 0, scale = 1 / inverse;
    for (int i = 0; i < 8; ++i) {
        float difference = values[i] - scale * (float)levels[i];
        error += weights[i] * difference * difference;
    }
    return error;
}

static void round_positive(const float *values, float inverse, int *levels) {
    for (int i = 0; i < 8; ++i) {
        int level = nearest_int(inverse * values[i]);
        levels[i] = level < 63 ? level : 63;
    }
}

/* Moves levels one by one while that brings the values and the weighted levels closer; `sums` are kept up to date. */
static void improve_positive(const float *values, const float *weights, uint8_t *levels, struct sums *sums) {
    for (int round = 0, changed = 1; round < 5 && changed; ++round) {
        changed = 0;
        for (int i = 0; i < 8; ++i) {
            float weight = weights[i], level = levels[i];
            float product = sums->product - weight * values[i] * level, square = sums->square - weight * level * level;
            if (!(product > 0 && square > 0)) continue;
            int tried = nearest_int(values[i] * square / product);
            tried = tried < 63 ? tried : 63;
            if (tried == levels[i]) continue;
            product += weight * values[i] * (float)tried;
            square += weight * (float)tried * (float)tried;
            if (!(product * product * sums->square > sums->product * sums->product * square)) continue;
            levels[i] = (uint8_t)tried;
            *sums = (struct sums){product, square};
            changed = 1;
        }
    }
}

/* ggml's make_qp_quants: levels 0 to 63 for the eight scales, or minima, of a super-block, and their unit. A negative
 * value (a fit may have one) gets a negative level, which wraps round where it is kept as a byte, as ggml's does. */
static float fit_positive(const float *values, const float *weights, uint8_t *levels) {
    float largest = 0;
    int tried[8];
    for (int i = 0; i < 8; ++i) largest = largest > values[i] ? largest : values[i];
    memset(levels, 0, 8);
    if (largest < EPSILON) return 0;

    float best_inverse = 63 / largest;
    for (int i = 0; i < 8; ++i) tried[i] = (uint8_t)nearest_int(best_inverse * values[i]);
    float best = error_of_positive(values, weights, best_inverse, tried);
    for (int step = -4; step <= 4; ++step) {
        if (step == 0) continue;
        float inverse = (0.1f * (float)step + 63) / largest;
        round_positive(values, inverse, tried);
        float error = error_of_positive(values, weights, inverse, tried);
        if (error < best) {
            best = error;
            best_inverse = inverse;
        }
    }
    struct sums sums = {0, 0};
    round_positive(values, best_inverse, tried);
    for (int i = 0; i < 8; ++i) {
        levels[i] = (uint8_t)tried[i];
        sums.product += weights[i] * values[i] * (float)tried[i];
        sums.square += weights[i] * (float)tried[i] * (float)tried[i];
    }
    improve_positive(values, weights, levels, &sums);
    return sums.square > 0 ? sums.product / sums.square : 0;
}

static void weigh(const float *values, const float *importance, float mean_square, float *weights) {
    float sum = 0;
    if (!importance)
        for (int i = 0; i < 32; ++i) sum += values[i] * values[i];
    float size = sqrtf(sum / 32);
    for (int i = 0; i < 32; ++i)
        weights[i] = importance ? importance[i] * sqrtf(mean_square + values[i] * values[i]) : size + fabsf(values[i]);
}

/* The levels of a super-block, its packed scales and their units: all that Q4_K and Q5_K differ in is the search. */
static void quantize_affine(const float *values, const float *importance, struct search search, struct head *head,
                            uint8_t *levels) {
    float scales[8], minima[8], sums[8], weights[32], sum = 0, d, d_min;
    uint8_t scale_levels[8], minimum_levels[8];
    for (int i = 0; i < SUPER; ++i) sum += values[i] * values[i];
    for (int run = 0; run < 8; ++run) {
        const float *of_run = values + 32 * run;
        weigh(of_run, part(importance, 32 * run), 2 * sum / SUPER, weights);
        struct fit fit = fit_affine(of_run, weights, search, levels + 32 * run);
        scales[run] = fit.scale;
        minima[run] = fit.minimum;
        sums[run] = fit.weight;
    }
    if (importance) {
        d = fit_positive(scales, sums, scale_levels);
        d_min = fit_positive(minima, sums, minimum_levels);
    } else {
        d = round_to_63rds(scales, scale_levels);
        d_min = round_to_63rds(minima, minimum_levels);
    }
    if (search.top == 31 && importance) cut_to_63(scale_levels, minimum_levels);
    pack_scales(scale_levels, minimum_levels, head->scales);
    put_half(head->d, d);
    put_half(head->d_min, d_min);
    unpack_scales(head->scales, scale_levels, minimum_levels);
    for (int run = 0; run < 8; ++run) {
        float scale = get_half(head->d) * scale_levels[run], least = get_half(head->d_min) * minimum_levels[run];
        if (scale == 0) continue; /* the fit's levels stay */
        for (int i = 32 * run; i < 32 * run + 32; ++i)
            levels[i] = (uint8_t)clamp(nearest_int((values[i] + least) / scale), 0, search.top);
    }
}

static void quantize_q4_k(const float *values, const float *importance, struct q4_k *block) {
    uint8_t levels[SUPER];
    quantize_affine(values, importance, search_of(Q4_K, importance), &block->head, levels);
    pack_q4_k(levels, block->levels);
}

static void quantize_q5_k(const float *values, const float *importance, struct q5_k *block) {
    uint8_t levels[SUPER];
    quantize_affine(values, importance, search_of(Q5_K, importance), &block->head, levels);
    pack_q5_k(levels, block->levels, block->high);
}

void llmasos_reference_block(int type, const float *values, struct weighting weighting, uint8_t *target) {
    switch (type) {
    case Q4_0: quantize_q4_0(values, weighting, (struct q4_0 *)target); break;
    case Q5_0: quantize_q5_0(values, weighting, (struct q5_0 *)target); break;
    case Q8_0: quantize_q8_0(values, (struct q8_0 *)target); break;
    case Q4_K: quantize_q4_k(values, weighting.importance, (struct q4_k *)target); break;
    case Q5_K: quantize_q5_k(values, weighting.importance, (struct q5_k *)target); break;
    case Q6_K: quantize_q6_k(values, weighting.importance, (struct q6_k *)target); break;
    }
}

/* ---- the reference as a level of its own ------------------------------------------------------------------------- */

static void widen(int source_type, const void *source, int64_t count, float *values) {
    const uint8_t *bytes = source;
    if (source_type == F32) memcpy(values, source, (size_t)count * sizeof(float));
    for (int64_t i = 0; i < count && source_type == F16; ++i) values[i] = get_half(bytes + 2 * i);
    for (int64_t i = 0; i < count && source_type == BF16; ++i) values[i] = get_bfloat16(bytes + 2 * i);
}

static int64_t quantize(int type, const float *values, struct weighting weighting, int64_t blocks, uint8_t *target) {
    const struct format format = format_of(type);
    for (int64_t block = 0; block < blocks; ++block) {
        struct weighting here = weighting_at(weighting, block * format.block_values);
        llmasos_reference_block(type, values + block * format.block_values, here, target + block * format.block_bytes);
    }
    return blocks;
}

const struct quantizers llmasos_plain_quantizers = {quantize, widen};
