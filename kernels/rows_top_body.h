/* The greatest logits of a row, for one instruction set: a threshold that few logits reach, then a sort of those few. */

#define CANDIDATES (2 * TOP_MOST) /* logits that are held at a time: twice 16 kB of stack, and a run each */

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

/* How many of the first `count` floats, whole vectors, reach the limit. */
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

/* A limit that at least `wanted` logits reach, or -infinity, and the greatest logit.
 *
 * The row is cut into stretches, and the greatest of every lane taken in each. Since there are four times as many of
 * these as are wanted, few other logits reach the limit of those wanted. */
static float limit_of_row(const float *row, int64_t width, int32_t wanted, float *greatest) {
    float floats[4 * TOP_MOST + LANES];
    int64_t stretches = (4 * (int64_t)wanted + LANES - 1) / LANES;
    int64_t length = (width / stretches / RUN + 1) * RUN;
    int32_t count = 0;
    for (int64_t start = 0; start < width; start += length, count += LANES) {
        v_store(floats + count, greatest_by_lane(row, start, start + length < width ? start + length : width));
    }
    *greatest = -INFINITY;
    for (int32_t i = 0; i < count; i += LANES) {
        float found = v_largest(v_load(floats + i));
        *greatest = found > *greatest ? found : *greatest;
    }
    return limit_of(floats, count, wanted, *greatest);
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

/* What makes the last run whole may be held too: last among equals, it is never one of those wanted. */
static int top(const float *row, int64_t width, int32_t count, float *logits, int32_t *indices, double *log_sum) {
    uint64_t places[2][CANDIDATES + RUN], *keys = places[0];
    float rest[RUN], greatest, limit = limit_of_row(row, width, count, &greatest);
    Sum sum = nothing();
    int32_t held = 0;
    for (int64_t start = 0; start < width; start += RUN) {
        const float *run = run_at(row, start, width, rest);
        sum = plus(sum, weights_of(run, greatest));
        if (!m_bits(v_less_equal(v_set(limit), greatest_by_lane(run, 0, RUN)))) continue;
        held = hold_reaching(keys, held, run, start, limit);
        if (held >= CANDIDATES) {
            keys = sort_keys(keys, places[keys == places[0]], held);
            held = count;
            limit = nextafterf(row[(uint32_t)keys[count - 1]], INFINITY); /* equals would come too late */
        }
    }
    if (!log_of(sum, greatest, log_sum)) return 0;
    keys = sort_keys(keys, places[keys == places[0]], held);
    for (int32_t rank = 0; rank < count; ++rank) {
        indices[rank] = (int32_t)keys[rank];
        logits[rank] = row[indices[rank]];
    }
    return 1;
}

#undef CANDIDATES
