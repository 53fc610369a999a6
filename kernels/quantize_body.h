/* The quantizers of one instruction set: its file includes this after vector.h.
 *
 * They give the bytes of reference.c, whose comments explain the algorithms, because every lane does the reference's
 * operations in the reference's order: a sum is never split. What they can't vouch for they hand to the reference.
 */
#include "quantizers.h"

#define MOST_FINITE 0x7F7FFFFF /* the bits of the largest float; those of infinities and NaN are more */
#define INFINITE float_of(0x7F800000)
#define UNBOUNDED INT32_MIN

/* As the reference's nearest_int, noise beyond its range included. */
INLINE Integers i_nearest(Vector value) {
    Integers bits = v_as_integers(v_add(value, v_set(ROUNDING)));
    return i_add(i_and(bits, i_set(0x007FFFFF)), i_set(-0x00400000));
}

/* What is left of integers in a signed byte. */
INLINE Integers i_low_bytes(Integers value) { return i_shift_right(i_shift_left(value, 24), 24); }

INLINE Integers i_clamp(Integers value, int least, int most) {
    return i_min(i_max(value, i_set(least)), i_set(most));
}

/* For values in nearest_int's range, where it rounds as processors do: the nearest integers within least (not above 0)
 * and most, as floats. Where it can be, clamped by their bits: integers are compared in other units of a processor than
 * those that add and multiply floats. Bits of a float below zero are an integer below zero. */
INLINE Vector v_level(Vector value, int least, int most) {
    Vector nearest = v_nearest(value);
    if (least != UNBOUNDED && least < 0) nearest = v_max(nearest, v_set((float)least));
    Integers bits = v_as_integers(nearest);
    if (least == 0) bits = i_max(bits, i_set(0));
    return i_as_floats(i_min(bits, v_as_integers(v_set((float)most))));
}

/* The bits of the sizes of floats compare like the sizes, and NaN as more than infinity. */
INLINE Integers i_size(Vector value) { return v_as_integers(v_abs(value)); }

INLINE Mask v_is_finite(Vector value) { return v_less_equal(v_abs(value), v_set(float_of(MOST_FINITE))); }

#include "quantize_simple_body.h"
#include "quantize_scale_body.h"
#include "quantize_affine_body.h"

static int64_t quantize(int type, const float *values, struct weighting weighting, int64_t blocks, uint8_t *target) {
    switch (type) {
    case Q4_0: return quantize_q4_0(values, weighting, blocks, target);
    case Q5_0: return quantize_q5_0(values, weighting, blocks, target);
    case Q8_0: return quantize_q8_0(values, weighting, blocks, target);
    case Q4_K: return quantize_q4_k(values, weighting, blocks, target);
    case Q5_K: return quantize_q5_k(values, weighting, blocks, target);
    case Q6_K: return quantize_q6_k(values, weighting, blocks, target);
    default: return 0;
    }
}

const struct quantizers NAME(quantizers) = {quantize, widen};
