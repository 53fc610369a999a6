/* Row kernels for one instruction set: log-sum-exp, the greatest logits, entropy, divergence.
 *
 * Numbers: an exponential's relative error is at most 2^-22, eight of them are added in float32, these sums with Kahan's
 * compensation, lanes at last in float64. Before, the difference to a logit near the greatest is rounded (and, where
 * there is no fused operation, its product with log2(e)): 2^-24 (2^-23) times that difference where the mass lies. The
 * log-sum-exp of usual logits is thus right to 1e-6, and most often to 1e-7. Exponentials below e^-86, near the least
 * normal number, count as that in sums, and as 0 in divergences. */

#include <float.h>
#include <math.h>
#include <string.h>

#include "rows.h"

#define RUN (8 * LANES) /* logits that are read at a time */
#define BLOCK (8 * RUN) /* logits that stay in the nearest cache */

static const float LOWEST_EXPONENT = -86.0f, LONGEST_WAY_UP = 8.0f;

/* Sums lane by lane: `lost` is what rounding took too little of. */
typedef struct { Vector total, lost; } Sum;

INLINE Sum nothing(void) { return (Sum){v_set(0.0f), v_set(0.0f)}; }

/* Kahan, "Further remarks on reducing truncation errors", 1965. */
INLINE Sum plus(Sum sum, Vector addend) {
    Vector corrected = v_sub(addend, sum.lost), total = v_add(sum.total, corrected);
    return (Sum){total, v_sub(v_sub(total, sum.total), corrected)};
}

INLINE double sum_value(Sum sum) {
    float total[LANES], lost[LANES];
    double value = 0;
    v_store(total, sum.total);
    v_store(lost, sum.lost);
    for (int lane = 0; lane < LANES; ++lane) value += (double)total[lane] - lost[lane];
    return value;
}

/* e^x for x <= LONGEST_WAY_UP, and NaN for NaN: 2^n 2^f with |f| <= 1/2; 2^f = 1 + f q(f), q fitted to the least relative error.
 * Added to a float whose last bit is worth 1, x log2(e) is rounded to n. */
INLINE Vector exponential(Vector x) {
    const Vector log2_e = v_set(1.44269504f), rounder = v_set(12582912.0f); /* 1.5 * 2^23 */
    x = v_max(v_set(LOWEST_EXPONENT), x);
    Vector rounded = v_fused(x, log2_e, rounder);
    Vector f = v_fused(x, log2_e, v_sub(rounder, rounded));
    Vector q = v_fused(v_set(1.32647273e-3f), f, v_set(9.67151299e-3f));
    q = v_fused(q, f, v_set(5.55073358e-2f));
    q = v_fused(q, f, v_set(2.40222424e-1f));
    q = v_fused(q, f, v_set(6.93147004e-1f));
    q = v_fused(q, f, v_set(1.0f));
    return i_as_floats(i_add(v_as_integers(q), i_shift_left(v_as_integers(rounded), 23)));
}

/* The last run of a row, made whole by what weighs nothing. */
static __attribute__((noinline)) const float *last_run(const float *row, int64_t length, float *rest) {
    memcpy(rest, row, (size_t)length * sizeof *rest);
    for (int64_t i = length; i < RUN; ++i) rest[i] = -INFINITY;
    return rest;
}

/* A run of a row; `rest` has room for one that has to be made whole. */
INLINE const float *run_at(const float *row, int64_t start, int64_t width, float *rest) {
    return start + RUN <= width ? row + start : last_run(row + start, width - start, rest);
}

INLINE Vector greatest_by_lane(const float *row, int64_t start, int64_t end) {
    float rest[RUN];
    Vector greatest = v_set(-INFINITY), other = greatest;
    for (; start < end; start += RUN) {
        const float *run = run_at(row, start, end, rest);
        for (int i = 0; i < RUN; i += 2 * LANES) {
            greatest = v_max(greatest, v_load(run + i));
            other = v_max(other, v_load(run + i + LANES));
        }
    }
    return v_max(greatest, other);
}

INLINE float greatest_of(const float *row, int64_t width) { return v_largest(greatest_by_lane(row, 0, width)); }

/* The exponentials of a run, added up lane by lane. What lies a block further is asked of memory meanwhile. */
INLINE Vector weights_of(const float *run, float shift) {
    Vector weights = v_set(0.0f);
    for (int i = 0; i < RUN; i += LANES) {
        __builtin_prefetch(run + i + BLOCK);
        __builtin_prefetch(run + i + BLOCK + REGISTER_LANES);
        weights = v_add(weights, exponential(v_sub(v_load(run + i), v_set(shift))));
    }
    return weights;
}

/* What a row read so far weighs: the sum of e^(x - shift). */
typedef struct { Sum sum; float shift; } Weight;

INLINE Weight no_weight(void) { return (Weight){nothing(), -INFINITY}; }

