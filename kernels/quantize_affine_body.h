/* A scale and a minimum for each run, searched for: Q4_K and Q5_K. A lane is a run of 32 values. */

#define RUN_VALUES 32
#define RUNS (TILE / RUN_VALUES)

/* A run's fit, and what its levels came from: nearest_int(inverse * (value - base)); inverse 0 where all are equal.
 * Levels matter only where a scale is rounded to nothing, so not they but what they come from is kept. */
struct fits { float scale[RUNS], minimum[RUNS], weight[RUNS], inverse[RUNS], base[RUNS]; bool fine[RUNS]; };

/* LANES runs: values, weights, and the levels last tried; sums of w and of w * x; where values lie. */
struct runs { Vector x[RUN_VALUES], w[RUN_VALUES], level[RUN_VALUES], weight, moment, lowest, most; Mask fine; };

/* A candidate: the scale and the least value that suit levels best, and the error that they leave. */
struct candidate { Vector scale, least, error, inverse, base; };

INLINE Mask in_range(Vector value) { return v_less_equal(v_abs(value), v_set(4194303.f)); } /* of nearest_int */

/* The weights, from importance where it is given: w holds it then. mean_square: of each lane's super-block, doubled. */
INLINE void weigh(struct runs *runs, bool weighted, Vector mean_square) {
    Vector sum = v_set(0);
    for (int i = 0; i < RUN_VALUES; ++i) sum = v_add(sum, v_mul(runs->x[i], runs->x[i]));
    Vector size = v_sqrt(v_mul(sum, v_set(1.f / RUN_VALUES))); /* by a power of two: as exact as the division */
    for (int i = 0; i < RUN_VALUES; ++i) {
        Vector x = runs->x[i];
        runs->w[i] = weighted ? v_mul(runs->w[i], v_sqrt(v_add(mean_square, v_mul(x, x)))) : v_add(size, v_abs(x));
    }
}

INLINE void load_runs(const float *values, const float *importance, Vector mean_square, struct runs *runs) {
    v_load_columns(values, RUN_VALUES, runs->x);
    if (importance) v_load_columns(importance, RUN_VALUES, runs->w);
    weigh(runs, importance != NULL, mean_square);
    Vector lowest = runs->x[0], most = runs->x[0], weight = v_set(0), moment = v_set(0);
    Integers size = i_set(0);
    for (int i = 0; i < RUN_VALUES; ++i) {
        lowest = v_min(lowest, runs->x[i]);
        most = v_max(most, runs->x[i]);
        size = i_max(size, i_size(runs->x[i]));
        weight = v_add(weight, runs->w[i]);
        moment = v_add(moment, v_mul(runs->w[i], runs->x[i]));
    }
    runs->lowest = lowest;
    runs->most = most;
    runs->weight = weight;
    runs->moment = moment;
    runs->fine = v_is_finite(i_as_floats(size));
}

INLINE Vector error_of(const struct runs *runs, Vector scale, Vector least) {
    Vector error = v_set(0);
    UNROLL for (int i = 0; i < RUN_VALUES; ++i) {
        Vector difference = v_sub(v_add(v_mul(scale, runs->level[i]), least), runs->x[i]);
        error = v_add(error, v_mul(runs->w[i], v_mul(difference, difference)));
    }
    return error;
}

/* The levels of all values for top / range, and the plain scale that belongs to them. */
INLINE struct candidate first_candidate(struct runs *runs, Vector least, int top) {
    Vector range = v_sub(runs->most, least), inverse = v_div(v_set((float)top), range);
    runs->fine = m_and(runs->fine, in_range(v_mul(inverse, range)));
    for (int i = 0; i < RUN_VALUES; ++i)
        runs->level[i] = v_level(v_mul(inverse, v_sub(runs->x[i], least)), 0, top);
    Vector scale = v_div(v_set(1), inverse);
    return (struct candidate){scale, least, error_of(runs, scale, least), inverse, least};
}

/* Levels for `steps` / range, and by linear regression the scale and the least value that suit them best. The error is
 * infinite where there is no such. */
