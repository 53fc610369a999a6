/* The greatest logits of a row, for one instruction set: a threshold that few logits reach, then a sort of those few. */

#define CANDIDATES (2 * TOP_MOST) /* logits that are held at a time: twice 16 kB of stack, and a run each */
#define MOST_STRETCHES 1024

/* The bits of a float as an integer of the same order. */
INLINE int32_t order_of(float value) {
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits < 0 ? bits ^ INT32_MAX : bits;
}

INLINE float value_of(int32_t order) {
    int32_t bits = order < 0 ? order ^ INT32_MAX : order;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A logit and its index as one number, smaller for a greater logit. */
INLINE uint64_t key_of(float logit, uint32_t index) {
    uint32_t order = (uint32_t)order_of(logit + 0.0f) ^ UINT32_C(0x80000000); /* -0 equals 0 */
    return (uint64_t)~order << 32 | index;
}

/* One digit's part of a radix sort: from `keys` to `sorted`, equal ones in the order they have. False if all are equal,
 * and nothing was done. */
static int sort_digit(const uint64_t *keys, uint64_t *sorted, int32_t count, int shift) {
    int32_t places[257] = {0};
    for (int32_t i = 0; i < count; ++i) ++places[(keys[i] >> shift & 255) + 1];
    if (places[(keys[0] >> shift & 255) + 1] == count) return 0;
    for (int digit = 0; digit < 255; ++digit) places[digit + 1] += places[digit];
    for (int32_t i = 0; i < count; ++i) sorted[places[keys[i] >> shift & 255]++] = keys[i];
    return 1;
}

/* By logits, the greatest first; equal ones stay in the order of their indices, in which they were found. Returned is
 * which of both places holds them now: a sort that compares would wait for mistaken guesses of the processor. */
static uint64_t *sort_keys(uint64_t *keys, uint64_t *other, int32_t count) {
    for (int shift = 32; shift < 64 && count > 0; shift += 8) {
        if (!sort_digit(keys, other, count, shift)) continue;
        uint64_t *sorted = other;
        other = keys;
        keys = sorted;
    }
    return keys;
}

/* How many of the first `count` floats reach the limit; -infinity makes their vectors whole. */
INLINE int32_t count_reaching(const float *floats, int32_t count, float limit) {
    int32_t reaching = 0;
    for (int32_t i = 0; i < count; i += LANES) {
        reaching += __builtin_popcount(m_bits(v_less_equal(v_set(limit), v_load(floats + i))));
    }
    return reaching;
}

/* A limit that at least `wanted` of the floats reach, and not many more unless they are equal; -infinity if they are
 * too few. By halving what lies between the limits of the order of their bits. */
static float limit_of(const float *floats, int32_t count, int32_t wanted, float greatest) {
    int64_t enough = order_of(-INFINITY), too_few = (int64_t)order_of(greatest) + 1;
    while (too_few - enough > 1) {
        int64_t middle = enough + (too_few - enough) / 2;
        int32_t reaching = count_reaching(floats, count, value_of((int32_t)middle));
        *(reaching < wanted ? &too_few : &enough) = middle;
        if (reaching >= wanted && reaching <= wanted + wanted / 8) break;
    }
    return value_of((int32_t)enough);
}

/* A row that was read once: what it weighs if that is wanted, its greatest logit, and that of every stretch. */
typedef struct { Weight weight; float greatest; int length_bits; int32_t count; float stretches[MOST_STRETCHES + LANES]; } Survey;

INLINE float larger_of(float one, float other) { return one > other ? one : other; }

/* The first reading of a block. Returned is its greatest logit. */
INLINE float survey_block(Survey *survey, const float *row, int64_t start, int64_t width) {
    float rest[RUN], greatest = -INFINITY;
    for (int64_t end = start + BLOCK; start < end && start < width; start += RUN) {
        float largest = v_largest(greatest_by_lane(run_at(row, start, width, rest), 0, RUN));
        float *stretch = survey->stretches + (start >> survey->length_bits);
        *stretch = larger_of(largest, *stretch);
        greatest = larger_of(largest, greatest);
    }
    return greatest;
}

INLINE void survey_row(Survey *survey, const float *row, int64_t width, int is_weighed) {
    survey->weight = no_weight();
    survey->greatest = -INFINITY;
    survey->length_bits = 0;
    while (RUN > 1 << survey->length_bits || width >> survey->length_bits >= MOST_STRETCHES) ++survey->length_bits;
    survey->count = (int32_t)((width - 1) >> survey->length_bits) + 1;
    for (int32_t i = 0; i < survey->count + LANES; ++i) survey->stretches[i] = -INFINITY;
    for (int64_t start = 0; start < width; start += BLOCK) {
        float greatest = survey_block(survey, row, start, width);
        survey->greatest = larger_of(greatest, survey->greatest);
        if (is_weighed) survey->weight = with_block(survey->weight, row, start, width, greatest);
    }
}

/* A limit that at least `wanted` logits reach, or -infinity. Where there are twice as many stretches, few logits that
 * are not wanted reach the limit of those that are. Else the row is cut so that it has four times as many lanes. */
static float limit_of_row(const Survey *survey, const float *row, int64_t width, int32_t wanted) {
    float lanes[4 * TOP_MOST + LANES], greatest = survey->greatest;
    if (survey->count >= 2 * wanted) return limit_of(survey->stretches, survey->count, wanted, greatest);
    int64_t length = (width / ((4 * (int64_t)wanted + LANES - 1) / LANES) / RUN + 1) * RUN;
    int32_t count = 0;
    for (int64_t start = 0; start < width; start += length, count += LANES) {
        v_store(lanes + count, greatest_by_lane(row, start, start + length < width ? start + length : width));
    }
    return limit_of(lanes, count, wanted, greatest);
}

/* Appends the keys of a run's logits that reach the limit. */
INLINE int32_t hold_reaching(uint64_t *keys, int32_t held, const float *run, int64_t start, float limit) {
    for (int from = 0; from < RUN; from += 64) {
        uint64_t reaching = 0;
        for (int i = 0; i < 64; i += LANES) {
            reaching |= (uint64_t)m_bits(v_less_equal(v_set(limit), v_load(run + from + i))) << i;
        }
        for (; reaching; reaching &= reaching - 1) {
            int lane = from + __builtin_ctzll(reaching);
            keys[held++] = key_of(run[lane], (uint32_t)(start + lane));
        }
    }
    return held;
}

/* The stretches that reach the limit. A long row may have left the caches: all that is wanted of it is asked for, and
 * comes while the first stretches are looked at. */
static int32_t choose_stretches(const Survey *survey, const float *row, int64_t width, float limit, int32_t *chosen) {
    int32_t count = 0;
    for (int32_t stretch = 0; stretch < survey->count; ++stretch) {
        chosen[count] = stretch;
        count += survey->stretches[stretch] >= limit;
    }
    for (int32_t i = 0; i < count; ++i) {
        int64_t start = (int64_t)chosen[i] << survey->length_bits, end = start + (1 << survey->length_bits);
        for (; start < end && start < width; start += 16) __builtin_prefetch(row + start);
    }
    return count;
}

/* What makes the last run whole may be held too: last among equals, it is never one of those wanted. */
static int top(const float *row, int64_t width, int32_t count, float *logits, int32_t *indices, double *log_sum) {
    uint64_t places[2][CANDIDATES + RUN], *keys = places[0];
    int32_t chosen[MOST_STRETCHES], held = 0;
    float rest[RUN], limit;
    Survey survey;
    if (log_sum) {
        survey_row(&survey, row, width, 1);
        if (!log_of(survey.weight, log_sum)) return 0;
    } else {
        survey_row(&survey, row, width, 0);
        if (!(survey.greatest < INFINITY && survey.greatest > -INFINITY)) return 0;
    }
    limit = limit_of_row(&survey, row, width, count);
    int32_t chosen_count = choose_stretches(&survey, row, width, limit, chosen);
    for (int32_t i = 0; i < chosen_count; ++i) {
        int64_t start = (int64_t)chosen[i] << survey.length_bits, end = start + (1 << survey.length_bits);
        for (; start < end && start < width; start += RUN) {
            held = hold_reaching(keys, held, run_at(row, start, width, rest), start, limit);
            if (held < CANDIDATES) continue;
            keys = sort_keys(keys, places[keys == places[0]], held);
            held = count;
            limit = nextafterf(row[(uint32_t)keys[count - 1]], INFINITY); /* equals would come too late */
        }
    }
    if (held < count) return 0; /* NaN hid what there is */
    keys = sort_keys(keys, places[keys == places[0]], held);
    for (int32_t rank = 0; rank < count; ++rank) {
        indices[rank] = (int32_t)keys[rank];
        logits[rank] = row[indices[rank]];
    }
    return 1;
}

#undef MOST_STRETCHES
#undef CANDIDATES