/* The shift follows the greatest logit of what was read, but only by long steps: each rounds the sum once more. */
INLINE Weight shifted_to(Weight weight, float greatest) {
    if (greatest <= weight.shift + LONGEST_WAY_UP) return weight;
    Vector factor = exponential(v_set(weight.shift - greatest));
    return (Weight){{v_mul(weight.sum.total, factor), v_mul(weight.sum.lost, factor)}, greatest};
}

/* Adds a block, which is read a second time while it is in the nearest cache. Its greatest logit has to be known. */
INLINE Weight with_block(Weight weight, const float *row, int64_t start, int64_t width, float greatest) {
    float rest[RUN];
    weight = shifted_to(weight, greatest);
    float shift = weight.shift > -FLT_MAX ? weight.shift : -FLT_MAX; /* to which -infinity has a distance */
    for (int64_t end = start + BLOCK; start < end && start < width; start += RUN) {
        weight.sum = plus(weight.sum, weights_of(run_at(row, start, width, rest), shift));
    }
    return weight;
}

/* NaN in a row is NaN in its sum. So are +infinity, and nothing but -infinity: their distance to the greatest is. */
INLINE int log_of(Weight weight, double *log_sum) {
    *log_sum = weight.shift + log(sum_value(weight.sum));
    return isfinite(*log_sum);
}

static int log_sum_exp(const float *row, int64_t width, double *log_sum) {
    Weight weight = no_weight();
    for (int64_t start = 0; start < width; start += BLOCK) {
        int64_t length = width - start < BLOCK ? width - start : BLOCK;
        weight = with_block(weight, row, start, width, greatest_of(row + start, length));
    }
    return log_of(weight, log_sum);
}

#include "rows_top_body.h"

/* log S - (sum of e^d d) / S, with d the distances to the greatest logit and S the sum of e^d. */
static int entropy(const float *row, int64_t width, double *entropy) {
    float rest[RUN];
    Vector greatest = v_set(greatest_of(row, width));
    Sum sum = nothing(), weighted = nothing();
    for (int64_t start = 0; start < width; start += RUN) {
        const float *run = run_at(row, start, width, rest);
        Vector weights = v_set(0.0f), products = weights;
        for (int i = 0; i < RUN; i += LANES) {
            Vector below = v_max(v_set(LOWEST_EXPONENT), v_sub(v_load(run + i), greatest));
            Vector weight = exponential(below);
            weights = v_add(weights, weight);
            products = v_add(products, v_mul(weight, below));
        }
        sum = plus(sum, weights);
        weighted = plus(weighted, products);
    }
    *entropy = log(sum_value(sum)) - sum_value(weighted) / sum_value(sum);
    return isfinite(*entropy);
}

/* With g and h the greatest logits of both rows, S and Z the sums of e^(x - g) and e^(y - h):
 * (sum of e^(x - g) ((x - y) - (g - h))) / S - log S + log Z, where rows that are alike have only small terms.
 * What the row lacks, the other may lack too; where the other alone does, the divergence is infinite. */
static int divergence(const float *row, const float *other, int64_t width, double *divergence) {
    float rest[RUN], other_rest[RUN], row_greatest = greatest_of(row, width), other_greatest = greatest_of(other, width);
    Vector greatest = v_set(row_greatest), above = v_set(other_greatest), shift = v_set(row_greatest - other_greatest);
    Sum sum = nothing(), other_sum = nothing(), weighted = nothing();
    for (int64_t start = 0; start < width; start += RUN) {
        const float *run = run_at(row, start, width, rest), *other_run = run_at(other, start, width, other_rest);
        Vector weights = v_set(0.0f), other_weights = weights, products = weights;
        for (int i = 0; i < RUN; i += LANES) {
            Vector logits = v_load(run + i), others = v_load(other_run + i);
            Vector below = v_sub(logits, greatest), weight = exponential(below);
            Vector product = v_mul(weight, v_sub(v_sub(logits, others), shift));
            weights = v_add(weights, weight);
            other_weights = v_add(other_weights, exponential(v_sub(others, above)));
            products = v_add(products, v_select(v_less_equal(v_set(LOWEST_EXPONENT), below), product, v_set(0.0f)));
        }
        sum = plus(sum, weights);
        other_sum = plus(other_sum, other_weights);
        weighted = plus(weighted, products);
    }
    double log_sum = log(sum_value(sum)), other_log_sum = log(sum_value(other_sum));
    double between = sum_value(weighted) / sum_value(sum) - log_sum + other_log_sum;
    if (isnan(between)) between = INFINITY; /* which the compensation made NaN */
    *divergence = between > 0 ? between : 0;
    return isfinite(log_sum) && isfinite(other_log_sum);
}

const RowKernels NAME(rows) = {log_sum_exp, top, entropy, divergence};

#undef RUN
#undef BLOCK