INLINE struct candidate next_candidate(struct runs *runs, Vector base, float steps, int top) {
    const Vector zero = v_set(0), weight = runs->weight, moment = runs->moment;
    Vector l = zero, l2 = zero, xl = zero; /* weighted sums of levels, their squares, their products with values */
    Vector range = v_sub(runs->most, base), inverse = v_div(v_set(steps), range);
    /* all others are between these two; NaN fails as well */
    Mask fine = m_and(in_range(v_mul(inverse, range)), in_range(v_mul(inverse, v_sub(runs->lowest, base))));
    runs->fine = m_and(runs->fine, fine);
    UNROLL for (int i = 0; i < RUN_VALUES; ++i) {
        Vector level = v_level(v_mul(inverse, v_sub(runs->x[i], base)), 0, top), weighted = v_mul(runs->w[i], level);
        l = v_add(l, weighted);
        l2 = v_add(l2, v_mul(weighted, level));
        xl = v_add(xl, v_mul(weighted, runs->x[i]));
        runs->level[i] = level;
    }
    Vector determinant = v_sub(v_mul(weight, l2), v_mul(l, l));
    Vector scale = v_div(v_sub(v_mul(weight, xl), v_mul(moment, l)), determinant);
    Vector least = v_div(v_sub(v_mul(l2, moment), v_mul(l, xl)), determinant);
    Mask positive = v_less(zero, least);
    scale = v_select(positive, v_div(xl, l2), scale);
    least = v_select(positive, zero, least);
    Vector error = v_select(v_less(zero, determinant), error_of(runs, scale, least), v_set(INFINITE));
    return (struct candidate){scale, least, error, inverse, base};
}

INLINE struct candidate better_of(struct candidate one, struct candidate best) {
    Mask better = v_less(one.error, best.error);
    return (struct candidate){
        v_select(better, one.scale, best.scale), v_select(better, one.least, best.least),
        v_select(better, one.error, best.error), v_select(better, one.inverse, best.inverse),
        v_select(better, one.base, best.base),
    };
}

/* LANES runs from `run` on. */
static void fit_affine(const float *values, const float *importance, const float *mean_squares, struct search search,
                       struct fits *fits, int run) {
    const Vector zero = v_set(0);
    struct runs runs;
    load_runs(values + RUN_VALUES * run, part(importance, RUN_VALUES * run), v_load(mean_squares + run), &runs);
    Vector least = v_min(runs.lowest, zero);
    Mask flat = v_equal(runs.most, least);
    runs.most = v_select(flat, v_set(1), runs.most); /* any range but 0: what such lanes find is dropped */
    struct candidate best = first_candidate(&runs, least, search.top);
    for (int n = 0; n <= search.steps; ++n) {
        float steps = search.first + search.step * (float)n + (float)search.top;
        best = better_of(next_candidate(&runs, best.least, steps, search.top), best);
    }
    v_store(fits->scale + run, v_select(flat, zero, best.scale));
    v_store(fits->minimum + run, v_sub(zero, best.least));
    v_store(fits->weight + run, runs.weight);
    v_store(fits->inverse + run, v_select(flat, zero, best.inverse));
    v_store(fits->base + run, best.base);
    uint32_t fine = m_bits(runs.fine);
    for (int lane = 0; lane < LANES; ++lane) fits->fine[run + lane] = fine >> lane & 1;
}

/* ---- with importance: a fit for the scales and minima themselves ------------------------------------------------- */

#define PROBLEMS (LANES > 16 ? LANES : 16) /* the scales of a tile's eight super-blocks, then their minima */

/* The eight values of each problem, their weights, and what comes out: a lane is a problem. */
struct problems { float values[8][PROBLEMS], weights[8][PROBLEMS], levels[8][PROBLEMS], units[PROBLEMS]; };

INLINE Vector as_byte(Vector level) { return i_floats(i_and(v_round(level), i_set(255))); }

INLINE Vector v_nearest_63(Vector value) { return i_floats(i_min(i_nearest(value), i_set(63))); }

/* Of the nearest levels. `byte`: ggml keeps those of the first try in bytes. */
INLINE Vector positive_error(const Vector *x, const Vector *w, Vector inverse, bool byte) {
    Vector error = v_set(0), scale = v_div(v_set(1), inverse);
    for (int i = 0; i < 8; ++i) {
        Vector product = v_mul(inverse, x[i]);
        Vector level = byte ? i_floats(i_and(i_nearest(product), i_set(255))) : v_nearest_63(product);
        Vector difference = v_sub(x[i], v_mul(scale, level));
        error = v_add(error, v_mul(v_mul(w[i], difference), difference));
    }
    return error;
}

INLINE void improve_positive(const Vector *x, const Vector *w, Vector *levels, struct lane_sums *sums) {
    const Vector zero = v_set(0);
    for (int round = 0; round < 5; ++round) /* a lane that stands still in one round does so in the next: no break */
        for (int i = 0; i < 8; ++i) {
            Vector wx = v_mul(w[i], x[i]), level = levels[i];
            Vector product = v_sub(sums->product, v_mul(wx, level));
            Vector square = v_sub(sums->square, v_mul(v_mul(w[i], level), level));
            Mask take = m_and(v_less(zero, product), v_less(zero, square));
            Vector tried = v_nearest_63(v_div(v_mul(x[i], square), product));
            take = m_and(take, m_or(v_less(tried, level), v_less(level, tried)));
            product = v_add(product, v_mul(wx, tried));
            square = v_add(square, v_mul(v_mul(w[i], tried), tried));
            Vector before = v_mul(v_mul(sums->product, sums->product), square);
            take = m_and(take, v_less(before, v_mul(v_mul(product, product), sums->square)));
            levels[i] = v_select(take, as_byte(tried), level);
            sums->product = v_select(take, product, sums->product);
            sums->square = v_select(take, square, sums->square);
        }
}

static void fit_positive(struct problems *problems, int first) {
    Vector x[8], w[8], levels[8], largest = v_set(0), zero = v_set(0);
    for (int i = 0; i < 8; ++i) {
        x[i] = v_load(problems->values[i] + first);
        w[i] = v_load(problems->weights[i] + first);
        largest = v_max(largest, x[i]);
    }
    Vector best_inverse = v_div(v_set(63), largest), best = positive_error(x, w, best_inverse, true);
    for (int step = -4; step <= 4; ++step) {
        if (step == 0) continue;
        Vector inverse = v_div(v_set(0.1f * (float)step + 63), largest), error = positive_error(x, w, inverse, false);
        Mask better = v_less(error, best);
        best = v_select(better, error, best);
        best_inverse = v_select(better, inverse, best_inverse);
    }
    struct lane_sums sums = {zero, zero};
    for (int i = 0; i < 8; ++i) {
        Vector level = v_nearest_63(v_mul(best_inverse, x[i]));
        sums.product = v_add(sums.product, v_mul(v_mul(w[i], x[i]), level));
        sums.square = v_add(sums.square, v_mul(v_mul(w[i], level), level));
        levels[i] = as_byte(level);
    }
    improve_positive(x, w, levels, &sums);
    Mask none = v_less(largest, v_set(EPSILON));
    for (int i = 0; i < 8; ++i) v_store(problems->levels[i] + first, v_select(none, zero, levels[i]));
    Vector unit = v_select(v_less(zero, sums.square), v_div(sums.product, sums.square), zero);
    v_store(problems->units + first, v_select(none, zero, unit));
}

static void fit_scales_and_minima(const struct fits *fits, struct problems *problems) {
    for (int block = 0; block < 8; ++block)
        for (int run = 0; run < 8; ++run) {
            problems->values[run][block] = fits->scale[8 * block + run];
            problems->values[run][block + 8] = fits->minimum[8 * block + run];
            problems->weights[run][block] = problems->weights[run][block + 8] = fits->weight[8 * block + run];
        }
    for (int first = 0; first < 16; first += LANES) fit_positive(problems, first);
}

/* ggml's sigma2 of each super-block, for each of its runs: side by side, as each is a chain of additions. */
static void mean_squares_of(const float *values, float *mean_squares) {
    float sums[8] = {0};
    for (int i = 0; i < SUPER; ++i)
        for (int block = 0; block < 8; ++block) {
            float value = values[SUPER * block + i];
            sums[block] += value * value;
        }
    for (int run = 0; run < RUNS; ++run) mean_squares[run] = 2 * sums[run / 8] / SUPER;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

struct tile { struct search search; struct fits fits; struct problems problems; bool weighted; };

/* Of a tile that is zero but for its search, so that lanes without a run have nothing to fit. */
static void fit_tile(const float *values, struct weighting weighting, int64_t blocks, struct tile *tile) {
    float mean_squares[RUNS] = {0};
    tile->weighted = weighting.importance != NULL;
    if (tile->weighted) mean_squares_of(values, mean_squares);
    for (int run = 0; run < 8 * blocks; run += LANES)
        fit_affine(values, weighting.importance, mean_squares, tile->search, &tile->fits, run);
    if (tile->weighted) fit_scales_and_minima(&tile->fits, &tile->problems);
}

static void affine_head(const struct tile *tile, int64_t index, struct head *head) {
    uint8_t scales[8], minima[8];
    if (tile->weighted) {
        const struct problems *problems = &tile->problems;
        for (int run = 0; run < 8; ++run) {
            scales[run] = (uint8_t)problems->levels[run][index];
            minima[run] = (uint8_t)problems->levels[run][index + 8];
        }
        if (tile->search.top == 31) cut_to_63(scales, minima);
        put_half(head->d, problems->units[index]);
        put_half(head->d_min, problems->units[index + 8]);
    } else {
        put_half(head->d, round_to_63rds(tile->fits.scale + 8 * index, scales));
        put_half(head->d_min, round_to_63rds(tile->fits.minimum + 8 * index, minima));
    }
    pack_scales(scales, minima, head->scales);
}

/* The levels once scales are rounded. Where a scale came to nothing, the fit's stay. */
INLINE void affine_levels(const float *values, const struct tile *tile, int64_t index, const float *d,
                          const float *least, uint8_t *levels) {
    const float *inverse = tile->fits.inverse + 8 * index, *base = tile->fits.base + 8 * index;
    for (int i = 0; i < SUPER; i += LANES) {
        int run = i / RUN_VALUES;
        Integers level = i_nearest(v_div(v_add(v_load(values + i), v_set(least[run])), v_set(d[run])));
        i_store_bytes(levels + i, i_clamp(level, 0, tile->search.top));
    }
    for (int run = 0; run < 8; ++run)
        for (int i = RUN_VALUES * run; i < RUN_VALUES * run + RUN_VALUES && d[run] == 0; ++i)
            levels[i] = (uint8_t)clamp(nearest_int(inverse[run] * (values[i] - base[run])), 0, tile->search.top);
}

static bool affine_block(const float *values, const struct tile *tile, int64_t index, struct head *head,
                         uint8_t *levels) {
    uint8_t scales[8], minima[8];
    float d[8], least[8];
    for (int run = 0; run < 8; ++run)
        if (!tile->fits.fine[8 * index + run]) return false;
    affine_head(tile, index, head);
    if (!half_is_finite(head->d) || !half_is_finite(head->d_min)) return false;
    unpack_scales(head->scales, scales, minima);
    float scale_unit = get_half(head->d), minimum_unit = get_half(head->d_min);
    for (int run = 0; run < 8; ++run) {
        d[run] = scale_unit * scales[run];
        least[run] = minimum_unit * minima[run];
    }
    affine_levels(values, tile, index, d, least, levels);
    return true;
}

INLINE bool q4_k_block(const float *values, const struct tile *tile, int64_t index, struct q4_k *block) {
    uint8_t levels[SUPER];
    if (!affine_block(values, tile, index, &block->head, levels)) return false;
    pack_q4_k(levels, block->levels);
    return true;
}

INLINE bool q5_k_block(const float *values, const struct tile *tile, int64_t index, struct q5_k *block) {
    uint8_t levels[SUPER];
    if (!affine_block(values, tile, index, &block->head, levels)) return false;
    pack_q5_k(levels, block->levels, block->high);
    return true;
}

static int64_t quantize_q4_k(const float *values, struct weighting weighting, int64_t blocks, uint8_t *target) {
    struct tile tile = {.search = search_of(Q4_K, weighting.importance)};
    fit_tile(values, weighting, blocks, &tile);
    EACH_BLOCK(Q4_K, q4_k, q4_k_block(from, &tile, index, block))
}

static int64_t quantize_q5_k(const float *values, struct weighting weighting, int64_t blocks, uint8_t *target) {
    struct tile tile = {.search = search_of(Q5_K, weighting.importance)};
    fit_tile(values, weighting, blocks, &tile);
    EACH_BLOCK(Q5_K, q5_k, q5_k_block(from, &tile, index, block))
}
